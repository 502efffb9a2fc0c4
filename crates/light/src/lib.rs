//! Check finality certificates and inclusion proofs from one static network key.
//!
//! `docs/spec/light.md` specifies what is checked, and module names here follow its sections. [`Evidence`] takes a
//! receipt to the block that anchored it, and that block to the [`NetworkKey`]:
//!
//! ```
//! use veracity_light::{Evidence, NetworkKey, Subject, verify};
//!
//! let key: NetworkKey = include_str!("../testdata/network-key.hex").parse().unwrap();
//! let evidence = Evidence::decode(include_bytes!("../testdata/v1-evidence.cbor")).unwrap();
//! let subject = Subject { executor: [7; 32], sequence: 1002, receipt_id: [0x5a; 32] };
//! let (block, anchor) = verify(&evidence, &subject, &key).unwrap();
//! assert_eq!((block.height, anchor.batch, anchor.index), (120, 3, 2));
//! ```
//!
//! There is no clock, no I/O and no randomness in here. What strangers send is decoded without recursion, without
//! panics and without allocating on claimed lengths.

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

mod anchor;
mod bls;
pub mod cbor;
mod certificate;
mod error;
mod evidence;
mod hash;
mod header;
pub mod merkle;
mod rlp;
mod trie;

pub use anchor::{Anchor, RECEIPTS_CONTRACT, Subject};
pub use bls::{NETWORK_KEY_BYTES, NetworkKey};
pub use cbor::CborError;
pub use certificate::{Finalization, NAMESPACE, Proposal, Round, SIGNATURE_BYTES, Seed};
pub use error::{
    AnchorError, CertificateError, EvidenceError, FinalityError, KeyError, RlpError, SignatureError,
    TrieError, VerifyError,
};
pub use evidence::{EVIDENCE_BYTES_MAX, Evidence, HEADERS_MAX, NODES_MAX, Parts, verify};
pub use hash::BlockHash;
pub use header::{FinalBlock, HEADER_BYTES_MAX};
