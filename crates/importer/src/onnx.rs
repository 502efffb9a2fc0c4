//! The part of the ONNX protobuf schema (onnx.proto, IR version 3 and later) that the importer reads.
//!
//! Lists are packed exactly where the schema says so, because what is written for the f32 reference is read by a
//! stricter reader. prost bounds nesting, allocates as bytes are seen, and skips fields that are not declared here.

#![allow(missing_docs, reason = "names and meanings are those of onnx.proto")]

use std::collections::BTreeMap;

use prost::Message;

use crate::ImportError;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ModelProto {
    #[prost(int64, tag = "1")]
    pub(crate) ir_version: i64,
    #[prost(string, tag = "2")]
    pub(crate) producer_name: String,
    #[prost(message, optional, tag = "7")]
    pub(crate) graph: Option<GraphProto>,
    #[prost(message, repeated, tag = "8")]
    pub(crate) opset_import: Vec<OperatorSetId>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct OperatorSetId {
    #[prost(string, tag = "1")]
    pub(crate) domain: String,
    #[prost(int64, tag = "2")]
    pub(crate) version: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    pub(crate) node: Vec<NodeProto>,
    #[prost(message, repeated, tag = "5")]
    pub(crate) initializer: Vec<TensorProto>,
    #[prost(message, repeated, tag = "11")]
    pub(crate) input: Vec<ValueInfo>,
    #[prost(message, repeated, tag = "12")]
    pub(crate) output: Vec<ValueInfo>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct NodeProto {
    #[prost(string, repeated, tag = "1")]
    pub(crate) input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub(crate) output: Vec<String>,
    #[prost(string, tag = "3")]
    pub(crate) name: String,
    #[prost(string, tag = "4")]
    pub(crate) op_type: String,
    #[prost(message, repeated, tag = "5")]
    pub(crate) attribute: Vec<AttributeProto>,
    #[prost(string, tag = "7")]
    pub(crate) domain: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct AttributeProto {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(float, tag = "2")]
    pub(crate) f: f32,
    #[prost(int64, tag = "3")]
    pub(crate) i: i64,
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) s: Vec<u8>,
    #[prost(message, optional, boxed, tag = "5")]
    pub(crate) t: Option<Box<TensorProto>>,
    #[prost(message, optional, boxed, tag = "6")]
    pub(crate) g: Option<Box<GraphProto>>,
    #[prost(float, repeated, packed = "false", tag = "7")]
    pub(crate) floats: Vec<f32>,
    #[prost(int64, repeated, packed = "false", tag = "8")]
    pub(crate) ints: Vec<i64>,
    #[prost(bytes = "vec", repeated, tag = "9")]
    pub(crate) strings: Vec<Vec<u8>>,
    #[prost(int32, tag = "20")]
    pub(crate) r#type: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TensorProto {
    #[prost(int64, repeated, packed = "false", tag = "1")]
    pub(crate) dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    pub(crate) data_type: i32,
    #[prost(float, repeated, tag = "4")]
    pub(crate) float_data: Vec<f32>,
    #[prost(int32, repeated, tag = "5")]
    pub(crate) int32_data: Vec<i32>,
    #[prost(int64, repeated, tag = "7")]
    pub(crate) int64_data: Vec<i64>,
    #[prost(string, tag = "8")]
    pub(crate) name: String,
    #[prost(bytes = "vec", tag = "9")]
    pub(crate) raw_data: Vec<u8>,
    #[prost(double, repeated, tag = "10")]
    pub(crate) double_data: Vec<f64>,
    #[prost(int32, tag = "14")]
    pub(crate) data_location: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ValueInfo {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) r#type: Option<TypeProto>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TypeProto {
    #[prost(message, optional, tag = "1")]
    pub(crate) tensor_type: Option<TensorTypeProto>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TensorTypeProto {
    #[prost(int32, tag = "1")]
    pub(crate) elem_type: i32,
    #[prost(message, optional, tag = "2")]
    pub(crate) shape: Option<ShapeProto>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ShapeProto {
    #[prost(message, repeated, tag = "1")]
    pub(crate) dim: Vec<DimProto>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct DimProto {
    #[prost(oneof = "DimValue", tags = "1, 2")]
    pub(crate) value: Option<DimValue>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum DimValue {
    #[prost(int64, tag = "1")]
    Value(i64),
    #[prost(string, tag = "2")]
    Param(String),
}

pub(crate) mod data_type {
    pub(crate) const FLOAT: i32 = 1;
    pub(crate) const UINT8: i32 = 2;
    pub(crate) const INT8: i32 = 3;
    pub(crate) const UINT16: i32 = 4;
    pub(crate) const INT16: i32 = 5;
    pub(crate) const INT32: i32 = 6;
    pub(crate) const INT64: i32 = 7;
    pub(crate) const BOOL: i32 = 9;
    pub(crate) const DOUBLE: i32 = 11;
}

/// `AttributeProto.AttributeType.INT`.
pub(crate) const ATTRIBUTE_INT: i32 = 2;
/// `AttributeProto.AttributeType.INTS`.
pub(crate) const ATTRIBUTE_INTS: i32 = 7;

/// Oldest and newest operator set whose definitions the importer follows.
pub(crate) const OPSET_MIN: i64 = 9;
pub(crate) const OPSET_MAX: i64 = 27;

/// Most axes of a constant: two more than a kernel of three spatial axes, with room for shapes on the way.
const CONSTANT_RANK_MAX: usize = 16;

/// Number of values of a constant with these extents. `None` if it has too many axes, or if the extents other than zero
/// have a product beyond `2^31`: an empty tensor must not smuggle in an extent that no data backs.
pub(crate) fn count(shape: &[usize]) -> Option<usize> {
    let bound = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d.max(1)))?;
    let fits = shape.len() <= CONSTANT_RANK_MAX && bound <= veracity_ops::ELEMENTS_MAX;
    fits.then(|| if shape.contains(&0) { 0 } else { bound })
}

/// A constant tensor of the source.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Constant {
    pub(crate) shape: Vec<usize>,
    pub(crate) data: ConstantData,
    /// ONNX element type as declared.
    pub(crate) data_type: i32,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ConstantData {
    Float(Vec<f32>),
    Int(Vec<i64>),
}

impl Constant {
    pub(crate) fn ints(values: Vec<i64>) -> Self {
        Self { shape: vec![values.len()], data: ConstantData::Int(values), data_type: data_type::INT64 }
    }

    pub(crate) fn len(&self) -> usize {
        match &self.data {
            ConstantData::Float(v) => v.len(),
            ConstantData::Int(v) => v.len(),
        }
    }
}

pub(crate) fn parse(bytes: &[u8]) -> Result<ModelProto, ImportError> {
    let refuse = |reason: &str| Err(ImportError::NotOnnx { reason: reason.into() });
    // No bytes at all are a message without fields, and other bytes can be one whose fields all mean nothing here.
    if bytes.is_empty() {
        return refuse("the file is empty");
    }
    match ModelProto::decode(bytes) {
        Ok(model) if model.graph.is_none() => refuse("it holds no graph"),
        Ok(model) if model.ir_version == 0 && model.opset_import.is_empty() => {
            refuse("it declares neither a version nor operator sets")
        }
        Ok(model) => Ok(model),
        Err(e) => refuse(&e.to_string()),
    }
}

fn elements<const N: usize, T>(raw: &[u8], from: impl Fn([u8; N]) -> T) -> Option<Vec<T>> {
    let (chunks, rest) = raw.as_chunks::<N>();
    rest.is_empty().then(|| chunks.iter().map(|c| from(*c)).collect())
}

/// Decodes a tensor; refuses external data, other types, and a number of values that differs from the shape.
pub(crate) fn constant(tensor: &TensorProto) -> Result<Constant, ImportError> {
    let refuse =
        |reason: &str| ImportError::BadTensor { tensor: tensor.name.clone(), reason: reason.to_owned() };
    if tensor.data_location != 0 {
        return Err(refuse("its data lies in another file; save the model as a single file"));
    }
    let shape: Option<Vec<usize>> = tensor.dims.iter().map(|&d| usize::try_from(d).ok()).collect();
    let shape = shape.ok_or_else(|| refuse("an extent is negative"))?;
    let count = count(&shape).ok_or_else(|| refuse("it has more than 16 axes or 2^31 values"))?;
    let raw = (!tensor.raw_data.is_empty()).then_some(tensor.raw_data.as_slice());
    let int32 = || tensor.int32_data.iter().map(|&v| i64::from(v)).collect();
    let int = ConstantData::Int;
    let data = match (tensor.data_type, raw) {
        (data_type::FLOAT, Some(raw)) => elements(raw, f32::from_le_bytes).map(ConstantData::Float),
        (data_type::FLOAT, None) => Some(ConstantData::Float(tensor.float_data.clone())),
        #[expect(clippy::cast_possible_truncation, reason = "doubles are rounded to f32, to nearest")]
        (data_type::DOUBLE, Some(raw)) => {
            elements(raw, |b| f64::from_le_bytes(b) as f32).map(ConstantData::Float)
        }
        #[expect(clippy::cast_possible_truncation, reason = "doubles are rounded to f32, to nearest")]
        (data_type::DOUBLE, None) => {
            Some(ConstantData::Float(tensor.double_data.iter().map(|&v| v as f32).collect()))
        }
        (data_type::INT64, Some(raw)) => elements(raw, i64::from_le_bytes).map(int),
        (data_type::INT64, None) => Some(int(tensor.int64_data.clone())),
        (data_type::INT32, Some(raw)) => elements(raw, |b| i64::from(i32::from_le_bytes(b))).map(int),
        (data_type::INT16, Some(raw)) => elements(raw, |b| i64::from(i16::from_le_bytes(b))).map(int),
        (data_type::UINT16, Some(raw)) => elements(raw, |b| i64::from(u16::from_le_bytes(b))).map(int),
        (data_type::INT8, Some(raw)) => elements(raw, |b| i64::from(i8::from_le_bytes(b))).map(int),
        (data_type::UINT8 | data_type::BOOL, Some(raw)) => {
            elements(raw, |b| i64::from(u8::from_le_bytes(b))).map(int)
        }
        (
            data_type::INT32
            | data_type::INT16
            | data_type::UINT16
            | data_type::INT8
            | data_type::UINT8
            | data_type::BOOL,
            None,
        ) => Some(int(int32())),
        (_, _) => return Err(refuse(&format!("element type {} is not supported", tensor.data_type))),
    };
    let data = data.ok_or_else(|| refuse("its bytes are not a whole number of values"))?;
    if let ConstantData::Float(v) = &data
        && v.iter().any(|v| !v.is_finite())
    {
        return Err(refuse("it holds a NaN or an infinity"));
    }
    let constant = Constant { shape, data, data_type: tensor.data_type };
    if constant.len() == count {
        Ok(constant)
    } else {
        Err(refuse("the number of values differs from its shape"))
    }
}

/// Attributes of one node, read by name with ONNX's defaults.
#[derive(Debug)]
pub(crate) struct Attributes<'a>(BTreeMap<&'a str, &'a AttributeProto>);

impl<'a> Attributes<'a> {
    pub(crate) fn of(node: &'a NodeProto) -> Self {
        Self(node.attribute.iter().map(|a| (a.name.as_str(), a)).collect())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(crate) fn int(&self, name: &str, default: i64) -> i64 {
        self.0.get(name).map_or(default, |a| a.i)
    }

    pub(crate) fn float(&self, name: &str, default: f32) -> f32 {
        self.0.get(name).map_or(default, |a| a.f)
    }

    pub(crate) fn ints(&self, name: &str) -> Option<&'a [i64]> {
        self.0.get(name).map(|a| a.ints.as_slice())
    }

    pub(crate) fn floats(&self, name: &str) -> Option<&'a [f32]> {
        self.0.get(name).map(|a| a.floats.as_slice())
    }

    pub(crate) fn text(&self, name: &str, default: &str) -> String {
        self.0.get(name).map_or_else(|| default.to_owned(), |a| String::from_utf8_lossy(&a.s).into_owned())
    }

    pub(crate) fn texts(&self, name: &str) -> Vec<String> {
        let text = |s: &Vec<u8>| String::from_utf8_lossy(s).into_owned();
        self.0.get(name).map_or_else(Vec::new, |a| a.strings.iter().map(text).collect())
    }

    pub(crate) fn tensor(&self, name: &str) -> Option<&'a TensorProto> {
        self.0.get(name).and_then(|a| a.t.as_deref())
    }
}
