//! What can go wrong, one enum per thing that a caller does.

use std::{io, path::PathBuf};

use veracity_graph::{DecodeError, ModelError, ModelId};

/// Why reading or changing the store failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The folder holds something else, or a store of another version.
    #[error(
        "{} is not a store of this version: VERSION says '{found}'; choose another folder or use the program that made it",
        path.display()
    )]
    NotAStore {
        /// The folder.
        path: PathBuf,
        /// First line of its `VERSION`.
        found: String,
    },
    /// No model has this name or id.
    #[error("no model '{reference}' here; `veracity model ls` lists those that are")]
    NotFound {
        /// What was asked for.
        reference: String,
    },
    /// Several ids begin like this.
    #[error("'{reference}' is the beginning of {} model ids; give more digits", ids.len())]
    Ambiguous {
        /// What was asked for.
        reference: String,
        /// The ids.
        ids: Vec<ModelId>,
    },
    /// A file is not what was written.
    #[error("{} is corrupt: {reason}; {remedy}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The disk is full.
    #[error("the disk is full at {}; free some space and try again", path.display())]
    DiskFull {
        /// What was being written.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl StoreError {
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path },
            _ => Self::Io { action, path, source },
        }
    }
}

/// Why a model was not stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PutError {
    /// The bundle announces more than is allowed. Nothing after its header was read.
    #[error("the bundle has {size_bytes} bytes, at most {size_bytes_max} are allowed")]
    TooLarge {
        /// Size that the header announces.
        size_bytes: u64,
        /// Most that the caller allows.
        size_bytes_max: u64,
    },
    /// The bytes end early.
    #[error("the bundle ends after {found} bytes, its header announces {expected}; send it again")]
    Truncated {
        /// Size that the header announces, or the size of the header.
        expected: u64,
        /// Bytes received.
        found: u64,
    },
    /// Bytes follow the bundle.
    #[error("bytes follow the bundle, whose header announces {expected}")]
    Trailing {
        /// Size that the header announces.
        expected: u64,
    },
    /// The source of the bytes failed.
    #[error("cannot read the bundle: {0}")]
    Source(#[source] io::Error),
    /// The bytes are no bundle, or do not match its manifest.
    #[error("not a valid bundle: {0}")]
    Bundle(#[from] DecodeError),
    /// The graph is no valid model.
    #[error("not a valid model: {0}")]
    Model(#[from] ModelError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a text is not a name for a model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Empty or too long.
    #[error("a model name has 1 to {max} characters, this one has {found}")]
    Length {
        /// [`Name::BYTES_MAX`](crate::Name::BYTES_MAX).
        max: usize,
        /// Bytes of the text.
        found: usize,
    },
    /// A character that names do not have.
    #[error(
        "a model name has the characters a-z 0-9 . _ - and begins with a letter or digit; character {position} of {text:?} is another"
    )]
    Character {
        /// The text.
        text: String,
        /// First offending byte.
        position: usize,
    },
    /// The text could be the beginning of an id.
    #[error("'{text}' could be read as a model id; add a character that is not a hex digit")]
    LooksLikeId {
        /// The text.
        text: String,
    },
}

/// Why there is no executor key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The file is not a key.
    #[error("{} is not an executor key: {reason}; restore it from a backup, or delete it to become a new executor", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: &'static str,
    },
    /// Others than the owner may read it.
    #[error("{} has mode {mode:03o}, so others may read the key; run: chmod 600 {}", path.display(), path.display())]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The operating system gives no randomness.
    #[error("cannot draw a key from the operating system: {0}")]
    Random(getrandom::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why the receipt log failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiptLogError {
    /// Another process appends to it.
    #[error("another process keeps the receipts of {}; stop it or use another folder", path.display())]
    InUse {
        /// The log's folder.
        path: PathBuf,
    },
    /// The receipt is larger than a segment.
    #[error("a receipt of {found} bytes does not fit a segment of {max}")]
    TooLarge {
        /// Most bytes.
        max: u64,
        /// Bytes of the receipt.
        found: usize,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why groups of a model cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GroupsError {
    /// The part has no such groups, or they are too many at once.
    #[error(
        "{count} groups from {first} are asked for; this part has {group_count}, and an answer 1 to {}",
        crate::GROUPS_MAX
    )]
    Range {
        /// First group.
        first: u64,
        /// Number of groups.
        count: u64,
        /// Groups of the part.
        group_count: u64,
    },
    /// The hashes between root and groups were not made yet.
    #[error("model {id} was not prepared for hosting; offer it first")]
    NoHashes {
        /// The model.
        id: ModelId,
    },
    /// The part or its hashes are not what was written.
    #[error("{} or its hashes are damaged from byte {offset}; nothing of it was returned", path.display())]
    Damaged {
        /// The part.
        path: PathBuf,
        /// First byte of the node that does not fit.
        offset: u64,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a fetch cannot begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PartialError {
    /// A part is larger than any disk.
    #[error("the manifest announces a part of {size_bytes} bytes, at most {size_bytes_max} are possible")]
    TooLarge {
        /// What the manifest says.
        size_bytes: u64,
        /// Most that is possible.
        size_bytes_max: u64,
    },
    /// The model is being fetched already.
    #[error("model {id} is being fetched by another process; wait for it or stop it")]
    InUse {
        /// The model.
        id: ModelId,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why groups were not, or not all, received.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiveError {
    /// The bytes are not those of the model.
    #[error("the bytes from {offset} on are not those of the model")]
    WrongBytes {
        /// First byte of the part below the node that does not fit.
        offset: u64,
    },
    /// The bytes end early.
    #[error("the bytes end at {offset}, before the range does")]
    Truncated {
        /// First byte of the part that is missing.
        offset: u64,
    },
    /// Bytes follow the range.
    #[error("bytes follow the range that was asked for")]
    TooLong,
    /// The source of the bytes failed.
    #[error("cannot read on: {0}")]
    Source(#[source] io::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why the index of hosted models cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostedError {
    /// Another process hosts from this store.
    #[error("another process hosts the models of {}; stop it or use another folder", path.display())]
    InUse {
        /// The index's folder.
        path: PathBuf,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a sequence was not issued, or is not found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SequenceError {
    /// A sequence could not be made durable, so what the disk holds is unknown.
    #[error("an earlier sequence could not be made durable in {}; check the disk and start again", path.display())]
    Broken {
        /// Folder of the sequences.
        path: PathBuf,
    },
    /// No receipt has this sequence, or its segment was pruned.
    #[error("sequence {sequence} is not here: {issued} are issued, and the oldest may be pruned")]
    Unknown {
        /// What was asked for.
        sequence: u64,
        /// Sequences issued so far.
        issued: u64,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
