//! Room for models that are hosted for others (`docs/spec/hosting.md`, section 6). Pure: it knows no disk.

use std::collections::{BTreeMap, BTreeSet};

use veracity_graph::ModelId;

use crate::ReserveError;

/// What is known of a model that takes room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Bytes that it takes, or is to take.
    pub size_bytes: u64,
    /// Time of its last use in seconds.
    pub used_s: u64,
}

/// The models that take room, and the limit.
///
/// The limit holds for everything that [`Quota::reserve`] lets in; [`Quota::restore`] may exceed it, as when the limit was
/// lowered, and then nothing is let in until enough is gone.
#[derive(Debug, Clone)]
pub struct Quota {
    limit_bytes: u64,
    slots: BTreeMap<ModelId, Slot>,
}

impl Quota {
    /// Nothing, with a limit.
    #[must_use]
    pub fn new(limit_bytes: u64) -> Self {
        Self { limit_bytes, slots: BTreeMap::new() }
    }

    /// Takes a model in again that was in before, without asking whether there is room.
    pub fn restore(&mut self, id: ModelId, slot: Slot) {
        self.slots.insert(id, slot);
    }

    /// Bytes that are taken.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.slots.values().fold(0, |sum, slot| sum.saturating_add(slot.size_bytes))
    }

    /// The limit.
    #[must_use]
    pub fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    /// The models that take room, by id.
    #[must_use]
    pub fn slots(&self) -> &BTreeMap<ModelId, Slot> {
        &self.slots
    }

    /// The models that must go so that `size_bytes` more fit, in the order in which they go: least recently used first, then
    /// by id; none of `kept` is among them. Changes nothing. A model that is in already needs no room.
    ///
    /// # Errors
    /// [`ReserveError::AboveLimit`] if it never fits, [`ReserveError::NoRoom`] if what may go is not enough.
    pub fn victims(
        &self,
        id: &ModelId,
        size_bytes: u64,
        kept: &BTreeSet<ModelId>,
    ) -> Result<Vec<ModelId>, ReserveError> {
        if self.slots.contains_key(id) {
            return Ok(Vec::new());
        }
        if size_bytes > self.limit_bytes {
            return Err(ReserveError::AboveLimit { size_bytes, limit_bytes: self.limit_bytes });
        }
        let mut used = self.used_bytes();
        let mut evictable: Vec<_> = self.slots.iter().filter(|(id, _)| !kept.contains(id)).collect();
        evictable.sort_by_key(|(id, slot)| (slot.used_s, **id));
        let mut victims = Vec::new();
        let mut rest = evictable.into_iter();
        while used.saturating_add(size_bytes) > self.limit_bytes {
            let Some((id, slot)) = rest.next() else {
                let free_bytes = self.limit_bytes.saturating_sub(used);
                return Err(ReserveError::NoRoom { size_bytes, free_bytes });
            };
            used = used.saturating_sub(slot.size_bytes);
            victims.push(*id);
        }
        Ok(victims)
    }

    /// Takes a model in, if there is room. Tells whether.
    pub fn reserve(&mut self, id: ModelId, slot: Slot) -> bool {
        let fits = self.used_bytes().checked_add(slot.size_bytes).is_some_and(|sum| sum <= self.limit_bytes);
        let known = self.slots.contains_key(&id);
        if fits && !known {
            self.slots.insert(id, slot);
        }
        fits || known
    }

    /// Gives back what a model takes.
    pub fn release(&mut self, id: &ModelId) {
        self.slots.remove(id);
    }

    /// Notes a use of a model, if it takes room; time never goes back.
    pub fn touch(&mut self, id: &ModelId, now_s: u64) {
        if let Some(slot) = self.slots.get_mut(id) {
            slot.used_s = slot.used_s.max(now_s);
        }
    }
}
