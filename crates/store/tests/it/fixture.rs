//! A small model, made by hand: `y = clamp(round((x * w) / 4)) / 2` and `copy = ids`.

use veracity_graph::{
    Bundle, ConstantType, Decoding, Digest, Dim, Elem, Encoding, Graph, Input, Model, Node, Output,
    Provenance, Scale,
};
use veracity_ops::{DType, MatMul, Op, Quantised, Requant};

/// Inputs `x` `[batch, 4]` of f32 and `ids` `[batch, n]` of i64 in `0..=999`; outputs `y` `[batch, 3]` of f32 and
/// `copy` `[batch, n]` of i64. Each seed gives another model.
#[allow(dead_code, reason = "not every binary needs the model alone")]
pub(crate) fn tiny_model(seed: i8) -> Model {
    model(seed, 3)
}

/// The same with `rows` rows in `w` and `y`, at least 3.
fn model(seed: i8, rows: u32) -> Model {
    let input = |name: &str, elem, dims, encoding| Input { name: name.to_owned(), elem, dims, encoding };
    let inv_scale = Scale::new(1.0).unwrap();
    let mut graph = Graph {
        symbols: vec!["n".to_owned()],
        inputs: vec![
            input(
                "x",
                Elem::F32,
                vec![Dim::Fixed(4)],
                Encoding::Quantise { dtype: DType::I8, inv_scale, zero: 0 },
            ),
            input("ids", Elem::I64, vec![Dim::Symbol(0)], Encoding::Integer { lo: 0, hi: 999 }),
        ],
        constants: vec![
            ConstantType { dtype: DType::I8, shape: vec![rows, 4] },
            ConstantType { dtype: DType::I8, shape: vec![1] },
            ConstantType { dtype: DType::I8, shape: vec![1] },
        ],
        ..Graph::default()
    };
    let [w, shift, none] = [0, 1, 2].map(|i| graph.constant_value(i));
    let [x, ids] = [0, 1].map(|i| graph.input_value(i));
    let first = graph.constant_value(3);
    let value = |i: u32| veracity_graph::ValueId(first.0 + i);
    let y = |dtype, lo, hi| Quantised { dtype, zero: 0, lo, hi };
    let node = |name: &str, op, inputs: &[_]| Node { name: name.to_owned(), op, inputs: inputs.to_vec() };
    graph.nodes = vec![
        node("dense", Op::MatMul(MatMul { x_zero: 0, acc: DType::I32 }), &[x, w]),
        node("round", Op::Requant(Requant { x_zero: 0, y: y(DType::I8, -128, 127) }), &[value(0), shift]),
        node("copy", Op::Requant(Requant { x_zero: 0, y: y(DType::I16, -32768, 32767) }), &[ids, none]),
    ];
    let scale = Scale::new(0.5).unwrap();
    graph.outputs = vec![
        Output { name: "y".to_owned(), value: value(1), decoding: Decoding::Dequantise { scale, zero: 0 } },
        Output { name: "copy".to_owned(), value: value(2), decoding: Decoding::Integer(Elem::I64) },
    ];
    let mut weights = vec![1, 2, 3, 4, -1, -2, -3, -4, 0, 0, 1, seed];
    weights.extend((12..4 * rows).map(|i| i8::try_from(i % 63 * (i % 61) % 127).unwrap()));
    weights.extend([2, 0]);
    Model::new(graph, weights.into_iter().map(|v: i8| v.to_le_bytes()[0]).collect()).unwrap()
}

/// The model of this seed, bundled.
#[allow(dead_code, reason = "not every binary needs a small one")]
pub(crate) fn bundle(seed: i8) -> Bundle {
    bundled(seed, &tiny_model(seed))
}

/// A model with four groups of weights, the last one short.
#[allow(dead_code, reason = "not every binary fetches")]
pub(crate) fn wide_bundle(seed: i8) -> Bundle {
    bundle_with_rows(seed, 12_500)
}

/// A model with four bytes of weights for each row.
pub(crate) fn bundle_with_rows(seed: i8, rows: u32) -> Bundle {
    bundled(seed, &model(seed, rows))
}

fn bundled(seed: i8, model: &Model) -> Bundle {
    let provenance = Provenance {
        converter: "test/1".to_owned(),
        format: "test".to_owned(),
        source: Digest::of(&seed.to_le_bytes()),
        options: String::new(),
        samples: None,
    };
    Bundle::new(model, provenance)
}
