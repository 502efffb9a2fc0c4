//! Keep models, names, the executor key and receipts on disk, so that nothing acknowledged is lost.
//!
//! `docs/spec/store.md` gives the layout, the order of writes and what a crash can lose. A [`Store`] is a folder that
//! several processes may share; [`ReceiptLog`] is the one part of it with a single writer.

#![forbid(unsafe_code)]

mod disk;
mod error;
mod key;
mod lock;
mod name;
mod put;
mod receipts;
mod store;

pub use error::{KeyError, NameError, PutError, ReceiptLogError, StoreError};
pub use name::Name;
pub use receipts::{ReceiptLimits, ReceiptLog};
pub use store::{Entry, Removed, Store};

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
#[path = "../tests/it/fixture.rs"]
mod fixture;
