//! The model between ONNX and integers: real-valued operators on one sample, channels last, batch axis removed.

use std::sync::Arc;

use veracity_graph::{Elem, Encoding};
use veracity_ops::{Op, PadMode, ReduceKind, Window};

use crate::func::Func;

/// One extent of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    Fixed(usize),
    /// Dynamic extent of an input, by symbol.
    Symbol(u32),
    /// Dynamic, computed from a symbol.
    Derived,
}

impl Extent {
    pub(crate) fn fixed(self) -> Option<usize> {
        match self {
            Self::Fixed(n) => Some(n),
            Self::Symbol(_) | Self::Derived => None,
        }
    }

    /// Applies `f` if the extent is known.
    pub(crate) fn map(self, f: impl FnOnce(usize) -> usize) -> Self {
        self.fixed().map_or(Self::Derived, |n| Self::Fixed(f(n)))
    }
}

/// Index of a [`RealNode`]; each has one output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NodeId(pub(crate) usize);

#[derive(Debug, Clone)]
pub(crate) struct RealInput {
    pub(crate) name: String,
    pub(crate) dims: Vec<Extent>,
    /// Type in requests; integers are indices.
    pub(crate) elem: Elem,
    /// Rows of the smallest table in which its indices are looked up.
    pub(crate) rows: Option<usize>,
}

impl RealInput {
    /// How indices come in: those that every table has, counted from the front or, if negative, from the end.
    pub(crate) fn index_encoding(&self) -> Encoding {
        match self.rows.and_then(|n| i32::try_from(n).ok()) {
            Some(n) => Encoding::Integer { lo: -n, hi: n - 1 },
            None => Encoding::Integer { lo: i32::MIN, hi: i32::MAX },
        }
    }
}

/// Geometry of a sum of products; weights are `[oc, k]` or `[oc, kh, kw, c / groups]`.
#[derive(Debug, Clone)]
pub(crate) enum LinearKind {
    MatMul,
    Conv {
        strides: [usize; 2],
        pads: [usize; 4],
        dilations: [usize; 2],
        groups: usize,
    },
    ConvTranspose {
        strides: [usize; 2],
        pads: [usize; 4],
        dilations: [usize; 2],
        groups: usize,
        output_pads: [usize; 2],
    },
}

#[derive(Debug, Clone)]
pub(crate) struct Linear {
    pub(crate) kind: LinearKind,
    pub(crate) w: Vec<f32>,
    pub(crate) w_shape: Vec<usize>,
    pub(crate) b: Vec<f32>,
}

impl Linear {
    pub(crate) fn n_outputs(&self) -> usize {
        self.w_shape.first().copied().unwrap_or(0)
    }

    /// Weights of each output channel.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.w.chunks((self.w.len() / self.n_outputs().max(1)).max(1))
    }
}

/// A constant operand of an elementwise operator, in the operand's axis order.
#[derive(Debug, Clone)]
pub(crate) struct RealConstant {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f32>,
}

#[derive(Debug, Clone)]
pub(crate) enum RealOp {
    Input(usize),
    /// Shared by the steps of a recurrence.
    Linear(Arc<Linear>),
    Func(Func),
    Add,
    Sub,
    Mul,
    AddConstant(RealConstant),
    MulConstant(RealConstant),
    Softmax,
    MaxPool(Window),
    AvgPool {
        window: Window,
        count_pads: bool,
    },
    Reduce {
        kind: ReduceKind,
        axes: Vec<usize>,
    },
    ArgMax {
        axis: usize,
        last: bool,
    },
    /// Pads with a real constant, or by edge or reflection (whose `PadMode` is kept).
    Pad {
        mode: PadMode,
        value: f32,
        begin: Vec<usize>,
        end: Vec<usize>,
    },
    Gather {
        axis: usize,
        indices: Vec<i32>,
        shape: Vec<usize>,
    },
    /// Rows of a constant by index.
    Embed(RealConstant),
    /// Reshape, transpose, slice or resize.
    Move(Op),
    Concat {
        axis: usize,
    },
}

impl RealOp {
    /// Whether its lowering ends in a rounding step, which clips for free.
    pub(crate) fn rounds(&self) -> bool {
        matches!(
            self,
            Self::Linear(_)
                | Self::Add
                | Self::Sub
                | Self::Mul
                | Self::AddConstant(_)
                | Self::MulConstant(_)
                | Self::AvgPool { .. }
                | Self::Reduce { .. }
        )
    }
}

#[derive(Debug, Clone)]
pub(crate) struct RealNode {
    /// Name in the source.
    pub(crate) name: String,
    pub(crate) op: RealOp,
    pub(crate) inputs: Vec<NodeId>,
    /// Output extents in physical order.
    pub(crate) shape: Vec<Extent>,
    /// Bounds of a ReLU, ReLU6 or clip that follows and was absorbed.
    pub(crate) clip: Option<(f64, f64)>,
    /// Range that an already quantised source declares for this value.
    pub(crate) declared: Option<(f64, f64)>,
    /// Whether the result is an index rather than a real number.
    pub(crate) index: bool,
    /// Bounds that follow from how the source's operator is taken apart.
    pub(crate) bounds: Option<(f64, f64)>,
    /// Whether the result needs 16 bits, and so do its operands where nothing else uses them.
    pub(crate) wide: bool,
    /// Nodes of one number share their scale: the steps of a recurrence, so that they share their weights.
    pub(crate) tie: Option<u32>,
}

impl RealNode {
    /// Whether it is of little use that its operand has 8 bits only.
    pub(crate) fn needs_wide_operand(&self) -> bool {
        match &self.op {
            RealOp::Softmax => true,
            RealOp::Func(func) => func.is_curved() || self.wide,
            RealOp::Linear(_) => false,
            _ => self.wide,
        }
    }

    /// Real constants of the node: weights and biases, or the constant operand.
    pub(crate) fn constants(&self) -> [&[f32]; 2] {
        match &self.op {
            RealOp::Linear(linear) => [&linear.w, &linear.b],
            RealOp::AddConstant(c) | RealOp::MulConstant(c) | RealOp::Embed(c) => [&c.values, &[]],
            RealOp::Pad { value, .. } => [std::slice::from_ref(value), &[]],
            _ => [&[], &[]],
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct RealOutput {
    pub(crate) name: String,
    pub(crate) node: NodeId,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct RealGraph {
    pub(crate) symbols: Vec<String>,
    pub(crate) inputs: Vec<RealInput>,
    pub(crate) nodes: Vec<RealNode>,
    pub(crate) outputs: Vec<RealOutput>,
}

impl RealGraph {
    pub(crate) fn node(&self, id: NodeId) -> &RealNode {
        &self.nodes[id.0]
    }

    /// Whether the node's result is an index rather than a real number.
    pub(crate) fn is_index(&self, id: NodeId) -> bool {
        self.node(id).index
    }

    /// Whether the node only moves values, so that it shares its operand's scale.
    pub(crate) fn keeps_scale(&self, id: NodeId) -> bool {
        matches!(
            self.node(id).op,
            RealOp::Move(_)
                | RealOp::MaxPool(_)
                | RealOp::Pad { .. }
                | RealOp::Gather { .. }
                | RealOp::ArgMax { .. }
        )
    }

    /// Nodes that use each node's output.
    pub(crate) fn consumers(&self) -> Vec<Vec<NodeId>> {
        let mut consumers = vec![Vec::new(); self.nodes.len()];
        for (i, node) in self.nodes.iter().enumerate() {
            for input in &node.inputs {
                consumers[input.0].push(NodeId(i));
            }
        }
        consumers
    }
}
