//! Models that are ready to run, the ones used longest ago dropped first.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use veracity_engine::Options;
use veracity_graph::ModelId;
use veracity_store::Store;
use veracity_worker::LoadedModel;

use crate::error::ApiError;

#[derive(Debug)]
pub(crate) struct ModelCache {
    options: Options,
    bytes_max: u64,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    slots: HashMap<ModelId, Slot>,
    /// Counts uses.
    now: u64,
}

/// One model; whoever comes first loads it, the others wait for its lock.
type Cell = Arc<Mutex<Option<Arc<LoadedModel>>>>;

#[derive(Debug, Default)]
struct Slot {
    cell: Cell,
    bytes: u64,
    used: u64,
}

impl ModelCache {
    pub(crate) fn new(options: Options, bytes_max: u64) -> Self {
        Self { options, bytes_max, inner: Mutex::default() }
    }

    /// The model, loaded if need be. Blocks while it is read and checked.
    pub(crate) fn get(&self, store: &Store, id: &ModelId) -> Result<Arc<LoadedModel>, ApiError> {
        let cell = self.touch(id);
        // A panic while loading leaves the cell empty, which is a good state.
        let mut slot = cell.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(loaded) = &*slot {
            return Ok(Arc::clone(loaded));
        }
        let bundle = store.get(id)?;
        let loaded = Arc::new(LoadedModel::load(bundle, &self.options)?);
        *slot = Some(Arc::clone(&loaded));
        drop(slot);
        self.admit(id, loaded.memory_bytes());
        Ok(loaded)
    }

    /// Forgets a model; runs in progress keep it until they end.
    pub(crate) fn forget(&self, id: &ModelId) {
        self.lock().slots.remove(id);
    }

    /// Number of models, and the memory that they take.
    pub(crate) fn usage(&self) -> (usize, u64) {
        let inner = self.lock();
        let loaded = inner.slots.values().filter(|s| s.bytes > 0);
        (loaded.clone().count(), loaded.map(|s| s.bytes).sum())
    }

    fn touch(&self, id: &ModelId) -> Cell {
        let mut inner = self.lock();
        inner.now += 1;
        let now = inner.now;
        let slot = inner.slots.entry(*id).or_default();
        slot.used = now;
        Arc::clone(&slot.cell)
    }

    fn admit(&self, id: &ModelId, bytes: u64) {
        let mut inner = self.lock();
        if let Some(slot) = inner.slots.get_mut(id) {
            slot.bytes = bytes;
        }
        while inner.slots.values().map(|s| s.bytes).sum::<u64>() > self.bytes_max {
            let others = inner.slots.iter().filter(|(other, slot)| *other != id && slot.bytes > 0);
            let Some(oldest) = others.min_by_key(|(_, slot)| slot.used).map(|(id, _)| *id) else { break };
            inner.slots.remove(&oldest);
        }
        // Slots of models that failed to load or are gone hold nothing.
        inner.slots.retain(|_, slot| slot.bytes > 0 || Arc::strong_count(&slot.cell) > 1);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
