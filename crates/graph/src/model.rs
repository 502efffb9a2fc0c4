use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use veracity_ops::{ACC_BITS_MAX, DType, Op, OpError, Tensor, TensorType};

use crate::{
    DecodeLimits, Decoding, Dim, Elem, Encoding, Graph, Input, ModelError, Node, ValueId,
    codec::{LIST_MAX, NAME_BYTES_MAX},
};

/// A graph with its constants, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    graph: Graph,
    weights: Vec<u8>,
    ranges: Vec<std::ops::Range<usize>>,
    sums: Vec<Option<WorstSums>>,
}

/// Largest accumulator magnitude of a linear node, for each element type that its activations may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct WorstSums {
    i8: i128,
    i16: i128,
}

/// Bytes of weights and biases that [`Model::new`] reads to bound sums: this many, and this many times the weights. A
/// node whose weights, bias and zero point are those of an earlier node costs nothing, so only a graph made to waste
/// time reaches the limit.
const SUMS_WORK_MIN: usize = 1 << 24;
const SUMS_WORK_TIMES: usize = 16;
/// Constant values decoded at a time, and most entries of a table.
const VALUES_AT_ONCE: usize = 1 << 16;

fn op_error(node: &Node) -> impl FnOnce(OpError) -> ModelError + '_ {
    |source| ModelError::Op { node: node.name.clone(), source }
}

/// Operands that must be constants: weights, biases, shifts, multipliers, tables.
fn constant_operands(op: &Op) -> std::ops::Range<usize> {
    match op {
        Op::MatMul(_) | Op::Conv(_) | Op::ConvTranspose(_) | Op::Requant(_) => 1..3,
        Op::Table(_) | Op::Softmax(_) => 1..2,
        Op::Add(_)
        | Op::Mul(_)
        | Op::QuantRow(_)
        | Op::MaxPool(_)
        | Op::AvgPool(_)
        | Op::Reduce(_)
        | Op::ArgMax(_)
        | Op::Reshape(_)
        | Op::Transpose(_)
        | Op::Concat(_)
        | Op::Slice(_)
        | Op::Pad(_)
        | Op::Gather(_)
        | Op::Resize(_) => 0..0,
    }
}

fn check_names<'a>(place: &'static str, names: impl Iterator<Item = &'a String>) -> Result<(), ModelError> {
    let mut seen = BTreeSet::new();
    for name in names {
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !seen.insert(name) {
            return Err(ModelError::Name { place, name: name.clone() });
        }
    }
    Ok(())
}

fn decode_values(dtype: DType, bytes: &[u8]) -> Vec<i64> {
    let (chunks, _) = match dtype {
        DType::I8 => return bytes.iter().map(|&b| i64::from(i8::from_le_bytes([b]))).collect(),
        DType::I16 => return bytes.as_chunks().0.iter().map(|&b| i64::from(i16::from_le_bytes(b))).collect(),
        DType::I32 => return bytes.as_chunks().0.iter().map(|&b| i64::from(i32::from_le_bytes(b))).collect(),
        DType::I64 => bytes.as_chunks(),
    };
    chunks.iter().map(|&b| i64::from_le_bytes(b)).collect()
}

fn values(dtype: DType, bytes: &[u8]) -> impl Iterator<Item = i64> {
    bytes.chunks_exact(dtype.size()).map(|bytes| match *bytes {
        [a] => i64::from(i8::from_le_bytes([a])),
        [a, b] => i64::from(i16::from_le_bytes([a, b])),
        [a, b, c, d] => i64::from(i32::from_le_bytes([a, b, c, d])),
        _ => bytes.try_into().map_or(0, i64::from_le_bytes),
    })
}

impl Model {
    /// Checks a graph and the bytes of its constants.
    ///
    /// # Errors
    /// A [`ModelError`] naming the node or tensor that breaks a rule of `docs/spec/model.md`, section 3.
    pub fn new(graph: Graph, weights: Vec<u8>) -> Result<Self, ModelError> {
        let ranges = constant_ranges(&graph, weights.len())?;
        let mut model = Self { graph, weights, ranges, sums: Vec::new() };
        model.check_interface()?;
        model.check_operands()?;
        if Graph::decode(&model.graph.encode(), DecodeLimits::default()).as_ref() != Ok(&model.graph) {
            return Err(ModelError::NotEncodable { list_max: LIST_MAX });
        }
        model.check_constants()?;
        model.sums = model.worst_sums()?;
        let inputs = model.smallest_input_types()?;
        let is_fixed = |input: &Input| input.dims.iter().all(|d| matches!(d, Dim::Fixed(_)));
        if model.graph.inputs.iter().all(is_fixed) {
            model.types(&inputs)?;
        }
        Ok(model)
    }

    /// The graph.
    #[must_use]
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Bytes of all constants.
    #[must_use]
    pub fn weights(&self) -> &[u8] {
        &self.weights
    }

    /// Little-endian bytes of constant `index`.
    #[must_use]
    pub fn constant_bytes(&self, index: usize) -> &[u8] {
        self.ranges.get(index).and_then(|r| self.weights.get(r.clone())).unwrap_or(&[])
    }

    /// Values of constant `index`, widened.
    #[must_use]
    pub fn constant_values(&self, index: usize) -> Vec<i64> {
        let dtype = self.graph.constants.get(index).map_or(DType::I8, |c| c.dtype);
        decode_values(dtype, self.constant_bytes(index))
    }

    /// Type of constant `index`.
    ///
    /// # Errors
    /// [`OpError::TooLarge`].
    pub fn constant_type(&self, index: usize) -> Result<TensorType, OpError> {
        let shape = |c: &crate::ConstantType| {
            c.shape.iter().map(|&d| usize::try_from(d).unwrap_or(usize::MAX)).collect()
        };
        let constant = self.graph.constants.get(index);
        TensorType::new(constant.map_or(DType::I8, |c| c.dtype), constant.map(shape).unwrap_or_default())
    }

    /// Constant `index` as a tensor of the reference operators.
    ///
    /// # Errors
    /// [`OpError::TooLarge`].
    pub fn constant_tensor(&self, index: usize) -> Result<Tensor, OpError> {
        let ty = self.constant_type(index)?;
        Tensor::new(ty.dtype, ty.shape, self.constant_values(index))
    }

    /// Type of every value, by value id, for one sample whose inputs have types `inputs`. Checks shapes, types and
    /// every accumulator bound; a graph that passes runs without overflow.
    ///
    /// # Errors
    /// [`ModelError::Op`] or [`ModelError::AccumulatorOverflow`]; [`ModelError::Interface`] if `inputs` are not as many
    /// as the graph's, or have other element types.
    pub fn types(&self, inputs: &[TensorType]) -> Result<Vec<TensorType>, ModelError> {
        let declared = self.graph.inputs.iter().map(|i| i.encoding.dtype());
        if !declared.eq(inputs.iter().map(|t| t.dtype)) {
            let reason = "the number or element types of the inputs differ from the graph's";
            return Err(ModelError::Interface { name: "graph".to_owned(), reason });
        }
        let mut types = inputs.to_vec();
        for index in 0..self.graph.constants.len() {
            let ty = self.constant_type(index);
            types.push(ty.map_err(|source| ModelError::Op { node: format!("constant {index}"), source })?);
        }
        for (node, sums) in self.graph.nodes.iter().zip(&self.sums) {
            let operands: Option<Vec<&TensorType>> =
                node.inputs.iter().map(|v| types.get(v.index())).collect();
            let operands =
                operands.ok_or_else(|| ModelError::UndefinedValue { place: node.name.clone(), value: 0 })?;
            if let Some(x) = operands.first() {
                check_accumulator(node, *sums, x.dtype)?;
            }
            let outputs = node.op.infer(&operands).map_err(op_error(node))?;
            types.extend(outputs);
        }
        Ok(types)
    }

    /// Input types with every dynamic extent at its smallest, 1.
    fn smallest_input_types(&self) -> Result<Vec<TensorType>, ModelError> {
        let extent = |dim: &Dim| match dim {
            Dim::Fixed(n) => usize::try_from(*n).unwrap_or(usize::MAX),
            Dim::Symbol(_) => 1,
        };
        let one = |input: &Input| {
            let ty = TensorType::new(input.encoding.dtype(), input.dims.iter().map(extent).collect());
            ty.map_err(|source| ModelError::Op { node: format!("input {}", input.name), source })
        };
        self.graph.inputs.iter().map(one).collect()
    }

    fn check_interface(&self) -> Result<(), ModelError> {
        let graph = &self.graph;
        check_names("symbol", graph.symbols.iter())?;
        check_names("input", graph.inputs.iter().map(|i| &i.name))?;
        check_names("output", graph.outputs.iter().map(|o| &o.name))?;
        let refuse = |name: &str, reason| Err(ModelError::Interface { name: name.to_owned(), reason });
        if graph.inputs.is_empty() || graph.outputs.is_empty() {
            return refuse("graph", "a model has at least one input and one output");
        }
        for input in &graph.inputs {
            let known = |d: &Dim| match d {
                Dim::Fixed(_) => true,
                Dim::Symbol(i) => usize::try_from(*i).is_ok_and(|i| i < graph.symbols.len()),
            };
            if !input.dims.iter().all(known) {
                return refuse(&input.name, "an extent names an unknown symbol");
            }
            match (input.elem, input.encoding) {
                (Elem::F32, Encoding::Quantise { dtype: DType::I64, .. }) => {
                    return refuse(&input.name, "inputs are i8, i16 or i32 inside the graph");
                }
                (Elem::F32, Encoding::Quantise { dtype, zero, .. }) if !dtype.holds(i64::from(zero)) => {
                    return refuse(&input.name, "zero does not fit the element type");
                }
                (Elem::F32, Encoding::Quantise { .. }) => {}
                (Elem::I32 | Elem::I64, Encoding::Integer { lo, hi }) if lo <= hi => {}
                (Elem::I32 | Elem::I64, Encoding::Integer { .. }) => {
                    return refuse(&input.name, "the range is empty");
                }
                (Elem::F32, Encoding::Integer { .. })
                | (Elem::I32 | Elem::I64, Encoding::Quantise { .. }) => {
                    return refuse(&input.name, "the encoding does not fit the element type");
                }
            }
        }
        let float_integer = |o: &&crate::Output| o.decoding == Decoding::Integer(Elem::F32);
        graph
            .outputs
            .iter()
            .find(float_integer)
            .map_or(Ok(()), |o| refuse(&o.name, "integers decode to i32 or i64"))
    }

    fn check_operands(&self) -> Result<(), ModelError> {
        let graph = &self.graph;
        let first_outputs = graph.first_outputs();
        let end = first_outputs.last().copied().unwrap_or(ValueId(0));
        for (node, limit) in graph.nodes.iter().zip(&first_outputs) {
            if let Some(value) = node.inputs.iter().find(|v| *v >= limit) {
                let place = format!("node '{}'", node.name);
                return Err(ModelError::UndefinedValue { place, value: value.0 });
            }
            if node.name.len() > NAME_BYTES_MAX {
                return Err(ModelError::Name { place: "node", name: node.name.clone() });
            }
            let constants =
                node.inputs.iter().enumerate().filter(|(i, _)| constant_operands(&node.op).contains(i));
            if let Some((operand, _)) = constants.into_iter().find(|(_, v)| graph.as_constant(**v).is_none())
            {
                return Err(ModelError::NotConstant { node: node.name.clone(), operand });
            }
        }
        match graph.outputs.iter().find(|o| o.value >= end) {
            Some(o) => {
                Err(ModelError::UndefinedValue { place: format!("output '{}'", o.name), value: o.value.0 })
            }
            None => Ok(()),
        }
    }

    /// Checks the values of shifts, multipliers and tables, each constant once for each role, and that no `i64` constant
    /// is beyond what an accumulator may be.
    fn check_constants(&self) -> Result<(), ModelError> {
        for (index, constant) in
            self.graph.constants.iter().enumerate().filter(|(_, c)| c.dtype == DType::I64)
        {
            let (lo, hi) = (-1i64 << ACC_BITS_MAX, 1i64 << ACC_BITS_MAX);
            if let Some(value) =
                values(constant.dtype, self.constant_bytes(index)).find(|v| !(lo..=hi).contains(v))
            {
                let source = OpError::Range { op: "constant", value, lo, hi };
                return Err(ModelError::Op { node: format!("constant {index}"), source });
            }
        }
        let mut checked = BTreeSet::new();
        for node in &self.graph.nodes {
            let is_table = matches!(node.op, Op::Softmax(_));
            if !is_table && !matches!(node.op, Op::Requant(_)) {
                continue;
            }
            for (operand, value) in node.inputs.iter().enumerate().skip(1).take(2) {
                let Some(index) = self.graph.as_constant(*value) else { continue };
                if checked.insert((index, operand, is_table)) {
                    self.check_constant(node, operand, index)?;
                }
            }
        }
        Ok(())
    }

    fn check_constant(&self, node: &Node, operand: usize, index: usize) -> Result<(), ModelError> {
        let dtype = self.graph.constants.get(index).map_or(DType::I8, |c| c.dtype);
        // A table fits the first part; `infer` refuses longer ones.
        let n_parts = if matches!(node.op, Op::Softmax(_)) { 1 } else { usize::MAX };
        let parts =
            self.constant_bytes(index).chunks(VALUES_AT_ONCE.saturating_mul(dtype.size())).take(n_parts);
        for part in parts {
            let part = decode_values(dtype, part);
            let operands =
                if operand == 1 { [None, Some(&*part), None] } else { [None, Some(&[][..]), Some(&part)] };
            node.op.check_constants(&operands).map_err(op_error(node))?;
        }
        Ok(())
    }

    /// For each linear node, how large its sums can become.
    fn worst_sums(&self) -> Result<Vec<Option<WorstSums>>, ModelError> {
        let mut work = self.weights.len().saturating_mul(SUMS_WORK_TIMES).saturating_add(SUMS_WORK_MIN);
        let mut known = BTreeMap::new();
        let mut sums = Vec::with_capacity(self.graph.nodes.len());
        for node in &self.graph.nodes {
            let constant = |operand: usize| node.inputs.get(operand).and_then(|v| self.graph.as_constant(*v));
            let (Some((x_zero, _)), Some(w)) = (accumulator(&node.op), constant(1)) else {
                sums.push(None);
                continue;
            };
            let key = (w, constant(2), x_zero);
            let worst = match known.entry(key) {
                Entry::Occupied(worst) => *worst.get(),
                Entry::Vacant(slot) => {
                    let bias_len = constant(2).map_or(0, |b| self.constant_bytes(b).len());
                    let left = work.checked_sub(self.constant_bytes(w).len().saturating_add(bias_len));
                    work = left.ok_or_else(|| ModelError::SumsWork { node: node.name.clone() })?;
                    *slot.insert(self.worst_of(w, constant(2), x_zero))
                }
            };
            sums.push(Some(worst));
        }
        Ok(sums)
    }

    /// Over all output channels, the largest `|bias| + spread * sum |w|`.
    fn worst_of(&self, w: usize, bias: Option<usize>, x_zero: i32) -> WorstSums {
        let n =
            self.graph.constants.get(w).and_then(|c| usize::try_from(*c.shape.first()?).ok()).unwrap_or(0);
        let weights = self.constant_bytes(w);
        let row = weights.len().checked_div(n).unwrap_or(0).max(1);
        let sum =
            |row: &[u8]| row.iter().map(|&b| u64::from(i8::from_le_bytes([b]).unsigned_abs())).sum::<u64>();
        // Without weights there are still biases.
        let sums = weights.chunks(row).map(|row| i128::from(sum(row)));
        let dtype = bias.and_then(|b| self.graph.constants.get(b)).map_or(DType::I32, |c| c.dtype);
        let biases = values(dtype, bias.map_or(&[], |b| self.constant_bytes(b)));
        let (mut sums, mut biases) = (sums.fuse(), biases.map(|b| i128::from(b.unsigned_abs())).fuse());
        let (i8_spread, i16_spread) = (spread(DType::I8, x_zero), spread(DType::I16, x_zero));
        let mut worst = WorstSums { i8: 0, i16: 0 };
        loop {
            let (sum, bias) = match (sums.next(), biases.next()) {
                (None, None) => return worst,
                (sum, bias) => (sum.unwrap_or(0), bias.unwrap_or(0)),
            };
            worst.i8 = worst.i8.max(sum.saturating_mul(i8_spread).saturating_add(bias));
            worst.i16 = worst.i16.max(sum.saturating_mul(i16_spread).saturating_add(bias));
        }
    }
}

/// Zero point and accumulator type of a linear node.
fn accumulator(op: &Op) -> Option<(i32, DType)> {
    match op {
        Op::MatMul(op) => Some((op.x_zero, op.acc)),
        Op::Conv(op) => Some((op.x_zero, op.acc)),
        Op::ConvTranspose(op) => Some((op.conv.x_zero, op.conv.acc)),
        Op::Requant(_)
        | Op::Table(_)
        | Op::Add(_)
        | Op::Mul(_)
        | Op::QuantRow(_)
        | Op::Softmax(_)
        | Op::MaxPool(_)
        | Op::AvgPool(_)
        | Op::Reduce(_)
        | Op::ArgMax(_)
        | Op::Reshape(_)
        | Op::Transpose(_)
        | Op::Concat(_)
        | Op::Slice(_)
        | Op::Pad(_)
        | Op::Gather(_)
        | Op::Resize(_) => None,
    }
}

/// Largest `|x - zero|` over an element type.
fn spread(x: DType, zero: i32) -> i128 {
    let zero = i128::from(zero);
    i128::from(x.max()).saturating_sub(zero).max(zero.saturating_sub(i128::from(x.min())))
}

fn constant_ranges(graph: &Graph, found: usize) -> Result<Vec<std::ops::Range<usize>>, ModelError> {
    let mut end = 0u64;
    let mut ranges = Vec::with_capacity(graph.constants.len());
    let found = u64::try_from(found).unwrap_or(u64::MAX);
    for constant in &graph.constants {
        let start = end;
        end = constant.size_bytes().and_then(|s| end.checked_add(s)).unwrap_or(u64::MAX);
        if end > found {
            return Err(ModelError::WeightsSize { expected: end, found });
        }
        ranges.push(usize::try_from(start).unwrap_or(usize::MAX)..usize::try_from(end).unwrap_or(usize::MAX));
    }
    if end == found { Ok(ranges) } else { Err(ModelError::WeightsSize { expected: end, found }) }
}

fn check_accumulator(node: &Node, sums: Option<WorstSums>, x: DType) -> Result<(), ModelError> {
    if let Op::Requant(op) = &node.op
        && x == DType::I64
        && op.x_zero != 0
    {
        // The bound of an `i64` accumulator is that of `x - x_zero`.
        let value = i64::from(op.x_zero);
        return Err(op_error(node)(OpError::Attribute { op: "Requant", attribute: "x_zero", value }));
    }
    let (Some(sums), Some((_, acc))) = (sums, accumulator(&node.op)) else { return Ok(()) };
    let worst = if x == DType::I8 { sums.i8 } else { sums.i16 };
    let limit = if acc == DType::I32 { i128::from(i32::MAX) } else { 1i128 << ACC_BITS_MAX };
    if worst <= limit {
        return Ok(());
    }
    Err(ModelError::AccumulatorOverflow { node: node.name.clone(), worst, limit })
}
