//! The gateway over real sockets: inference, models, receipts, refusals, limits, start and stop.

#[path = "../../../store/tests/it/fixture.rs"]
mod fixture;

mod forward;
mod inference;
mod liar;
mod limits;
mod models;
mod refusals;
mod server;
