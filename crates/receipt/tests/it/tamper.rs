//! A good receipt with any byte changed is no good receipt.

use ed25519_dalek::{Signer, SigningKey};
use veracity_receipt::{
    CheckName, ExecutorId, Materials, Outcome, Policy, Receipt, Request, Response, SignatureError, verify,
};

use crate::{
    craft::{Craft, bytes, set},
    fixture::{REQUEST, RESPONSE, Rerun, materials, receipt, small_receipt},
};

const MASKS: [u8; 10] = [0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xff, 0x1f];

#[test]
fn every_byte_flipped_is_refused() {
    for receipt in [receipt(), small_receipt()] {
        let good = receipt.encode();
        assert_eq!(Receipt::decode(&good).unwrap().verify_signature(), Ok(()), "the control");
        let mut n_by_signature = 0;
        for position in 0..good.len() {
            for mask in MASKS {
                let mut bad = good.clone();
                bad[position] ^= mask;
                if let Ok(receipt) = Receipt::decode(&bad) {
                    n_by_signature += 1;
                    let refused = receipt.verify_signature().is_err();
                    assert!(refused, "byte {position} xor {mask:#x} verifies");
                }
            }
        }
        // Hashes, numbers, names and the signature itself decode with any content: it is the signature that stops them.
        assert!(n_by_signature > 1_000, "only {n_by_signature} changes got as far as the signature");
    }
}

fn outcome(receipt: &Receipt, materials: &Materials<'_>, name: CheckName) -> Outcome {
    verify(&receipt.encode(), materials, &Policy::default()).outcome(name).unwrap().clone()
}

#[test]
fn every_byte_of_the_request_counts() {
    let (receipt, rerun) = (receipt(), Rerun::honest());
    for position in 0..REQUEST.body.len() {
        for mask in MASKS {
            let mut body = REQUEST.body.to_vec();
            body[position] ^= mask;
            let changed =
                Materials { request: Some(Request { body: &body, ..REQUEST }), ..materials(&rerun) };
            assert!(
                outcome(&receipt, &changed, CheckName::Request).is_fail(),
                "byte {position} xor {mask:#x}"
            );
        }
    }
    assert_eq!(rerun.n_calls.get(), 0, "a wrong request was run");
}

#[test]
fn every_byte_of_the_response_counts() {
    let (receipt, rerun) = (receipt(), Rerun::honest());
    for position in 0..RESPONSE.body.len() {
        for mask in MASKS {
            let mut body = RESPONSE.body.to_vec();
            body[position] ^= mask;
            let changed =
                Materials { response: Some(Response { body: &body, ..RESPONSE }), ..materials(&rerun) };
            assert!(
                outcome(&receipt, &changed, CheckName::Response).is_fail(),
                "byte {position} xor {mask:#x}"
            );
        }
    }
}

/// A receipt that names `executor`, with this signature.
fn receipt_of(executor: ExecutorId, signature: &[u8]) -> Receipt {
    let mut craft = Craft::new(&receipt());
    set(&mut craft.protected, 4, bytes(executor.as_bytes()));
    set(&mut craft.cwt_claims, 1, executor.to_string());
    craft.signature = signature.to_vec();
    Receipt::decode(&craft.encode()).unwrap()
}

/// With the neutral element as key, `R` neutral and `S = 0` satisfy the plain equation for every message.
#[test]
fn a_key_of_small_order_signs_nothing() {
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let signature = [neutral, [0; 32]].concat();
    let executor = ExecutorId::from_bytes(neutral);
    let lax = ed25519_dalek::VerifyingKey::from_bytes(&neutral).unwrap();
    let lax_signature = ed25519_dalek::Signature::from_slice(&signature).unwrap();
    assert!(
        ed25519_dalek::Verifier::verify(&lax, b"any message", &lax_signature).is_ok(),
        "the forgery works where the verification is not strict"
    );
    let forged = receipt_of(executor, &signature);
    assert_eq!(forged.verify_signature(), Err(SignatureError::WeakKey { executor }));
}

#[test]
fn another_executor_cannot_take_a_signature_over() {
    let executor = ExecutorId::from_bytes(SigningKey::from_bytes(&[2; 32]).verifying_key().to_bytes());
    let error = receipt_of(executor, receipt().signature()).verify_signature().unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("the signature is not one of executor {executor} over these claims")
    );
}

/// `S + L` satisfies the equation as `S` does; RFC 8032 refuses it (section 5.1.7).
#[test]
fn the_signature_has_no_second_form() {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let receipt = receipt();
    let mut signature = *receipt.signature();
    let mut carry = 0;
    for (byte, order) in signature[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    assert_eq!(carry, 0);
    assert!(receipt_of(receipt.executor(), &signature).verify_signature().is_err());
}

/// The same payload signed as something else than a receipt: other context, or no context at all.
#[test]
fn a_signature_over_other_bytes_does_not_count() {
    let key = SigningKey::from_bytes(&[1; 32]);
    let (receipt, craft) = (receipt(), Craft::new(&receipt()));
    let structure = |context: &str, aad: &[u8]| {
        crate::craft::cbor(&ciborium::Value::Array(vec![
            context.into(),
            bytes(&craft.protected()),
            bytes(aad),
            bytes(&craft.payload()),
        ]))
    };
    let verifies = |message: &[u8]| {
        receipt_of(receipt.executor(), &key.sign(message).to_bytes()).verify_signature().is_ok()
    };
    assert!(verifies(&structure("Signature1", b"")), "the control");
    assert!(!verifies(&structure("Signature1", b"x")));
    assert!(!verifies(&structure("Signature", b"")));
    assert!(!verifies(&structure("MAC0", b"")));
    assert!(!verifies(&craft.payload()));
}
