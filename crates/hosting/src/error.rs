//! What can go wrong, one enum per thing that a caller does.

use veracity_graph::{DecodeError, ModelId};
use veracity_store::{HostedError, PartName, PartialError, PutError, StoreError};

use crate::{NodeId, RegistryError, client::Endpoint};

/// Why a text is not the endpoint of a host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// Empty or too long.
    #[error("an endpoint has 1 to {max} bytes, this one has {found}")]
    Length {
        /// [`Endpoint::BYTES_MAX`].
        max: usize,
        /// Bytes of the text.
        found: usize,
    },
    /// Not a URL that we use.
    #[error(
        "'{text}' is no endpoint: {reason}; expected http://host or https://host, perhaps with port and path"
    )]
    Url {
        /// The text.
        text: String,
        /// What does not fit.
        reason: &'static str,
    },
}

/// What cannot work in a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigFault {
    /// A number that must not be zero is.
    #[error("{field} is 0; set it to 1 or more")]
    Zero {
        /// The field.
        field: &'static str,
    },
    /// A lower bound is above its upper bound.
    #[error("{lower} is above {upper}; lower it")]
    Order {
        /// The lower bound.
        lower: &'static str,
        /// The upper bound.
        upper: &'static str,
    },
}

/// A configuration that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the configuration cannot work: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct ConfigError(pub Vec<ConfigFault>);

/// What is wrong with an answer of a host, or with the host.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The manifest is that of another model.
    #[error("its manifest is that of {found}")]
    WrongManifest {
        /// The model that it is the manifest of.
        found: ModelId,
    },
    /// The manifest is none.
    #[error("its manifest is none: {0}")]
    BadManifest(#[source] DecodeError),
    /// Bytes are not those of the model.
    #[error("its bytes of {part} from {offset} on are not those of the model")]
    WrongBytes {
        /// The part.
        part: PartName,
        /// First byte of the tree's node that does not fit.
        offset: u64,
    },
    /// `Content-Length` is not what follows from the request.
    #[error("it announces {found} bytes where {expected} are right")]
    WrongLength {
        /// The right length, or the most that is.
        expected: u64,
        /// `Content-Length`.
        found: u64,
    },
    /// More came than was asked for.
    #[error("it sends more than was asked for")]
    TooLong,
    /// It points at another place.
    #[error("it redirects (status {status})")]
    Redirect {
        /// HTTP status.
        status: u16,
    },
    /// Its address is one that this node does not go to.
    #[error("its address is not public; allow private addresses if it is meant")]
    PrivateAddress,
    /// There is no connection, or it broke.
    #[error("it cannot be reached: {reason}")]
    Unreachable {
        /// Why not.
        reason: String,
    },
    /// The answer did not come in time.
    #[error("it is too slow")]
    TooSlow,
    /// The answer ended early.
    #[error("its answer ends early")]
    Truncated,
    /// It refuses.
    #[error("it refuses (status {status})")]
    Refused {
        /// HTTP status.
        status: u16,
    },
}

impl Fault {
    /// Whether no honest host does this: it is dropped at once. Other faults may pass.
    #[must_use]
    pub fn is_lie(&self) -> bool {
        match self {
            Self::WrongManifest { .. }
            | Self::BadManifest(_)
            | Self::WrongBytes { .. }
            | Self::WrongLength { .. }
            | Self::TooLong
            | Self::Redirect { .. }
            | Self::PrivateAddress => true,
            Self::Unreachable { .. } | Self::TooSlow | Self::Truncated | Self::Refused { .. } => false,
        }
    }
}

/// A host that was dropped, and why.
#[derive(Debug, thiserror::Error)]
#[error("host {node} at {endpoint} is dropped: {fault}")]
pub struct HostReport {
    /// The node.
    pub node: NodeId,
    /// Where it was asked.
    pub endpoint: Endpoint,
    /// What it did last.
    pub fault: Fault,
}

/// Why a model was not fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// Nobody is known to have it.
    #[error("nobody hosts model {id}; try again later, or ask its owner to push it")]
    NoHosts {
        /// The model.
        id: ModelId,
    },
    /// All hosts were dropped. What was verified stays for the next attempt.
    #[error("no host gave all of model {id}: {}; try again later", reports.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    AllHostsFailed {
        /// The model.
        id: ModelId,
        /// What each did, in the order in which they were dropped.
        reports: Vec<HostReport>,
    },
    /// The registry states another size than the manifest.
    #[error(
        "the registry says that the model has {stated} bytes, its manifest {found}; the entry lies and is ignored"
    )]
    StatedSize {
        /// Bytes by the registry.
        stated: u64,
        /// Bytes by the manifest.
        found: u64,
    },
    /// The model is larger than the caller allows.
    #[error(
        "the model has {size_bytes} bytes, at most {size_bytes_max} are allowed; raise the limit to fetch it"
    )]
    TooLarge {
        /// Bytes of the model.
        size_bytes: u64,
        /// Most that the caller allows.
        size_bytes_max: u64,
    },
    /// There is no room for it.
    #[error(transparent)]
    Room(#[from] RoomError),
    /// The bytes are those of the id, and are no valid model.
    #[error("what is published as {id} is no valid model: {reason}")]
    Invalid {
        /// The id.
        id: ModelId,
        /// What does not fit.
        reason: PutError,
    },
    /// The observer wanted it to stop. What was verified stays for the next attempt.
    #[error("the fetch was stopped; start it again to go on")]
    Stopped,
    /// It took too long. What was verified stays for the next attempt.
    #[error("the fetch took more than {} s; start it again to go on", timeout.as_secs())]
    TimeUp {
        /// [`FetchConfig::fetch_timeout`](crate::FetchConfig::fetch_timeout).
        timeout: std::time::Duration,
    },
    /// The fetch cannot begin.
    #[error(transparent)]
    Partial(#[from] PartialError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl FetchError {
    /// Whether it would be the same from any host at any time, so that nobody should try again.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Self::StatedSize { .. } | Self::Invalid { .. })
    }
}

/// Why room was not reserved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReserveError {
    /// It never fits.
    #[error(
        "the model has {size_bytes} bytes, the quota for hosted models is {limit_bytes}; raise it to host the model"
    )]
    AboveLimit {
        /// Bytes of the model.
        size_bytes: u64,
        /// The quota.
        limit_bytes: u64,
    },
    /// What may be evicted is not enough.
    #[error(
        "the model has {size_bytes} bytes, {free_bytes} are free in the quota with all evicted that may be; raise the quota or remove a name"
    )]
    NoRoom {
        /// Bytes of the model.
        size_bytes: u64,
        /// Bytes that would be free.
        free_bytes: u64,
    },
}

/// Why room for a model was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RoomError {
    /// The quota does not allow it.
    #[error(transparent)]
    Reserve(#[from] ReserveError),
    /// A model that is to be evicted cannot be retracted.
    #[error("cannot retract a model that is to be evicted: {0}")]
    Registry(#[from] RegistryError),
    /// Hosting failed.
    #[error(transparent)]
    Hosting(#[from] HostingError),
}

/// Why hosting failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostingError {
    /// The configuration cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Another process hosts from this store, or the index failed.
    #[error(transparent)]
    Index(#[from] HostedError),
    /// The model is in use, so it is not removed.
    #[error("model {id} is in use; try again later")]
    InUse {
        /// The model.
        id: ModelId,
    },
    /// A fetch that did not end cannot be given up.
    #[error(transparent)]
    Partial(#[from] PartialError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why groups are not served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The path names no model, part or groups.
    #[error(
        "the path is not /hosting/v1/models/ID/manifest or /hosting/v1/models/ID/graph|weights/FIRST/COUNT"
    )]
    BadRequest,
    /// The model is not offered here.
    #[error("model {id} is not hosted here; the registry lists its hosts")]
    NotHosted {
        /// The model.
        id: ModelId,
    },
    /// The part has no such groups, or they are too many.
    #[error(
        "{count} groups from {first} are asked for; this part has {group_count}, and an answer 1 to {}",
        veracity_store::GROUPS_MAX
    )]
    BadRange {
        /// First group.
        first: u64,
        /// Number of groups.
        count: u64,
        /// Groups of the part.
        group_count: u64,
    },
    /// Too many answers are under way.
    #[error("too many answers are under way; try again in {} s", crate::server::RETRY_AFTER_S)]
    Busy,
    /// The stored bytes are wrong; the model is offered no more.
    #[error("the stored bytes of model {id} are damaged; ask another host")]
    Damaged {
        /// The model.
        id: ModelId,
    },
    /// The disk failed.
    #[error("the disk of this host failed; ask another host")]
    Disk(#[source] StoreError),
    /// A job panicked.
    #[error("the server has a defect: a job panicked; its log says where, please report it")]
    Internal,
}
