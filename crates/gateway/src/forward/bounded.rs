//! A map of so many entries, which strangers may fill.

use std::{
    borrow::Borrow,
    collections::{BTreeMap, HashMap},
    hash::Hash,
};

/// A map that drops the entry that was put in longest ago when a new one has no room.
#[derive(Debug)]
pub(crate) struct Bounded<K, V> {
    max: usize,
    entries: HashMap<K, (u64, V)>,
    /// Keys in the order in which they were put in last.
    order: BTreeMap<u64, K>,
    next: u64,
}

impl<K: Eq + Hash + Clone, V> Bounded<K, V> {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, entries: HashMap::new(), order: BTreeMap::new(), next: 0 }
    }

    pub(crate) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.entries.get(key).map(|(_, value)| value)
    }

    /// Puts an entry in as the newest.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        self.remove(&key);
        self.entries.insert(key.clone(), (self.next, value));
        self.order.insert(self.next, key);
        self.next += 1;
        if self.entries.len() > self.max
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.entries.remove(&oldest);
        }
    }

    pub(crate) fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
    {
        if let Some((at, _)) = self.entries.remove(key) {
            self.order.remove(&at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_and_the_others_stay() {
        let mut map = Bounded::new(3);
        (0..3).for_each(|key| map.insert(key, key * 10));
        map.insert(0, 1);
        map.insert(3, 30);
        assert_eq!([0, 1, 2, 3].map(|key| map.get(&key).copied()), [Some(1), None, Some(20), Some(30)]);
        map.remove(&2);
        map.insert(4, 40);
        assert_eq!([0, 2, 3, 4].map(|key| map.get(&key).copied()), [Some(1), None, Some(30), Some(40)]);
        assert_eq!((map.entries.len(), map.order.len()), (3, 3));
    }
}
