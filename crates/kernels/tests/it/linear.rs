use veracity_kernels::{Columns, Depthwise, Isa, Linear, LinearSpec, Patches, Requantiser, Rows, View};
use veracity_ops::{Conv, ConvTranspose, DType, MatMul, Op, Quantised, Requant, Tensor};

use crate::support::{Random, buffer, i8s, values};

/// What follows the product.
struct Scaled {
    op: Requant,
    shift: Tensor,
    mul: Option<Tensor>,
}

impl Scaled {
    fn new(random: &mut Random, n: usize, k: usize) -> Self {
        let channels = random.pick(&[1, n]);
        let most = i64::from(k.max(1).ilog2()) + 14;
        let shift = random.tensor_within(DType::I8, &[channels], 0, random_shift(most));
        let mul =
            random.pick(&[true, false]).then(|| random.tensor_within(DType::I16, &[channels], 1, 32_767));
        let x_zero = random.pick(&[0, 0, 5]);
        Self { op: Requant { x_zero, y: random.quantised() }, shift, mul }
    }

    fn eval(&self, acc: &Tensor) -> Tensor {
        let inputs: Vec<&Tensor> = [acc, &self.shift].into_iter().chain(&self.mul).collect();
        Op::Requant(self.op.clone()).eval(&inputs).unwrap().remove(0)
    }

    fn requantiser(&self) -> Requantiser {
        Requantiser::new(&self.op, self.shift.values(), self.mul.as_ref().map(Tensor::values))
    }
}

fn random_shift(most: i64) -> i64 {
    most.clamp(0, 62)
}

fn bias(random: &mut Random, acc: DType, n: usize) -> Option<Tensor> {
    random.pick(&[true, false]).then(|| random.tensor_within(acc, &[n], -(1 << 20), 1 << 20))
}

/// Whether an `i32` provably holds each sum.
fn fits(w: &Tensor, x: DType, x_zero: i32, bias: Option<&Tensor>) -> bool {
    let n = w.shape()[0];
    let spread = (x.max() - i64::from(x_zero)).max(i64::from(x_zero) - x.min());
    let row = w.values().len() / n;
    let most = |j: usize| w.values()[j * row..][..row].iter().map(|w| w.abs()).sum::<i64>() * spread;
    (0..n).all(|j| most(j) + bias.map_or(0, |b| b.values()[j].abs()) <= i64::from(i32::MAX))
}

struct Case {
    op: Op,
    x: Tensor,
    w: Tensor,
    bias: Option<Tensor>,
    x_zero: i32,
    acc: DType,
}

impl Case {
    fn accumulators(&self) -> Option<Tensor> {
        let inputs: Vec<&Tensor> = [&self.x, &self.w].into_iter().chain(&self.bias).collect();
        self.op.eval(&inputs).ok().map(|mut y| y.remove(0))
    }

    fn run(&self) -> usize {
        match &self.op {
            Op::Conv(op) | Op::ConvTranspose(ConvTranspose { conv: op, .. }) => {
                Patches::run(op, shape(&self.w))
            }
            _ => self.w.shape()[1],
        }
    }

    fn spec<'a>(&'a self, weights: &'a [i8], requant: Option<&'a Requantiser>) -> LinearSpec<'a> {
        let n = self.w.shape()[0];
        LinearSpec {
            n,
            k: weights.len() / n,
            run: self.run(),
            weights,
            bias: self.bias.as_ref().map(Tensor::values),
            x: self.x.dtype(),
            x_zero: self.x_zero,
            acc: self.acc,
            requant,
        }
    }

    /// Compares raw and requantised outputs; `kernel` gets the specification, `x`, and the output.
    fn check(
        &self,
        random: &mut Random,
        weights: &[i8],
        kernel: impl Fn(Isa, &LinearSpec<'_>, View<'_>, &mut veracity_kernels::Buffer, usize),
    ) -> bool {
        if self.acc == DType::I32 && !fits(&self.w, self.x.dtype(), self.x_zero, self.bias.as_ref()) {
            return false;
        }
        let Some(acc) = self.accumulators() else { return false };
        let n = self.w.shape()[0];
        let mut scaled = Scaled::new(random, n, weights.len() / n);
        if self.acc == DType::I64 {
            scaled.op.x_zero = 0;
        }
        let requantiser = scaled.requantiser();
        let x = buffer(&self.x);
        let x = x.view(self.x.dtype(), self.x.values().len());
        for (requant, expected) in [(None, acc.clone()), (Some(&requantiser), scaled.eval(&acc))] {
            let (dtype, len) = (expected.dtype(), expected.values().len());
            for isa in Isa::available() {
                let mut y = veracity_kernels::Buffer::new(len * dtype.size());
                kernel(isa, &self.spec(weights, requant), x, &mut y, len);
                let y = values(y.view(dtype, len));
                assert!(
                    y == expected.values(),
                    "{isa} {:?} {:?} {:?}: {:?}",
                    self.op,
                    self.x.ty(),
                    self.w.ty(),
                    y.iter().zip(expected.values()).position(|(a, b)| a != b)
                );
            }
        }
        true
    }
}

#[test]
fn matmul_matches_reference() {
    let mut random = Random::new(1);
    let mut compared = 0;
    for round in 0..300 {
        let x_dtype = random.pick(&[DType::I8, DType::I8, DType::I16]);
        let acc = random.pick(&[DType::I32, DType::I32, DType::I64]);
        let m = if round % 3 == 0 { random.size(1, 60) } else { random.size(1, 7) };
        let (n, k) = (random.size(1, 140), random.pick(&[1, 2, 3, 4, 5, 7, 16, 63, 64, 65, 147, 600]));
        let x_zero = random.zero(x_dtype);
        let case = Case {
            op: Op::MatMul(MatMul { x_zero, acc }),
            x: random.tensor(x_dtype, &[m, k]),
            w: random.tensor(DType::I8, &[n, k]),
            bias: bias(&mut random, acc, n),
            x_zero,
            acc,
        };
        let weights = i8s(&case.w);
        compared += usize::from(case.check(&mut random, &weights, |isa, spec, x, y, len| {
            let linear = Linear::new(isa, spec);
            let y = y.view_mut(linear.dtype(), len);
            linear.apply(Rows::Contiguous(x), 0..m, Columns { y, column: 0, stride: n });
        }));
    }
    assert!(compared > 150, "only {compared} cases were compared");
}

#[test]
fn longest_reductions_are_exact() {
    let mut random = Random::new(2);
    for (x_dtype, x_zero, k, acc) in [
        (DType::I8, 127, 65_793, DType::I32),
        (DType::I8, -128, 65_793, DType::I32),
        (DType::I8, 127, 200_001, DType::I64),
        (DType::I16, 32_767, 5_000, DType::I64),
        (DType::I16, -32_768, 255, DType::I32),
    ] {
        for extreme in [x_dtype.min(), x_dtype.max()] {
            let case = Case {
                op: Op::MatMul(MatMul { x_zero, acc }),
                x: random.tensor_within(x_dtype, &[2, k], extreme, extreme),
                w: random.tensor_within(DType::I8, &[2, k], -128, -128),
                bias: None,
                x_zero,
                acc,
            };
            let weights = i8s(&case.w);
            let compared = case.check(&mut random, &weights, |isa, spec, x, y, len| {
                let linear = Linear::new(isa, spec);
                let y = y.view_mut(linear.dtype(), len);
                linear.apply(Rows::Contiguous(x), 0..2, Columns { y, column: 0, stride: 2 });
            });
            assert!(compared, "{x_dtype:?} {k}");
        }
    }
}

fn conv(random: &mut Random, groups: usize, acc: DType, x_dtype: DType) -> Conv {
    let pair = |random: &mut Random, hi| [random.size(1, hi), random.size(1, hi)];
    let most = random.pick(&[0, 3, 3, 9]);
    Conv {
        strides: pair(random, 4),
        pads: [0; 4].map(|_| random.size(0, most)),
        dilations: pair(random, 3),
        groups,
        x_zero: random.zero(x_dtype),
        acc,
    }
}

/// An extent, now and then none, now and then more than the depthwise kernel takes at a time.
fn image_extent(random: &mut Random) -> usize {
    match random.size(0, 19) {
        0 => 0,
        1 => random.size(100, 300),
        _ => random.size(1, 9),
    }
}

fn shape<const N: usize>(x: &Tensor) -> [usize; N] {
    x.shape().try_into().unwrap()
}

#[test]
fn convolutions_match_reference() {
    let mut random = Random::new(3);
    let mut compared = [0; 2];
    for round in 0..400 {
        let transposed = round % 2 == 1;
        let x_dtype = random.pick(&[DType::I8, DType::I8, DType::I16]);
        let acc = random.pick(&[DType::I32, DType::I32, DType::I64]);
        let groups = random.pick(&[1, 1, 2, 3]);
        let (cg, og) = (random.size(1, 9), random.size(1, 20));
        let conv = conv(&mut random, groups, acc, x_dtype);
        let x_zero = conv.x_zero;
        let op = if transposed {
            let output_pads = [random.size(0, 1), random.size(0, 1)];
            Op::ConvTranspose(ConvTranspose { conv: conv.clone(), output_pads })
        } else {
            Op::Conv(conv.clone())
        };
        let (h, w) = (image_extent(&mut random), image_extent(&mut random));
        let case = Case {
            op,
            x: random.tensor(x_dtype, &[h, w, cg * groups]),
            w: {
                let (a, b) = (random.size(1, 4), random.size(1, 4));
                random.tensor(DType::I8, &[og * groups, a, b, cg])
            },
            bias: bias(&mut random, acc, og * groups),
            x_zero,
            acc,
        };
        let Some(y) = case.accumulators() else { continue };
        let (x_shape, w_shape, y_shape) = (shape(&case.x), shape(&case.w), [y.shape()[0], y.shape()[1]]);
        let mut weights = i8s(&case.w);
        let patches = match &case.op {
            Op::ConvTranspose(op) => {
                weights = reversed(&weights, w_shape);
                Patches::transposed(op, x_shape, w_shape, y_shape)
            }
            _ => Patches::conv(&conv, x_shape, w_shape, y_shape),
        };
        compared[usize::from(transposed)] +=
            usize::from(case.check(&mut random, &weights, |isa, spec, x, y, len| {
                for group in 0..groups {
                    let channels = group * og..(group + 1) * og;
                    let requant = spec.requant.map(|r| r.channels(channels.clone()));
                    let spec = LinearSpec {
                        n: og,
                        weights: &spec.weights[channels.start * spec.k..channels.end * spec.k],
                        bias: spec.bias.map(|b| &b[channels.clone()]),
                        requant: requant.as_ref(),
                        ..*spec
                    };
                    let linear = Linear::new(isa, &spec);
                    let columns = Columns {
                        y: y.view_mut(linear.dtype(), len),
                        column: channels.start,
                        stride: og * groups,
                    };
                    let patches = patches.group(group);
                    linear.apply(
                        Rows::Patches(x, &linear.layout(patches.clone())),
                        0..patches.rows(),
                        columns,
                    );
                }
            }));
    }
    assert!(compared.iter().all(|n| *n > 40), "only {compared:?} cases were compared");
}

/// Kernel taps in reverse order.
fn reversed(w: &[i8], [_, kh, kw, cg]: [usize; 4]) -> Vec<i8> {
    w.chunks(kh * kw * cg).flat_map(|w| w.chunks(cg).rev().flatten().copied().collect::<Vec<_>>()).collect()
}

#[test]
fn depthwise_matches_reference() {
    let mut random = Random::new(4);
    let mut compared = 0;
    for _ in 0..300 {
        let x_dtype = random.pick(&[DType::I8, DType::I8, DType::I16]);
        let acc = random.pick(&[DType::I32, DType::I32, DType::I64]);
        let c = random.pick(&[1, 3, 16, 17, 32, 63, 64, 65, 130]);
        let conv = conv(&mut random, c, acc, x_dtype);
        let (h, w) = (image_extent(&mut random), image_extent(&mut random));
        let kernel = random.pick(&[[3, 3], [3, 3], [1, 1], [5, 5], [2, 4], [7, 1], [3, 40], [9, 9]]);
        let case = Case {
            x: random.tensor(x_dtype, &[h, w, c]),
            w: random.tensor(DType::I8, &[c, kernel[0], kernel[1], 1]),
            bias: bias(&mut random, acc, c),
            x_zero: conv.x_zero,
            acc,
            op: Op::Conv(conv.clone()),
        };
        let Some(y) = case.accumulators() else { continue };
        let y_shape = [y.shape()[0], y.shape()[1]];
        let patches = Patches::conv(&conv, shape(&case.x), shape(&case.w), y_shape);
        let weights = i8s(&case.w);
        compared += usize::from(case.check(&mut random, &weights, |isa, spec, x, y, len| {
            let depthwise = Depthwise::new(isa, &conv, kernel, spec);
            depthwise.apply(x, &patches, 0..y_shape[0], y.view_mut(depthwise.dtype(), len));
        }));
    }
    assert!(compared > 100, "only {compared} cases were compared");
}

#[test]
fn requant_matches_reference() {
    let mut random = Random::new(5);
    for _ in 0..300 {
        let c = random.pick(&[1, 3, 64, 65]);
        let channels = random.pick(&[1, c]);
        let dtype = random.pick(&[DType::I8, DType::I16, DType::I32, DType::I64]);
        let x = random.tensor(dtype, &[5, c]);
        let shift = random.tensor_within(DType::I8, &[channels], 0, 62);
        let mul =
            random.pick(&[true, false]).then(|| random.tensor_within(DType::I16, &[channels], 1, 32_767));
        let x_zero = if dtype == DType::I64 { 77 } else { random.zero(dtype) };
        let op = Requant { x_zero, y: random.quantised() };
        let inputs: Vec<&Tensor> = [&x, &shift].into_iter().chain(&mul).collect();
        let requantiser = Requantiser::new(&op, shift.values(), mul.as_ref().map(Tensor::values));
        crate::support::compare(&Op::Requant(op), &inputs, |isa, inputs, y| {
            requantiser.apply(isa, inputs[0], y).unwrap();
        });
    }
}

#[test]
fn requant_refuses_wide_values() {
    let op = Requant { x_zero: 0, y: Quantised::full(DType::I8, 0) };
    let requantiser = Requantiser::new(&op, &[3], None);
    let mut y = veracity_kernels::Buffer::new(1);
    let error = requantiser.apply(Isa::Scalar, View::I64(&[1 << 48]), y.view_mut(DType::I8, 1)).unwrap_err();
    let expected = "accumulator 281474976710656 is outside [-140737488355328, 140737488355328]";
    assert_eq!(error.to_string(), expected);
}
