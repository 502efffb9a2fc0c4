use alloy_primitives::B256;

use crate::Refusal;

/// Why a node or a contract did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// What was given is no URL.
    #[error("'{url}' is not the URL of a node: begin with http:// or https://")]
    BadUrl {
        /// What was given.
        url: String,
    },
    /// The node cannot be reached, or broke off. The same call may succeed later.
    #[error("{url} cannot be reached: {reason}; check the address and that the node runs")]
    Unreachable {
        /// The node.
        url: String,
        /// What went wrong.
        reason: String,
    },
    /// What answers is no node of this version.
    #[error("{url} gave {what}; check that it is the JSON-RPC of a Veracity node of this version")]
    Strange {
        /// The node.
        url: String,
        /// What it gave.
        what: String,
    },
    /// The node refuses: an argument, a limit, too little money, a block that it does not keep.
    #[error("{method}: {message}")]
    Node {
        /// The method.
        method: String,
        /// The code of `docs/spec/rpc.md`, section 8.
        code: i64,
        /// What the node says, which includes what to do.
        message: String,
    },
    /// A contract refuses.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The node has another chain than it had.
    #[error("{url} has chain {found} now, it had chain {expected}: connect again if that is right")]
    OtherChain {
        /// The node.
        url: String,
        /// The chain that was connected to.
        expected: u64,
        /// The chain that it has.
        found: u64,
    },
    /// The transaction is in a block but did nothing, for a reason that a call on the block's state does not show.
    #[error(
        "transaction {hash} failed in block {height}: its gas did not suffice, or the state changed before it; send it again"
    )]
    Failed {
        /// The transaction.
        hash: B256,
        /// The block's height.
        height: u64,
    },
    /// The transaction was accepted but is in no block yet. It may still come into one.
    #[error(
        "transaction {hash} is in no block after {waited_s} s: check with `veracity status` that the network makes blocks"
    )]
    NotFinal {
        /// The transaction.
        hash: B256,
        /// How long was waited.
        waited_s: u64,
    },
}

impl ClientError {
    /// Whether the same call may succeed later without anybody changing anything here.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::NotFinal { .. } | Self::Failed { .. })
    }
}
