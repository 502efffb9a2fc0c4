use veracity_engine::Options;
use veracity_receipt::{CheckName, Materials, Policy, Receipt, Request, Response, verify};
use veracity_store::ReceiptLimits;
use veracity_worker::{Auditor, LoadedModel, protocol::PROTOCOL};

use crate::{
    fixture::bundle,
    server::{Reply, Server, config},
};

pub(crate) const JSON: &str = r#"{"inputs":[
    {"name":"x","datatype":"FP32","shape":[2,4],"data":[[1,2,3,4],[0.5,1.5,-1.5,1e1]]},
    {"name":"ids","datatype":"INT64","shape":[2,2],"data":[1,2,3,999]}]}"#;

fn binary() -> (Vec<u8>, String) {
    let json = r#"{"inputs":[
        {"name":"x","datatype":"FP32","shape":[2,4],"parameters":{"binary_data_size":32}},
        {"name":"ids","datatype":"INT64","shape":[2,2],"parameters":{"binary_data_size":32}}],
        "parameters":{"binary_data_output":true}}"#;
    let x = [1f32, 2.0, 3.0, 4.0, 0.5, 1.5, -1.5, 10.0].iter().flat_map(|v| v.to_le_bytes());
    let ids = [1i64, 2, 3, 999].iter().flat_map(|v| v.to_le_bytes());
    (json.bytes().chain(x).chain(ids).collect(), json.len().to_string())
}

/// What a client does with an answer: fetch the receipt, run the model itself, compare.
fn verify_answer(server: &Server, body: &[u8], json_length: Option<u64>, reply: &Reply) {
    assert_eq!(reply.status, 200, "{reply:?}");
    let id = reply.header("x-receipt-id").unwrap();
    let kept = server.get(&format!("/v1/receipts/{id}"));
    assert_eq!(kept.header("content-type"), Some("application/vnd.veracity.receipt+cbor"));
    let loaded = LoadedModel::load(bundle(1), &Options { threads: 1, ..Options::default() }).unwrap();
    let auditor = Auditor::new(&loaded);
    let response_length = reply.header("inference-header-content-length").map(|v| v.parse().unwrap());
    let materials = Materials {
        request: Some(Request { protocol: PROTOCOL, model_name: "tiny", json_length, body }),
        response: Some(Response { json_length: response_length, body: &reply.body }),
        reexecutor: Some(&auditor),
        ..Materials::default()
    };
    let policy = Policy { executor: Some(server.gateway.executor()), ..Policy::default() };
    let verdict = verify(&kept.body, &materials, &policy);
    assert!(verdict.verified(), "{verdict}");
    assert!(verdict.outcome(CheckName::Trace).unwrap().is_pass(), "{verdict}");
}

#[test]
fn json_and_binary_agree_and_their_receipts_verify() {
    let server = Server::start(config());
    let plain = server.infer(&[], JSON.as_bytes());
    verify_answer(&server, JSON.as_bytes(), None, &plain);
    assert_eq!(plain.header("content-type"), Some("application/json"));
    assert_eq!(plain.header("inference-header-content-length"), None);

    let (body, length) = binary();
    let binary = server.infer(&[("Inference-Header-Content-Length", &length)], &body);
    verify_answer(&server, &body, Some(length.parse().unwrap()), &binary);
    assert_eq!(binary.header("content-type"), Some("application/octet-stream"));
    let split: usize = binary.header("inference-header-content-length").unwrap().parse().unwrap();
    let y: Vec<f32> =
        binary.body[split..split + 24].as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    let expected: Vec<f32> = plain.json()["outputs"][0]["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.to_string().parse().unwrap())
        .collect();
    assert_eq!(y, expected);
    assert_eq!(binary.body.len(), split + 24 + 32);
}

#[test]
fn a_receipt_can_come_with_the_answer_or_as_json() {
    let server = Server::start(config());
    let reply = server.infer(&[("x-receipt", "inline")], JSON.as_bytes());
    let id = reply.header("x-receipt-id").unwrap();
    let kept = server.get(&format!("/v1/receipts/{id}")).body;
    assert_eq!(decode_base64(reply.header("x-receipt").unwrap()), kept);
    let json = server.send(
        "GET",
        &format!("/v1/receipts/{id}"),
        &[("accept", "text/html, application/json;q=0.9")],
        b"",
    );
    assert_eq!(json.json()["id"], id);
    assert_eq!(json.json()["executor"], server.gateway.executor().to_string());
    assert_eq!(json.json()["parameters"]["protocol"], "oip/2");
    assert_eq!(json.json()["usage"]["samples"], 2);
    assert_eq!(server.infer(&[], JSON.as_bytes()).header("x-receipt"), None);
}

fn decode_base64(text: &str) -> Vec<u8> {
    let value = |b: u8| match b {
        b'A'..=b'Z' => b - b'A',
        b'a'..=b'z' => b - b'a' + 26,
        b'0'..=b'9' => b - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits: Vec<u8> = text.bytes().filter(|b| *b != b'=').map(value).collect();
    let bits =
        |chunk: &[u8]| chunk.iter().fold(0u32, |n, d| n << 6 | u32::from(*d)) << (6 * (4 - chunk.len()));
    digits.chunks(4).flat_map(|chunk| bits(chunk).to_be_bytes()[1..chunk.len()].to_vec()).collect()
}

#[test]
fn receipts_survive_a_restart_and_are_bounded() {
    let server = Server::start(config());
    let reply = server.infer(&[], JSON.as_bytes());
    let id = reply.header("x-receipt-id").unwrap().to_owned();
    let kept = server.get(&format!("/v1/receipts/{id}")).body;
    let executor = server.gateway.executor();
    let receipts = ReceiptLimits { size_bytes_max: 32 << 10, ..ReceiptLimits::default() };
    let server = Server::start_in(server.stop(), veracity_gateway::Config { receipts, ..config() });
    assert_eq!(server.gateway.executor(), executor);
    assert_eq!(server.get(&format!("/v1/receipts/{id}")).body, kept);
    for n in 0..100 {
        let body = JSON.replacen('{', &format!("{{\"id\":\"{n}\","), 1);
        assert_eq!(server.infer(&[], body.as_bytes()).status, 200);
    }
    assert_eq!(server.get(&format!("/v1/receipts/{id}")).code(), (404, "receipt_not_found".to_owned()));
}

/// Numbers come without gaps and none twice, from many clients at once and after a restart.
#[test]
fn receipts_are_numbered() {
    let sequence = |server: &Server| {
        let reply = server.infer(&[("x-receipt", "inline")], JSON.as_bytes());
        let receipt = Receipt::decode(&decode_base64(reply.header("x-receipt").unwrap())).unwrap();
        receipt.claims().sequence.unwrap()
    };
    let mut seen = Vec::new();
    let mut server = Server::start(config());
    for _ in 0..2 {
        let clients: Vec<u64> = std::thread::scope(|scope| {
            let client = || scope.spawn(|| (0..10).map(|_| sequence(&server)).collect::<Vec<_>>());
            let clients: Vec<_> = (0..4).map(|_| client()).collect();
            clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
        });
        seen.extend(clients);
        // A refused request takes no number.
        assert_eq!(server.infer(&[], b"{}").status, 400);
        server = Server::start_in(server.stop(), config());
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..80).collect::<Vec<_>>());
}

#[test]
fn a_version_pins_the_model() {
    let server = Server::start(config());
    let id = bundle(1).model_id();
    let path = |version: &str, end: &str| format!("/v2/models/tiny/versions/{version}{end}");
    for end in ["", "/ready"] {
        assert_eq!(server.get(&path(&id.to_string(), end)).status, 200);
    }
    assert_eq!(server.send("POST", &path(&id.to_string(), "/infer"), &[], JSON.as_bytes()).status, 200);
    let other = server.store.put(&bundle(2), None).unwrap();
    server.store.set_name(&"tiny".parse().unwrap(), &other).unwrap();
    let refused = server.send("POST", &path(&id.to_string(), "/infer"), &[], JSON.as_bytes());
    assert_eq!(refused.code(), (404, "version_not_found".to_owned()));
    let moved = server.infer(&[], JSON.as_bytes()).json();
    assert_eq!(moved["model_version"], other.to_string());
    let by_id = server.send("POST", &format!("/v2/models/{id}/infer"), &[], JSON.as_bytes()).json();
    assert_eq!(
        (&by_id["model_version"], &by_id["model_name"]),
        (&id.to_string().into(), &id.to_string().into())
    );
}

#[test]
fn requests_in_parallel_have_the_same_answer() {
    let server = Server::start(config());
    let expected = server.infer(&[], JSON.as_bytes()).body;
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                (0..10).for_each(|_| assert_eq!(server.infer(&[], JSON.as_bytes()).body, expected));
            });
        }
    });
}
