//! Bytes from a stranger, read as evidence, certificate and key, and as the parts that a good hash leads to: no panic,
//! and no second encoding.

#![no_main]

use libfuzzer_sys::fuzz_target;
use veracity_light::{BlockHash, Evidence, Finalization, NetworkKey, Parts, Proposal, Round, Subject};

const SUBJECT: Subject = Subject { executor: [7; 32], sequence: 0, receipt_id: [9; 32] };

fuzz_target!(|bytes: &[u8]| {
    if let Ok(certificate) = Finalization::decode(bytes) {
        assert_eq!(certificate.encode(), bytes, "a certificate with a second encoding");
    }
    if let Ok(key) = NetworkKey::from_bytes(bytes) {
        assert_eq!(key.as_bytes().as_slice(), bytes, "a key with a second encoding");
    }
    if let Ok(evidence) = Evidence::decode(bytes) {
        assert_eq!(evidence.encode(), bytes, "evidence with a second encoding");
        let _ = evidence.verify_anchor(&SUBJECT);
    }
    // A header, the root of a trie, and a receipt in a leaf, each with the hash that is asked for.
    let proposal =
        Proposal { round: Round { epoch: 0, view: 0 }, parent_view: 0, payload: BlockHash::of(bytes) };
    let certificate = Finalization { proposal, vote_signature: [0; 48], seed_signature: [0; 48] };
    let leaf = [list(&[&[0x20, 0x80], bytes]), bytes.to_vec()];
    for (header, node) in leaf.iter().map(|node| (header(node), node.as_slice())).chain([(bytes.to_vec(), bytes)]) {
        let (headers, nodes) = (vec![header], vec![node.to_vec()]);
        let parts = Parts { certificate, headers, transaction_index: 0, nodes, log_index: 0, path: vec![] };
        if let Ok(evidence) = Evidence::new(parts) {
            assert!(evidence.verify_anchor(&SUBJECT).is_err(), "anchored without the contract");
        }
    }
});

/// A header whose trie of receipts has this root node.
fn header(node: &[u8]) -> Vec<u8> {
    let (zero, root) = ([0; 32], BlockHash::of(node));
    let number: &[u8] = &[];
    list(&[&zero, &zero, &zero, &zero, &zero, root.as_bytes(), &zero, &zero, number, number, number, number])
}

/// An RLP list of strings.
fn list(strings: &[&[u8]]) -> Vec<u8> {
    let payload: Vec<u8> = strings.iter().flat_map(|string| item(0x80, string)).collect();
    item(0xc0, &payload)
}

fn item(base: u8, payload: &[u8]) -> Vec<u8> {
    let length: Vec<u8> = payload.len().to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
    match (base, payload) {
        (0x80, [0..=0x7f]) => payload.to_vec(),
        (_, [..]) if payload.len() <= 55 => [&[base + payload.len() as u8], payload].concat(),
        _ => [&[base + 55 + length.len() as u8], length.as_slice(), payload].concat(),
    }
}
