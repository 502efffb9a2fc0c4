//! What a verifier brings along: what it has at hand, and what it wants to see checked (specification, section 6).

use std::fmt;

use veracity_light::NetworkKey;

use crate::{CheckName, Claims, ExecutorId, ModelId, ReexecuteError, Request, Response, TraceRoot, Usage};

/// What the verifier has at hand to hold against a receipt. What is missing makes checks SKIP, never PASS.
#[derive(Clone, Copy, Default)]
pub struct Materials<'a> {
    /// Id of the model that the verifier has or expects.
    pub model_id: Option<ModelId>,
    /// The request that was sent.
    pub request: Option<Request<'a>>,
    /// The response that came back.
    pub response: Option<Response<'a>>,
    /// Runs the request again. It is asked only after signature, model and request have passed.
    pub reexecutor: Option<&'a dyn Reexecutor>,
}

impl fmt::Debug for Materials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Materials")
            .field("model_id", &self.model_id)
            .field("request", &self.request)
            .field("response", &self.response)
            .field("reexecutor", &self.reexecutor.map(Reexecutor::model_id))
            .finish()
    }
}

/// Runs a request again, bit for bit, on one model. It keeps this crate free of the engine.
pub trait Reexecutor {
    /// The model that it runs: the id computed from the files it loaded, not a name or a claim.
    fn model_id(&self) -> ModelId;

    /// Runs `request`. `claims` are signed by somebody but may be false; they are there for what a run depends on
    /// beside the request (in version 1: nothing), never for results.
    ///
    /// # Errors
    /// [`ReexecuteError::Refused`] if the model does not accept the request, which makes the receipt false;
    /// [`ReexecuteError::Unavailable`] if it could not be run here and now, which says nothing about the receipt.
    fn reexecute(&self, claims: &Claims, request: &Request<'_>) -> Result<Reexecution, ReexecuteError>;
}

/// What a run gave.
#[derive(Clone, PartialEq, Eq)]
pub struct Reexecution {
    /// As [`Response::json_length`].
    pub json_length: Option<u64>,
    /// The response body, whole.
    pub body: Vec<u8>,
    /// The trace root, if a trace was made.
    pub trace_root: Option<TraceRoot>,
    /// The usage, if it was counted.
    pub usage: Option<Usage>,
}

impl Reexecution {
    /// The response.
    #[must_use]
    pub fn response(&self) -> Response<'_> {
        Response { json_length: self.json_length, body: &self.body }
    }
}

/// Without the body, as for responses.
impl fmt::Debug for Reexecution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reexecution")
            .field("response", &self.response())
            .field("trace_root", &self.trace_root)
            .field("usage", &self.usage)
            .finish()
    }
}

/// What the verifier wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The time, in Unix seconds. Without it `time` is SKIP.
    pub now: Option<u64>,
    /// How far an executor's clock may be ahead of `now`, in seconds.
    pub tolerance_s: u64,
    /// Who must have signed. Without it `executor` is SKIP: any executor will do.
    pub executor: Option<ExecutorId>,
    /// The network whose blocks count. Without it `final` and `anchored` are SKIP.
    pub network_key: Option<NetworkKey>,
    /// Checks that must PASS for the receipt to be verified.
    pub required: Vec<CheckName>,
}

/// Believes nobody: signature, model, request and the verifier's own re-execution are required. No time, any executor, no network.
impl Default for Policy {
    fn default() -> Self {
        use CheckName::{Execution, Model, Request, Signature};
        Self {
            now: None,
            tolerance_s: 60,
            executor: None,
            network_key: None,
            required: vec![Signature, Model, Request, Execution],
        }
    }
}
