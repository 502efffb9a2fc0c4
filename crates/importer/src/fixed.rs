//! Real ratios as integer multipliers and shifts, by exact bit operations on `f64`.

/// `floor(log2(x))` of a positive normal number, from its exponent bits.
pub(crate) fn floor_log2(x: f64) -> i32 {
    let exponent = (x.to_bits() >> 52) & 0x7ff;
    i32::try_from(exponent).unwrap_or(0) - 1023
}

/// `2^n` for `-1022 <= n <= 1023`.
pub(crate) fn exp2(n: i32) -> f64 {
    f64::from_bits(u64::try_from(n + 1023).unwrap_or(1) << 52)
}

/// `floor(x + 1/2)` saturated to `i64`: the format's own rounding, applied to a real number.
#[expect(clippy::cast_possible_truncation, reason = "float to integer casts saturate")]
pub(crate) fn round(x: f64) -> i64 {
    (x + 0.5).floor() as i64
}

/// Rounds and saturates into `[lo, hi]`.
pub(crate) fn round_to(x: f64, lo: i64, hi: i64) -> i64 {
    round(x).clamp(lo, hi)
}

/// `ratio` as `mul * 2^-shift` with a 15-bit multiplier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ratio {
    pub(crate) mul: i64,
    pub(crate) shift: u32,
}

impl Ratio {
    /// The nearest ratio with `shift <= shift_max`; `None` if `ratio` is not positive or at least `2^15`. A ratio too
    /// small for the shift becomes the smallest one, 2^-shift_max.
    pub(crate) fn new(ratio: f64, shift_max: u32) -> Option<Self> {
        if !ratio.is_normal() || ratio < 0.0 {
            return None;
        }
        let shift = 14 - floor_log2(ratio);
        let shift = u32::try_from(shift).ok()?.min(shift_max);
        let mul = round(ratio * exp2(i32::try_from(shift).ok()?));
        match (mul, shift.checked_sub(1)) {
            (0x8000, Some(less)) => Some(Self { mul: 0x4000, shift: less }),
            (0x8000, None) => None,
            (0, _) => Some(Self { mul: 1, shift }),
            (mul, _) => Some(Self { mul, shift }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_close() {
        for ratio in [1e-6, 0.3, 0.5, 0.999_999, 1.0, 1.5, 3000.0, 32_767.0] {
            let r = Ratio::new(ratio, 62).unwrap();
            let back = r.mul as f64 * exp2(-i32::try_from(r.shift).unwrap());
            assert!((back / ratio - 1.0).abs() < 4e-5, "{ratio} became {back}");
            assert!((1..0x8000).contains(&r.mul), "{ratio}: {r:?}");
        }
        assert_eq!(Ratio::new(40_000.0, 62), None);
        assert_eq!(Ratio::new(0.0, 62), None);
    }

    #[test]
    fn powers_of_two_are_exact() {
        for n in -1022..1023 {
            assert_eq!(floor_log2(exp2(n)), n);
        }
    }
}
