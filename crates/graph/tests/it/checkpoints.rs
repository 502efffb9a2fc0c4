//! Multiply-accumulates and checkpoints (`docs/spec/trace.md`, section 2): every number of the rule on a graph where
//! one more or one less changes the answer.

use veracity_graph::{Dim, Graph, Model, ModelError, Node, ValueId};
use veracity_ops::{Add, Conv, ConvTranspose, DType, DimSpec, Op, QuantRow, Reshape, Slice, TensorType};

use crate::examples::{
    SMALL_WEIGHTS, constant, every_operator, float_input, float_output, full, matmul, node, requant,
    small_graph,
};

fn ty(shape: &[usize]) -> TensorType {
    TensorType { dtype: DType::I8, shape: shape.to_vec() }
}

/// One `i8` input `x` of dynamic extents, `i8` constants of zeros, and nodes.
fn model(rank: u32, constants: &[&[u32]], nodes: Vec<Node>, outputs: &[u32]) -> Model {
    let dims: Vec<Dim> = (0..rank).map(Dim::Symbol).collect();
    let graph = Graph {
        symbols: (0..rank).map(|axis| format!("d{axis}")).collect(),
        inputs: vec![float_input("x", &dims, DType::I8, 0)],
        constants: constants.iter().map(|shape| constant(DType::I8, shape)).collect(),
        nodes,
        outputs: outputs
            .iter()
            .enumerate()
            .map(|(i, value)| float_output(&format!("y{i}"), *value))
            .collect(),
    };
    let n_bytes: u32 = constants.iter().map(|shape| shape.iter().product::<u32>()).sum();
    Model::new(graph, vec![0; n_bytes as usize]).unwrap()
}

fn conv(strides: [usize; 2], pads: [usize; 4], groups: usize) -> Conv {
    Conv { strides, pads, dilations: [1, 1], groups, x_zero: 0, acc: DType::I32 }
}

fn up(conv: Conv) -> Op {
    Op::ConvTranspose(ConvTranspose { conv, output_pads: [0, 0] })
}

/// Outputs times the length of their sum, and for a transposed convolution inputs times the outputs of each.
#[test]
fn macs_of_each_operator() {
    let cases: [(&str, Op, &[usize], &[u32], u128); 12] = [
        ("one row", matmul(), &[5], &[7, 5], 7 * 5),
        ("many rows", matmul(), &[2, 3, 5], &[7, 5], 2 * 3 * 7 * 5),
        ("no row", matmul(), &[0, 5], &[7, 5], 0),
        ("nothing to sum", matmul(), &[3, 0], &[7, 0], 0),
        ("padding counts", Op::Conv(conv([1, 1], [1; 4], 1)), &[4, 6, 3], &[8, 3, 3, 3], 4 * 6 * 8 * 27),
        ("stride", Op::Conv(conv([2, 3], [0; 4], 1)), &[5, 7, 2], &[4, 3, 1, 2], 2 * 3 * 4 * 6),
        ("groups", Op::Conv(conv([1, 1], [0; 4], 2)), &[4, 4, 6], &[8, 2, 2, 3], 3 * 3 * 8 * 12),
        ("depthwise", Op::Conv(conv([1, 1], [0; 4], 6)), &[4, 4, 6], &[6, 3, 3, 1], 2 * 2 * 6 * 9),
        ("transposed", up(conv([2, 2], [0; 4], 1)), &[4, 5, 3], &[2, 2, 3, 3], 4 * 5 * 3 * 6 * 2),
        ("cut off", up(conv([2, 2], [1; 4], 1)), &[4, 5, 3], &[2, 2, 3, 3], 4 * 5 * 3 * 6 * 2),
        ("transposed groups", up(conv([1, 1], [0; 4], 3)), &[2, 2, 6], &[9, 2, 1, 2], 2 * 2 * 6 * 2 * 3),
        ("another operator", Op::Reshape(Reshape { dims: vec![DimSpec::Infer] }), &[9], &[7], 0),
    ];
    for (name, op, x, w, expected) in cases {
        let operands: &[u32] = if op.is_linear() { &[0, 1] } else { &[0] };
        let model = model(x.len() as u32, &[w], vec![node("n", op, operands)], &[2]);
        assert_eq!(model.macs(&[ty(x)]), Ok(expected), "{name}");
    }
}

#[test]
fn macs_add_up() {
    let model = Model::new(small_graph(), SMALL_WEIGHTS.to_vec()).unwrap();
    assert_eq!(model.macs(&[ty(&[2])]), Ok(2));
    let inputs = [
        ty(&[4, 4, 2]),
        TensorType { dtype: DType::I32, shape: vec![5] },
        TensorType { dtype: DType::I32, shape: vec![2] },
    ];
    // A convolution over 3 x 3 positions, a transposed one from 2 x 2, a matrix over 8 rows.
    assert_eq!(every_operator().macs(&inputs), Ok(9 * 16 + 4 * 16 + 8 * 6));
    assert_eq!(every_operator().checkpoints(&inputs), Ok(vec![]));
    assert!(matches!(model.macs(&[ty(&[3])]), Err(ModelError::Op { .. })));
    assert!(matches!(model.checkpoints(&[]), Err(ModelError::Interface { .. })));
}

/// No shape that a model can have makes a count wrap: 2^13 convolutions of 2^51 multiply-accumulates.
#[test]
fn macs_beyond_64_bits() {
    let op = conv([1, 1], [512, 512, 511, 511], 1);
    let nodes = (0..1 << 13).map(|_| node("n", Op::Conv(op.clone()), &[0, 1])).collect();
    let model = model(3, &[&[1, 1024, 1024, 1]], nodes, &[0]);
    let inputs = [ty(&[1 << 15, 1 << 16, 1])];
    assert_eq!(model.macs(&inputs), Ok(1 << 64));
    assert_eq!(model.checkpoints(&inputs), Ok(vec![]), "all are accumulators");
    assert_eq!(model.macs(&[ty(&[1, 1, 1])]), Ok(1 << 33), "1024 x 1024 taps, nearly all beside the input");
}

/// The largest values have their price: 2^31 values of 4 bytes cost 2^46 multiply-accumulates, of 2^51 here.
#[test]
fn the_largest_values_are_paid_for() {
    let op = conv([1, 1], [512, 512, 511, 511], 1);
    let wide = |x| node("wide", requant(full(DType::I32)), &[x, 2]);
    let nodes = vec![wide(0), node("n", Op::Conv(op), &[0, 1]), wide(4), wide(4)];
    let model = model(3, &[&[1, 1024, 1024, 1], &[1]], nodes, &[0]);
    assert_eq!(model.macs(&[ty(&[1 << 15, 1 << 16, 1])]), Ok(1 << 51));
    let checkpoints = model.checkpoints(&[ty(&[1 << 15, 1 << 16, 1])]);
    assert_eq!(checkpoints, Ok(vec![ValueId(5), ValueId(6)]), "not the one before the convolution");
    let too_large = model.checkpoints(&[ty(&[1 << 16, 1 << 16, 1])]);
    assert!(matches!(too_large, Err(ModelError::Op { .. })));
}

/// Nodes of the graphs below. Values: 0 is `x`, 1 the weights, 2 the shift, 3 what the first node gives.
fn sums(x: u32) -> Node {
    node("sums", matmul(), &[x, 1])
}

fn round(x: u32) -> Node {
    node("round", requant(full(DType::I8)), &[x, 2])
}

fn double(x: u32) -> Node {
    let add = Add { zeros: [0, 0], muls: [1, 1], shift: 0, y: full(DType::I8) };
    node("double", Op::Add(add), &[x, x])
}

fn flat(x: u32) -> Node {
    node("flat", Op::Reshape(Reshape { dims: vec![DimSpec::Infer] }), &[x])
}

fn first(x: u32, axis: usize, end: i64) -> Node {
    node("first", Op::Slice(Slice { axis, start: 0, end, step: 1 }), &[x])
}

fn rows(x: u32) -> Node {
    node("rows", Op::QuantRow(QuantRow { axis: 1, q: DType::I8 }), &[x])
}

/// Checkpoints of `nodes` where the weights are `w` and `x` has `n_rows` rows.
fn checkpoints(w: [u32; 2], n_rows: usize, nodes: Vec<Node>, outputs: &[u32]) -> Vec<u32> {
    let model = model(2, &[&w, &[1]], nodes, outputs);
    let checkpoints = model.checkpoints(&[ty(&[n_rows, w[1] as usize])]).unwrap();
    checkpoints.iter().map(|value| value.0).collect()
}

/// With a square of 2048 a row takes 2^22 multiply-accumulates: 32 rows take what the smallest checkpoint costs, and
/// have four times its bytes.
const SQUARE: [u32; 2] = [2048, 2048];

#[test]
fn a_checkpoint_is_paid_for_by_the_work_before_it() {
    let cut = |n_rows, n_bytes| {
        let nodes = vec![sums(0), round(3), flat(4), first(5, 0, n_bytes), double(6)];
        checkpoints(SQUARE, n_rows, nodes, &[7])
    };
    assert_eq!(cut(32, 16_384), [6], "what 32 rows pay for");
    assert_eq!(cut(32, 16_385), [], "a byte more");
    assert_eq!(cut(32, 16_383), [6], "a byte less");
    assert_eq!(cut(31, 16_383), [], "which costs the same");
    assert_eq!(cut(31, 15_872), [], "a quarter of 31 rows, which costs the same too");
    assert_eq!(cut(33, 16_896), [6], "a quarter of 33 rows");
    assert_eq!(cut(33, 16_897), [], "a byte more");
    assert_eq!(cut(64, 32_768), [6], "twice as much for 64 rows");
    assert_eq!(cut(64, 32_769), [], "a byte more");
    assert_eq!(cut(32, 1), [6], "one byte");
    assert_eq!(cut(32, 0), [6], "no byte");
    assert_eq!(cut(0, 16_384), [], "no row");

    let dots = |n_rows, k| checkpoints([1, k], n_rows, vec![sums(0), round(3), double(4)], &[5]);
    assert_eq!(dots(1 << 9, 1 << 18), [4], "8192 times 16384");
    assert_eq!(dots((1 << 9) - 1, (1 << 18) + (1 << 9) + 1), [], "one less");
}

#[test]
fn credit_is_kept_and_spent() {
    let long = vec![
        sums(0),
        round(3),
        sums(4),
        round(5),
        first(6, 1, 512),
        double(7),
        double(8),
        double(7),
        sums(4),
        double(9),
        double(7),
        double(7),
    ];
    assert_eq!(checkpoints(SQUARE, 32, long.clone(), &[14]), [7, 8, 12], "three prices");
    assert_eq!(checkpoints(SQUARE, 24, long, &[14]), [7, 12], "nine quarters of a price");
}

/// An output of the graph is committed to anyway: it is no checkpoint, and the next value gets the credit.
#[test]
fn outputs_are_no_checkpoints() {
    let nodes = vec![sums(0), round(3), first(4, 1, 512), double(5), double(5)];
    assert_eq!(checkpoints(SQUARE, 32, nodes.clone(), &[7]), [5]);
    assert_eq!(checkpoints(SQUARE, 32, nodes.clone(), &[7, 5]), [6]);
    assert_eq!(checkpoints(SQUARE, 32, nodes.clone(), &[6, 5, 7, 5]), []);
    // The output is a reshape of it, which is another value.
    let shaped = [nodes, vec![flat(5)]].concat();
    assert_eq!(checkpoints(SQUARE, 32, shaped, &[8]), [5]);
}

#[test]
fn accumulators_and_reshapes_are_no_checkpoints() {
    let nodes = vec![sums(0), flat(3), flat(4), round(5), flat(6), double(7)];
    assert_eq!(checkpoints([1, 1 << 14], 1 << 13, nodes.clone(), &[8]), [6]);
    assert_eq!(checkpoints([1, 1 << 15], 1 << 13, nodes.clone(), &[3]), [6, 8]);
    let traced = |nodes| model(2, &[&[1, 1], &[1]], nodes, &[0]).graph().traced_values();
    assert_eq!(traced(nodes), [ValueId(6), ValueId(8)]);
    let [conv, up] = [Op::Conv(conv([1, 1], [0; 4], 1)), up(conv([1, 1], [0; 4], 1))];
    let nodes = vec![node("conv", conv, &[0, 1]), node("up", up, &[0, 1]), rows(3)];
    assert_eq!(traced(nodes), [ValueId(5), ValueId(6)]);
}

/// Each output of a node is asked on its own, in order.
#[test]
fn outputs_of_one_node() {
    let nodes = vec![sums(0), rows(3), double(4)];
    assert_eq!(checkpoints([1, 1 << 15], 1 << 12, nodes.clone(), &[6]), [4]);
    assert_eq!(checkpoints([1, 1 << 16], 1 << 12, nodes.clone(), &[6]), [4, 5]);
    assert_eq!(checkpoints([1, 1 << 15], 1 << 12, nodes, &[4, 6]), [5]);
    // The values of 2^14 rows cost 2^27, their maxima four times as much.
    let nodes = vec![sums(0), rows(3), rows(3), double(4)];
    assert_eq!(checkpoints([1, 1 << 13], 1 << 14, nodes, &[8]), [4]);
    let nodes = vec![sums(0), sums(0), sums(0), sums(0), rows(3), sums(0), rows(3)];
    assert_eq!(checkpoints([1, 1 << 13], 1 << 14, nodes, &[0]), [7, 10], "never four times as much is left");
    let nodes = vec![sums(0), sums(0), sums(0), sums(0), sums(0), rows(3)];
    assert_eq!(checkpoints([1, 1 << 13], 1 << 14, nodes, &[0]), [8, 9]);
}
