//! Operators whose unit is a row: each row is rescaled, or normalised, by itself alone.

use crate::{
    DType, OpError, Quantised, Tensor, TensorType, clamp,
    error::{check_arity, check_range, shape_error},
    round::{round_div, round_shift},
};

/// Fractional bits of the reciprocal in [`QuantRow`].
pub const QUANT_ROW_SHIFT: u32 = 40;

/// Per-row quantisation of fixed-point values.
///
/// A row is everything from `axis` on. With `q_max` = 127 (`i8`) or 32,767 (`i16`) and `m = max(1, max |x|)` over the
/// row: `r = floor(q_max * 2^40 / m)`, `q = round_shift(x * r, 40)`. Outputs `q` with the shape of `x`, and `m` as
/// `i32` with extent 1 from `axis` on. One division per row, one multiplication per value; `|q| <= q_max` always.
///
/// Operand: `x` of `i32`, where `-2^31` counts as `-(2^31 - 1)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuantRow {
    /// First axis of a row.
    pub axis: usize,
    /// `i8` or `i16`.
    pub q: DType,
}

/// Softmax over the last axis.
///
/// With `t = max - x`, `e = table[min(t >> shift, len - 1)]` and `s` the row's sum of `e`:
/// `y = clamp(y.zero + round_div(e << one_bits, s))`. Real one is thus `2^one_bits`.
///
/// Operands: `x` of `i8`, `i16` or `i32`; `table` of `i32`, 1 to 65,536 entries in `0..=2^24`, the first positive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Softmax {
    /// Bits dropped from the distance to the maximum, `0..=31`.
    pub shift: u32,
    /// Logarithm of the integer that stands for one, `0..=30`.
    pub one_bits: u32,
    /// The output.
    pub y: Quantised,
}

const TABLE_VALUE_MAX: i64 = 1 << 24;
const SOFTMAX_ROW_MAX: usize = 1 << 24;

impl QuantRow {
    /// Largest magnitude of a quantised value.
    #[must_use]
    pub fn q_max(&self) -> i64 {
        self.q.max()
    }

    pub(crate) fn infer(&self, inputs: &[&TensorType]) -> Result<[TensorType; 2], OpError> {
        const OP: &str = "QuantRow";
        check_arity(OP, inputs.len(), 1, 1)?;
        let x = inputs[0];
        if x.dtype != DType::I32 {
            return Err(OpError::Type { op: OP, operand: 0, expected: "i32", found: x.dtype });
        }
        match self.q {
            DType::I8 | DType::I16 => {}
            DType::I32 | DType::I64 => {
                return Err(OpError::Type {
                    op: OP,
                    operand: 0,
                    expected: "an i8 or i16 output",
                    found: self.q,
                });
            }
        }
        if self.axis > x.shape.len() {
            return Err(shape_error(OP, "axis is beyond the rank", &[&x.shape]));
        }
        let rows = x.shape.iter().enumerate().map(|(i, &d)| if i < self.axis { d } else { 1 }).collect();
        Ok([TensorType::new(self.q, x.shape.clone())?, TensorType::new(DType::I32, rows)?])
    }

    /// Quantises one row of `i32` values: the values and `m`. `q_max` is 127 or 32,767.
    #[must_use]
    pub fn row(q_max: i64, row: &[i64]) -> (Vec<i64>, i64) {
        let limit = i64::from(i32::MAX);
        let x = || row.iter().map(|x| clamp(*x, -limit, limit));
        let m = x().map(i64::abs).max().unwrap_or(0).max(1);
        let r = (q_max << QUANT_ROW_SHIFT) / m;
        let q = x().map(|x| round_shift(x * r, QUANT_ROW_SHIFT)).collect();
        (q, m)
    }

    pub(crate) fn eval(&self, inputs: &[&Tensor]) -> Result<[Tensor; 2], OpError> {
        let types: Vec<_> = inputs.iter().map(|t| t.ty()).collect();
        let [q_ty, m_ty] = self.infer(&types)?;
        let len = q_ty.len().checked_div(m_ty.len()).unwrap_or(0);
        let (mut q, mut m) = (Vec::with_capacity(q_ty.len()), Vec::with_capacity(m_ty.len()));
        for row in 0..m_ty.len() {
            let (values, max) = Self::row(self.q_max(), &inputs[0].values()[row * len..(row + 1) * len]);
            q.extend(values);
            m.push(max);
        }
        Ok([Tensor::new(q_ty.dtype, q_ty.shape, q)?, Tensor::new(m_ty.dtype, m_ty.shape, m)?])
    }
}

impl Softmax {
    pub(crate) fn infer(&self, inputs: &[&TensorType]) -> Result<TensorType, OpError> {
        const OP: &str = "Softmax";
        check_arity(OP, inputs.len(), 2, 2)?;
        self.y.check(OP)?;
        check_range(OP, "shift", i64::from(self.shift), 0..=31)?;
        check_range(OP, "one_bits", i64::from(self.one_bits), 0..=30)?;
        let (x, table) = (inputs[0], inputs[1]);
        if x.dtype == DType::I64 {
            return Err(OpError::Type { op: OP, operand: 0, expected: "i8, i16 or i32", found: x.dtype });
        }
        if table.dtype != DType::I32 {
            return Err(OpError::Type { op: OP, operand: 1, expected: "i32", found: table.dtype });
        }
        if table.shape.len() != 1 || !(1..=65_536).contains(&table.len()) {
            return Err(shape_error(OP, "the table must have 1 to 65536 entries", &[&x.shape, &table.shape]));
        }
        if x.last() > SOFTMAX_ROW_MAX {
            return Err(shape_error(OP, "the row is longer than 2^24", &[&x.shape]));
        }
        TensorType::new(self.y.dtype, x.shape.clone())
    }

    /// Checks the values of the constant table; `infer` sees only its type.
    pub(crate) fn check_table(table: &[i64]) -> Result<(), OpError> {
        table.iter().try_for_each(|&e| check_range("Softmax", "table", e, 0..=TABLE_VALUE_MAX))?;
        check_range("Softmax", "table[0]", table.first().copied().unwrap_or(0), 1..=TABLE_VALUE_MAX)
    }

    pub(crate) fn eval(&self, inputs: &[&Tensor]) -> Result<Tensor, OpError> {
        let types: Vec<_> = inputs.iter().map(|t| t.ty()).collect();
        let y = self.infer(&types)?;
        let table = inputs[1].values();
        Self::check_table(table)?;
        let mut values = Vec::with_capacity(y.len());
        for row in inputs[0].values().chunks(y.last().max(1)) {
            let max = row.iter().copied().max().unwrap_or(0);
            let index = |x: &i64| usize::try_from((max - x) >> self.shift).unwrap_or(0).min(table.len() - 1);
            let e: Vec<i64> = row.iter().map(|x| table[index(x)]).collect();
            let sum = e.iter().sum();
            values.extend(e.iter().map(|e| self.y.finish(round_div(e << self.one_bits, sum))));
        }
        Tensor::new(y.dtype, y.shape, values)
    }
}
