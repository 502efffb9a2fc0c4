//! Serve the chain over JSON-RPC as Ethereum's tools expect it.
//!
//! Consensus gives finalized blocks to a [`Chain`], which keeps them in a durable [`Index`] and their states in memory;
//! [`serve`] answers questions about them over HTTP and WebSocket on one port, and hands transactions to the pool behind
//! [`Submit`]. Methods, formats, limits and errors: `docs/spec/rpc.md`.

mod arguments;
mod chain;
mod config;
mod convert;
mod epoch;
mod error;
mod filters;
mod finalized;
mod follow;
mod hosts;
mod inclusion;
mod index;
mod logs;
mod methods;
mod node;
mod pace;
mod records;
mod server;
mod submit;
mod subscribe;

pub use chain::{Chain, STATES_KEPT};
pub use config::{Config, ConfigError};
pub use epoch::{ComingCommittee, CommitteeMember, EpochStatus};
pub use error::{IndexError, RpcError, ServeError};
pub use finalized::Finalized;
pub use follow::{Follow, FollowAnswer, FollowQuestion};
pub use inclusion::{Finalization, TransactionInclusion, verify_item};
pub use index::{Index, IndexedReceipt};
pub use jsonrpsee::Methods;
pub use methods::METHODS;
pub use node::Services;
pub use server::{Server, direct, serve};
pub use submit::{Submit, Waiting};
