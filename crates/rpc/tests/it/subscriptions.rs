//! Subscriptions over WebSocket.

use alloy_primitives::{B256, U64, U256};
use alloy_rpc_types_eth::{Header, Log, Transaction};
use jsonrpsee::{
    core::{
        ClientError,
        client::{ClientT, Subscription, SubscriptionClientT},
    },
    rpc_params,
    ws_client::WsClient,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{
    sealer::Sealing,
    support::{LOGGER, Node, contract, invoke, transfer, words},
};

async fn subscribe<T: DeserializeOwned>(
    ws: &WsClient,
    params: jsonrpsee::core::params::ArrayParams,
) -> Subscription<T> {
    ws.subscribe("eth_subscribe", params, "eth_unsubscribe").await.unwrap()
}

async fn next<T: DeserializeOwned>(subscription: &mut Subscription<T>) -> T {
    subscription.next().await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_head_is_heard_once_and_in_order() {
    let node = Node::new(Sealing::Manual).await;
    let ws = node.ws().await;
    let mut heads: Subscription<Header> = subscribe(&ws, rpc_params!["newHeads"]).await;
    let sealer = node.sealer.clone();
    tokio::task::spawn_blocking(move || (0..100).for_each(|_| sealer.seal(0))).await.unwrap();
    for height in 1..=100 {
        let head = next(&mut heads).await;
        assert_eq!(head.number, height);
        assert_eq!(head.hash, node.chain.block(height).unwrap().unwrap().hash());
    }
    let id = match heads.kind() {
        jsonrpsee::core::client::SubscriptionKind::Subscription(id) => json!(id),
        _ => panic!("not a subscription"),
    };
    assert!(id.as_str().unwrap().starts_with("0x"), "{id}");
    heads.unsubscribe().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_and_transactions_are_heard_as_they_come() {
    let node = Node::new(Sealing::Manual).await;
    let ws = node.ws().await;
    let filter = json!({"address": contract(LOGGER), "topics": [B256::from(U256::from(1))]});
    let mut logs: Subscription<Log> = subscribe(&ws, rpc_params!["logs", filter]).await;
    let mut hashes: Subscription<B256> = subscribe(&ws, rpc_params!["newPendingTransactions"]).await;
    let mut full: Subscription<Transaction> =
        subscribe(&ws, rpc_params!["newPendingTransactions", true]).await;
    let mut syncing: Subscription<bool> = subscribe(&ws, rpc_params!["syncing"]).await;
    assert!(!next(&mut syncing).await);
    let sent = [
        invoke(0, 0, LOGGER, &words(&[1, 2, 3])),
        invoke(0, 1, LOGGER, &words(&[2, 2, 3])),
        transfer(0, 2, contract(LOGGER), 0),
        invoke(0, 3, LOGGER, &words(&[1, 5, 6])),
    ];
    for transaction in &sent {
        node.send(transaction).await;
        assert_eq!(next(&mut hashes).await, *transaction.tx_hash());
        assert_eq!(next(&mut full).await.inner, *transaction);
        node.sealer.seal(usize::MAX);
    }
    let heard = [next(&mut logs).await, next(&mut logs).await];
    assert_eq!(heard.each_ref().map(|log| log.block_number), [Some(1), Some(4)]);
    let found: Vec<Log> = node
        .ask("eth_getLogs", rpc_params![json!({"fromBlock": "0x1", "topics": [B256::from(U256::from(1))]})])
        .await;
    assert_eq!(heard.to_vec(), found);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_and_too_many_subscriptions_are_refused() {
    let node = Node::with(Sealing::Manual, |config| config.subscriptions_max = 2).await;
    let ws = node.ws().await;
    let refused = async |params| -> (i32, String) {
        let result: Result<Subscription<Value>, _> =
            ws.subscribe("eth_subscribe", params, "eth_unsubscribe").await;
        match result {
            Err(ClientError::Call(error)) => (error.code(), error.message().to_owned()),
            other => panic!("{other:?}"),
        }
    };
    let (code, message) = refused(rpc_params!["oldHeads"]).await;
    assert_eq!(code, -32602);
    assert!(message.starts_with("subscription oldHeads is not supported"), "{message}");
    let (_, message) = refused(rpc_params![]).await;
    assert_eq!(message, "invalid argument 0 (subscription): missing value");
    let many: Vec<_> = (0..1001).map(|i| B256::from(U256::from(i))).collect();
    assert_eq!(refused(rpc_params!["logs", json!({"topics": [many]})]).await.0, -32005);
    let _kept: [Subscription<Value>; 2] =
        [subscribe(&ws, rpc_params!["newHeads"]).await, subscribe(&ws, rpc_params!["newHeads"]).await];
    assert_eq!(refused(rpc_params!["newHeads"]).await.0, -32006);
    // Requests are answered on the same connection.
    let height: U64 = ws.request("eth_blockNumber", rpc_params![]).await.unwrap();
    assert_eq!(height, U64::ZERO);
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_no_subscriptions_over_http() {
    let node = Node::new(Sealing::Manual).await;
    let error = node.refusal("eth_subscribe", rpc_params!["newHeads"]).await;
    assert_eq!(error.code(), -32603, "{error}");
}
