//! Prove an inference: sumchecks and sums of fractions, with the field arithmetic of the machine.
//!
//! Each module proves what the module of the same name in `veracity-proof` verifies. Vectors are worked on in words of as many
//! elements as the processor takes at once; results do not depend on how many that are, nor on the number of threads.

#![forbid(unsafe_code)]

pub mod fractions;
pub mod sumcheck;
#[cfg(test)]
mod tests;
mod words;

pub use words::{Word, Words};
