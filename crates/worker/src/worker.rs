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

/// An answer with its receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inference {
    /// The response.
    pub response: ResponseBytes,
    /// The signed statement about request and response.
    pub receipt: Receipt,
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

    /// Runs a request and signs the receipt. `issued_at` is the time in Unix seconds.
    ///
    /// # Errors
    /// A [`RequestError`]; nothing is signed then.
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
        let receipt = Receipt::sign(claims, &self.key)?;
        Ok(Inference { response: answer.response, receipt })
    }
}
