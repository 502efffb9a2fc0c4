//! Workers, hosts and gateways, each a process with a folder that `node init` made, on one network: a client asks the
//! gateway and verifies the worker's receipt offline; workers die and lie.

use std::{
    process::Stdio,
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::Value;
use veracity_client::{Account, Chain, RoleSet};
use veracity_node::dev_accounts;
use veracity_receipt::{ExecutorKey, Receipt};
use veracity_store::Store;

use crate::{
    home::{Done, Home, PIXELS, model_file, text},
    liar::{Liar, Lie},
    running::{Running, log_of},
};

const TIMEOUT: Duration = Duration::from_secs(120);

/// A chain with one validator, and folders of nodes.
struct Network {
    home: Home,
    rpc: String,
    chain: Running,
    operators: u32,
}

impl Network {
    fn start() -> Self {
        let home = Home::new();
        let args = ["localnet", "--json", "--validators", "1", "--providers", "0", "--rpc-port", "0"];
        let chain = Running::start(&home, &args);
        let rpc = chain.text("/endpoints/0");
        home.write("key.hex", chain.text("/chain/network_key").as_bytes());
        Self { home, rpc, chain, operators: 0 }
    }

    fn account(&mut self) -> Account {
        let account = dev_accounts(self.operators, 1).remove(0);
        self.operators += 1;
        Account::from_key(account.key).unwrap()
    }

    /// Makes a folder with an operator of its own.
    fn init(&mut self, folder: &str, role: &str, more: &[&str]) -> Value {
        let operator = dev_accounts(self.operators, 1).remove(0);
        self.operators += 1;
        let key = format!("{folder}.key");
        self.home.write(&key, operator.key.to_string().as_bytes());
        let args = ["node", "init", "--json", "--folder", folder, "--role", role, "--chain", &self.rpc];
        let rest = ["--operator-key", &key, "--network-key", "key.hex", "--listen", "127.0.0.1:0"];
        self.home.run(&[&args[..], &rest, more].concat()).ok().json()
    }

    fn run(&self, folder: &str) -> Running {
        Running::start(&self.home, &["node", "start", "--json", "--folder", folder])
    }

    /// Imports the MLP where a host keeps its models, and publishes it.
    fn publish(&self, folder: &str) -> String {
        let data = format!("{folder}/data");
        let (onnx, samples) = (model_file("digits-mlp.onnx"), model_file("digits-calibration.npz"));
        let samples = ["--samples", text(&samples), "--name", "mlp", "--data", &data];
        self.home.run(&[&["import", text(&onnx)], &samples[..]].concat()).ok();
        let push = ["model", "push", "mlp", "--name", "me/mlp", "--data", &data, "--rpc", &self.rpc];
        let pushed = self.home.run(&[&push[..], &["--wait", "--json"]].concat()).ok().json();
        pushed["model_id"].as_str().unwrap().to_owned()
    }

    fn liar(&mut self, model: &str, key: [u8; 32]) -> Liar {
        let operator = self.account();
        let store = Store::open(self.home.path("h/data")).unwrap();
        let liar = Liar::start(key, store.get(&store.resolve(model).unwrap()).unwrap());
        let chain = Chain::connect(&self.rpc).unwrap();
        let stake = chain.stake();
        let bond = stake.required_bond(RoleSet::WORKER).unwrap();
        let proof = ExecutorKey::from_seed(&key).bind_operator(chain.id(), &operator.address().into_array());
        let node = (*liar.executor().as_bytes()).into();
        stake.register(&operator, node, RoleSet::WORKER, &liar.url(), proof, bond).unwrap();
        liar
    }
}

struct Asked {
    status: u16,
    receipt: String,
    request: Vec<u8>,
    response: Vec<u8>,
}

fn ask(node: &Running, shade: usize) -> Asked {
    let values: Vec<String> = (0..PIXELS).map(|i| format!("{}.0", (i + shade) % 16)).collect();
    let data = values.join(",");
    let request = format!(
        r#"{{"inputs":[{{"name":"image","datatype":"FP32","shape":[1,{PIXELS}],"data":[{data}]}}]}}"#
    );
    let url = format!("{}/v2/models/me%2Fmlp/infer", node.text("/url"));
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut answer = agent.post(&url).send(request.as_bytes()).unwrap();
    let receipt = answer.headers().get("x-receipt-id").map(|id| id.to_str().unwrap().to_owned());
    Asked {
        status: answer.status().as_u16(),
        receipt: receipt.unwrap_or_default(),
        request: request.into_bytes(),
        response: answer.body_mut().read_to_vec().unwrap(),
    }
}

fn receipt(node: &Running, id: &str) -> Receipt {
    let url = format!("{}/v1/receipts/{id}", node.text("/url"));
    Receipt::decode(&ureq::get(&url).call().unwrap().body_mut().read_to_vec().unwrap()).unwrap()
}

/// Asks until this worker answers: who is asked follows from hashes and from what the gateway knows by now.
fn wait_for(net: &Network, gateway: &Running, worker: &str) -> Asked {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let asked = ask(gateway, 0);
        if asked.status == 200 && receipt(gateway, &asked.receipt).executor().to_string() == worker {
            return asked;
        }
        assert!(Instant::now() < deadline, "{worker} does not answer: {}", log_of(&net.home));
        sleep(Duration::from_millis(100));
    }
}

/// The bytes and the receipt verify offline, with the network's key, and so does who signed.
fn verify(net: &Network, gateway: &Running, asked: &Asked, worker: &str) -> Done {
    let deadline = Instant::now() + TIMEOUT;
    let anchored = loop {
        let receipt = receipt(gateway, &asked.receipt);
        if receipt.evidence().is_some() {
            break receipt;
        }
        assert!(Instant::now() < deadline, "not anchored: {}", log_of(&net.home));
        sleep(Duration::from_millis(100));
    };
    net.home.write("r.cose", &anchored.encode());
    net.home.write("r.cose.request", &asked.request);
    net.home.write("r.cose.response", &asked.response);
    let args = ["verify", "r.cose", "--network-key", "key.hex", "--executor", worker, "--data", "h/data"];
    net.home.run(&args)
}

#[test]
fn a_client_of_a_gateway_gets_what_a_worker_signed() {
    let mut net = Network::start();
    let host_id = net.init("h", "host", &["--host-interval", "1"]);
    assert_eq!(host_id["role"], "host");
    let host = net.run("h");
    let model = net.publish("h");
    let refused = ask(&host, 0);
    assert!(refused.status == 421 && String::from_utf8_lossy(&refused.response).contains("not_a_worker"));

    let fast = ["--model", "me/mlp", "--anchor-interval", "100"];
    let first = net.init("w1", "worker", &fast)["node"].as_str().unwrap().to_owned();
    let mut worker = net.run("w1");
    assert_eq!((worker.text("/node"), &worker.banner["models"]), (first.clone(), &Value::from(1)));
    net.init("g", "gateway", &["--worker-timeout", "3"]);
    let gateway = net.run("g");
    let asked = wait_for(&net, &gateway, &first);
    let done = verify(&net, &gateway, &asked, &first).ok();
    for check in ["executor", "request", "response", "execution", "final", "anchored"] {
        done.line("PASS", check);
    }
    let listed = ureq::get(&format!("{}/v2/models", gateway.text("/url"))).call().unwrap();
    let listed: Value = serde_json::from_str(&listed.into_body().read_to_string().unwrap()).unwrap();
    assert_eq!(
        (&listed["models"][0]["name"], &listed["models"][0]["version"]),
        (&Value::from("me/mlp"), &Value::from(model.as_str()))
    );

    // A second worker, which fetches the model from the host, takes over from the first.
    let second = net.init("w2", "worker", &fast)["node"].as_str().unwrap().to_owned();
    let other = net.run("w2");
    worker.kill();
    let taken = wait_for(&net, &gateway, &second);
    assert_eq!(taken.response, asked.response, "the same bytes, whoever runs it");
    verify(&net, &gateway, &taken, &second).ok();

    // Each is stopped and started again.
    gateway.stop();
    let gateway = net.run("g");
    assert_eq!(receipt(&gateway, &asked.receipt).executor().to_string(), first, "it is kept");
    let worker = net.run("w1");
    other.stop();
    wait_for(&net, &gateway, &first);
    host.stop();
    let host = net.run("h");
    assert_eq!(host.banner["hosting"]["offered"], 1);
    worker.stop();
    let none = ask(&gateway, 1);
    let said = String::from_utf8_lossy(&none.response).into_owned();
    assert!([502, 503].contains(&none.status) && said.contains("\"code\""), "{} {said}", none.status);
    gateway.stop();
    host.stop();
    net.chain.stop();
}

#[test]
fn workers_that_lie_do_not_reach_the_client() {
    let mut net = Network::start();
    net.init("h", "host,worker", &["--host-interval", "1", "--anchor-interval", "100"]);
    let honest = net.run("h");
    let node = honest.text("/node");
    let model = net.publish("h");
    let lies = [
        Lie::FlippedByte,
        Lie::OtherModel,
        Lie::OtherKey,
        Lie::NoReceipt,
        Lie::OldReceipt,
        Lie::Hang,
        Lie::Endless,
        Lie::Refusal,
    ];
    let liars: Vec<Liar> = (1..)
        .zip(lies)
        .map(|(seed, lie)| {
            let liar = net.liar(&model, [seed; 32]);
            liar.set(lie);
            liar
        })
        .collect();
    net.init("g", "gateway", &["--worker-timeout", "2"]);
    let mut gateway = net.run("g");
    // At most four are asked for one request, so the first ones may fail, clearly; nothing false comes through.
    let deadline = Instant::now() + TIMEOUT;
    let mut right = 0;
    while right < 10 || liars.iter().all(|liar| liar.asked() == 0) {
        if right > 0 && right % 10 == 0 {
            // It happened to ask the honest one first, and goes on with it. Started again it takes another order.
            gateway.stop();
            gateway = net.run("g");
        }
        let asked = ask(&gateway, right);
        match asked.status {
            200 => {
                assert_eq!(receipt(&gateway, &asked.receipt).executor().to_string(), node);
                right += 1;
                if right == 1 {
                    verify(&net, &gateway, &asked, &node).ok();
                }
            }
            status => assert!([502, 503].contains(&status), "{status}"),
        }
        assert!(Instant::now() < deadline, "{}", log_of(&net.home));
    }
    // Without an honest one there is no answer. The one that refuses may be the only one left, and is passed on then.
    honest.stop();
    let refused = ask(&gateway, 0);
    assert!([400, 502, 503].contains(&refused.status), "{}", refused.status);
    gateway.stop();
}

#[test]
fn folders_are_made_for_roles_that_fit() {
    let home = Home::new();
    home.write("op.key", dev_accounts(0, 1)[0].key.to_string().as_bytes());
    let key = "ab".repeat(96);
    let refused = |args: &[&str], code: &str| {
        let done = home.run(&[&["node"], args].concat());
        assert_eq!(done.status, 2, "{args:?}: {done:?}");
        assert!(done.stderr.contains(&format!("error[{code}]")), "{args:?}: {done:?}");
        done.stderr
    };
    let init = ["init", "--folder", "n", "--role"];
    let with = |more: &[&'static str]| [&init[..], more].concat();
    refused(&with(&["validator,worker"]), "role_combination");
    let missing = refused(&with(&["worker"]), "flag_missing");
    assert!(missing.contains("--chain and --operator-key"), "{missing}");
    let missing = refused(&with(&["validator"]), "flag_missing");
    assert!(missing.contains("--network and --listen"), "{missing}");
    refused(&["init", "--folder", "n", "--listen", "127.0.0.1:1"], "flag_missing");
    for flag in [&["--host-quota", "1GB"][..], &["--worker-timeout", "1"], &["--rpc", "127.0.0.1:1"]] {
        let wrong = refused(&[&with(&["worker"]), flag].concat(), "flag_of_other_role");
        assert!(wrong.contains(flag[0]) && wrong.contains("worker"), "{wrong}");
    }
    refused(&[&with(&["host"]), &["--model", "x"][..]].concat(), "flag_of_other_role");
    let chain = ["--chain", "http://127.0.0.1:1", "--network-key", &key];
    let made = |more: &[&str]| {
        [&init[..], &["worker"], &chain, more].concat().iter().map(|a| (*a).to_owned()).collect::<Vec<_>>()
    };
    let refused_made = |more: &[&str], code: &str| {
        let args = made(more);
        refused(&args.iter().map(String::as_str).collect::<Vec<_>>(), code)
    };
    refused_made(&["--operator-key", "no.key"], "file_not_found");
    let op = ["--operator-key", "op.key"];
    refused_made(&[&op[..], &["--listen", "0.0.0.0:8080"]].concat(), "flag_missing");
    refused_made(&[&op[..], &["--endpoint", "ftp://x"]].concat(), "bad_url");
    assert!(!home.path("n").exists(), "nothing is left of what was refused");
    let none = refused(&["start", "--folder", "n"], "node_folder");
    assert!(none.contains("veracity node init makes a node"), "{none}");
}

/// What is in the folder is all that is needed; what does not fit it is refused.
#[test]
fn a_folder_belongs_to_its_network() {
    let mut net = Network::start();
    net.init("w", "worker", &[]);
    let again =
        ["node", "init", "--folder", "w", "--role", "host", "--chain", &net.rpc, "--operator-key", "w.key"];
    let taken = net.home.run(&again);
    assert!(taken.status == 2 && taken.stderr.contains("node_folder_taken"), "{taken:?}");
    let wrong = net.home.run(&["node", "start", "--folder", "w", "--rpc", "127.0.0.1:0"]);
    assert!(wrong.status == 2 && wrong.stderr.contains("flag_of_other_role"), "{wrong:?}");

    // Bonded by hand, then started: it is there already.
    let bonded =
        ["node", "bond", "--folder", "w", "--endpoint", "http://127.0.0.1:9", "--add", "5", "--json"];
    let bonded = net.home.run(&bonded).ok().json();
    assert_eq!((&bonded["endpoint"], bonded.get("rank")), (&Value::from("http://127.0.0.1:9"), None));
    let worker = net.run("w");
    assert_eq!(worker.text("/provider/bond_wei"), bonded["bond_wei"].as_str().map(in_wei).unwrap());
    let twice = net.home.run(&["node", "start", "--folder", "w"]);
    assert!(twice.status == 3 && twice.stderr.contains("data_in_use"), "{twice:?}");
    worker.stop();
    let left = net.home.run(&["node", "leave", "--folder", "w", "--json"]).ok().json();
    assert_eq!(left["waiting"].as_array().unwrap().len(), 1);
    let early = net.home.run(&["node", "withdraw", "--folder", "w"]);
    assert!(early.status == 2 && early.stderr.contains("chain_refused"), "{early:?}");
    assert!(early.stderr.contains("fix: try again in "), "{early:?}");

    // Nodes of the chain that are gone or of another network are passed over.
    let settings = String::from_utf8(net.home.read("w/node.json")).unwrap();
    let elsewhere = Network::start();
    let mut several: Value = serde_json::from_str(&settings).unwrap();
    several["chain"] = serde_json::json!(["http://127.0.0.1:1", elsewhere.rpc, net.rpc]);
    net.home.write("w/node.json", several.to_string().as_bytes());
    let worker = net.run("w");
    assert_eq!(worker.text("/provider/rpc"), net.rpc);
    worker.stop();

    // A model that nobody published, and a key of another network.
    let with_model = settings.replace("\"models\": []", "\"models\": [\"nobody/none\"]");
    assert_ne!(with_model, settings);
    net.home.write("w/node.json", with_model.as_bytes());
    let unknown = net.home.run(&["node", "start", "--folder", "w"]);
    assert!(unknown.status == 2 && unknown.stderr.contains("model_not_published"), "{unknown:?}");
    let key: Value = serde_json::from_str(&settings).unwrap();
    let key = key["networkKey"].as_str().unwrap();
    let other = include_str!("../../../receipt/testdata/network-key.hex").trim();
    net.home.write("w/node.json", settings.replace(key, other).as_bytes());
    for args in [&["node", "start", "--folder", "w"][..], &["node", "bond", "--folder", "w"]] {
        let other = net.home.command(args).stdin(Stdio::null()).output().unwrap();
        let other = Done::new(&other);
        assert!(other.status == 2 && other.stderr.contains("other_network"), "{other:?}");
    }
    std::fs::remove_dir_all(net.home.path("w/data")).unwrap();
    net.home.write("w/node.json", settings.as_bytes());
    let lost = net.home.run(&["node", "start", "--folder", "w"]);
    assert!(lost.status == 2 && lost.stderr.contains("node_folder"), "{lost:?}");
}

/// A quantity of JSON-RPC, in decimal digits.
fn in_wei(quantity: &str) -> String {
    let digits = quantity.trim_start_matches("0x");
    u128::from_str_radix(digits, 16).unwrap().to_string()
}
