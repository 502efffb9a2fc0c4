//! The chain, on this machine: validators as processes, and a client that sends transfers.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{bench, process};

/// How long a validator is watched while nothing happens.
const IDLE: Duration = Duration::from_secs(20);
const RPC_PORT: u16 = 28545;

/// A network of processes, which ends when this does.
struct Localnet {
    child: Child,
    endpoints: Vec<String>,
    processes: Vec<u64>,
}

impl Drop for Localnet {
    fn drop(&mut self) {
        // It stops its validators when it is asked, which a kill would not be.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

impl Localnet {
    fn start(validators: u8) -> Result<Self> {
        let folder = process::work("bench-chain");
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        let program = process::target().join("release/veracity");
        let mut command = Command::new(program);
        command.arg("--json").args([
            "localnet",
            "--providers",
            "0",
            "--validators",
            &validators.to_string(),
            "--folder",
        ]);
        command.arg(&folder).args(["--rpc-port", &RPC_PORT.to_string()]).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let mut text = String::new();
        let mut lines = BufReader::new(child.stdout.take().context("its output is closed")?).lines();
        while !text.ends_with("\n}\n") {
            let Some(line) = lines.next() else { bail!("the network did not start") };
            text += &line?;
            text.push('\n');
        }
        let banner: Value = serde_json::from_str(&text)?;
        let endpoints = banner["endpoints"].as_array().into_iter().flatten();
        let endpoints = endpoints.filter_map(|url| url.as_str().map(str::to_owned)).collect();
        let processes =
            banner["processes"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
        Ok(Self { child, endpoints, processes })
    }

    /// Processor time of each validator since it started, in seconds, and its memory in megabytes.
    fn usage(&self) -> Result<Vec<(f64, f64)>> {
        let usage = |id: &u64| {
            let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
            // After the name, which ends with a parenthesis: fields 14 and 15 are ticks of 10 ms.
            let rest = stat.rsplit_once(')').context("not the format of proc(5)")?.1;
            let ticks: Vec<u64> =
                rest.split_whitespace().skip(11).take(2).filter_map(|n| n.parse().ok()).collect();
            let status = fs::read_to_string(format!("/proc/{id}/status"))?;
            let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
            let kilobytes: u32 = line.split_whitespace().nth(1).context("no VmRSS")?.parse()?;
            let ticks = u32::try_from(ticks.iter().sum::<u64>())?;
            Ok((f64::from(ticks) / 100.0, f64::from(kilobytes) / 1000.0))
        };
        self.processes.iter().map(usage).collect()
    }
}

pub(crate) fn run(transfers: u32, single: u32) -> Result<()> {
    if !cfg!(target_os = "linux") {
        bail!("the benchmark of the chain reads /proc, which only Linux has");
    }
    process::cargo(&["build", "--quiet", "--release", "--package", "veracity"])?;
    process::cargo(&["build", "--quiet", "--release", "--package", "veracity-node", "--example", "load"])?;
    bench::describe_machine()?;
    println!("validators | final p50 ms | p99 ms | max ms | transfers/s | idle % of a core | MB each");
    for validators in [4, 1] {
        let net = Localnet::start(validators)?;
        sleep(Duration::from_secs(5));
        let before = net.usage()?;
        sleep(IDLE);
        let after = net.usage()?;
        let busy = before.iter().zip(&after).map(|(b, a)| (a.0 - b.0) / IDLE.as_secs_f64() * 100.0);
        let idle = busy.fold(0.0, f64::max);
        let memory = after.iter().map(|usage| usage.1).fold(0.0, f64::max);
        let mut command = Command::new(process::target().join("release/examples/load"));
        command.args([single.to_string(), transfers.to_string()]).args(&net.endpoints);
        let output = command.stderr(Stdio::inherit()).output()?;
        let measured: Value = serde_json::from_slice(&output.stdout).context("the client failed")?;
        let field = |name: &str| measured[name].as_f64().unwrap_or(f64::NAN);
        println!(
            "{validators:>10} | {:>12.0} | {:>6.0} | {:>6.0} | {:>11.0} | {idle:>16.1} | {memory:>7.0}",
            field("p50_ms"),
            field("p99_ms"),
            field("max_ms"),
            field("transfers_per_s"),
        );
    }
    println!(
        "final: from sending until the node that took it says it is in a final block. Idle: the busiest validator."
    );
    Ok(())
}
