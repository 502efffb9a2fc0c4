use alloy_primitives::{B256, U64};
use serde::Serialize;

/// The epoch of the next block, as `veracity_epoch` tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EpochStatus {
    /// Its number.
    pub epoch: U64,
    /// Height of its first block.
    pub first_block: U64,
    /// Height of its last block.
    pub last_block: U64,
    /// Who signs.
    pub committee: Vec<CommitteeMember>,
    /// Who was elected to sign in the epochs after it, the next first.
    pub coming: Vec<ComingCommittee>,
    /// How many epochs in a row, up to the last, ended without new shares.
    pub failed_epochs: U64,
    /// Whether this node signs.
    pub signs: bool,
}

/// Who was elected to sign in a later epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ComingCommittee {
    /// The epoch.
    pub epoch: U64,
    /// The nodes.
    pub nodes: Vec<CommitteeMember>,
}

/// A validator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CommitteeMember {
    /// Its key.
    pub node: B256,
    /// Where it is reached, if that is known.
    pub address: Option<String>,
}
