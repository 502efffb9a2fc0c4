//! Serve models over HTTP by the Open Inference Protocol, with a receipt for every answer.
//!
//! `docs/spec/inference-protocol.md` says what is served. A request is admitted or refused at once; its body is read
//! within limits; then one job on a blocking thread resolves the name, runs the model, signs the receipt and hands it
//! to the log. Threads that serve connections never run a model. What another node has is asked of it and checked before it
//! is passed on (`docs/spec/gateway.md`); the network's registry is an argument: this crate knows no chain.

#![forbid(unsafe_code)]

mod base64;
mod body;
mod cache;
mod config;
mod error;
mod evidence;
mod forward;
mod gateway;
mod infer;
mod locate;
mod metrics;
mod models;
mod openapi;
mod paced;
mod receipts;
mod refusal;
mod routes;
mod schemas;
mod server;
mod v2;

pub use config::{Config, ConfigFault};
pub use error::StartError;
pub use forward::{Directory, DirectoryError, ForwardConfig, WorkerEntry};
pub use gateway::Gateway;
pub use openapi::openapi;
pub use refusal::REFUSALS;
pub use veracity_worker::Refusal;
