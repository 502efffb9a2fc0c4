//! Pooling over windows, channels last.

use std::ops::Range;

use veracity_ops::{AvgPool, Window, round_div};

use crate::{Element, Isa, View, ViewMut, vectorized, with_element, with_element_mut};

/// Positions of a window along one axis: those inside the input, and how many lie inside the padded input.
#[derive(Debug, Clone, Copy)]
struct Taps {
    first: usize,
    count: usize,
    step: usize,
    padded: usize,
}

impl Taps {
    fn new(window: &Window, axis: usize, size: usize, out: usize) -> Self {
        let (first, step, pad) = (out * window.strides[axis], window.dilations[axis], window.pads[axis]);
        // Taps before position `end` of the padded input.
        let before = |end: usize| end.saturating_sub(first).div_ceil(step).min(window.kernel[axis]);
        let (outside, inside) = (before(pad), before(pad + size));
        let padded = before(pad + size + window.pads[axis + 2]);
        Self { first: (first + outside * step).saturating_sub(pad), count: inside - outside, step, padded }
    }

    fn inside(self) -> impl Iterator<Item = usize> {
        (0..self.count).map(move |tap| self.first + tap * self.step)
    }
}

/// Geometry of pooling an `[h, w, c]` image.
#[derive(Debug, Clone, Copy)]
pub struct Pooled<'a> {
    /// The window.
    pub window: &'a Window,
    /// Height, width and channels of one image.
    pub x: [usize; 3],
    /// Output height and width.
    pub y: [usize; 2],
}

impl Pooled<'_> {
    fn columns(&self) -> Vec<Taps> {
        (0..self.y[1]).map(|ox| Taps::new(self.window, 1, self.x[1], ox)).collect()
    }

    /// Values of one image per line of the output, with the rows of its windows.
    fn image<'x, X>(&self, x: &'x [X], line: usize) -> (&'x [X], Taps) {
        let len = self.x.iter().product::<usize>();
        (&x[line / self.y[0] * len..][..len], Taps::new(self.window, 0, self.x[0], line % self.y[0]))
    }

    #[inline(always)]
    fn pixel<'x, X>(&self, x: &'x [X], iy: usize, ix: usize) -> &'x [X] {
        &x[(iy * self.x[1] + ix) * self.x[2]..][..self.x[2]]
    }
}

/// Largest value of each window, for output lines `lines` counted over all images.
///
/// # Panics
/// If lengths or types disagree.
pub fn max_pool(isa: Isa, shape: &Pooled<'_>, x: View<'_>, lines: Range<usize>, y: ViewMut<'_>) {
    with_element!(x, |x| max_lines(isa, shape, x, lines, same_type(x, y)));
}

fn same_type<'a, X: Element>(_: &[X], y: ViewMut<'a>) -> &'a mut [X] {
    X::of_mut(y).expect("operand and result have one type")
}

/// Channels that are compared at a time: of few channels, more than there are, and the rest is overwritten.
const FEW: usize = 16;
const MANY: usize = 64;

vectorized! {
    /// First down the columns, whole lines at a time, then along the line.
    fn max_lines<X: Element>(shape: &Pooled<'_>, x: &[X], lines: Range<usize>, y: &mut [X]) {
        let (columns, c) = (shape.columns(), shape.x[2]);
        let lowest = X::truncate(X::DTYPE.min());
        let (x_len, y_len) = (shape.x[1] * c, shape.y[1] * c);
        let mut tallest = vec![lowest; x_len + MANY];
        let mut widest = vec![lowest; y_len + MANY];
        for (line, y) in lines.zip(y.chunks_mut(y_len.max(1))) {
            let (x, rows) = shape.image(x, line);
            let mut lines = rows.inside().map(|iy| &x[iy * x_len..][..x_len]);
            match lines.next() {
                Some(line) => tallest[..x_len].copy_from_slice(line),
                None => tallest.fill(lowest),
            }
            lines.for_each(|line| raise(&mut tallest, line));
            if c <= FEW {
                max_columns::<_, FEW>(&columns, c, &tallest, &mut widest);
            } else {
                max_columns::<_, MANY>(&columns, c, &tallest, &mut widest);
            }
            y.copy_from_slice(&widest[..y_len]);
        }
    }
}

/// Largest values along a line, `N` channels at a time; both slices have `N` more values than a line.
#[inline(always)]
fn max_columns<X: Element, const N: usize>(columns: &[Taps], c: usize, x: &[X], y: &mut [X]) {
    let lowest = X::truncate(X::DTYPE.min());
    for (ox, taps) in columns.iter().enumerate() {
        for channel in (0..c).step_by(N) {
            let mut most = [lowest; N];
            for tap in 0..taps.count {
                let at = (taps.first + tap * taps.step) * c + channel;
                raise(&mut most, &x[at..at + N]);
            }
            y[ox * c + channel..][..N].copy_from_slice(&most);
        }
    }
}

#[inline(always)]
fn raise<X: Element>(y: &mut [X], x: &[X]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = if *x > *y { *x } else { *y };
    }
}

/// [`AvgPool`] for output lines `lines` counted over all images.
///
/// # Panics
/// If lengths or types disagree.
pub fn avg_pool(
    isa: Isa,
    op: &AvgPool,
    shape: &Pooled<'_>,
    x: View<'_>,
    lines: Range<usize>,
    y: ViewMut<'_>,
) {
    with_element!(x, |x| with_element_mut!(y, |y| mean_lines(isa, op, shape, x, lines, y)));
}

vectorized! {
    fn mean_lines<X: Element, Y: Element>(
        op: &AvgPool,
        shape: &Pooled<'_>,
        x: &[X],
        lines: Range<usize>,
        y: &mut [Y],
    ) {
        let columns = shape.columns();
        let mut sums = vec![0i64; shape.x[2]];
        for (line, y) in lines.zip(y.chunks_mut((shape.y[1] * shape.x[2]).max(1))) {
            let (x, rows) = shape.image(x, line);
            for (column, y) in columns.iter().zip(y.chunks_mut(shape.x[2])) {
                sums.fill(0);
                for iy in rows.inside() {
                    for ix in column.inside() {
                        for (sum, x) in sums.iter_mut().zip(shape.pixel(x, iy, ix)) {
                            *sum += x.widen();
                        }
                    }
                }
                let inside = signed(rows.count * column.count);
                let padded = signed(rows.padded * column.padded);
                let count = if op.count_pads { padded } else { inside };
                let (zeros, divisor) = (inside * i64::from(op.x_zero), count.max(1) << op.shift);
                for (y, sum) in y.iter_mut().zip(&sums) {
                    let mean = round_div((sum - zeros) * i64::from(op.mul), divisor);
                    *y = Y::truncate(op.y.finish(mean));
                }
            }
        }
    }
}

fn signed(n: usize) -> i64 {
    i64::try_from(n).expect("windows have few positions")
}
