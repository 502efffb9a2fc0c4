//! What those who follow the chain ask of a node.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use alloy_primitives::{B256, Bytes};
use jsonrpsee::{
    core::client::{ClientT as _, Error as ClientError},
    rpc_params,
};
use serde_json::Value;
use veracity_rpc::{Config, Follow, FollowAnswer, FollowQuestion, Services, serve};

use crate::{sealer::Sealing, support::Node};

/// Remembers what it was asked, and has one answer.
#[derive(Default)]
struct Asked(Mutex<Vec<FollowQuestion>>);

impl Follow for Asked {
    fn ask(&self, question: FollowQuestion) -> FollowAnswer {
        let answer = (question != FollowQuestion::Finalized(7)).then(|| Bytes::from_static(&[1, 2]));
        self.0.lock().unwrap().push(question);
        Box::pin(async move { answer })
    }
}

async fn served(follow: Option<Arc<dyn Follow>>) -> (Node, veracity_rpc::Server) {
    let node = Node::new(Sealing::Manual).await;
    let services = Services {
        chain: node.chain.clone(),
        pool: node.sealer.clone(),
        peers: Arc::new(|| 0),
        epoch: Arc::new(|| None),
        tip: Arc::new(|| 0),
        network_key: None,
        follow,
    };
    let server = serve(Config::new("127.0.0.1:0".parse().unwrap()), services).await.unwrap();
    let url = format!("http://{}", server.address());
    let http = jsonrpsee::http_client::HttpClientBuilder::default().build(url).unwrap();
    (Node { http, ..node }, server)
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_are_passed_on_and_answers_are_bytes() {
    let asked = Arc::new(Asked::default());
    let (node, _server) = served(Some(asked.clone())).await;
    let hash = B256::repeat_byte(9);
    for (method, params) in [
        ("veracity_latestFinalization", rpc_params![]),
        ("veracity_getConsensusBlock", rpc_params![hash]),
        ("veracity_getFinalizedBlock", rpc_params!["0x8"]),
        ("veracity_getStateRange", rpc_params!["0x0102"]),
    ] {
        assert_eq!(node.ask::<Value>(method, params).await, "0x0102", "{method}");
    }
    assert!(node.ask::<Value>("veracity_getFinalizedBlock", rpc_params!["0x7"]).await.is_null());
    let expected = [
        FollowQuestion::Latest,
        FollowQuestion::Block(hash),
        FollowQuestion::Finalized(8),
        FollowQuestion::State(Bytes::from_static(&[1, 2])),
        FollowQuestion::Finalized(7),
    ];
    assert_eq!(*asked.0.lock().unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_question_is_refused() {
    let (node, _server) = served(Some(Arc::new(Asked::default()))).await;
    for (method, params) in [
        ("veracity_getConsensusBlock", rpc_params!["0x01"]),
        ("veracity_getFinalizedBlock", rpc_params!["latest"]),
        ("veracity_getStateRange", rpc_params![Bytes::from(vec![0; 65])]),
        ("veracity_getStateRange", rpc_params![]),
        ("veracity_latestFinalization", rpc_params!["now"]),
    ] {
        assert_eq!(node.refusal(method, params).await.code(), -32602, "{method}");
    }
    let (node, _server) = served(None).await;
    let refusal = node.refusal("veracity_latestFinalization", rpc_params![]).await;
    assert_eq!(
        (refusal.code(), refusal.message()),
        (-32001, "this node has no consensus to follow: ask a validator or a follower of the network")
    );
}

/// On a WebSocket one client could have any number of them at once.
#[tokio::test(flavor = "multi_thread")]
async fn followers_ask_over_http() {
    let (_node, server) = served(Some(Arc::new(Asked::default()))).await;
    let url = format!("ws://{}", server.address());
    let ws = jsonrpsee::ws_client::WsClientBuilder::default().build(url).await.unwrap();
    for (method, params) in [
        ("veracity_latestFinalization", rpc_params!["0x0", "0x7530"]),
        ("veracity_getStateRange", rpc_params!["0x0102"]),
    ] {
        let refused = ws.request::<Value, _>(method, params).await.expect_err("it is refused");
        let ClientError::Call(refusal) = refused else { panic!("{refused}") };
        assert_eq!(refusal.code(), -32601, "{refusal}");
        assert!(refusal.message().contains("http://"), "{refusal}");
    }
}

/// What a client waits for does not hold up a stop, however often it asks for it at once.
#[tokio::test(flavor = "multi_thread")]
async fn who_waits_does_not_keep_the_server_from_stopping() {
    let (node, server) = served(Some(Arc::new(Asked::default()))).await;
    let waiting = tokio::spawn(async move {
        let mut batch = jsonrpsee::core::params::BatchRequestBuilder::new();
        for _ in 0..100 {
            batch.insert("veracity_latestFinalization", rpc_params!["0x64", "0x7530"]).unwrap();
        }
        node.http.batch_request::<Value>(batch).await.map(|_| ())
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let stopped = tokio::time::timeout(Duration::from_secs(20), server.stop()).await;
    assert!(stopped.is_ok(), "a hundred times 30 seconds are not waited for");
    waiting.abort();
}

/// News come when there is a block, and without one the answer comes when the time is over.
#[tokio::test(flavor = "multi_thread")]
async fn one_can_wait_for_news() {
    let (node, _server) = served(Some(Arc::new(Asked::default()))).await;
    let begun = Instant::now();
    node.ask::<Value>("veracity_latestFinalization", rpc_params!["0x0", "0xfa"]).await;
    assert!(begun.elapsed() >= Duration::from_millis(250), "it waits as long as it was asked to");
    let sealer = node.sealer.clone();
    let sealing = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        sealer.seal(0);
    });
    // Longer than this test may take.
    node.ask::<Value>("veracity_latestFinalization", rpc_params!["0x0", "0x7530"]).await;
    sealing.await.unwrap();
    assert_eq!(node.chain.head().number(), 1, "it waited for the block");
    node.ask::<Value>("veracity_latestFinalization", rpc_params!["0x0", "0x7530"]).await;
}
