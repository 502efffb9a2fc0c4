//! LSTM and GRU written out step by step, against rten, or against their formulas where rten lacks them.

use super::{
    N, agrees,
    builder::{Onnx, float, int, ints, text, texts},
    compare, computes, random, reference, samples, try_import,
};
use crate::{Activations, ImportError, Options, Scheme, import, measure, onnx::AttributeProto};

const STEPS: usize = 7;
const INPUTS: usize = 5;
const HIDDEN: usize = 6;
const X: &[(&str, &[usize])] = &[("x", &[STEPS, INPUTS])];

/// `x` of `[batch, steps, inputs]` as `[steps, batch, inputs]`, and weights as a training would leave them.
fn layer(cell: &str, directions: i64) -> Onnx {
    sized(cell, directions, [STEPS, INPUTS, HIDDEN])
}

fn sized(cell: &str, directions: i64, [steps, inputs, hidden]: [usize; 3]) -> Onnx {
    let gates = if cell == "LSTM" { 4 } else { 3 };
    let [steps, inputs, hidden] = [steps, inputs, hidden].map(|v| i64::try_from(v).unwrap());
    let scaled = |name: &str, n: i64, by: f32| -> Vec<f32> {
        let seed = name.bytes().fold(11, |s: u64, b| s * 31 + u64::from(b));
        random(seed, usize::try_from(n).unwrap()).iter().map(|v| v * by).collect()
    };
    let rows = gates * hidden;
    #[expect(clippy::cast_precision_loss, reason = "small")]
    let [by_w, by_r] = [inputs, hidden].map(|n| 2.0 / (n as f32).sqrt());
    Onnx::new(&[-1, steps, inputs])
        .floats("w", &[directions, rows, inputs], &scaled("w", directions * rows * inputs, by_w))
        .floats("r", &[directions, rows, hidden], &scaled("r", directions * rows * hidden, by_r))
        .floats("b", &[directions, 2 * rows], &scaled("b", directions * 2 * rows, 0.3))
        .ints("zero", &[0])
        .ints("one", &[1])
        .node("Transpose", "x", "xt", &[ints("perm", &[1, 0, 2])])
}

fn hidden() -> AttributeProto {
    int("hidden_size", i64::try_from(HIDDEN).unwrap())
}

/// The attributes with which rten runs a cell: of GRU it knows the form of cuDNN only.
fn usual(cell: &str, hidden: usize) -> Vec<AttributeProto> {
    let size = int("hidden_size", i64::try_from(hidden).unwrap());
    if cell == "GRU" { vec![size, int("linear_before_reset", 1)] } else { vec![size] }
}

/// All answers of a layer of one direction, the batch first.
fn answered(model: Onnx, cell: &str, operands: &str, attributes: &[AttributeProto]) -> Onnx {
    let (results, names) = if cell == "LSTM" { ("ys h c", "y yh yc") } else { ("ys h", "y yh") };
    let mut model = model
        .node(cell, operands, results, attributes)
        .node("Squeeze", "ys one", "y1", &[])
        .node("Transpose", "y1", "y", &[ints("perm", &[1, 0, 2])])
        .node("Squeeze", "h zero", "yh", &[]);
    if cell == "LSTM" {
        model = model.node("Squeeze", "c zero", "yc", &[]);
    }
    model.output(names)
}

#[test]
fn layers() {
    for cell in ["LSTM", "GRU"] {
        for (what, attributes) in [("forward", vec![]), ("reverse", vec![text("direction", "reverse")])] {
            let attributes = [attributes, usual(cell, HIDDEN)].concat();
            let model = answered(layer(cell, 1), cell, "xt w r b", &attributes);
            agrees(&format!("{cell} {what}"), &model, X);
        }
        let attributes = usual(cell, HIDDEN);
        agrees(&format!("{cell} without bias"), &answered(layer(cell, 1), cell, "xt w r", &attributes), X);
        let zeros = layer(cell, 1).floats("z", &[1, 1, 6], &[0.0; 6]);
        let operands = if cell == "LSTM" { "xt w r b - z z" } else { "xt w r b - z" };
        let expected = reference(&answered(layer(cell, 1), cell, "xt w r b", &attributes), &samples(X));
        compare("zeros", &answered(zeros, cell, operands, &attributes), &samples(X), &expected);
    }
}

#[test]
fn both_directions_and_their_last_states() {
    for cell in ["LSTM", "GRU"] {
        let attributes = [usual(cell, HIDDEN), vec![text("direction", "bidirectional")]].concat();
        let model = layer(cell, 2)
            .ints("merge", &[0, 0, -1])
            .ints("flat", &[0, -1])
            .raw("last", &[], crate::onnx::data_type::INT64, (-1i64).to_le_bytes().into())
            .node(cell, "xt w r b", "ys h", &attributes)
            .node("Transpose", "ys", "y1", &[ints("perm", &[0, 2, 1, 3])])
            .node("Reshape", "y1 merge", "y2", &[])
            .node("Transpose", "y2", "y", &[ints("perm", &[1, 0, 2])])
            .node("Transpose", "h", "h1", &[ints("perm", &[1, 0, 2])])
            .node("Reshape", "h1 flat", "yh", &[])
            .node("Gather", "y2 last", "end", &[int("axis", 0)])
            .node("Gather", "h last", "backward", &[int("axis", 0)])
            .output("y yh end backward");
        agrees(&format!("{cell} both ways"), &model, X);
    }
}

#[test]
fn stacked_layers_and_a_classifier() {
    let rows = 4 * HIDDEN;
    let second = [rows * HIDDEN, rows * HIDDEN];
    let [w, r] = second.map(|n| random(n as u64, n));
    let dims = [1, i64::try_from(rows).unwrap(), i64::try_from(HIDDEN).unwrap()];
    let model = layer("LSTM", 1)
        .floats("w2", &dims, &w)
        .floats("r2", &dims, &r)
        .random("v", &[6, 4])
        .random("vb", &[4])
        .node("LSTM", "xt w r b", "ys", &[hidden()])
        .node("Squeeze", "ys one", "y1", &[])
        .node("LSTM", "y1 w2 r2", "- h", &[hidden()])
        .node("Squeeze", "h zero", "h1", &[])
        .node("Gemm", "h1 v vb", "y", &[])
        .output("y");
    agrees("two layers", &model, X);
    // The steps of a layer share their weights and tables.
    let weights = try_import(&model).unwrap().model.weights().len();
    assert!(weights < 2 * 131_072 + 20_000, "{weights} bytes");
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// ONNX's GRU with `linear_before_reset` 0, the states of all steps.
fn early_gru(x: &[f32], w: &[f32], r: &[f32], b: &[f32]) -> Vec<f32> {
    let n = HIDDEN;
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let mut h = vec![0.0; n];
    let mut all = Vec::new();
    for x in x.chunks(INPUTS) {
        let row = |gate: usize, i: usize, h: &[f32]| {
            let k = gate * n + i;
            dot(&w[k * INPUTS..(k + 1) * INPUTS], x) + dot(&r[k * n..(k + 1) * n], h) + b[k] + b[3 * n + k]
        };
        let update: Vec<f32> = (0..n).map(|i| sigmoid(row(0, i, &h))).collect();
        let open: Vec<f32> = (0..n).map(|i| sigmoid(row(1, i, &h)) * h[i]).collect();
        let candidate: Vec<f32> = (0..n).map(|i| row(2, i, &open).tanh()).collect();
        h = (0..n).map(|i| (1.0 - update[i]) * candidate[i] + update[i] * h[i]).collect();
        all.extend_from_slice(&h);
    }
    all
}

#[test]
fn the_reset_before_the_product() {
    let model = layer("GRU", 1);
    let constant = |name: &str| -> Vec<f32> {
        let tensor = model.graph.initializer.iter().find(|t| t.name == name).unwrap();
        tensor.raw_data.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
    };
    let [w, r, b] = ["w", "r", "b"].map(constant);
    let model = model
        .node("GRU", "xt w r b", "ys", &[hidden()])
        .node("Squeeze", "ys one", "y1", &[])
        .node("Transpose", "y1", "y", &[ints("perm", &[1, 0, 2])])
        .output("y");
    computes("GRU", &model, &[STEPS, INPUTS], |x| early_gru(x, &w, &r, &b));
}

#[test]
fn the_batch_first() {
    let batch_first = |cell: &str| {
        let attributes = [usual(cell, HIDDEN), vec![int("layout", 1)]].concat();
        layer(cell, 1)
            .ints("axis", &[2])
            .node(cell, "x w r b", "ys h", &attributes)
            .node("Squeeze", "ys axis", "y", &[])
            .node("Squeeze", "h one", "yh", &[])
            .output("y yh")
    };
    for cell in ["LSTM", "GRU"] {
        let attributes = usual(cell, HIDDEN);
        let mut expected = reference(&answered(layer(cell, 1), cell, "xt w r b", &attributes), &samples(X));
        expected.truncate(2);
        compare(cell, &batch_first(cell), &samples(X), &expected);
    }
}

/// The first state as PyTorch's exporter writes it: zeros whose extents come from the request.
#[test]
fn zeros_of_a_computed_shape() {
    let model = layer("LSTM", 1)
        .raw("zero0", &[], crate::onnx::data_type::INT64, 0i64.to_le_bytes().into())
        .ints("hidden", &[6])
        .floats("null", &[1, 1, 1], &[0.0])
        .node("Shape", "x", "s", &[])
        .node("Gather", "s zero0", "n", &[int("axis", 0)])
        .node("Unsqueeze", "n zero", "n1", &[])
        .node("Concat", "one n1 hidden", "shape", &[int("axis", 0)])
        .node("ConstantOfShape", "shape", "h0", &[])
        .node("Expand", "null shape", "c0", &[]);
    let expected = reference(&answered(layer("LSTM", 1), "LSTM", "xt w r b", &[hidden()]), &samples(X));
    compare("zeros", &answered(model, "LSTM", "xt w r b - h0 c0", &[hidden()]), &samples(X), &expected);
}

#[test]
fn constants_of_a_shape() {
    let seven = crate::onnx::TensorProto {
        dims: vec![1],
        data_type: crate::onnx::data_type::FLOAT,
        float_data: vec![7.0],
        ..Default::default()
    };
    let model = Onnx::new(&[-1, 3, 4])
        .ints("shape", &[3, 1])
        .ints("wide", &[1, 3, 4])
        .random("column", &[3, 1])
        .node("ConstantOfShape", "shape", "sevens", &[super::builder::tensor("value", seven)])
        .node("Expand", "column wide", "full", &[])
        .node("Add", "x sevens", "a", &[])
        .node("Mul", "a full", "y", &[])
        .output("y");
    agrees("ConstantOfShape and Expand", &model, &[("x", &[3, 4])]);
}

#[test]
fn long_sequences_stay_close() {
    const LONG: [usize; 3] = [96, 8, 24];
    let x: &[(&str, &[usize])] = &[("x", &[LONG[0], LONG[1]])];
    for cell in ["LSTM", "GRU"] {
        let attributes = usual(cell, LONG[2]);
        let model = sized(cell, 1, LONG)
            .random("v", &[24, 10])
            .node(cell, "xt w r b", "- h", &attributes)
            .node("Squeeze", "h zero", "h1", &[])
            .node("MatMul", "h1 v", "y", &[])
            .output("y");
        for (activations, scheme, bound) in [
            (Activations::I16, Scheme::Static, 0.9995),
            (Activations::I16, Scheme::Dynamic, 0.9995),
            (Activations::I8, Scheme::Static, 0.999),
            (Activations::I8, Scheme::Dynamic, 0.999),
        ] {
            let options = Options { activations, scheme };
            let [seen, unseen] = [0..5, 5..N].map(|rows| crate::calibrate::chunk(&samples(x), rows));
            let imported = import(&model.bytes(), Some(&seen), &options, &mut |_| {}).unwrap();
            let found = measure(&model.bytes(), &imported.model, &unseen, &mut |_, _| {}).unwrap();
            assert!(found[0].cosine_mean >= bound, "{cell} {options:?}: {:?}", found[0]);
        }
    }
}

#[test]
fn layers_that_are_refused() {
    let one = |model: Onnx, operands: &str, attributes: &[AttributeProto]| {
        model.node("LSTM", operands, "ys h", attributes).node("Squeeze", "h zero", "y", &[]).output("y")
    };
    const FIRST: &str = "the value must be [steps, batch, features], but its first axis is the batch, as in every \
                         input of a model: begin the model with a Transpose, which batch_first=True in PyTorch does";
    let with_weights =
        |model: Onnx| model.random("w", &[1, 24, 5]).random("r", &[1, 24, 6]).ints("zero", &[0]);
    let of_size = |n: i64| one(layer("LSTM", 1), "xt w r b", &[int("hidden_size", n)]);
    let cases = [
        (of_size(-8), "hidden_size is -8, but the weights R have 6 columns"),
        (of_size(0), "hidden_size is 0, but the weights R have 6 columns"),
        (of_size(7), "hidden_size is 7, but the weights R have 6 columns"),
        (
            // The steps stand first, and yet they are the batch.
            one(with_weights(Onnx::new(&[20, -1, 5])), "x w r", &[hidden()]),
            FIRST,
        ),
        (one(layer("LSTM", 1), "x w r b", &[hidden()]), FIRST),
        (
            one(layer("LSTM", 1), "xt w r b", &[hidden(), int("layout", 1)]),
            "the value must be [batch, steps, features]; its axes are in another order",
        ),
        (
            one(layer("LSTM", 1), "xt w r b", &[hidden(), text("direction", "bidirectional")]),
            "the shapes of the weights and of the value disagree",
        ),
        (one(layer("LSTM", 1), "xt w r b", &[float("clip", 3.0)]), "clip and input_forget are not supported"),
        (
            one(layer("LSTM", 1), "xt w r b", &[texts("activations", &["Sigmoid", "Relu", "Tanh"])]),
            "only the default activations are supported",
        ),
        (
            one(layer("LSTM", 1).ints("lengths", &[3]), "xt w r b lengths", &[hidden()]),
            "sequences shorter than the value are not supported",
        ),
        (
            one(layer("LSTM", 1).floats("h0", &[1, 1, 6], &[0.5; 6]), "xt w r b - h0", &[hidden()]),
            "a first state other than zeros is not supported",
        ),
        (
            one(layer("LSTM", 1).floats("p", &[1, 18], &[0.5; 18]), "xt w r b - - - p", &[hidden()]),
            "peepholes are not supported",
        ),
        (
            one(sized("LSTM", 1, [513, 2, 2]), "xt w r b", &[int("hidden_size", 2)]),
            "it has 513 steps; at most 512 are written out",
        ),
        (
            layer("LSTM", 1).node("Relu", "xt", "y", &[]).output("y"),
            "the batch axis of its operand is not the first; transpose it before",
        ),
    ];
    for (model, expected) in cases {
        match try_import(&model).map(|i| i.report) {
            Err(ImportError::UnsupportedUse { reason, .. }) => assert_eq!(reason, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
    let open = Onnx::new(&[-1, -1, 5]).node("Transpose", "x", "xt", &[ints("perm", &[1, 0, 2])]);
    let error = try_import(&one(with_weights(open), "xt w r", &[hidden()])).map(|i| i.report).unwrap_err();
    assert!(error.to_string().ends_with("with a fixed number of steps and of features"), "{error}");
    let default = texts("activations", &["Sigmoid", "Tanh", "Tanh"]);
    try_import(&one(layer("LSTM", 1), "xt w r b", &[default])).unwrap();
}
