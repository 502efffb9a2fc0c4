//! Benchmarks: the engine against its peers, both measured in the same run on the same files, the gateway against the
//! engine alone, and the chain.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use serde_json::Value;

use crate::process;

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum What {
    /// The engine against ONNX Runtime in f32 and int8: latency, throughput, peak memory.
    Engine {
        /// Seconds for each configuration.
        #[arg(long, default_value_t = 2.0)]
        seconds: f64,
        /// Only models whose name contains this.
        #[arg(long)]
        only: Option<String>,
    },
    /// What HTTP adds to a run: the engine alone, a request in this process, the same over loopback with its receipt.
    /// Medians of 5000 runs each of a tiny model, a few seconds in all.
    Gateway,
    /// The chain: 1, 4, 7 and 13 validators, each a process. How long until a transfer is final, transfers per second, what
    /// an idle validator costs, what validators hear from each other, how long a node with many accounts takes to start, and
    /// how long a receipt's evidence takes to verify.
    Chain {
        /// Transfers under load.
        #[arg(long, default_value_t = 20_000)]
        transfers: u32,
        /// Single transfers.
        #[arg(long, default_value_t = 100)]
        single: u32,
        /// Accounts of the node that starts again.
        #[arg(long, default_value_t = 1_000_000)]
        accounts: u32,
        /// Only one part.
        #[arg(long)]
        only: Option<ChainPart>,
    },
}

/// A part of the benchmark of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ChainPart {
    /// Latency, throughput, and idle cost by the number of validators.
    Validators,
    /// Messages by the number of validators, simulated.
    Growth,
    /// Start of a node with many accounts.
    Restart,
    /// Verification of evidence.
    Light,
    /// A full pool of transactions.
    Pool,
}

const MODELS: [&str; 6] = ["digits-mlp", "digits-cnn", "mlp-784-128-10", "lenet", "mobilenetv2", "resnet18"];

pub(crate) fn run(what: &What) -> Result<()> {
    match what {
        What::Engine { seconds, only } => engine(*seconds, only.as_deref()),
        What::Gateway => gateway(),
        What::Chain { transfers, single, accounts, only } => {
            crate::bench_chain::run(*transfers, *single, *accounts, *only)
        }
    }
}

fn gateway() -> Result<()> {
    describe_machine()?;
    process::cargo(&["run", "--quiet", "--release", "--package", "veracity-gateway", "--example", "overhead"])
}

fn engine(seconds: f64, only: Option<&str>) -> Result<()> {
    let root = process::root();
    let Some(python) = process::python("bench", &root.join("bench/requirements.txt"))? else {
        bail!("the benchmark needs Python 3, to run ONNX Runtime");
    };
    process::cargo(&[
        "build",
        "--quiet",
        "--release",
        "--package",
        "veracity",
        "--package",
        "veracity-bench",
    ])?;
    let bench = Bench { python, folder: process::work("bench-models"), seconds };
    bench.prepare()?;
    describe_machine()?;
    println!(
        "{:16} {:>5} {:>7} | {:>9} {:>9} {:>9} {:>9} | {:>8} {:>8} | {:>7} {:>7} {:>7}",
        "model",
        "batch",
        "threads",
        "ours ms",
        "traced",
        "ort f32",
        "ort int8",
        "f32/ours",
        "int8/ours",
        "MB ours",
        "MB f32",
        "MB int8"
    );
    for model in MODELS.iter().filter(|m| only.is_none_or(|only| m.contains(only))) {
        for (batch, threads) in [(1, 1), (1, 2), (32, 1), (32, 2)] {
            bench.compare(model, batch, threads)?;
        }
    }
    println!(
        "ms: median of one run, f32 tensors in and out. Ratios above 1: we are faster. MB: peak beyond start, 10^6 bytes."
    );
    Ok(())
}

pub(crate) fn describe_machine() -> Result<()> {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find(|l| l.starts_with("model name"))
        .and_then(|l| l.split(": ").nth(1))
        .unwrap_or("unknown");
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let cores = std::thread::available_parallelism()?;
    let commit = process::output("git", &["rev-parse", "--short", "HEAD"]).unwrap_or_default();
    println!(
        "{model}, {cores} cores, load {}, commit {}",
        load.split(' ').next().unwrap_or("?"),
        commit.trim()
    );
    Ok(())
}

struct Bench {
    python: PathBuf,
    folder: PathBuf,
    seconds: f64,
}

/// Figures of one configuration.
struct Figures {
    median_ms: f64,
    memory_mb: f64,
}

impl Bench {
    fn file(&self, name: &str) -> String {
        self.folder.join(name).to_string_lossy().into_owned()
    }

    /// Makes the ONNX files, ONNX Runtime's quantised ones, and ours.
    fn prepare(&self) -> Result<()> {
        let done = self.folder.join("done");
        if !done.exists() {
            std::fs::create_dir_all(&self.folder)?;
            let folder = self.folder.to_string_lossy().into_owned();
            println!("making the models in {folder}");
            process::run(&self.python, &["bench/make_models.py", &folder])?;
            process::run(&self.python, &["bench/quantize_ort.py", &folder])?;
            std::fs::write(&done, "")?;
        }
        let program = target().join("release/veracity");
        for model in MODELS {
            let samples = self.samples(model);
            let args = [
                "import",
                &self.source(model),
                "--samples",
                &samples,
                "--out",
                &self.file(&format!("{model}.vmodel")),
            ];
            process::run(&program, &args)?;
        }
        Ok(())
    }

    fn source(&self, model: &str) -> String {
        if model.starts_with("digits") {
            format!("models/{model}.onnx")
        } else {
            self.file(&format!("{model}.onnx"))
        }
    }

    fn samples(&self, model: &str) -> String {
        match model {
            "digits-mlp" => "models/digits-calibration.npz".into(),
            "digits-cnn" => "models/digits-cnn-calibration.npz".into(),
            _ => self.file(&format!("{model}-calibration.npz")),
        }
    }

    fn measure(
        &self,
        program: &Path,
        script: Option<&str>,
        model: &str,
        shape: [usize; 2],
        extra: &[&str],
    ) -> Result<Figures> {
        let [batch, threads] = shape.map(|n| n.to_string());
        let seconds = self.seconds.to_string();
        let mut args: Vec<&str> = script.into_iter().collect();
        args.extend(["--model", model, "--batch", &batch, "--threads", &threads, "--seconds", &seconds]);
        args.extend(extra);
        let text = process::output(program, &args)?;
        let line = text.lines().last().context("the benchmark printed nothing")?;
        let value: Value = serde_json::from_str(line)?;
        let number = |key: &str| value[key].as_f64().with_context(|| format!("no {key} in {line}"));
        Ok(Figures {
            median_ms: number("median_ms")?,
            memory_mb: number("rss_peak_mb")? - number("rss_base_mb")?,
        })
    }

    fn compare(&self, model: &str, batch: usize, threads: usize) -> Result<()> {
        let shape = [batch, threads];
        let ours = target().join("release/veracity-bench");
        let file = self.file(&format!("{model}.vmodel"));
        let plain = self.measure(&ours, None, &file, shape, &[])?;
        let traced = self.measure(&ours, None, &file, shape, &["--trace", "checkpoints"])?;
        let ort = Some("bench/ort_bench.py");
        let f32 = self.measure(&self.python, ort, &self.source(model), shape, &[])?;
        let int8 = self.measure(&self.python, ort, &self.file(&format!("{model}.int8.onnx")), shape, &[])?;
        println!(
            "{model:16} {batch:>5} {threads:>7} | {:>9.4} {:>9.4} {:>9.4} {:>9.4} | {:>8.2} {:>8.2} | {:>7.1} {:>7.1} {:>7.1}",
            plain.median_ms,
            traced.median_ms,
            f32.median_ms,
            int8.median_ms,
            f32.median_ms / plain.median_ms,
            int8.median_ms / plain.median_ms,
            plain.memory_mb,
            f32.memory_mb,
            int8.memory_mb,
        );
        Ok(())
    }
}

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| process::root().join("target"), PathBuf::from)
}
