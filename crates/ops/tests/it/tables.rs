//! Values computed by hand.

use veracity_ops::{
    Add, ArgMax, AvgPool, Conv, ConvTranspose, MatMul, MaxPool, Mul, Op, QuantRow, Quantised, Reduce,
    ReduceKind, Requant, Softmax, Table, Tensor, Window,
};

use crate::support::{I8, I16, I32, I64, eval, plain, tensor};

struct Case {
    name: &'static str,
    op: Op,
    inputs: Vec<Tensor>,
    shape: Vec<usize>,
    values: Vec<i64>,
}

fn check(cases: Vec<Case>) {
    for Case { name, op, inputs, shape, values } in cases {
        let y = eval(&op, &inputs.iter().collect::<Vec<_>>());
        assert_eq!((y.shape(), y.values()), (&*shape, &*values), "{name}");
    }
}

fn conv(strides: [usize; 2], pads: [usize; 4], dilations: [usize; 2], groups: usize, x_zero: i32) -> Conv {
    Conv { strides, pads, dilations, groups, x_zero, acc: I32 }
}

#[test]
fn sums_of_products() {
    let square = || vec![tensor(I8, &[2, 2, 1], &[1, 2, 3, 4]), tensor(I8, &[1, 2, 2, 1], &[1, 2, 3, 5])];
    let pairs = tensor(I8, &[1, 5, 2], &[1, 10, 2, 20, 3, 30, 4, 40, 5, 50]);
    let line = || vec![tensor(I8, &[1, 2, 1], &[1, 2]), tensor(I8, &[1, 1, 3, 1], &[1, 2, 3])];
    let up = |pads, output_pads| {
        Op::ConvTranspose(ConvTranspose { conv: conv([1, 2], pads, [1, 1], 1, 0), output_pads })
    };
    let corner = |x_zero| Op::Conv(conv([1, 1], [1, 1, 0, 0], [1, 1], 1, x_zero));
    check(vec![
        Case {
            name: "MatMul: zero point and bias",
            op: Op::MatMul(MatMul { x_zero: 1, acc: I32 }),
            inputs: vec![
                tensor(I8, &[1, 3], &[1, 2, 3]),
                tensor(I8, &[2, 3], &[1, 2, 3, -1, 0, 1]),
                tensor(I32, &[2], &[10, -10]),
            ],
            shape: vec![1, 2],
            values: vec![18, -8],
        },
        Case {
            name: "MatMul: i16, i64, every leading axis is a row",
            op: Op::MatMul(MatMul { x_zero: 0, acc: I64 }),
            inputs: vec![tensor(I16, &[2, 1, 1], &[300, -32_768]), tensor(I8, &[1, 1], &[-128])],
            shape: vec![2, 1, 1],
            values: vec![-38_400, 4_194_304],
        },
        Case {
            name: "MatMul: nothing to sum leaves the bias",
            op: Op::MatMul(MatMul { x_zero: 0, acc: I32 }),
            inputs: vec![tensor(I8, &[1, 0], &[]), tensor(I8, &[1, 0], &[]), tensor(I32, &[1], &[7])],
            shape: vec![1, 1],
            values: vec![7],
        },
        Case {
            name: "Conv: no padding",
            op: Op::Conv(conv([1, 1], [0; 4], [1, 1], 1, 0)),
            inputs: square(),
            shape: vec![1, 1, 1],
            values: vec![34],
        },
        Case {
            name: "Conv: padding at top and left",
            op: corner(0),
            inputs: square(),
            shape: vec![2, 2, 1],
            values: vec![5, 13, 17, 34],
        },
        Case {
            name: "Conv: padding stands for real zero, whatever the zero point",
            op: corner(1),
            inputs: square(),
            shape: vec![2, 2, 1],
            values: vec![0, 5, 10, 23],
        },
        Case {
            name: "Conv: depthwise, stride and dilation",
            op: Op::Conv(conv([1, 2], [0; 4], [1, 2], 2, 0)),
            inputs: vec![pairs, tensor(I8, &[2, 1, 2, 1], &[1, 1, 1, -1])],
            shape: vec![1, 2, 2],
            values: vec![4, -20, 8, -20],
        },
        Case {
            name: "ConvTranspose: windows overlap",
            op: up([0; 4], [0, 0]),
            inputs: line(),
            shape: vec![1, 5, 1],
            values: vec![1, 2, 5, 4, 6],
        },
        Case {
            name: "ConvTranspose: padding cuts, output padding adds",
            op: up([0, 1, 0, 0], [0, 1]),
            inputs: line(),
            shape: vec![1, 5, 1],
            values: vec![2, 5, 4, 6, 0],
        },
    ]);
}

#[test]
fn requantisation_and_tables() {
    let requant = |x_zero, y| Op::Requant(Requant { x_zero, y });
    let byte = |zero, lo, hi| Quantised { dtype: I8, zero, lo, hi };
    let bound = 1i64 << 47;
    let mut negated: Vec<i64> = (-128..128).map(|x: i64| -x.max(-127)).collect();
    negated[0] = 99;
    check(vec![
        Case {
            name: "ties go up",
            op: requant(0, plain(I8)),
            inputs: vec![tensor(I32, &[4], &[5, -5, 3, -3]), tensor(I8, &[1], &[1])],
            shape: vec![4],
            values: vec![3, -2, 2, -1],
        },
        Case {
            name: "one shift and multiplier per channel",
            op: requant(0, plain(I8)),
            inputs: vec![
                tensor(I32, &[2, 2], &[5, 5, -5, -5]),
                tensor(I8, &[2], &[0, 2]),
                tensor(I16, &[2], &[2, 3]),
            ],
            shape: vec![2, 2],
            values: vec![10, 4, -10, -4],
        },
        Case {
            name: "zero points, then the clamp",
            op: requant(3, byte(-10, -10, 20)),
            inputs: vec![tensor(I8, &[4], &[3, -128, 127, 5]), tensor(I8, &[1], &[0])],
            shape: vec![4],
            values: vec![-10, -10, 20, -8],
        },
        Case {
            name: "the largest accumulator, multiplier and shift",
            op: requant(0, plain(I32)),
            inputs: vec![
                tensor(I64, &[2], &[bound, -bound]),
                tensor(I8, &[2], &[62, 62]),
                tensor(I16, &[2], &[32_767, 32_767]),
            ],
            shape: vec![2],
            values: vec![1, -1],
        },
        Case {
            name: "saturation",
            op: requant(0, plain(I16)),
            inputs: vec![tensor(I64, &[2], &[bound, -bound]), tensor(I8, &[1], &[31])],
            shape: vec![2],
            values: vec![32_767, -32_768],
        },
        Case {
            name: "a table is indexed from the smallest value",
            op: Op::Table(Table),
            inputs: vec![tensor(I8, &[4], &[-128, -127, 0, 127]), tensor(I8, &[256], &negated)],
            shape: vec![4],
            values: vec![99, 127, 0, -127],
        },
    ]);
}

#[test]
fn two_operands() {
    let y = |zero| Quantised { dtype: I8, zero, lo: -128, hi: 100 };
    check(vec![
        Case {
            name: "Add: (8 * 3 - 3 * 2) / 4 = 4.5",
            op: Op::Add(Add { zeros: [2, 1], muls: [3, -2], shift: 2, y: y(1) }),
            inputs: vec![tensor(I8, &[1], &[10]), tensor(I16, &[1], &[4])],
            shape: vec![1],
            values: vec![6],
        },
        Case {
            name: "Mul: 8 * 3 * 3 / 16 = 4.5",
            op: Op::Mul(Mul { zeros: [2, 1], mul: 3, shift: 4, y: y(0) }),
            inputs: vec![tensor(I8, &[1], &[10]), tensor(I16, &[1], &[4])],
            shape: vec![1],
            values: vec![5],
        },
        Case {
            name: "both operands broadcast",
            op: Op::Add(Add { zeros: [0, 0], muls: [1, 1], shift: 0, y: y(0) }),
            inputs: vec![tensor(I8, &[2, 1], &[10, 99]), tensor(I8, &[3], &[1, 2, 3])],
            shape: vec![2, 3],
            values: vec![11, 12, 13, 100, 100, 100],
        },
        Case {
            name: "a scalar broadcasts",
            op: Op::Mul(Mul { zeros: [0, 0], mul: 1, shift: 0, y: y(0) }),
            inputs: vec![tensor(I8, &[], &[-3]), tensor(I8, &[2], &[5, -6])],
            shape: vec![2],
            values: vec![-15, 18],
        },
        Case {
            name: "an empty axis stays empty",
            op: Op::Mul(Mul { zeros: [0, 0], mul: 1, shift: 0, y: y(0) }),
            inputs: vec![tensor(I8, &[2, 1], &[1, 2]), tensor(I8, &[0], &[])],
            shape: vec![2, 0],
            values: vec![],
        },
    ]);
}

#[test]
fn rows() {
    let cases: [(i64, &[i64], &[i64], i64); 4] = [
        (127, &[1, -2, 4], &[32, -63, 127], 4),
        (127, &[0, 0], &[0, 0], 1),
        (127, &[-(1 << 31), 1], &[-127, 0], (1 << 31) - 1),
        (32_767, &[-7, 7, 3], &[-32_767, 32_767, 14_043], 7),
    ];
    for (q_max, row, q, m) in cases {
        assert_eq!(QuantRow::row(q_max, row), (q.to_vec(), m), "{row:?}");
    }
    let op = Op::QuantRow(QuantRow { axis: 1, q: I8 });
    let x = tensor(I32, &[2, 1, 2], &[1, 2, 3, -300]);
    let outputs = op.eval(&[&x]).unwrap();
    assert_eq!((outputs[0].shape(), outputs[0].values()), (&[2, 1, 2][..], &[64, 127, 1, -127][..]));
    assert_eq!((outputs[1].shape(), outputs[1].values()), (&[2, 1, 1][..], &[2, 300][..]));

    let softmax = |shift, one_bits| Op::Softmax(Softmax { shift, one_bits, y: plain(I16) });
    let table = || tensor(I32, &[4], &[8, 4, 2, 1]);
    check(vec![
        Case {
            name: "Softmax: 8, 4, 8 of 20",
            op: softmax(0, 4),
            inputs: vec![tensor(I8, &[3], &[3, 2, 3]), table()],
            shape: vec![3],
            values: vec![6, 3, 6],
        },
        Case {
            name: "Softmax: far below the maximum is the last entry",
            op: softmax(0, 4),
            inputs: vec![tensor(I32, &[2], &[i64::from(i32::MAX), i64::from(i32::MIN)]), table()],
            shape: vec![2],
            values: vec![14, 2],
        },
        Case {
            name: "Softmax: the distance is shifted",
            op: softmax(2, 4),
            inputs: vec![tensor(I8, &[2, 2], &[7, 4, 8, 4]), table()],
            shape: vec![2, 2],
            values: vec![8, 8, 11, 5],
        },
        Case {
            name: "Softmax: a scalar is a row of one",
            op: softmax(0, 4),
            inputs: vec![tensor(I8, &[], &[-5]), table()],
            shape: vec![],
            values: vec![16],
        },
    ]);
}

fn window(
    kernel: [usize; 2],
    strides: [usize; 2],
    pads: [usize; 4],
    dilations: [usize; 2],
    ceil: bool,
) -> Window {
    Window { kernel, strides, pads, dilations, ceil }
}

#[test]
fn pools() {
    let max = |window| Op::MaxPool(MaxPool { window });
    let mean = |window, count_pads, x_zero, mul, shift| {
        Op::AvgPool(AvgPool { window, count_pads, x_zero, mul, shift, y: plain(I8) })
    };
    let grid = || vec![tensor(I8, &[2, 3, 1], &[1, 5, 2, 3, 4, 6])];
    let line = || vec![tensor(I8, &[1, 2, 1], &[4, 8])];
    let wide = |ceil| window([1, 2], [1, 2], [0; 4], [1, 1], ceil);
    let square = || window([2, 2], [1, 1], [0; 4], [1, 1], false);
    let around = || window([1, 2], [1, 1], [0, 1, 0, 1], [1, 1], false);
    let three = || vec![tensor(I8, &[1, 3, 2], &[1, -1, 5, -5, 2, -2])];
    let case = |name, op, inputs, shape: [usize; 3], values: &[i64]| Case {
        name,
        op,
        inputs,
        shape: shape.to_vec(),
        values: values.to_vec(),
    };
    check(vec![
        case("MaxPool", max(square()), grid(), [1, 2, 1], &[5, 6]),
        case("MaxPool: floor drops the rest", max(wide(false)), three(), [1, 1, 2], &[5, -1]),
        case("MaxPool: ceil keeps the rest", max(wide(true)), three(), [1, 2, 2], &[5, -1, 2, -2]),
        case("MaxPool: padding does not count", max(around()), line(), [1, 3, 1], &[4, 8, 8]),
        case(
            "MaxPool: taps beside the input give the smallest value",
            max(window([1, 2], [1, 1], [0, 1, 0, 1], [1, 2], false)),
            vec![tensor(I8, &[1, 1, 1], &[9])],
            [1, 1, 1],
            &[-128],
        ),
        case(
            "MaxPool: with ceil a window that begins in the end padding is dropped",
            max(window([1, 2], [1, 3], [0, 0, 0, 1], [1, 1], true)),
            vec![tensor(I8, &[1, 3, 1], &[1, 2, 3])],
            [1, 1, 1],
            &[2],
        ),
        case("AvgPool: 13 / 4 and 17 / 4", mean(square(), false, 0, 1, 0), grid(), [1, 2, 1], &[3, 4]),
        case("AvgPool: without padding", mean(around(), false, 0, 1, 0), line(), [1, 3, 1], &[4, 6, 8]),
        case("AvgPool: with padding", mean(around(), true, 0, 1, 0), line(), [1, 3, 1], &[2, 6, 4]),
        case("AvgPool: padding is real zero", mean(around(), true, 2, 1, 0), line(), [1, 3, 1], &[1, 4, 3]),
        case("AvgPool: 3/4 of the mean", mean(around(), false, 0, 3, 2), line(), [1, 3, 1], &[3, 5, 6]),
        case(
            "AvgPool: no position is real zero",
            mean(window([1, 2], [1, 1], [0, 1, 0, 1], [1, 2], false), false, 5, 1, 0),
            vec![tensor(I8, &[1, 1, 1], &[9])],
            [1, 1, 1],
            &[0],
        ),
        case(
            "AvgPool: with ceil only the padded input counts",
            mean(window([1, 2], [1, 2], [0; 4], [1, 1], true), true, 0, 1, 0),
            vec![tensor(I8, &[1, 3, 1], &[2, 4, 9])],
            [1, 2, 1],
            &[3, 9],
        ),
    ]);
}

#[test]
fn reductions() {
    let reduce = |kind, axes: &[usize], x_zero, mul, shift| {
        Op::Reduce(Reduce { kind, axes: axes.to_vec(), x_zero, mul, shift, y: plain(I32) })
    };
    let row = || vec![tensor(I8, &[1, 4], &[1, 2, 3, 6])];
    let square = || vec![tensor(I8, &[2, 2], &[1, 2, 3, -6])];
    let case = |name, op, inputs, shape: &[usize], values: &[i64]| Case {
        name,
        op,
        inputs,
        shape: shape.to_vec(),
        values: values.to_vec(),
    };
    let (sum, mean, max) = (ReduceKind::Sum, ReduceKind::Mean, ReduceKind::Max);
    check(vec![
        case("sum", reduce(sum, &[1], 0, 1, 0), row(), &[1, 1], &[12]),
        case("mean", reduce(mean, &[1], 0, 1, 0), row(), &[1, 1], &[3]),
        case("max", reduce(max, &[1], 0, 1, 0), row(), &[1, 1], &[6]),
        case("sum above zero", reduce(sum, &[1], 1, 1, 0), row(), &[1, 1], &[8]),
        case("mean above zero", reduce(mean, &[1], 1, 1, 0), row(), &[1, 1], &[2]),
        case("max above zero", reduce(max, &[1], 1, 1, 0), row(), &[1, 1], &[5]),
        case("8 * 5 / 16 = 2.5", reduce(sum, &[1], 1, 5, 4), row(), &[1, 1], &[3]),
        case("columns", reduce(sum, &[0], 0, 1, 0), square(), &[1, 2], &[4, -4]),
        case("rows", reduce(mean, &[1], 0, 1, 0), square(), &[2, 1], &[2, -1]),
        case("all", reduce(mean, &[0, 1], 0, 2, 1), square(), &[1, 1], &[0]),
    ]);
    let argmax = |axis, last| Op::ArgMax(ArgMax { axis, last });
    let x = || vec![tensor(I64, &[2, 3], &[3, 7, 7, i64::MIN, i64::MIN, i64::MIN])];
    check(vec![
        case("the first of equals", argmax(1, false), x(), &[2, 1], &[1, 0]),
        case("the last of equals", argmax(1, true), x(), &[2, 1], &[2, 2]),
        case("down the columns", argmax(0, false), x(), &[1, 3], &[0, 0, 0]),
    ]);
}
