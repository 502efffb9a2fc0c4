//! Execution of a plan: the samples in groups, the steps of a group in order.

use std::sync::PoisonError;

use rayon::prelude::*;
use veracity_graph::{Batch, IntData, ValueId};
use veracity_kernels::{Buffer, View, ViewMut};

use crate::{
    Engine, RunError, TraceKind,
    action::{Action, Context, Operand},
    plan::{Place, Plan, Step, Value},
    trace::Leaves,
    workers::{WORK_MIN, Workers},
};

/// A group's values should stay in a core's second-level cache.
const GROUP_BYTES: u128 = 512 * 1024;
/// A run of less work, some 20 microseconds, is over before another thread has woken up.
const PARALLEL_WORK_MIN: usize = 12 * WORK_MIN;

/// How the samples are divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Division {
    n: usize,
    /// Samples per group.
    group: usize,
    /// Threads, each with a group of its own; 1 if groups come one after the other.
    groups_at_once: usize,
    /// Who works inside a group.
    workers: Workers,
    /// Whether the run enters the thread pool.
    in_pool: bool,
}

impl Division {
    pub(crate) fn new(plan: &Plan, n: usize, threads: usize) -> Self {
        let in_pool = threads > 1 && n.saturating_mul(plan.work) >= PARALLEL_WORK_MIN;
        let by_sample = in_pool && n >= threads;
        let fit = GROUP_BYTES / plan.bytes_per_sample().max(1);
        let share = if by_sample { n.div_ceil(threads) } else { n };
        let group = usize::try_from(fit).unwrap_or(usize::MAX).clamp(1, share.max(1));
        let groups_at_once = if by_sample { threads } else { 1 };
        let workers = if in_pool && !by_sample { Workers::Pool(threads) } else { Workers::Caller };
        Self { n, group, groups_at_once, workers, in_pool }
    }

    pub(crate) fn samples_in_memory(&self) -> usize {
        self.group.saturating_mul(self.groups_at_once)
    }
}

/// Some samples of a batch and where their outputs go.
struct Group<'a> {
    first: usize,
    n: usize,
    outputs: Vec<ViewMut<'a>>,
}

/// Fills `outputs`; returns the samples' trace roots, if asked.
pub(crate) fn run(
    engine: &Engine,
    plan: &Plan,
    division: Division,
    inputs: &[Batch],
    outputs: &mut [Batch],
    trace: Option<TraceKind>,
) -> Result<Vec<[u8; 32]>, RunError> {
    let groups = groups(division, plan, outputs);
    let one = |group: Group<'_>| run_group(engine, plan, division.workers, inputs, group, trace);
    let results: Vec<_> = match &engine.pool {
        Some(pool) if division.in_pool && division.groups_at_once > 1 => {
            pool.install(|| groups.into_par_iter().map(one).collect())
        }
        Some(pool) if division.in_pool => pool.install(|| groups.into_iter().map(one).collect()),
        _ => groups.into_iter().map(one).collect(),
    };
    let roots: Vec<Vec<[u8; 32]>> = results.into_iter().collect::<Result<_, _>>()?;
    Ok(roots.concat())
}

/// Runs one sample after the other and shows every value.
pub(crate) fn observe(
    engine: &Engine,
    plan: &Plan,
    n: usize,
    inputs: &[Batch],
    visit: &mut dyn FnMut(ValueId, View<'_>),
) -> Result<(), RunError> {
    let mut arena = Vec::new();
    for first in 0..n {
        let mut values = Values { engine, plan, inputs, first, n: 1, arena: &mut arena };
        values.make_room();
        for step in &plan.steps {
            values.perform(step, Workers::Caller)?;
            step.outputs.iter().for_each(|value| visit(value.id, values.view(value)));
        }
    }
    Ok(())
}

fn groups<'a>(division: Division, plan: &Plan, outputs: &'a mut [Batch]) -> Vec<Group<'a>> {
    let mut pieces: Vec<_> = outputs
        .iter_mut()
        .zip(&plan.outputs)
        .map(|(batch, value)| view_mut(&mut batch.data).chunks(division.group * value.len).into_iter())
        .collect();
    let group = |first: usize| {
        let next =
            |pieces: &mut std::vec::IntoIter<ViewMut<'a>>| pieces.next().unwrap_or(ViewMut::I8(&mut []));
        let outputs = pieces.iter_mut().map(next).collect();
        Group { first, n: division.group.min(division.n - first), outputs }
    };
    (0..division.n).step_by(division.group).map(group).collect()
}

fn run_group(
    engine: &Engine,
    plan: &Plan,
    workers: Workers,
    inputs: &[Batch],
    group: Group<'_>,
    trace: Option<TraceKind>,
) -> Result<Vec<[u8; 32]>, RunError> {
    let lock = || plan.arenas.lock().unwrap_or_else(PoisonError::into_inner);
    let mut arena = lock().pop().unwrap_or_default();
    let mut values = Values { engine, plan, inputs, first: group.first, n: group.n, arena: &mut arena };
    values.make_room();
    let mut leaves = trace.map(|kind| Leaves::new(kind, group.n));
    if let Some(leaves) = &mut leaves {
        values.commit(leaves, plan.committed_first(leaves.kind()), workers);
    }
    for step in &plan.steps {
        values.perform(step, workers)?;
        if let Some(leaves) = &mut leaves {
            values.commit(leaves, step.committed(leaves.kind()), workers);
        }
    }
    if let Some(leaves) = &mut leaves {
        values.commit(leaves, plan.committed_last(leaves.kind()), workers);
    }
    for (value, y) in plan.outputs.iter().zip(group.outputs) {
        values.copy_to(value, y);
    }
    lock().push(arena);
    Ok(leaves.map(|leaves| leaves.roots()).unwrap_or_default())
}

/// The values of some samples while they are computed.
struct Values<'a> {
    engine: &'a Engine,
    plan: &'a Plan,
    inputs: &'a [Batch],
    first: usize,
    n: usize,
    arena: &'a mut Vec<Buffer>,
}

impl Values<'_> {
    fn make_room(&mut self) {
        self.arena.resize_with(self.plan.slots.len(), Buffer::default);
        for (buffer, size) in self.arena.iter_mut().zip(&self.plan.slots) {
            buffer.grow(size * self.n);
        }
    }

    fn operand(&self, value: &Value) -> Operand<'_> {
        let (dtype, len) = (value.dtype, value.len);
        match value.place {
            Place::Input(index) => {
                let all = view(&self.inputs[index].data);
                let values = all.slice(self.first * len..(self.first + self.n) * len);
                Operand { values, sample_len: Some(len) }
            }
            Place::Constant(index) => {
                let buffer = self.engine.constants.plain(&self.engine.model, index);
                Operand { values: buffer.view(dtype, len), sample_len: None }
            }
            Place::Slot(slot) => {
                Operand { values: self.arena[slot].view(dtype, self.n * len), sample_len: Some(len) }
            }
            Place::Nowhere => unreachable!("no step reads an accumulator that is not stored"),
        }
    }

    fn view(&self, value: &Value) -> View<'_> {
        self.operand(value).values
    }

    fn perform(&mut self, step: &Step, workers: Workers) -> Result<(), RunError> {
        if matches!(step.action, Action::Nothing) {
            return Ok(());
        }
        let slot = |value: &Value| match value.place {
            Place::Slot(slot) => slot,
            Place::Input(_) | Place::Constant(_) | Place::Nowhere => unreachable!("outputs lie in slots"),
        };
        let slots: Vec<usize> = step.outputs.iter().map(slot).collect();
        let mut buffers: Vec<Buffer> = slots.iter().map(|&s| std::mem::take(&mut self.arena[s])).collect();
        let mut y: Vec<ViewMut<'_>> =
            buffers.iter_mut().zip(&step.outputs).map(|(b, v)| b.view_mut(v.dtype, self.n * v.len)).collect();
        let x: Vec<Operand<'_>> = step.inputs.iter().map(|value| self.operand(value)).collect();
        let at = Context { isa: self.engine.isa, workers, n: self.n };
        let result = step.action.perform(at, &x, &mut y);
        slots.into_iter().zip(buffers).for_each(|(slot, buffer)| self.arena[slot] = buffer);
        let name = || self.engine.model.graph().nodes[step.node].name.clone();
        result.map_err(|source| RunError::Value { node: name(), source })
    }

    fn commit(&self, leaves: &mut Leaves, committed: &[Value], workers: Workers) {
        for value in committed {
            let Operand { values, sample_len } = self.operand(value);
            leaves.push(values, sample_len, workers.is_parallel());
        }
    }

    fn copy_to(&self, value: &Value, y: ViewMut<'_>) {
        let operand = self.operand(value);
        match operand.sample_len {
            Some(_) => copy(operand.values, y),
            None => y.chunks(value.len).into_iter().for_each(|y| copy(operand.values, y)),
        }
    }
}

fn copy(x: View<'_>, y: ViewMut<'_>) {
    match (x, y) {
        (View::I8(x), ViewMut::I8(y)) => y.copy_from_slice(x),
        (View::I16(x), ViewMut::I16(y)) => y.copy_from_slice(x),
        (View::I32(x), ViewMut::I32(y)) => y.copy_from_slice(x),
        (View::I64(x), ViewMut::I64(y)) => y.copy_from_slice(x),
        (x, y) => assert!(x.is_empty() && y.is_empty(), "outputs have the types of their values"),
    }
}

fn view(data: &IntData) -> View<'_> {
    match data {
        IntData::I8(v) => View::I8(v),
        IntData::I16(v) => View::I16(v),
        IntData::I32(v) => View::I32(v),
        IntData::I64(v) => View::I64(v),
    }
}

fn view_mut(data: &mut IntData) -> ViewMut<'_> {
    match data {
        IntData::I8(v) => ViewMut::I8(v),
        IntData::I16(v) => ViewMut::I16(v),
        IntData::I32(v) => ViewMut::I32(v),
        IntData::I64(v) => ViewMut::I64(v),
    }
}
