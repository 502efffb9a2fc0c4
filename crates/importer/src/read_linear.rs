//! MatMul, Gemm, convolutions, and batch normalisation folded into them.

use std::sync::Arc;

use crate::{
    ImportError,
    layout::Layout,
    onnx::Attributes,
    read::{Act, Reader, Site},
    real::{Extent, Linear, LinearKind, RealConstant, RealOp},
};

/// Multiplies and shifts the outputs of the linear node that makes `x` by per-channel constants, if it is linear and
/// nothing follows it yet.
pub(crate) fn absorb(
    r: &mut Reader,
    x: &Act,
    mul: Option<&RealConstant>,
    add: Option<&RealConstant>,
) -> bool {
    let node = &mut r.graph.nodes[x.node.0];
    let free = node.clip.is_none() && node.declared.is_none() && node.tie.is_none();
    let RealOp::Linear(linear) = &mut node.op else { return false };
    let n = linear.n_outputs();
    let per_channel = |c: &RealConstant| {
        let (last, outer) = c.shape.split_last().map_or((1, 1), |(l, o)| (*l, o.iter().product()));
        outer == 1 && (last == 1 || last == n)
    };
    if !free || !mul.into_iter().chain(add).all(per_channel) {
        return false;
    }
    let linear = Arc::make_mut(linear);
    let k = linear.w.len() / n.max(1);
    let at = |c: Option<&RealConstant>, j: usize| c.map(|c| c.values[j % c.values.len()]);
    for j in 0..n {
        if let Some(m) = at(mul, j) {
            linear.w[j * k..(j + 1) * k].iter_mut().for_each(|w| *w *= m);
            linear.b[j] *= m;
        }
        if let Some(a) = at(add, j) {
            linear.b[j] += a;
        }
    }
    true
}

fn linear(r: &mut Reader, site: Site<'_>, x: &Act, op: Linear, shape: Vec<Extent>, layout: Layout) -> Act {
    r.push(&site.name(), RealOp::Linear(Arc::new(op)), &[x], shape, layout)
}

/// `[k, n]` weights as `[n, k]`, with the columns in the order in which `x` lies in memory.
fn transposed(w: &[f32], k: usize, n: usize, layout: &Layout) -> Vec<f32> {
    let source = |i: usize| match layout {
        Layout::FlatChannelsLast([h, wd, c]) => i % c * (h * wd) + i / c,
        Layout::Plain | Layout::ChannelsLast => i,
    };
    (0..n).flat_map(|j| (0..k).map(move |i| w[source(i) * n + j])).collect()
}

/// `x` times `w` `[k, n]`, over the last axis.
fn product(
    r: &mut Reader,
    site: Site<'_>,
    x: Act,
    w: &[f32],
    [k, n]: [usize; 2],
    b: Option<Vec<f32>>,
) -> Result<Act, ImportError> {
    if k == 0 || n == 0 || x.shape.last().and_then(|d| d.fixed()) != Some(k) {
        return Err(site.refuse(format!("the last axis of the value must have extent {k}")));
    }
    let x = if x.layout == Layout::ChannelsLast { r.plain(x, &site.name()) } else { x };
    let b = b.unwrap_or_else(|| vec![0.0; n]);
    let op = Linear { kind: LinearKind::MatMul, w: transposed(w, k, n, &x.layout), w_shape: vec![n, k], b };
    let mut shape = x.shape.clone();
    shape.pop();
    shape.push(Extent::Fixed(n));
    Ok(linear(r, site, &x, op, shape, Layout::Plain))
}

pub(crate) fn matmul(r: &mut Reader, site: Site<'_>) -> Result<Act, ImportError> {
    let x = r.act(site, 0)?;
    let Some((shape, w)) = r.floats(site, 1)? else {
        return Err(site.refuse("the second operand is missing"));
    };
    let [k, n] = shape.as_slice() else {
        return Err(site.refuse("the constant operand must have two axes"));
    };
    product(r, site, x, &w, [*k, *n], None)
}

pub(crate) fn gemm(r: &mut Reader, site: Site<'_>, a: &Attributes<'_>) -> Result<Act, ImportError> {
    let x = r.act(site, 0)?;
    let (shape, w) = r.floats(site, 1)?.ok_or_else(|| site.refuse("the weights are missing"))?;
    let bias = r.floats(site, 2)?;
    let (alpha, beta) = (a.float("alpha", 1.0), a.float("beta", 1.0));
    if a.int("transA", 0) != 0 || x.shape.len() != 1 {
        return Err(site.refuse("the first operand must be [batch, k], not transposed"));
    }
    gemm_parts(r, site, x, (&shape, &w, a.int("transB", 0) != 0), bias, [alpha, beta])
}

pub(crate) fn gemm_parts(
    r: &mut Reader,
    site: Site<'_>,
    x: Act,
    (shape, w, trans_b): (&[usize], &[f32], bool),
    bias: Option<(Vec<usize>, Vec<f32>)>,
    [alpha, beta]: [f32; 2],
) -> Result<Act, ImportError> {
    let [rows, columns] = *shape else { return Err(site.refuse("the weights must have two axes")) };
    let (k, n) = if trans_b { (columns, rows) } else { (rows, columns) };
    let at = |i: usize| if trans_b { w[i % n * k + i / n] } else { w[i] };
    let w: Vec<f32> = (0..w.len()).map(|i| alpha * at(i)).collect();
    let b = match bias {
        None => None,
        // Not [n, 1], which is one value per row of the batch.
        Some((shape, b)) if b.len() == 1 || (b.len() == n && shape.last() == Some(&n)) => {
            Some((0..w.len().checked_div(k).unwrap_or(0)).map(|j| beta * b[j % b.len()]).collect())
        }
        Some(_) => return Err(site.refuse("the bias must hold one value per output")),
    };
    product(r, site, x, &w, [k, n], b)
}

/// Kernel geometry of a convolution or pool, brought to two spatial axes.
#[derive(Debug, Clone)]
pub(crate) struct Geometry {
    pub(crate) kernel: [usize; 2],
    pub(crate) strides: [usize; 2],
    pub(crate) dilations: [usize; 2],
    pub(crate) pads: [usize; 4],
    auto_pad: String,
}

fn pair(
    site: Site<'_>,
    values: Option<&[i64]>,
    rank: usize,
    default: usize,
) -> Result<[usize; 2], ImportError> {
    let bad = || site.refuse("an attribute has the wrong length, or a value outside its range");
    let Some(values) = values.filter(|v| !v.is_empty()) else { return Ok([default; 2]) };
    let one = |v: i64| usize::try_from(v).ok().filter(|v| (1..=1 << 16).contains(v)).ok_or_else(bad);
    match (values, rank) {
        ([w], 1) => Ok([1, one(*w)?]),
        ([h, w], 2) => Ok([one(*h)?, one(*w)?]),
        (_, _) => Err(bad()),
    }
}

impl Geometry {
    /// Reads kernel attributes for `rank` spatial axes; one axis becomes the width of a height of 1.
    pub(crate) fn read(
        site: Site<'_>,
        a: &Attributes<'_>,
        rank: usize,
        kernel: &[i64],
    ) -> Result<Self, ImportError> {
        let bad = || site.refuse("padding must be between 0 and 65536");
        let pad = |v: i64| usize::try_from(v).ok().filter(|v| *v <= 1 << 16).ok_or_else(bad);
        let pads = match (a.ints("pads").filter(|v| !v.is_empty()), rank) {
            (None, _) => [0; 4],
            (Some([l, r]), 1) => [0, pad(*l)?, 0, pad(*r)?],
            (Some([t, l, b, r]), 2) => [pad(*t)?, pad(*l)?, pad(*b)?, pad(*r)?],
            (Some(_), _) => return Err(bad()),
        };
        let strides = pair(site, a.ints("strides"), rank, 1)?;
        let dilations = pair(site, a.ints("dilations"), rank, 1)?;
        let kernel = pair(site, Some(kernel), rank, 1)?;
        Ok(Self { kernel, strides, dilations, pads, auto_pad: a.text("auto_pad", "NOTSET") })
    }

    pub(crate) fn span(&self, axis: usize) -> usize {
        (self.kernel[axis] - 1) * self.dilations[axis] + 1
    }

    /// Replaces `auto_pad` by explicit pads; `total` gives the padding an axis needs in all.
    pub(crate) fn resolve(
        &mut self,
        site: Site<'_>,
        total: impl Fn(&Self, usize) -> Option<usize>,
    ) -> Result<(), ImportError> {
        match self.auto_pad.as_str() {
            "NOTSET" | "" => return Ok(()),
            "VALID" => {
                self.pads = [0; 4];
                return Ok(());
            }
            "SAME_UPPER" | "SAME_LOWER" => {}
            _ => return Err(site.refuse("auto_pad has an unknown value")),
        }
        for axis in 0..2 {
            let total = total(self, axis)
                .ok_or_else(|| site.refuse("automatic padding is not known at import; give pads"))?;
            let small = total / 2;
            let (begin, end) =
                if self.auto_pad == "SAME_UPPER" { (small, total - small) } else { (total - small, small) };
            (self.pads[axis], self.pads[axis + 2]) = (begin, end);
        }
        Ok(())
    }

    /// Padding that keeps `ceil(extent / stride)` outputs.
    pub(crate) fn same_total(&self, axis: usize, extent: Extent) -> Option<usize> {
        let (stride, span) = (self.strides[axis], self.span(axis));
        match extent.fixed() {
            Some(n) => Some((n.div_ceil(stride).saturating_sub(1) * stride + span).saturating_sub(n)),
            None => (stride == 1).then_some(span - 1),
        }
    }
}

/// Height and width of a value with one or two spatial axes.
pub(crate) fn spatial(x: &Act) -> [Extent; 2] {
    match x.shape.as_slice() {
        [_, w] => [Extent::Fixed(1), *w],
        [_, h, w] => [*h, *w],
        _ => [Extent::Derived; 2],
    }
}

/// Runs `f` on a channels-last value with two spatial axes; a missing height is added before and removed after.
pub(crate) fn with_spatial(
    r: &mut Reader,
    site: Site<'_>,
    x: Act,
    f: impl FnOnce(&mut Reader, &Act) -> Result<Act, ImportError>,
) -> Result<Act, ImportError> {
    let name = site.name();
    let x = r.channels_last(x, &name);
    if x.shape.len() == 3 {
        return f(r, &x);
    }
    let x = r.regroup(&name, &x, &[Some(0), None, Some(1)], Layout::ChannelsLast);
    let y = f(r, &x)?;
    Ok(r.regroup(&name, &y, &[Some(0), Some(2)], Layout::ChannelsLast))
}

fn check_spatial(site: Site<'_>, x: &Act, w_shape: &[usize]) -> Result<usize, ImportError> {
    let rank = x.shape.len().saturating_sub(1);
    if !(1..=2).contains(&rank) || w_shape.len() != rank + 2 {
        return Err(site.refuse("convolutions over one or two spatial axes are supported"));
    }
    Ok(rank)
}

fn groups(site: Site<'_>, a: &Attributes<'_>) -> Result<usize, ImportError> {
    let group = usize::try_from(a.int("group", 1)).ok().filter(|g| (1..=1 << 16).contains(g));
    group.ok_or_else(|| site.refuse("group must lie between 1 and 65536"))
}

fn kernel_of(w_shape: &[usize]) -> Vec<i64> {
    w_shape.iter().skip(2).map(|&d| i64::try_from(d).unwrap_or(0)).collect()
}

pub(crate) fn conv(r: &mut Reader, site: Site<'_>, a: &Attributes<'_>) -> Result<Act, ImportError> {
    let x = r.act(site, 0)?;
    let (shape, w) = r.floats(site, 1)?.ok_or_else(|| site.refuse("the weights are missing"))?;
    let bias = r.floats(site, 2)?.map(|(_, b)| b);
    conv_parts(r, site, a, x, (&shape, &w), bias)
}

pub(crate) fn conv_parts(
    r: &mut Reader,
    site: Site<'_>,
    a: &Attributes<'_>,
    x: Act,
    (shape, w): (&[usize], &[f32]),
    bias: Option<Vec<f32>>,
) -> Result<Act, ImportError> {
    let rank = check_spatial(site, &x, shape)?;
    let mut g = Geometry::read(site, a, rank, &kernel_of(shape))?;
    let extents = spatial(&x);
    g.resolve(site, |g, axis| g.same_total(axis, extents[axis]))?;
    let (oc, cg, groups) = (shape[0], shape[1], groups(site, a)?);
    if x.shape[0].fixed() != Some(cg * groups) || oc % groups != 0 || oc == 0 || w.is_empty() {
        return Err(site.refuse("channels, groups and weights disagree"));
    }
    let taps = g.kernel[0] * g.kernel[1];
    let source = |o: usize, t: usize, c: usize| w[(o * cg + c) * taps + t];
    let w =
        (0..oc).flat_map(|o| (0..taps).flat_map(move |t| (0..cg).map(move |c| source(o, t, c)))).collect();
    let b = bias.filter(|b| !b.is_empty()).unwrap_or_else(|| vec![0.0; oc]);
    if b.len() != oc {
        return Err(site.refuse("the bias must hold one value per output channel"));
    }
    let kind = LinearKind::Conv { strides: g.strides, pads: g.pads, dilations: g.dilations, groups };
    let op = Linear { kind, w, w_shape: vec![oc, g.kernel[0], g.kernel[1], cg], b };
    with_spatial(r, site, x, |r, x| {
        let extent = |axis: usize| -> Result<Extent, ImportError> {
            let padded = x.shape[axis + 1].fixed().map(|n| n + g.pads[axis] + g.pads[axis + 2]);
            match padded {
                Some(n) if n < g.span(axis) => Err(site.refuse("the kernel is larger than the padded input")),
                Some(n) => Ok(Extent::Fixed((n - g.span(axis)) / g.strides[axis] + 1)),
                None => Ok(Extent::Derived),
            }
        };
        let shape = vec![Extent::Fixed(oc), extent(0)?, extent(1)?];
        Ok(linear(r, site, x, op, shape, Layout::ChannelsLast))
    })
}

pub(crate) fn conv_transpose(r: &mut Reader, site: Site<'_>, a: &Attributes<'_>) -> Result<Act, ImportError> {
    let x = r.act(site, 0)?;
    let (shape, w) = r.floats(site, 1)?.ok_or_else(|| site.refuse("the weights are missing"))?;
    let rank = check_spatial(site, &x, &shape)?;
    if a.ints("output_shape").is_some_and(|v| !v.is_empty()) {
        return Err(site.refuse("output_shape is not supported; give pads and output_padding"));
    }
    let mut g = Geometry::read(site, a, rank, &kernel_of(&shape))?;
    let output_pads = match a.ints("output_padding").filter(|v| !v.is_empty()) {
        Some([w]) if rank == 1 && (0..1 << 16).contains(w) => [0, usize::try_from(*w).unwrap_or(0)],
        Some([h, w]) if rank == 2 && (0..1 << 16).contains(h) && (0..1 << 16).contains(w) => {
            [usize::try_from(*h).unwrap_or(0), usize::try_from(*w).unwrap_or(0)]
        }
        Some(_) => {
            return Err(site.refuse("output_padding has the wrong length or a value outside its range"));
        }
        None => [0, 0],
    };
    g.resolve(site, |g, axis| (g.span(axis) + output_pads[axis]).checked_sub(g.strides[axis]))?;
    let (ic, og, groups) = (shape[0], shape[1], groups(site, a)?);
    let (oc, cg) = (og * groups, ic / groups);
    if x.shape[0].fixed() != Some(ic) || ic % groups != 0 || oc == 0 || w.is_empty() {
        return Err(site.refuse("channels, groups and weights disagree"));
    }
    let taps = g.kernel[0] * g.kernel[1];
    let source = |o: usize, t: usize, c: usize| w[((o / og * cg + c) * og + o % og) * taps + t];
    let w =
        (0..oc).flat_map(|o| (0..taps).flat_map(move |t| (0..cg).map(move |c| source(o, t, c)))).collect();
    let b = r.floats(site, 2)?.map_or_else(|| vec![0.0; oc], |(_, b)| b);
    if b.len() != oc {
        return Err(site.refuse("the bias must hold one value per output channel"));
    }
    let kind = LinearKind::ConvTranspose {
        strides: g.strides,
        pads: g.pads,
        dilations: g.dilations,
        groups,
        output_pads,
    };
    let op = Linear { kind, w, w_shape: vec![oc, g.kernel[0], g.kernel[1], cg], b };
    with_spatial(r, site, x, |r, x| {
        let extent = |axis: usize| {
            let trim = g.pads[axis] + g.pads[axis + 2];
            x.shape[axis + 1].map(|n| {
                ((n.max(1) - 1) * g.strides[axis] + g.span(axis) + output_pads[axis]).saturating_sub(trim)
            })
        };
        let shape = vec![Extent::Fixed(oc), extent(0), extent(1)];
        Ok(linear(r, site, x, op, shape, Layout::ChannelsLast))
    })
}

pub(crate) fn batch_norm(r: &mut Reader, site: Site<'_>, a: &Attributes<'_>) -> Result<Act, ImportError> {
    let x = r.act(site, 0)?;
    let mut parts = Vec::new();
    for i in 1..5 {
        parts.push(
            r.floats(site, i)?
                .ok_or_else(|| site.refuse("scale, bias, mean and variance must be constants"))?
                .1,
        );
    }
    let n = x
        .shape
        .first()
        .and_then(|d| d.fixed())
        .ok_or_else(|| site.refuse("the channel extent must be fixed"))?;
    if parts.iter().any(|p| p.len() != n) {
        return Err(site.refuse("scale, bias, mean and variance need one value per channel"));
    }
    let epsilon = f64::from(a.float("epsilon", 1e-5));
    let f = |part: usize, i: usize| f64::from(parts[part][i]);
    let slope = |i: usize| f(0, i) / (f(3, i) + epsilon).sqrt();
    if (0..n).any(|i| f(3, i) + epsilon <= 0.0) {
        return Err(site.refuse("a variance is not positive"));
    }
    #[expect(clippy::cast_possible_truncation, reason = "computed in f64, rounded once to f32")]
    let mul: Vec<f32> = (0..n).map(|i| slope(i) as f32).collect();
    #[expect(clippy::cast_possible_truncation, reason = "computed in f64, rounded once to f32")]
    let add: Vec<f32> = (0..n).map(|i| (f(1, i) - f(2, i) * slope(i)) as f32).collect();
    let shape: Vec<usize> = std::iter::once(n).chain(std::iter::repeat_n(1, x.shape.len() - 1)).collect();
    let mul = r.broadcast_constant(site, &x, &shape, mul)?;
    let add = r.broadcast_constant(site, &x, &shape, add)?;
    if r.used_once(site, 0) && absorb(r, &x, Some(&mul), Some(&add)) {
        return Ok(x);
    }
    let (shape, layout) = (x.shape.clone(), x.layout.clone());
    let y = r.push(&site.name(), RealOp::MulConstant(mul), &[&x], shape.clone(), layout.clone());
    Ok(r.push(&site.name(), RealOp::AddConstant(add), &[&y], shape, layout))
}
