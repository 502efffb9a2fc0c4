//! Take part in a network as a provider: register, anchor receipts, host models.
//!
//! A provider is a node that serves models. It sees the chain through the JSON-RPC of a node (`veracity-client`), and its
//! operator's account pays.

#![forbid(unsafe_code)]

mod anchor;
mod error;
mod evidence;
mod host;
mod many;
mod register;
mod registry;
mod service;

pub use anchor::{Anchorer, AnchorerParts, Tick};
pub use error::{AnchorError, RegisterError};
pub use host::HostLoop;
pub use register::{Registered, Registration, register};
pub use registry::{ChainRegistry, PlacedHost, Placement, manifest_root, model_word};
pub use service::Service;
