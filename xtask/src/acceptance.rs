//! Runs the clients under `acceptance/`, which nobody here wrote, against a real server.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::process;

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
    process::cargo(&["build", "--quiet", "--package", "veracity"])?;
    let program = target().join("debug/veracity");
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
    let server = start(&program, &data)?;
    for model in ["digits-mlp", "digits-cnn"] {
        println!("tritonclient against {model}");
        let args = ["acceptance/open_inference.py", &server.url, model, "models/digits-test.npz"];
        process::run(&python, &args)?;
    }
    Ok(())
}

fn samples(model: &str) -> String {
    let part = if model == "mlp" { "" } else { "cnn-" };
    format!("models/digits-{part}calibration.npz")
}

fn target() -> std::path::PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| process::root().join("target"), Into::into)
}

/// Starts a server on a free port and waits for the line that says where it listens.
fn start(program: &Path, data: &str) -> Result<Server> {
    let mut command = Command::new(program);
    command.args(["--data", data, "up", "--listen", "127.0.0.1:0", "--json"]).stdout(Stdio::piped());
    let mut child = command.current_dir(process::root()).spawn()?;
    let stdout = child.stdout.take().context("the server's output is closed")?;
    let mut server = Server { child, url: String::new() };
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        if let Some(at) = line.find("http://") {
            let url = line[at..].split(['"', ' ', ',']).next().unwrap_or_default();
            server.url = url.trim_end_matches('/').to_owned();
            return Ok(server);
        }
    }
    bail!("the server ended before it listened");
}
