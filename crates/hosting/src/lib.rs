//! Keep models on several nodes: serve them, fetch them from strangers, decide who holds which.
//!
//! `docs/spec/hosting.md` gives the protocol and the rules. [`fetch`] gets a model by its id from hosts that nobody trusts;
//! [`Hosting`] is what a node offers, [`router`] serves it over HTTP, and [`Maintainer`] keeps it as the network needs it.
//! The [`Registry`] is an argument: this crate knows no chain.

#![forbid(unsafe_code)]

mod address;
mod client;
mod config;
mod error;
mod fetch;
mod hosting;
mod maintainer;
mod placement;
mod queue;
mod quota;
mod registry;
mod server;

pub use client::{Client, Endpoint, is_private_address, stranger_agent};
pub use config::{FetchConfig, HostingConfig};
pub use error::{
    ConfigError, ConfigFault, EndpointError, Fault, FetchError, HostReport, HostingError, ReserveError,
    RoomError, ServeError,
};
pub use fetch::{Observer, Order, Source, fetch, model_bytes, pull};
pub use hosting::{Hosting, InUse};
pub use maintainer::{Maintainer, Tick, TickError};
pub use placement::{Duty, duty, holders, ranking, score};
pub use quota::{Quota, Slot};
pub use registry::{Host, NodeId, Published, Registry, RegistryError};
pub use server::router;
