use veracity_engine::Options;
use veracity_receipt::{CheckName, Claims, ExecutorKey, Materials, Outcome, Policy, Receipt, Run, verify};
use veracity_worker::{Auditor, Inference, Limits, LoadedModel, Worker};

use crate::{
    fixture::bundle,
    requests::{JSON, binary, loaded, request},
};

fn worker() -> Worker {
    Worker::new(ExecutorKey::from_seed(&[1; 32]), Limits::default(), true)
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
        let Inference { response, receipt } = worker().infer(&loaded, &request, 1_795_000_000).unwrap();
        assert_eq!(receipt.executor(), worker().executor());
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
    let Inference { mut response, receipt } = worker().infer(&loaded, &request, 0).unwrap();
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

#[test]
fn a_request_that_cannot_run_makes_the_receipt_false_and_a_small_machine_does_not() {
    let loaded = loaded();
    let bad = request(b"{}", None);
    let honest = worker().infer(&loaded, &request(JSON.as_bytes(), None), 0).unwrap();
    let run = Run { samples: 1, macs: None, trace_root: None, software: "liar/1", issued_at: 0 };
    let claims = Claims::new(honest.receipt.claims().model_id, &bad, &honest.response.as_response(), &run);
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
    assert!(matches!(outcome(&honest.receipt, &materials, CheckName::Execution), Outcome::Skip(_)));

    let other = veracity_receipt::Request { protocol: "oip/3", ..request(JSON.as_bytes(), None) };
    let claims = Claims::new(honest.receipt.claims().model_id, &other, &honest.response.as_response(), &run);
    let receipt = Receipt::sign(claims, &ExecutorKey::from_seed(&[2; 32])).unwrap();
    let materials = Materials { request: Some(other), reexecutor: Some(&auditor), ..Materials::default() };
    assert!(matches!(outcome(&receipt, &materials, CheckName::Execution), Outcome::Skip(_)));
}

#[test]
fn another_model_is_not_taken_for_this_one() {
    let options = Options { threads: 1, ..Options::default() };
    let other = LoadedModel::load(bundle(2), &options).unwrap();
    let request = request(JSON.as_bytes(), None);
    let Inference { receipt, .. } = worker().infer(&loaded(), &request, 0).unwrap();
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
