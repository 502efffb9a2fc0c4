//! A follower as its owner runs it: it joins a network, is killed without warning, and goes on; and one that follows another
//! network finds that out.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use veracity_client::Rpc;

use crate::{
    home::Home,
    running::{Running, log_of},
};

/// How long anything may take on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(120);

fn network(home: &Home) -> (Running, String) {
    let args = ["localnet", "--json", "--validators", "1", "--providers", "0", "--rpc-port", "0"];
    let net = Running::start(home, &args);
    let url = net.text("/endpoints/0");
    (net, url)
}

fn init(home: &Home, network: &str, upstreams: &[&str]) {
    let mut args = vec!["node", "init", "--role", "follower", "--folder", "f", "--network", network];
    args.extend(["--rpc", "127.0.0.1:0"]);
    args.extend(upstreams.iter().flat_map(|url| ["--upstream", url]));
    home.run(&args).ok();
}

fn start(home: &Home) -> (Running, Rpc) {
    let follower = Running::start(home, &["node", "start", "--folder", "f", "--json"]);
    let rpc = Rpc::new(&follower.text("/rpc")).unwrap();
    (follower, rpc)
}

/// Waits for an answer that is not null.
#[track_caller]
fn wait_for(home: &Home, rpc: &Rpc, method: &str, params: &Value) -> Value {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let answer: Value = rpc.call(method, params.clone()).unwrap();
        if !answer.is_null() {
            return answer;
        }
        assert!(Instant::now() < deadline, "no {method} {params}:\n{}", log_of(home));
        sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_follower_that_is_killed_goes_on_where_it_was() {
    let home = Home::new();
    let (_net, url) = network(&home);
    let validator = Rpc::new(&url).unwrap();
    let network = home.path("data/localnet/0/network.json").display().to_string();
    // One of its upstreams is not there.
    init(&home, &network, &["http://127.0.0.1:1", &url]);

    let (mut follower, mut rpc) = start(&home);
    let begins: Value = rpc.call("eth_getBlockByNumber", json!(["earliest", false])).unwrap();
    for _ in 0..3 {
        let target = rpc.height().unwrap() + 3;
        let at = json!([format!("{target:#x}"), true]);
        let block = wait_for(&home, &rpc, "eth_getBlockByNumber", &at);
        assert_eq!(block, validator.call::<Value>("eth_getBlockByNumber", at).unwrap());
        follower.kill();
        (follower, rpc) = start(&home);
    }
    let still: Value = rpc.call("eth_getBlockByNumber", json!(["earliest", false])).unwrap();
    assert_eq!(still["hash"], begins["hash"], "it did not begin anew");
    // Peers are counted every few seconds; the one that is not there is none.
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let status = home.run(&["status", "--rpc", rpc.url(), "--json"]).ok().json();
        if (status["peers"].as_u64(), status["behind"].as_u64()) == (Some(1), Some(0)) {
            break;
        }
        assert!(Instant::now() < deadline, "{status}");
        sleep(Duration::from_millis(200));
    }
    follower.stop();
}

/// The network of the file decides, and not the node that is followed.
#[test]
fn a_node_of_another_network_is_not_followed() {
    let [home, other] = [Home::new(), Home::new()];
    let (_net, url) = network(&home);
    let (_foreign, foreign_url) = network(&other);
    let network = home.path("data/localnet/0/network.json").display().to_string();
    init(&home, &network, &[&foreign_url, &url]);
    let (follower, rpc) = start(&home);
    let height = rpc.height().unwrap();
    let at = json!([format!("{:#x}", height + 2), false]);
    let block = wait_for(&home, &rpc, "eth_getBlockByNumber", &at);
    assert_eq!(block, Rpc::new(&url).unwrap().call::<Value>("eth_getBlockByNumber", at).unwrap());
    let log = log_of(&home);
    assert!(log.contains("a certificate that the network's key did not sign"), "{log}");
    assert!(log.contains(&foreign_url), "the log names it: {log}");
    follower.stop();
}

/// If there is nobody else to follow, it ends and says why.
#[test]
fn nobody_but_a_node_of_another_network_is_an_error() {
    let [home, other] = [Home::new(), Home::new()];
    let (_net, _) = network(&home);
    let (_foreign, foreign_url) = network(&other);
    let network = home.path("data/localnet/0/network.json").display().to_string();
    init(&home, &network, &[&foreign_url]);
    let done = home.run(&["node", "start", "--folder", "f"]);
    assert_eq!(done.status, 2, "{done:?}");
    assert!(done.stderr.contains("another network") && done.stderr.contains(&foreign_url), "{done:?}");
}

#[test]
fn a_follower_that_cannot_be_is_refused() {
    let home = Home::new();
    let (_net, url) = network(&home);
    let network = home.path("data/localnet/0/network.json").display().to_string();
    let make = ["node", "init", "--role", "follower", "--folder", "f", "--network", &network];
    for (more, code) in [
        (vec![], "flag_missing"),
        (vec!["--upstream", "localhost:8545"], "bad_url"),
        (vec!["--upstream", &url, "--listen", "127.0.0.1:30303"], "flag_of_other_role"),
    ] {
        let done = home.run(&[&make[..], &more].concat());
        assert_eq!(done.status, 2, "{done:?}");
        assert!(done.stderr.contains(code), "{done:?}");
    }
    init(&home, &network, &[&url]);
    let again = home.run(&[&make[..], &["--upstream", &url]].concat());
    assert!(again.stderr.contains("node_folder_taken"), "{again:?}");
}
