//! Runs the clients under `acceptance/evm/`, Ethereum's own, against a node.

use std::process::Command;

use anyhow::Result;

use crate::process;

/// Where a node answers, and an account with funds there.
pub(crate) struct Node {
    /// Such as `http://127.0.0.1:8545`.
    pub(crate) rpc_url: String,
    /// Such as `ws://127.0.0.1:8545`.
    pub(crate) ws_url: String,
    /// Key of an account with at least 1000 ether, as hex.
    pub(crate) private_key: String,
}

/// Runs every client against `node`, and compares what the node makes of transactions with what anvil makes of them.
pub(crate) fn run(node: &Node) -> Result<()> {
    if !process::works("node") || !process::works("npm") {
        println!("skipped: Ethereum's clients need Node 20 and npm, which are not on this machine");
        return Ok(());
    }
    let folder = process::root().join("acceptance/evm");
    let Some(python) = process::python("acceptance-evm", &folder.join("requirements.txt"))? else {
        println!("skipped: web3.py needs Python 3, which is not on this machine");
        return Ok(());
    };
    process::npm_ci("acceptance/evm")?;
    let mut command = Command::new("node");
    command.arg("run.mjs").current_dir(folder).env("PYTHON", python);
    command.env("RPC_URL", &node.rpc_url).env("WS_URL", &node.ws_url).env("PRIVATE_KEY", &node.private_key);
    process::finish(command)
}
