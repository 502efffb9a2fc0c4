//! What `verify` concludes from what.

use veracity_receipt::{
    CheckName, Claims, ExecutorKey, Materials, ModelId, Policy, Receipt, ReexecuteError, Reexecution,
    Request, Response, Tier, Verdict, verify,
};

use crate::fixture::{
    ISSUED_AT, MODEL_ID, REQUEST, RESPONSE, Rerun, claims, key, materials, receipt, run, sign, small_receipt,
};

/// A policy that checks everything but the chain and requires all of it; `anchoring.rs` checks the chain.
pub(crate) fn strict() -> Policy {
    Policy {
        now: Some(ISSUED_AT + 5),
        tolerance_s: 60,
        executor: Some(key().executor()),
        network_key: None,
        required: CheckName::ALL[..10].to_vec(),
    }
}

/// The labels of all checks in order: `P`, `F`, `S`.
pub(crate) fn labels(verdict: &Verdict) -> String {
    verdict.checks().iter().map(|check| &check.outcome.label()[..1]).collect()
}

pub(crate) fn detail(verdict: &Verdict, name: CheckName) -> String {
    verdict.outcome(name).unwrap().detail()
}

/// The verdict on a receipt with these claims, when the verifier has all materials and an honest re-executor.
pub(crate) fn verdict_on(claims: Claims) -> Verdict {
    verify(&sign(claims).encode(), &materials(&Rerun::honest()), &strict())
}

pub(crate) fn verdict_with(rerun: &Rerun) -> Verdict {
    verify(&receipt().encode(), &materials(rerun), &strict())
}

#[test]
fn all_checks_pass_on_a_good_receipt() {
    let (receipt, executor) = (receipt(), key().executor());
    let verdict = verify(&receipt.encode(), &materials(&Rerun::honest()), &strict());
    let expected = [
        format!("PASS  decode     receipt {} of version 1", receipt.id()),
        format!("PASS  signature  Ed25519 by {executor}"),
        "PASS  time       issued at 1795000000, now is 1795000005".to_owned(),
        format!("PASS  executor   {executor}, as expected"),
        format!("PASS  model      {MODEL_ID}"),
        "PASS  request    oip/2 for digits, 83 bytes".to_owned(),
        "PASS  response   60 bytes".to_owned(),
        "PASS  execution  re-executed, the same 60 bytes".to_owned(),
        format!("PASS  trace      {}", "7a".repeat(32)),
        "PASS  usage      samples 1, bytes in 83, bytes out 60, macs 7850".to_owned(),
        "SKIP  final      the policy gives no network key".to_owned(),
        "SKIP  anchored   needs evidence of a final block".to_owned(),
        "VERIFIED (tier: signed), except what was skipped: final, anchored".to_owned(),
    ];
    assert_eq!(verdict.to_string(), expected.join("\n"));
    assert!(verdict.verified());
    assert_eq!(verdict.tier(), Some(Tier::Signed));
    assert_eq!(verdict.required(), &CheckName::ALL[..10]);
}

#[test]
fn names_come_in_order() {
    let verdict = verdict_with(&Rerun::honest());
    let names: Vec<_> = verdict.checks().iter().map(|check| check.name).collect();
    assert_eq!(names, CheckName::ALL);
}

#[test]
fn without_materials_nothing_but_the_signature_is_checked() {
    let verdict = verify(&receipt().encode(), &Materials::default(), &Policy::default());
    assert_eq!(labels(&verdict), "PPSSSSSSSSSS");
    assert_eq!((verdict.verified(), verdict.tier()), (false, None), "no label where something is unmet");
    let unmet: Vec<_> = verdict.unmet().collect();
    assert_eq!(unmet, [CheckName::Model, CheckName::Request, CheckName::Execution]);
    assert_eq!(verdict.conclusion(), "NOT VERIFIED: required but not passed: model, request, execution");
}

/// Each material in turn is taken away from a verdict that passes: what depends on it is SKIP, and not verified.
#[test]
fn a_skip_never_counts_as_a_pass() {
    let rerun = Rerun::honest();
    let all = materials(&rerun);
    let cases = [
        (Materials { request: None, ..all }, strict(), "PPPPPSPSSSSS"),
        (Materials { response: None, ..all }, strict(), "PPPPPPSPPPSS"),
        (Materials { reexecutor: None, ..all }, strict(), "PPPPPPPSSSSS"),
        (Materials { reexecutor: None, model_id: None, ..all }, strict(), "PPPPSPPSSSSS"),
        (all, Policy { now: None, ..strict() }, "PPSPPPPPPPSS"),
        (all, Policy { executor: None, ..strict() }, "PPPSPPPPPPSS"),
    ];
    for (materials, policy, expected) in cases {
        let verdict = verify(&receipt().encode(), &materials, &policy);
        assert_eq!(labels(&verdict), expected);
        assert!(!verdict.verified(), "{verdict}");
        let unmet: Vec<_> = verdict.unmet().collect();
        let relaxed = strict().required.into_iter().filter(|name| !unmet.contains(name)).collect();
        let verdict = verify(&receipt().encode(), &materials, &Policy { required: relaxed, ..policy });
        assert!(verdict.verified(), "what is not required may be skipped: {verdict}");
        let skipped: Vec<&str> = verdict.skipped().map(CheckName::as_str).collect();
        let conclusion = format!("VERIFIED (tier: signed), except what was skipped: {}", skipped.join(", "));
        assert!(!skipped.is_empty() && verdict.to_string().ends_with(&conclusion), "{verdict}");
    }
}

#[test]
fn the_model_of_the_reexecutor_is_a_model_at_hand() {
    let rerun = Rerun::honest();
    let materials = Materials { model_id: None, ..materials(&rerun) };
    assert!(verify(&receipt().encode(), &materials, &strict()).verified());
}

#[test]
fn bytes_that_are_no_receipt_fail_decode_and_skip_the_rest() {
    let verdict = verify(b"\xd2\x84", &materials(&Rerun::honest()), &strict());
    assert_eq!(labels(&verdict), "FSSSSSSSSSSS");
    assert_eq!(detail(&verdict, CheckName::Decode), "1 bytes are needed at byte 2, only 0 are left");
    assert_eq!(detail(&verdict, CheckName::Execution), "the receipt could not be decoded");
    assert_eq!((verdict.verified(), verdict.tier()), (false, None));
    let nothing_required = Policy { required: vec![], ..strict() };
    assert!(!verify(b"", &Materials::default(), &nothing_required).verified());
}

#[test]
fn a_bad_signature_fails_and_runs_nothing() {
    let mut bytes = receipt().encode();
    *bytes.last_mut().unwrap() ^= 1;
    let rerun = Rerun::honest();
    let verdict = verify(&bytes, &materials(&rerun), &strict());
    assert_eq!(labels(&verdict), "PFPPPPPSSSSS");
    let expected = format!("the signature is not one of executor {} over these claims", key().executor());
    assert_eq!(detail(&verdict, CheckName::Signature), expected);
    assert_eq!((verdict.verified(), verdict.tier(), rerun.n_calls.get()), (false, None, 0));
    let lenient = Policy { required: vec![], ..strict() };
    assert!(!verify(&bytes, &materials(&rerun), &lenient).verified(), "a failure counts, required or not");
}

#[test]
fn receipts_from_the_future_fail() {
    let at = |now| {
        verify(&receipt().encode(), &materials(&Rerun::honest()), &Policy { now: Some(now), ..strict() })
    };
    assert!(at(ISSUED_AT - 60).verified(), "within the tolerance");
    assert!(at(u64::MAX).verified(), "old receipts verify for ever");
    let verdict = at(ISSUED_AT - 61);
    assert_eq!(labels(&verdict), "PPFPPPPSSSSS");
    assert_eq!(
        detail(&verdict, CheckName::Time),
        "issued at 1795000000, which is later than 1794999939 by more than the tolerance of 60 s"
    );
}

#[test]
fn another_executor_fails() {
    let expected = ExecutorKey::from_seed(&[2; 32]).executor();
    let policy = Policy { executor: Some(expected), ..strict() };
    let rerun = Rerun::honest();
    let verdict = verify(&receipt().encode(), &materials(&rerun), &policy);
    assert_eq!(labels(&verdict), "PPPFPPPSSSSS");
    let found = key().executor();
    assert_eq!(detail(&verdict, CheckName::Executor), format!("expected executor {expected}, found {found}"));
    assert_eq!(rerun.n_calls.get(), 0);
}

#[test]
fn another_model_fails() {
    let other = ModelId::from_bytes([9; 32]);
    let expected = format!("the receipt is for model {MODEL_ID}, the model at hand is {other}");
    let honest = Rerun::honest();
    let wrong = Rerun { model_id: other, ..Rerun::honest() };
    let cases = [
        Materials { model_id: Some(other), ..materials(&honest) },
        Materials { model_id: Some(MODEL_ID), ..materials(&wrong) },
        Materials { model_id: None, ..materials(&wrong) },
    ];
    for materials in cases {
        let verdict = verify(&receipt().encode(), &materials, &strict());
        assert_eq!(labels(&verdict), "PPPPFPPSSSSS");
        assert_eq!(detail(&verdict, CheckName::Model), expected);
    }
    assert_eq!((honest.n_calls.get(), wrong.n_calls.get()), (0, 0));
}

#[test]
fn the_same_request_bytes_read_in_another_way_fail() {
    let cases = [
        (
            Request { protocol: "oip/3", ..REQUEST },
            "the receipt is for protocol oip/2, the request at hand is oip/3",
        ),
        (
            Request { model_name: "letters", ..REQUEST },
            "the receipt is for model name digits, the request at hand is for letters",
        ),
        (
            Request { json_length: None, ..REQUEST },
            "the receipt has 79 bytes of JSON in the request, the one at hand has JSON only",
        ),
        (
            Request { json_length: Some(78), ..REQUEST },
            "the receipt has 79 bytes of JSON in the request, the one at hand has 78 bytes of JSON",
        ),
    ];
    for (other, message) in cases {
        let rerun = Rerun::honest();
        let materials = Materials { request: Some(other), ..materials(&rerun) };
        let verdict = verify(&receipt().encode(), &materials, &strict());
        assert_eq!(labels(&verdict), "PPPPPFPSSSSS");
        assert_eq!(detail(&verdict, CheckName::Request), message);
        assert_eq!(rerun.n_calls.get(), 0);
    }
}

#[test]
fn another_body_fails() {
    let other = Request { body: b"{}", json_length: Some(79), ..REQUEST };
    let materials = Materials { request: Some(other), ..Materials::default() };
    let verdict = verify(&receipt().encode(), &materials, &strict());
    let (expected, found) = (REQUEST.hash(), other.hash());
    assert_eq!(
        detail(&verdict, CheckName::Request),
        format!("the receipt is for request {expected}, the request at hand is {found}")
    );
}

/// An executor that signs the right hash beside wrong parameters is found out by who sent the request, and by who
/// reads the body as the receipt says.
#[test]
fn parameters_beside_the_hash_must_agree_with_it() {
    let mut claims = claims();
    claims.parameters.model_name = "letters".to_owned();
    let bytes = sign(claims.clone()).encode();
    let sent = verify(&bytes, &materials(&Rerun::honest()), &strict());
    assert_eq!(labels(&sent), "PPPPPFPSSSSS");
    let as_claimed = Materials { request: Some(claims.request(REQUEST.body)), ..Materials::default() };
    assert_eq!(labels(&verify(&bytes, &as_claimed, &strict())), "PPPPSFSSSSSS");

    let honest = self::claims();
    let as_claimed = Materials { request: Some(honest.request(REQUEST.body)), ..Materials::default() };
    assert_eq!(labels(&verify(&receipt().encode(), &as_claimed, &strict())), "PPPPSPSSSSSS", "the control");
}

#[test]
fn the_split_of_the_response_is_compared() {
    let mut claims = claims();
    claims.parameters.response_json_length = Some(3);
    let verdict = verdict_on(claims);
    assert_eq!(labels(&verdict), "PPPPPPFPPPSS");
    assert_eq!(
        detail(&verdict, CheckName::Response),
        "the receipt has 3 bytes of JSON in the response, the one at hand has JSON only"
    );
}

#[test]
fn wrong_byte_counts_fail() {
    let mut short = claims();
    short.usage.input_bytes = 82;
    let verdict = verdict_on(short);
    assert_eq!(labels(&verdict), "PPPPPFPSSSSS");
    assert_eq!(
        detail(&verdict, CheckName::Request),
        "the receipt counts 82 request bytes, the request at hand has 83"
    );
    let mut long = claims();
    long.usage.output_bytes = 61;
    let verdict = verdict_on(long);
    assert_eq!(labels(&verdict), "PPPPPPFPPFSS");
    assert_eq!(
        detail(&verdict, CheckName::Response),
        "the receipt counts 61 response bytes, the response at hand has 60"
    );
}

#[test]
fn a_response_swapped_on_the_way_fails_while_the_receipt_holds() {
    let other = Response { json_length: None, body: b"{\"outputs\":[]}" };
    let rerun = Rerun::honest();
    let materials = Materials { response: Some(other), ..materials(&rerun) };
    let verdict = verify(&receipt().encode(), &materials, &strict());
    assert_eq!(labels(&verdict), "PPPPPPFPPPSS");
    assert_eq!(
        detail(&verdict, CheckName::Response),
        format!("the receipt is for response {}, the response at hand is {}", RESPONSE.hash(), other.hash())
    );
    assert!(!verdict.verified());
}

#[test]
fn a_small_receipt_verifies_under_the_default_policy() {
    let rerun = Rerun::giving(Ok(Reexecution { trace_root: None, usage: None, ..run() }));
    let request = Request { json_length: None, ..REQUEST };
    let materials = Materials { request: Some(request), ..materials(&rerun) };
    let verdict = verify(&small_receipt().encode(), &materials, &Policy::default());
    assert_eq!(labels(&verdict), "PPSSPPPPSSSS");
    assert!(verdict.verified());
}

#[test]
fn text_from_outside_cannot_imitate_a_line() {
    let reason = "x\nPASS  execution  \u{1b}[2K\u{202e}".to_owned();
    let verdict = verdict_with(&Rerun::giving(Err(ReexecuteError::Refused { reason })));
    let text = verdict.to_string();
    assert_eq!(text.lines().count(), 13);
    assert!(text.contains("request: x\\u{a}PASS  execution  \\u{1b}[2K\\u{202e}"), "{text}");
    assert!(text.is_ascii());
}

#[test]
fn ids_differ_by_every_field_that_is_signed() {
    let mut later = claims();
    later.issued_at += 1;
    assert_ne!(sign(later).id(), receipt().id());
    let other_key = Receipt::sign(claims(), &ExecutorKey::from_seed(&[2; 32])).unwrap();
    assert_ne!(other_key.id(), receipt().id());
}
