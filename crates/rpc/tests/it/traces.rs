//! Traces.

use alloy_primitives::{B256, Bytes, U256};
use jsonrpsee::rpc_params;
use serde_json::{Value, json};

use crate::{
    sealer::Sealing,
    support::{
        CALLER, COUNTER, LOOPER, Node, REVERTER, address, contract, fields, invoke, raw, sign, transfer,
    },
};

fn traced(name: &str) -> Value {
    json!({"tracer": name})
}

/// A node with a block of three transactions: two calls of the counter, the second by another contract, and a transfer.
async fn three() -> (Node, [B256; 3]) {
    let node = Node::new(Sealing::Manual).await;
    let sent = [invoke(0, 0, COUNTER, &[]), invoke(0, 1, CALLER, &[]), transfer(0, 2, address(1), 7)];
    for transaction in &sent {
        node.send(transaction).await;
    }
    node.sealer.seal(usize::MAX);
    (node, sent.each_ref().map(|transaction| *transaction.tx_hash()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_shows_what_the_transaction_did_in_its_block() {
    let (node, [first, second, third]) = three().await;
    let steps: Value = node.ask("debug_traceTransaction", rpc_params![first]).await;
    let ops: Vec<_> =
        steps["structLogs"].as_array().unwrap().iter().map(|step| step["op"].as_str().unwrap()).collect();
    let expected = "PUSH0 SLOAD PUSH1 ADD DUP1 PUSH0 SSTORE PUSH0 MSTORE PUSH1 PUSH0 RETURN";
    assert_eq!(ops.join(" "), expected);
    let receipt: Value = node.ask("eth_getTransactionReceipt", rpc_params![first]).await;
    assert_eq!(format!("{:#x}", steps["gas"].as_u64().unwrap()), receipt["gasUsed"]);
    assert_eq!(steps["failed"], false);

    let calls: Value = node.ask("debug_traceTransaction", rpc_params![second, traced("callTracer")]).await;
    assert_eq!(calls["to"], json!(contract(CALLER)));
    assert_eq!(calls["calls"][0]["to"], json!(contract(COUNTER)));
    // The counter was at 1: the transaction before it was executed first.
    assert_eq!(calls["calls"][0]["output"], json!(B256::from(U256::from(2))));
    let receipt: Value = node.ask("eth_getTransactionReceipt", rpc_params![second]).await;
    assert_eq!(calls["gasUsed"], receipt["gasUsed"]);

    let before: Value =
        node.ask("debug_traceTransaction", rpc_params![second, traced("prestateTracer")]).await;
    let key = contract(COUNTER).to_string().to_lowercase();
    let account = before.as_object().unwrap().iter().find(|(at, _)| at.to_lowercase() == key).unwrap().1;
    assert_eq!(account["storage"][B256::ZERO.to_string()], json!(B256::from(U256::from(1))));
    let difference = json!({"tracer": "prestateTracer", "tracerConfig": {"diffMode": true}});
    let change: Value = node.ask("debug_traceTransaction", rpc_params![third, difference]).await;
    assert!(
        change["post"]
            .as_object()
            .unwrap()
            .keys()
            .any(|at| at.to_lowercase() == address(1).to_string().to_lowercase())
    );

    let plain: Value = node.ask("debug_traceTransaction", rpc_params![third]).await;
    assert_eq!((&plain["gas"], &plain["structLogs"]), (&json!(21_000), &json!([])));
    for name in ["noopTracer", "4byteTracer", "flatCallTracer", ""] {
        node.ask::<Value>("debug_traceTransaction", rpc_params![second, traced(name)]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_is_traced_as_its_transactions() {
    let (node, hashes) = three().await;
    let hash = node.chain.head().hash();
    let by_number: Value =
        node.ask("debug_traceBlockByNumber", rpc_params!["0x1", traced("callTracer")]).await;
    let by_hash: Value = node.ask("debug_traceBlockByHash", rpc_params![hash, traced("callTracer")]).await;
    assert_eq!(by_number, by_hash);
    assert_eq!(by_number.as_array().unwrap().len(), 3);
    for (trace, hash) in by_number.as_array().unwrap().iter().zip(hashes) {
        assert_eq!(trace["txHash"], json!(hash));
        let alone: Value = node.ask("debug_traceTransaction", rpc_params![hash, traced("callTracer")]).await;
        assert_eq!(trace["result"], alone);
    }
    let genesis: Value = node.ask("debug_traceBlockByNumber", rpc_params!["earliest"]).await;
    assert_eq!(genesis, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_traced_on_other_accounts() {
    let (node, _) = three().await;
    let call = json!({"to": contract(CALLER), "from": address(5)});
    let slot = json!({B256::ZERO.to_string(): B256::from(U256::from(41))});
    let options = json!({
        "tracer": "callTracer",
        "stateOverrides": {contract(COUNTER).to_string(): {"stateDiff": slot}},
    });
    let trace: Value = node.ask("debug_traceCall", rpc_params![&call, "latest", options]).await;
    assert_eq!(trace["calls"][0]["output"], json!(B256::from(U256::from(42))));
    let reverted = json!({"to": contract(REVERTER), "data": "0x0102"});
    let trace: Value =
        node.ask("debug_traceCall", rpc_params![&reverted, "latest", traced("callTracer")]).await;
    assert_eq!((&trace["error"], &trace["output"]), (&json!("execution reverted"), &json!("0x0102")));
    let error =
        node.refusal("debug_traceCall", rpc_params![json!({"to": contract(CALLER), "gas": "0x1"})]).await;
    assert!(error.message().starts_with("intrinsic gas too low"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_that_are_too_long_or_unknown_are_refused() {
    let node = Node::new(Sealing::Manual).await;
    let endless = sign(
        0,
        alloy_consensus::TxEip1559 {
            gas_limit: 5_000_000,
            ..fields(0, alloy_primitives::TxKind::Call(contract(LOOPER)), 0, &[])
        },
    );
    let hash: B256 = node.ask("eth_sendRawTransaction", rpc_params![raw(&endless)]).await;
    node.sealer.seal(usize::MAX);
    let error = node.refusal("debug_traceTransaction", rpc_params![hash]).await;
    assert_eq!(
        error.message(),
        "the trace has more than 100000 steps: use callTracer, or set limit to see the first ones only"
    );
    let first: Value = node.ask("debug_traceTransaction", rpc_params![hash, json!({"limit": 10})]).await;
    assert_eq!(first["structLogs"].as_array().unwrap().len(), 10);
    let calls: Value = node.ask("debug_traceTransaction", rpc_params![hash, traced("callTracer")]).await;
    assert_eq!(calls["error"], "out of gas");
    // An input of a megabyte, handed to a hundred calls, would be copied as often.
    let error = {
        // CALLDATASIZE PUSH0 PUSH0 CALLDATACOPY JUMPDEST (CALL 0x09.. with all of the memory) loop
        let code = Bytes::from_static(&[
            0x36, 0x5f, 0x5f, 0x37, 0x5b, 0x5f, 0x5f, 0x36, 0x5f, 0x5f, 0x60, 0xaa, 0x61, 0x27, 0x10, 0xf1,
            0x50, 0x60, 0x04, 0x56,
        ]);
        let target = address(9);
        let call = json!({"to": target, "data": Bytes::from(vec![1; 1 << 20])});
        let options = json!({"tracer": "callTracer", "stateOverrides": {target.to_string(): {"code": code}}});
        node.refusal("debug_traceCall", rpc_params![call, "latest", options]).await
    };
    assert_eq!(
        error.message(),
        "the trace copies more than 67108864 bytes: do not enable memory, or use another tracer"
    );
    for name in ["muxTracer", "erc7562Tracer", "function() {}"] {
        let error = node.refusal("debug_traceTransaction", rpc_params![hash, traced(name)]).await;
        assert_eq!(error.code(), -32000);
        assert!(error.message().starts_with(&format!("tracer {name} is not supported")), "{error}");
    }
    let options = json!({"tracer": "callTracer", "tracerConfig": {"onlyTopCall": 7}});
    let error = node.refusal("debug_traceTransaction", rpc_params![hash, options]).await;
    assert!(error.message().starts_with("invalid tracerConfig"), "{error}");
    let unknown = B256::repeat_byte(1);
    let error = node.refusal("debug_traceTransaction", rpc_params![unknown]).await;
    assert_eq!((error.code(), error.message()), (-32001, &*format!("transaction {unknown} not found")));
    let error = node.refusal("debug_traceBlockByNumber", rpc_params!["0x9"]).await;
    assert_eq!(error.message(), "block 9 not found: the latest is 1");
}
