//! Already quantised models, as ONNX Runtime's quantiser writes them.

use super::{
    N,
    builder::{Onnx, int, ints},
    compare, compare_with, samples, to_f32, try_import,
};
use crate::onnx::data_type::{INT8, INT32, UINT8};

fn bytes(values: &[i8]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// `n` weights between -100 and 100.
fn weights(seed: u64, n: usize) -> Vec<i8> {
    #[expect(clippy::cast_possible_truncation, reason = "between -100 and 100")]
    super::random(seed, n).iter().map(|v| (v * 100.0) as i8).collect()
}

/// Scale and zero point constants `name_s` and `name_z`.
fn affine(model: Onnx, name: &str, scale: f32, data_type: i32, zero: u8) -> Onnx {
    model.floats(&format!("{name}_s"), &[], &[scale]).raw(&format!("{name}_z"), &[], data_type, vec![zero])
}

/// QDQ: x, Conv with per-channel weights and an i32 bias, Relu implied by the output's range, pool, Gemm.
pub(super) fn qdq() -> Onnx {
    let scales = [0.01, 0.02, 0.005, 0.03];
    let bias: Vec<u8> = [900i32, -500, 2000, 0].iter().flat_map(|v| v.to_le_bytes()).collect();
    let bias_scales: Vec<f32> = scales.iter().map(|s| s * (4.0 / 255.0)).collect();
    let mut model = Onnx::new(&[-1, 3, 6, 6])
        .raw("w", &[4, 3, 3, 3], INT8, bytes(&weights(1, 108)))
        .floats("w_s", &[4], &scales)
        .raw("w_z", &[4], INT8, vec![0; 4])
        .raw("b", &[4], INT32, bias)
        .floats("b_s", &[4], &bias_scales)
        .raw("b_z", &[4], INT32, vec![0; 16])
        .raw("v", &[4, 5], INT8, bytes(&weights(2, 20)));
    for (name, scale, data_type, zero) in [
        ("x", 4.0 / 255.0, UINT8, 128),
        ("c", 0.05, UINT8, 0),
        ("g", 0.02, UINT8, 0),
        ("v", 0.01, INT8, 0),
        ("y", 0.06, UINT8, 120),
    ] {
        model = affine(model, name, scale, data_type, zero);
    }
    let pair = |model: Onnx, from: &str, scale: &str| {
        let (operands, back) =
            (format!("{from} {scale}_s {scale}_z"), format!("{scale}_q {scale}_s {scale}_z"));
        model.node("QuantizeLinear", &operands, &format!("{scale}_q"), &[]).node(
            "DequantizeLinear",
            &back,
            &format!("{scale}_dq"),
            &[],
        )
    };
    let model = pair(model, "x", "x")
        .node("DequantizeLinear", "w w_s w_z", "wf", &[int("axis", 0)])
        .node("DequantizeLinear", "b b_s b_z", "bf", &[int("axis", 0)])
        .node("DequantizeLinear", "v v_s v_z", "vf", &[])
        .node("Conv", "x_dq wf bf", "conv", &[ints("pads", &[1, 1, 1, 1])]);
    let model = pair(model, "conv", "c").node("GlobalAveragePool", "c_dq", "pool", &[]);
    let model =
        pair(model, "pool", "g").node("Flatten", "g_dq", "flat", &[]).node("MatMul", "flat vf", "mm", &[]);
    pair(model, "mm", "y").output("y_dq")
}

#[test]
fn qdq_models_give_weights_and_ranges() {
    // The reference rounds to the source's steps, we to our own.
    let inputs = samples(&[("x", &[3, 6, 6])]);
    compare_with("QDQ", &qdq(), &inputs, &super::reference(&qdq(), &inputs), 0.06);
    let imported = try_import(&qdq()).unwrap();
    assert_eq!(imported.report.scheme, "static", "the source's own scales suffice");
    let samples = samples(&[("x", &[3, 6, 6])]);
    let engine =
        veracity_engine::Engine::load(imported.model.clone().into(), &veracity_engine::Options::default())
            .unwrap();
    let inputs = imported.model.graph().encode_inputs(&samples).unwrap();
    let outputs = engine.run(&inputs, None).unwrap().outputs;
    let ours = to_f32(&imported.model.graph().decode_outputs(&outputs)[0].1);
    let expected = super::reference(&qdq(), &samples)[0].concat();
    assert_eq!(ours.len(), N * 5);
    for (a, b) in ours.iter().zip(&expected) {
        assert!((a - b).abs() <= 0.15, "{a} against {b}, steps of 0.06");
    }
}

/// QOperator: the same kinds of layers, fused.
pub(super) fn qoperator() -> Onnx {
    let bias: Vec<u8> = [900i32, -500, 2000, 0].iter().flat_map(|v| v.to_le_bytes()).collect();
    let mut model = Onnx::new(&[-1, 3, 6, 6])
        .raw("w", &[4, 3, 3, 3], INT8, bytes(&weights(1, 108)))
        .floats("w_s", &[4], &[0.01, 0.02, 0.005, 0.03])
        .raw("w_z", &[4], INT8, vec![0; 4])
        .raw("b", &[4], INT32, bias)
        .raw("v", &[4, 5], INT8, bytes(&weights(2, 20)))
        .raw("u", &[3, 5], INT8, bytes(&weights(4, 15)))
        .raw("ub", &[3], INT32, [100i32, 0, -100].iter().flat_map(|v| v.to_le_bytes()).collect());
    for (name, scale, data_type, zero) in [
        ("x", 4.0 / 255.0, UINT8, 128),
        ("c", 0.05, UINT8, 100),
        ("l", 0.04, UINT8, 60),
        ("s", 0.004, UINT8, 0),
        ("a", 0.06, UINT8, 90),
        ("m", 0.04, UINT8, 60),
        ("p", 0.04, UINT8, 60),
        ("g", 0.02, UINT8, 40),
        ("v", 0.01, INT8, 0),
        ("y", 0.05, UINT8, 120),
        ("u", 0.01, INT8, 0),
        ("o", 0.1, UINT8, 120),
        ("j", 0.1, UINT8, 120),
    ] {
        model = affine(model, name, scale, data_type, zero);
    }
    model
        .node("QuantizeLinear", "x x_s x_z", "xq", &[])
        .node("QLinearConv", "xq x_s x_z w w_s w_z c_s c_z b", "c", &[ints("pads", &[1, 1, 1, 1])])
        .node("com.microsoft.QLinearLeakyRelu", "c c_s c_z l_s l_z", "l", &[])
        .node("com.microsoft.QLinearSigmoid", "c c_s c_z s_s s_z", "s", &[])
        .node("com.microsoft.QLinearAdd", "c c_s c_z l l_s l_z a_s a_z", "a", &[])
        .node("com.microsoft.QLinearMul", "l l_s l_z s s_s s_z m_s m_z", "m", &[])
        .node("com.microsoft.QLinearAveragePool", "m m_s m_z p_s p_z", "p", &[ints("kernel_shape", &[2, 2])])
        .node("com.microsoft.QLinearGlobalAveragePool", "p p_s p_z g_s g_z", "g", &[])
        .node("Flatten", "g", "f", &[])
        .node("QLinearMatMul", "f g_s g_z v v_s v_z y_s y_z", "y", &[])
        .node("com.microsoft.QGemm", "y y_s y_z u u_s u_z ub o_s o_z", "o", &[int("transB", 1)])
        .node("DequantizeLinear", "o o_s o_z", "out", &[])
        .node("DequantizeLinear", "a a_s a_z", "sum", &[])
        .output("out sum")
}

#[test]
fn fused_operators_give_weights_and_ranges() {
    let inputs = samples(&[("x", &[3, 6, 6])]);
    compare_with("QOperator", &qoperator(), &inputs, &super::reference(&qoperator(), &inputs), 0.1);
    let imported = try_import(&qoperator()).unwrap();
    assert_eq!(imported.report.scheme, "static");
}

#[test]
fn fused_concatenation() {
    let model = affine(affine(Onnx::new(&[-1, 3]), "x", 4.0 / 255.0, UINT8, 128), "j", 0.02, UINT8, 128)
        .node("QuantizeLinear", "x x_s x_z", "xq", &[])
        .node("com.microsoft.QLinearConcat", "j_s j_z xq x_s x_z xq x_s x_z", "j", &[int("axis", 1)])
        .node("DequantizeLinear", "j j_s j_z", "y", &[])
        .output("y");
    let samples = samples(&[("x", &[3])]);
    let expected = to_f32(&samples["x"]).chunks(3).map(|x| [x, x].concat()).collect();
    compare("QLinearConcat", &model, &samples, &[expected]);
}
