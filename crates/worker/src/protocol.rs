//! Requests of the Open Inference Protocol v2 with binary tensors (specification, section 1).

use std::collections::{BTreeMap, BTreeSet};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;
use veracity_graph::{Array, ArrayData, Elem};
use veracity_receipt::Request;

use crate::{Object, RequestError, tensor_json::JsonTensor};

/// Name of the protocol in receipts.
pub const PROTOCOL: &str = "oip/2";
/// Longest `id` in bytes.
pub const ID_BYTES_MAX: usize = 256;
/// Most inputs, most outputs.
pub const TENSORS_MAX: usize = 1024;
/// Most extents of a shape.
pub const RANK_MAX: usize = 16;

/// A request, understood; it may still not fit the model.
#[derive(Debug, Clone, PartialEq)]
pub struct InferRequest {
    /// To be given back.
    pub id: Option<String>,
    /// `model_name` in the body, if present.
    pub model_name: Option<String>,
    /// `model_version` in the body, if present.
    pub model_version: Option<String>,
    /// Tensors by name.
    pub inputs: BTreeMap<String, Array>,
    /// Outputs asked for, in order; empty means all.
    pub outputs: Vec<RequestedOutput>,
    /// Whether outputs are binary where [`RequestedOutput::binary`] says nothing.
    pub binary_output: bool,
}

/// An output that the request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestedOutput {
    /// Name of the output.
    pub name: String,
    /// Whether it is wanted as binary data.
    pub binary: Option<bool>,
}

/// Name of an element type in the protocol.
#[must_use]
pub fn datatype(elem: Elem) -> &'static str {
    match elem {
        Elem::F32 => "FP32",
        Elem::I32 => "INT32",
        Elem::I64 => "INT64",
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestJson<'a> {
    id: Option<String>,
    model_name: Option<String>,
    model_version: Option<String>,
    #[serde(borrow, default)]
    parameters: Parameters<'a>,
    #[serde(borrow)]
    inputs: Vec<Object<InputJson<'a>>>,
    #[serde(borrow)]
    outputs: Option<Vec<Object<OutputJson<'a>>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InputJson<'a> {
    name: String,
    datatype: String,
    shape: Vec<u64>,
    #[serde(borrow, default)]
    parameters: Parameters<'a>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OutputJson<'a> {
    name: String,
    #[serde(borrow, default)]
    parameters: Parameters<'a>,
}

/// Parameters in the order given, values unread, so that none costs more memory than its text.
#[derive(Default)]
struct Parameters<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Parameters<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Parameters<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of parameters")
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Parameters::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs: Vec<(String, &RawValue)> = Vec::new();
                while let Some((key, value)) = map.next_entry()? {
                    // Few are ever valid, so a long list is refused here rather than kept.
                    if pairs.len() == 16 || pairs.iter().any(|(k, _)| *k == key) {
                        return Err(serde::de::Error::custom(format!(
                            "repeated or too many parameters at '{key}'"
                        )));
                    }
                    pairs.push((key, value));
                }
                Ok(Parameters(pairs))
            }
        }
        deserializer.deserialize_any(Pairs)
    }
}

impl Parameters<'_> {
    /// The value of the only parameter that this place has.
    fn only<T: for<'de> Deserialize<'de>>(
        &self,
        place: &str,
        known: &str,
        expected: &'static str,
    ) -> Result<Option<T>, RequestError> {
        let place = || place.to_owned();
        let mut found = None;
        for (name, value) in &self.0 {
            if name != known {
                return Err(RequestError::UnsupportedParameter { place: place(), name: name.clone() });
            }
            let refuse = |_| RequestError::ParameterValue { place: place(), name: name.clone(), expected };
            found = Some(serde_json::from_str(value.get()).map_err(refuse)?);
        }
        Ok(found)
    }
}

/// Reads a request. Memory is proportional to the body: nothing is allocated on a claimed size.
///
/// # Errors
/// A [`RequestError`] that depends on the bytes alone.
pub fn decode(request: &Request<'_>) -> Result<InferRequest, RequestError> {
    let body = request.body;
    let json_length = match request.json_length {
        None => body.len(),
        Some(json) => match usize::try_from(json) {
            Ok(length) if length <= body.len() => length,
            Ok(_) | Err(_) => return Err(RequestError::JsonLength { json, body: body.len() }),
        },
    };
    let (json, binary) = body.split_at(json_length);
    let Object(parsed): Object<RequestJson<'_>> =
        serde_json::from_slice(json).map_err(|e| json_error(json, &e))?;
    let outputs = parsed.outputs.unwrap_or_default();
    check_count("inputs", TENSORS_MAX, parsed.inputs.len())?;
    check_count("outputs", TENSORS_MAX, outputs.len())?;
    if let Some(id) = parsed.id.as_ref().filter(|id| id.len() > ID_BYTES_MAX) {
        return Err(RequestError::IdTooLong { max: ID_BYTES_MAX, found: id.len() });
    }
    let binary_output = parsed.parameters.only("the request", "binary_data_output", "true or false")?;
    Ok(InferRequest {
        id: parsed.id,
        model_name: parsed.model_name,
        model_version: parsed.model_version,
        inputs: decode_inputs(&parsed.inputs, binary)?,
        outputs: decode_outputs(outputs)?,
        binary_output: binary_output.unwrap_or(false),
    })
}

fn check_count(what: &str, max: usize, found: usize) -> Result<(), RequestError> {
    if found <= max {
        Ok(())
    } else {
        Err(RequestError::TooManyTensors { what: what.to_owned(), max, found })
    }
}

fn json_error(json: &[u8], error: &serde_json::Error) -> RequestError {
    let reason = error.to_string();
    if error.is_data() {
        return RequestError::InvalidRequest { reason };
    }
    // Many programs write NaN and Infinity as if they were JSON; say so by name.
    let line = json.split(|b| *b == b'\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
    let start = error.column().saturating_sub(2).min(line.len());
    let near = &line[start..line.len().min(start + 10)];
    if [b"NaN".as_slice(), b"Inf", b"nan", b"inf"].iter().any(|word| near.windows(3).any(|w| w == *word)) {
        return RequestError::NotFiniteJson { reason };
    }
    RequestError::MalformedJson { reason }
}

fn decode_outputs(outputs: Vec<Object<OutputJson<'_>>>) -> Result<Vec<RequestedOutput>, RequestError> {
    let mut seen = BTreeSet::new();
    let mut decode = |Object(output): Object<OutputJson<'_>>| {
        let OutputJson { name, parameters } = output;
        if !seen.insert(name.clone()) {
            return Err(RequestError::DuplicateTensor { kind: "output", name });
        }
        let binary = parameters.only(&format!("output '{name}'"), "binary_data", "true or false")?;
        Ok(RequestedOutput { name, binary })
    };
    outputs.into_iter().map(&mut decode).collect()
}

fn decode_inputs(
    inputs: &[Object<InputJson<'_>>],
    mut binary: &[u8],
) -> Result<BTreeMap<String, Array>, RequestError> {
    let sizes: Vec<Option<u64>> =
        inputs.iter().map(|Object(input)| binary_size(input)).collect::<Result<_, _>>()?;
    let expected = sizes.iter().flatten().try_fold(0u64, |sum, n| sum.checked_add(*n)).unwrap_or(u64::MAX);
    let found = binary.len() as u64;
    if expected != found {
        return Err(RequestError::BinaryLength { expected, found });
    }
    let mut arrays = BTreeMap::new();
    for (Object(input), size) in inputs.iter().zip(sizes) {
        let (shape, elem, count) = describe(input)?;
        let data = match size {
            Some(size) => {
                // The sizes add up to the bytes present, so each one fits.
                let (bytes, rest) = binary.split_at(usize::try_from(size).unwrap_or(binary.len()));
                binary = rest;
                read_binary(elem, bytes)
            }
            None => {
                let text = input.data.map_or("", RawValue::get);
                JsonTensor { name: &input.name, elem, shape: &shape, count, text }.read()?
            }
        };
        if arrays.insert(input.name.clone(), Array { shape, data }).is_some() {
            return Err(RequestError::DuplicateTensor { kind: "input", name: input.name.clone() });
        }
    }
    Ok(arrays)
}

/// Shape, element type and number of values.
fn describe(input: &InputJson<'_>) -> Result<(Vec<usize>, Elem, u64), RequestError> {
    let name = || input.name.clone();
    check_count(&format!("extents of input '{}'", input.name), RANK_MAX, input.shape.len())?;
    let elem = match input.datatype.as_str() {
        "FP32" => Elem::F32,
        "INT32" => Elem::I32,
        "INT64" => Elem::I64,
        _ => {
            return Err(RequestError::UnsupportedDatatype { name: name(), datatype: input.datatype.clone() });
        }
    };
    let count = input.shape.iter().try_fold(1u64, |n, &d| n.checked_mul(d)).unwrap_or(u64::MAX);
    let extent = |&d: &u64| usize::try_from(d).unwrap_or(usize::MAX);
    Ok((input.shape.iter().map(extent).collect(), elem, count))
}

/// Bytes in the binary part, if the tensor is there; checked against shape and type.
fn binary_size(input: &InputJson<'_>) -> Result<Option<u64>, RequestError> {
    let place = format!("input '{}'", input.name);
    let size: Option<u64> = input.parameters.only(&place, "binary_data_size", "a number of bytes")?;
    let (_, elem, count) = describe(input)?;
    match (size, input.data) {
        (None, Some(_)) => Ok(None),
        (Some(_), Some(_)) | (None, None) => Err(RequestError::TensorData { name: input.name.clone() }),
        (Some(found), None) => {
            let expected = count.saturating_mul(elem.size() as u64);
            if found != expected {
                return Err(RequestError::BinarySize { name: input.name.clone(), expected, found });
            }
            Ok(Some(found))
        }
    }
}

fn read_binary(elem: Elem, bytes: &[u8]) -> ArrayData {
    match elem {
        Elem::F32 => ArrayData::F32(bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()),
        Elem::I32 => ArrayData::I32(bytes.as_chunks().0.iter().map(|b| i32::from_le_bytes(*b)).collect()),
        Elem::I64 => ArrayData::I64(bytes.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b)).collect()),
    }
}
