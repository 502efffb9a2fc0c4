//! Followers: nodes that are no validators and trust nobody.

use alloy_primitives::{Address, U256};
use serde_json::{Value, json};

use crate::support::{Net, TIMEOUT};
use veracity_chain::Parameter;
use veracity_node::{Folder, FollowerConfig, NodeError};

/// Asks two nodes the same until they agree: one may be a block behind.
async fn agree(net: &Net, nodes: [usize; 2], method: &str, params: Value) -> Value {
    let deadline = tokio::time::Instant::now() + TIMEOUT;
    loop {
        let [one, other] = [
            net.call(nodes[0], method, params.clone()).await,
            net.call(nodes[1], method, params.clone()).await,
        ];
        if one == other && !one.is_null() {
            return one;
        }
        assert!(tokio::time::Instant::now() < deadline, "{method} {params}: {one} and {other}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

/// A follower joins a network that has been running for two epochs, by state sync; it answers as a validator does; another
/// follows it and a validator, and goes on with one when the other is gone; both go on where they were.
#[tokio::test(flavor = "multi_thread")]
async fn followers_answer_as_validators_do() {
    const EPOCH: u64 = 40;
    let parameters = vec![
        (Parameter::EpochBlocks, EPOCH.into()),
        (Parameter::ValidatorsMax, 5),
        (Parameter::HeartbeatMs, 200),
    ];
    let mut net = Net::with(2, parameters);
    net.start(0).await;
    net.start(1).await;
    let to = Address::repeat_byte(0x7a);
    let early = net.send(0, 0, to, 3).await;
    net.receipt(0, early).await;
    net.until(0, 2 * EPOCH + 5).await;

    let first = net.follow(&[0]);
    net.start(first).await;
    assert_eq!(net.balance(first, to).await, U256::from(3), "it has what was before");
    let earliest = net.call(first, "eth_getBlockByNumber", json!(["earliest", false])).await;
    let begins = earliest["number"].as_str().unwrap().to_owned();
    assert!(u64::from_str_radix(&begins[2..], 16).unwrap() > 2 * EPOCH, "it began with a state: {begins}");

    // A client of the follower: its transaction gets to the validators, and back in a block.
    let late = net.send(first, 1, to, 4).await;
    let receipt = agree(&net, [0, first], "eth_getTransactionReceipt", json!([late])).await;
    assert_eq!(receipt["status"], "0x1");
    let block = receipt["blockNumber"].clone();
    for (method, params) in [
        ("eth_getBlockByNumber", json!([block, true])),
        ("eth_getBlockReceipts", json!([block])),
        ("eth_getProof", json!([to, [], block])),
        ("veracity_getTransactionInclusion", json!([late])),
        ("veracity_getFinalization", json!([block])),
        ("veracity_networkKey", json!([])),
    ] {
        agree(&net, [0, first], method, params).await;
    }
    // Peers are counted every few seconds.
    let deadline = tokio::time::Instant::now() + TIMEOUT;
    while net.call(first, "net_peerCount", json!([])).await != "0x1" {
        assert!(tokio::time::Instant::now() < deadline, "it follows one");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }

    // One that follows the follower, and a validator.
    let second = net.follow(&[first, 1]);
    net.start(second).await;
    assert_eq!(net.balance(second, to).await, U256::from(7));
    let height = net.height(first).await;
    net.stop(first).await;
    let last = net.send(second, 2, to, 5).await;
    agree(&net, [0, second], "eth_getTransactionReceipt", json!([last])).await;

    net.start(first).await;
    assert!(net.height(first).await >= height, "it goes on where it was");
    let earliest = net.call(first, "eth_getBlockByNumber", json!(["earliest", false])).await;
    assert_eq!(earliest["number"], begins.as_str(), "it did not begin anew");
    agree(&net, [1, first], "eth_getTransactionReceipt", json!([last])).await;
    for node in [second, first, 1, 0] {
        net.stop(node).await;
    }
}

/// Without anybody to follow it does not start, and says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_follower_without_upstreams_is_refused() {
    let mut net = Net::new(1);
    let node = net.follow(&[]);
    let refused = net.try_start(node).await.expect_err("it follows nobody");
    assert!(matches!(refused, NodeError::NoUpstream), "{refused}");
    let folder = Folder::new(&net.at(node));
    let config = folder.follower_config().expect("it was made");
    assert_eq!(config.upstreams, Vec::<String>::new());
    let other = FollowerConfig { upstreams: vec!["localhost:1".into()], ..config };
    std::fs::write(net.at(node).join("follower.json"), serde_json::to_string(&other).expect("it is JSON"))
        .expect("it can be written");
    let refused = net.try_start(node).await.expect_err("it is no URL");
    assert!(refused.to_string().contains("begin with http:// or https://"), "{refused}");
}
