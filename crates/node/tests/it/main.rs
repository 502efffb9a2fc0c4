//! Nodes on real disks and sockets.

mod damage;
mod following;
mod plan;
mod refusals;
mod support;

use std::time::Duration;

use alloy_primitives::{Address, B256, U256};
use serde_json::json;

use support::{Net, TIMEOUT};
use veracity_chain::Parameter;

/// One validator is a network: a transaction is final at once, and is there after a restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_single_node_finalizes_and_remembers() {
    let mut net = Net::new(1);
    net.start(0).await;
    let to = Address::repeat_byte(0x77);
    for nonce in 0..3 {
        let hash = net.send(0, nonce, to, 5).await;
        let receipt = net.receipt(0, hash).await;
        assert_eq!(receipt["status"], "0x1", "{receipt}");
    }
    let height = net.height(0).await;
    net.stop(0).await;
    net.start(0).await;
    assert!(net.height(0).await >= height);
    assert_eq!(net.balance(0, to).await, U256::from(15));
    let hash = net.send(0, 3, to, 5).await;
    assert_eq!(net.receipt(0, hash).await["status"], "0x1");
    net.stop(0).await;
}

/// Four validators agree; with one away the others go on, and it catches up.
#[tokio::test(flavor = "multi_thread")]
async fn four_nodes_agree_and_one_may_be_away() {
    let mut net = Net::new(4);
    for node in 0..4 {
        net.start(node).await;
    }
    let to = Address::repeat_byte(0x78);
    let hash = net.send(1, 0, to, 7).await;
    for node in 0..4 {
        assert_eq!(net.receipt(node, hash).await["status"], "0x1");
    }
    net.stop(3).await;
    let hash = net.send(2, 1, to, 7).await;
    net.receipt(0, hash).await;
    net.start(3).await;
    net.receipt(3, hash).await;
    assert_eq!(net.balance(3, to).await, U256::from(14));

    // All have the same block, and a certificate for it or for one after it.
    let block = net.call(0, "eth_getTransactionReceipt", json!([hash])).await["blockNumber"].clone();
    let hashes: Vec<_> = [net.block_hash(0, &block).await, net.block_hash(3, &block).await].into();
    assert_eq!(hashes[0], hashes[1]);
    let deadline = tokio::time::Instant::now() + TIMEOUT;
    loop {
        let finalization = net.call(0, "veracity_getFinalization", json!([block])).await;
        if !finalization.is_null() {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "no certificate");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for node in 0..4 {
        net.stop(node).await;
    }
}

/// A validator that bonds while the network runs fetches the state, gets a share of the key, and is then as needed as the
/// others: with one of five away it takes the votes of all that are left.
#[tokio::test(flavor = "multi_thread")]
async fn a_fifth_joins_by_bonding() {
    const EPOCH: u64 = 40;
    let parameters = vec![
        (Parameter::EpochBlocks, EPOCH.into()),
        (Parameter::ValidatorsMax, 5),
        (Parameter::HeartbeatMs, 200),
    ];
    let mut net = Net::with(4, parameters);
    for node in 0..4 {
        net.start(node).await;
    }
    let to = Address::repeat_byte(0x79);
    let early = net.send(0, 0, to, 3).await;
    net.receipt(0, early).await;
    let fifth = net.join().await;
    net.start(fifth).await;
    assert_eq!(net.balance(fifth, to).await, U256::from(3), "it has what was before");
    // Stopped as soon as it is there, it may have to join again.
    net.stop(fifth).await;
    net.start(fifth).await;
    assert_eq!(net.balance(fifth, to).await, U256::from(3));
    net.until(fifth, 3 * EPOCH + 2).await;
    let epoch = net.call(fifth, "veracity_epoch", json!([])).await;
    assert_eq!((&epoch["signs"], &epoch["failedEpochs"]), (&json!(true), &json!("0x0")), "{epoch}");
    assert_eq!(epoch["committee"].as_array().map(Vec::len), Some(5), "{epoch}");
    let founder = net.contact(2);
    let named = json!({ "node": B256::from(founder.key), "address": founder.address.to_string() });
    assert!(epoch["committee"].as_array().unwrap().contains(&named), "{epoch}");
    net.stop(0).await;
    let late = net.send(fifth, 1, to, 4).await;
    for node in 1..=fifth {
        assert_eq!(net.receipt(node, late).await["status"], "0x1");
    }
    // It comes back with what it has.
    let height = net.height(fifth).await;
    net.stop(fifth).await;
    net.start(0).await;
    net.start(fifth).await;
    assert!(net.height(fifth).await >= height);
    assert_eq!(net.balance(fifth, to).await, U256::from(7));
    net.until(fifth, height + 5).await;
    for node in 0..=fifth {
        net.stop(node).await;
    }
}
