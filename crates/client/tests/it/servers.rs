//! Every trouble that a node can be.

use std::{net::TcpListener, time::Duration};

use alloy_primitives::{Address, B256, U256};
use serde_json::json;
use veracity_client::{Account, Chain, ClientError, Rpc};

use crate::server::serve;

const CONNECTED: &str = r#"{"jsonrpc":"2.0","id":1,"result":"0x7a69"}"#;

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
