//! Which workers there are, how they do, and which of them serve a model.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    hash::{BuildHasher as _, RandomState},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use tokio::sync::Semaphore;
use veracity_graph::ModelId;
use veracity_hosting::{Endpoint, NodeId, score};
use veracity_receipt::ExecutorId;

use super::{
    Directory, ForwardConfig,
    bounded::Bounded,
    client::Client,
    fault::{Consequence, WorkerFault, pause},
    remembered::{Memory, Remembered, lock},
};
use crate::error::ApiError;

/// Most workers that are asked at the same time.
const ASKED_AT_ONCE: usize = 8;
/// Most workers that are asked about one model.
const ASKED_MAX: usize = 64;
/// As many that serve a model are enough.
const SERVING_MAX: usize = 16;
/// Most models of which it is remembered who serves them, and as many that nobody serves.
const MODELS_MAX: usize = 1024;
/// How long it is remembered that nobody serves a model: the next worker may come any time.
const UNSERVED_MEMORY: Duration = Duration::from_secs(1);
/// How long who served a model stands in while somebody asks who does.
const SERVING_STALE_MAX: Duration = Duration::from_secs(60);
/// After this time, what a worker has cost without answering counts half.
const LOSS_HALVES: Duration = Duration::from_secs(60);

/// A worker that can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) executor: ExecutorId,
    pub(crate) endpoint: Endpoint,
}

/// Which of several workers is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pick {
    /// The one that should answer first.
    Best,
    /// Any one that is not in trouble: whoever comes after a certain worker in the order cannot arrange it.
    Any,
}

/// How a worker does.
#[derive(Debug, Clone, Copy, Default)]
struct Health {
    in_flight: usize,
    /// Average time of its answers, of which the last one counts a quarter.
    latency: Option<Duration>,
    /// Time that it took last without answering, and when.
    lost: Option<(Instant, Duration)>,
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

    fn lied(&self, now: Instant) -> bool {
        self.aside(now).is_some_and(|aside| aside.lied)
    }

    /// What it has cost without answering.
    fn lost(&self, now: Instant) -> Duration {
        let Some((since, time)) = self.lost else { return Duration::ZERO };
        let halvings = now.saturating_duration_since(since).as_secs() / LOSS_HALVES.as_secs();
        time / (1_u32 << halvings.min(31))
    }

    /// A right answer makes up for half of what was lost, and ends trouble, but no lie.
    fn answered(&mut self, time: Duration, now: Instant) {
        self.latency = Some(self.latency.map_or(time, |before| (before * 3 + time) / 4));
        self.lost = Some((now, self.lost(now) / 2));
        self.failures = 0;
        self.aside = self.aside.filter(|aside| aside.lied);
    }

    fn lose(&mut self, time: Duration, now: Instant) {
        self.lost = Some((now, self.lost(now).max(time)));
    }

    fn put_aside(&mut self, consequence: Consequence, lie_pause: Duration, now: Instant) {
        match consequence {
            Consequence::None => {}
            Consequence::Pause(first) => {
                if !self.lied(now) {
                    self.failures = self.failures.saturating_add(1);
                    self.aside = Some(Aside { until: now + pause(first, self.failures), lied: false });
                }
            }
            // Of many requests that find it busy at the same time, one counts.
            Consequence::Rest(first) => {
                if self.aside(now).is_none() {
                    self.failures = self.failures.saturating_add(1);
                    self.aside = Some(Aside { until: now + pause(first, self.failures), lied: false });
                }
            }
            Consequence::Lie => self.aside = Some(Aside { until: now + lie_pause, lied: true }),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Roster {
    directory: Arc<dyn Directory>,
    config: ForwardConfig,
    own: ExecutorId,
    /// Known to this process alone, so that nobody finds keys that come first for a model.
    spread: RandomState,
    /// Places of those who ask workers about models.
    pub(crate) questions: Semaphore,
    listed: Remembered<Vec<Peer>>,
    serving: Mutex<Bounded<ModelId, Arc<Serving>>>,
    /// Models that nobody served, and when that was found.
    unserved: Mutex<Bounded<ModelId, Instant>>,
    /// Models about which workers are being asked; as many as there are places at most.
    asking: Mutex<HashMap<ModelId, Arc<Serving>>>,
    health: Mutex<HashMap<ExecutorId, Health>>,
}

type Serving = Remembered<Vec<Peer>>;

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
            spread: RandomState::new(),
            questions: Semaphore::new(config.questions_max.min(Semaphore::MAX_PERMITS)),
            listed: Remembered::default(),
            serving: Mutex::new(Bounded::new(MODELS_MAX)),
            unserved: Mutex::new(Bounded::new(MODELS_MAX)),
            asking: Mutex::default(),
            health: Mutex::default(),
        }
    }

    /// The bonded workers but this node. Where the registry does not answer, those known before stand in for a while.
    pub(crate) fn workers(&self) -> Result<Arc<Vec<Peer>>, ApiError> {
        let memory = Memory { fresh: self.config.memory, stale: self.config.stale_max };
        self.listed.get(memory, || self.list())
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
            listed || health.in_flight > 0 || health.lied(now)
        });
        Ok(peers)
    }

    /// A worker by its key.
    pub(crate) fn worker(&self, executor: ExecutorId) -> Result<Option<Peer>, ApiError> {
        Ok(self.workers()?.iter().find(|peer| peer.executor == executor).cloned())
    }

    /// Workers that say that they serve a model, the one to be asked first in front.
    pub(crate) fn serving(&self, client: &Client, model: &ModelId) -> Result<Vec<Peer>, ApiError> {
        let known = lock(&self.serving).get(model).cloned();
        let unserved = lock(&self.unserved).get(model).is_some_and(|since| since.elapsed() < UNSERVED_MEMORY);
        if known.is_none() && unserved {
            return Ok(vec![]);
        }
        let serving = known.unwrap_or_else(|| Arc::clone(lock(&self.asking).entry(*model).or_default()));
        let memory = Memory { fresh: self.config.memory, stale: SERVING_STALE_MAX.max(self.config.memory) };
        let found = serving.get_within(&self.questions, memory, || self.ask_all(client, model));
        lock(&self.asking).remove(model);
        let found = found?;
        match found.is_empty() {
            // Those that nobody serves take no room from those that are used.
            true => {
                lock(&self.serving).remove(model);
                lock(&self.unserved).insert(*model, Instant::now());
            }
            false => lock(&self.serving).insert(*model, serving),
        }
        Ok(self.ordered(model, &found))
    }

    /// A worker said that it serves a model, and does not.
    pub(crate) fn withdraw(&self, model: &ModelId, executor: ExecutorId) {
        if let Some(serving) = lock(&self.serving).get(model) {
            serving.change(|peers| peers.iter().filter(|peer| peer.executor != executor).cloned().collect());
        }
    }

    fn ask_all(&self, client: &Client, model: &ModelId) -> Result<Vec<Peer>, ApiError> {
        let workers = self.workers()?;
        let mut serving = Vec::new();
        let asked = to_ask(&self.spread, model, self.with_health(&workers), Instant::now());
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

    /// Workers that are not in trouble, in chunks that may be asked at the same time.
    pub(crate) fn chunks(&self) -> Result<Vec<Vec<Peer>>, ApiError> {
        let (workers, now) = (self.workers()?, Instant::now());
        let mut peers = self.with_health(&workers);
        peers.retain(|(_, health)| health.aside(now).is_none());
        peers.sort_by_cached_key(|(peer, _)| self.spread.hash_one(peer.executor));
        let peers: Vec<Peer> = peers.into_iter().map(|(peer, _)| peer).take(ASKED_MAX).collect();
        Ok(peers.chunks(ASKED_AT_ONCE).map(<[Peer]>::to_vec).collect())
    }

    fn with_health(&self, peers: &[Peer]) -> Vec<(Peer, Health)> {
        let health = lock(&self.health);
        let of = |peer: &Peer| health.get(&peer.executor).copied().unwrap_or_default();
        peers.iter().map(|peer| (peer.clone(), of(peer))).collect()
    }

    fn ordered(&self, model: &ModelId, peers: &[Peer]) -> Vec<Peer> {
        let ordered = order(&self.spread, model, self.with_health(peers), Instant::now());
        ordered.into_iter().map(|(peer, _)| peer).collect()
    }

    /// Takes one out of those that are left to be asked, by what is known of them now; those that lied since go.
    pub(crate) fn pick(&self, model: &ModelId, left: &mut Vec<Peer>, pick: Pick) -> Option<Peer> {
        let now = Instant::now();
        let ordered = order(&self.spread, model, self.with_health(left), now);
        let well = ordered.iter().take_while(|(_, health)| health.aside(now).is_none()).count();
        *left = ordered.into_iter().map(|(peer, _)| peer).collect();
        let among = if well == 0 { left.len() } else { well };
        let index = match pick {
            Pick::Any if among > 0 => chance(among),
            Pick::Any | Pick::Best => 0,
        };
        (index < left.len()).then(|| left.remove(index))
    }

    /// Counts a request as sent to a worker.
    pub(crate) fn begin(&self, executor: ExecutorId) -> Flight<'_> {
        self.change(executor, |health| health.in_flight += 1);
        Flight { roster: self, executor }
    }

    /// A worker answered well.
    pub(crate) fn answered(&self, executor: ExecutorId, time: Duration) {
        self.change(executor, |health| health.answered(time, Instant::now()));
    }

    /// A worker took this time and gave no answer.
    pub(crate) fn lost(&self, executor: ExecutorId, time: Duration) {
        self.change(executor, |health| health.lose(time, Instant::now()));
    }

    /// A worker did something wrong.
    pub(crate) fn put_aside(&self, peer: &Peer, fault: &WorkerFault) {
        let (executor, consequence) = (peer.executor, fault.consequence());
        match consequence {
            Consequence::None => return,
            Consequence::Rest(_) => tracing::debug!(worker = %executor, %fault, "gateway.worker: rests"),
            Consequence::Pause(_) => {
                tracing::info!(worker = %executor, endpoint = %peer.endpoint, %fault, "gateway.worker: in trouble");
            }
            Consequence::Lie => {
                tracing::warn!(worker = %executor, endpoint = %peer.endpoint, %fault, "gateway.worker: answered wrongly, put aside");
            }
        }
        let lie_pause = self.config.lie_pause;
        self.change(executor, |health| health.put_aside(consequence, lie_pause, Instant::now()));
    }

    /// Number of workers that are known, and of those that are put aside.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let known = self.listed.last().map_or(0, |peers| peers.len());
        let now = Instant::now();
        let aside = lock(&self.health).values().filter(|health| health.aside(now).is_some()).count();
        (known, aside)
    }

    fn change(&self, executor: ExecutorId, change: impl FnOnce(&mut Health)) {
        change(lock(&self.health).entry(executor).or_default());
    }
}

/// The workers in the order in which they get a request. Those that lied are left out and those in trouble come last; then
/// the one with the least work to wait for. Workers that are alike are told apart by a hash of model and worker, so that
/// one model is asked of one worker, which has it loaded, and different models of different ones.
fn order(
    spread: &RandomState,
    model: &ModelId,
    mut peers: Vec<(Peer, Health)>,
    now: Instant,
) -> Vec<(Peer, Health)> {
    peers.retain(|(_, health)| !health.lied(now));
    // Who has no history is neither better nor worse than others: a new key wins nothing.
    let unknown = median(peers.iter().filter_map(|(_, health)| health.latency).collect());
    peers.sort_by_cached_key(|(peer, health)| {
        // In powers of two from a millisecond on: a few microseconds are no reason to prefer one.
        let cost = health.latency.unwrap_or(unknown) + health.lost(now);
        let class = u128::BITS - cost.as_millis().max(1).leading_zeros();
        let wait = (health.in_flight as u128 + 1) << class.min(64);
        (health.aside(now).is_some(), wait, spread.hash_one((model, peer.executor)))
    });
    peers
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// The workers in the order in which they are asked whether they serve a model, those in trouble last: in turns one by the
/// hash of this process, which nobody can foresee, and one by [`score`], by which hosts keep models.
fn to_ask(spread: &RandomState, model: &ModelId, mut peers: Vec<(Peer, Health)>, now: Instant) -> Vec<Peer> {
    peers.retain(|(_, health)| !health.lied(now));
    let (troubled, well): (Vec<_>, Vec<_>) =
        peers.into_iter().partition(|(_, health)| health.aside(now).is_some());
    let in_turns = |peers: Vec<(Peer, Health)>| {
        let mut by_chance: Vec<Peer> = peers.into_iter().map(|(peer, _)| peer).collect();
        let mut by_score = by_chance.clone();
        by_chance.sort_by_cached_key(|peer| spread.hash_one((model, peer.executor)));
        by_score.sort_by_cached_key(|peer| Reverse(score(model, &NodeId(*peer.executor.as_bytes()))));
        by_chance.into_iter().zip(by_score).flat_map(|(one, other)| [one, other])
    };
    let mut seen = HashSet::new();
    in_turns(well).chain(in_turns(troubled)).filter(|peer| seen.insert(peer.executor)).collect()
}

/// One of so many, at least one.
fn chance(n: usize) -> usize {
    let drawn = RandomState::new().hash_one(n) % n as u64;
    usize::try_from(drawn).unwrap_or_default()
}

#[cfg(test)]
mod tests;
