use veracity_receipt::{Claims, ModelId, ReexecuteError, Reexecution, Reexecutor, Request};

use crate::{Limits, LoadedModel, execute, protocol::PROTOCOL};

/// Runs requests again for [`veracity_receipt::verify`].
#[derive(Debug, Clone, Copy)]
pub struct Auditor<'a> {
    /// The model.
    pub loaded: &'a LoadedModel,
    /// What this machine is ready to do; beyond it a receipt is not checked, which is not a failure of the receipt.
    pub limits: Limits,
}

impl<'a> Auditor<'a> {
    /// An auditor with default limits.
    #[must_use]
    pub fn new(loaded: &'a LoadedModel) -> Self {
        Self { loaded, limits: Limits::default() }
    }
}

impl Reexecutor for Auditor<'_> {
    fn model_id(&self) -> ModelId {
        ModelId::from_bytes(self.loaded.id().0.0)
    }

    fn reexecute(&self, claims: &Claims, request: &Request<'_>) -> Result<Reexecution, ReexecuteError> {
        if request.protocol != PROTOCOL {
            let reason = format!("protocol '{}' is not known here, only '{PROTOCOL}'", request.protocol);
            return Err(ReexecuteError::Unavailable { reason });
        }
        let answer =
            execute(self.loaded, request, &self.limits, claims.trace_root.is_some()).map_err(|error| {
                let reason = error.to_string();
                match error.refusal().local {
                    true => ReexecuteError::Unavailable { reason },
                    false => ReexecuteError::Refused { reason },
                }
            })?;
        let (body, json_length) = (answer.response.body, answer.response.json_length);
        Ok(Reexecution { json_length, body, trace_root: answer.trace_root, usage: Some(answer.usage) })
    }
}
