//! Tests of the light verifier from the outside: certificates against Commonware's verdicts, laws, refusals.

mod certificates;
mod decode;
mod fixture;
mod frozen;
mod laws;
mod tamper;
mod verify;
