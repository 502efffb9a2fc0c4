//! Make the key of a new network by its founders together.
//!
//! Specification: `docs/spec/founding.md`. [`run`] is generic over the runtime; [`Ceremony`] is its instance for the
//! network, threads and disks of the operating system. This is a crate of its own so that the consensus library is
//! compiled for it beside the validator, and not after it.

mod ceremony;
mod error;
mod run;
mod status;

pub use ceremony::{Ceremony, Made, Options, Recorder, StartError};
pub use error::{Failed, RecordError};
pub use run::{CHANNELS, Channel, Config, Outcome, Record, message_bytes_max, quota, run};
pub use status::{Progress, Step};
