//! Fetching a model from strangers (`docs/spec/hosting.md`, section 3).

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use veracity_graph::{Manifest, ModelId};
use veracity_store::{GROUP_BYTES, PartName, Partial, PartialPart, PutError, Store, StoreError};

use crate::{
    Client, Endpoint, Fault, FetchError, Host, HostReport, NodeId, RoomError, client::GroupsFault,
    queue::Queue,
};

/// A host that is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The node.
    pub node: NodeId,
    /// Where it is reached.
    pub endpoint: Endpoint,
}

impl Source {
    /// The hosts whose endpoints can be used; the others are logged and left out.
    #[must_use]
    pub fn of(hosts: &[Host]) -> Vec<Self> {
        let usable = hosts.iter().filter_map(|host| match host.endpoint.parse() {
            Ok(endpoint) => Some(Self { node: host.node, endpoint }),
            Err(error) => {
                tracing::debug!(node = %host.node, %error, "hosting.source left out");
                None
            }
        });
        usable.collect()
    }
}

/// What is to be fetched, and from whom.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// The model.
    pub id: ModelId,
    /// Bytes of graph and weights by the registry, if it was asked.
    pub stated_bytes: Option<u64>,
    /// Most bytes of graph and weights that the caller wants.
    pub size_bytes_max: u64,
    /// Hosts, those to be asked first in front.
    pub sources: &'a [Source],
}

/// Whoever watches a fetch. Called from several threads at the same time; every method returns at once.
pub trait Observer: Sync {
    /// Sizes are known and allowed, and room is reserved.
    fn began(&self, manifest: &Manifest) {
        let _ = manifest;
    }

    /// So many bytes of the model were verified and written by an attempt before this one.
    fn resumed(&self, bytes: u64) {
        let _ = bytes;
    }

    /// So many more bytes of the model were verified and written; what was there before is not told.
    fn verified(&self, bytes: u64) {
        let _ = bytes;
    }

    /// A host was dropped.
    fn dropped(&self, report: &HostReport) {
        tracing::warn!(%report, "hosting.fetch");
    }

    /// Whether to stop after the answers that are under way.
    fn stopped(&self) -> bool {
        false
    }
}

/// Only the log watches.
impl Observer for () {}

/// Fetches a model into the store: visible and durable when this returns. After an error, what was verified stays for the
/// next attempt, unless the model is invalid. `room` reserves what the manifest says; it is called once, before anything is
/// allocated. Blocks: for async callers, on a thread for blocking work.
///
/// # Errors
/// [`FetchError`]; [`FetchError::is_final`] says whether to try again.
pub fn fetch(
    client: &Client,
    store: &Store,
    order: Order<'_>,
    room: impl FnOnce(&Manifest) -> Result<(), RoomError>,
    observer: &dyn Observer,
) -> Result<ModelId, FetchError> {
    if order.sources.is_empty() {
        return Err(FetchError::NoHosts { id: order.id });
    }
    let config = &client.config;
    let sources = &order.sources[..order.sources.len().min(config.hosts_max)];
    let end = config.fetch_timeout.map(|timeout| (Instant::now() + timeout, timeout));
    let run = Run { client, id: order.id, sources, observer, end, dropped: Mutex::default() };
    let manifest = match store.partial_manifest(&order.id) {
        Some(manifest) => manifest,
        None => run.manifest()?,
    };
    check_sizes(&order, &manifest)?;
    room(&manifest)?;
    observer.began(&manifest);
    let partial = store.begin_fetch(&manifest)?;
    observer.resumed(PartName::ALL.into_iter().map(|name| verified_bytes(partial.part(name))).sum());
    run.part(&partial, PartName::Graph)?;
    if let Err(error) = partial.check_graph() {
        return Err(run.refuse(partial, error));
    }
    run.part(&partial, PartName::Weights)?;
    match partial.finish() {
        Ok(id) => Ok(id),
        Err(PutError::Store(error)) => Err(error.into()),
        Err(reason) => Err(run.refuse(store.begin_fetch(&manifest)?, reason)),
    }
}

/// Fetches a model that the registry knows, for the caller's own use: without a quota. Nothing is asked if a sound copy is
/// there.
///
/// # Errors
/// As [`fetch`], and [`RoomError::Registry`] if the registry does not answer.
pub fn pull(
    client: &Client,
    store: &Store,
    registry: &dyn crate::Registry,
    id: ModelId,
    size_bytes_max: u64,
    observer: &dyn Observer,
) -> Result<ModelId, FetchError> {
    if store.contains(&id) && store.get(&id).is_ok() {
        return Ok(id);
    }
    let ask = || Ok((registry.model(&id)?, registry.hosts(&id)?));
    let (published, hosts) = ask().map_err(RoomError::Registry)?;
    let order =
        Order { id, stated_bytes: Some(published.size_bytes), size_bytes_max, sources: &Source::of(&hosts) };
    fetch(client, store, order, |_| Ok(()), observer)
}

/// Bytes of graph and weights, which is what registry and quota count.
#[must_use]
pub fn model_bytes(manifest: &Manifest) -> u64 {
    manifest.graph.size_bytes.saturating_add(manifest.weights.size_bytes)
}

fn check_sizes(order: &Order<'_>, manifest: &Manifest) -> Result<(), FetchError> {
    let found = model_bytes(manifest);
    if let Some(stated) = order.stated_bytes.filter(|stated| *stated != found) {
        return Err(FetchError::StatedSize { stated, found });
    }
    let size_bytes_max = order.size_bytes_max;
    if found > size_bytes_max {
        return Err(FetchError::TooLarge { size_bytes: found, size_bytes_max });
    }
    // No host can be asked for a part without bytes, so its hash is checked here.
    for name in PartName::ALL {
        let part = name.of(manifest);
        if part.size_bytes == 0 {
            let checked = part.check(name.as_str(), &[]);
            checked.map_err(|e| FetchError::Invalid { id: order.id, reason: e.into() })?;
        }
    }
    Ok(())
}

struct Run<'a> {
    client: &'a Client,
    id: ModelId,
    sources: &'a [Source],
    observer: &'a dyn Observer,
    /// When it must end, and how long that was at the beginning.
    end: Option<(Instant, Duration)>,
    /// Places in `sources`, and why.
    dropped: Mutex<(BTreeSet<usize>, Vec<HostReport>)>,
}

impl Run<'_> {
    /// Asks one host after the other, in rounds; those in trouble get another round after a pause.
    fn manifest(&self) -> Result<Manifest, FetchError> {
        let config = &self.client.config;
        let mut pause = config.pause_min;
        for round in 1..=config.attempts_max {
            for (place, source) in self.sources.iter().enumerate() {
                self.check_end()?;
                if self.is_dropped(place) {
                    continue;
                }
                match self.client.manifest(&source.endpoint, &self.id) {
                    Ok(manifest) => return Ok(manifest),
                    // Many silent hosts must not take the time that honest ones need, so slow means dropped here.
                    Err(fault)
                        if fault.is_lie()
                            || matches!(fault, Fault::TooSlow)
                            || round == config.attempts_max =>
                    {
                        self.drop_host(place, fault);
                    }
                    Err(_) => {}
                }
            }
            if round < config.attempts_max && self.any_left() {
                thread::sleep(pause);
                pause = config.pause_max.min(pause * 2);
            }
        }
        Err(self.all_failed())
    }

    /// Fetches what is missing of a part.
    fn part(&self, partial: &Partial<'_>, name: PartName) -> Result<(), FetchError> {
        let queue = Queue::new(partial.part(name).missing());
        let config = &self.client.config;
        let places = 0..self.sources.len();
        let hosts: VecDeque<_> = std::iter::repeat_n(places, config.connections_per_host).flatten().collect();
        let n_connections = config.connections.min(hosts.len());
        let hosts = Mutex::new(hosts);
        let failed = Mutex::new(None);
        thread::scope(|scope| {
            for _ in 0..n_connections {
                scope.spawn(|| {
                    // One host after the other, until nothing is left to do or nobody to ask.
                    loop {
                        // By itself, so that the lock is not held while the host is asked.
                        let next = lock(&hosts).pop_front();
                        let Some(place) = next else { return };
                        match self.ask(place, partial, name, &queue) {
                            Asked::HostDropped => {}
                            Asked::NothingLeft => return,
                            Asked::Store(error) => {
                                *lock(&failed) = Some(error);
                                return queue.close();
                            }
                        }
                    }
                });
            }
        });
        match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error.into()),
            None if queue.is_done() => Ok(()),
            None => Err(self.check_end().err().unwrap_or_else(|| self.all_failed())),
        }
    }

    /// Asks one host on one connection for as long as it is good and something is left.
    fn ask(&self, place: usize, partial: &Partial<'_>, name: PartName, queue: &Queue) -> Asked {
        let config = &self.client.config;
        let (mut n_troubles, mut pause) = (0, config.pause_min);
        loop {
            if self.check_end().is_err() {
                queue.close();
                return Asked::NothingLeft;
            }
            if self.is_dropped(place) {
                return Asked::HostDropped;
            }
            let Some(mut piece) = queue.take() else { return Asked::NothingLeft };
            let (endpoint, first) = (&self.sources[place].endpoint, piece.rest.start);
            let (written, result) = self.client.groups(endpoint, partial, name, &piece.rest);
            piece.rest.start += written;
            let bytes = |group: u64| partial.part(name).size_bytes().min(group * GROUP_BYTES);
            self.observer.verified(bytes(piece.rest.start) - bytes(first));
            drop(piece);
            match result {
                Ok(()) => (n_troubles, pause) = (0, config.pause_min),
                Err(GroupsFault::Store(error)) => return Asked::Store(error),
                Err(GroupsFault::Host(fault)) => {
                    // Whoever is cut again and again but brings something each time is worth keeping; a drip is not.
                    let progress = written > 0 && !matches!(fault, Fault::TooSlow);
                    n_troubles = if progress { 1 } else { n_troubles + 1 };
                    if fault.is_lie() || n_troubles >= config.attempts_max {
                        self.drop_host(place, fault);
                        return Asked::HostDropped;
                    }
                    thread::sleep(pause);
                    pause = config.pause_max.min(pause * 2);
                }
            }
        }
    }

    /// Gives up a model that is none. What an error of the disk hides may be a model, so it stays.
    fn refuse(&self, partial: Partial<'_>, reason: PutError) -> FetchError {
        if let PutError::Store(error) = reason {
            return error.into();
        }
        match partial.discard() {
            Ok(()) => FetchError::Invalid { id: self.id, reason },
            Err(error) => error.into(),
        }
    }

    /// Whether it may go on.
    fn check_end(&self) -> Result<(), FetchError> {
        if self.observer.stopped() {
            return Err(FetchError::Stopped);
        }
        match self.end {
            Some((end, timeout)) if Instant::now() >= end => Err(FetchError::TimeUp { timeout }),
            _ => Ok(()),
        }
    }

    fn drop_host(&self, place: usize, fault: Fault) {
        let source = &self.sources[place];
        let report = HostReport { node: source.node, endpoint: source.endpoint.clone(), fault };
        let mut dropped = lock(&self.dropped);
        // Several connections may find out at once; the first one tells.
        if dropped.0.insert(place) {
            self.observer.dropped(&report);
            dropped.1.push(report);
        }
    }

    fn is_dropped(&self, place: usize) -> bool {
        lock(&self.dropped).0.contains(&place)
    }

    fn any_left(&self) -> bool {
        lock(&self.dropped).0.len() < self.sources.len()
    }

    fn all_failed(&self) -> FetchError {
        let reports = std::mem::take(&mut lock(&self.dropped).1);
        FetchError::AllHostsFailed { id: self.id, reports }
    }
}

/// Bytes of a part that are there.
fn verified_bytes(part: &PartialPart<'_>) -> u64 {
    let size = part.size_bytes();
    let bytes = |group: u64| size.min(group.saturating_mul(GROUP_BYTES));
    let missing = part.missing().iter().map(|groups| bytes(groups.end) - bytes(groups.start));
    size - missing.sum::<u64>()
}

/// How asking a host ended.
enum Asked {
    HostDropped,
    NothingLeft,
    Store(StoreError),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
