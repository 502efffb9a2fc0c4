//! Blocks: building one on its parent, and checking one that another built.

use alloy_consensus::{
    EMPTY_OMMER_ROOT_HASH, EMPTY_ROOT_HASH, Header, ReceiptEnvelope, TxEnvelope, TxReceipt,
    constants::EMPTY_WITHDRAWALS,
    proofs::{calculate_receipt_root, calculate_transaction_root},
    transaction::{Recovered, SignerRecoverable},
};
use alloy_eips::{
    eip1559::{BaseFeeParams, calculate_block_gas_limit},
    eip7685::EMPTY_REQUESTS_HASH,
};
use alloy_primitives::{Address, B256, Bloom, Bytes, U256};

use crate::{BlockContext, BlockError, Executed, Executor, Parameter, State, parameters::saturating};

/// A block in the format of Ethereum. Its hash is its header's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The header.
    pub header: Header,
    /// In the order of execution.
    pub transactions: Vec<TxEnvelope>,
}

/// What the proposer of a block chooses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Seconds since 1970, not before the parent's.
    pub timestamp: u64,
    /// Who receives the tips.
    pub beneficiary: Address,
    /// Random value of the parent: the hash of the threshold signature of the round that notarized it. The ordering of
    /// blocks provides and judges it. It is the header's `mixHash` and `PREVRANDAO`, and the contract Randomness keeps
    /// it. A block on genesis, which no round decided, has zero whatever is given here.
    pub random: B256,
    /// At most 32 bytes, so that every tool reads the header.
    pub extra_data: Bytes,
}

/// Longest `extraData` that tools accept.
pub const EXTRA_DATA_BYTES_MAX: usize = 32;

impl Block {
    /// The block's hash.
    #[must_use]
    pub fn hash(&self) -> B256 {
        self.header.hash_slow()
    }

    /// The transactions with their senders.
    ///
    /// # Errors
    /// [`BlockError::Signature`] naming the first whose signature is invalid.
    pub fn recover(&self) -> Result<Vec<Recovered<TxEnvelope>>, BlockError> {
        let recover = |(index, transaction): (usize, &TxEnvelope)| {
            let sender = transaction.recover_signer().map_err(|_| BlockError::Signature { index })?;
            Ok(Recovered::new_unchecked(transaction.clone(), sender))
        };
        self.transactions.iter().enumerate().map(recover).collect()
    }
}

/// Base fee of the block after `parent`, whose state is `state`: that of EIP-1559, but not below `base_fee_min_wei`.
#[must_use]
pub fn next_base_fee(parent: &Header, state: &State) -> u64 {
    let fee = parent.next_block_base_fee(BaseFeeParams::ethereum()).unwrap_or_default();
    fee.max(state.parameter(Parameter::BaseFeeMinWei).map_or(0, saturating))
}

/// Gas limit of the block after `parent`, whose state is `state`: it moves to `gas_limit_target`, by less than 1/1024 of
/// the parent's as in Ethereum.
#[must_use]
pub fn next_gas_limit(parent: &Header, state: &State) -> u64 {
    let target = state.parameter(Parameter::GasLimitTarget).map_or(parent.gas_limit, saturating);
    calculate_block_gas_limit(parent.gas_limit, target)
}

fn context(parent: &Header, state: &State, chain_id: u64, choice: &Choice) -> BlockContext {
    BlockContext {
        chain_id,
        number: parent.number + 1,
        timestamp: choice.timestamp,
        beneficiary: choice.beneficiary,
        gas_limit: next_gas_limit(parent, state),
        base_fee: next_base_fee(parent, state),
        random: if parent.number == 0 { B256::ZERO } else { choice.random },
        parent: parent.hash_slow(),
    }
}

/// A block that is being built.
#[expect(missing_debug_implementations, reason = "the virtual machine has none")]
pub struct Builder {
    executor: Executor,
    context: BlockContext,
    extra_data: Bytes,
    transactions: Vec<TxEnvelope>,
}

impl Builder {
    /// Begins a block on `parent`, whose state is `state`.
    #[must_use]
    pub fn new(parent: &Header, state: &State, chain_id: u64, choice: &Choice) -> Self {
        let context = context(parent, state, chain_id, choice);
        let executor = Executor::new(state, &context);
        Self { executor, context, extra_data: choice.extra_data.clone(), transactions: vec![] }
    }

    /// Gas that is left for transactions.
    #[must_use]
    pub fn gas_left(&self) -> u64 {
        self.executor.gas_left()
    }

    /// Appends a transaction; a refused one changes nothing.
    ///
    /// # Errors
    /// A [`TransactionError`](crate::TransactionError) if the block may not contain it here.
    pub fn push(&mut self, transaction: &Recovered<TxEnvelope>) -> Result<(), crate::TransactionError> {
        self.executor.transact(transaction)?;
        self.transactions.push(transaction.inner().clone());
        Ok(())
    }

    /// The block, and what it does.
    #[must_use]
    pub fn finish(self) -> (Block, Executed) {
        let executed = self.executor.finish();
        let at = self.context;
        let header = Header {
            parent_hash: at.parent,
            beneficiary: at.beneficiary,
            state_root: executed.state.root(),
            transactions_root: calculate_transaction_root(&self.transactions),
            receipts_root: calculate_receipt_root(&executed.receipts),
            logs_bloom: bloom(&executed.receipts),
            number: at.number,
            gas_limit: at.gas_limit,
            gas_used: executed.gas_used,
            timestamp: at.timestamp,
            extra_data: self.extra_data,
            mix_hash: at.random,
            base_fee_per_gas: Some(at.base_fee),
            ..empty_header()
        };
        (Block { header, transactions: self.transactions }, executed)
    }
}

/// What is the same in every block without transactions.
pub(crate) fn empty_header() -> Header {
    Header {
        ommers_hash: EMPTY_OMMER_ROOT_HASH,
        transactions_root: EMPTY_ROOT_HASH,
        receipts_root: EMPTY_ROOT_HASH,
        withdrawals_root: Some(EMPTY_WITHDRAWALS),
        blob_gas_used: Some(0),
        excess_blob_gas: Some(0),
        parent_beacon_block_root: Some(B256::ZERO),
        requests_hash: Some(EMPTY_REQUESTS_HASH),
        ..Header::default()
    }
}

fn bloom(receipts: &[ReceiptEnvelope]) -> Bloom {
    receipts.iter().fold(Bloom::ZERO, |bloom, receipt| bloom | receipt.bloom())
}

/// Executes `block` on its parent, whose state is `state`, and checks every field of its header that follows from them.
/// What remains, the [`Choice`] with its random value, is for the ordering of blocks to judge.
///
/// # Errors
/// A [`BlockError`] naming the first rule that the block breaks: it is invalid for ever.
pub fn check_block(
    parent: &Header,
    state: &State,
    chain_id: u64,
    block: &Block,
    senders: &[Recovered<TxEnvelope>],
) -> Result<Executed, BlockError> {
    let header = &block.header;
    if header.timestamp < parent.timestamp {
        return Err(BlockError::Timestamp { parent: parent.timestamp, found: header.timestamp });
    }
    if header.extra_data.len() > EXTRA_DATA_BYTES_MAX {
        return Err(BlockError::ExtraData { length: header.extra_data.len() });
    }
    let choice = Choice {
        timestamp: header.timestamp,
        beneficiary: header.beneficiary,
        random: header.mix_hash,
        extra_data: header.extra_data.clone(),
    };
    let mut builder = Builder::new(parent, state, chain_id, &choice);
    for (index, transaction) in senders.iter().enumerate() {
        builder.push(transaction).map_err(|source| BlockError::Transaction { index, source })?;
    }
    let (expected, executed) = builder.finish();
    if expected.header == *header { Ok(executed) } else { Err(difference(&expected.header, header)) }
}

/// The first field in which two headers differ.
fn difference(expected: &Header, found: &Header) -> BlockError {
    macro_rules! compare {
        ($($field:ident)*) => {
            $(if expected.$field != found.$field {
                let [expected, found] = [expected, found].map(|header| format!("{:?}", header.$field));
                return BlockError::Header { field: stringify!($field), expected, found };
            })*
        };
    }
    compare! {
        parent_hash number mix_hash gas_limit base_fee_per_gas transactions_root gas_used receipts_root logs_bloom
        state_root ommers_hash difficulty nonce withdrawals_root blob_gas_used excess_blob_gas parent_beacon_block_root
        requests_hash
    }
    // A field that Ethereum added later.
    let [expected, found] = [expected, found].map(|header| header.hash_slow().to_string());
    BlockError::Header { field: "hash", expected, found }
}

/// Total of what the sender must have.
#[must_use]
pub fn cost_max(transaction: &TxEnvelope) -> U256 {
    use alloy_consensus::Transaction as _;
    let gas = U256::from(transaction.gas_limit()).saturating_mul(U256::from(transaction.max_fee_per_gas()));
    gas.saturating_add(transaction.value())
}
