//! A node that is followed over its JSON-RPC.

use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use veracity_client::{ClientError, Rpc};
use veracity_consensus::{NEWS_WAIT, Question, Unreachable, Upstream};

/// How long an answer may take, without the time that is waited for news.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(8);
/// Bytes around the hexadecimal digits of an answer.
const ENVELOPE_BYTES_MAX: u64 = 256;
/// Code with which a pool refuses a transaction.
const REFUSED: i64 = -32000;

/// A node that is followed.
pub(crate) struct RpcUpstream(Rpc);

impl RpcUpstream {
    /// The node at a URL.
    ///
    /// # Errors
    /// [`ClientError::BadUrl`].
    pub(crate) fn new(url: &str) -> Result<Self, ClientError> {
        Rpc::bounded(url, ANSWER_TIMEOUT + NEWS_WAIT).map(Self)
    }

    fn call(&self, method: &'static str, params: Value, bytes_max: usize) -> BoxFuture<'static, Called> {
        // One byte more than there can be, so that too many are told from just enough.
        let digits = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1).saturating_mul(2);
        let rpc = self.0.answers_up_to(digits.saturating_add(ENVELOPE_BYTES_MAX));
        Box::pin(async move {
            let called = tokio::task::spawn_blocking(move || rpc.call(method, params)).await;
            called.map_err(|error| Unreachable(error.to_string()))
        })
    }
}

type Called = Result<Result<Option<alloy_primitives::Bytes>, ClientError>, Unreachable>;

impl Upstream for RpcUpstream {
    fn name(&self) -> &str {
        self.0.url()
    }

    fn ask(&self, question: Question) -> BoxFuture<'static, Result<Option<Bytes>, Unreachable>> {
        let bytes_max = question.answer_bytes_max();
        let (method, params) = match question {
            Question::Latest { above } => {
                let wait_ms = u64::try_from(NEWS_WAIT.as_millis()).unwrap_or(u64::MAX);
                ("veracity_latestFinalization", json!([hexadecimal(above), hexadecimal(wait_ms)]))
            }
            Question::Block(hash) => ("veracity_getConsensusBlock", json!([hash])),
            Question::Finalized(height) => ("veracity_getFinalizedBlock", json!([hexadecimal(height)])),
            Question::State(request) => {
                ("veracity_getStateRange", json!([alloy_primitives::Bytes::from(request)]))
            }
        };
        let called = self.call(method, params, bytes_max);
        Box::pin(async move {
            let answer = called.await?.map_err(|error| Unreachable(error.to_string()))?;
            Ok(answer.map(|answer| answer.0))
        })
    }

    fn submit(&self, transaction: Bytes) -> BoxFuture<'static, Result<(), Unreachable>> {
        let params = json!([alloy_primitives::Bytes::from(transaction)]);
        let called = self.call("eth_sendRawTransaction", params, 32);
        Box::pin(async move {
            match called.await? {
                // Refused: it has it already, or it knows why no block will; the pool of this node learns that itself.
                Ok(_) | Err(ClientError::Node { code: REFUSED, .. }) => Ok(()),
                Err(error) => Err(Unreachable(error.to_string())),
            }
        })
    }
}

fn hexadecimal(number: u64) -> String {
    format!("{number:#x}")
}
