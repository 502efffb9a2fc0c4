use std::sync::Arc;

use alloy_consensus::{Header, ReceiptEnvelope, TxEnvelope, transaction::Recovered};
use alloy_primitives::{Address, B256};
use alloy_rlp::Encodable as _;
use veracity_chain::Block;

/// A block that will never change, with what it did.
#[derive(Debug, Clone)]
pub struct Finalized {
    hash: B256,
    block: Arc<Block>,
    senders: Vec<Address>,
    receipts: Vec<ReceiptEnvelope>,
}

impl Finalized {
    /// A block with the senders and receipts of its transactions, in their order.
    ///
    /// # Panics
    /// If there are not as many senders and receipts as transactions.
    #[must_use]
    pub fn new(block: Arc<Block>, senders: Vec<Address>, receipts: Vec<ReceiptEnvelope>) -> Self {
        let count = block.transactions.len();
        assert!(senders.len() == count && receipts.len() == count, "one sender and receipt per transaction");
        Self { hash: block.hash(), block, senders, receipts }
    }

    /// A block without transactions, such as genesis.
    ///
    /// # Panics
    /// If it has transactions.
    #[must_use]
    pub fn empty(block: Block) -> Self {
        Self::new(Arc::new(block), vec![], vec![])
    }

    /// The block's hash.
    #[must_use]
    pub const fn hash(&self) -> B256 {
        self.hash
    }

    /// The header.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.block.header
    }

    /// The height.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.block.header.number
    }

    /// The base fee in wei per gas.
    #[must_use]
    pub fn base_fee(&self) -> u64 {
        self.block.header.base_fee_per_gas.unwrap_or_default()
    }

    /// The transactions.
    #[must_use]
    pub fn transactions(&self) -> &[TxEnvelope] {
        &self.block.transactions
    }

    /// Who sent each transaction.
    #[must_use]
    pub fn senders(&self) -> &[Address] {
        &self.senders
    }

    /// The receipt of each transaction.
    #[must_use]
    pub fn receipts(&self) -> &[ReceiptEnvelope] {
        &self.receipts
    }

    /// The transaction at `index` with its sender.
    #[must_use]
    pub fn transaction(&self, index: usize) -> Option<Recovered<TxEnvelope>> {
        let (transaction, sender) = (self.transactions().get(index)?, self.senders.get(index)?);
        Some(Recovered::new_unchecked(transaction.clone(), *sender))
    }

    /// Gas that the transaction at `index` used alone, and the number of logs in the block before its own.
    pub(crate) fn receipt_place(&self, index: usize) -> Option<(u64, u64)> {
        let receipt = self.receipts.get(index)?;
        let before = self.receipts.get(..index)?;
        let gas_before = before.last().map_or(0, |receipt| receipt.cumulative_gas_used());
        let logs_before: usize = before.iter().map(|receipt| receipt.logs().len()).sum();
        let gas_used = receipt.cumulative_gas_used().saturating_sub(gas_before);
        Some((gas_used, u64::try_from(logs_before).unwrap_or(u64::MAX)))
    }

    /// Length of the block in RLP, in bytes.
    pub(crate) fn size_bytes(&self) -> usize {
        // No ommers, no withdrawals: an empty list is one byte.
        let transactions = self.transactions().iter().map(alloy_rlp::Encodable::length).sum();
        let payload = self.header().length() + list_length(transactions) + 2;
        list_length(payload)
    }
}

fn list_length(payload_length: usize) -> usize {
    payload_length + alloy_rlp::length_of_length(payload_length)
}
