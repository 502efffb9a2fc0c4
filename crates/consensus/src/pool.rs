//! Transactions that wait for a block, shared by those who bring them and the one who builds blocks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use alloy_consensus::{Transaction as _, TxEnvelope, transaction::Recovered};
use alloy_primitives::{Address, B256};
use tokio::sync::{broadcast, mpsc, watch};
use veracity_chain::{Accepted, Change, Pool, PoolError, PoolLimits, next_base_fee};

use crate::Head;

/// Transactions that wait for a block. Copies share them.
#[derive(Debug, Clone)]
pub struct SharedPool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    pool: Mutex<Pool>,
    heads: watch::Receiver<Option<Head>>,
    /// Told who sent a transaction that arrived.
    arrivals: broadcast::Sender<Address>,
    /// Transactions that came from clients of this node, which it passes on to peers.
    news: mpsc::UnboundedSender<Recovered<TxEnvelope>>,
    /// Transactions that have become ready.
    ready: broadcast::Sender<Recovered<TxEnvelope>>,
}

/// Transactions that a slow listener may lag behind.
const LAG_MAX: usize = 4096;

/// Why a transaction was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// The node does not know the state of the chain yet.
    #[error("the node is still starting: try again in a moment")]
    NotReady,
    /// The pool refused it.
    #[error(transparent)]
    Refused(#[from] PoolError),
}

impl SharedPool {
    /// An empty pool, and where the transactions come out that peers should get.
    #[must_use]
    pub fn new(
        limits: PoolLimits,
        heads: watch::Receiver<Option<Head>>,
    ) -> (Self, mpsc::UnboundedReceiver<Recovered<TxEnvelope>>) {
        let (news, receiver) = mpsc::unbounded_channel();
        let pool = Mutex::new(Pool::new(limits));
        (
            Self(Arc::new(Shared {
                pool,
                heads,
                arrivals: broadcast::Sender::new(LAG_MAX),
                news,
                ready: broadcast::Sender::new(LAG_MAX),
            })),
            receiver,
        )
    }

    fn lock(&self) -> MutexGuard<'_, Pool> {
        // The pool changes in single steps, so a panic elsewhere leaves it whole.
        self.0.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a transaction from a client, and passes it on to peers.
    ///
    /// # Errors
    /// A [`SubmitError`] that says what would have to change.
    pub fn submit(&self, transaction: Recovered<TxEnvelope>) -> Result<Accepted, SubmitError> {
        let accepted = self.insert(transaction.clone())?;
        // Without peers nobody listens.
        let _ = self.0.news.send(transaction);
        Ok(accepted)
    }

    /// Takes a transaction from a peer.
    pub(crate) fn insert(&self, transaction: Recovered<TxEnvelope>) -> Result<Accepted, SubmitError> {
        let sender = transaction.signer();
        let (accepted, ready) = {
            // The head is read under the lock: a later one is set before the pool is told what it changed, so what is
            // taken here is checked again then.
            let mut pool = self.lock();
            let head = self.0.heads.borrow().clone().ok_or(SubmitError::NotReady)?;
            let before = pool.next_nonce(sender, &head.state);
            let accepted = pool.insert(transaction.clone(), &head.state)?;
            let after = pool.next_nonce(sender, &head.state);
            // A replacement is new too; a transaction that fills a gap makes those behind it ready.
            let others = (before..after).filter(|nonce| *nonce != transaction.nonce());
            let others: Vec<_> = others.filter_map(|nonce| pool.of(sender, nonce).cloned()).collect();
            (accepted, accepted.is_ready.then_some(transaction).into_iter().chain(others))
        };
        // Nobody listens while no block is proposed.
        let _ = self.0.arrivals.send(sender);
        // Without listeners nobody is told.
        ready.for_each(|transaction| drop(self.0.ready.send(transaction)));
        Ok(accepted)
    }

    /// Transactions that become ready from now on.
    #[must_use]
    pub fn ready_transactions(&self) -> broadcast::Receiver<Recovered<TxEnvelope>> {
        self.0.ready.subscribe()
    }

    /// Calls `read` with the pool.
    pub fn with<T>(&self, read: impl FnOnce(&Pool) -> T) -> T {
        read(&self.lock())
    }

    /// The sender of a waiting transaction, recovered once already.
    pub(crate) fn sender(&self, hash: &B256) -> Option<Address> {
        self.lock().get(hash).map(Recovered::signer)
    }

    /// Drops what a new head has made impossible, given what it changed. The head must be known here already.
    pub(crate) fn update(&self, changes: &[Change]) {
        self.lock().update(changes);
    }

    /// Resolves when a block on `head` would have a transaction.
    pub(crate) async fn ready(&self, head: &Head) {
        let base_fee = next_base_fee(&head.header, &head.state);
        // Listen first, then look, so that no arrival is missed in between.
        let mut arrivals = self.0.arrivals.subscribe();
        let mut is_ready = self.lock().best(&head.state, base_fee).peek().is_some();
        while !is_ready {
            is_ready = match arrivals.recv().await {
                Ok(sender) => self.lock().is_ready(sender, &head.state, base_fee),
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    self.lock().best(&head.state, base_fee).peek().is_some()
                }
                // The sender is ours.
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            };
        }
    }
}
