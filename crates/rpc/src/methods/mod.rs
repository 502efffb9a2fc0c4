//! The methods, by namespace.

mod blocks;
mod calls;
mod debug;
mod fees;
mod following;
mod misc;
mod queries;
mod state;
mod transactions;
mod veracity;

use std::{future::Future, sync::Arc};

use alloy_eips::BlockId;
use jsonrpsee::{RpcModule, types::ErrorObjectOwned};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::{RpcError, arguments::Arguments, node::Node, subscribe::subscribe};

/// A JSON value, ready to be sent.
type Json = Box<RawValue>;

/// Registers methods by how much they do.
pub(crate) struct Table {
    module: RpcModule<Arc<Node>>,
}

impl Table {
    /// Answers at once, from memory.
    fn quick<R: Serialize + 'static>(
        &mut self,
        name: &'static str,
        answer: fn(&Node, Arguments<'_>) -> Result<R, RpcError>,
    ) {
        let registered = self.module.register_method(name, move |params, node, _| {
            answered(Arguments::new(&params).and_then(|arguments| answer(node, arguments)))
        });
        registered.expect("names differ");
    }

    /// Reads blocks, recovers signatures: not on the threads that serve connections.
    fn reading<R: Serialize + 'static>(
        &mut self,
        name: &'static str,
        answer: fn(&Node, Arguments<'_>) -> Result<R, RpcError>,
    ) {
        let registered = self.module.register_async_method(name, move |params, node, _| async move {
            blocking(move || answered(Arguments::new(&params).and_then(|a| answer(&node, a)))).await
        });
        registered.expect("names differ");
    }

    /// Executes or searches: as [`Table::reading`], and only a few at once.
    fn executing<R: Serialize + 'static>(
        &mut self,
        name: &'static str,
        answer: fn(&Node, Arguments<'_>) -> Result<R, RpcError>,
    ) {
        let registered = self.module.register_async_method(name, move |params, node, _| async move {
            let _place = node.executions.acquire().await.map_err(|_| RpcError::Internal)?;
            let worker = Arc::clone(&node);
            blocking(move || answered(Arguments::new(&params).and_then(|a| answer(&worker, a)))).await
        });
        registered.expect("names differ");
    }

    /// Waits for something.
    fn waiting<F: Future<Output = Result<Json, ErrorObjectOwned>> + Send + 'static>(
        &mut self,
        name: &'static str,
        answer: fn(jsonrpsee::types::Params<'static>, Arc<Node>) -> F,
    ) {
        let registered =
            self.module.register_async_method(name, move |params, node, _| answer(params, Arc::clone(&node)));
        registered.expect("names differ");
    }
}

fn answered<R: Serialize>(result: Result<R, RpcError>) -> Result<Json, ErrorObjectOwned> {
    let json = result.and_then(|value| to_raw_value(&value).map_err(|_| RpcError::Internal));
    json.map_err(|error| {
        if error.code() == jsonrpsee::types::error::INTERNAL_ERROR_CODE {
            tracing::error!(%error, "rpc.method");
        }
        error.into()
    })
}

async fn blocking(
    work: impl FnOnce() -> Result<Json, ErrorObjectOwned> + Send + 'static,
) -> Result<Json, ErrorObjectOwned> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => {
            tracing::error!(%error, "rpc.method");
            Err(RpcError::Internal.into())
        }
    }
}

/// A block as an argument; the latest if it is missing.
fn block(arguments: &mut Arguments<'_>) -> Result<Option<BlockId>, RpcError> {
    arguments.optional("block")
}

pub(crate) fn module(node: Arc<Node>) -> RpcModule<Arc<Node>> {
    let mut table = Table { module: RpcModule::new(node) };
    blocks::register(&mut table);
    calls::register(&mut table);
    debug::register(&mut table);
    fees::register(&mut table);
    following::register(&mut table);
    misc::register(&mut table);
    queries::register(&mut table);
    state::register(&mut table);
    transactions::register(&mut table);
    veracity::register(&mut table);
    let subscription = table.module.register_subscription(
        "eth_subscribe",
        "eth_subscription",
        "eth_unsubscribe",
        |params, pending, node, _| subscribe(params, pending, Arc::clone(&node)),
    );
    subscription.expect("names differ");
    table.module
}

/// All methods, in the order of their names; `docs/spec/rpc.md` says what each does.
pub const METHODS: &[&str] = &[
    "debug_traceBlockByHash",
    "debug_traceBlockByNumber",
    "debug_traceCall",
    "debug_traceTransaction",
    "eth_accounts",
    "eth_blobBaseFee",
    "eth_blockNumber",
    "eth_call",
    "eth_chainId",
    "eth_createAccessList",
    "eth_estimateGas",
    "eth_feeHistory",
    "eth_gasPrice",
    "eth_getBalance",
    "eth_getBlockByHash",
    "eth_getBlockByNumber",
    "eth_getBlockReceipts",
    "eth_getBlockTransactionCountByHash",
    "eth_getBlockTransactionCountByNumber",
    "eth_getCode",
    "eth_getFilterChanges",
    "eth_getFilterLogs",
    "eth_getLogs",
    "eth_getProof",
    "eth_getRawTransactionByHash",
    "eth_getStorageAt",
    "eth_getTransactionByBlockHashAndIndex",
    "eth_getTransactionByBlockNumberAndIndex",
    "eth_getTransactionByHash",
    "eth_getTransactionCount",
    "eth_getTransactionReceipt",
    "eth_getUncleByBlockHashAndIndex",
    "eth_getUncleByBlockNumberAndIndex",
    "eth_getUncleCountByBlockHash",
    "eth_getUncleCountByBlockNumber",
    "eth_maxPriorityFeePerGas",
    "eth_newBlockFilter",
    "eth_newFilter",
    "eth_newPendingTransactionFilter",
    "eth_sendRawTransaction",
    "eth_sendRawTransactionSync",
    "eth_subscribe",
    "eth_syncing",
    "eth_uninstallFilter",
    "eth_unsubscribe",
    "net_listening",
    "net_peerCount",
    "net_version",
    "txpool_content",
    "txpool_inspect",
    "txpool_status",
    "veracity_epoch",
    "veracity_getConsensusBlock",
    "veracity_getFinalization",
    "veracity_getFinalizedBlock",
    "veracity_getStateRange",
    "veracity_getTransactionInclusion",
    "veracity_latestFinalization",
    "veracity_networkKey",
    "web3_clientVersion",
    "web3_sha3",
];

#[cfg(test)]
mod tests {
    #[test]
    fn methods_are_in_order_and_documented() {
        assert!(super::METHODS.is_sorted());
        let spec = include_str!("../../../../docs/spec/rpc.md");
        for method in super::METHODS {
            assert!(spec.contains(&format!("`{method}`")), "docs/spec/rpc.md does not list {method}");
        }
    }
}
