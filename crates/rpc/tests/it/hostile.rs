//! Requests that are nearly good, to every method: each gets an answer, none of them a panic nor an internal error.

use std::sync::{Arc, LazyLock};

use alloy_consensus::{Transaction as _, TxEnvelope, transaction::Recovered};
use alloy_primitives::{Address, B256};
use tokio::{
    runtime::{Builder, Runtime},
    sync::broadcast,
};
use veracity_chain::{Accepted, Choice, Genesis, PoolError};
use veracity_rpc::{
    Chain, Config, Finalized, Follow, FollowAnswer, FollowQuestion, Index, METHODS, Methods, Services,
    Submit, Waiting, direct,
};
use veracity_testkit::Mutator;

const CHAIN_ID: u64 = 5;

/// What parameters are made of: numbers, tags, hashes, calls, filters, and things that are none of these.
const VALUES: &[&str] = &[
    r#""latest""#,
    r#""earliest""#,
    r#""pending""#,
    r#""0x0""#,
    r#""0x1""#,
    r#""0xffffffffffffffff""#,
    r#""0x0000000000000000000000000000000000005e01""#,
    r#""0x0000000000000000000000000000000000005e02""#,
    r#""0xcA11bde05977b3631167028862bE2a173976CA11""#,
    r#""0x0000000000000000000000000000000000000000000000000000000000000004""#,
    r#"["0x0","0x4"]"#,
    r#"{"to":"0x0000000000000000000000000000000000005e02","data":"0x4a4c5c66"}"#,
    r#"{"to":"0x0000000000000000000000000000000000000e25","data":"0x00"}"#,
    r#"{"data":"0x5b600056","gas":"0x186a0"}"#,
    r#"{"data":"0x60ff60ff60ff60ff60ff60ff5af1","gas":"0xffffffffffffffff","value":"0x1"}"#,
    r#"{"fromBlock":"0x0","toBlock":"latest"}"#,
    r#"{"fromBlock":"0x1","toBlock":"0x0","address":[],"topics":[null,[]]}"#,
    r#"{"blockHash":"0x0000000000000000000000000000000000000000000000000000000000000004"}"#,
    r#"{"0x0000000000000000000000000000000000005e02":{"balance":"0x1","code":"0x5b600056"}}"#,
    r#"{"tracer":"callTracer"}"#,
    r#"{"tracer":"prestateTracer","tracerConfig":{"diffMode":true}}"#,
    r#""newHeads""#,
    r#""logs""#,
    r#""0x02""#,
    "null",
    "[]",
    "{}",
    "7",
    "-1",
    "true",
    r#"[25,50,75]"#,
    r#""\u0000""#,
];

struct Server {
    runtime: Runtime,
    methods: Methods,
}

static SERVER: LazyLock<Server> = LazyLock::new(|| {
    let mut genesis = Genesis::default();
    genesis.ethereum.config.chain_id = CHAIN_ID;
    genesis.ethereum.gas_limit = 30_000_000;
    let built = genesis.build().expect("it obeys the rules");
    let index = Index::in_memory(CHAIN_ID).expect("memory is there");
    let (header, state) = (built.block.header.clone(), built.state.clone());
    let chain =
        Chain::open(index, CHAIN_ID, Finalized::empty(built.block), built.state).expect("it is its state");
    let choice = Choice { timestamp: 1, ..nothing() };
    let (block, executed) = veracity_chain::Builder::new(&header, &state, CHAIN_ID, &choice).finish();
    chain.append(Arc::new(block), vec![], &executed).expect("it is the next block");
    let services = Services {
        chain: Arc::new(chain),
        pool: Arc::new(Pool),
        peers: Arc::new(|| 3),
        epoch: Arc::new(|| None),
        tip: Arc::new(|| 1),
        network_key: Some(vec![7; 96].into()),
        follow: Some(Arc::new(Source)),
    };
    let mut config = Config::new(([127, 0, 0, 1], 0).into());
    (config.call_gas_max, config.sync_wait_ms_max, config.filters_max) = (200_000, 1, 16);
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    Server { runtime, methods: direct(config, services) }
});

fn nothing() -> Choice {
    Choice { timestamp: 0, beneficiary: Address::ZERO, random: B256::ZERO, extra_data: vec![].into() }
}

/// A pool that takes nothing.
struct Pool;

impl Submit for Pool {
    fn submit(&self, transaction: Recovered<TxEnvelope>) -> Result<Accepted, PoolError> {
        Err(PoolError::Fee { fee: transaction.max_fee_per_gas(), fee_min: u128::MAX })
    }

    fn get(&self, _: &B256) -> Option<Recovered<TxEnvelope>> {
        None
    }

    fn next_nonce(&self, _: Address) -> u64 {
        0
    }

    fn waiting(&self) -> Waiting {
        Waiting::default()
    }

    fn ready(&self) -> broadcast::Receiver<Recovered<TxEnvelope>> {
        broadcast::channel(1).1
    }
}

/// A node to follow that has not what is asked for.
struct Source;

impl Follow for Source {
    fn ask(&self, _: FollowQuestion) -> FollowAnswer {
        Box::pin(async { None })
    }
}

/// Sends a request that may be none.
fn ask(method: &str, params: &str) {
    let request = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
    let Server { runtime, methods } = &*SERVER;
    // What is no JSON is refused before any method sees it.
    let Ok((answer, _)) = runtime.block_on(methods.raw_json_request(&request, 1)) else { return };
    let answer: serde_json::Value = serde_json::from_str(answer.get()).expect("an answer is JSON");
    assert!(answer.get("result").is_some() ^ answer.get("error").is_some(), "{request}: {answer}");
    assert_ne!(answer["error"]["code"], -32603, "{request}: {answer}");
}

#[test]
fn every_method_answers_hostile_requests() {
    let values: Vec<Vec<u8>> = VALUES.iter().map(|value| value.as_bytes().to_vec()).collect();
    let mut mutator = Mutator::new(21, &values);
    for method in METHODS {
        for _ in 0..200 {
            let mut value = |_| VALUES[mutator.below(VALUES.len())];
            let mut params =
                format!("[{}]", (0..3).map(&mut value).collect::<Vec<_>>().join(",")).into_bytes();
            ask(method, std::str::from_utf8(&params).unwrap());
            mutator.change(&mut params);
            if let Ok(text) = std::str::from_utf8(&params) {
                ask(method, text);
            }
        }
    }
}
