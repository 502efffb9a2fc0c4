use veracity_kernels::{
    Broadcast, Buffer, Isa, Pooled, View, ViewMut, add, arg_max, avg_pool, max_pool, mul, quant_row, reduce,
    softmax, table,
};
use veracity_ops::{
    Add, ArgMax, AvgPool, DType, MaxPool, Mul, Op, QuantRow, Reduce, ReduceKind, Softmax, Table, Tensor,
    Window,
};

use crate::support::{Random, buffer, compare, i32s, values};

const SHAPES: [([usize; 3], &[usize]); 8] = [
    ([3, 4, 65], &[3, 4, 65]),
    ([3, 4, 65], &[65]),
    ([3, 4, 65], &[1]),
    ([3, 4, 65], &[]),
    ([3, 4, 65], &[4, 1]),
    ([3, 1, 65], &[4, 1]),
    ([1, 1, 65], &[7, 5, 65]),
    ([1, 4, 1], &[2, 1, 3]),
];

#[test]
fn add_and_mul_match_reference() {
    let mut random = Random::new(11);
    let dtypes = [DType::I8, DType::I8, DType::I8, DType::I16, DType::I32];
    let mut compared = 0;
    for round in 0..600 {
        let (a, b) = SHAPES[round % SHAPES.len()];
        let types = [random.pick(&dtypes), random.pick(&dtypes)];
        let (a, b) = (random.tensor(types[0], &a), random.tensor(types[1], b));
        let zeros = types.map(|t| random.zero(t));
        let muls = [0, 1].map(|_| i32::try_from(random.within(-32_767, 32_767)).unwrap());
        let shift = u32::try_from(random.within(0, 40)).unwrap();
        let y = random.quantised();
        let op = Add { zeros, muls, shift, y };
        let broadcast = |y: &Tensor| Broadcast::new(a.shape(), b.shape(), y.shape());
        if let Ok(y) = Op::Add(op.clone()).eval(&[&a, &b]) {
            let shape = broadcast(&y[0]);
            let op_run = op.clone();
            compared += usize::from(compare(&Op::Add(op), &[&a, &b], |isa, x, y| {
                add(isa, &op_run, &shape, x[0], x[1], y);
            }));
        }
        let op = Mul { zeros, mul: muls[0].abs().max(1), shift, y };
        if let Ok(y) = Op::Mul(op.clone()).eval(&[&a, &b]) {
            let shape = broadcast(&y[0]);
            let op_run = op.clone();
            compared += usize::from(compare(&Op::Mul(op), &[&a, &b], |isa, x, y| {
                mul(isa, &op_run, &shape, x[0], x[1], y);
            }));
        }
    }
    assert!(compared > 600, "only {compared} cases were compared");
}

#[test]
fn table_matches_reference() {
    let mut random = Random::new(12);
    for (x, entries) in [(DType::I8, 256), (DType::I16, 65_536)] {
        for y in [DType::I8, DType::I16] {
            let (x, values) = (
                random.tensor_within(x, &[3, 333], x.min(), x.max()),
                random.tensor_within(y, &[entries], y.min(), y.max()),
            );
            assert!(compare(&Op::Table(Table), &[&x, &values], |_, x, y| table(x[0], x[1], y)));
        }
    }
}

fn window(random: &mut Random) -> Window {
    let kernel = [random.size(1, 4), random.size(1, 4)];
    let dilations = [random.size(1, 2), random.size(1, 2)];
    let span = |axis: usize| (kernel[axis] - 1) * dilations[axis];
    let pads =
        [random.size(0, span(0)), random.size(0, span(1)), random.size(0, span(0)), random.size(0, span(1))];
    let strides = [random.size(1, 3), random.size(1, 3)];
    Window { kernel, strides, pads, dilations, ceil: random.pick(&[true, false]) }
}

#[test]
fn pools_match_reference() {
    let mut random = Random::new(13);
    let mut compared = 0;
    for _ in 0..300 {
        let dtype = random.pick(&[DType::I8, DType::I16, DType::I32]);
        let shape = [random.size(1, 8), random.size(1, 8), random.pick(&[1, 3, 65])];
        let x = random.tensor(dtype, &shape);
        let op = MaxPool { window: window(&mut random) };
        if let Ok(y) = Op::MaxPool(op.clone()).eval(&[&x]) {
            let out = [y[0].shape()[0], y[0].shape()[1]];
            let pooled = Pooled { window: &op.window, x: shape, y: out };
            compared += usize::from(compare(&Op::MaxPool(op.clone()), &[&x], |isa, x, y| {
                max_pool(isa, &pooled, x[0], 0..out[0], y);
            }));
        }
        let op = AvgPool {
            window: window(&mut random),
            count_pads: random.pick(&[true, false]),
            x_zero: random.zero(dtype),
            mul: i32::try_from(random.within(1, 32_767)).unwrap(),
            shift: u32::try_from(random.within(0, 31)).unwrap(),
            y: random.quantised(),
        };
        if let Ok(y) = Op::AvgPool(op.clone()).eval(&[&x]) {
            let out = [y[0].shape()[0], y[0].shape()[1]];
            let pooled = Pooled { window: &op.window, x: shape, y: out };
            compared += usize::from(compare(&Op::AvgPool(op.clone()), &[&x], |isa, x, y| {
                avg_pool(isa, &op, &pooled, x[0], 0..out[0], y);
            }));
        }
    }
    assert!(compared > 200, "only {compared} cases were compared");
}

#[test]
fn reductions_match_reference() {
    let mut random = Random::new(14);
    let axes: [&[usize]; 6] = [&[0], &[1], &[2], &[0, 1], &[0, 2], &[0, 1, 2]];
    for round in 0..200 {
        let dtype = random.pick(&[DType::I8, DType::I16, DType::I32]);
        let shape = [random.size(1, 5), random.size(1, 5), random.pick(&[1, 3, 65])];
        let x = random.tensor(dtype, &shape);
        let op = Reduce {
            kind: random.pick(&[ReduceKind::Sum, ReduceKind::Mean, ReduceKind::Max]),
            axes: axes[round % axes.len()].to_vec(),
            x_zero: random.zero(dtype),
            mul: i32::try_from(random.within(1, 2_000)).unwrap(),
            shift: u32::try_from(random.within(0, 31)).unwrap(),
            y: random.quantised(),
        };
        assert!(compare(&Op::Reduce(op.clone()), &[&x], |isa, x, y| reduce(isa, &op, &shape, x[0], y)));
        let x = random.tensor_within(dtype, &shape, -2, 2);
        let op = ArgMax { axis: round % 3, last: random.pick(&[true, false]) };
        assert!(compare(&Op::ArgMax(op.clone()), &[&x], |_, x, y| {
            let ViewMut::I32(y) = y else { panic!("indices are i32") };
            arg_max(&op, &shape, x[0], y);
        }));
    }
}

#[test]
fn softmax_matches_reference() {
    let mut random = Random::new(15);
    for _ in 0..200 {
        let dtype = random.pick(&[DType::I8, DType::I16, DType::I32]);
        let len = random.pick(&[1, 10, 65]);
        let x = random.tensor(dtype, &[3, len]);
        let entries = random.size(1, 300);
        let table = random.tensor_within(DType::I32, &[entries], 1, 1 << 24);
        let op = Softmax {
            shift: u32::try_from(random.within(0, 31)).unwrap(),
            one_bits: u32::try_from(random.within(0, 30)).unwrap(),
            y: random.quantised(),
        };
        let table_values = i32s(&table);
        assert!(compare(&Op::Softmax(op.clone()), &[&x, &table], |isa, x, y| {
            softmax(isa, &op, len, &table_values, x[0], y);
        }));
    }
}

#[test]
fn quant_row_matches_reference() {
    let mut random = Random::new(16);
    for round in 0..100 {
        let op = QuantRow { axis: round % 3, q: random.pick(&[DType::I8, DType::I16]) };
        let x = random.tensor(DType::I32, &[3, 67]);
        let len = x.shape()[op.axis..].iter().product();
        let expected = Op::QuantRow(op.clone()).eval(&[&x]).unwrap();
        let data = buffer(&x);
        let View::I32(x) = data.view(DType::I32, x.values().len()) else { panic!("x is i32") };
        for isa in Isa::available() {
            let mut q = Buffer::new(x.len() * 2);
            let mut m = vec![0; expected[1].values().len()];
            quant_row(isa, &op, len, x, q.view_mut(op.q, x.len()), &mut m);
            assert_eq!(values(q.view(op.q, x.len())), expected[0].values(), "{isa} {op:?}");
            assert_eq!(values(View::I32(&m)), expected[1].values(), "{isa} {op:?}");
        }
    }
}
