//! Founders as processes: they make a network together that none of them could make alone, and run it.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, TcpListener},
    process::{Child, Command, Stdio},
    thread::{scope, sleep},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{home::Home, running::Running};

const TIMEOUT: Duration = Duration::from_secs(180);
const OPERATOR: &str = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
/// Epochs of some seconds.
const SHORT: [&str; 8] = [
    "--parameter",
    "validators_max=4",
    "--parameter",
    "epoch_blocks=32",
    "--parameter",
    "heartbeat_ms=200",
    "--parameter",
    "unbond_delay_s=60",
];

/// Makes founders f0, f1 and so on, each with its file.
fn prepare(home: &Home, count: usize) {
    let listeners: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
    for (index, listener) in listeners.iter().enumerate() {
        let (folder, file) = (format!("f{index}"), format!("f{index}.json"));
        let listen = listener.local_addr().unwrap().to_string();
        let args = ["found", "prepare", "--folder", &folder, "--chain-id", "7777", "--listen", &listen];
        let more = ["--operator", OPERATOR, "--rpc", "127.0.0.1:0", "--out", &file, "--json"];
        let made = home.run(&[&args[..], &more].concat()).ok().json();
        assert_eq!(made["listen"], listen);
        let founder: Value = serde_json::from_slice(&home.read(&file)).unwrap();
        assert_eq!(founder["nodeId"], format!("0x{}", made["node"].as_str().unwrap()));
    }
}

/// Writes a plan of all founders.
fn plan(home: &Home, count: usize, file: &str, more: &[&str]) -> Value {
    let files: Vec<String> = (0..count).map(|index| format!("f{index}.json")).collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let args = [&["found", "plan", "--chain-id", "7777", "--out", file, "--json"], &files[..], more].concat();
    let written = home.run(&args).ok().json();
    let shown = home.run(&["found", "show", file, "--json"]).ok().json();
    assert_eq!(shown, written["plan"]);
    shown
}

fn found(home: &Home, founder: usize, plan: &str) -> Command {
    home.command(&["found", "run", "--folder", &format!("f{founder}"), "--plan", plan])
}

/// A founder that runs, whose remarks are read. It is killed with the test.
struct Founder {
    child: Child,
    log: std::path::PathBuf,
}

impl Founder {
    fn start(home: &Home, founder: usize, plan: &str) -> Self {
        let log = home.path(&format!("f{founder}.log"));
        let stderr = File::options().create(true).append(true).open(&log).unwrap();
        let child = found(home, founder, plan).stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
        Self { child, log }
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    fn until(&mut self, text: &str) {
        let deadline = Instant::now() + TIMEOUT;
        while !self.said().contains(text) {
            assert!(Instant::now() < deadline, "no {text:?} in {}", self.said());
            assert!(self.child.try_wait().unwrap().is_none(), "it ended: {}", self.said());
            sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Founder {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn height(url: &str) -> u64 {
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": "eth_blockNumber", "params": [] });
    let asked = ureq::post(url).header("content-type", "application/json").send(request.to_string());
    let answer: Value = serde_json::from_str(&asked.unwrap().body_mut().read_to_string().unwrap()).unwrap();
    u64::from_str_radix(answer["result"].as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
}

fn until_height(url: &str, wanted: u64) {
    let deadline = Instant::now() + TIMEOUT;
    while height(url) < wanted {
        assert!(Instant::now() < deadline, "{url} does not get to block {wanted}");
        sleep(Duration::from_millis(100));
    }
}

#[test]
fn four_found_a_network_and_run_it() {
    let home = Home::new();
    prepare(&home, 4);
    let shown = plan(&home, 4, "plan.json", &SHORT);
    fs::create_dir(home.path("kept")).unwrap();
    for file in ["node.key", "node.json", "founder.json"] {
        fs::copy(home.path("f3").join(file), home.path("kept").join(file)).unwrap();
    }
    assert_eq!((&shown["faulty_max"], &shown["absent_max"]), (&json!(1), &json!(0)));

    // Three are there and wait; one of them is killed, which changes nothing.
    let mut waiting: Vec<Founder> =
        (0..3).map(|founder| Founder::start(&home, founder, "plan.json")).collect();
    waiting.iter_mut().for_each(|founder| founder.until("3 of 4 founders are here; waits for"));
    drop(waiting);
    let founded: Vec<Running> = scope(|scope| {
        let start = |founder| {
            let mut command = found(&home, founder, "plan.json");
            command.arg("--json");
            Running::from(&home, command)
        };
        let started: Vec<_> = (0..4).map(|founder| scope.spawn(move || start(founder))).collect();
        started.into_iter().map(|started| started.join().unwrap()).collect()
    });
    for mut founder in founded.into_iter() {
        assert!(founder.child.wait().unwrap().success(), "it ends when all have the network");
    }
    let network = home.read("f0/network.json");
    let again = home.run(&["found", "run", "--folder", "f0", "--plan", "plan.json", "--json"]).ok().json();
    assert_eq!((&again["plan"], &again["has_share"]), (&shown["plan"], &json!(true)));
    let mut shares = std::collections::BTreeSet::new();
    for founder in 0..4 {
        assert_eq!(home.read(&format!("f{founder}/network.json")), network, "all have the same file");
        assert!(shares.insert(home.read(&format!("f{founder}/share.key"))), "each has a share of its own");
        assert!(!home.path(&format!("f{founder}/founding")).exists(), "the secrets of the ceremony are gone");
    }

    // One of them lost its share: it takes the file of the others, and joins as a new node does.
    let lost = ["found", "run", "--folder", "f3", "--plan", "plan.json", "--network"];
    fs::remove_dir_all(home.path("f3")).unwrap();
    fs::rename(home.path("kept"), home.path("f3")).unwrap();
    refused(&home, &[&lost[..], &["plan.json"]].concat(), "network", "not a network file");
    let taken = home.run(&[&lost[..], &["f0/network.json", "--json"]].concat()).ok().json();
    assert_eq!((&taken["network"], &taken["has_share"]), (&again["network"], &json!(false)));

    // They run it, and their successors sign for the same key: it is 2 epochs old.
    let nodes: Vec<Running> = (0..4)
        .map(|founder| {
            Running::start(&home, &["node", "start", "--json", "--folder", &format!("f{founder}")])
        })
        .collect();
    for node in &nodes {
        assert_eq!(node.banner["network"], again["network"]);
        until_height(&node.text("/rpc"), 70);
    }
    let key = home.run(&["network", "export-key", "--rpc", &nodes[1].text("/rpc")]).ok();
    assert_eq!(key.stdout.trim(), again["network_key"].as_str().unwrap());
    for founder in 0..4 {
        assert!(!home.path(&format!("f{founder}/share.key")).exists(), "the first share is forgotten");
    }
    // With one of them gone the others go on, and with two nothing is final: no two of them can sign.
    let mut nodes = nodes;
    nodes.remove(3).kill();
    let url = nodes[0].text("/rpc");
    until_height(&url, height(&url) + 5);
}

#[test]
fn founders_of_different_plans_do_not_meet() {
    let home = Home::new();
    prepare(&home, 4);
    let ours = plan(&home, 4, "ours.json", &["--time", "1700000000"]);
    let theirs = plan(&home, 4, "theirs.json", &["--time", "1700000001"]);
    assert_ne!(ours["plan"], theirs["plan"]);
    let plans = ["ours.json", "ours.json", "theirs.json", "theirs.json"];
    let mut founders: Vec<Founder> =
        plans.iter().enumerate().map(|(founder, plan)| Founder::start(&home, founder, plan)).collect();
    for founder in &mut founders {
        founder.until("2 of 4 founders are here");
        assert!(!founder.said().contains("3 of 4") && !founder.said().contains("4 of 4"));
    }
    // Those who had the other plan see it and take the right one.
    founders.drain(2..);
    founders.extend((2..4).map(|founder| Founder::start(&home, founder, "ours.json")));
    for founder in &mut founders {
        assert!(founder.child.wait().unwrap().success(), "{}", founder.said());
    }
    let network = home.read("f0/network.json");
    assert!((1..4).all(|founder| home.read(&format!("f{founder}/network.json")) == network));
    let other = home.run(&["found", "run", "--folder", "f2", "--plan", "theirs.json"]);
    assert_eq!(other.status, 2, "{other:?}");
    assert!(other.stderr.contains("other_network"), "{other:?}");
}

/// A refusal with this code.
#[track_caller]
fn refused(home: &Home, args: &[&str], code: &str, says: &str) {
    let done = home.run(args);
    assert_eq!(done.status, 2, "{done:?}");
    assert!(done.stderr.contains(&format!("error[{code}]")) && done.stderr.contains(says), "{done:?}");
}

#[test]
fn what_is_not_as_agreed_is_refused() {
    let home = Home::new();
    prepare(&home, 4);
    plan(&home, 4, "plan.json", &[]);
    let taken = ["found", "prepare", "--folder", "f0", "--chain-id", "7777", "--operator", OPERATOR];
    refused(
        &home,
        &[&taken[..], &["--listen", "127.0.0.1:1", "--out", "x.json"]].concat(),
        "node_folder_taken",
        "already",
    );
    let nowhere = ["found", "prepare", "--folder", "f9", "--chain-id", "7777", "--operator", OPERATOR];
    let nowhere = [&nowhere[..], &["--listen", "0.0.0.0:1", "--out", "x.json"]].concat();
    refused(&home, &nowhere, "bad_address", "nobody can connect");

    let edit = |from: &str, to: &str, change: &dyn Fn(&mut Value)| {
        let mut file: Value = serde_json::from_slice(&home.read(from)).unwrap();
        change(&mut file);
        home.write(to, file.to_string().as_bytes());
    };
    let run = ["found", "run", "--folder", "f0", "--plan", "bad.json"];
    let write = ["found", "plan", "f1.json", "f2.json", "bad.json", "--chain-id", "7777", "--out", "x.json"];
    let ahead = [&write[..], &["--time", "99999999999999"]].concat();
    refused(&home, &ahead, "plan", "the network would stand still");
    let proof = |file: &mut Value| {
        let proof = file["proof"].as_str().unwrap().to_owned();
        let digit = if proof.ends_with('0') { "1" } else { "0" };
        file["proof"] = format!("{}{digit}", &proof[..proof.len() - 1]).into();
    };
    edit("f0.json", "bad.json", &proof);
    refused(&home, &write, "plan", "its proof is not its signature");
    edit("f0.json", "bad.json", &|file| file["operator"] = json!(format!("0x{}", "11".repeat(20))));
    refused(&home, &write, "plan", "its proof is not its signature");
    edit("f0.json", "bad.json", &|file| file["chainId"] = 7778.into());
    refused(&home, &write, "plan", "is for chain 7778");
    edit("f0.json", "bad.json", &|file| file["more"] = 1.into());
    refused(&home, &write, "founder", "unknown field");
    edit("f1.json", "bad.json", &|_| {});
    refused(&home, &write, "plan", "its key is registered already");

    let mine = |file: &Value| {
        let founder: Value = serde_json::from_slice(&home.read("f0.json")).unwrap();
        let nodes = file["genesis"]["config"]["veracity"]["nodes"].as_array().unwrap().clone();
        nodes.iter().position(|node| node["nodeId"] == founder["nodeId"]).unwrap()
    };
    edit("plan.json", "bad.json", &|file| {
        let place = mine(file);
        file["genesis"]["config"]["veracity"]["nodes"][place]["endpoint"] = "127.0.0.1:9".into();
    });
    refused(&home, &run, "plan_differs", "its address is 127.0.0.1:9");
    edit("plan.json", "bad.json", &|file| {
        let place = mine(file);
        file["genesis"]["config"]["veracity"]["nodes"].as_array_mut().unwrap().remove(place);
    });
    refused(&home, &run, "plan_differs", "does not have this node");
    edit("plan.json", "bad.json", &|file| file["genesis"]["alloc"] = json!({}));
    refused(&home, &run, "plan", "genesis");
    home.write("bad.json", b"{}");
    refused(&home, &run, "plan", "not a plan");
    let start = home.run(&["node", "start", "--folder", "f0"]);
    assert!(start.status != 0 && start.stderr.contains("network.json"), "no network yet: {start:?}");
}
