//! Operators whose operands are all constants: computed at once.

use crate::{
    ImportError,
    onnx::{self, Attributes, Constant, ConstantData, data_type},
    read::{Reader, Site},
    read_movement::{axes_of, permutation},
    read_shape::ShapeItem,
};

/// Values that a constant made of few indices may have, whatever the size of its operand.
const FOLDED_MAX: usize = 1 << 20;

/// Moves the values of a constant.
pub(crate) fn fold_constant(r: &Reader, site: Site<'_>, a: &Attributes<'_>) -> Result<Constant, ImportError> {
    let c = r.constant(site, 0)?.ok_or_else(|| site.refuse("the operand is missing"))?;
    let shape = match site.node.op_type.as_str() {
        "Transpose" => return transpose_constant(site, &c, a.ints("perm")),
        "Cast" => return Ok(cast_constant(c, a.int("to", 1))),
        "Unsqueeze" => {
            let axes = axes_of(r, site, a)?.unwrap_or_default();
            let rank = c.shape.len() + axes.len();
            let axes = constant_axes(site, &axes, rank)?;
            let mut source = c.shape.iter();
            (0..rank)
                .map(|i| if axes.contains(&i) { 1 } else { source.next().copied().unwrap_or(1) })
                .collect()
        }
        "Squeeze" => {
            let axes = constant_axes(site, &axes_of(r, site, a)?.unwrap_or_default(), c.shape.len())?;
            let stays = |i: usize, d: usize| d != 1 || !(axes.is_empty() || axes.contains(&i));
            c.shape.iter().enumerate().filter(|(i, d)| stays(*i, **d)).map(|(_, d)| *d).collect()
        }
        "Flatten" => {
            let rank = i64::try_from(c.shape.len()).unwrap_or(0);
            let axis = a.int("axis", 1);
            let axis = usize::try_from(if axis < 0 { axis.saturating_add(rank) } else { axis }).ok();
            let axis = axis
                .filter(|&i| i <= c.shape.len())
                .ok_or_else(|| site.refuse("the axis is outside the rank"))?;
            let outer: usize = c.shape[..axis].iter().product();
            vec![outer, c.shape[axis..].iter().product()]
        }
        "Reshape" => reshaped_constant(site, &c, &r.ints(site, 1)?.unwrap_or_default())?,
        _ => c.shape.clone(),
    };
    if onnx::count(&shape) != Some(c.len()) {
        return Err(site.refuse("the constant's number of values would change"));
    }
    Ok(Constant { shape, ..c })
}

/// Axes as indices, for a constant of `rank` axes.
pub(crate) fn constant_axes(site: Site<'_>, axes: &[i64], rank: usize) -> Result<Vec<usize>, ImportError> {
    let full = i64::try_from(rank).unwrap_or(i64::MAX);
    let one =
        |&v: &i64| usize::try_from(if v < 0 { v.saturating_add(full) } else { v }).ok().filter(|&v| v < rank);
    let axes: Option<Vec<usize>> = axes.iter().map(one).collect();
    axes.filter(|_| rank <= 16)
        .ok_or_else(|| site.refuse("an axis is outside the rank, or the rank is beyond 16"))
}

fn reshaped_constant(site: Site<'_>, c: &Constant, target: &[i64]) -> Result<Vec<usize>, ImportError> {
    let extent = |(i, &d): (usize, &i64)| match d {
        0 => c.shape.get(i).copied(),
        -1 => Some(1),
        d => usize::try_from(d).ok(),
    };
    let shape: Option<Vec<usize>> = target.iter().enumerate().map(extent).collect();
    let mut shape = shape.ok_or_else(|| site.refuse("the target is not a shape"))?;
    if let Some(i) = target.iter().position(|&d| d == -1) {
        shape[i] = onnx::count(&shape).and_then(|known| c.len().checked_div(known)).unwrap_or(0);
    }
    Ok(shape)
}

/// Integers become floats where asked; all else keeps its values, and is refused where it is used wrongly.
fn cast_constant(c: Constant, to: i64) -> Constant {
    match &c.data {
        #[expect(
            clippy::cast_precision_loss,
            reason = "the cast that the source asks for: to nearest, ties to even"
        )]
        ConstantData::Int(values) if to == i64::from(data_type::FLOAT) => {
            let data = ConstantData::Float(values.iter().map(|&v| v as f32).collect());
            Constant { shape: c.shape, data, data_type: data_type::FLOAT }
        }
        _ => c,
    }
}

fn transpose_constant(site: Site<'_>, c: &Constant, perm: Option<&[i64]>) -> Result<Constant, ImportError> {
    let perm = permutation(site, perm, c.shape.len())?;
    if c.len() == 0 {
        return Err(site.refuse("the constant is empty"));
    }
    let stride = |axis: usize| c.shape[axis + 1..].iter().product::<usize>();
    let mut positions = vec![0usize];
    for &axis in &perm {
        let (extent, step) = (c.shape[axis], stride(axis));
        positions = positions.iter().flat_map(|p| (0..extent).map(move |k| p + k * step)).collect();
    }
    let data = match &c.data {
        ConstantData::Float(v) => ConstantData::Float(positions.iter().map(|&p| v[p]).collect()),
        ConstantData::Int(v) => ConstantData::Int(positions.iter().map(|&p| v[p]).collect()),
    };
    Ok(Constant { shape: perm.iter().map(|&a| c.shape[a]).collect(), data, data_type: c.data_type })
}

/// Rows of a constant by constant indices.
pub(crate) fn gather_constant(
    r: &Reader,
    site: Site<'_>,
    a: &Attributes<'_>,
) -> Result<Constant, ImportError> {
    let missing = || site.refuse("an operand is missing");
    let c = r.constant(site, 0)?.ok_or_else(missing)?;
    let indices = r.constant(site, 1)?.ok_or_else(missing)?;
    let ConstantData::Int(picked) = &indices.data else {
        return Err(site.refuse("the indices must be integers"));
    };
    let [axis] = constant_axes(site, &[a.int("axis", 0)], c.shape.len())?[..] else { return Err(missing()) };
    let (outer, extent) = (c.shape[..axis].iter().product::<usize>(), c.shape[axis]);
    let inner = c.shape[axis + 1..].iter().product::<usize>();
    let row = |&i: &i64| {
        let n = i64::try_from(extent).unwrap_or(i64::MAX);
        usize::try_from(if i < 0 { i.saturating_add(n) } else { i }).ok().filter(|&i| i < extent)
    };
    let rows: Option<Vec<usize>> = picked.iter().map(row).collect();
    let rows = rows.ok_or_else(|| site.refuse("an index is outside its axis"))?;
    let shape = [&c.shape[..axis], &indices.shape, &c.shape[axis + 1..]].concat();
    // Few indices can name a large row many times.
    if onnx::count(&shape).is_none_or(|n| n > FOLDED_MAX.max(c.len())) {
        return Err(site.refuse("it makes a constant that is much larger than its operand"));
    }
    let first = |(o, r): (usize, &usize)| (o * extent + r) * inner;
    let starts: Vec<usize> = (0..outer).flat_map(|o| rows.iter().map(move |r| (o, r))).map(first).collect();
    let data = match &c.data {
        ConstantData::Float(v) => ConstantData::Float(picks(v, &starts, inner)),
        ConstantData::Int(v) => ConstantData::Int(picks(v, &starts, inner)),
    };
    Ok(Constant { shape, data, data_type: c.data_type })
}

/// A constant of an extent that may come from the batch axis, along which constants do not differ: ConstantOfShape, or
/// Expand of a constant.
pub(crate) fn expand_constant(
    r: &Reader,
    site: Site<'_>,
    a: &Attributes<'_>,
) -> Result<Constant, ImportError> {
    let zero = Constant { shape: vec![], data: ConstantData::Float(vec![0.0]), data_type: data_type::FLOAT };
    let (source, target) = match site.node.op_type.as_str() {
        "ConstantOfShape" => (a.tensor("value").map_or(Ok(zero), onnx::constant)?, 0),
        _ => (r.constant(site, 0)?.ok_or_else(|| site.refuse("the operand is missing"))?, 1),
    };
    let extent = |item: &ShapeItem| match item {
        ShapeItem::Known(n) => usize::try_from(*n).ok(),
        ShapeItem::Batch => Some(1),
        ShapeItem::Symbol(_) | ShapeItem::Other => None,
    };
    let target: Option<Vec<usize>> = r.shape_operand(site, target)?.iter().map(extent).collect();
    let target = target.ok_or_else(|| site.refuse("the shape must be fixed, but for the batch"))?;
    // `Expand` broadcasts both ways; `ConstantOfShape` has one number, whatever axes that has.
    let own: &[usize] = if source.len() == 1 { &[] } else { &source.shape };
    let rank = target.len().max(own.len());
    let at = |shape: &[usize], i: usize| (i + shape.len()).checked_sub(rank).map_or(1, |i| shape[i]);
    let shape: Vec<usize> =
        (0..rank).map(|i| if at(own, i) == 1 { at(&target, i) } else { at(own, i) }).collect();
    let fits = |i: usize| at(&target, i) == shape[i] || at(&target, i) == 1;
    if source.len() == 0 || !(0..rank).all(fits) || onnx::count(&shape).is_none_or(|n| n > FOLDED_MAX) {
        return Err(site.refuse("the constant does not fit the shape, or becomes larger than 2^20 values"));
    }
    let mut positions = vec![0usize];
    for (i, &extent) in shape.iter().enumerate() {
        let (own, step) = (at(own, i), usize::from(at(own, i) != 1));
        positions = positions.iter().flat_map(|p| (0..extent).map(move |k| p * own + k * step)).collect();
    }
    let data = match &source.data {
        ConstantData::Float(v) => ConstantData::Float(positions.iter().map(|&p| v[p]).collect()),
        ConstantData::Int(v) => ConstantData::Int(positions.iter().map(|&p| v[p]).collect()),
    };
    Ok(Constant { shape, data, data_type: source.data_type })
}

fn picks<T: Copy>(values: &[T], starts: &[usize], len: usize) -> Vec<T> {
    starts.iter().flat_map(|&s| &values[s..s + len]).copied().collect()
}
