//! Every trouble that a node can be.

use std::{
    net::TcpListener,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use alloy_consensus::{Transaction as _, TxEnvelope};
use alloy_eips::Decodable2718 as _;
use alloy_primitives::{Address, B256, Bytes, U256};
use serde_json::{Value, json};
use veracity_client::{Account, Chain, ClientError, Rpc};

use crate::server::serve_by;

const CONNECTED: &str = r#"{"jsonrpc":"2.0","id":1,"result":"0x7a69"}"#;

/// Serves these bodies, one per request, the last one for ever; gives the URL.
fn serve(bodies: &[&str]) -> String {
    let mut bodies: Vec<String> = bodies.iter().rev().map(ToString::to_string).collect();
    serve_by(move |_| Some(if bodies.len() > 1 { bodies.pop().unwrap() } else { bodies[0].clone() }))
}

fn result(result: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#)
}

fn account() -> Account {
    Account::from_key(B256::repeat_byte(7)).unwrap()
}

#[test]
fn what_is_no_url_is_refused() {
    for url in ["", "127.0.0.1:8545", "ftp://x"] {
        let error = Rpc::new(url).unwrap_err();
        assert_eq!(error, ClientError::BadUrl { url: url.into() });
        assert!(error.to_string().ends_with("begin with http:// or https://"), "{error}");
    }
}

#[test]
fn who_does_not_listen_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = Chain::connect(&url).unwrap_err();
    assert!(matches!(&error, ClientError::Unreachable { .. }) && error.is_temporary(), "{error}");
}

#[test]
fn who_speaks_otherwise_is_strange() {
    let no_number = result("\"no\"");
    for body in ["hello", "[]", "{\"result\":", no_number.as_str()] {
        let error = Chain::connect(&serve(&[body])).unwrap_err();
        assert!(matches!(&error, ClientError::Strange { .. }) && !error.is_temporary(), "{body}: {error}");
    }
    // A contract that is not there answers with nothing.
    let chain = Chain::connect(&serve(&[CONNECTED, &result("\"0x\"")])).unwrap();
    let error = chain.parameter("heartbeat_ms").unwrap_err();
    assert!(error.to_string().contains("not of get(bytes32)"), "{error}");
}

#[test]
fn a_refusal_of_the_node_keeps_its_words_and_code() {
    let error = r#"{"error":{"code":-32002,"message":"blocks before 7 are not kept"}}"#;
    let error = Rpc::new(&serve(&[error])).unwrap().call::<u64>("m", json!([])).unwrap_err();
    let message = "blocks before 7 are not kept".to_owned();
    assert_eq!(error, ClientError::Node { method: "m".into(), code: -32002, message });
    assert_eq!(error.to_string(), "m: blocks before 7 are not kept");
}

#[test]
fn another_chain_at_the_same_place_is_noticed() {
    let chain = Chain::connect(&serve(&[CONNECTED, CONNECTED, &result("\"0x1\"")])).unwrap();
    chain.check_id().unwrap();
    let error = chain.check_id().unwrap_err();
    assert!(matches!(error, ClientError::OtherChain { expected: 31337, found: 1, .. }), "{error}");
}

/// Answers up to the place where the transaction is given away.
fn accepted() -> Vec<String> {
    let hash = B256::ZERO;
    ["\"0x7a69\"", "\"0x5208\"", r#"{"baseFeePerGas":"0x7"}"#, "\"0x1\"", "\"0x0\"", &format!("\"{hash}\"")]
        .map(result)
        .to_vec()
}

#[test]
fn a_transaction_that_never_comes_is_waited_for_with_an_end() {
    let bodies = [accepted(), vec![result("null")]].concat();
    let url = serve(&bodies.iter().map(String::as_str).collect::<Vec<_>>());
    let chain = Chain::connect(&url).unwrap().with_patience(Duration::from_millis(50));
    let error = chain.transfer(&account(), Address::ZERO, U256::ONE).unwrap_err();
    assert!(matches!(error, ClientError::NotFinal { .. }) && error.is_temporary(), "{error}");
}

#[test]
fn a_transaction_that_failed_is_no_success() {
    let receipt = r#"{"status":"0x0","blockNumber":"0x9","transactionIndex":"0x0","logs":[]}"#;
    let bodies = [accepted(), vec![result(receipt), result("\"0x\"")]].concat();
    let chain = Chain::connect(&serve(&bodies.iter().map(String::as_str).collect::<Vec<_>>())).unwrap();
    let error = chain.transfer(&account(), Address::ZERO, U256::ONE).unwrap_err();
    assert!(matches!(error, ClientError::Failed { height: 9, .. }), "{error}");
}

/// A node with one account, whose pool keeps what offers most for a nonce, and whose blocks take what pays the base fee.
#[derive(Default)]
struct Pool {
    base_fee: u64,
    height: u64,
    /// Nonce of the next transaction in a block.
    used: u64,
    /// The account's transaction that waits, and all that were given.
    waiting: Option<TxEnvelope>,
    given: Vec<TxEnvelope>,
    /// Hash of what is in a block.
    done: Vec<B256>,
    /// Height of the block that has a transaction of another process with the nonce of the one that waits.
    contended: Option<u64>,
    /// Whether it takes what it is given next, makes a block of it, and breaks off before it says so.
    breaks_off: bool,
    /// Whether it takes nothing new.
    is_full: bool,
}

/// Instead of an answer.
const BREAK: &str = "break off";

impl Pool {
    fn answer(&mut self, method: &str, params: &Value) -> Result<Value, &'static str> {
        let hash = || serde_json::from_value::<B256>(params[0].clone()).unwrap();
        Ok(match method {
            "eth_chainId" => json!("0x7a69"),
            "veracity_networkKey" => json!("0x"),
            "eth_estimateGas" => json!("0x5208"),
            "eth_maxPriorityFeePerGas" => json!("0x1"),
            "eth_getTransactionCount" => json!(format!("{:#x}", self.used)),
            "eth_getBlockByNumber" if params[0] == "earliest" => json!({ "number": "0x0" }),
            "eth_getBlockByNumber" => {
                json!({ "number": format!("{:#x}", self.height), "baseFeePerGas": format!("{:#x}", self.base_fee) })
            }
            "eth_sendRawTransaction" => {
                let bytes: Bytes = serde_json::from_value(params[0].clone()).unwrap();
                let new = TxEnvelope::decode_2718(&mut &bytes[..]).unwrap();
                if self.is_full {
                    return Err("txpool is full: offer more");
                }
                if new.nonce() < self.used {
                    return Err("nonce too low: next nonce 1, tx nonce 0");
                }
                let tenth = |old: u128| old + old.div_ceil(10);
                let tip = |transaction: &TxEnvelope| transaction.max_priority_fee_per_gas().unwrap();
                if let Some(old) = &self.waiting
                    && (new.max_fee_per_gas() < tenth(old.max_fee_per_gas()) || tip(&new) < tenth(tip(old)))
                {
                    return Err("replacement transaction underpriced");
                }
                let hash = *new.tx_hash();
                self.given.push(new.clone());
                self.waiting = Some(new);
                if std::mem::take(&mut self.breaks_off) {
                    self.make_block();
                    return Err(BREAK);
                }
                json!(hash)
            }
            "eth_getTransactionByHash" => {
                let is_waiting = self.waiting.as_ref().is_some_and(|waiting| *waiting.tx_hash() == hash());
                if is_waiting { json!({ "blockNumber": null }) } else { Value::Null }
            }
            "eth_getTransactionReceipt" => {
                self.make_block();
                match self.done.contains(&hash()) {
                    true => {
                        json!({ "status": "0x1", "blockNumber": "0x9", "transactionIndex": "0x0", "logs": [] })
                    }
                    false => Value::Null,
                }
            }
            _ => panic!("{method}"),
        })
    }

    fn make_block(&mut self) {
        self.height += 1;
        if self.contended == Some(self.height) {
            (self.waiting, self.used) = (None, self.used + 1);
        }
        if self.waiting.as_ref().is_some_and(|waiting| waiting.max_fee_per_gas() >= self.base_fee.into()) {
            self.done.extend(self.waiting.take().map(|transaction| *transaction.tx_hash()));
            self.used += 1;
        }
    }

    /// The chain of this node.
    fn connect(pool: &Arc<Mutex<Self>>) -> Chain {
        Chain::connect(&Self::url(pool)).unwrap()
    }

    fn url(pool: &Arc<Mutex<Self>>) -> String {
        let pool = Arc::clone(pool);
        serve_by(move |request| {
            let request: Value = serde_json::from_slice(request).unwrap();
            let answer = pool.lock().unwrap().answer(request["method"].as_str().unwrap(), &request["params"]);
            let answer = match answer {
                Err(BREAK) => return None,
                Ok(result) => json!({ "result": result }),
                Err(message) => json!({ "error": { "code": -32000, "message": message } }),
            };
            Some(answer.to_string())
        })
    }
}

/// The base fee overtakes what was offered: more is offered with the same nonce, so one of both is paid for.
#[test]
fn a_transaction_that_the_base_fee_overtakes_offers_more() {
    let pool = Arc::new(Mutex::new(Pool { base_fee: 100, ..Pool::default() }));
    let chain = Pool::connect(&pool);
    let mut outgoing = chain.prepare(&account(), Address::ZERO, Bytes::new(), U256::ONE).unwrap();
    pool.lock().unwrap().base_fee = 1_000;
    let sent = chain.settle(&account(), &mut outgoing).unwrap();
    let pool = pool.lock().unwrap();
    let given: Vec<_> = pool.given.iter().map(|t| (t.nonce(), t.max_fee_per_gas())).collect();
    assert_eq!(given, [(0, 201), (0, 2_001)]);
    assert_eq!((pool.done.as_slice(), outgoing.hash()), (&[sent.hash][..], Some(sent.hash)));
}

/// What waited is not lost when nobody waits for it any more, and it goes on where it was.
#[test]
fn what_is_not_final_in_time_is_taken_up_again() {
    let pool = Arc::new(Mutex::new(Pool { base_fee: 100, ..Pool::default() }));
    let chain = Pool::connect(&pool).with_patience(Duration::from_millis(20));
    let mut outgoing = chain.prepare(&account(), Address::ZERO, Bytes::new(), U256::ONE).unwrap();
    pool.lock().unwrap().base_fee = 1_000;
    for _ in 0..3 {
        let error = chain.settle(&account(), &mut outgoing).unwrap_err();
        assert!(
            matches!(error, ClientError::NotFinal { hash, .. } if Some(hash) == outgoing.hash()),
            "{error}"
        );
    }
    pool.lock().unwrap().base_fee = 100;
    chain.settle(&account(), &mut outgoing).unwrap();
    assert_eq!(pool.lock().unwrap().given.len(), 1);
    // Asked once more, it says the same.
    chain.settle(&account(), &mut outgoing).unwrap();
}

/// The node forgets a transaction and another process uses its nonce: it can come into no block, and gets a new nonce.
#[test]
fn a_nonce_that_was_lost_is_replaced() {
    let pool = Arc::new(Mutex::new(Pool { base_fee: 1_000, ..Pool::default() }));
    let chain = Pool::connect(&pool).with_patience(Duration::from_millis(20));
    pool.lock().unwrap().base_fee = 100;
    let mut outgoing = chain.prepare(&account(), Address::ZERO, Bytes::new(), U256::ONE).unwrap();
    pool.lock().unwrap().base_fee = 1_000;
    chain.settle(&account(), &mut outgoing).unwrap_err();
    {
        let mut pool = pool.lock().unwrap();
        (pool.waiting, pool.used, pool.base_fee) = (None, 1, 100);
    }
    let sent = chain.settle(&account(), &mut outgoing).unwrap();
    let pool = pool.lock().unwrap();
    assert_eq!(pool.given.iter().map(TxEnvelope::nonce).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(pool.done, [sent.hash]);
}

/// The same while it is waited for: a node that starts again may have a block under way that uses the nonce.
#[test]
fn a_nonce_that_is_lost_meanwhile_is_replaced() {
    let pool = Arc::new(Mutex::new(Pool { base_fee: 100, contended: Some(1), ..Pool::default() }));
    let chain = Pool::connect(&pool);
    let sent = chain.transfer(&account(), Address::ZERO, U256::ONE).unwrap();
    let pool = pool.lock().unwrap();
    assert_eq!(pool.given.iter().map(TxEnvelope::nonce).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(pool.done, [sent.hash]);
}

/// The node takes the transaction, breaks off before it says so, and another one of the network is asked from then on: it has
/// the transaction in a block, and would refuse its nonce. Nothing is given twice.
#[test]
fn what_a_node_took_before_it_broke_off_is_not_given_again() {
    let pool = Arc::new(Mutex::new(Pool { base_fee: 100, ..Pool::default() }));
    let first = Pool::url(&pool);
    let second = Pool::url(&pool);
    let chain = Chain::connect(&first).unwrap().with_reserve([&*second], vec![]);
    pool.lock().unwrap().breaks_off = true;
    let sent = chain.transfer(&account(), Address::ZERO, U256::ONE).unwrap();
    let pool = pool.lock().unwrap();
    assert_eq!((pool.given.len(), pool.used, pool.done.as_slice()), (1, 1, &[sent.hash][..]));
}

/// A node that has forgotten a transaction and is full is no reason to give up: others may have it, and make it final.
#[test]
fn what_is_forgotten_by_a_full_node_is_waited_for() {
    let pool = Arc::new(Mutex::new(Pool { base_fee: 100, ..Pool::default() }));
    let chain = Pool::connect(&pool).with_patience(Duration::from_millis(20));
    let mut outgoing = chain.prepare(&account(), Address::ZERO, Bytes::new(), U256::ONE).unwrap();
    pool.lock().unwrap().base_fee = 1_000;
    chain.settle(&account(), &mut outgoing).unwrap_err();
    let elsewhere = pool.lock().unwrap().waiting.take().unwrap();
    pool.lock().unwrap().is_full = true;
    let patient = chain.with_patience(Duration::from_millis(1_500));
    let error = patient.settle(&account(), &mut outgoing).unwrap_err();
    assert!(matches!(error, ClientError::NotFinal { .. }), "{error}");
    // Another node had it.
    pool.lock().unwrap().done.push(*elsewhere.tx_hash());
    assert_eq!(patient.settle(&account(), &mut outgoing).unwrap().hash, *elsewhere.tx_hash());
}

/// A node of a network, which can be reached while `runs` says so, and counts how often it was asked for its height.
fn member(network_key: &'static str, runs: &Arc<AtomicBool>, asked: &Arc<AtomicUsize>) -> String {
    let (runs, asked) = (runs.clone(), asked.clone());
    serve_by(move |request| {
        let request: Value = serde_json::from_slice(request).unwrap();
        let result = match request["method"].as_str().unwrap() {
            "eth_chainId" => json!("0x7a69"),
            "veracity_networkKey" => json!(network_key),
            _ => json!(format!("{:#x}", asked.fetch_add(1, Ordering::SeqCst))),
        };
        runs.load(Ordering::SeqCst).then(|| json!({ "result": result }).to_string())
    })
}

/// When a node is gone, the next one of the same network is asked from then on, and never one of another.
#[test]
fn nodes_in_reserve_are_asked_when_one_is_gone() {
    let runs = [true, true, false, true].map(|runs| Arc::new(AtomicBool::new(runs)));
    let asked = [(); 4].map(|()| Arc::new(AtomicUsize::new(0)));
    let keys = ["0x01", "0x02", "0x01", "0x01"];
    let urls: Vec<_> = (0..4).map(|i| member(keys[i], &runs[i], &asked[i])).collect();
    let chain = Chain::connect(&urls[0]).unwrap();
    let urls_and_none = urls.iter().map(String::as_str).chain(["ftp://none"]);
    let chain = chain.with_reserve(urls_and_none, vec![1]);
    let counts = || asked.each_ref().map(|asked| asked.load(Ordering::SeqCst));
    chain.rpc().height().unwrap();
    assert_eq!((counts(), chain.rpc().url()), ([1, 0, 0, 0], &*urls[0]));

    runs[0].store(false, Ordering::SeqCst);
    chain.rpc().height().unwrap();
    assert_eq!((counts(), chain.rpc().url()), ([2, 0, 0, 1], &*urls[3]));
    runs[0].store(true, Ordering::SeqCst);
    // Copies ask where it does.
    chain.rpc().answers_up_to(1_000).height().unwrap();
    assert_eq!(counts(), [2, 0, 0, 2]);

    runs[3].store(false, Ordering::SeqCst);
    chain.rpc().height().unwrap();
    assert_eq!((counts(), chain.rpc().url()), ([3, 0, 0, 3], &*urls[0]));
    runs[0].store(false, Ordering::SeqCst);
    let error = chain.rpc().height().unwrap_err();
    assert!(matches!(&error, ClientError::Unreachable { url, .. } if *url == urls[0]), "{error}");
}
