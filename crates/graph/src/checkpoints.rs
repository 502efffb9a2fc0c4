//! What a run costs in multiply-accumulates, and the values of it that a trace commits to.
//!
//! `docs/spec/trace.md` gives the rules (section 2) and the reason for each number (section 3). All of it follows from
//! the graph and the shapes of one sample, so executor, auditor and judge make the same lists without running anything.
//!
//! Nothing here overflows: a tensor has at most `2^31` elements, so a node has at most `2^62` multiply-accumulates, and
//! a graph at most `2^20` nodes.

use veracity_ops::{Op, TensorType};

use crate::{Graph, Model, ModelError, Node, ValueId};

/// Multiply-accumulates that pay for one byte of a checkpoint.
const MACS_PER_BYTE: u128 = 8192;
/// A checkpoint costs at least as much as one of this size: 16 chunks of BLAKE3, which a core hashes side by side in
/// little more than the time of one.
const CHECKPOINT_BYTES_MIN: u128 = 16_384;

impl Graph {
    /// The node outputs that a run rounds or moves, in node order: all but accumulators and reshapes. With the inputs
    /// before them they are the values of the full trace.
    #[must_use]
    pub fn traced_values(&self) -> Vec<ValueId> {
        let nodes = self.nodes.iter().zip(self.first_outputs());
        nodes.flat_map(|(node, y)| traced_outputs(node, y)).collect()
    }
}

impl Model {
    /// Multiply-accumulates of one sample whose inputs have types `inputs`: for each element that a `MatMul` or `Conv`
    /// computes the length of its sum, taps beside the input included, and for each element that a `ConvTranspose`
    /// reads the elements that it adds to, those that padding cuts off included. Other operators count nothing.
    ///
    /// # Errors
    /// As [`Model::types`].
    pub fn macs(&self, inputs: &[TensorType]) -> Result<u128, ModelError> {
        let types = self.types(inputs)?;
        let nodes = self.graph().nodes.iter().zip(self.graph().first_outputs());
        Ok(nodes.map(|(node, y)| node_macs(node, y, &types)).fold(0, u128::saturating_add))
    }

    /// The checkpoints of one sample whose inputs have types `inputs`, in node order: [traced
    /// values](Graph::traced_values) that are not outputs of the graph, each paid for by multiply-accumulates before.
    /// With the graph's outputs after them they are the values of the trace that a receipt names.
    ///
    /// # Errors
    /// As [`Model::types`].
    pub fn checkpoints(&self, inputs: &[TensorType]) -> Result<Vec<ValueId>, ModelError> {
        let types = self.types(inputs)?;
        let graph = self.graph();
        let mut outputs: Vec<ValueId> = graph.outputs.iter().map(|output| output.value).collect();
        outputs.sort_unstable();
        let mut checkpoints = Vec::new();
        let mut credit = 0u128;
        for (node, y) in graph.nodes.iter().zip(graph.first_outputs()) {
            credit = credit.saturating_add(node_macs(node, y, &types));
            for value in traced_outputs(node, y).filter(|value| outputs.binary_search(value).is_err()) {
                if let Some(left) = credit.checked_sub(price(types.get(value.index()))) {
                    credit = left;
                    checkpoints.push(value);
                }
            }
        }
        Ok(checkpoints)
    }
}

/// Outputs of `node`, the first of which is `y`, as far as the full trace lists them.
fn traced_outputs(node: &Node, y: ValueId) -> impl Iterator<Item = ValueId> {
    let is_traced = !node.op.is_linear() && !matches!(node.op, Op::Reshape(_));
    let n = if is_traced { node.op.n_outputs() } else { 0 };
    (y.0..).take(n).map(ValueId)
}

/// Multiply-accumulates that pay for a checkpoint of type `ty`.
fn price(ty: Option<&TensorType>) -> u128 {
    let bytes = ty.map_or(0, |ty| elements(&ty.shape).saturating_mul(wide(ty.dtype.size())));
    MACS_PER_BYTE.saturating_mul(bytes.max(CHECKPOINT_BYTES_MIN))
}

/// Multiply-accumulates of `node`, whose output is `y`: every weight is used once at each position of the output, in a
/// `ConvTranspose` of the input. Positions are the extents before the last, which is that of the channels.
fn node_macs(node: &Node, y: ValueId, types: &[TensorType]) -> u128 {
    let operand = |index: usize| node.inputs.get(index).copied();
    let at = match &node.op {
        Op::MatMul(_) | Op::Conv(_) => Some(y),
        Op::ConvTranspose(_) => operand(0),
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
    };
    let shape =
        |value: Option<ValueId>| value.and_then(|v| types.get(v.index())).map(|ty| ty.shape.as_slice());
    let (Some([positions @ .., _]), Some(weights)) = (shape(at), shape(operand(1))) else { return 0 };
    elements(positions).saturating_mul(elements(weights))
}

fn elements(shape: &[usize]) -> u128 {
    shape.iter().fold(1, |n, &extent| n.saturating_mul(wide(extent)))
}

fn wide(n: usize) -> u128 {
    u128::try_from(n).unwrap_or(u128::MAX)
}
