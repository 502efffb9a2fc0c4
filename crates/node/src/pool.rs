//! The pool of waiting transactions, as the JSON-RPC server sees it.

use alloy_consensus::{TxEnvelope, transaction::Recovered};
use alloy_primitives::{Address, B256};
use tokio::sync::{broadcast, watch};
use veracity_chain::{Accepted, PoolError};
use veracity_consensus::{Head, SharedPool, SubmitError};
use veracity_rpc::{Submit, Waiting};

/// The pool of a validator.
pub(crate) struct PoolView {
    pub(crate) pool: SharedPool,
    pub(crate) heads: watch::Receiver<Option<Head>>,
}

impl Submit for PoolView {
    fn submit(&self, transaction: Recovered<TxEnvelope>) -> Result<Accepted, PoolError> {
        self.pool.submit(transaction).map_err(|error| match error {
            SubmitError::Refused(error) => error,
            error => unreachable!("the server starts when the state is open: {error}"),
        })
    }

    fn get(&self, hash: &B256) -> Option<Recovered<TxEnvelope>> {
        self.pool.with(|pool| pool.get(hash).cloned())
    }

    fn next_nonce(&self, sender: Address) -> u64 {
        let head = self.heads.borrow().clone();
        head.map_or(0, |head| self.pool.with(|pool| pool.next_nonce(sender, &head.state)))
    }

    fn waiting(&self) -> Waiting {
        let Some(head) = self.heads.borrow().clone() else { return Waiting::default() };
        let (ready, queued) = self.pool.with(|pool| pool.waiting(&head.state));
        Waiting { ready, queued }
    }

    fn ready(&self) -> broadcast::Receiver<Recovered<TxEnvelope>> {
        self.pool.ready_transactions()
    }
}
