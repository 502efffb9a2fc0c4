//! Two operands, element by element, with numpy broadcasting.

use crate::{
    OpError, Quantised, Tensor, TensorType,
    error::{check_arity, check_range, shape_error},
    requant::{MUL_MAX, SHIFT_MAX},
    round::{check_magnitude, round_shift, spread},
};

/// `y = clamp(y.zero + round_shift((a - a_zero) * a_mul + (b - b_zero) * b_mul, shift))`.
///
/// Subtraction has a negative `b_mul`. Multipliers lie in `-32767..=32767`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Add {
    /// Integers that stand for real zero in `a` and `b`.
    pub zeros: [i32; 2],
    /// Multipliers of `a` and `b`.
    pub muls: [i32; 2],
    /// Common shift, `0..=62`.
    pub shift: u32,
    /// The output.
    pub y: Quantised,
}

/// `y = clamp(y.zero + round_shift((a - a_zero) * (b - b_zero) * mul, shift))`; the product is at most 2^62.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mul {
    /// Integers that stand for real zero in `a` and `b`.
    pub zeros: [i32; 2],
    /// Multiplier, `1..=32767`.
    pub mul: i32,
    /// Shift, `0..=62`.
    pub shift: u32,
    /// The output.
    pub y: Quantised,
}

/// Broadcast shape of two shapes, aligned at the last axis (numpy, ONNX "Broadcasting in ONNX").
pub(crate) fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let axis = |s: &[usize], i: usize| (i + s.len()).checked_sub(rank).map_or(1, |j| s[j]);
    (0..rank)
        .map(|i| match (axis(a, i), axis(b, i)) {
            (x, y) if x == y || y == 1 => Some(x),
            (1, y) => Some(y),
            (_, _) => None,
        })
        .collect()
}

/// For each output position, the position in an operand of shape `shape`.
fn source_positions(shape: &[usize], out: &[usize]) -> Vec<usize> {
    if out.contains(&0) {
        return Vec::new();
    }
    let mut positions = vec![0];
    for (i, &extent) in out.iter().enumerate() {
        let own = (i + shape.len()).checked_sub(out.len()).map_or(1, |j| shape[j]);
        let grow = |&p: &usize| (0..extent).map(move |k| p * own + if own == 1 { 0 } else { k });
        positions = positions.iter().flat_map(grow).collect();
    }
    positions
}

fn infer(
    op: &'static str,
    inputs: &[&TensorType],
    zeros: [i32; 2],
    shift: u32,
    y: &Quantised,
) -> Result<TensorType, OpError> {
    check_arity(op, inputs.len(), 2, 2)?;
    y.check(op)?;
    check_range(op, "shift", i64::from(shift), 0..=SHIFT_MAX)?;
    for (operand, (t, zero)) in inputs.iter().zip(zeros).enumerate() {
        if t.dtype == crate::DType::I64 {
            return Err(OpError::Type { op, operand, expected: "i8, i16 or i32", found: t.dtype });
        }
        check_range(op, "zero", i64::from(zero), t.dtype.min()..=t.dtype.max())?;
    }
    let shape = broadcast(&inputs[0].shape, &inputs[1].shape)
        .ok_or_else(|| shape_error(op, "shapes do not broadcast", &[&inputs[0].shape, &inputs[1].shape]))?;
    TensorType::new(y.dtype, shape)
}

fn zip(
    inputs: &[&Tensor],
    zeros: [i32; 2],
    y: TensorType,
    f: impl Fn(i64, i64) -> i64,
) -> Result<Tensor, OpError> {
    let (a, b) = (inputs[0], inputs[1]);
    let at = source_positions(a.shape(), &y.shape).into_iter().zip(source_positions(b.shape(), &y.shape));
    let value =
        |(i, j): (usize, usize)| f(a.values()[i] - i64::from(zeros[0]), b.values()[j] - i64::from(zeros[1]));
    let values = at.map(value).collect();
    Tensor::new(y.dtype, y.shape, values)
}

impl Add {
    pub(crate) fn infer(&self, inputs: &[&TensorType]) -> Result<TensorType, OpError> {
        let ty = infer("Add", inputs, self.zeros, self.shift, &self.y)?;
        self.muls.iter().try_for_each(|&m| check_range("Add", "mul", i64::from(m), -MUL_MAX..=MUL_MAX))?;
        let side =
            |i: usize| i128::from(spread(inputs[i].dtype, self.zeros[i])) * i128::from(self.muls[i].abs());
        check_magnitude("Add", side(0) + side(1), 62)?;
        Ok(ty)
    }

    pub(crate) fn eval(&self, inputs: &[&Tensor]) -> Result<Tensor, OpError> {
        let types: Vec<_> = inputs.iter().map(|t| t.ty()).collect();
        let y = self.infer(&types)?;
        let [ma, mb] = self.muls.map(i64::from);
        zip(inputs, self.zeros, y, |a, b| self.y.finish(round_shift(a * ma + b * mb, self.shift)))
    }
}

impl Mul {
    pub(crate) fn infer(&self, inputs: &[&TensorType]) -> Result<TensorType, OpError> {
        let ty = infer("Mul", inputs, self.zeros, self.shift, &self.y)?;
        check_range("Mul", "mul", i64::from(self.mul), 1..=MUL_MAX)?;
        let side = |i: usize| i128::from(spread(inputs[i].dtype, self.zeros[i]));
        // At most 2^62, which two `i32` reach: half a step more is below 2^62 + 2^61, as everywhere.
        check_magnitude("Mul", side(0) * side(1) * i128::from(self.mul) - 1, 62)?;
        Ok(ty)
    }

    pub(crate) fn eval(&self, inputs: &[&Tensor]) -> Result<Tensor, OpError> {
        let types: Vec<_> = inputs.iter().map(|t| t.ty()).collect();
        let y = self.infer(&types)?;
        zip(inputs, self.zeros, y, |a, b| self.y.finish(round_shift(a * b * i64::from(self.mul), self.shift)))
    }
}
