//! Transactions that wait for a block.
//!
//! Each sender has a queue by nonce. Only the part of it without gaps, from the account's nonce on, can go into a block;
//! the rest waits. A transaction is replaced by another with the same nonce that pays a tenth more. A full pool drops
//! what pays least, and never for something that pays as little.
//!
//! Senders are kept in two orders: by their best transaction, in which a block is filled, and by their last one, in which
//! a full pool drops. So neither looks at more senders than it takes, and a final block costs what it changed.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, btree_set},
    iter::{Peekable, Rev},
};

use alloy_consensus::{Transaction as _, TxEnvelope, Typed2718 as _, transaction::Recovered};
use alloy_eips::Encodable2718 as _;
use alloy_primitives::{Address, B256, U256, keccak256};

use crate::{Change, PoolError, State, call::check_transaction, cost_max};

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

    fn rank(&self) -> Rank {
        (self.fees()[1], Reverse(self.arrival))
    }
}

/// What a transaction tips at most, and how many came before it: what tips more or came earlier is greater. No two
/// transactions of a pool have the same.
type Rank = (u128, Reverse<u64>);

/// The transactions of one sender.
#[derive(Debug, Default)]
struct Queue {
    entries: BTreeMap<u64, Entry>,
    ranks: BTreeSet<Rank>,
}

impl Queue {
    fn insert(&mut self, nonce: u64, entry: Entry) -> Option<Entry> {
        self.ranks.insert(entry.rank());
        let old = self.entries.insert(nonce, entry)?;
        self.ranks.remove(&old.rank());
        Some(old)
    }

    fn remove(&mut self, nonce: u64) -> Option<Entry> {
        let entry = self.entries.remove(&nonce)?;
        self.ranks.remove(&entry.rank());
        Some(entry)
    }

    /// Where its sender stands in the two orders, if there is a transaction.
    fn places(&self) -> Option<Places> {
        let (_, last) = self.entries.last_key_value()?;
        Some(Places { best: *self.ranks.last()?, last: last.rank() })
    }
}

/// Where a sender stands in the two orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Places {
    /// Of all its transactions.
    best: Rank,
    /// Of the one with the highest nonce.
    last: Rank,
}

/// Transactions that wait for a block.
#[derive(Debug)]
pub struct Pool {
    limits: PoolLimits,
    senders: BTreeMap<Address, Queue>,
    /// Senders by the hash that the state knows them by.
    hashed: HashMap<B256, Address>,
    /// Senders by their best transaction.
    by_best: BTreeSet<(Rank, Address)>,
    /// Senders by their last transaction.
    by_last: BTreeSet<(Rank, Address)>,
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
        Self {
            limits,
            senders: BTreeMap::new(),
            hashed: HashMap::new(),
            by_best: BTreeSet::new(),
            by_last: BTreeSet::new(),
            hashes: HashMap::new(),
            arrivals: 0,
        }
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
        Some(&self.senders.get(sender)?.entries.get(nonce)?.transaction)
    }

    /// The waiting transaction of `sender` with this nonce.
    #[must_use]
    pub fn of(&self, sender: Address, nonce: u64) -> Option<&Recovered<TxEnvelope>> {
        Some(&self.entry(sender, nonce)?.transaction)
    }

    fn entry(&self, sender: Address, nonce: u64) -> Option<&Entry> {
        self.senders.get(&sender)?.entries.get(&nonce)
    }

    /// All transactions, by sender and nonce: those that a block on `state` may contain, and those before which a nonce is
    /// missing.
    #[must_use]
    pub fn waiting(&self, state: &State) -> (Vec<Recovered<TxEnvelope>>, Vec<Recovered<TxEnvelope>>) {
        let all = self.senders.iter().flat_map(|(sender, queue)| {
            let next = self.next_nonce(*sender, state);
            queue.entries.iter().map(move |(nonce, entry)| (*nonce < next, entry.transaction.clone()))
        });
        let (ready, queued): (Vec<_>, Vec<_>) = all.partition(|(is_ready, _)| *is_ready);
        let plain = |list: Vec<(bool, Recovered<TxEnvelope>)>| list.into_iter().map(|(_, t)| t).collect();
        (plain(ready), plain(queued))
    }

    /// The nonce after those of `sender` that are in `state` or ready here.
    #[must_use]
    pub fn next_nonce(&self, sender: Address, state: &State) -> u64 {
        let first = state.account(sender).map_or(0, |account| account.nonce);
        let ready = self.senders.get(&sender).map_or(0, |queue| {
            queue.entries.range(first..).zip(first..).take_while(|((n, _), at)| *n == at).count()
        });
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
        match self.entry(sender, nonce) {
            Some(old) => {
                let needed = old.fees().map(|fee| fee + (fee * REPLACEMENT_PERCENT).div_ceil(100));
                if entry.fees().iter().zip(needed).any(|(fee, needed)| *fee < needed) {
                    return Err(PoolError::Replacement { max_fee: needed[0], priority_fee: needed[1] });
                }
            }
            None => self.make_room(sender, nonce, &entry)?,
        }
        let replaced = self.change(sender, |queue| queue.insert(nonce, entry)).map(|old| old.hash);
        if let Some(replaced) = replaced {
            self.hashes.remove(&replaced);
        }
        self.hashes.insert(hash, (sender, nonce));
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
        let count = self.senders.get(&sender).map_or(0, |queue| queue.entries.len());
        if count >= self.limits.per_sender_max {
            return Err(PoolError::SenderFull { count_max: self.limits.per_sender_max });
        }
        if self.len() < self.limits.transactions_max {
            return Ok(());
        }
        // The last of each queue: whatever goes must leave no gap before something that stays.
        let worst = self.by_last.first().and_then(|((tip, _), at)| {
            let (last, _) = self.senders.get(at)?.entries.last_key_value()?;
            Some((*tip, *at, *last))
        });
        match worst {
            Some((tip, at, last)) if tip < entry.fees()[1] && (at != sender || last > nonce) => {
                self.remove(at, last);
                Ok(())
            }
            _ => Err(PoolError::Full { priority_fee: worst.map_or(0, |(tip, ..)| tip + 1) }),
        }
    }

    fn remove(&mut self, sender: Address, nonce: u64) {
        if let Some(entry) = self.change(sender, |queue| queue.remove(nonce)) {
            self.hashes.remove(&entry.hash);
        }
    }

    /// Changes the queue of a sender, and its place in the orders.
    fn change<T>(&mut self, sender: Address, change: impl FnOnce(&mut Queue) -> T) -> T {
        let queue = self.senders.entry(sender).or_default();
        let before = queue.places();
        let result = change(queue);
        let after = queue.places();
        if let Some(Places { best, last }) = before.filter(|_| before != after) {
            self.by_best.remove(&(best, sender));
            self.by_last.remove(&(last, sender));
        }
        if let Some(Places { best, last }) = after.filter(|_| before != after) {
            self.by_best.insert((best, sender));
            self.by_last.insert((last, sender));
        }
        match (before, after) {
            (None, Some(_)) => drop(self.hashed.insert(keccak256(sender), sender)),
            (_, None) => {
                self.hashed.remove(&keccak256(sender));
                self.senders.remove(&sender);
            }
            _ => {}
        }
        result
    }

    /// Drops what a final block has made impossible by `changes`: transactions that are in it, and those that their sender
    /// cannot pay any more. Transactions that come later must be checked against the state with these changes. Linear in
    /// the changes and in the queues of the accounts that changed.
    pub fn update(&mut self, changes: &[Change]) {
        for change in changes {
            let Change::Account(hash, values) = change else { continue };
            let Some(sender) = self.hashed.get(hash).copied() else { continue };
            let (nonce, balance) = values.map_or((0, U256::ZERO), |values| (values.nonce, values.balance));
            let is_gone =
                |entry: &Entry| entry.transaction.nonce() < nonce || cost_max(&entry.transaction) > balance;
            let entries = self.senders.get(&sender).into_iter().flat_map(|queue| &queue.entries);
            let gone: Vec<u64> =
                entries.filter(|(_, entry)| is_gone(entry)).map(|(nonce, _)| *nonce).collect();
            gone.into_iter().for_each(|nonce| self.remove(sender, nonce));
        }
    }

    /// Whether a block on `state` may contain a transaction of `sender`.
    #[must_use]
    pub fn is_ready(&self, sender: Address, state: &State, base_fee: u64) -> bool {
        let nonce = state.account(sender).map_or(0, |account| account.nonce);
        self.entry(sender, nonce).is_some_and(|entry| entry.fees()[0] >= base_fee.into())
    }

    /// Ready transactions on `state`, those that tip most first, and of those that tip the same the earlier first.
    /// Transactions of one sender come in the order of their nonces.
    #[must_use]
    pub fn best<'a>(&'a self, state: &'a State, base_fee: u64) -> Best<'a> {
        let rest = self.by_best.iter().rev().peekable();
        let mut best = Best { pool: self, state, base_fee: base_fee.into(), rest, heads: BinaryHeap::new() };
        best.look();
        best
    }
}

/// Ready transactions in the order of [`Pool::best`].
#[derive(Debug)]
pub struct Best<'a> {
    pool: &'a Pool,
    state: &'a State,
    base_fee: u128,
    /// Senders that were not looked at: none of their transactions tips more than their best.
    rest: Peekable<Rev<btree_set::Iter<'a, (Rank, Address)>>>,
    /// What the next transaction of a sender tips and when it came, the sender, and the nonce.
    heads: BinaryHeap<(Rank, Address, u64)>,
}

impl<'a> Best<'a> {
    fn push(&mut self, sender: Address, nonce: u64) {
        let Some(entry) = self.pool.entry(sender, nonce) else { return };
        let [most, tip] = entry.fees();
        if let Some(left) = most.checked_sub(self.base_fee) {
            self.heads.push(((left.min(tip), Reverse(entry.arrival)), sender, nonce));
        }
    }

    /// Looks at senders as long as one of the rest might come first.
    fn look(&mut self) {
        while let Some((rank, sender)) = self.rest.peek().copied()
            && self.heads.peek().is_none_or(|(first, ..)| first < rank)
        {
            self.rest.next();
            self.push(*sender, self.state.account(*sender).map_or(0, |account| account.nonce));
        }
    }

    /// The next transaction. Those of its sender that follow it come only if [`Best::advance`] is told that it was taken.
    #[must_use]
    pub fn peek(&self) -> Option<&'a Recovered<TxEnvelope>> {
        let (_, sender, nonce) = self.heads.peek()?;
        Some(&self.pool.entry(*sender, *nonce)?.transaction)
    }

    /// Goes on: with the same sender's next one if the last was taken, else without that sender.
    pub fn advance(&mut self, took: bool) {
        if let Some((_, sender, nonce)) = self.heads.pop()
            && took
        {
            self.push(sender, nonce + 1);
        }
        self.look();
    }
}
