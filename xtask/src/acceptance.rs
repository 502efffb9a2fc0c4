//! Runs the clients under `acceptance/`, which nobody here wrote, against a real server.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::{evm, process};

/// The server process; it ends when this does.
struct Server {
    child: Child,
    url: String,
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
    for model in ["mlp", "cnn"] {
        let (file, samples) = (format!("models/digits-{model}.onnx"), samples(model));
        let name = format!("digits-{model}");
        process::run(&program, &["--data", &data, "import", &file, "--samples", &samples, "--name", &name])?;
    }
    let server = start(&program, &data, &["--no-chain"], "url")?;
    for model in ["digits-mlp", "digits-cnn"] {
        println!("tritonclient against {model}");
        let args = ["acceptance/open_inference.py", &server.url, model, "models/digits-test.npz"];
        process::run(&python, &args)?;
    }
    Ok(())
}

/// The binary, as `cargo test` has built it for its own tests; a build of its own would have other features, and so
/// compile most of it again.
fn program() -> PathBuf {
    process::target().join("debug/veracity")
}

fn samples(model: &str) -> String {
    let part = if model == "mlp" { "" } else { "cnn-" };
    format!("models/digits-{part}calibration.npz")
}

/// Starts a server on free ports and waits for the line that says where it listens: the JSON field `field`.
fn start(program: &Path, data: &str, args: &[&str], field: &str) -> Result<Server> {
    let mut command = Command::new(program);
    command
        .args(["--data", data, "up", "--listen", "127.0.0.1:0", "--json"])
        .args(args)
        .stdout(Stdio::piped());
    let mut child = command.current_dir(process::root()).spawn()?;
    let stdout = child.stdout.take().context("the server's output is closed")?;
    let mut server = Server { child, url: String::new() };
    let name = format!("\"{field}\": \"");
    for line in BufReader::new(stdout).lines() {
        if let Some((_, value)) = line?.split_once(&name) {
            server.url = value.split('"').next().unwrap_or_default().trim_end_matches('/').to_owned();
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
    let server = start(&program(), &data.to_string_lossy(), &arguments, "rpc")?;
    evm::run(&evm::Node {
        rpc_url: server.url.clone(),
        ws_url: server.url.replace("http://", "ws://"),
        private_key: FIRST_DEV_KEY.to_owned(),
    })
}

/// Of the phrase that all tools use for development.
const FIRST_DEV_KEY: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
