//! What a gateway asks of the network's registry, which is a contract on the chain (`docs/spec/contracts.md`).

use std::fmt;

use veracity_graph::ModelId;
use veracity_receipt::ExecutorId;

/// A bonded node with the role of a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerEntry {
    /// The key that its receipts must be signed by.
    pub executor: ExecutorId,
    /// Where it says that it is reached; not checked.
    pub endpoint: String,
}

/// The registry does not answer. The same question may be answered later.
#[derive(Debug, thiserror::Error)]
#[error("the network's registry does not answer: {0}; try again later")]
pub struct DirectoryError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// The registry of a network, as the gateway sees it. Calls may block; what is answered is remembered for some seconds by
/// whoever asks, so an implementation need not.
pub trait Directory: fmt::Debug + Send + Sync {
    /// The model that was published last under a name; none if there is none.
    ///
    /// # Errors
    /// [`DirectoryError`].
    fn resolve(&self, name: &str) -> Result<Option<ModelId>, DirectoryError>;

    /// The names under which these models were published, which never change; none for those that were not.
    ///
    /// # Errors
    /// [`DirectoryError`].
    fn published_names(&self, ids: &[ModelId]) -> Result<Vec<Option<String>>, DirectoryError>;

    /// Bonded workers, at most so many.
    ///
    /// # Errors
    /// [`DirectoryError`].
    fn workers(&self, count_max: usize) -> Result<Vec<WorkerEntry>, DirectoryError>;
}
