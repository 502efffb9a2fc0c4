//! Functions of one value beyond the activations, what is made of them, and where they are not defined.

use veracity_graph::{Array, ArrayData};

use super::{
    N, agrees,
    builder::{Onnx, float, int, ints},
    compare, computes, random, try_import,
};
use crate::{Activations, ImportError, Options, Samples, Scheme, import};

/// A model of `x` moved into `[lo, lo + 4 * by)` as `p`.
fn moved(extents: &[i64], by: f32, lo: f32) -> Onnx {
    Onnx::new(extents)
        .floats("by", &[], &[by])
        .floats("shift", &[], &[lo + 2.0 * by])
        .node("Mul", "x by", "scaled", &[])
        .node("Add", "scaled shift", "p", &[])
}

#[test]
fn curved_functions() {
    for (op, by, lo) in [
        ("Exp", 1.0, -2.0),
        ("Exp", 1.5, -5.0),
        ("Log", 1.0, 0.25),
        ("Log", 100.0, 2.0),
        ("Sqrt", 1.0, 0.05),
        ("Sqrt", 1000.0, 0.0),
        ("Reciprocal", 1.0, 0.4),
        ("Reciprocal", 50.0, 20.0),
    ] {
        // Without the Relu nothing would tell the dynamic scheme that a divisor is positive.
        let model = moved(&[-1, 40], by, lo).node("Relu", "p", "r", &[]);
        let operand = if op == "Reciprocal" { "r" } else { "p" };
        let model = model.node(op, operand, "y", &[]).output("y");
        agrees(&format!("{op} of {lo} and more"), &model, &[("x", &[40])]);
    }
}

#[test]
fn powers() {
    for (exponent, by, lo) in [
        (1.0, 1.0, -2.0),
        (2.0, 1.0, -2.0),
        (3.0, 1.0, -2.0),
        (3.0, 5.0, -8.0),
        (4.0, 1.0, -1.0),
        (0.5, 1.0, 0.25),
        (1.5, 10.0, 0.0),
        (0.3, 1.0, 0.5),
    ] {
        let model = moved(&[-1, 40], by, lo).floats("e", &[], &[exponent]);
        agrees(&format!("Pow {exponent}"), &model.node("Pow", "p e", "y", &[]).output("y"), &[("x", &[40])]);
    }
    for (exponent, lo) in [(-1.0, 0.5), (-0.5, 0.25), (-2.0, 0.75)] {
        let model = moved(&[-1, 40], 1.0, lo).floats("e", &[], &[exponent]).node("Relu", "p", "r", &[]);
        agrees(&format!("Pow {exponent}"), &model.node("Pow", "r e", "y", &[]).output("y"), &[("x", &[40])]);
    }
    let whole = Onnx::new(&[-1, 9]).raw("e", &[1], crate::onnx::data_type::INT64, 3i64.to_le_bytes().into());
    let model = whole.node("Pow", "x e", "y", &[]).output("y");
    computes("Pow of an integer", &model, &[9], |x| x.iter().map(|v| v * v * v).collect());
}

#[test]
fn quotients() {
    let inputs: &[(&str, &[usize])] = &[("x", &[3, 4, 5]), ("z", &[3, 4, 5])];
    let small: &[(&str, &[usize])] = &[("x", &[3, 4, 5]), ("z", &[3, 1, 1])];
    let other: &[(&str, &[usize])] = &[("x", &[3, 1, 5]), ("z", &[1, 4, 5])];
    for shapes in [inputs, small, other] {
        let extents = |i: usize| -> Vec<i64> {
            std::iter::once(-1).chain(shapes[i].1.iter().map(|&d| i64::try_from(d).unwrap())).collect()
        };
        let model = Onnx::new(&extents(0))
            .input("z", &extents(1))
            .floats("c", &[], &[0.5])
            .node("Abs", "z", "a", &[])
            .node("Add", "a c", "d", &[])
            .node("Div", "x d", "y", &[]);
        agrees("Div of values", &model.output("y"), shapes);
    }
    for dims in [&[][..], &[5], &[3, 1, 1]] {
        let model = Onnx::new(&[-1, 3, 4, 5]).random("c", dims).node("Sigmoid", "x", "s", &[]).node(
            "Div",
            "c s",
            "y",
            &[],
        );
        agrees(&format!("Div of {dims:?} by a value"), &model.output("y"), &[("x", &[3, 4, 5])]);
    }
}

#[test]
fn constants_larger_than_the_value() {
    let x: &[(&str, &[usize])] = &[("x", &[3, 1, 5])];
    for op in ["Add", "Sub", "Mul", "Div"] {
        for dims in [&[4, 1][..], &[4, 5], &[3, 4, 1], &[1, 3, 4, 5]] {
            let n = usize::try_from(dims.iter().product::<i64>()).unwrap();
            let values: Vec<f32> = random(4, n).iter().map(|v| v + 1.5).collect();
            let model = Onnx::new(&[-1, 3, 1, 5]).floats("c", dims, &values);
            agrees(&format!("{op} {dims:?}"), &model.clone().node(op, "x c", "y", &[]).output("y"), x);
            if op != "Div" {
                agrees(&format!("{op} {dims:?} first"), &model.node(op, "c x", "y", &[]).output("y"), x);
            }
        }
    }
    let last = Onnx::new(&[-1, 1, 4, 4])
        .random("w", &[1, 1, 3, 3])
        .random("c", &[3, 1, 1])
        .node("Conv", "x w", "d", &[])
        .node("Add", "d c", "a", &[])
        .node("Mul", "a c", "y", &[]);
    agrees("one channel becomes three", &last.output("y"), &[("x", &[1, 4, 4])]);
}

#[test]
fn softmax_of_any_axis() {
    let x: &[(&str, &[usize])] = &[("x", &[3, 4, 5])];
    for op in ["Softmax", "LogSoftmax"] {
        for axis in [1, 2, 3, -1, -2, -3] {
            let plain = Onnx::new(&[-1, 3, 4, 5]).node(op, "x", "y", &[int("axis", axis)]).output("y");
            agrees(&format!("{op} {axis}"), &plain, x);
            let after = Onnx::new(&[-1, 3, 4, 5])
                .random("w", &[6, 3, 1, 1])
                .node("Conv", "x w", "c", &[])
                .node(op, "c", "y", &[int("axis", axis)])
                .output("y c");
            agrees(&format!("{op} {axis} of channels last"), &after, x);
        }
        agrees(op, &Onnx::new(&[-1, 7]).node(op, "x", "y", &[]).output("y"), &[("x", &[7])]);
    }
    // The channels of a picture are a row already.
    let segments = Onnx::new(&[-1, 3, 4, 5]).random("w", &[6, 3, 1, 1]).node("Conv", "x w", "c", &[]);
    let segments = segments.node("Softmax", "c", "y", &[int("axis", 1)]).output("y");
    let named = |model: &Onnx| {
        let imported = try_import(model).unwrap();
        imported.model.graph().nodes.iter().filter(|n| n.name.starts_with("Softmax")).count()
    };
    assert_eq!(named(&segments), 1);
}

#[test]
fn log_softmax_of_many_classes() {
    let model = || {
        Onnx::new(&[-1, 16]).random("w", &[16, 500]).node("MatMul", "x w", "l", &[]).floats("k", &[], &[2.0])
    };
    let wide = model().node("Mul", "l k", "m", &[]).node("LogSoftmax", "m", "y", &[]).output("y");
    agrees("500 classes", &wide, &[("x", &[16])]);
    // Before operator set 13 everything from the axis on, 1 by default, is one row.
    let one_row = |x: &[f32]| {
        let sum: f32 = x.iter().map(|v| v.exp()).sum();
        x.iter().map(|v| v - sum.ln()).collect()
    };
    let old = Onnx::new(&[-1, 3, 4]).node("LogSoftmax", "x", "y", &[]).opset(11).output("y");
    computes("opset 11", &old, &[3, 4], one_row);
    let flat = Onnx::new(&[-1, 2, 3, 3])
        .random("w", &[4, 2, 2, 2])
        .node("Conv", "x w", "c", &[])
        .node("Flatten", "c", "f", &[])
        .node("LogSoftmax", "f", "y", &[]);
    agrees("of a flattened picture", &flat.output("y f"), &[("x", &[2, 3, 3])]);
}

#[test]
fn compositions() {
    let x: &[(&str, &[usize])] = &[("x", &[3, 16])];
    let model = || Onnx::new(&[-1, 3, 16]);
    let silu = model().node("Sigmoid", "x", "s", &[]).node("Mul", "x s", "y", &[]);
    agrees("x * sigmoid(x)", &silu.output("y"), x);
    let gelu = model()
        .floats("root", &[], &[std::f32::consts::SQRT_2])
        .floats("one", &[], &[1.0])
        .floats("half", &[], &[0.5])
        .node("Div", "x root", "d", &[])
        .node("Erf", "d", "e", &[])
        .node("Add", "e one", "a", &[])
        .node("Mul", "x a", "m", &[])
        .node("Mul", "m half", "y", &[]);
    agrees("gelu of parts", &gelu.output("y"), x);
    let tanh_gelu = model()
        .floats("three", &[], &[3.0])
        .floats("a", &[], &[0.044_715])
        .floats("b", &[], &[0.797_884_6])
        .floats("one", &[], &[1.0])
        .floats("half", &[], &[0.5])
        .node("Pow", "x three", "cube", &[])
        .node("Mul", "cube a", "scaled", &[])
        .node("Add", "x scaled", "sum", &[])
        .node("Mul", "sum b", "inner", &[])
        .node("Tanh", "inner", "t", &[])
        .node("Add", "t one", "u", &[])
        .node("Mul", "x u", "m", &[])
        .node("Mul", "m half", "y", &[]);
    agrees("gelu of tanh", &tanh_gelu.output("y"), x);
    let hard_swish = model()
        .floats("three", &[], &[3.0])
        .floats("six", &[], &[6.0])
        .floats("zero", &[], &[0.0])
        .node("Add", "x three", "a", &[])
        .node("Clip", "a zero six", "c", &[])
        .node("Mul", "x c", "m", &[])
        .node("Div", "m six", "y", &[]);
    agrees("hard swish of parts", &hard_swish.output("y"), x);
    let mish =
        model().node("Softplus", "x", "s", &[]).node("Tanh", "s", "t", &[]).node("Mul", "x t", "y", &[]);
    agrees("mish of parts", &mish.output("y"), x);
    let sigmoid = model()
        .floats("one", &[], &[1.0])
        .node("Neg", "x", "n", &[])
        .node("Exp", "n", "e", &[])
        .node("Add", "e one", "a", &[])
        .node("Reciprocal", "a", "y", &[]);
    agrees("sigmoid of parts", &sigmoid.output("y"), x);
    let softmax = model()
        .node("Exp", "x", "e", &[])
        .node("ReduceSum", "e axes", "s", &[int("keepdims", 1)])
        .ints("axes", &[-1])
        .node("Div", "e s", "y", &[]);
    agrees("softmax of parts", &softmax.output("y"), x);
    let normalised = model()
        .ints("axes", &[-1])
        .floats("two", &[], &[2.0])
        .floats("epsilon", &[], &[1e-3])
        .random("gain", &[16])
        .random("shift", &[16])
        .node("ReduceMean", "x", "mean", &[ints("axes", &[-1])])
        .node("Sub", "x mean", "c", &[])
        .node("Pow", "c two", "sq", &[])
        .node("ReduceMean", "sq", "var", &[ints("axes", &[-1])])
        .node("Add", "var epsilon", "v", &[])
        .node("Sqrt", "v", "sd", &[])
        .node("Div", "c sd", "n", &[])
        .node("Mul", "n gain", "g", &[])
        .node("Add", "g shift", "y", &[]);
    agrees("layer normalisation of parts", &normalised.output("y"), x);
}

#[test]
fn thresholds() {
    // No value is near the threshold, where the function jumps.
    let values = random(3, N * 40).iter().map(|v| (v * 8.0).round() / 4.0 + 0.1).collect();
    let samples =
        Samples::from([("x".to_owned(), Array { shape: vec![N, 40], data: ArrayData::F32(values) })]);
    for alpha in [0.5, 1.0] {
        let model =
            Onnx::new(&[-1, 40]).node("ThresholdedRelu", "x", "y", &[float("alpha", alpha)]).output("y");
        let expected = super::to_f32(&samples["x"])
            .chunks(40)
            .map(|x| x.iter().map(|&v| if v > alpha { v } else { 0.0 }).collect())
            .collect();
        compare("ThresholdedRelu", &model, &samples, &[expected]);
    }
    for alpha in [1.702, 0.5, 0.0, -1.0] {
        let model =
            Onnx::new(&[-1, 40]).node("Swish", "x", "y", &[float("alpha", alpha)]).opset(24).output("y");
        computes("Swish", &model, &[40], |x| x.iter().map(|v| v / (1.0 + (-alpha * v).exp())).collect());
    }
}

/// The reason for which a model of `nodes` from `x` in `[-2, 2)` is refused with samples.
fn refusal(model: &Onnx, samples: &Samples) -> String {
    let options = Options { activations: Activations::I8, scheme: Scheme::Static };
    match import(&model.bytes(), Some(samples), &options, &mut |_| {}).map(|i| i.report) {
        Err(ImportError::UnsupportedUse { node, reason, .. }) => format!("{node}: {reason}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn operands_where_functions_have_no_value() {
    let samples = super::samples(&[("x", &[40])]);
    for op in ["Log", "Sqrt", "Reciprocal"] {
        let model = Onnx::new(&[-1, 40]).node(op, "x", "y", &[]).output("y");
        let reason = refusal(&model, &samples);
        assert!(reason.starts_with(&format!("{op}_0: its operand goes down to -1.9")), "{reason}");
        assert!(reason.ends_with(" on the samples, where the function has no value"), "{reason}");
        let zero = Onnx::new(&[-1, 40]).node("Relu", "x", "r", &[]).node(op, "r", "y", &[]).output("y");
        if op == "Sqrt" {
            agrees("Sqrt of zero", &zero, &[("x", &[40])]);
        } else {
            let reason = refusal(&zero, &samples);
            assert!(
                reason.starts_with(&format!("{op}_1: its operand goes down to zero, or less than")),
                "{reason}"
            );
        }
    }
    let unknown = "its operand may be negative as far as the model tells, and tables reach positive operands only; \
                   give samples, or apply Abs, Clip or Relu first";
    for op in ["Reciprocal", "Log", "Sqrt"] {
        let model = Onnx::new(&[-1, 4]).node(op, "x", "y", &[]).output("y");
        match try_import(&model).map(|i| i.report) {
            Err(ImportError::UnsupportedUse { reason, .. }) => {
                assert_eq!((op, reason.as_str()), ("Reciprocal", unknown));
            }
            other => assert!(other.is_ok() && op != "Reciprocal", "{op}: {other:?}"),
        }
    }
    let quotient = Onnx::new(&[-1, 4]).input("z", &[-1, 4]).node("Div", "x z", "y", &[]).output("y");
    match try_import(&quotient).map(|i| i.report) {
        Err(ImportError::UnsupportedUse { node, reason, .. }) => {
            assert_eq!((node.as_str(), reason.as_str()), ("Div_0", unknown));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn results_beyond_the_range_are_noticed() {
    let samples = super::samples(&[("x", &[40])]);
    let model = moved(&[-1, 40], 3.0, 2.0).node("Exp", "p", "y", &[]).output("y");
    let options = Options { activations: Activations::I8, scheme: Scheme::Static };
    let error = import(&model.bytes(), Some(&samples), &options, &mut |_| {}).map(|i| i.report).unwrap_err();
    assert_eq!(error.code(), "out_of_range", "{error}");
}

#[test]
fn exponents_that_are_refused() {
    for (exponent, reason) in [
        (vec![0.0], "the exponent must not be zero, nor beyond 16 in magnitude"),
        (vec![17.0], "the exponent must not be zero, nor beyond 16 in magnitude"),
        (vec![2.0, 3.0, 2.0, 3.0], "the exponent must be one constant number"),
    ] {
        let dims = [i64::try_from(exponent.len()).unwrap()];
        let model =
            Onnx::new(&[-1, 4]).floats("e", &dims, &exponent).node("Pow", "x e", "y", &[]).output("y");
        match try_import(&model).map(|i| i.report) {
            Err(ImportError::UnsupportedUse { reason: found, .. }) => assert_eq!(found, reason),
            other => panic!("{other:?}"),
        }
    }
}
