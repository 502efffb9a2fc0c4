//! Bytes from a stranger, read as a receipt: no panic, and no second encoding.

#![no_main]

use libfuzzer_sys::fuzz_target;
use veracity_receipt::{Materials, Policy, Receipt, verify};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(receipt) = Receipt::decode(bytes) {
        assert_eq!(receipt.encode(), bytes, "a receipt with a second encoding");
        assert_eq!(Receipt::decode(bytes).as_ref(), Ok(&receipt), "decoding is not a function");
    }
    let verdict = verify(bytes, &Materials::default(), &Policy::default());
    assert!(!verdict.verified(), "verified without materials");
});
