//! The models that a node offers to others (`docs/spec/hosting.md`, sections 5 and 6).

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use veracity_graph::{Manifest, ModelId};
use veracity_store::{GroupsError, Hosted, HostedKind, HostedLock, PartName, Store, StoreError};

use crate::{HostingConfig, HostingError, Quota, ReserveError, ServeError, Slot, fetch::model_bytes};

/// What a node offers: its own models, and those that it holds for others within a quota. One process at a time hosts from
/// a store; others may read and change the store meanwhile.
#[derive(Debug)]
pub struct Hosting {
    store: Arc<Store>,
    pub(crate) config: HostingConfig,
    lock: HostedLock,
    state: Mutex<State>,
    /// Held while a model is verified as a whole, so that one damage is not looked for by many at once.
    repair: Mutex<()>,
}

#[derive(Debug)]
struct State {
    quota: Quota,
    /// Own models, with their sizes.
    own: BTreeMap<ModelId, u64>,
    refused: BTreeSet<ModelId>,
    /// What is served: visible and not in quarantine.
    offered: BTreeSet<ModelId>,
    in_use: BTreeMap<ModelId, usize>,
    /// Used since the last [`Hosting::refresh`].
    touched: BTreeSet<ModelId>,
}

/// A model that is in use in this process, and so is not evicted until this is dropped.
#[derive(Debug)]
pub struct InUse {
    hosting: Arc<Hosting>,
    id: ModelId,
}

impl Drop for InUse {
    fn drop(&mut self) {
        let mut state = self.hosting.state();
        match state.in_use.get_mut(&self.id) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(state.in_use.remove(&self.id)),
        }
    }
}

impl Hosting {
    /// Takes up what was hosted from this store before.
    ///
    /// # Errors
    /// [`HostingError::Config`]; [`HostingError::Index`] if another process hosts from it; [`HostingError::Store`].
    pub fn open(store: Arc<Store>, config: HostingConfig) -> Result<Arc<Self>, HostingError> {
        config.check()?;
        let lock = store.lock_hosted()?;
        let mut state = State {
            quota: Quota::new(config.quota_bytes),
            own: BTreeMap::new(),
            refused: BTreeSet::new(),
            offered: BTreeSet::new(),
            in_use: BTreeMap::new(),
            touched: BTreeSet::new(),
        };
        for Hosted { id, kind, size_bytes, used_s } in store.hosted()? {
            match kind {
                HostedKind::Own => drop(state.own.insert(id, size_bytes)),
                HostedKind::Fetched => state.quota.restore(id, Slot { size_bytes, used_s }),
                HostedKind::Refused => drop(state.refused.insert(id)),
            }
        }
        let hosting = Self { store, config, lock, state: Mutex::new(state), repair: Mutex::new(()) };
        hosting.refresh(0)?;
        Ok(Arc::new(hosting))
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Compares with the store, which others change too, and notes the uses since the last time under the time `now_s`.
    ///
    /// # Errors
    /// [`HostingError::Store`].
    pub fn refresh(&self, now_s: u64) -> Result<(), HostingError> {
        let partials: BTreeSet<_> = self.store.partials()?.into_iter().collect();
        let mut state = self.state();
        for id in std::mem::take(&mut state.touched) {
            state.quota.touch(&id, now_s);
        }
        let gone = state.quota.slots().keys().filter(|id| !self.store.contains(id) && !partials.contains(id));
        for id in gone.copied().collect::<Vec<_>>() {
            state.quota.release(&id);
        }
        state.own.retain(|id, _| self.store.contains(id));
        let hosted = state.own.keys().chain(state.quota.slots().keys());
        state.offered =
            hosted.filter(|id| self.store.contains(id) && !self.store.is_quarantined(id)).copied().collect();
        self.save(&state)
    }

    /// Models that are offered, in order.
    #[must_use]
    pub fn offered(&self) -> Vec<ModelId> {
        self.state().offered.iter().copied().collect()
    }

    /// Whether a model is offered.
    #[must_use]
    pub fn offers(&self, id: &ModelId) -> bool {
        self.state().offered.contains(id)
    }

    /// Bytes that fetched models and reservations take of the quota.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.state().quota.used_bytes()
    }

    /// Offers a model of the store as the node's own, which is never evicted and takes nothing of the quota, even if it was
    /// fetched before. All its bytes are verified first. Durable when it returns.
    ///
    /// # Errors
    /// [`HostingError::Store`]; [`StoreError::Corrupt`] if its bytes are wrong.
    pub fn offer(&self, id: &ModelId) -> Result<(), HostingError> {
        self.store.make_outboards(id)?;
        let size_bytes = model_bytes(&self.store.manifest(id)?);
        let mut state = self.state();
        state.quota.release(id);
        state.refused.remove(id);
        state.own.insert(*id, size_bytes);
        state.offered.insert(*id);
        self.save(&state)
    }

    /// Offers an own model no more, until [`Hosting::offer`]; it stays in the store.
    ///
    /// # Errors
    /// [`HostingError::Store`].
    pub fn withdraw(&self, id: &ModelId) -> Result<(), HostingError> {
        let mut state = self.state();
        if state.own.remove(id).is_some() {
            state.offered.remove(id);
            state.refused.insert(*id);
        }
        self.save(&state)
    }

    /// Keeps a model from being evicted while it is used, and notes the use. None if it is not offered.
    #[must_use]
    pub fn use_model(self: &Arc<Self>, id: &ModelId) -> Option<InUse> {
        let mut state = self.state();
        if !state.offered.contains(id) {
            return None;
        }
        state.touched.insert(*id);
        *state.in_use.entry(*id).or_default() += 1;
        Some(InUse { hosting: Arc::clone(self), id: *id })
    }

    /// The canonical manifest of a model that is offered.
    ///
    /// # Errors
    /// [`ServeError::NotHosted`], [`ServeError::Damaged`], [`ServeError::Disk`].
    pub fn manifest(self: &Arc<Self>, id: &ModelId) -> Result<Manifest, ServeError> {
        let _in_use = self.use_model(id).ok_or(ServeError::NotHosted { id: *id })?;
        self.store.manifest(id).map_err(|error| self.serve_error(id, error))
    }

    /// Groups of a model that is offered, in Bao encoding, verified. Damaged hashes are made again; if the bytes are damaged
    /// the model goes into quarantine and is offered no more.
    ///
    /// # Errors
    /// [`ServeError::NotHosted`], [`ServeError::BadRange`], [`ServeError::Damaged`], [`ServeError::Disk`].
    pub fn groups(
        self: &Arc<Self>,
        id: &ModelId,
        part: PartName,
        groups: Range<u64>,
    ) -> Result<Vec<u8>, ServeError> {
        let _in_use = self.use_model(id).ok_or(ServeError::NotHosted { id: *id })?;
        let read = || self.store.read_groups(id, part, groups.clone());
        let found = match read() {
            Err(GroupsError::NoHashes { .. } | GroupsError::Damaged { .. }) => {
                let _repair = self.repair.lock().unwrap_or_else(PoisonError::into_inner);
                match read() {
                    // Nobody repaired it while this waited.
                    Err(GroupsError::NoHashes { .. } | GroupsError::Damaged { .. }) => {
                        self.store.make_outboards(id).map_err(|error| self.serve_error(id, error))?;
                        read()
                    }
                    found => found,
                }
            }
            found => found,
        };
        found.map_err(|error| match error {
            GroupsError::Range { first, count, group_count } => {
                ServeError::BadRange { first, count, group_count }
            }
            GroupsError::Store(error) => self.serve_error(id, error),
            error => {
                self.isolate(id, &error.to_string());
                ServeError::Damaged { id: *id }
            }
        })
    }

    /// The models that must go so that this one fits; see [`Quota::victims`]. Models with a name, models in use and `kept`
    /// stay.
    ///
    /// # Errors
    /// [`ReserveError`], [`StoreError`] if the names cannot be read.
    pub(crate) fn victims(
        &self,
        id: &ModelId,
        size_bytes: u64,
        kept: &BTreeSet<ModelId>,
    ) -> Result<Result<Vec<ModelId>, ReserveError>, HostingError> {
        let named = self.named()?;
        let state = self.state();
        if state.own.contains_key(id) {
            return Ok(Ok(Vec::new()));
        }
        let own = state.own.keys();
        let kept = kept.iter().chain(own).chain(state.in_use.keys()).chain(&named).copied().collect();
        Ok(state.quota.victims(id, size_bytes, &kept))
    }

    /// Takes room for a model that is to be fetched. Durable when it returns.
    ///
    /// # Errors
    /// [`HostingError::Store`]. The inner error is [`ReserveError::NoRoom`].
    pub(crate) fn reserve(&self, id: ModelId, slot: Slot) -> Result<Result<(), ReserveError>, HostingError> {
        let mut state = self.state();
        if state.own.contains_key(&id) {
            // A damaged copy is replaced by one of the same size.
            return Ok(Ok(()));
        }
        if !state.quota.reserve(id, slot) {
            let free_bytes = state.quota.limit_bytes().saturating_sub(state.quota.used_bytes());
            return Ok(Err(ReserveError::NoRoom { size_bytes: slot.size_bytes, free_bytes }));
        }
        self.save(&state).map(Ok)
    }

    /// Removes a fetched model, or what was fetched of it, and gives its room back. It is to be retracted before.
    ///
    /// # Errors
    /// [`HostingError::InUse`] if it is used or has got a name; [`HostingError::Partial`] if it is being fetched;
    /// [`HostingError::Store`].
    pub fn evict(&self, id: &ModelId) -> Result<(), HostingError> {
        let named = self.named()?.contains(id);
        let mut state = self.state();
        if named || state.in_use.contains_key(id) {
            return Err(HostingError::InUse { id: *id });
        }
        state.offered.remove(id);
        self.store.discard_partial(id)?;
        match self.store.remove(&id.to_string()) {
            Ok(_) | Err(StoreError::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        // After the bytes: whatever the index lists and is not there is dropped when it is opened.
        state.quota.release(id);
        self.save(&state)
    }

    /// Offers a model that was fetched.
    pub(crate) fn fetched(&self, id: &ModelId) {
        let mut state = self.state();
        state.offered.insert(*id);
        state.touched.insert(*id);
    }

    /// Remembers that a model must not be fetched again.
    pub(crate) fn refuse(&self, id: &ModelId) -> Result<(), HostingError> {
        self.store.discard_partial(id)?;
        let mut state = self.state();
        state.quota.release(id);
        state.refused.insert(*id);
        self.save(&state)
    }

    /// Whether a model must not be fetched or offered by itself: it is no valid one, or was withdrawn.
    #[must_use]
    pub fn refuses(&self, id: &ModelId) -> bool {
        self.state().refused.contains(id)
    }

    /// Whether a model is offered as the node's own.
    #[must_use]
    pub fn is_own(&self, id: &ModelId) -> bool {
        self.state().own.contains_key(id)
    }

    /// Whether a model is here because of hosting.
    pub(crate) fn is_fetched(&self, id: &ModelId) -> bool {
        self.state().quota.slots().contains_key(id)
    }

    fn named(&self) -> Result<BTreeSet<ModelId>, StoreError> {
        Ok(self.store.names()?.into_iter().map(|(_, id)| id).collect())
    }

    /// What is told to the client; the model is isolated if it is damaged.
    fn serve_error(&self, id: &ModelId, error: StoreError) -> ServeError {
        match error {
            StoreError::NotFound { .. } => {
                self.state().offered.remove(id);
                ServeError::NotHosted { id: *id }
            }
            StoreError::Corrupt { .. } => {
                self.isolate(id, &error.to_string());
                ServeError::Damaged { id: *id }
            }
            error => ServeError::Disk(error),
        }
    }

    fn isolate(&self, id: &ModelId, reason: &str) {
        tracing::error!(model = %id, reason, "hosting.quarantine");
        self.state().offered.remove(id);
        if let Err(error) = self.store.quarantine(id, reason) {
            tracing::error!(model = %id, %error, "hosting.quarantine: the mark cannot be written");
        }
    }

    fn save(&self, state: &State) -> Result<(), HostingError> {
        let own = state.own.iter().map(|(id, size)| (id, HostedKind::Own, *size, 0));
        let slots = state.quota.slots().iter();
        let fetched = slots.map(|(id, slot)| (id, HostedKind::Fetched, slot.size_bytes, slot.used_s));
        let refused = state.refused.iter().map(|id| (id, HostedKind::Refused, 0, 0));
        let mut entries: Vec<_> = own
            .chain(fetched)
            .chain(refused)
            .map(|(id, kind, size_bytes, used_s)| Hosted { id: *id, kind, size_bytes, used_s })
            .collect();
        entries.sort_by_key(|entry| entry.id);
        if entries == self.store.hosted()? {
            return Ok(());
        }
        Ok(self.store.set_hosted(&self.lock, &entries)?)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
