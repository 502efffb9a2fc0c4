//! A provider on a real chain.

#[path = "../../../store/tests/it/fixture.rs"]
mod fixture;
mod network;
mod registry;
