//! Hosts on loopback, honest ones and liars of many kinds, and the rules by which they decide.

mod cheats;
#[path = "../../../store/tests/it/fixture.rs"]
mod fixture;
mod maintainer;
mod network;
mod quota;
mod rules;
mod server;
mod wire;
