//! Blocks, transactions and receipts in the form in which they are answered.

use alloy_consensus::{Header, Sealable as _, Transaction as _, TxEnvelope, transaction::Recovered};
use alloy_primitives::{B256, U256};
use alloy_rpc_types_eth::{
    Block, BlockTransactions, Header as RpcHeader, Log, Transaction, TransactionInfo, TransactionReceipt,
};

use crate::{Finalized, IndexedReceipt, chain::Located};

pub(crate) fn header(block: &Finalized) -> RpcHeader {
    let size = U256::from(block.size_bytes());
    let sealed = block.header().clone().seal_unchecked(block.hash());
    RpcHeader::from_consensus(sealed, None, Some(size))
}

pub(crate) fn block(block: &Finalized, is_full: bool) -> Block {
    let transactions = if is_full {
        let all = (0..block.transactions().len()).filter_map(|index| {
            let transaction = block.transaction(index)?;
            Some(mined(block.header(), block.hash(), index, transaction))
        });
        BlockTransactions::Full(all.collect())
    } else {
        BlockTransactions::Hashes(block.transactions().iter().map(|t| *t.tx_hash()).collect())
    };
    Block { header: header(block), uncles: vec![], transactions, withdrawals: Some(vec![].into()) }
}

pub(crate) fn located(located: Located) -> Transaction {
    mined(&located.header, located.block_hash, located.index, located.transaction)
}

fn mined(header: &Header, block_hash: B256, index: usize, transaction: Recovered<TxEnvelope>) -> Transaction {
    let info = TransactionInfo {
        hash: Some(*transaction.tx_hash()),
        index: Some(to_u64(index)),
        block_hash: Some(block_hash),
        block_number: Some(header.number),
        base_fee: header.base_fee_per_gas,
        block_timestamp: Some(header.timestamp),
    };
    Transaction::from_transaction(transaction, info)
}

/// A transaction that is in no block.
pub(crate) fn waiting(transaction: Recovered<TxEnvelope>) -> Transaction {
    Transaction::from_transaction(transaction, TransactionInfo::default())
}

pub(crate) fn receipt(located: &Located, indexed: IndexedReceipt) -> TransactionReceipt {
    let Located { header, block_hash, index, transaction } = located;
    let IndexedReceipt { receipt, gas_used, logs_before } = indexed;
    let mut place = LogPlace::new(header, *block_hash, *index, *transaction.tx_hash(), logs_before);
    TransactionReceipt {
        inner: receipt.map_logs(|log| place.log(log)),
        transaction_hash: *transaction.tx_hash(),
        transaction_index: Some(to_u64(*index)),
        block_hash: Some(*block_hash),
        block_number: Some(header.number),
        gas_used,
        effective_gas_price: transaction.effective_gas_price(header.base_fee_per_gas),
        blob_gas_used: None,
        blob_gas_price: None,
        from: transaction.signer(),
        to: transaction.to(),
        contract_address: transaction
            .kind()
            .is_create()
            .then(|| transaction.signer().create(transaction.nonce())),
    }
}

/// The receipts of a block.
pub(crate) fn receipts(block: &Finalized) -> Vec<TransactionReceipt> {
    let one = |index| {
        let transaction = block.transaction(index)?;
        let (gas_used, logs_before) = block.receipt_place(index)?;
        let receipt = block.receipts().get(index)?.clone();
        let located =
            Located { header: block.header().clone(), block_hash: block.hash(), index, transaction };
        Some(self::receipt(&located, IndexedReceipt { receipt, gas_used, logs_before }))
    };
    (0..block.transactions().len()).filter_map(one).collect()
}

/// Where the logs of a transaction are.
pub(crate) struct LogPlace {
    block_hash: B256,
    block_number: u64,
    timestamp: u64,
    transaction_hash: B256,
    transaction_index: u64,
    next: u64,
}

impl LogPlace {
    pub(crate) fn new(
        header: &Header,
        block_hash: B256,
        index: usize,
        transaction_hash: B256,
        logs_before: u64,
    ) -> Self {
        Self {
            block_hash,
            block_number: header.number,
            timestamp: header.timestamp,
            transaction_hash,
            transaction_index: to_u64(index),
            next: logs_before,
        }
    }

    /// The transaction's next log.
    pub(crate) fn log(&mut self, inner: alloy_primitives::Log) -> Log {
        let log_index = self.next;
        self.next += 1;
        Log {
            inner,
            block_hash: Some(self.block_hash),
            block_number: Some(self.block_number),
            block_timestamp: Some(self.timestamp),
            transaction_hash: Some(self.transaction_hash),
            transaction_index: Some(self.transaction_index),
            log_index: Some(log_index),
            removed: false,
        }
    }
}

pub(crate) fn to_u64(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
