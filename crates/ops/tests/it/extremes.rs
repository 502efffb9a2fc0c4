//! The longest sums of the largest values: exact, one more refused, with overflow checks on.

use veracity_ops::{
    ACC_BITS_MAX, Add, AvgPool, Conv, ConvTranspose, DType, MatMul, Mul, Op, QuantRow, Quantised, Reduce,
    ReduceKind, Requant, Softmax, Tensor, Window,
};

use crate::support::{I8, I16, I32, I64, eval, plain, refusal, tensor, ty};

fn filled(dtype: DType, shape: &[usize], value: i64) -> Tensor {
    Tensor::new(dtype, shape.to_vec(), vec![value; shape.iter().product()]).unwrap()
}

#[test]
fn longest_matmul() {
    let spread = 65_535i64;
    let k = usize::try_from(((1i64 << (ACC_BITS_MAX - 1)) - 1) / (spread * 128)).unwrap();
    let op = Op::MatMul(MatMul { x_zero: 32_767, acc: I64 });
    let (x, w) = (filled(I16, &[1, k], -32_768), filled(I8, &[1, k], -128));
    let sum = spread * 128 * i64::try_from(k).unwrap();
    let bias = (1i64 << ACC_BITS_MAX) - sum;
    let y = eval(&op, &[&x, &w, &tensor(I64, &[1], &[bias])]);
    assert_eq!(y.values(), [1i64 << ACC_BITS_MAX]);
    let shift = tensor(I8, &[1], &[62]);
    let mul = tensor(I16, &[1], &[32_767]);
    assert_eq!(eval(&Op::Requant(Requant { x_zero: 0, y: plain(I32) }), &[&y, &shift, &mul]).values(), [1]);
    let (x, w) = (ty(I16, &[1, k + 1]), ty(I8, &[1, k + 1]));
    assert_eq!(refusal(&op, &[&x, &w]), "MatMul: a value could need 47 bits, the limit is 46");
}

#[test]
fn lowest_values_everywhere() {
    let x = filled(I8, &[4, 4, 64], -128);
    let w = filled(I8, &[32, 3, 3, 64], -128);
    let conv = Conv { strides: [1, 1], pads: [1; 4], dilations: [1, 1], groups: 1, x_zero: 127, acc: I32 };
    let y = eval(&Op::Conv(conv.clone()), &[&x, &w]);
    let all = 255 * 128 * 64;
    assert_eq!(y.values().iter().max(), Some(&(all * 9)), "inside");
    assert_eq!(y.values().iter().min(), Some(&(all * 4)), "corners");
    let y = eval(&Op::ConvTranspose(ConvTranspose { conv, output_pads: [0, 0] }), &[&x, &w]);
    assert_eq!(y.values().iter().max(), Some(&(all * 9)));
}

#[test]
fn widest_elementwise_products() {
    let y = Quantised { dtype: I32, zero: i32::MIN, lo: i32::MIN, hi: i32::MAX };
    let (lo, hi) = (tensor(I32, &[1], &[i64::from(i32::MIN)]), tensor(I32, &[1], &[i64::from(i32::MAX)]));
    let add = |zeros, muls, shift| Op::Add(Add { zeros, muls, shift, y });
    let wide = eval(&add([i32::MAX, i32::MIN], [32_767, -32_767], 62), &[&lo, &hi]);
    assert_eq!(wide.values(), [i64::from(i32::MIN)], "- 2^48 / 2^62 rounds to 0");
    let wide = eval(&add([i32::MAX, i32::MIN], [32_767, -32_767], 16), &[&lo, &hi]);
    assert_eq!(wide.values(), [i64::from(i32::MIN)], "saturates");
    let mul = |mul, shift| Op::Mul(Mul { zeros: [0, 0], mul, shift, y: plain(I32) });
    assert_eq!(eval(&mul(1, 62), &[&lo, &lo]).values(), [1], "2^62 / 2^62");
    assert_eq!(eval(&mul(1, 32), &[&lo, &lo]).values(), [1 << 30]);
    let (x, y) = (tensor(I16, &[1], &[-32_768]), tensor(I32, &[1], &[i64::from(i32::MIN)]));
    assert_eq!(eval(&mul(32_767, 62), &[&x, &y]).values(), [0], "almost 2^61 / 2^62, below one half");
    assert_eq!(eval(&mul(32_767, 60), &[&x, &y]).values(), [2]);
    // 2^62 is the most; a multiplier of 2 needs one bit more.
    let (a, b) = (ty(I32, &[1]), ty(I32, &[1]));
    assert_eq!(refusal(&mul(2, 0), &[&a, &b]), "Mul: a value could need 63 bits, the limit is 62");
}

#[test]
fn widest_means() {
    let n = (1usize << 16) - 1;
    let op = |kind, shift| {
        let y = plain(I32);
        Op::Reduce(Reduce { kind, axes: vec![0], x_zero: 32_767, mul: 32_767, shift, y })
    };
    let x = filled(I16, &[n], -32_768);
    assert_eq!(eval(&op(ReduceKind::Mean, 31), &[&x]).values(), [-1], "65535 * 32767 / 2^31, rounded");
    assert_eq!(eval(&op(ReduceKind::Sum, 31), &[&x]).values(), [-65_532]);
    let window = Window { kernel: [64, 64], strides: [1, 1], pads: [63; 4], dilations: [1, 1], ceil: false };
    let op = AvgPool { window, count_pads: false, x_zero: -128, mul: 1, shift: 0, y: plain(I32) };
    let y = eval(&Op::AvgPool(op), &[&filled(I8, &[2, 2, 1], 127)]);
    assert!(y.values().iter().all(|v| *v == 255));
}

#[test]
fn rows_at_the_limits() {
    let lowest = i64::from(i32::MIN);
    for (q, q_max) in [(I8, 127), (I16, 32_767)] {
        let op = Op::QuantRow(QuantRow { axis: 0, q });
        let y = eval(&op, &[&tensor(I32, &[3], &[lowest, lowest + 1, i64::from(i32::MAX)])]);
        assert_eq!(y.values(), [-q_max, -q_max, q_max]);
    }
    let table = tensor(I32, &[1], &[1 << 24]);
    let op = Op::Softmax(Softmax { shift: 0, one_bits: 30, y: plain(I32) });
    let y = eval(&op, &[&filled(I8, &[1 << 12], -128), &table]);
    assert!(y.values().iter().all(|v| *v == 1 << 18));
    assert_eq!(eval(&op, &[&tensor(I32, &[1], &[lowest]), &table]).values(), [1 << 30]);
    let none = eval(
        &Op::MatMul(MatMul { x_zero: 0, acc: I64 }),
        &[&filled(I8, &[0, 1], 0), &filled(I8, &[2, 1], 0)],
    );
    assert_eq!(none.shape(), [0, 2]);
}
