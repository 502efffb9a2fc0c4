//! Tests of receipts from the outside: the wire format, its refusals, and verdicts.

mod anchoring;
mod cose;
mod craft;
mod decode;
mod execution;
mod fixture;
mod frozen;
mod laws;
mod tamper;
mod verdict;
