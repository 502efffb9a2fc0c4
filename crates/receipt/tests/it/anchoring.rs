//! Evidence in a receipt: where it stands, what it leaves alone, and what `final` and `anchored` conclude from it.

use ciborium::Value;
use veracity_light::{Evidence, Parts};
use veracity_receipt::{
    CheckError, CheckName, Claims, DecodeError, ExecutorKey, Materials, NetworkKey, Outcome, Policy, Receipt,
    Verdict, verify,
};

use crate::{
    craft::{Craft, bytes},
    fixture::{anchored_receipt, claims, key, network_key, receipt, sign, small_receipt},
    verdict::{detail, labels},
};

const REQUIRED: [CheckName; 3] = [CheckName::Signature, CheckName::Final, CheckName::Anchored];

fn policy(network_key: Option<NetworkKey>) -> Policy {
    Policy { network_key, required: REQUIRED.to_vec(), ..Policy::default() }
}

fn judge(receipt: &Receipt) -> Verdict {
    verify(&receipt.encode(), &Materials::default(), &policy(Some(network_key())))
}

/// The evidence of the anchored receipt, after `bend` changed it.
fn bent(bend: impl FnOnce(&mut Parts)) -> Evidence {
    let mut parts = anchored_receipt().evidence().unwrap().parts().clone();
    bend(&mut parts);
    Evidence::new(parts).unwrap()
}

fn failure(verdict: &Verdict, name: CheckName) -> &CheckError {
    match verdict.outcome(name) {
        Some(Outcome::Fail(error)) => error,
        other => panic!("{name} is {other:?}"),
    }
}

#[test]
fn a_receipt_in_a_final_block_passes() {
    let verdict = judge(&anchored_receipt());
    assert_eq!(labels(&verdict), "PPSSSSSSSSPP");
    assert!(verdict.verified());
    assert_eq!(
        detail(&verdict, CheckName::Final),
        "block 120 of time 1795000100, certified with block 121 in epoch 2, view 131: \
         0x11066206c28228b2cf480897917477507a01e2ed0ff0755cfc5b2d099b7b9fab"
    );
    assert_eq!(detail(&verdict, CheckName::Anchored), "sequence 41 is place 1 of batch 0 in block 120");
}

#[test]
fn evidence_changes_neither_id_nor_signature() {
    let (bare, anchored) = (receipt(), anchored_receipt());
    assert_ne!(bare.encode(), anchored.encode());
    assert_eq!(bare.id(), anchored.id());
    assert_eq!(anchored.verify_signature(), Ok(()));
    assert_eq!(anchored.clone().with_evidence(None), bare);
    assert_eq!(bare.with_evidence(anchored.evidence().cloned()), anchored);
    assert_eq!(Receipt::decode(&anchored.encode()), Ok(anchored));
}

#[test]
fn another_encoder_makes_the_same_bytes() {
    assert_eq!(Craft::new(&anchored_receipt()).encode(), anchored_receipt().encode());
}

#[test]
fn without_key_or_evidence_the_checks_are_skipped_and_unmet() {
    let cases = [
        (anchored_receipt(), None, "the policy gives no network key"),
        (receipt(), Some(network_key()), "the receipt carries no evidence"),
    ];
    for (receipt, key, reason) in cases {
        let verdict = verify(&receipt.encode(), &Materials::default(), &policy(key));
        assert_eq!(labels(&verdict), "PPSSSSSSSSSS");
        assert_eq!(detail(&verdict, CheckName::Final), reason);
        assert_eq!(detail(&verdict, CheckName::Anchored), "needs evidence of a final block");
        assert_eq!(verdict.unmet().collect::<Vec<_>>(), [CheckName::Final, CheckName::Anchored]);
        assert!(!verdict.verified());
    }
}

#[test]
fn a_block_that_is_not_final_fails_and_anchors_nothing() {
    let other: NetworkKey = {
        let mut text = network_key().to_string();
        // The negated key: a good point, of nobody.
        text.replace_range(0..1, "8");
        text.parse().unwrap()
    };
    assert_ne!(other, network_key());
    let verdict = verify(&anchored_receipt().encode(), &Materials::default(), &policy(Some(other)));
    assert_eq!(labels(&verdict), "PPSSSSSSSSFS");
    let expected = "the vote signature of epoch 2, view 131 is not that of this network over this block";
    assert_eq!(detail(&verdict, CheckName::Final), expected);
    assert!(matches!(failure(&verdict, CheckName::Final), CheckError::Finality(_)));
    assert!(!verdict.verified());

    let cut = anchored_receipt().with_evidence(Some(bent(|parts| parts.headers.truncate(1))));
    assert!(detail(&judge(&cut), CheckName::Final).starts_with("the certificate is for block 0x"));
}

#[test]
fn evidence_of_another_receipt_fails() {
    let evidence = anchored_receipt().evidence().cloned();
    let moved = |claims: Claims| judge(&sign(claims).with_evidence(evidence.clone()));

    let later = moved(Claims { issued_at: claims().issued_at + 1, ..claims() });
    assert_eq!(labels(&later), "PPSSSSSSSSPF");
    assert_eq!(
        detail(&later, CheckName::Anchored),
        "batch 0 does not have this receipt at place 1, which is that of sequence 41"
    );
    assert!(matches!(failure(&later, CheckName::Anchored), CheckError::Anchor(_)));
    let elsewhere = moved(Claims { sequence: Some(45), ..claims() });
    let expected = "the receipt has sequence 45, the batch has 5 from 40";
    assert_eq!(detail(&elsewhere, CheckName::Anchored), expected);

    let theirs = Receipt::sign(claims(), &ExecutorKey::from_seed(&[2; 32])).unwrap();
    let verdict = judge(&theirs.clone().with_evidence(evidence));
    let expected =
        format!("the receipt is of executor {}, the batch of {}", theirs.executor(), key().executor());
    assert_eq!(detail(&verdict, CheckName::Anchored), expected);
}

/// Two pairings are not spent on what nobody signed, and what nobody signed is anchored nowhere.
#[test]
fn a_receipt_that_nobody_signed_is_not_looked_up() {
    let mut bytes = anchored_receipt().encode();
    *bytes.last_mut().unwrap() ^= 1;
    let verdict = verify(&bytes, &Materials::default(), &policy(Some(network_key())));
    assert_eq!(labels(&verdict), "PFSSSSSSSSSS");
    assert_eq!(detail(&verdict, CheckName::Final), "needs signature to pass");
}

#[test]
fn a_receipt_without_a_sequence_is_anchored_nowhere() {
    let receipt = small_receipt();
    assert_eq!((receipt.claims().sequence, receipt.subject()), (None, None));
    let verdict = judge(&receipt.with_evidence(anchored_receipt().evidence().cloned()));
    assert_eq!(labels(&verdict), "PPSSSSSSSSPF");
    let expected = "the receipt has evidence but no sequence, so it stands in no batch";
    assert_eq!(detail(&verdict, CheckName::Anchored), expected);
}

#[test]
fn evidence_stands_in_one_place_in_one_form() {
    let refusal = |bend: &dyn Fn(&mut Craft)| {
        let mut craft = Craft::new(&anchored_receipt());
        bend(&mut craft);
        Receipt::decode(&craft.encode()).unwrap_err()
    };
    let value = |value: Value| refusal(&|craft| craft.unprotected[0].1 = value.clone()).to_string();
    let one = bytes(&anchored_receipt().evidence().unwrap().encode());
    assert_eq!(value(Value::Array(vec![])), "the array at byte 228 must have 1 items, it has 0");
    assert_eq!(
        value(Value::Array(vec![one.clone(), one.clone()])),
        "the array at byte 228 must have 1 items, it has 2"
    );
    assert_eq!(value(one.clone()), "expected an array at byte 228, found a byte string");
    let malformed = value(Value::Array(vec![bytes(b"\xa0")]));
    assert_eq!(malformed, "the evidence is malformed: the evidence lacks key 1");
    assert!(matches!(
        refusal(&|craft| craft.unprotected[0].1 = Value::Array(vec![bytes(b"")])),
        DecodeError::Evidence(_)
    ));
    let twice = refusal(&|craft| craft.unprotected.push((394.into(), Value::Array(vec![one.clone()]))));
    assert_eq!(twice, DecodeError::UnknownUnprotected { label: 394 });
    let more = refusal(&|craft| craft.unprotected.push((395.into(), 1.into())));
    assert_eq!(more.to_string(), "unknown header label 395 outside the signature");
}

#[test]
fn every_byte_of_evidence_flipped_is_refused() {
    let (bare, good) = (receipt().encode(), anchored_receipt().encode());
    // No receipt depends on the seed of a certificate.
    let seed = anchored_receipt().evidence().unwrap().parts().certificate.seed_signature;
    let seed_at = good.windows(seed.len()).position(|bytes| bytes == seed).unwrap();
    let n_same = bare.iter().zip(&good).take_while(|(a, b)| a == b).count();
    // Each flip costs up to two pairings; `light` flips every byte of evidence.
    for position in (n_same..n_same + good.len() - bare.len()).step_by(7) {
        let mut bad = good.clone();
        bad[position] ^= 1 << (position % 8);
        let verdict = verify(&bad, &Materials::default(), &policy(Some(network_key())));
        let is_seed = (seed_at..seed_at + seed.len()).contains(&position);
        assert_eq!(verdict.verified(), is_seed, "byte {position} changed");
    }
}
