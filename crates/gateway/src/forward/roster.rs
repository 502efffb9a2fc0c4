//! Which workers there are, how they do, and which of them serve a model.

use std::{
    cmp::Reverse,
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError},
    thread,
    time::{Duration, Instant},
};

use veracity_graph::ModelId;
use veracity_hosting::{Endpoint, NodeId, score};
use veracity_receipt::ExecutorId;

use super::{
    Directory, ForwardConfig,
    client::Client,
    fault::{Consequence, WorkerFault, pause},
};
use crate::error::ApiError;

/// Most workers that are asked at the same time.
const ASKED_AT_ONCE: usize = 8;
/// Most workers that are asked about one model.
const ASKED_MAX: usize = 64;
/// As many that serve a model are enough.
const SERVING_MAX: usize = 16;
/// Most models of which it is remembered who serves them.
const MODELS_MAX: usize = 1024;

/// A worker that can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) executor: ExecutorId,
    pub(crate) endpoint: Endpoint,
}

/// How a worker does.
#[derive(Debug, Clone, Copy, Default)]
struct Health {
    in_flight: usize,
    /// Average time of its answers, of which the last one counts a quarter.
    latency: Option<Duration>,
    /// Faults in a row.
    failures: u32,
    aside: Option<Aside>,
}

/// Not to be asked, or only if nobody else is left.
#[derive(Debug, Clone, Copy)]
struct Aside {
    until: Instant,
    lied: bool,
}

impl Health {
    fn aside(&self, now: Instant) -> Option<Aside> {
        self.aside.filter(|aside| now < aside.until)
    }
}

#[derive(Debug)]
pub(crate) struct Roster {
    directory: Arc<dyn Directory>,
    config: ForwardConfig,
    own: ExecutorId,
    listed: Remembered<Vec<Peer>>,
    serving: Mutex<HashMap<ModelId, Arc<Remembered<Vec<Peer>>>>>,
    health: Mutex<HashMap<ExecutorId, Health>>,
}

/// A value that one asks for again when it is old, while others use the old one.
#[derive(Debug)]
struct Remembered<T> {
    value: Mutex<Option<(Instant, Arc<T>)>>,
    asking: Mutex<()>,
}

impl<T> Default for Remembered<T> {
    fn default() -> Self {
        Self { value: Mutex::new(None), asking: Mutex::new(()) }
    }
}

impl<T> Remembered<T> {
    fn get(&self, memory: Duration, ask: impl FnOnce() -> Result<T, ApiError>) -> Result<Arc<T>, ApiError> {
        let fresh = |known: &Option<(Instant, Arc<T>)>| {
            known.as_ref().filter(|(since, _)| since.elapsed() < memory).map(|(_, value)| Arc::clone(value))
        };
        let known = lock(&self.value).clone();
        if let Some(value) = fresh(&known) {
            return Ok(value);
        }
        let asking = match self.asking.try_lock() {
            Ok(asking) => Some(asking),
            Err(TryLockError::Poisoned(asking)) => Some(asking.into_inner()),
            // Somebody asks already.
            Err(TryLockError::WouldBlock) => None,
        };
        let _asking = match (asking, known) {
            (Some(asking), _) => asking,
            (None, Some((_, old))) => return Ok(old),
            (None, None) => lock(&self.asking),
        };
        if let Some(value) = fresh(&lock(&self.value)) {
            return Ok(value);
        }
        let value = Arc::new(ask()?);
        *lock(&self.value) = Some((Instant::now(), Arc::clone(&value)));
        Ok(value)
    }

    fn forget(&self) {
        *lock(&self.value) = None;
    }
}

/// A request that a worker has; ends when dropped.
#[derive(Debug)]
pub(crate) struct Flight<'a> {
    roster: &'a Roster,
    executor: ExecutorId,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.roster.change(self.executor, |health| health.in_flight = health.in_flight.saturating_sub(1));
    }
}

impl Roster {
    pub(crate) fn new(directory: Arc<dyn Directory>, config: ForwardConfig, own: ExecutorId) -> Self {
        Self {
            directory,
            config,
            own,
            listed: Remembered::default(),
            serving: Mutex::default(),
            health: Mutex::default(),
        }
    }

    /// The bonded workers but this node. Where the registry does not answer, those known before stand in.
    pub(crate) fn workers(&self) -> Result<Arc<Vec<Peer>>, ApiError> {
        let before = lock(&self.listed.value).as_ref().map(|(_, peers)| Arc::clone(peers));
        self.listed.get(self.config.memory, || match (self.list(), before) {
            (Ok(peers), _) => Ok(peers),
            (Err(error), Some(before)) => {
                tracing::warn!(%error, "gateway.workers: those known before stand in");
                Ok(before.as_ref().clone())
            }
            (Err(error), None) => Err(error),
        })
    }

    fn list(&self) -> Result<Vec<Peer>, ApiError> {
        let entries = self.directory.workers(self.config.workers_max)?;
        let others = entries.into_iter().take(self.config.workers_max);
        let others = others.filter(|entry| entry.executor != self.own);
        let peers: Vec<Peer> = others
            .filter_map(|entry| match entry.endpoint.parse() {
                Ok(endpoint) => Some(Peer { executor: entry.executor, endpoint }),
                Err(error) => {
                    tracing::debug!(worker = %entry.executor, %error, "gateway.workers: no endpoint");
                    None
                }
            })
            .collect();
        let now = Instant::now();
        // Who left and came back to lie again is still put aside.
        lock(&self.health).retain(|executor, health| {
            let listed = peers.iter().any(|peer| peer.executor == *executor);
            listed || health.in_flight > 0 || health.aside(now).is_some_and(|aside| aside.lied)
        });
        Ok(peers)
    }

    /// A worker by its key.
    pub(crate) fn worker(&self, executor: ExecutorId) -> Result<Option<Peer>, ApiError> {
        Ok(self.workers()?.iter().find(|peer| peer.executor == executor).cloned())
    }

    /// Workers that say that they serve a model, the one to be asked first in front.
    pub(crate) fn serving(&self, client: &Client, model: &ModelId) -> Result<Vec<Peer>, ApiError> {
        let remembered = {
            let mut serving = lock(&self.serving);
            if serving.len() >= MODELS_MAX && !serving.contains_key(model) {
                serving.clear();
            }
            Arc::clone(serving.entry(*model).or_default())
        };
        let found = remembered.get(self.config.memory, || self.ask_all(client, model))?;
        // That nobody serves a model is not remembered: the next one may come any time.
        if found.is_empty() {
            remembered.forget();
        }
        Ok(self.ordered(model, &found))
    }

    fn ask_all(&self, client: &Client, model: &ModelId) -> Result<Vec<Peer>, ApiError> {
        let workers = self.workers()?;
        let mut serving = Vec::new();
        let asked = self.ordered(model, &workers);
        for some in asked[..asked.len().min(ASKED_MAX)].chunks(ASKED_AT_ONCE) {
            serving.extend(
                self.ask_some(some, |peer| client.serves(&peer.endpoint, model))
                    .into_iter()
                    .map(|(peer, ())| peer),
            );
            if serving.len() >= SERVING_MAX {
                break;
            }
        }
        Ok(serving)
    }

    /// Asks some workers at the same time; gives the answers of those that answer.
    pub(crate) fn ask_some<T: Send>(
        &self,
        peers: &[Peer],
        ask: impl Fn(&Peer) -> Result<T, WorkerFault> + Sync,
    ) -> Vec<(Peer, T)> {
        let answers: Vec<_> = thread::scope(|scope| {
            let ask = &ask;
            let asked: Vec<_> = peers.iter().map(|peer| scope.spawn(move || ask(peer))).collect();
            asked.into_iter().map(thread::ScopedJoinHandle::join).collect()
        });
        let answered = peers.iter().zip(answers).filter_map(|(peer, answer)| match answer {
            Ok(Ok(value)) => Some((peer.clone(), value)),
            Ok(Err(fault)) => {
                self.put_aside(peer, &fault);
                None
            }
            Err(_) => None,
        });
        answered.collect()
    }

    /// All workers in chunks that may be asked at the same time, the healthy ones first.
    pub(crate) fn chunks(&self) -> Result<Vec<Vec<Peer>>, ApiError> {
        let workers = self.workers()?;
        let ordered = self.ordered(&ModelId(veracity_graph::Digest([0; 32])), &workers);
        Ok(ordered[..ordered.len().min(ASKED_MAX)].chunks(ASKED_AT_ONCE).map(<[Peer]>::to_vec).collect())
    }

    fn ordered(&self, model: &ModelId, peers: &[Peer]) -> Vec<Peer> {
        let health = lock(&self.health);
        let of = |peer: &Peer| health.get(&peer.executor).copied().unwrap_or_default();
        let all: Vec<(Peer, Health)> = peers.iter().map(|peer| (peer.clone(), of(peer))).collect();
        drop(health);
        order(model, all, Instant::now())
    }

    /// Counts a request as sent to a worker.
    pub(crate) fn begin(&self, executor: ExecutorId) -> Flight<'_> {
        self.change(executor, |health| health.in_flight += 1);
        Flight { roster: self, executor }
    }

    /// A worker answered well.
    pub(crate) fn answered(&self, executor: ExecutorId, time: Duration) {
        self.change(executor, |health| {
            health.latency = Some(health.latency.map_or(time, |before| (before * 3 + time) / 4));
            health.failures = 0;
            health.aside = None;
        });
    }

    /// A worker did something wrong.
    pub(crate) fn put_aside(&self, peer: &Peer, fault: &WorkerFault) {
        let (executor, now) = (peer.executor, Instant::now());
        match fault.consequence() {
            Consequence::None => {}
            Consequence::Pause => {
                tracing::info!(worker = %executor, endpoint = %peer.endpoint, %fault, "gateway.worker: in trouble");
                self.change(executor, |health| {
                    health.failures = health.failures.saturating_add(1);
                    let lied = health.aside(now).is_some_and(|aside| aside.lied);
                    if !lied {
                        health.aside = Some(Aside { until: now + pause(health.failures), lied });
                    }
                });
            }
            Consequence::Lie => {
                tracing::warn!(worker = %executor, endpoint = %peer.endpoint, %fault, "gateway.worker: answered wrongly, put aside");
                let until = now + self.config.lie_pause;
                self.change(executor, |health| health.aside = Some(Aside { until, lied: true }));
            }
        }
    }

    /// Number of workers that are known, and of those that are put aside.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let known = lock(&self.listed.value).as_ref().map_or(0, |(_, peers)| peers.len());
        let now = Instant::now();
        let aside = lock(&self.health).values().filter(|health| health.aside(now).is_some()).count();
        (known, aside)
    }

    fn change(&self, executor: ExecutorId, change: impl FnOnce(&mut Health)) {
        change(lock(&self.health).entry(executor).or_default());
    }
}

/// The workers in the order in which they are asked. Those that lied are left out and those in trouble come last; then the
/// one with the least work to wait for. Workers that are alike are told apart by a hash of model and worker, so that one
/// model is asked of one worker, which has it loaded, and different models of different ones.
fn order(model: &ModelId, mut peers: Vec<(Peer, Health)>, now: Instant) -> Vec<Peer> {
    peers.retain(|(_, health)| !health.aside(now).is_some_and(|aside| aside.lied));
    peers.sort_by_cached_key(|(peer, health)| {
        // In powers of two from a millisecond on: a few microseconds are no reason to prefer one. A worker without a
        // history is tried like the fastest.
        let latency_ms = health.latency.map_or(1, |latency| latency.as_millis().max(1));
        let class = u128::BITS - latency_ms.leading_zeros();
        let wait = (health.in_flight as u128 + 1) << class.min(64);
        (health.aside(now).is_some(), wait, Reverse(score(model, &NodeId(*peer.executor.as_bytes()))))
    });
    peers.into_iter().map(|(peer, _)| peer).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use veracity_graph::Digest;

    use super::*;

    fn peer(seed: u8) -> Peer {
        Peer {
            executor: ExecutorId::from_bytes([seed; 32]),
            endpoint: format!("http://127.0.0.1:{}", 1000 + u16::from(seed)).parse().unwrap(),
        }
    }

    fn model(seed: u8) -> ModelId {
        ModelId(Digest([seed; 32]))
    }

    fn first(model_seed: u8, peers: &[(Peer, Health)], now: Instant) -> Option<ExecutorId> {
        order(&model(model_seed), peers.to_vec(), now).first().map(|peer| peer.executor)
    }

    #[test]
    fn alike_workers_share_the_models() {
        let now = Instant::now();
        let peers: Vec<_> = (0..4).map(|seed| (peer(seed), Health::default())).collect();
        let mut counts = HashMap::new();
        (0..=255).for_each(|seed| *counts.entry(first(seed, &peers, now)).or_insert(0) += 1);
        assert!(counts.len() == 4 && counts.values().all(|count| (32..=96).contains(count)), "{counts:?}");
        assert_eq!(first(7, &peers, now), first(7, &peers, now), "one model has one worker");
    }

    #[test]
    fn the_least_wait_comes_first() {
        let now = Instant::now();
        let health = |in_flight, ms| Health {
            in_flight,
            latency: Some(Duration::from_millis(ms)),
            ..Health::default()
        };
        let cases = [
            ("a busy one waits", health(3, 10), health(0, 10)),
            ("a slow one waits", health(0, 100), health(0, 10)),
            ("a slow idle one loses to a fast busy one", health(0, 1000), health(3, 10)),
        ];
        for (what, worse, better) in cases {
            for model_seed in 0..16 {
                let peers = [(peer(1), worse), (peer(2), better)];
                assert_eq!(first(model_seed, &peers, now), Some(peer(2).executor), "{what}");
            }
        }
    }

    #[test]
    fn who_lied_is_not_asked_and_who_is_in_trouble_is_asked_last() {
        let now = Instant::now();
        let later = now + Duration::from_secs(60);
        let aside = |lied| Health { aside: Some(Aside { until: later, lied }), ..Health::default() };
        let busy = Health { in_flight: 100, ..Health::default() };
        let peers = vec![(peer(1), aside(true)), (peer(2), aside(false)), (peer(3), busy)];
        assert_eq!(order(&model(1), peers.clone(), now), [peer(3), peer(2)]);
        assert_eq!(order(&model(1), peers, later).len(), 3, "it is over");
    }
}
