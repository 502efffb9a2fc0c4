//! Keys, money, and a validator that joins: the commands, as somebody uses them who comes to a network.

use serde_json::Value;

use crate::{home::Home, running::Running};

/// A refusal with this code.
#[track_caller]
fn refused(home: &Home, args: &[&str], code: &str) {
    let done = home.run(args);
    assert_eq!(done.status, 2, "{done:?}");
    assert!(done.stderr.contains(code), "{done:?}");
}

#[test]
fn somebody_comes_to_a_network_and_leaves() {
    let home = Home::new();
    let net = Running::start(
        &home,
        &["localnet", "--json", "--validators", "1", "--providers", "0", "--rpc-port", "0"],
    );
    let url = net.banner["endpoints"][0].as_str().unwrap().to_owned();
    let network_file = home.path("data/localnet/0/network.json").display().to_string();

    let made = home.run(&["keys", "new", "operator.key", "--json"]).ok().json();
    let operator = made["address"].as_str().unwrap().to_owned();
    assert_eq!(home.run(&["keys", "show", "operator.key", "--json"]).ok().json(), made);
    refused(&home, &["keys", "new", "operator.key"], "key_exists");
    home.write("no.key", b"0x12");
    refused(&home, &["keys", "show", "no.key"], "bad_key");
    let executor = home.run(&["keys", "show", "--json"]).ok().json();
    assert_eq!(executor["executor"].as_str().unwrap().len(), 64);

    let key = net.banner["chain"]["network_key"].as_str().unwrap().trim_start_matches("0x").to_owned();
    home.run(&["network", "export-key", "--rpc", &url, "--out", "network.key"]).ok();
    assert_eq!(std::fs::read_to_string(home.path("network.key")).unwrap(), format!("{key}\n"));
    let from_file = home.run(&["network", "export-key", "--network", &network_file]).ok();
    assert_eq!(from_file.stdout.trim(), key);
    let shown = home.run(&["network", "show", &network_file, "--json"]).ok().json();
    assert_eq!(shown["network"], net.banner["chain"]["network"]);
    refused(&home, &["network", "show", "operator.key"], "network");

    let join = ["node", "init", "--folder", "v", "--network", &network_file, "--listen"];
    refused(&home, &[&join[..], &["127.0.0.1:0"]].concat(), "bad_address");
    let epoch = home.run(&["status", "--rpc", &url, "--json"]).ok().json()["epoch"].clone();
    assert_eq!(
        (&epoch["epoch"], &epoch["signs"], &epoch["failed_epochs"]),
        (&0.into(), &true.into(), &0.into())
    );
    let founder = epoch["committee"][0].as_str().unwrap();
    assert_eq!(epoch["coming"][0], serde_json::json!({ "epoch": 1, "nodes": [founder] }));
    let text = home.run(&["status", "--rpc", &url]).ok().stdout;
    assert!(text.contains(&format!("committee that signs now\n    {founder}\n")), "{text}");
    assert!(text.contains("elected for epoch 1: the same"), "{text}");
    refused(
        &home,
        &[&join[..], &["127.0.0.1:30303", "--bootstrap", "nobody"]].concat(),
        "is not KEY@ADDRESS",
    );
    let told = [&join[..], &["127.0.0.1:30303", "--bootstrap", founder, "--json"]].concat();
    let node = home.run(&told).ok().json();
    let config: Value = serde_json::from_slice(&home.read("v/node.json")).unwrap();
    assert_eq!(config["bootstrap"], serde_json::json!([founder]));
    refused(&home, &[&join[..], &["127.0.0.1:30303"]].concat(), "node_folder_taken");

    let of = ["--folder", "v", "--operator-key", "operator.key", "--rpc", &url, "--json"];
    let act = |verb: &str, more: &[&str]| -> Vec<String> {
        ["node", verb].iter().chain(&of).chain(more).map(|&arg| arg.to_owned()).collect()
    };
    let run = |args: Vec<String>| home.run(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let poor = run(act("bond", &[]));
    assert_eq!(poor.status, 2, "{poor:?}");
    assert!(poor.stdout.contains("too_poor") && poor.stdout.contains("veracity faucet"), "{poor:?}");
    let unknown = run(act("leave", &[]));
    assert!(unknown.stdout.contains("not_registered"), "{unknown:?}");
    let given = home.run(&["faucet", &operator, "--amount", "20000", "--rpc", &url, "--json"]).ok().json();
    assert_eq!(given["balance_wei"], given["amount_wei"]);
    let bonded = run(act("bond", &[])).ok().json();
    // Of two with equal bonds the smaller id ranks first, and ids are random.
    assert!(bonded["node"] == node["node"] && matches!(bonded["rank"].as_u64(), Some(1 | 2)), "{bonded}");
    let more = run(act("bond", &["--add", "100", "--endpoint", "127.0.0.1:30304"])).ok().json();
    assert_eq!((&more["rank"], &more["endpoint"]), (&Value::from(1), &Value::from("127.0.0.1:30304")));

    let status = home.run(&["status", "--rpc", &url, "--json"]).ok().json();
    assert_eq!(status["nodes"]["validators"][0]["node"], node["node"]);
    assert_eq!(status["nodes"]["validators"].as_array().unwrap().len(), 2);
    assert!(home.run(&["status", "--rpc", &url]).ok().stdout.contains("10100"), "the bond is shown");

    home.run(&["keys", "new", "other.key"]).ok();
    for verb in ["bond", "leave"] {
        let args = ["node", verb, "--folder", "v", "--operator-key", "other.key", "--rpc", &url];
        refused(&home, &args, "not_operator");
    }
    let left = run(act("leave", &[])).ok().json();
    assert_eq!(left["waiting"].as_array().unwrap().len(), 1);
    let early = run(act("withdraw", &[]));
    assert_eq!(early.status, 2, "{early:?}");
    assert!(early.stdout.contains("chain_refused"), "{early:?}");
    let status = home.run(&["status", "--rpc", &url, "--json"]).ok().json();
    assert_eq!(status["nodes"]["validators"].as_array().unwrap().len(), 1);
    net.stop();
}
