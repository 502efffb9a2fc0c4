//! Keep models, names, the executor key and receipts on disk, so that nothing acknowledged is lost.
//!
//! `docs/spec/store.md` gives the layout, the order of writes and what a crash can lose. A [`Store`] is a folder that
//! several processes may share; [`ReceiptLog`] is the one part of it with a single writer.

#![forbid(unsafe_code)]

mod disk;
mod error;
mod evidence;
mod groups;
mod hosted;
mod key;
mod lock;
mod name;
mod partial;
mod put;
mod receipts;
mod sequence;
mod store;

pub use error::{
    GroupsError, HostedError, KeyError, NameError, PartialError, PutError, ReceiptLogError, ReceiveError,
    SequenceError, StoreError,
};
pub use evidence::{AnchoredBatch, EvidenceLog};
pub use groups::{GROUP_BYTES, GROUPS_MAX, PartName, encoded_bytes, group_count};
pub use hosted::{Hosted, HostedKind, HostedLock};
pub use name::Name;
pub use partial::{Partial, PartialPart};
pub use receipts::{ReceiptLimits, ReceiptLog};
pub use sequence::SequenceLog;
pub use store::{Entry, Removed, Store};

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
#[path = "../tests/it/fixture.rs"]
mod fixture;
#[cfg(test)]
mod hosting_crash_tests;
#[cfg(test)]
mod sequence_crash_tests;
