use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use alloy_consensus::{Header, TxEnvelope, transaction::Recovered};
use alloy_primitives::{Address, B256};
use tokio::sync::watch;
use veracity_chain::{Block, Executed, State};

use crate::{Finalized, Index, IndexError, IndexedReceipt};

/// Latest heights whose states are kept in memory, unless [`Chain::keep_states`] says another number.
pub const STATES_KEPT: usize = 256;
/// Latest blocks that are kept in memory: those that clients ask for most.
const BLOCKS_KEPT: usize = 16;
/// Certificates that are kept until their block comes.
const CERTIFICATES_WAITING_MAX: usize = 256;

/// The finalized chain as the server reads it: an [`Index`], the latest states, and the head.
///
/// Consensus calls [`Chain::append`] for each finalized block in order, and [`Chain::certify`] for each certificate, in
/// any order, from any thread, and may repeat both after a restart. Before it makes a state durable, from which it would
/// not deliver earlier blocks again, it calls [`Chain::flush`].
#[derive(Debug)]
pub struct Chain {
    chain_id: u64,
    index: Index,
    recent: RwLock<Recent>,
    head: watch::Sender<Arc<Finalized>>,
    /// By the hash of their block.
    waiting: Mutex<VecDeque<(B256, Vec<u8>)>>,
}

#[derive(Debug)]
struct Recent {
    states_max: usize,
    states: BTreeMap<u64, State>,
    blocks: BTreeMap<u64, Arc<Finalized>>,
}

/// A transaction in its block.
#[derive(Debug, Clone)]
pub(crate) struct Located {
    pub(crate) header: Header,
    pub(crate) block_hash: B256,
    pub(crate) index: usize,
    pub(crate) transaction: Recovered<TxEnvelope>,
}

impl Chain {
    /// Begins at the block `start`, after which the state is `state`: genesis, or the last whose state the node has. The
    /// index may be ahead of it; blocks above it are shown once they are delivered again.
    ///
    /// # Errors
    /// [`IndexError::State`] if the state is not the block's; else as [`Index::append`]: [`IndexError::Gap`] means that
    /// the index lost blocks, which have to be appended to it first.
    pub fn open(index: Index, chain_id: u64, start: Finalized, state: State) -> Result<Self, IndexError> {
        index.append(&start)?;
        check_state(start.header(), &state)?;
        let start = Arc::new(start);
        let mut recent = Recent { states_max: STATES_KEPT, states: BTreeMap::new(), blocks: BTreeMap::new() };
        recent.keep(Arc::clone(&start), state);
        let head = watch::Sender::new(start);
        Ok(Self { chain_id, index, recent: RwLock::new(recent), head, waiting: Mutex::default() })
    }

    /// Keeps the states of this many heights, at least one. States share what they have in common, so that a height costs
    /// about what its block changed.
    #[must_use]
    pub fn keep_states(self, count: usize) -> Self {
        self.write_recent().states_max = count.max(1);
        self
    }

    /// Appends a finalized block with the senders of its transactions and what it did. One that was appended before is
    /// left as it is. Whoever watches the head hears of it.
    ///
    /// # Errors
    /// As [`Index::append`], and [`IndexError::State`]. The chain is as before then.
    ///
    /// # Panics
    /// If there are not as many senders and receipts as transactions.
    pub fn append(
        &self,
        block: Arc<Block>,
        senders: Vec<Address>,
        executed: &Executed,
    ) -> Result<(), IndexError> {
        let block = Arc::new(Finalized::new(block, senders, executed.receipts.clone()));
        // One block at a time; readers are kept out only while it is put in its place.
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let next = self.head().number() + 1;
        if block.number() > next {
            return Err(IndexError::Gap { expected: next, found: block.number() });
        }
        check_state(block.header(), &executed.state)?;
        self.index.append(&block)?;
        if block.number() < next {
            return Ok(());
        }
        if let Some(at) = waiting.iter().position(|(hash, _)| *hash == block.hash())
            && let Some((_, certificate)) = waiting.remove(at)
        {
            self.index.certify(block.number(), &certificate)?;
        }
        self.write_recent().keep(Arc::clone(&block), executed.state.clone());
        self.head.send_replace(block);
        Ok(())
    }

    /// Keeps the certificate of the block `hash`. If that has not come yet, the certificate waits in memory.
    ///
    /// # Errors
    /// [`IndexError::Store`].
    pub fn certify(&self, hash: B256, certificate: Vec<u8>) -> Result<(), IndexError> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(height) = self.index.height_of(hash)? {
            return self.index.certify(height, &certificate);
        }
        if waiting.len() >= CERTIFICATES_WAITING_MAX {
            waiting.pop_front();
        }
        waiting.push_back((hash, certificate));
        Ok(())
    }

    /// Makes all blocks and certificates durable.
    ///
    /// # Errors
    /// [`IndexError::Store`].
    pub fn flush(&self) -> Result<(), IndexError> {
        self.index.flush()
    }

    /// Chain that transactions are signed for.
    #[must_use]
    pub const fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// The latest block.
    #[must_use]
    pub fn head(&self) -> Arc<Finalized> {
        Arc::clone(&self.head.borrow())
    }

    /// The latest block, from now on.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<Finalized>> {
        self.head.subscribe()
    }

    /// The latest block and the state after it.
    #[must_use]
    pub fn latest(&self) -> (Arc<Finalized>, State) {
        let recent = self.read_recent();
        let (height, state) = recent.states.last_key_value().expect("the head's state is kept");
        let block = recent.blocks.get(height).expect("the head is kept");
        (Arc::clone(block), state.clone())
    }

    /// Height of the first block that is kept.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.index.first().unwrap_or_default()
    }

    /// The block at `height`.
    ///
    /// # Errors
    /// [`IndexError::Store`], [`IndexError::Damaged`]; so for all that reads.
    pub fn block(&self, height: u64) -> Result<Option<Arc<Finalized>>, IndexError> {
        if let Some(block) = self.read_recent().blocks.get(&height) {
            return Ok(Some(Arc::clone(block)));
        }
        if height > self.head().number() {
            return Ok(None);
        }
        Ok(self.index.block(height)?.map(Arc::new))
    }

    /// The header at `height`.
    ///
    /// # Errors
    /// As [`Chain::block`].
    pub fn header(&self, height: u64) -> Result<Option<Header>, IndexError> {
        if let Some(block) = self.read_recent().blocks.get(&height) {
            return Ok(Some(block.header().clone()));
        }
        if height > self.head().number() { Ok(None) } else { self.index.header(height) }
    }

    /// Height of the block with this hash.
    ///
    /// # Errors
    /// As [`Chain::block`].
    pub fn height_of(&self, hash: B256) -> Result<Option<u64>, IndexError> {
        let head = self.head();
        if head.hash() == hash {
            return Ok(Some(head.number()));
        }
        Ok(self.index.height_of(hash)?.filter(|height| *height <= head.number()))
    }

    /// The state after the block at `height`, if it is kept: among the latest [`STATES_KEPT`] of this run.
    #[must_use]
    pub fn state(&self, height: u64) -> Option<State> {
        self.read_recent().states.get(&height).cloned()
    }

    /// First height whose state is kept.
    #[must_use]
    pub fn first_state(&self) -> u64 {
        self.read_recent().states.first_key_value().map_or(0, |(height, _)| *height)
    }

    /// The blocks that are in memory, the latest first.
    pub(crate) fn recent_blocks(&self) -> Vec<Arc<Finalized>> {
        self.read_recent().blocks.values().rev().cloned().collect()
    }

    pub(crate) fn place_of(&self, hash: B256) -> Result<Option<(u64, usize)>, IndexError> {
        let head = self.head().number();
        Ok(self.index.place_of(hash)?.filter(|(height, _)| *height <= head))
    }

    pub(crate) fn transaction(&self, height: u64, index: usize) -> Result<Option<Located>, IndexError> {
        if let Some(block) = self.read_recent().blocks.get(&height) {
            return Ok(block.transaction(index).map(|transaction| Located {
                header: block.header().clone(),
                block_hash: block.hash(),
                index,
                transaction,
            }));
        }
        let Some(header) = self.header(height)? else { return Ok(None) };
        let transaction = self.index.transaction(height, index)?;
        let block_hash = header.hash_slow();
        Ok(transaction.map(|transaction| Located { header, block_hash, index, transaction }))
    }

    pub(crate) fn receipt(&self, height: u64, index: usize) -> Result<Option<IndexedReceipt>, IndexError> {
        if let Some(block) = self.read_recent().blocks.get(&height) {
            let Some((gas_used, logs_before)) = block.receipt_place(index) else { return Ok(None) };
            let receipt = block.receipts()[index].clone();
            return Ok(Some(IndexedReceipt { receipt, gas_used, logs_before }));
        }
        self.index.receipt(height, index)
    }

    pub(crate) const fn index(&self) -> &Index {
        &self.index
    }

    fn read_recent(&self) -> RwLockReadGuard<'_, Recent> {
        self.recent.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_recent(&self) -> RwLockWriteGuard<'_, Recent> {
        self.recent.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recent {
    fn keep(&mut self, block: Arc<Finalized>, state: State) {
        self.states.insert(block.number(), state);
        self.blocks.insert(block.number(), block);
        if self.states.len() > self.states_max {
            self.states.pop_first();
        }
        if self.blocks.len() > BLOCKS_KEPT {
            self.blocks.pop_first();
        }
    }
}

fn check_state(header: &Header, state: &State) -> Result<(), IndexError> {
    let (expected, found) = (header.state_root, state.root());
    if expected == found {
        return Ok(());
    }
    Err(IndexError::State { height: header.number, expected, found })
}
