//! One step of a plan: an operator with its geometry and packed constants, applied to a group of samples.

use std::sync::Arc;

use veracity_kernels::{
    AxisMap, Broadcast, Columns, Depthwise, Isa, Layout, Linear, Patches, Pooled, Requantiser, Rows,
    ValueError, View, ViewMut, add, arg_max, avg_pool, concat_part, gather, max_pool, mul, quant_row, reduce,
    select, slice, softmax, table, transpose,
};
use veracity_ops::{Add, ArgMax, AvgPool, Mul, QuantRow, Reduce, Slice, Softmax, Window};

use crate::workers::Workers;

/// Rows of a product are divided among threads in multiples of a tile's.
const ROWS_MULTIPLE: usize = 6;

/// Packed constants of a node; they do not depend on shapes.
#[derive(Debug)]
pub(crate) enum Packed {
    /// One product per group.
    Linear(Vec<Linear>),
    Depthwise(Box<Depthwise>),
    Requant(Requantiser),
}

/// What a step does. Shapes are those of one sample.
#[derive(Debug)]
pub(crate) enum Action {
    /// The output has no values.
    Nothing,
    MatMul {
        packed: Arc<Packed>,
        k: usize,
    },
    /// One layout per group; none for a depthwise convolution.
    Conv {
        packed: Arc<Packed>,
        patches: Patches,
        layouts: Vec<Layout>,
    },
    Requant {
        packed: Arc<Packed>,
    },
    Table,
    Add {
        op: Add,
        shape: Broadcast,
    },
    Mul {
        op: Mul,
        shape: Broadcast,
    },
    QuantRow {
        op: QuantRow,
        len: usize,
    },
    Softmax {
        op: Softmax,
        len: usize,
    },
    MaxPool {
        window: Window,
        x: [usize; 3],
        y: [usize; 2],
    },
    AvgPool {
        op: AvgPool,
        x: [usize; 3],
        y: [usize; 2],
    },
    Reduce {
        op: Reduce,
        shape: Vec<usize>,
    },
    ArgMax {
        op: ArgMax,
        shape: Vec<usize>,
    },
    Transpose {
        perm: Vec<usize>,
        shape: Vec<usize>,
    },
    /// Length of a row of each operand.
    Concat {
        rows: Vec<usize>,
    },
    Slice {
        op: Slice,
        shape: Vec<usize>,
    },
    Select {
        maps: Vec<AxisMap>,
        fill: i64,
        shape: Vec<usize>,
    },
    Gather {
        sizes: [usize; 3],
    },
}

/// An operand: values of a group of samples, or a constant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operand<'a> {
    pub(crate) values: View<'a>,
    /// Length of one sample; `None` for a constant.
    pub(crate) sample_len: Option<usize>,
}

impl<'a> Operand<'a> {
    /// The values of sample `index` of the group.
    fn sample(&self, index: usize) -> View<'a> {
        match self.sample_len {
            Some(len) => self.values.slice(index * len..(index + 1) * len),
            None => self.values,
        }
    }
}

/// Where and how an action runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context {
    pub(crate) isa: Isa,
    pub(crate) workers: Workers,
    /// Number of samples.
    pub(crate) n: usize,
}

impl Action {
    /// Computes the outputs `y` of a group of samples.
    pub(crate) fn perform(
        &self,
        at: Context,
        x: &[Operand<'_>],
        y: &mut [ViewMut<'_>],
    ) -> Result<(), ValueError> {
        // Kernels over a whole group expect one operand per sample, so a constant is taken for one sample at a time.
        if at.n > 1 && x[0].sample_len.is_none() {
            return self.perform_each(at, x, y);
        }
        match (self, y) {
            (Self::QuantRow { op, len }, [q, m]) => quant_rows(at.isa, op, *len, x[0].values, q, m),
            (_, [y]) => self.perform_one(at, x, y.reborrow())?,
            (_, _) => unreachable!("only QuantRow has two outputs"),
        }
        Ok(())
    }

    fn perform_each(&self, at: Context, x: &[Operand<'_>], y: &mut [ViewMut<'_>]) -> Result<(), ValueError> {
        let split = |y: &mut ViewMut<'_>| y.len().checked_div(at.n).unwrap_or(0);
        let lens: Vec<usize> = y.iter_mut().map(split).collect();
        let mut pieces: Vec<_> =
            y.iter_mut().zip(lens).map(|(y, n)| y.reborrow().chunks(n).into_iter()).collect();
        for sample in 0..at.n {
            let x: Vec<Operand<'_>> = x.iter().map(|x| Operand { values: x.sample(sample), ..*x }).collect();
            let mut y: Vec<ViewMut<'_>> = pieces.iter_mut().filter_map(Iterator::next).collect();
            self.perform(Context { n: 1, ..at }, &x, &mut y)?;
        }
        Ok(())
    }

    fn perform_one(&self, at: Context, x: &[Operand<'_>], y: ViewMut<'_>) -> Result<(), ValueError> {
        let Context { isa, workers, n } = at;
        let y_len = y.len().checked_div(n).unwrap_or(0);
        // Applies a kernel of one sample to each.
        let each = |y: ViewMut<'_>, f: &(dyn Fn(usize, ViewMut<'_>) + Sync)| {
            workers.split(y, y_len, 1, y_len, |samples, y| {
                samples.zip(y.chunks(y_len)).for_each(|(sample, y)| f(sample, y));
            });
        };
        match self {
            Self::Nothing => {}
            Self::MatMul { packed, k } => mat_mul(workers, packed, *k, x[0].values, y),
            Self::Conv { packed, patches, layouts } => {
                conv(workers, packed, (patches, layouts), x[0].values, y);
            }
            Self::Requant { packed } => {
                let Packed::Requant(requantiser) = &**packed else { unreachable!("packed for Requant") };
                requantiser.apply(isa, x[0].values, y)?;
            }
            Self::Table => table(x[0].values, x[1].values, y),
            Self::Add { op, shape } if shape.is_flat() && x.iter().all(|x| x.sample_len.is_some()) => {
                workers.split(y, 1, 64, 1, |range, y| {
                    let flat = Broadcast::new(&[range.len()], &[range.len()], &[range.len()]);
                    add(isa, op, &flat, x[0].values.slice(range.clone()), x[1].values.slice(range), y);
                });
            }
            Self::Add { op, shape } => {
                each(y, &|s, y| add(isa, op, shape, x[0].sample(s), x[1].sample(s), y));
            }
            Self::Mul { op, shape } => {
                each(y, &|s, y| mul(isa, op, shape, x[0].sample(s), x[1].sample(s), y));
            }
            Self::QuantRow { .. } => unreachable!("QuantRow has two outputs"),
            Self::Softmax { op, len } => {
                let View::I32(table) = x[1].values else { unreachable!("softmax tables are i32") };
                softmax(isa, op, *len, table, x[0].values, y);
            }
            Self::MaxPool { window, x: shape, y: out } => {
                let pooled = Pooled { window, x: *shape, y: *out };
                let line = out[1] * shape[2];
                let work = line * window.kernel[0] * window.kernel[1];
                workers.split(y, line, 1, work, |lines, y| max_pool(isa, &pooled, x[0].values, lines, y));
            }
            Self::AvgPool { op, x: shape, y: out } => {
                let pooled = Pooled { window: &op.window, x: *shape, y: *out };
                let line = out[1] * shape[2];
                let work = line * op.window.kernel[0] * op.window.kernel[1];
                workers.split(y, line, 1, work, |lines, y| avg_pool(isa, op, &pooled, x[0].values, lines, y));
            }
            Self::Reduce { op, shape } => each(y, &|s, y| reduce(isa, op, shape, x[0].sample(s), y)),
            Self::ArgMax { op, shape } => each(y, &|s, y| {
                let ViewMut::I32(y) = y else { unreachable!("indices are i32") };
                arg_max(op, shape, x[0].sample(s), y);
            }),
            Self::Transpose { perm, shape } => each(y, &|s, y| transpose(perm, shape, x[0].sample(s), y)),
            Self::Concat { rows } => each(y, &|s, y| concat(rows, x, s, y)),
            Self::Slice { op, shape } => each(y, &|s, y| slice(op, shape, x[0].sample(s), y)),
            Self::Select { maps, fill, shape } => {
                each(y, &|s, y| select(maps, *fill, shape, x[0].sample(s), y));
            }
            Self::Gather { sizes } => gather_samples(n, *sizes, x, y)?,
        }
        Ok(())
    }
}

fn mat_mul(workers: Workers, packed: &Packed, k: usize, x: View<'_>, y: ViewMut<'_>) {
    let Packed::Linear(groups) = packed else { unreachable!("packed for MatMul") };
    let [linear] = groups.as_slice() else { unreachable!("MatMul has one group") };
    let n = linear.n();
    workers.split(y, n, ROWS_MULTIPLE, k * n, |rows, y| {
        linear.apply(Rows::Contiguous(x), rows, Columns { y, column: 0, stride: n });
    });
}

fn conv(
    workers: Workers,
    packed: &Packed,
    (patches, layouts): (&Patches, &[Layout]),
    x: View<'_>,
    y: ViewMut<'_>,
) {
    let row_work = patches.k();
    match packed {
        Packed::Depthwise(depthwise) => {
            let line = patches.y[1] * patches.x[2];
            workers.split(y, line, 2, line * row_work, |lines, y| depthwise.apply(x, patches, lines, y));
        }
        Packed::Linear(groups) => {
            let stride: usize = groups.iter().map(Linear::n).sum();
            workers.split(y, stride, ROWS_MULTIPLE, stride * row_work, |rows, mut y| {
                let mut column = 0;
                for (linear, layout) in groups.iter().zip(layouts) {
                    let columns = Columns { y: y.reborrow(), column, stride };
                    linear.apply(Rows::Patches(x, layout), rows.clone(), columns);
                    column += linear.n();
                }
            });
        }
        Packed::Requant(_) => unreachable!("packed for Conv"),
    }
}

fn quant_rows(isa: Isa, op: &QuantRow, len: usize, x: View<'_>, q: &mut ViewMut<'_>, m: &mut ViewMut<'_>) {
    let (View::I32(x), ViewMut::I32(m)) = (x, m.reborrow()) else { unreachable!("QuantRow takes i32") };
    quant_row(isa, op, len, x, q.reborrow(), m);
}

fn concat(rows: &[usize], x: &[Operand<'_>], sample: usize, mut y: ViewMut<'_>) {
    let y_len = rows.iter().sum();
    let mut at = 0;
    for (x, &len) in x.iter().zip(rows) {
        concat_part(x.sample(sample), len, y.reborrow(), y_len, at);
        at += len;
    }
}

fn gather_samples(n: usize, sizes: [usize; 3], x: &[Operand<'_>], y: ViewMut<'_>) -> Result<(), ValueError> {
    let y_len = y.len().checked_div(n).unwrap_or(0);
    let mut pieces = y.chunks(y_len).into_iter();
    for sample in 0..n {
        let View::I32(indices) = x[1].sample(sample) else { unreachable!("indices are i32") };
        let y = pieces.next().unwrap_or(ViewMut::I8(&mut []));
        gather(sizes, x[0].sample(sample), indices, y)?;
    }
    Ok(())
}
