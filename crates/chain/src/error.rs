use std::convert::Infallible;

use alloy_primitives::{B256, U256};
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
    /// No block has room for it.
    #[error("exceeds block gas limit: the transaction may use {gas} gas, a block has {gas_max}")]
    GasLimit {
        /// The transaction's limit.
        gas: u64,
        /// A block's.
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
