//! What a node says is kept only if the network key confirms it.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use alloy_primitives::{B256, Bytes, U256};
use serde_json::{Value, json};
use veracity_client::{Chain, ClientError, RoleSet};
use veracity_light::NetworkKey;
use veracity_provider::{AnchorError, Anchorer};

use crate::{
    dev_chain::Network,
    support::{Provider, assert_verifies, breaker, liar, settle},
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
        // The last byte belongs to the seed.
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

/// A node on which nothing comes into a block, and what it is sent. It forgets what it has when it is told to.
struct Still {
    chain: Chain,
    sent: Arc<Mutex<Vec<Bytes>>>,
    forgets: Arc<AtomicBool>,
    breaks: Arc<AtomicBool>,
}

impl Still {
    /// It breaks off when it is asked `breaks_at`, as long as it is told so.
    fn new(network: &Network, breaks_at: &'static str) -> Self {
        let (sent, forgets, breaks): (Arc<Mutex<Vec<Bytes>>>, Arc<AtomicBool>, Arc<AtomicBool>) =
            Default::default();
        let (has_forgotten, is_broken, log) = (forgets.clone(), breaks.clone(), sent.clone());
        let constants = vec![
            ("eth_sendRawTransaction", json!(B256::ZERO)),
            ("eth_getTransactionReceipt", Value::Null),
            ("eth_getTransactionByHash", Value::Null),
        ];
        let lie = move |method: &str, answer: Value| match method {
            "eth_getTransactionByHash" if !has_forgotten.load(Relaxed) => json!({ "blockNumber": null }),
            _ => answer,
        };
        let heard = move |method: &str, params: &Value| {
            if method == "eth_sendRawTransaction" {
                log.lock().unwrap().push(serde_json::from_value(params[0].clone()).unwrap());
            }
            method == breaks_at && is_broken.load(Relaxed)
        };
        let chain = breaker(&network.chain, constants, lie, heard).with_patience(Duration::from_millis(50));
        Self { chain, sent, forgets, breaks }
    }

    fn n_sent(&self) -> usize {
        self.sent.lock().unwrap().len()
    }
}

/// While the network makes no blocks, one transaction waits; if the node forgets it, it gets the same one again.
#[test]
fn a_network_that_stands_still_is_sent_one_transaction() {
    let network = Network::start();
    let (provider, operator) = (Provider::new(2, &network.key()), network.account(0));
    provider.register(&network.chain, &operator, RoleSet::WORKER);
    provider.issue();
    let still = Still::new(&network, "");
    let mut anchorer = provider.anchorer(&still.chain, &operator, network.key());
    let first = anchorer.tick().unwrap_err();
    assert!(matches!(first, AnchorError::Client(ClientError::NotFinal { .. })), "{first}");
    provider.issue();
    for _ in 0..2 {
        let later = anchorer.tick().unwrap_err();
        assert!(matches!(later, AnchorError::Waiting { .. }), "{later}");
    }
    assert_eq!(still.n_sent(), 1);
    still.forgets.store(true, Relaxed);
    anchorer.tick().unwrap_err();
    let sent = still.sent.lock().unwrap().clone();
    assert_eq!((sent.len(), &sent[0]), (2, &sent[1]), "with the same nonce it is the same");
    assert_eq!(network.chain.receipts().next_sequence(provider.id()).unwrap(), 0);
}

/// A node that breaks off while it takes a transaction, or while it is asked for it, may have it: what was sent is not
/// forgotten, so that there is no second one that would be paid for and refused.
#[test]
fn a_node_that_breaks_off_is_sent_no_second_transaction() {
    let network = Network::start();
    let (provider, operator) = (Provider::new(3, &network.key()), network.account(0));
    provider.register(&network.chain, &operator, RoleSet::WORKER);
    provider.issue();
    for (breaks_at, n_ticks) in [("eth_sendRawTransaction", 1), ("eth_getTransactionReceipt", 2)] {
        let still = Still::new(&network, breaks_at);
        let mut anchorer = provider.anchorer(&still.chain, &operator, network.key());
        still.breaks.store(true, Relaxed);
        for _ in 0..n_ticks {
            let broken = anchorer.tick().unwrap_err();
            let broken_off = matches!(
                broken,
                AnchorError::Client(ClientError::Unreachable { .. } | ClientError::NotFinal { .. })
            );
            assert!(broken_off, "{broken}");
        }
        still.breaks.store(false, Relaxed);
        let later = anchorer.tick().unwrap_err();
        assert!(matches!(later, AnchorError::Waiting { .. }), "{later}");
        assert_eq!(still.n_sent(), 1, "{breaks_at}");
    }
}

/// A node that always tells of the time before the last batch: whoever believes it would try for ever.
#[test]
fn one_that_is_always_second_says_so() {
    let network = Network::start();
    let (provider, operator) = (Provider::new(4, &network.key()), network.account(0));
    provider.register(&network.chain, &operator, RoleSet::WORKER);
    let ids = (0..7).map(|_| *provider.issue().id().as_bytes()).collect::<Vec<_>>();
    let root = veracity_light::merkle::root(&ids).unwrap().into();
    network.chain.receipts().anchor(&operator, provider.id(), 0, 7, root).unwrap();
    provider.issue();
    let [old, new] = [0, 7].map(|next| json!(B256::from(U256::from(next))));
    let late = move |method: &str, answer: Value| match method {
        "eth_call" if answer == new => old.clone(),
        _ => answer,
    };
    let mut anchorer = provider.anchorer(&liar(&network.chain, late), &operator, network.key());
    let error = anchorer.tick().unwrap_err();
    assert!(matches!(error, AnchorError::Contended), "{error}");
    let said =
        "another process anchors receipts of this executor at the same time: run one for each executor key";
    assert_eq!(error.to_string(), said);
    let tick = settle(&mut provider.anchorer(&network.chain, &operator, network.key())).unwrap();
    assert_eq!((tick.anchored.len(), tick.anchored[0].first), (1, 7));
}

/// Evidence of many batches is lost, and the node shows nothing of the oldest: a tick does not try all of them, and the
/// others get theirs.
#[test]
fn batches_that_fail_do_not_keep_others_waiting() {
    const BATCHES: u64 = 12;
    let network = Network::start();
    let (provider, operator) = (Provider::new(5, &network.key()), network.account(0));
    provider.register(&network.chain, &operator, RoleSet::WORKER);
    let mut anchorer = provider.anchorer(&network.chain, &operator, network.key());
    let batches: Vec<_> = (0..BATCHES)
        .map(|_| {
            provider.issue();
            settle(&mut anchorer).unwrap().anchored[0]
        })
        .collect();
    let Provider { folder, sequences, evidence, .. } = provider;
    drop((sequences, evidence, anchorer));
    std::fs::remove_dir_all(folder.path().join("evidence")).unwrap();
    let provider = Provider::open(5, &network.key(), folder);
    // It shows the last two batches only.
    let last_block =
        network.chain.receipts().batch(provider.id(), batches.last().unwrap().number - 1).unwrap().height;
    let hidden = move |method: &str, answer: Value| match method {
        "eth_getLogs" => {
            let height = answer[0]["blockNumber"].as_str().unwrap();
            let height = u64::from_str_radix(&height[2..], 16).unwrap();
            if height < last_block { json!([]) } else { answer }
        }
        _ => answer,
    };
    let mut anchorer = provider.anchorer(&liar(&network.chain, hidden), &operator, network.key());
    let first = anchorer.tick().unwrap();
    assert_eq!((first.proven.len(), first.failed.len()), (2, 10), "all are tried once");
    let tried = |anchorer: &mut Anchorer| {
        let tick = anchorer.tick().unwrap();
        assert!(tick.proven.is_empty());
        tick.failed.into_iter().map(|(batch, _)| batch).collect::<Vec<_>>()
    };
    assert_eq!(tried(&mut anchorer), [0, 1, 2, 3, 4, 5, 6, 7], "a few at a time");
    assert_eq!(tried(&mut anchorer), [8, 9, 0, 1, 2, 3, 4, 5], "in turn");
    // A new batch does not wait for them.
    provider.issue();
    let tick = anchorer.tick().unwrap();
    assert_eq!((tick.anchored.len(), &tick.proven, tick.failed.len()), (1, &tick.anchored, 8));
    assert_eq!(anchorer.waiting(), 10);
}
