//! Lowering with one scale and zero point per value, fixed at import.
//!
//! An integer `v` of a value stands for `(v - zero) * scale`. `i8` values are affine, so that a ReLU's output uses all
//! 256 steps; `i16` values are symmetric. Where input and output are `i8`, weight scales are chosen so that
//! requantisation is a pure shift, the cheapest step to run and to prove.

use std::{collections::BTreeMap, sync::Arc};

use veracity_graph::{Decoding, Elem, Encoding, Scale};
use veracity_ops::{
    Add, ArgMax, AvgPool, Concat, DType, Gather, MaxPool, Mul, Op, Pad, PadMode, Quantised, Reduce, Requant,
    Softmax, Table,
};

use crate::{
    Activations, ImportError,
    build::{Builder, Ref, quantise_row, quantise_rows, worst_accumulator},
    dynamic::{Lowered, exponential_table, linear_op},
    fixed::{Ratio, exp2, floor_log2, round, round_to},
    func::{Domain, Func},
    real::{Linear, NodeId, RealConstant, RealGraph, RealNode, RealOp},
};

/// Largest shift of a pure-shift requantisation: leaves 8 bits for the output within an `i32` accumulator.
const SHIFT_MAX: i32 = 22;
/// An answer's `i16` range is this much wider than what calibration saw, so that unusual inputs do not saturate.
const ANSWER_HEADROOM: f64 = 4.0;

/// How the integers of one value stand for real numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Scaled<V = Ref> {
    /// The value in the graph; nothing for scales that are chosen before their value is made.
    value: V,
    dtype: DType,
    scale: f64,
    zero: i32,
}

impl Scaled<()> {
    /// These scales for `value`.
    fn of(self, value: Ref) -> Scaled {
        Scaled { value, dtype: self.dtype, scale: self.scale, zero: self.zero }
    }
}

impl<V> Scaled<V> {
    fn without_value(&self) -> Scaled<()> {
        Scaled { value: (), dtype: self.dtype, scale: self.scale, zero: self.zero }
    }

    /// The integer that stands for `x`.
    fn integer(&self, x: f64) -> i32 {
        let exact = x / self.scale + f64::from(self.zero);
        i32::try_from(round_to(exact, self.dtype.min(), self.dtype.max())).unwrap_or(0)
    }

    /// Whether `x` is within a step of what some integer stands for.
    fn holds(&self, x: f64) -> bool {
        let back = f64::from(self.integer(x) - self.zero) * self.scale;
        (back - x).abs() <= self.scale
    }

    fn output(&self, clip: Option<(f64, f64)>) -> Quantised {
        let (lo, hi) = clip.unwrap_or((f64::NEG_INFINITY, f64::INFINITY));
        Quantised { dtype: self.dtype, zero: self.zero, lo: self.integer(lo), hi: self.integer(hi) }
    }
}

struct Lowering<'a> {
    b: Builder,
    values: Vec<Scaled>,
    graph: &'a RealGraph,
    /// Smallest and largest real value of each node, the same for nodes that are tied.
    ranges: Vec<(f64, f64)>,
    dtypes: Vec<DType>,
    /// Nodes that are answers and nothing else.
    answers: Vec<bool>,
    /// Constants of weights that several nodes share, by what they were made of.
    linears: BTreeMap<LinearKey, LinearRefs>,
    /// Tables by what they were made of.
    tables: Vec<(Func, [Scaled<()>; 2], Ref)>,
}

/// Address of the weights, bits of the scales of operand and result, the operand's spread, the result's type.
type LinearKey = (*const Linear, [u64; 2], i64, DType);

/// Constants of one linear operator and its requantisation.
#[derive(Debug, Clone, Copy)]
struct LinearRefs {
    acc: DType,
    w: Ref,
    bias: Option<Ref>,
    shifts: Ref,
    muls: Option<Ref>,
}

/// Ranges that hold all values of their tie.
fn tied(graph: &RealGraph, ranges: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut all: BTreeMap<u32, (f64, f64)> = BTreeMap::new();
    for (node, range) in graph.nodes.iter().zip(ranges) {
        if let Some(tie) = node.tie {
            let known = all.entry(tie).or_insert(*range);
            *known = (known.0.min(range.0), known.1.max(range.1));
        }
    }
    let one = |(node, range): (&RealNode, &(f64, f64))| node.tie.map_or(*range, |tie| all[&tie]);
    graph.nodes.iter().zip(ranges).map(one).collect()
}

pub(crate) fn lower(
    graph: &RealGraph,
    ranges: &[(f64, f64)],
    activations: Activations,
) -> Result<Lowered, ImportError> {
    let (dtypes, answers) = choose_types(graph, activations);
    let mut l = Lowering {
        b: Builder::default(),
        values: Vec::new(),
        graph,
        ranges: tied(graph, ranges),
        dtypes,
        answers,
        linears: BTreeMap::new(),
        tables: Vec::new(),
    };
    for i in 0..graph.nodes.len() {
        let value = l.node(NodeId(i))?;
        l.values.push(value);
    }
    let output = |o: &crate::real::RealOutput| {
        let v = l.values[o.node.0];
        let decoding = if graph.is_index(o.node) {
            Decoding::Integer(Elem::I64)
        } else {
            Decoding::Dequantise { scale: to_scale(v.scale), zero: v.zero }
        };
        (o.name.clone(), v.value, decoding)
    };
    let outputs: Vec<_> = graph.outputs.iter().map(output).collect();
    let values: Vec<Ref> = l.values.iter().map(|v| v.value).collect();
    let (model, values) = l.b.finish(graph.symbols.clone(), &outputs, &values)?;
    Ok(Lowered { model, values })
}

#[expect(clippy::cast_possible_truncation, reason = "scales of answers are stored as f32")]
fn to_scale(x: f64) -> Scale {
    Scale::new(x as f32)
        .or_else(|| Scale::new(f32::MIN_POSITIVE))
        .expect("the smallest normal number is normal")
}

/// Element type of each value: as asked, but `i16` for what is only answered, only normalised by a softmax or only an
/// operand of a curved function.
fn choose_types(graph: &RealGraph, activations: Activations) -> (Vec<DType>, Vec<bool>) {
    let wide = activations == Activations::I16;
    let mut dtypes = vec![if wide { DType::I16 } else { DType::I8 }; graph.nodes.len()];
    let mut answers = vec![false; graph.nodes.len()];
    let consumers = graph.consumers();
    for i in (0..graph.nodes.len()).rev() {
        let id = NodeId(i);
        let answered = graph.outputs.iter().any(|o| o.node == id);
        let carried = |c: &NodeId| graph.keeps_scale(*c) && answers[c.0];
        let fine = |c: &NodeId| graph.node(*c).needs_wide_operand();
        let input = matches!(graph.node(id).op, RealOp::Input(_));
        let only_answered = (answered || !consumers[i].is_empty()) && consumers[i].iter().all(carried);
        answers[i] = only_answered && !input;
        if graph.node(id).wide
            || answers[i]
            || (!consumers[i].is_empty() && !answered && consumers[i].iter().all(fine))
        {
            dtypes[i] = DType::I16;
        }
    }
    // Values that only move keep the type of what they come from.
    for i in 0..graph.nodes.len() {
        if graph.keeps_scale(NodeId(i)) {
            dtypes[i] = dtypes[graph.nodes[i].inputs[0].0];
        }
    }
    (dtypes, answers)
}

impl Lowering<'_> {
    /// Scale and zero point for the range of node `id`.
    fn target(&self, id: NodeId) -> Scaled<()> {
        let node = self.graph.node(id);
        let (mut lo, mut hi) = node.declared.unwrap_or(self.ranges[id.0]);
        (lo, hi) = (lo.min(0.0), hi.max(0.0));
        let tiny = |s: f64| if s.is_normal() { s } else { 1.0 };
        match self.dtypes[id.0] {
            DType::I8 => {
                let scale = tiny((hi - lo) / 255.0);
                let zero = i32::try_from(round_to(-128.0 - lo / scale, -128, 127)).unwrap_or(0);
                Scaled { value: (), dtype: DType::I8, scale, zero }
            }
            DType::I16 | DType::I32 | DType::I64 => {
                let headroom = if self.answers[id.0] { ANSWER_HEADROOM } else { 1.0 };
                let scale = tiny(hi.max(-lo) * headroom / 32_767.0);
                Scaled { value: (), dtype: DType::I16, scale, zero: 0 }
            }
        }
    }

    fn node(&mut self, id: NodeId) -> Result<Scaled, ImportError> {
        let node = self.graph.node(id);
        let x: Vec<Scaled> = node.inputs.iter().map(|i| self.values[i.0]).collect();
        let name = node.name.as_str();
        let y = self.target(id);
        let value = match &node.op {
            RealOp::Input(i) if node.index => {
                let input = &self.graph.inputs[*i];
                let value = self.b.input(input, input.index_encoding());
                return Ok(Scaled { value, dtype: DType::I32, scale: 1.0, zero: 0 });
            }
            RealOp::Input(i) => return Ok(self.input(*i, y)),
            RealOp::Linear(linear) => self.linear(node, linear, x[0], y)?,
            RealOp::Func(Func::Clip(lo, hi)) => return Ok(self.clip(name, x[0], *lo, *hi)),
            RealOp::Func(func) => self.table(name, *func, x[0], y),
            RealOp::Add => self.add(node, x[0], x[1], [1.0, 1.0], y)?,
            RealOp::Sub => self.add(node, x[0], x[1], [1.0, -1.0], y)?,
            RealOp::Mul => self.mul(node, x[0], x[1], y)?,
            RealOp::AddConstant(c) => {
                let c = self.constant(c);
                self.add(node, x[0], c, [1.0, 1.0], y)?
            }
            RealOp::MulConstant(c) => {
                let c = self.constant(c);
                self.mul(node, x[0], c, y)?
            }
            RealOp::Embed(c) => {
                let rows: Vec<i64> = c.values.iter().map(|&v| i64::from(y.integer(f64::from(v)))).collect();
                let rows = self.b.constant(y.dtype, &c.shape, &rows);
                self.b.node(name, Op::Gather(Gather { axis: 0 }), &[rows, x[0].value])
            }
            RealOp::Softmax => return Ok(self.softmax(name, x[0], y.dtype)),
            RealOp::AvgPool { window, count_pads } => {
                let r = ratio(node, x[0].scale / y.scale, 31)?;
                let (mul, shift) = (mul32(r), r.shift);
                let (window, y) = (window.clone(), y.output(node.clip));
                let op = AvgPool { window, count_pads: *count_pads, x_zero: x[0].zero, mul, shift, y };
                self.b.node(name, Op::AvgPool(op), &[x[0].value])
            }
            RealOp::Reduce { kind, axes } => {
                let r = ratio(node, x[0].scale / y.scale, 31)?;
                let (mul, shift) = (mul32(r), r.shift);
                let (axes, y) = (axes.clone(), y.output(node.clip));
                let op = Reduce { kind: *kind, axes, x_zero: x[0].zero, mul, shift, y };
                self.b.node(name, Op::Reduce(op), &[x[0].value])
            }
            RealOp::Concat { axis } => {
                let aligned: Vec<Ref> =
                    x.iter().map(|x| self.align(node, *x, y)).collect::<Result<_, _>>()?;
                self.b.node(name, Op::Concat(Concat { axis: *axis }), &aligned)
            }
            RealOp::Pad { mode: PadMode::Constant(_), value, .. } if !x[0].holds(f64::from(*value)) => {
                let x = y.of(self.align(node, x[0], y)?);
                self.movement(name, &node.op, x)
            }
            RealOp::MaxPool(_)
            | RealOp::ArgMax { .. }
            | RealOp::Pad { .. }
            | RealOp::Gather { .. }
            | RealOp::Move(_) => {
                return Ok(Scaled { value: self.movement(name, &node.op, x[0]), ..x[0] });
            }
        };
        Ok(y.of(value))
    }

    /// Requests are quantised by one `f32` multiplication, so the scale is what that constant says.
    #[expect(clippy::cast_possible_truncation, reason = "the stored constant is f32")]
    fn input(&mut self, index: usize, y: Scaled<()>) -> Scaled {
        let inv_scale = to_scale(f64::from((1.0 / y.scale) as f32));
        let encoding = Encoding::Quantise { dtype: y.dtype, inv_scale, zero: y.zero };
        let value = self.b.input(&self.graph.inputs[index], encoding);
        Scaled { scale: 1.0 / f64::from(inv_scale.get()), ..y.of(value) }
    }

    fn movement(&mut self, name: &str, op: &RealOp, x: Scaled) -> Ref {
        let op = match op {
            RealOp::MaxPool(window) => Op::MaxPool(MaxPool { window: window.clone() }),
            RealOp::ArgMax { axis, last } => Op::ArgMax(ArgMax { axis: *axis, last: *last }),
            RealOp::Pad { mode, value, begin, end } => {
                let constant = PadMode::Constant(x.integer(f64::from(*value)));
                let mode = if let PadMode::Constant(_) = mode { constant } else { *mode };
                Op::Pad(Pad { mode, begin: begin.clone(), end: end.clone() })
            }
            RealOp::Gather { axis, indices, shape } => {
                let indices: Vec<i64> = indices.iter().map(|&i| i64::from(i)).collect();
                let indices = self.b.constant(DType::I32, shape, &indices);
                return self.b.node(name, Op::Gather(Gather { axis: *axis }), &[x.value, indices]);
            }
            RealOp::Move(op) => op.clone(),
            _ => return x.value,
        };
        self.b.node(name, op, &[x.value])
    }

    fn clip(&mut self, name: &str, x: Scaled, lo: f64, hi: f64) -> Scaled {
        let shifts = self.b.constant(DType::I8, &[1], &[0]);
        let op = Requant { x_zero: x.zero, y: x.output(Some((lo, hi))) };
        Scaled { value: self.b.node(name, Op::Requant(op), &[x.value, shifts]), ..x }
    }

    fn table(&mut self, name: &str, func: Func, x: Scaled, y: Scaled<()>) -> Ref {
        let of = [x.without_value(), y];
        let known = self.tables.iter().find(|(f, scales, _)| (*f, *scales) == (func, of)).map(|t| t.2);
        let table = known.unwrap_or_else(|| self.make_table(func, x, y));
        if known.is_none() {
            self.tables.push((func, of, table));
        }
        self.b.node(name, Op::Table(Table), &[x.value, table])
    }

    fn make_table(&mut self, func: Func, x: Scaled, y: Scaled<()>) -> Ref {
        // Zero stands for all that is less than half a step.
        let least = match func.domain() {
            Domain::All => f64::NEG_INFINITY,
            Domain::NotNegative => 0.0,
            Domain::Positive => 0.5 * x.scale,
        };
        let real = |i: i64| (i - i64::from(x.zero)) as f64 * x.scale;
        let entry = |i: i64| i64::from(y.integer(func.eval(real(i).max(least))));
        let entries: Vec<i64> = (x.dtype.min()..=x.dtype.max()).map(entry).collect();
        self.b.constant(y.dtype, &[entries.len()], &entries)
    }

    fn softmax(&mut self, name: &str, x: Scaled, dtype: DType) -> Scaled {
        // Distances are dropped to a step of at least 2^-11, so that the table reaches -16 with 2^15 entries.
        let shift = (0..=15u32).find(|&s| x.scale * exp2(bits(s)) >= exp2(-11)).unwrap_or(15);
        let table = exponential_table(x.scale * exp2(bits(shift)));
        let table = self.b.constant(DType::I32, &[table.len()], &table);
        let (one_bits, zero) = if dtype == DType::I8 { (8, -128) } else { (15, 0) };
        let y = Quantised::full(dtype, zero);
        let value = self.b.node(name, Op::Softmax(Softmax { shift, one_bits, y }), &[x.value, table]);
        Scaled { value, dtype, scale: exp2(-bits(one_bits)), zero }
    }

    /// A constant operand as symmetric `i16`.
    fn constant(&mut self, c: &RealConstant) -> Scaled {
        let max = c.values.iter().fold(0.0f64, |m, &v| m.max(f64::from(v).abs()));
        let scale = if max > 0.0 { max / 32_767.0 } else { 1.0 };
        let values: Vec<i64> =
            c.values.iter().map(|&v| round_to(f64::from(v) / scale, -32_767, 32_767)).collect();
        let value = self.b.constant(DType::I16, &c.shape, &values);
        Scaled { value, dtype: DType::I16, scale, zero: 0 }
    }

    fn add(
        &mut self,
        node: &RealNode,
        a: Scaled,
        b: Scaled,
        signs: [f64; 2],
        y: Scaled<()>,
    ) -> Result<Ref, ImportError> {
        let ratios = [a.scale / y.scale, b.scale / y.scale];
        let larger = ratio(node, ratios[0].max(ratios[1]), 30)?;
        let mul =
            |i: usize| i32::try_from(round(signs[i] * ratios[i] * exp2(bits(larger.shift)))).unwrap_or(0);
        let zeros = [a.zero, b.zero];
        let op = Add { zeros, muls: [mul(0), mul(1)], shift: larger.shift, y: y.output(node.clip) };
        Ok(self.b.node(&node.name, Op::Add(op), &[a.value, b.value]))
    }

    fn mul(&mut self, node: &RealNode, a: Scaled, b: Scaled, y: Scaled<()>) -> Result<Ref, ImportError> {
        let r = ratio(node, a.scale * b.scale / y.scale, 60)?;
        let op = Mul { zeros: [a.zero, b.zero], mul: mul32(r), shift: r.shift, y: y.output(node.clip) };
        Ok(self.b.node(&node.name, Op::Mul(op), &[a.value, b.value]))
    }

    /// `x` in the scale of `y`.
    fn align(&mut self, node: &RealNode, x: Scaled, y: Scaled<()>) -> Result<Ref, ImportError> {
        if (x.dtype, x.zero) == (y.dtype, y.zero) && x.scale.to_bits() == y.scale.to_bits() {
            return Ok(x.value);
        }
        let r = ratio(node, x.scale / y.scale, 60)?;
        let shifts = self.b.constant(DType::I8, &[1], &[i64::from(r.shift)]);
        let muls = self.b.constant(DType::I16, &[1], &[r.mul]);
        let op = Requant { x_zero: x.zero, y: y.output(None) };
        Ok(self.b.node(&node.name, Op::Requant(op), &[x.value, shifts, muls]))
    }

    fn linear(
        &mut self,
        node: &RealNode,
        linear: &Arc<Linear>,
        x: Scaled,
        y: Scaled<()>,
    ) -> Result<Ref, ImportError> {
        let c = self.linear_constants(node, linear, x, y)?;
        let operands: Vec<Ref> = [x.value, c.w].into_iter().chain(c.bias).collect();
        let acc = self.b.node(&node.name, linear_op(&linear.kind, x.zero, c.acc), &operands);
        let operands: Vec<Ref> = [acc, c.shifts].into_iter().chain(c.muls).collect();
        let op = Requant { x_zero: 0, y: y.output(node.clip) };
        Ok(self.b.node(&node.name, Op::Requant(op), &operands))
    }

    fn linear_constants(
        &mut self,
        node: &RealNode,
        linear: &Arc<Linear>,
        x: Scaled,
        y: Scaled<()>,
    ) -> Result<LinearRefs, ImportError> {
        let spread = (x.dtype.max() - i64::from(x.zero)).max(i64::from(x.zero) - x.dtype.min());
        let key = (Arc::as_ptr(linear), [x.scale.to_bits(), y.scale.to_bits()], spread, y.dtype);
        if let Some(known) = self.linears.get(&key) {
            return Ok(*known);
        }
        let narrow = x.dtype == DType::I8 && y.dtype == DType::I8;
        let plan = narrow.then(|| shift_plan(linear, x.scale, y.scale, spread)).flatten();
        let plan = match plan {
            Some(plan) => plan,
            None => multiplier_plan(node, linear, x.scale, y.scale)?,
        };
        let n = linear.n_outputs();
        let worst = worst_accumulator(&plan.weights, n, spread, &plan.bias);
        let acc = if worst <= i64::from(i32::MAX) { DType::I32 } else { DType::I64 };
        let w = self.b.constant(DType::I8, &linear.w_shape, &plan.weights);
        let biased = plan.bias.iter().any(|b| *b != 0);
        let bias = biased.then(|| self.b.constant(acc, &[n], &plan.bias));
        let shifts = self.b.constant(DType::I8, &[n], &plan.shifts);
        let muls = plan.muls.as_ref().map(|muls| self.b.constant(DType::I16, &[n], muls));
        let refs = LinearRefs { acc, w, bias, shifts, muls };
        self.linears.insert(key, refs);
        Ok(refs)
    }
}

/// Integers of one linear operator and its requantisation.
struct LinearPlan {
    weights: Vec<i64>,
    bias: Vec<i64>,
    shifts: Vec<i64>,
    muls: Option<Vec<i64>>,
}

/// Weight scales of the form `y_scale / (x_scale * 2^shift)`, so that no multiplier is needed. `None` if some row would
/// need a negative shift or some accumulator more than 31 bits.
fn shift_plan(linear: &Linear, x_scale: f64, y_scale: f64, spread: i64) -> Option<LinearPlan> {
    let unit = y_scale / x_scale;
    let (mut weights, mut bias, mut shifts) = (Vec::new(), Vec::new(), Vec::new());
    for (row, &b) in linear.rows().zip(&linear.b) {
        let shift = best_shift(row, unit)?;
        let scale = unit * exp2(-shift);
        quantise_row(row, scale, &mut weights);
        bias.push(round(f64::from(b) / (x_scale * scale)));
        shifts.push(i64::from(shift));
    }
    // The rounding constant is at most 2^21 and the zero point at most 2^7 after the shift: 2^30 leaves room for both.
    let worst = worst_accumulator(&weights, linear.n_outputs(), spread, &bias);
    (worst < 1 << 30).then_some(LinearPlan { weights, bias, shifts, muls: None })
}

/// The shift with the least squared rounding error: the largest that keeps every weight within 127, or one more, which
/// clips the largest weights but halves the step.
fn best_shift(row: &[f32], unit: f64) -> Option<i32> {
    let max = row.iter().fold(0.0f64, |m, &w| m.max(f64::from(w).abs()));
    if max == 0.0 {
        return Some(16);
    }
    let shift = floor_log2(127.5 * unit / max).min(SHIFT_MAX);
    if shift < 0 {
        return None;
    }
    let error = |shift: i32| {
        let scale = unit * exp2(-shift);
        let one = |w: &f32| {
            let w = f64::from(*w);
            let e = w - round_to(w / scale, -127, 127) as f64 * scale;
            e * e
        };
        row.iter().map(one).sum::<f64>()
    };
    let next = (shift + 1).min(SHIFT_MAX);
    Some(if error(next) < error(shift) { next } else { shift })
}

/// One scale per row with the largest weight at 127, and a 15-bit multiplier per row.
fn multiplier_plan(
    node: &RealNode,
    linear: &Linear,
    x_scale: f64,
    y_scale: f64,
) -> Result<LinearPlan, ImportError> {
    let rows = quantise_rows(linear.rows());
    let ratios: Vec<Ratio> =
        rows.scales.iter().map(|w| ratio(node, x_scale * w / y_scale, 60)).collect::<Result<_, _>>()?;
    let limit = exp2(45);
    let bias = |(b, w): (&f32, &f64)| round((f64::from(*b) / (x_scale * w)).clamp(-limit, limit));
    Ok(LinearPlan {
        bias: linear.b.iter().zip(&rows.scales).map(bias).collect(),
        weights: rows.values,
        shifts: ratios.iter().map(|r| i64::from(r.shift)).collect(),
        muls: Some(ratios.iter().map(|r| r.mul).collect()),
    })
}

fn bits(n: u32) -> i32 {
    i32::try_from(n).unwrap_or(0)
}

fn mul32(r: Ratio) -> i32 {
    i32::try_from(r.mul).unwrap_or(1)
}

fn ratio(node: &RealNode, value: f64, shift_max: u32) -> Result<Ratio, ImportError> {
    Ratio::new(value, shift_max).ok_or_else(|| ImportError::UnsupportedUse {
        op: "requantisation".into(),
        node: node.name.clone(),
        reason: format!(
            "its output is {value:e} steps per input step, which 15 bits cannot express; check the samples"
        ),
    })
}
