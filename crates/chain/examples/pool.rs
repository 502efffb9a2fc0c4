//! Measures a full pool: taking transactions, refusing and replacing them, filling a block, and taking a block's changes in.

#![expect(clippy::print_stdout, reason = "a program that measures time")]

use std::time::Instant;

use alloy_consensus::{SignableTransaction as _, TxEip1559, TxEnvelope, transaction::Recovered};
use alloy_primitives::{Address, KECCAK256_EMPTY, Signature, TxKind, U256, keccak256};
use veracity_chain::{AccountValues, Change, Pool, PoolLimits, State};

const SENDERS: u64 = 25_000;
const EACH: u64 = 4;
const BLOCK: usize = 1_400;
const LIMITS: PoolLimits = PoolLimits {
    chain_id: 1,
    transactions_max: 100_000,
    per_sender_max: 64,
    transaction_bytes_max: 1 << 17,
    gas_max: 30_000_000,
    fee_min: 0,
};

fn sender(index: u64) -> Address {
    Address::left_padding_from(&(index + 1).to_be_bytes())
}

/// The pool never looks at the signature: whoever gives it a transaction has recovered the sender.
fn transaction(from: u64, nonce: u64, tip: u128) -> Recovered<TxEnvelope> {
    let fields = TxEip1559 {
        chain_id: LIMITS.chain_id,
        nonce,
        gas_limit: 21_000,
        max_fee_per_gas: 1_000_000,
        max_priority_fee_per_gas: tip,
        to: TxKind::Call(Address::ZERO),
        value: U256::from(from),
        ..TxEip1559::default()
    };
    Recovered::new_unchecked(fields.into_signed(Signature::test_signature()).into(), sender(from))
}

fn account(index: u64, nonce: u64) -> Change {
    let balance = U256::from(10).pow(U256::from(20));
    Change::Account(
        keccak256(sender(index)),
        Some(AccountValues { nonce, balance, code_hash: KECCAK256_EMPTY }),
    )
}

/// Prints how long something took, in microseconds for each of so many.
fn timed<T>(what: &str, count: u64, run: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = run();
    let each = start.elapsed().as_secs_f64() * 1e6 / f64::from(u32::try_from(count).expect("few"));
    println!("  {what:<46} {each:>9.2} us each, of {count}");
    result
}

fn main() {
    let mut state = State::default();
    let accounts: Vec<_> = (0..2 * SENDERS).map(|index| account(index, 0)).collect();
    state.apply(&accounts).expect("it has no code");
    // A tip that is another for each, without an order.
    let tip = |index: u64| u128::from(index.wrapping_mul(7_919) % 99_991) + 1_000;
    let make = |first: u64, tips: fn(u128) -> u128| -> Vec<_> {
        let of = |from| (0..EACH).map(move |nonce| (from, nonce));
        let all = (first..first + SENDERS).flat_map(of);
        all.map(|(from, nonce)| transaction(from, nonce, tips(tip(from * EACH + nonce)))).collect()
    };
    let (first, cheap, dear) = (make(0, |tip| tip), make(SENDERS, |_| 1), make(SENDERS, |tip| tip + 100_000));
    let count = SENDERS * EACH;
    let mut pool = Pool::new(LIMITS);
    println!("a pool of {} transactions of {SENDERS} senders:", LIMITS.transactions_max);
    timed("taken while there is room", count, || {
        first.into_iter().for_each(|t| {
            pool.insert(t, &state).expect("there is room");
        });
    });
    timed("refused, because it is full of dearer ones", count, || {
        cheap.into_iter().for_each(|t| drop(pool.insert(t, &state).expect_err("it is full")));
    });
    let best = timed("found for a block", BLOCK as u64, || {
        let mut best = pool.best(&state, 1);
        let mut found = Vec::with_capacity(BLOCK);
        while let Some(transaction) = best.peek().filter(|_| found.len() < BLOCK) {
            found.push(transaction.signer());
            best.advance(true);
        }
        found
    });
    assert_eq!(best.len(), BLOCK);
    let changes: Vec<_> = (0..u64::try_from(BLOCK).expect("few")).map(|index| account(index, 1)).collect();
    timed("changed accounts of a block taken in", BLOCK as u64, || pool.update(&changes));
    timed("taken in place of the cheapest", count, || {
        // The first ones fill what the block left.
        dear.into_iter().for_each(|t| drop(pool.insert(t, &state)));
    });
    assert_eq!(pool.len(), LIMITS.transactions_max);
}
