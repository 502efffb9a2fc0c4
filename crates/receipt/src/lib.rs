//! Sign a receipt for an inference, and turn a receipt, the bytes at hand and a policy into a verdict.
//!
//! The format and the order of the checks are specified in `docs/spec/receipt.md`; module names here follow its
//! sections. [`Receipt`] is the signed statement, [`verify`] the one door through which it is believed or not.
//!
//! ```
//! use veracity_receipt::{
//!     CheckName, Claims, ExecutorKey, Materials, ModelId, Policy, Receipt, Request, Response, Run, Tier, verify,
//! };
//!
//! let request = Request { protocol: "oip/2", model_name: "digits", json_length: None, body: b"{}" };
//! let response = Response { json_length: None, body: b"{\"ok\":1}" };
//! let model_id = ModelId::from_bytes([7; 32]);
//! let run = Run { samples: 1, macs: None, trace_root: None, software: "veracity/0.1.0", issued_at: 1_795_000_000 };
//! let claims = Claims::new(model_id, &request, &response, &run);
//! let receipt = Receipt::sign(claims, &ExecutorKey::from_seed(&[1; 32])).unwrap();
//!
//! let materials = Materials { request: Some(request), response: Some(response), ..Materials::default() };
//! let verdict = verify(&receipt.encode(), &materials, &Policy::default());
//! assert!(!verdict.verified(), "the default policy also wants the model and its re-execution");
//! let lenient = Policy { required: vec![CheckName::Signature], ..Policy::default() };
//! assert_eq!(verify(&receipt.encode(), &materials, &lenient).tier(), Some(Tier::Signed));
//! ```
//!
//! What strangers send is decoded without recursion, without panics and without allocating on claimed lengths. There
//! is no clock, no randomness and no engine in here: time comes with the [`Policy`], re-execution with a
//! [`Reexecutor`].

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

mod claims;
mod codec;
mod error;
mod ids;
mod key;
mod message;
mod policy;
mod receipt;
mod verdict;
mod verify;

pub use claims::{
    Claims, MODEL_NAME_BYTES_MAX, PROTOCOL_BYTES_MAX, Parameters, Run, SOFTWARE_BYTES_MAX, Usage,
};
pub use codec::{CONTENT_TYPE, RECEIPT_BYTES_MAX, VERSION};
pub use error::{CheckError, ClaimsError, DecodeError, IdError, ReexecuteError, SignatureError};
pub use ids::{ModelId, ReceiptId, RequestHash, ResponseHash, TraceRoot};
pub use key::{ExecutorId, ExecutorKey};
pub use message::{Request, Response};
pub use policy::{Materials, Policy, Reexecution, Reexecutor};
pub use receipt::Receipt;
pub use veracity_light::{Evidence, NetworkKey};
pub use verdict::{Check, CheckName, Outcome, Tier, Verdict};
pub use verify::verify;
