//! ONNX models from code.

use prost::Message;

use crate::onnx::{
    ATTRIBUTE_INT, ATTRIBUTE_INTS, AttributeProto, DimProto, DimValue, GraphProto, ModelProto, NodeProto,
    OperatorSetId, ShapeProto, TensorProto, TensorTypeProto, TypeProto, ValueInfo, data_type,
};

/// A model being built. Methods take and return it, so that a model is one expression.
#[derive(Debug, Clone)]
pub(super) struct Onnx {
    pub(super) opset: i64,
    pub(super) graph: GraphProto,
}

pub(super) fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { name: name.into(), i, r#type: ATTRIBUTE_INT, ..Default::default() }
}

pub(super) fn ints(name: &str, ints: &[i64]) -> AttributeProto {
    AttributeProto { name: name.into(), ints: ints.into(), r#type: ATTRIBUTE_INTS, ..Default::default() }
}

pub(super) fn float(name: &str, f: f32) -> AttributeProto {
    AttributeProto { name: name.into(), f, r#type: 1, ..Default::default() }
}

pub(super) fn floats(name: &str, floats: &[f32]) -> AttributeProto {
    AttributeProto { name: name.into(), floats: floats.into(), r#type: 6, ..Default::default() }
}

pub(super) fn text(name: &str, s: &str) -> AttributeProto {
    AttributeProto { name: name.into(), s: s.as_bytes().into(), r#type: 3, ..Default::default() }
}

pub(super) fn texts(name: &str, texts: &[&str]) -> AttributeProto {
    let strings = texts.iter().map(|s| s.as_bytes().into()).collect();
    AttributeProto { name: name.into(), strings, r#type: 8, ..Default::default() }
}

pub(super) fn tensor(name: &str, t: TensorProto) -> AttributeProto {
    AttributeProto { name: name.into(), t: Some(Box::new(t)), r#type: 4, ..Default::default() }
}

pub(super) fn float_tensor(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    let raw_data = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    TensorProto {
        name: name.into(),
        dims: dims.into(),
        data_type: data_type::FLOAT,
        raw_data,
        ..Default::default()
    }
}

fn value_info(name: &str, extents: &[i64], elem_type: i32) -> ValueInfo {
    let dim = |(i, &d): (usize, &i64)| {
        let value = if d < 0 { DimValue::Param(format!("d{i}")) } else { DimValue::Value(d) };
        DimProto { value: Some(value) }
    };
    let shape = ShapeProto { dim: extents.iter().enumerate().map(dim).collect() };
    let tensor_type = TensorTypeProto { elem_type, shape: Some(shape) };
    ValueInfo { name: name.into(), r#type: Some(TypeProto { tensor_type: Some(tensor_type) }) }
}

impl Onnx {
    /// A model of operator set 17 with a float input `x` of these extents, the batch first; -1 is dynamic.
    pub(super) fn new(extents: &[i64]) -> Self {
        Self { opset: 17, graph: GraphProto::default() }.input("x", extents)
    }

    pub(super) fn opset(mut self, opset: i64) -> Self {
        self.opset = opset;
        self
    }

    pub(super) fn input(mut self, name: &str, extents: &[i64]) -> Self {
        self.graph.input.push(value_info(name, extents, data_type::FLOAT));
        self
    }

    pub(super) fn floats(mut self, name: &str, dims: &[i64], values: &[f32]) -> Self {
        self.graph.initializer.push(float_tensor(name, dims, values));
        self
    }

    /// A constant of numbers between -1 and 1 that depend on its name.
    pub(super) fn random(self, name: &str, dims: &[i64]) -> Self {
        let seed = name.bytes().fold(3, |s: u64, b| s * 31 + u64::from(b));
        let n = usize::try_from(dims.iter().product::<i64>()).unwrap();
        self.floats(name, dims, &super::random(seed, n))
    }

    pub(super) fn ints(self, name: &str, values: &[i64]) -> Self {
        let raw = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.raw(name, &[i64::try_from(values.len()).unwrap()], data_type::INT64, raw)
    }

    pub(super) fn raw(mut self, name: &str, dims: &[i64], data_type: i32, raw_data: Vec<u8>) -> Self {
        let tensor =
            TensorProto { name: name.into(), dims: dims.into(), data_type, raw_data, ..Default::default() };
        self.graph.initializer.push(tensor);
        self
    }

    /// A node of the default domain, or of another one where `op` is `domain.Op`; operands and results by spaces, `-`
    /// for one left out.
    pub(super) fn node(mut self, op: &str, input: &str, output: &str, attribute: &[AttributeProto]) -> Self {
        let names = |list: &str| list.split_whitespace().map(|s| s.trim_matches('-').to_owned()).collect();
        let (domain, op_type) = op.rsplit_once('.').unwrap_or(("", op));
        self.graph.node.push(NodeProto {
            input: names(input),
            output: names(output),
            name: format!("{op_type}_{}", self.graph.node.len()),
            op_type: op_type.into(),
            attribute: attribute.to_vec(),
            domain: domain.into(),
        });
        self
    }

    /// Declares answers, by spaces.
    pub(super) fn output(mut self, names: &str) -> Self {
        self.graph
            .output
            .extend(names.split_whitespace().map(|name| value_info(name, &[], data_type::FLOAT)));
        for info in &mut self.graph.output {
            if let Some(tensor) = info.r#type.as_mut().and_then(|t| t.tensor_type.as_mut()) {
                tensor.shape = None;
            }
        }
        self
    }

    pub(super) fn outputs(&self) -> Vec<String> {
        self.graph.output.iter().map(|o| o.name.clone()).collect()
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let domain = |domain: &str, version| OperatorSetId { domain: domain.into(), version };
        let opset_import = vec![domain("", self.opset), domain("com.microsoft", 1)];
        ModelProto { ir_version: 8, graph: Some(self.graph.clone()), opset_import, ..Default::default() }
            .encode_to_vec()
    }
}
