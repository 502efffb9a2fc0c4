//! From ONNX nodes to the real-valued graph: constants, dynamic shapes, layouts. Operators are in `read_ops`.

use std::collections::{BTreeMap, BTreeSet};

use veracity_ops::{DimSpec, ELEMENTS_MAX, Op, RANK_MAX, Reshape, Transpose};

use crate::{
    ImportError,
    func::Func,
    onnx::{self, Constant, ConstantData, DimValue, GraphProto, ModelProto, NodeProto, data_type},
    read_ops,
    real::{Extent, NodeId, RealConstant, RealGraph, RealInput, RealNode, RealOp, RealOutput},
};

/// One element of a tensor that holds a shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShapeItem {
    Known(i64),
    /// The batch extent.
    Batch,
    /// A dynamic extent of a sample: the symbol.
    Symbol(u32),
    /// A dynamic extent that the importer does not follow.
    Other,
}

/// How the axes of a sample lie in memory, against ONNX's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Layout {
    /// As in ONNX.
    Plain,
    /// `[spatial.., channels]` for ONNX's `[channels, spatial..]`.
    ChannelsLast,
    /// One axis holding `[h, w, c]` flattened, for ONNX's flattened `[c, h, w]`.
    FlatChannelsLast([usize; 3]),
}

/// A tensor that depends on the request.
#[derive(Debug, Clone)]
pub(crate) struct Act {
    pub(crate) node: NodeId,
    /// Extents of a sample in ONNX's order.
    pub(crate) shape: Vec<Extent>,
    pub(crate) layout: Layout,
}

#[derive(Debug, Clone)]
pub(crate) enum Value {
    Constant(Constant),
    Shape(Vec<ShapeItem>),
    Act(Act),
}

/// Reads one model.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) graph: RealGraph,
    values: BTreeMap<String, Value>,
    uses: BTreeMap<String, usize>,
    /// Nodes whose value goes by several names, so that counting the uses of one name says too little.
    shared: BTreeSet<NodeId>,
    pub(crate) opset: i64,
    /// Batch extent if the source fixes it.
    batch: Option<i64>,
    /// Values that constants and tables may still take: what a small file refers to many times must stay small.
    budget: usize,
}

/// Values that constants and tables may take beyond those in the source.
const BUDGET: usize = 1 << 27;
/// Values in the table of a function.
const TABLE_VALUES: usize = 1 << 16;
/// Most items of a shape computation.
const SHAPE_ITEMS_MAX: usize = 64;

/// The node being read, with the error constructors that name it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Site<'a> {
    pub(crate) node: &'a NodeProto,
}

impl<'a> Site<'a> {
    pub(crate) fn name(&self) -> String {
        let first = || self.node.output.first().cloned().unwrap_or_default();
        if self.node.name.is_empty() { first() } else { self.node.name.clone() }
    }

    pub(crate) fn refuse(&self, reason: impl Into<String>) -> ImportError {
        ImportError::UnsupportedUse {
            op: self.node.op_type.clone(),
            node: self.name(),
            reason: reason.into(),
        }
    }

    pub(crate) fn unsupported(&self, hint: impl Into<String>) -> ImportError {
        let domain = &self.node.domain;
        let op = if domain.is_empty() {
            self.node.op_type.clone()
        } else {
            format!("{domain}.{}", self.node.op_type)
        };
        ImportError::UnsupportedOperator { op, node: self.name(), hint: hint.into() }
    }

    /// Name of operand `i`, if present.
    pub(crate) fn operand(&self, i: usize) -> Option<&'a str> {
        self.node.input.get(i).map(String::as_str).filter(|s| !s.is_empty())
    }
}

/// Operators that may follow a shape computation.
const SHAPE_OPS: [&str; 12] = [
    "Gather",
    "Slice",
    "Concat",
    "Unsqueeze",
    "Squeeze",
    "Cast",
    "Identity",
    "Add",
    "Mul",
    "Div",
    "Sub",
    "Reshape",
];

pub(crate) fn read(model: &ModelProto) -> Result<RealGraph, ImportError> {
    let source = model.graph.as_ref().ok_or(ImportError::NotOnnx { reason: "it holds no graph".into() })?;
    let opset = check_opsets(model)?;
    let mut reader = Reader {
        graph: RealGraph::default(),
        values: BTreeMap::new(),
        uses: count_uses(source),
        shared: BTreeSet::new(),
        opset,
        batch: None,
        budget: BUDGET,
    };
    reader.read_initializers(source)?;
    reader.read_inputs(source)?;
    for node in &source.node {
        reader.read_node(Site { node })?;
    }
    reader.read_outputs(source)?;
    check_finite(&reader.graph)?;
    Ok(reader.graph)
}

/// Folding multiplies finite numbers, so a product can still overflow.
fn check_finite(graph: &RealGraph) -> Result<(), ImportError> {
    let overflows = |n: &&RealNode| n.constants().into_iter().flatten().any(|v| !v.is_finite());
    graph.nodes.iter().find(overflows).map_or(Ok(()), |node| {
        let reason = "its weights exceed the range of f32 once scales are folded into them".into();
        Err(ImportError::UnsupportedUse { op: "constants".into(), node: node.name.clone(), reason })
    })
}

/// Checks the default domain's operator set; others matter only through the operators used.
fn check_opsets(model: &ModelProto) -> Result<i64, ImportError> {
    let default = model.opset_import.iter().find(|o| o.domain.is_empty() || o.domain == "ai.onnx");
    let found = default.map_or(0, |o| o.version);
    let (min, max) = (onnx::OPSET_MIN, onnx::OPSET_MAX);
    if (min..=max).contains(&found) {
        Ok(found)
    } else {
        Err(ImportError::Opset { domain: "ai.onnx".into(), found, min, max })
    }
}

fn count_uses(source: &GraphProto) -> BTreeMap<String, usize> {
    let mut uses = BTreeMap::new();
    let names = source.node.iter().flat_map(|n| n.input.iter()).chain(source.output.iter().map(|o| &o.name));
    for name in names {
        *uses.entry(name.clone()).or_insert(0) += 1;
    }
    uses
}

/// Refuses numbers that are not finite, except bounds of a clip.
fn check_attributes(site: Site<'_>) -> Result<(), ImportError> {
    let bound = site.node.op_type == "Clip";
    let bad = |v: &f32| v.is_nan() || (v.is_infinite() && !bound);
    let has_bad = |a: &onnx::AttributeProto| bad(&a.f) || a.floats.iter().any(bad);
    match site.node.attribute.iter().find(|a| has_bad(a)) {
        Some(a) => Err(site.refuse(format!("attribute '{}' is not a finite number", a.name))),
        None => Ok(()),
    }
}

/// Whether some request can bring a tensor of these extents.
fn is_possible(shape: &[Extent]) -> bool {
    let count = shape.iter().try_fold(1usize, |n, d| n.checked_mul(d.fixed().unwrap_or(1)));
    shape.len() <= RANK_MAX && count.is_some_and(|n| (1..=ELEMENTS_MAX).contains(&n))
}

/// Extents of the axes of a physical layout.
fn physical(shape: &[Extent], layout: &Layout) -> Vec<Extent> {
    match layout {
        Layout::Plain | Layout::FlatChannelsLast(_) => shape.to_vec(),
        Layout::ChannelsLast => shape.iter().skip(1).chain(shape.first()).copied().collect(),
    }
}

impl Act {
    /// Physical axis of ONNX's sample axis `axis`.
    pub(crate) fn physical_axis(&self, axis: usize) -> usize {
        match (&self.layout, axis) {
            (Layout::Plain | Layout::FlatChannelsLast(_), axis) => axis,
            (Layout::ChannelsLast, 0) => self.shape.len() - 1,
            (Layout::ChannelsLast, axis) => axis - 1,
        }
    }

    /// Number of values of a sample, if known.
    pub(crate) fn len(&self) -> Option<usize> {
        self.shape.iter().try_fold(1usize, |n, d| n.checked_mul(d.fixed()?))
    }
}

impl Reader {
    fn read_initializers(&mut self, source: &GraphProto) -> Result<(), ImportError> {
        for tensor in &source.initializer {
            let constant = onnx::constant(tensor)?;
            self.budget = self.budget.saturating_add(constant.len());
            self.define(&tensor.name, Value::Constant(constant))?;
        }
        Ok(())
    }

    fn read_inputs(&mut self, source: &GraphProto) -> Result<(), ImportError> {
        for info in &source.input {
            if self.values.contains_key(&info.name) {
                continue;
            }
            let refuse =
                |reason: &str| ImportError::Interface { name: info.name.clone(), reason: reason.into() };
            let tensor = info.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
            let tensor = tensor.ok_or_else(|| refuse("inputs must be tensors"))?;
            if tensor.elem_type != data_type::FLOAT {
                return Err(refuse(
                    "inputs must be float32; other element types are not supported by this importer",
                ));
            }
            let shape = tensor
                .shape
                .as_ref()
                .ok_or_else(|| refuse("its shape is not declared; run onnx.shape_inference"))?;
            let (batch, rest) = shape.dim.split_first().ok_or_else(|| refuse("it has no batch axis"))?;
            if let Some(DimValue::Value(n)) = batch.value {
                self.batch = Some(n);
            }
            let mut dims = Vec::new();
            for (axis, dim) in rest.iter().enumerate() {
                dims.push(match &dim.value {
                    Some(DimValue::Value(n)) => {
                        let n = usize::try_from(*n).ok().filter(|n| (1..=1 << 24).contains(n));
                        Extent::Fixed(n.ok_or_else(|| refuse("an extent is not between 1 and 2^24"))?)
                    }
                    Some(DimValue::Param(name)) if !name.is_empty() => self.symbol(name.clone()),
                    Some(DimValue::Param(_)) | None => self.symbol(format!("{}_{}", info.name, axis + 1)),
                });
            }
            if !is_possible(&dims) {
                return Err(refuse("it has more than 8 axes or 2^31 values"));
            }
            let index = self.graph.inputs.len();
            self.graph.inputs.push(RealInput { name: info.name.clone(), dims: dims.clone() });
            let node = self.push_raw(&info.name, RealOp::Input(index), vec![], dims.clone());
            self.values
                .insert(info.name.clone(), Value::Act(Act { node, shape: dims, layout: Layout::Plain }));
        }
        if self.graph.inputs.is_empty() {
            return Err(ImportError::Interface {
                name: "graph".into(),
                reason: "the model has no input".into(),
            });
        }
        Ok(())
    }

    fn symbol(&mut self, name: String) -> Extent {
        let known = self.graph.symbols.iter().position(|s| *s == name);
        let index = known.unwrap_or_else(|| {
            self.graph.symbols.push(name);
            self.graph.symbols.len() - 1
        });
        Extent::Symbol(u32::try_from(index).unwrap_or(u32::MAX))
    }

    fn read_outputs(&mut self, source: &GraphProto) -> Result<(), ImportError> {
        let mut seen = BTreeSet::new();
        for info in &source.output {
            let refuse =
                |reason: &str| ImportError::Interface { name: info.name.clone(), reason: reason.into() };
            if !seen.insert(&info.name) {
                return Err(refuse("the output is declared twice"));
            }
            let Some(Value::Act(act)) = self.values.get(&info.name).cloned() else {
                return Err(refuse("the output does not depend on any input"));
            };
            let act = self.plain(act, &info.name);
            self.graph.outputs.push(RealOutput { name: info.name.clone(), node: act.node });
        }
        if seen.is_empty() {
            return Err(ImportError::Interface {
                name: "graph".into(),
                reason: "the model has no output".into(),
            });
        }
        Ok(())
    }

    fn read_node(&mut self, site: Site<'_>) -> Result<(), ImportError> {
        for name in site.node.input.iter().filter(|n| !n.is_empty()) {
            if !self.values.contains_key(name) {
                return Err(ImportError::UndefinedTensor { node: site.name(), tensor: name.clone() });
            }
        }
        check_attributes(site)?;
        let first = self.graph.nodes.len();
        let values = match self.read_shape_node(site)? {
            Some(value) => vec![value],
            None => read_ops::read(self, site)?,
        };
        self.check_sizes(site, first, &values)?;
        for (name, value) in site.node.output.iter().zip(values) {
            self.note_alias(site, &value);
            self.define(name, value)?;
        }
        Ok(())
    }

    fn define(&mut self, name: &str, value: Value) -> Result<(), ImportError> {
        if !name.is_empty() && self.values.insert(name.into(), value).is_some() {
            return Err(ImportError::BadTensor { tensor: name.into(), reason: "it is defined twice".into() });
        }
        Ok(())
    }

    /// Checks what one node of the source has made: graph nodes from `first` on, and its results. As each operator
    /// multiplies an extent by 2^17 at most, extents that pass here cannot overflow in the next one.
    fn check_sizes(&mut self, site: Site<'_>, first: usize, values: &[Value]) -> Result<(), ImportError> {
        let mut spent = 0usize;
        for node in &self.graph.nodes[first..] {
            if !is_possible(&node.shape) {
                return Err(site.refuse("a value would be empty, or have more than 8 axes or 2^31 elements"));
            }
            let table = match node.op {
                RealOp::Func(func) => !matches!(func, Func::Clip(..)),
                _ => matches!(node.op, RealOp::Softmax),
            };
            let [a, b] = node.constants();
            let size = a.len() + b.len() + if table { TABLE_VALUES } else { 0 };
            spent = spent.saturating_add(size);
        }
        let folded = site.node.op_type != "Constant";
        for value in values {
            match value {
                Value::Constant(c) if folded => spent = spent.saturating_add(c.len()),
                Value::Constant(c) => self.budget = self.budget.saturating_add(c.len()),
                Value::Shape(items) if items.len() > SHAPE_ITEMS_MAX => {
                    return Err(site.refuse("a computed shape has more than 64 items"));
                }
                Value::Shape(_) | Value::Act(_) => {}
            }
        }
        let left = self.budget.checked_sub(spent);
        self.budget =
            left.ok_or_else(|| site.refuse("constants that are used many times would take too much memory"))?;
        Ok(())
    }

    /// Marks the node of `value` if it is also an operand of this node that others use.
    fn note_alias(&mut self, site: Site<'_>, value: &Value) {
        let Value::Act(act) = value else { return };
        let same = |i: &usize| {
            let operand = site.operand(*i).and_then(|name| self.values.get(name));
            matches!(operand, Some(Value::Act(x)) if x.node == act.node)
        };
        let aliased = (0..site.node.input.len()).find(same);
        if aliased.is_some_and(|i| !self.used_once(site, i)) {
            self.shared.insert(act.node);
        }
    }

    /// Evaluates constants and arithmetic on shapes.
    fn read_shape_node(&mut self, site: Site<'_>) -> Result<Option<Value>, ImportError> {
        let attributes = onnx::Attributes::of(site.node);
        match site.node.op_type.as_str() {
            "Constant" => {
                let constant = if let Some(tensor) = attributes.tensor("value") {
                    onnx::constant(tensor)?
                } else if let Some(ints) = attributes.ints("value_ints").filter(|v| !v.is_empty()) {
                    Constant::ints(ints.to_vec())
                } else if attributes.has("value_int") {
                    Constant { shape: vec![], ..Constant::ints(vec![attributes.int("value_int", 0)]) }
                } else if attributes.has("value_float") {
                    let data = ConstantData::Float(vec![attributes.float("value_float", 0.0)]);
                    Constant { shape: vec![], data, data_type: data_type::FLOAT }
                } else if let Some(floats) = attributes.floats("value_floats") {
                    let data = ConstantData::Float(floats.to_vec());
                    Constant { shape: vec![floats.len()], data, data_type: data_type::FLOAT }
                } else {
                    return Err(site.refuse("only numeric constants are supported"));
                };
                Ok(Some(Value::Constant(constant)))
            }
            "Shape" => match self.operand(site, 0)? {
                Value::Act(act) => {
                    let item = |d: &Extent| match *d {
                        Extent::Fixed(n) => ShapeItem::Known(i64::try_from(n).unwrap_or(i64::MAX)),
                        Extent::Symbol(s) => ShapeItem::Symbol(s),
                        Extent::Derived => ShapeItem::Other,
                    };
                    let items: Vec<ShapeItem> =
                        std::iter::once(ShapeItem::Batch).chain(act.shape.iter().map(item)).collect();
                    let n = i64::try_from(items.len()).unwrap_or(0);
                    let bound =
                        |v: i64| usize::try_from(if v < 0 { v + n } else { v }.clamp(0, n)).unwrap_or(0);
                    let (start, end) = (bound(attributes.int("start", 0)), bound(attributes.int("end", n)));
                    Ok(Some(Value::Shape(items.get(start..end).unwrap_or(&[]).to_vec())))
                }
                Value::Constant(c) => {
                    let items = c.shape.iter().map(|&d| i64::try_from(d).unwrap_or(i64::MAX)).collect();
                    Ok(Some(Value::Constant(Constant::ints(items))))
                }
                Value::Shape(_) => Err(site.refuse("the shape of a shape is not supported")),
            },
            op if SHAPE_OPS.contains(&op) => self.fold_shape(site, &attributes),
            _ => Ok(None),
        }
    }

    /// Folds an operator whose operands are all shapes or integer constants.
    fn fold_shape(
        &self,
        site: Site<'_>,
        attributes: &onnx::Attributes<'_>,
    ) -> Result<Option<Value>, ImportError> {
        let names = || site.node.input.iter().filter(|n| !n.is_empty());
        if !names().any(|name| matches!(self.values.get(name), Some(Value::Shape(_)))) {
            return Ok(None);
        }
        let mut operands = Vec::new();
        for name in names() {
            match self.values.get(name) {
                Some(Value::Shape(items)) => operands.push(items.clone()),
                Some(Value::Constant(c)) if c.len() > SHAPE_ITEMS_MAX || operands.len() > SHAPE_ITEMS_MAX => {
                    return Err(site.refuse("a computed shape has more than 64 items"));
                }
                Some(Value::Constant(Constant { data: ConstantData::Int(v), .. })) => {
                    operands.push(v.iter().map(|&v| ShapeItem::Known(v)).collect());
                }
                Some(Value::Constant(_) | Value::Act(_)) | None => return Ok(None),
            }
        }
        let Some(first) = operands.first().cloned() else { return Ok(None) };
        let known = |i: usize, default: i64| match operands.get(i).and_then(|o| o.first()) {
            Some(ShapeItem::Known(v)) => *v,
            Some(_) | None => default,
        };
        let items = match site.node.op_type.as_str() {
            "Cast" | "Identity" | "Unsqueeze" | "Squeeze" | "Reshape" => first,
            "Concat" => operands.concat(),
            "Gather" => {
                let n = i64::try_from(first.len()).unwrap_or(0);
                let pick = |item: &ShapeItem| match item {
                    ShapeItem::Known(i) => {
                        usize::try_from(if *i < 0 { i + n } else { *i }).ok().and_then(|i| first.get(i))
                    }
                    ShapeItem::Batch | ShapeItem::Symbol(_) | ShapeItem::Other => None,
                };
                let picked: Option<Vec<ShapeItem>> =
                    operands.get(1).and_then(|o| o.iter().map(|i| pick(i).copied()).collect());
                picked.ok_or_else(|| site.refuse("the index is not a constant inside the shape"))?
            }
            "Slice" => {
                let (start, end) = match attributes.ints("starts").zip(attributes.ints("ends")) {
                    Some((s, e)) => (s.first().copied().unwrap_or(0), e.first().copied().unwrap_or(i64::MAX)),
                    None => (known(1, 0), known(2, i64::MAX)),
                };
                if known(4, 1) != 1 {
                    return Err(site.refuse("a shape can be sliced with step 1 only"));
                }
                let n = i64::try_from(first.len()).unwrap_or(0);
                let bound = |v: i64| usize::try_from(if v < 0 { v + n } else { v }.clamp(0, n)).unwrap_or(0);
                first.get(bound(start)..bound(end)).unwrap_or(&[]).to_vec()
            }
            op => {
                let pair = |(a, b): (&ShapeItem, &ShapeItem)| match (a, b, op) {
                    (ShapeItem::Known(a), ShapeItem::Known(b), "Add") => {
                        a.checked_add(*b).map(ShapeItem::Known)
                    }
                    (ShapeItem::Known(a), ShapeItem::Known(b), "Sub") => {
                        a.checked_sub(*b).map(ShapeItem::Known)
                    }
                    (ShapeItem::Known(a), ShapeItem::Known(b), "Mul") => {
                        a.checked_mul(*b).map(ShapeItem::Known)
                    }
                    (ShapeItem::Known(a), ShapeItem::Known(b), "Div") => {
                        a.checked_div(*b).map(ShapeItem::Known)
                    }
                    (a, ShapeItem::Known(1), "Mul" | "Div") => Some(*a),
                    (ShapeItem::Known(1), b, "Mul") => Some(*b),
                    _ => Some(ShapeItem::Other),
                };
                let other = operands.get(1).cloned().unwrap_or_default();
                let n = first.len().max(other.len());
                let at = |v: &Vec<ShapeItem>, i: usize| v.get(if v.len() == 1 { 0 } else { i }).copied();
                let items = (0..n)
                    .map(|i| at(&first, i).zip(at(&other, i)).and_then(|(a, b)| pair((&a, &b))))
                    .collect();
                let items: Option<Vec<ShapeItem>> = items;
                items.ok_or_else(|| site.refuse("the shape arithmetic is not supported"))?
            }
        };
        Ok(Some(Value::Shape(items)))
    }

    pub(crate) fn operand(&self, site: Site<'_>, i: usize) -> Result<Value, ImportError> {
        let name = site.operand(i).ok_or_else(|| site.refuse(format!("operand {i} is missing")))?;
        let missing = || ImportError::UndefinedTensor { node: site.name(), tensor: name.into() };
        self.values.get(name).cloned().ok_or_else(missing)
    }

    /// Operand `i`, which must depend on the request.
    pub(crate) fn act(&self, site: Site<'_>, i: usize) -> Result<Act, ImportError> {
        match self.operand(site, i)? {
            Value::Act(act) if self.graph.is_index(act.node) => {
                Err(site.refuse("indices can be answered, not computed with"))
            }
            Value::Act(act) => Ok(act),
            Value::Constant(_) | Value::Shape(_) => Err(site.refuse(format!(
                "operand {i} must depend on the request; fold constants with a simplifier first"
            ))),
        }
    }

    /// Operand 0, which may hold indices.
    pub(crate) fn any_act(&self, site: Site<'_>) -> Result<Act, ImportError> {
        match self.operand(site, 0)? {
            Value::Act(act) => Ok(act),
            Value::Constant(_) | Value::Shape(_) => {
                Err(site.refuse("the operand must depend on the request"))
            }
        }
    }

    /// Operand `i` as a constant, if present.
    pub(crate) fn constant(&self, site: Site<'_>, i: usize) -> Result<Option<Constant>, ImportError> {
        if site.operand(i).is_none() {
            return Ok(None);
        }
        match self.operand(site, i)? {
            Value::Constant(c) => Ok(Some(c)),
            Value::Act(_) | Value::Shape(_) => {
                Err(site.refuse(format!("operand {i} must be a constant of the model")))
            }
        }
    }

    pub(crate) fn floats(
        &self,
        site: Site<'_>,
        i: usize,
    ) -> Result<Option<(Vec<usize>, Vec<f32>)>, ImportError> {
        match self.constant(site, i)? {
            Some(Constant { shape, data: ConstantData::Float(v), .. }) => Ok(Some((shape, v))),
            Some(_) => Err(site.refuse(format!("operand {i} must be a float tensor"))),
            None => Ok(None),
        }
    }

    pub(crate) fn ints(&self, site: Site<'_>, i: usize) -> Result<Option<Vec<i64>>, ImportError> {
        match self.constant(site, i)? {
            Some(Constant { data: ConstantData::Int(v), .. }) => Ok(Some(v)),
            Some(_) => Err(site.refuse(format!("operand {i} must be an integer tensor"))),
            None => Ok(None),
        }
    }

    /// Whether operand `i` is used here only.
    pub(crate) fn used_once(&self, site: Site<'_>, i: usize) -> bool {
        let Some(name) = site.operand(i) else { return false };
        let shared = matches!(self.values.get(name), Some(Value::Act(x)) if self.shared.contains(&x.node));
        !shared && self.uses.get(name) == Some(&1)
    }

    pub(crate) fn push_raw(
        &mut self,
        name: &str,
        op: RealOp,
        inputs: Vec<NodeId>,
        shape: Vec<Extent>,
    ) -> NodeId {
        let moved = matches!(op, RealOp::Move(_)) && inputs.iter().any(|&i| self.graph.is_index(i));
        let index = moved || matches!(op, RealOp::ArgMax { .. });
        self.graph.nodes.push(RealNode {
            name: name.into(),
            op,
            inputs,
            shape,
            clip: None,
            declared: None,
            index,
        });
        NodeId(self.graph.nodes.len() - 1)
    }

    /// Adds a node whose output has ONNX extents `shape` in `layout`.
    pub(crate) fn push(
        &mut self,
        name: &str,
        op: RealOp,
        inputs: &[&Act],
        shape: Vec<Extent>,
        layout: Layout,
    ) -> Act {
        let ids = inputs.iter().map(|a| a.node).collect();
        let node = self.push_raw(name, op, ids, physical(&shape, &layout));
        Act { node, shape, layout }
    }

    /// The values of `act`, which is in ONNX's order, under another shape.
    pub(crate) fn reshape(
        &mut self,
        site: Site<'_>,
        act: &Act,
        shape: Vec<Extent>,
        layout: Layout,
    ) -> Result<Act, ImportError> {
        let source = &self.graph.node(act.node).shape;
        let spec = |d: Extent| match d {
            Extent::Fixed(n) => DimSpec::Fixed(n),
            Extent::Symbol(_) => source.iter().position(|s| *s == d).map_or(DimSpec::Infer, DimSpec::Input),
            Extent::Derived => DimSpec::Infer,
        };
        let dims: Vec<DimSpec> = physical(&shape, &layout).into_iter().map(spec).collect();
        if dims.iter().filter(|d| **d == DimSpec::Infer).count() > 1 {
            return Err(
                site.refuse("more than one extent of the new shape is unknown; export with fixed extents")
            );
        }
        Ok(self.push(&site.name(), RealOp::Move(Op::Reshape(Reshape { dims })), &[act], shape, layout))
    }

    /// `act` with its axes named anew, in row-major order of what lies in memory: each axis of the result is one of
    /// `act`, or new with extent 1. Axes that are left out have extent 1.
    pub(crate) fn regroup(&mut self, name: &str, act: &Act, axes: &[Option<usize>], layout: Layout) -> Act {
        let shape: Vec<Extent> = axes.iter().map(|a| a.map_or(Extent::Fixed(1), |a| act.shape[a])).collect();
        let spec = |a: &Option<usize>| match *a {
            None => DimSpec::Fixed(1),
            Some(a) => act.shape[a].fixed().map_or(DimSpec::Input(act.physical_axis(a)), DimSpec::Fixed),
        };
        let mut dims: Vec<DimSpec> = axes.iter().map(spec).collect();
        if layout == Layout::ChannelsLast {
            dims.rotate_left(1);
        }
        self.push(name, RealOp::Move(Op::Reshape(Reshape { dims })), &[act], shape, layout)
    }

    /// `act` in another layout that puts the values in the same order.
    fn relabel(&mut self, name: &str, act: &Act, layout: Layout) -> Act {
        let axes: Vec<Option<usize>> = (0..act.shape.len()).map(Some).collect();
        self.regroup(name, act, &axes, layout)
    }

    /// As [`Reader::reshape`], for shapes whose extents are all known.
    fn reshape_fixed(&mut self, name: &str, act: &Act, shape: Vec<Extent>, layout: Layout) -> Act {
        let dims = physical(&shape, &layout)
            .iter()
            .map(|d| d.fixed().map_or(DimSpec::Infer, DimSpec::Fixed))
            .collect();
        self.push(name, RealOp::Move(Op::Reshape(Reshape { dims })), &[act], shape, layout)
    }

    fn permute(&mut self, name: &str, act: &Act, perm: Vec<usize>, layout: Layout) -> Act {
        let op = RealOp::Move(Op::Transpose(Transpose { perm }));
        self.push(name, op, &[act], act.shape.clone(), layout)
    }

    /// Whether changing the layout moves nothing: one channel, or one position.
    fn is_trivial(act: &Act) -> bool {
        let one = |d: &Extent| *d == Extent::Fixed(1);
        act.shape.first().is_none_or(one) || act.shape.iter().skip(1).all(one)
    }

    /// The value in ONNX's axis order.
    pub(crate) fn plain(&mut self, act: Act, name: &str) -> Act {
        match act.layout {
            Layout::Plain => act,
            Layout::ChannelsLast if Self::is_trivial(&act) => self.relabel(name, &act, Layout::Plain),
            Layout::ChannelsLast => {
                let rank = act.shape.len();
                let perm = std::iter::once(rank - 1).chain(0..rank - 1).collect();
                self.permute(name, &act, perm, Layout::Plain)
            }
            Layout::FlatChannelsLast([h, w, c]) => {
                let dims = [c, h, w].map(Extent::Fixed).to_vec();
                let split = self.reshape_fixed(name, &act, dims, Layout::ChannelsLast);
                let plain = self.plain(split, name);
                self.reshape_fixed(name, &plain, act.shape, Layout::Plain)
            }
        }
    }

    /// The value with channels last; `act` has at least two sample axes.
    pub(crate) fn channels_last(&mut self, act: Act, name: &str) -> Act {
        match act.layout {
            Layout::ChannelsLast => act,
            Layout::Plain if Self::is_trivial(&act) => self.relabel(name, &act, Layout::ChannelsLast),
            Layout::Plain => {
                let perm = (1..act.shape.len()).chain([0]).collect();
                self.permute(name, &act, perm, Layout::ChannelsLast)
            }
            Layout::FlatChannelsLast(_) => {
                let plain = self.plain(act, name);
                self.channels_last(plain, name)
            }
        }
    }

    /// Brings operands of one rank to one layout.
    pub(crate) fn same_layout(&mut self, acts: Vec<Act>, name: &str) -> Vec<Act> {
        let channels_last = acts.iter().any(|a| a.layout == Layout::ChannelsLast);
        let same_flat = acts.windows(2).all(|w| w[0].layout == w[1].layout && w[0].shape == w[1].shape);
        if same_flat {
            return acts;
        }
        let convert = |act| if channels_last { self.channels_last(act, name) } else { self.plain(act, name) };
        acts.into_iter().map(convert).collect()
    }

    /// A constant operand of an elementwise operator in the axis order of `act`, batch axis removed.
    pub(crate) fn broadcast_constant(
        &self,
        site: Site<'_>,
        act: &Act,
        shape: &[usize],
        values: Vec<f32>,
    ) -> Result<RealConstant, ImportError> {
        let rank = act.shape.len();
        let Some(missing) = (rank + 1).checked_sub(shape.len()) else {
            return Err(site.refuse("a constant operand has more axes than the value"));
        };
        let full: Vec<usize> = std::iter::repeat_n(1, missing).chain(shape.iter().copied()).collect();
        if full[0] != 1 {
            return Err(site.refuse("a constant operand differs along the batch axis"));
        }
        let sample = full[1..].to_vec();
        let fits = |(&d, e): (&usize, &Extent)| d == 1 || e.fixed() == Some(d);
        if !sample.iter().zip(&act.shape).all(fits) {
            return Err(site.refuse("a constant operand does not broadcast to the value's shape"));
        }
        Ok(match &act.layout {
            Layout::Plain => RealConstant { shape: sample, values },
            Layout::ChannelsLast => channels_last_constant(&sample, &values),
            Layout::FlatChannelsLast([h, w, c]) if sample == [h * w * c] => {
                let last = channels_last_constant(&[*c, *h, *w], &values);
                RealConstant { shape: sample, values: last.values }
            }
            Layout::FlatChannelsLast(_) => RealConstant { shape: sample, values },
        })
    }

    /// Reads the target of a Reshape against the value's shape; the batch axis must stay first.
    pub(crate) fn reshape_target(
        &self,
        site: Site<'_>,
        act: &Act,
        target: &[ShapeItem],
    ) -> Result<Vec<Extent>, ImportError> {
        let refuse = || site.refuse("the batch axis must stay first and apart; export with a batch axis");
        let (first, rest) = target.split_first().ok_or_else(refuse)?;
        let source = |i: usize| act.shape.get(i).copied();
        let mut extents = Vec::new();
        for (i, item) in rest.iter().enumerate() {
            extents.push(match *item {
                ShapeItem::Known(0) => {
                    Some(source(i).ok_or_else(|| site.refuse("a zero extent names no axis"))?)
                }
                ShapeItem::Known(-1) => None,
                ShapeItem::Known(n) => {
                    Some(Extent::Fixed(usize::try_from(n).map_err(|_| site.refuse("an extent is negative"))?))
                }
                ShapeItem::Symbol(s) => Some(Extent::Symbol(s)),
                ShapeItem::Other => Some(Extent::Derived),
                ShapeItem::Batch => return Err(refuse()),
            });
        }
        let known = extents.iter().try_fold(1usize, |n, d| n.checked_mul(d.map_or(Some(1), Extent::fixed)?));
        let batch_kept = match *first {
            ShapeItem::Batch | ShapeItem::Known(0) => true,
            ShapeItem::Known(-1) => known.is_some() && known == act.len(),
            ShapeItem::Known(n) => self.batch == Some(n) || (n == 1 && known.is_some() && known == act.len()),
            ShapeItem::Symbol(_) | ShapeItem::Other => false,
        };
        if !batch_kept {
            return Err(refuse());
        }
        let left = act.len().zip(known).and_then(|(len, known)| len.checked_div(known));
        Ok(extents.into_iter().map(|d| d.unwrap_or(left.map_or(Extent::Derived, Extent::Fixed))).collect())
    }

    /// Operand `i` as a shape.
    pub(crate) fn shape_operand(&self, site: Site<'_>, i: usize) -> Result<Vec<ShapeItem>, ImportError> {
        match self.operand(site, i)? {
            Value::Shape(items) => Ok(items),
            Value::Constant(Constant { data: ConstantData::Int(v), .. }) => {
                Ok(v.into_iter().map(ShapeItem::Known).collect())
            }
            Value::Constant(_) | Value::Act(_) => {
                Err(site.refuse("a shape must not depend on the request's values"))
            }
        }
    }
}

/// `[c, spatial..]` values in `[spatial.., c]` order.
pub(crate) fn channels_last_constant(shape: &[usize], values: &[f32]) -> RealConstant {
    let c = shape.first().copied().unwrap_or(1);
    let positions = values.len() / c.max(1);
    let reordered = (0..positions).flat_map(|p| (0..c).map(move |k| values[k * positions + p])).collect();
    let shape = shape.iter().skip(1).copied().chain([c]).collect();
    RealConstant { shape, values: reordered }
}
