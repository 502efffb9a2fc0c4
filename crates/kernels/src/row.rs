//! Operators that rescale or normalise each row by itself.

use veracity_ops::{QUANT_ROW_SHIFT, QuantRow, Softmax, round_div};

use crate::{Element, Isa, View, ViewMut, vectorized, with_element, with_element_mut};

/// [`QuantRow`] of rows of `len` values: the quantised values and each row's `m`.
///
/// # Panics
/// If lengths or types disagree.
pub fn quant_row(isa: Isa, op: &QuantRow, len: usize, x: &[i32], q: ViewMut<'_>, m: &mut [i32]) {
    let q_max = op.q_max();
    if len == 0 {
        return m.fill(1);
    }
    with_element_mut!(q, |q| quantise_rows(isa, q_max, len, x, q, m));
}

vectorized! {
    fn quantise_rows<Q: Element>(q_max: i64, len: usize, x: &[i32], q: &mut [Q], m: &mut [i32]) {
        for ((q, x), m) in q.chunks_mut(len).zip(x.chunks(len)).zip(m) {
            *m = quantise(q_max, x, q);
        }
    }
}

#[inline(always)]
fn quantise<Q: Element>(q_max: i64, x: &[i32], q: &mut [Q]) -> i32 {
    let mut m = 1;
    for x in x {
        m = x.max(&-i32::MAX).abs().max(m);
    }
    let r = (q_max << QUANT_ROW_SHIFT) / i64::from(m);
    for (q, x) in q.iter_mut().zip(x) {
        let product = i64::from(*x.max(&-i32::MAX)) * r;
        *q = Q::truncate((product + (1 << (QUANT_ROW_SHIFT - 1))) >> QUANT_ROW_SHIFT);
    }
    m
}

/// [`Softmax`] of rows of `len` values.
///
/// # Panics
/// If lengths or types disagree, or the table is empty.
pub fn softmax(isa: Isa, op: &Softmax, len: usize, table: &[i32], x: View<'_>, y: ViewMut<'_>) {
    with_element!(x, |x| with_element_mut!(y, |y| softmax_rows(isa, op, len.max(1), table, x, y)));
}

vectorized! {
    fn softmax_rows<X: Element, Y: Element>(op: &Softmax, len: usize, table: &[i32], x: &[X], y: &mut [Y]) {
        let mut e = vec![0i64; len];
        for (y, x) in y.chunks_mut(len).zip(x.chunks(len)) {
            softmax_row(op, table, x, &mut e, y);
        }
    }
}

#[inline(always)]
fn softmax_row<X: Element, Y: Element>(op: &Softmax, table: &[i32], x: &[X], e: &mut [i64], y: &mut [Y]) {
    let max: i64 = x.iter().copied().max().map_or(0, X::widen);
    let last = i64::try_from(table.len() - 1).expect("tables are short");
    for (e, x) in e.iter_mut().zip(x) {
        let index = ((max - x.widen()) >> op.shift).min(last);
        *e = i64::from(table[usize::try_from(index).expect("distances to the maximum are not negative")]);
    }
    let sum: i64 = e.iter().sum();
    for (y, e) in y.iter_mut().zip(e) {
        *y = Y::truncate(op.y.finish(round_div(*e << op.one_bits, sum)));
    }
}
