//! Operators that only move values. A judge maps one output index to one input index.

use crate::{
    DType, ELEMENTS_MAX, OpError, Tensor, TensorType,
    error::{check_arity, check_range, shape_error},
};

/// One extent of a [`Reshape`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DimSpec {
    /// This many.
    Fixed(usize),
    /// As many as the operand's axis of this index.
    Input(usize),
    /// Whatever is left; at most once.
    Infer,
}

/// The same values in row-major order under another shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reshape {
    /// Output extents.
    pub dims: Vec<DimSpec>,
}

/// Output axis `i` is operand axis `perm[i]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transpose {
    /// A permutation of the axes.
    pub perm: Vec<usize>,
}

/// Joins operands of one type along `axis`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Concat {
    /// Joined axis.
    pub axis: usize,
}

/// `start, start + step, ...` up to, not including, `end` along `axis`; negative `start` and `end` count from the end,
/// and both are moved into the axis, as ONNX `Slice` does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// Sliced axis.
    pub axis: usize,
    /// First position.
    pub start: i64,
    /// Position after the last.
    pub end: i64,
    /// Distance, not zero.
    pub step: i64,
}

/// What a [`Pad`] puts around the values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PadMode {
    /// A constant.
    Constant(i32),
    /// The nearest value.
    Edge,
    /// The mirror image, without repeating the edge.
    Reflect,
}

/// Adds `begin[i]` and `end[i]` positions around axis `i`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pad {
    /// What is added.
    pub mode: PadMode,
    /// Positions before each axis.
    pub begin: Vec<usize>,
    /// Positions after each axis.
    pub end: Vec<usize>,
}

/// `y[a.., i.., b..] = data[a.., indices[i..], b..]`, with `axis` the number of `a` axes.
///
/// Operands: `data` of any type, `indices` of `i32`; a negative index counts from the end. An index outside the axis is
/// refused, unless some `a` axis is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gather {
    /// Indexed axis of `data`.
    pub axis: usize,
}

/// How [`Resize`] maps an output position to an input position (ONNX `coordinate_transformation_mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResizeCoordinates {
    /// `out * in_size / out_size`.
    Asymmetric,
    /// `(out + 1/2) * in_size / out_size - 1/2`.
    HalfPixel,
    /// `out * (in_size - 1) / (out_size - 1)`.
    AlignCorners,
}

/// How [`Resize`] rounds a position (ONNX `nearest_mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResizeRounding {
    /// Down.
    Floor,
    /// Up.
    Ceil,
    /// To nearest, ties down.
    PreferFloor,
    /// To nearest, ties up.
    PreferCeil,
}

/// Nearest-neighbour resize: axis `i` grows to `floor(extent * scale[i].0 / scale[i].1)`. Positions are exact rationals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resize {
    /// Scale of each axis as numerator and denominator, each `1..=65536`.
    pub scales: Vec<(usize, usize)>,
    /// Position rule.
    pub coordinates: ResizeCoordinates,
    /// Rounding rule.
    pub rounding: ResizeRounding,
}

/// Builds a tensor of type `y` that takes, at position `out` of an axis, the operand's position `source(axis, out)` of
/// that axis; where one of them is `None`, it takes `fill`.
fn select(
    x: &Tensor,
    y: TensorType,
    fill: i64,
    source: impl Fn(usize, usize) -> Option<usize>,
) -> Result<Tensor, OpError> {
    if y.is_empty() {
        return Tensor::new(y.dtype, y.shape, Vec::new());
    }
    let mut positions = vec![Some(0usize)];
    for (axis, (&out, &extent)) in y.shape.iter().zip(x.shape()).enumerate() {
        let map: Vec<Option<usize>> = (0..out).map(|out| source(axis, out)).collect();
        let next = |p: &Option<usize>| {
            let p = *p;
            map.iter().map(move |m| Some(p? * extent + (*m)?))
        };
        positions = positions.iter().flat_map(next).collect();
    }
    let values = positions.iter().map(|p| p.map_or(fill, |p| x.values()[p])).collect();
    Tensor::new(y.dtype, y.shape, values)
}

fn one(op: &'static str, inputs: &[&TensorType]) -> Result<(), OpError> {
    check_arity(op, inputs.len(), 1, 1)
}

impl Reshape {
    pub(crate) fn infer(&self, inputs: &[&TensorType]) -> Result<TensorType, OpError> {
        one("Reshape", inputs)?;
        let x = inputs[0];
        let refuse = |reason| Err(shape_error("Reshape", reason, &[&x.shape]));
        let mut known = 1usize;
        let mut shape = Vec::with_capacity(self.dims.len());
        for dim in &self.dims {
            let extent = match *dim {
                DimSpec::Fixed(n) => Some(n),
                DimSpec::Input(axis) => match x.shape.get(axis) {
                    Some(&n) => Some(n),
                    None => return refuse("an extent names an axis beyond the rank"),
                },
                DimSpec::Infer => None,
            };
            known = known.saturating_mul(extent.unwrap_or(1));
            shape.push(extent);
        }
        let infer = x.len().checked_div(known).unwrap_or(0);
        if shape.iter().filter(|d| d.is_none()).count() > 1 {
            return refuse("at most one extent is inferred");
        }
        let shape: Vec<usize> = shape.into_iter().map(|d| d.unwrap_or(infer)).collect();
        let ty = TensorType::new(x.dtype, shape)?;
        if ty.len() == x.len() { Ok(ty) } else { refuse("the number of elements would change") }
    }

    pub(crate) fn eval(&self, inputs: &[&Tensor]) -> Result<Tensor, OpError> {
        let types: Vec<_> = inputs.iter().map(|t| t.ty()).collect();
        let y = self.infer(&types)?;
        Tensor::new(y.dtype, y.shape, inputs[0].values().to_vec())
    }
}

impl Transpose {
    pub(crate) fn infer(&self, inputs: &[&TensorType]) -> Result<TensorType, OpError> {
        one("Transpose", inputs)?;
        let x = inputs[0];
        let mut sorted = self.perm.clone();
        sorted.sort_unstable();
        if !sorted.into_iter().eq(0..x.shape.len()) {
            return Err(shape_error(
                "Transpose",
                "perm is not a permutation of the axes",
                &[&x.shape, &self.perm],
            ));
        }
        TensorType::new(x.dtype, self.perm.iter().map(|&a| x.shape[a]).collect())
    }

    pub(crate) fn eval(&self, inputs: &[&Tensor]) -> Result<Tensor, OpError> {
        let types: Vec<_> = inputs.iter().map(|t| t.ty()).collect();
        let y = self.infer(&types)?;
        let x = inputs[0];
        if y.is_empty() {
            return Tensor::new(y.dtype, y.shape, Vec::new());
        }
        let stride = |axis: usize| x.shape()[axis + 1..].iter().product::<usize>();
        let mut positions = vec![0];
        for (&axis, &extent) in self.perm.iter().zip(&y.shape) {
            let step = stride(axis);
            positions = positions.iter().flat_map(|p| (0..extent).map(move |k| p + k * step)).collect();
        }
        let values = positions.into_iter().map(|p| x.values()[p]).collect();
        Tensor::new(y.dtype, y.shape, values)
    }
}

impl Concat {
    pub(crate) fn infer(&self, inputs: &[&TensorType]) -> Result<TensorType, OpError> {
        check_arity("Concat", inputs.len(), 1, 1 << 10)?;
        let mut shape = inputs[0].shape.clone();
        let shapes: Vec<&[usize]> = inputs.iter().map(|t| t.shape.as_slice()).collect();
        if self.axis >= shape.len() {
            return Err(shape_error("Concat", "axis is beyond the rank", &shapes));
        }
        for (operand, t) in inputs.iter().enumerate() {
            if t.dtype != inputs[0].dtype {
                return Err(OpError::Type {
                    op: "Concat",
                    operand,
                    expected: "the type of operand 0",
                    found: t.dtype,
                });
            }
            let agrees = |i: usize| i == self.axis || t.shape.get(i) == shape.get(i);
            if t.shape.len() != shape.len() || !(0..shape.len()).all(agrees) {
                return Err(shape_error("Concat", "operands differ beside the joined axis", &shapes));
            }
        }
        shape[self.axis] = inputs.iter().fold(0, |n: usize, t| n.saturating_add(t.shape[self.axis]));
        TensorType::new(inputs[0].dtype, shape)
    }

    pub(crate) fn eval(&self, inputs: &[&Tensor]) -> Result<Tensor, OpError> {
        let types: Vec<_> = inputs.iter().map(|t| t.ty()).collect();
        let y = self.infer(&types)?;
        let outer: usize = y.shape[..self.axis].iter().product();
        let mut values = Vec::with_capacity(y.len());
        if y.is_empty() {
            return Tensor::new(y.dtype, y.shape, values);
        }
        for row in 0..outer {
            for t in inputs {
                let len = t.values().len() / outer;
                values.extend_from_slice(&t.values()[row * len..(row + 1) * len]);
            }
        }
        Tensor::new(y.dtype, y.shape, values)
    }
}

impl Slice {
    /// First position and number of positions that an axis of `extent` positions gives; `step` is not zero.
    fn range(&self, extent: usize) -> (i64, usize) {
        let n = i64::try_from(extent).unwrap_or(i64::MAX);
        let absolute = |v: i64| if v < 0 { v.saturating_add(n) } else { v };
        let (start, end) = (absolute(self.start), absolute(self.end));
        let (first, distance) = if self.step > 0 {
            let first = start.clamp(0, n);
            (first, end.clamp(0, n) - first)
        } else {
            let first = start.clamp(0, (n - 1).max(0));
            (first, first - end.clamp(-1, (n - 1).max(-1)))
        };
        let count = distance.max(0).unsigned_abs().div_ceil(self.step.unsigned_abs().max(1));
        (first, usize::try_from(count).unwrap_or(usize::MAX))
    }

    /// Number of positions selected of an axis of `extent` positions.
    #[must_use]
    pub fn count(&self, extent: usize) -> usize {
        if extent == 0 { 0 } else { self.range(extent).1 }
    }

    /// The selected positions of an axis of `extent` positions.
    #[must_use]
    pub fn positions(&self, extent: usize) -> Vec<usize> {
        let first = self.range(extent).0;
        let at =
            |i: usize| first.saturating_add(self.step.saturating_mul(i64::try_from(i).unwrap_or(i64::MAX)));
        (0..self.count(extent)).filter_map(|i| usize::try_from(at(i)).ok()).collect()
    }

    pub(crate) fn infer(&self, inputs: &[&TensorType]) -> Result<TensorType, OpError> {
        one("Slice", inputs)?;
        let x = inputs[0];
        if self.step == 0 {
            return Err(OpError::Attribute { op: "Slice", attribute: "step", value: 0 });
        }
        let Some(&extent) = x.shape.get(self.axis) else {
            return Err(shape_error("Slice", "axis is beyond the rank", &[&x.shape]));
        };
        let mut shape = x.shape.clone();
        shape[self.axis] = self.count(extent);
        TensorType::new(x.dtype, shape)
    }

    pub(crate) fn eval(&self, inputs: &[&Tensor]) -> Result<Tensor, OpError> {
        let types: Vec<_> = inputs.iter().map(|t| t.ty()).collect();
        let y = self.infer(&types)?;
        let positions = if y.is_empty() { Vec::new() } else { self.positions(types[0].shape[self.axis]) };
        select(inputs[0], y, 0, |axis, out| Some(if axis == self.axis { positions[out] } else { out }))
    }
}

impl Pad {
    pub(crate) fn infer(&self, inputs: &[&TensorType]) -> Result<TensorType, OpError> {
        one("Pad", inputs)?;
        let x = inputs[0];
        if self.begin.len() != x.shape.len() || self.end.len() != x.shape.len() {
            return Err(shape_error(
                "Pad",
                "needs one begin and one end per axis",
                &[&x.shape, &self.begin, &self.end],
            ));
        }
        match self.mode {
            PadMode::Constant(v) => check_range("Pad", "value", i64::from(v), x.dtype.min()..=x.dtype.max())?,
            PadMode::Edge | PadMode::Reflect => {
                let reach = if self.mode == PadMode::Edge { usize::MAX } else { 0 };
                let fits = |i: usize| {
                    let most = self.begin[i].max(self.end[i]);
                    most == 0 || (x.shape[i] > 0 && most <= reach.max(x.shape[i] - 1))
                };
                if !(0..x.shape.len()).all(fits) {
                    return Err(shape_error("Pad", "padding reaches beyond the mirror image", &[&x.shape]));
                }
            }
        }
        let extent = |i: usize| x.shape[i].saturating_add(self.begin[i]).saturating_add(self.end[i]);
        TensorType::new(x.dtype, (0..x.shape.len()).map(extent).collect())
    }

    fn source(&self, axis: usize, extent: usize, out: usize) -> Option<usize> {
        let (begin, last) = (self.begin[axis], extent.saturating_sub(1));
        let inside = (out >= begin && out - begin < extent).then(|| out - begin);
        match self.mode {
            PadMode::Constant(_) => inside,
            PadMode::Edge => Some(out.saturating_sub(begin).min(last)),
            PadMode::Reflect if out < begin => Some(begin - out),
            PadMode::Reflect => inside.or(Some((2 * last).saturating_sub(out - begin))),
        }
    }

    pub(crate) fn eval(&self, inputs: &[&Tensor]) -> Result<Tensor, OpError> {
        let types: Vec<_> = inputs.iter().map(|t| t.ty()).collect();
        let y = self.infer(&types)?;
        let fill = match self.mode {
            PadMode::Constant(v) => i64::from(v),
            PadMode::Edge | PadMode::Reflect => 0,
        };
        select(inputs[0], y, fill, |axis, out| self.source(axis, types[0].shape[axis], out))
    }
}

impl Gather {
    pub(crate) fn infer(&self, inputs: &[&TensorType]) -> Result<TensorType, OpError> {
        check_arity("Gather", inputs.len(), 2, 2)?;
        let (data, indices) = (inputs[0], inputs[1]);
        if indices.dtype != DType::I32 {
            return Err(OpError::Type { op: "Gather", operand: 1, expected: "i32", found: indices.dtype });
        }
        if self.axis >= data.shape.len() {
            return Err(shape_error("Gather", "axis is beyond the rank", &[&data.shape, &indices.shape]));
        }
        let shape = [&data.shape[..self.axis], &indices.shape, &data.shape[self.axis + 1..]].concat();
        TensorType::new(data.dtype, shape)
    }

    pub(crate) fn eval(&self, inputs: &[&Tensor]) -> Result<Tensor, OpError> {
        let types: Vec<_> = inputs.iter().map(|t| t.ty()).collect();
        let y = self.infer(&types)?;
        let (data, indices) = (inputs[0], inputs[1]);
        let extent = data.shape()[self.axis];
        let n = i64::try_from(extent).unwrap_or(i64::MAX);
        let outer: usize = data.shape()[..self.axis].iter().product();
        let inner: usize = data.shape()[self.axis + 1..].iter().product();
        let position = |&index: &i64| {
            let k = if index < 0 { index + n } else { index };
            match usize::try_from(k) {
                Ok(k) if k < extent => Ok(k),
                Ok(_) | Err(_) => Err(OpError::Range { op: "Gather", value: index, lo: -n, hi: n - 1 }),
            }
        };
        let mut values = Vec::with_capacity(y.len());
        if outer == 0 {
            return Tensor::new(y.dtype, y.shape, values);
        }
        let positions = indices.values().iter().map(position).collect::<Result<Vec<_>, _>>()?;
        for a in 0..if y.is_empty() { 0 } else { outer } {
            for k in &positions {
                let at = (a * extent + k) * inner;
                values.extend_from_slice(&data.values()[at..at + inner]);
            }
        }
        Tensor::new(y.dtype, y.shape, values)
    }
}

impl Resize {
    pub(crate) fn infer(&self, inputs: &[&TensorType]) -> Result<TensorType, OpError> {
        one("Resize", inputs)?;
        let x = inputs[0];
        if self.scales.len() != x.shape.len() {
            return Err(shape_error("Resize", "needs one scale per axis", &[&x.shape]));
        }
        for &(n, d) in &self.scales {
            check_range("Resize", "scale", i64::try_from(n).unwrap_or(-1), 1..=65_536)?;
            check_range("Resize", "scale", i64::try_from(d).unwrap_or(-1), 1..=65_536)?;
        }
        // Saturating at `usize::MAX` would give a 32-bit machine another quotient.
        let extent = |(&x, &(n, d)): (&usize, &(usize, usize))| {
            let [x, n, d] = [x, n, d].map(|v| u64::try_from(v).unwrap_or(u64::MAX));
            usize::try_from(x.saturating_mul(n) / d).unwrap_or(usize::MAX)
        };
        TensorType::new(x.dtype, x.shape.iter().zip(&self.scales).map(extent).collect())
    }

    /// Input position for output position `out` of `out_size`, as a fraction rounded by the rule and moved into the axis.
    /// Sizes are extents of valid tensors.
    #[must_use]
    pub fn source(&self, in_size: usize, out_size: usize, out: usize) -> usize {
        let [i, o, p] =
            [in_size, out_size.max(1), out].map(|v| i128::try_from(v.min(ELEMENTS_MAX)).unwrap_or(0));
        let (num, den) = match self.coordinates {
            ResizeCoordinates::Asymmetric => (p * i, o),
            ResizeCoordinates::HalfPixel => ((2 * p + 1) * i - o, 2 * o),
            ResizeCoordinates::AlignCorners => (p * (i - 1), (o - 1).max(1)),
        };
        let rounded = match self.rounding {
            ResizeRounding::Floor => num.div_euclid(den),
            ResizeRounding::Ceil => -(-num).div_euclid(den),
            ResizeRounding::PreferFloor => -(-2 * num + den).div_euclid(2 * den),
            ResizeRounding::PreferCeil => (2 * num + den).div_euclid(2 * den),
        };
        usize::try_from(rounded.clamp(0, (i - 1).max(0))).unwrap_or(0)
    }

    pub(crate) fn eval(&self, inputs: &[&Tensor]) -> Result<Tensor, OpError> {
        let types: Vec<_> = inputs.iter().map(|t| t.ty()).collect();
        let y = self.infer(&types)?;
        let sizes: Vec<_> = types[0].shape.iter().copied().zip(y.shape.iter().copied()).collect();
        select(inputs[0], y, 0, |axis, out| Some(self.source(sizes[axis].0, sizes[axis].1, out)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ONNX's `Slice`, walked step by step.
    fn walked(extent: i64, start: i64, end: i64, step: i64) -> Vec<usize> {
        let absolute = |v: i64| if v < 0 { v + extent } else { v };
        let (start, end) = if step > 0 {
            (absolute(start).clamp(0, extent), absolute(end).clamp(0, extent))
        } else {
            (absolute(start).clamp(0, extent - 1), absolute(end).clamp(-1, extent - 1))
        };
        let (mut at, mut positions) = (start, Vec::new());
        while (step > 0 && at < end) || (step < 0 && at > end) {
            positions.push(usize::try_from(at).unwrap());
            at += step;
        }
        positions
    }

    #[test]
    fn slices_select_what_walking_selects() {
        for extent in 1..7i64 {
            for (start, end) in (-9..10).flat_map(|s| (-9..10).map(move |e| (s, e))) {
                for step in [-7, -3, -2, -1, 1, 2, 3, 7] {
                    let slice = Slice { axis: 0, start, end, step };
                    let n = usize::try_from(extent).unwrap();
                    let expected = walked(extent, start, end, step);
                    assert_eq!(slice.positions(n), expected, "{extent}: {slice:?}");
                    assert_eq!(slice.count(n), expected.len(), "{extent}: {slice:?}");
                }
            }
        }
    }

    #[test]
    fn slices_of_extremes_take_no_memory() {
        let slice = Slice { axis: 0, start: i64::MIN, end: i64::MAX, step: i64::MAX };
        assert_eq!(slice.positions(1 << 40), [0]);
        let slice = Slice { axis: 0, start: i64::MAX, end: i64::MIN, step: i64::MIN };
        assert_eq!(slice.positions(1 << 40), [(1 << 40) - 1]);
        assert_eq!(Slice { axis: 0, start: 0, end: i64::MAX, step: 1 }.count(1 << 40), 1 << 40);
    }
}
