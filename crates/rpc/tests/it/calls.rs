//! Calls, estimates and access lists.

use alloy_eips::eip2930::AccessListResult;
use alloy_primitives::{B256, Bytes, U64, U256, address, hex};
use jsonrpsee::rpc_params;
use serde_json::{Value, json};

use crate::{
    sealer::Sealing,
    support::{
        CALLER, CODES, COUNTER, ENVIRONMENT, INVALID, LOGGER, LOOPER, Node, REVERTER, address as account,
        contract, invoke, transfer, words,
    },
};

fn word(number: u64) -> Bytes {
    words(&[number]).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_sees_the_state_after_its_block() {
    let node = Node::new(Sealing::Instant).await;
    for nonce in 0..3 {
        node.send(&invoke(0, nonce, COUNTER, &[])).await;
    }
    let hash = node.chain.block(2).unwrap().unwrap().hash();
    for (block, expected) in [
        (json!("earliest"), 1),
        (json!("0x1"), 2),
        (json!({"blockNumber": "0x1"}), 2),
        (json!({"blockHash": hash, "requireCanonical": true}), 3),
        (json!(hash), 3),
        (json!("latest"), 4),
        (json!("safe"), 4),
        (json!("finalized"), 4),
        (json!("pending"), 4),
        (Value::Null, 4),
    ] {
        let call = json!({"to": contract(COUNTER)});
        let output: Bytes = node.ask("eth_call", rpc_params![call, &block]).await;
        assert_eq!(output, word(expected), "{block}");
        let slot: B256 = node.ask("eth_getStorageAt", rpc_params![contract(COUNTER), "0x0", &block]).await;
        assert_eq!(slot, B256::from(U256::from(expected - 1)), "{block}");
    }
    let call = json!({"to": contract(COUNTER)});
    let error = node.refusal("eth_call", rpc_params![&call, "0x4"]).await;
    assert_eq!((error.code(), error.message()), (-32001, "block 4 not found: the latest is 3"));
    let unknown = B256::repeat_byte(3);
    let error = node.refusal("eth_call", rpc_params![&call, unknown]).await;
    assert_eq!(error.message(), format!("block {unknown} not found: the latest is 3"));
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_read() {
    let node = Node::new(Sealing::Instant).await;
    let target = address!("0x00000000000000000000000000000000000000aa");
    node.send(&transfer(0, 0, target, 7)).await;
    let balance = |block: &'static str| node.ask::<U256>("eth_getBalance", rpc_params![target, block]);
    assert_eq!((balance("latest").await, balance("earliest").await), (U256::from(7), U256::ZERO));
    let code: Bytes = node.ask("eth_getCode", rpc_params![contract(LOGGER), "latest"]).await;
    assert_eq!(code, Bytes::from_static(LOGGER));
    assert_eq!(node.ask::<Bytes>("eth_getCode", rpc_params![target]).await, Bytes::new());
    let nonce: U64 = node.ask("eth_getTransactionCount", rpc_params![account(0), "0x0"]).await;
    assert_eq!(nonce, U64::ZERO);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_base_fee_is_seen_only_by_calls_that_pay() {
    let node = Node::new(Sealing::Instant).await;
    node.send(&transfer(0, 0, account(1), 7)).await;
    let head = node.chain.head();
    let seen = async |fields: Value| {
        let mut call = json!({"to": contract(ENVIRONMENT)});
        call.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        node.ask::<Bytes>("eth_call", rpc_params![call, "latest"]).await
    };
    let at = |base_fee| Bytes::from(words(&[base_fee, head.number(), head.header().timestamp]));
    assert_eq!(seen(json!({})).await, at(0));
    assert_eq!(seen(json!({"maxFeePerGas": "0x0"})).await, at(0));
    let paying = json!({"from": account(0), "maxFeePerGas": "0x77359400"});
    assert_eq!(seen(paying).await, at(head.base_fee()));
    let overridden: Bytes = node
        .ask(
            "eth_call",
            rpc_params![
                json!({"to": contract(ENVIRONMENT)}),
                "latest",
                Value::Null,
                json!({"number": "0x64", "time": "0x65", "baseFeePerGas": "0x0"})
            ],
        )
        .await;
    assert_eq!(overridden, Bytes::from(words(&[0, 100, 101])));
}

#[tokio::test(flavor = "multi_thread")]
async fn reverts_carry_their_data_and_reason() {
    let node = Node::new(Sealing::Instant).await;
    let error = hex!(
        "08c379a000000000000000000000000000000000000000000000000000000000000000200000000000000000000000000000000000000000000000000000000000000004"
    );
    let reason = [&error[..], b"nope", &[0; 28]].concat();
    let panic = [&hex!("4e487b71")[..], &words(&[0x11])].concat();
    let cases = [
        (reason, "execution reverted: nope"),
        (panic, "execution reverted: panic: arithmetic underflow or overflow (0x11)"),
        (vec![], "execution reverted"),
        (vec![1, 2, 3, 4, 5], "execution reverted"),
    ];
    for (data, message) in cases {
        let call = json!({"to": contract(REVERTER), "input": Bytes::from(data.clone())});
        for method in ["eth_call", "eth_estimateGas"] {
            let error = node.refusal(method, rpc_params![&call]).await;
            assert_eq!((error.code(), error.message()), (3, message), "{method}");
            assert_eq!(error.data().unwrap().get(), json!(Bytes::from(data.clone())).to_string());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_calls_say_why() {
    let node = Node::with(Sealing::Instant, |config| config.call_gas_max = 1_000_000).await;
    let nobody = address!("0x00000000000000000000000000000000000000bb");
    let cases = [
        ("eth_call", json!({"to": contract(LOOPER)}), -32000, "out of gas"),
        (
            "eth_estimateGas",
            json!({"to": contract(LOOPER)}),
            -32000,
            "gas required exceeds allowance (1000000)",
        ),
        ("eth_call", json!({"to": contract(INVALID)}), -32000, "invalid opcode"),
        ("eth_estimateGas", json!({"to": contract(INVALID)}), -32000, "invalid opcode"),
        (
            "eth_call",
            json!({"from": nobody, "to": nobody, "value": "0x1"}),
            -32000,
            "insufficient funds for gas * price + value: have 0 want 1",
        ),
        (
            "eth_call",
            json!({"from": account(0), "to": nobody, "maxFeePerGas": "0x1"}),
            -32000,
            "invalid transaction request: max fee per gas less than block base fee",
        ),
        (
            "eth_call",
            json!({"from": account(0), "to": nobody, "gasPrice": "0x1"}),
            -32000,
            "max fee per gas less than block base fee: offer a higher maxFeePerGas or none",
        ),
        (
            "eth_call",
            json!({"from": account(0), "to": nobody, "maxFeePerGas": "0x77359400", "maxPriorityFeePerGas": "0x77359401"}),
            -32000,
            "invalid transaction request: max priority fee per gas higher than max fee per gas",
        ),
        (
            "eth_call",
            json!({"to": nobody, "gas": "0x64"}),
            -32000,
            "intrinsic gas too low: have 100, want 21000",
        ),
        ("eth_call", json!({"to": nobody, "chainId": "0x1"}), -32000, "invalid chain ID"),
        (
            "eth_call",
            json!({"to": nobody, "gasPrice": "0x1", "maxFeePerGas": "0x1"}),
            -32000,
            "invalid transaction request: both gasPrice and (maxFeePerGas",
        ),
        (
            "eth_call",
            json!({"to": nobody, "blobVersionedHashes": [B256::ZERO]}),
            -32000,
            "blob transactions are not supported: send an EIP-1559 transaction",
        ),
        ("eth_estimateGas", json!({"to": nobody, "gas": "0x5300"}), -32000, ""),
    ];
    for (method, call, code, message) in cases {
        if message.is_empty() {
            // Enough gas for a transfer.
            assert_eq!(node.ask::<U64>(method, rpc_params![&call]).await, U64::from(21_000));
            continue;
        }
        let error = node.refusal(method, rpc_params![&call]).await;
        assert_eq!(error.code(), code, "{call}: {error}");
        assert!(error.message().starts_with(message), "{call}: {error}");
    }
    let big = json!({"from": account(0), "data": Bytes::from(vec![0; 50_000])});
    let error = node.refusal("eth_call", rpc_params![big]).await;
    assert_eq!(error.message(), "max initcode size exceeded");
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_different_if_asked() {
    let node = Node::new(Sealing::Instant).await;
    let counter = contract(COUNTER);
    let call = json!({"to": counter});
    let slot = |value: u64| json!({B256::ZERO.to_string(): B256::from(U256::from(value))});
    let cases = [
        (json!({counter.to_string(): {"stateDiff": slot(41)}}), word(42)),
        (json!({counter.to_string(): {"state": slot(6)}}), word(7)),
        (json!({counter.to_string(): {"code": "0x6005ff"}}), Bytes::new()),
        (
            json!({counter.to_string(): {"code": Bytes::from_static(&[0x60, 9, 0x5f, 0x52, 0x60, 0x20, 0x5f, 0xf3])}}),
            word(9),
        ),
    ];
    for (overrides, expected) in cases {
        let output: Bytes = node.ask("eth_call", rpc_params![&call, "latest", &overrides]).await;
        assert_eq!(output, expected, "{overrides}");
    }
    let nobody = address!("0x00000000000000000000000000000000000000bb");
    let paid = json!({"from": nobody, "to": account(1), "value": "0x5"});
    let rich = json!({nobody.to_string(): {"balance": "0x5", "nonce": "0x9"}});
    assert_eq!(node.ask::<Bytes>("eth_call", rpc_params![&paid, "latest", &rich]).await, Bytes::new());
    assert_eq!(
        node.ask::<U64>("eth_estimateGas", rpc_params![&paid, "latest", &rich]).await,
        U64::from(21_000)
    );
    let both = json!({counter.to_string(): {"state": slot(1), "stateDiff": slot(1)}});
    let error = node.refusal("eth_call", rpc_params![&call, "latest", &both]).await;
    assert!(error.message().starts_with("invalid state override: "), "{error}");
    let moved = json!({counter.to_string(): {"movePrecompileToAddress": nobody}});
    let error = node.refusal("eth_call", rpc_params![&call, "latest", &moved]).await;
    assert!(error.message().contains("movePrecompileToAddress is not supported"), "{error}");
    // Nothing of it stays.
    assert_eq!(node.ask::<Bytes>("eth_call", rpc_params![&call]).await, word(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_estimate_suffices_and_little_less_does_not() {
    let node = Node::new(Sealing::Instant).await;
    let to_account = json!({"from": account(0), "to": account(1), "value": "0x1"});
    assert_eq!(node.ask::<U64>("eth_estimateGas", rpc_params![&to_account]).await, U64::from(21_000));
    let calls = [
        json!({"from": account(0), "to": contract(COUNTER)}),
        json!({"from": account(0), "to": contract(CALLER)}),
        json!({"from": account(0), "to": contract(LOGGER), "data": Bytes::from(words(&[1, 2, 3]))}),
        json!({"from": account(0), "data": "0x60005ff3"}),
        json!({"from": account(0), "to": contract(COUNTER), "maxFeePerGas": "0x77359400"}),
    ];
    for call in calls {
        let estimate: U64 = node.ask("eth_estimateGas", rpc_params![&call]).await;
        let with = |gas: u64| {
            let mut call = call.clone();
            call["gas"] = json!(U64::from(gas));
            call
        };
        let estimate: u64 = estimate.to();
        node.ask::<Bytes>("eth_call", rpc_params![with(estimate)]).await;
        node.refusal("eth_call", rpc_params![with(estimate * 98 / 100)]).await;
    }
    let error =
        node.refusal("eth_estimateGas", rpc_params![json!({"to": contract(COUNTER), "gas": "0x5300"})]).await;
    assert_eq!(error.message(), "gas required exceeds allowance (21248)");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_list_names_what_a_call_uses() {
    let node = Node::new(Sealing::Instant).await;
    let call = json!({"from": account(0), "to": contract(CALLER)});
    let listed: AccessListResult = node.ask("eth_createAccessList", rpc_params![&call]).await;
    assert_eq!(listed.error, None);
    let items: Vec<_> = listed.access_list.0.iter().map(|i| (i.address, i.storage_keys.clone())).collect();
    assert_eq!(items, [(contract(COUNTER), vec![B256::ZERO])]);
    // With the list, the slot is paid for before.
    let mut with_list = call.clone();
    with_list["accessList"] = json!(listed.access_list);
    let again: AccessListResult = node.ask("eth_createAccessList", rpc_params![&with_list]).await;
    assert_eq!(again, listed);
    let reverted = json!({"to": contract(REVERTER)});
    let listed: AccessListResult = node.ask("eth_createAccessList", rpc_params![&reverted]).await;
    assert_eq!(listed.error.as_deref(), Some("execution reverted"));
}

#[test]
fn contracts_have_their_addresses() {
    assert_eq!(contract(COUNTER), address!("0x0000000000000000000000000000000000001002"));
    assert_eq!(CODES.len(), 7);
}
