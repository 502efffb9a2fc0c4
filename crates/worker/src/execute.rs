use std::collections::BTreeMap;

use veracity_engine::TraceKind;
use veracity_graph::{Array, ArrayData};
use veracity_receipt::{Request, TraceRoot, Usage};

use crate::{
    LoadedModel, RequestError, ResponseBytes,
    protocol::{self, InferRequest},
    response::{Header, OutputTensor, encode},
};

/// What this machine is ready to do for one request. No limit changes an answer; it only refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most samples of one request.
    pub samples_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { samples_max: 1 << 16 }
    }
}

/// What a run gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The response, a pure function of model and request.
    pub response: ResponseBytes,
    /// Commitment to the checkpoints of the run, if it was asked for.
    pub trace_root: Option<TraceRoot>,
    /// What was consumed.
    pub usage: Usage,
}

/// Runs a request on a model. The answer depends on model id and request alone; `trace` and `limits` decide whether
/// there is a trace root and an answer.
///
/// # Errors
/// A [`RequestError`]; those with [`Refusal::local`](crate::Refusal::local) depend on `limits`, all others on model
/// and request alone.
pub fn execute(
    loaded: &LoadedModel,
    request: &Request<'_>,
    limits: &Limits,
    trace: bool,
) -> Result<Answer, RequestError> {
    let decoded = protocol::decode(request)?;
    check_model(loaded, request, &decoded)?;
    let wanted = wanted_outputs(loaded, &decoded)?;
    let graph = loaded.model().graph();
    let batches = graph.encode_inputs(&decoded.inputs)?;
    let samples = batches.first().map_or(0, |batch| batch.n);
    if samples > limits.samples_max {
        return Err(RequestError::TooManySamples { max: limits.samples_max, found: samples });
    }
    let run = loaded.engine().run(&batches, trace.then_some(TraceKind::Checkpoints))?;
    let arrays: BTreeMap<String, Array> = graph.decode_outputs(&run.outputs).into_iter().collect();
    arrays.iter().try_for_each(|(name, array)| check_finite(name, array))?;
    let tensor = |(name, binary): &(&'_ str, bool)| {
        arrays.get_key_value(*name).map(|(name, array)| OutputTensor { name, array, binary: *binary })
    };
    let outputs: Vec<_> = wanted.iter().filter_map(tensor).collect();
    let header =
        Header { id: decoded.id.as_deref(), model_name: request.model_name, model_id: loaded.id_text() };
    let response = encode(&header, &outputs);
    let usage = Usage {
        samples: samples as u64,
        input_bytes: request.body.len() as u64,
        output_bytes: response.body.len() as u64,
        macs: run.macs,
    };
    Ok(Answer { response, trace_root: run.trace.map(|t| TraceRoot::from_bytes(t.root())), usage })
}

/// Names in the body must be those of the request.
fn check_model(
    loaded: &LoadedModel,
    request: &Request<'_>,
    decoded: &InferRequest,
) -> Result<(), RequestError> {
    let names = [
        ("model_name", &decoded.model_name, request.model_name),
        ("model_version", &decoded.model_version, loaded.id_text()),
    ];
    for (field, found, expected) in names {
        if let Some(found) = found.as_ref().filter(|found| *found != expected) {
            return Err(RequestError::ModelMismatch {
                field,
                expected: expected.to_owned(),
                found: found.clone(),
            });
        }
    }
    Ok(())
}

/// Outputs in the order of the response, each with whether it is binary.
fn wanted_outputs<'a>(
    loaded: &'a LoadedModel,
    decoded: &'a InferRequest,
) -> Result<Vec<(&'a str, bool)>, RequestError> {
    let names = || loaded.outputs().iter().map(|o| o.name.as_str());
    if decoded.outputs.is_empty() {
        return Ok(names().map(|name| (name, decoded.binary_output)).collect());
    }
    let wanted = |output: &'a protocol::RequestedOutput| {
        if !names().any(|name| name == output.name) {
            let expected = names().map(str::to_owned).collect();
            return Err(RequestError::UnknownOutput { name: output.name.clone(), expected });
        }
        Ok((output.name.as_str(), output.binary.unwrap_or(decoded.binary_output)))
    };
    decoded.outputs.iter().map(wanted).collect()
}

fn check_finite(name: &str, array: &Array) -> Result<(), RequestError> {
    let ArrayData::F32(values) = &array.data else { return Ok(()) };
    match values.iter().position(|v| !v.is_finite()) {
        Some(position) => Err(RequestError::AnswerNotFinite { name: name.to_owned(), position }),
        None => Ok(()),
    }
}
