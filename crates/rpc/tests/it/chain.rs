//! What is kept, and what is not.

use std::sync::Arc;

use alloy_consensus::{TxEnvelope, transaction::Recovered};
use alloy_primitives::{Address, B256, U64, U256};
use jsonrpsee::core::client::ClientT as _;
use jsonrpsee::rpc_params;
use redb::{Database, TableDefinition};
use serde_json::{Value, json};
use tokio::sync::broadcast;
use veracity_chain::{Accepted, PoolError};
use veracity_rpc::{
    Chain, ComingCommittee, CommitteeMember, Config, EpochStatus, Finalized, Index, STATES_KEPT, Services,
    Submit, Waiting, serve,
};

use crate::{
    sealer::Sealing,
    support::{CHAIN_ID, COUNTER, Node, address, contract, invoke, sealer},
};

#[tokio::test(flavor = "multi_thread")]
async fn only_late_states_are_kept() {
    let node = Node::new(Sealing::Manual).await;
    node.send(&invoke(0, 0, COUNTER, &[])).await;
    let kept = u64::try_from(STATES_KEPT).unwrap();
    (0..kept + 4).for_each(|_| node.sealer.seal(usize::MAX));
    let first = node.chain.first_state();
    assert_eq!(first, 5);
    let balance: U256 = node.ask("eth_getBalance", rpc_params![address(1), format!("{first:#x}")]).await;
    assert!(!balance.is_zero());
    let words = "state of block 4 is not kept: use \"latest\" or a block from 5 on, or ask an archive node";
    let call = json!({"to": contract(COUNTER)});
    let asked = [
        ("eth_getBalance", rpc_params![address(1), "0x4"]),
        ("eth_getCode", rpc_params![address(1), "0x4"]),
        ("eth_getStorageAt", rpc_params![address(1), "0x0", "0x4"]),
        ("eth_getTransactionCount", rpc_params![address(1), "0x4"]),
        ("eth_getProof", rpc_params![address(1), Vec::<U256>::new(), "0x4"]),
        ("eth_call", rpc_params![&call, "0x4"]),
        ("eth_estimateGas", rpc_params![&call, "0x4"]),
        ("eth_createAccessList", rpc_params![&call, "0x4"]),
        ("debug_traceCall", rpc_params![&call, "0x4"]),
        ("debug_traceBlockByNumber", rpc_params!["0x5"]),
    ];
    for (method, params) in asked {
        let error = node.refusal(method, params).await;
        assert_eq!((error.code(), error.message()), (-32002, words), "{method}");
    }
    // Blocks are all kept.
    let block: Value = node.ask("eth_getBlockByNumber", rpc_params!["0x1", false]).await;
    assert_eq!(block["transactions"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_before_the_first_are_told_apart_from_none() {
    let source = Node::new(Sealing::Manual).await;
    (0..5).for_each(|_| source.sealer.seal(0));
    let start = source.chain.block(3).unwrap().unwrap();
    let block = veracity_chain::Block { header: start.header().clone(), transactions: vec![] };
    let index = Index::in_memory(CHAIN_ID).unwrap();
    let state = source.chain.state(3).unwrap();
    let chain = Arc::new(Chain::open(index, CHAIN_ID, Finalized::empty(block), state).unwrap());
    let node = Node::serve(Arc::clone(&chain), sealer(&chain, Sealing::Manual), |_| {}).await;
    node.sealer.seal(0);
    let error = node.refusal("eth_getBlockByNumber", rpc_params!["0x2", false]).await;
    let words = "blocks before 3 are not kept by this node: ask a node that synced from genesis";
    assert_eq!((error.code(), error.message()), (-32002, words));
    let earliest: Value = node.ask("eth_getBlockByNumber", rpc_params!["earliest", false]).await;
    assert_eq!(earliest["number"], "0x3");
    assert_eq!(node.ask::<U64>("eth_blockNumber", rpc_params![]).await, U64::from(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_index_is_told_to_the_client() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    let (start, state) = {
        let chain = crate::support::chain(Some(&path));
        let sealer = sealer(&chain, Sealing::Manual);
        (0..20).for_each(|_| sealer.seal(0));
        let (head, state) = chain.latest();
        (head.header().clone(), state)
    };
    let database = Database::create(&path).unwrap();
    let write = database.begin_write().unwrap();
    let bodies = TableDefinition::<u64, &[u8]>::new("bodies");
    write.open_table(bodies).unwrap().insert(2, &[1u8, 2, 3][..]).unwrap();
    write.commit().unwrap();
    drop(database);
    let index = Index::open(&path, CHAIN_ID).unwrap();
    let block = veracity_chain::Block { header: start, transactions: vec![] };
    let chain = Arc::new(Chain::open(index, CHAIN_ID, Finalized::empty(block), state).unwrap());
    let node = Node::serve(Arc::clone(&chain), sealer(&chain, Sealing::Manual), |_| {}).await;
    let error = node.refusal("eth_getBlockByNumber", rpc_params!["0x2", false]).await;
    let words = "the index of blocks is damaged at block 2 (bodies): delete it and sync again";
    assert_eq!((error.code(), error.message()), (-32603, words));
    assert!(node.ask::<Value>("eth_getBlockByNumber", rpc_params!["0x3", false]).await.is_object());
}

/// A pool that breaks.
struct Broken;

impl Submit for Broken {
    fn submit(&self, _: Recovered<TxEnvelope>) -> Result<Accepted, PoolError> {
        panic!("submit")
    }
    fn get(&self, _: &B256) -> Option<Recovered<TxEnvelope>> {
        panic!("get")
    }
    fn next_nonce(&self, _: Address) -> u64 {
        panic!("next_nonce")
    }
    fn waiting(&self) -> Waiting {
        panic!("waiting")
    }
    fn ready(&self) -> broadcast::Receiver<Recovered<TxEnvelope>> {
        broadcast::channel(1).1
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_of_ours_ends_one_request() {
    let node = Node::new(Sealing::Manual).await;
    let services = Services {
        chain: node.chain.clone(),
        pool: Arc::new(Broken),
        peers: Arc::new(|| 0),
        epoch: Arc::new(|| None),
        tip: Arc::new(|| 0),
        network_key: None,
        follow: None,
    };
    let server = serve(Config::new("127.0.0.1:0".parse().unwrap()), services).await.unwrap();
    let url = format!("http://{}", server.address());
    let http = jsonrpsee::http_client::HttpClientBuilder::default().build(url).unwrap();
    let node = Node { http, ..node };
    for (method, params) in [
        ("txpool_status", rpc_params![]),
        ("eth_getTransactionByHash", rpc_params![B256::ZERO]),
        ("eth_getTransactionCount", rpc_params![address(0), "pending"]),
    ] {
        let error = node.refusal(method, params).await;
        let words = "internal error: the request failed for a fault of the node, see its log";
        assert_eq!((error.code(), error.message()), (-32603, words), "{method}");
    }
    assert_eq!(node.ask::<U64>("eth_blockNumber", rpc_params![]).await, U64::ZERO);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_says_who_signs() {
    let node = Node::new(Sealing::Manual).await;
    assert_eq!(node.ask::<Value>("veracity_epoch", rpc_params![]).await, Value::Null, "it is no validator");
    let member = |byte, address: Option<&str>| CommitteeMember {
        node: B256::repeat_byte(byte),
        address: address.map(ToOwned::to_owned),
    };
    let status = EpochStatus {
        epoch: U64::from(3),
        first_block: U64::from(120),
        last_block: U64::from(159),
        committee: vec![member(1, Some("192.0.2.1:30303")), member(2, None)],
        coming: vec![ComingCommittee { epoch: U64::from(4), nodes: vec![member(1, None)] }],
        failed_epochs: U64::from(2),
        signs: true,
    };
    let services = Services {
        chain: node.chain.clone(),
        pool: Arc::new(Broken),
        peers: Arc::new(|| 0),
        epoch: Arc::new(move || Some(status.clone())),
        tip: Arc::new(|| 0),
        network_key: None,
        follow: None,
    };
    let server = serve(Config::new("127.0.0.1:0".parse().unwrap()), services).await.unwrap();
    let url = format!("http://{}", server.address());
    let http = jsonrpsee::http_client::HttpClientBuilder::default().build(url).unwrap();
    let [one, two] = [1, 2].map(B256::repeat_byte);
    let expected = json!({
        "epoch": "0x3",
        "firstBlock": "0x78",
        "lastBlock": "0x9f",
        "committee": [{ "node": one, "address": "192.0.2.1:30303" }, { "node": two, "address": null }],
        "coming": [{ "epoch": "0x4", "nodes": [{ "node": one, "address": null }] }],
        "failedEpochs": "0x2",
        "signs": true,
    });
    assert_eq!(Node { http, ..node }.ask::<Value>("veracity_epoch", rpc_params![]).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_behind_says_so() {
    let node = Node::new(Sealing::Manual).await;
    for (tip, expected) in [
        (8, json!(false)),
        (9, json!({ "startingBlock": "0x0", "currentBlock": "0x0", "highestBlock": "0x9" })),
    ] {
        let services = Services {
            chain: node.chain.clone(),
            pool: node.sealer.clone(),
            peers: Arc::new(|| 0),
            epoch: Arc::new(|| None),
            tip: Arc::new(move || tip),
            network_key: None,
            follow: None,
        };
        let server = serve(Config::new("127.0.0.1:0".parse().unwrap()), services).await.unwrap();
        let url = format!("http://{}", server.address());
        let http = jsonrpsee::http_client::HttpClientBuilder::default().build(url).unwrap();
        let found: Value = http.request("eth_syncing", rpc_params![]).await.unwrap();
        assert_eq!(found, expected);
    }
}
