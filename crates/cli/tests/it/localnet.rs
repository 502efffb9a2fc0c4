//! `veracity localnet` and `veracity status`, as a user runs them.

use std::{
    io::{BufRead, BufReader},
    net::{Ipv4Addr, TcpListener},
    process::{Child, Command, ExitStatus, Stdio},
};

use serde_json::Value;

use crate::home::Home;

/// A running network.
pub(crate) struct Localnet {
    child: Child,
    pub(crate) banner: Value,
}

impl Localnet {
    pub(crate) fn start(home: &Home, args: &[&str]) -> Self {
        let args = [&["localnet", "--json"], args].concat();
        let mut child = home.command(&args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut text = String::new();
        while !text.ends_with("\n}\n") {
            text += &lines.next().expect("the banner comes whole").unwrap();
            text.push('\n');
        }
        Self { child, banner: serde_json::from_str(&text).unwrap() }
    }

    /// Asks it to stop, as Ctrl-C does, and waits until it has.
    pub(crate) fn stop(mut self) {
        assert!(self.terminate().success());
    }

    fn terminate(&mut self) -> ExitStatus {
        let asked = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(asked.success());
        self.child.wait().unwrap()
    }
}

impl Drop for Localnet {
    fn drop(&mut self) {
        // When a test fails, its network ends too.
        if matches!(self.child.try_wait(), Ok(None)) {
            self.terminate();
        }
    }
}

#[test]
fn a_network_runs_is_kept_and_is_replaced() {
    let home = Home::new();
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port().to_string();
    let args = ["--validators", "1", "--rpc-port", port.as_str()];
    let net = Localnet::start(&home, &args);
    let url = net.banner["endpoints"][0].as_str().unwrap().to_owned();
    let status = home.run(&["status", "--rpc", &url, "--json"]).ok().json();
    assert_eq!(status["chain_id"], 31337);
    assert_eq!(status["network_key"], net.banner["chain"]["network_key"]);
    let first = net.banner["chain"]["network"].clone();
    net.stop();
    // Its validators have ended with it.
    let gone = home.run(&["status", "--rpc", &url]);
    assert_eq!(gone.status, 3, "{gone:?}");
    assert!(gone.stderr.contains("rpc_unreachable"), "{gone:?}");

    let other = home.run(&["localnet", "--validators", "2", "--rpc-port", &port]);
    assert_eq!(other.status, 2, "{other:?}");
    assert!(other.stderr.contains("other_network"), "{other:?}");
    let again = Localnet::start(&home, &args);
    assert_eq!(again.banner["chain"]["network"], first);
    again.stop();
    let fresh = Localnet::start(&home, &[&args[..], &["--fresh"]].concat());
    assert_ne!(fresh.banner["chain"]["network"], first);
    fresh.stop();
}
