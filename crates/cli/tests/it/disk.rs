//! A disk that is full stops a node with words that say what to do, and takes nothing that was acknowledged.

use std::{
    fs::File,
    io::Read as _,
    net::{Ipv4Addr, TcpListener},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    home::Home,
    running::{Running, log_of},
};

/// `veracity up` with a chain whose JSON-RPC has this port.
fn up(home: &Home, port: u16) -> Command {
    home.command(&["up", "--json", "--listen", "127.0.0.1:0", "--rpc", &format!("127.0.0.1:{port}")])
}

/// The same command with files of at most so many blocks of 512 bytes (1024 in some shells). A write beyond the limit
/// fails as on a full disk, and does not end the process.
fn limited(plain: &Command, blocks_max: u32) -> Command {
    let mut command = Command::new("sh");
    command.current_dir(plain.get_current_dir().unwrap());
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let script = format!("trap '' XFSZ; ulimit -f {blocks_max}; exec \"$0\" \"$@\"");
    command.args(["-c", &script]).arg(plain.get_program()).args(plain.get_args());
    command
}

const VER: u128 = 10_u128.pow(18);

/// Gives an account 1 VER; its balance, if the node says that the transaction is final.
fn pay(home: &Home, port: u16) -> Option<u128> {
    let (someone, rpc) = ("0x00000000000000000000000000000000000000a1", format!("http://127.0.0.1:{port}"));
    let done = home.run(&["faucet", someone, "--amount", "1", "--rpc", &rpc, "--json"]);
    let given: Value = (done.status == 0).then(|| done.json())?;
    u128::from_str_radix(given["balance_wei"].as_str()?.trim_start_matches("0x"), 16).ok()
}

#[test]
fn a_full_disk_stops_a_node_and_loses_nothing() {
    let home = Home::new();
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let roomy = Running::from(&home, up(&home, port));
    let mut paid = pay(&home, port).unwrap();
    assert_eq!(paid, VER);
    roomy.stop();

    let log = File::options().append(true).open(home.path("log")).unwrap();
    let mut full = limited(&up(&home, port), 900).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(120);
    let status = loop {
        // Those that are not acknowledged may be final or not.
        paid = pay(&home, port).unwrap_or(paid);
        if let Some(status) = full.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > deadline {
            full.kill().unwrap();
            panic!("the disk is never full");
        }
    };
    assert_eq!(status.code(), Some(3), "{}", log_of(&home));
    // Also if the disk is full while it registers, which would wait for a block that cannot come.
    let mut said = String::new();
    full.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("chain_stopped"), "{said}");
    assert!(log_of(&home).contains("check disk space"), "{}", log_of(&home));

    let roomy = Running::from(&home, up(&home, port));
    let balance = pay(&home, port).unwrap();
    assert!((paid + VER..=paid + 2 * VER).contains(&balance), "{balance} after {paid}");
    roomy.stop();
}
