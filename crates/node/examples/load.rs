//! Sends transfers to a network for development and measures how long they take to be final.
//!
//! The accounts are those that everybody knows, so this is of no use on any other network.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use alloy_consensus::{SignableTransaction as _, TxEip1559, TxEnvelope};
use alloy_eips::Encodable2718 as _;
use alloy_primitives::{Address, TxKind, U256, hex, keccak256};
use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use serde_json::{Value, json};
use veracity_node::{DevAccount, dev_accounts};

/// Transactions in one request.
const BATCH: usize = 100;
const SENDERS: u32 = 10;

/// A JSON-RPC endpoint, with a connection that stays open.
struct Rpc {
    agent: ureq::Agent,
    url: String,
}

impl Rpc {
    fn new(url: &str) -> Self {
        Self { agent: ureq::Agent::new_with_defaults(), url: url.to_owned() }
    }

    fn post(&self, body: &Value) -> Value {
        let request = self.agent.post(&self.url).header("content-type", "application/json");
        let mut answer = request.send(body.to_string()).expect("the node answers");
        let text = answer.body_mut().with_config().limit(64 << 20).read_to_string().expect("it answers text");
        serde_json::from_str(&text).expect("it answers JSON")
    }

    fn call(&self, method: &str, params: &Value) -> Value {
        let answer = self.post(&json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }));
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }

    fn number(&self, method: &str, params: &Value) -> u64 {
        let value = self.call(method, params);
        let digits = value.as_str().and_then(|text| text.strip_prefix("0x"));
        digits.and_then(|digits| u64::from_str_radix(digits, 16).ok()).expect("a number")
    }
}

fn transfer(signer: &PrivateKeySigner, chain_id: u64, nonce: u64) -> String {
    let to = keccak256([signer.address().as_slice(), &nonce.to_be_bytes()].concat());
    let transaction = TxEip1559 {
        chain_id,
        nonce,
        gas_limit: 21_000,
        max_fee_per_gas: 1_000_000_000_000,
        max_priority_fee_per_gas: 1_000_000_000,
        to: TxKind::Call(Address::from_word(to)),
        value: U256::from(1),
        ..TxEip1559::default()
    };
    let signature = signer.sign_hash_sync(&transaction.signature_hash()).expect("a local key signs");
    let transaction: TxEnvelope = transaction.into_signed(signature).into();
    format!("0x{}", hex::encode(transaction.encoded_2718()))
}

fn signer(account: &DevAccount) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&account.key).expect("it is a key")
}

/// One transaction at a time, with pauses: from sending until it is final, in milliseconds, sorted.
fn latencies(rpc: &Rpc, chain_id: u64, count: u64) -> Vec<f64> {
    let account = &dev_accounts(0, 1)[0];
    let signer = signer(account);
    let first = rpc.number("eth_getTransactionCount", &json!([account.address, "pending"]));
    let mut times = vec![];
    for nonce in first..first + count {
        let bytes = transfer(&signer, chain_id, nonce);
        let start = Instant::now();
        rpc.call("eth_sendRawTransactionSync", &json!([bytes]));
        times.push(start.elapsed().as_secs_f64() * 1000.0);
        thread::sleep(Duration::from_millis(150));
    }
    times.sort_by(f64::total_cmp);
    times
}

/// As many as the network takes: transfers per second, from the first that is sent until the last is final.
fn throughput(urls: &[String], chain_id: u64, count: u32) -> f64 {
    let accounts = dev_accounts(0, SENDERS);
    let rpc = Rpc::new(&urls[0]);
    let nonce =
        |account: &DevAccount| rpc.number("eth_getTransactionCount", &json!([account.address, "pending"]));
    let firsts: Vec<u64> = accounts.iter().map(nonce).collect();
    let each = count / SENDERS;
    let signed: Vec<Vec<String>> = thread::scope(|scope| {
        let sign = |(account, first): (&DevAccount, &u64)| {
            let (signer, nonces) = (signer(account), *first..*first + u64::from(each));
            scope.spawn(move || nonces.map(|nonce| transfer(&signer, chain_id, nonce)).collect())
        };
        let threads: Vec<_> = accounts.iter().zip(&firsts).map(sign).collect();
        threads.into_iter().map(|thread| thread.join().expect("signing does not fail")).collect()
    });
    let refused = AtomicUsize::new(0);
    let start = Instant::now();
    thread::scope(|scope| {
        for (transactions, url) in signed.iter().zip(urls.iter().cycle()) {
            let refused = &refused;
            scope.spawn(move || {
                let rpc = Rpc::new(url);
                for batch in transactions.chunks(BATCH) {
                    let call = |(id, bytes): (usize, &String)| {
                        json!({ "jsonrpc": "2.0", "id": id, "method": "eth_sendRawTransaction", "params": [bytes] })
                    };
                    let answers = rpc.post(&batch.iter().enumerate().map(call).collect());
                    let is_error = |answer: &&Value| answer.get("error").is_some();
                    let errors = answers.as_array().map_or(batch.len(), |all| all.iter().filter(is_error).count());
                    refused.fetch_add(errors, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(refused.load(Ordering::Relaxed), 0, "all are accepted");
    for (account, first) in accounts.iter().zip(&firsts) {
        let last = first + u64::from(each);
        while rpc.number("eth_getTransactionCount", &json!([account.address, "latest"])) < last {
            thread::sleep(Duration::from_millis(20));
        }
    }
    f64::from(each * SENDERS) / start.elapsed().as_secs_f64()
}

#[expect(clippy::print_stdout, reason = "this is a program")]
fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |name: &str| {
        let text = arguments.next();
        text.and_then(|text| text.parse::<u32>().ok()).unwrap_or_else(|| panic!("give the {name}"))
    };
    let (single, load) =
        (number("number of single transactions"), number("number of transactions under load"));
    let urls: Vec<String> = arguments.collect();
    let rpc = Rpc::new(urls.first().expect("give the URL of a node"));
    let chain_id = rpc.number("eth_chainId", &json!([]));
    let times = latencies(&rpc, chain_id, single.into());
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    let rate = throughput(&urls, chain_id, load);
    let result = json!({ "p50_ms": at(50), "p99_ms": at(99), "max_ms": at(100), "transfers_per_s": rate });
    println!("{result}");
}
