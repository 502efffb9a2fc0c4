//! Evidence of released versions verifies for ever; see `testdata/README.md`.

use veracity_light::{Evidence, NetworkKey, Parts, verify};

use crate::fixture::{HEIGHT, SUBJECT, TIME, parts};

const EVIDENCE: &[u8] = include_bytes!("../../testdata/v1-evidence.cbor");
const KEY: &str = include_str!("../../testdata/network-key.hex");

#[test]
fn version_1_evidence_verifies() {
    let key: NetworkKey = KEY.parse().unwrap();
    let evidence = Evidence::decode(EVIDENCE).unwrap();
    let (block, anchor) = verify(&evidence, &SUBJECT, &key).unwrap();
    assert_eq!((block.height, block.time, block.certified_height), (HEIGHT, TIME, HEIGHT + 2));
    assert_eq!(block.round.to_string(), "epoch 2, view 130");
    assert_eq!((anchor.batch, anchor.index), (3, 2));
}

#[test]
fn version_1_evidence_is_still_made() {
    let certificate = Evidence::decode(EVIDENCE).unwrap().parts().certificate;
    let made = Evidence::new(Parts { certificate, ..parts() }).unwrap();
    assert_eq!(made.encode(), EVIDENCE);
}
