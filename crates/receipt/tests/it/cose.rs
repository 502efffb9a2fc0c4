//! Receipts against `coset` and `ciborium`: what we write is standard COSE, and standard COSE of the right content is
//! what we read.

use coset::{
    CborSerializable, CoseSign1, CoseSign1Builder, HeaderBuilder, Label, RegisteredLabelWithPrivate,
    TaggedCborSerializable, iana,
};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use veracity_receipt::{CONTENT_TYPE, Receipt};

use crate::{
    craft::Craft,
    fixture::{ISSUED_AT, MODEL_ID, key, receipt, small_receipt},
};

#[test]
fn another_encoder_makes_the_same_bytes() {
    for receipt in [receipt(), small_receipt()] {
        assert_eq!(Craft::new(&receipt).encode(), receipt.encode());
    }
}

#[test]
fn another_cose_reader_verifies_the_signature() {
    let sign1 = CoseSign1::from_tagged_slice(&receipt().encode()).unwrap();
    let header = &sign1.protected.header;
    assert_eq!(header.alg, Some(RegisteredLabelWithPrivate::Assigned(iana::Algorithm::EdDSA)));
    assert_eq!(header.content_type, Some(coset::ContentType::Text(CONTENT_TYPE.to_owned())));
    assert_eq!(header.key_id, key().executor().as_bytes());

    let public = VerifyingKey::try_from(header.key_id.as_slice()).unwrap();
    let verify = |aad: &[u8]| {
        sign1.verify_signature(aad, |signature, message| {
            public.verify_strict(message, &Signature::from_slice(signature).unwrap())
        })
    };
    assert_eq!(verify(b"").map_err(|error| error.to_string()), Ok(()));
    assert!(verify(b"x").is_err(), "the reader ignores the external data");
}

#[test]
fn another_cose_reader_finds_issuer_subject_and_time() {
    let sign1 = CoseSign1::from_tagged_slice(&receipt().encode()).unwrap();
    let [(Label::Int(15), claims)] = sign1.protected.header.rest.as_slice() else {
        panic!("the CWT claims are not the one other label");
    };
    let claims = coset::cwt::ClaimsSet::from_slice(&crate::craft::cbor(claims)).unwrap();
    assert_eq!(claims.issuer, Some(key().executor().to_string()));
    assert_eq!(claims.subject, Some(MODEL_ID.to_string()));
    assert_eq!(claims.issued_at, Some(coset::cwt::Timestamp::WholeSeconds(ISSUED_AT.cast_signed())));
}

#[test]
fn a_receipt_made_by_another_cose_writer_verifies() {
    let craft = Craft::new(&receipt());
    let header = HeaderBuilder::new()
        .algorithm(iana::Algorithm::EdDSA)
        .content_type(CONTENT_TYPE.to_owned())
        .key_id(key().executor().as_bytes().to_vec())
        .value(15, ciborium::Value::Map(craft.cwt_claims.clone()))
        .build();
    let signing_key = SigningKey::from_bytes(&[1; 32]);
    let sign1 = CoseSign1Builder::new()
        .protected(header)
        .payload(craft.payload())
        .create_signature(b"", |message| signing_key.sign(message).to_bytes().to_vec())
        .build();
    let bytes = sign1.to_tagged_vec().unwrap();
    assert_eq!(Receipt::decode(&bytes).unwrap(), receipt());
    assert_eq!(bytes, receipt().encode());
}
