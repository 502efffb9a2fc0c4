//! Pooling over windows, channels last.

use crate::{
    DType, OpError, Quantised, Tensor, TensorType,
    error::{check_arity, check_range, shape_error},
    requant::MUL_MAX,
    round::{check_magnitude, round_div, spread},
};

/// A sliding window over height and width.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Window height and width.
    pub kernel: [usize; 2],
    /// Steps.
    pub strides: [usize; 2],
    /// Top, left, bottom, right padding; each smaller than the window's span.
    pub pads: [usize; 4],
    /// Distances between window taps.
    pub dilations: [usize; 2],
    /// Whether a window may begin inside the input and end beyond the bottom or right padding.
    pub ceil: bool,
}

/// The largest value of each window. Positions outside the input do not count; a window without any other position,
/// which takes a dilation and a padding, gives `DType::min()`. Operand: `x` `[h, w, c]`, not `i64`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaxPool {
    /// The window.
    pub window: Window,
}

/// `y = clamp(y.zero + round_div(mul * sum (x - x_zero), count << shift))` over each window.
///
/// `count` is the number of positions inside the input or, with `count_pads`, inside the padded input; 1 if there are
/// none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AvgPool {
    /// The window.
    pub window: Window,
    /// Whether explicit padding counts in the divisor.
    pub count_pads: bool,
    /// Integer that stands for real zero in `x`.
    pub x_zero: i32,
    /// Multiplier, `1..=32767`.
    pub mul: i32,
    /// Shift of the divisor, `0..=31`.
    pub shift: u32,
    /// The output.
    pub y: Quantised,
}

/// Positions of one output's window along one axis: those inside the input, and how many lie in the padded input.
struct Taps {
    inside: Vec<usize>,
    padded: usize,
}

impl Window {
    fn check(&self, op: &'static str) -> Result<(), OpError> {
        let value = |v: usize| i64::try_from(v).unwrap_or(-1);
        for axis in 0..2 {
            check_range(op, "kernel", value(self.kernel[axis]), 1..=1 << 12)?;
            check_range(op, "strides", value(self.strides[axis]), 1..=1 << 16)?;
            check_range(op, "dilations", value(self.dilations[axis]), 1..=1 << 12)?;
            let span = value((self.kernel[axis] - 1) * self.dilations[axis] + 1);
            check_range(op, "pads", value(self.pads[axis]), 0..=span - 1)?;
            check_range(op, "pads", value(self.pads[axis + 2]), 0..=span - 1)?;
        }
        Ok(())
    }

    /// Output extent along `axis` (0 height, 1 width), as ONNX defines it: with `ceil`, a last window that would begin
    /// in the end padding is dropped. `None` if the window is larger than the padded input, or is no window.
    #[must_use]
    pub fn extent(&self, axis: usize, size: usize) -> Option<usize> {
        let (stride, kernel) = (*self.strides.get(axis)?, *self.kernel.get(axis)?);
        let (begin, end) = (*self.pads.get(axis)?, *self.pads.get(axis + 2)?);
        let span = kernel.checked_sub(1)?.checked_mul(self.dilations[axis])?.checked_add(1)?;
        let first_pad = size.checked_add(begin)?;
        let free = first_pad.checked_add(end)?.checked_sub(span)?;
        let steps =
            if self.ceil { free.checked_next_multiple_of(stride)? } else { free }.checked_div(stride)?;
        let beyond = self.ceil && steps.checked_mul(stride)? >= first_pad;
        if beyond { Some(steps) } else { steps.checked_add(1) }
    }

    fn taps(&self, axis: usize, size: usize, out: usize) -> Taps {
        let first = out * self.strides[axis];
        let at: Vec<usize> = (0..self.kernel[axis]).map(|k| first + k * self.dilations[axis]).collect();
        let begin = self.pads[axis];
        let inside = at.iter().filter(|&&p| p >= begin && p < begin + size).map(|p| p - begin).collect();
        let padded = at.iter().filter(|&&p| p < begin + size + self.pads[axis + 2]).count();
        Taps { inside, padded }
    }

    fn infer(&self, op: &'static str, inputs: &[&TensorType]) -> Result<Vec<usize>, OpError> {
        check_arity(op, inputs.len(), 1, 1)?;
        self.check(op)?;
        let x = inputs[0];
        if x.dtype == DType::I64 {
            return Err(OpError::Type { op, operand: 0, expected: "i8, i16 or i32", found: x.dtype });
        }
        let [h, w, c] = x.shape.as_slice() else {
            return Err(shape_error(op, "needs x [h, w, c]", &[&x.shape]));
        };
        match (self.extent(0, *h), self.extent(1, *w)) {
            (Some(oh), Some(ow)) if *h > 0 && *w > 0 => Ok(vec![oh, ow, *c]),
            (Some(_), Some(_)) | (None, _) | (_, None) => {
                Err(shape_error(op, "the window is larger than the padded input", &[&x.shape]))
            }
        }
    }

    /// Calls `f` with the values of each window, output by output, and the window's count including padding.
    fn map(&self, x: &Tensor, out: &[usize], mut f: impl FnMut(&[i64], usize) -> i64) -> Vec<i64> {
        let [h, w, c] = [x.shape()[0], x.shape()[1], x.shape()[2]];
        if c == 0 {
            return Vec::new();
        }
        let mut values = Vec::with_capacity(out.iter().product());
        for oy in 0..out[0] {
            let rows = self.taps(0, h, oy);
            for column in (0..out[1]).map(|ox| self.taps(1, w, ox)) {
                for channel in 0..c {
                    let cells =
                        rows.inside.iter().flat_map(|iy| column.inside.iter().map(move |ix| iy * w + ix));
                    let window: Vec<i64> = cells.map(|p| x.values()[p * c + channel]).collect();
                    values.push(f(&window, rows.padded * column.padded));
                }
            }
        }
        values
    }
}

impl MaxPool {
    pub(crate) fn infer(&self, inputs: &[&TensorType]) -> Result<TensorType, OpError> {
        let shape = self.window.infer("MaxPool", inputs)?;
        TensorType::new(inputs[0].dtype, shape)
    }

    pub(crate) fn eval(&self, inputs: &[&Tensor]) -> Result<Tensor, OpError> {
        let types: Vec<_> = inputs.iter().map(|t| t.ty()).collect();
        let y = self.infer(&types)?;
        let lowest = y.dtype.min();
        let values = self.window.map(inputs[0], &y.shape, |w, _| w.iter().copied().max().unwrap_or(lowest));
        Tensor::new(y.dtype, y.shape, values)
    }
}

impl AvgPool {
    pub(crate) fn infer(&self, inputs: &[&TensorType]) -> Result<TensorType, OpError> {
        const OP: &str = "AvgPool";
        self.y.check(OP)?;
        check_range(OP, "mul", i64::from(self.mul), 1..=MUL_MAX)?;
        check_range(OP, "shift", i64::from(self.shift), 0..=31)?;
        let shape = self.window.infer(OP, inputs)?;
        let x = inputs[0];
        check_range(OP, "x_zero", i64::from(self.x_zero), x.dtype.min()..=x.dtype.max())?;
        let count = i128::try_from(self.window.kernel[0] * self.window.kernel[1]).unwrap_or(i128::MAX >> 64);
        check_magnitude(OP, i128::from(spread(x.dtype, self.x_zero)) * count * i128::from(self.mul), 62)?;
        TensorType::new(self.y.dtype, shape)
    }

    pub(crate) fn eval(&self, inputs: &[&Tensor]) -> Result<Tensor, OpError> {
        let types: Vec<_> = inputs.iter().map(|t| t.ty()).collect();
        let y = self.infer(&types)?;
        let mean = |window: &[i64], padded: usize| {
            let count = if self.count_pads { padded } else { window.len() };
            let sum: i64 = window.iter().map(|x| x - i64::from(self.x_zero)).sum();
            let divisor = i64::try_from(count.max(1)).unwrap_or(1) << self.shift;
            self.y.finish(round_div(sum * i64::from(self.mul), divisor))
        };
        let values = self.window.map(inputs[0], &y.shape, mean);
        Tensor::new(y.dtype, y.shape, values)
    }
}
