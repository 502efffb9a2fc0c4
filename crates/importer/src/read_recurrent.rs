//! LSTM and GRU of a fixed number of steps, written out step by step.
//!
//! The product with the input is one for all steps; the product with the state is one per step, of the same weights.
//! What corresponds in all steps is tied to one scale, so that weights and tables are constants that all steps share.
//! A step keeps its state as `[1, hidden]`; the first state is zero.

use std::sync::Arc;

use veracity_ops::{Op, Slice};

use crate::{
    ImportError,
    func::Func,
    layout::Layout,
    onnx::{Attributes, ConstantData},
    read::{Act, Floats, Reader, Site, Value},
    real::{Extent, Linear, LinearKind, RealConstant, RealOp},
};

/// Most steps of a layer: each becomes some 35 nodes.
const STEPS_MAX: usize = 512;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cell {
    Lstm,
    Gru {
        /// Whether the reset gate applies after the product with the state, as in cuDNN and PyTorch.
        late: bool,
    },
}

impl Cell {
    fn n_gates(self) -> usize {
        match self {
            Self::Lstm => 4,
            Self::Gru { .. } => 3,
        }
    }

    fn activations(self) -> &'static [&'static str] {
        match self {
            Self::Lstm => &["sigmoid", "tanh", "tanh"],
            Self::Gru { .. } => &["sigmoid", "tanh"],
        }
    }
}

/// One direction's weights; gates lie one after the other, `n` rows each.
struct Weights {
    n: usize,
    /// `[gates * n, inputs]`
    w: Vec<f32>,
    /// `[gates * n, n]`
    r: Vec<f32>,
    /// Biases of the two products, `[gates * n]` each.
    b: [Vec<f32>; 2],
}

/// States in the order of steps, and the last cell of an LSTM.
struct Written {
    states: Vec<Act>,
    cell: Option<Act>,
}

/// Values that correspond in all steps, and so are tied.
#[derive(Debug, Clone, Copy)]
enum Role {
    Product,
    Sum,
    Gates,
    HiddenProduct,
    HiddenSum,
    Candidate,
    Kept,
    Added,
    Cell,
    Squashed,
    State,
}

/// Writes the nodes of one direction.
struct Writer<'r, 's> {
    reader: &'r mut Reader,
    site: Site<'s>,
    /// Number of the first role's tie.
    ties: u32,
}

impl Writer<'_, '_> {
    /// A node whose result is `[1, n]`.
    fn push(&mut self, role: Role, op: RealOp, inputs: &[&Act], n: usize) -> Act {
        let shape = vec![Extent::Fixed(1), Extent::Fixed(n)];
        let y = self.reader.push(&self.site.name(), op, inputs, shape, Layout::Plain);
        self.reader.graph.nodes[y.node.0].tie = Some(self.ties + role as u32);
        y
    }

    /// As `push`, for what needs 16 bits: sums before a function, and states to which steps add little.
    fn push_wide(&mut self, role: Role, op: RealOp, inputs: &[&Act], n: usize) -> Act {
        let y = self.push(role, op, inputs, n);
        self.reader.graph.nodes[y.node.0].wide = true;
        y
    }

    /// Part `i` of those of extent `n` along `axis`.
    fn part(&mut self, x: &Act, axis: usize, parts: std::ops::Range<usize>, n: usize) -> Act {
        let bound = |v: usize| i64::try_from(v * n).unwrap_or(i64::MAX);
        let slice = Slice { axis, start: bound(parts.start), end: bound(parts.end), step: 1 };
        let mut shape = x.shape.clone();
        shape[axis] = Extent::Fixed(parts.len() * n);
        self.reader.push(&self.site.name(), RealOp::Move(Op::Slice(slice)), &[x], shape, Layout::Plain)
    }

    fn product(&mut self, role: Role, linear: &Arc<Linear>, x: &Act) -> Act {
        self.push_wide(role, RealOp::Linear(Arc::clone(linear)), &[x], linear.n_outputs())
    }
}

fn linear(w: &[f32], b: &[f32]) -> Arc<Linear> {
    let w_shape = vec![b.len(), w.len() / b.len().max(1)];
    Arc::new(Linear { kind: LinearKind::MatMul, w: w.to_vec(), w_shape, b: b.to_vec() })
}

/// ONNX LSTM, gates input, output, forget, cell:
/// `c = sigmoid(f) * c + sigmoid(i) * tanh(g)`, `h = sigmoid(o) * tanh(c)`.
fn lstm(s: &mut Writer<'_, '_>, xs: &[Act], weights: &Weights) -> Written {
    let n = weights.n;
    let recurrent = linear(&weights.r, &vec![0.0; 4 * n]);
    let (mut states, mut cell): (Vec<Act>, Option<Act>) = (Vec::new(), None);
    for x in xs {
        let sum = match states.last() {
            Some(h) => {
                let product = s.product(Role::Product, &recurrent, h);
                s.push_wide(Role::Sum, RealOp::Add, &[x, &product], 4 * n)
            }
            None => x.clone(),
        };
        let [open, candidate] = [0..3, 3..4].map(|parts| s.part(&sum, 1, parts, n));
        let gates = s.push(Role::Gates, RealOp::Func(Func::Sigmoid), &[&open], 3 * n);
        let candidate = s.push(Role::Candidate, RealOp::Func(Func::Tanh), &[&candidate], n);
        let [input, output] = [0..1, 1..2].map(|parts| s.part(&gates, 1, parts, n));
        let role = if cell.is_some() { Role::Added } else { Role::Cell };
        let added = s.push_wide(role, RealOp::Mul, &[&input, &candidate], n);
        let next = match &cell {
            Some(cell) => {
                let forget = s.part(&gates, 1, 2..3, n);
                let kept = s.push_wide(Role::Kept, RealOp::Mul, &[&forget, cell], n);
                s.push_wide(Role::Cell, RealOp::Add, &[&kept, &added], n)
            }
            None => added,
        };
        let squashed = s.push(Role::Squashed, RealOp::Func(Func::Tanh), &[&next], n);
        states.push(s.push(Role::State, RealOp::Mul, &[&output, &squashed], n));
        cell = Some(next);
    }
    Written { states, cell }
}

/// ONNX GRU, gates update, reset, hidden: `h = g + sigmoid(z) * (h - g)`.
fn gru(s: &mut Writer<'_, '_>, xs: &[Act], weights: &Weights, late: bool) -> Written {
    let n = weights.n;
    let (gate_rows, hidden_rows) = weights.r.split_at(2 * n * n);
    let hidden_bias = if late { &weights.b[1][2 * n..] } else { &vec![0.0; n] };
    let gates_product = linear(gate_rows, &vec![0.0; 2 * n]);
    let hidden_product = linear(hidden_rows, hidden_bias);
    let mut states: Vec<Act> = Vec::new();
    for x in xs {
        let [x_gates, x_hidden] = [0..2, 2..3].map(|parts| s.part(x, 1, parts, n));
        let previous = states.last().cloned();
        let sum = match &previous {
            Some(h) => {
                let product = s.product(Role::Product, &gates_product, h);
                s.push_wide(Role::Sum, RealOp::Add, &[&x_gates, &product], 2 * n)
            }
            None => x_gates,
        };
        let gates = s.push(Role::Gates, RealOp::Func(Func::Sigmoid), &[&sum], 2 * n);
        let [update, reset] = [0..1, 1..2].map(|parts| s.part(&gates, 1, parts, n));
        let added = match &previous {
            Some(h) if late => {
                let product = s.product(Role::HiddenProduct, &hidden_product, h);
                Some(s.push_wide(Role::Added, RealOp::Mul, &[&reset, &product], n))
            }
            Some(h) => {
                let open = s.push(Role::Added, RealOp::Mul, &[&reset, h], n);
                Some(s.product(Role::HiddenProduct, &hidden_product, &open))
            }
            // The product with a first state of zero is its bias.
            None => hidden_bias.iter().any(|b| *b != 0.0).then(|| {
                let bias = RealConstant { shape: vec![1, n], values: hidden_bias.to_vec() };
                s.push_wide(Role::Added, RealOp::MulConstant(bias), &[&reset], n)
            }),
        };
        let inner = match &added {
            Some(added) => s.push_wide(Role::HiddenSum, RealOp::Add, &[&x_hidden, added], n),
            None => x_hidden,
        };
        let candidate = s.push(Role::Candidate, RealOp::Func(Func::Tanh), &[&inner], n);
        states.push(match &previous {
            Some(h) => {
                let change = s.push_wide(Role::Cell, RealOp::Sub, &[h, &candidate], n);
                let kept = s.push_wide(Role::Kept, RealOp::Mul, &[&update, &change], n);
                s.push_wide(Role::State, RealOp::Add, &[&candidate, &kept], n)
            }
            None => {
                let kept = s.push_wide(Role::Kept, RealOp::Mul, &[&update, &candidate], n);
                s.push_wide(Role::State, RealOp::Sub, &[&candidate, &kept], n)
            }
        });
    }
    Written { states, cell: None }
}

fn part_of(values: &Floats, i: usize) -> Vec<f32> {
    let len = values.1.len() / values.0.first().copied().unwrap_or(1).max(1);
    values.1[i * len..(i + 1) * len].to_vec()
}

/// The weights of each direction.
fn weights(
    r: &Reader,
    site: Site<'_>,
    a: &Attributes<'_>,
    cell: Cell,
    [inputs, n_directions]: [usize; 2],
) -> Result<Vec<Weights>, ImportError> {
    let missing = || site.refuse("the weights are missing");
    let (w, rec) = (r.floats(site, 1)?.ok_or_else(missing)?, r.floats(site, 2)?.ok_or_else(missing)?);
    let n = rec.0.last().copied().unwrap_or(0);
    let rows = cell.n_gates() * n;
    let disagree = || site.refuse("the shapes of the weights and of the value disagree");
    let named = a.int("hidden_size", i64::try_from(n).unwrap_or(i64::MAX));
    if usize::try_from(named) != Ok(n) {
        return Err(site.refuse(format!("hidden_size is {named}, but the weights R have {n} columns")));
    }
    // Before zeros are made for as many rows: these extents have values behind them.
    if n == 0 || w.0 != [n_directions, rows, inputs] || rec.0 != [n_directions, rows, n] {
        return Err(disagree());
    }
    let shape = vec![n_directions, 2 * rows];
    let zeros = || (shape.clone(), vec![0.0; n_directions * 2 * rows]);
    let bias = r.floats(site, 3)?.unwrap_or_else(zeros);
    if bias.0 != shape {
        return Err(disagree());
    }
    let one = |i: usize| {
        let b = part_of(&bias, i);
        let (first, second) = b.split_at(rows);
        Weights { n, w: part_of(&w, i), r: part_of(&rec, i), b: [first.to_vec(), second.to_vec()] }
    };
    Ok((0..n_directions).map(one).collect())
}

/// Refuses attributes and operands that change what a step computes.
fn check_defaults(
    r: &Reader,
    site: Site<'_>,
    a: &Attributes<'_>,
    cell: Cell,
    n_steps: usize,
) -> Result<(), ImportError> {
    if a.has("clip") || a.int("input_forget", 0) != 0 {
        return Err(site.refuse("clip and input_forget are not supported"));
    }
    let names = a.texts("activations");
    let defaults = cell.activations().iter().cycle();
    if !names.iter().zip(defaults).all(|(name, default)| name.eq_ignore_ascii_case(default)) {
        return Err(site.refuse("only the default activations are supported"));
    }
    if let Some(lengths) = r.ints(site, 4)?
        && lengths.iter().any(|v| usize::try_from(*v) != Ok(n_steps))
    {
        return Err(site.refuse("sequences shorter than the value are not supported"));
    }
    for i in 5..8 {
        let zero = site.operand(i).is_none()
            || matches!(r.operand(site, i)?, Value::Constant(c) if match &c.data {
                ConstantData::Float(v) => v.iter().all(|v| *v == 0.0),
                ConstantData::Int(_) => false,
            });
        if !zero {
            let what = if i == 7 { "peepholes are" } else { "a first state other than zeros is" };
            return Err(site.refuse(format!("{what} not supported")));
        }
    }
    Ok(())
}

/// The answers `Y`, `Y_h` and for an LSTM `Y_c`.
pub(crate) fn read(r: &mut Reader, site: Site<'_>, a: &Attributes<'_>) -> Result<Vec<Value>, ImportError> {
    let cell = match site.node.op_type.as_str() {
        "LSTM" => Cell::Lstm,
        _ => Cell::Gru { late: a.int("linear_before_reset", 0) != 0 },
    };
    let batch_first = a.int("layout", 0) != 0;
    let x = r.free_act(site, 0)?;
    if x.batch == 0 && !batch_first {
        return Err(site.refuse(
            "the value must be [steps, batch, features], but its first axis is the batch, as in every input of a \
             model: begin the model with a Transpose, which batch_first=True in PyTorch does",
        ));
    }
    if x.batch != usize::from(!batch_first) {
        let axes = if batch_first { "[batch, steps, features]" } else { "[steps, batch, features]" };
        return Err(site.refuse(format!("the value must be {axes}; its axes are in another order")));
    }
    let x = r.plain(x, &site.name());
    let &[Extent::Fixed(n_steps), Extent::Fixed(inputs)] = x.shape.as_slice() else {
        return Err(
            site.refuse("the value must have three axes, with a fixed number of steps and of features")
        );
    };
    if n_steps > STEPS_MAX {
        return Err(site.refuse(format!("it has {n_steps} steps; at most {STEPS_MAX} are written out")));
    }
    check_defaults(r, site, a, cell, n_steps)?;
    let reversed: &[bool] = match a.text("direction", "forward").as_str() {
        "forward" => &[false],
        "reverse" => &[true],
        "bidirectional" => &[false, true],
        _ => return Err(site.refuse("direction has an unknown value")),
    };
    let mut written = Vec::new();
    for (weights, &reversed) in weights(r, site, a, cell, [inputs, reversed.len()])?.iter().zip(reversed) {
        written.push(direction(r, site, cell, &x, weights, reversed));
    }
    Ok(answers(r, site, &written, reversed, batch_first))
}

/// All steps of one direction.
fn direction(
    r: &mut Reader,
    site: Site<'_>,
    cell: Cell,
    x: &Act,
    weights: &Weights,
    reversed: bool,
) -> Written {
    let n_steps = x.shape[0].fixed().unwrap_or(0);
    let rows = cell.n_gates() * weights.n;
    // What the second bias adds outside of a gate is added with the first one.
    let outside = if let Cell::Gru { late: true } = cell { 2 * weights.n } else { rows };
    let bias = |(i, (a, b)): (usize, (&f32, &f32))| if i < outside { a + b } else { *a };
    let bias: Vec<f32> = weights.b[0].iter().zip(&weights.b[1]).enumerate().map(bias).collect();
    let shape = vec![x.shape[0], Extent::Fixed(rows)];
    let op = RealOp::Linear(linear(&weights.w, &bias));
    let products = r.push(&site.name(), op, &[x], shape, Layout::Plain);
    let ties = r.new_ties(Role::State as u32 + 1);
    let node = &mut r.graph.nodes[products.node.0];
    // The first step has no other product, so its sum is this one.
    (node.wide, node.tie) = (true, Some(ties + Role::Sum as u32));
    let mut writer = Writer { reader: r, site, ties };
    let order: Vec<usize> = if reversed { (0..n_steps).rev().collect() } else { (0..n_steps).collect() };
    let xs: Vec<Act> = order.into_iter().map(|t| writer.part(&products, 0, t..t + 1, 1)).collect();
    match cell {
        Cell::Lstm => lstm(&mut writer, &xs, weights),
        Cell::Gru { late } => gru(&mut writer, &xs, weights, late),
    }
}

/// Joins what the directions have written: `Y` is `[steps, directions, hidden]`, the others `[directions, hidden]`,
/// where the batch lies before the last axis, or first with `batch_first`.
fn answers(
    r: &mut Reader,
    site: Site<'_>,
    written: &[Written],
    reversed: &[bool],
    batch_first: bool,
) -> Vec<Value> {
    let placed = |mut act: Act| {
        act.batch = if batch_first { 0 } else { act.shape.len() - 1 };
        Value::Act(act)
    };
    let last: Vec<Act> = written.iter().filter_map(|w| w.states.last().cloned()).collect();
    let mut values = Vec::new();
    if site.node.output.first().is_some_and(|name| r.is_used(name)) {
        let all: Vec<Act> =
            written.iter().zip(reversed).map(|(w, &back)| each_step(r, site, w, back)).collect();
        values.push(placed(join(r, site, &all, 1)));
    } else {
        // Nothing looks at it, so anything may stand for it.
        values.push(placed(last[0].clone()));
    }
    values.push(placed(join(r, site, &last, 0)));
    let cells: Vec<Act> = written.iter().filter_map(|w| w.cell.clone()).collect();
    if !cells.is_empty() {
        values.push(placed(join(r, site, &cells, 0)));
    }
    values
}

/// States of one direction by time, `[steps, 1, hidden]`.
fn each_step(r: &mut Reader, site: Site<'_>, written: &Written, reversed: bool) -> Act {
    let mut states = written.states.clone();
    if reversed {
        states.reverse();
    }
    let all = join(r, site, &states, 0);
    r.regroup(&site.name(), &all, &[Some(0), None, Some(1)], Layout::Plain)
}

/// Values one after the other along `axis`; there is at least one.
fn join(r: &mut Reader, site: Site<'_>, acts: &[Act], axis: usize) -> Act {
    if let [only] = acts {
        return only.clone();
    }
    let mut shape = acts[0].shape.clone();
    shape[axis] = Extent::Fixed(acts.iter().filter_map(|x| x.shape[axis].fixed()).sum());
    let refs: Vec<&Act> = acts.iter().collect();
    r.push(&site.name(), RealOp::Concat { axis }, &refs, shape, Layout::Plain)
}
