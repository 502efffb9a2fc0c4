//! The worker through its public doors: refusals, both encodings, receipts and audits.

#[path = "../../../store/tests/it/fixture.rs"]
mod fixture;

mod audits;
mod refusals;
mod requests;
