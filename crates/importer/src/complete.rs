//! Rewrites an ONNX model into the dialect that the f32 reference (rten 0.27) runs: default attributes written out, and
//! ONNX Runtime's fused quantised operators taken apart. Activations stay floats throughout: quantising one means
//! rounding it to its steps and back, so operators that only move values need no quantised form.

use std::collections::{BTreeMap, BTreeSet};

use crate::onnx::{self, AttributeProto, ModelProto, NodeProto};

/// Rewrites the model, or says what the reference would compute wrongly.
pub(crate) fn complete(model: &mut ModelProto) -> Result<(), String> {
    let Some(graph) = &mut model.graph else { return Ok(()) };
    let constants: BTreeSet<String> = graph.initializer.iter().map(|t| t.name.clone()).collect();
    let plain = |node| take_apart(node, &constants);
    graph.node = std::mem::take(&mut graph.node).into_iter().flat_map(plain).collect();
    let mut shapes: BTreeMap<String, Vec<i64>> =
        graph.initializer.iter().map(|t| (t.name.clone(), t.dims.clone())).collect();
    for node in &mut graph.node {
        if node.op_type == "DequantizeLinear"
            && let (Some(shape), Some(output)) =
                (node.input.first().and_then(|i| shapes.get(i)), node.output.first())
        {
            shapes.insert(output.clone(), shape.clone());
        }
        let weights = node.input.get(1).and_then(|name| shapes.get(name));
        if let Some(kernel) = kernel(node, weights) {
            write_pads(node, &kernel)?;
            write_defaults(node, kernel.len());
        }
    }
    Ok(())
}

/// Kernel extents of a convolution or pool over one to three axes.
fn kernel(node: &NodeProto, weights: Option<&Vec<i64>>) -> Option<Vec<i64>> {
    let attribute = || ints(node, "kernel_shape").map(<[i64]>::to_vec);
    let kernel = match node.op_type.as_str() {
        "Conv" | "ConvTranspose" => attribute().or_else(|| weights?.get(2..).map(<[i64]>::to_vec)),
        "MaxPool" | "AveragePool" => attribute(),
        _ => None,
    };
    kernel.filter(|k| (1..=3).contains(&k.len()))
}

fn ints<'a>(node: &'a NodeProto, name: &str) -> Option<&'a [i64]> {
    node.attribute.iter().find(|a| a.name == name).map(|a| a.ints.as_slice())
}

/// Replaces `auto_pad` by the padding it stands for, as rten reads `SAME_LOWER` as `SAME_UPPER` and refuses `VALID`.
/// `SAME_UPPER` stays. `SAME_LOWER` with strides of a convolution or pool depends on the request.
fn write_pads(node: &mut NodeProto, kernel: &[i64]) -> Result<(), String> {
    let mode = node.attribute.iter().find(|a| a.name == "auto_pad").map(|a| a.s.clone());
    match mode.as_deref() {
        Some(b"SAME_LOWER") => {}
        Some(b"VALID") => {
            node.attribute.retain(|a| a.name != "auto_pad" && a.name != "pads");
            return Ok(());
        }
        Some(b"NOTSET") => {
            node.attribute.retain(|a| a.name != "auto_pad");
            return Ok(());
        }
        Some(_) | None => return Ok(()),
    }
    let at =
        |name, axis: usize, default| ints(node, name).and_then(|v| v.get(axis)).copied().unwrap_or(default);
    let transposed = node.op_type == "ConvTranspose";
    let (mut begin, mut end) = (Vec::new(), Vec::new());
    for (axis, &kernel) in kernel.iter().enumerate() {
        let (stride, added) = (at("strides", axis, 1), at("output_padding", axis, 0));
        if stride != 1 && !transposed {
            return Err("it lacks auto_pad SAME_LOWER with strides".into());
        }
        let span = kernel.saturating_sub(1).saturating_mul(at("dilations", axis, 1)).saturating_add(1);
        let total = span.saturating_add(added).saturating_sub(stride).max(0);
        begin.push(total - total / 2);
        end.push(total / 2);
    }
    node.attribute.retain(|a| a.name != "auto_pad" && a.name != "pads");
    default_ints(node, "pads", [begin, end].concat());
    Ok(())
}

fn write_defaults(node: &mut NodeProto, spatial: usize) {
    default_ints(node, "strides", vec![1; spatial]);
    default_ints(node, "pads", vec![0; 2 * spatial]);
    if node.op_type != "AveragePool" {
        default_ints(node, "dilations", vec![1; spatial]);
    }
}

fn default_ints(node: &mut NodeProto, name: &str, ints: Vec<i64>) {
    let has = |wanted: &str| node.attribute.iter().any(|a| a.name == wanted);
    let implied = name == "pads" && has("auto_pad");
    if !has(name) && !implied {
        let attribute =
            AttributeProto { name: name.into(), ints, r#type: onnx::ATTRIBUTE_INTS, ..Default::default() };
        node.attribute.push(attribute);
    }
}

/// Operands of a fused operator: where each quantised tensor begins (tensor, scale, zero point), where the bias lies,
/// where the output's scale lies, and the operator within.
struct Fused {
    op: &'static str,
    tensors: &'static [usize],
    /// Bias operand, whose scale is the product of the first two tensors' scales.
    bias: Option<usize>,
    output: usize,
}

fn fused(node: &NodeProto) -> Option<Fused> {
    Some(match node.op_type.as_str() {
        "QLinearConv" => Fused { op: "Conv", tensors: &[0, 3], bias: Some(8), output: 6 },
        "QLinearMatMul" => Fused { op: "MatMul", tensors: &[0, 3], bias: None, output: 6 },
        "QGemm" => Fused { op: "Gemm", tensors: &[0, 3], bias: Some(6), output: 7 },
        "QLinearAdd" => Fused { op: "Add", tensors: &[0, 3], bias: None, output: 6 },
        "QLinearMul" => Fused { op: "Mul", tensors: &[0, 3], bias: None, output: 6 },
        "QLinearGlobalAveragePool" => Fused { op: "GlobalAveragePool", tensors: &[0], bias: None, output: 3 },
        "QLinearAveragePool" => Fused { op: "AveragePool", tensors: &[0], bias: None, output: 3 },
        "QLinearSigmoid" => Fused { op: "Sigmoid", tensors: &[0], bias: None, output: 3 },
        "QLinearLeakyRelu" => Fused { op: "LeakyRelu", tensors: &[0], bias: None, output: 3 },
        _ => return None,
    })
}

fn node(op_type: &str, input: Vec<String>, output: &str, attribute: Vec<AttributeProto>) -> NodeProto {
    let name = format!("{output}_{op_type}");
    NodeProto {
        input,
        output: vec![output.into()],
        name,
        op_type: op_type.into(),
        attribute,
        domain: String::new(),
    }
}

fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { name: name.into(), i, r#type: onnx::ATTRIBUTE_INT, ..Default::default() }
}

/// `value` rounded to the steps of a scale and zero point, as `output`.
fn round_trip(value: &str, affine: [String; 2], output: &str) -> [NodeProto; 2] {
    let steps = format!("{output}_steps");
    let [scale, zero] = affine;
    [
        node("QuantizeLinear", vec![value.into(), scale.clone(), zero.clone()], &steps, vec![]),
        node("DequantizeLinear", vec![steps, scale, zero], output, vec![]),
    ]
}

/// A quantising operator as float ones; other nodes as they are.
fn take_apart(source: NodeProto, constants: &BTreeSet<String>) -> Vec<NodeProto> {
    let Some(output) = source.output.first().cloned() else { return vec![source] };
    let operand = |i: usize| source.input.get(i).cloned().unwrap_or_default();
    let constant = constants.contains(&operand(0));
    match source.op_type.as_str() {
        "QuantizeLinear" if !constant => {
            return round_trip(&operand(0), [operand(1), operand(2)], &output).into();
        }
        "DequantizeLinear" if !constant => return vec![node("Identity", vec![operand(0)], &output, vec![])],
        _ => {}
    }
    let Some(f) = fused(&source) else { return vec![source] };
    let mut nodes = Vec::new();
    let mut inputs = Vec::new();
    for (i, &at) in f.tensors.iter().enumerate() {
        if !constants.contains(&operand(at)) {
            inputs.push(operand(at));
            continue;
        }
        let name = format!("{output}_real{i}");
        // Per-channel weights are scaled along their output axis: 0 for Conv, and for Gemm the last unless transposed.
        let transposed = source.attribute.iter().any(|a| a.name == "transB" && a.i != 0);
        let axis = int("axis", i64::from(!(f.op == "Conv" || transposed)));
        nodes.push(node(
            "DequantizeLinear",
            vec![operand(at), operand(at + 1), operand(at + 2)],
            &name,
            vec![axis],
        ));
        inputs.push(name);
    }
    if let Some(bias) = f.bias.filter(|&b| !operand(b).is_empty()) {
        let [scale, float, real] = ["scale", "float", "real"].map(|part| format!("{output}_bias_{part}"));
        nodes.push(node("Mul", vec![operand(1), operand(4)], &scale, vec![]));
        nodes.push(node("Cast", vec![operand(bias)], &float, vec![int("to", 1)]));
        nodes.push(node("Mul", vec![float, scale], &real, vec![]));
        inputs.push(real);
    }
    if operand(f.output).is_empty() {
        nodes.push(node(f.op, inputs, &output, source.attribute.clone()));
        return nodes;
    }
    let result = format!("{output}_float");
    nodes.push(node(f.op, inputs, &result, source.attribute.clone()));
    nodes.extend(round_trip(&result, [operand(f.output), operand(f.output + 1)], &output));
    nodes
}
