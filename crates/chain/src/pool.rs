//! Transactions that wait for a block.
//!
//! Each sender has a queue by nonce. Only the part of it without gaps, from the account's nonce on, can go into a block;
//! the rest waits. A transaction is replaced by another with the same nonce that pays a tenth more. A full pool drops
//! what pays least, and never for something that pays as little.

use std::collections::{BTreeMap, BinaryHeap, HashMap};

use alloy_consensus::{Transaction as _, TxEnvelope, Typed2718 as _, transaction::Recovered};
use alloy_eips::Encodable2718 as _;
use alloy_primitives::{Address, B256, U256};

use crate::{PoolError, State, call::check_transaction, cost_max};

/// What a pool accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolLimits {
    /// Chain that signatures are for.
    pub chain_id: u64,
    /// Transactions in all.
    pub transactions_max: usize,
    /// Transactions of one sender.
    pub per_sender_max: usize,
    /// Size of one, in bytes.
    pub transaction_bytes_max: usize,
    /// Gas of one.
    pub gas_max: u64,
    /// Least `maxFeePerGas`, in wei.
    pub fee_min: u128,
}

/// How much more a replacement pays, in percent of both fees.
const REPLACEMENT_PERCENT: u128 = 10;

#[derive(Debug, Clone)]
struct Entry {
    transaction: Recovered<TxEnvelope>,
    hash: B256,
    /// Number of transactions accepted before.
    arrival: u64,
}

impl Entry {
    fn fees(&self) -> [u128; 2] {
        let tip = self.transaction.max_priority_fee_per_gas();
        let most = self.transaction.max_fee_per_gas();
        [most, tip.unwrap_or(most)]
    }
}

/// Transactions that wait for a block.
#[derive(Debug)]
pub struct Pool {
    limits: PoolLimits,
    senders: BTreeMap<Address, BTreeMap<u64, Entry>>,
    hashes: HashMap<B256, (Address, u64)>,
    arrivals: u64,
}

/// What became of an accepted transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// Its hash.
    pub hash: B256,
    /// The transaction that it replaced.
    pub replaced: Option<B256>,
    /// Whether a block may contain it now; otherwise one with a lower nonce is missing.
    pub is_ready: bool,
}

impl Pool {
    /// An empty pool.
    #[must_use]
    pub fn new(limits: PoolLimits) -> Self {
        Self { limits, senders: BTreeMap::new(), hashes: HashMap::new(), arrivals: 0 }
    }

    /// Number of transactions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// The transaction with this hash.
    #[must_use]
    pub fn get(&self, hash: &B256) -> Option<&Recovered<TxEnvelope>> {
        let (sender, nonce) = self.hashes.get(hash)?;
        Some(&self.senders.get(sender)?.get(nonce)?.transaction)
    }

    /// The waiting transaction of `sender` with this nonce.
    #[must_use]
    pub fn of(&self, sender: Address, nonce: u64) -> Option<&Recovered<TxEnvelope>> {
        Some(&self.senders.get(&sender)?.get(&nonce)?.transaction)
    }

    /// All transactions, by sender and nonce: those that a block on `state` may contain, and those before which a nonce is
    /// missing.
    #[must_use]
    pub fn waiting(&self, state: &State) -> (Vec<Recovered<TxEnvelope>>, Vec<Recovered<TxEnvelope>>) {
        let all = self.senders.iter().flat_map(|(sender, queue)| {
            let next = self.next_nonce(*sender, state);
            queue.iter().map(move |(nonce, entry)| (*nonce < next, entry.transaction.clone()))
        });
        let (ready, queued): (Vec<_>, Vec<_>) = all.partition(|(is_ready, _)| *is_ready);
        let plain = |list: Vec<(bool, Recovered<TxEnvelope>)>| list.into_iter().map(|(_, t)| t).collect();
        (plain(ready), plain(queued))
    }

    /// The nonce after those of `sender` that are in `state` or ready here.
    #[must_use]
    pub fn next_nonce(&self, sender: Address, state: &State) -> u64 {
        let first = state.account(sender).map_or(0, |account| account.nonce);
        let queue = self.senders.get(&sender);
        let ready = queue
            .map_or(0, |queue| queue.range(first..).zip(first..).take_while(|((n, _), at)| *n == at).count());
        first + u64::try_from(ready).unwrap_or(u64::MAX)
    }

    /// Takes a transaction whose sender was recovered from its signature.
    ///
    /// # Errors
    /// A [`PoolError`] that says what would have to change.
    pub fn insert(
        &mut self,
        transaction: Recovered<TxEnvelope>,
        state: &State,
    ) -> Result<Accepted, PoolError> {
        let hash = *transaction.tx_hash();
        self.check(&transaction, hash, state)?;
        let (sender, nonce) = (transaction.signer(), transaction.nonce());
        let entry = Entry { transaction, hash, arrival: self.arrivals };
        let replaced = match self.senders.get(&sender).and_then(|queue| queue.get(&nonce)) {
            Some(old) => {
                let needed = old.fees().map(|fee| fee + (fee * REPLACEMENT_PERCENT).div_ceil(100));
                if entry.fees().iter().zip(needed).any(|(fee, needed)| *fee < needed) {
                    return Err(PoolError::Replacement { max_fee: needed[0], priority_fee: needed[1] });
                }
                Some(old.hash)
            }
            None => {
                self.make_room(sender, nonce, &entry)?;
                None
            }
        };
        if let Some(replaced) = replaced {
            self.hashes.remove(&replaced);
        }
        self.hashes.insert(hash, (sender, nonce));
        self.senders.entry(sender).or_default().insert(nonce, entry);
        self.arrivals += 1;
        let is_ready = nonce < self.next_nonce(sender, state);
        Ok(Accepted { hash, replaced, is_ready })
    }

    fn check(&self, transaction: &Recovered<TxEnvelope>, hash: B256, state: &State) -> Result<(), PoolError> {
        let limits = &self.limits;
        if self.hashes.contains_key(&hash) {
            return Err(PoolError::Known { hash });
        }
        if transaction.is_eip4844() {
            return Err(PoolError::Blob);
        }
        if let Some(found) = transaction.chain_id().filter(|id| *id != limits.chain_id) {
            return Err(PoolError::ChainId { expected: limits.chain_id, found });
        }
        let (length, length_max) = (transaction.encode_2718_len(), limits.transaction_bytes_max);
        if length > length_max {
            return Err(PoolError::Size { length, length_max });
        }
        let (gas, gas_max) = (transaction.gas_limit(), limits.gas_max);
        if gas > gas_max {
            return Err(PoolError::GasLimit { gas, gas_max });
        }
        let (fee, fee_min) = (transaction.max_fee_per_gas(), limits.fee_min);
        if fee < fee_min {
            return Err(PoolError::Fee { fee, fee_min });
        }
        let account = state.account(transaction.signer());
        let (nonce, balance) = account.map_or((0, U256::ZERO), |account| (account.nonce, account.balance));
        if transaction.nonce() < nonce {
            return Err(PoolError::Nonce { expected: nonce, found: transaction.nonce() });
        }
        let cost = cost_max(transaction);
        if cost > balance {
            return Err(PoolError::Funds { balance, cost });
        }
        check_transaction(transaction).map_err(|error| PoolError::Invalid { reason: error.to_string() })
    }

    /// Drops what pays least until one more fits.
    fn make_room(&mut self, sender: Address, nonce: u64, entry: &Entry) -> Result<(), PoolError> {
        if self.senders.get(&sender).is_some_and(|queue| queue.len() >= self.limits.per_sender_max) {
            return Err(PoolError::SenderFull { count_max: self.limits.per_sender_max });
        }
        if self.len() < self.limits.transactions_max {
            return Ok(());
        }
        // The last of each queue: whatever goes must leave no gap before something that stays.
        let last = |(at, queue): (&Address, &BTreeMap<u64, Entry>)| {
            let (nonce, entry) = queue.last_key_value()?;
            Some((entry.fees()[1], std::cmp::Reverse(entry.arrival), *at, *nonce))
        };
        let worst = self.senders.iter().filter_map(last).min();
        match worst {
            Some((tip, _, at, last)) if tip < entry.fees()[1] && (at != sender || last > nonce) => {
                self.remove(at, last);
                Ok(())
            }
            _ => Err(PoolError::Full { priority_fee: worst.map_or(0, |(tip, ..)| tip + 1) }),
        }
    }

    fn remove(&mut self, sender: Address, nonce: u64) {
        let Some(queue) = self.senders.get_mut(&sender) else { return };
        if let Some(entry) = queue.remove(&nonce) {
            self.hashes.remove(&entry.hash);
        }
        if queue.is_empty() {
            self.senders.remove(&sender);
        }
    }

    /// Drops what `state` has made impossible: transactions that are in it, and those that their sender cannot pay.
    pub fn update(&mut self, state: &State) {
        let mut gone = vec![];
        for (sender, queue) in &self.senders {
            let account = state.account(*sender);
            let (nonce, balance) =
                account.map_or((0, U256::ZERO), |account| (account.nonce, account.balance));
            let is_gone =
                |entry: &Entry| entry.transaction.nonce() < nonce || cost_max(&entry.transaction) > balance;
            gone.extend(queue.iter().filter(|(_, entry)| is_gone(entry)).map(|(nonce, _)| (*sender, *nonce)));
        }
        gone.into_iter().for_each(|(sender, nonce)| self.remove(sender, nonce));
    }

    /// Ready transactions on `state`, those that tip most first, and of those that tip the same the earlier first.
    /// Transactions of one sender come in the order of their nonces.
    #[must_use]
    pub fn best(&self, state: &State, base_fee: u64) -> Best<'_> {
        let mut best = Best { pool: self, base_fee: base_fee.into(), heads: BinaryHeap::new() };
        for sender in self.senders.keys() {
            best.push(*sender, state.account(*sender).map_or(0, |account| account.nonce));
        }
        best
    }
}

/// Ready transactions in the order of [`Pool::best`].
#[derive(Debug)]
pub struct Best<'a> {
    pool: &'a Pool,
    base_fee: u128,
    /// Tip, order of arrival, sender and nonce of each sender's next transaction.
    heads: BinaryHeap<(u128, std::cmp::Reverse<u64>, Address, u64)>,
}

impl<'a> Best<'a> {
    fn push(&mut self, sender: Address, nonce: u64) {
        let entry = self.pool.senders.get(&sender).and_then(|queue| queue.get(&nonce));
        let Some(entry) = entry else { return };
        let [most, tip] = entry.fees();
        if let Some(left) = most.checked_sub(self.base_fee) {
            self.heads.push((left.min(tip), std::cmp::Reverse(entry.arrival), sender, nonce));
        }
    }

    /// The next transaction. Those of its sender that follow it come only if [`Best::advance`] is told that it was taken.
    pub fn peek(&mut self) -> Option<&'a Recovered<TxEnvelope>> {
        let (_, _, sender, nonce) = self.heads.peek()?;
        Some(&self.pool.senders.get(sender)?.get(nonce)?.transaction)
    }

    /// Goes on: with the same sender's next one if the last was taken, else without that sender.
    pub fn advance(&mut self, took: bool) {
        if let Some((_, _, sender, nonce)) = self.heads.pop()
            && took
        {
            self.push(sender, nonce + 1);
        }
    }
}
