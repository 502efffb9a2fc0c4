//! Reductions over axes.

use crate::{
    DType, OpError, Quantised, Tensor, TensorType,
    error::{check_arity, check_range, shape_error},
    requant::MUL_MAX,
    round::{check_magnitude, round_div, spread},
};

/// What a [`Reduce`] computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReduceKind {
    /// The sum.
    Sum,
    /// The mean: the divisor is the number of values reduced.
    Mean,
    /// The maximum.
    Max,
}

/// Reduces `axes`, which keep extent 1; a [`Reshape`](crate::Reshape) removes them.
///
/// With `n` the number of reduced values for a mean and 1 otherwise, and `v` the sum of `x - x_zero` (or the maximum of
/// `x - x_zero`): `y = clamp(y.zero + round_div(v * mul, n << shift))`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reduce {
    /// Sum, mean or maximum.
    pub kind: ReduceKind,
    /// Reduced axes, strictly ascending.
    pub axes: Vec<usize>,
    /// Integer that stands for real zero in `x`.
    pub x_zero: i32,
    /// Multiplier, `1..=32767`.
    pub mul: i32,
    /// Shift of the divisor, `0..=31`.
    pub shift: u32,
    /// The output.
    pub y: Quantised,
}

/// Index of the largest value along `axis`, which keeps extent 1; among equals the first, or with `last` the last.
/// The output is `i32`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgMax {
    /// Reduced axis.
    pub axis: usize,
    /// Whether the last of equals wins.
    pub last: bool,
}

/// Positions of the reduced values of each output position, in row-major order of both.
fn groups(shape: &[usize], axes: &[usize]) -> Vec<Vec<usize>> {
    if shape.contains(&0) {
        return Vec::new();
    }
    let mut out = vec![vec![0usize]];
    for (i, &extent) in shape.iter().enumerate() {
        let step = |p: &usize, k: usize| p * extent + k;
        out = if axes.contains(&i) {
            let all = |g: &Vec<usize>| g.iter().flat_map(|p| (0..extent).map(move |k| step(p, k))).collect();
            out.iter().map(all).collect()
        } else {
            let one = |g: &Vec<usize>, k: usize| g.iter().map(|p| step(p, k)).collect();
            out.iter().flat_map(|g| (0..extent).map(move |k| one(g, k))).collect()
        };
    }
    out
}

fn reduced_shape(op: &'static str, x: &TensorType, axes: &[usize]) -> Result<Vec<usize>, OpError> {
    let ascending = axes.windows(2).all(|w| w[0] < w[1]);
    if !ascending || axes.is_empty() || axes.last().is_some_and(|&a| a >= x.shape.len()) {
        return Err(shape_error(op, "axes must be ascending and inside the rank", &[&x.shape, axes]));
    }
    if axes.iter().any(|&a| x.shape[a] == 0) {
        return Err(shape_error(op, "a reduced axis is empty", &[&x.shape, axes]));
    }
    Ok(x.shape.iter().enumerate().map(|(i, &d)| if axes.contains(&i) { 1 } else { d }).collect())
}

impl Reduce {
    fn divisor(&self, x: &TensorType) -> usize {
        match self.kind {
            ReduceKind::Mean => self.axes.iter().map(|&a| x.shape[a]).product(),
            ReduceKind::Sum | ReduceKind::Max => 1,
        }
    }

    pub(crate) fn infer(&self, inputs: &[&TensorType]) -> Result<TensorType, OpError> {
        const OP: &str = "Reduce";
        check_arity(OP, inputs.len(), 1, 1)?;
        self.y.check(OP)?;
        check_range(OP, "mul", i64::from(self.mul), 1..=MUL_MAX)?;
        check_range(OP, "shift", i64::from(self.shift), 0..=31)?;
        let x = inputs[0];
        if x.dtype == DType::I64 {
            return Err(OpError::Type { op: OP, operand: 0, expected: "i8, i16 or i32", found: x.dtype });
        }
        check_range(OP, "x_zero", i64::from(self.x_zero), x.dtype.min()..=x.dtype.max())?;
        let shape = reduced_shape(OP, x, &self.axes)?;
        let terms = match self.kind {
            ReduceKind::Sum | ReduceKind::Mean => self.axes.iter().map(|&a| x.shape[a]).product(),
            ReduceKind::Max => 1,
        };
        let terms = i128::try_from(terms).unwrap_or(i128::MAX >> 64);
        check_magnitude(OP, i128::from(spread(x.dtype, self.x_zero)) * terms * i128::from(self.mul), 62)?;
        TensorType::new(self.y.dtype, shape)
    }

    pub(crate) fn eval(&self, inputs: &[&Tensor]) -> Result<Tensor, OpError> {
        let types: Vec<_> = inputs.iter().map(|t| t.ty()).collect();
        let y = self.infer(&types)?;
        let x = inputs[0].values();
        let divisor = i64::try_from(self.divisor(types[0])).unwrap_or(1) << self.shift;
        let one = |group: &Vec<usize>| {
            let terms = group.iter().map(|&p| x[p] - i64::from(self.x_zero));
            let v = match self.kind {
                ReduceKind::Sum | ReduceKind::Mean => terms.sum::<i64>(),
                ReduceKind::Max => terms.max().unwrap_or(0),
            };
            self.y.finish(round_div(v * i64::from(self.mul), divisor))
        };
        let values = groups(inputs[0].shape(), &self.axes).iter().map(one).collect();
        Tensor::new(y.dtype, y.shape, values)
    }
}

impl ArgMax {
    pub(crate) fn infer(&self, inputs: &[&TensorType]) -> Result<TensorType, OpError> {
        check_arity("ArgMax", inputs.len(), 1, 1)?;
        let shape = reduced_shape("ArgMax", inputs[0], &[self.axis])?;
        TensorType::new(DType::I32, shape)
    }

    pub(crate) fn eval(&self, inputs: &[&Tensor]) -> Result<Tensor, OpError> {
        let types: Vec<_> = inputs.iter().map(|t| t.ty()).collect();
        let y = self.infer(&types)?;
        let x = inputs[0].values();
        let one = |group: &Vec<usize>| {
            let mut best = 0;
            for (i, &p) in group.iter().enumerate() {
                let better = x[p] > x[group[best]] || (self.last && x[p] == x[group[best]]);
                best = if better { i } else { best };
            }
            i64::try_from(best).unwrap_or(i64::MAX)
        };
        let values = groups(inputs[0].shape(), &[self.axis]).iter().map(one).collect();
        Tensor::new(y.dtype, y.shape, values)
    }
}
