//! Run models: plan memory, fuse operators, use all cores, and commit to every value computed.
//!
//! An [`Engine`] holds a model with its weights packed for one instruction set. A run takes batches of integers and
//! returns batches of integers; what they mean as real numbers is the business of `veracity-graph`. The results, and
//! the [`Trace`] that commits to all values in between, are the same for every instruction set, thread count and
//! division into batches: [`reference::run`] is the plain definition, and tests hold the engine to it.
//!
//! The way of a run: check the inputs; find or make the [`plan`] for their shapes (types, fused steps, memory slots);
//! divide the samples into groups that fit the cache; execute the steps of each group in order, hashing each value
//! while it is there.

#![forbid(unsafe_code)]

mod action;
mod engine;
mod error;
mod execute;
mod plan;
pub mod reference;
mod trace;
mod workers;

pub use engine::{Engine, Options, Run};
pub use error::{LoadError, RunError};
pub use trace::{SampleHasher, Trace};
