//! Finds the range of each value by running the fixed-point model on samples: exact, so the same on every machine.

use std::{collections::BTreeMap, sync::Arc};

use veracity_engine::{Engine, Options};
use veracity_graph::{Array, ArrayData, Batch, BatchError, ValueId};
use veracity_kernels::View;

use crate::{
    ImportError, Samples,
    bounds::check_measured,
    dynamic::{FRACTION_BITS, Lowered},
    fixed::exp2,
    real::RealGraph,
};

/// Samples run at once.
pub(crate) const CHUNK: usize = 8;

/// Number of samples: the first extent, which all arrays share.
pub(crate) fn count(samples: &Samples) -> Result<usize, ImportError> {
    let n = samples.values().next().and_then(|a| a.shape.first()).copied().unwrap_or(0);
    if n == 0 {
        return Err(ImportError::NoSamples);
    }
    match samples.iter().find(|(_, a)| a.shape.first() != Some(&n)) {
        Some((name, array)) => {
            let (name, expected) = (name.clone(), format!("{n} samples, as the other inputs"));
            Err(BatchError::Shape { name, expected, found: array.shape.clone() }.into())
        }
        None => Ok(n),
    }
}

/// Samples `range` of an array.
pub(crate) fn rows(array: &Array, range: std::ops::Range<usize>) -> Array {
    let n = array.shape.first().copied().unwrap_or(0);
    let len = array.len().checked_div(n).unwrap_or(0);
    let cut = range.start.min(n) * len..range.end.min(n) * len;
    let data = match &array.data {
        ArrayData::F32(v) => ArrayData::F32(v.get(cut).unwrap_or(&[]).to_vec()),
        ArrayData::I32(v) => ArrayData::I32(v.get(cut).unwrap_or(&[]).to_vec()),
        ArrayData::I64(v) => ArrayData::I64(v.get(cut).unwrap_or(&[]).to_vec()),
    };
    let shape =
        std::iter::once(range.end.min(n) - range.start.min(n)).chain(array.shape.iter().skip(1).copied());
    Array { shape: shape.collect(), data }
}

/// Samples `range` of every array.
pub(crate) fn chunk(samples: &Samples, range: std::ops::Range<usize>) -> Samples {
    samples.iter().map(|(name, array)| (name.clone(), rows(array, range.clone()))).collect()
}

/// Smallest and largest integer of some values.
#[derive(Debug, Clone, Copy)]
struct Extremes {
    lo: i64,
    hi: i64,
}

fn extremes<T: Copy + Ord + Into<i64>>(values: &[T]) -> Option<Extremes> {
    let (lo, hi) = (values.iter().min()?, values.iter().max()?);
    Some(Extremes { lo: (*lo).into(), hi: (*hi).into() })
}

fn view_extremes(view: &View<'_>) -> Option<Extremes> {
    match view {
        View::I8(v) => extremes(v),
        View::I16(v) => extremes(v),
        View::I32(v) => extremes(v),
        View::I64(v) => extremes(v),
    }
}

fn merge(seen: &mut BTreeMap<ValueId, Extremes>, id: ValueId, new: Option<Extremes>) {
    if let Some(new) = new {
        let e = seen.entry(id).or_insert(new);
        *e = Extremes { lo: e.lo.min(new.lo), hi: e.hi.max(new.hi) };
    }
}

/// Range of every real node over the samples, the same for all engine options; indices get `(0, 0)`.
pub(crate) fn ranges(
    graph: &RealGraph,
    lowered: &Lowered,
    samples: &Samples,
    options: &Options,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<(f64, f64)>, ImportError> {
    let engine = Engine::load(Arc::new(lowered.model.clone()), options)
        .map_err(|e| ImportError::Run { reason: e.to_string() })?;
    let n = count(samples)?;
    let mut seen = BTreeMap::new();
    for start in (0..n).step_by(CHUNK) {
        progress(start, n);
        let inputs = lowered.model.graph().encode_inputs(&chunk(samples, start..start + CHUNK))?;
        for (i, batch) in inputs.iter().enumerate() {
            merge(&mut seen, lowered.model.graph().input_value(i), batch_extremes(batch));
        }
        let mut visit = |id: ValueId, view: View<'_>| merge(&mut seen, id, view_extremes(&view));
        engine.observe(&inputs, &mut visit).map_err(|e| ImportError::Run { reason: e.to_string() })?;
    }
    progress(n, n);
    let step = exp2(-i32::try_from(FRACTION_BITS).unwrap_or(0));
    let mut ranges: Vec<(f64, f64)> = Vec::with_capacity(graph.nodes.len());
    for (node, id) in graph.nodes.iter().zip(&lowered.values) {
        check_measured(node, |operand| ranges[operand.0])?;
        let e = seen.get(id).copied().unwrap_or(Extremes { lo: 0, hi: 0 });
        let limit = i64::from(i32::MAX);
        if !node.index && (e.hi >= limit || e.lo <= -limit) {
            let limit = exp2(31 - i32::try_from(FRACTION_BITS).unwrap_or(0));
            return Err(ImportError::OutOfRange { node: node.name.clone(), limit });
        }
        ranges.push((e.lo as f64 * step, e.hi as f64 * step));
    }
    Ok(ranges)
}

fn batch_extremes(batch: &Batch) -> Option<Extremes> {
    extremes(&batch.data.to_i64())
}
