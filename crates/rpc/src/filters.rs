//! Filters: questions that a client asks again and again, each time for what is new.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use alloy_consensus::{TxEnvelope, transaction::Recovered};
use alloy_primitives::{B256, U256};
use alloy_rpc_types_eth::{Filter, FilterChanges};
use tokio::sync::broadcast::{Receiver, error::TryRecvError};

use crate::{RpcError, convert::to_u64, logs, node::Node};

/// The filters of all clients. Their ids are random, so that no client guesses another's.
pub(crate) struct Filters {
    by_id: Mutex<HashMap<U256, Entry>>,
    count_max: usize,
    idle: Duration,
}

struct Entry {
    what: What,
    used: Instant,
}

/// What a filter asks for; `next` is the first height that it has not seen.
pub(crate) enum What {
    Logs { filter: Box<Filter>, next: u64 },
    Blocks { next: u64 },
    Transactions { ready: Receiver<Recovered<TxEnvelope>> },
}

impl Filters {
    pub(crate) fn new(count_max: usize, idle: Duration) -> Self {
        Self { by_id: Mutex::default(), count_max, idle }
    }

    pub(crate) fn add(&self, what: What) -> Result<U256, RpcError> {
        let mut by_id = self.by_id.lock().unwrap_or_else(PoisonError::into_inner);
        by_id.retain(|_, entry| entry.used.elapsed() < self.idle);
        if by_id.len() >= self.count_max {
            return Err(RpcError::Limit {
                what: "filters of all clients",
                found: to_u64(by_id.len() + 1),
                max: to_u64(self.count_max),
                advice: "subscribe over WebSocket, or try again in some minutes",
            });
        }
        let id = U256::from_be_bytes(random_id());
        by_id.insert(id, Entry { what, used: Instant::now() });
        Ok(id)
    }

    pub(crate) fn remove(&self, id: U256) -> bool {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner).remove(&id).is_some()
    }

    /// The filter of logs with this id.
    pub(crate) fn log_filter(&self, id: U256) -> Result<Filter, RpcError> {
        self.with(id, |what| match what {
            What::Logs { filter, .. } => Ok((**filter).clone()),
            What::Blocks { .. } | What::Transactions { .. } => Err(RpcError::NotALogFilter),
        })
    }

    /// What is new since the last time.
    pub(crate) fn changes(&self, node: &Node, id: U256) -> Result<FilterChanges, RpcError> {
        // Taken while the lock is held, searched after: a search takes long.
        let head = node.chain.head().number();
        let new = self.with(id, |what| {
            Ok(match what {
                What::Logs { filter, next } => New::Logs(filter.clone(), *next),
                What::Blocks { next } => New::Blocks(*next),
                What::Transactions { ready } => New::Transactions(drain(ready)),
            })
        })?;
        let changes = match &new {
            New::Logs(filter, from) => FilterChanges::Logs(log_changes(node, filter, *from, head)?),
            New::Blocks(from) => FilterChanges::Hashes(block_hashes(node, *from, head)?),
            New::Transactions(hashes) => FilterChanges::Hashes(hashes.clone()),
        };
        // Only now, so that what could not be answered is asked for again.
        self.with(id, |what| {
            match what {
                What::Logs { next, .. } | What::Blocks { next } => *next = (*next).max(head + 1),
                What::Transactions { .. } => {}
            }
            Ok(())
        })?;
        Ok(changes)
    }

    fn with<T>(&self, id: U256, f: impl FnOnce(&mut What) -> Result<T, RpcError>) -> Result<T, RpcError> {
        let mut by_id = self.by_id.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = by_id.get_mut(&id).filter(|entry| entry.used.elapsed() < self.idle);
        let entry = entry.ok_or(RpcError::UnknownFilter)?;
        entry.used = Instant::now();
        f(&mut entry.what)
    }
}

/// What a filter is to be answered with.
enum New {
    Logs(Box<Filter>, u64),
    Blocks(u64),
    Transactions(Vec<B256>),
}

fn log_changes(
    node: &Node,
    filter: &Filter,
    from: u64,
    head: u64,
) -> Result<Vec<alloy_rpc_types_eth::Log>, RpcError> {
    let from = from.max(filter.get_from_block().unwrap_or_default());
    let to = filter.get_to_block().unwrap_or(u64::MAX).min(head);
    logs::range(node, filter, from, to)
}

fn block_hashes(node: &Node, from: u64, head: u64) -> Result<Vec<B256>, RpcError> {
    // One that was not asked for so long that it missed more than this has lost interest.
    let from = from.max((head + 1).saturating_sub(node.config.log_blocks_max.min(10_000)));
    let hash = |height| Ok(node.chain.header(height)?.map(|header| header.hash_slow()));
    (from..=head).filter_map(|height| hash(height).transpose()).collect()
}

fn drain(ready: &mut Receiver<Recovered<TxEnvelope>>) -> Vec<B256> {
    let mut hashes = vec![];
    loop {
        match ready.try_recv() {
            Ok(transaction) => hashes.push(*transaction.tx_hash()),
            // More came than are kept; the oldest are gone.
            Err(TryRecvError::Lagged(_)) => {}
            Err(TryRecvError::Empty | TryRecvError::Closed) => return hashes,
        }
    }
}

/// 16 random bytes, as a number.
pub(crate) fn random_id() -> [u8; 32] {
    let mut id = [0; 32];
    getrandom::fill(&mut id[16..]).expect("the system has random numbers");
    id
}
