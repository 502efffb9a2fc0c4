//! Requests that a worker on another machine answers (`docs/spec/gateway.md`).
//!
//! An answer is checked as a whole before its first byte is passed on, so any number of workers may be tried until one
//! answers rightly, and the client sees only that one.

mod check;
mod client;
mod config;
mod directory;
mod fault;
mod names;
mod roster;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use veracity_graph::{Digest, ModelId};
use veracity_receipt::{ExecutorId, NetworkKey, Receipt, ReceiptId, Request, Response};
use veracity_worker::{Refusal, protocol::PROTOCOL};

pub use config::ForwardConfig;
pub use directory::{Directory, DirectoryError, WorkerEntry};

use check::{Exchange, check};
use client::{Client, NoReply, Reply, is_over};
use fault::WorkerFault;
use names::Names;
use roster::{Peer, Roster};

pub(crate) use client::{Asked, HOP};

use crate::{body::Buffered, error::ApiError, gateway::Shared};

/// Most receipts whose evidence is kept in memory.
const EVIDENCE_MAX: usize = 1024;
/// Most faults that an error names.
const FAULTS_SHOWN: usize = 4;

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
        let memory = forward.unwrap_or_default().memory;
        let forwarder = forward.map(|config| Forwarder {
            client: Client::new(config),
            roster: Roster::new(Arc::clone(&directory), config, own),
            places: Arc::new(Semaphore::new(config.forwards_max.min(Semaphore::MAX_PERMITS))),
            listed: Mutex::default(),
            passing: Mutex::default(),
            evidence: Mutex::default(),
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
    places: Arc<Semaphore>,
    /// What the workers listed last, and when.
    listed: Mutex<Option<(Instant, Vec<ModelId>)>>,
    /// Held from looking whether a receipt was passed on until it is kept.
    passing: Mutex<()>,
    evidence: Mutex<Evidences>,
}

/// Receipts with evidence, the oldest dropped first.
#[derive(Debug, Default)]
struct Evidences {
    receipts: HashMap<ReceiptId, Receipt>,
    order: VecDeque<ReceiptId>,
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
    pub(crate) fn place(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        let overloaded = |_| ApiError::Overloaded { what: "forwarded requests" };
        Arc::clone(&self.places).try_acquire_owned().map_err(overloaded)
    }

    /// Sends a request to one worker after the other until one answers rightly. Blocks.
    ///
    /// A refusal carries no signature, so it is passed on only if a second worker refuses too or there is none.
    pub(crate) fn forward(&self, shared: &Shared, asked: &Asked<'_>) -> Result<Passed, ApiError> {
        let deadline = Instant::now() + self.config.total_timeout;
        let peers = self.roster.serving(&self.client, &asked.model)?;
        let mut refused: Option<Refused> = None;
        let mut faults = Vec::new();
        let mut left = peers.iter();
        for _ in 0..self.config.attempts_max {
            let Some(peer) = (if is_over(deadline) { None } else { left.next() }) else { break };
            match self.attempt(shared, peer, asked) {
                Ok(Ok(passed)) => {
                    if let Some(Refused { peer, refusal, .. }) = refused.filter(|first| !first.refusal.local)
                    {
                        self.roster.put_aside(&peer, &WorkerFault::FalseRefusal { code: refusal.code });
                    }
                    return Ok(passed);
                }
                Ok(Err(second)) => match refused {
                    Some(first) => return Err(first.error()),
                    None => refused = Some(second),
                },
                Err(NoReply::Own(error)) => return Err(error),
                Err(NoReply::Worker(fault)) => {
                    shared.metrics.attempt(fault.label());
                    self.roster.put_aside(peer, &fault);
                    faults.push((peer.executor, fault));
                }
            }
        }
        Err(match refused {
            // There is no other who could say something else.
            Some(first) if left.len() == 0 => first.error(),
            _ => why(asked, &faults),
        })
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
        let _one_at_a_time = self.passing.lock().unwrap_or_else(PoisonError::into_inner);
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
    pub(crate) fn reachable(&self, names: &Names) -> Result<Vec<(String, ModelId)>, ApiError> {
        let ids = self.listed_models()?;
        let published = names.published(&ids)?;
        let mut named = BTreeMap::new();
        for (id, published) in ids.into_iter().zip(published) {
            let current = match published {
                Some(name) if names.resolve(&name)? == Some(id) => name,
                Some(_) | None => id.to_string(),
            };
            named.insert(current, id);
        }
        Ok(named.into_iter().collect())
    }

    fn listed_models(&self) -> Result<Vec<ModelId>, ApiError> {
        // One asks, the others wait for the answer.
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, ids)) = listed.as_ref().filter(|(since, _)| since.elapsed() < self.config.memory) {
            return Ok(ids.clone());
        }
        let mut ids = Vec::new();
        for chunk in self.roster.chunks()? {
            let answers = self.roster.ask_some(&chunk, |peer| self.client.models(&peer.endpoint));
            ids.extend(answers.into_iter().flat_map(|(_, ids)| ids));
        }
        ids.sort_unstable();
        ids.dedup();
        *listed = Some((Instant::now(), ids.clone()));
        Ok(ids)
    }

    /// A receipt that was passed on, with evidence if its worker has some that holds. Blocks while the worker is asked.
    pub(crate) fn with_evidence(&self, receipt: Receipt) -> Receipt {
        let id = receipt.id();
        if let Some(known) = self.evidences(|known| known.receipts.get(&id).cloned()) {
            return known;
        }
        let peer = self.roster.worker(receipt.executor()).ok().flatten();
        let found = peer.and_then(|peer| self.client.receipt(&peer.endpoint, &id).ok());
        let found = found.and_then(|bytes| Receipt::decode(&bytes).ok()).filter(|found| found.id() == id);
        match found.filter(|found| self.is_anchored(found)) {
            Some(anchored) => {
                self.evidences(|known| known.insert(id, anchored.clone()));
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

    fn evidences<T>(&self, use_them: impl FnOnce(&mut Evidences) -> T) -> T {
        use_them(&mut self.evidence.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Number of workers that are known, and of those that are put aside.
    pub(crate) fn counts(&self) -> (usize, usize) {
        self.roster.counts()
    }
}

impl Evidences {
    fn insert(&mut self, id: ReceiptId, receipt: Receipt) {
        if self.receipts.insert(id, receipt).is_none() {
            self.order.push_back(id);
        }
        if self.order.len() > EVIDENCE_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.receipts.remove(&oldest);
        }
    }
}

impl Refused {
    fn error(self) -> ApiError {
        ApiError::WorkerRefused { refusal: self.refusal, text: self.text }
    }
}

/// Why no worker answered.
fn why(asked: &Asked<'_>, faults: &[(ExecutorId, WorkerFault)]) -> ApiError {
    let name = asked.name.to_owned();
    let not_here = |fault: &WorkerFault| matches!(fault, WorkerFault::Busy | WorkerFault::NotServed);
    if faults.iter().all(|(_, fault)| *fault == WorkerFault::NotServed) {
        return ApiError::NoWorker { name };
    }
    if faults.iter().all(|(_, fault)| not_here(fault)) {
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
