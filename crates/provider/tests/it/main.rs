//! A provider on a real chain in this process, and with nodes that lie to it.

mod anchoring;
mod lies;
mod registration;
mod support;
