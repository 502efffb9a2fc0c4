//! Sums of products. Their outputs are exact accumulators: nothing is rounded here, so a proof need not commit to them.

use crate::{
    DType, OpError, Tensor, TensorType,
    error::{check_arity, check_range, shape_error},
    round::{check_magnitude, spread},
};

/// Accumulators are at most `2^ACC_BITS_MAX` in magnitude, so that a 15-bit multiplier still fits an `i64`.
pub const ACC_BITS_MAX: u32 = 47;

/// `y[.., j] = bias[j] + sum_k (x[.., k] - x_zero) * w[j, k]`.
///
/// Operands: `x` `[.., k]` of `i8` or `i16`; `w` `[n, k]` of `i8`; optionally `bias` `[n]` of the accumulator type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatMul {
    /// Integer that stands for real zero in `x`.
    pub x_zero: i32,
    /// Accumulator type: `i32` or `i64`.
    pub acc: DType,
}

/// Two-dimensional convolution, channels last, cross-correlation as in ONNX.
///
/// Operands: `x` `[h, w, c]` of `i8` or `i16`; `w` `[oc, kh, kw, c / groups]` of `i8`; optionally `bias` `[oc]`.
/// `y[oy, ox, o] = bias[o] + sum (x[oy * stride + ky * dilation - pad, ..] - x_zero) * w[o, ky, kx, ..]`, where
/// positions outside `x` add nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conv {
    /// Steps along height and width.
    pub strides: [usize; 2],
    /// Top, left, bottom, right padding.
    pub pads: [usize; 4],
    /// Distances between kernel taps.
    pub dilations: [usize; 2],
    /// Number of groups; divides both channel counts.
    pub groups: usize,
    /// Integer that stands for real zero in `x`.
    pub x_zero: i32,
    /// Accumulator type: `i32` or `i64`.
    pub acc: DType,
}

/// Two-dimensional transposed convolution, channels last.
///
/// Operands as for [`Conv`], with `w` `[oc, kh, kw, c / groups]`. Input position `i` adds to output position
/// `i * stride + k * dilation - pad`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConvTranspose {
    /// The geometry, read as that of the convolution whose transpose this is.
    pub conv: Conv,
    /// Rows and columns added at the bottom and right.
    pub output_pads: [usize; 2],
}

fn check_operands(op: &'static str, acc: DType, x_zero: i32, inputs: &[&TensorType]) -> Result<(), OpError> {
    check_arity(op, inputs.len(), 2, 3)?;
    let (x, w) = (inputs[0], inputs[1]);
    match x.dtype {
        DType::I8 | DType::I16 => {}
        DType::I32 | DType::I64 => {
            return Err(OpError::Type { op, operand: 0, expected: "i8 or i16", found: x.dtype });
        }
    }
    if w.dtype != DType::I8 {
        return Err(OpError::Type { op, operand: 1, expected: "i8", found: w.dtype });
    }
    match acc {
        DType::I32 | DType::I64 => {}
        DType::I8 | DType::I16 => {
            return Err(OpError::Type { op, operand: 0, expected: "an i32 or i64 output", found: acc });
        }
    }
    check_range(op, "x_zero", i64::from(x_zero), x.dtype.min()..=x.dtype.max())?;
    let Some(bias) = inputs.get(2) else { return Ok(()) };
    if bias.dtype != acc {
        return Err(OpError::Type { op, operand: 2, expected: "the accumulator type", found: bias.dtype });
    }
    if bias.shape.len() != 1 || w.shape.first() != bias.shape.first() {
        return Err(shape_error(op, "bias must hold one value per output channel", &[&w.shape, &bias.shape]));
    }
    Ok(())
}

/// Worst case of one accumulator without its bias: `k` products. Weights seen at import give a tighter bound.
fn check_sum(op: &'static str, x: &TensorType, x_zero: i32, k: usize) -> Result<(), OpError> {
    let worst = i128::from(spread(x.dtype, x_zero)) * 128 * i128::try_from(k).unwrap_or(i128::MAX >> 64);
    check_magnitude(op, worst, ACC_BITS_MAX - 1)
}

/// The output, once every accumulator is known to be one. Sums are below `2^46`, so one that saturated while it was
/// summed has a bias beyond the limit and is refused here.
fn accumulators(op: &'static str, y: TensorType, values: Vec<i64>) -> Result<Tensor, OpError> {
    let (lo, hi) = match y.dtype {
        DType::I64 => (-(1 << ACC_BITS_MAX), 1 << ACC_BITS_MAX),
        DType::I8 | DType::I16 | DType::I32 => (y.dtype.min(), y.dtype.max()),
    };
    match values.iter().find(|v| !(lo..=hi).contains(*v)) {
        Some(&value) => Err(OpError::Range { op, value, lo, hi }),
        None => Tensor::new(y.dtype, y.shape, values),
    }
}

fn bias_of(inputs: &[&Tensor], n: usize) -> Vec<i64> {
    inputs.get(2).map_or_else(|| vec![0; n], |b| b.values().to_vec())
}

impl MatMul {
    pub(crate) fn infer(&self, inputs: &[&TensorType]) -> Result<TensorType, OpError> {
        check_operands("MatMul", self.acc, self.x_zero, inputs)?;
        let (x, w) = (inputs[0], inputs[1]);
        let ([.., k], [n, wk]) = (x.shape.as_slice(), w.shape.as_slice()) else {
            return Err(shape_error("MatMul", "needs x [.., k] and w [n, k]", &[&x.shape, &w.shape]));
        };
        if k != wk {
            return Err(shape_error("MatMul", "k differs", &[&x.shape, &w.shape]));
        }
        check_sum("MatMul", x, self.x_zero, *k)?;
        let mut shape = x.shape.clone();
        shape.pop();
        shape.push(*n);
        TensorType::new(self.acc, shape)
    }

    pub(crate) fn eval(&self, inputs: &[&Tensor]) -> Result<Tensor, OpError> {
        let types: Vec<_> = inputs.iter().map(|t| t.ty()).collect();
        let y = self.infer(&types)?;
        let (x, w) = (inputs[0].values(), inputs[1].values());
        let (n, k) = (y.last(), types[0].last());
        let bias = bias_of(inputs, n);
        let mut values = Vec::with_capacity(y.len());
        for row in 0..y.len().checked_div(n).unwrap_or(0) {
            for j in 0..n {
                let dot = |i: usize| (x[row * k + i] - i64::from(self.x_zero)) * w[j * k + i];
                values.push(bias[j].saturating_add((0..k).map(dot).sum()));
            }
        }
        accumulators("MatMul", y, values)
    }
}

impl Conv {
    pub(crate) fn check_attributes(&self, op: &'static str) -> Result<(), OpError> {
        let small = |name, values: &[usize], lo: i64| {
            values
                .iter()
                .try_for_each(|&v| check_range(op, name, i64::try_from(v).unwrap_or(-1), lo..=1 << 16))
        };
        small("strides", &self.strides, 1)?;
        small("dilations", &self.dilations, 1)?;
        small("pads", &self.pads, 0)?;
        small("groups", &[self.groups], 1)
    }

    /// Output extent along spatial axis `axis` (0 height, 1 width), if the kernel fits.
    fn extent(&self, axis: usize, size: usize, kernel: usize) -> Option<usize> {
        let span = kernel.checked_sub(1)?.checked_mul(self.dilations[axis])?.checked_add(1)?;
        let padded = size.checked_add(self.pads[axis] + self.pads[axis + 2])?;
        Some(padded.checked_sub(span)? / self.strides[axis] + 1)
    }

    fn check_channels(
        &self,
        op: &'static str,
        x: &TensorType,
        w: &TensorType,
    ) -> Result<[usize; 7], OpError> {
        let ([h, wd, c], [oc, kh, kw, cg]) = (x.shape.as_slice(), w.shape.as_slice()) else {
            return Err(shape_error(
                op,
                "needs x [h, w, c] and w [oc, kh, kw, c / groups]",
                &[&x.shape, &w.shape],
            ));
        };
        if cg.checked_mul(self.groups) != Some(*c) || oc % self.groups != 0 {
            return Err(shape_error(op, "channels and groups disagree", &[&x.shape, &w.shape]));
        }
        Ok([*h, *wd, *c, *oc, *kh, *kw, *cg])
    }

    pub(crate) fn infer(&self, inputs: &[&TensorType]) -> Result<TensorType, OpError> {
        self.check_attributes("Conv")?;
        check_operands("Conv", self.acc, self.x_zero, inputs)?;
        let (x, w) = (inputs[0], inputs[1]);
        let [h, wd, _, oc, kh, kw, cg] = self.check_channels("Conv", x, w)?;
        check_sum("Conv", x, self.x_zero, kh.saturating_mul(kw).saturating_mul(cg))?;
        match (self.extent(0, h, kh), self.extent(1, wd, kw)) {
            (Some(oh), Some(ow)) => TensorType::new(self.acc, vec![oh, ow, oc]),
            (None, _) | (_, None) => {
                Err(shape_error("Conv", "the kernel is larger than the padded input", &[&x.shape, &w.shape]))
            }
        }
    }

    pub(crate) fn eval(&self, inputs: &[&Tensor]) -> Result<Tensor, OpError> {
        let types: Vec<_> = inputs.iter().map(|t| t.ty()).collect();
        let y = self.infer(&types)?;
        let (x, w) = (inputs[0].values(), inputs[1].values());
        let [h, wd, c, oc, kh, kw, cg] = self.check_channels("Conv", types[0], types[1])?;
        let bias = bias_of(inputs, oc);
        let mut values = Vec::with_capacity(y.len());
        for oy in 0..if y.is_empty() { 0 } else { y.shape[0] } {
            for ox in 0..y.shape[1] {
                for (o, bias) in bias.iter().enumerate() {
                    let mut sum = *bias;
                    for (ky, kx) in (0..kh).flat_map(|ky| (0..kw).map(move |kx| (ky, kx))) {
                        let iy = (oy * self.strides[0] + ky * self.dilations[0]).wrapping_sub(self.pads[0]);
                        let ix = (ox * self.strides[1] + kx * self.dilations[1]).wrapping_sub(self.pads[1]);
                        if iy >= h || ix >= wd {
                            continue;
                        }
                        let x0 = (iy * wd + ix) * c + o / (oc / self.groups) * cg;
                        let w0 = ((o * kh + ky) * kw + kx) * cg;
                        let dot = |i: usize| (x[x0 + i] - i64::from(self.x_zero)) * w[w0 + i];
                        sum = sum.saturating_add((0..cg).map(dot).sum());
                    }
                    values.push(sum);
                }
            }
        }
        accumulators("Conv", y, values)
    }
}

impl ConvTranspose {
    fn extent(&self, axis: usize, size: usize, kernel: usize) -> Option<usize> {
        let span = kernel.checked_sub(1)?.checked_mul(self.conv.dilations[axis])?.checked_add(1)?;
        let full = size.checked_sub(1)?.checked_mul(self.conv.strides[axis])?.checked_add(span)?;
        full.checked_add(self.output_pads[axis])?.checked_sub(self.conv.pads[axis] + self.conv.pads[axis + 2])
    }

    pub(crate) fn infer(&self, inputs: &[&TensorType]) -> Result<TensorType, OpError> {
        const OP: &str = "ConvTranspose";
        self.conv.check_attributes(OP)?;
        for (axis, &pad) in self.output_pads.iter().enumerate() {
            let limit = self.conv.strides[axis].max(self.conv.dilations[axis]);
            check_range(
                OP,
                "output_pads",
                i64::try_from(pad).unwrap_or(-1),
                0..=i64::try_from(limit).unwrap_or(0) - 1,
            )?;
        }
        check_operands(OP, self.conv.acc, self.conv.x_zero, inputs)?;
        let (x, w) = (inputs[0], inputs[1]);
        let [h, wd, _, oc, kh, kw, cg] = self.conv.check_channels(OP, x, w)?;
        check_sum(OP, x, self.conv.x_zero, kh.saturating_mul(kw).saturating_mul(cg))?;
        match (self.extent(0, h, kh), self.extent(1, wd, kw)) {
            (Some(oh), Some(ow)) if oh > 0 && ow > 0 => TensorType::new(self.conv.acc, vec![oh, ow, oc]),
            (Some(_), Some(_)) | (None, _) | (_, None) => {
                Err(shape_error(OP, "padding removes the whole output", &[&x.shape, &w.shape]))
            }
        }
    }

    pub(crate) fn eval(&self, inputs: &[&Tensor]) -> Result<Tensor, OpError> {
        let types: Vec<_> = inputs.iter().map(|t| t.ty()).collect();
        let y = self.infer(&types)?;
        let (x, w) = (inputs[0].values(), inputs[1].values());
        let [h, wd, c, oc, kh, kw, cg] = self.conv.check_channels("ConvTranspose", types[0], types[1])?;
        let bias = bias_of(inputs, oc);
        let (oh, ow) = (y.shape[0], y.shape[1]);
        let mut values: Vec<i64> = (0..y.len()).map(|i| bias[i % oc]).collect();
        if y.is_empty() {
            return Tensor::new(y.dtype, y.shape, values);
        }
        for (iy, ix) in (0..h).flat_map(|iy| (0..wd).map(move |ix| (iy, ix))) {
            for (ky, kx) in (0..kh).flat_map(|ky| (0..kw).map(move |kx| (ky, kx))) {
                let oy =
                    (iy * self.conv.strides[0] + ky * self.conv.dilations[0]).wrapping_sub(self.conv.pads[0]);
                let ox =
                    (ix * self.conv.strides[1] + kx * self.conv.dilations[1]).wrapping_sub(self.conv.pads[1]);
                if oy >= oh || ox >= ow {
                    continue;
                }
                for o in 0..oc {
                    let x0 = (iy * wd + ix) * c + o / (oc / self.conv.groups) * cg;
                    let w0 = ((o * kh + ky) * kw + kx) * cg;
                    let dot = |i: usize| (x[x0 + i] - i64::from(self.conv.x_zero)) * w[w0 + i];
                    let at = (oy * ow + ox) * oc + o;
                    values[at] = values[at].saturating_add((0..cg).map(dot).sum());
                }
            }
        }
        accumulators("ConvTranspose", y, values)
    }
}
