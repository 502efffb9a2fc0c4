use std::collections::BTreeMap;

use alloy_consensus::{
    Header, SignableTransaction, TxEip2930, TxEip7702, TxEnvelope, TxLegacy, TxReceipt,
    transaction::Recovered,
};
use alloy_eips::eip7702::Authorization;
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256, keccak256};
use alloy_signer::SignerSync;
use alloy_trie::{
    Nibbles, TrieAccount,
    proof::verify_proof,
    root::{state_root, storage_root},
};
use veracity_chain::{
    AccountValues, Block, BlockError, Change, State, TransactionError, UnknownCode, check_block, slot_hash,
};

use crate::support::{CHAIN_ID, Chain, contract, send, sign, signer, transaction};

/// Adds 1 to slot 0 and to the slot of the caller, and logs.
const COUNTER: &[u8] = &[
    0x5f, 0x54, 0x60, 0x01, 0x01, 0x5f, 0x55, // slot 0 += 1
    0x33, 0x54, 0x60, 0x01, 0x01, 0x33, 0x55, // slot caller += 1
    0x60, 0x2a, 0x5f, 0x5f, 0xa1, // log1(topic 42)
    0x00,
];
/// Reverts.
const REVERTER: &[u8] = &[0x5f, 0x5f, 0xfd];
/// Stores the hash of the parent and PREVRANDAO in slots 0 and 1.
const WITNESS: &[u8] = &[0x60, 0x01, 0x43, 0x03, 0x40, 0x5f, 0x55, 0x44, 0x60, 0x01, 0x55, 0x00];
/// Sets slot 0 to 0.
const CLEARER: &[u8] = &[0x5f, 0x5f, 0x55, 0x00];

/// Init code that stores 5 in slot 3 and returns `code`.
fn init(code: &[u8]) -> Vec<u8> {
    let len = u8::try_from(code.len()).unwrap();
    let mut bytes =
        vec![0x60, 0x05, 0x60, 0x03, 0x55, 0x60, len, 0x60, 17, 0x5f, 0x39, 0x60, len, 0x5f, 0xf3];
    bytes.resize(17, 0x00);
    bytes.extend(code);
    bytes
}

/// The root of a state as an independent implementation computes it.
pub(crate) fn expected_root(state: &State) -> B256 {
    let mut accounts = BTreeMap::new();
    state.for_each(&mut |at, account| {
        let mut slots = BTreeMap::new();
        account.storage.for_each(&mut |slot, value| {
            slots.insert(slot, *value);
        });
        let storage_root = storage_root(slots);
        let (nonce, balance, code_hash) = (account.nonce, account.balance, account.code_hash);
        accounts.insert(at, TrieAccount { nonce, balance, storage_root, code_hash });
    });
    state_root(accounts)
}

#[test]
fn transfers_move_value_and_pay_fees() {
    let mut chain = Chain::new(&[]);
    let to = Address::repeat_byte(0x77);
    let before = chain.balance(signer(1).address());
    let base_fee = u64::from(875_000_000u32);
    let executed = chain.extend(&[send(1, 0, to, 5), send(2, 0, to, 7), send(1, 1, to, 11)]);
    assert_eq!(chain.balance(to), U256::from(23));
    assert_eq!(chain.head.header.base_fee_per_gas, Some(base_fee));
    assert_eq!(executed.gas_used, 3 * 21_000);
    let tips = 2 * 21_000 * 1_000_000 + 21_000 * 2_000_000u64;
    assert_eq!(chain.balance(Address::repeat_byte(0xbe)), U256::from(tips));
    let spent = before - chain.balance(signer(1).address());
    assert_eq!(spent, U256::from(16 + 2 * 21_000 * (base_fee + 1_000_000)));
}

#[test]
fn contracts_keep_state_logs_and_reasons() {
    let mut chain = Chain::new(&[COUNTER, REVERTER, WITNESS, CLEARER]);
    chain.extend(&[]);
    let call = |from, nonce, to| send(from, nonce, contract(to), 0);
    let parent = chain.head.hash();
    let executed = chain.extend(&[call(1, 0, 0), call(1, 1, 1), call(2, 0, 0), call(3, 0, 2)]);
    let statuses: Vec<bool> = executed.receipts.iter().map(TxReceipt::status).collect();
    assert_eq!(statuses, [true, false, true, true]);
    assert_eq!(executed.receipts[0].logs()[0].data.topics(), [B256::with_last_byte(42)]);
    assert_eq!(chain.state.slot(contract(0), U256::ZERO), U256::from(2));
    let caller = U256::from_be_slice(signer(1).address().as_slice());
    assert_eq!(chain.state.slot(contract(0), caller), U256::ONE);
    assert_eq!(chain.state.slot(contract(2), U256::ZERO), U256::from_be_bytes(parent.0), "BLOCKHASH");
    assert_eq!(chain.state.slot(contract(2), U256::ONE), U256::from_be_bytes([7; 32]), "PREVRANDAO");
    assert!(
        chain
            .head
            .header
            .logs_bloom
            .contains_input(alloy_primitives::BloomInput::Raw(contract(0).as_slice()))
    );
}

#[test]
fn a_chain_of_mixed_blocks_has_independent_roots_and_rebuilds_from_its_changes() {
    let mut chain = Chain::new(&[COUNTER, CLEARER]);
    let mut kept: Vec<Change> = vec![];
    let genesis = chain.state.clone();
    let mut nonces = [0u64; 10];
    for round in 0..30u64 {
        let mut transactions = vec![];
        for from in 0..10u8 {
            let nonce = nonces[usize::from(from)];
            nonces[usize::from(from)] += 1;
            let to = Address::left_padding_from(
                &(keccak256(round.to_be_bytes())[usize::from(from)] as u64).to_be_bytes(),
            );
            transactions.push(match (round + u64::from(from)) % 4 {
                0 => send(from, nonce, contract(0), 0),
                1 => sign(from, transaction(from, nonce, TxKind::Create, 0, &init(COUNTER))),
                2 => send(from, nonce, contract(1), 0),
                _ => send(from, nonce, to, round),
            });
        }
        let (parent, state) = (chain.head.clone(), chain.state.clone());
        let executed = chain.extend(&transactions);
        assert_eq!(executed.state.root(), expected_root(&executed.state), "round {round}");
        let senders = chain.head.recover().unwrap();
        assert_eq!(senders, transactions, "signatures recover to their signers");
        let checked = check_block(&parent.header, &state, CHAIN_ID, &chain.head, &senders).unwrap();
        assert_eq!(checked.changes, executed.changes);
        kept.extend(executed.changes);
    }
    let mut rebuilt = genesis;
    rebuilt.apply(&kept).unwrap();
    assert_eq!(rebuilt.root(), chain.state.root());
}

#[test]
fn a_created_and_destroyed_contract_leaves_nothing() {
    // Creates a contract with init code PUSH20 0 SELFDESTRUCT in the same transaction, after a store.
    let destroy: Vec<u8> = [&[0x60, 0x09, 0x5f, 0x55, 0x73][..], &[0x11; 20], &[0xff]].concat();
    let mut chain = Chain::new(&[]);
    let executed = chain.extend(&[sign(1, transaction(1, 0, TxKind::Create, 3, &destroy))]);
    assert!(executed.receipts[0].status());
    assert!(chain.state.account(signer(1).address().create(0)).is_none());
    assert_eq!(chain.balance(Address::repeat_byte(0x11)), U256::from(3));
    assert_eq!(chain.state.root(), expected_root(&chain.state));
}

/// Code that is set and taken back again (EIP-7702), and the two older kinds of transactions.
#[test]
fn all_kinds_of_transactions_are_executed_and_kept() {
    let mut chain = Chain::new(&[COUNTER]);
    let (genesis, mut kept) = (chain.state.clone(), vec![]);
    let sender = signer(1).address();
    let delegate = |nonce, to| {
        let authorization = Authorization { chain_id: U256::from(CHAIN_ID), address: to, nonce };
        let signature = signer(2).sign_hash_sync(&authorization.signature_hash()).unwrap();
        vec![authorization.into_signed(signature)]
    };
    let set_code = |nonce, authorization_list| {
        let to = signer(2).address();
        let fees = (2_000_000_000, 1);
        TxEip7702 {
            chain_id: CHAIN_ID,
            nonce,
            gas_limit: 200_000,
            max_fee_per_gas: fees.0,
            max_priority_fee_per_gas: fees.1,
            to,
            authorization_list,
            ..TxEip7702::default()
        }
    };
    let sign = |tx: TxEip7702| {
        let signature = signer(1).sign_hash_sync(&tx.signature_hash()).unwrap();
        Recovered::new_unchecked(TxEnvelope::from(tx.into_signed(signature)), sender)
    };
    let executed =
        chain.extend(&[sign(set_code(0, delegate(0, contract(0)))), send(1, 1, signer(2).address(), 0)]);
    kept.extend(executed.changes);
    let account = chain.state.account(signer(2).address()).unwrap();
    assert!(account.code.as_ref().is_some_and(|code| code.is_eip7702()));
    assert_eq!(
        account.storage.get(&slot_hash(U256::ZERO)),
        Some(&U256::from(2)),
        "it ran as the account's own"
    );
    let executed = chain.extend(&[sign(set_code(2, delegate(1, Address::ZERO)))]);
    kept.extend(executed.changes);
    assert!(chain.state.account(signer(2).address()).unwrap().code.is_none());

    let legacy = TxLegacy {
        chain_id: Some(CHAIN_ID),
        nonce: 3,
        gas_price: 2_000_000_000,
        gas_limit: 21_000,
        to: TxKind::Call(Address::repeat_byte(9)),
        value: U256::ONE,
        ..TxLegacy::default()
    };
    let signature = signer(1).sign_hash_sync(&legacy.signature_hash()).unwrap();
    let legacy = Recovered::new_unchecked(TxEnvelope::from(legacy.into_signed(signature)), sender);
    let listed = TxEip2930 {
        chain_id: CHAIN_ID,
        nonce: 4,
        gas_price: 2_000_000_000,
        gas_limit: 100_000,
        to: TxKind::Call(contract(0)),
        ..TxEip2930::default()
    };
    let signature = signer(1).sign_hash_sync(&listed.signature_hash()).unwrap();
    let listed = Recovered::new_unchecked(TxEnvelope::from(listed.into_signed(signature)), sender);
    let executed = chain.extend(&[legacy, listed]);
    kept.extend(executed.changes);
    assert!(executed.receipts.iter().all(TxReceipt::status));
    assert_eq!(chain.head.recover().unwrap().len(), 2);
    let mut rebuilt = genesis;
    rebuilt.apply(&kept).unwrap();
    assert_eq!(rebuilt.root(), chain.state.root());
    assert_eq!(chain.state.root(), expected_root(&chain.state));
}

#[test]
fn missing_code_is_noticed() {
    let hash = B256::repeat_byte(5);
    let values = AccountValues { nonce: 0, balance: U256::ZERO, code_hash: hash };
    let error = State::default().apply(&[Change::Account(B256::ZERO, Some(values))]).unwrap_err();
    assert_eq!(error, UnknownCode { hash });
    assert!(error.to_string().ends_with("the state is damaged; restore the data folder or sync again"));
}

#[test]
fn false_signatures_are_refused() {
    let mut chain = Chain::new(&[]);
    chain.extend(&[send(1, 0, Address::ZERO, 1)]);
    let TxEnvelope::Eip1559(signed) = chain.head.transactions[0].clone() else { unreachable!("sent as one") };
    let (transaction, _, _) = signed.into_parts();
    let nobody = Signature::new(U256::ZERO, U256::ZERO, false);
    chain.head.transactions.push(transaction.into_signed(nobody).into());
    assert_eq!(chain.head.recover().unwrap_err().to_string(), "transaction 1 has an invalid signature");
}

#[test]
fn proofs_verify_against_the_header() {
    let mut chain = Chain::new(&[COUNTER]);
    chain.extend(&[send(1, 0, contract(0), 0)]);
    let account = chain.state.account(contract(0)).unwrap();
    let storage_root = account.storage.root_hash();
    let value = TrieAccount { nonce: 1, balance: U256::ZERO, storage_root, code_hash: keccak256(COUNTER) };
    let root = chain.head.header.state_root;
    let at = Nibbles::unpack(keccak256(contract(0)));
    let proof = chain.state.account_proof(contract(0));
    verify_proof(root, at, Some(alloy_rlp::encode(value)), &proof).unwrap();
    let missing = Address::repeat_byte(0x99);
    verify_proof(root, Nibbles::unpack(keccak256(missing)), None, &chain.state.account_proof(missing))
        .unwrap();
    let slot = Nibbles::unpack(keccak256(B256::ZERO));
    let proof = chain.state.slot_proof(contract(0), U256::ZERO);
    verify_proof(storage_root, slot, Some(alloy_rlp::encode(U256::ONE)), &proof).unwrap();
}

#[test]
fn transactions_that_may_not_be_there_are_refused_and_change_nothing() {
    let chain = Chain::new(&[]);
    let to = Address::repeat_byte(0x77);
    let mut builder = chain.builder();
    let wrong = |f: fn(&mut alloy_consensus::TxEip1559)| {
        let mut tx = transaction(1, 0, TxKind::Call(to), 5, &[]);
        f(&mut tx);
        sign(1, tx)
    };
    let mut refuse = |transaction, expected: &str| {
        assert_eq!(builder.push(&transaction).unwrap_err().to_string(), expected);
    };
    refuse(wrong(|tx| tx.nonce = 1), "nonce 1 too high, expected 0");
    refuse(wrong(|tx| tx.chain_id = 1), "invalid chain ID");
    refuse(wrong(|tx| tx.gas_limit = 20_000), "call gas cost (21000) exceeds the gas limit (20000)");
    refuse(
        wrong(|tx| tx.gas_limit = 30_000_001),
        "the transaction may use 30000001 gas, the block has 30000000 left",
    );
    refuse(wrong(|tx| tx.max_fee_per_gas = 9), "priority fee is greater than max fee");
    let poor = sign(200, transaction(200, 0, TxKind::Call(to), 1, &[]));
    assert!(matches!(builder.push(&poor), Err(TransactionError::Invalid(_))));
    builder.push(&wrong(|_| ())).unwrap();
    let (block, executed) = builder.finish();
    assert_eq!((block.transactions.len(), executed.receipts.len()), (1, 1));
}

#[test]
fn every_false_field_of_a_header_is_refused_by_name() {
    let mut chain = Chain::new(&[COUNTER]);
    let (parent, state) = (chain.head.clone(), chain.state.clone());
    chain.extend(&[send(1, 0, contract(0), 0)]);
    let good = chain.head.clone();
    let refusal = |change: fn(&mut Header)| {
        let mut block = good.clone();
        change(&mut block.header);
        let senders = block.recover().unwrap();
        check_block(&parent.header, &state, CHAIN_ID, &block, &senders).unwrap_err()
    };
    let field = |change: fn(&mut Header)| match refusal(change) {
        BlockError::Header { field, .. } => field,
        other => panic!("{other}"),
    };
    type Change = fn(&mut Header);
    let cases: [(&str, Change); 19] = [
        ("parent_hash", |h| h.parent_hash = B256::ZERO),
        ("number", |h| h.number += 1),
        ("mix_hash", |h| h.mix_hash = B256::repeat_byte(7)),
        ("gas_limit", |h| h.gas_limit += 1),
        ("base_fee_per_gas", |h| h.base_fee_per_gas = Some(1)),
        ("transactions_root", |h| h.transactions_root = B256::ZERO),
        ("gas_used", |h| h.gas_used += 1),
        ("receipts_root", |h| h.receipts_root = B256::ZERO),
        ("logs_bloom", |h| h.logs_bloom = Default::default()),
        ("state_root", |h| h.state_root = B256::ZERO),
        ("ommers_hash", |h| h.ommers_hash = B256::ZERO),
        ("difficulty", |h| h.difficulty = U256::ONE),
        ("nonce", |h| h.nonce = alloy_primitives::B64::with_last_byte(1)),
        ("withdrawals_root", |h| h.withdrawals_root = None),
        ("blob_gas_used", |h| h.blob_gas_used = Some(1)),
        ("excess_blob_gas", |h| h.excess_blob_gas = Some(1)),
        ("parent_beacon_block_root", |h| h.parent_beacon_block_root = None),
        ("requests_hash", |h| h.requests_hash = None),
        ("state_root", |h| h.beneficiary = Address::ZERO),
    ];
    for (name, change) in cases {
        assert_eq!(field(change), name);
    }
    assert!(matches!(
        refusal(|h| h.extra_data = Bytes::from(vec![0; 33])),
        BlockError::ExtraData { length: 33 }
    ));
}

#[test]
fn blocks_older_than_their_parents_and_false_transactions_are_refused() {
    let mut chain = Chain::new(&[]);
    chain.extend(&[]);
    let (parent, state) = (chain.head.clone(), chain.state.clone());
    chain.extend(&[send(1, 0, Address::ZERO, 1)]);
    let mut old = chain.head.clone();
    old.header.timestamp = parent.header.timestamp - 1;
    let check =
        |block: &Block| check_block(&parent.header, &state, CHAIN_ID, block, &block.recover().unwrap());
    assert_eq!(check(&old).unwrap_err().to_string(), "timestamp 0 is before the parent's, 1");
    let mut twice = chain.head.clone();
    twice.transactions.push(twice.transactions[0].clone());
    let expected = "transaction 1: nonce 0 too low, expected 1";
    assert_eq!(check(&twice).unwrap_err().to_string(), expected);
    // What a proposer may choose is not judged here: no transaction of this block looks at the clock.
    let mut at_once = chain.head.clone();
    at_once.header.timestamp = parent.header.timestamp;
    check(&at_once).unwrap();
}
