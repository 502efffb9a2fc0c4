use veracity_engine::{Options, TraceKind};
use veracity_receipt::{
    CheckName, Claims, ExecutorKey, Materials, Outcome, Policy, Receipt, Request, Run, TraceRoot, Usage,
    verify,
};
use veracity_worker::{Auditor, Inference, Limits, LoadedModel, ResponseBytes, Worker, protocol};

use crate::{
    fixture::bundle,
    requests::{JSON, binary, loaded, request},
};

fn worker() -> Worker {
    Worker::new(ExecutorKey::from_seed(&[1; 32]), Limits::default(), true)
}

/// What the worker answers, and its receipt number 7.
fn answered(loaded: &LoadedModel, request: &Request<'_>, issued_at: u64) -> (ResponseBytes, Receipt) {
    let Inference { response, claims } = worker().infer(loaded, request, issued_at).unwrap();
    (response, worker().sign(claims, 7).unwrap())
}

fn outcome(receipt: &Receipt, materials: &Materials<'_>, check: CheckName) -> Outcome {
    verify(&receipt.encode(), materials, &Policy::default()).outcome(check).unwrap().clone()
}

#[test]
fn what_the_worker_signs_the_auditor_confirms() {
    let loaded = loaded();
    let (bytes, length) = binary(r#","parameters":{"binary_data_output":true}"#);
    for (body, json_length) in [(JSON.as_bytes(), None), (bytes.as_slice(), Some(length))] {
        let request = request(body, json_length);
        let (response, receipt) = answered(&loaded, &request, 1_795_000_000);
        assert_eq!(receipt.executor(), worker().executor());
        assert_eq!(receipt.claims().sequence, Some(7));
        let auditor = Auditor::new(&loaded);
        let materials = Materials {
            request: Some(request),
            response: Some(response.as_response()),
            reexecutor: Some(&auditor),
            ..Materials::default()
        };
        let verdict = verify(&receipt.encode(), &materials, &Policy::default());
        assert!(verdict.verified(), "{verdict}");
        for check in [CheckName::Response, CheckName::Execution, CheckName::Trace, CheckName::Usage] {
            assert!(verdict.outcome(check).unwrap().is_pass(), "{verdict}");
        }
    }
}

#[test]
fn a_false_response_is_found_by_running_again() {
    let loaded = loaded();
    let request = request(JSON.as_bytes(), None);
    let (mut response, receipt) = answered(&loaded, &request, 0);
    let at = response.body.iter().position(|b| *b == b'4').unwrap();
    response.body[at] = b'5';
    let claims = receipt.claims();
    let run = Run { samples: 2, macs: None, trace_root: claims.trace_root, software: "liar/1", issued_at: 0 };
    let claims = Claims::new(claims.model_id, &request, &response.as_response(), &run);
    let receipt = Receipt::sign(claims, &ExecutorKey::from_seed(&[2; 32])).unwrap();
    let auditor = Auditor::new(&loaded);
    let materials = Materials { request: Some(request), reexecutor: Some(&auditor), ..Materials::default() };
    assert!(outcome(&receipt, &materials, CheckName::Signature).is_pass());
    assert!(outcome(&receipt, &materials, CheckName::Execution).is_fail());
}

/// The verdict on one check of a receipt of the worker's after a change of its claims, signed again.
fn changed(change: impl FnOnce(&mut Claims), check: CheckName) -> Outcome {
    let loaded = loaded();
    let request = request(JSON.as_bytes(), None);
    let (_, honest) = answered(&loaded, &request, 0);
    let mut claims = honest.claims().clone();
    change(&mut claims);
    let receipt = Receipt::sign(claims, &ExecutorKey::from_seed(&[2; 32])).unwrap();
    let auditor = Auditor::new(&loaded);
    let materials = Materials { request: Some(request), reexecutor: Some(&auditor), ..Materials::default() };
    outcome(&receipt, &materials, check)
}

#[test]
fn multiply_accumulates_are_counted_and_compared() {
    // Two samples of a product of 3 x 4 weights.
    let honest = changed(|claims| assert_eq!(claims.usage.macs, Some(24)), CheckName::Usage);
    assert!(honest.is_pass(), "{honest:?}");
    let more = changed(|claims| claims.usage.macs = Some(25), CheckName::Usage);
    assert!(more.is_fail() && more.detail().contains("macs 25, the run has"), "{}", more.detail());
    let unclaimed = changed(|claims| claims.usage = Usage { macs: None, ..claims.usage }, CheckName::Usage);
    assert!(unclaimed.is_pass(), "what nobody claims is not false");
}

/// The root of a receipt is that of the checkpoints, and no other.
#[test]
fn another_trace_is_found_by_running_again() {
    assert!(changed(|_| {}, CheckName::Trace).is_pass());
    let loaded = loaded();
    let decoded = protocol::decode(&request(JSON.as_bytes(), None)).unwrap();
    let batches = loaded.model().graph().encode_inputs(&decoded.inputs).unwrap();
    let run = loaded.engine().run(&batches, Some(TraceKind::Full)).unwrap();
    let full = TraceRoot::from_bytes(run.trace.unwrap().root());
    assert!(changed(|claims| claims.trace_root = Some(full), CheckName::Trace).is_fail());
}

#[test]
fn a_request_that_cannot_run_makes_the_receipt_false_and_a_small_machine_does_not() {
    let loaded = loaded();
    let bad = request(b"{}", None);
    let (response, honest) = answered(&loaded, &request(JSON.as_bytes(), None), 0);
    let run = Run { samples: 1, macs: None, trace_root: None, software: "liar/1", issued_at: 0 };
    let claims = Claims::new(honest.claims().model_id, &bad, &response.as_response(), &run);
    let receipt = Receipt::sign(claims, &ExecutorKey::from_seed(&[2; 32])).unwrap();
    let auditor = Auditor::new(&loaded);
    let materials = Materials { request: Some(bad), reexecutor: Some(&auditor), ..Materials::default() };
    assert!(outcome(&receipt, &materials, CheckName::Execution).is_fail());

    let small = Auditor { limits: Limits { samples_max: 1 }, ..auditor };
    let materials = Materials {
        request: Some(request(JSON.as_bytes(), None)),
        reexecutor: Some(&small),
        ..Materials::default()
    };
    assert!(matches!(outcome(&honest, &materials, CheckName::Execution), Outcome::Skip(_)));

    let other = veracity_receipt::Request { protocol: "oip/3", ..request(JSON.as_bytes(), None) };
    let claims = Claims::new(honest.claims().model_id, &other, &response.as_response(), &run);
    let receipt = Receipt::sign(claims, &ExecutorKey::from_seed(&[2; 32])).unwrap();
    let materials = Materials { request: Some(other), reexecutor: Some(&auditor), ..Materials::default() };
    assert!(matches!(outcome(&receipt, &materials, CheckName::Execution), Outcome::Skip(_)));
}

#[test]
fn another_model_is_not_taken_for_this_one() {
    let options = Options { threads: 1, ..Options::default() };
    let other = LoadedModel::load(bundle(2), &options).unwrap();
    let request = request(JSON.as_bytes(), None);
    let (_, receipt) = answered(&loaded(), &request, 0);
    let auditor = Auditor::new(&other);
    let materials = Materials { request: Some(request), reexecutor: Some(&auditor), ..Materials::default() };
    assert!(outcome(&receipt, &materials, CheckName::Model).is_fail());
}

#[test]
fn threads_and_instruction_sets_change_no_byte() {
    let first = worker().infer(&loaded(), &request(JSON.as_bytes(), None), 0).unwrap();
    for threads in [1, 3] {
        let loaded = LoadedModel::load(bundle(1), &Options { threads, ..Options::default() }).unwrap();
        assert_eq!(worker().infer(&loaded, &request(JSON.as_bytes(), None), 0).unwrap(), first);
    }
}
