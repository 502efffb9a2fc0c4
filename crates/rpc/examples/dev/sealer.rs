//! Makes blocks without consensus: for clients to be pointed at, and for tests.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
};

use alloy_consensus::{TxEnvelope, transaction::Recovered};
use alloy_primitives::{Address, B256, Bytes};
use tokio::sync::broadcast;
use veracity_chain::{Accepted, Builder, Choice, Pool, PoolError, PoolLimits};
use veracity_rpc::{Chain, Submit, Waiting};

/// When blocks are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sealing {
    /// As soon as a transaction is ready, one block for each.
    Instant,
    /// When [`Sealer::seal`] is called.
    Manual,
}

/// Holds waiting transactions and puts them into blocks.
pub(crate) struct Sealer {
    chain: Arc<Chain>,
    sealing: Sealing,
    clock: fn() -> u64,
    pool: Mutex<Waits>,
    ready: broadcast::Sender<Recovered<TxEnvelope>>,
}

struct Waits {
    pool: Pool,
    /// Hashes of those that were taken and have not been seen in a block.
    hashes: Vec<B256>,
    announced: HashSet<B256>,
}

impl Sealer {
    /// `clock` says the seconds since 1970.
    pub(crate) fn new(chain: Arc<Chain>, sealing: Sealing, clock: fn() -> u64) -> Self {
        let pool = Pool::new(PoolLimits {
            chain_id: chain.chain_id(),
            transactions_max: 10_000,
            per_sender_max: 1_000,
            transaction_bytes_max: 128 << 10,
            gas_max: chain.head().header().gas_limit,
            fee_min: 1,
        });
        let waits = Waits { pool, hashes: vec![], announced: HashSet::new() };
        Self { chain, sealing, clock, pool: Mutex::new(waits), ready: broadcast::channel(4096).0 }
    }

    /// Makes a block of at most `count` ready transactions.
    pub(crate) fn seal(&self, count: usize) {
        let mut waits = self.pool.lock().unwrap();
        self.seal_locked(&mut waits, count, true);
    }

    /// Whether a block was made.
    fn seal_locked(&self, waits: &mut Waits, count: usize, is_empty_made: bool) -> bool {
        let (head, state) = self.chain.latest();
        let choice = Choice {
            timestamp: (self.clock)().max(head.header().timestamp),
            beneficiary: Address::repeat_byte(0xbe),
            random: B256::from(alloy_primitives::keccak256(head.hash())),
            extra_data: Bytes::new(),
        };
        let mut builder = Builder::new(head.header(), &state, self.chain.chain_id(), &choice);
        let base_fee = veracity_chain::next_base_fee(head.header(), &state);
        let mut senders = vec![];
        let mut best = waits.pool.best(&state, base_fee);
        while senders.len() < count
            && let Some(transaction) = best.peek()
        {
            let took = builder.push(transaction).is_ok();
            if took {
                senders.push(transaction.signer());
            }
            best.advance(took);
        }
        if senders.is_empty() && !is_empty_made {
            return false;
        }
        let (block, executed) = builder.finish();
        self.chain.append(Arc::new(block), senders, &executed).unwrap();
        waits.pool.update(&executed.changes);
        let Waits { pool, hashes, announced } = waits;
        hashes.retain(|hash| pool.get(hash).is_some());
        announced.retain(|hash| pool.get(hash).is_some());
        self.announce(waits);
        true
    }

    /// Tells of those that have become ready.
    fn announce(&self, waits: &mut Waits) {
        let (_, state) = self.chain.latest();
        let Waits { pool, hashes, announced } = waits;
        for transaction in hashes.iter().filter_map(|hash| pool.get(hash)) {
            let is_ready = is_ready(pool, transaction, &state);
            if is_ready && announced.insert(*transaction.tx_hash()) {
                // Nobody may be listening.
                let _ = self.ready.send(transaction.clone());
            }
        }
    }
}

fn is_ready(pool: &Pool, transaction: &Recovered<TxEnvelope>, state: &veracity_chain::State) -> bool {
    use alloy_consensus::Transaction as _;
    transaction.nonce() < pool.next_nonce(transaction.signer(), state)
}

impl Submit for Sealer {
    fn submit(&self, transaction: Recovered<TxEnvelope>) -> Result<Accepted, PoolError> {
        let mut waits = self.pool.lock().unwrap();
        let (_, state) = self.chain.latest();
        let accepted = waits.pool.insert(transaction, &state)?;
        waits.hashes.push(accepted.hash);
        self.announce(&mut waits);
        if self.sealing == Sealing::Instant {
            while self.seal_locked(&mut waits, 1, false) {}
        }
        Ok(accepted)
    }

    fn get(&self, hash: &B256) -> Option<Recovered<TxEnvelope>> {
        self.pool.lock().unwrap().pool.get(hash).cloned()
    }

    fn next_nonce(&self, sender: Address) -> u64 {
        let (_, state) = self.chain.latest();
        self.pool.lock().unwrap().pool.next_nonce(sender, &state)
    }

    fn waiting(&self) -> Waiting {
        let waits = self.pool.lock().unwrap();
        let (_, state) = self.chain.latest();
        let (ready, queued) = waits.pool.waiting(&state);
        Waiting { ready, queued }
    }

    fn ready(&self) -> broadcast::Receiver<Recovered<TxEnvelope>> {
        self.ready.subscribe()
    }
}
