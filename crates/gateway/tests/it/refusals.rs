use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write as _,
    path::Path,
    sync::Arc,
    time::Duration,
};

use veracity_gateway::{Config, Gateway, REFUSALS, StartError, openapi};
use veracity_graph::{Bundle, ModelId, Part};
use veracity_receipt::ExecutorKey;
use veracity_store::{ReceiptLimits, Store};

use crate::{
    fixture::bundle,
    inference::JSON,
    server::{Reply, Server, config},
};

/// Reaches every code of the server's own table, on one server each where a limit has to be small.
#[test]
fn every_code_is_reached_with_its_status() {
    let mut reached = BTreeMap::new();
    let mut note = |reply: &Reply, expected: &str| {
        let (status, code) = reply.code();
        assert_eq!(code, expected, "{reply:?}");
        reached.insert(code, status);
    };
    let server = Server::start(config());
    let infer = "/v2/models/tiny/infer";
    let (two, one) = (bundle(2).encode(), bundle(1).model_id().to_string());
    note(&server.get("/v3"), "unknown_route");
    note(&server.send("DELETE", infer, &[], b""), "method_not_allowed");
    note(&server.get("/v2/models/%ff"), "invalid_path");
    note(&server.send("POST", "/v1/models?nam=x", &[], &two), "invalid_query");
    note(&server.send("POST", "/v1/models?name=x&name=y", &[], &two), "invalid_query");
    for bad in ["x", "-1", "+1", "", "99999999999999999999"] {
        note(&server.infer(&[("inference-header-content-length", bad)], JSON.as_bytes()), "invalid_header");
    }
    let twice = [("inference-header-content-length", "1"), ("Inference-Header-Content-Length", "1")];
    note(&server.infer(&twice, JSON.as_bytes()), "invalid_header");
    note(&server.infer(&[("x-receipt", "yes")], JSON.as_bytes()), "invalid_header");
    note(&server.infer(&[("content-encoding", "gzip")], JSON.as_bytes()), "unsupported_encoding");
    note(&server.send("POST", "/v1/models", &[("content-encoding", "br")], &two), "unsupported_encoding");
    note(&server.send("DELETE", "/v1/models/tiny", &[("sec-fetch-site", "cross-site")], b""), "cross_site");
    for missing in [
        "/v2/models/none",
        "/v2/models/none/ready",
        "/v1/models/none",
        "/v1/models/00000000",
        "/v2/models/a%2Fb",
        "/v2/models/tiny%20",
    ] {
        note(&server.get(missing), "model_not_found");
    }
    note(&server.send("POST", "/v2/models/none/infer", &[], JSON.as_bytes()), "model_not_found");
    note(
        &server.send("POST", &format!("/v2/models/{}/infer", &one[..16]), &[], JSON.as_bytes()),
        "model_not_found",
    );
    note(&server.get("/v2/models/tiny/versions/1"), "version_not_found");
    for bad in ["name=UPPER", "name=", "name=..", "name=a/b", "name=deadbeef"] {
        note(&server.send("POST", &format!("/v1/models?{bad}"), &[], &two), "invalid_model_name");
    }
    note(&server.send("POST", "/v1/models", &[], b"not a bundle"), "invalid_bundle");
    note(&server.send("POST", "/v1/models", &[], &[two.as_slice(), b"x"].concat()), "invalid_bundle");
    let mut flipped = two;
    *flipped.last_mut().unwrap() ^= 1;
    note(&server.send("POST", "/v1/models", &[], &flipped), "invalid_bundle");
    let mut short = bundle(2);
    short.weights.pop();
    short.manifest.weights = Part::of(&short.weights);
    note(&server.send("POST", "/v1/models", &[], &short.encode()), "invalid_model");
    note(&server.send("PUT", "/v1/models/tiny/report", &[], b"{"), "invalid_report");
    for id in ["x", &"0".repeat(64)] {
        note(&server.get(&format!("/v1/receipts/{id}")), "receipt_not_found");
    }
    let mut stream = server.connect();
    stream
        .write_all(
            format!("POST {infer} HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\nZ\r\n").as_bytes(),
        )
        .unwrap();
    note(&Reply::read(&mut stream), "incomplete_body");

    let read_only = Server::start(Config { writable: false, ..config() });
    note(&read_only.send("DELETE", "/v1/models/tiny", &[], b""), "read_only");
    let small = Server::start(Config { body_bytes_max: 10, ..config() });
    note(&small.infer(&[], JSON.as_bytes()), "body_too_large");
    let slow = Server::start(Config { run_timeout: Duration::from_millis(1), ..config() });
    note(&slow.infer(&[], large_batch(60_000).as_bytes()), "run_timeout");
    let full = Server::start(Config { bodies_bytes_max: 0, body_bytes_max: 0, ..config() });
    note(&full.infer(&[], b""), "malformed_json");
    let host = Server::start(Config { runs: false, ..config() });
    note(&host.infer(&[], JSON.as_bytes()), "not_a_worker");
    // Codes of inference requests are the worker's.
    reached.retain(|code, _| REFUSALS.iter().any(|r| r.code == code));

    let root = server.store.root().to_owned();
    let twin = root.join("models").join(format!("{}{}", &one[..60], "0000"));
    fs::create_dir(&twin).unwrap();
    note_on(&mut reached, &server.get(&format!("/v1/models/{}", &one[..16])), "ambiguous_reference");
    // A model that the store would not have taken, put there by another program.
    note_on(
        &mut reached,
        &server.get(&format!("/v2/models/{}/ready", plant(&root, &short))),
        "model_unusable",
    );
    fs::write(root.join("models").join(&one).join("weights"), b"x").unwrap();
    note_on(&mut reached, &server.get(&format!("/v1/models/{one}/bundle")), "store_corrupt");
    fs::remove_dir_all(root.join("models")).unwrap();
    note_on(&mut reached, &server.get("/v1/models"), "store_failed");

    let all: BTreeSet<&str> = REFUSALS.iter().map(|r| r.code).collect();
    let unreached: Vec<_> = all.iter().filter(|code| !reached.contains_key(**code)).copied().collect();
    // Two need a broken machine or program and are reached beside the code, the others in `limits` and `forward`.
    let elsewhere = ["disk_full", "internal", "no_worker", "overloaded", "registry_unavailable"];
    assert_eq!(unreached, [&elsewhere[..], &["request_timeout", "workers_failed"]].concat());
    for (code, status) in &reached {
        let row = REFUSALS.iter().find(|r| r.code == code).unwrap();
        assert_eq!(row.status, *status, "{code}");
    }
}

/// A request whose parsing alone takes longer than a millisecond.
fn large_batch(n: usize) -> String {
    let zeros = |n: usize| vec!["0"; n].join(",");
    format!(
        r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[{n},4],"data":[{}]}},
        {{"name":"ids","datatype":"INT64","shape":[{n},1],"data":[{}]}}]}}"#,
        zeros(n * 4),
        zeros(n)
    )
}

/// Writes the parts of a bundle where the store keeps them, unchecked; gives the id.
fn plant(root: &Path, bundle: &Bundle) -> ModelId {
    let id = bundle.model_id();
    let folder = root.join("models").join(id.to_string());
    fs::create_dir(&folder).unwrap();
    for (file, bytes) in
        [("manifest", &bundle.manifest.encode()), ("graph", &bundle.graph), ("weights", &bundle.weights)]
    {
        fs::write(folder.join(file), bytes).unwrap();
    }
    id
}

fn note_on(reached: &mut BTreeMap<String, u16>, reply: &Reply, expected: &str) {
    let (status, code) = reply.code();
    assert_eq!(code, expected, "{reply:?}");
    reached.insert(code, status);
}

#[test]
fn an_answer_whose_receipt_cannot_be_kept_is_no_answer() {
    let receipts = ReceiptLimits { size_bytes_max: 16, ..ReceiptLimits::default() };
    let tiny = Server::start(Config { receipts, ..config() });
    let reply = tiny.infer(&[], JSON.as_bytes());
    assert_eq!(reply.code(), (500, "store_failed".to_owned()));
    assert!(reply.json()["error"].as_str().unwrap().contains("so there is no answer"), "{reply:?}");
    // The file of the first segment is taken by something else.
    let server = Server::start(config());
    fs::create_dir(server.store.root().join("receipts/0000000000000000.log")).unwrap();
    assert_eq!(server.infer(&[], JSON.as_bytes()).code(), (500, "store_failed".to_owned()));
}

#[test]
fn a_kept_receipt_of_another_version_is_not_shown_as_json() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.receipt_log(ReceiptLimits::default()).unwrap().append(&[7; 32], b"of tomorrow").unwrap();
    let server = Server::start_in(dir, config());
    let path = format!("/v1/receipts/{}", "07".repeat(32));
    assert_eq!(server.get(&path).body, b"of tomorrow", "its bytes are given as they are");
    let json = server.send("GET", &path, &[("accept", "application/json")], b"");
    assert_eq!(json.code(), (500, "store_corrupt".to_owned()));
}

#[test]
fn bad_tensors_are_refused_over_http_too() {
    let server = Server::start(config());
    let cases = [
        (JSON.replace("\"x\"", "\"z\""), 400, "unknown_input"),
        (JSON.replace("FP32", "INT32").replace("0.5,1.5,-1.5,1e1", "1,2,3,4"), 400, "wrong_datatype"),
        (JSON.replace("FP32", "BYTES"), 400, "unsupported_datatype"),
        (JSON.replace("[2,4]", "[4,2]"), 400, "data_nesting"),
        (JSON.replace("1e1", "NaN"), 400, "not_finite"),
        (JSON.replace("999", "1000"), 400, "out_of_range"),
        (
            JSON.replace("{\"inputs\"", "{\"parameters\":{\"timeout\":1},\"inputs\""),
            400,
            "unsupported_parameter",
        ),
        ("{".to_owned(), 400, "malformed_json"),
        (String::new(), 400, "malformed_json"),
    ];
    for (body, status, code) in cases {
        let reply = server.infer(&[], body.as_bytes());
        assert_eq!(reply.code(), (status, code.to_owned()), "{body}");
        assert_eq!(reply.header("x-receipt-id"), None, "nothing is signed");
    }
    let too_long = server.infer(&[("inference-header-content-length", "9999")], JSON.as_bytes());
    assert_eq!(too_long.code(), (400, "json_length".to_owned()));
    let length = JSON.len().to_string();
    let tail =
        server.infer(&[("inference-header-content-length", &length)], &[JSON.as_bytes(), b"tail"].concat());
    assert_eq!(tail.code(), (400, "binary_length".to_owned()));
    let samples = Config { limits: veracity_worker::Limits { samples_max: 1 }, ..config() };
    let reply = Server::start(samples).infer(&[], JSON.as_bytes());
    assert_eq!(reply.code(), (413, "too_many_samples".to_owned()));
}

#[test]
fn the_openapi_document_names_routes_that_exist() {
    let server = Server::start(config());
    let document = server.get("/openapi.json").json();
    assert_eq!(document, openapi());
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let path =
                path.replace("{name}", "none").replace("{version}", "1").replace("{reference}", "none");
            let reply = server.send(&method.to_uppercase(), &path, &[], b"");
            let code = if reply.status < 300 { String::new() } else { reply.code().1 };
            assert!(!["unknown_route", "method_not_allowed"].contains(&code.as_str()), "{method} {path}");
        }
    }
}

#[test]
fn a_gateway_that_cannot_work_does_not_start() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(dir.path()).unwrap());
    let key = || ExecutorKey::from_seed(&[1; 32]);
    let bad = Config { runs_max: 0, bodies_bytes_max: 1, ..config() };
    let error = Gateway::new(Arc::clone(&store), key(), bad).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the configuration cannot work: runs_max must be more than 0; bodies_bytes_max must be at least body_bytes_max"
    );
    let _first = Gateway::new(Arc::clone(&store), key(), config()).unwrap();
    assert!(matches!(Gateway::new(store, key(), config()), Err(StartError::Receipts(_))));
}
