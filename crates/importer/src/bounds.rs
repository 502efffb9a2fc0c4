//! What is known of values without running the model, and whether operands lie where their functions are defined.

use veracity_ops::{PadMode, ReduceKind};

use crate::{
    ImportError,
    func::{Domain, Func},
    real::{NodeId, RealGraph, RealNode, RealOp},
};

/// Least and largest value, infinite where nothing is known.
pub(crate) type Interval = (f64, f64);

const ALL: Interval = (f64::NEG_INFINITY, f64::INFINITY);

/// Bounds of each node that hold for every request.
pub(crate) fn bounds(graph: &RealGraph) -> Vec<Interval> {
    let mut known: Vec<Interval> = Vec::with_capacity(graph.nodes.len());
    for node in &graph.nodes {
        let operands: Vec<Interval> = node.inputs.iter().map(|i| known[i.0]).collect();
        let by_op = if node.index { ALL } else { result(node, &operands) };
        known.push([node.clip, node.bounds].into_iter().flatten().fold(by_op, within));
    }
    known
}

/// The part of an interval within another one.
fn within(x: Interval, limits: Interval) -> Interval {
    (x.0.clamp(limits.0, limits.1), x.1.clamp(limits.0, limits.1))
}

fn hull(a: Interval, b: Interval) -> Interval {
    (a.0.min(b.0), a.1.max(b.1))
}

fn values(values: &[f32]) -> Interval {
    values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |all, &v| hull(all, (f64::from(v), f64::from(v))))
}

/// Products of both ends; nothing is known of zero times infinity.
fn product(a: Interval, b: Interval) -> Interval {
    let ends = [a.0 * b.0, a.0 * b.1, a.1 * b.0, a.1 * b.1];
    let known = ends.iter().all(|v| !v.is_nan());
    if known { ends.iter().fold((ends[0], ends[0]), |all, &v| hull(all, (v, v))) } else { ALL }
}

fn result(node: &RealNode, x: &[Interval]) -> Interval {
    match &node.op {
        RealOp::Func(func) => func.range(x[0]),
        RealOp::Softmax => (0.0, 1.0),
        RealOp::Add => (x[0].0 + x[1].0, x[0].1 + x[1].1),
        RealOp::Sub => (x[0].0 - x[1].1, x[0].1 - x[1].0),
        RealOp::AddConstant(c) => {
            let c = values(&c.values);
            (x[0].0 + c.0, x[0].1 + c.1)
        }
        RealOp::Embed(c) => values(&c.values),
        RealOp::Mul if node.inputs[0] == node.inputs[1] => (0.0, product(x[0], x[0]).1),
        RealOp::Mul => product(x[0], x[1]),
        RealOp::MulConstant(c) => product(x[0], values(&c.values)),
        RealOp::Reduce { kind: ReduceKind::Mean | ReduceKind::Max, .. }
        | RealOp::MaxPool(_)
        | RealOp::Gather { .. }
        | RealOp::Move(_) => x[0],
        // A sum of at least one value.
        RealOp::Reduce { kind: ReduceKind::Sum, .. } => (
            if x[0].0 < 0.0 { f64::NEG_INFINITY } else { x[0].0 },
            if x[0].1 > 0.0 { f64::INFINITY } else { x[0].1 },
        ),
        RealOp::AvgPool { .. } => hull(x[0], (0.0, 0.0)),
        RealOp::Pad { mode: PadMode::Constant(_), value, .. } => hull(x[0], values(&[*value])),
        RealOp::Pad { .. } => x[0],
        RealOp::Concat { .. } => x.iter().copied().reduce(hull).unwrap_or(ALL),
        RealOp::Input(_) | RealOp::Linear(_) | RealOp::ArgMax { .. } => ALL,
    }
}

impl Func {
    /// Bounds of its values for operands within `x`.
    fn range(self, x: Interval) -> Interval {
        match self {
            Self::Clip(lo, hi) => within(x, (lo, hi)),
            Self::Sigmoid | Self::HardSigmoid(..) => (0.0, 1.0),
            Self::Tanh | Self::Softsign | Self::Erf => (-1.0, 1.0),
            Self::Softplus | Self::Exp | Self::Sqrt | Self::Reciprocal | Self::Abs => (0.0, f64::INFINITY),
            Self::Power(_) if x.0 >= 0.0 || self.domain() != Domain::All => (0.0, f64::INFINITY),
            Self::Power(p) if p.rem_euclid(2.0) == 0.0 => (0.0, f64::INFINITY),
            _ => ALL,
        }
    }
}

/// Checks the operand of a function by the range that samples or the source give it, or by what is known without them.
fn check(node: &RealNode, least: f64, measured: bool) -> Result<(), ImportError> {
    let RealOp::Func(func) = node.op else { return Ok(()) };
    let refuse = |what: &str| {
        let reason = format!("its operand {what}, where the function has no value");
        Err(ImportError::UnsupportedUse { op: "function".into(), node: node.name.clone(), reason })
    };
    // Fixed point rounds a difference that should be zero to a few steps of 2^-16.
    const NEGATIVE: f64 = -1.0 / 1024.0;
    match (func.domain(), measured) {
        (Domain::NotNegative, true) if least < NEGATIVE => {
            refuse(&format!("goes down to {least:.4} on the samples"))
        }
        (Domain::Positive, true) if least < NEGATIVE => {
            refuse(&format!("goes down to {least:.4} on the samples"))
        }
        (Domain::Positive, true) if least <= 0.0 => refuse(
            "goes down to zero, or less than 2^-17 above it, on the samples; add a small constant or clip it first",
        ),
        // Below zero these functions are finite again, so a wrong answer would look like a right one.
        (Domain::Positive, false) if least < 0.0 && func != Func::Log => {
            let reason = "its operand may be negative as far as the model tells, and tables reach positive operands only; \
                          give samples, or apply Abs, Clip or Relu first";
            Err(ImportError::UnsupportedUse {
                op: "function".into(),
                node: node.name.clone(),
                reason: reason.into(),
            })
        }
        _ => Ok(()),
    }
}

/// Checks that a node's operand lies where its function is defined, as measured.
pub(crate) fn check_measured(node: &RealNode, range: impl Fn(NodeId) -> Interval) -> Result<(), ImportError> {
    node.inputs.first().map_or(Ok(()), |x| check(node, range(*x).0, true))
}

/// Checks that operands of functions that are finite below zero are not negative, by what is known without samples.
pub(crate) fn check_known(graph: &RealGraph) -> Result<(), ImportError> {
    let known = bounds(graph);
    graph
        .nodes
        .iter()
        .try_for_each(|node| node.inputs.first().map_or(Ok(()), |x| check(node, known[x.0].0, false)))
}
