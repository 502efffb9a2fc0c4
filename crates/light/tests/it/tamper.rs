//! Good evidence with any byte changed is no good evidence, and a seed in it that was changed is no seed.

use veracity_light::{Evidence, verify};

use crate::fixture::{SUBJECT, evidence, validators};

#[test]
fn every_byte_flipped_is_refused() {
    let (key, good) = (validators().key(), evidence().encode());
    let own_seed = evidence().parts().certificate.seed_signature;
    let (mut n_verified, mut n_seeds) = (0, 0);
    for position in 0..good.len() {
        let mut bad = good.clone();
        bad[position] ^= 1 << (position % 8);
        if let Ok(evidence) = Evidence::decode(&bad) {
            n_verified += 1;
            // The cheap half first: most changes show there, and the certificate is left for those that do not.
            let mut refused =
                evidence.verify_anchor(&SUBJECT).is_err() || evidence.verify_finality(&key).is_err();
            if !refused {
                // What it shows is the same, and who uses the seed checks it.
                let seed = evidence.parts().certificate.seed();
                refused = seed.signature != own_seed && seed.verify(&key).is_err();
                n_seeds += 1;
            }
            assert!(refused, "byte {position} changed, and it still verifies");
        }
    }
    assert!(n_verified > 1_000, "only {n_verified} changes got past the decoder");
    assert_eq!(n_seeds, own_seed.len(), "only the seed can change");
}

#[test]
fn evidence_for_one_receipt_is_none_for_another() {
    let (key, evidence) = (validators().key(), evidence());
    assert!(verify(&evidence, &SUBJECT, &key).is_ok());
    for position in 0..32 {
        let (mut other_id, mut other_executor) = (SUBJECT, SUBJECT);
        other_id.receipt_id[position] ^= 1;
        other_executor.executor[position] ^= 1;
        assert!(evidence.verify_anchor(&other_id).is_err());
        assert!(evidence.verify_anchor(&other_executor).is_err());
    }
    for sequence in (0..2_000).filter(|sequence| *sequence != SUBJECT.sequence).chain([u64::MAX]) {
        assert!(evidence.verify_anchor(&veracity_light::Subject { sequence, ..SUBJECT }).is_err());
    }
}
