//! The pieces of a part that are still to come, shared by the connections.

use std::{
    collections::VecDeque,
    ops::Range,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use veracity_store::GROUPS_MAX;

/// Ranges of groups. Whoever takes one says afterwards what is left of it.
#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    waiting: VecDeque<Range<u64>>,
    n_taken: usize,
    closed: bool,
}

impl Queue {
    /// Cuts ranges at multiples of [`GROUPS_MAX`], so that all nodes ask for the same pieces.
    pub(crate) fn new(missing: &[Range<u64>]) -> Self {
        let mut waiting = VecDeque::new();
        for range in missing {
            let mut start = range.start;
            while start < range.end {
                let end = range.end.min((start / GROUPS_MAX + 1) * GROUPS_MAX);
                waiting.push_back(start..end);
                start = end;
            }
        }
        Self { state: Mutex::new(State { waiting, n_taken: 0, closed: false }), changed: Condvar::new() }
    }

    /// The next piece; waits while others may still give theirs back. None if all is done, or the queue is closed.
    pub(crate) fn take(&self) -> Option<Taken<'_>> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(groups) = state.waiting.pop_front() {
                state.n_taken += 1;
                return Some(Taken { queue: self, rest: groups });
            }
            if state.n_taken == 0 {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Nobody gets anything more.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Whether nothing is left.
    pub(crate) fn is_done(&self) -> bool {
        let state = self.lock();
        state.waiting.is_empty() && state.n_taken == 0
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A piece that is being asked for; what is left of it goes back when this is dropped, even by a panic.
#[derive(Debug)]
pub(crate) struct Taken<'a> {
    queue: &'a Queue,
    /// What did not come yet.
    pub(crate) rest: Range<u64>,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        state.n_taken -= 1;
        if !self.rest.is_empty() {
            state.waiting.push_front(self.rest.clone());
        }
        self.queue.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_cut_where_all_nodes_cut_them() {
        let queue = Queue::new(&[3..5, 250..600]);
        let pieces: Vec<_> = (0..4).filter_map(|_| queue.take()).collect();
        let ranges: Vec<_> = pieces.iter().map(|piece| piece.rest.clone()).collect();
        assert_eq!(ranges, [3..5, 250..256, 256..512, 512..600]);
        for mut piece in pieces {
            assert!(!queue.is_done());
            piece.rest.start = piece.rest.end;
        }
        assert!(queue.is_done());
        assert!(queue.take().is_none());
    }

    #[test]
    fn whoever_waits_gets_what_is_given_back() {
        let queue = Queue::new(std::slice::from_ref(&(0..10)));
        let mut piece = queue.take().unwrap();
        std::thread::scope(|scope| {
            let other = scope.spawn(|| queue.take());
            piece.rest.start = 4;
            drop(piece);
            let piece = other.join().unwrap().unwrap();
            assert_eq!(piece.rest, 4..10);
            let waiting = scope.spawn(|| queue.take().is_none());
            queue.close();
            assert!(waiting.join().unwrap());
        });
        assert!(!queue.is_done());
    }
}
