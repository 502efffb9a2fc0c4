//! Seeded simulation of the whole network: the same code as on real machines, with simulated time, network and disks.
//!
//! A [`Scenario`] says what goes wrong. The same seed gives the same run, bit for bit, so a failure can be repeated.

mod attack;
mod client;
mod follow;
mod network;
mod scenario;
mod stake;
mod traffic;

pub use network::{Report, run};
pub use scenario::Scenario;
pub use traffic::{Heard, Traffic};
