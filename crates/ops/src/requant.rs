//! The one step that rounds: accumulators become activations; and functions of one value, by table.

use crate::{
    DType, OpError, Quantised, Tensor, TensorType,
    error::{check_arity, check_range, shape_error},
    round::{check_magnitude, round_shift, spread},
};

/// Largest multiplier: 15 bits keep every product of a 47-bit accumulator below `2^62`.
pub const MUL_MAX: i64 = (1 << 15) - 1;
/// Largest shift.
pub const SHIFT_MAX: i64 = 62;

/// `y = clamp(y.zero + round_shift((x - x_zero) * mul[c], shift[c]))`, `c` the index along the last axis.
///
/// Operands: `x` of any type; `shift` of `i8`, one value or one per channel, each in `0..=62`; optionally `mul` of
/// `i16`, as many values as `shift`, each in `1..=32767`. Without `mul` the step is a pure shift, the cheapest to run
/// and to prove. An `i64` operand is an accumulator: `|x - x_zero|` beyond 2^47 is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requant {
    /// Integer that stands for real zero in `x`.
    pub x_zero: i32,
    /// The output.
    pub y: Quantised,
}

/// `y = table[x - DType::min()]`, any function of one value.
///
/// Operands: `x` of `i8` or `i16`; `table` of `i8` or `i16` with 256 or 65,536 entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table;

impl Requant {
    pub(crate) fn infer(&self, inputs: &[&TensorType]) -> Result<TensorType, OpError> {
        const OP: &str = "Requant";
        check_arity(OP, inputs.len(), 2, 3)?;
        self.y.check(OP)?;
        let (x, shift) = (inputs[0], inputs[1]);
        if x.dtype != DType::I64 {
            check_range(OP, "x_zero", i64::from(self.x_zero), x.dtype.min()..=x.dtype.max())?;
        }
        if shift.dtype != DType::I8 {
            return Err(OpError::Type { op: OP, operand: 1, expected: "i8", found: shift.dtype });
        }
        if shift.shape != [1] && shift.shape != [x.last()] {
            return Err(shape_error(
                OP,
                "shift must hold one value, or one per channel",
                &[&x.shape, &shift.shape],
            ));
        }
        if let Some(mul) = inputs.get(2) {
            if mul.dtype != DType::I16 {
                return Err(OpError::Type { op: OP, operand: 2, expected: "i16", found: mul.dtype });
            }
            if mul.shape != shift.shape {
                return Err(shape_error(OP, "mul and shift differ in length", &[&shift.shape, &mul.shape]));
            }
        }
        check_magnitude(OP, i128::from(spread(x.dtype, self.x_zero)) * i128::from(MUL_MAX), 62)?;
        TensorType::new(self.y.dtype, x.shape.clone())
    }

    /// Checks the values of the constant operands; `infer` sees only their types.
    pub(crate) fn check_constants(shift: &[i64], mul: Option<&[i64]>) -> Result<(), OpError> {
        shift.iter().try_for_each(|&s| check_range("Requant", "shift", s, 0..=SHIFT_MAX))?;
        mul.unwrap_or(&[]).iter().try_for_each(|&m| check_range("Requant", "mul", m, 1..=MUL_MAX))
    }

    pub(crate) fn eval(&self, inputs: &[&Tensor]) -> Result<Tensor, OpError> {
        let types: Vec<_> = inputs.iter().map(|t| t.ty()).collect();
        let y = self.infer(&types)?;
        let (shift, mul) = (inputs[1].values(), inputs.get(2).map(|m| m.values()));
        Self::check_constants(shift, mul)?;
        let limit = spread(types[0].dtype, self.x_zero);
        let step = |(i, &x): (usize, &i64)| {
            let (x, c) = (x.saturating_sub(i64::from(self.x_zero)), i % shift.len());
            if !(-limit..=limit).contains(&x) {
                return Err(OpError::Range { op: "Requant", value: x, lo: -limit, hi: limit });
            }
            let scaled = x * mul.map_or(1, |m| m[c]);
            Ok(self.y.finish(round_shift(scaled, u32::try_from(shift[c]).unwrap_or(0))))
        };
        let values = inputs[0].values().iter().enumerate().map(step).collect::<Result<_, _>>()?;
        Tensor::new(y.dtype, y.shape, values)
    }
}

impl Table {
    pub(crate) fn infer(inputs: &[&TensorType]) -> Result<TensorType, OpError> {
        const OP: &str = "Table";
        check_arity(OP, inputs.len(), 2, 2)?;
        let (x, table) = (inputs[0], inputs[1]);
        let entries = match x.dtype {
            DType::I8 => 256,
            DType::I16 => 65_536,
            DType::I32 | DType::I64 => {
                return Err(OpError::Type { op: OP, operand: 0, expected: "i8 or i16", found: x.dtype });
            }
        };
        match table.dtype {
            DType::I8 | DType::I16 => {}
            DType::I32 | DType::I64 => {
                return Err(OpError::Type { op: OP, operand: 1, expected: "i8 or i16", found: table.dtype });
            }
        }
        if table.shape != [entries] {
            return Err(shape_error(
                OP,
                "the table must have one entry per input value",
                &[&x.shape, &table.shape],
            ));
        }
        TensorType::new(table.dtype, x.shape.clone())
    }

    pub(crate) fn eval(inputs: &[&Tensor]) -> Result<Tensor, OpError> {
        let types: Vec<_> = inputs.iter().map(|t| t.ty()).collect();
        let y = Self::infer(&types)?;
        let (min, table) = (types[0].dtype.min(), inputs[1].values());
        let look = |x: &i64| table[usize::try_from(x - min).unwrap_or(0)];
        let values = inputs[0].values().iter().map(look).collect();
        Tensor::new(y.dtype, y.shape, values)
    }
}
