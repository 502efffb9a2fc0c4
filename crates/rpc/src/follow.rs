use std::{future::Future, pin::Pin};

use alloy_primitives::{B256, Bytes};

/// What those who follow the chain ask of a node (`docs/spec/following.md`). They verify the answers themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FollowQuestion {
    /// The latest finalization.
    Latest,
    /// The block with this hash.
    Block(B256),
    /// The finalization of the block at this height, and the block.
    Finalized(u64),
    /// A range of the state log with its proof.
    State(Bytes),
}

/// A future answer: bytes as the consensus library encodes them, or nothing if the node has not what is asked for.
pub type FollowAnswer = Pin<Box<dyn Future<Output = Option<Bytes>> + Send>>;

/// The part of a node that answers those who follow it. Calls come from any thread; the server limits how many at once.
pub trait Follow: Send + Sync + 'static {
    /// Answers a question. Dropping the answer ends the work for it at the latest when it is done.
    fn ask(&self, question: FollowQuestion) -> FollowAnswer;
}
