//! The one rounding rule of the format: to nearest, ties towards positive infinity.

use crate::{DType, OpError, error::check_range};

/// `floor(value / 2^shift + 1/2)`.
///
/// `shift` is at most 62 and `value + 2^(shift - 1)` must not overflow; operators check both by their bounds.
#[must_use]
pub fn round_shift(value: i64, shift: u32) -> i64 {
    if shift == 0 { value } else { (value + (1 << (shift - 1))) >> shift }
}

/// `floor((value + floor(divisor / 2)) / divisor)`, the nearest integer to `value / divisor`, ties towards positive
/// infinity. `divisor` is positive.
#[must_use]
pub fn round_div(value: i64, divisor: i64) -> i64 {
    (value + divisor / 2).div_euclid(divisor)
}

/// `value` moved into `[lo, hi]`.
#[must_use]
pub fn clamp(value: i64, lo: i64, hi: i64) -> i64 {
    value.max(lo).min(hi)
}

/// How an exact result becomes an output value: add `zero`, then clamp to `[lo, hi]`.
///
/// A ReLU is `lo = zero`; a ReLU6 also lowers `hi`. `DType::min() <= lo <= hi <= DType::max()`, and `zero` fits the
/// type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Quantised {
    /// Element type of the output: `i8`, `i16` or `i32`.
    pub dtype: DType,
    /// The integer that stands for real zero.
    pub zero: i32,
    /// Smallest output value.
    pub lo: i32,
    /// Largest output value.
    pub hi: i32,
}

impl Quantised {
    /// The whole range of `dtype`, with `zero` standing for real zero.
    #[must_use]
    pub fn full(dtype: DType, zero: i32) -> Self {
        let (lo, hi) = match dtype {
            DType::I8 => (i32::from(i8::MIN), i32::from(i8::MAX)),
            DType::I16 => (i32::from(i16::MIN), i32::from(i16::MAX)),
            DType::I32 | DType::I64 => (i32::MIN, i32::MAX),
        };
        Self { dtype, zero, lo, hi }
    }

    /// Output value for the exact result `value`.
    #[must_use]
    pub fn finish(&self, value: i64) -> i64 {
        clamp(value.saturating_add(i64::from(self.zero)), i64::from(self.lo), i64::from(self.hi))
    }

    pub(crate) fn check(&self, op: &'static str) -> Result<(), OpError> {
        if self.dtype == DType::I64 {
            return Err(OpError::Type {
                op,
                operand: 0,
                expected: "an i8, i16 or i32 output",
                found: self.dtype,
            });
        }
        let (min, max) = (self.dtype.min(), self.dtype.max());
        check_range(op, "zero", i64::from(self.zero), min..=max)?;
        check_range(op, "lo", i64::from(self.lo), min..=max)?;
        check_range(op, "hi", i64::from(self.hi), i64::from(self.lo)..=max)
    }
}

/// Bits of the largest magnitude of `value - zero` over a whole element type (`i64` accumulators are bounded by
/// [`ACC_BITS_MAX`](crate::ACC_BITS_MAX)).
pub(crate) fn spread(dtype: DType, zero: i32) -> i64 {
    match dtype {
        DType::I8 | DType::I16 | DType::I32 => {
            (dtype.max() - i64::from(zero)).max(i64::from(zero) - dtype.min())
        }
        DType::I64 => 1 << crate::ACC_BITS_MAX,
    }
}

/// Checks that a non-negative worst case stays below `2^limit`.
pub(crate) fn check_magnitude(op: &'static str, worst: i128, limit: u32) -> Result<(), OpError> {
    let bits = 128 - worst.leading_zeros();
    if bits <= limit { Ok(()) } else { Err(OpError::Magnitude { op, bits, limit }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_up_for_both_signs() {
        let cases = [(5, 1, 3), (-5, 1, -2), (3, 2, 1), (-3, 2, -1), (2, 2, 1), (-2, 2, 0), (7, 0, 7)];
        for (value, shift, expected) in cases {
            assert_eq!(round_shift(value, shift), expected, "{value} >> {shift}");
        }
    }

    #[test]
    fn division_by_a_power_of_two_is_the_shift() {
        for value in -1000..1000 {
            for shift in 0..8 {
                assert_eq!(round_div(value, 1 << shift), round_shift(value, shift), "{value} / 2^{shift}");
            }
        }
    }

    #[test]
    fn division_is_nearest() {
        for value in -300i64..300 {
            for divisor in 1..40 {
                let q = round_div(value, divisor);
                let twice = 2 * (value - q * divisor);
                assert!(-divisor <= twice && twice < divisor, "{value} / {divisor} = {q}");
            }
        }
    }
}
