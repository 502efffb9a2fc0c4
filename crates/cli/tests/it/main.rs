//! The real binary, started on this machine: what a user does, and what a cheater tries.

mod anchoring;
mod commands;
mod demo;
#[cfg(unix)]
mod disk;
#[path = "../../../store/tests/it/fixture.rs"]
mod fixture;
mod following;
mod founding;
mod home;
#[cfg(unix)]
mod hosting;
mod joining;
mod journey;
mod kills;
#[path = "../../../gateway/tests/it/liar.rs"]
mod liar;
mod localnet;
mod network;
#[cfg(unix)]
mod proxy;
mod refusals;
mod roles;
mod running;
mod server;
