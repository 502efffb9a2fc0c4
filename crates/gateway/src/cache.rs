//! Models that were read, those that run ready for it, the ones used longest ago dropped first.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use veracity_engine::Options;
use veracity_graph::ModelId;
use veracity_store::Store;
use veracity_worker::{CheckedModel, LoadedModel};

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

/// One model, as far as it was needed.
#[derive(Debug, Clone)]
enum Held {
    Checked(Arc<CheckedModel>),
    Loaded(Arc<LoadedModel>),
}

impl Held {
    fn checked(&self) -> &Arc<CheckedModel> {
        match self {
            Self::Checked(checked) => checked,
            Self::Loaded(loaded) => loaded.checked(),
        }
    }

    fn memory_bytes(&self) -> u64 {
        match self {
            Self::Checked(checked) => checked.memory_bytes(),
            Self::Loaded(loaded) => loaded.memory_bytes(),
        }
    }
}

/// Whoever comes first reads the model, the others wait for its lock.
type Cell = Arc<Mutex<Option<Held>>>;

#[derive(Debug, Default)]
struct Slot {
    cell: Cell,
    /// What the cell holds, to be asked for its size while the cell is locked.
    held: Option<Held>,
    used: u64,
}

impl Slot {
    /// Runs add to it.
    fn bytes(&self) -> u64 {
        self.held.as_ref().map_or(0, Held::memory_bytes)
    }
}

impl ModelCache {
    pub(crate) fn new(options: Options, bytes_max: u64) -> Self {
        Self { options, bytes_max, inner: Mutex::default() }
    }

    /// The model, ready to run. Blocks while it is read, checked and packed.
    pub(crate) fn get(&self, store: &Store, id: &ModelId) -> Result<Arc<LoadedModel>, ApiError> {
        let cell = self.touch(id);
        // A panic while loading leaves the cell as it was, which is a good state.
        let mut slot = cell.lock().unwrap_or_else(PoisonError::into_inner);
        let checked = match &*slot {
            Some(Held::Loaded(loaded)) => return Ok(Arc::clone(loaded)),
            Some(Held::Checked(checked)) => Arc::clone(checked),
            None => Arc::new(CheckedModel::new(store.get(id)?)?),
        };
        let loaded = Arc::new(LoadedModel::new(checked, &self.options)?);
        let held = Held::Loaded(Arc::clone(&loaded));
        *slot = Some(held.clone());
        self.admit(id, held);
        Ok(loaded)
    }

    /// The model, to be described: no weights are packed. Blocks while it is read and checked.
    pub(crate) fn checked(&self, store: &Store, id: &ModelId) -> Result<Arc<CheckedModel>, ApiError> {
        let cell = self.touch(id);
        let mut slot = cell.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = &*slot {
            return Ok(Arc::clone(held.checked()));
        }
        let checked = Arc::new(CheckedModel::new(store.get(id)?)?);
        let held = Held::Checked(Arc::clone(&checked));
        *slot = Some(held.clone());
        self.admit(id, held);
        Ok(checked)
    }

    /// Drops models until the others fit, after a run of `id`, which may have packed weights for new shapes.
    pub(crate) fn trim(&self, id: &ModelId) {
        self.lock().trim(id, self.bytes_max);
    }

    /// Forgets a model; runs in progress keep it until they end.
    pub(crate) fn forget(&self, id: &ModelId) {
        self.lock().slots.remove(id);
    }

    /// Number of models, and the memory that they take.
    pub(crate) fn usage(&self) -> (usize, u64) {
        let inner = self.lock();
        let held = inner.slots.values().filter(|slot| slot.held.is_some());
        (held.clone().count(), held.map(Slot::bytes).sum())
    }

    fn touch(&self, id: &ModelId) -> Cell {
        let mut inner = self.lock();
        inner.now += 1;
        let now = inner.now;
        let slot = inner.slots.entry(*id).or_default();
        slot.used = now;
        Arc::clone(&slot.cell)
    }

    /// Called with the cell locked, so that what is admitted last is what the cell holds.
    fn admit(&self, id: &ModelId, held: Held) {
        let mut inner = self.lock();
        if let Some(slot) = inner.slots.get_mut(id) {
            slot.held = Some(held);
        }
        inner.trim(id, self.bytes_max);
        // Slots of models that failed to load or are gone hold nothing.
        inner.slots.retain(|_, slot| slot.held.is_some() || Arc::strong_count(&slot.cell) > 1);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Drops the models used longest ago, but not `id`, until the rest is at most `bytes_max`.
    fn trim(&mut self, id: &ModelId, bytes_max: u64) {
        while self.slots.values().map(Slot::bytes).sum::<u64>() > bytes_max {
            let others = self.slots.iter().filter(|(other, slot)| *other != id && slot.held.is_some());
            let Some(oldest) = others.min_by_key(|(_, slot)| slot.used).map(|(id, _)| *id) else { break };
            self.slots.remove(&oldest);
        }
    }
}
