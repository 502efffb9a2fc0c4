//! Define the model format: graph, constants, manifest and the model id that names them.
//!
//! `docs/spec/model.md` gives the bytes; this crate reads and writes them. A [`Model`] is a [`Graph`] of operators with
//! the raw bytes of its constants, checked: every operand exists and comes earlier, every table, shift and multiplier
//! is in range, and every accumulator provably fits its type. A [`Manifest`] names the parts by hash and records where
//! they came from; its hash is the [`ModelId`].

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

mod array;
mod bundle;
mod checkpoints;
mod codec;
mod error;
mod graph;
mod manifest;
mod model;
mod op_codec;
mod quantise;

pub use array::{Array, ArrayData, Batch, Elem, IntData};
pub use bundle::{Bundle, BundleHeader};
pub use codec::DecodeLimits;
pub use error::{BatchError, BundleError, DecodeError, ModelError};
pub use graph::{ConstantType, Decoding, Dim, Encoding, Graph, Input, Node, Output, Scale, ValueId};
pub use manifest::{Digest, Manifest, ModelId, Part, Provenance};
pub use model::Model;
