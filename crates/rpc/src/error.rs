use std::path::PathBuf;

use alloy_primitives::{B256, Bytes};
use alloy_rpc_types_eth::BlockId;
use alloy_sol_types::{GenericContractError, SolInterface as _};
use jsonrpsee::types::{
    ErrorObjectOwned, error::INTERNAL_ERROR_CODE, error::INVALID_PARAMS_CODE, error::METHOD_NOT_FOUND_CODE,
};
use veracity_chain::{CallError, PoolError, TraceError};

use crate::ConfigError;

/// Why the index of blocks cannot be read or extended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// The file cannot be opened.
    #[error(
        "cannot open the index of blocks {path}: {source}; check that no other node uses it and that it can be written, \
         or delete it and sync again if it is damaged", path = .path.display()
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<redb::Error>,
    },
    /// Reading or writing failed. What was flushed before is not lost, but the index has to be opened again.
    #[error(
        "the index of blocks cannot be read or written: {0}; check disk space and the disk, then open it again"
    )]
    Store(Box<redb::Error>),
    /// Another version of this program wrote it.
    #[error(
        "the index of blocks has version {found}, this program reads version {expected}: delete it and sync again"
    )]
    Version {
        /// Ours.
        expected: u64,
        /// The file's.
        found: u64,
    },
    /// It is another chain's.
    #[error("the index of blocks is of chain {found}, this is chain {expected}: use another data folder")]
    ChainId {
        /// Ours.
        expected: u64,
        /// The file's.
        found: u64,
    },
    /// A block was left out.
    #[error("block {found} cannot be indexed after block {}: deliver block {expected} first", expected - 1)]
    Gap {
        /// Height that comes next.
        expected: u64,
        /// Height that came.
        found: u64,
    },
    /// Another block was finalized at this height, or the block's parent is not the one before. One of them was never
    /// finalized.
    #[error(
        "block {height} is {expected} in the index, but {found} was delivered: one of them was never finalized"
    )]
    Fork {
        /// The height.
        height: u64,
        /// The block in the index.
        expected: B256,
        /// The block that came, or that its child names.
        found: B256,
    },
    /// A state is not the one after its block.
    #[error(
        "the state for block {height} has root {found}, its header says {expected}: the state is damaged"
    )]
    State {
        /// The height.
        height: u64,
        /// The header's root.
        expected: B256,
        /// The state's root.
        found: B256,
    },
    /// What is stored cannot be read.
    #[error("the index of blocks is damaged at block {height} ({table}): delete it and sync again")]
    Damaged {
        /// The table.
        table: &'static str,
        /// The height.
        height: u64,
    },
}

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The configuration contradicts itself.
    #[error("invalid RPC configuration: {0}")]
    Config(#[from] ConfigError),
    /// The address cannot be used.
    #[error("cannot listen on {listen}: {source}; choose another port, or stop what uses this one")]
    Listen {
        /// The address.
        listen: std::net::SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
}

/// Why a request has no answer. [`RpcError::code`] is stable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RpcError {
    /// `params` is not a list.
    #[error("params must be a list of values")]
    ParamsList,
    /// A parameter is missing or not what it should be.
    #[error("invalid argument {index} ({name}): {reason}")]
    Argument {
        /// Its place, from 0.
        index: usize,
        /// Its name.
        name: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A signed transaction cannot be decoded.
    #[error("failed to decode signed transaction: {reason}")]
    Decode {
        /// What is wrong.
        reason: String,
    },
    /// A signed transaction has no signer.
    #[error("invalid sender: the signature fits no key")]
    Signature,
    /// There is no such block.
    #[error("block {block} not found: the latest is {head}", block = block_words(.block))]
    UnknownBlock {
        /// What was asked for.
        block: BlockId,
        /// Height of the latest.
        head: u64,
    },
    /// There is no such transaction in a block.
    #[error("transaction {hash} not found")]
    UnknownTransaction {
        /// Its hash.
        hash: B256,
    },
    /// The block is there, its state is not.
    #[error(
        "state of block {height} is not kept: use \"latest\" or a block from {first} on, or ask an archive node"
    )]
    StateNotKept {
        /// The height.
        height: u64,
        /// First height whose state is kept.
        first: u64,
    },
    /// Blocks before the first of this node.
    #[error("blocks before {first} are not kept by this node: ask a node that synced from genesis")]
    NotKept {
        /// Its first.
        first: u64,
    },
    /// A range that ends before it begins.
    #[error("invalid block range: fromBlock {from} is after toBlock {to}")]
    Range {
        /// Its beginning.
        from: u64,
        /// Its end.
        to: u64,
    },
    /// More than is done for one request.
    #[error("{what}: {found} asked for, at most {max} allowed; {advice}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much.
        found: u64,
        /// How much there may be.
        max: u64,
        /// What to do.
        advice: &'static str,
    },
    /// A search finds more logs than one answer may have.
    #[error(
        "query returns more than {max} logs: ask for fewer blocks, the first {max} are in blocks {from} to {to}"
    )]
    Logs {
        /// The limit.
        max: u64,
        /// First block of the search.
        from: u64,
        /// Last block that fits.
        to: u64,
    },
    /// No filter has this id.
    #[error("filter not found: filters that are not used for 5 minutes end, make a new one")]
    UnknownFilter,
    /// The filter is not one of logs.
    #[error("filter is not a log filter: use eth_getFilterChanges")]
    NotALogFilter,
    /// A subscription of an unknown kind.
    #[error("subscription {kind} is not supported: use newHeads, logs, newPendingTransactions or syncing")]
    Subscription {
        /// The kind.
        kind: String,
    },
    /// The call cannot be executed, or fails.
    #[error("{}", call_words(.0))]
    Call(#[from] CallError),
    /// The call ran into a fault.
    #[error("{reason}")]
    Halted {
        /// Which, in the words of geth where it has any.
        reason: String,
    },
    /// The call is reverted.
    #[error("{}", revert_words(.output))]
    Reverted {
        /// Data of the revert.
        output: Bytes,
    },
    /// There is no trace.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The pool does not take a transaction.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// A transaction is in no block yet.
    #[error(
        "the transaction was added to the mempool but wasn't processed in {timeout_ms} ms: ask for its receipt later"
    )]
    Timeout {
        /// Its hash.
        hash: B256,
        /// How long was waited.
        timeout_ms: u64,
    },
    /// This node does not know the network's key.
    #[error("the network key is not known to this node: start it with one")]
    NoNetworkKey,
    /// This node makes and follows no blocks of a network.
    #[error("this node has no consensus to follow: ask a validator or a follower of the network")]
    NoConsensus,
    /// It must be asked over HTTP, where a connection has one answer at a time.
    #[error("followers ask over HTTP, not over a WebSocket: use the node's http:// URL")]
    HttpOnly,
    /// Trouble with the disk.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// A fault of ours.
    #[error("internal error: the request failed for a fault of the node, see its log")]
    Internal,
}

impl RpcError {
    /// The JSON-RPC error code: those of JSON-RPC 2.0, EIP-1474, EIP-7966, and 3 for reverts.
    #[must_use]
    pub const fn code(&self) -> i32 {
        match self {
            Self::Reverted { .. } | Self::Call(CallError::Reverted { .. }) => 3,
            Self::Timeout { .. } => 4,
            Self::ParamsList
            | Self::Argument { .. }
            | Self::Decode { .. }
            | Self::Signature
            | Self::Range { .. }
            | Self::NotALogFilter
            | Self::Subscription { .. } => INVALID_PARAMS_CODE,
            Self::UnknownBlock { .. }
            | Self::UnknownTransaction { .. }
            | Self::NoNetworkKey
            | Self::NoConsensus => -32001,
            Self::HttpOnly => METHOD_NOT_FOUND_CODE,
            Self::StateNotKept { .. } | Self::NotKept { .. } => -32002,
            Self::Limit { .. } | Self::Logs { .. } => -32005,
            Self::UnknownFilter | Self::Call(_) | Self::Halted { .. } | Self::Trace(_) | Self::Pool(_) => {
                -32000
            }
            Self::Index(_) | Self::Internal => INTERNAL_ERROR_CODE,
        }
    }
}

impl From<RpcError> for ErrorObjectOwned {
    fn from(error: RpcError) -> Self {
        let (code, message) = (error.code(), error.to_string());
        match error {
            RpcError::Reverted { output } | RpcError::Call(CallError::Reverted { output }) => {
                Self::owned(code, message, Some(output))
            }
            RpcError::Timeout { hash, .. } => Self::owned(code, message, Some(hash)),
            _ => Self::owned(code, message, None::<()>),
        }
    }
}

fn block_words(block: &BlockId) -> String {
    match block {
        BlockId::Hash(hash) => hash.block_hash.to_string(),
        BlockId::Number(number) => number.as_number().map_or_else(|| number.to_string(), |n| n.to_string()),
    }
}

fn call_words(error: &CallError) -> String {
    match error {
        CallError::Reverted { output } => revert_words(output),
        CallError::Halted { reason } => halt_words(reason),
        error => error.to_string(),
    }
}

/// A fault in the words of geth, or the name that the virtual machine has for it.
pub(crate) fn halt_words(reason: &veracity_chain::HaltReason) -> String {
    use veracity_chain::HaltReason as Reason;
    match reason {
        Reason::OutOfGas(_) => "out of gas".into(),
        Reason::OpcodeNotFound | Reason::InvalidFEOpcode => "invalid opcode".into(),
        Reason::InvalidJump => "invalid jump destination".into(),
        Reason::StackUnderflow => "stack underflow".into(),
        Reason::StackOverflow => "stack limit reached".into(),
        Reason::OutOfOffset => "return data out of bounds".into(),
        Reason::CreateCollision => "contract address collision".into(),
        Reason::CreateContractSizeLimit => "max code size exceeded".into(),
        Reason::CreateContractStartingWithEF => "invalid code: must not begin with 0xef".into(),
        other => format!("execution failed: {other:?}"),
    }
}

/// "execution reverted", with the reason if the data is Solidity's `Error(string)` or `Panic(uint256)`.
fn revert_words(output: &Bytes) -> String {
    match GenericContractError::abi_decode(output) {
        Ok(GenericContractError::Revert(revert)) => format!("execution reverted: {}", revert.reason),
        Ok(GenericContractError::Panic(panic)) => format!("execution reverted: {panic}"),
        _ => "execution reverted".into(),
    }
}
