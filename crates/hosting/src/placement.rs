//! Which nodes hold a model: rendezvous hashing (`docs/spec/hosting.md`, section 4).

use veracity_graph::ModelId;

use crate::NodeId;

const CONTEXT: &str = "veracity hosting placement v1";
/// Ticks between one node and the next that steps in: announcements need a few blocks to show up.
const PATIENCE_TICKS: u64 = 4;

/// How near a node is to a model; the nodes with the highest scores hold it.
#[must_use]
pub fn score(model: &ModelId, node: &NodeId) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
    hasher.update(&model.0.0).update(&node.0);
    *hasher.finalize().as_bytes()
}

/// The candidates from the nearest to the farthest.
#[must_use]
pub fn ranking(model: &ModelId, candidates: &[NodeId]) -> Vec<NodeId> {
    let mut ranked = candidates.to_vec();
    ranked.sort_by_cached_key(|node| std::cmp::Reverse((score(model, node), *node)));
    ranked.dedup();
    ranked
}

/// The `k` candidates that hold a model, or all if they are fewer.
#[must_use]
pub fn holders(model: &ModelId, candidates: &[NodeId], k: usize) -> Vec<NodeId> {
    let mut ranked = ranking(model, candidates);
    ranked.truncate(k);
    ranked
}

/// What a node of this rank does about a model whose `k` holders are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duty {
    /// It holds the model.
    Hold,
    /// It holds the model when those before it have been too few for this many ticks in a row.
    StepIn {
        /// Number of ticks.
        after_ticks: u64,
    },
    /// It does nothing.
    None,
}

/// The duty of the node with `rank` nodes before it.
#[must_use]
pub fn duty(rank: usize, k: usize) -> Duty {
    match rank.checked_sub(k) {
        None => Duty::Hold,
        Some(behind) if behind < k => Duty::StepIn { after_ticks: PATIENCE_TICKS * (behind as u64 + 1) },
        Some(_) => Duty::None,
    }
}
