//! The client's side of the Open Inference Protocol v2 with binary tensors: requests as bytes, responses as tensors.
//!
//! `docs/spec/inference-protocol.md` says what the bytes mean. Responses come from strangers: sizes are checked against
//! the bytes at hand before anything is read.

use std::borrow::Borrow;

use serde::{Deserialize, Serialize};
use veracity_graph::{Array, ArrayData, Elem};
use veracity_worker::protocol::datatype;

/// Bytes of a request or response, and where its JSON ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// Value of `Inference-Header-Content-Length`; `None` if all is JSON.
    pub(crate) json_length: Option<u64>,
    /// The body.
    pub(crate) body: Vec<u8>,
}

/// Why bytes are not the response that was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ResponseError {
    /// The JSON length exceeds the body.
    #[error("its JSON length is beyond its end")]
    JsonLength,
    /// Not the JSON of a response.
    #[error("its JSON is not a response: {0}")]
    Json(#[from] serde_json::Error),
    /// A tensor that this program does not read.
    #[error("output '{name}' {reason}")]
    Tensor {
        /// The output.
        name: String,
        /// What is wrong.
        reason: &'static str,
    },
}

#[derive(Serialize)]
struct RequestJson<'a> {
    inputs: Vec<TensorJson<'a>>,
    parameters: RequestParameters,
}

#[derive(Serialize)]
struct RequestParameters {
    binary_data_output: bool,
}

#[derive(Serialize)]
struct TensorJson<'a> {
    name: &'a str,
    datatype: &'static str,
    shape: &'a [usize],
    parameters: BinarySize,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct BinarySize {
    binary_data_size: Option<usize>,
}

#[derive(Deserialize)]
struct ResponseJson {
    outputs: Vec<OutputJson>,
}

#[derive(Deserialize)]
struct OutputJson {
    name: String,
    datatype: String,
    shape: Vec<usize>,
    #[serde(default)]
    parameters: BinarySize,
}

/// The request for all outputs in binary form. The same tensors give the same bytes.
pub(crate) fn encode<N: AsRef<str>, A: Borrow<Array>>(tensors: impl IntoIterator<Item = (N, A)>) -> Message {
    let tensors: Vec<(N, A)> = tensors.into_iter().collect();
    let mut inputs = Vec::with_capacity(tensors.len());
    let mut binary = Vec::new();
    for (name, array) in &tensors {
        let array: &Array = array.borrow();
        let bytes = array.to_bytes();
        let parameters = BinarySize { binary_data_size: Some(bytes.len()) };
        inputs.push(TensorJson {
            name: name.as_ref(),
            datatype: datatype(array.elem()),
            shape: &array.shape,
            parameters,
        });
        binary.extend_from_slice(&bytes);
    }
    let request = RequestJson { inputs, parameters: RequestParameters { binary_data_output: true } };
    let mut body = serde_json::to_vec(&request).expect("a request has string keys");
    let json_length = u64::try_from(body.len()).ok();
    body.append(&mut binary);
    Message { json_length, body }
}

/// The tensors of a response to [`encode`].
///
/// # Errors
/// A [`ResponseError`].
pub(crate) fn decode(json_length: Option<u64>, body: &[u8]) -> Result<Vec<(String, Array)>, ResponseError> {
    let length = json_length.map_or(Some(body.len()), |n| usize::try_from(n).ok());
    let (json, mut binary) =
        length.and_then(|n| body.split_at_checked(n)).ok_or(ResponseError::JsonLength)?;
    let response: ResponseJson = serde_json::from_slice(json)?;
    let mut tensors = Vec::new();
    for OutputJson { name, datatype, shape, parameters } in response.outputs {
        let refuse = |reason| ResponseError::Tensor { name: name.clone(), reason };
        let size = parameters.binary_data_size.ok_or_else(|| refuse("is not binary"))?;
        let (bytes, rest) = binary.split_at_checked(size).ok_or_else(|| refuse("is longer than the body"))?;
        binary = rest;
        let elem = elem(&datatype).ok_or_else(|| refuse("has an unknown datatype"))?;
        let count = shape.iter().try_fold(elem.size(), |n, &d| n.checked_mul(d));
        if count != Some(size) {
            return Err(refuse("has another size than its shape"));
        }
        tensors.push((name, Array { shape, data: values(elem, bytes) }));
    }
    Ok(tensors)
}

fn elem(name: &str) -> Option<Elem> {
    [Elem::F32, Elem::I32, Elem::I64].into_iter().find(|elem| datatype(*elem) == name)
}

fn values(elem: Elem, bytes: &[u8]) -> ArrayData {
    match elem {
        Elem::F32 => ArrayData::F32(bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect()),
        Elem::I32 => ArrayData::I32(bytes.as_chunks().0.iter().map(|&b| i32::from_le_bytes(b)).collect()),
        Elem::I64 => ArrayData::I64(bytes.as_chunks().0.iter().map(|&b| i64::from_le_bytes(b)).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(json: &str, binary: &[u8]) -> Message {
        Message { json_length: Some(json.len() as u64), body: [json.as_bytes(), binary].concat() }
    }

    #[test]
    fn requests_are_json_and_bytes() {
        let array = Array { shape: vec![1, 2], data: ArrayData::F32(vec![0.5, -1.0]) };
        let Message { json_length, body } = encode([("x", &array)]);
        let json = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"parameters":{"binary_data_size":8}}],"parameters":{"binary_data_output":true}}"#;
        assert_eq!(json_length, Some(json.len() as u64));
        assert_eq!(body, [json.as_bytes(), &[0, 0, 0, 0x3f, 0, 0, 0x80, 0xbf]].concat());
    }

    #[test]
    fn responses_are_read() {
        let json = r#"{"outputs":[{"name":"y","datatype":"INT64","shape":[1],"parameters":{"binary_data_size":8}}]}"#;
        let Message { json_length, body } = response(json, &[7, 0, 0, 0, 0, 0, 0, 0]);
        let expected = Array { shape: vec![1], data: ArrayData::I64(vec![7]) };
        assert_eq!(decode(json_length, &body).unwrap(), [("y".to_owned(), expected)]);
    }

    #[test]
    fn other_responses_are_refused() {
        let output = |rest: &str| format!(r#"{{"outputs":[{{"name":"y","datatype":{rest}}}]}}"#);
        let cases = [
            ("{}".to_owned(), "its JSON is not a response: missing field `outputs` at line 1 column 2"),
            (output(r#""FP32","shape":[1],"data":[1]"#), "output 'y' is not binary"),
            (
                output(r#""FP64","shape":[1],"parameters":{"binary_data_size":8}"#),
                "output 'y' has an unknown datatype",
            ),
            (
                output(r#""FP32","shape":[9],"parameters":{"binary_data_size":9}"#),
                "output 'y' is longer than the body",
            ),
            (
                output(r#""FP32","shape":[9,4611686018427387904],"parameters":{"binary_data_size":8}"#),
                "output 'y' has another size than its shape",
            ),
        ];
        for (json, expected) in cases {
            let Message { json_length, body } = response(&json, &[0; 8]);
            assert_eq!(decode(json_length, &body).unwrap_err().to_string(), expected);
        }
        assert_eq!(decode(Some(9), b"{}").unwrap_err().to_string(), "its JSON length is beyond its end");
    }
}
