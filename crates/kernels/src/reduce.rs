//! Reductions of one sample over axes.

use veracity_ops::{ArgMax, Reduce, ReduceKind, round_div};

use crate::{Element, Isa, View, ViewMut, vectorized, with_element, with_element_mut};

/// [`Reduce`] of one sample of shape `shape`.
///
/// # Panics
/// If lengths disagree.
pub fn reduce(isa: Isa, op: &Reduce, shape: &[usize], x: View<'_>, y: ViewMut<'_>) {
    let n_reduced: usize = op.axes.iter().map(|&a| shape[a]).product();
    let is_max = op.kind == ReduceKind::Max;
    let count = i64::try_from(n_reduced).expect("tensors have at most 2^31 elements");
    let (start, zeros) = if is_max { (i64::MIN, 1) } else { (0, count) };
    let divisor = if op.kind == ReduceKind::Mean { count << op.shift } else { 1 << op.shift };
    let mut acc = vec![start; y.len()];
    with_element!(x, |x| match is_max {
        true => fold(isa, shape, &op.axes, x, &mut acc, i64::max),
        false => fold(isa, shape, &op.axes, x, &mut acc, |acc, x| acc + x),
    });
    with_element_mut!(y, |y| finish(op, zeros, divisor, &acc, y));
}

fn finish<Y: Element>(op: &Reduce, zeros: i64, divisor: i64, acc: &[i64], y: &mut [Y]) {
    for (y, acc) in y.iter_mut().zip(acc) {
        let v = acc - zeros * i64::from(op.x_zero);
        *y = Y::truncate(op.y.finish(round_div(v * i64::from(op.mul), divisor)));
    }
}

vectorized! {
    /// Folds each value of `x` into its output, line by line of the last axis.
    fn fold<X: Element, F: Fn(i64, i64) -> i64>(shape: &[usize], axes: &[usize], x: &[X], acc: &mut [i64], f: F) {
        let Some((&line, outer)) = shape.split_last() else { return };
        let reduces_line = axes.contains(&outer.len());
        let steps = output_steps(shape, axes);
        let mut index = vec![0usize; outer.len()];
        let mut at = 0;
        for x in x.chunks(line.max(1)) {
            if reduces_line {
                let mut sum = acc[at];
                for x in x {
                    sum = f(sum, x.widen());
                }
                acc[at] = sum;
            } else {
                for (acc, x) in acc[at..at + line].iter_mut().zip(x) {
                    *acc = f(*acc, x.widen());
                }
            }
            for ((index, step), extent) in index.iter_mut().zip(&steps).zip(outer).rev() {
                *index += 1;
                at += step;
                if *index < *extent {
                    break;
                }
                at -= step * extent;
                *index = 0;
            }
        }
    }
}

/// How far the output moves with each axis of the operand.
fn output_steps(shape: &[usize], axes: &[usize]) -> Vec<usize> {
    let mut step = 1;
    let mut steps = vec![0; shape.len()];
    for axis in (0..shape.len()).rev().filter(|axis| !axes.contains(axis)) {
        steps[axis] = step;
        step *= shape[axis];
    }
    steps
}

/// [`ArgMax`] of one sample of shape `shape`.
///
/// # Panics
/// If lengths disagree.
pub fn arg_max(op: &ArgMax, shape: &[usize], x: View<'_>, y: &mut [i32]) {
    let inner: usize = shape[op.axis + 1..].iter().product();
    let extent = shape[op.axis];
    with_element!(x, |x| for (i, y) in y.iter_mut().enumerate() {
        let first = i / inner * extent * inner + i % inner;
        *y = i32::truncate(best(op.last, x[first..].iter().step_by(inner).take(extent)));
    });
}

fn best<'a, X: Element>(last: bool, mut values: impl Iterator<Item = &'a X>) -> i64 {
    let Some(first) = values.next() else { return 0 };
    let (mut best, mut largest) = (0, *first);
    for (i, &x) in (1..).zip(values) {
        if x > largest || (last && x == largest) {
            (best, largest) = (i, x);
        }
    }
    best
}
