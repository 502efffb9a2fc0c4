//! The bound of an accumulator: reached exactly, and not passed.

use veracity_graph::{Dim, Graph, Model, ModelError};
use veracity_ops::{Conv, DType, MatMul, Op, Tensor};

use crate::examples::{constant, float_input, float_output, node};

/// One `i8` input of `k` values, `k` weights of -128, and a bias.
fn dot(k: u32, bias: i64, acc: DType, x_zero: i32) -> Result<Model, ModelError> {
    let graph = Graph {
        symbols: vec![],
        inputs: vec![float_input("x", &[Dim::Fixed(k)], DType::I8, 0)],
        constants: vec![constant(DType::I8, &[1, k]), constant(acc, &[1])],
        nodes: vec![node("dot", Op::MatMul(MatMul { x_zero, acc }), &[0, 1, 2])],
        outputs: vec![float_output("y", 3)],
    };
    let bias = bias.to_le_bytes();
    Model::new(graph, [&vec![0x80; k as usize], &bias[..acc.size()]].concat())
}

/// The accumulator for an input of -128 everywhere.
fn extreme(model: &Model, k: usize) -> i64 {
    let x = Tensor::new(DType::I8, vec![k], vec![-128; k]).unwrap();
    let [w, bias] = [0, 1].map(|i| model.constant_tensor(i).unwrap());
    model.graph().nodes[0].op.eval(&[&x, &w, &bias]).unwrap()[0].values()[0]
}

#[test]
fn a_sum_may_reach_its_limit_and_no_more() {
    for (acc, limit) in [(DType::I32, i64::from(i32::MAX)), (DType::I64, 1 << 47)] {
        for (k, x_zero) in [(3000u32, 0), (1, 0), (3000, 127)] {
            let sum = i64::from(k) * 128 * (128 + i64::from(x_zero));
            let model = dot(k, limit - sum, acc, x_zero).unwrap();
            assert_eq!(extreme(&model, k as usize), limit, "{acc:?} {k}");
            let error = dot(k + 1, limit - sum, acc, x_zero).unwrap_err();
            let worst = limit + 128 * (128 + i64::from(x_zero));
            let expected = format!("node 'dot': its accumulator could reach {worst}, the limit is {limit}");
            assert_eq!(error.to_string(), expected);
            if acc == DType::I32 {
                let error = dot(k, limit - sum + 1, acc, x_zero).unwrap_err();
                assert!(matches!(error, ModelError::AccumulatorOverflow { .. }), "{error}");
            }
        }
    }
    assert!(matches!(dot(0, -(1 << 31), DType::I32, 0), Err(ModelError::AccumulatorOverflow { .. })));
    assert!(dot(0, 1 - (1 << 31), DType::I32, 0).is_ok());
}

/// The bound is that of one channel: a channel with large weights and one with a large bias do not add up.
#[test]
fn channels_are_bounded_one_by_one() {
    let conv =
        Conv { strides: [1, 1], pads: [1; 4], dilations: [1, 1], groups: 2, x_zero: -5, acc: DType::I32 };
    let graph = |bias: i32| {
        let graph = Graph {
            symbols: vec![],
            inputs: vec![float_input("x", &[Dim::Fixed(4), Dim::Fixed(4), Dim::Fixed(2)], DType::I16, 0)],
            constants: vec![constant(DType::I8, &[2, 1, 2, 1]), constant(DType::I32, &[2])],
            nodes: vec![node("conv", Op::Conv(conv.clone()), &[0, 1, 2])],
            outputs: vec![float_output("y", 3)],
        };
        let bias: Vec<u8> = [1i32, bias].iter().flat_map(|b| b.to_le_bytes()).collect();
        Model::new(graph, [&[127, 0x80, 1, 0][..], &bias].concat())
    };
    let spread = 32_767 + 5;
    assert!(graph(i32::MAX - spread).is_ok());
    let error = graph(i32::MAX - spread + 1).unwrap_err();
    let expected = "node 'conv': its accumulator could reach 2147483648, the limit is 2147483647";
    assert_eq!(error.to_string(), expected);
}
