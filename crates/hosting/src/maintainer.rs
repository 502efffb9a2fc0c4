//! What a host does by itself, again and again (`docs/spec/hosting.md`, section 4).

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use veracity_graph::{Manifest, ModelId};

use crate::{
    Client, FetchError, Host, HostReport, Hosting, HostingError, NodeId, Observer, Order, Published,
    Registry, RegistryError, RoomError, Slot, Source,
    fetch::{fetch, model_bytes},
    placement::{Duty, duty, holders, score},
};

/// Published models that are looked at together.
const PAGE: usize = 256;

/// Keeps what a node holds and announces as it should be. It has no clock: whoever calls [`Maintainer::tick`] chooses the
/// interval.
#[derive(Debug)]
pub struct Maintainer {
    hosting: Arc<Hosting>,
    client: Client,
    node: NodeId,
    /// For how many ticks in a row a model had too few holders before this node.
    short_ticks: BTreeMap<ModelId, u64>,
    /// Hosts that were dropped in a fetch; they are asked last.
    dropped: BTreeSet<NodeId>,
    /// Whether the hosts that were asked in this tick answer.
    answers: BTreeMap<NodeId, bool>,
    /// Whether announcements of models that are none of this node's business were compared once.
    looked_at_all: bool,
}

/// What a tick did.
#[derive(Debug, Default)]
pub struct Tick {
    /// Models of the node's operator that were found in the store, and so are offered from now on.
    pub offered: Vec<ModelId>,
    /// Models that were announced.
    pub announced: Vec<ModelId>,
    /// Models that were retracted.
    pub retracted: Vec<ModelId>,
    /// Models that were fetched; they are announced too.
    pub fetched: Vec<ModelId>,
    /// Models that were removed to make room, or because they were damaged.
    pub evicted: Vec<ModelId>,
    /// What did not succeed. The next tick tries again, unless it is final.
    pub failed: Vec<(ModelId, TickError)>,
}

/// Why a model is not as it should be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TickError {
    /// The registry failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Hosting failed.
    #[error(transparent)]
    Hosting(#[from] HostingError),
    /// The fetch failed.
    #[error(transparent)]
    Fetch(#[from] FetchError),
}

/// The registry's lists, for one tick.
struct View {
    candidates: Vec<NodeId>,
    k: usize,
}

impl Maintainer {
    /// A maintainer for the node whose registry it will be given.
    #[must_use]
    pub fn new(hosting: Arc<Hosting>, client: Client, node: NodeId) -> Self {
        let (short_ticks, dropped, answers) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        Self { hosting, client, node, short_ticks, dropped, answers, looked_at_all: false }
    }

    /// Compares what is held with what is announced and what should be held, and does what is missing; fetches at last, one
    /// model after the other. Blocks for as long as that takes. `now_s` is the time in seconds, by which the order of uses is
    /// known. Repeating it is harmless, as is a crash at any point.
    ///
    /// # Errors
    /// The registry cannot be read or the store failed; what fails for one model is in [`Tick::failed`].
    pub fn tick(
        &mut self,
        registry: &dyn Registry,
        now_s: u64,
        observer: &dyn Observer,
    ) -> Result<Tick, TickError> {
        self.hosting.refresh(now_s)?;
        self.answers.clear();
        let view = View { candidates: registry.candidates()?, k: registry.hosts_per_model()? };
        let (mut tick, mut kept, mut wanted) = (Tick::default(), BTreeSet::new(), Vec::new());
        let mut offset = 0;
        loop {
            let page = registry.models(offset, PAGE)?;
            for published in &page {
                let should_fetch = self.look(published, &view, registry, &mut kept, &mut tick);
                match should_fetch {
                    Ok(Some(hosts)) => wanted.push((*published, hosts)),
                    Ok(None) => {}
                    Err(error) => tick.failed.push((published.id, error)),
                }
            }
            if page.len() < PAGE {
                break;
            }
            offset += page.len() as u64;
        }
        self.looked_at_all = true;
        for (published, hosts) in wanted {
            if observer.stopped() {
                break;
            }
            if let Err(error) =
                self.fetch(&published, &hosts, &view, registry, &kept, now_s, observer, &mut tick)
            {
                tick.failed.push((published.id, error));
            }
        }
        Ok(tick)
    }

    /// Compares one model; gives its hosts if it is to be fetched.
    fn look(
        &mut self,
        published: &Published,
        view: &View,
        registry: &dyn Registry,
        kept: &mut BTreeSet<ModelId>,
        tick: &mut Tick,
    ) -> Result<Option<Vec<Host>>, TickError> {
        let id = published.id;
        if published.own && self.offer_own(&id)? {
            tick.offered.push(id);
        }
        let before = nearer(&id, &self.node, &view.candidates);
        let duty = before.as_ref().map_or(Duty::None, |before| duty(before.len(), view.k));
        if duty == Duty::Hold {
            kept.insert(id);
        }
        let damaged = self.hosting.store().is_quarantined(&id);
        let held = self.hosting.offers(&id) && !damaged;
        if duty == Duty::None && !held && !damaged && self.looked_at_all {
            self.short_ticks.remove(&id);
            return Ok(None);
        }
        let hosts = registry.hosts(&id)?;
        let announced = hosts.iter().any(|host| host.node == self.node);
        if held && !announced && before.is_some() {
            registry.announce(&id)?;
            tick.announced.push(id);
        }
        if announced && !held {
            registry.retract(&id)?;
            tick.retracted.push(id);
        }
        if damaged && self.hosting.is_fetched(&id) {
            self.hosting.evict(&id)?;
            tick.evicted.push(id);
        }
        let wanted = !held
            && !self.hosting.refuses(&id)
            && self.is_wanted(&id, duty, before.as_deref().unwrap_or_default(), view.k, &hosts);
        Ok(wanted.then_some(hosts))
    }

    /// Offers a model that its operator published and that is in the store; says whether it was not offered before.
    fn offer_own(&self, id: &ModelId) -> Result<bool, HostingError> {
        let store = self.hosting.store();
        let held = store.contains(id) && !store.is_quarantined(id);
        let offers = held && !self.hosting.is_own(id) && !self.hosting.refuses(id);
        if offers {
            self.hosting.offer(id)?;
        }
        Ok(offers)
    }

    /// Whether this node should hold a model, given the candidates before it.
    fn is_wanted(&mut self, id: &ModelId, duty: Duty, before: &[NodeId], k: usize, hosts: &[Host]) -> bool {
        let Duty::StepIn { after_ticks } = duty else { return duty == Duty::Hold };
        let announced: Vec<_> = hosts.iter().filter(|host| before.contains(&host.node)).collect();
        if announced.len() >= k && self.n_answering(id, &announced) >= k {
            self.short_ticks.remove(id);
            return false;
        }
        let ticks = self.short_ticks.entry(*id).or_default();
        *ticks = ticks.saturating_add(1);
        *ticks > after_ticks
    }

    /// How many of these hosts answer. Each is asked once in a tick, for the first of its models that is looked at, and all
    /// at the same time, so that silent ones cost the time of one.
    fn n_answering(&mut self, id: &ModelId, hosts: &[&Host]) -> usize {
        let unknown = hosts.iter().filter(|host| !self.answers.contains_key(&host.node));
        let client = &self.client;
        let asked: Vec<(NodeId, bool)> = thread::scope(|scope| {
            let threads: Vec<_> =
                unknown.map(|host| (host.node, scope.spawn(move || client.answers(host, id)))).collect();
            threads.into_iter().map(|(node, thread)| (node, thread.join().unwrap_or(false))).collect()
        });
        self.answers.extend(asked);
        hosts.iter().filter(|host| self.answers.get(&host.node) == Some(&true)).count()
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one tick")]
    fn fetch(
        &mut self,
        published: &Published,
        hosts: &[Host],
        view: &View,
        registry: &dyn Registry,
        kept: &BTreeSet<ModelId>,
        now_s: u64,
        observer: &dyn Observer,
        tick: &mut Tick,
    ) -> Result<(), TickError> {
        let id = published.id;
        if self.hosting.store().contains(&id) && !self.hosting.store().is_quarantined(&id) {
            // Imported here by its owner; now it is offered too.
            self.hosting.offer(&id)?;
        } else {
            let sources = self.sources(&id, hosts, view);
            let order = Order {
                id,
                stated_bytes: Some(published.size_bytes),
                size_bytes_max: self.hosting.config.model_bytes_max,
                sources: &sources,
            };
            let room = |manifest: &Manifest| {
                let slot = Slot { size_bytes: model_bytes(manifest), used_s: now_s };
                self.make_room(id, slot, registry, kept, tick)
            };
            let watch = Watch { observer, dropped: Mutex::default() };
            let result = fetch(&self.client, self.hosting.store(), order, room, &watch);
            self.dropped.extend(watch.dropped.into_inner().unwrap_or_else(PoisonError::into_inner));
            if let Err(error) = result {
                if error.is_final() {
                    self.hosting.refuse(&id)?;
                }
                return Err(error.into());
            }
            self.hosting.fetched(&id);
            tick.fetched.push(id);
        }
        registry.announce(&id)?;
        tick.announced.push(id);
        Ok(())
    }

    /// Evicts what must go, and reserves.
    fn make_room(
        &self,
        id: ModelId,
        slot: Slot,
        registry: &dyn Registry,
        kept: &BTreeSet<ModelId>,
        tick: &mut Tick,
    ) -> Result<(), RoomError> {
        for victim in self.hosting.victims(&id, slot.size_bytes, kept)?? {
            if self.hosting.offers(&victim) {
                registry.retract(&victim)?;
                tick.retracted.push(victim);
            }
            self.hosting.evict(&victim)?;
            tick.evicted.push(victim);
        }
        Ok(self.hosting.reserve(id, slot)??)
    }

    /// The other hosts. First those whose rank makes them hold it, or nearly: to be one of them costs a stranger more than to
    /// announce. Those that were dropped before come last. Else in an order that differs from node to node, which spreads
    /// the load.
    fn sources(&self, id: &ModelId, hosts: &[Host], view: &View) -> Vec<Source> {
        let near: BTreeSet<_> = holders(id, &view.candidates, view.k.saturating_mul(2)).into_iter().collect();
        let mut sources = Source::of(hosts);
        sources.retain(|source| source.node != self.node);
        sources.sort_by_cached_key(|source| {
            let mut hasher = blake3::Hasher::new();
            hasher.update(&score(id, &source.node)).update(&self.node.0);
            let spread = *hasher.finalize().as_bytes();
            (self.dropped.contains(&source.node), !near.contains(&source.node), spread)
        });
        sources
    }
}

/// Notes which hosts are dropped.
struct Watch<'a> {
    observer: &'a dyn Observer,
    dropped: Mutex<Vec<NodeId>>,
}

impl Observer for Watch<'_> {
    fn began(&self, manifest: &Manifest) {
        self.observer.began(manifest);
    }

    fn resumed(&self, bytes: u64) {
        self.observer.resumed(bytes);
    }

    fn verified(&self, bytes: u64) {
        self.observer.verified(bytes);
    }

    fn dropped(&self, report: &HostReport) {
        self.dropped.lock().unwrap_or_else(PoisonError::into_inner).push(report.node);
        self.observer.dropped(report);
    }

    fn stopped(&self) -> bool {
        self.observer.stopped()
    }
}

/// The candidates that are nearer to a model than `node`; none if it is no candidate.
fn nearer(id: &ModelId, node: &NodeId, candidates: &[NodeId]) -> Option<Vec<NodeId>> {
    candidates.contains(node).then(|| {
        let own = Reverse((score(id, node), *node));
        let before = candidates.iter().filter(|other| Reverse((score(id, other), **other)) < own);
        before.copied().collect()
    })
}
