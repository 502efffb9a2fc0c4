//! The node, the network, and the pool.

use std::collections::BTreeMap;

use alloy_consensus::{Transaction as _, TxEnvelope, transaction::Recovered};
use alloy_primitives::{Address, B256, Bytes, U64, keccak256};
use alloy_rpc_types_eth::Transaction;
use serde::Serialize;
use serde_json::json;

use super::Table;
use crate::{
    convert::{self, to_u64},
    submit::Waiting,
};

/// By sender, then nonce.
type BySender<T> = BTreeMap<Address, BTreeMap<String, T>>;

/// A node that is behind by so much is in step: it takes a moment to record a block.
const IN_STEP_BLOCKS: u64 = 8;

/// The two parts of the pool, in geth's words.
#[derive(Serialize)]
struct Parts<T> {
    pending: T,
    queued: T,
}

pub(super) fn register(table: &mut Table) {
    table.quick("eth_chainId", |node, _| Ok(U64::from(node.chain.chain_id())));
    table.quick("eth_syncing", |node, _| {
        let (current, highest) = (node.chain.head().number(), (node.tip)());
        Ok(match highest > current + IN_STEP_BLOCKS {
            true => json!({
                "startingBlock": U64::from(node.chain.first()),
                "currentBlock": U64::from(current),
                "highestBlock": U64::from(highest),
            }),
            false => json!(false),
        })
    });
    table.quick("net_version", |node, _| Ok(node.chain.chain_id().to_string()));
    table.quick("net_listening", |_, _| Ok(true));
    table.quick("net_peerCount", |node, _| Ok(U64::from((node.peers)())));
    table.quick("web3_clientVersion", |_, _| {
        let (version, os, arch) = (env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH);
        Ok(format!("veracity/v{version}/{os}-{arch}"))
    });
    table.quick("web3_sha3", |_, mut arguments| {
        let bytes: Bytes = arguments.next("data")?;
        Ok(keccak256(bytes) as B256)
    });
    table.reading("txpool_status", |node, _| {
        let Waiting { ready, queued } = node.pool.waiting();
        let count = |part: Vec<_>| U64::from(to_u64(part.len()));
        Ok(Parts { pending: count(ready), queued: count(queued) })
    });
    table.reading("txpool_content", |node, _| {
        let Waiting { ready, queued } = node.pool.waiting();
        let content = |part| -> BySender<Transaction> { by_sender(part, convert::waiting) };
        Ok(Parts { pending: content(ready), queued: content(queued) })
    });
    table.reading("txpool_inspect", |node, _| {
        let Waiting { ready, queued } = node.pool.waiting();
        let content = |part| -> BySender<String> { by_sender(part, |t| summary(&t)) };
        Ok(Parts { pending: content(ready), queued: content(queued) })
    });
}

fn by_sender<T>(part: Vec<Recovered<TxEnvelope>>, show: impl Fn(Recovered<TxEnvelope>) -> T) -> BySender<T> {
    let mut by_sender = BySender::new();
    for transaction in part {
        let (sender, nonce) = (transaction.signer(), transaction.nonce().to_string());
        by_sender.entry(sender).or_default().insert(nonce, show(transaction));
    }
    by_sender
}

/// In the words of geth.
fn summary(transaction: &TxEnvelope) -> String {
    let to = transaction.to().map_or_else(|| "contract creation".into(), |to| to.to_string());
    let (value, gas, price) = (transaction.value(), transaction.gas_limit(), transaction.max_fee_per_gas());
    format!("{to}: {value} wei + {gas} gas x {price} wei")
}
