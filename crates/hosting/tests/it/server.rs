//! What a host answers.

use std::{fs, sync::Arc, time::Duration};

use axum::body::Body;
use http_body_util::BodyExt as _;
use hyper::{Request, Response, service::Service as _};
use hyper_util::service::TowerToHyperService;
use veracity_graph::ModelId;
use veracity_hosting::{Hosting, HostingConfig, ServeError, router};
use veracity_store::{PartName, Store, StoreError};

use crate::{
    fixture::{bundle, bundle_with_rows, wide_bundle},
    network::{Node, Watch, client, fetch_from},
};

/// A host without a socket.
struct Local {
    dir: tempfile::TempDir,
    hosting: Arc<Hosting>,
    routes: axum::Router,
    runtime: tokio::runtime::Runtime,
}

impl Local {
    fn new(config: HostingConfig) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let hosting = Hosting::open(Arc::new(Store::open(dir.path()).unwrap()), config).unwrap();
        let routes = router(Arc::clone(&hosting));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { dir, hosting, routes, runtime }
    }

    fn own(&self, bundle: &veracity_graph::Bundle) -> ModelId {
        let id = self.hosting.store().put(bundle, None).unwrap();
        self.hosting.offer(&id).unwrap();
        id
    }

    fn get(&self, path: &str) -> Response<Body> {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let service = TowerToHyperService::new(self.routes.clone());
        self.runtime.block_on(async { service.call(request).await.unwrap() })
    }

    fn bytes(&self, response: Response<Body>) -> Result<Vec<u8>, axum::Error> {
        self.runtime.block_on(async { Ok(response.into_body().collect().await?.to_bytes().to_vec()) })
    }

    fn refusal(&self, path: &str) -> (u16, String) {
        let response = self.get(path);
        let status = response.status().as_u16();
        let text = String::from_utf8(self.bytes(response).unwrap()).unwrap();
        let code = text.split("\"code\":\"").nth(1).and_then(|rest| rest.split('"').next());
        (status, code.unwrap_or_else(|| panic!("{path}: {text}")).to_owned())
    }
}

fn quota() -> HostingConfig {
    HostingConfig::with_quota(1 << 20)
}

#[test]
fn answers_are_exact_and_can_be_cached() {
    let host = Local::new(quota());
    let model = wide_bundle(1);
    let id = host.own(&model);
    let response = host.get(&format!("/hosting/v1/models/{id}/weights/1/2"));
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(response.status(), 200);
    assert_eq!(header("content-type"), "application/octet-stream");
    assert_eq!(header("cache-control"), "public, max-age=31536000, immutable");
    let expected = host.hosting.store().read_groups(&id, PartName::Weights, 1..3).unwrap();
    assert_eq!(header("content-length"), expected.len().to_string());
    assert_eq!(host.bytes(response).unwrap(), expected);
    let manifest = host.get(&format!("/hosting/v1/models/{id}/manifest"));
    assert_eq!(host.bytes(manifest).unwrap(), model.manifest.encode());
}

#[test]
fn refusals_have_their_status_and_code() {
    let host = Local::new(quota());
    let id = host.own(&wide_bundle(1));
    let mine = host.hosting.store().put(&bundle(2), None).unwrap();
    let other = bundle(3).model_id();
    let upper = id.to_string().to_uppercase();
    let cases = [
        (format!("{id}/weights/4/1"), 416, "bad_range"),
        (format!("{id}/weights/0/0"), 416, "bad_range"),
        (format!("{id}/weights/0/257"), 416, "bad_range"),
        (format!("{id}/weights/18446744073709551615/1"), 400, "bad_request"),
        (format!("{id}/weights/18446744073709551614/1"), 416, "bad_range"),
        (format!("{id}/weights/18446744073709551616/1"), 400, "bad_request"),
        (format!("{id}/weights/00/1"), 400, "bad_request"),
        (format!("{id}/weights/+0/1"), 400, "bad_request"),
        (format!("{id}/weights/-1/1"), 400, "bad_request"),
        (format!("{id}/weights/0/1x"), 400, "bad_request"),
        (format!("{id}/report/0/1"), 400, "bad_request"),
        (format!("{id}/..%2Fkey/0/1"), 400, "bad_request"),
        (format!("{upper}/manifest"), 400, "bad_request"),
        ("..%2F..%2Fkey/manifest".to_owned(), 400, "bad_request"),
        (format!("{other}/manifest"), 404, "not_hosted"),
        (format!("{other}/graph/0/1"), 404, "not_hosted"),
        // What was imported and never offered is nobody's business.
        (format!("{mine}/manifest"), 404, "not_hosted"),
    ];
    for (path, status, code) in cases {
        assert_eq!(host.refusal(&format!("/hosting/v1/models/{path}")), (status, code.to_owned()), "{path}");
    }
    host.hosting.withdraw(&id).unwrap();
    assert_eq!(host.refusal(&format!("/hosting/v1/models/{id}/manifest")).0, 404);
    let disk = || StoreError::DiskFull { path: "x".into() };
    for (error, code) in [(ServeError::Disk(disk()), "disk_failed"), (ServeError::Internal, "internal")] {
        assert_eq!(error.status(), (500, code));
    }
}

#[test]
fn damaged_hashes_are_made_again() {
    let host = Local::new(quota());
    let id = host.own(&wide_bundle(1));
    let file = host.dir.path().join("models").join(id.to_string()).join("weights.obao");
    let good = fs::read(&file).unwrap();
    for bad in [Some(vec![0; good.len()]), Some(Vec::new()), None] {
        match bad {
            Some(bad) => fs::write(&file, bad).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        let response = host.get(&format!("/hosting/v1/models/{id}/weights/0/4"));
        assert_eq!(response.status(), 200);
        assert_eq!(fs::read(&file).unwrap(), good);
    }
    assert!(host.hosting.offers(&id));
}

#[test]
fn a_damaged_model_is_isolated_for_good() {
    for file in ["weights", "graph", "manifest"] {
        let host = Local::new(quota());
        let id = host.own(&wide_bundle(1));
        let path = host.dir.path().join("models").join(id.to_string()).join(file);
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        *bad.last_mut().unwrap() ^= 1;
        fs::write(&path, bad).unwrap();
        let part = if file == "graph" { "graph/0/1" } else { "weights/3/1" };
        let url = format!("/hosting/v1/models/{id}/{part}");
        assert_eq!(host.refusal(&url), (500, "damaged".to_owned()), "{file}");
        assert_eq!(host.refusal(&url), (404, "not_hosted".to_owned()), "{file}");
        assert!(host.hosting.store().is_quarantined(&id), "{file}");
        host.hosting.refresh(1).unwrap();
        assert!(!host.hosting.offers(&id), "{file}");
        fs::write(&path, good).unwrap();
        host.hosting.offer(&id).unwrap();
        assert_eq!(host.get(&url).status(), 200, "{file}");
    }
}

#[test]
fn a_disk_that_fails_is_no_damage() {
    let host = Local::new(quota());
    let id = host.own(&wide_bundle(1));
    let path = host.dir.path().join("models").join(id.to_string()).join("weights");
    fs::remove_file(&path).unwrap();
    // Reading a folder fails, as a broken disk does.
    fs::create_dir(&path).unwrap();
    let url = format!("/hosting/v1/models/{id}/weights/0/1");
    assert_eq!(host.refusal(&url), (500, "disk_failed".to_owned()));
    assert!(!host.hosting.store().is_quarantined(&id));
}

#[test]
fn a_model_that_was_removed_is_not_hosted() {
    let host = Local::new(quota());
    let id = host.own(&wide_bundle(1));
    host.hosting.store().remove(&id.to_string()).unwrap();
    for path in ["manifest", "weights/0/1"] {
        assert_eq!(host.refusal(&format!("/hosting/v1/models/{id}/{path}")), (404, "not_hosted".to_owned()));
    }
}

#[test]
fn answers_that_are_not_taken_hold_their_place_for_a_time_only() {
    let config = HostingConfig { answers_max: 1, answer_timeout: Duration::from_millis(100), ..quota() };
    let host = Local::new(HostingConfig { quota_bytes: 1 << 30, ..config });
    let id = host.own(&bundle_with_rows(1, 1_100_000));
    let url = format!("/hosting/v1/models/{id}/weights/0/256");
    let first = host.get(&url);
    let refused = host.get(&url);
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "1");
    let announced: usize = first.headers()["content-length"].to_str().unwrap().parse().unwrap();
    // The place is free after a time, and whoever takes the answer at once gets all of it.
    loop {
        host.runtime.block_on(async { tokio::time::sleep(Duration::from_millis(10)).await });
        let response = host.get(&url);
        if response.status() == 200 && host.bytes(response).unwrap().len() == announced {
            break;
        }
    }
    assert!(host.bytes(first).unwrap().len() < announced, "the rest was dropped, so the connection is");
}

#[test]
fn others_get_the_model_elsewhere_when_a_host_is_damaged() {
    let model = wide_bundle(1);
    let nodes = [Node::with(1, &[&model]), Node::with(2, &[&model])];
    let file = nodes[0].file(&model.model_id(), "weights");
    let mut bytes = fs::read(&file).unwrap();
    bytes[30_000] ^= 1;
    fs::write(&file, bytes).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let sources = [nodes[0].source.clone(), nodes[1].source.clone()];
    let id = fetch_from(&client(), &store, &model, &sources, &Watch::default()).unwrap();
    assert_eq!(store.get(&id).unwrap(), model);
}
