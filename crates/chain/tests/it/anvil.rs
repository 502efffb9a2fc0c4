//! The same transactions on another node.
//!
//! `testdata/anvil.zip` holds what anvil made of a chain of blocks: see `acceptance/anvil`, which records it, and its
//! field `origin`. Here the same transactions are executed in the same blocks, and everything must come out equal:
//! receipts, headers up to their hashes, and the accounts after the last block.
//!
//! Known and justified differences:
//! - The base fee of anvil's block 1 is its genesis block's, without EIP-1559. That block is empty, so its header is taken
//!   as it is, and the comparison begins with block 2.
//! - anvil's `stateRoot` also contains empty accounts that were only looked at or got nothing, against EIP-161, and slots
//!   whose value is zero, against the Yellow Paper. It is taken as it is, so that hashes of headers, and `BLOCKHASH`, can be
//!   equal; instead, after every block, the accounts and slots that changed in anvil are compared, and after the last all.
//! - anvil's database knows no absent accounts, so it gives the refund of EIP-7702 (12 500 gas, for an authority that
//!   exists) for absent ones too. All authorities of the fixture exist; [`delegation_of_an_absent_account`] has that case.

use std::collections::BTreeMap;

use alloy_consensus::{
    Header, ReceiptEnvelope, SignableTransaction, TxEip7702, TxEnvelope, transaction::Recovered,
};
use alloy_eips::{eip2718::Decodable2718, eip2935::HISTORY_STORAGE_ADDRESS, eip7702::Authorization};
use alloy_genesis::{Genesis, GenesisAccount};
use alloy_primitives::{Address, B256, Bloom, Bytes, U256, address, keccak256};
use alloy_signer::SignerSync;
use serde_json::Value;
use veracity_chain::{
    Block, Builder, Change, Choice, Executed, State, check_block, genesis_block, genesis_changes, slot_hash,
};

use crate::support::{CHAIN_ID, Chain, contract, send, signer};

fn fixture() -> Value {
    let archive: &[u8] = include_bytes!("../../testdata/anvil.zip");
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(archive)).unwrap();
    serde_json::from_reader(archive.by_name("anvil.json").unwrap()).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no string"))
}

fn parse<T: std::str::FromStr<Err: std::fmt::Debug>>(value: &Value) -> T {
    text(value).parse().unwrap()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| parse::<U256>(value).to())
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn decode(raw: &Value) -> TxEnvelope {
    TxEnvelope::decode_2718_exact(&parse::<Bytes>(raw)).unwrap()
}

/// anvil's block 1, which is empty, and the state after it.
fn first(fixture: &Value) -> (Header, State) {
    let alloc = fixture["alloc"].as_object().unwrap().iter().map(|(address, account)| {
        let values = GenesisAccount::default()
            .with_balance(parse(&account["balance"]))
            .with_nonce(account.get("nonce").map(number))
            .with_code(account.get("code").map(parse));
        (address.parse().unwrap(), values)
    });
    let genesis = Genesis::default().extend_accounts(alloc).with_gas_limit(number(&fixture["gasLimit"]));
    let block = &fixture["blocks"][0];
    assert!(list(&block["transactions"]).is_empty());
    let mut state = State::default();
    state.apply(&genesis_changes(&genesis)).unwrap();
    let parent_hash: B256 = parse(&block["parentHash"]);
    let slot = Change::Slot(keccak256(HISTORY_STORAGE_ADDRESS), slot_hash(U256::ZERO), parent_hash.into());
    state.apply(&[slot]).unwrap();
    compare_accounts(&state, 1, &block["accounts"]);
    let header = Header {
        parent_hash,
        number: 1,
        timestamp: number(&block["timestamp"]),
        beneficiary: parse(&fixture["beneficiary"]),
        mix_hash: parse(&block["mixHash"]),
        base_fee_per_gas: Some(number(&block["baseFeePerGas"])),
        ..genesis_block(&genesis, &state).header
    };
    assert_eq!(header.state_root, parse::<B256>(&block["stateRoot"]));
    compare_headers(&header, block);
    (header, state)
}

fn build(parent: &Header, state: &State, fixture: &Value, block: &Value) -> (Block, Executed) {
    let choice = Choice {
        timestamp: number(&block["timestamp"]),
        beneficiary: parse(&fixture["beneficiary"]),
        random: parse(&block["mixHash"]),
        extra_data: Bytes::new(),
    };
    let transactions: Vec<TxEnvelope> = list(&block["transactions"]).iter().map(decode).collect();
    let senders = Block { header: Header::default(), transactions }.recover().unwrap();
    let mut builder = Builder::new(parent, state, number(&fixture["chainId"]), &choice);
    for (index, transaction) in senders.iter().enumerate() {
        let at = parent.number + 1;
        builder.push(transaction).unwrap_or_else(|e| panic!("block {at}, transaction {index}: {e}"));
    }
    builder.finish()
}

/// A receipt in the form of the fixture.
fn described(
    transaction: &Recovered<TxEnvelope>,
    receipt: &ReceiptEnvelope,
    gas_before: u64,
) -> BTreeMap<&'static str, Value> {
    use alloy_consensus::Transaction as _;
    let log = |log: &alloy_primitives::Log| {
        let topics: Vec<String> = log.data.topics().iter().map(B256::to_string).collect();
        let address = format!("{:?}", log.address);
        serde_json::json!({ "address": address, "topics": topics, "data": log.data.data.to_string() })
    };
    let logs: Vec<Value> = receipt.logs().iter().map(log).collect();
    let mut described = BTreeMap::from([
        ("status", u64::from(receipt.status()).into()),
        ("gasUsed", (receipt.cumulative_gas_used() - gas_before).into()),
    ]);
    if transaction.kind().is_create() {
        let created = transaction.signer().create(transaction.nonce());
        described.insert("contractAddress", format!("{created:?}").into());
    }
    if !logs.is_empty() {
        described.insert("logs", logs.into());
    }
    described
}

fn compare_receipts(block: &Block, executed: &Executed, expected: &Value) {
    let expected = list(&expected["receipts"]);
    assert_eq!(executed.receipts.len(), expected.len());
    let mut gas_before = 0;
    for (index, transaction) in block.recover().unwrap().iter().enumerate() {
        let receipt = &executed.receipts[index];
        let found = described(transaction, receipt, gas_before);
        gas_before = receipt.cumulative_gas_used();
        for field in ["status", "gasUsed", "contractAddress", "logs"] {
            let expected = expected[index].get(field);
            let at = block.header.number;
            assert_eq!(
                found.get(field),
                expected,
                "{field} of block {at}, transaction {index}: {transaction:?}"
            );
        }
    }
}

fn compare_headers(header: &Header, expected: &Value) {
    let at = header.number;
    let roots = [
        ("transactionsRoot", header.transactions_root),
        ("receiptsRoot", header.receipts_root),
        ("mixHash", header.mix_hash),
    ];
    for (name, found) in roots {
        assert_eq!(found, parse::<B256>(&expected[name]), "{name} of block {at}");
    }
    assert_eq!(header.logs_bloom, parse::<Bloom>(&expected["logsBloom"]), "logsBloom of block {at}");
    assert_eq!(header.gas_used, number(&expected["gasUsed"]), "gasUsed of block {at}");
    assert_eq!(
        header.base_fee_per_gas,
        Some(number(&expected["baseFeePerGas"])),
        "baseFeePerGas of block {at}"
    );
    let as_anvil = Header { state_root: parse(&expected["stateRoot"]), ..header.clone() };
    assert_eq!(as_anvil.hash_slow(), parse::<B256>(&expected["hash"]), "hash of block {at}");
}

/// Compares the accounts and slots that are named.
fn compare_changes(state: &State, at: u64, expected: &Value) {
    for (name, account) in expected.as_object().unwrap() {
        let address: Address = name.parse().unwrap();
        let found = state.account(address);
        assert_eq!(found.is_some(), !account.is_null(), "existence of {name} after block {at}");
        let Some(found) = found else { continue };
        assert_eq!(found.nonce, number(&account["nonce"]), "nonce of {name} after block {at}");
        assert_eq!(found.balance, parse::<U256>(&account["balance"]), "balance of {name} after block {at}");
        assert_eq!(found.code_hash, parse::<B256>(&account["codeHash"]), "code of {name} after block {at}");
        for (slot, value) in account["storage"].as_object().unwrap() {
            let found = state.slot(address, slot.parse().unwrap());
            assert_eq!(found, parse::<U256>(value), "slot {slot} of {name} after block {at}");
        }
    }
}

/// Compares all accounts, and that there are no others, nor other slots.
fn compare_accounts(state: &State, at: u64, expected: &Value) {
    compare_changes(state, at, expected);
    let expected = expected.as_object().unwrap();
    for (name, account) in expected {
        let mut n_slots = 0;
        let found = state.account(name.parse().unwrap()).unwrap();
        found.storage.for_each(&mut |_, _| n_slots += 1);
        assert_eq!(n_slots, account["storage"].as_object().unwrap().len(), "slots of {name}");
    }
    let mut n_accounts = 0;
    state.for_each(&mut |_, _| n_accounts += 1);
    assert_eq!(n_accounts, expected.len());
}

/// The chain of the fixture: the last header and the state after it.
fn replay(fixture: &Value, check: impl Fn(&Header, &State, &Block, &Executed, &Value)) -> (Header, State) {
    let start = first(fixture);
    list(&fixture["blocks"])[1..].iter().fold(start, |(parent, state), expected| {
        let (block, executed) = build(&parent, &state, fixture, expected);
        check(&parent, &state, &block, &executed, expected);
        let header = Header { state_root: parse(&expected["stateRoot"]), ..block.header };
        (header, executed.state)
    })
}

#[test]
fn blocks_are_as_anvil_makes_them() {
    let fixture = fixture();
    let chain_id = number(&fixture["chainId"]);
    let (head, state) = replay(&fixture, |parent, state, block, executed, expected| {
        compare_receipts(block, executed, expected);
        compare_changes(&executed.state, block.header.number, &expected["accounts"]);
        compare_headers(&block.header, expected);
        let checked = check_block(parent, state, chain_id, block, &block.recover().unwrap()).unwrap();
        assert_eq!(checked.changes, executed.changes);
    });
    compare_accounts(&state, head.number, &fixture["accounts"]);
}

#[test]
fn what_anvil_refuses_is_refused() {
    let fixture = fixture();
    let (head, state) = replay(&fixture, |_, _, _, _, _| ());
    let choice = Choice {
        timestamp: head.timestamp,
        beneficiary: address!("bebebebebebebebebebebebebebebebebebebebe"),
        random: B256::ZERO,
        extra_data: Bytes::new(),
    };
    let mut builder = Builder::new(&head, &state, number(&fixture["chainId"]), &choice);
    for refused in list(&fixture["refused"]) {
        let transactions = vec![decode(&refused["raw"])];
        let [transaction] =
            <[_; 1]>::try_from(Block { header: head.clone(), transactions }.recover().unwrap()).unwrap();
        assert!(builder.push(&transaction).is_err(), "{}", refused["why"]);
    }
    assert_eq!(builder.finish().1.gas_used, 0);
}

/// EIP-7702 refunds 12 500 gas of an authorization if its authority exists; anvil also refunds if it does not.
#[test]
fn delegation_of_an_absent_account() {
    let gas_used = |funded: u64| {
        let mut chain = Chain::new(&[]);
        if funded > 0 {
            chain.extend(&[send(0, 0, signer(20).address(), funded)]);
        }
        let authorization = Authorization { chain_id: U256::from(CHAIN_ID), address: contract(0), nonce: 0 };
        let signature = signer(20).sign_hash_sync(&authorization.signature_hash()).unwrap();
        let transaction = TxEip7702 {
            chain_id: CHAIN_ID,
            gas_limit: 1_000_000,
            max_fee_per_gas: 10_000_000_000,
            to: signer(0).address(),
            authorization_list: vec![authorization.into_signed(signature)],
            ..TxEip7702::default()
        };
        let signature = signer(1).sign_hash_sync(&transaction.signature_hash()).unwrap();
        let transaction = TxEnvelope::from(transaction.into_signed(signature));
        chain.extend(&[Recovered::new_unchecked(transaction, signer(1).address())]).gas_used
    };
    // A fifth of what was used is the most that is refunded: 46 000 / 5.
    assert_eq!((gas_used(0), gas_used(1)), (21_000 + 25_000, 21_000 + 25_000 - 9_200));
}
