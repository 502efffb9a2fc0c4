//! Every refusal of the decoder of evidence, by its message, and the encoding against `ciborium`.

use ciborium::Value;
use veracity_light::{EVIDENCE_BYTES_MAX, Evidence, EvidenceError, HEADERS_MAX, Parts};

use crate::fixture::{evidence, parts};

fn bytes(bytes: &[u8]) -> Value {
    Value::Bytes(bytes.to_vec())
}

fn list(items: &[impl AsRef<[u8]>]) -> Value {
    Value::Array(items.iter().map(|item| bytes(item.as_ref())).collect())
}

/// The evidence as another library writes it, after `bend` changed it.
fn craft(bend: impl FnOnce(&mut Vec<(Value, Value)>)) -> Vec<u8> {
    let parts = parts();
    let values = [
        1.into(),
        bytes(&parts.certificate.encode()),
        list(&parts.headers),
        parts.transaction_index.into(),
        list(&parts.nodes),
        parts.log_index.into(),
        list(&parts.path),
    ];
    let mut entries = (1..).map(Value::from).zip(values).collect();
    bend(&mut entries);
    let mut encoded = Vec::new();
    ciborium::into_writer(&Value::Map(entries), &mut encoded).unwrap();
    encoded
}

fn refusal(bytes: &[u8]) -> String {
    Evidence::decode(bytes).unwrap_err().to_string()
}

fn with(key: usize, value: Value) -> String {
    refusal(&craft(|entries| entries[key - 1].1 = value))
}

#[test]
fn another_encoder_makes_the_same_bytes() {
    assert_eq!(craft(|_| {}), evidence().encode());
    assert_eq!(Evidence::decode(&evidence().encode()), Ok(evidence()));
}

#[test]
fn truncated_and_trailing() {
    let good = evidence().encode();
    for length in 0..good.len() {
        assert!(Evidence::decode(&good[..length]).is_err(), "cut to {length}");
    }
    assert_eq!(refusal(b""), "1 bytes are needed at byte 0, only 0 are left");
    let end = good.len();
    let longer = [good, vec![0]].concat();
    assert_eq!(refusal(&longer), format!("1 bytes follow the end of the evidence at byte {end}"));
}

#[test]
fn lengths_are_claims_only() {
    let huge = b"\xa7\x01\x01\x02\x5b\xff\xff\xff\xff\xff\xff\xff\xff";
    assert_eq!(refusal(huge), "18446744073709551615 bytes are needed at byte 13, only 0 are left");
    assert_eq!(
        refusal(b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff"),
        "1 bytes are needed at byte 9, only 0 are left"
    );
}

#[test]
fn keys_and_types() {
    assert_eq!(refusal(&craft(|entries| drop(entries.remove(3)))), "the evidence lacks key 4");
    let unknown = refusal(&craft(|entries| entries.push((8.into(), 0.into()))));
    assert!(unknown.starts_with("key 8 of the evidence at byte "), "{unknown}");
    assert_eq!(refusal(b"\x80"), "expected a map at byte 0, found an array");
    assert!(with(4, (-1).into()).starts_with("expected an unsigned integer at byte "));
    assert!(with(7, list(&[[0; 31]])).ends_with("must have 32 bytes, it has 31"));
}

#[test]
fn other_versions() {
    assert_eq!(with(1, 2.into()), "this decoder knows version 1 of evidence, this has version 2");
}

#[test]
fn a_malformed_certificate() {
    assert_eq!(with(2, bytes(b"")), "the certificate needs 1 bytes more, 0 are left");
}

#[test]
fn counts() {
    let many = |n: usize| list(&vec![[0; 32]; n]);
    assert_eq!(with(3, many(0)), "the headers of evidence are 1 to 64, these are 0");
    assert_eq!(with(3, many(65)), "the headers of evidence are 1 to 64, these are 65");
    assert_eq!(with(5, many(0)), "the nodes of evidence are 1 to 16, these are 0");
    assert_eq!(with(5, many(17)), "the nodes of evidence are 1 to 16, these are 17");
    assert_eq!(with(7, many(17)), "the path of evidence are 0 to 16, these are 17");
    let error = |parts| Evidence::new(parts).unwrap_err().to_string();
    assert_eq!(
        error(Parts { headers: vec![], ..parts() }),
        "the headers of evidence are 1 to 64, these are 0"
    );
    assert_eq!(error(Parts { nodes: vec![], ..parts() }), "the nodes of evidence are 1 to 16, these are 0");
    assert_eq!(
        error(Parts { path: vec![[0; 32]; 17], ..parts() }),
        "the path of evidence are 0 to 16, these are 17"
    );
}

#[test]
fn sizes() {
    let header = "header 1 has 2049 bytes, at most 2048 are possible";
    assert_eq!(with(3, list(&[vec![0; 2048], vec![0; 2049]])), header);
    let headers = vec![vec![0; 2048], vec![0; 2049]];
    assert_eq!(Evidence::new(Parts { headers, ..parts() }).unwrap_err().to_string(), header);

    let large = vec![0; EVIDENCE_BYTES_MAX + 1];
    assert_eq!(refusal(&large), "evidence has at most 98304 bytes, this has 98305");
    let node = |size| Evidence::new(Parts { nodes: vec![vec![0; size]], ..parts() });
    let overhead = node(50_000).unwrap().encode().len() - 50_000;
    // Beyond 65535 bytes the length takes two bytes more.
    let largest = node(EVIDENCE_BYTES_MAX - overhead - 2).unwrap();
    assert_eq!(largest.encode().len(), EVIDENCE_BYTES_MAX);
    assert_eq!(Evidence::decode(&largest.encode()), Ok(largest));
    let error = node(EVIDENCE_BYTES_MAX - overhead - 1).unwrap_err();
    assert_eq!(error, EvidenceError::TooLarge { max: EVIDENCE_BYTES_MAX, found: EVIDENCE_BYTES_MAX + 1 });
    let most = Parts { headers: vec![vec![0; 600]; HEADERS_MAX], ..parts() };
    assert!(Evidence::new(most).is_ok(), "the most headers of the usual size fit");
}
