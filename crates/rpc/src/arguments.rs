use jsonrpsee::types::Params;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::RpcError;

/// The parameters of a request, one after the other.
pub(crate) struct Arguments<'a> {
    values: std::vec::IntoIter<&'a RawValue>,
    index: usize,
}

impl<'a> Arguments<'a> {
    pub(crate) fn new(params: &'a Params<'_>) -> Result<Self, RpcError> {
        let values: Vec<&RawValue> = match params.as_str() {
            None => vec![],
            Some(text) if text.trim().is_empty() => vec![],
            Some(text) => serde_json::from_str(text).map_err(|_| RpcError::ParamsList)?,
        };
        Ok(Self { values: values.into_iter(), index: 0 })
    }

    /// The next one, which has to be there.
    pub(crate) fn next<T: DeserializeOwned>(&mut self, name: &'static str) -> Result<T, RpcError> {
        let index = self.index;
        self.optional(name)?.ok_or(RpcError::Argument { index, name, reason: "missing value".into() })
    }

    /// The next one, or `None` if it is missing or null.
    pub(crate) fn optional<T: DeserializeOwned>(
        &mut self,
        name: &'static str,
    ) -> Result<Option<T>, RpcError> {
        let index = self.index;
        self.index += 1;
        let Some(value) = self.values.next() else { return Ok(None) };
        serde_json::from_str(value.get()).map_err(|error| RpcError::Argument {
            index,
            name,
            reason: error.to_string(),
        })
    }

    /// Refuses the argument that was read last.
    pub(crate) fn refuse(&self, name: &'static str, reason: impl Into<String>) -> RpcError {
        RpcError::Argument { index: self.index.saturating_sub(1), name, reason: reason.into() }
    }
}
