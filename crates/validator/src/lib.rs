//! A validator, or a follower, on the network, threads and disks of the operating system.
//!
//! The consensus library is compiled for this runtime here and nowhere else: nothing in this crate is generic, so that
//! work on other crates does not compile it again.

mod contact;
mod epoch;
mod keys;
mod validator;

pub use contact::{Contact, ContactError};
pub use epoch::{EpochView, Member};
pub use keys::{Dealt, FirstEpoch, Identity, KeyError, deal};
pub use validator::{Events, FollowOptions, Options, StartError, Stopped, Validator};
