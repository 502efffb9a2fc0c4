use veracity_receipt::{Claims, ExecutorId, ExecutorKey, ModelId, Receipt, Request, Run};

use crate::{Limits, LoadedModel, RequestError, ResponseBytes, execute};

/// Software and version in receipts.
const SOFTWARE: &str = concat!("veracity/", env!("CARGO_PKG_VERSION"));

/// Runs requests and signs what came out.
#[derive(Debug)]
pub struct Worker {
    key: ExecutorKey,
    limits: Limits,
    trace: bool,
}

/// An answer whose receipt is not signed yet, because signing takes a sequence, and a sequence must be kept before the
/// receipt leaves the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inference {
    /// The response.
    pub response: ResponseBytes,
    /// What the receipt will state about request and response, still without a sequence. Signing them does not fail.
    pub claims: Claims,
}

impl Worker {
    /// A worker that signs with `key`. With `trace`, receipts commit to the checkpoints of the run, from which a dispute
    /// can start.
    #[must_use]
    pub fn new(key: ExecutorKey, limits: Limits, trace: bool) -> Self {
        Self { key, limits, trace }
    }

    /// Who signs.
    #[must_use]
    pub fn executor(&self) -> ExecutorId {
        self.key.executor()
    }

    /// Runs a request. `issued_at` is the time in Unix seconds. [`sign`](Self::sign) makes the receipt.
    ///
    /// # Errors
    /// A [`RequestError`]; there is nothing to sign then.
    pub fn infer(
        &self,
        loaded: &LoadedModel,
        request: &Request<'_>,
        issued_at: u64,
    ) -> Result<Inference, RequestError> {
        let answer = execute(loaded, request, &self.limits, self.trace)?;
        let run = Run {
            samples: answer.usage.samples,
            macs: answer.usage.macs,
            trace_root: answer.trace_root,
            software: SOFTWARE,
            issued_at,
        };
        let model_id = ModelId::from_bytes(loaded.id().0.0);
        let claims = Claims::new(model_id, request, &answer.response.as_response(), &run);
        claims.validate()?;
        Ok(Inference { response: answer.response, claims })
    }

    /// Signs claims as the receipt number `sequence` of this executor. The caller makes sure that no other receipt ever
    /// gets this number: it draws it and signs in one step, as `SequenceLog::issue` of the store does.
    ///
    /// # Errors
    /// [`RequestError::Claims`] for claims that break a rule; those of [`infer`](Self::infer) do not.
    pub fn sign(&self, claims: Claims, sequence: u64) -> Result<Receipt, RequestError> {
        Ok(Receipt::sign(Claims { sequence: Some(sequence), ..claims }, &self.key)?)
    }
}
