//! Take part in a network as a provider: register, anchor receipts, host models.
//!
//! A provider is a node that serves models. It sees the chain through the JSON-RPC of a node (`veracity-client`), and its
//! operator's account pays.

#![forbid(unsafe_code)]

mod host;
mod many;
mod registry;

pub use host::HostLoop;
pub use registry::{ChainRegistry, PlacedHost, Placement, manifest_root, model_word};
