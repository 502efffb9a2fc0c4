//! The server as its clients see it.

mod calls;
mod chain;
mod following;
mod hostile;
mod index;
mod limits;
mod logs;
mod pace;
mod proofs;
#[path = "../../examples/dev/sealer.rs"]
mod sealer;
mod subscriptions;
mod support;
mod traces;
mod transactions;
