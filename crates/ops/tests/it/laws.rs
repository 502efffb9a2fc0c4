//! What must hold for all values, on seeded draws.

use veracity_ops::{
    Concat, Conv, ConvTranspose, DType, DimSpec, MatMul, Op, Pad, PadMode, QuantRow, Quantised, Requant,
    Reshape, Resize, ResizeCoordinates, ResizeRounding, Slice, Softmax, Tensor, Transpose, round_div,
    round_shift,
};

use crate::{
    draw::Draw,
    support::{I8, I16, I32, I64, eval, plain, tensor},
};

fn random(draw: &mut Draw, dtype: DType, shape: &[usize]) -> Tensor {
    let values = (0..shape.iter().product()).map(|_| draw.value(dtype)).collect();
    Tensor::new(dtype, shape.to_vec(), values).unwrap()
}

fn shape(draw: &mut Draw) -> Vec<usize> {
    (0..1 + draw.below(4)).map(|_| 1 + draw.below(4)).collect()
}

/// A convolution by its text-book definition: pad, then read every tap, group and channel by its four indices.
fn dense_conv(op: &Conv, x: &Tensor, w: &Tensor) -> Vec<i64> {
    let [h, wd, c] = [x.shape()[0], x.shape()[1], x.shape()[2]];
    let [oc, kh, kw, cg] = [w.shape()[0], w.shape()[1], w.shape()[2], w.shape()[3]];
    let (ph, pw) = (h + op.pads[0] + op.pads[2], wd + op.pads[1] + op.pads[3]);
    let mut padded = vec![0i64; ph * pw * c];
    for (i, v) in x.values().iter().enumerate() {
        let (y, x, channel) = (i / (wd * c), i / c % wd, i % c);
        padded[((y + op.pads[0]) * pw + x + op.pads[1]) * c + channel] = v - i64::from(op.x_zero);
    }
    let span = |k: usize, d: usize| (k - 1) * d;
    let mut sums = Vec::new();
    for top in (0..ph).step_by(op.strides[0]).filter(|t| t + span(kh, op.dilations[0]) < ph) {
        for left in (0..pw).step_by(op.strides[1]).filter(|l| l + span(kw, op.dilations[1]) < pw) {
            for o in 0..oc {
                let group = o * op.groups / oc;
                let mut sum = 0;
                for (i, weight) in w.values()[o * kh * kw * cg..][..kh * kw * cg].iter().enumerate() {
                    let (ky, kx, k) = (i / (kw * cg), i / cg % kw, i % cg);
                    let (y, x) = (top + ky * op.dilations[0], left + kx * op.dilations[1]);
                    sum += padded[(y * pw + x) * c + group * cg + k] * weight;
                }
                sums.push(sum);
            }
        }
    }
    sums
}

/// A convolution with operands that it takes.
fn conv_case(draw: &mut Draw, x_zero: i32) -> (Conv, Tensor, Tensor) {
    let (groups, cg, og) = (1 + draw.below(3), 1 + draw.below(3), 1 + draw.below(3));
    let mut size = |lo: usize, hi: usize| lo + draw.below(hi + 1 - lo);
    let op = Conv {
        strides: [size(1, 3), size(1, 3)],
        pads: [size(0, 3), size(0, 3), size(0, 3), size(0, 3)],
        dilations: [size(1, 3), size(1, 3)],
        groups,
        x_zero,
        acc: I64,
    };
    let (kernel, extra) = ([size(1, 3), size(1, 3)], [size(0, 4), size(0, 4)]);
    let least = |axis: usize| (kernel[axis] - 1) * op.dilations[axis] + 1;
    let image = [least(0) + extra[0], least(1) + extra[1], groups * cg];
    let dtype = draw.pick(&[I8, I16]);
    let x = random(draw, dtype, &image);
    let w = random(draw, I8, &[groups * og, kernel[0], kernel[1], cg]);
    (op, x, w)
}

#[test]
fn convolution_is_its_dense_definition() {
    for seed in 0..400 {
        let mut draw = Draw::new(seed, 0);
        let x_zero = draw.pick(&[0, 5, -128]);
        let (op, x, w) = conv_case(&mut draw, x_zero);
        let expected = dense_conv(&op, &x, &w);
        assert_eq!(eval(&Op::Conv(op.clone()), &[&x, &w]).values(), expected, "seed {seed}: {op:?}");
    }
}

/// `<conv(x), y> = <x, conv_transpose(y)>`, where the transpose's weights swap input and output channels per group.
#[test]
fn transposed_convolution_is_the_adjoint() {
    let inner =
        |a: &Tensor, b: &[i64]| a.values().iter().zip(b).map(|(a, b)| i128::from(a * b)).sum::<i128>();
    for seed in 0..400 {
        let mut draw = Draw::new(seed, 0);
        let (op, x, w) = conv_case(&mut draw, 0);
        let conv_x = eval(&Op::Conv(op.clone()), &[&x, &w]);
        let y = random(&mut draw, I8, conv_x.shape());
        let [oc, kh, kw, cg] = [w.shape()[0], w.shape()[1], w.shape()[2], w.shape()[3]];
        let og = oc / op.groups;
        let mut swapped = Vec::new();
        for (c, ky, kx, o) in (0..op.groups * cg).flat_map(|c| {
            (0..kh).flat_map(move |ky| (0..kw).flat_map(move |kx| (0..og).map(move |o| (c, ky, kx, o))))
        }) {
            let (group, k) = (c / cg, c % cg);
            swapped.push(w.values()[(((group * og + o) * kh + ky) * kw + kx) * cg + k]);
        }
        let swapped = tensor(I8, &[op.groups * cg, kh, kw, og], &swapped);
        let fewer = |axis: usize| {
            let span = ([kh, kw][axis] - 1) * op.dilations[axis] + 1;
            (x.shape()[axis] + op.pads[axis] + op.pads[axis + 2] - span) % op.strides[axis]
        };
        let output_pads = [fewer(0), fewer(1)];
        let transposed = Op::ConvTranspose(ConvTranspose { conv: op.clone(), output_pads });
        let back = eval(&transposed, &[&y, &swapped]);
        assert_eq!(back.shape(), x.shape(), "seed {seed}: {op:?}");
        assert_eq!(inner(&y, conv_x.values()), inner(&x, back.values()), "seed {seed}: {op:?}");
    }
}

#[test]
fn matmul_is_a_convolution_of_one_tap() {
    for seed in 0..200 {
        let mut draw = Draw::new(seed, 0);
        let (m, k, n) = (1 + draw.below(6), 1 + draw.below(20), 1 + draw.below(6));
        let dtype = draw.pick(&[I8, I16]);
        let (x, w) = (random(&mut draw, dtype, &[1, m, k]), random(&mut draw, I8, &[n, k]));
        let bias = random(&mut draw, I16, &[n]);
        let bias = tensor(I64, &[n], bias.values());
        let flat = eval(&Op::MatMul(MatMul { x_zero: 7, acc: I64 }), &[&x, &w, &bias]);
        let tap = tensor(I8, &[n, 1, 1, k], w.values());
        let conv = Conv { strides: [1, 1], pads: [0; 4], dilations: [1, 1], groups: 1, x_zero: 7, acc: I64 };
        assert_eq!(eval(&Op::Conv(conv.clone()), &[&x, &tap, &bias]), flat, "seed {seed}");
        let transposed = Op::ConvTranspose(ConvTranspose { conv, output_pads: [0, 0] });
        assert_eq!(eval(&transposed, &[&x, &tap, &bias]), flat, "seed {seed}");
    }
}

#[test]
fn movement_has_inverses() {
    for seed in 0..400 {
        let mut draw = Draw::new(seed, 0);
        let shape = shape(&mut draw);
        let x = random(&mut draw, I16, &shape);
        let rank = shape.len();

        let mut perm: Vec<usize> = (0..rank).collect();
        (0..rank).for_each(|i| perm.swap(i, draw.below(rank)));
        let inverse = (0..rank).map(|a| perm.iter().position(|p| *p == a).unwrap()).collect();
        let there = eval(&Op::Transpose(Transpose { perm: perm.clone() }), &[&x]);
        assert_eq!(eval(&Op::Transpose(Transpose { perm: inverse }), &[&there]), x, "transpose {perm:?}");

        let flat = eval(&Op::Reshape(Reshape { dims: vec![DimSpec::Infer] }), &[&x]);
        let dims = shape.iter().map(|&d| DimSpec::Fixed(d)).collect();
        assert_eq!(eval(&Op::Reshape(Reshape { dims }), &[&flat]), x, "reshape");

        let axis = draw.below(rank);
        let at = i64::try_from(draw.below(shape[axis] + 1)).unwrap();
        let cut = |start, end, step| Op::Slice(Slice { axis, start, end, step });
        let (left, right) = (eval(&cut(0, at, 1), &[&x]), eval(&cut(at, i64::MAX, 1), &[&x]));
        assert_eq!(eval(&Op::Concat(Concat { axis }), &[&left, &right]), x, "concat of a split at {at}");
        let back = cut(-1, i64::MIN, -1);
        assert_eq!(eval(&back, &[&eval(&back, &[&x])]), x, "twice reversed");

        let begin: Vec<usize> = shape.iter().map(|d| draw.below(*d)).collect();
        let end: Vec<usize> = shape.iter().map(|d| draw.below(*d)).collect();
        let mode = draw.pick(&[PadMode::Constant(-7), PadMode::Edge, PadMode::Reflect]);
        let mut y = eval(&Op::Pad(Pad { mode, begin: begin.clone(), end }), &[&x]);
        for (axis, (begin, extent)) in begin.iter().zip(&shape).enumerate() {
            let (start, end) = (*begin as i64, (begin + extent) as i64);
            y = eval(&Op::Slice(Slice { axis, start, end, step: 1 }), &[&y]);
        }
        assert_eq!(y, x, "pad {mode:?}");

        let factor = 1 + draw.below(4);
        let coordinates = draw.pick(&[ResizeCoordinates::Asymmetric, ResizeCoordinates::HalfPixel]);
        let rounding = match coordinates {
            ResizeCoordinates::Asymmetric => ResizeRounding::Floor,
            _ => draw.pick(&[ResizeRounding::PreferFloor, ResizeRounding::PreferCeil]),
        };
        let mut repeat = x.clone();
        for (axis, &extent) in shape.iter().enumerate() {
            let parts: Vec<Tensor> = (0..extent as i64)
                .flat_map(|at| {
                    vec![
                        eval(&Op::Slice(Slice { axis, start: at, end: at + 1, step: 1 }), &[&repeat]);
                        factor
                    ]
                })
                .collect();
            repeat = eval(&Op::Concat(Concat { axis }), &parts.iter().collect::<Vec<_>>());
        }
        let scales = vec![(2 * factor, 2); rank];
        assert_eq!(
            eval(&Op::Resize(Resize { scales, coordinates, rounding }), &[&x]),
            repeat,
            "resize by {factor}"
        );
    }
}

#[test]
fn a_multiplier_of_a_power_of_two_is_a_smaller_shift() {
    for seed in 0..300 {
        let mut draw = Draw::new(seed, 0);
        let x = random(&mut draw, I32, &[3, 4]);
        let (k, shift) = (draw.below(15) as i64, draw.below(40) as i64);
        let op = Op::Requant(Requant { x_zero: 3, y: draw.quantised() });
        let Ok(scaled) = op.eval(&[&x, &tensor(I8, &[1], &[shift + k]), &tensor(I16, &[1], &[1 << k])])
        else {
            continue;
        };
        assert_eq!(eval(&op, &[&x, &tensor(I8, &[1], &[shift])]), scaled[0], "seed {seed}");
    }
}

/// `value = q * 2^s + r - 2^(s - 1)` with `0 <= r < 2^s`: the identity that a proof checks.
#[test]
fn rounding_is_a_division_with_remainder() {
    for seed in 0..20_000 {
        let mut draw = Draw::new(seed, 0);
        let (value, shift) = (draw.value(I64) >> 2, draw.below(63) as u32);
        let half = if shift == 0 { 0 } else { 1i128 << (shift - 1) };
        let r = i128::from(value) + half - (i128::from(round_shift(value, shift)) << shift);
        assert!((0..1 << shift).contains(&r), "{value} >> {shift}");
        let divisor = 1 + (draw.next() >> draw.below(62) >> 2) as i64;
        let value = value >> 1;
        let r = i128::from(value) + i128::from(divisor / 2)
            - i128::from(round_div(value, divisor)) * i128::from(divisor);
        assert!((0..i128::from(divisor)).contains(&r), "{value} / {divisor}");
    }
}

#[test]
fn rows_reach_their_largest_value() {
    for seed in 0..3000 {
        let mut draw = Draw::new(seed, 0);
        let n = 1 + draw.below(9);
        let x = random(&mut draw, I32, &[n]);
        let q = draw.pick(&[I8, I16]);
        let outputs = Op::QuantRow(QuantRow { axis: 0, q }).eval(&[&x]).unwrap();
        let (values, m) = (outputs[0].values(), outputs[1].values()[0]);
        assert!(values.iter().all(|v| v.abs() <= q.max()), "{x:?}");
        let largest = values.iter().map(|v| v.abs()).max();
        assert_eq!(
            largest,
            Some(if m == 1 && x.values().iter().all(|v| *v == 0) { 0 } else { q.max() }),
            "{x:?}"
        );
        for (v, x) in values.iter().zip(x.values()) {
            // q is x * q_max / m but for the rounding and a reciprocal that is at most 2^-9 short.
            let twice = 2 * (i128::from(*v) * i128::from(m) - i128::from(x * q.max()));
            assert!(
                twice.abs() <= i128::from(m) + (i128::from(m) >> 8) + 2 * i128::from(q.max()),
                "{x} in {m}"
            );
        }
    }
}

#[test]
fn softmax_sums_to_one_within_its_rounding() {
    for seed in 0..500 {
        let mut draw = Draw::new(seed, 0);
        let n = 1 + draw.below(40);
        let dtype = draw.pick(&[I8, I16, I32]);
        let x = random(&mut draw, dtype, &[2, n]);
        let mut table: Vec<i64> = (0..1 + draw.below(300)).map(|_| draw.below(1 << 24) as i64).collect();
        table[0] = 1 << 24;
        let table = tensor(I32, &[table.len()], &table);
        let (shift, one_bits) = (draw.below(9) as u32, draw.below(31) as u32);
        let y = eval(&Op::Softmax(Softmax { shift, one_bits, y: plain(I32) }), &[&x, &table]);
        for row in y.values().chunks(n) {
            let error = 2 * (row.iter().sum::<i64>() - (1 << one_bits));
            assert!(error.unsigned_abs() <= n as u64, "seed {seed}");
            assert!(row.iter().all(|v| (0..=1 << one_bits).contains(v)), "seed {seed}");
        }
    }
}

/// A sample's rows stand alone: a row computed with others is the row computed by itself.
#[test]
fn rows_do_not_see_each_other() {
    let table = tensor(I32, &[3], &[1 << 20, 999, 0]);
    for seed in 0..200 {
        let mut draw = Draw::new(seed, 0);
        let x = random(&mut draw, I32, &[4, 5]);
        let y = Quantised { dtype: I16, zero: 3, lo: -100, hi: 30_000 };
        let softmax = Op::Softmax(Softmax { shift: 2, one_bits: 12, y });
        let quant = Op::QuantRow(QuantRow { axis: 1, q: I8 });
        for row in 0..4 {
            let cut = Op::Slice(Slice { axis: 0, start: row, end: row + 1, step: 1 });
            let one = eval(&cut, &[&x]);
            assert_eq!(eval(&softmax, &[&one, &table]), eval(&cut, &[&eval(&softmax, &[&x, &table])]));
            assert_eq!(eval(&quant, &[&one]), eval(&cut, &[&eval(&quant, &[&x])]));
        }
    }
}
