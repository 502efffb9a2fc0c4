//! Measure the engine, one configuration per process.
//!
//! Prints one line of JSON with the keys of `bench/ort_bench.py`, which measures ONNX Runtime the same way: a run goes
//! from `f32` request tensors to `f32` answer tensors, and memory is what the process takes beyond its own start.

#![forbid(unsafe_code)]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::Parser;
use serde_json::json;
use veracity_engine::{Engine, Options, TraceKind};
use veracity_graph::{Array, ArrayData, Bundle, Dim, Graph};
use veracity_kernels::Isa;

const WARM_UP_RUNS: usize = 3;
const RUNS_MIN: usize = 5;
const RUNS_MAX: usize = 100_000;

/// Measures one model in one configuration.
#[derive(Debug, Parser)]
struct Args {
    /// A `.vmodel` file.
    #[arg(long)]
    model: PathBuf,
    #[arg(long, default_value_t = 1)]
    threads: usize,
    #[arg(long, default_value_t = 1)]
    batch: usize,
    /// How long to measure, after warming up.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Instruction set: scalar, avx2 or avx512; the fastest if absent.
    #[arg(long)]
    isa: Option<Isa>,
    /// Commit to values of the run as well: checkpoints, as receipts do, or full.
    #[arg(long)]
    trace: Option<TraceKind>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let rss_base_mb = memory_mb("VmRSS")?;
    let engine = load(&args)?;
    let inputs = random_inputs(engine.model().graph(), args.batch)?;
    let mut times = measure(&engine, &inputs, &args)?;
    let rss_peak_mb = memory_mb("VmHWM")?;
    times.sort_unstable();
    let ms = |d: Duration| 1e3 * d.as_secs_f64();
    let total: Duration = times.iter().sum();
    let result = json!({
        "model": args.model.file_name().map(|n| n.to_string_lossy()),
        "batch": args.batch,
        "threads": args.threads,
        "isa": engine.isa().to_string(),
        "trace": args.trace.map(TraceKind::name),
        "median_ms": ms(times[times.len() / 2]),
        "min_ms": ms(times[0]),
        "throughput_per_s": (args.batch * times.len()) as f64 / total.as_secs_f64(),
        "rss_base_mb": rss_base_mb,
        "rss_peak_mb": rss_peak_mb,
        "n_runs": times.len(),
    });
    #[expect(clippy::print_stdout, reason = "the result of the program")]
    {
        println!("{result}");
    }
    Ok(())
}

fn load(args: &Args) -> Result<Engine> {
    let bytes = fs::read(&args.model).with_context(|| format!("cannot read {}", args.model.display()))?;
    let bundle = Bundle::decode(&bytes)?;
    drop(bytes);
    let model = bundle.load()?;
    drop(bundle);
    let options = Options { isa: args.isa, threads: args.threads, ..Options::default() };
    Ok(Engine::load(Arc::new(model), &options)?)
}

/// Uniform numbers in [-1, 1) from a fixed seed.
fn random_inputs(graph: &Graph, batch: usize) -> Result<BTreeMap<String, Array>> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / 8_388_608.0 - 1.0
    };
    let mut inputs = BTreeMap::new();
    for input in &graph.inputs {
        let extent = |dim: &Dim| match dim {
            Dim::Fixed(n) => Ok(usize::try_from(*n)?),
            Dim::Symbol(_) => anyhow::bail!("input '{}' has a dynamic extent", input.name),
        };
        let sample = input.dims.iter().map(extent).collect::<Result<Vec<usize>>>()?;
        let shape: Vec<usize> = std::iter::once(batch).chain(sample).collect();
        let values = (0..shape.iter().product()).map(|_| next()).collect();
        inputs.insert(input.name.clone(), Array { shape, data: ArrayData::F32(values) });
    }
    Ok(inputs)
}

fn run(
    engine: &Engine,
    inputs: &BTreeMap<String, Array>,
    trace: Option<TraceKind>,
) -> Result<Vec<(String, Array)>> {
    let graph = engine.model().graph();
    let run = engine.run(&graph.encode_inputs(inputs)?, trace)?;
    if let Some(trace) = &run.trace {
        std::hint::black_box(trace.root());
    }
    Ok(graph.decode_outputs(&run.outputs))
}

fn measure(engine: &Engine, inputs: &BTreeMap<String, Array>, args: &Args) -> Result<Vec<Duration>> {
    for _ in 0..WARM_UP_RUNS {
        run(engine, inputs, args.trace)?;
    }
    let mut times = Vec::new();
    let start = Instant::now();
    while times.len() < RUNS_MIN || (start.elapsed().as_secs_f64() < args.seconds && times.len() < RUNS_MAX) {
        let before = Instant::now();
        std::hint::black_box(run(engine, inputs, args.trace)?);
        times.push(before.elapsed());
    }
    Ok(times)
}

/// A memory line of `/proc/self/status` in units of 10^6 bytes.
fn memory_mb(key: &str) -> Result<f64> {
    let status = fs::read_to_string(Path::new("/proc/self/status"))?;
    let line = status.lines().find(|line| line.starts_with(key)).context("memory figures need Linux")?;
    let kib: f64 = line.split_whitespace().nth(1).context("malformed memory line")?.parse()?;
    Ok(kib * 1024.0 / 1e6)
}
