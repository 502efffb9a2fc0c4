//! Responses as bytes (specification, section 2).

use std::fmt::Write as _;

use veracity_graph::{Array, ArrayData};
use veracity_receipt::Response;

use crate::{float_text, protocol::datatype};

/// A response, ready to be sent and hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseBytes {
    /// JSON bytes at the front, if binary tensors follow.
    pub json_length: Option<u64>,
    /// The body.
    pub body: Vec<u8>,
}

impl ResponseBytes {
    /// As receipts hash it.
    #[must_use]
    pub fn as_response(&self) -> Response<'_> {
        Response { json_length: self.json_length, body: &self.body }
    }
}

/// What a response says beside its tensors.
pub(crate) struct Header<'a> {
    pub(crate) id: Option<&'a str>,
    pub(crate) model_name: &'a str,
    pub(crate) model_id: &'a str,
}

/// A tensor of a response.
pub(crate) struct OutputTensor<'a> {
    pub(crate) name: &'a str,
    pub(crate) array: &'a Array,
    pub(crate) binary: bool,
}

pub(crate) fn encode(header: &Header<'_>, outputs: &[OutputTensor<'_>]) -> ResponseBytes {
    let mut json = String::from("{");
    if let Some(id) = header.id {
        json.push_str("\"id\":");
        write_string(&mut json, id);
        json.push(',');
    }
    json.push_str("\"model_name\":");
    write_string(&mut json, header.model_name);
    json.push_str(",\"model_version\":");
    write_string(&mut json, header.model_id);
    json.push_str(",\"outputs\":");
    write_list(&mut json, outputs, write_output);
    json.push('}');
    let mut body = json.into_bytes();
    let json_length = outputs.iter().any(|o| o.binary).then_some(body.len() as u64);
    for output in outputs.iter().filter(|o| o.binary) {
        body.extend_from_slice(&output.array.to_bytes());
    }
    ResponseBytes { json_length, body }
}

fn write_output(json: &mut String, output: &OutputTensor<'_>) {
    json.push_str("{\"name\":");
    write_string(json, output.name);
    let _ = write!(json, ",\"datatype\":\"{}\",\"shape\":", datatype(output.array.elem()));
    write_list(json, &output.array.shape, write_integer);
    if output.binary {
        let size = output.array.len() * output.array.elem().size();
        let _ = write!(json, ",\"parameters\":{{\"binary_data_size\":{size}}}}}");
        return;
    }
    json.push_str(",\"data\":");
    match &output.array.data {
        ArrayData::F32(v) => write_list(json, v, |json, x| float_text::write(json, *x)),
        ArrayData::I32(v) => write_list(json, v, write_integer),
        ArrayData::I64(v) => write_list(json, v, write_integer),
    }
    json.push('}');
}

fn write_list<T>(json: &mut String, items: &[T], mut write: impl FnMut(&mut String, &T)) {
    json.push('[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            json.push(',');
        }
        write(json, item);
    }
    json.push(']');
}

fn write_integer(json: &mut String, value: &impl std::fmt::Display) {
    let _ = write!(json, "{value}");
}

fn write_string(json: &mut String, text: &str) {
    json.push('"');
    for character in text.chars() {
        match character {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\u{8}' => json.push_str("\\b"),
            '\t' => json.push_str("\\t"),
            '\n' => json.push_str("\\n"),
            '\u{c}' => json.push_str("\\f"),
            '\r' => json.push_str("\\r"),
            '\0'..='\u{1f}' => {
                let _ = write!(json, "\\u{:04x}", u32::from(character));
            }
            _ => json.push(character),
        }
    }
    json.push('"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_bytes_are_those_of_the_specification() {
        let y = Array { shape: vec![1, 2], data: ArrayData::F32(vec![0.5, -1.0]) };
        let ids = Array { shape: vec![1], data: ArrayData::I64(vec![-7]) };
        let header = Header { id: Some("a\"\n\u{1}é"), model_name: "m", model_id: "00ff" };
        let tensors = |binary| {
            [
                OutputTensor { name: "y", array: &y, binary },
                OutputTensor { name: "ids", array: &ids, binary: false },
            ]
        };
        let plain = encode(&header, &tensors(false));
        let front = "{\"id\":\"a\\\"\\n\\u0001é\",\"model_name\":\"m\",\"model_version\":\"00ff\",\"outputs\":[{\"name\":\"y\",\"datatype\":\"FP32\",\"shape\":[1,2],";
        let back = "{\"name\":\"ids\",\"datatype\":\"INT64\",\"shape\":[1],\"data\":[-7]}]}";
        assert_eq!(str::from_utf8(&plain.body).unwrap(), format!("{front}\"data\":[0.5,-1.0]}},{back}"));
        assert_eq!(plain.json_length, None);

        let binary = encode(&Header { id: None, ..header }, &tensors(true));
        let json = format!("{front}\"parameters\":{{\"binary_data_size\":8}}}},{back}")
            .replace("\"id\":\"a\\\"\\n\\u0001é\",", "");
        assert_eq!(binary.json_length, Some(json.len() as u64));
        assert_eq!(binary.body, [json.as_bytes(), &[0, 0, 0, 0x3f, 0, 0, 0x80, 0xbf]].concat());
    }

    proptest! {
        #[test]
        fn strings_read_back(text: String) {
            let mut json = String::new();
            write_string(&mut json, &text);
            prop_assert_eq!(&serde_json::from_str::<String>(&json).unwrap(), &text);
            prop_assert_eq!(json, serde_json::to_string(&text).unwrap());
        }
    }
}
