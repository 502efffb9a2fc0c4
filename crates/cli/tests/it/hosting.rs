//! Models on several nodes, each a process with its own data folder, over one chain: hosts die, lie and are damaged, and
//! who fetches gets the right bytes.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    process::Stdio,
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::Value;
use veracity_graph::{Bundle, ModelId};
use veracity_hosting::{NodeId, ranking};
use veracity_node::dev_accounts;
use veracity_receipt::ExecutorKey;
use veracity_store::Store;

use crate::{
    fixture::{bundle_with_rows, wide_bundle},
    home::{Done, Home},
    proxy::{Mode, Proxy},
    running::Running,
};

const TIMEOUT: Duration = Duration::from_secs(90);

/// A chain, and nodes that host.
struct Network {
    rpc: String,
    members: Vec<Member>,
    _chain: Running,
    _home: Home,
}

/// A node that is reached through a proxy only.
struct Member {
    home: Home,
    proxy: Proxy,
    id: NodeId,
    process: Running,
}

fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

#[track_caller]
fn wait_until(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !is() {
        assert!(Instant::now() < deadline, "{what}");
        sleep(Duration::from_millis(50));
    }
}

impl Network {
    fn start(quotas: &[&str]) -> Self {
        let home = Home::new();
        let port = free_address().port().to_string();
        let args = ["localnet", "--json", "--validators", "1", "--providers", "0", "--rpc-port", &port];
        let chain = Running::start(&home, &args);
        let rpc = chain.banner["endpoints"][0].as_str().unwrap().to_owned();
        let members = quotas.iter().enumerate().map(|(index, quota)| Member::start(&rpc, index, quota));
        let members = members.collect();
        Self { rpc, members, _chain: chain, _home: home }
    }

    /// Runs a `veracity model` command somewhere.
    fn model(&self, home: &Home, args: &[&str]) -> Done {
        home.run(&[&["model"], args, &["--rpc", &self.rpc, "--json"]].concat())
    }

    fn hosts(&self, id: &ModelId) -> Value {
        self.model(&self.members[0].home, &["hosts", &id.to_string()]).ok().json()
    }

    /// Members from the nearest to the farthest from a model.
    fn ranked(&self, id: &ModelId) -> Vec<usize> {
        let ids: Vec<NodeId> = self.members.iter().map(|member| member.id).collect();
        let place = |id: &NodeId| ids.iter().position(|other| other == id).unwrap();
        ranking(id, &ids).iter().map(place).collect()
    }

    fn is_announced(&self, id: &ModelId, member: usize) -> bool {
        let node = self.members[member].id.to_string();
        let hosts = self.hosts(id);
        let rows = hosts["hosts"].as_array().unwrap();
        rows.iter().any(|row| row["node"] == node && row["announced"] == true)
    }
}

impl Member {
    fn start(rpc: &str, index: usize, quota: &str) -> Self {
        let (home, address) = (Home::new(), free_address());
        let operator = dev_accounts(u32::try_from(index).unwrap(), 1).remove(0);
        home.write("operator.key", operator.key.to_string().as_bytes());
        let proxy = Proxy::start(address);
        let seed = Store::open(home.path("data")).unwrap().executor_seed().unwrap();
        let id = NodeId(*ExecutorKey::from_seed(&seed).executor().as_bytes());
        let (listen, endpoint) = (address.to_string(), format!("http://{}", proxy.address));
        let args = ["up", "--json", "--listen", &listen, "--endpoint", &endpoint, "--chain", rpc];
        let key = ["--operator-key", "operator.key", "--host-quota", quota, "--host-interval", "1"];
        let process = Running::start(&home, &[&args[..], &key].concat());
        Self { home, proxy, id, process }
    }

    /// Puts a model into the store, as an import does.
    fn import(&self, name: &str, bundle: &Bundle) -> ModelId {
        let store = Store::open(self.home.path("data")).unwrap();
        let id = store.put(bundle, None).unwrap();
        store.set_name(&name.parse().unwrap(), &id).unwrap();
        id
    }

    fn weights(&self, id: &ModelId) -> PathBuf {
        self.home.path("data/models").join(id.to_string()).join("weights")
    }

    fn log(&self) -> String {
        String::from_utf8(self.home.read("log")).unwrap()
    }
}

/// 17 MB of weights: five pieces, one more than there are connections.
fn large(seed: i8) -> Bundle {
    bundle_with_rows(seed, 4_300_000)
}

#[test]
fn a_pushed_model_outlives_hosts_that_die_lie_and_are_damaged() {
    let mut network = Network::start(&["1GB"; 5]);
    // The author is the farthest, so that it is none of the three that should hold the model.
    let (id, bundle) = (1..)
        .map(large)
        .map(|bundle| (bundle.model_id(), bundle))
        .find(|(id, _)| network.ranked(id)[4] == 0)
        .unwrap();
    let ranked = network.ranked(&id);
    let author = &network.members[0];
    assert_eq!(author.import("large", &bundle), id);

    let pushed =
        network.model(&author.home, &["push", "large", "--name", "me/large", "--version", "1.0", "--wait"]);
    let pushed = pushed.ok().json();
    assert_eq!(
        (&pushed["model_id"], &pushed["name"]),
        (&Value::from(id.to_string()), &Value::from("me/large"))
    );
    assert!(pushed["block"].as_u64() > Some(0), "{pushed}");
    wait_until("the three nearest hold it", || {
        ranked[..3].iter().all(|host| network.is_announced(&id, *host))
    });
    let hosts = network.hosts(&id);
    assert_eq!(
        (hosts["announced"].as_u64(), hosts["hosts_per_model"].as_u64()),
        (Some(4), Some(3)),
        "{hosts}"
    );
    assert!(hosts["hosts"].as_array().unwrap().iter().all(|row| row["reachable"] == true), "{hosts}");
    for host in &ranked[..3] {
        let stored = Store::open(network.members[*host].home.path("data")).unwrap().get(&id).unwrap();
        assert_eq!(stored.weights, bundle.weights);
        // At once for clients too.
        let url =
            format!("{}/v2/models/{id}", network.members[*host].process.banner["url"].as_str().unwrap());
        assert!(ureq::get(&url).call().is_ok());
    }
    // Said again, nothing happens.
    let again =
        network.model(&network.members[0].home, &["push", "large", "--name", "me/large", "--version", "1.0"]);
    assert_eq!(again.ok().json()["transaction"], Value::Null);

    a_killed_pull_resumes(&network, &id, &bundle);
    hosts_die_and_lie_in_the_middle(&mut network, &id, &bundle, &ranked);

    // Who died is replaced by the next one.
    wait_until("the next in rank steps in", || network.is_announced(&id, ranked[3]));
    let hosts = network.hosts(&id);
    let dead = network.members[ranked[1]].id.to_string();
    let row = hosts["hosts"].as_array().unwrap().iter().find(|row| row["node"] == dead).unwrap();
    assert_eq!((&row["announced"], &row["reachable"]), (&Value::from(true), &Value::from(false)));

    damage_is_not_served_and_is_healed(&network, &id, &bundle, ranked[2]);
}

/// All hosts are stuck in the middle; the pull is killed; the next one asks for the rest only.
fn a_killed_pull_resumes(network: &Network, id: &ModelId, bundle: &Bundle) {
    let reader = Home::new();
    network.members.iter().for_each(|member| member.proxy.set(Mode::Stall(3 << 20)));
    let args = ["model", "pull", "me/large", "--rpc", &network.rpc, "--json"];
    let mut command = reader.command(&args);
    let mut pull = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let partial = reader.path("data/partial").join(id.to_string()).join("model/weights");
    let on_disk = || fs::metadata(&partial).map_or(0, |file| file.blocks() * 512);
    wait_until("something is verified", || on_disk() > 1 << 20);
    pull.kill().unwrap();
    pull.wait().unwrap();
    assert!(!reader.path("data/models").join(id.to_string()).exists(), "half of it is not visible");
    network.members.iter().for_each(|member| member.proxy.set(Mode::Pass));
    let pulled = network.model(&reader, &["pull", "me/large"]).ok().json();
    let (resumed, fetched) =
        (pulled["resumed_bytes"].as_u64().unwrap(), pulled["fetched_bytes"].as_u64().unwrap());
    assert!(resumed > 1 << 19 && fetched > 0, "{pulled}");
    assert_eq!(
        (resumed + fetched, pulled["name"].as_str()),
        (pulled["size_bytes"].as_u64().unwrap(), Some("large"))
    );
    assert_eq!(Store::open(reader.path("data")).unwrap().get(id).unwrap().weights, bundle.weights);
    let again = network.model(&reader, &["pull", &id.to_string()]).ok().json();
    assert_eq!((again["fetched_bytes"].as_u64(), again["resumed_bytes"].as_u64()), (Some(0), Some(0)));
}

/// One host flips a byte, one is killed after some of its bytes; the others wait until both happened.
fn hosts_die_and_lie_in_the_middle(network: &mut Network, id: &ModelId, bundle: &Bundle, ranked: &[usize]) {
    let (liar, dying, honest) = (ranked[0], ranked[1], [ranked[2], 0]);
    network.members[liar].proxy.set(Mode::Flip(700_000));
    network.members[dying].proxy.set(Mode::Stall(700_000));
    honest.iter().for_each(|host| network.members[*host].proxy.set(Mode::Stall(700_000)));
    let (reader, before) = (Home::new(), network.members[dying].proxy.passed());
    let args =
        ["model", "pull", "me/large", "--version", "1.0", "--name", "copy", "--rpc", &network.rpc, "--json"];
    let pull = reader.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let member = |host: usize| &network.members[host].proxy;
    let deadline = Instant::now() + TIMEOUT;
    while !(member(liar).flips() > 0 && member(dying).stalled() > 0 && member(dying).passed() > before) {
        let story: Vec<String> = network.members.iter().map(|member| member.proxy.story()).collect();
        assert!(Instant::now() < deadline, "one lies, one is in the middle: {ranked:?} {story:?}");
        sleep(Duration::from_millis(50));
    }
    network.members[dying].process.kill();
    network.members[dying].proxy.set(Mode::Pass);
    honest.iter().for_each(|host| network.members[*host].proxy.set(Mode::Pass));
    let pulled = Done::new(&pull.wait_with_output().unwrap()).ok();
    let json = pulled.json();
    let dropped = json["dropped"].as_array().unwrap();
    let lied: Vec<&Value> = dropped.iter().filter(|host| host["lied"] == true).collect();
    let [told] = &lied[..] else { panic!("{json}") };
    assert_eq!(told["node"], network.members[liar].id.to_string(), "{json}");
    assert!(told["reason"].as_str().unwrap().contains("not those of the model"), "{json}");
    assert_eq!(Store::open(reader.path("data")).unwrap().get(id).unwrap().weights, bundle.weights);
    reader.run(&["model", "show", "copy"]).ok();
    network.members[liar].proxy.set(Mode::Pass);
}

/// A byte is flipped on a host's disk: it serves none of it, says so, and fetches the model again.
fn damage_is_not_served_and_is_healed(network: &Network, id: &ModelId, bundle: &Bundle, host: usize) {
    let member = &network.members[host];
    let path = member.weights(id);
    let mut weights = fs::read(&path).unwrap();
    weights[5 << 20] ^= 1;
    fs::write(&path, &weights).unwrap();
    let url = format!("http://{}/hosting/v1/models/{id}/weights/256/256", member.proxy.address);
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut answer = agent.get(&url).call().unwrap();
    let body: Value = serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
    assert_eq!((answer.status().as_u16(), &body["code"]), (500, &Value::from("damaged")));
    wait_until("it fetches the model again", || {
        fs::read(&path).is_ok_and(|found| found == bundle.weights) && network.is_announced(id, host)
    });
    assert_eq!(agent.get(&url).call().unwrap().status(), 200);
}

#[test]
fn what_does_not_fit_is_refused_with_a_reason() {
    let network = Network::start(&["1GB", "60kB"]);
    let [author, host] = &network.members[..] else { panic!("two") };
    let (first, second) = (author.import("first", &wide_bundle(1)), author.import("second", &wide_bundle(2)));
    network.model(&author.home, &["push", "first", "--wait"]).ok();
    // Both are its duty, so the first does not make room for the second.
    let missing = network.model(&author.home, &["push", "second", "--wait", "6"]);
    assert_eq!(
        (missing.status, missing.json()["error"]["code"].as_str()),
        (3, Some("hosts_missing")),
        "{missing:?}"
    );
    assert!(network.is_announced(&first, 1) && !network.is_announced(&second, 1));
    assert!(host.log().contains("raise the quota"), "{}", host.log());
    assert_eq!(host.process.banner["hosting"]["quota_bytes"], 60_000);
    let taken = network.model(&host.home, &["push", "first"]);
    assert_eq!(taken.json()["error"]["code"], "model_not_found", "it has no name there: {taken:?}");
    let case = |home: &Home, args: &[&str], status, code: &str| {
        let done = network.model(home, args);
        assert_eq!((done.status, done.json()["error"]["code"].as_str()), (status, Some(code)), "{done:?}");
    };
    case(&author.home, &["push", "first", "--version", "2"], 2, "published_already");
    case(&author.home, &["push", "first", "--operator-key", "no.key"], 2, "file_not_found");
    author.home.write("other.key", host.home.read("operator.key").as_slice());
    case(&author.home, &["push", "first", "--operator-key", "other.key"], 2, "not_operator");
    author.home.write("bad.key", b"my key");
    case(&author.home, &["push", "first", "--operator-key", "bad.key"], 2, "bad_key");
    case(&author.home, &["push", &first.to_string()], 2, "no_name");
    case(&author.home, &["hosts", "nobody"], 2, "model_not_published");
    case(&author.home, &["pull", "first", "--version", "7"], 2, "model_not_published");
    case(&author.home, &["pull", &"0".repeat(64)], 2, "model_not_published");
    case(&author.home, &["pull", "first", "--name", "no/slash"], 2, "bad_name");
    let stranger = Home::with_mlp();
    case(&stranger, &["push", "mlp"], 2, "not_registered");
    let gone = format!("http://{}", free_address());
    let done = stranger.run(&["model", "hosts", "first", "--rpc", &gone, "--json"]);
    assert_eq!(
        (done.status, done.json()["error"]["code"].as_str()),
        (3, Some("rpc_unreachable")),
        "{done:?}"
    );
    // Refused by the contract, in its words: the name is another's.
    let first_of_host = network.model(&host.home, &["push", &first.to_string(), "--name", "x"]);
    assert_eq!(first_of_host.json()["error"]["code"], "published_already");
    let words = author.home.run(&["model", "hosts", "first", "--rpc", &network.rpc]).ok();
    assert!(words.stdout.contains("ANNOUNCED") && words.stdout.contains("wanted 3 hosts"), "{words:?}");
}
