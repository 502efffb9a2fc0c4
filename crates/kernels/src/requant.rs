//! Requantisation: the loops over values and channels, for accumulators in a tile and for whole tensors.

use veracity_ops::{ACC_BITS_MAX, DType, Quantised, Requant};

use crate::{Element, Isa, ValueError, View, ViewMut, vectorized, with_element, with_element_mut};

/// A [`Requant`] with its constants: `y = clamp(zero + ((x * mul[c] + offset[c]) >> shift[c]))`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requantiser {
    pub(crate) x_zero: i32,
    pub(crate) y: Quantised,
    pub(crate) mul: Vec<i32>,
    pub(crate) shift: Vec<u32>,
}

impl Requantiser {
    /// The operator with the values of its constant operands.
    ///
    /// # Panics
    /// If the constants are outside the operator's ranges, or `mul` and `shift` differ in length.
    #[must_use]
    pub fn new(op: &Requant, shift: &[i64], mul: Option<&[i64]>) -> Self {
        let shift: Vec<u32> = shift.iter().map(|&s| u32::try_from(s).expect("shifts were checked")).collect();
        let mul = mul.map_or_else(
            || vec![1; shift.len()],
            |mul| mul.iter().map(|&m| i32::try_from(m).expect("multipliers were checked")).collect(),
        );
        assert_eq!(mul.len(), shift.len(), "mul and shift differ in length");
        Self { x_zero: op.x_zero, y: op.y, mul, shift }
    }

    /// The same step for the channels `range` alone.
    ///
    /// # Panics
    /// If there are no such channels.
    #[must_use]
    pub fn channels(&self, range: std::ops::Range<usize>) -> Self {
        if self.shift.len() == 1 {
            return self.clone();
        }
        Self { mul: self.mul[range.clone()].to_vec(), shift: self.shift[range].to_vec(), ..self.clone() }
    }

    /// Element type of the output.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.y.dtype
    }

    /// What is added to `x * mul` before the shift: half a step, less the input's zero.
    pub(crate) fn offset(&self, channel: usize) -> i64 {
        (1 << self.shift[channel] >> 1) - i64::from(self.x_zero) * i64::from(self.mul[channel])
    }

    /// Requantises `x`, whose last axis repeats every `channels` values.
    ///
    /// # Errors
    /// [`ValueError::Accumulator`] if an `i64` is beyond the operator's range.
    ///
    /// # Panics
    /// If lengths or the output type disagree.
    pub fn apply(&self, isa: Isa, x: View<'_>, y: ViewMut<'_>) -> Result<(), ValueError> {
        assert_eq!(x.len(), y.len(), "lengths differ");
        if let View::I64(x) = x {
            self.check_range(x)?;
        }
        if self.shift.is_empty() {
            return Ok(());
        }
        let offset: Vec<i64> = (0..self.mul.len()).map(|c| self.offset(c)).collect();
        with_element!(x, |x| with_element_mut!(y, |y| requantise(isa, self, &offset, x, y)));
        Ok(())
    }

    fn check_range(&self, x: &[i64]) -> Result<(), ValueError> {
        let limit = 1 << ACC_BITS_MAX;
        let at = |x: &i64| x.saturating_sub(i64::from(self.x_zero));
        match x.iter().map(at).find(|x| !(-limit..=limit).contains(x)) {
            Some(value) => Err(ValueError::Accumulator { value, lo: -limit, hi: limit }),
            None => Ok(()),
        }
    }
}

vectorized! {
    fn requantise<X: Element, Y: Element>(op: &Requantiser, offset: &[i64], x: &[X], y: &mut [Y]) {
        if let ([mul], [shift], [offset]) = (op.mul.as_slice(), op.shift.as_slice(), offset) {
            for (y, x) in y.iter_mut().zip(x) {
                *y = step(&op.y, *x, *mul, *offset, *shift);
            }
            return;
        }
        for (y, x) in y.chunks_mut(op.mul.len()).zip(x.chunks(op.mul.len())) {
            let channels = op.mul.iter().zip(offset).zip(&op.shift);
            for ((y, x), ((mul, offset), shift)) in y.iter_mut().zip(x).zip(channels) {
                *y = step(&op.y, *x, *mul, *offset, *shift);
            }
        }
    }
}

#[inline(always)]
fn step<X: Element, Y: Element>(y: &Quantised, x: X, mul: i32, offset: i64, shift: u32) -> Y {
    let v = ((x.widen() * i64::from(mul) + offset) >> shift) + i64::from(y.zero);
    Y::truncate(v.max(i64::from(y.lo)).min(i64::from(y.hi)))
}

/// How the sums of each channel become outputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finish {
    /// `sum + bias`, as it is.
    Accumulate,
    /// `clamp((sum + bias) >> shift)` in `i32`, which provably holds it; the bias includes half a step, the input's zero
    /// and the output's, shifted to the left.
    Shift { shift: Vec<u32>, y: Quantised },
    /// `clamp(zero + (((sum + bias) * mul + offset) >> shift))` in `i64`.
    Scale { mul: Vec<i32>, offset: Vec<i64>, shift: Vec<u32>, y: Quantised },
}

/// Where a tile's outputs go: `rows` rows of `cols` values, `stride` apart.
#[derive(Debug)]
pub(crate) struct Target<'a, Y> {
    pub(crate) y: &'a mut [Y],
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) stride: usize,
}

impl<'a, Y: Element> Target<'a, Y> {
    /// # Panics
    /// If outputs have another type.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn of_i8(self) -> Target<'a, i8> {
        let y = i8::of_mut(Y::view_mut(self.y)).expect("only i8 is rounded by a shift alone in one step");
        Target { y, rows: self.rows, cols: self.cols, stride: self.stride }
    }
}

vectorized! {
    /// Writes the outputs of sums modulo `2^32`, whose rows are `acc_stride` apart and begin at channel `channel`.
    pub(crate) fn narrow<Y: Element>(
        finish: &Finish,
        acc: &[i32],
        acc_stride: usize,
        bias: &[i32],
        channel: usize,
        target: Target<'_, Y>,
    ) {
        narrow_rows(finish, acc, acc_stride, bias, channel, target);
    }
}

vectorized! {
    /// As [`narrow`], for exact sums that need an `i64`.
    pub(crate) fn wide<Y: Element>(
        finish: &Finish,
        acc: &[i64],
        acc_stride: usize,
        bias: &[i64],
        channel: usize,
        target: Target<'_, Y>,
    ) {
        wide_rows(finish, acc, acc_stride, bias, channel, target);
    }
}

#[inline(always)]
pub(crate) fn narrow_rows<Y: Element>(
    finish: &Finish,
    acc: &[i32],
    acc_stride: usize,
    bias: &[i32],
    channel: usize,
    target: Target<'_, Y>,
) {
    let Target { y, rows, cols, stride } = target;
    let channels = channel..channel + cols;
    let bias = &bias[channels.clone()];
    let lines = y.chunks_mut(stride.max(1)).zip(acc.chunks(acc_stride)).take(rows);
    match finish {
        Finish::Accumulate => {
            for (y, acc) in lines {
                for ((y, acc), bias) in y[..cols].iter_mut().zip(acc).zip(bias) {
                    *y = Y::truncate32(acc.wrapping_add(*bias));
                }
            }
        }
        Finish::Shift { shift, y: Quantised { lo, hi, .. } } => {
            let shift = &shift[channels];
            for (y, acc) in lines {
                for (((y, acc), bias), shift) in y[..cols].iter_mut().zip(acc).zip(bias).zip(shift) {
                    let v = acc.wrapping_add(*bias).wrapping_shr(*shift);
                    *y = Y::truncate32(v.max(*lo).min(*hi));
                }
            }
        }
        Finish::Scale { mul, offset, shift, y: q } => {
            let (mul, offset, shift) = (&mul[channels.clone()], &offset[channels.clone()], &shift[channels]);
            for (y, acc) in lines {
                let scale = bias.iter().zip(mul).zip(offset).zip(shift);
                for ((y, acc), (((bias, mul), offset), shift)) in y[..cols].iter_mut().zip(acc).zip(scale) {
                    *y = step(q, acc.wrapping_add(*bias), *mul, *offset, *shift);
                }
            }
        }
    }
}

#[inline(always)]
pub(crate) fn wide_rows<Y: Element>(
    finish: &Finish,
    acc: &[i64],
    acc_stride: usize,
    bias: &[i64],
    channel: usize,
    target: Target<'_, Y>,
) {
    let Target { y, rows, cols, stride } = target;
    for (y, acc) in y.chunks_mut(stride.max(1)).zip(acc.chunks(acc_stride)).take(rows) {
        for (i, (y, acc)) in y[..cols].iter_mut().zip(acc).enumerate() {
            let (c, v) = (channel + i, acc + bias[channel + i]);
            *y = match finish {
                Finish::Accumulate => Y::truncate(v),
                Finish::Shift { .. } => unreachable!("wide sums are scaled"),
                Finish::Scale { mul, offset, shift, y } => step(y, v, mul[c], offset[c], shift[c]),
            };
        }
    }
}
