//! What hosting asks of the registry of models, which is a contract on the chain (`docs/spec/contracts.md`, section 5).

use std::fmt;

use veracity_graph::ModelId;

/// A node: its Ed25519 public key. Displayed as 64 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub [u8; 32]);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A published model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// The model.
    pub id: ModelId,
    /// Bytes of graph and weights, as the publisher states them.
    pub size_bytes: u64,
    /// Whether its name belongs to the operator of the node that asks.
    pub own: bool,
}

/// A node that announces a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The node.
    pub node: NodeId,
    /// Where it says that it is reached; not checked.
    pub endpoint: String,
}

/// Why the registry did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// No such name or version.
    #[error("no model is published as '{name}'; check the name and the version")]
    UnknownName {
        /// What was asked for.
        name: String,
    },
    /// The model was not published.
    #[error("model {id} is not published; push it first")]
    UnknownModel {
        /// The model.
        id: ModelId,
    },
    /// Nobody is there in whose name something could be said.
    #[error("this registry is read only; open it with the account of the node's operator")]
    ReadOnly,
    /// The registry cannot be reached, or refuses.
    #[error("the registry does not answer: {0}; try again later")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The registry of models, seen by one node.
///
/// Whoever implements it answers from the latest finalized state, and may answer late: what was announced or retracted
/// shows up in [`Registry::hosts`] after some time, until when the caller may say it again, which must not be an error.
/// Nothing that it returns is trusted: endpoints, sizes and lists come from strangers.
pub trait Registry: Sync {
    /// The model that is published under a name: this version of it, or the latest.
    ///
    /// # Errors
    /// [`RegistryError::UnknownName`], [`RegistryError::Unavailable`].
    fn resolve(&self, name: &str, version: Option<&str>) -> Result<ModelId, RegistryError>;

    /// A published model.
    ///
    /// # Errors
    /// [`RegistryError::UnknownModel`], [`RegistryError::Unavailable`].
    fn model(&self, id: &ModelId) -> Result<Published, RegistryError>;

    /// Up to `count` published models from `offset` on, oldest first; fewer mean that there are no more.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`].
    fn models(&self, offset: u64, count: usize) -> Result<Vec<Published>, RegistryError>;

    /// Bonded hosts that announce a model; none for one that is not published.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`].
    fn hosts(&self, id: &ModelId) -> Result<Vec<Host>, RegistryError>;

    /// All bonded nodes with the role HOST, in any order, each once.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`].
    fn candidates(&self) -> Result<Vec<NodeId>, RegistryError>;

    /// How many hosts a model should have.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`].
    fn hosts_per_model(&self) -> Result<usize, RegistryError>;

    /// Says that the node of this registry hosts a model.
    ///
    /// # Errors
    /// [`RegistryError::UnknownModel`], [`RegistryError::Unavailable`].
    fn announce(&self, id: &ModelId) -> Result<(), RegistryError>;

    /// Says that the node of this registry does not host a model any more.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`].
    fn retract(&self, id: &ModelId) -> Result<(), RegistryError>;
}
