//! Pooling, reductions, ArgMax and Softmax.

use veracity_ops::{Op, ReduceKind, Transpose, Window};

use crate::{
    ImportError,
    func::Func,
    layout::Layout,
    onnx::Attributes,
    read::{Act, Reader, Site},
    read_linear::{Geometry, spatial, with_spatial},
    real::{Extent, RealOp},
};

/// The sample axis that ONNX's axis `axis` is, for a value with `rank` sample axes and the batch axis first; the batch
/// axis is refused.
pub(crate) fn sample_axis(site: Site<'_>, axis: i64, rank: usize) -> Result<usize, ImportError> {
    axis_beside_batch(site, axis, rank, 0)
}

/// As [`sample_axis`], with the batch axis at position `batch`.
pub(crate) fn axis_beside_batch(
    site: Site<'_>,
    axis: i64,
    rank: usize,
    batch: usize,
) -> Result<usize, ImportError> {
    let full = i64::try_from(rank + 1).unwrap_or(i64::MAX);
    let axis = if axis < 0 { axis + full } else { axis };
    match usize::try_from(axis) {
        Ok(axis) if axis == batch => {
            Err(site.refuse("it works along the batch axis, which would mix samples"))
        }
        Ok(axis) if axis <= rank => Ok(axis - usize::from(axis > batch)),
        Ok(_) | Err(_) => Err(site.refuse("the axis is outside the rank")),
    }
}

pub(crate) fn pool(
    r: &mut Reader,
    site: Site<'_>,
    a: &Attributes<'_>,
    max: bool,
) -> Result<Act, ImportError> {
    let x = r.act(site, 0)?;
    if a.int("channels_last", 0) != 0 {
        return Err(site.refuse("channels_last is not supported"));
    }
    let rank = x.shape.len().saturating_sub(1);
    let kernel = a.ints("kernel_shape").unwrap_or(&[]);
    if !(1..=2).contains(&rank) || kernel.len() != rank {
        return Err(site.refuse("pools over one or two spatial axes are supported"));
    }
    if site.node.output.len() > 1 && site.node.output.iter().skip(1).any(|o| !o.is_empty()) {
        return Err(site.refuse("the indices output is not supported"));
    }
    let mut g = Geometry::read(site, a, rank, kernel)?;
    let extents = spatial(&x);
    g.resolve(site, |g, axis| g.same_total(axis, extents[axis]))?;
    let count_pads = a.int("count_include_pad", 0) != 0;
    pool_parts(r, site, x, &g, a.int("ceil_mode", 0) != 0, (!max).then_some(count_pads))
}

/// Pools with geometry `g`: the maximum, or the mean with the given treatment of padding.
fn pool_parts(
    r: &mut Reader,
    site: Site<'_>,
    x: Act,
    g: &Geometry,
    ceil: bool,
    mean: Option<bool>,
) -> Result<Act, ImportError> {
    let window = Window { kernel: g.kernel, strides: g.strides, pads: g.pads, dilations: g.dilations, ceil };
    with_spatial(r, site, x, |r, x| {
        let extent = |axis: usize| match x.shape[axis + 1] {
            Extent::Fixed(n) => {
                let refuse = || site.refuse("the window is larger than the padded input");
                window.extent(axis, n).map(Extent::Fixed).ok_or_else(refuse)
            }
            Extent::Symbol(_) | Extent::Derived => Ok(Extent::Derived),
        };
        let shape = vec![x.shape[0], extent(0)?, extent(1)?];
        let op = match mean {
            None => RealOp::MaxPool(window.clone()),
            Some(count_pads) => RealOp::AvgPool { window: window.clone(), count_pads },
        };
        Ok(r.push(&site.name(), op, &[x], shape, Layout::ChannelsLast))
    })
}

pub(crate) fn global(r: &mut Reader, site: Site<'_>, max: bool) -> Result<Act, ImportError> {
    let x = r.act(site, 0)?;
    global_parts(r, site, x, if max { ReduceKind::Max } else { ReduceKind::Mean })
}

pub(crate) fn global_parts(
    r: &mut Reader,
    site: Site<'_>,
    x: Act,
    kind: ReduceKind,
) -> Result<Act, ImportError> {
    if x.shape.len() < 2 {
        return Err(site.refuse("a global pool needs at least one spatial axis"));
    }
    let axes: Vec<usize> = (1..x.shape.len()).collect();
    Ok(reduce_axes(r, site, x, kind, &axes, true))
}

/// Reduces ONNX sample axes `axes` (ascending).
fn reduce_axes(r: &mut Reader, site: Site<'_>, x: Act, kind: ReduceKind, axes: &[usize], keep: bool) -> Act {
    let name = site.name();
    let all_spatial = axes.iter().copied().eq(1..x.shape.len());
    let x = if all_spatial { r.channels_last(x, &name) } else { r.plain(x, &name) };
    let mut physical: Vec<usize> = axes.iter().map(|&a| x.physical_axis(a)).collect();
    physical.sort_unstable();
    let kept = |(i, d): (usize, &Extent)| if axes.contains(&i) { Extent::Fixed(1) } else { *d };
    let shape: Vec<Extent> = x.shape.iter().enumerate().map(kept).collect();
    let y = r.push(&name, RealOp::Reduce { kind, axes: physical }, &[&x], shape, x.layout.clone());
    if keep {
        return y;
    }
    let left: Vec<Option<usize>> = (0..y.shape.len()).filter(|i| !axes.contains(i)).map(Some).collect();
    r.regroup(&name, &y, &left, Layout::Plain)
}

pub(crate) fn reduce(
    r: &mut Reader,
    site: Site<'_>,
    a: &Attributes<'_>,
    op: &str,
) -> Result<Act, ImportError> {
    let x = r.act(site, 0)?;
    let kind = match op {
        "ReduceMean" => ReduceKind::Mean,
        "ReduceSum" => ReduceKind::Sum,
        _ => ReduceKind::Max,
    };
    let axes = match r.ints(site, 1)? {
        Some(axes) => Some(axes),
        None => a.ints("axes").map(<[i64]>::to_vec),
    };
    let Some(axes) = axes.filter(|v| !v.is_empty()) else {
        if a.int("noop_with_empty_axes", 0) != 0 {
            return Ok(x);
        }
        return Err(site.refuse("without axes it reduces the batch axis too, which would mix samples"));
    };
    let mut axes: Vec<usize> =
        axes.iter().map(|&v| sample_axis(site, v, x.shape.len())).collect::<Result<_, _>>()?;
    axes.sort_unstable();
    axes.dedup();
    Ok(reduce_axes(r, site, x, kind, &axes, a.int("keepdims", 1) != 0))
}

pub(crate) fn arg_max(r: &mut Reader, site: Site<'_>, a: &Attributes<'_>) -> Result<Act, ImportError> {
    let x = r.act(site, 0)?;
    let axis = sample_axis(site, a.int("axis", 0), x.shape.len())?;
    let name = site.name();
    let x = r.plain(x, &name);
    let kept = |(i, d): (usize, &Extent)| if i == axis { Extent::Fixed(1) } else { *d };
    let shape: Vec<Extent> = x.shape.iter().enumerate().map(kept).collect();
    let last = a.int("select_last_index", 0) != 0;
    let y = r.push(&name, RealOp::ArgMax { axis, last }, &[&x], shape, Layout::Plain);
    if a.int("keepdims", 1) != 0 {
        return Ok(y);
    }
    let left: Vec<Option<usize>> = (0..y.shape.len()).filter(|i| *i != axis).map(Some).collect();
    Ok(r.regroup(&name, &y, &left, Layout::Plain))
}

/// The sample axes that form one row: one axis, or before operator set 13 all from `axis` on.
fn row_axes(r: &Reader, site: Site<'_>, a: &Attributes<'_>, rank: usize) -> Result<Vec<usize>, ImportError> {
    let flat = r.opset < 13;
    let axis = sample_axis(site, a.int("axis", if flat { 1 } else { -1 }), rank)?;
    Ok(if flat { (axis..rank).collect() } else { vec![axis] })
}

pub(crate) fn softmax(r: &mut Reader, site: Site<'_>, a: &Attributes<'_>) -> Result<Act, ImportError> {
    let x = r.act(site, 0)?;
    let name = site.name();
    let axes = row_axes(r, site, a, x.shape.len())?;
    if axes == [0] && x.layout == Layout::ChannelsLast {
        return Ok(r.push(&name, RealOp::Softmax, &[&x], x.shape.clone(), x.layout.clone()));
    }
    let x = r.plain(x, &name);
    let (rank, axis) = (x.shape.len(), axes[0]);
    if axis + 1 == rank {
        return Ok(softmax_last(r, site, &x));
    }
    if let [axis] = axes.as_slice() {
        return Ok(softmax_inner(r, site, &x, *axis));
    }
    let tail = x.shape[axis..].iter().try_fold(1, |n, d| Some(n * d.fixed()?));
    let row = tail.map_or(Extent::Derived, Extent::Fixed);
    let rows: Vec<Extent> = x.shape[..axis].iter().copied().chain([row]).collect();
    let flat = r.reshape(site, &x, rows, Layout::Plain)?;
    let y = softmax_last(r, site, &flat);
    r.reshape(site, &y, x.shape, Layout::Plain)
}

pub(crate) fn softmax_last(r: &mut Reader, site: Site<'_>, x: &Act) -> Act {
    r.push(&site.name(), RealOp::Softmax, &[x], x.shape.clone(), Layout::Plain)
}

/// Softmax over an axis that is not the last: it changes places with the last one before and after.
fn softmax_inner(r: &mut Reader, site: Site<'_>, x: &Act, axis: usize) -> Act {
    let last = x.shape.len() - 1;
    let mut perm: Vec<usize> = (0..=last).collect();
    perm.swap(axis, last);
    let swap = |r: &mut Reader, x: &Act| {
        let shape = perm.iter().map(|&p| x.shape[p]).collect();
        let op = RealOp::Move(Op::Transpose(Transpose { perm: perm.clone() }));
        r.push(&site.name(), op, &[x], shape, Layout::Plain)
    };
    let swapped = swap(r, x);
    let y = softmax_last(r, site, &swapped);
    swap(r, &y)
}

/// `t - log(sum(exp(t)))` with `t` the distance to the row's largest value: a logarithm of the softmax itself would have
/// few bits where probabilities are small.
pub(crate) fn log_softmax(r: &mut Reader, site: Site<'_>, a: &Attributes<'_>) -> Result<Act, ImportError> {
    let x = r.act(site, 0)?;
    let axes = row_axes(r, site, a, x.shape.len())?;
    let x = if matches!(x.layout, Layout::FlatChannelsLast(_)) { r.plain(x, &site.name()) } else { x };
    let mut physical: Vec<usize> = axes.iter().map(|&a| x.physical_axis(a)).collect();
    physical.sort_unstable();
    let kept = |(i, d): (usize, &Extent)| if axes.contains(&i) { Extent::Fixed(1) } else { *d };
    let row: Vec<Extent> = x.shape.iter().enumerate().map(kept).collect();
    let mut step = |op: RealOp, inputs: &[&Act], bounds: (f64, f64)| {
        let shape = if matches!(op, RealOp::Reduce { .. }) { row.clone() } else { inputs[0].shape.clone() };
        let y = r.push(&site.name(), op, inputs, shape, x.layout.clone());
        let node = &mut r.graph.nodes[y.node.0];
        (node.wide, node.bounds) = (true, Some(bounds));
        y
    };
    let (any, reduce) =
        ((f64::NEG_INFINITY, f64::INFINITY), |kind| RealOp::Reduce { kind, axes: physical.clone() });
    let largest = step(reduce(ReduceKind::Max), &[&x], any);
    let distance = step(RealOp::Sub, &[&x, &largest], (f64::NEG_INFINITY, 0.0));
    let exp = step(RealOp::Func(Func::Exp), &[&distance], (0.0, 1.0));
    let sum = step(reduce(ReduceKind::Sum), &[&exp], (1.0, f64::INFINITY));
    let log = step(RealOp::Func(Func::Log), &[&sum], (0.0, f64::INFINITY));
    Ok(step(RealOp::Sub, &[&distance, &log], (f64::NEG_INFINITY, 0.0)))
}
