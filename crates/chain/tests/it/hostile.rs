//! Genesis files and transactions that are nearly good are refused, or mean one thing.

use alloy_consensus::{Transaction as _, TxEnvelope, transaction::SignerRecoverable as _};
use alloy_eips::{Decodable2718 as _, Encodable2718 as _};
use alloy_primitives::TxKind;
use veracity_chain::{BlockContext, Executor, Genesis, State};
use veracity_testkit::Mutator;

use crate::support::{CHAIN_ID, sign, transaction};

const GOOD: &str = r#"{"config":{"chainId":5,"veracity":{"parameters":{"heartbeat_ms":500},"nodes":[]}},
"timestamp":"0x1","gasLimit":"0x1c9c380","difficulty":"0x0","alloc":{"0x00000000000000000000000000000000000000aa":{"balance":"0x1"}}}"#;

fn read(text: &str) {
    let Ok(genesis) = Genesis::from_json(text) else { return };
    let again = Genesis::from_json(&genesis.to_json()).expect("what is written can be read");
    assert_eq!(again.to_json(), genesis.to_json(), "a file changes when it is written again");
    if let Ok(built) = genesis.build() {
        assert_eq!(again.build().expect("it is the same file").block, built.block);
        let mut state = State::default();
        state.apply(&built.changes).expect("accounts bring their code");
        assert_eq!(state.root(), built.block.header.state_root, "the changes make the state");
    }
}

#[test]
fn genesis_files_of_strangers() {
    let mut mutator = Mutator::new(31, &[GOOD.as_bytes().to_vec()]);
    for _ in 0..4000 {
        if let Ok(text) = String::from_utf8(mutator.next_input()) {
            read(&text);
        }
    }
}

fn execute(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    let Ok(transaction) = TxEnvelope::decode_2718(&mut rest) else { return false };
    let read = &bytes[..bytes.len() - rest.len()];
    assert_eq!(transaction.encoded_2718(), read, "a transaction with a second encoding");
    let Ok(recovered) = transaction.try_into_recovered() else { return false };
    let at = BlockContext {
        chain_id: recovered.chain_id().unwrap_or(1),
        number: 1,
        timestamp: 1,
        beneficiary: [1; 20].into(),
        gas_limit: 1_000_000,
        base_fee: 0,
        random: [2; 32].into(),
        parent: [3; 32].into(),
    };
    let mut executor = Executor::new(&State::default(), &at);
    // Nobody has money, so what is executed costs nothing.
    let _ = executor.transact(&recovered);
    let executed = executor.finish();
    assert!(executed.gas_used <= at.gas_limit);
    true
}

#[test]
fn transactions_of_strangers() {
    let good: Vec<Vec<u8>> = [TxKind::Create, TxKind::Call([7; 20].into())]
        .map(|to| sign(1, transaction(1, 0, to, 5, &[1, 2, 3])).encoded_2718())
        .into();
    let mut mutator = Mutator::new(32, &good);
    let read = (0..20_000).filter(|_| execute(&mutator.next_input())).count();
    assert!(read > 100, "only {read} were transactions");
    assert!(good.iter().all(|bytes| execute(bytes)), "on chain {CHAIN_ID}");
}
