//! Run models: plan memory, fuse operators, use all cores, and commit to the values computed.
//!
//! An [`Engine`] holds a model with its weights packed for one instruction set. A run takes batches of integers and
//! returns batches of integers; what they mean as real numbers is the business of `veracity-graph`. The results, and
//! the [`Trace`] that commits to the values on the way to them, are the same for every instruction set, thread count
//! and division into batches: [`reference::run`] is the plain definition, and tests hold the engine to it.
//!
//! The way of a run: check the inputs; find or make the [`plan`] for their shapes (types, fused steps, memory slots);
//! divide the samples into groups that fit the cache; execute the steps of each group in order, hashing the
//! values that the trace lists while they are there.

#![forbid(unsafe_code)]

mod action;
mod constants;
mod engine;
mod error;
mod execute;
mod plan;
pub mod reference;
mod trace;
mod workers;

pub use engine::{Engine, Options, Run};
pub use error::{LoadError, RunError, TraceKindError};
pub use trace::{Trace, TraceKind};
