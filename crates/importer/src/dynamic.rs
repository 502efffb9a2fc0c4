//! Lowering without calibration: values are `i32` fixed point, and each linear operator quantises its own input rows.
//!
//! A value `x` is the integer nearest `x * 2^FRACTION_BITS`. A linear operator takes rows of `q` with `|q| <= q_max`
//! and the row's maximum `m`, so that `x = q * m / q_max` in fixed point. Its accumulator becomes `t = acc * w_scale / T`
//! with the uniform step `T = q_max * 2^-s`, and `y = t * m * 2^-s` is fixed point again: no division, no float.

use std::{collections::BTreeMap, sync::Arc};

use veracity_graph::{Decoding, Encoding, Model, Scale, ValueId};
use veracity_ops::{
    Add, ArgMax, AvgPool, Concat, Conv, ConvTranspose, DType, Gather, MatMul, MaxPool, Mul, Op, Pad, PadMode,
    QuantRow, Quantised, Reduce, Requant, Softmax, Table,
};

use crate::{
    ImportError,
    bounds::{Interval, bounds},
    build::{Builder, Ref, quantise_rows, worst_accumulator},
    fixed::{Ratio, exp2, round, round_to},
    func::Func,
    pieces::pieces,
    real::{Linear, LinearKind, NodeId, RealConstant, RealGraph, RealNode, RealOp},
};

/// Fractional bits of every real value.
pub(crate) const FRACTION_BITS: u32 = 16;
/// Most fractional bits of table inputs: `i16` then spans -16 to 16.
const TABLE_IN_BITS: u32 = 11;
/// Most fractional bits of table outputs: `i16` then spans -4 to 4.
const TABLE_OUT_BITS: u32 = 13;

const FIXED: Quantised = Quantised { dtype: DType::I32, zero: 0, lo: i32::MIN, hi: i32::MAX };

/// The lowered model and the value of each real node.
pub(crate) struct Lowered {
    pub(crate) model: Model,
    pub(crate) values: Vec<ValueId>,
}

pub(crate) fn lower(graph: &RealGraph, q: DType) -> Result<Lowered, ImportError> {
    let bounds = bounds(graph);
    let mut l = Lowering {
        b: Builder::default(),
        values: Vec::new(),
        graph,
        bounds,
        q,
        linears: BTreeMap::new(),
        remainders: Vec::new(),
    };
    for i in 0..graph.nodes.len() {
        let value = l.node(graph.node(NodeId(i)))?;
        l.values.push(value);
    }
    let output = |o: &crate::real::RealOutput| {
        let decoding = if graph.is_index(o.node) {
            Decoding::Integer(veracity_graph::Elem::I64)
        } else {
            Decoding::Dequantise { scale: scale(-bits(FRACTION_BITS)), zero: 0 }
        };
        (o.name.clone(), l.values[o.node.0], decoding)
    };
    let outputs: Vec<_> = graph.outputs.iter().map(output).collect();
    let (model, values) = l.b.finish(graph.symbols.clone(), &outputs, &l.values)?;
    Ok(Lowered { model, values })
}

fn bits(n: u32) -> i32 {
    i32::try_from(n).unwrap_or(0)
}

#[expect(clippy::cast_possible_truncation, reason = "a power of two is exact in f32")]
fn scale(exponent: i32) -> Scale {
    Scale::new(exp2(exponent) as f32).expect("small powers of two are normal")
}

/// `x` as a fixed-point `i32`.
fn fixed(x: f64) -> i32 {
    let value = round_to(x * exp2(bits(FRACTION_BITS)), i64::from(i32::MIN), i64::from(i32::MAX));
    i32::try_from(value).unwrap_or(0)
}

/// The fixed-point output of a node, with its clip.
fn output(clip: Option<(f64, f64)>) -> Quantised {
    clip.map_or(FIXED, |(lo, hi)| Quantised { lo: fixed(lo), hi: fixed(hi), ..FIXED })
}

struct Lowering<'a> {
    b: Builder,
    values: Vec<Ref>,
    graph: &'a RealGraph,
    /// What is known of each node's values.
    bounds: Vec<Interval>,
    q: DType,
    /// What was made of weights that several nodes share, by their address.
    linears: BTreeMap<*const Linear, Weights>,
    /// Tables of functions.
    remainders: Vec<(Func, Remainder)>,
}

/// Constants of one linear operator.
#[derive(Debug, Clone, Copy)]
struct Weights {
    acc: DType,
    w: Ref,
    shift: u32,
    shifts: Ref,
    muls: Ref,
}

/// The table of what is left of a function.
#[derive(Debug, Clone, Copy)]
struct Remainder {
    in_bits: u32,
    out_bits: u32,
    table: Ref,
}

impl Lowering<'_> {
    fn node(&mut self, node: &RealNode) -> Result<Ref, ImportError> {
        let x: Vec<Ref> = node.inputs.iter().map(|i| self.values[i.0]).collect();
        let (name, y) = (node.name.as_str(), output(node.clip));
        let f = FRACTION_BITS;
        let op = match &node.op {
            RealOp::Input(i) if node.index => {
                let input = &self.graph.inputs[*i];
                return Ok(self.b.input(input, input.index_encoding()));
            }
            RealOp::Input(i) => {
                let encoding = Encoding::Quantise { dtype: DType::I32, inv_scale: scale(bits(f)), zero: 0 };
                return Ok(self.b.input(&self.graph.inputs[*i], encoding));
            }
            RealOp::Linear(linear) => return self.linear(node, linear, x[0]),
            RealOp::Func(func) if func.is_curved() => {
                return Ok(self.curve(name, *func, x[0], self.bounds[node.inputs[0].0]));
            }
            RealOp::Func(func) => return self.func(name, *func, x[0]),
            RealOp::AddConstant(c) => return Ok(self.add_constant(name, c, x[0], y)),
            RealOp::MulConstant(c) => return Ok(self.mul_constant(name, c, x[0], y)),
            RealOp::Add => Op::Add(Add { zeros: [0, 0], muls: [1, 1], shift: 0, y }),
            RealOp::Sub => Op::Add(Add { zeros: [0, 0], muls: [1, -1], shift: 0, y }),
            RealOp::Mul => Op::Mul(Mul { zeros: [0, 0], mul: 1, shift: f, y }),
            RealOp::Softmax => return Ok(self.softmax(name, x[0])),
            RealOp::MaxPool(window) => Op::MaxPool(MaxPool { window: window.clone() }),
            RealOp::AvgPool { window, count_pads } => Op::AvgPool(AvgPool {
                window: window.clone(),
                count_pads: *count_pads,
                x_zero: 0,
                mul: 1,
                shift: 0,
                y,
            }),
            RealOp::Reduce { kind, axes } => {
                Op::Reduce(Reduce { kind: *kind, axes: axes.clone(), x_zero: 0, mul: 1, shift: 0, y })
            }
            RealOp::ArgMax { axis, last } => Op::ArgMax(ArgMax { axis: *axis, last: *last }),
            RealOp::Pad { mode, value, begin, end } => {
                let mode = if let PadMode::Constant(_) = mode {
                    PadMode::Constant(fixed(f64::from(*value)))
                } else {
                    *mode
                };
                Op::Pad(Pad { mode, begin: begin.clone(), end: end.clone() })
            }
            RealOp::Gather { axis, indices, shape } => {
                let indices: Vec<i64> = indices.iter().map(|&i| i64::from(i)).collect();
                let indices = self.b.constant(DType::I32, shape, &indices);
                return Ok(self.b.node(name, Op::Gather(Gather { axis: *axis }), &[x[0], indices]));
            }
            RealOp::Embed(c) => return self.embed(name, c, x[0]),
            RealOp::Move(op) => op.clone(),
            RealOp::Concat { axis } => Op::Concat(Concat { axis: *axis }),
        };
        Ok(self.b.node(name, op, &x))
    }

    fn linear(&mut self, node: &RealNode, linear: &Arc<Linear>, x: Ref) -> Result<Ref, ImportError> {
        let name = node.name.as_str();
        let rank = self.graph.node(node.inputs[0]).shape.len();
        let axis = if matches!(linear.kind, LinearKind::MatMul) { rank - 1 } else { 0 };
        let q = QuantRow { axis, q: self.q };
        let q_max = q.q_max();
        let q = self.b.node(name, Op::QuantRow(q), &[x]);
        let m = match q {
            Ref::Node(index, _) => Ref::Node(index, 1),
            Ref::Input(_) | Ref::Constant(_) => q,
        };
        let weights = self.weights(name, linear, q_max)?;
        let op = linear_op(&linear.kind, 0, weights.acc);
        let acc = self.b.node(name, op, &[q, weights.w]);
        let requant = Requant { x_zero: 0, y: FIXED };
        let t = self.b.node(name, Op::Requant(requant), &[acc, weights.shifts, weights.muls]);
        let has_bias = linear.b.iter().any(|b| *b != 0.0);
        let y = output(node.clip);
        let product =
            Mul { zeros: [0, 0], mul: 1, shift: weights.shift, y: if has_bias { FIXED } else { y } };
        let product = self.b.node(name, Op::Mul(product), &[t, m]);
        if !has_bias {
            return Ok(product);
        }
        let bias = RealConstant { shape: vec![linear.n_outputs()], values: linear.b.clone() };
        Ok(self.add_constant(name, &bias, product, y))
    }

    /// The constants of a linear operator, made once for all nodes that share it.
    fn weights(&mut self, name: &str, linear: &Arc<Linear>, q_max: i64) -> Result<Weights, ImportError> {
        let address = Arc::as_ptr(linear);
        if let Some(known) = self.linears.get(&address) {
            return Ok(*known);
        }
        let rows = quantise_rows(linear.rows());
        let n = linear.n_outputs();
        let worst = worst_accumulator(&rows.values, n, self.q.max() + 1, &[]);
        let acc = if worst <= i64::from(i32::MAX) { DType::I32 } else { DType::I64 };
        let w = self.b.constant(DType::I8, &linear.w_shape, &rows.values);
        let (shift, ratios) = uniform_step(&rows.scales, worst, q_max).ok_or_else(|| out_of_range(name))?;
        let muls: Vec<i64> = ratios.iter().map(|r| r.mul).collect();
        let shifts: Vec<i64> = ratios.iter().map(|r| i64::from(r.shift)).collect();
        let muls = self.b.constant(DType::I16, &[n], &muls);
        let shifts = self.b.constant(DType::I8, &[n], &shifts);
        let weights = Weights { acc, w, shift, shifts, muls };
        self.linears.insert(address, weights);
        Ok(weights)
    }

    fn add_constant(&mut self, name: &str, c: &RealConstant, x: Ref, y: Quantised) -> Ref {
        let values: Vec<i64> = c.values.iter().map(|&v| i64::from(fixed(f64::from(v)))).collect();
        let constant = self.b.constant(DType::I32, &c.shape, &values);
        self.b.node(name, Op::Add(Add { zeros: [0, 0], muls: [1, 1], shift: 0, y }), &[x, constant])
    }

    fn mul_constant(&mut self, name: &str, c: &RealConstant, x: Ref, y: Quantised) -> Ref {
        let max = c.values.iter().fold(0.0f64, |m, &v| m.max(f64::from(v).abs()));
        let shift = if max > 0.0 { (29 - crate::fixed::floor_log2(max)).clamp(0, 46) } else { 0 };
        let one = |&v: &f32| round_to(f64::from(v) * exp2(shift), i64::from(i32::MIN), i64::from(i32::MAX));
        let values: Vec<i64> = c.values.iter().map(one).collect();
        let constant = self.b.constant(DType::I32, &c.shape, &values);
        let shift = u32::try_from(shift).unwrap_or(0);
        self.b.node(name, Op::Mul(Mul { zeros: [0, 0], mul: 1, shift, y }), &[x, constant])
    }

    fn requant(&mut self, name: &str, x: Ref, mul: i64, shift: u32, y: Quantised) -> Ref {
        let shifts = self.b.constant(DType::I8, &[1], &[i64::from(shift)]);
        let mut operands = vec![x, shifts];
        if mul != 1 {
            operands.push(self.b.constant(DType::I16, &[1], &[mul]));
        }
        self.b.node(name, Op::Requant(Requant { x_zero: 0, y }), &operands)
    }

    /// Two lines through zero plus a bounded remainder by table.
    fn func(&mut self, name: &str, func: Func, x: Ref) -> Result<Ref, ImportError> {
        if let Func::Clip(lo, hi) = func {
            return Ok(self.requant(name, x, 1, 0, output(Some((lo, hi)))));
        }
        let (up, down) = func.slopes();
        let mut sum = self.line(name, x, up, (0.0, f64::INFINITY))?;
        if let Some(term) = self.line(name, x, down, (f64::NEG_INFINITY, 0.0))? {
            sum = Some(self.join(name, sum, term));
        }
        if !func.is_piecewise() {
            let rest = self.remainder(name, func, x)?;
            sum = Some(self.join(name, sum, (rest, 1)));
        }
        let zero = (x, 0);
        Ok(match sum {
            Some((value, 1)) => value,
            Some(term) => self.join(name, Some(zero), term).0,
            None => self.join(name, Some(zero), zero).0,
        })
    }

    /// `slope` times the part of `x` within `side`, less its sign, and the sign; `None` if the slope is zero.
    fn line(
        &mut self,
        name: &str,
        x: Ref,
        slope: f64,
        side: (f64, f64),
    ) -> Result<Option<(Ref, i32)>, ImportError> {
        let ratio = match slope.abs() {
            0.0 => return Ok(None),
            1.0 => Some(Ratio { mul: 1, shift: 0 }),
            slope => Ratio::new(slope, 62),
        };
        let ratio = ratio.ok_or_else(|| too_steep(name))?;
        let part = self.requant(name, x, ratio.mul, ratio.shift, output(Some(side)));
        Ok(Some((part, if slope < 0.0 { -1 } else { 1 })))
    }

    /// The signed sum of two terms.
    fn join(&mut self, name: &str, a: Option<(Ref, i32)>, b: (Ref, i32)) -> (Ref, i32) {
        let Some(a) = a else { return b };
        let add = Add { zeros: [0, 0], muls: [a.1, b.1], shift: 0, y: FIXED };
        (self.b.node(name, Op::Add(add), &[a.0, b.0]), 1)
    }

    fn remainder(&mut self, name: &str, func: Func, x: Ref) -> Result<Ref, ImportError> {
        let known = self.remainders.iter().find(|(f, _)| *f == func).map(|(_, remainder)| *remainder);
        let (narrow, Remainder { out_bits, table, .. }) = match known {
            Some(remainder) => (self.narrow(name, x, remainder.in_bits), remainder),
            None => self.first_remainder(name, func, x)?,
        };
        let looked = self.b.node(name, Op::Table(Table), &[narrow, table]);
        Ok(self.requant(name, looked, 1 << (FRACTION_BITS - out_bits), 0, FIXED))
    }

    /// `x` as 16 bits, so many of them fractional.
    fn narrow(&mut self, name: &str, x: Ref, in_bits: u32) -> Ref {
        self.requant(name, x, 1, FRACTION_BITS - in_bits, Quantised::full(DType::I16, 0))
    }

    /// Makes the table of a function, and its operand before it: the order of constants is part of the model.
    fn first_remainder(&mut self, name: &str, func: Func, x: Ref) -> Result<(Ref, Remainder), ImportError> {
        let in_bits = table_in_bits(func);
        let real = |i: i64| func.remainder(i as f64 * exp2(-bits(in_bits)));
        let largest = (-32_768..=32_767).fold(0.0f64, |m, i| m.max(real(i).abs()));
        let fits = |b: &u32| largest * exp2(bits(*b)) <= 32_767.0;
        let out_bits = (2..=TABLE_OUT_BITS).rev().find(fits).ok_or_else(|| too_steep(name))?;
        let narrow = self.narrow(name, x, in_bits);
        let entry = |i: i64| round_to(real(i) * exp2(bits(out_bits)), -32_768, 32_767);
        let entries: Vec<i64> = (-32_768..=32_767).map(entry).collect();
        let table = self.b.constant(DType::I16, &[65_536], &entries);
        let remainder = Remainder { in_bits, out_bits, table };
        self.remainders.push((func, remainder));
        Ok((narrow, remainder))
    }

    /// The sum of one table per piece of a curved function, for operands within `range`.
    fn curve(&mut self, name: &str, func: Func, x: Ref, range: Interval) -> Ref {
        let mut sum = None;
        for piece in pieces(func, range) {
            let (zero, lo, hi) = (piece.in_zero, piece.lo, piece.hi);
            let y = Quantised { dtype: DType::I16, zero, lo, hi };
            let narrow = self.requant(name, x, 1, FRACTION_BITS - piece.in_bits, y);
            let table = self.b.constant(DType::I16, &[65_536], &piece.entries);
            let looked = self.b.node(name, Op::Table(Table), &[narrow, table]);
            let term = self.widen(name, looked, piece.out_bits);
            sum = Some(self.join(name, sum, (term, 1)));
        }
        sum.map_or(x, |(sum, _)| sum)
    }

    /// Fixed point from integers of fewer fractional bits. Multipliers have 15 bits, so that more take two steps.
    fn widen(&mut self, name: &str, x: Ref, bits: u32) -> Ref {
        let left = FRACTION_BITS - bits;
        let first = self.requant(name, x, 1 << left.min(14), 0, FIXED);
        if left > 14 { self.requant(name, first, 1 << (left - 14), 0, FIXED) } else { first }
    }

    /// Rows of a constant, which keeps 16 bits.
    fn embed(&mut self, name: &str, table: &RealConstant, indices: Ref) -> Result<Ref, ImportError> {
        let largest = table.values.iter().fold(0.0f64, |m, &v| m.max(f64::from(v).abs()));
        let fits = |b: &u32| largest * exp2(bits(*b)) <= 32_767.0;
        let table_bits = (0..=FRACTION_BITS).rev().find(fits).ok_or_else(|| out_of_range(name))?;
        let one = |&v: &f32| round_to(f64::from(v) * exp2(bits(table_bits)), -32_768, 32_767);
        let values: Vec<i64> = table.values.iter().map(one).collect();
        let constant = self.b.constant(DType::I16, &table.shape, &values);
        let rows = self.b.node(name, Op::Gather(Gather { axis: 0 }), &[constant, indices]);
        Ok(self.widen(name, rows, table_bits))
    }

    fn softmax(&mut self, name: &str, x: Ref) -> Ref {
        let shift = FRACTION_BITS - TABLE_IN_BITS;
        let table = exponential_table(exp2(-bits(TABLE_IN_BITS)));
        let table = self.b.constant(DType::I32, &[table.len()], &table);
        self.b.node(name, Op::Softmax(Softmax { shift, one_bits: FRACTION_BITS, y: FIXED }), &[x, table])
    }
}

fn out_of_range(name: &str) -> ImportError {
    ImportError::OutOfRange { node: name.into(), limit: exp2(31 - bits(FRACTION_BITS)) }
}

fn too_steep(name: &str) -> ImportError {
    let reason =
        "its parameters make it steeper than 32767 or its curve higher than 8191; scale the model down"
            .into();
    ImportError::UnsupportedUse { op: "activation".into(), node: name.into(), reason }
}

/// Fractional bits of table inputs: where both ends of the table are as near the function's limits as steps are small.
fn table_in_bits(func: Func) -> u32 {
    let far = exp2(15);
    let error = |b: u32| {
        let reach = exp2(15 - bits(b));
        let cut = |side: f64| (func.remainder(side * reach) - func.remainder(side * far)).abs();
        cut(1.0).max(cut(-1.0)).max(reach * exp2(-16))
    };
    (0..TABLE_IN_BITS).rev().fold(TABLE_IN_BITS, |best, b| if error(b) < error(best) { b } else { best })
}

/// `2^24 * exp(-i * step)` until it rounds to zero, at most 65,536 entries.
pub(crate) fn exponential_table(step: f64) -> Vec<i64> {
    let entry = |i: i32| round(exp2(24) * libm::exp(-f64::from(i) * step));
    let mut table: Vec<i64> = (0..65_536).map(entry).take_while(|&e| e > 0).collect();
    if table.len() < 65_536 {
        table.push(0);
    }
    table
}

pub(crate) fn linear_op(kind: &LinearKind, x_zero: i32, acc: DType) -> Op {
    match *kind {
        LinearKind::MatMul => Op::MatMul(MatMul { x_zero, acc }),
        LinearKind::Conv { strides, pads, dilations, groups } => {
            Op::Conv(Conv { strides, pads, dilations, groups, x_zero, acc })
        }
        LinearKind::ConvTranspose { strides, pads, dilations, groups, output_pads } => {
            let conv = Conv { strides, pads, dilations, groups, x_zero, acc };
            Op::ConvTranspose(ConvTranspose { conv, output_pads })
        }
    }
}

/// The largest `s` such that `t = acc * w_scale * 2^s / q_max` fits 31 bits for every channel, with the multipliers.
fn uniform_step(scales: &[f64], worst: i64, q_max: i64) -> Option<(u32, Vec<Ratio>)> {
    let largest = scales.iter().copied().fold(0.0, f64::max);
    let fits = |s: &u32| {
        let ratio = largest * exp2(bits(*s)) / q_max as f64;
        ratio < 16_384.0 && ratio * (worst.max(1) as f64) < 2.0e9
    };
    let s = (0..=62u32).rev().find(fits)?;
    let ratio = |w: &f64| Ratio::new(w * exp2(bits(s)) / q_max as f64, 62);
    Some((s, scales.iter().map(ratio).collect::<Option<_>>()?))
}
