//! One module per command: its arguments, and `execute`.

pub(crate) mod completions;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod faucet;
pub(crate) mod found;
pub(crate) mod import;
pub(crate) mod keys;
pub(crate) mod localnet;
pub(crate) mod model;
pub(crate) mod network;
pub(crate) mod node;
pub(crate) mod run;
pub(crate) mod status;
pub(crate) mod up;
pub(crate) mod verify;
