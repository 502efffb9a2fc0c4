//! `veracity localnet` and `veracity status`, as a user runs them.

use std::net::{Ipv4Addr, TcpListener};

use crate::{home::Home, running::Running};

/// Its folder is not removed under it, and what ends is said.
#[test]
fn a_network_that_runs_is_left_alone_and_watched() {
    let home = Home::new();
    let args = ["localnet", "--json", "--validators", "1", "--providers", "0", "--rpc-port", "0"];
    let mut net = Running::start(&home, &args);
    for more in [&["--fresh"][..], &[]] {
        let other = home.run(&[&args[..], more].concat());
        assert_eq!(other.status, 2, "{other:?}");
        assert!(other.stdout.contains("localnet_runs"), "{other:?}");
    }
    let url = net.text("/endpoints/0");
    home.run(&["status", "--rpc", &url]).ok();

    // Killed without warning, it leaves its validator behind.
    let validator = net.banner["processes"][0].as_u64().unwrap();
    net.kill();
    let again = home.run(&[&args[..], &["--fresh"]].concat());
    assert_eq!(again.status, 2, "{again:?}");
    assert!(again.stdout.contains("localnet_runs") && again.stdout.contains("pkill"), "{again:?}");
    end(validator);

    let watched = Running::start(&home, &args);
    end(watched.banner["processes"][0].as_u64().unwrap());
    let (status, said) = watched.ended();
    assert_eq!(status, 3, "{said}");
    assert!(said.contains("no validator runs any more"), "{said}");
}

/// Ends a process without warning.
fn end(process: u64) {
    let done = std::process::Command::new("kill").args(["-9", &process.to_string()]).status().unwrap();
    assert!(done.success());
    std::thread::sleep(std::time::Duration::from_millis(300));
}

#[test]
fn a_network_runs_is_kept_and_is_replaced() {
    let home = Home::new();
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port().to_string();
    let args = ["localnet", "--json", "--validators", "1", "--rpc-port", port.as_str()];
    let net = Running::start(&home, &args);
    let url = net.banner["endpoints"][0].as_str().unwrap().to_owned();
    let status = home.run(&["status", "--rpc", &url, "--json"]).ok().json();
    assert_eq!(status["chain_id"], 31337);
    assert_eq!(status["network_key"], net.banner["chain"]["network_key"]);
    let first = net.banner["chain"]["network"].clone();
    net.stop();
    let log = String::from_utf8(home.read("data/localnet/0/log")).unwrap();
    assert!(!log.contains("already exists"), "no set of peers is given twice: {log}");
    // Its validators have ended with it.
    let gone = home.run(&["status", "--rpc", &url]);
    assert_eq!(gone.status, 3, "{gone:?}");
    assert!(gone.stderr.contains("rpc_unreachable"), "{gone:?}");

    let other = home.run(&["localnet", "--validators", "2", "--rpc-port", &port]);
    assert_eq!(other.status, 2, "{other:?}");
    assert!(other.stderr.contains("other_network"), "{other:?}");
    let again = Running::start(&home, &args);
    assert_eq!(again.banner["chain"]["network"], first);
    again.stop();
    let fresh = Running::start(&home, &[&args[..], &["--fresh"]].concat());
    assert_ne!(fresh.banner["chain"]["network"], first);
    fresh.stop();
}
