//! What to compute, in which order and where, for inputs of given shapes.
//!
//! A product followed by a requantisation alone is one step, so accumulators are never stored. A reshape is another
//! name for its operand. Every other value has a slot of memory, reused after the value's last use.

use std::{
    ops::Range,
    sync::{Arc, Mutex},
};

use veracity_graph::{Model, ModelError, Node, ValueId};
use veracity_kernels::{Broadcast, Buffer, Layout, Patches, pad_maps, resize_maps};
use veracity_ops::{DType, Op, TensorType};

use crate::{
    TraceKind,
    action::{Action, Packed},
    constants::{Constants, layouts_bytes},
};

/// Where a value lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a batch of the request, by index.
    Input(usize),
    /// In the model, by index.
    Constant(usize),
    /// In a slot of the arena, by index.
    Slot(usize),
    /// Nowhere: an accumulator inside a step.
    Nowhere,
}

/// A value of one sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Value {
    pub(crate) id: ValueId,
    pub(crate) place: Place,
    pub(crate) dtype: DType,
    pub(crate) len: usize,
}

/// One operator, or two fused ones.
#[derive(Debug)]
pub(crate) struct Step {
    /// Index of the node that names the step.
    pub(crate) node: usize,
    pub(crate) action: Action,
    pub(crate) inputs: Vec<Value>,
    pub(crate) outputs: Vec<Value>,
    /// Whether the full trace commits to the outputs.
    is_traced: bool,
    /// Outputs that are checkpoints.
    checkpoints: Vec<Value>,
}

impl Step {
    fn size_bytes(&self) -> usize {
        let values = size_of::<Value>() * (self.inputs.len() + self.outputs.len());
        let layouts = match &self.action {
            Action::Conv { patches, layouts, .. } => layouts_bytes(layouts.len(), patches.k()),
            _ => 0,
        };
        (size_of::<Self>() + values).saturating_add(usize::try_from(layouts).unwrap_or(usize::MAX))
    }

    /// Outputs that a trace commits to as soon as they are computed.
    pub(crate) fn committed(&self, kind: TraceKind) -> &[Value] {
        match kind {
            TraceKind::Checkpoints => &self.checkpoints,
            TraceKind::Full if self.is_traced => &self.outputs,
            TraceKind::Full => &[],
        }
    }
}

/// Steps for inputs of given shapes.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Shapes of one sample of each input.
    pub(crate) shapes: Vec<Vec<usize>>,
    pub(crate) types: Vec<TensorType>,
    pub(crate) inputs: Vec<Value>,
    pub(crate) steps: Vec<Step>,
    pub(crate) outputs: Vec<Value>,
    /// Size of each slot for one sample.
    pub(crate) slots: Vec<usize>,
    /// Multiply-accumulates of one sample.
    pub(crate) macs: u128,
    /// Memory that a thread needs besides, for one step at a time.
    pub(crate) scratch_bytes: usize,
    /// Time that one sample takes, in products, roughly.
    pub(crate) work: usize,
    /// Memory that the plan itself takes, about.
    pub(crate) size_bytes: usize,
    /// Memory of finished runs, for the next.
    pub(crate) arenas: Mutex<Vec<Vec<Buffer>>>,
}

/// For each node, the product that is computed within it, and whether it is itself computed within another.
#[derive(Debug)]
pub(crate) struct Fusion {
    pub(crate) product: Vec<Option<usize>>,
    pub(crate) is_inner: Vec<bool>,
    /// Whether every value is to be seen, reshapes included.
    pub(crate) keeps_all: bool,
}

impl Fusion {
    /// Nothing fused: every value is stored.
    pub(crate) fn none(model: &Model) -> Self {
        let n = model.graph().nodes.len();
        Self { product: vec![None; n], is_inner: vec![false; n], keeps_all: true }
    }

    /// Each product whose only use is a requantisation becomes part of it.
    pub(crate) fn of(model: &Model) -> Self {
        let graph = model.graph();
        let first_outputs = graph.first_outputs();
        let mut uses = vec![0usize; first_outputs.last().map_or(0, |v| v.index())];
        let operands = graph.nodes.iter().flat_map(|n| n.inputs.iter().copied());
        operands.chain(graph.outputs.iter().map(|o| o.value)).for_each(|v| uses[v.index()] += 1);
        let mut fusion = Self { keeps_all: false, ..Self::none(model) };
        for (index, node) in graph.nodes.iter().enumerate() {
            let (Op::Requant(requant), Some(x)) = (&node.op, node.inputs.first()) else { continue };
            let Ok(inner) = first_outputs.binary_search(x) else { continue };
            let Some(product) = graph.nodes.get(inner) else { continue };
            // A 64-bit accumulator has a range that is checked after its zero is subtracted.
            let is_checked = accumulator(&product.op) == Some(DType::I64) && requant.x_zero != 0;
            if product.op.is_linear() && uses[x.index()] == 1 && !is_checked {
                fusion.product[index] = Some(inner);
                fusion.is_inner[inner] = true;
            }
        }
        fusion
    }
}

pub(crate) fn accumulator(op: &Op) -> Option<DType> {
    match op {
        Op::MatMul(op) => Some(op.acc),
        Op::Conv(op) => Some(op.acc),
        Op::ConvTranspose(op) => Some(op.conv.acc),
        _ => None,
    }
}

/// Assigns slots: the smallest free one that is large enough, else the largest free one, grown, else a new one.
#[derive(Debug, Default)]
struct Slots {
    sizes: Vec<usize>,
    free: Vec<usize>,
}

impl Slots {
    fn take(&mut self, size: usize) -> usize {
        let enough = (0..self.free.len()).filter(|&i| self.sizes[self.free[i]] >= size);
        let smallest = enough.min_by_key(|&i| self.sizes[self.free[i]]);
        let largest = || (0..self.free.len()).max_by_key(|&i| self.sizes[self.free[i]]);
        let slot = match smallest.or_else(largest) {
            Some(i) => self.free.swap_remove(i),
            None => {
                self.sizes.push(0);
                self.sizes.len() - 1
            }
        };
        self.sizes[slot] = self.sizes[slot].max(size);
        slot
    }
}

/// State of planning.
struct Planner<'a> {
    model: &'a Model,
    constants: &'a Constants,
    fusion: &'a Fusion,
    types: Vec<TensorType>,
    first_outputs: Vec<ValueId>,
    places: Vec<Place>,
    /// The node after which a slot's value is not used; `usize::MAX` for outputs of the model.
    last_use: Vec<usize>,
    slots: Slots,
    /// In ascending order.
    checkpoints: Vec<ValueId>,
}

impl Plan {
    /// The plan for one sample with inputs of types `inputs`.
    pub(crate) fn new(
        model: &Model,
        constants: &Constants,
        fusion: &Fusion,
        inputs: &[TensorType],
    ) -> Result<Self, ModelError> {
        let types = model.types(inputs)?;
        let graph = model.graph();
        let mut places: Vec<Place> = (0..graph.inputs.len()).map(Place::Input).collect();
        places.extend((0..graph.constants.len()).map(Place::Constant));
        let first_outputs = graph.first_outputs();
        let last_use = last_uses(model, fusion, &first_outputs);
        let slots = Slots::default();
        let checkpoints = model.checkpoints(inputs)?;
        let mut planner =
            Planner { model, constants, fusion, types, first_outputs, places, last_use, slots, checkpoints };
        let values = (0..graph.inputs.len()).map(|index| planner.value(graph.input_value(index))).collect();
        let steps: Vec<Step> = (0..graph.nodes.len()).filter_map(|node| planner.step(node)).collect();
        let outputs = graph.outputs.iter().map(|o| planner.value(o.value)).collect();
        let work = steps.iter().map(|step| planner.work(step)).fold(0, usize::saturating_add);
        let scratch = |step: &Step| match &step.action {
            Action::Conv { layouts, .. } => layouts.iter().map(Layout::scratch_bytes).max().unwrap_or(0),
            _ => 0,
        };
        let scratch_bytes = steps.iter().map(scratch).max().unwrap_or(0);
        let types = size_of::<TensorType>().saturating_mul(planner.types.len());
        let size_bytes = steps.iter().map(Step::size_bytes).fold(types, usize::saturating_add);
        Ok(Self {
            shapes: inputs.iter().map(|t| t.shape.clone()).collect(),
            types: planner.types,
            inputs: values,
            steps,
            outputs,
            slots: planner.slots.sizes,
            macs: model.macs(inputs)?,
            scratch_bytes,
            work,
            size_bytes,
            arenas: Mutex::default(),
        })
    }

    /// Values that a trace commits to before the first step.
    pub(crate) fn committed_first(&self, kind: TraceKind) -> &[Value] {
        match kind {
            TraceKind::Checkpoints => &[],
            TraceKind::Full => &self.inputs,
        }
    }

    /// Values that a trace commits to after the last step.
    pub(crate) fn committed_last(&self, kind: TraceKind) -> &[Value] {
        match kind {
            TraceKind::Checkpoints => &self.outputs,
            TraceKind::Full => &[],
        }
    }

    /// Memory of the slots of one sample.
    pub(crate) fn bytes_per_sample(&self) -> u128 {
        self.slots.iter().map(|&s| u128::try_from(s).unwrap_or(u128::MAX >> 32)).sum()
    }
}

/// The node a value of a fused product is used by is the node that it is fused into. A reshape's operand and
/// result live as long as either is used.
fn last_uses(model: &Model, fusion: &Fusion, first_outputs: &[ValueId]) -> Vec<usize> {
    let graph = model.graph();
    let mut last = vec![0; first_outputs.last().map_or(0, |v| v.index())];
    graph.outputs.iter().for_each(|o| last[o.value.index()] = usize::MAX);
    for (index, node) in graph.nodes.iter().enumerate().rev() {
        let own = first_outputs[index].index();
        let at = match node.op {
            Op::Reshape(_) => last[own].max(index),
            _ if fusion.is_inner[index] => last[own],
            _ => index,
        };
        for value in &node.inputs {
            last[value.index()] = last[value.index()].max(at);
        }
    }
    for (node, output) in graph.nodes.iter().zip(first_outputs) {
        if let (Op::Reshape(_), Some(x)) = (&node.op, node.inputs.first()) {
            last[output.index()] = last[x.index()];
        }
    }
    last
}

impl Planner<'_> {
    fn value(&self, id: ValueId) -> Value {
        let ty = &self.types[id.index()];
        Value { id, place: self.places[id.index()], dtype: ty.dtype, len: ty.len() }
    }

    fn outputs(&self, node: usize) -> Range<usize> {
        self.first_outputs[node].index()..self.first_outputs[node + 1].index()
    }

    fn step(&mut self, index: usize) -> Option<Step> {
        let model = self.model;
        let node = &model.graph().nodes[index];
        if let Op::Reshape(_) = node.op {
            self.places.push(self.places[node.inputs[0].index()]);
            let output = self.value(self.first_outputs[index]);
            let step = Step {
                node: index,
                action: Action::Nothing,
                inputs: vec![],
                outputs: vec![output],
                is_traced: false,
                checkpoints: vec![],
            };
            return self.fusion.keeps_all.then_some(step);
        }
        if self.fusion.is_inner[index] {
            self.places.push(Place::Nowhere);
            return None;
        }
        let inner = self.fusion.product[index];
        let source = inner.map_or(node, |inner| &model.graph().nodes[inner]);
        for output in self.outputs(index) {
            let ty = &self.types[output];
            let slot = self.slots.take(ty.len() * ty.dtype.size());
            self.places.push(Place::Slot(slot));
        }
        let inputs: Vec<Value> = source.inputs.iter().map(|v| self.value(*v)).collect();
        let outputs: Vec<Value> = self.outputs(index).map(|v| self.value(ValueId(u32_of(v)))).collect();
        let has_values = outputs.iter().any(|v| v.len > 0) || matches!(source.op, Op::Gather(_));
        let action = if has_values { self.action(index, source) } else { Action::Nothing };
        self.release(index, inputs.iter().chain(&outputs));
        let is_checkpoint = |value: &&Value| self.checkpoints.binary_search(&value.id).is_ok();
        let checkpoints = outputs.iter().filter(is_checkpoint).copied().collect();
        let (is_traced, inputs) = (!node.op.is_linear(), used(inputs, source));
        Some(Step { node: index, action, inputs, outputs, is_traced, checkpoints })
    }

    /// Frees the slots of values that `node` is the last to use.
    fn release<'a>(&mut self, node: usize, values: impl Iterator<Item = &'a Value>) {
        for value in values {
            if let Place::Slot(slot) = value.place
                && self.last_use[value.id.index()] <= node
                && !self.slots.free.contains(&slot)
            {
                self.slots.free.push(slot);
            }
        }
    }

    fn shape(&self, value: ValueId) -> Vec<usize> {
        self.types[value.index()].shape.clone()
    }

    /// The action of `source`, whose result is that of node `index`.
    fn action(&self, index: usize, source: &Node) -> Action {
        let x: Vec<Vec<usize>> = source.inputs.iter().map(|v| self.shape(*v)).collect();
        let y = self.types[self.outputs(index).start].shape.clone();
        let packed = || self.packed(index, source);
        match &source.op {
            Op::MatMul(_) => Action::MatMul { packed: packed(), k: x[1][1] },
            Op::Conv(op) => {
                let first = Patches::conv(op, three(&x[0]), four(&x[1]), [y[0], y[1]]);
                conv_action(packed(), first)
            }
            Op::ConvTranspose(op) => {
                let first = Patches::transposed(op, three(&x[0]), four(&x[1]), [y[0], y[1]]);
                conv_action(packed(), first)
            }
            Op::Requant(_) => Action::Requant { packed: packed() },
            Op::Table(_) => Action::Table,
            Op::Add(op) => Action::Add { op: op.clone(), shape: Broadcast::new(&x[0], &x[1], &y) },
            Op::Mul(op) => Action::Mul { op: op.clone(), shape: Broadcast::new(&x[0], &x[1], &y) },
            Op::QuantRow(op) => Action::QuantRow { op: op.clone(), len: x[0][op.axis..].iter().product() },
            Op::Softmax(op) => Action::Softmax { op: op.clone(), len: x[0].last().copied().unwrap_or(1) },
            Op::MaxPool(op) => {
                Action::MaxPool { window: op.window.clone(), x: three(&x[0]), y: [y[0], y[1]] }
            }
            Op::AvgPool(op) => Action::AvgPool { op: op.clone(), x: three(&x[0]), y: [y[0], y[1]] },
            Op::Reduce(op) => Action::Reduce { op: op.clone(), shape: x[0].clone() },
            Op::ArgMax(op) => Action::ArgMax { op: op.clone(), shape: x[0].clone() },
            Op::Reshape(_) => Action::Nothing,
            Op::Transpose(op) => Action::Transpose { perm: op.perm.clone(), shape: x[0].clone() },
            Op::Concat(op) => {
                Action::Concat { rows: x.iter().map(|x| x[op.axis..].iter().product()).collect() }
            }
            Op::Slice(op) => Action::Slice { op: op.clone(), shape: x[0].clone() },
            Op::Pad(op) => {
                let (maps, fill) = pad_maps(op, &x[0]);
                Action::Select { maps, fill, shape: x[0].clone() }
            }
            Op::Gather(op) => {
                // Extents beside an empty axis may be of any size.
                let size = |axes: &[usize]| axes.iter().fold(1usize, |n, &d| n.saturating_mul(d));
                let axis = op.axis;
                Action::Gather { sizes: [size(&x[0][..axis]), x[0][axis], size(&x[0][axis + 1..])] }
            }
            Op::Resize(op) => {
                Action::Select { maps: resize_maps(op, &x[0], &y), fill: 0, shape: x[0].clone() }
            }
        }
    }

    fn packed(&self, index: usize, source: &Node) -> Arc<Packed> {
        let is_fused = self.fusion.product[index].is_some();
        let requant = is_fused.then(|| &self.model.graph().nodes[index]);
        let x = self.types[source.inputs[0].index()].dtype;
        self.constants.packed(self.model, source, requant, x)
    }

    /// A value that is written takes as long as some products, whatever it is the result of.
    fn work(&self, step: &Step) -> usize {
        const PER_VALUE: usize = 32;
        let y = step.outputs.iter().map(|v| v.len).sum::<usize>();
        let k = match &step.action {
            Action::MatMul { k, .. } => *k,
            Action::Conv { patches, .. } => patches.k(),
            _ => 0,
        };
        y.saturating_mul(k.saturating_add(PER_VALUE))
    }
}

fn conv_action(packed: Arc<Packed>, patches: Patches) -> Action {
    let layouts = match &*packed {
        Packed::Linear(groups) => {
            groups.iter().enumerate().map(|(g, l)| l.layout(patches.group(g))).collect()
        }
        Packed::Depthwise(_) | Packed::Requant(_) => vec![],
    };
    Action::Conv { packed, patches, layouts }
}

/// Operands that the kernel reads at run time; the others are packed.
fn used(mut inputs: Vec<Value>, source: &Node) -> Vec<Value> {
    if source.op.is_linear() || matches!(source.op, Op::Requant(_)) {
        inputs.truncate(1);
    }
    inputs
}

fn u32_of(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

fn three(shape: &[usize]) -> [usize; 3] {
    [shape[0], shape[1], shape[2]]
}

fn four(shape: &[usize]) -> [usize; 4] {
    [shape[0], shape[1], shape[2], shape[3]]
}
