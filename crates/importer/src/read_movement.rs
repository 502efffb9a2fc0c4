//! Operators that move values.

use veracity_ops::{Op, PadMode, RANK_MAX, Resize, ResizeCoordinates, ResizeRounding, Slice, Transpose};

use crate::{
    ImportError,
    fold::constant_axes,
    layout::Layout,
    onnx::{Attributes, Constant, ConstantData},
    read::{Act, Reader, Site, Value},
    read_pool::{axis_beside_batch, sample_axis},
    read_shape::ShapeItem,
    real::{Extent, RealConstant, RealOp},
};

/// Most positions that `Pad` adds on one side.
const PAD_MAX: usize = 1 << 20;
pub(crate) fn permutation(
    site: Site<'_>,
    perm: Option<&[i64]>,
    rank: usize,
) -> Result<Vec<usize>, ImportError> {
    let Some(perm) = perm.filter(|p| !p.is_empty()) else { return Ok((0..rank).rev().collect()) };
    let perm: Vec<usize> = perm.iter().map(|&a| usize::try_from(a).unwrap_or(usize::MAX)).collect();
    let mut sorted = perm.clone();
    sorted.sort_unstable();
    if sorted.into_iter().eq(0..rank) {
        Ok(perm)
    } else {
        Err(site.refuse("perm is not a permutation of the axes"))
    }
}

pub(crate) fn reshape(r: &mut Reader, site: Site<'_>, a: &Attributes<'_>) -> Result<Act, ImportError> {
    let x = r.free_act(site, 0)?;
    let items = r.shape_operand(site, 1)?;
    if a.int("allowzero", 0) != 0 && items.contains(&ShapeItem::Known(0)) {
        return Err(site.refuse("allowzero with an extent of zero makes an empty value"));
    }
    // Axes before the batch stay as they are; the others are those of a value whose batch axis is first.
    let batch = x.batch;
    let same = |(item, extent): (&ShapeItem, &Extent)| match (item, extent) {
        (ShapeItem::Known(0), _) => true,
        (ShapeItem::Known(n), Extent::Fixed(extent)) => usize::try_from(*n) == Ok(*extent),
        (ShapeItem::Symbol(a), Extent::Symbol(b)) => a == b,
        (_, _) => false,
    };
    if items.len() <= batch || !items.iter().zip(&x.shape[..batch]).all(same) {
        return Err(site.refuse("the axes up to the batch must stay as they are"));
    }
    let inner = Act { shape: x.shape[batch..].to_vec(), batch: 0, ..x.clone() };
    // A zero there copies the axis at its own position.
    let tail = r.reshape_target(site, &inner, &items[batch..])?;
    let y = to_shape(r, site, x.clone(), [&x.shape[..batch], &tail].concat())?;
    Ok(Act { batch, ..y })
}

pub(crate) fn flatten(r: &mut Reader, site: Site<'_>, a: &Attributes<'_>) -> Result<Act, ImportError> {
    let x = r.any_act(site)?;
    let full = i64::try_from(x.shape.len() + 1).unwrap_or(0);
    let axis = a.int("axis", 1);
    if axis != 1 && axis != 1 - full {
        return Err(site.refuse("only axis 1, which keeps the batch axis, is supported"));
    }
    let flat = x.len().map_or(Extent::Derived, Extent::Fixed);
    to_shape(r, site, x, vec![flat])
}

fn to_shape(r: &mut Reader, site: Site<'_>, x: Act, shape: Vec<Extent>) -> Result<Act, ImportError> {
    let count = |s: &[Extent]| s.iter().try_fold(1usize, |n, d| n.checked_mul(d.fixed()?));
    if let (Some(a), Some(b)) = (count(&x.shape), count(&shape))
        && a != b
    {
        return Err(site.refuse("the number of values would change"));
    }
    if shape == x.shape && !shape.contains(&Extent::Derived) {
        return Ok(x);
    }
    if let (Layout::ChannelsLast, [Extent::Fixed(_)], Some([c, h, w])) =
        (&x.layout, shape.as_slice(), fixed3(&x.shape))
    {
        let layout = if c == 1 || h * w == 1 { Layout::Plain } else { Layout::FlatChannelsLast([h, w, c]) };
        return r.reshape(site, &x, shape, layout);
    }
    let x = r.plain(x, &site.name());
    r.reshape(site, &x, shape, Layout::Plain)
}

/// Removes or adds axes of extent 1: each axis of the result is one of `x`, or new.
fn to_axes(r: &mut Reader, site: Site<'_>, x: Act, axes: &[Option<usize>]) -> Result<Act, ImportError> {
    let shape: Vec<Extent> = axes.iter().map(|a| a.map_or(Extent::Fixed(1), |a| x.shape[a])).collect();
    if x.len().is_some() {
        return to_shape(r, site, x, shape);
    }
    let x = r.plain(x, &site.name());
    Ok(r.regroup(&site.name(), &x, axes, Layout::Plain))
}

fn fixed3(shape: &[Extent]) -> Option<[usize; 3]> {
    match shape {
        [c, h, w] => Some([c.fixed()?, h.fixed()?, w.fixed()?]),
        _ => None,
    }
}

pub(crate) fn axes_of(
    r: &Reader,
    site: Site<'_>,
    a: &Attributes<'_>,
) -> Result<Option<Vec<i64>>, ImportError> {
    Ok(r.ints(site, 1)?.or_else(|| a.ints("axes").map(<[i64]>::to_vec)))
}

pub(crate) fn squeeze(r: &mut Reader, site: Site<'_>, a: &Attributes<'_>) -> Result<Act, ImportError> {
    let x = r.free_act(site, 0)?;
    let axes = axes_of(r, site, a)?
        .ok_or_else(|| site.refuse("the axes must be given, so that the batch axis stays"))?;
    let axes: Vec<usize> =
        axes.iter().map(|&v| axis_beside_batch(site, v, x.shape.len(), x.batch)).collect::<Result<_, _>>()?;
    if axes.iter().any(|&i| x.shape[i] != Extent::Fixed(1)) {
        return Err(site.refuse("a squeezed axis must have extent 1"));
    }
    let left: Vec<Option<usize>> = (0..x.shape.len()).filter(|i| !axes.contains(i)).map(Some).collect();
    let batch = (0..x.batch).filter(|i| !axes.contains(i)).count();
    Ok(Act { batch, ..to_axes(r, site, x, &left)? })
}

pub(crate) fn unsqueeze(r: &mut Reader, site: Site<'_>, a: &Attributes<'_>) -> Result<Act, ImportError> {
    let x = r.any_act(site)?;
    let axes = axes_of(r, site, a)?.ok_or_else(|| site.refuse("the axes are missing"))?;
    let rank = x.shape.len() + axes.len();
    if rank > RANK_MAX {
        return Err(site.refuse("more than 8 axes are not supported"));
    }
    let axes: Vec<usize> = axes.iter().map(|&v| sample_axis(site, v, rank)).collect::<Result<_, _>>()?;
    let mut source = 0..x.shape.len();
    let mut all = Vec::new();
    for i in 0..rank {
        let old = if axes.contains(&i) { None } else { source.next() };
        if old.is_none() && !axes.contains(&i) {
            return Err(site.refuse("an axis is given twice"));
        }
        all.push(old);
    }
    to_axes(r, site, x, &all)
}

pub(crate) fn transpose(r: &mut Reader, site: Site<'_>, a: &Attributes<'_>) -> Result<Act, ImportError> {
    let x = r.free_act(site, 0)?;
    let perm = permutation(site, a.ints("perm"), x.shape.len() + 1)?;
    let batch = perm.iter().position(|p| *p == x.batch).unwrap_or(0);
    let x = if matches!(x.layout, Layout::FlatChannelsLast(_)) { r.plain(x, &site.name()) } else { x };
    let perm: Vec<usize> =
        perm.iter().filter(|p| **p != x.batch).map(|&p| p - usize::from(p > x.batch)).collect();
    let shape: Vec<Extent> = perm.iter().map(|&p| x.shape[p]).collect();
    let physical: Vec<usize> = perm.iter().map(|&p| x.physical_axis(p)).collect();
    if physical.iter().copied().eq(0..physical.len()) {
        return Ok(Act { node: x.node, shape, layout: Layout::Plain, batch });
    }
    let op = RealOp::Move(Op::Transpose(Transpose { perm: physical }));
    let y = r.push(&site.name(), op, &[&x], shape, Layout::Plain);
    Ok(Act { batch, ..y })
}

pub(crate) fn concat(r: &mut Reader, site: Site<'_>, a: &Attributes<'_>) -> Result<Act, ImportError> {
    let operands: Vec<Act> = (0..site.node.input.len()).map(|i| r.act(site, i)).collect::<Result<_, _>>()?;
    concat_acts(r, site, operands, a.int("axis", 1))
}

pub(crate) fn concat_acts(
    r: &mut Reader,
    site: Site<'_>,
    operands: Vec<Act>,
    axis: i64,
) -> Result<Act, ImportError> {
    let rank = operands.first().map_or(0, |x| x.shape.len());
    let axis = sample_axis(site, axis, rank)?;
    if operands.iter().any(|x| x.shape.len() != rank) {
        return Err(site.refuse("operands differ in rank"));
    }
    if let [only] = operands.as_slice() {
        return Ok(only.clone());
    }
    let flat = operands.iter().any(|x| matches!(x.layout, Layout::FlatChannelsLast(_)));
    let operands: Vec<Act> =
        if flat { operands.into_iter().map(|x| r.plain(x, &site.name())).collect() } else { operands };
    let operands = r.same_layout(operands, &site.name());
    let mut shape = operands[0].shape.clone();
    let total = operands.iter().try_fold(0usize, |n, x| n.checked_add(x.shape[axis].fixed()?));
    shape[axis] = total.map_or(Extent::Derived, Extent::Fixed);
    let (physical, layout) = (operands[0].physical_axis(axis), operands[0].layout.clone());
    let refs: Vec<&Act> = operands.iter().collect();
    Ok(r.push(&site.name(), RealOp::Concat { axis: physical }, &refs, shape, layout))
}

fn slice_axis(r: &mut Reader, site: Site<'_>, x: &Act, axis: usize, range: [i64; 3]) -> Act {
    let [start, end, step] = range;
    let slice = Slice { axis: x.physical_axis(axis), start, end, step };
    let mut shape = x.shape.clone();
    shape[axis] = shape[axis].map(|n| slice.count(n));
    let y = r.push(&site.name(), RealOp::Move(Op::Slice(slice)), &[x], shape, x.layout.clone());
    Act { batch: x.batch, ..y }
}

fn unflattened(r: &mut Reader, site: Site<'_>, x: Act) -> Act {
    if matches!(x.layout, Layout::FlatChannelsLast(_)) { r.plain(x, &site.name()) } else { x }
}

pub(crate) fn split(r: &mut Reader, site: Site<'_>, a: &Attributes<'_>) -> Result<Vec<Value>, ImportError> {
    let x = r.any_act(site)?;
    let x = unflattened(r, site, x);
    let axis = sample_axis(site, a.int("axis", 0), x.shape.len())?;
    let n = site.node.output.len();
    let sizes = match r.ints(site, 1)?.or_else(|| a.ints("split").map(<[i64]>::to_vec)) {
        Some(sizes) if sizes.len() == n => sizes,
        Some(_) => return Err(site.refuse("the number of parts and of outputs differ")),
        None => {
            let extent =
                x.shape[axis].fixed().ok_or_else(|| site.refuse("a dynamic axis needs explicit parts"))?;
            let part = extent.div_ceil(n.max(1));
            let size = |i: usize| i64::try_from(part.min(extent.saturating_sub(i * part))).unwrap_or(0);
            (0..n).map(size).collect()
        }
    };
    let total = sizes.iter().try_fold(0usize, |n, &s| n.checked_add(usize::try_from(s).ok()?));
    if total.is_none() || x.shape[axis].fixed().is_some_and(|extent| total != Some(extent)) {
        return Err(site.refuse("the parts do not add up to the axis"));
    }
    let mut parts = Vec::new();
    let mut start = 0i64;
    for size in sizes {
        let end = start.saturating_add(size);
        parts.push(Value::Act(slice_axis(r, site, &x, axis, [start, end, 1])));
        start = end;
    }
    Ok(parts)
}

pub(crate) fn slice(r: &mut Reader, site: Site<'_>, a: &Attributes<'_>) -> Result<Act, ImportError> {
    let x = r.free_act(site, 0)?;
    let mut x = unflattened(r, site, x);
    let attribute = |name: &str| a.ints(name).map(<[i64]>::to_vec);
    let starts = r.ints(site, 1)?.or_else(|| attribute("starts")).unwrap_or_default();
    let ends = r.ints(site, 2)?.or_else(|| attribute("ends")).unwrap_or_default();
    let default: Vec<i64> = (0..i64::try_from(starts.len()).unwrap_or(0)).collect();
    let axes = r.ints(site, 3)?.or_else(|| attribute("axes")).unwrap_or(default);
    let steps = r.ints(site, 4)?.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] || steps.contains(&0) {
        return Err(site.refuse("starts, ends, axes and steps differ in length, or a step is zero"));
    }
    for (((start, end), axis), step) in starts.into_iter().zip(ends).zip(axes).zip(steps) {
        let whole = start == 0 && end >= i64::from(i32::MAX) && step == 1;
        let full = i64::try_from(x.shape.len() + 1).unwrap_or(0);
        let batch = usize::try_from(if axis < 0 { axis.saturating_add(full) } else { axis }) == Ok(x.batch);
        if whole && batch {
            continue;
        }
        let axis = axis_beside_batch(site, axis, x.shape.len(), x.batch)?;
        x = slice_axis(r, site, &x, axis, [start, end, step]);
    }
    Ok(x)
}

pub(crate) fn pad(r: &mut Reader, site: Site<'_>, a: &Attributes<'_>) -> Result<Act, ImportError> {
    let x = r.act(site, 0)?;
    let x = unflattened(r, site, x);
    let mode = match a.text("mode", "constant").as_str() {
        "constant" => PadMode::Constant(0),
        "edge" => PadMode::Edge,
        "reflect" => PadMode::Reflect,
        other => {
            return Err(
                site.refuse(format!("mode '{other}' is not supported; use constant, edge or reflect"))
            );
        }
    };
    let pads = r.ints(site, 1)?.or_else(|| a.ints("pads").map(<[i64]>::to_vec)).unwrap_or_default();
    let value = match r.floats(site, 2)? {
        Some((_, v)) => v.first().copied().unwrap_or(0.0),
        None => a.float("value", 0.0),
    };
    let rank = x.shape.len() + 1;
    let all: Vec<i64> = (0..i64::try_from(rank).unwrap_or(0)).collect();
    let axes = r.ints(site, 3)?.unwrap_or(all);
    if pads.len() != 2 * axes.len() {
        return Err(site.refuse("pads must hold a begin and an end per axis"));
    }
    let (mut begin, mut end) = (vec![0; rank - 1], vec![0; rank - 1]);
    for (i, &axis) in axes.iter().enumerate() {
        let (b, e) = (pads[i], pads[i + axes.len()]);
        if b == 0 && e == 0 {
            continue;
        }
        let at = x.physical_axis(sample_axis(site, axis, x.shape.len())?);
        let extent = |v: i64| match usize::try_from(v) {
            Ok(v) if v <= PAD_MAX => Ok(v),
            Ok(_) => Err(site.refuse("padding must not exceed 2^20 positions")),
            Err(_) => Err(site.refuse("negative padding is not supported; use Slice")),
        };
        (begin[at], end[at]) = (extent(b)?, extent(e)?);
    }
    let grown = |(i, d): (usize, &Extent)| {
        let at = x.physical_axis(i);
        d.map(|n| n + begin[at] + end[at])
    };
    let shape = x.shape.iter().enumerate().map(grown).collect();
    let op = RealOp::Pad { mode, value, begin: begin.clone(), end: end.clone() };
    Ok(r.push(&site.name(), op, &[&x], shape, x.layout.clone()))
}

/// Rows of a constant by indices that a request brings.
fn embed(r: &mut Reader, site: Site<'_>, a: &Attributes<'_>) -> Result<Act, ImportError> {
    let (shape, values) = r.floats(site, 0)?.ok_or_else(|| site.refuse("the table is missing"))?;
    let indices = match r.operand(site, 1)? {
        Value::Act(act) if r.graph.is_index(act.node) && act.batch == 0 => r.plain(act, &site.name()),
        _ => return Err(site.refuse("the indices must be integers")),
    };
    let [axis] = constant_axes(site, &[a.int("axis", 0)], shape.len())?[..] else {
        return Err(site.refuse("the table has no axis"));
    };
    if axis != 0 || values.is_empty() {
        return Err(site.refuse("a table is looked up along its first axis, which must not be empty"));
    }
    r.note_rows(&indices, shape[0]);
    let range =
        values.iter().fold((0.0f64, 0.0f64), |(lo, hi), &v| (lo.min(f64::from(v)), hi.max(f64::from(v))));
    let row = shape.iter().skip(1).map(|&d| Extent::Fixed(d));
    let extents = indices.shape.iter().copied().chain(row).collect();
    let y = r.push(
        &site.name(),
        RealOp::Embed(RealConstant { shape, values }),
        &[&indices],
        extents,
        Layout::Plain,
    );
    // Samples need not meet the row with the largest value.
    r.graph.nodes[y.node.0].declared = Some(range);
    Ok(y)
}

pub(crate) fn gather(r: &mut Reader, site: Site<'_>, a: &Attributes<'_>) -> Result<Act, ImportError> {
    if matches!(r.operand(site, 0)?, Value::Constant(_)) {
        return embed(r, site, a);
    }
    let x = r.free_act(site, 0)?;
    if r.graph.is_index(x.node) {
        return Err(site.refuse("indices can be answered, moved and looked up, not computed with"));
    }
    let x = r.plain(x, &site.name());
    let Some(Constant { shape, data: ConstantData::Int(indices), .. }) = r.constant(site, 1)? else {
        return Err(site.refuse("the indices must be constants of the model"));
    };
    let axis = axis_beside_batch(site, a.int("axis", 0), x.shape.len(), x.batch)?;
    // An axis before the batch becomes as many as the indices have.
    let batch = if axis < x.batch { x.batch - 1 + shape.len() } else { x.batch };
    let indices: Result<Vec<i32>, _> = indices.iter().map(|&i| i32::try_from(i)).collect();
    let indices = indices.map_err(|_| site.refuse("an index is outside 32 bits"))?;
    if let Some(n) = x.shape[axis].fixed().and_then(|n| i32::try_from(n).ok())
        && indices.iter().any(|i| !(-n..n).contains(i))
    {
        return Err(site.refuse("an index is outside its axis"));
    }
    let extents = shape.iter().map(|&d| Extent::Fixed(d));
    let out =
        x.shape[..axis].iter().copied().chain(extents).chain(x.shape[axis + 1..].iter().copied()).collect();
    let op = RealOp::Gather { axis, indices, shape };
    let y = r.push(&site.name(), op, &[&x], out, Layout::Plain);
    Ok(Act { batch, ..y })
}

pub(crate) fn resize(r: &mut Reader, site: Site<'_>, a: &Attributes<'_>) -> Result<Act, ImportError> {
    let x = r.act(site, 0)?;
    let x = unflattened(r, site, x);
    if a.text("mode", "nearest") != "nearest" {
        return Err(site.refuse("only mode 'nearest' is supported"));
    }
    let upsample = site.node.op_type == "Upsample" || r.opset < 11;
    let default = if upsample { "asymmetric" } else { "half_pixel" };
    let coordinates = match a.text("coordinate_transformation_mode", default).as_str() {
        "asymmetric" => ResizeCoordinates::Asymmetric,
        "half_pixel" => ResizeCoordinates::HalfPixel,
        "align_corners" => ResizeCoordinates::AlignCorners,
        other => {
            return Err(site.refuse(format!("coordinate_transformation_mode '{other}' is not supported")));
        }
    };
    let rounding =
        match a.text("nearest_mode", if upsample { "floor" } else { "round_prefer_floor" }).as_str() {
            "floor" => ResizeRounding::Floor,
            "ceil" => ResizeRounding::Ceil,
            "round_prefer_floor" => ResizeRounding::PreferFloor,
            "round_prefer_ceil" => ResizeRounding::PreferCeil,
            other => return Err(site.refuse(format!("nearest_mode '{other}' is not supported"))),
        };
    let scales = resize_scales(r, site, a, &x, upsample)?;
    let grown = |(i, d): (usize, &Extent)| {
        let (n, den) = scales[x.physical_axis(i)];
        d.map(|e| e * n / den)
    };
    let shape = x.shape.iter().enumerate().map(grown).collect();
    let op = RealOp::Move(Op::Resize(Resize { scales: scales.clone(), coordinates, rounding }));
    Ok(r.push(&site.name(), op, &[&x], shape, x.layout.clone()))
}

/// Rational scale of each physical axis, from `sizes` or `scales`.
fn resize_scales(
    r: &Reader,
    site: Site<'_>,
    a: &Attributes<'_>,
    x: &Act,
    upsample: bool,
) -> Result<Vec<(usize, usize)>, ImportError> {
    let rank = x.shape.len() + 1;
    let mut result = vec![(1, 1); rank - 1];
    let axes: Vec<i64> = match a.ints("axes").filter(|v| !v.is_empty()) {
        Some(axes) => axes.to_vec(),
        None => (0..i64::try_from(rank).unwrap_or(0)).collect(),
    };
    let full = i64::try_from(rank).unwrap_or(0);
    let batch = |axis: i64| axis == 0 || axis == -full;
    if let Some(sizes) = resize_sizes(r, site, upsample)? {
        if sizes.len() != axes.len() || a.text("keep_aspect_ratio_policy", "stretch") != "stretch" {
            return Err(site.refuse("it needs one size per axis, without keep_aspect_ratio_policy"));
        }
        for (size, &axis) in sizes.iter().zip(&axes).filter(|(_, axis)| !batch(**axis)) {
            let axis = sample_axis(site, axis, rank - 1)?;
            result[x.physical_axis(axis)] = size_ratio(*size, x.shape[axis])
                .ok_or_else(|| site.refuse("sizes need fixed extents between 1 and 65536"))?;
        }
        return Ok(result);
    }
    let scales = match (a.floats("scales"), upsample) {
        (Some(v), _) if !v.is_empty() => v.to_vec(),
        (_, true) => r.floats(site, 1)?.map(|(_, v)| v).unwrap_or_default(),
        (_, false) => r.floats(site, 2)?.map(|(_, v)| v).unwrap_or_default(),
    };
    if scales.len() != axes.len() {
        return Err(site.refuse("it needs one scale per axis"));
    }
    for (scale, &axis) in scales.iter().zip(&axes) {
        if scale.to_bits() == 1f32.to_bits() {
            continue;
        }
        let axis = sample_axis(site, axis, rank - 1)?;
        result[x.physical_axis(axis)] = scale_ratio(*scale, x.shape[axis])
            .ok_or_else(|| site.refuse("a scale does not give a whole number of positions; give sizes"))?;
    }
    Ok(result)
}

/// The operand `sizes`, constant or computed from shapes.
fn resize_sizes(r: &Reader, site: Site<'_>, upsample: bool) -> Result<Option<Vec<ShapeItem>>, ImportError> {
    if upsample || site.operand(3).is_none() {
        return Ok(None);
    }
    r.shape_operand(site, 3).map(|sizes| Some(sizes).filter(|v| !v.is_empty()))
}

fn size_ratio(size: ShapeItem, extent: Extent) -> Option<(usize, usize)> {
    match (size, extent) {
        (ShapeItem::Symbol(size), Extent::Symbol(s)) if size == s => Some((1, 1)),
        (ShapeItem::Known(size), Extent::Fixed(extent)) => {
            let small = |n: &usize| (1..=1 << 16).contains(n);
            usize::try_from(size).ok().filter(small).zip(Some(extent).filter(small))
        }
        _ => None,
    }
}

/// A scale as a fraction that multiplies `extent` without remainder: only then do ONNX's positions, which divide by
/// the scale, equal ours, which are exact in the extents.
fn scale_ratio(scale: f32, extent: Extent) -> Option<(usize, usize)> {
    (1..=64usize).find_map(|den| {
        let num = f64::from(scale) * den as f64;
        let whole = num.fract() == 0.0 && (1.0..=65_536.0).contains(&num);
        let exact = extent.fixed().map_or(den == 1, |n| n.is_multiple_of(den));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked to be a small whole number"
        )]
        (whole && exact).then_some((num as usize, den))
    })
}
