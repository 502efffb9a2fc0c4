//! The real binary, started on this machine: what a user does, and what a cheater tries.

mod anchoring;
mod commands;
mod demo;
mod home;
mod journey;
mod kills;
mod localnet;
mod refusals;
mod server;
