//! A gateway that runs no models, and workers that tell the truth or lie.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use veracity_gateway::{Config, Directory, DirectoryError, ForwardConfig, StartError, WorkerEntry};
use veracity_graph::ModelId;
use veracity_receipt::{Materials, NetworkKey, Policy, Receipt, Request, Response, verify};
use veracity_worker::{Auditor, LoadedModel, protocol::PROTOCOL};

use crate::{
    fixture::bundle,
    inference::JSON,
    liar::{Liar, Lie},
    server::{Reply, Server, config},
};

/// A registry in memory.
#[derive(Debug, Default)]
struct Registry {
    names: Mutex<HashMap<String, ModelId>>,
    workers: Mutex<Vec<WorkerEntry>>,
    down: Mutex<bool>,
    /// Whether it says nothing about names.
    nameless: Mutex<bool>,
}

impl Registry {
    fn check(&self) -> Result<(), DirectoryError> {
        match *self.down.lock().unwrap() {
            true => Err(DirectoryError("it is down".into())),
            false => Ok(()),
        }
    }

    fn check_names(&self) -> Result<(), DirectoryError> {
        match *self.nameless.lock().unwrap() {
            true => Err(DirectoryError("it says nothing about names".into())),
            false => self.check(),
        }
    }
}

impl Directory for Registry {
    fn resolve(&self, name: &str) -> Result<Option<ModelId>, DirectoryError> {
        self.check_names()?;
        Ok(self.names.lock().unwrap().get(name).copied())
    }

    fn published_names(&self, ids: &[ModelId]) -> Result<Vec<Option<String>>, DirectoryError> {
        self.check_names()?;
        let names = self.names.lock().unwrap();
        let name = |id: &ModelId| names.iter().find(|(_, of)| *of == id).map(|(name, _)| name.clone());
        Ok(ids.iter().map(name).collect())
    }

    fn workers(&self, count_max: usize) -> Result<Vec<WorkerEntry>, DirectoryError> {
        self.check()?;
        Ok(self.workers.lock().unwrap().iter().take(count_max).cloned().collect())
    }
}

/// Some network's key.
fn network_key() -> NetworkKey {
    include_str!("../../../receipt/testdata/network-key.hex").parse().unwrap()
}

fn forwarding() -> ForwardConfig {
    ForwardConfig {
        private_addresses: true,
        attempt_timeout: Duration::from_secs(2),
        answer_bytes_max: 1 << 20,
        ..ForwardConfig::default()
    }
}

/// A gateway without the role of a worker, and the registry that it asks.
struct Net {
    gateway: Server,
    registry: Arc<Registry>,
}

impl Net {
    fn start(forward: ForwardConfig) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), Arc::default(), forward)
    }

    fn start_in(dir: tempfile::TempDir, registry: Arc<Registry>, forward: ForwardConfig) -> Self {
        let gateway = Server::start_in(dir, Config { runs: false, ..config() });
        registry.names.lock().unwrap().insert("me/tiny".to_owned(), bundle(1).model_id());
        let directory = Arc::clone(&registry);
        gateway.gateway.join(directory, network_key(), Some(forward)).unwrap();
        Self { gateway, registry }
    }

    fn add(&self, executor: veracity_receipt::ExecutorId, endpoint: String) {
        self.registry.workers.lock().unwrap().push(WorkerEntry { executor, endpoint });
    }

    fn ask(&self) -> Reply {
        self.ask_for("me%2Ftiny", &[])
    }

    fn ask_for(&self, model: &str, headers: &[(&str, &str)]) -> Reply {
        self.gateway.send("POST", &format!("/v2/models/{model}/infer"), headers, JSON.as_bytes())
    }
}

/// An honest worker, whose store has the model under another name.
fn honest(net: &Net) -> Server {
    let server = Server::start(config());
    server.gateway.join(Arc::clone(&net.registry) as _, network_key(), None).unwrap();
    net.add(server.gateway.executor(), format!("http://{}", server.address));
    server
}

fn liar(net: &Net, seed: u8, lie: Lie) -> Liar {
    let liar = Liar::start([seed; 32], bundle(1));
    liar.set(lie);
    net.add(liar.executor(), liar.url());
    liar
}

/// What a client does with an answer: it runs the model itself.
#[track_caller]
fn assert_verified(net: &Net, name: &str, reply: &Reply, worker: &Server) {
    assert_eq!(reply.status, 200, "{reply:?} {}", String::from_utf8_lossy(&reply.body));
    let id = reply.header("x-receipt-id").unwrap();
    let kept = net.gateway.get(&format!("/v1/receipts/{id}"));
    let options = veracity_engine::Options { threads: 1, ..Default::default() };
    let loaded = LoadedModel::load(bundle(1), &options).unwrap();
    let auditor = Auditor::new(&loaded);
    let body = JSON.as_bytes();
    let materials = Materials {
        request: Some(Request { protocol: PROTOCOL, model_name: name, json_length: None, body }),
        response: Some(Response { json_length: None, body: &reply.body }),
        reexecutor: Some(&auditor),
        ..Materials::default()
    };
    let policy = Policy { executor: Some(worker.gateway.executor()), ..Policy::default() };
    let verdict = verify(&kept.body, &materials, &policy);
    assert!(verdict.verified(), "{verdict}");
}

#[test]
fn an_answer_comes_back_byte_for_byte_with_the_workers_receipt() {
    let net = Net::start(forwarding());
    let worker = honest(&net);
    let reply = net.ask();
    assert_verified(&net, "me/tiny", &reply, &worker);
    let direct = worker.send("POST", "/v2/models/me%2Ftiny/infer", &[], JSON.as_bytes());
    assert_eq!(direct.body, reply.body, "the same bytes as from the worker");
    assert_eq!(reply.header("content-type"), Some("application/json"));

    let id = bundle(1).model_id().to_string();
    assert_verified(&net, &id, &net.ask_for(&id, &[]), &worker);
    assert_verified(&net, "me/tiny", &net.ask_for(&format!("me%2Ftiny/versions/{id}"), &[]), &worker);
    let inline = net.ask_for("me%2Ftiny", &[("x-receipt", "inline")]);
    assert!(inline.header("x-receipt").is_some(), "{inline:?}");

    // The local name of the worker's store means nothing on the network.
    assert_eq!(net.ask_for("tiny", &[]).code(), (404, "model_not_found".to_owned()));
    assert_eq!(net.ask_for("me%2Ftiny/versions/1", &[]).code().0, 404);
    let other = bundle(2).model_id().to_string();
    assert_eq!(
        net.ask_for(&format!("me%2Ftiny/versions/{other}"), &[]).code().0,
        404,
        "never published as it"
    );
}

#[test]
fn what_the_workers_say_about_models_is_shown() {
    let net = Net::start(forwarding());
    assert_eq!(net.gateway.get("/v2/models/me%2Ftiny/ready").code(), (503, "no_worker".to_owned()));
    let worker = honest(&net);
    std::thread::sleep(forwarding().memory);
    let id = bundle(1).model_id().to_string();
    assert_eq!(net.gateway.get("/v2/models/me%2Ftiny/ready").status, 200);
    let described = net.gateway.get("/v2/models/me%2Ftiny").json();
    let own = worker.get("/v2/models/tiny").json();
    assert_eq!((&described["inputs"], &described["outputs"]), (&own["inputs"], &own["outputs"]));
    assert_eq!(described["name"], "me/tiny");
    let listed = net.gateway.get("/v2/models").json();
    assert_eq!(listed["models"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&listed["models"][0]["name"], &listed["models"][0]["version"]),
        (&"me/tiny".into(), &id.into())
    );
    let metrics = String::from_utf8(net.gateway.get("/metrics").body).unwrap();
    assert!(metrics.contains("veracity_workers 1\n"), "{metrics}");
}

/// Whatever a worker does wrong, the client gets the answer of an honest one, or a clear error if there is none.
#[test]
fn lies_do_not_reach_the_client() {
    use Lie::*;
    let cases = [
        (FlippedByte, "wrong_receipt", true),
        (OtherModel, "wrong_receipt", true),
        (OtherKey, "wrong_receipt", true),
        (OldReceipt, "old_receipt", true),
        (Unnumbered, "unnumbered", true),
        (NoReceipt, "no_receipt", true),
        (Hang, "timed_out", false),
        (Endless, "too_long", false),
        (CutShort, "unreachable", false),
        (Nonsense, "status", false),
        (Redirect, "status", false),
    ];
    for (lie, label, aside) in cases {
        let net = Net::start(forwarding());
        let liar = liar(&net, 1, lie);
        let alone = net.ask();
        assert_eq!(alone.code(), (502, "workers_failed".to_owned()), "{lie:?}");
        assert!(alone.json()["error"].as_str().unwrap().contains(&liar.executor().to_string()), "{alone:?}");
        assert_eq!(liar.asked(), 1);
        let metrics = String::from_utf8(net.gateway.get("/metrics").body).unwrap();
        let counted = format!("veracity_forward_attempts_total{{outcome=\"{label}\"}} 1");
        assert!(metrics.contains(&counted), "{lie:?}: {metrics}");
        if aside {
            let again = net.ask();
            assert_eq!(again.code(), (503, "no_worker".to_owned()), "{lie:?}: it is left out");
            assert_eq!(liar.asked(), 1);
        }
    }
}

/// Networks of this liar and an honest worker, until one asks the liar first: which one does depends on hashes.
fn asked_first(lie: Lie) -> (Net, Liar, Server) {
    for _ in 0..64 {
        let net = Net::start(forwarding());
        let (liar, worker) = (liar(&net, 1, lie), honest(&net));
        assert_verified(&net, "me/tiny", &net.ask(), &worker);
        if liar.asked() > 0 {
            return (net, liar, worker);
        }
    }
    panic!("{lie:?}: in no network of 64 the liar was asked first");
}

#[test]
fn the_client_gets_the_honest_answer_all_the_same() {
    use Lie::*;
    for lie in
        [FlippedByte, OtherModel, OtherKey, NoReceipt, Hang, Endless, CutShort, Refusal, Nonsense, Busy, Gone]
    {
        let (net, liar, worker) = asked_first(lie);
        let before = liar.asked();
        assert_verified(&net, "me/tiny", &net.ask(), &worker);
        if matches!(lie, FlippedByte | OtherModel | OtherKey | NoReceipt) {
            assert_eq!(liar.asked(), before, "{lie:?}: it is left out");
        }
    }
}

/// Being busy is no lie, so it must cost the others nothing.
#[test]
fn workers_that_are_always_busy_shut_nobody_out() {
    for lie in [Lie::Busy, Lie::Gone] {
        let net = Net::start(forwarding());
        let liars: Vec<_> = (1..=12).map(|seed| liar(&net, seed, lie)).collect();
        let worker = honest(&net);
        for _ in 0..5 {
            assert_verified(&net, "me/tiny", &net.ask(), &worker);
        }
        drop(liars);
    }
}

#[test]
fn a_worker_without_the_model_is_not_asked_again_at_once() {
    let net = Net::start(forwarding());
    let liar = liar(&net, 1, Lie::Gone);
    assert_eq!(net.ask().code(), (503, "no_worker".to_owned()));
    assert_eq!(net.ask().code(), (503, "no_worker".to_owned()));
    assert_eq!(liar.asked(), 1);
}

/// Whoever signs anything could have others put aside with requests that are wrong.
#[test]
fn an_answer_convicts_nobody_who_refused() {
    for _ in 0..64 {
        let net = Net::start(forwarding());
        let (_liar, worker) = (liar(&net, 1, Lie::Anything), honest(&net));
        let body = JSON.replace("\"x\"", "\"z\"");
        let reply = net.gateway.send("POST", "/v2/models/me%2Ftiny/infer", &[], body.as_bytes());
        assert_eq!(reply.status, 200, "signed, so it is passed on");
        let metrics = |server: &Server| String::from_utf8(server.get("/metrics").body).unwrap();
        let refused = "veracity_requests_total{route=\"infer_version\",status=\"400\"} 1";
        if metrics(&worker).contains(refused) {
            let metrics = metrics(&net.gateway);
            assert!(metrics.contains("veracity_workers_aside 0\n"), "{metrics}");
            return;
        }
    }
    panic!("in no network of 64 the honest worker was asked first");
}

#[test]
fn a_refusal_that_nobody_confirmed_in_time_is_told_as_one() {
    let net = Net::start(ForwardConfig { total_timeout: Duration::from_millis(100), ..forwarding() });
    let _liars = [1, 2].map(|seed| liar(&net, seed, Lie::SlowRefusal));
    let reply = net.ask();
    assert_eq!(reply.code(), (502, "workers_failed".to_owned()));
    assert!(reply.json()["error"].as_str().unwrap().contains("refused with 'unknown_input'"), "{reply:?}");
}

#[test]
fn a_model_that_nobody_serves_is_not_asked_for_again_at_once() {
    let net = Net::start(forwarding());
    let liar = liar(&net, 1, Lie::None);
    for _ in 0..3 {
        assert_eq!(net.ask_for(&"00".repeat(32), &[]).code(), (503, "no_worker".to_owned()));
    }
    assert_eq!(liar.asked_whether_ready(), 1);
}

#[test]
fn questions_about_unknown_models_take_no_place_of_requests() {
    let net = Net::start(ForwardConfig {
        forwards_max: 1,
        questions_max: 1,
        question_timeout: Duration::from_secs(1),
        ..forwarding()
    });
    let (liar, worker) = (liar(&net, 1, Lie::Silent), honest(&net));
    assert_verified(&net, "me/tiny", &net.ask(), &worker);
    let before = liar.asked_whether_ready();
    std::thread::scope(|scope| {
        let unknown = scope.spawn(|| net.ask_for(&"00".repeat(32), &[]).code());
        while liar.asked_whether_ready() == before {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_verified(&net, "me/tiny", &net.ask(), &worker);
        let other = net.ask_for(&"11".repeat(32), &[]).code();
        assert_eq!(other, (503, "overloaded".to_owned()), "one question at a time");
        assert_eq!(unknown.join().unwrap().1, "no_worker");
    });
}

#[test]
fn models_whose_names_are_not_to_be_had_are_listed_by_id() {
    let net = Net::start(forwarding());
    let _worker = honest(&net);
    *net.registry.nameless.lock().unwrap() = true;
    let listed = net.gateway.get("/v2/models");
    assert_eq!(listed.status, 200, "{listed:?}");
    let id = bundle(1).model_id().to_string();
    assert_eq!(listed.json()["models"][0]["name"], id.as_str());
    // The list is kept for a moment, whatever it costs to make.
    *net.registry.down.lock().unwrap() = true;
    assert_eq!(net.gateway.get("/v2/models").body, listed.body);
}

#[test]
fn an_old_answer_is_not_taken_for_a_new_one() {
    let net = Net::start(forwarding());
    let liar = liar(&net, 1, Lie::Replay);
    assert_eq!(net.ask().status, 200, "the first one is true");
    // The same request has the same answer, but its receipt was given away.
    assert_eq!(net.ask().code().1, "workers_failed");
    assert_eq!(liar.asked(), 2);
    // Also by a gateway that was started since.
    let Net { gateway, registry } = net;
    let net = Net::start_in(gateway.stop(), registry, forwarding());
    let replayed = net.ask();
    assert_eq!(replayed.code().1, "workers_failed");
    assert!(replayed.json()["error"].as_str().unwrap().contains("before"), "{replayed:?}");
}

#[test]
fn a_refusal_is_passed_on_when_a_second_worker_agrees() {
    let net = Net::start(forwarding());
    let (first, second) = (honest(&net), honest(&net));
    let body = JSON.replace("\"x\"", "\"z\"");
    let reply = net.gateway.send("POST", "/v2/models/me%2Ftiny/infer", &[], body.as_bytes());
    assert_eq!(reply.code(), (400, "unknown_input".to_owned()));
    let counted = |server: &Server| {
        let metrics = String::from_utf8(server.get("/metrics").body).unwrap();
        metrics.contains("veracity_requests_total{route=\"infer_version\",status=\"400\"} 1")
    };
    assert!(counted(&first) && counted(&second), "both were asked");
    // A worker that refuses alone is the only witness.
    let net = Net::start(forwarding());
    let _liar = liar(&net, 1, Lie::Refusal);
    assert_eq!(net.ask().code(), (400, "unknown_input".to_owned()));
}

#[test]
fn receipts_of_passed_answers_are_kept_through_a_restart() {
    let net = Net::start(forwarding());
    let worker = honest(&net);
    let id = net.ask().header("x-receipt-id").unwrap().to_owned();
    let Net { gateway, registry } = net;
    let net = Net::start_in(gateway.stop(), registry, forwarding());
    let kept = net.gateway.get(&format!("/v1/receipts/{id}"));
    let receipt = Receipt::decode(&kept.body).unwrap();
    assert_eq!(receipt.executor(), worker.gateway.executor());
    // Also when the worker is gone.
    drop(worker);
    assert_eq!(net.gateway.get(&format!("/v1/receipts/{id}")).body, kept.body);
    assert_eq!(net.gateway.get(&format!("/v1/receipts/{}", "00".repeat(32))).code().1, "receipt_not_found");
}

#[test]
fn a_dead_worker_is_replaced_by_another() {
    let net = Net::start(forwarding());
    let (first, second) = (honest(&net), honest(&net));
    let by = |reply: &Reply| {
        let id = reply.header("x-receipt-id").unwrap();
        Receipt::decode(&net.gateway.get(&format!("/v1/receipts/{id}")).body).unwrap().executor()
    };
    let chosen = by(&net.ask());
    let (mut dying, living) =
        if chosen == first.gateway.executor() { (first, second) } else { (second, first) };
    dying.shut_down();
    assert_verified(&net, "me/tiny", &net.ask(), &living);
}

#[test]
fn requests_do_not_go_in_circles() {
    let net = Net::start(forwarding());
    let other = Net::start_in(tempfile::tempdir().unwrap(), Arc::clone(&net.registry), forwarding());
    // Both say that they are workers, and neither has the model.
    for server in [&net.gateway, &other.gateway] {
        net.add(server.gateway.executor(), format!("http://{}", server.address));
    }
    assert_eq!(net.ask().code(), (503, "no_worker".to_owned()));
    assert_eq!(net.ask_for("me%2Ftiny", &[("x-veracity-hop", "1")]).code().1, "model_not_found");
}

#[test]
fn private_addresses_are_for_development() {
    let net = Net::start(ForwardConfig { private_addresses: false, ..forwarding() });
    let liar = liar(&net, 1, Lie::None);
    assert_eq!(net.ask().code(), (503, "no_worker".to_owned()));
    assert_eq!((liar.asked(), liar.asked_whether_ready()), (0, 0));
}

#[test]
fn no_more_are_forwarded_at_once_than_the_limit_says() {
    let net = Net::start(ForwardConfig { forwards_max: 1, ..forwarding() });
    let liar = liar(&net, 1, Lie::Hang);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| net.ask());
        while liar.asked() == 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(net.ask().code(), (503, "overloaded".to_owned()));
        assert_eq!(first.join().unwrap().code().1, "workers_failed");
    });
}

#[test]
fn a_registry_that_is_down_is_told_apart_from_a_model_that_is_not_there() {
    let net = Net::start(forwarding());
    let worker = honest(&net);
    *net.registry.down.lock().unwrap() = true;
    assert_eq!(net.ask().code(), (503, "registry_unavailable".to_owned()));
    *net.registry.down.lock().unwrap() = false;
    assert_verified(&net, "me/tiny", &net.ask(), &worker);
    // What was known stands in.
    *net.registry.down.lock().unwrap() = true;
    std::thread::sleep(forwarding().memory);
    assert_verified(&net, "me/tiny", &net.ask(), &worker);
}

#[test]
fn a_node_that_is_neither_worker_nor_gateway_refuses() {
    let host = Server::start(Config { runs: false, ..config() });
    for (method, path) in [
        ("POST", "/v2/models/tiny/infer"),
        ("GET", "/v2/models/tiny"),
        ("GET", "/v2/models/tiny/ready"),
        ("GET", "/v2/models"),
        ("POST", "/v2/repository/index"),
        ("GET", "/v1/models"),
        ("GET", "/v1/models/tiny/bundle"),
        ("DELETE", "/v1/models/tiny"),
    ] {
        let body = if path.ends_with("infer") { JSON } else { "" };
        assert_eq!(host.send(method, path, &[], body.as_bytes()).code(), (421, "not_a_worker".to_owned()));
    }
    assert_eq!(host.get("/healthz").status, 200);
}

#[test]
fn forwarding_that_cannot_work_is_refused() {
    let server = Server::start(config());
    let bad = ForwardConfig { attempts_max: 0, answers_bytes_max: 1, ..forwarding() };
    let error = server.gateway.join(Arc::<Registry>::default(), network_key(), Some(bad)).unwrap_err();
    assert!(matches!(&error, StartError::Config(faults) if faults.len() == 2), "{error}");
}
