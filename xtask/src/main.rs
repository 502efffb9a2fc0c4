//! Automate what a developer does: test, check, fuzz, bench.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]

mod acceptance;
mod bench;
mod bench_chain;
mod check;
mod contracts;
mod evm;
mod fuzz;
mod layers;
mod process;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Tasks of the workspace; run as `cargo xtask TASK`.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Every test: unit, integration, documentation, system contracts, and the acceptance tests with third-party clients.
    Test,
    /// Format, lints, documentation, crate layers, links.
    Check,
    /// A short run of every fuzz target (needs the nightly toolchain).
    Fuzz {
        /// Seconds for each target.
        #[arg(long, default_value_t = 15)]
        seconds: u32,
    },
    /// Simulate the network: what goes wrong, how often, and whether it keeps its promises. A failure prints its seed.
    Sim {
        /// Number of seeds for each scenario.
        #[arg(long, default_value_t = 20)]
        seeds: u64,
        /// First seed.
        #[arg(long, default_value_t = 0)]
        first: u64,
        /// Only this scenario, such as `crashes`.
        #[arg(long)]
        scenario: Option<String>,
    },
    /// Measure the engine against peers, side by side, the gateway against the engine, or the chain.
    Bench {
        #[command(subcommand)]
        what: bench::What,
    },
}

fn main() -> Result<()> {
    match Args::parse().task {
        Task::Test => {
            process::cargo(&["test", "--workspace", "--quiet"])?;
            contracts::run()?;
            acceptance::run()?;
            acceptance::run_chain()
        }
        Task::Check => check::run(),
        Task::Fuzz { seconds } => fuzz::run(seconds),
        Task::Sim { seeds, first, scenario } => {
            let (seeds, first) = (seeds.to_string(), first.to_string());
            let mut command =
                vec!["run", "--package", "veracity-sim", "--", "--seeds", &seeds, "--first", &first];
            if let Some(scenario) = &scenario {
                command.extend(["--scenario", scenario]);
            }
            process::cargo(&command)
        }
        Task::Bench { what } => bench::run(&what),
    }
}
