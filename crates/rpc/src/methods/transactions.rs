//! Transactions: those in blocks, those that wait, and new ones.

use std::{sync::Arc, time::Duration};

use alloy_consensus::{
    TxEnvelope,
    transaction::{Recovered, SignerRecoverable as _},
};
use alloy_eips::{BlockId, BlockNumberOrTag, Decodable2718 as _, Encodable2718 as _};
use alloy_primitives::{B256, Bytes, U64};
use alloy_rpc_types_eth::{Transaction, TransactionReceipt};
use jsonrpsee::types::{ErrorObjectOwned, Params};

use super::{Json, Table, answered};
use crate::{RpcError, arguments::Arguments, convert, node::Node};

pub(super) fn register(table: &mut Table) {
    table.reading("eth_getTransactionByHash", |node, mut arguments| {
        let hash: B256 = arguments.next("hash")?;
        if let Some((height, index)) = node.chain.place_of(hash)? {
            return Ok(node.chain.transaction(height, index)?.map(convert::located));
        }
        Ok(node.pool.get(&hash).map(convert::waiting))
    });
    table.reading("eth_getRawTransactionByHash", |node, mut arguments| {
        let hash: B256 = arguments.next("hash")?;
        let mined = match node.chain.place_of(hash)? {
            Some((height, index)) => node.chain.transaction(height, index)?.map(|l| l.transaction),
            None => node.pool.get(&hash),
        };
        Ok(mined.map(|transaction| Bytes::from(transaction.encoded_2718())))
    });
    table.reading("eth_getTransactionByBlockHashAndIndex", |node, mut arguments| {
        let hash: B256 = arguments.next("hash")?;
        at(node, BlockId::from(hash), &mut arguments)
    });
    table.reading("eth_getTransactionByBlockNumberAndIndex", |node, mut arguments| {
        let number: BlockNumberOrTag = arguments.next("block")?;
        at(node, BlockId::from(number), &mut arguments)
    });
    table.reading("eth_getTransactionReceipt", |node, mut arguments| {
        let hash: B256 = arguments.next("hash")?;
        receipt(node, hash)
    });
    table.reading("eth_sendRawTransaction", |node, arguments| submit(node, arguments).map(|(hash, _)| hash));
    table.waiting("eth_sendRawTransactionSync", submit_and_wait);
}

fn at(node: &Node, block: BlockId, arguments: &mut Arguments<'_>) -> Result<Option<Transaction>, RpcError> {
    let index: U64 = arguments.next("index")?;
    let (Some(height), Ok(index)) = (node.height(block)?, index.try_into()) else { return Ok(None) };
    Ok(node.chain.transaction(height, index)?.map(convert::located))
}

fn receipt(node: &Node, hash: B256) -> Result<Option<TransactionReceipt>, RpcError> {
    let Some((height, index)) = node.chain.place_of(hash)? else { return Ok(None) };
    let (Some(located), Some(indexed)) =
        (node.chain.transaction(height, index)?, node.chain.receipt(height, index)?)
    else {
        return Ok(None);
    };
    Ok(Some(convert::receipt(&located, indexed)))
}

/// Hands a transaction to the pool; the answer has its hash and how long to wait for it, in milliseconds.
fn submit(node: &Node, mut arguments: Arguments<'_>) -> Result<(B256, u64), RpcError> {
    let bytes: Bytes = arguments.next("transaction")?;
    let max = node.config.sync_wait_ms_max;
    let timeout_ms = wait_ms(&mut arguments)?.map_or(max, |timeout_ms| timeout_ms.min(max));
    let transaction = recover(&bytes)?;
    let accepted = node.pool.submit(transaction)?;
    Ok((accepted.hash, timeout_ms))
}

/// A number, as JSON or in hexadecimal.
fn wait_ms(arguments: &mut Arguments<'_>) -> Result<Option<u64>, RpcError> {
    let Some(value) = arguments.optional::<serde_json::Value>("timeout")? else { return Ok(None) };
    let number = match &value {
        serde_json::Value::Number(number) => number.as_u64(),
        serde_json::Value::String(text) => text.parse::<U64>().ok().map(|number| number.to()),
        _ => None,
    };
    match number {
        Some(number) if number > 0 => Ok(Some(number)),
        _ => Err(arguments.refuse("timeout", "expected milliseconds, at least 1")),
    }
}

fn recover(bytes: &Bytes) -> Result<Recovered<TxEnvelope>, RpcError> {
    let decode = |reason: String| RpcError::Decode { reason };
    if bytes.is_empty() {
        return Err(decode("empty transaction data".into()));
    }
    let mut rest = bytes.as_ref();
    let transaction = TxEnvelope::decode_2718(&mut rest).map_err(|error| decode(error.to_string()))?;
    if !rest.is_empty() {
        return Err(decode(format!("{} bytes follow it", rest.len())));
    }
    let sender = transaction.recover_signer().map_err(|_| RpcError::Signature)?;
    Ok(Recovered::new_unchecked(transaction, sender))
}

/// EIP-7966: as `eth_sendRawTransaction`, but the answer is the receipt.
async fn submit_and_wait(params: Params<'static>, node: Arc<Node>) -> Result<Json, ErrorObjectOwned> {
    // Watched from before it is submitted, so that its block is not missed.
    let mut head = node.chain.watch();
    head.mark_unchanged();
    let worker = Arc::clone(&node);
    let submitted = tokio::task::spawn_blocking(move || {
        Arguments::new(&params).and_then(|arguments| submit(&worker, arguments))
    });
    let (hash, timeout_ms) = submitted.await.map_err(|_| RpcError::Internal)??;
    let mined = async {
        loop {
            if let Some(receipt) = receipt(&node, hash)? {
                return Ok(receipt);
            }
            head.changed().await.map_err(|_| RpcError::Internal)?;
        }
    };
    let timeout = RpcError::Timeout { hash, timeout_ms };
    let waited = tokio::time::timeout(Duration::from_millis(timeout_ms), mined).await;
    answered(waited.unwrap_or(Err(timeout)))
}
