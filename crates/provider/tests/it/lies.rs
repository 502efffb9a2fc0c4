//! What a node says is kept only if the network key confirms it.

use std::time::Duration;

use serde_json::{Value, json};
use veracity_client::{Chain, ClientError, RoleSet};
use veracity_light::NetworkKey;
use veracity_provider::AnchorError;

use crate::{
    dev_chain::Network,
    support::{Provider, assert_verifies, liar, liar_with, settle},
};

/// A provider with one anchored receipt and no evidence of it yet.
fn scene(network: &Network) -> Provider {
    let provider = Provider::new(1, &network.key());
    let operator = network.account(0);
    provider.register(&network.chain, &operator, RoleSet::WORKER);
    provider.issue();
    let ids = provider.sequences.ids(0..1).unwrap();
    let root = veracity_light::merkle::root(&ids).unwrap().into();
    network.chain.receipts().anchor(&operator, provider.id(), 0, 1, root).unwrap();
    provider
}

/// What an anchorer says that sees the chain through this node.
fn complaint(provider: &Provider, network: &Network, chain: &Chain, key: NetworkKey) -> AnchorError {
    let mut anchorer = provider.anchorer(chain, &network.account(0), key);
    let mut tick = settle(&mut anchorer).unwrap();
    assert!(tick.proven.is_empty() && !provider.evidence.contains(0));
    assert_eq!(anchorer.waiting(), 1, "it is tried again");
    tick.failed.remove(0).1
}

#[test]
fn lies_are_refused_one_by_one_and_the_truth_is_kept() {
    let network = Network::start();
    let provider = scene(&network);
    let lie = |method: &'static str, change: fn(Value) -> Value| {
        let change = move |asked: &str, answer: Value| match asked == method && !answer.is_null() {
            true => change(answer),
            false => answer,
        };
        complaint(&provider, &network, &liar(&network.chain, change), network.key())
    };

    let error = lie("eth_getLogs", |_| json!([]));
    assert!(matches!(error, AnchorError::NotShown { batch: 0, .. }), "{error}");
    let error = lie("veracity_getTransactionInclusion", |_| Value::Null);
    assert!(matches!(error, AnchorError::NotShown { batch: 0, .. }), "{error}");
    let error = lie("veracity_getFinalization", |mut answer| {
        answer["certificate"] = json!("0x00");
        answer
    });
    assert!(matches!(error, AnchorError::Certificate { .. }), "{error}");
    let error = lie("veracity_getFinalization", |mut answer| {
        answer["headers"] = json!(vec![answer["headers"][0].clone(); 65]);
        answer
    });
    assert!(matches!(error, AnchorError::Evidence { .. }), "{error}");
    let error = lie("veracity_getFinalization", |mut answer| {
        let certificate = answer["certificate"].as_str().unwrap();
        // The last byte belongs to a signature.
        let last = if certificate.ends_with('0') { '1' } else { '0' };
        answer["certificate"] = json!(format!("{}{last}", &certificate[..certificate.len() - 1]));
        answer
    });
    assert!(matches!(error, AnchorError::Refuted { .. } | AnchorError::Certificate { .. }), "{error}");
    let error = lie("veracity_getTransactionInclusion", |mut answer| {
        answer["index"] = json!("0x5");
        answer
    });
    assert!(matches!(error, AnchorError::Refuted { .. }), "{error}");
    let error = lie("eth_getLogs", |_| json!({}));
    assert!(matches!(error, AnchorError::Client(ClientError::Strange { .. })), "{error}");

    // Another network's key refutes what is true here.
    let other = Network::start();
    let error = complaint(&provider, &network, &network.chain, other.key());
    assert!(matches!(error, AnchorError::Refuted { .. }), "{error}");
    drop(other);

    let tick = settle(&mut provider.anchorer(&network.chain, &network.account(0), network.key())).unwrap();
    assert_eq!((tick.proven.len(), tick.failed.len()), (1, 0));
    let receipt = provider.issue();
    settle(&mut provider.anchorer(&network.chain, &network.account(0), network.key())).unwrap();
    assert_verifies(&provider.join(receipt).unwrap(), network.key());
}

/// A node that goes away is no failure of a batch: the tick ends, and the next one goes on.
#[test]
fn a_node_that_is_away_is_waited_for() {
    let network = Network::start();
    let provider = scene(&network);
    let mut anchorer = provider.anchorer(&network.chain, &network.account(0), network.key());
    drop(network);
    let error = anchorer.tick().unwrap_err();
    assert!(matches!(error, AnchorError::Client(ClientError::Unreachable { .. })), "{error}");
}

/// While the network makes no blocks, one transaction waits, and it is not sent again until the node has forgotten it.
#[test]
fn a_network_that_stands_still_is_sent_one_transaction() {
    let network = Network::start();
    let (provider, operator) = (Provider::new(2, &network.key()), network.account(0));
    provider.register(&network.chain, &operator, RoleSet::WORKER);
    provider.issue();
    let still = |known: Value| {
        let constants = vec![
            ("eth_sendRawTransaction", json!(provider.id())),
            ("eth_getTransactionReceipt", Value::Null),
            ("eth_getTransactionByHash", known),
        ];
        liar_with(&network.chain, constants, |_, answer| answer).with_patience(Duration::from_millis(50))
    };
    for (known, again) in [(json!({ "blockNumber": null }), false), (Value::Null, true)] {
        let mut anchorer = provider.anchorer(&still(known), &operator, network.key());
        let first = anchorer.tick().unwrap_err();
        assert!(matches!(first, AnchorError::Client(ClientError::NotFinal { .. })), "{first}");
        let second = anchorer.tick().unwrap_err();
        let sent_again = matches!(second, AnchorError::Client(ClientError::NotFinal { .. }));
        assert_eq!(sent_again, again, "{second}");
        assert!(again || matches!(second, AnchorError::Waiting { .. }), "{second}");
    }
    assert_eq!(chain_next(&network, &provider), 0);
}

fn chain_next(network: &Network, provider: &Provider) -> u64 {
    network.chain.receipts().next_sequence(provider.id()).unwrap()
}
