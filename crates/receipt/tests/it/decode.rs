//! Every refusal of the decoder, by its message.

use ciborium::Value;
use veracity_light::CborError;
use veracity_receipt::{Claims, ClaimsError, DecodeError, ExecutorKey, RECEIPT_BYTES_MAX, Receipt, Usage};

use crate::{
    craft::{Craft, bytes, remove, set},
    fixture::{claims, key, receipt, sign, small_receipt},
};

/// Where the empty unprotected header stands.
const UNPROTECTED: usize = 224;

fn refusal(bytes: &[u8]) -> String {
    Receipt::decode(bytes).unwrap_err().to_string()
}

/// The refusal of the receipt with every optional field, after `bend` changed a part of it.
fn bent(bend: impl FnOnce(&mut Craft)) -> String {
    let mut craft = Craft::new(&receipt());
    bend(&mut craft);
    refusal(&craft.encode())
}

/// Replaces the only occurrence of `from`, which may have another length than `to`.
fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut places = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(from));
    let at = places.next().expect("the bytes to replace");
    assert_eq!(places.next(), None, "more than one place");
    [&bytes[..at], to, &bytes[at + from.len()..]].concat()
}

#[test]
fn decode_after_encode_is_the_identity() {
    for receipt in [receipt(), small_receipt()] {
        let bytes = receipt.encode();
        assert_eq!(Receipt::decode(&bytes), Ok(receipt.clone()));
        assert_eq!(Receipt::decode(&bytes).unwrap().id(), receipt.id());
    }
}

#[test]
fn the_largest_receipt_is_as_small_as_the_specification_says() {
    let mut claims = claims();
    claims.issued_at = u64::MAX;
    claims.parameters.protocol = "p".repeat(32);
    claims.parameters.model_name = "m".repeat(256);
    claims.parameters.request_json_length = Some(u64::MAX);
    claims.parameters.response_json_length = Some(u64::MAX);
    claims.usage =
        Usage { samples: u64::MAX, input_bytes: u64::MAX, output_bytes: u64::MAX, macs: Some(u64::MAX) };
    claims.software = "s".repeat(64);
    claims.sequence = Some(u64::MAX);
    let receipt = sign(claims);
    let bytes = receipt.encode();
    assert!(bytes.len() < 1_200, "{} bytes", bytes.len());
    assert_eq!(Receipt::decode(&bytes), Ok(receipt));
}

#[test]
fn too_large() {
    assert_eq!(
        refusal(&vec![0; RECEIPT_BYTES_MAX + 1]),
        "a receipt has at most 114688 bytes, this one has 114689"
    );
}

#[test]
fn truncated_at_every_length() {
    let bytes = receipt().encode();
    for length in 0..bytes.len() {
        let error = Receipt::decode(&bytes[..length]).unwrap_err();
        assert!(matches!(error, DecodeError::Cbor(CborError::Truncated { .. })), "cut to {length}: {error}");
    }
    assert_eq!(refusal(b""), "1 bytes are needed at byte 0, only 0 are left");
    assert_eq!(
        refusal(&bytes[..bytes.len() - 1]),
        format!("64 bytes are needed at byte {}, only 63 are left", bytes.len() - 64)
    );
}

#[test]
fn lengths_are_claims_only() {
    let huge = b"\xd2\x84\x5b\xff\xff\xff\xff\xff\xff\xff\xff";
    assert_eq!(refusal(huge), "18446744073709551615 bytes are needed at byte 11, only 0 are left");
    let map = b"\xd2\x84\x49\xbb\xff\xff\xff\xff\xff\xff\xff\xff";
    assert_eq!(refusal(map), "1 bytes are needed at byte 12, only 0 are left");
}

#[test]
fn nesting_is_refused_at_the_first_level() {
    assert_eq!(refusal(&[0x81; RECEIPT_BYTES_MAX]), "expected a tag at byte 0, found an array");
    let bomb = [&[0xd2, 0x84][..], &[0xd2; 10_000]].concat();
    assert_eq!(refusal(&bomb), "expected a byte string at byte 2, found a tag");
    let deep = (0..100).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
    assert_eq!(bent(|c| set(&mut c.payload, 7, deep)), "expected a text string at byte 371, found an array");
}

#[test]
fn trailing_bytes() {
    let longer = [receipt().encode(), vec![0]].concat();
    let end = longer.len() - 1;
    assert_eq!(refusal(&longer), format!("1 bytes follow the end of the receipt at byte {end}"));

    let craft = Craft::new(&receipt());
    let longer = |part: Vec<u8>| {
        let short = crate::craft::cbor(&bytes(&part));
        let long = crate::craft::cbor(&bytes(&[part, vec![0xf6, 0xf6]].concat()));
        refusal(&replace(&craft.encode(), &short, &long))
    };
    assert_eq!(longer(craft.protected()), "2 bytes follow the end of the protected header at byte 224");
    assert_eq!(longer(craft.payload()), "2 bytes follow the end of the payload at byte 423");
}

#[test]
fn wrong_types() {
    let untagged = &receipt().encode()[1..];
    assert_eq!(refusal(untagged), "expected a tag at byte 0, found an array");
    assert_eq!(
        bent(|c| set(&mut c.payload, 2, "text")),
        "expected a byte string at byte 231, found a text string"
    );
    assert_eq!(
        bent(|c| set(&mut c.payload, 7, 1.5)),
        "expected a text string at byte 370, found a simple value or float"
    );
    assert_eq!(
        bent(|c| set(&mut c.usage, 1, -1)),
        "expected an unsigned integer at byte 358, found a negative integer"
    );
    assert_eq!(bent(|c| set(&mut c.payload, 6, 0)), "expected a map at byte 356, found an unsigned integer");
    assert_eq!(
        bent(|c| set(&mut c.protected, 1, "EdDSA")),
        "expected an unsigned integer at byte 6, found a text string"
    );
}

#[test]
fn second_encodings_of_numbers_and_lengths() {
    let bytes = receipt().encode();
    let not_shortest = |at: usize| format!("the integer or length at byte {at} is not in its shortest form");
    // The tag in two bytes, and the array's length in two, three, five and nine.
    assert_eq!(refusal(&replace(&bytes, b"\xd2\x84\x58", b"\xd8\x12\x84\x58")), not_shortest(0));
    for head in [&b"\x98\x04"[..], b"\x99\0\x04", b"\x9a\0\0\0\x04", b"\x9b\0\0\0\0\0\0\0\x04"] {
        assert_eq!(refusal(&[b"\xd2", head, &bytes[2..]].concat()), not_shortest(1));
    }
    // The empty unprotected map, and the signature's length. The text inside the payload keeps its length there.
    let gap = [&bytes[..UNPROTECTED], b"\xb8\0", &bytes[UNPROTECTED + 1..]].concat();
    assert_eq!(refusal(&gap), not_shortest(UNPROTECTED));
    let end = bytes.len() - 66;
    let signature = [&bytes[..end], b"\x59\0\x40", &bytes[end + 2..]].concat();
    assert_eq!(refusal(&signature), not_shortest(end));
}

#[test]
fn indefinite_lengths_and_reserved_heads() {
    let bytes = receipt().encode();
    let indefinite = |at: usize| format!("the item at byte {at} has an indefinite length or a reserved head");
    assert_eq!(refusal(&[b"\xd2\x9f", &bytes[2..], b"\xff"].concat()), indefinite(1));
    let unprotected = [&bytes[..UNPROTECTED], b"\xbf\xff", &bytes[UNPROTECTED + 1..]].concat();
    assert_eq!(refusal(&unprotected), indefinite(UNPROTECTED));
    let end = bytes.len() - 66;
    assert_eq!(refusal(&[&bytes[..end], b"\x5f", &bytes[end..], b"\xff"].concat()), indefinite(end));
    for reserved in [0x9c, 0x9d, 0x9e] {
        assert_eq!(refusal(&[0xd2, reserved]), indefinite(1));
    }
}

#[test]
fn wrong_lengths() {
    let hash = |n: usize| bent(|c| set(&mut c.payload, 3, bytes(&vec![0; n])));
    assert_eq!(hash(31), "the byte string at byte 266 must have 32 bytes, it has 31");
    assert_eq!(hash(33), "the byte string at byte 266 must have 32 bytes, it has 33");
    assert_eq!(
        bent(|c| c.signature.truncate(63)),
        "the byte string at byte 423 must have 64 bytes, it has 63"
    );
    assert_eq!(refusal(b"\xd2\x83"), "the array at byte 1 must have 4 items, it has 3");
    assert_eq!(refusal(b"\xd1\x84"), "a receipt is a COSE_Sign1 with tag 18, this has tag 17");
}

#[test]
fn missing_keys() {
    type Part = fn(&mut Craft) -> &mut crate::craft::Entries;
    let parts: [(&str, &[u64], Part); 5] = [
        ("protected header", &[1, 3, 4], |c| &mut c.protected),
        ("CWT claims", &[1, 2, 6], |c| &mut c.cwt_claims),
        ("payload", &[1, 2, 3, 4, 5, 6, 7], |c| &mut c.payload),
        ("parameters", &[1, 2], |c| &mut c.parameters),
        ("usage", &[1, 2, 3], |c| &mut c.usage),
    ];
    for (name, required, part) in parts {
        for &key in required {
            assert_eq!(bent(|c| remove(part(c), key)), format!("the {name} lacks key {key}"));
        }
    }
}

#[test]
fn unknown_repeated_and_unordered_keys() {
    type Part = fn(&mut Craft) -> &mut crate::craft::Entries;
    let parts: [(&str, Part); 5] = [
        ("protected header", |c| &mut c.protected),
        ("CWT claims", |c| &mut c.cwt_claims),
        ("payload", |c| &mut c.payload),
        ("parameters", |c| &mut c.parameters),
        ("usage", |c| &mut c.usage),
    ];
    for (name, part) in parts {
        let unexpected = |key: u64, bend: fn(&mut crate::craft::Entries)| {
            let message = bent(|c| bend(part(c)));
            assert!(message.starts_with(&format!("key {key} of the {name} at byte ")), "{message}");
            assert!(message.ends_with(" is unknown, repeated or out of order"), "{message}");
        };
        unexpected(0, |entries| entries.insert(0, (0.into(), 0.into())));
        unexpected(1, |entries| entries.insert(1, entries[0].clone()));
        if name == "protected header" {
            // The CWT claims follow the last entry here.
            unexpected(14, |entries| entries.push((14.into(), 0.into())));
        } else {
            unexpected(10, |entries| entries.push((10.into(), 0.into())));
            unexpected(1_000, |entries| entries.push((1_000.into(), 0.into())));
            unexpected(2, |entries| entries.push(entries[1].clone()));
        }
        let swapped = bent(|c| part(c).swap(0, 1));
        assert_eq!(swapped, format!("the {name} lacks key 1"));
    }
    assert_eq!(
        bent(|c| c.usage.push(("x".into(), 0.into()))),
        "expected an unsigned integer at byte 369, found a text string"
    );
}

#[test]
fn the_protected_header_means_one_thing() {
    assert_eq!(bent(|c| set(&mut c.protected, 1, -7)), "the algorithm must be -8 (EdDSA), it is -7");
    assert_eq!(bent(|c| set(&mut c.protected, 1, -19)), "the algorithm must be -8 (EdDSA), it is -19");
    assert_eq!(bent(|c| set(&mut c.protected, 1, 8)), "the algorithm must be -8 (EdDSA), it is 8");
    assert_eq!(
        bent(|c| set(&mut c.protected, 3, "application/cbor\n")),
        "the content type must be application/vnd.veracity.receipt+cbor, it is application/cbor\\n"
    );
    let (own, other) = (key().executor(), ExecutorKey::from_seed(&[2; 32]).executor());
    assert_eq!(
        bent(|c| set(&mut c.cwt_claims, 1, other.to_string())),
        format!("the issuer must be the key id {own}, it is {other}")
    );
    assert_eq!(
        bent(|c| set(&mut c.protected, 4, bytes(other.as_bytes()))),
        format!("the issuer must be the key id {other}, it is {own}")
    );
    assert_eq!(
        bent(|c| set(&mut c.cwt_claims, 1, own.to_string().to_uppercase())),
        "the claim iss is not an id: the digits of byte 0 are not lower-case hex"
    );
    assert_eq!(
        bent(|c| set(&mut c.cwt_claims, 2, "digits")),
        "the claim sub is not an id: an id has 64 hex digits, this text has 6 bytes"
    );
    let (payload, subject) = ("4d".repeat(32), "4e".repeat(32));
    assert_eq!(
        bent(|c| set(&mut c.cwt_claims, 2, subject.clone())),
        format!("the subject must be the model id {payload}, it is {subject}")
    );
}

#[test]
fn nothing_but_evidence_outside_the_signature() {
    let outside = |label: Value| bent(|c| c.unprotected.push((label, Value::Array(vec![]))));
    assert_eq!(outside(396.into()), "unknown header label 396 outside the signature");
    assert_eq!(outside(4.into()), "unknown header label 4 outside the signature");
    assert_eq!(outside((-1).into()), "unknown header label -1 outside the signature");
    assert_eq!(outside(u64::MAX.into()), "unknown header label 18446744073709551615 outside the signature");
    assert_eq!(outside("x".into()), "expected an unsigned integer at byte 225, found a text string");
}

#[test]
fn other_versions() {
    for version in [0_u64, 2, u64::MAX] {
        assert_eq!(
            bent(|c| set(&mut c.payload, 1, version)),
            format!("this decoder knows version 1 of the receipt, this one has version {version}")
        );
    }
}

/// What signing refuses, and what the decoder refuses in the same words.
#[test]
fn claims_out_of_range() {
    struct Case {
        change: fn(&mut Claims),
        bend: fn(&mut Craft),
        message: &'static str,
    }
    let cases = [
        Case {
            change: |c| c.parameters.protocol.clear(),
            bend: |c| set(&mut c.parameters, 1, ""),
            message: "the protocol must have 1 to 32 bytes, this one has 0",
        },
        Case {
            change: |c| c.parameters.protocol = "p".repeat(33),
            bend: |c| set(&mut c.parameters, 1, "p".repeat(33)),
            message: "the protocol must have 1 to 32 bytes, this one has 33",
        },
        Case {
            change: |c| c.parameters.model_name = "m".repeat(257),
            bend: |c| set(&mut c.parameters, 2, "m".repeat(257)),
            message: "the model name must have 1 to 256 bytes, this one has 257",
        },
        Case {
            change: |c| c.parameters.model_name = "a\nPASS".to_owned(),
            bend: |c| set(&mut c.parameters, 2, "a\nPASS"),
            message: "the model name may have graphic ASCII characters only, byte 1 is another",
        },
        Case {
            change: |c| c.parameters.model_name = "mod\u{e8}le".to_owned(),
            bend: |c| set(&mut c.parameters, 2, "mod\u{e8}le"),
            message: "the model name may have graphic ASCII characters only, byte 3 is another",
        },
        Case {
            change: |c| c.software = "a b".to_owned(),
            bend: |c| set(&mut c.payload, 7, "a b"),
            message: "the software may have graphic ASCII characters only, byte 1 is another",
        },
        Case {
            change: |c| c.software = "s".repeat(65),
            bend: |c| set(&mut c.payload, 7, "s".repeat(65)),
            message: "the software must have 1 to 64 bytes, this one has 65",
        },
        Case {
            change: |c| c.parameters.request_json_length = Some(84),
            bend: |c| set(&mut c.parameters, 3, 84),
            message: "the request has 83 bytes, its JSON part cannot have 84",
        },
        Case {
            change: |c| c.parameters.response_json_length = Some(61),
            bend: |c| c.parameters.push((4.into(), 61.into())),
            message: "the response has 60 bytes, its JSON part cannot have 61",
        },
    ];
    for case in cases {
        let mut claims = claims();
        (case.change)(&mut claims);
        let error: ClaimsError = Receipt::sign(claims, &key()).unwrap_err();
        assert_eq!(error.to_string(), case.message);
        assert_eq!(bent(case.bend), case.message);
    }
}

#[test]
fn text_that_is_not_utf8() {
    let bytes = replace(&receipt().encode(), b"\x66digits", b"\x66digit\xff");
    assert_eq!(refusal(&bytes), "the text at byte 345 is not UTF-8");
}
