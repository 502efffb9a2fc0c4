//! What packed weights take, and which nodes share them.

use std::sync::Arc;

use veracity_engine::{Engine, Options, RunError, reference};
use veracity_graph::{Batch, Dim, Input, Model};
use veracity_ops::{Conv, ConvTranspose, DType, MatMul, Op, Quantised, Requant, TensorType};

use crate::builder::{Builder, Random, Ref};

const N: usize = 256;

fn requant(builder: &mut Builder, sums: Ref, shift: Ref, y: Quantised) -> Ref {
    builder.node(Op::Requant(Requant { x_zero: 0, y }), &[sums, shift])
}

fn i8s(zero: i32) -> Quantised {
    Quantised::full(DType::I8, zero)
}

/// A chain of `turns` equal products with one constant.
fn chain(turns: usize) -> Arc<Model> {
    let mut builder = Builder::default();
    let weights = builder.constant(DType::I8, &[N, N], &Random::new(3).values(N * N, -128, 127));
    let shift = builder.constant(DType::I8, &[1], &[11]);
    let mut x = builder.input(DType::I8, &[N]);
    for _ in 0..turns {
        let sums = builder.node(Op::MatMul(MatMul { x_zero: 0, acc: DType::I32 }), &[x, weights]);
        x = requant(&mut builder, sums, shift, i8s(0));
    }
    builder.output(x);
    builder.build()
}

/// One convolution whose groups have one output each.
fn groups(count: usize) -> Arc<Model> {
    let mut builder = Builder::default();
    let x = builder.input(DType::I8, &[1, 1, 2 * count]);
    let weights = builder.constant(DType::I8, &[count, 1, 1, 2], &vec![1; 2 * count]);
    let y = builder.node(Op::Conv(conv(count, [1, 1])), &[x, weights]);
    builder.output(y);
    builder.build()
}

fn conv(groups: usize, dilations: [usize; 2]) -> Conv {
    Conv { strides: [1, 1], pads: [1; 4], dilations, groups, x_zero: 0, acc: DType::I32 }
}

fn load(model: &Arc<Model>, memory_bytes_max: usize) -> Engine {
    let options = Options { threads: 1, memory_bytes_max, ..Options::default() };
    Engine::load(Arc::clone(model), &options).unwrap()
}

fn inputs_of(model: &Model) -> Vec<Batch> {
    let extent = |dim: &Dim| match dim {
        Dim::Fixed(n) => usize::try_from(*n).unwrap(),
        Dim::Symbol(_) => unreachable!("these models have none"),
    };
    let input = |input: &Input| {
        let shape = input.dims.iter().map(extent).collect();
        Random::new(5).batch(1, &TensorType::new(input.encoding.dtype(), shape).unwrap())
    };
    model.graph().inputs.iter().map(input).collect()
}

#[test]
fn equal_products_share_their_weights() {
    let [one, hundred] = [1, 100].map(|turns| load(&chain(turns), 4 << 30).size_bytes());
    assert!(one > N * N, "{one}");
    // Each step of the plan takes some memory.
    assert!(hundred < 2 * one, "{one} for one product, {hundred} for a hundred");
}

/// Whatever is not part of the key would be taken from another node.
#[test]
fn products_that_differ_in_anything_share_nothing() {
    let mut random = Random::new(7);
    let mut builder = Builder::default();
    let (narrow, wide) = (builder.input(DType::I8, &[5, 5, 8]), builder.input(DType::I16, &[5, 5, 8]));
    let rows = builder.constant(DType::I8, &[8, 8], &random.values(64, -100, 100));
    let taps = builder.constant(DType::I8, &[8, 3, 3, 4], &random.values(288, -100, 100));
    let single = builder.constant(DType::I8, &[8, 3, 3, 1], &random.values(72, -100, 100));
    let bias = builder.constant(DType::I32, &[8], &random.values(8, -9_000, 9_000));
    let shifts = [6, 9].map(|shift| builder.constant(DType::I8, &[1], &[shift]));
    let mul = builder.constant(DType::I16, &[1], &[3]);
    for x in [narrow, wide] {
        let mut products = vec![];
        for (x_zero, acc) in [(0, DType::I32), (4, DType::I32), (0, DType::I64)] {
            products.push((Op::MatMul(MatMul { x_zero, acc }), vec![x, rows]));
            for (weights, groups) in [(taps, 2), (single, 8)] {
                for dilations in [[1, 1], [1, 2], [2, 1]] {
                    let conv = Conv { x_zero, acc, ..conv(groups, dilations) };
                    let transposed = ConvTranspose { conv: conv.clone(), output_pads: [0, 0] };
                    let strided = Conv { strides: [2, 2], ..conv.clone() };
                    let ops = [Op::Conv(conv), Op::Conv(strided), Op::ConvTranspose(transposed)];
                    products.extend(ops.map(|op| (op, vec![x, weights])));
                }
            }
        }
        let biased = Op::MatMul(MatMul { x_zero: 0, acc: DType::I32 });
        products.push((biased, vec![x, rows, bias]));
        for (op, operands) in products {
            let alone = builder.node(op.clone(), &operands);
            builder.output(alone);
            for (shift, y) in [(shifts[0], i8s(0)), (shifts[1], i8s(0)), (shifts[1], i8s(3))] {
                let sums = builder.node(op.clone(), &operands);
                let rounded = requant(&mut builder, sums, shift, y);
                builder.output(rounded);
                let sums = builder.node(op.clone(), &operands);
                // Accumulators of 64 bits have no zero.
                let x_zero = i32::from(builder.ty(sums).dtype == DType::I32);
                let scaled = builder.node(Op::Requant(Requant { x_zero, y }), &[sums, shift, mul]);
                builder.output(scaled);
            }
        }
    }
    let model = builder.build();
    let inputs = inputs_of(&model);
    let expected = reference::run(&model, &inputs, None).unwrap();
    assert_eq!(load(&model, 4 << 30).run(&inputs, None).unwrap().outputs, expected.outputs);
}

#[test]
fn weights_beyond_the_limit_are_not_packed() {
    for (model, limit, needed) in
        [(chain(3), N * N, N * N..2 * N * N), (groups(1000), 200_000, 700_000..2_000_000)]
    {
        let engine = load(&model, limit);
        assert_eq!(engine.size_bytes(), 0);
        let error = engine.run(&inputs_of(&model), None).unwrap_err();
        let RunError::WeightsTooLarge { needed_bytes, limit_bytes } = error else { panic!("{error}") };
        assert!(needed.contains(&usize::try_from(needed_bytes).unwrap()), "{needed_bytes}");
        assert_eq!(limit_bytes, limit);
        let message = format!("the packed weights need about {needed_bytes} bytes, the limit is {limit}");
        assert_eq!(error.to_string(), message);
        assert!(matches!(
            engine.observe(&inputs_of(&model), &mut |_, _| {}),
            Err(RunError::WeightsTooLarge { .. })
        ));
        assert_eq!(engine.size_bytes(), 0);
    }
}

/// The bound is checked before anything is packed, so it must not be below what packing takes.
#[test]
fn what_was_packed_is_within_the_bound() {
    for model in [chain(3), groups(1000)] {
        let used = load(&model, 4 << 30).size_bytes();
        let Err(RunError::WeightsTooLarge { needed_bytes, .. }) =
            load(&model, 66_000).run(&inputs_of(&model), None)
        else {
            panic!("this is too little memory")
        };
        let needed = usize::try_from(needed_bytes).unwrap();
        // The rest of the plan is in proportion to the graph.
        assert!(used < needed + 20_000 && needed <= used, "{used} used, {needed} announced");
    }
}
