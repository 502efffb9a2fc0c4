use alloy_consensus::{TxEnvelope, transaction::Recovered};
use alloy_primitives::{Address, B256};
use tokio::sync::broadcast;
use veracity_chain::{Accepted, PoolError};

/// The pool of waiting transactions, as the server sees it. Calls come from any thread, many at once, and should not
/// block for long: a lock held for a block is too long.
pub trait Submit: Send + Sync + 'static {
    /// Takes a transaction whose sender was recovered from its signature, and hands it on to those who make blocks. What
    /// was taken may still be lost if the node stops.
    ///
    /// # Errors
    /// A [`PoolError`] that says what would have to change.
    fn submit(&self, transaction: Recovered<TxEnvelope>) -> Result<Accepted, PoolError>;

    /// The waiting transaction with this hash.
    fn get(&self, hash: &B256) -> Option<Recovered<TxEnvelope>>;

    /// The nonce after those of `sender` that are used in the latest state or ready here.
    fn next_nonce(&self, sender: Address) -> u64;

    /// All waiting transactions.
    fn waiting(&self) -> Waiting;

    /// Transactions that become ready from now on, from clients and from other nodes, each once.
    fn ready(&self) -> broadcast::Receiver<Recovered<TxEnvelope>>;
}

/// Waiting transactions.
#[derive(Debug, Clone, Default)]
pub struct Waiting {
    /// Those that a block may contain now.
    pub ready: Vec<Recovered<TxEnvelope>>,
    /// Those before which a nonce is missing.
    pub queued: Vec<Recovered<TxEnvelope>>,
}
