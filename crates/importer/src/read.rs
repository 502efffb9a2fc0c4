//! From ONNX nodes to the real-valued graph: names, uses, limits. Operators are in `read_ops`.

use std::collections::{BTreeMap, BTreeSet};

use veracity_graph::Elem;
use veracity_ops::{ELEMENTS_MAX, RANK_MAX};

use crate::{
    ImportError,
    func::Func,
    layout::{Layout, physical},
    onnx::{self, Constant, ConstantData, DimValue, GraphProto, ModelProto, NodeProto, data_type},
    read_ops,
    read_shape::{SHAPE_ITEMS_MAX, ShapeItem},
    real::{Extent, NodeId, RealGraph, RealInput, RealNode, RealOp, RealOutput},
};

/// A tensor that depends on the request.
#[derive(Debug, Clone)]
pub(crate) struct Act {
    pub(crate) node: NodeId,
    /// Extents of a sample in ONNX's order.
    pub(crate) shape: Vec<Extent>,
    pub(crate) layout: Layout,
    /// Where ONNX has the batch axis among those of the sample: first but between recurrent layers. Elsewhere the
    /// layout is plain.
    pub(crate) batch: usize,
}

#[derive(Debug, Clone)]
pub(crate) enum Value {
    Constant(Constant),
    Shape(Vec<ShapeItem>),
    Act(Act),
}

/// Shape and values of a float constant.
pub(crate) type Floats = (Vec<usize>, Vec<f32>);

/// Reads one model.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) graph: RealGraph,
    pub(crate) values: BTreeMap<String, Value>,
    uses: BTreeMap<String, usize>,
    /// Nodes whose value goes by several names, so that counting the uses of one name says too little.
    shared: BTreeSet<NodeId>,
    pub(crate) opset: i64,
    /// Batch extent if the source fixes it.
    pub(crate) batch: Option<i64>,
    /// Values that constants and tables may still take: what a small file refers to many times must stay small.
    budget: usize,
    ties: u32,
}

/// Values that constants and tables may take beyond those in the source.
const BUDGET: usize = 1 << 26;
/// Values in the table of a function.
const TABLE_VALUES: usize = 1 << 16;
/// What a node of a recurrence costs, in values: it has no constants of its own, but there are many.
const STEP_VALUES: usize = 256;
/// Tables of a curved function, about.
const CURVE_TABLES: usize = 5;

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
        ties: 0,
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

/// A value whose batch axis is the first one.
fn batch_first(site: Site<'_>, act: Act) -> Result<Act, ImportError> {
    if act.batch == 0 {
        Ok(act)
    } else {
        Err(site.refuse("the batch axis of its operand is not the first; transpose it before"))
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
            let elem = match tensor.elem_type {
                data_type::FLOAT => Elem::F32,
                data_type::INT32 => Elem::I32,
                data_type::INT64 => Elem::I64,
                _ => return Err(refuse("inputs must be float32, or int32 or int64 for indices")),
            };
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
            self.graph.inputs.push(RealInput {
                name: info.name.clone(),
                dims: dims.clone(),
                elem,
                rows: None,
            });
            let node = self.push_raw(&info.name, RealOp::Input(index), vec![], dims.clone());
            self.graph.nodes[node.0].index = elem != Elem::F32;
            self.values.insert(
                info.name.clone(),
                Value::Act(Act { node, shape: dims, layout: Layout::Plain, batch: 0 }),
            );
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
            if act.batch != 0 {
                return Err(refuse("its batch axis is not the first; end the model with a Transpose"));
            }
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
        let mut ties = BTreeSet::new();
        for node in &self.graph.nodes[first..] {
            if !is_possible(&node.shape) {
                return Err(site.refuse("a value would be empty, or have more than 8 axes or 2^31 elements"));
            }
            if let Some(tie) = node.tie {
                spent = spent.saturating_add(STEP_VALUES);
                if !ties.insert(tie) {
                    continue;
                }
            }
            let tables = match node.op {
                RealOp::Func(Func::Clip(..)) => 0,
                RealOp::Func(func) if func.is_curved() => CURVE_TABLES,
                RealOp::Func(_) | RealOp::Softmax => 1,
                _ => 0,
            };
            let [a, b] = node.constants();
            let size = a.len() + b.len() + tables * TABLE_VALUES;
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

    pub(crate) fn operand(&self, site: Site<'_>, i: usize) -> Result<Value, ImportError> {
        let name = site.operand(i).ok_or_else(|| site.refuse(format!("operand {i} is missing")))?;
        let missing = || ImportError::UndefinedTensor { node: site.name(), tensor: name.into() };
        self.values.get(name).cloned().ok_or_else(missing)
    }

    /// Operand `i`, which must depend on the request.
    pub(crate) fn act(&self, site: Site<'_>, i: usize) -> Result<Act, ImportError> {
        match self.operand(site, i)? {
            Value::Act(act) if self.graph.is_index(act.node) => {
                Err(site.refuse("indices can be answered, moved and looked up, not computed with"))
            }
            Value::Act(act) => batch_first(site, act),
            Value::Constant(_) | Value::Shape(_) => Err(site.refuse(format!(
                "operand {i} must depend on the request; fold constants with a simplifier first"
            ))),
        }
    }

    /// Notes that the indices `x` are looked up in a table of `rows` rows.
    pub(crate) fn note_rows(&mut self, x: &Act, rows: usize) {
        let mut node = self.graph.node(x.node);
        while let (RealOp::Move(_), Some(&from)) = (&node.op, node.inputs.first()) {
            node = self.graph.node(from);
        }
        if let RealOp::Input(i) = node.op {
            let known = &mut self.graph.inputs[i].rows;
            *known = Some(known.map_or(rows, |n| n.min(rows)));
        }
    }

    /// Operand 0, which may hold indices.
    pub(crate) fn any_act(&self, site: Site<'_>) -> Result<Act, ImportError> {
        batch_first(site, self.free_act(site, 0)?)
    }

    /// Operand `i`, which may hold indices, and whose batch axis may lie anywhere.
    pub(crate) fn free_act(&self, site: Site<'_>, i: usize) -> Result<Act, ImportError> {
        match self.operand(site, i)? {
            Value::Act(act) => Ok(act),
            Value::Constant(_) | Value::Shape(_) => {
                Err(site.refuse("the operand must depend on the request"))
            }
        }
    }

    /// Numbers for `n` groups of nodes that share scales: the first of them.
    pub(crate) fn new_ties(&mut self, n: u32) -> u32 {
        self.ties = self.ties.saturating_add(n);
        self.ties - n
    }

    /// Whether anything refers to a value.
    pub(crate) fn is_used(&self, name: &str) -> bool {
        self.uses.contains_key(name)
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

    pub(crate) fn floats(&self, site: Site<'_>, i: usize) -> Result<Option<Floats>, ImportError> {
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
            bounds: None,
            wide: false,
            tie: None,
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
        Act { node, shape, layout, batch: 0 }
    }
}
