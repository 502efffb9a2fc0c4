//! One call of JSON-RPC over HTTP.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use alloy_primitives::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use ureq::Agent;

use crate::{ClientError, Refusal};

/// Largest answer that is read.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// Code with which a node answers a call that a contract reverted.
const REVERTED: i64 = 3;

/// A JSON-RPC client of one node, or of one at a time of several. Cheap to clone; clones share connections.
#[derive(Debug, Clone)]
pub struct Rpc {
    url: Arc<str>,
    agent: Agent,
    answer_bytes_max: u64,
    reserve: Option<Arc<Reserve>>,
}

/// Whether a node that was not asked before is one of the right network.
type IsRight = Box<dyn Fn(&Rpc) -> bool + Send + Sync>;

/// Nodes of which one is asked until it cannot be reached.
struct Reserve {
    nodes: Vec<Rpc>,
    current: AtomicUsize,
    is_right: IsRight,
}

impl fmt::Debug for Reserve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.nodes.iter().map(Rpc::url)).finish()
    }
}

impl Reserve {
    fn call<T>(&self, ask: impl Fn(&Rpc) -> Result<T, ClientError>) -> Result<T, ClientError> {
        let first = self.current.load(Ordering::Relaxed);
        let (before, from) = self.nodes.split_at(first.min(self.nodes.len()));
        let mut unreachable = None;
        for (step, node) in from.iter().chain(before).enumerate() {
            if step > 0 && !(self.is_right)(node) {
                tracing::warn!(node = node.url(), "a node in reserve is not reached, or not of this network");
                continue;
            }
            match ask(node) {
                Err(error @ ClientError::Unreachable { .. }) => {
                    unreachable.get_or_insert(error);
                }
                answer => {
                    if step > 0 {
                        tracing::warn!(node = node.url(), "another node of the chain is asked from now on");
                        let place = first.saturating_add(step).checked_rem(self.nodes.len());
                        self.current.store(place.unwrap_or(0), Ordering::Relaxed);
                    }
                    return answer;
                }
            }
        }
        Err(unreachable.expect("the first node was asked"))
    }
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    result: Value,
    error: Option<NodeError>,
}

#[derive(Deserialize)]
struct NodeError {
    #[serde(default)]
    code: i64,
    #[serde(default)]
    message: String,
    #[serde(default)]
    data: Value,
}

impl Rpc {
    /// A client of the node at a URL such as `http://127.0.0.1:8545`. Nothing is asked yet.
    ///
    /// # Errors
    /// [`ClientError::BadUrl`].
    pub fn new(url: &str) -> Result<Self, ClientError> {
        Self::with(url, None)
    }

    /// A client of a node that is not trusted: each call ends after this time, however slowly an answer comes.
    ///
    /// # Errors
    /// [`ClientError::BadUrl`].
    pub fn bounded(url: &str, call_timeout: Duration) -> Result<Self, ClientError> {
        Self::with(url, Some(call_timeout))
    }

    /// The same node and connections, for answers of at most so many bytes.
    #[must_use]
    pub fn answers_up_to(&self, answer_bytes_max: u64) -> Self {
        Self { answer_bytes_max, ..self.clone() }
    }

    fn with(url: &str, call_timeout: Option<Duration>) -> Result<Self, ClientError> {
        if !(url.starts_with("http://") || url.starts_with("https://")) {
            return Err(ClientError::BadUrl { url: url.to_owned() });
        }
        let builder = Agent::config_builder();
        // What runs on this machine is not behind a proxy.
        let builder = if is_loopback(url) { builder.proxy(None) } else { builder };
        let agent = builder
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_per_read(Some(READ_TIMEOUT))
            .timeout_per_write(Some(READ_TIMEOUT))
            .timeout_global(call_timeout)
            .build()
            .into();
        Ok(Self { url: url.into(), agent, answer_bytes_max: ANSWER_BYTES_MAX, reserve: None })
    }

    /// A client that asks this node, and when it cannot be reached the next of these from then on, round and round, if
    /// `is_right` says so. What is no URL is left out.
    #[must_use]
    pub(crate) fn with_reserve<'a>(
        self,
        urls: impl IntoIterator<Item = &'a str>,
        is_right: impl Fn(&Self) -> bool + Send + Sync + 'static,
    ) -> Self {
        let others = urls.into_iter().filter(|url| **url != *self.url).map(Self::new);
        let others = others.filter_map(|other| {
            other.inspect_err(|error| tracing::warn!(%error, "a node in reserve is left out")).ok()
        });
        let nodes = std::iter::once(self.clone()).chain(others).collect();
        let reserve = Reserve { nodes, current: AtomicUsize::new(0), is_right: Box::new(is_right) };
        Self { reserve: Some(Arc::new(reserve)), ..self }
    }

    /// The URL of the node that is asked now.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.current().url
    }

    fn current(&self) -> &Self {
        let current = self.reserve.as_ref().and_then(|r| r.nodes.get(r.current.load(Ordering::Relaxed)));
        current.unwrap_or(self)
    }

    /// Calls a method with a list of parameters.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`], [`ClientError::Strange`] if the answer is none of JSON-RPC or not a `T`,
    /// [`ClientError::Refused`] if a contract refuses, [`ClientError::Node`] if the node does.
    pub fn call<T: DeserializeOwned>(&self, method: &str, params: impl Serialize) -> Result<T, ClientError> {
        let request = request(method, params);
        let ask = |node: &Self| node.ask(method, &request, self.answer_bytes_max);
        self.reserve.as_ref().map_or_else(|| ask(self), |reserve| reserve.call(ask))
    }

    /// Calls a method of the node that is asked now, and of no other: what the answer means depends on who was asked
    /// before.
    ///
    /// # Errors
    /// As [`Rpc::call`].
    pub(crate) fn call_here<T: DeserializeOwned>(
        &self,
        method: &str,
        params: impl Serialize,
    ) -> Result<T, ClientError> {
        let request = request(method, params);
        self.current().ask(method, &request, self.answer_bytes_max)
    }

    /// Asks this node and no other.
    fn ask<T: DeserializeOwned>(
        &self,
        method: &str,
        request: &str,
        answer_bytes_max: u64,
    ) -> Result<T, ClientError> {
        let call = self.agent.post(&*self.url).header("content-type", "application/json");
        let mut answer = call.send(request).map_err(|e| self.unreachable(&e))?;
        let status = answer.status();
        let body = answer.body_mut().with_config().limit(answer_bytes_max).read_to_vec();
        let body = body.map_err(|e| self.unreachable(&e))?;
        // A server that refuses the request as a whole answers in text.
        let parsed = serde_json::from_slice::<Answer>(&body);
        let answer =
            parsed.map_err(|_| self.strange(format!("HTTP {status} without an answer of JSON-RPC")))?;
        match answer.error {
            Some(error) => Err(node_error(method, error)),
            None => serde_json::from_value(answer.result)
                .map_err(|e| self.strange(format!("an answer to {method} that is none: {e}"))),
        }
    }

    /// The height of the latest block.
    ///
    /// # Errors
    /// As [`Rpc::call`].
    pub fn height(&self) -> Result<u64, ClientError> {
        self.quantity("eth_blockNumber", json!([]))
    }

    /// The number that a method answers.
    pub(crate) fn quantity(&self, method: &str, params: impl Serialize) -> Result<u64, ClientError> {
        let value: Value = self.call(method, params)?;
        quantity(&value).ok_or_else(|| self.strange(format!("an answer to {method} that is no number")))
    }

    pub(crate) fn strange(&self, what: String) -> ClientError {
        ClientError::Strange { url: self.url().to_owned(), what }
    }

    fn unreachable(&self, error: &ureq::Error) -> ClientError {
        ClientError::Unreachable { url: self.url.to_string(), reason: error.to_string() }
    }
}

fn request(method: &str, params: impl Serialize) -> String {
    json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string()
}

/// A quantity of JSON-RPC: hexadecimal digits after `0x`.
#[must_use]
pub fn quantity(value: &Value) -> Option<u64> {
    u64::from_str_radix(value.as_str()?.strip_prefix("0x")?, 16).ok()
}

fn node_error(method: &str, error: NodeError) -> ClientError {
    let NodeError { code, message, data } = error;
    if code == REVERTED {
        let data: Bytes = serde_json::from_value(data).unwrap_or_default();
        return ClientError::Refused(Refusal::new(data, message));
    }
    ClientError::Node { method: method.to_owned(), code, message }
}

fn is_loopback(url: &str) -> bool {
    let host = url.split_once("://").map_or("", |(_, rest)| rest);
    ["127.", "localhost", "[::1]"].into_iter().any(|prefix| host.starts_with(prefix))
}
