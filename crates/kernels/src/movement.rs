//! Operators that only move values, of one sample.

use veracity_ops::{Pad, PadMode, Resize, Slice};

use crate::{Element, ValueError, View, ViewMut, with_element};

/// Values at `first + sum index[i] * steps[i]`, in row-major order of `index`.
struct Strided {
    first: usize,
    axes: Vec<(usize, isize)>,
}

impl Strided {
    /// Joins axes that step as one.
    fn new(first: usize, extents: &[usize], steps: &[isize]) -> Self {
        let mut axes: Vec<(usize, isize)> = Vec::new();
        for (&extent, &step) in extents.iter().zip(steps).filter(|(extent, _)| **extent != 1) {
            match axes.last_mut() {
                Some((outer, outer_step)) if *outer_step == step * signed(extent) => {
                    *outer *= extent;
                    *outer_step = step;
                }
                _ => axes.push((extent, step)),
            }
        }
        Self { first, axes }
    }

    fn copy<T: Copy>(&self, x: &[T], y: &mut [T]) {
        let (&(run, step), outer) = self.axes.split_last().unwrap_or((&(1, 1), &[]));
        let mut index = vec![0usize; outer.len()];
        let mut at = self.first;
        for y in y.chunks_mut(run.max(1)) {
            if step == 1 {
                y.copy_from_slice(&x[at..at + y.len()]);
            } else {
                let mut from = at;
                for y in y {
                    *y = x[from];
                    from = from.wrapping_add_signed(step);
                }
            }
            for (index, &(extent, step)) in index.iter_mut().zip(outer).rev() {
                *index += 1;
                at = at.wrapping_add_signed(step);
                if *index < extent {
                    break;
                }
                at = at.wrapping_add_signed(-step * signed(extent));
                *index = 0;
            }
        }
    }
}

fn signed(value: usize) -> isize {
    isize::try_from(value).expect("extents of tensors fit isize")
}

fn steps(shape: &[usize]) -> Vec<isize> {
    (0..shape.len()).map(|axis| signed(shape[axis + 1..].iter().product())).collect()
}

fn same_type<'a, T: Element>(_: &[T], y: ViewMut<'a>) -> &'a mut [T] {
    T::of_mut(y).expect("operand and result have one type")
}

/// Output axis `i` is operand axis `perm[i]`.
///
/// # Panics
/// If lengths or types disagree.
pub fn transpose(perm: &[usize], shape: &[usize], x: View<'_>, y: ViewMut<'_>) {
    let steps = steps(shape);
    let (extents, steps): (Vec<_>, Vec<_>) = perm.iter().map(|&axis| (shape[axis], steps[axis])).unzip();
    with_element!(x, |x| Strided::new(0, &extents, &steps).copy(x, same_type(x, y)));
}

/// [`Slice`] of a sample of shape `shape`.
///
/// # Panics
/// If lengths or types disagree.
pub fn slice(op: &Slice, shape: &[usize], x: View<'_>, y: ViewMut<'_>) {
    let positions = op.positions(shape[op.axis]);
    let Some(&start) = positions.first() else { return };
    let mut steps = steps(shape);
    let mut extents = shape.to_vec();
    extents[op.axis] = positions.len();
    let first = start * steps[op.axis].unsigned_abs();
    if let Some(next) = positions.get(1) {
        steps[op.axis] *= signed(*next) - signed(start);
    }
    with_element!(x, |x| Strided::new(first, &extents, &steps).copy(x, same_type(x, y)));
}

/// Copies operand `x` of a concatenation, whose rows of `x_len` values go to each row of `y_len` values at `at`.
///
/// # Panics
/// If lengths or types disagree.
pub fn concat_part(x: View<'_>, x_len: usize, y: ViewMut<'_>, y_len: usize, at: usize) {
    if x_len == 0 || y_len == 0 {
        return;
    }
    with_element!(x, |x| {
        let y = same_type(x, y);
        y.chunks_mut(y_len).zip(x.chunks(x_len)).for_each(|(y, x)| y[at..at + x_len].copy_from_slice(x));
    });
}

/// For each output position along one axis, the operand's position, or `None` for padding.
pub type AxisMap = Vec<Option<usize>>;

/// The maps of a [`Pad`] of a sample of shape `shape`, and the value that stands for `None`.
#[must_use]
pub fn pad_maps(op: &Pad, shape: &[usize]) -> (Vec<AxisMap>, i64) {
    let source = |axis: usize, out: usize| {
        let (begin, extent) = (op.begin[axis], shape[axis]);
        let inside = out.checked_sub(begin).filter(|&at| at < extent);
        match op.mode {
            PadMode::Constant(_) => inside,
            PadMode::Edge => Some(out.saturating_sub(begin).min(extent.saturating_sub(1))),
            PadMode::Reflect if out < begin => Some(begin - out),
            PadMode::Reflect => {
                inside.or_else(|| Some((2 * extent.saturating_sub(1)).saturating_sub(out - begin)))
            }
        }
    };
    let fill = if let PadMode::Constant(v) = op.mode { i64::from(v) } else { 0 };
    let len = |axis: usize| shape[axis] + op.begin[axis] + op.end[axis];
    let map = |axis: usize| (0..len(axis)).map(|out| source(axis, out)).collect();
    ((0..shape.len()).map(map).collect(), fill)
}

/// The maps of a [`Resize`] from shape `shape` to shape `out`.
#[must_use]
pub fn resize_maps(op: &Resize, shape: &[usize], out: &[usize]) -> Vec<AxisMap> {
    let map = |(&i, &o): (&usize, &usize)| (0..o).map(|at| Some(op.source(i, o, at))).collect();
    shape.iter().zip(out).map(map).collect()
}

/// Output axis `i` takes the positions `maps[i]` of an operand of shape `shape`.
///
/// # Panics
/// If lengths or types disagree.
pub fn select(maps: &[AxisMap], fill: i64, shape: &[usize], x: View<'_>, y: ViewMut<'_>) {
    let is_whole = |axis: usize| maps[axis].iter().copied().eq((0..shape[axis]).map(Some));
    let n_whole = (0..shape.len()).rev().take_while(|&axis| is_whole(axis)).count();
    let outer = shape.len() - n_whole;
    let run: usize = shape[outer..].iter().product();
    with_element!(x, |x| {
        let y = same_type(x, y);
        let fill = fill_as(x, fill);
        select_runs(&maps[..outer], &shape[..outer], run, fill, x, y);
    });
}

fn fill_as<T: Element>(_: &[T], fill: i64) -> T {
    T::truncate(fill)
}

fn select_runs<T: Copy>(maps: &[AxisMap], shape: &[usize], run: usize, fill: T, x: &[T], y: &mut [T]) {
    let mut index = vec![0usize; maps.len()];
    for y in y.chunks_mut(run.max(1)) {
        let at = index
            .iter()
            .zip(maps)
            .zip(shape)
            .try_fold(0, |at, ((&i, map), extent)| Some(at * extent + map[i]?));
        match at {
            Some(at) => y.copy_from_slice(&x[at * run..][..y.len()]),
            None => y.fill(fill),
        }
        for (index, map) in index.iter_mut().zip(maps).rev() {
            *index += 1;
            if *index < map.len() {
                break;
            }
            *index = 0;
        }
    }
}

/// `y[a, i, b] = data[a, indices[i], b]` for `data` of shape `[outer, extent, inner]`.
///
/// # Errors
/// [`ValueError::Index`] if an index is outside `-extent..extent`.
///
/// # Panics
/// If lengths or types disagree.
pub fn gather(
    [outer, extent, inner]: [usize; 3],
    data: View<'_>,
    indices: &[i32],
    y: ViewMut<'_>,
) -> Result<(), ValueError> {
    if outer == 0 {
        return Ok(());
    }
    let n = i64::try_from(extent).expect("tensors have at most 2^31 elements");
    let position = |&index: &i32| {
        let (value, lo, hi) = (i64::from(index), -n, n - 1);
        let at = if value < 0 { value + n } else { value };
        let at = usize::try_from(at).ok().filter(|at| *at < extent);
        at.ok_or(ValueError::Index { value, lo, hi })
    };
    let positions: Vec<usize> = indices.iter().map(position).collect::<Result<_, _>>()?;
    if y.is_empty() {
        return Ok(());
    }
    with_element!(data, |data| {
        let runs = (0..outer).flat_map(|a| positions.iter().map(move |p| (a * extent + p) * inner));
        same_type(data, y)
            .chunks_mut(inner)
            .zip(runs)
            .for_each(|(y, at)| y.copy_from_slice(&data[at..at + inner]));
    });
    Ok(())
}
