//! The real binary, started on this machine: what a user does, and what a cheater tries.

mod anchoring;
mod commands;
mod demo;
mod home;
mod journey;
mod kills;
mod localnet;
mod network;
mod refusals;
mod server;
