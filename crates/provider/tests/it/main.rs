//! A provider on a real chain in this process, and with nodes that lie to it.

mod anchoring;
#[path = "../../../client/tests/it/dev_chain.rs"]
mod dev_chain;
#[path = "../../../store/tests/it/fixture.rs"]
mod fixture;
mod lies;
mod network;
mod registration;
mod registry;
#[path = "../../../client/tests/it/server.rs"]
mod server;
mod support;
