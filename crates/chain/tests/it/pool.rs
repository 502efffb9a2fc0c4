use std::collections::BTreeMap;

use alloy_consensus::{Transaction as _, TxEip1559, TxEnvelope, transaction::Recovered};
use alloy_primitives::{Address, B256, TxKind, U256};
use veracity_chain::{Accepted, Pool, PoolError, PoolLimits};

use crate::support::{CHAIN_ID, Chain, sign, signer, transaction};

const LIMITS: PoolLimits = PoolLimits {
    chain_id: CHAIN_ID,
    transactions_max: 6,
    per_sender_max: 4,
    transaction_bytes_max: 1_000,
    gas_max: 30_000_000,
    fee_min: 7,
};

fn changed(from: u8, nonce: u64, change: impl FnOnce(&mut TxEip1559)) -> Recovered<TxEnvelope> {
    let mut tx = transaction(from, nonce, TxKind::Call(Address::ZERO), 1, &[]);
    tx.gas_limit = 21_000;
    change(&mut tx);
    sign(from, tx)
}

/// A transaction with this tip.
fn tip(from: u8, nonce: u64, tip: u128) -> Recovered<TxEnvelope> {
    changed(from, nonce, |tx| tx.max_priority_fee_per_gas = tip)
}

fn order(pool: &Pool, chain: &Chain, base_fee: u64) -> Vec<(Address, u64)> {
    let mut best = pool.best(&chain.state, base_fee);
    let mut order = vec![];
    while let Some(transaction) = best.peek() {
        order.push((transaction.signer(), transaction.nonce()));
        best.advance(true);
    }
    order
}

#[test]
fn refusals_say_what_would_have_to_change() {
    let mut chain = Chain::new(&[]);
    chain.extend(&[changed(1, 0, |_| ())]);
    let mut pool = Pool::new(LIMITS);
    let first = tip(1, 1, 1_000);
    let hash = *first.tx_hash();
    let accepted = pool.insert(first.clone(), &chain.state).unwrap();
    assert_eq!(accepted, Accepted { hash, replaced: None, is_ready: true });
    let mut refuse = |transaction, expected: &str| {
        assert_eq!(pool.insert(transaction, &chain.state).unwrap_err().to_string(), expected);
    };
    refuse(first, &format!("already known: {hash}"));
    refuse(
        changed(2, 0, |tx| tx.chain_id = 1),
        "invalid chain id: the transaction is signed for 1, this chain is 73571",
    );
    refuse(
        changed(2, 0, |tx| tx.input = vec![0; 1_000].into()),
        "oversized data: the transaction has 1115 bytes, at most 1000 are accepted",
    );
    refuse(
        changed(2, 0, |tx| tx.gas_limit = 30_000_001),
        "transaction gas limit too high: it may use 30000001 gas, at most 30000000 are accepted",
    );
    refuse(
        changed(2, 0, |tx| (tx.max_fee_per_gas, tx.max_priority_fee_per_gas) = (6, 0)),
        "transaction underpriced: maxFeePerGas is 6 wei, at least 7 are needed",
    );
    refuse(changed(2, 0, |tx| tx.gas_limit = 20_999), "intrinsic gas too low: have 20999, want 21000");
    refuse(changed(1, 0, |_| ()), "nonce too low: next nonce 1, tx nonce 0");
    refuse(
        changed(99, 0, |_| ()),
        "insufficient funds for gas * price + value: balance 0, tx cost 210000000000001",
    );
    let expected =
        "replacement transaction underpriced: offer maxFeePerGas 11000000000 and maxPriorityFeePerGas 1100";
    refuse(tip(1, 1, 1_100), expected);
    (2..5).for_each(|nonce| {
        pool.insert(tip(1, nonce, 1), &chain.state).unwrap();
    });
    let error = pool.insert(tip(1, 5, 1), &chain.state).unwrap_err();
    assert_eq!(error, PoolError::SenderFull { count_max: 4 });
    let expected =
        "account limit exceeded: 4 transactions of this account wait already; send it when one is mined";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn blobs_are_refused() {
    let chain = Chain::new(&[]);
    let blob = alloy_consensus::TxEip4844 { chain_id: CHAIN_ID, ..Default::default() };
    let signature = alloy_primitives::Signature::test_signature();
    let variant: alloy_consensus::TxEip4844Variant = alloy_consensus::TxEip4844Variant::TxEip4844(blob);
    let envelope = TxEnvelope::Eip4844(alloy_consensus::Signed::new_unhashed(variant, signature));
    let blob = Recovered::new_unchecked(envelope, signer(1).address());
    let mut pool = Pool::new(LIMITS);
    let expected = "blob transactions are not supported: send an EIP-1559 transaction";
    assert_eq!(pool.insert(blob.clone(), &chain.state).unwrap_err().to_string(), expected);
    assert_eq!(chain.builder().push(&blob).unwrap_err().to_string(), expected);
}

#[test]
fn a_replacement_takes_the_place_of_what_it_outbids() {
    let chain = Chain::new(&[]);
    let mut pool = Pool::new(LIMITS);
    let old = pool.insert(tip(1, 0, 1_000), &chain.state).unwrap().hash;
    let new = changed(1, 0, |tx| {
        (tx.max_fee_per_gas, tx.max_priority_fee_per_gas) = (11_000_000_000, 1_100);
    });
    let accepted = pool.insert(new.clone(), &chain.state).unwrap();
    assert_eq!((accepted.replaced, pool.len()), (Some(old), 1));
    assert!(pool.get(&old).is_none());
    assert_eq!(pool.get(&accepted.hash), Some(&new));
}

#[test]
fn only_queues_without_gaps_are_ready() {
    let mut chain = Chain::new(&[]);
    let mut pool = Pool::new(LIMITS);
    assert!(!pool.insert(tip(1, 1, 5), &chain.state).unwrap().is_ready);
    assert_eq!((pool.next_nonce(signer(1).address(), &chain.state), order(&pool, &chain, 0)), (0, vec![]));
    assert!(pool.insert(tip(1, 0, 5), &chain.state).unwrap().is_ready);
    pool.insert(tip(1, 3, 5), &chain.state).unwrap();
    let sender = signer(1).address();
    assert_eq!(pool.next_nonce(sender, &chain.state), 2);
    assert_eq!(order(&pool, &chain, 0), [(sender, 0), (sender, 1)]);
    let executed = chain.extend(&[tip(1, 0, 5)]);
    pool.update(&executed.changes);
    assert_eq!((pool.len(), order(&pool, &chain, 0)), (2, vec![(sender, 1)]));
}

#[test]
fn the_best_pay_most_and_came_first() {
    let chain = Chain::new(&[]);
    let mut pool = Pool::new(LIMITS);
    for transaction in [tip(1, 0, 5), tip(2, 0, 9), tip(1, 1, 100), tip(3, 0, 9), tip(2, 1, 1)] {
        pool.insert(transaction, &chain.state).unwrap();
    }
    let [one, two, three] = [1, 2, 3].map(|i| signer(i).address());
    assert_eq!(order(&pool, &chain, 0), [(two, 0), (three, 0), (one, 0), (one, 1), (two, 1)]);
    let dear = 10_000_000_000 - 6;
    assert_eq!(
        order(&pool, &chain, dear),
        [(two, 0), (three, 0), (one, 0), (one, 1), (two, 1)],
        "tips are capped"
    );
    assert_eq!(order(&pool, &chain, 10_000_000_001), []);
    let mut best = pool.best(&chain.state, 0);
    best.advance(false);
    best.advance(false);
    assert_eq!(best.peek().unwrap().signer(), one, "a refused one takes its successors along");
}

#[test]
fn a_full_pool_keeps_what_pays_more() {
    let chain = Chain::new(&[]);
    let mut pool = Pool::new(LIMITS);
    for from in 1..=3 {
        pool.insert(tip(from, 0, 10 * u128::from(from)), &chain.state).unwrap();
        pool.insert(tip(from, 1, 10 * u128::from(from) + 5), &chain.state).unwrap();
    }
    let error = pool.insert(tip(4, 0, 15), &chain.state).unwrap_err();
    assert_eq!(error, PoolError::Full { priority_fee: 16 });
    let expected = "txpool is full: offer a maxPriorityFeePerGas of 16 wei or more, or send it later";
    assert_eq!(error.to_string(), expected);
    assert!(pool.insert(tip(1, 2, 100), &chain.state).is_err(), "its own predecessor would have to go");
    let accepted = pool.insert(tip(4, 0, 16), &chain.state).unwrap();
    assert_eq!((pool.len(), pool.get(&accepted.hash).is_some()), (6, true));
    assert_eq!(pool.next_nonce(signer(1).address(), &chain.state), 1, "the last of the cheapest queue went");
}

/// Random operations against lists.
#[test]
fn equals_a_naive_model() {
    for seed in 0..30u64 {
        let mut chain = Chain::new(&[]);
        // Some are full most of the time.
        let transactions_max = [1_000, 7][usize::try_from(seed % 2).unwrap()];
        let mut pool = Pool::new(PoolLimits { transactions_max, per_sender_max: 1_000, ..LIMITS });
        let mut model: BTreeMap<(Address, u64), (u128, usize)> = BTreeMap::new();
        let mut random = seed;
        let mut below = |n: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % n
        };
        for step in 0..60 {
            let from = u8::try_from(below(4)).unwrap();
            let (sender, nonce, price) = (signer(from).address(), below(6), u128::from(below(50)));
            let offer = changed(from, nonce, |tx| {
                (tx.max_fee_per_gas, tx.max_priority_fee_per_gas) =
                    (10_000_000_000 + price * 1_000_000_000, price);
            });
            let used = chain.state.account(sender).map_or(0, |a| a.nonce);
            let (old, fee) = (model.get(&(sender, nonce)).copied(), 10_000_000_000 + price * 1_000_000_000);
            let is_enough = old.is_none_or(|(old, _)| {
                let old_fee = 10_000_000_000 + old * 1_000_000_000;
                fee * 100 >= old_fee * 110 && price >= old + (old * 10).div_ceil(100)
            });
            let mut expected = nonce >= used && is_enough;
            if expected && old.is_none() && model.len() == transactions_max {
                let (worst, (least, _)) = naive_worst(&model);
                expected = least < price && (worst.0 != sender || worst.1 > nonce);
                if expected {
                    model.remove(&worst);
                }
            }
            let result = pool.insert(offer, &chain.state);
            assert_eq!(result.is_ok(), expected, "seed {seed} step {step}: {result:?}");
            if expected {
                model.insert((sender, nonce), (price, step));
            }
            let expected = naive(&model, &chain);
            assert_eq!(order(&pool, &chain, 0), expected, "seed {seed} step {step}");
            assert_eq!(pool.len(), model.len(), "seed {seed} step {step}");
            for sender in (0..4).map(|i| signer(i).address()) {
                let is_ready = expected.iter().any(|(ready, _)| *ready == sender);
                assert_eq!(pool.is_ready(sender, &chain.state, 0), is_ready, "seed {seed} step {step}");
            }
            if below(8) == 0 {
                let mut builder = chain.builder();
                let mut best = pool.best(&chain.state, chain.head.header.base_fee_per_gas.unwrap());
                for _ in 0..below(5) {
                    let Some(next) = best.peek() else { break };
                    builder.push(next).unwrap();
                    best.advance(true);
                }
                let (block, executed) = builder.finish();
                (chain.head, chain.state) = (block, executed.state.clone());
                pool.update(&executed.changes);
                model.retain(|(sender, nonce), _| *nonce >= chain.state.account(*sender).unwrap().nonce);
            }
        }
    }
}

/// The last transaction of a sender that tips least; of those that tip the same, the latest.
fn naive_worst(model: &BTreeMap<(Address, u64), (u128, usize)>) -> ((Address, u64), (u128, usize)) {
    let lasts: BTreeMap<Address, u64> = model.keys().copied().collect();
    let lasts = lasts.into_iter().map(|key| (key, model[&key]));
    lasts.min_by_key(|(_, (price, arrival))| (*price, std::cmp::Reverse(*arrival))).unwrap()
}

fn naive(model: &BTreeMap<(Address, u64), (u128, usize)>, chain: &Chain) -> Vec<(Address, u64)> {
    let mut next: BTreeMap<Address, u64> = model
        .keys()
        .map(|(sender, _)| (*sender, chain.state.account(*sender).map_or(0, |account| account.nonce)))
        .collect();
    let mut order = vec![];
    loop {
        let heads = next.iter().filter_map(|at| {
            let (price, arrival) = model.get(&(*at.0, *at.1))?;
            Some((*price, std::cmp::Reverse(*arrival), *at.0))
        });
        let Some((_, _, sender)) = heads.max() else { return order };
        let nonce = next[&sender];
        order.push((sender, nonce));
        next.insert(sender, nonce + 1);
    }
}

#[test]
fn what_cannot_be_paid_any_more_is_dropped() {
    let mut chain = Chain::new(&[]);
    let mut pool = Pool::new(LIMITS);
    let all = chain.balance(signer(1).address());
    pool.insert(changed(1, 1, |tx| tx.value = all - U256::from(1u64 << 60)), &chain.state).unwrap();
    let executed = chain.extend(&[changed(1, 0, |tx| tx.value = U256::from(1u64 << 61))]);
    pool.update(&executed.changes);
    assert!(pool.is_empty());
    assert_eq!(pool.get(&B256::ZERO), None);
}
