//! Functions of one or two values, element by element.

use veracity_ops::{Add, DType, Mul, Quantised};

use crate::{Element, Isa, View, ViewMut, vectorized, with_element, with_element_mut};

/// Two operands and their broadcasting, numpy rules: axes of equal behaviour are joined, innermost last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broadcast {
    axes: Vec<Axis>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Axis {
    extent: usize,
    /// Steps of each operand: its distance of neighbours, or 0 where it is repeated.
    steps: [usize; 2],
}

impl Broadcast {
    /// The broadcasting of shapes `a` and `b` to `y`.
    #[must_use]
    pub fn new(a: &[usize], b: &[usize], y: &[usize]) -> Self {
        let mut axes: Vec<Axis> = Vec::new();
        let mut lens = [1, 1];
        for (i, &extent) in y.iter().enumerate().rev() {
            let own = [a, b].map(|s| (i + s.len()).checked_sub(y.len()).map_or(1, |j| s[j]));
            let steps = [0, 1].map(|side| if own[side] == 1 { 0 } else { lens[side] });
            lens = [0, 1].map(|side| lens[side] * own[side]);
            if extent == 1 {
                continue;
            }
            match axes.last_mut() {
                Some(last) if [0, 1].iter().all(|&s| steps[s] == last.steps[s] * last.extent) => {
                    last.extent *= extent;
                }
                _ => axes.push(Axis { extent, steps }),
            }
        }
        axes.reverse();
        Self { axes }
    }

    /// Whether both operands have the shape of the result, so that its values may be divided anywhere.
    #[must_use]
    pub fn is_flat(&self) -> bool {
        matches!(self.axes.as_slice(), [] | [Axis { steps: [1, 1], .. }])
    }

    /// The innermost axis.
    fn run(&self) -> Axis {
        self.axes.last().copied().unwrap_or(Axis { extent: 1, steps: [0, 0] })
    }

    /// Where each run along the innermost axis begins in both operands.
    fn starts(&self) -> Starts<'_> {
        let outer = &self.axes[..self.axes.len().saturating_sub(1)];
        Starts { outer, index: vec![0; outer.len()], at: [0, 0] }
    }
}

/// Iterates over the beginnings of runs.
struct Starts<'a> {
    outer: &'a [Axis],
    index: Vec<usize>,
    at: [usize; 2],
}

impl Starts<'_> {
    /// The next beginning; there are as many as the outer axes have positions.
    fn advance(&mut self) -> [usize; 2] {
        let now = self.at;
        for (index, axis) in self.index.iter_mut().zip(self.outer).rev() {
            *index += 1;
            self.at = [0, 1].map(|s| self.at[s] + axis.steps[s]);
            if *index < axis.extent {
                break;
            }
            self.at = [0, 1].map(|s| self.at[s] - axis.steps[s] * axis.extent);
            *index = 0;
        }
        now
    }
}

vectorized! {
    fn zip<A: Element, B: Element, Y: Element, F: Fn(A, B) -> Y>(
        shape: &Broadcast,
        a: &[A],
        b: &[B],
        y: &mut [Y],
        f: F,
    ) {
        let run = shape.run();
        let mut starts = shape.starts();
        for y in y.chunks_mut(run.extent.max(1)) {
            let [a_at, b_at] = starts.advance();
            match run.steps {
                [0, 0] => y.fill(f(a[a_at], b[b_at])),
                [0, _] => {
                    for (y, b) in y.iter_mut().zip(&b[b_at..]) {
                        *y = f(a[a_at], *b);
                    }
                }
                [_, 0] => {
                    for (y, a) in y.iter_mut().zip(&a[a_at..]) {
                        *y = f(*a, b[b_at]);
                    }
                }
                [_, _] => {
                    for ((y, a), b) in y.iter_mut().zip(&a[a_at..]).zip(&b[b_at..]) {
                        *y = f(*a, *b);
                    }
                }
            }
        }
    }
}

/// Largest magnitude of `x - zero`.
fn spread(dtype: DType, zero: i32) -> i128 {
    let [min, max, zero] = [dtype.min(), dtype.max(), i64::from(zero)].map(i128::from);
    (max - zero).max(zero - min)
}

/// Whether half a step and the output's zero can be added to `worst` in an `i32` that is then shifted.
fn is_narrow(worst: i128, shift: u32, y: &Quantised) -> bool {
    shift < 32 && worst + (1 << shift >> 1) + i128::from(y.zero).abs() <= i128::from(i32::MAX)
}

macro_rules! with_operands {
    ($a:expr, $b:expr, $y:expr, |$x:ident, $z:ident, $out:ident| $body:expr) => {
        with_element!($a, |$x| with_element!($b, |$z| with_element_mut!($y, |$out| $body)))
    };
}

/// [`Add`] of one sample.
///
/// # Panics
/// If lengths disagree with `shape`.
pub fn add(isa: Isa, op: &Add, shape: &Broadcast, a: View<'_>, b: View<'_>, y: ViewMut<'_>) {
    let side = |x: View<'_>, i: usize| spread(x.dtype(), op.zeros[i]) * i128::from(op.muls[i]).abs();
    let narrow = is_narrow(side(a, 0) + side(b, 1), op.shift, &op.y)
        && [a, b].iter().all(|x| matches!(x, View::I8(_) | View::I16(_)));
    let Quantised { zero, lo, hi, .. } = op.y;
    let (shift, [ma, mb]) = (op.shift, op.muls);
    let offset = (1i64 << shift >> 1)
        - i64::from(op.zeros[0]) * i64::from(ma)
        - i64::from(op.zeros[1]) * i64::from(mb);
    if narrow {
        let offset = i32::truncate(offset);
        return with_operands!(a, b, y, |a, b, y| zip(isa, shape, a, b, y, |a, b| {
            let sum = (a.low().wrapping_mul(ma)).wrapping_add(b.low().wrapping_mul(mb)).wrapping_add(offset);
            narrowed((sum >> shift).wrapping_add(zero).max(lo).min(hi))
        }));
    }
    let [ma, mb, zero, lo, hi] = [ma, mb, zero, lo, hi].map(i64::from);
    with_operands!(a, b, y, |a, b, y| zip(isa, shape, a, b, y, |a, b| {
        let sum = a.widen() * ma + b.widen() * mb + offset;
        wide((sum >> shift) + zero, lo, hi)
    }));
}

/// [`Mul`] of one sample.
///
/// # Panics
/// If lengths disagree with `shape`.
pub fn mul(isa: Isa, op: &Mul, shape: &Broadcast, a: View<'_>, b: View<'_>, y: ViewMut<'_>) {
    let Quantised { zero, lo, hi, .. } = op.y;
    let [za, zb, mul, zero, lo, hi] = [op.zeros[0], op.zeros[1], op.mul, zero, lo, hi].map(i64::from);
    let (shift, half) = (op.shift, 1i64 << op.shift >> 1);
    with_operands!(a, b, y, |a, b, y| zip(isa, shape, a, b, y, |a, b| {
        let product = (a.widen() - za) * (b.widen() - zb) * mul;
        wide(((product + half) >> shift).saturating_add(zero), lo, hi)
    }));
}

#[inline(always)]
fn narrowed<Y: Element>(value: i32) -> Y {
    Y::truncate32(value)
}

#[inline(always)]
fn wide<Y: Element>(value: i64, lo: i64, hi: i64) -> Y {
    Y::truncate(value.max(lo).min(hi))
}

/// `y = table[x - min]`, the table covering the whole type of `x`.
///
/// # Panics
/// If the table is too short, or types are not `i8` and `i16`.
pub fn table(x: View<'_>, table: View<'_>, y: ViewMut<'_>) {
    match (x, table, y) {
        (View::I8(x), View::I8(table), ViewMut::I8(y)) => look_up_i8(x, table, y),
        (View::I8(x), View::I16(table), ViewMut::I16(y)) => look_up_i8(x, table, y),
        (View::I16(x), View::I8(table), ViewMut::I8(y)) => look_up_i16(x, table, y),
        (View::I16(x), View::I16(table), ViewMut::I16(y)) => look_up_i16(x, table, y),
        _ => panic!("tables map i8 or i16 to i8 or i16"),
    }
}

fn look_up_i8<Y: Copy>(x: &[i8], table: &[Y], y: &mut [Y]) {
    let table: &[Y; 256] = table.try_into().expect("a table of i8 has 256 entries");
    for (y, x) in y.iter_mut().zip(x) {
        *y = table[usize::from(x.cast_unsigned() ^ 0x80)];
    }
}

fn look_up_i16<Y: Copy>(x: &[i16], table: &[Y], y: &mut [Y]) {
    assert_eq!(table.len(), 1 << 16, "a table of i16 has 65536 entries");
    for (y, x) in y.iter_mut().zip(x) {
        *y = table[usize::from(x.cast_unsigned() ^ 0x8000)];
    }
}
