//! Blocks, transactions and receipts as clients read them.

use std::collections::BTreeMap;

use alloy_consensus::Transaction as _;
use alloy_primitives::{Address, B256, Bytes, TxKind, U64, U256, keccak256};
use alloy_rpc_types_eth::{Block, FeeHistory, Transaction, TransactionReceipt};
use jsonrpsee::rpc_params;
use serde_json::{Value, json};

use crate::{
    sealer::Sealing,
    support::{
        CHAIN_ID, COUNTER, GWEI, LOGGER, Node, REVERTER, address, contract, fields, invoke, raw, sign,
        transfer, words,
    },
};

#[tokio::test(flavor = "multi_thread")]
async fn the_node_says_who_it_is() {
    let node = Node::new(Sealing::Instant).await;
    let cases: [(&str, Value); 8] = [
        ("eth_chainId", json!(format!("{CHAIN_ID:#x}"))),
        ("net_version", json!(CHAIN_ID.to_string())),
        ("net_listening", json!(true)),
        ("net_peerCount", json!("0x3")),
        ("eth_syncing", json!(false)),
        ("eth_accounts", json!([])),
        ("eth_blobBaseFee", json!("0x1")),
        ("veracity_networkKey", json!(Bytes::from_static(&[7; 96]))),
    ];
    for (method, expected) in cases {
        assert_eq!(node.ask::<Value>(method, rpc_params![]).await, expected, "{method}");
    }
    let version: String = node.ask("web3_clientVersion", rpc_params![]).await;
    assert!(version.starts_with("veracity/v"), "{version}");
    let hash: B256 = node.ask("web3_sha3", rpc_params!["0x68656c6c6f"]).await;
    assert_eq!(hash, keccak256("hello"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_is_found_by_every_way_to_it() {
    let node = Node::new(Sealing::Instant).await;
    let sent = transfer(0, 0, Address::repeat_byte(9), 5);
    let hash = node.send(&sent).await;
    assert_eq!(hash, *sent.tx_hash());

    let receipt: TransactionReceipt = node.ask("eth_getTransactionReceipt", rpc_params![hash]).await;
    assert!(receipt.status());
    assert_eq!(
        (receipt.gas_used, receipt.from, receipt.to),
        (21_000, address(0), Some(Address::repeat_byte(9)))
    );
    let block: Block = node.ask("eth_getBlockByNumber", rpc_params!["latest", true]).await;
    assert_eq!(receipt.block_hash, Some(block.header.hash));
    assert_eq!(block.header.hash, block.header.inner.hash_slow());
    let base_fee: u128 = block.header.base_fee_per_gas.unwrap().into();
    assert_eq!(receipt.effective_gas_price, base_fee + GWEI);
    let size = block.header.size.unwrap();
    let consensus = block.clone().map_transactions(Transaction::into_inner).into_consensus();
    assert_eq!(size, U256::from(alloy_rlp::encode(consensus).len()));

    let by_hash: Transaction = node.ask("eth_getTransactionByHash", rpc_params![hash]).await;
    assert_eq!(by_hash.inner, sent);
    assert_eq!(block.transactions.as_transactions().unwrap(), std::slice::from_ref(&by_hash));
    let place = rpc_params![block.header.hash, "0x0"];
    assert_eq!(node.ask::<Transaction>("eth_getTransactionByBlockHashAndIndex", place).await, by_hash);
    let place = rpc_params!["0x1", "0x0"];
    assert_eq!(node.ask::<Transaction>("eth_getTransactionByBlockNumberAndIndex", place).await, by_hash);
    let bytes: Bytes = node.ask("eth_getRawTransactionByHash", rpc_params![hash]).await;
    assert_eq!(bytes, raw(&sent));

    let receipts: Vec<TransactionReceipt> = node.ask("eth_getBlockReceipts", rpc_params!["0x1"]).await;
    assert_eq!(receipts, [receipt]);
    for (method, block) in [
        ("eth_getBlockTransactionCountByNumber", json!("latest")),
        ("eth_getBlockTransactionCountByHash", json!(block.header.hash)),
    ] {
        assert_eq!(node.ask::<U64>(method, rpc_params![block]).await, U64::from(1), "{method}");
    }
    let hashes: Block = node.ask("eth_getBlockByHash", rpc_params![block.header.hash, false]).await;
    assert_eq!(hashes.transactions.as_hashes().unwrap(), [hash]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_of_many_transactions_reads_the_same_from_memory_and_disk() {
    let node = Node::new(Sealing::Manual).await;
    let sent = [
        invoke(0, 0, LOGGER, &words(&[1, 2, 3])),
        invoke(0, 1, COUNTER, &[]),
        sign(1, fields(0, TxKind::Create, 0, &[0x60, 0x00, 0x5f, 0xf3])),
        invoke(2, 0, REVERTER, &[1]),
        invoke(3, 0, LOGGER, &words(&[4, 5, 6])),
    ];
    for transaction in &sent {
        node.send(transaction).await;
    }
    node.sealer.seal(usize::MAX);
    let in_memory: Vec<TransactionReceipt> = node.ask("eth_getBlockReceipts", rpc_params!["0x1"]).await;
    let block: Value = node.ask("eth_getBlockByNumber", rpc_params!["0x1", true]).await;
    let by_hash: BTreeMap<_, _> = in_memory.iter().map(|r| (r.transaction_hash, r.clone())).collect();
    assert_eq!(in_memory.len(), sent.len());
    let created = in_memory.iter().find_map(|receipt| receipt.contract_address);
    assert_eq!(created, Some(address(1).create(0)));
    let failed: Vec<_> = in_memory.iter().filter(|receipt| !receipt.status()).map(|r| r.from).collect();
    assert_eq!(failed, [address(2)]);
    let indices: Vec<_> =
        in_memory.iter().flat_map(|r| r.inner.logs()).map(|log| log.log_index.unwrap()).collect();
    assert_eq!(indices, [0, 1]);

    // Enough blocks for it to leave the memory.
    (0..20).for_each(|_| node.sealer.seal(0));
    let on_disk: Vec<TransactionReceipt> = node.ask("eth_getBlockReceipts", rpc_params!["0x1"]).await;
    assert_eq!(on_disk, in_memory);
    assert_eq!(node.ask::<Value>("eth_getBlockByNumber", rpc_params!["0x1", true]).await, block);
    for (hash, receipt) in by_hash {
        let one: TransactionReceipt = node.ask("eth_getTransactionReceipt", rpc_params![hash]).await;
        assert_eq!(one, receipt);
        let transaction: Transaction = node.ask("eth_getTransactionByHash", rpc_params![hash]).await;
        assert_eq!(
            (transaction.block_number, transaction.transaction_index),
            (Some(1), receipt.transaction_index)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_exist_is_null() {
    let node = Node::new(Sealing::Instant).await;
    node.send(&transfer(0, 0, address(1), 1)).await;
    let unknown = B256::repeat_byte(1);
    let cases = [
        ("eth_getBlockByNumber", rpc_params!["0x7", false]),
        ("eth_getBlockByHash", rpc_params![unknown, false]),
        ("eth_getBlockReceipts", rpc_params!["0x7"]),
        ("eth_getBlockTransactionCountByHash", rpc_params![unknown]),
        ("eth_getBlockTransactionCountByNumber", rpc_params!["0x7"]),
        ("eth_getTransactionByHash", rpc_params![unknown]),
        ("eth_getRawTransactionByHash", rpc_params![unknown]),
        ("eth_getTransactionByBlockNumberAndIndex", rpc_params!["0x1", "0x1"]),
        ("eth_getTransactionByBlockHashAndIndex", rpc_params![unknown, "0x0"]),
        ("eth_getTransactionReceipt", rpc_params![unknown]),
        ("eth_getUncleByBlockNumberAndIndex", rpc_params!["0x1", "0x0"]),
        ("eth_getUncleByBlockHashAndIndex", rpc_params![unknown, "0x0"]),
        ("eth_getUncleCountByBlockHash", rpc_params![unknown]),
        ("veracity_getTransactionInclusion", rpc_params![unknown]),
        ("veracity_getFinalization", rpc_params!["0x7"]),
        ("veracity_getFinalization", rpc_params!["latest"]),
    ];
    for (method, params) in cases {
        assert_eq!(node.ask::<Value>(method, params).await, Value::Null, "{method}");
    }
    assert_eq!(node.ask::<U64>("eth_getUncleCountByBlockNumber", rpc_params!["0x1"]).await, U64::ZERO);
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_transactions_are_shown_until_they_are_in_a_block() {
    let node = Node::new(Sealing::Manual).await;
    let (first, gap) = (transfer(0, 0, address(1), 1), transfer(0, 2, address(1), 1));
    node.send(&first).await;
    node.send(&gap).await;
    let nonce =
        |block: &'static str| node.ask::<U64>("eth_getTransactionCount", rpc_params![address(0), block]);
    assert_eq!((nonce("latest").await, nonce("pending").await), (U64::ZERO, U64::from(1)));
    let waiting: Transaction = node.ask("eth_getTransactionByHash", rpc_params![first.tx_hash()]).await;
    assert_eq!((waiting.block_hash, waiting.inner.signer()), (None, address(0)));
    let raw_waiting: Bytes = node.ask("eth_getRawTransactionByHash", rpc_params![gap.tx_hash()]).await;
    assert_eq!(raw_waiting, raw(&gap));

    let status: Value = node.ask("txpool_status", rpc_params![]).await;
    assert_eq!(status, json!({"pending": "0x1", "queued": "0x1"}));
    let content: Value = node.ask("txpool_content", rpc_params![]).await;
    let sender = address(0).to_string();
    let (pending, queued) = (&content["pending"], &content["queued"]);
    // Addresses as keys are in lower case.
    let key = pending.as_object().unwrap().keys().next().unwrap().clone();
    assert_eq!(key.to_lowercase(), sender.to_lowercase());
    assert_eq!(pending[&key]["0"]["hash"], json!(first.tx_hash()));
    assert_eq!(queued[&key]["2"]["hash"], json!(gap.tx_hash()));
    let inspected: Value = node.ask("txpool_inspect", rpc_params![]).await;
    let summary = inspected["pending"][&key]["0"].as_str().unwrap();
    assert_eq!(summary, format!("{}: 1 wei + 1000000 gas x 10000000000 wei", address(1)));

    node.sealer.seal(usize::MAX);
    let status: Value = node.ask("txpool_status", rpc_params![]).await;
    assert_eq!(status, json!({"pending": "0x0", "queued": "0x1"}));
    assert_eq!((nonce("latest").await, nonce("pending").await), (U64::from(1), U64::from(1)));
    assert_eq!(node.ask::<U64>("eth_blockNumber", rpc_params![]).await, U64::from(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_transactions_say_why_in_known_words() {
    let node = Node::new(Sealing::Manual).await;
    let sent = transfer(0, 0, address(1), 1);
    node.send(&sent).await;
    let other_chain =
        sign(1, alloy_consensus::TxEip1559 { chain_id: 1, ..fields(0, TxKind::Create, 0, &[]) });
    let with = |change: fn(&mut alloy_consensus::TxEip1559)| {
        let mut fields = fields(0, TxKind::Create, 0, &[]);
        change(&mut fields);
        raw(&sign(1, fields))
    };
    let cases = [
        (with(|t| t.gas_limit = 21_000), -32000, "intrinsic gas too low: have 21000, want 53000"),
        (
            with(|t| t.max_priority_fee_per_gas = t.max_fee_per_gas + 1),
            -32000,
            "max priority fee per gas higher than max fee per gas",
        ),
        (with(|t| t.input = vec![0; 49_153].into()), -32000, "max initcode size exceeded"),
        (with(|t| t.nonce = u64::MAX), -32000, "nonce overflow in transaction"),
        (with(|t| t.gas_limit = 30_000_001), -32000, "transaction gas limit too high"),
        (raw(&sent), -32000, "already known"),
        (raw(&other_chain), -32000, "invalid chain id"),
        (raw(&transfer(0, 0, address(2), 1)), -32000, "replacement transaction underpriced"),
        (Bytes::new(), -32602, "empty transaction data"),
        (Bytes::from_static(&[2, 3, 4]), -32602, "failed to decode signed transaction"),
        ([raw(&sent), Bytes::from_static(&[0])].concat().into(), -32602, "1 bytes follow it"),
    ];
    for (bytes, code, words) in cases {
        let error = node.refusal("eth_sendRawTransaction", rpc_params![bytes]).await;
        assert_eq!(error.code(), code, "{error}");
        assert!(error.message().contains(words), "{error}");
    }
    node.sealer.seal(usize::MAX);
    let error =
        node.refusal("eth_sendRawTransaction", rpc_params![raw(&transfer(0, 0, address(2), 1))]).await;
    assert!(error.message().contains("nonce too low"), "{error}");
    let poor = sign(
        0,
        alloy_consensus::TxEip1559 { value: U256::MAX, ..fields(1, TxKind::Call(address(1)), 0, &[]) },
    );
    let error = node.refusal("eth_sendRawTransaction", rpc_params![raw(&poor)]).await;
    assert!(error.message().contains("insufficient funds for gas * price + value"), "{error}");
    // A signature whose `r` is no point of the curve.
    let mut bytes = raw(&transfer(0, 1, address(2), 1)).to_vec();
    let at = bytes.len() - 65;
    bytes[at..at + 32].copy_from_slice(&[0xff; 32]);
    let error = node.refusal("eth_sendRawTransaction", rpc_params![Bytes::from(bytes)]).await;
    assert_eq!((error.code(), error.message()), (-32602, "invalid sender: the signature fits no key"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_is_waited_for_if_asked() {
    let node = Node::new(Sealing::Instant).await;
    let sent = transfer(0, 0, address(1), 1);
    let receipt: TransactionReceipt = node.ask("eth_sendRawTransactionSync", rpc_params![raw(&sent)]).await;
    assert_eq!(receipt.transaction_hash, *sent.tx_hash());

    let node = Node::new(Sealing::Manual).await;
    let error = node.refusal("eth_sendRawTransactionSync", rpc_params![raw(&sent), 5]).await;
    assert_eq!(error.code(), 4);
    assert_eq!(error.data().unwrap().get(), json!(sent.tx_hash()).to_string());
    let error = node.refusal("eth_sendRawTransactionSync", rpc_params![raw(&sent), 0]).await;
    assert_eq!(error.code(), -32602, "{error}");

    let later = transfer(1, 0, address(2), 1);
    let params = rpc_params![raw(&later), "0x7530"];
    let waited = node.ask::<TransactionReceipt>("eth_sendRawTransactionSync", params);
    let sealed = async {
        // Once it waits.
        while node.ask::<Value>("txpool_status", rpc_params![]).await["pending"] != "0x2" {}
        node.sealer.seal(usize::MAX);
    };
    let (receipt, ()) = tokio::join!(waited, sealed);
    assert_eq!(receipt.transaction_hash, *later.tx_hash());
}

#[tokio::test(flavor = "multi_thread")]
async fn fees_follow_blocks() {
    let node = Node::new(Sealing::Manual).await;
    let tip: U64 = node.ask("eth_maxPriorityFeePerGas", rpc_params![]).await;
    assert_eq!(tip, U64::from(1_000_000));
    for from in 0..4u8 {
        let tip = u128::from(from + 1) * GWEI;
        let mut fields = fields(0, TxKind::Call(contract(COUNTER)), 0, &[]);
        fields.max_priority_fee_per_gas = tip;
        node.send(&sign(from, fields)).await;
    }
    node.sealer.seal(usize::MAX);
    let tip: U64 = node.ask("eth_maxPriorityFeePerGas", rpc_params![]).await;
    assert_eq!(u128::from(tip.to::<u64>()), 3 * GWEI);

    let history: FeeHistory =
        node.ask("eth_feeHistory", rpc_params!["0x5", "latest", [0.0, 50.0, 100.0]]).await;
    assert_eq!(
        (history.oldest_block, history.gas_used_ratio.len(), history.base_fee_per_gas.len()),
        (0, 2, 3)
    );
    let rewards = history.reward.unwrap();
    assert_eq!(rewards[0], [0, 0, 0]);
    assert_eq!((rewards[1][0], rewards[1][2]), (GWEI, 4 * GWEI));
    let next: Block = {
        node.sealer.seal(0);
        node.ask("eth_getBlockByNumber", rpc_params!["latest", false]).await
    };
    assert_eq!(history.base_fee_per_gas[2], u128::from(next.header.base_fee_per_gas.unwrap()));
    let past: FeeHistory = node.ask("eth_feeHistory", rpc_params![1, "0x1"]).await;
    assert_eq!(past.base_fee_per_gas[1], history.base_fee_per_gas[2]);
    assert_eq!((past.oldest_block, past.reward), (1, None));

    for params in [
        rpc_params!["0x0", "latest"],
        rpc_params![true, "latest"],
        rpc_params!["0x1", "latest", [50.0, 10.0]],
        rpc_params!["0x1", "latest", [101.0]],
        rpc_params!["0x1", "latest", vec![1.0; 101]],
    ] {
        assert_eq!(node.refusal("eth_feeHistory", params).await.code(), -32602);
    }
    let error = node.refusal("eth_feeHistory", rpc_params!["0x1", "0x99"]).await;
    assert_eq!((error.code(), error.message()), (-32001, "block 153 not found: the latest is 2"));
    let price: U64 = node.ask("eth_gasPrice", rpc_params![]).await;
    assert!(price.to::<u64>() > tip.to::<u64>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_of_every_kind_keeps_its_type() {
    use alloy_consensus::{
        SignableTransaction as _, TxEip2930, TxEnvelope, TxLegacy, transaction::Recovered,
    };
    use alloy_signer::SignerSync as _;
    let node = Node::new(Sealing::Instant).await;
    let signer = crate::support::signer(0);
    let legacy = TxLegacy {
        chain_id: Some(CHAIN_ID),
        gas_price: 5 * GWEI,
        gas_limit: 100_000,
        to: TxKind::Call(address(1)),
        ..TxLegacy::default()
    };
    let signature = signer.sign_hash_sync(&legacy.signature_hash()).unwrap();
    let legacy: TxEnvelope = legacy.into_signed(signature).into();
    let listed = TxEip2930 {
        chain_id: CHAIN_ID,
        nonce: 1,
        gas_price: 5 * GWEI,
        gas_limit: 100_000,
        to: TxKind::Call(address(1)),
        ..TxEip2930::default()
    };
    let signature = signer.sign_hash_sync(&listed.signature_hash()).unwrap();
    let listed: TxEnvelope = listed.into_signed(signature).into();
    for (kind, transaction) in [("0x0", legacy), ("0x1", listed)] {
        let hash = node.send(&Recovered::new_unchecked(transaction.clone(), address(0))).await;
        let receipt: Value = node.ask("eth_getTransactionReceipt", rpc_params![hash]).await;
        assert_eq!((receipt["type"].as_str(), receipt["status"].as_str()), (Some(kind), Some("0x1")));
        let shown: Transaction = node.ask("eth_getTransactionByHash", rpc_params![hash]).await;
        assert_eq!(shown.inner.inner(), &transaction);
        assert_eq!(shown.inner.nonce(), transaction.nonce());
    }
}
