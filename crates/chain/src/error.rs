use std::convert::Infallible;

use alloy_primitives::{Address, B256, U256};
use revm::{
    context_interface::result::{EVMError, InvalidTransaction},
    database_interface::bal::EvmDatabaseError,
};

/// Why a block may not contain a transaction at its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionError {
    /// It carries blobs.
    #[error("blob transactions are not supported: send an EIP-1559 transaction")]
    Blob,
    /// It may use more gas than the block has left.
    #[error("the transaction may use {needed} gas, the block has {left} left")]
    Gas {
        /// The transaction's limit.
        needed: u64,
        /// What is left.
        left: u64,
    },
    /// It breaks a rule of Ethereum.
    #[error("{0}")]
    Invalid(InvalidTransaction),
}

impl TransactionError {
    pub(crate) fn from_vm(error: EVMError<EvmDatabaseError<Infallible>>) -> Self {
        match error {
            EVMError::Transaction(error) => Self::Invalid(error),
            // The environment is ours, the database cannot fail, and our precompiles refuse by reverting.
            error => panic!("the virtual machine failed for no fault of the transaction: {error}"),
        }
    }
}

/// Why a block is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlockError {
    /// A signature has no signer.
    #[error("transaction {index} has an invalid signature")]
    Signature {
        /// Its place in the block.
        index: usize,
    },
    /// It is older than its parent.
    #[error("timestamp {found} is before the parent's, {parent}")]
    Timestamp {
        /// The parent's.
        parent: u64,
        /// The block's.
        found: u64,
    },
    /// `extraData` is longer than tools accept.
    #[error("extraData has {length} bytes, at most 32 are allowed")]
    ExtraData {
        /// Its length.
        length: usize,
    },
    /// A transaction may not be where it is.
    #[error("transaction {index}: {source}")]
    Transaction {
        /// Its place in the block.
        index: usize,
        /// Why.
        source: TransactionError,
    },
    /// A field of the header does not follow from parent and transactions.
    #[error("header field {field} is {found}, expected {expected}")]
    Header {
        /// Its name.
        field: &'static str,
        /// What follows.
        expected: String,
        /// What the header says.
        found: String,
    },
}

/// Why there is no such first block.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenesisError {
    /// It is no genesis file.
    #[error("the genesis file cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// A parameter does not exist.
    #[error("there is no parameter {name}: docs/spec/contracts.md, section 4, lists them")]
    UnknownParameter {
        /// Its name.
        name: String,
    },
    /// It does not begin with block 0.
    #[error("number is {found}: leave it out, the first block is block 0")]
    Number {
        /// Its number.
        found: u64,
    },
    /// Its blocks would be too small.
    #[error("gasLimit is {found}, at least {gas_limit_min} is needed")]
    GasLimit {
        /// Its gas limit.
        found: u64,
        /// The smallest.
        gas_limit_min: u128,
    },
    /// `extraData` is longer than tools accept.
    #[error("extraData has {length} bytes, at most 32 are allowed")]
    ExtraData {
        /// Its length.
        length: usize,
    },
    /// An account stands where the chain puts one of its own.
    #[error("alloc has an account at {address}, which genesis makes itself: remove it")]
    Reserved {
        /// Where.
        address: Address,
    },
    /// An account has code that begins like a delegation (EIP-7702) and is none.
    #[error("alloc gives {address} code that begins with 0xef01 and is no delegation: correct it")]
    Code {
        /// Where.
        address: Address,
    },
    /// An account has storage but neither code nor nonce: creating a contract there would be left undefined (EIP-7610).
    #[error(
        "alloc gives {address} storage but neither code nor nonce: remove the storage, or give it a nonce"
    )]
    Storage {
        /// Where.
        address: Address,
    },
    /// A parameter has a value that no vote could give it.
    #[error("{name} is {value}, outside of {min} to {max}")]
    OutOfRange {
        /// Its name.
        name: &'static str,
        /// Its value.
        value: U256,
        /// The smallest.
        min: u128,
        /// The largest.
        max: u128,
    },
    /// Not every dealer would get a turn.
    #[error("epoch_blocks is {found}, at least {needed} are needed, 8 times validators_max")]
    EpochTooShort {
        /// The smallest length.
        needed: u128,
        /// The length.
        found: u128,
    },
    /// Validators could leave with their money while they still decide blocks.
    #[error("unbond_delay_s is {found}, at least {needed} are needed, 4 epochs of heartbeats")]
    UnbondDelayTooShort {
        /// The shortest, in seconds.
        needed: u128,
        /// The delay, in seconds.
        found: u128,
    },
    /// A node cannot be registered.
    #[error("node {index}, {node_id}: {source}")]
    Node {
        /// Its place in the list.
        index: usize,
        /// Its key.
        node_id: B256,
        /// Why.
        source: RegisterError,
    },
}

/// Why a node cannot be registered at genesis.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// The operator cannot pay or cannot call.
    #[error("its operator cannot register it: {0}")]
    Operator(#[from] TransactionError),
    /// Its key comes twice.
    #[error("its key is registered already, by {operator}: list it once")]
    AlreadyRegistered {
        /// Who registered it.
        operator: Address,
    },
    /// It does nothing.
    #[error("it needs at least one role")]
    NoRole,
    /// The signature is not by this key over this operator and this chain.
    #[error(
        "its proof is not its signature for operator {operator} on this chain: let its key sign the binding"
    )]
    BadProof {
        /// The operator.
        operator: Address,
    },
    /// Its endpoint is too long.
    #[error("its endpoint has {length} bytes, at most 256 are allowed")]
    EndpointTooLong {
        /// Its length.
        length: U256,
    },
    /// Its endpoint has characters that it may not have.
    #[error("its endpoint is not graphic ASCII: see byte {position}")]
    BadEndpoint {
        /// The first bad byte.
        position: U256,
    },
    /// Its bond does not cover its roles.
    #[error("its bond is {bond} wei, its roles need {needed}")]
    BondTooLow {
        /// What they need together, in wei.
        needed: U256,
        /// In wei.
        bond: U256,
    },
    /// Its bond does not fit.
    #[error("its bond is {bond} wei, at most 2^128 - 1 are possible")]
    BondTooHigh {
        /// In wei.
        bond: U256,
    },
    /// All places are taken.
    #[error(
        "its bond is {bond} wei, but as many validators as can stand have {lowest} or more: bond more or list fewer"
    )]
    BondBelowCandidates {
        /// The lowest bond that stands, in wei.
        lowest: U256,
        /// In wei.
        bond: U256,
    },
}

/// A system contract that this chain was made without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no contract at {address}: this chain's genesis was made without system contracts")]
pub struct NoContract {
    /// Where it would be.
    pub address: Address,
}

/// Why a transaction may not wait for a block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// It is here already.
    #[error("already known: {hash}")]
    Known {
        /// Its hash.
        hash: B256,
    },
    /// It carries blobs.
    #[error("blob transactions are not supported: send an EIP-1559 transaction")]
    Blob,
    /// No block could ever contain it.
    #[error("{reason}")]
    Invalid {
        /// The rule that it breaks.
        reason: String,
    },
    /// It is for another chain.
    #[error("invalid chain id: the transaction is signed for {found}, this chain is {expected}")]
    ChainId {
        /// This chain's.
        expected: u64,
        /// The transaction's.
        found: u64,
    },
    /// It is too large.
    #[error("oversized data: the transaction has {length} bytes, at most {length_max} are accepted")]
    Size {
        /// Its size in bytes.
        length: usize,
        /// The limit.
        length_max: usize,
    },
    /// It may use too much gas.
    #[error("transaction gas limit too high: it may use {gas} gas, at most {gas_max} are accepted")]
    GasLimit {
        /// The transaction's limit.
        gas: u64,
        /// The most that is accepted.
        gas_max: u64,
    },
    /// It offers less than the least fee.
    #[error("transaction underpriced: maxFeePerGas is {fee} wei, at least {fee_min} are needed")]
    Fee {
        /// What it offers.
        fee: u128,
        /// What is needed.
        fee_min: u128,
    },
    /// Its nonce was used.
    #[error("nonce too low: next nonce {expected}, tx nonce {found}")]
    Nonce {
        /// The account's.
        expected: u64,
        /// The transaction's.
        found: u64,
    },
    /// Its sender cannot pay for it.
    #[error("insufficient funds for gas * price + value: balance {balance}, tx cost {cost}")]
    Funds {
        /// In wei.
        balance: U256,
        /// In wei.
        cost: U256,
    },
    /// Another with the same nonce pays nearly as much.
    #[error(
        "replacement transaction underpriced: offer maxFeePerGas {max_fee} and maxPriorityFeePerGas {priority_fee}"
    )]
    Replacement {
        /// Needed fee per gas, in wei.
        max_fee: u128,
        /// Needed tip per gas, in wei.
        priority_fee: u128,
    },
    /// Its sender has too many waiting.
    #[error(
        "account limit exceeded: {count_max} transactions of this account wait already; send it when one is mined"
    )]
    SenderFull {
        /// The limit.
        count_max: usize,
    },
    /// The pool is full of transactions that pay as much.
    #[error("txpool is full: offer a maxPriorityFeePerGas of {priority_fee} wei or more, or send it later")]
    Full {
        /// Needed tip per gas, in wei.
        priority_fee: u128,
    },
}
