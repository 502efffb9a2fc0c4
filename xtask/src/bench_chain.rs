//! The chain, on this machine: validators as processes, and a client that sends transfers.

use std::{
    fs,
    io::{BufRead, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{
    bench::{self, ChainPart},
    process,
};

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

    fn usage(&self) -> Result<Vec<(f64, f64)>> {
        self.processes.iter().copied().map(usage).collect()
    }
}

/// Processor time of a process since it started, in seconds, and its memory in megabytes.
fn usage(id: u64) -> Result<(f64, f64)> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
    // After the name, which ends with a parenthesis: fields 14 and 15 are ticks of 10 ms.
    let rest = stat.rsplit_once(')').context("not the format of proc(5)")?.1;
    let ticks: Vec<u64> = rest.split_whitespace().skip(11).take(2).filter_map(|n| n.parse().ok()).collect();
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
    let kilobytes: u32 = line.split_whitespace().nth(1).context("no VmRSS")?.parse()?;
    let ticks = u32::try_from(ticks.iter().sum::<u64>())?;
    Ok((f64::from(ticks) / 100.0, f64::from(kilobytes) / 1000.0))
}

pub(crate) fn run(transfers: u32, single: u32, accounts: u32, only: Option<ChainPart>) -> Result<()> {
    if !cfg!(target_os = "linux") {
        bail!("the benchmark of the chain reads /proc, which only Linux has");
    }
    let wanted = |part| only.is_none_or(|only| only == part);
    if wanted(ChainPart::Validators) || wanted(ChainPart::Restart) {
        process::cargo(&["build", "--quiet", "--release", "--package", "veracity"])?;
        process::cargo(&[
            "build",
            "--quiet",
            "--release",
            "--package",
            "veracity-node",
            "--example",
            "load",
        ])?;
    }
    bench::describe_machine()?;
    if wanted(ChainPart::Validators) {
        validators(transfers, single)?;
    }
    if wanted(ChainPart::Growth) {
        process::cargo(&["run", "--quiet", "--package", "veracity-sim", "--", "--growth"])?;
    }
    if wanted(ChainPart::Restart) {
        restart(accounts)?;
    }
    if wanted(ChainPart::Light) {
        process::cargo(&["run", "--quiet", "--release", "--package", "veracity-light", "--example", "time"])?;
    }
    if wanted(ChainPart::Pool) {
        process::cargo(&["run", "--quiet", "--release", "--package", "veracity-chain", "--example", "pool"])?;
    }
    Ok(())
}

fn validators(transfers: u32, single: u32) -> Result<()> {
    println!("validators | final p50 ms | p99 ms | max ms | transfers/s | idle % of a core | MB each");
    for validators in [1, 4, 7, 13] {
        let net = Localnet::start(validators)?;
        sleep(Duration::from_secs(5));
        let before = net.usage()?;
        sleep(IDLE);
        let after = net.usage()?;
        let busy = before.iter().zip(&after).map(|(b, a)| (a.0 - b.0) / IDLE.as_secs_f64() * 100.0);
        let idle = busy.fold(0.0, f64::max);
        let memory = after.iter().map(|usage| usage.1).fold(0.0, f64::max);
        let measured = load(single, transfers, &net.endpoints)?;
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

/// Sends single transfers and then many, each to a new account, and returns what the client measured.
fn load(single: u32, transfers: u32, endpoints: &[String]) -> Result<Value> {
    let mut command = Command::new(process::target().join("release/examples/load"));
    command.args([single.to_string(), transfers.to_string()]).args(endpoints);
    let output = command.stderr(Stdio::inherit()).output()?;
    serde_json::from_slice(&output.stdout).context("the client failed")
}

/// Transfers that the client sends in one go: more than wait at once would be refused.
const BURST: u32 = 20_000;

/// Fills the state of a validator with accounts, by transfers in blocks, kills it, and measures how long it takes from the
/// start of the process until it answers again.
fn restart(accounts: u32) -> Result<()> {
    let net = Localnet::start(1)?;
    for burst in 1..=accounts.div_ceil(BURST) {
        load(1, BURST, &net.endpoints)?;
        if burst % 10 == 0 {
            eprintln!("{} accounts", burst * BURST);
        }
    }
    let url = net.endpoints.first().context("a network has an endpoint")?.clone();
    let height = ask_height(&url).context("the validator does not answer")?;
    for process in &net.processes {
        Command::new("kill").args(["-9", &process.to_string()]).status()?;
    }
    drop(net);
    let folder = process::work("bench-chain").join("0");
    let log = fs::File::create(process::work("bench-restart.log"))?;
    let start = Instant::now();
    let mut command = Command::new(process::target().join("release/veracity"));
    command.args(["node", "start", "--folder"]).arg(folder).stdout(Stdio::null()).stderr(log);
    let mut node = Started(command.spawn()?);
    while ask_height(&url).is_none_or(|found| found < height) {
        if let Some(status) = node.0.try_wait()? {
            bail!("the validator does not start: {status}; see target/xtask/bench-restart.log");
        }
        sleep(Duration::from_millis(10));
    }
    let seconds = start.elapsed().as_secs_f64();
    let (_, memory) = usage(node.0.id().into())?;
    println!(
        "restart with {} accounts at height {height}: {seconds:.1} s, {memory:.0} MB",
        accounts.div_ceil(BURST) * BURST
    );
    Ok(())
}

/// A process that ends when this does.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Height of a node, if it answers.
fn ask_height(url: &str) -> Option<u64> {
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber","params":[]}"#;
    let head = format!(
        "POST / HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\nconnection: close\r\n"
    );
    write!(stream, "{head}content-length: {}\r\n\r\n{body}", body.len()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let answer: Value = serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()?;
    u64::from_str_radix(answer["result"].as_str()?.strip_prefix("0x")?, 16).ok()
}
