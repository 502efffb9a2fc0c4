//! Runs the clients under `acceptance/`, which nobody here wrote, against a real server.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{evm, process};

/// The server process; it ends when this does.
struct Server {
    child: Child,
    banner: Value,
}

impl Server {
    /// A text of what it printed when it was ready.
    fn text(&self, pointer: &str) -> Result<&str> {
        let text = self.banner.pointer(pointer).and_then(Value::as_str);
        text.with_context(|| format!("the server's banner has no {pointer}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Failing to end a process that has ended is no failure.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn run() -> Result<()> {
    let root = process::root();
    let Some(python) = process::python("acceptance", &root.join("acceptance/requirements.txt"))? else {
        println!("skipped: the acceptance tests need Python 3, which is not on this machine");
        return Ok(());
    };
    let program = program();
    let data = process::work("acceptance-data");
    if data.exists() {
        std::fs::remove_dir_all(&data)?;
    }
    let data = data.to_string_lossy().into_owned();
    for (model, samples) in MODELS.into_iter().zip(SAMPLES) {
        let file = format!("models/{model}.onnx");
        process::run(&program, &["--data", &data, "import", &file, "--samples", samples, "--name", model])?;
    }
    let server = start(&program, &data, &["--rpc", "127.0.0.1:0"])?;
    check(&python, "a worker", server.text("/url")?)?;
    let gateway = gateway(&program, &server, &data)?;
    check(&python, "a gateway that forwards", gateway.text("/url")?)
}

fn check(python: &Path, what: &str, url: &str) -> Result<()> {
    for model in MODELS {
        println!("tritonclient against {what}, {model}");
        process::run(python, &["acceptance/open_inference.py", url, model, "models/digits-test.npz"])?;
    }
    Ok(())
}

/// A gateway without models on the chain of `worker`, whose models are published there.
fn gateway(program: &Path, worker: &Server, data: &str) -> Result<Server> {
    let rpc = worker.text("/provider/rpc")?;
    for model in MODELS {
        process::run(program, &["--data", data, "model", "push", model, "--rpc", rpc])?;
    }
    let folder = process::work("acceptance-gateway");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    let key = folder.join("operator.key").to_string_lossy().into_owned();
    std::fs::write(&key, FIRST_DEV_KEY)?;
    let arguments = ["--roles", "gateway", "--chain", rpc, "--operator-key", &key];
    start(program, &folder.join("data").to_string_lossy(), &arguments)
}

/// The binary, as `cargo test` has built it for its own tests; a build of its own would have other features, and so
/// compile most of it again.
fn program() -> PathBuf {
    process::target().join("debug/veracity")
}

/// Models of the repository, and what they are calibrated with.
const MODELS: [&str; 2] = ["digits-mlp", "digits-cnn"];
const SAMPLES: [&str; 2] = ["models/digits-calibration.npz", "models/digits-cnn-calibration.npz"];

/// Starts a server on free ports and waits for its banner, one JSON object over several lines.
fn start(program: &Path, data: &str, args: &[&str]) -> Result<Server> {
    let mut command = Command::new(program);
    command
        .args(["--data", data, "up", "--listen", "127.0.0.1:0", "--json"])
        .args(args)
        .stdout(Stdio::piped());
    let mut child = command.current_dir(process::root()).spawn()?;
    let stdout = child.stdout.take().context("the server's output is closed")?;
    let mut server = Server { child, banner: Value::Null };
    let mut text = String::new();
    for line in BufReader::new(stdout).lines() {
        text.push_str(&line?);
        if let Ok(banner) = serde_json::from_str(&text) {
            server.banner = banner;
            return Ok(server);
        }
    }
    bail!("the server ended before it listened");
}

/// Ethereum's clients against a chain with one validator.
pub(crate) fn run_chain() -> Result<()> {
    let data = process::work("acceptance-chain");
    if data.exists() {
        std::fs::remove_dir_all(&data)?;
    }
    let arguments = ["--rpc", "127.0.0.1:0"];
    let server = start(&program(), &data.to_string_lossy(), &arguments)?;
    let rpc = server.text("/chain/rpc")?;
    evm::run(&evm::Node {
        rpc_url: rpc.to_owned(),
        ws_url: rpc.replace("http://", "ws://"),
        private_key: FIRST_DEV_KEY.to_owned(),
    })
}

/// Of the phrase that all tools use for development.
const FIRST_DEV_KEY: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
