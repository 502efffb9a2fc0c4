//! Constants as kernels take them, made when first used.
//!
//! Steps that need the same constants packed in the same way share them: a loop that was unrolled has one copy of its
//! weights, not one per turn. How much memory a plan's constants take is known from shapes before anything is packed,
//! since a small model can use one constant in many ways, or cut it into many groups.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use veracity_graph::{Model, Node, ValueId};
use veracity_kernels::{Buffer, Depthwise, Isa, Layout, Linear, LinearSpec, Patches, Requantiser, ViewMut};
use veracity_ops::{Conv, DType, Op, Quantised, TensorType};

use crate::{
    action::Packed,
    plan::{Fusion, accumulator},
};

/// Widest rounding of columns: the lanes of a vector of any instruction set.
const LANES: u128 = 16;
/// Most values of a row that are multiplied at a time.
const GROUP_LEN: u128 = 4;
/// Bias, multiplier, offset and shift of one channel, some of them twice.
const CHANNEL_BYTES: u128 = 32;
/// What an allocator adds to the dozen vectors of a product, and their padding.
const VECTORS_BYTES: u128 = 256;

/// All that packed constants depend on, besides the instruction set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    product: Option<Product>,
    requant: Option<Rounding>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Product {
    x: DType,
    x_zero: i32,
    acc: DType,
    conv: Option<Geometry>,
    weights: ValueId,
    bias: Option<ValueId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Geometry {
    is_transposed: bool,
    strides: [usize; 2],
    pads: [usize; 4],
    dilations: [usize; 2],
    groups: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Rounding {
    x_zero: i32,
    y: Quantised,
    shift: ValueId,
    mul: Option<ValueId>,
}

impl Key {
    /// The key of `source` with `requant` fused into it, or of a requantisation alone.
    fn new(source: &Node, requant: Option<&Node>, x: DType) -> Self {
        let product = Product::new(source, x);
        let rounding = if product.is_some() { requant } else { Some(source) };
        Self { product, requant: rounding.and_then(Rounding::new) }
    }

    /// Memory that the packed constants take, about and at most.
    fn size_bytes(&self, model: &Model) -> u128 {
        match (&self.product, &self.requant) {
            (Some(product), _) => product.size_bytes(model),
            (None, Some(rounding)) => {
                wide(size_of::<Packed>()) + channels(model, rounding.shift) * CHANNEL_BYTES
            }
            (None, None) => 0,
        }
    }
}

impl Product {
    fn new(source: &Node, x: DType) -> Option<Self> {
        let (x_zero, conv) = match &source.op {
            Op::MatMul(op) => (op.x_zero, None),
            Op::Conv(op) => (op.x_zero, Some(Geometry::new(op, false))),
            Op::ConvTranspose(op) => (op.conv.x_zero, Some(Geometry::new(&op.conv, true))),
            _ => return None,
        };
        let acc = accumulator(&source.op)?;
        let bias = source.inputs.get(2).copied();
        Some(Self { x, x_zero, acc, conv, weights: source.inputs[1], bias })
    }

    fn size_bytes(&self, model: &Model) -> u128 {
        let shape: Vec<u128> = constant_shape(model, self.weights).into_iter().map(wide).collect();
        let (n, k) = (shape[0], shape[1..].iter().product());
        let Some(conv) = &self.conv else { return product_bytes(n, k, k) };
        if conv.is_depthwise(n, shape[3]) {
            // Lines of a kernel in groups of four, for two output lines at once.
            let taps = shape[1].next_multiple_of(GROUP_LEN) * shape[2] * 2;
            return wide(size_of::<Depthwise>()) + product_bytes(n, 0, 0) + n.next_multiple_of(LANES) * taps;
        }
        let run = if conv.dilations[1] == 1 { shape[2] * shape[3] } else { shape[3] };
        let groups = wide(conv.groups);
        groups * product_bytes(n.checked_div(groups).unwrap_or(0), k, run)
    }
}

impl Geometry {
    fn new(op: &Conv, is_transposed: bool) -> Self {
        let Conv { strides, pads, dilations, groups, .. } = *op;
        Self { is_transposed, strides, pads, dilations, groups }
    }

    fn is_depthwise(&self, n: u128, width: u128) -> bool {
        wide(self.groups) == n && width == 1 && !self.is_transposed
    }
}

impl Rounding {
    fn new(node: &Node) -> Option<Self> {
        let Op::Requant(op) = &node.op else { return None };
        Some(Self { x_zero: op.x_zero, y: op.y, shift: node.inputs[1], mul: node.inputs.get(2).copied() })
    }
}

/// Memory of `n` packed rows of `k` weights in runs of `run`, and of all that a product holds besides.
fn product_bytes(n: u128, k: u128, run: u128) -> u128 {
    let packed_k = k.checked_div(run).unwrap_or(0) * run.next_multiple_of(GROUP_LEN);
    let weights = (n.next_multiple_of(LANES) * packed_k).next_multiple_of(64);
    // One offset for every two or four values.
    let offsets = k.div_ceil(2) * wide(size_of::<usize>());
    wide(size_of::<Linear>()) + VECTORS_BYTES + weights + offsets + n * CHANNEL_BYTES
}

/// Memory of the layouts of a convolution of `groups` groups that reduces `k` values: at most an offset for each.
pub(crate) fn layouts_bytes(groups: usize, k: usize) -> u128 {
    wide(groups) * (wide(size_of::<Layout>()) + wide(k) * wide(size_of::<usize>()))
}

/// Memory that the constants and layouts of a plan will take, about and at most. `types` are those of all values.
pub(crate) fn needed_bytes(model: &Model, fusion: &Fusion, types: &[TensorType]) -> u128 {
    let graph = model.graph();
    let first_outputs = graph.first_outputs();
    let mut keys = HashSet::new();
    let mut needed = 0;
    for (index, node) in graph.nodes.iter().enumerate().filter(|(index, _)| !fusion.is_inner[*index]) {
        let inner = fusion.product[index];
        let source = inner.map_or(node, |inner| &graph.nodes[inner]);
        let is_packed = source.op.is_linear() || matches!(source.op, Op::Requant(_));
        if !is_packed || types[first_outputs[index].index()].is_empty() {
            continue;
        }
        let key = Key::new(source, inner.map(|_| node), types[source.inputs[0].index()].dtype);
        if keys.insert(key) {
            needed += key.size_bytes(model);
        }
        needed += layouts_of(model, key.product);
    }
    needed
}

/// Memory of the layouts of a step: each has its own.
fn layouts_of(model: &Model, product: Option<Product>) -> u128 {
    let Some(Product { conv: Some(conv), weights, .. }) = product else { return 0 };
    let shape = constant_shape(model, weights);
    if conv.is_depthwise(wide(shape[0]), wide(shape[3])) {
        return 0;
    }
    layouts_bytes(conv.groups, shape[1..].iter().product())
}

fn wide(n: usize) -> u128 {
    u128::try_from(n).unwrap_or(u128::MAX >> 64)
}

fn channels(model: &Model, value: ValueId) -> u128 {
    constant_shape(model, value).into_iter().map(wide).product()
}

/// Packed by one thread; others that need the same wait for it.
type Cell = Arc<OnceLock<Arc<Packed>>>;

/// Constants of a model.
#[derive(Debug)]
pub(crate) struct Constants {
    isa: Isa,
    plain: Vec<OnceLock<Buffer>>,
    packed: Mutex<HashMap<Key, Cell>>,
    size_bytes: AtomicUsize,
}

impl Constants {
    pub(crate) fn new(model: &Model, isa: Isa) -> Self {
        let plain = model.graph().constants.iter().map(|_| OnceLock::new()).collect();
        Self { isa, plain, packed: Mutex::default(), size_bytes: AtomicUsize::new(0) }
    }

    /// Memory of all that was made so far, about.
    pub(crate) fn size_bytes(&self) -> usize {
        self.size_bytes.load(Ordering::Relaxed)
    }

    /// Constant `index` in its own type.
    pub(crate) fn plain(&self, model: &Model, index: usize) -> &Buffer {
        self.plain[index].get_or_init(|| {
            let bytes = model.constant_bytes(index);
            let mut buffer = Buffer::new(bytes.len());
            let dtype = model.graph().constants[index].dtype;
            match buffer.view_mut(dtype, bytes.len() / dtype.size()) {
                ViewMut::I8(y) => read(y, bytes, i8::from_le_bytes),
                ViewMut::I16(y) => read(y, bytes, i16::from_le_bytes),
                ViewMut::I32(y) => read(y, bytes, i32::from_le_bytes),
                ViewMut::I64(y) => read(y, bytes, i64::from_le_bytes),
            }
            self.size_bytes.fetch_add(buffer.size_bytes(), Ordering::Relaxed);
            buffer
        })
    }

    /// Packed constants of `source`, with those of `requant` if it is fused. `x` is the type of the first operand. All
    /// operands were checked against each other.
    pub(crate) fn packed(
        &self,
        model: &Model,
        source: &Node,
        requant: Option<&Node>,
        x: DType,
    ) -> Arc<Packed> {
        let key = Key::new(source, requant, x);
        let cell = {
            let mut packed = self.packed.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(packed.entry(key).or_default())
        };
        Arc::clone(cell.get_or_init(|| {
            let size_bytes = usize::try_from(key.size_bytes(model)).unwrap_or(usize::MAX);
            self.size_bytes.fetch_add(size_bytes, Ordering::Relaxed);
            Arc::new(self.pack(model, source, requant, x))
        }))
    }

    fn pack(&self, model: &Model, source: &Node, requant: Option<&Node>, x: DType) -> Packed {
        let requantiser = requant.map(|node| requantiser(model, node));
        match &source.op {
            Op::Conv(op) => self.pack_conv(model, source, op, false, x, requantiser.as_ref()),
            Op::ConvTranspose(op) => self.pack_conv(model, source, &op.conv, true, x, requantiser.as_ref()),
            Op::MatMul(op) => {
                let weights = i8s(model, source);
                let spec = spec(model, source, &weights, op.x_zero, x, requantiser.as_ref());
                with_bias(model, source, spec, |spec| Packed::Linear(vec![Linear::new(self.isa, &spec)]))
            }
            _ => Packed::Requant(self::requantiser(model, source)),
        }
    }

    fn pack_conv(
        &self,
        model: &Model,
        source: &Node,
        op: &Conv,
        transposed: bool,
        x: DType,
        requant: Option<&Requantiser>,
    ) -> Packed {
        let mut weights = i8s(model, source);
        let shape = constant_shape(model, source.inputs[1]);
        let taps = shape[1] * shape[2];
        if transposed {
            weights = reversed_taps(&weights, taps, shape[3]);
        }
        let spec = spec(model, source, &weights, op.x_zero, x, requant);
        let run = Patches::run(op, [shape[0], shape[1], shape[2], shape[3]]);
        let spec = LinearSpec { run, ..spec };
        with_bias(model, source, spec, |spec| {
            if op.groups == spec.n && shape[3] == 1 && !transposed {
                let depthwise = Depthwise::new(self.isa, op, [shape[1], shape[2]], &spec);
                return Packed::Depthwise(Box::new(depthwise));
            }
            let n = spec.n / op.groups;
            let group = |index: usize| {
                let channels = index * n..(index + 1) * n;
                let requant = spec.requant.map(|r| r.channels(channels.clone()));
                let spec = LinearSpec {
                    n,
                    weights: &spec.weights[channels.start * spec.k..channels.end * spec.k],
                    bias: spec.bias.map(|b| &b[channels]),
                    requant: requant.as_ref(),
                    ..spec
                };
                Linear::new(self.isa, &spec)
            };
            Packed::Linear((0..op.groups).map(group).collect())
        })
    }
}

fn read<T, const N: usize>(y: &mut [T], bytes: &[u8], value: impl Fn([u8; N]) -> T) {
    y.iter_mut().zip(bytes.as_chunks().0).for_each(|(y, b)| *y = value(*b));
}

fn constant_index(model: &Model, value: ValueId) -> usize {
    model.graph().as_constant(value).expect("the model was checked: this operand is a constant")
}

fn constant_shape(model: &Model, value: ValueId) -> Vec<usize> {
    let shape = &model.graph().constants[constant_index(model, value)].shape;
    shape.iter().map(|&d| usize::try_from(d).unwrap_or(usize::MAX)).collect()
}

fn i8s(model: &Model, node: &Node) -> Vec<i8> {
    let bytes = model.constant_bytes(constant_index(model, node.inputs[1]));
    bytes.iter().map(|b| b.cast_signed()).collect()
}

fn requantiser(model: &Model, node: &Node) -> Requantiser {
    let Op::Requant(op) = &node.op else { unreachable!("only a Requant is packed as one") };
    let values = |operand: &ValueId| model.constant_values(constant_index(model, *operand));
    let mul = node.inputs.get(2).map(values);
    Requantiser::new(op, &values(&node.inputs[1]), mul.as_deref())
}

/// The product of `node`, without its bias.
fn spec<'a>(
    model: &Model,
    node: &Node,
    weights: &'a [i8],
    x_zero: i32,
    x: DType,
    requant: Option<&'a Requantiser>,
) -> LinearSpec<'a> {
    let shape = constant_shape(model, node.inputs[1]);
    let acc = accumulator(&node.op).expect("only products are packed as one");
    let k = shape[1..].iter().product();
    LinearSpec { n: shape[0], k, run: k, weights, bias: None, x, x_zero, acc, requant }
}

fn with_bias(
    model: &Model,
    node: &Node,
    spec: LinearSpec<'_>,
    f: impl FnOnce(LinearSpec<'_>) -> Packed,
) -> Packed {
    let bias = node.inputs.get(2).map(|v| model.constant_values(constant_index(model, *v)));
    f(LinearSpec { bias: bias.as_deref(), ..spec })
}

/// Each filter's taps of `width` weights in reverse order.
fn reversed_taps(weights: &[i8], taps: usize, width: usize) -> Vec<i8> {
    let filters = weights.chunks((taps * width).max(1));
    filters.flat_map(|filter| filter.chunks(width.max(1)).rev().flatten().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_holds_for_every_instruction_set() {
        for isa in Isa::available() {
            for x in [DType::I8, DType::I16] {
                for (n, k, run) in
                    [(1, 1, 1), (1, 9, 3), (17, 64, 64), (65, 35, 7), (100, 6, 1), (256, 256, 256)]
                {
                    let weights = vec![1; n * k];
                    let acc = DType::I32;
                    let spec = LinearSpec {
                        n,
                        k,
                        run,
                        weights: &weights,
                        bias: None,
                        x,
                        x_zero: 0,
                        acc,
                        requant: None,
                    };
                    let (packed, fixed) = (Linear::new(isa, &spec).size_bytes(), product_bytes(1, 0, 0));
                    let bound = product_bytes(wide(n), wide(k), wide(run));
                    assert!(
                        wide(packed) + fixed <= bound + 64,
                        "{isa:?}: {n} rows of {k}: {packed}, {bound}"
                    );
                }
            }
        }
    }
}
