//! Check a proof of inference: transcript, sumchecks and sums of fractions over one field.
//!
//! `docs/spec/proof.md` specifies what is checked. A proof is one string of bytes that holds no lengths; what is read from it
//! is absorbed by the transcript as it is read.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable,
        clippy::indexing_slicing,
        clippy::string_slice,
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::integer_division,
        clippy::wildcard_enum_match_arm,
        clippy::panic_in_result_fn,
        clippy::float_arithmetic
    )
)]

mod error;
pub mod field;
pub mod fractions;
pub mod multilinear;
pub mod sumcheck;
mod transcript;

pub use error::{FormatError, FractionError};
pub use field::{Base, Element};
pub use transcript::{Challenger, Reader, Transcript, Writer};
