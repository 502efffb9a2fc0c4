//! Pooling over windows, channels last.

use std::ops::Range;

use veracity_ops::{AvgPool, Window, round_div};

use crate::{Element, Isa, View, ViewMut, vectorized, with_element, with_element_mut};

/// Positions of a window along one axis: those inside the input, and how many lie inside the padded input.
struct Taps {
    inside: Vec<usize>,
    padded: usize,
}

fn taps(window: &Window, axis: usize, size: usize, out: usize) -> Taps {
    let first = out * window.strides[axis];
    let at = (0..window.kernel[axis]).map(|k| first + k * window.dilations[axis]);
    let begin = window.pads[axis];
    let inside = at.clone().filter(|p| (begin..begin + size).contains(p)).map(|p| p - begin).collect();
    let padded = at.filter(|&p| p < begin + size + window.pads[axis + 2]).count();
    Taps { inside, padded }
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
        (0..self.y[1]).map(|ox| taps(self.window, 1, self.x[1], ox)).collect()
    }

    /// Values of one image per line of the output, with the rows of its windows.
    fn image<'x, X>(&self, x: &'x [X], line: usize) -> (&'x [X], Taps) {
        let len = self.x.iter().product::<usize>();
        (&x[line / self.y[0] * len..][..len], taps(self.window, 0, self.x[0], line % self.y[0]))
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

vectorized! {
    /// First down the columns, whole lines at a time, then along the line.
    fn max_lines<X: Element>(shape: &Pooled<'_>, x: &[X], lines: Range<usize>, y: &mut [X]) {
        let (columns, c) = (shape.columns(), shape.x[2]);
        let lowest = X::truncate(X::DTYPE.min());
        let mut tallest = vec![lowest; shape.x[1] * c];
        for (line, y) in lines.zip(y.chunks_mut((shape.y[1] * c).max(1))) {
            let (x, rows) = shape.image(x, line);
            tallest.fill(lowest);
            for iy in &rows.inside {
                raise(&mut tallest, &x[iy * shape.x[1] * c..]);
            }
            for (column, y) in columns.iter().zip(y.chunks_mut(c)) {
                y.fill(lowest);
                for ix in &column.inside {
                    raise(y, &tallest[ix * c..]);
                }
            }
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
                for iy in &rows.inside {
                    for ix in &column.inside {
                        for (sum, x) in sums.iter_mut().zip(shape.pixel(x, *iy, *ix)) {
                            *sum += x.widen();
                        }
                    }
                }
                let inside = signed(rows.inside.len() * column.inside.len());
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
