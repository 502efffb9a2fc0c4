//! Answers that are used for some seconds, and for longer while no new one is to be had.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError},
    time::{Duration, Instant},
};

use tokio::sync::Semaphore;

use crate::error::ApiError;

/// How long an answer is used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    /// As long as this nobody asks again.
    pub(crate) fresh: Duration,
    /// As long as this it stands in while somebody asks, or nobody answers.
    pub(crate) stale: Duration,
}

#[derive(Debug)]
struct Known<T> {
    /// When it was asked for last.
    asked: Instant,
    /// When it was answered.
    since: Instant,
    value: Arc<T>,
}

/// A value that one asks for again when it is old, while others use the old one.
#[derive(Debug)]
pub(crate) struct Remembered<T> {
    known: Mutex<Option<Known<T>>>,
    asking: Mutex<()>,
}

impl<T> Default for Remembered<T> {
    fn default() -> Self {
        Self { known: Mutex::new(None), asking: Mutex::new(()) }
    }
}

impl<T> Remembered<T> {
    fn fresh(&self, memory: Memory) -> Option<Arc<T>> {
        let known = lock(&self.known);
        known
            .as_ref()
            .filter(|known| known.asked.elapsed() < memory.fresh)
            .map(|known| Arc::clone(&known.value))
    }

    fn usable(&self, memory: Memory) -> Option<Arc<T>> {
        let known = lock(&self.known);
        known
            .as_ref()
            .filter(|known| known.since.elapsed() < memory.stale)
            .map(|known| Arc::clone(&known.value))
    }

    /// What was answered last, however long ago.
    pub(crate) fn last(&self) -> Option<Arc<T>> {
        lock(&self.known).as_ref().map(|known| Arc::clone(&known.value))
    }

    pub(crate) fn get(
        &self,
        memory: Memory,
        ask: impl FnOnce() -> Result<T, ApiError>,
    ) -> Result<Arc<T>, ApiError> {
        if let Some(value) = self.fresh(memory) {
            return Ok(value);
        }
        let asking = match self.asking.try_lock() {
            Ok(asking) => Some(asking),
            Err(TryLockError::Poisoned(asking)) => Some(asking.into_inner()),
            // Somebody asks already.
            Err(TryLockError::WouldBlock) => None,
        };
        let _asking = match (asking, self.usable(memory)) {
            (Some(asking), _) => asking,
            (None, Some(old)) => return Ok(old),
            (None, None) => lock(&self.asking),
        };
        if let Some(value) = self.fresh(memory) {
            return Ok(value);
        }
        match (ask(), self.usable(memory)) {
            (Ok(value), _) => {
                let (now, value) = (Instant::now(), Arc::new(value));
                *lock(&self.known) = Some(Known { asked: now, since: now, value: Arc::clone(&value) });
                Ok(value)
            }
            (Err(error), Some(old)) => {
                tracing::warn!(%error, "gateway.remembered: what was known before stands in");
                if let Some(known) = lock(&self.known).as_mut() {
                    known.asked = Instant::now();
                }
                Ok(old)
            }
            (Err(error), None) => Err(error),
        }
    }

    /// As [`Self::get`], with a place for who asks and for each who waits for it.
    pub(crate) fn get_within(
        &self,
        places: &Semaphore,
        memory: Memory,
        ask: impl FnOnce() -> Result<T, ApiError>,
    ) -> Result<Arc<T>, ApiError> {
        if let Some(value) = self.fresh(memory) {
            return Ok(value);
        }
        match (places.try_acquire(), self.usable(memory)) {
            (Ok(_place), _) => self.get(memory, ask),
            (Err(_), Some(old)) => Ok(old),
            (Err(_), None) => Err(ApiError::Overloaded { what: "questions to workers" }),
        }
    }

    /// Changes what is known; how old it is stays.
    pub(crate) fn change(&self, change: impl FnOnce(&T) -> T) {
        if let Some(known) = lock(&self.known).as_mut() {
            known.value = Arc::new(change(&known.value));
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn down() -> Result<u32, ApiError> {
        Err(crate::DirectoryError("it is down".into()).into())
    }

    /// Each failure makes the value stand in a little longer, but not for ever.
    #[test]
    fn an_old_value_stands_in_up_to_its_limit() {
        let memory = Memory { fresh: Duration::from_millis(20), stale: Duration::from_millis(400) };
        let (remembered, started) = (Remembered::default(), Instant::now());
        assert!(remembered.get(memory, down).is_err());
        assert_eq!(*remembered.get(memory, || Ok(1)).unwrap(), 1);
        let mut stood_in = 0;
        while remembered.get(memory, down).is_ok() {
            stood_in += 1;
            assert!(started.elapsed() < Duration::from_secs(10), "it stands in for ever");
            std::thread::sleep(Duration::from_millis(30));
        }
        assert!(stood_in > 0 && started.elapsed() >= memory.stale, "{stood_in}");
    }

    #[test]
    fn without_a_place_only_what_is_known_is_used() {
        let memory = Memory { fresh: Duration::ZERO, stale: Duration::from_secs(60) };
        let (remembered, places) = (Remembered::default(), Semaphore::new(0));
        assert!(matches!(remembered.get_within(&places, memory, || Ok(1)), Err(ApiError::Overloaded { .. })));
        remembered.get(memory, || Ok(1)).unwrap();
        assert_eq!(*remembered.get_within(&places, memory, || Ok(2)).unwrap(), 1);
    }
}
