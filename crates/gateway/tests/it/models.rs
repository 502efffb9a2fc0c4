use std::{
    io::Write as _,
    sync::{Arc, Mutex},
};

use veracity_gateway::Config;
use veracity_receipt::Request;
use veracity_worker::{CheckedModel, Limits, LoadedModel, execute, protocol::PROTOCOL};

use crate::{
    fixture::bundle,
    inference::JSON,
    server::{Reply, Server, config},
};

#[test]
fn a_model_is_uploaded_used_downloaded_and_removed() {
    let server = Server::start(config());
    let bytes = bundle(2).encode();
    let id = bundle(2).model_id().to_string();
    let uploaded = server.send("POST", "/v1/models?name=second", &[], &bytes);
    assert_eq!((uploaded.status, uploaded.json()["id"].as_str().unwrap()), (201, id.as_str()));
    assert_eq!(uploaded.json()["name"], "second");
    assert_eq!(server.send("POST", "/v1/models", &[], &bytes).json()["name"], serde_json::Value::Null);

    let answer = server.send("POST", "/v2/models/second/infer", &[], JSON.as_bytes());
    assert_eq!(answer.json()["model_version"], id);
    assert_eq!(server.get(&format!("/v1/models/{}/bundle", &id[..10])).body, bytes);

    let shown = server.get("/v1/models/second").json();
    assert_eq!(shown["names"], serde_json::json!(["second"]));
    assert_eq!(shown["manifest"]["provenance"]["converter"], "test/1");
    assert_eq!(shown["report"], serde_json::Value::Null);
    assert_eq!(server.send("PUT", "/v1/models/second/report", &[], b"{\"n\":3}").status, 200);
    assert_eq!(server.get("/v1/models/second").json()["report"]["n"], 3);
    assert_eq!(server.get("/v1/models/tiny").json()["report"]["cosine"], 0.5);
    assert_eq!(server.get("/v1/models").json()["models"].as_array().unwrap().len(), 2);

    let removed = server.send("DELETE", "/v1/models/second", &[], b"").json();
    assert_eq!((&removed["id"], &removed["model_removed"]), (&id.as_str().into(), &true.into()));
    let gone = server.send("POST", "/v2/models/second/infer", &[], JSON.as_bytes());
    assert_eq!(gone.code(), (404, "model_not_found".to_owned()));
    assert_eq!(server.get("/v1/models").json()["models"].as_array().unwrap().len(), 1);
}

/// What is damaged beside a model does not hide it, and can be mended over HTTP.
#[test]
fn a_damaged_report_or_name_is_no_obstacle() {
    let server = Server::start(config());
    let id = bundle(1).model_id().to_string();
    std::fs::write(server.store.root().join("models").join(&id).join("report"), b"x").unwrap();
    let shown = server.get("/v1/models/tiny").json();
    assert_eq!((&shown["id"], &shown["report"]), (&id.as_str().into(), &serde_json::Value::Null));
    assert!(shown["report_error"].as_str().unwrap().contains("report is corrupt"), "{shown}");
    assert_eq!(server.send("PUT", "/v1/models/tiny/report", &[], b"{\"n\":3}").status, 200);
    assert_eq!(server.get("/v1/models/tiny").json()["report_error"], serde_json::Value::Null);

    std::fs::write(server.store.root().join("names/lost"), b"x").unwrap();
    assert_eq!(server.get("/v1/models/lost").code(), (500, "store_corrupt".to_owned()));
    let removed = server.send("DELETE", "/v1/models/lost", &[], b"").json();
    let expected = serde_json::json!({ "id": null, "names": ["lost"], "model_removed": false });
    assert_eq!(removed, expected);
    assert_eq!(server.get("/v1/models/lost").code(), (404, "model_not_found".to_owned()));
}

#[test]
fn metadata_is_what_clients_of_the_protocol_expect() {
    let server = Server::start(config());
    assert_eq!(server.get("/v2").json()["extensions"][0], "binary_tensor_data");
    assert_eq!(server.get("/v2/health/live").json()["live"], true);
    assert_eq!(server.get("/v2/health/ready").json()["ready"], true);
    assert_eq!(server.get("/v2/models/tiny/ready").json()["ready"], true);
    let id = bundle(1).model_id().to_string();
    let expected = serde_json::json!({
        "name": "tiny", "versions": [id], "platform": "veracity",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}, {"name": "ids", "datatype": "INT64", "shape": [-1, -1]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 3]}, {"name": "copy", "datatype": "INT64", "shape": [-1, -1]}],
    });
    assert_eq!(server.get("/v2/models/tiny").json(), expected);
    let row = serde_json::json!({"name": "tiny", "version": id, "state": "READY", "reason": ""});
    assert_eq!(server.get("/v2/models").json()["models"][0], row);
    for body in ["", "{}", "{\"ready\":true}"] {
        assert_eq!(server.send("POST", "/v2/repository/index", &[], body.as_bytes()).json()[0], row);
    }
    let refused = server.send("POST", "/v2/repository/index", &[], b"[true]").code();
    assert_eq!(refused, (400, "invalid_request".to_owned()), "an array is no object");
    for (path, key) in [("/healthz", "live"), ("/readyz", "ready")] {
        assert_eq!(server.get(path).json()[key], true);
    }
}

#[test]
fn half_an_upload_stores_nothing() {
    let server = Server::start(config());
    let bytes = bundle(2).encode();
    let head =
        |headers: &str| format!("POST /v1/models?name=second HTTP/1.1\r\nhost: test\r\n{headers}\r\n\r\n");
    // The client goes away in the middle.
    let mut stream = server.connect();
    stream.write_all(head(&format!("content-length: {}", bytes.len())).as_bytes()).unwrap();
    stream.write_all(&bytes[..bytes.len() - 10]).unwrap();
    drop(stream);
    // The client says that it is done, but it is not.
    let cut = server.send("POST", "/v1/models?name=second", &[], &bytes[..bytes.len() - 10]);
    assert_eq!(cut.code(), (400, "invalid_bundle".to_owned()));
    assert!(cut.json()["error"].as_str().unwrap().ends_with("send it again"));
    // A chunked body that breaks off.
    let mut stream = server.connect();
    stream.write_all(head("transfer-encoding: chunked").as_bytes()).unwrap();
    stream.write_all(b"5\r\nVMDL\x01\r\nZZ\r\n").unwrap();
    assert_eq!(Reply::read(&mut stream).code(), (400, "incomplete_body".to_owned()));
    assert!(server.store.list().unwrap().iter().all(|e| e.id == bundle(1).model_id()));
    assert_eq!(server.send("POST", "/v1/models?name=second", &[], &bytes).status, 201);
    let dir = server.stop();
    assert_eq!(std::fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
}

#[test]
fn a_server_can_be_read_only_and_refuses_other_sites() {
    let server = Server::start(config());
    let bytes = bundle(2).encode();
    let site = [("sec-fetch-site", "cross-site")];
    for (method, path) in
        [("POST", "/v1/models"), ("DELETE", "/v1/models/tiny"), ("PUT", "/v1/models/tiny/report")]
    {
        assert_eq!(server.send(method, path, &site, &bytes).code(), (403, "cross_site".to_owned()));
    }
    let server = Server::start(Config { writable: false, ..config() });
    for (method, path) in
        [("POST", "/v1/models"), ("DELETE", "/v1/models/tiny"), ("PUT", "/v1/models/tiny/report")]
    {
        assert_eq!(server.send(method, path, &[], &bytes).code(), (403, "read_only".to_owned()));
    }
    assert_eq!(server.infer(&[], JSON.as_bytes()).status, 200);
}

#[test]
fn the_least_recently_used_model_leaves_memory() {
    let server = Server::start(Config { loaded_bytes_max: 1, ..config() });
    let id = server.store.put(&bundle(2), None).unwrap();
    for _ in 0..2 {
        for name in ["tiny".to_owned(), id.to_string()] {
            assert_eq!(
                server.send("POST", &format!("/v2/models/{name}/infer"), &[], JSON.as_bytes()).status,
                200
            );
            let metrics = String::from_utf8(server.get("/metrics").body).unwrap();
            assert!(metrics.contains("veracity_loaded_models 1\n"), "{metrics}");
        }
    }
}

#[test]
fn numbers_are_published() {
    let server = Server::start(config());
    server.infer(&[], JSON.as_bytes());
    server.infer(&[], b"{}");
    server.get("/nothing");
    let reply = server.get("/metrics");
    assert_eq!(
        reply.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    let text = String::from_utf8(reply.body).unwrap();
    let expected = [
        "veracity_requests_total{route=\"infer\",status=\"200\"} 1",
        "veracity_requests_total{route=\"infer\",status=\"400\"} 1",
        "veracity_request_seconds_count{route=\"infer\"} 2",
        "veracity_samples_total 2",
        "veracity_models 1",
        "veracity_receipts 1",
        "veracity_requests_in_flight 1",
        "# EOF",
    ];
    for line in expected {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
}

fn loaded_bytes(server: &Server) -> u64 {
    let metrics = String::from_utf8(server.get("/metrics").body).unwrap();
    let value = metrics.lines().find_map(|line| line.strip_prefix("veracity_loaded_bytes "));
    value.unwrap().parse().unwrap()
}

/// Weights are packed by the first run; what describes a model packs none.
#[test]
fn what_a_model_takes_is_counted_when_it_takes_it() {
    let server = Server::start(config());
    let checked = Arc::new(CheckedModel::new(bundle(1)).unwrap());
    for path in ["/v1/models/tiny", "/v2/models/tiny", "/v2/models/tiny/ready"] {
        assert_eq!(server.get(path).status, 200, "{path}");
        assert_eq!(loaded_bytes(&server), checked.memory_bytes(), "{path}");
    }
    let loaded = LoadedModel::new(checked, &config().engine).unwrap();
    let request =
        Request { protocol: PROTOCOL, model_name: "tiny", json_length: None, body: JSON.as_bytes() };
    execute(&loaded, &request, &Limits::default(), true).unwrap();
    assert_eq!(server.infer(&[], JSON.as_bytes()).status, 200);
    assert_eq!(loaded_bytes(&server), loaded.memory_bytes());
    assert!(loaded.memory_bytes() > loaded.checked().memory_bytes() + 1000, "packed weights and a plan");
    // Describing it makes it no smaller.
    assert_eq!(server.get("/v2/models/tiny/ready").status, 200);
    assert_eq!(loaded_bytes(&server), loaded.memory_bytes());
}

/// A model that grew while it ran makes others go.
#[test]
fn what_a_run_adds_is_counted_against_the_limit() {
    let checked = CheckedModel::new(bundle(1)).unwrap().memory_bytes();
    let server = Server::start(Config { loaded_bytes_max: 2 * checked + 100, ..config() });
    let id = server.store.put(&bundle(2), None).unwrap();
    assert_eq!(server.get(&format!("/v2/models/{id}/ready")).status, 200);
    assert_eq!(server.get("/v2/models/tiny/ready").status, 200);
    assert_eq!(loaded_bytes(&server), 2 * checked);
    assert_eq!(server.infer(&[], JSON.as_bytes()).status, 200);
    let metrics = String::from_utf8(server.get("/metrics").body).unwrap();
    assert!(metrics.contains("veracity_loaded_models 1\n"), "{metrics}");
}

/// Others serve beside the gateway, on the same connections, and its own answers stay as they are.
#[test]
fn routes_of_others_are_served_beside() {
    let routes = axum::Router::new().route("/hosting/v1/{x}", axum::routing::get(async || "beside"));
    let server = Server::start_beside(tempfile::tempdir().unwrap(), config(), routes);
    assert_eq!(server.get("/hosting/v1/x").body, b"beside");
    assert_eq!(server.get("/healthz").status, 200);
    assert_eq!(server.get("/hosting/v2/x").code(), (404, "unknown_route".to_owned()));
    assert_eq!(server.send("POST", "/hosting/v1/x", &[], b"").status, 405);
}

/// Whoever removes unused models is told of each use, and when it ends.
#[test]
fn a_run_is_told_to_the_hook() {
    struct Ended(Arc<Mutex<Vec<String>>>);
    impl Drop for Ended {
        fn drop(&mut self) {
            self.0.lock().unwrap().push("ended".to_owned());
        }
    }
    let told = Arc::new(Mutex::new(Vec::new()));
    let server = Server::start(config());
    let note = Arc::clone(&told);
    server.gateway.on_use(move |id| {
        note.lock().unwrap().push(id.to_string());
        Ended(Arc::clone(&note))
    });
    let id = server.store.resolve("tiny").unwrap().to_string();
    assert_eq!(server.infer(&[], JSON.as_bytes()).status, 200);
    assert_eq!(*told.lock().unwrap(), [id, "ended".to_owned()]);
    server.send("POST", "/v2/models/nobody/infer", &[], JSON.as_bytes());
    assert_eq!(told.lock().unwrap().len(), 2);
}
