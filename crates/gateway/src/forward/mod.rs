//! Requests that a worker on another machine answers (`docs/spec/gateway.md`).
//!
//! An answer is checked as a whole before its first byte is passed on, so any number of workers may be tried until one
//! answers rightly, and the client sees only that one.

mod bounded;
mod check;
mod client;
mod config;
mod directory;
mod fault;
mod names;
mod remembered;
mod roster;

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::sync::{Semaphore, SemaphorePermit};
use veracity_graph::{Digest, ModelId};
use veracity_receipt::{ExecutorId, NetworkKey, Receipt, ReceiptId, Request, Response};
use veracity_worker::{Refusal, protocol::PROTOCOL};

pub use config::ForwardConfig;
pub use directory::{Directory, DirectoryError, WorkerEntry};

use bounded::Bounded;
use check::{Exchange, check};
use client::{Client, NoReply, Reply, is_over};
use fault::WorkerFault;
use names::Names;
use remembered::{Memory, Remembered, lock};
use roster::{Peer, Pick, Roster};

pub(crate) use client::{Asked, HOP};

use crate::{body::Buffered, error::ApiError, gateway::Shared};

/// Most receipts whose evidence is kept in memory.
const EVIDENCE_MAX: usize = 1024;
/// Most faults that an error names.
const FAULTS_SHOWN: usize = 4;
/// A worker that says within this time that it is busy has cost the request nothing.
const AT_ONCE: Duration = Duration::from_secs(1);
/// Most models of workers that are listed.
const LISTED_MAX: usize = 1024;
/// How long the list of models stands in while the next one is made.
const LIST_STALE_MAX: Duration = Duration::from_secs(60);

/// The network that a node takes part in, as far as requests need it.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) names: Names,
    /// None where nothing is forwarded.
    pub(crate) forwarder: Option<Forwarder>,
}

impl Network {
    pub(crate) fn new(
        directory: Arc<dyn Directory>,
        own: ExecutorId,
        key: NetworkKey,
        forward: Option<ForwardConfig>,
    ) -> Self {
        let ForwardConfig { memory, stale_max, .. } = forward.unwrap_or_default();
        let memory = Memory { fresh: memory, stale: stale_max };
        let forwarder = forward.map(|config| Forwarder {
            client: Client::new(config),
            roster: Roster::new(Arc::clone(&directory), config, own),
            places: Semaphore::new(config.forwards_max.min(Semaphore::MAX_PERMITS)),
            listed: Remembered::default(),
            passing: Mutex::default(),
            evidence: Mutex::new(Bounded::new(EVIDENCE_MAX)),
            config,
            key: Box::new(key),
        });
        Self { names: Names::new(directory, memory), forwarder }
    }
}

/// Sends requests to workers and checks what comes back.
#[derive(Debug)]
pub(crate) struct Forwarder {
    config: ForwardConfig,
    /// Whose blocks evidence must lie in.
    key: Box<NetworkKey>,
    client: Client,
    roster: Roster,
    places: Semaphore,
    /// What the workers list, each model with its name.
    listed: Remembered<Vec<(String, ModelId)>>,
    /// Held from looking whether a receipt was passed on until it is kept.
    passing: Mutex<()>,
    /// Receipts with evidence.
    evidence: Mutex<Bounded<ReceiptId, Receipt>>,
}

/// An answer that was checked and may be passed on.
#[derive(Debug)]
pub(crate) struct Passed {
    pub(crate) json_length: Option<u64>,
    pub(crate) body: Buffered,
    pub(crate) receipt: Receipt,
}

/// What a worker refused.
#[derive(Debug)]
struct Refused {
    peer: Peer,
    refusal: Refusal,
    text: String,
}

impl Forwarder {
    /// A place among the requests that are forwarded.
    fn place(&self) -> Result<SemaphorePermit<'_>, ApiError> {
        self.places.try_acquire().map_err(|_| ApiError::Overloaded { what: "forwarded requests" })
    }

    /// A place among the questions to workers.
    pub(crate) fn question(&self) -> Result<SemaphorePermit<'_>, ApiError> {
        let overloaded = |_| ApiError::Overloaded { what: "questions to workers" };
        self.roster.questions.try_acquire().map_err(overloaded)
    }

    /// Sends a request to one worker after the other until one answers rightly. Blocks.
    ///
    /// A refusal carries no signature, so it is passed on only if a second worker refuses too or there is none.
    pub(crate) fn forward(&self, shared: &Shared, asked: &Asked<'_>) -> Result<Passed, ApiError> {
        let mut left = self.roster.serving(&self.client, &asked.model)?;
        if left.is_empty() {
            return Err(ApiError::NoWorker { name: asked.name.to_owned() });
        }
        // Taken only now: requests for what nobody serves leave the places to others.
        let _place = self.place()?;
        let deadline = Instant::now() + self.config.total_timeout;
        let (mut refused, mut faults, mut n_attempts) = (None::<Refused>, Vec::new(), 0);
        while n_attempts < self.config.attempts_max && !is_over(deadline) {
            let pick = if refused.is_some() { Pick::Any } else { Pick::Best };
            let Some(peer) = self.roster.pick(&asked.model, &mut left, pick) else { break };
            let started = Instant::now();
            let attempt = self.attempt(shared, &peer, asked);
            let time = started.elapsed();
            match attempt {
                Ok(Ok(passed)) => return Ok(passed),
                Ok(Err(second)) => {
                    self.roster.lost(peer.executor, time);
                    match refused {
                        Some(first) => return Err(first.error()),
                        None => refused = Some(second),
                    }
                    n_attempts += 1;
                }
                Err(NoReply::Own(error)) => return Err(error),
                Err(NoReply::Worker(fault)) => {
                    shared.metrics.attempt(fault.label());
                    self.failed(asked, &peer, &fault, time);
                    n_attempts += usize::from(!fault.is_absence() || time >= AT_ONCE);
                    faults.push((peer.executor, fault));
                }
            }
        }
        Err(match refused {
            // There is no other who could say something else.
            Some(first) if left.is_empty() => first.error(),
            Some(Refused { peer, refusal, .. }) => {
                faults.push((peer.executor, WorkerFault::Unconfirmed { code: refusal.code }));
                why(asked, &faults)
            }
            None => why(asked, &faults),
        })
    }

    fn failed(&self, asked: &Asked<'_>, peer: &Peer, fault: &WorkerFault, time: Duration) {
        self.roster.lost(peer.executor, time);
        self.roster.put_aside(peer, fault);
        if *fault == WorkerFault::Withdrawn {
            self.roster.withdraw(&asked.model, peer.executor);
        }
    }

    fn attempt(
        &self,
        shared: &Shared,
        peer: &Peer,
        asked: &Asked<'_>,
    ) -> Result<Result<Passed, Refused>, NoReply> {
        let (started, _flight) = (Instant::now(), self.roster.begin(peer.executor));
        let (json_length, body, receipt) = match self.client.infer(&peer.endpoint, asked)? {
            Reply::Answer { json_length, body, receipt } => (json_length, body, receipt),
            Reply::Refusal { refusal, text } => {
                shared.metrics.attempt("refused");
                return Ok(Err(Refused { peer: peer.clone(), refusal, text }));
            }
        };
        let exchange = Exchange {
            executor: peer.executor,
            model_id: veracity_receipt::ModelId::from_bytes(asked.model.0.0),
            request: Request {
                protocol: PROTOCOL,
                model_name: asked.name,
                json_length: asked.json_length,
                body: asked.body,
            },
            response: Response { json_length, body: &body.bytes },
            now: crate::infer::unix_seconds(),
            took_s: started.elapsed().as_secs(),
        };
        let receipt = check(&receipt, &exchange)?;
        self.keep(shared, &receipt)?;
        let time = started.elapsed();
        self.roster.answered(peer.executor, time);
        shared.metrics.attempt("answered");
        shared.metrics.forward_seconds.observe(time.as_secs_f64());
        Ok(Ok(Passed { json_length, body, receipt }))
    }

    /// Keeps a receipt before its answer is passed on, so that it can be asked for afterwards, also of the next process.
    fn keep(&self, shared: &Shared, receipt: &Receipt) -> Result<(), NoReply> {
        let (id, own) = (receipt.id(), |error| NoReply::Own(error));
        let _one_at_a_time = lock(&self.passing);
        if shared.receipts.get(id.as_bytes()).map_err(|e| own(e.into()))?.is_some() {
            return Err(WorkerFault::Replayed { id }.into());
        }
        shared.receipts.append(id.as_bytes(), &receipt.encode()).map_err(|e| own(e.into()))
    }

    /// Whether some worker serves a model. Blocks.
    pub(crate) fn is_served(&self, name: &str, model: &ModelId) -> Result<(), ApiError> {
        match self.roster.serving(&self.client, model)?.is_empty() {
            true => Err(ApiError::NoWorker { name: name.to_owned() }),
            false => Ok(()),
        }
    }

    /// How a worker describes a model. Blocks.
    pub(crate) fn describe(&self, name: &str, model: &ModelId) -> Result<Value, ApiError> {
        let peers = self.roster.serving(&self.client, model)?;
        let _place = self.question()?;
        for peer in peers.iter().take(self.config.attempts_max) {
            match self.client.describe(&peer.endpoint, name, model) {
                Ok(described) => return Ok(described),
                Err(fault) => self.roster.put_aside(peer, &fault),
            }
        }
        Err(ApiError::NoWorker { name: name.to_owned() })
    }

    /// The models that workers say they serve, each with the name that it is asked for by: that of the registry if it means
    /// this model, else its id. Blocks.
    pub(crate) fn reachable(&self, names: &Names) -> Result<Arc<Vec<(String, ModelId)>>, ApiError> {
        let memory = Memory { fresh: self.config.memory, stale: LIST_STALE_MAX.max(self.config.memory) };
        self.listed.get_within(&self.roster.questions, memory, || {
            let ids = self.listed_models()?;
            Ok(named(names, ids, Instant::now() + self.config.question_timeout))
        })
    }

    fn listed_models(&self) -> Result<Vec<ModelId>, ApiError> {
        let deadline = Instant::now() + self.config.question_timeout;
        let mut lists = Vec::new();
        for chunk in self.roster.chunks()?.into_iter().take_while(|_| !is_over(deadline)) {
            let answers = self.roster.ask_some(&chunk, |peer| self.client.models(&peer.endpoint));
            lists.extend(answers.into_iter().map(|(_, ids)| ids));
        }
        Ok(in_turns(&lists, LISTED_MAX))
    }

    /// A receipt that was passed on, with evidence if its worker has some that holds. Blocks while the worker is asked.
    pub(crate) fn with_evidence(&self, receipt: Receipt) -> Receipt {
        let id = receipt.id();
        if let Some(known) = lock(&self.evidence).get(&id) {
            return known.clone();
        }
        // Without a place the receipt is given as it is; it can be asked for again.
        let Ok(_place) = self.question() else { return receipt };
        let peer = self.roster.worker(receipt.executor()).ok().flatten();
        let found = peer.and_then(|peer| self.client.receipt(&peer.endpoint, &id).ok());
        let found = found.and_then(|bytes| Receipt::decode(&bytes).ok()).filter(|found| found.id() == id);
        match found.filter(|found| self.is_anchored(found)) {
            Some(anchored) => {
                lock(&self.evidence).insert(id, anchored.clone());
                anchored
            }
            None => receipt,
        }
    }

    fn is_anchored(&self, receipt: &Receipt) -> bool {
        let evidence = receipt.evidence().zip(receipt.subject());
        evidence
            .is_some_and(|(evidence, subject)| veracity_light::verify(evidence, &subject, &self.key).is_ok())
    }

    /// Number of workers that are known, and of those that are put aside.
    pub(crate) fn counts(&self) -> (usize, usize) {
        self.roster.counts()
    }
}

impl Refused {
    fn error(self) -> ApiError {
        ApiError::WorkerRefused { refusal: self.refusal, text: self.text }
    }
}

/// The entries of several lists, each once and at most so many, in turns: one list takes no room from the others.
fn in_turns(lists: &[Vec<ModelId>], max: usize) -> Vec<ModelId> {
    let longest = lists.iter().map(Vec::len).max().unwrap_or_default();
    let mut seen = HashSet::new();
    let ids = (0..longest).flat_map(|at| lists.iter().filter_map(move |list| list.get(at))).copied();
    ids.filter(|id| seen.insert(*id)).take(max).collect()
}

/// Models with their names. Where the registry does not say in time what a name means, the id is one too.
fn named(names: &Names, ids: Vec<ModelId>, deadline: Instant) -> Vec<(String, ModelId)> {
    let published = names.published(&ids).unwrap_or_else(|error| {
        tracing::warn!(%error, "gateway.models: listed without names");
        vec![None; ids.len()]
    });
    let mut answers = true;
    let mut named = BTreeMap::new();
    for (id, published) in ids.into_iter().zip(published) {
        let name = published.filter(|_| answers && !is_over(deadline)).filter(|name| {
            let meant = names.resolve(name);
            answers = meant.is_ok();
            meant.is_ok_and(|meant| meant == Some(id))
        });
        named.insert(name.unwrap_or_else(|| id.to_string()), id);
    }
    named.into_iter().collect()
}

/// Why no worker answered.
fn why(asked: &Asked<'_>, faults: &[(ExecutorId, WorkerFault)]) -> ApiError {
    let name = asked.name.to_owned();
    if faults.iter().all(|(_, fault)| fault.is_absence() && *fault != WorkerFault::Busy) {
        return ApiError::NoWorker { name };
    }
    if faults.iter().all(|(_, fault)| fault.is_absence()) {
        return ApiError::Overloaded { what: "other requests at the workers" };
    }
    let shown = faults.iter().take(FAULTS_SHOWN);
    let faults: Vec<String> = shown.map(|(worker, fault)| format!("{worker}: {fault}")).collect();
    ApiError::WorkersFailed { name, faults: faults.join("; ") }
}

/// A refusal of a request by its code. Others say something about a server.
fn refusal_of(code: &str) -> Option<Refusal> {
    veracity_worker::REFUSALS.iter().find(|refusal| refusal.code == code).copied()
}

/// A model id in 64 hex digits.
pub(crate) fn model_id(text: &str) -> Option<ModelId> {
    (text.len() == 64).then(|| Digest::from_hex(text)).flatten().map(ModelId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_long_list_takes_no_room_from_the_others() {
        let id = |n: u8| ModelId(Digest([n; 32]));
        let lists = [(0..100).map(id).collect(), vec![id(200), id(0)], vec![id(201)]];
        assert_eq!(in_turns(&lists, 5), [0, 200, 201, 1, 2].map(id));
        assert_eq!(in_turns(&lists, 1000).len(), 102);
    }
}
