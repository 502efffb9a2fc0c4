//! Models put together by hand or at random.

use std::sync::Arc;

use veracity_graph::{
    Batch, ConstantType, Decoding, Dim, Elem, Encoding, Graph, Input, IntData, Model, ModelError, Node,
    Output, Scale, ValueId,
};
use veracity_ops::{
    Add, ArgMax, AvgPool, Concat, Conv, ConvTranspose, DType, DimSpec, Gather, MatMul, MaxPool, Mul, Op, Pad,
    PadMode, QuantRow, Quantised, Reduce, ReduceKind, Requant, Reshape, Resize, ResizeCoordinates,
    ResizeRounding, Slice, Softmax, Table, TensorType, Transpose, Window,
};

/// xorshift64*, seeded.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub(crate) fn within(&mut self, lo: i64, hi: i64) -> i64 {
        let span = u64::try_from(hi - lo).unwrap() + 1;
        lo + i64::try_from((self.next() >> 16) % span).unwrap()
    }

    pub(crate) fn size(&mut self, lo: usize, hi: usize) -> usize {
        usize::try_from(self.within(i64::try_from(lo).unwrap(), i64::try_from(hi).unwrap())).unwrap()
    }

    pub(crate) fn pick<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.size(0, values.len() - 1)]
    }

    pub(crate) fn values(&mut self, n: usize, lo: i64, hi: i64) -> Vec<i64> {
        (0..n).map(|_| self.within(lo, hi)).collect()
    }

    /// A batch of random values of the whole type.
    pub(crate) fn batch(&mut self, n: usize, ty: &TensorType) -> Batch {
        let values = self.values(n * ty.len(), ty.dtype.min(), ty.dtype.max().min(i64::from(i32::MAX)));
        Batch { n, shape: ty.shape.clone(), data: data(ty.dtype, &values) }
    }
}

pub(crate) fn data(dtype: DType, values: &[i64]) -> IntData {
    let values = values.iter().copied();
    match dtype {
        DType::I8 => IntData::I8(values.map(|v| i8::try_from(v).unwrap()).collect()),
        DType::I16 => IntData::I16(values.map(|v| i16::try_from(v).unwrap()).collect()),
        DType::I32 => IntData::I32(values.map(|v| i32::try_from(v).unwrap()).collect()),
        DType::I64 => IntData::I64(values.collect()),
    }
}

/// A value of a graph that is being built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ref {
    Input(usize),
    Constant(usize),
    Computed(usize),
}

/// A graph that is being built.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    inputs: Vec<TensorType>,
    constants: Vec<TensorType>,
    weights: Vec<u8>,
    nodes: Vec<(Op, Vec<Ref>)>,
    computed: Vec<TensorType>,
    outputs: Vec<Ref>,
}

impl Builder {
    pub(crate) fn input(&mut self, dtype: DType, shape: &[usize]) -> Ref {
        self.inputs.push(TensorType::new(dtype, shape.to_vec()).unwrap());
        Ref::Input(self.inputs.len() - 1)
    }

    pub(crate) fn constant(&mut self, dtype: DType, shape: &[usize], values: &[i64]) -> Ref {
        assert_eq!(values.len(), shape.iter().product::<usize>());
        values.iter().for_each(|v| self.weights.extend(&v.to_le_bytes()[..dtype.size()]));
        self.constants.push(TensorType::new(dtype, shape.to_vec()).unwrap());
        Ref::Constant(self.constants.len() - 1)
    }

    pub(crate) fn ty(&self, value: Ref) -> &TensorType {
        match value {
            Ref::Input(i) => &self.inputs[i],
            Ref::Constant(i) => &self.constants[i],
            Ref::Computed(i) => &self.computed[i],
        }
    }

    /// Appends a node if its operator takes the operands; returns its first output.
    pub(crate) fn try_node(&mut self, op: Op, inputs: &[Ref]) -> Option<Ref> {
        let types: Vec<&TensorType> = inputs.iter().map(|r| self.ty(*r)).collect();
        let outputs = op.infer(&types).ok()?;
        if outputs.iter().any(|t| t.len() > 20_000) {
            return None;
        }
        let first = self.computed.len();
        self.computed.extend(outputs);
        self.nodes.push((op, inputs.to_vec()));
        Some(Ref::Computed(first))
    }

    pub(crate) fn node(&mut self, op: Op, inputs: &[Ref]) -> Ref {
        let types: Vec<&TensorType> = inputs.iter().map(|r| self.ty(*r)).collect();
        let outputs = op.infer(&types).unwrap();
        self.computed.extend(outputs.iter().cloned());
        self.nodes.push((op, inputs.to_vec()));
        Ref::Computed(self.computed.len() - outputs.len())
    }

    pub(crate) fn output(&mut self, value: Ref) {
        self.outputs.push(value);
    }

    fn id(&self, value: Ref) -> ValueId {
        let index = match value {
            Ref::Input(i) => i,
            Ref::Constant(i) => self.inputs.len() + i,
            Ref::Computed(i) => self.inputs.len() + self.constants.len() + i,
        };
        ValueId(u32::try_from(index).unwrap())
    }

    fn input_of((index, ty): (usize, &TensorType)) -> Input {
        let one = Scale::new(1.0).unwrap();
        let (elem, encoding) = match ty.dtype {
            DType::I32 => (Elem::I32, Encoding::Integer { lo: i32::MIN, hi: i32::MAX }),
            dtype => (Elem::F32, Encoding::Quantise { dtype, inv_scale: one, zero: 0 }),
        };
        let dims = ty.shape.iter().map(|&d| Dim::Fixed(u32::try_from(d).unwrap())).collect();
        Input { name: format!("x{index}"), elem, dims, encoding }
    }

    pub(crate) fn try_build(self) -> Result<Arc<Model>, ModelError> {
        let constant = |ty: &TensorType| ConstantType {
            dtype: ty.dtype,
            shape: ty.shape.iter().map(|&d| u32::try_from(d).unwrap()).collect(),
        };
        let node = |(i, (op, inputs)): (usize, &(Op, Vec<Ref>))| Node {
            name: format!("{}_{i}", op.name()),
            op: op.clone(),
            inputs: inputs.iter().map(|r| self.id(*r)).collect(),
        };
        let output = |(i, value): (usize, &Ref)| Output {
            name: format!("y{i}"),
            value: self.id(*value),
            decoding: Decoding::Integer(Elem::I64),
        };
        let graph = Graph {
            symbols: vec![],
            inputs: self.inputs.iter().enumerate().map(Self::input_of).collect(),
            constants: self.constants.iter().map(constant).collect(),
            nodes: self.nodes.iter().enumerate().map(node).collect(),
            outputs: self.outputs.iter().enumerate().map(output).collect(),
        };
        Model::new(graph, self.weights).map(Arc::new)
    }

    pub(crate) fn build(self) -> Arc<Model> {
        self.try_build().unwrap()
    }
}

fn quantised(random: &mut Random) -> Quantised {
    let dtype = random.pick(&[DType::I8, DType::I8, DType::I8, DType::I16, DType::I32]);
    let zero = random.pick(&[0, 3, -100, 127]);
    let full = Quantised::full(dtype, zero);
    if random.pick(&[true, false]) { Quantised { lo: zero, ..full } } else { full }
}

/// Appends a random node over random values; nothing, if it does not fit.
fn grow(builder: &mut Builder, random: &mut Random, values: &mut Vec<Ref>) {
    // Mostly continue from the newest value, so that graphs are deep.
    let newest = values[values.len() - 1];
    let x = if random.size(0, 2) > 0 { newest } else { random.pick(values) };
    let ty = builder.ty(x).clone();
    let zero = || 0;
    let small = |random: &mut Random| i32::try_from(random.within(1, 1_000)).unwrap();
    let node = match random.size(0, 21) {
        0..=3 => linear(builder, random, x, &ty),
        4 => {
            let n = *ty.shape.last().unwrap_or(&1);
            requant(builder, random, x, n)
        }
        5 => {
            let entries = if ty.dtype == DType::I16 { 65_536 } else { 256 };
            let values = random.values(entries, -128, 127);
            let table = builder.constant(DType::I8, &[entries], &values);
            builder.try_node(Op::Table(Table), &[x, table])
        }
        6 | 7 => {
            let b = random.pick(values);
            let muls = [small(random), -small(random)];
            let op = Add { zeros: [zero(), 1], muls, shift: 10, y: quantised(random) };
            builder.try_node(Op::Add(op), &[x, b])
        }
        8 => {
            let n = *ty.shape.last().unwrap_or(&1);
            let values = random.values(n, -128, 127);
            let b = builder.constant(DType::I8, &[n], &values);
            let op = Add { zeros: [0, 0], muls: [small(random), 30], shift: 9, y: quantised(random) };
            let operands = random.pick(&[[x, b], [b, x]]);
            builder.try_node(Op::Add(op), &operands)
        }
        9 => {
            let b = random.pick(values);
            let op = Mul { zeros: [0, -3], mul: small(random), shift: 14, y: quantised(random) };
            builder.try_node(Op::Mul(op), &[x, b])
        }
        10 => {
            let axis = random.size(0, ty.shape.len());
            let node = builder
                .try_node(Op::QuantRow(QuantRow { axis, q: random.pick(&[DType::I8, DType::I16]) }), &[x]);
            if let Some(Ref::Computed(q)) = node {
                values.push(Ref::Computed(q + 1));
            }
            node
        }
        11 => {
            let entries = random.values(200, 1, 1 << 20);
            let table = builder.constant(DType::I32, &[200], &entries);
            let op = Softmax { shift: 2, one_bits: 8, y: quantised(random) };
            builder.try_node(Op::Softmax(op), &[x, table])
        }
        12 | 13 => {
            let window = Window {
                kernel: [random.size(1, 3), random.size(1, 3)],
                strides: [random.size(1, 2), random.size(1, 2)],
                pads: [0, 0, 0, 0],
                dilations: [1, 1],
                ceil: random.pick(&[true, false]),
            };
            if random.pick(&[true, false]) {
                builder.try_node(Op::MaxPool(MaxPool { window }), &[x])
            } else {
                let op = AvgPool {
                    window,
                    count_pads: false,
                    x_zero: 2,
                    mul: small(random),
                    shift: 10,
                    y: quantised(random),
                };
                builder.try_node(Op::AvgPool(op), &[x])
            }
        }
        14 => {
            let kind = random.pick(&[ReduceKind::Sum, ReduceKind::Mean, ReduceKind::Max]);
            let axes = if random.pick(&[true, false]) { vec![0] } else { vec![0, 1] };
            let op = Reduce { kind, axes, x_zero: 0, mul: small(random), shift: 12, y: quantised(random) };
            builder.try_node(Op::Reduce(op), &[x])
        }
        15 => {
            let dims = vec![DimSpec::Infer, DimSpec::Input(ty.shape.len().saturating_sub(1))];
            builder.try_node(Op::Reshape(Reshape { dims }), &[x])
        }
        16 => {
            let perm = (0..ty.shape.len()).rev().collect();
            builder.try_node(Op::Transpose(Transpose { perm }), &[x])
        }
        17 => {
            let b = random.pick(values);
            builder.try_node(Op::Concat(Concat { axis: random.size(0, 2) }), &[x, b, x])
        }
        18 => {
            let op = Slice {
                axis: random.size(0, 2),
                start: random.within(-3, 1),
                end: 9,
                step: random.pick(&[1, 2]),
            };
            builder.try_node(Op::Slice(op), &[x])
        }
        19 => {
            let mode = random.pick(&[PadMode::Constant(-5), PadMode::Edge]);
            let sizes = |random: &mut Random| (0..ty.shape.len()).map(|_| random.size(0, 1)).collect();
            builder.try_node(Op::Pad(Pad { mode, begin: sizes(random), end: sizes(random) }), &[x])
        }
        20 => {
            let axis = random.size(0, 2);
            let index = match random.size(0, 2) {
                0 => builder.constant(DType::I32, &[2], &[0, -1]),
                _ => builder.try_node(Op::ArgMax(ArgMax { axis, last: false }), &[x]).unwrap_or(x),
            };
            builder.try_node(Op::Gather(Gather { axis }), &[x, index])
        }
        _ => {
            let scales = (0..ty.shape.len()).map(|_| random.pick(&[(1, 1), (2, 1), (2, 3)])).collect();
            let (coordinates, rounding) = (ResizeCoordinates::HalfPixel, ResizeRounding::PreferCeil);
            builder.try_node(Op::Resize(Resize { scales, coordinates, rounding }), &[x])
        }
    };
    values.extend(node);
}

fn linear(builder: &mut Builder, random: &mut Random, x: Ref, ty: &TensorType) -> Option<Ref> {
    let c = *ty.shape.last()?;
    let acc = random.pick(&[DType::I32, DType::I32, DType::I32, DType::I64]);
    let x_zero = random.pick(&[0, 5, -128]);
    let spatial = ty.shape.len() == 3 && random.size(0, 3) > 0;
    let groups = if spatial { random.pick(&[1, 1, 2, c.max(1)]) } else { 1 };
    let groups = if c % groups == 0 { groups } else { 1 };
    let n = if groups == c { c } else { groups * random.size(1, 70 / groups.min(70)) };
    let kernel = if spatial { [random.size(1, 3), random.size(1, 3)] } else { [1, 1] };
    let count = n * kernel[0] * kernel[1] * (c / groups);
    if count > 40_000 {
        return None;
    }
    let range = if ty.dtype == DType::I16 && acc == DType::I32 { 20 } else { 127 };
    let weights = random.values(count, -range, range);
    let bias = random.values(n, -1_000, 1_000);
    let conv = Conv {
        strides: [random.size(1, 2), random.size(1, 2)],
        pads: [random.size(0, 1), random.size(0, 1), random.size(0, 1), random.size(0, 1)],
        dilations: [1, random.size(1, 2)],
        groups,
        x_zero,
        acc,
    };
    let (op, shape) = if spatial {
        let shape = vec![n, kernel[0], kernel[1], c / groups];
        let op = match random.size(0, 2) {
            0 => Op::ConvTranspose(ConvTranspose { conv, output_pads: [0, 0] }),
            _ => Op::Conv(conv),
        };
        (op, shape)
    } else {
        (Op::MatMul(MatMul { x_zero, acc }), vec![n, c])
    };
    let weights = builder.constant(DType::I8, &shape, &weights);
    let mut operands = vec![x, weights];
    if random.pick(&[true, false]) {
        operands.push(builder.constant(acc, &[n], &bias));
    }
    let y = builder.try_node(op, &operands)?;
    if random.size(0, 5) > 0 { requant(builder, random, y, n) } else { Some(y) }
}

fn requant(builder: &mut Builder, random: &mut Random, x: Ref, n: usize) -> Option<Ref> {
    let channels = random.pick(&[1, n]);
    let shift = random.values(channels, 0, 20);
    let shift = builder.constant(DType::I8, &[channels], &shift);
    let mul = random.values(channels, 1, 32_767);
    let mut operands = vec![x, shift];
    if random.pick(&[true, false]) {
        operands.push(builder.constant(DType::I16, &[channels], &mul));
    }
    let op = Requant { x_zero: random.pick(&[0, 0, 7]), y: quantised(random) };
    builder.try_node(Op::Requant(op), &operands)
}

/// A random model; `None` if the draw is not a valid one.
pub(crate) fn random_model(random: &mut Random) -> Option<Arc<Model>> {
    let mut builder = Builder::default();
    let first = match random.size(0, 2) {
        0 => builder.input(DType::I8, &[random.size(1, 40)]),
        _ => builder.input(DType::I8, &[random.size(1, 7), random.size(1, 7), random.size(1, 20)]),
    };
    let shape = builder.ty(first).shape.clone();
    let second = builder.input(random.pick(&[DType::I8, DType::I16, DType::I32]), &shape);
    let bias = random.values(*shape.last().unwrap(), -100, 100);
    let mut values = vec![builder.constant(DType::I16, &[bias.len()], &bias), second, first];
    for _ in 0..random.size(1, 14) {
        grow(&mut builder, random, &mut values);
    }
    builder.output(values[values.len() - 1]);
    builder.output(random.pick(&values));
    builder.try_build().ok()
}

/// A random model around a chain of convolutions of nine million multiply-accumulates each, which pay for two
/// checkpoints; `None` if the draw is not a valid one.
pub(crate) fn deep_model(random: &mut Random) -> Option<Arc<Model>> {
    let mut builder = Builder::default();
    let mut x = builder.input(DType::I8, &[8, 8, 128]);
    let shift = builder.constant(DType::I8, &[1], &[10]);
    let mut values = vec![x];
    for _ in 0..random.size(29, 40) {
        let weights = random.values(128 * 9 * 128, -128, 127);
        let weights = builder.constant(DType::I8, &[128, 3, 3, 128], &weights);
        let conv =
            Conv { strides: [1, 1], pads: [1; 4], dilations: [1, 1], groups: 1, x_zero: 0, acc: DType::I32 };
        let sums = builder.node(Op::Conv(conv), &[x, weights]);
        let y = Quantised::full(DType::I8, 0);
        x = builder.node(Op::Requant(Requant { x_zero: 0, y }), &[sums, shift]);
        values.push(x);
        for _ in 0..random.size(0, 3) {
            grow(&mut builder, random, &mut values);
        }
    }
    builder.output(x);
    builder.output(values[values.len() - 1]);
    builder.output(random.pick(&values));
    builder.try_build().ok()
}
