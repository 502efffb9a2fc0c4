//! Proofs, verified by code that is not ours.

use std::sync::Arc;

use alloy_consensus::Header;
use alloy_eips::{Decodable2718 as _, Encodable2718 as _};
use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256, keccak256};
use alloy_rlp::Decodable as _;
use alloy_rpc_types_eth::EIP1186AccountProofResponse;
use alloy_trie::{EMPTY_ROOT_HASH, Nibbles, TrieAccount, proof::verify_proof};
use jsonrpsee::rpc_params;
use serde_json::{Value, json};
use veracity_rpc::{Finalization, TransactionInclusion, verify_item};

use crate::{
    sealer::Sealing,
    support::{COUNTER, LOGGER, Node, address, contract, invoke, raw, transfer, words},
};

/// Verifies a proof of `eth_getProof` under a state root (EIP-1186).
fn verify(root: B256, proof: &EIP1186AccountProofResponse) {
    let EIP1186AccountProofResponse { balance, nonce, storage_hash, code_hash, .. } = *proof;
    let account = TrieAccount { nonce, balance, storage_root: storage_hash, code_hash };
    let is_there = nonce > 0 || !balance.is_zero() || code_hash != KECCAK256_EMPTY;
    let value = is_there.then(|| alloy_rlp::encode(account));
    let key = Nibbles::unpack(keccak256(proof.address));
    verify_proof(root, key, value, &proof.account_proof).unwrap();
    for slot in &proof.storage_proof {
        let value = (!slot.value.is_zero()).then(|| alloy_rlp::encode(slot.value));
        let key = Nibbles::unpack(keccak256(slot.key.as_b256()));
        verify_proof(storage_hash, key, value, &slot.proof).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_and_slots_are_proven_at_every_height() {
    let node = Node::new(Sealing::Instant).await;
    for nonce in 0..4 {
        node.send(&invoke(0, nonce, COUNTER, &[])).await;
        node.send(&transfer(1, nonce, Address::repeat_byte(0x77), 5)).await;
    }
    for height in 0..=node.chain.head().number() {
        let root = node.chain.header(height).unwrap().unwrap().state_root;
        for target in [contract(COUNTER), address(0), Address::repeat_byte(0x77), Address::repeat_byte(0x11)]
        {
            let params = rpc_params![target, ["0x0", "0x1"], format!("{height:#x}")];
            let proof: EIP1186AccountProofResponse = node.ask("eth_getProof", params).await;
            assert_eq!(proof.storage_proof.len(), 2);
            verify(root, &proof);
            if target == contract(COUNTER) {
                assert_eq!(proof.storage_proof[0].value, U256::from(height.div_ceil(2)));
            }
        }
    }
    let nobody: EIP1186AccountProofResponse =
        node.ask("eth_getProof", rpc_params![Address::repeat_byte(0x11), Vec::<B256>::new(), "latest"]).await;
    assert_eq!((nobody.storage_hash, nobody.code_hash), (EMPTY_ROOT_HASH, KECCAK256_EMPTY));
    let many: Vec<_> = (0..1025).map(|slot| B256::from(U256::from(slot))).collect();
    let error = node.refusal("eth_getProof", rpc_params![contract(COUNTER), many, "latest"]).await;
    assert_eq!(error.code(), -32005);
    assert!(error.message().starts_with("slots of a proof: 1025 asked for, at most 1024 allowed"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_and_receipts_are_proven_under_their_header() {
    // Counts around those where keys of the trie change their length.
    for count in [1usize, 2, 16, 17, 127, 128, 129, 200] {
        let node = Node::new(Sealing::Manual).await;
        let sent: Vec<_> = (0u64..)
            .take(count)
            .map(|nonce| match nonce % 2 {
                0 => transfer(0, nonce, address(1), 1),
                _ => invoke(0, nonce, LOGGER, &words(&[nonce, 2, 3])),
            })
            .collect();
        for transaction in &sent {
            veracity_rpc::Submit::submit(&*node.sealer, transaction.clone()).unwrap();
        }
        node.sealer.seal(usize::MAX);
        for (index, transaction) in sent.iter().enumerate() {
            let proven: TransactionInclusion =
                node.ask("veracity_getTransactionInclusion", rpc_params![transaction.tx_hash()]).await;
            let header = Header::decode(&mut &proven.header[..]).unwrap();
            assert_eq!(header.hash_slow(), proven.block_hash);
            assert_eq!(usize::try_from(proven.index).unwrap(), index);
            assert_eq!(proven.transaction, raw(transaction));
            let (root, proof) = (header.transactions_root, &proven.transaction_proof);
            verify_item(root, proven.index, &proven.transaction, proof).unwrap();
            let receipts = (header.receipts_root, &proven.receipt_proof);
            verify_item(receipts.0, proven.index, &proven.receipt, receipts.1).unwrap();
            let receipt = alloy_consensus::ReceiptEnvelope::decode_2718_exact(&proven.receipt).unwrap();
            assert_eq!(receipt.logs().len(), index % 2);
            assert_eq!(receipt.encoded_2718(), proven.receipt);
            // Neither another place nor another receipt is shown by it.
            verify_item(receipts.0, proven.index + 1, &proven.receipt, receipts.1).unwrap_err();
            let other = [&proven.receipt[..], &[0]].concat();
            verify_item(receipts.0, proven.index, &other, receipts.1).unwrap_err();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_finalizes_the_blocks_before_it() {
    let node = Node::new(Sealing::Manual).await;
    (0..30).for_each(|_| node.sealer.seal(0));
    let hash = |height| node.chain.header(height).unwrap().unwrap().hash_slow();
    node.chain.certify(hash(10), vec![10]).unwrap();
    node.chain.certify(hash(25), vec![25]).unwrap();
    // The same again changes nothing.
    node.chain.certify(hash(25), vec![25]).unwrap();
    for (height, certified) in [(0u64, 10u64), (9, 10), (10, 10), (11, 25), (25, 25)] {
        for block in [json!(format!("{height:#x}")), json!(hash(height))] {
            let proof: Finalization = node.ask("veracity_getFinalization", rpc_params![block]).await;
            assert_eq!(proof.certificate, Bytes::from(vec![u8::try_from(certified).unwrap()]));
            let headers: Vec<_> =
                proof.headers.iter().map(|bytes| Header::decode(&mut &bytes[..]).unwrap()).collect();
            assert_eq!(headers.first().unwrap().hash_slow(), hash(height));
            assert_eq!(headers.last().unwrap().hash_slow(), hash(certified));
            assert!(headers.is_sorted_by(|a, b| b.parent_hash == a.hash_slow()));
        }
    }
    let none: Value = node.ask("veracity_getFinalization", rpc_params!["0x1a"]).await;
    assert_eq!(none, Value::Null);
    (0..1030).for_each(|_| node.sealer.seal(0));
    node.chain.certify(node.chain.head().hash(), vec![1]).unwrap();
    let error = node.refusal("veracity_getFinalization", rpc_params!["0x1a"]).await;
    assert_eq!(error.code(), -32005);
    assert!(error.message().starts_with("headers up to the next certificate: 1035 asked for"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_comes_before_its_block_is_kept() {
    let (node, twin) = (Node::new(Sealing::Manual).await, Node::new(Sealing::Manual).await);
    twin.sealer.seal(0);
    let head = twin.chain.head();
    node.chain.certify(head.hash(), vec![1, 2, 3]).unwrap();
    assert_eq!(node.ask::<Value>("veracity_getFinalization", rpc_params!["0x0"]).await, Value::Null);
    let block = veracity_chain::Block { header: head.header().clone(), transactions: vec![] };
    let executed = veracity_chain::Executed {
        state: twin.chain.state(1).unwrap(),
        changes: vec![],
        senders: vec![],
        receipts: vec![],
        gas_used: 0,
    };
    node.chain.append(Arc::new(block), vec![], &executed).unwrap();
    let proof: Finalization = node.ask("veracity_getFinalization", rpc_params!["0x0"]).await;
    assert_eq!((proof.certificate, proof.headers.len()), (Bytes::from_static(&[1, 2, 3]), 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_the_network_key_says_so() {
    let node = Node::new(Sealing::Manual).await;
    let services = veracity_rpc::Services {
        chain: node.chain.clone(),
        pool: node.sealer.clone(),
        peers: Arc::new(|| 0),
        epoch: Arc::new(|| None),
        tip: Arc::new(|| 0),
        network_key: None,
        follow: None,
    };
    let config = veracity_rpc::Config::new("127.0.0.1:0".parse().unwrap());
    let server = veracity_rpc::serve(config, services).await.unwrap();
    let url = format!("http://{}", server.address());
    let node =
        Node { http: jsonrpsee::http_client::HttpClientBuilder::default().build(url).unwrap(), ..node };
    let error = node.refusal("veracity_networkKey", rpc_params![]).await;
    assert_eq!(
        (error.code(), error.message()),
        (-32001, "the network key is not known to this node: start it with one")
    );
    server.stop().await;
}
