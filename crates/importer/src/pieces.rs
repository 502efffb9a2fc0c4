//! Curved functions in fixed point: cut where steps must become finer, one table of 16 bits each way per piece.
//!
//! With cuts `c0 < c1 < ..` and an anchor among them, where the function is nearest zero,
//! `f(x) = f(anchor) + sum over pieces of f(clamp(x)) - f(end of the piece towards the anchor)`, where `clamp` moves `x`
//! into the piece: pieces that `x` lies beyond add what the function gains in them, those before it add nothing.

use crate::{
    bounds::Interval,
    fixed::{exp2, round_to},
    func::{Domain, Func},
};

/// Fractional bits of the values around a function.
const FRACTION_BITS: i32 = 16;
/// Just beyond the largest value, so that a sum of pieces saturates rather than ends below it.
const CAP: f64 = 65_536.0;
/// A piece is as long as its error stays below this share of the function, or below the next constant.
const ERROR_SHARE: f64 = 1.0 / 512.0;
const ERROR_MIN: f64 = 1.0 / 2048.0;

/// A table of one piece: its operand is `x` with `in_bits` fractional bits plus `in_zero`, clamped into `[lo, hi]`.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    pub(crate) in_bits: u32,
    pub(crate) in_zero: i32,
    pub(crate) lo: i32,
    pub(crate) hi: i32,
    /// Fractional bits of the entries.
    pub(crate) out_bits: u32,
    pub(crate) entries: Vec<i64>,
}

/// The pieces of a curved function for operands within `range`, from left to right. Operands outside its domain count as
/// the nearest one inside.
pub(crate) fn pieces(func: Func, range: Interval) -> Vec<Piece> {
    let f = |x: f64| func.eval(x).clamp(-CAP, CAP);
    let points = covering(&points(func), range);
    let anchor =
        (0..points.len()).fold(0, |a, i| if f(points[i]).abs() < f(points[a]).abs() { i } else { a });
    let mut pieces = Vec::new();
    let mut start = 0;
    while start + 1 < points.len() {
        let stop = if start < anchor { anchor } else { points.len() - 1 };
        let fits = |end: &usize| {
            (start..*end).all(|i| is_close(&f, [points[i], points[i + 1]], [points[start], points[*end]]))
        };
        let end = (start + 1..=stop).rev().find(fits).unwrap_or(start + 1);
        let (lo, hi) = (points[start], points[end]);
        // What the other pieces add where `x` is the anchor is nothing, so one piece beside it adds its value.
        let holds_anchor = start == anchor || (end == anchor && end + 1 == points.len());
        let base = match (holds_anchor, end <= anchor) {
            (true, _) => 0.0,
            (false, true) => f(hi),
            (false, false) => f(lo),
        };
        pieces.push(piece(|x| f(x) - base, lo, hi));
        start = end;
    }
    pieces
}

/// Where pieces may end: zero and powers of two within the domain, as far as the function stays below its cap.
fn points(func: Func) -> Vec<f64> {
    let sizes = (-FRACTION_BITS..=15).map(exp2);
    let positive = sizes.clone();
    let negative = sizes.rev().map(|v| -v);
    let all: Vec<f64> = match func.domain() {
        Domain::All => negative.chain([0.0]).chain(positive).collect(),
        Domain::NotNegative => std::iter::once(0.0).chain(positive).collect(),
        Domain::Positive => positive.collect(),
    };
    // The first point beyond the cap on either side is the last one that matters; so is the last one that is not zero.
    let matters = |x: &f64| {
        let inner = func.eval(x / 2.0).abs();
        x.abs() <= 1.0 || (inner < CAP && (inner >= exp2(-FRACTION_BITS - 1) || func.eval(*x).abs() > inner))
    };
    all.into_iter().filter(matters).collect()
}

/// The points from the last at or before `range` to the first at or after it, at least two.
fn covering(points: &[f64], (lo, hi): Interval) -> Vec<f64> {
    let last = points.len() - 1;
    let start = points.iter().rposition(|p| *p <= lo).unwrap_or(0).min(last - 1);
    let end = points.iter().position(|p| *p >= hi).unwrap_or(last).max(start + 1);
    points[start..=end].to_vec()
}

/// Whether a piece over `whole` is precise on its part `[a, b]`.
fn is_close(f: &impl Fn(f64) -> f64, [a, b]: [f64; 2], [lo, hi]: [f64; 2]) -> bool {
    let Some((in_bits, _)) = operand(lo, hi) else { return false };
    let out_bits = result_bits((f(hi) - f(lo)).abs());
    // Operands are multiples of 2^-16, so that with all bits none is rounded.
    let step = if bits(in_bits) < FRACTION_BITS { exp2(-bits(in_bits)) } else { 0.0 };
    let slope = (f(b) - f(a)).abs() / (b - a);
    let error = 0.5 * (slope * step + exp2(-bits(out_bits)));
    error <= (ERROR_SHARE * f(a).abs().min(f(b).abs())).max(ERROR_MIN)
}

/// Fractional bits and zero point with which 16 bits hold `[lo, hi]`, both ends exactly.
fn operand(lo: f64, hi: f64) -> Option<(u32, i32)> {
    let holds = |b: u32| {
        let (lo, hi) = (lo * exp2(bits(b)), hi * exp2(bits(b)));
        if lo.fract() != 0.0 || hi.fract() != 0.0 {
            return None;
        }
        // A positive piece may end at 2^15: one less for all.
        let zero = if lo > 0.0 || hi > 32_767.0 { -1 } else { 0 };
        (lo + f64::from(zero) >= -32_768.0 && hi + f64::from(zero) <= 32_767.0).then_some((b, zero))
    };
    (0..=FRACTION_BITS.unsigned_abs()).rev().find_map(holds)
}

/// Fractional bits of entries up to `largest`.
fn result_bits(largest: f64) -> u32 {
    let fits = |b: &u32| largest * exp2(bits(*b)) <= 32_767.0;
    (0..=FRACTION_BITS.unsigned_abs()).rev().find(fits).unwrap_or(0)
}

fn piece(entry: impl Fn(f64) -> f64, lo: f64, hi: f64) -> Piece {
    let (in_bits, in_zero) = operand(lo, hi).expect("powers of two between 2^-16 and 2^15 fit 16 bits");
    let out_bits = result_bits(entry(lo).abs().max(entry(hi).abs()));
    let integer = |x: f64| {
        let v = round_to(x * exp2(bits(in_bits)), -32_768, 32_768) + i64::from(in_zero);
        i32::try_from(v).unwrap_or(0)
    };
    let value = |i: i32| {
        let x = f64::from(i - in_zero) * exp2(-bits(in_bits));
        round_to(entry(x.clamp(lo, hi)) * exp2(bits(out_bits)), -32_768, 32_767)
    };
    let (first, last) = (integer(lo), integer(hi));
    // Entries that no operand reaches are zero.
    let reached = |i: i32| if (first..=last).contains(&i) { value(i) } else { 0 };
    let entries = (-32_768..=32_767).map(reached).collect();
    Piece { in_bits, in_zero, lo: first, hi: last, out_bits, entries }
}

fn bits(n: u32) -> i32 {
    i32::try_from(n).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the pieces add up to at `x`, a multiple of 2^-16.
    fn sum(pieces: &[Piece], x: f64) -> f64 {
        let one = |p: &Piece| {
            let narrow = round_to(x * exp2(bits(p.in_bits)), -1 << 31, 1 << 31) + i64::from(p.in_zero);
            let narrow = narrow.clamp(i64::from(p.lo), i64::from(p.hi));
            let entry = p.entries[usize::try_from(narrow + 32_768).unwrap()];
            entry as f64 * exp2(-bits(p.out_bits))
        };
        pieces.iter().map(one).sum::<f64>().min(32_768.0)
    }

    #[test]
    fn pieces_add_up_to_the_function() {
        let funcs = [
            (Func::Exp, -16.0, 10.39),
            (Func::Log, exp2(-16), 32_767.0),
            (Func::Sqrt, 0.0, 32_767.0),
            (Func::Reciprocal, exp2(-14), 32_767.0),
            (Func::Power(3.0), -31.9, 31.9),
            (Func::Power(4.0), -13.4, 13.4),
            (Func::Power(1.5), 0.0, 1023.0),
            (Func::Power(-0.5), exp2(-16), 32_767.0),
            (Func::Power(-2.0), exp2(-7), 32_767.0),
            (Func::Power(0.3), 0.0, 32_767.0),
        ];
        for (func, lo, hi) in funcs {
            let pieces = pieces(func, (f64::NEG_INFINITY, f64::INFINITY));
            assert!(pieces.len() <= 10, "{func:?} has {} pieces", pieces.len());
            // Evenly, and evenly by logarithm on both sides.
            let even = (0..=4000).map(|i| lo + (hi - lo) * f64::from(i) / 4000.0);
            let sizes = (0..=4000).flat_map(|i| {
                let x = libm::exp(-11.0 + 21.4 * f64::from(i) / 4000.0);
                [x, -x]
            });
            for x in even.chain(sizes).filter(|x| (lo..=hi).contains(x)) {
                let x = (x * exp2(16)).round() * exp2(-16);
                if !(lo..=hi).contains(&x) {
                    continue;
                }
                let (found, expected) = (sum(&pieces, x), func.eval(x));
                let bound = 0.006 * expected.abs() + 0.001;
                assert!((found - expected).abs() <= bound, "{func:?} at {x}: {found}, not {expected}");
            }
        }
    }

    #[test]
    fn a_known_range_leaves_pieces_out() {
        assert_eq!(pieces(Func::Exp, (f64::NEG_INFINITY, 0.0)).len(), 1);
        let pieces = pieces(Func::Log, (1.0, 10.0));
        assert!(pieces.len() <= 2, "{} pieces", pieces.len());
        for x in [1.0, 1.5, 3.25, 7.5, 10.0] {
            assert!((sum(&pieces, x) - x.ln()).abs() < 0.001, "{x}");
        }
    }

    #[test]
    fn pieces_saturate_above_the_largest_value() {
        for (func, x) in [(Func::Exp, 15.0), (Func::Reciprocal, exp2(-16)), (Func::Power(3.0), 60.0)] {
            assert!(sum(&pieces(func, (f64::NEG_INFINITY, f64::INFINITY)), x) >= 32_768.0, "{func:?}");
        }
    }
}
