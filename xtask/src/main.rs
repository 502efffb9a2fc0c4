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
mod specs;

use std::{path::PathBuf, process::Command};

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
    /// Kill validators, real processes under load, one after the other: what was acknowledged stays, and all agree.
    Kills {
        /// How many kills.
        #[arg(long, default_value_t = 100)]
        count: u32,
    },
    /// Run Ethereum's state tests, which lie in a folder, through the chain's execution: tests of Cancun, Prague and Osaka.
    StateTests {
        /// The folder, such as `GeneralStateTests` of github.com/ethereum/tests.
        folder: PathBuf,
        /// Take the inputs only, and let Ethereum's executable specification say what comes out at Osaka.
        #[arg(long)]
        fill: bool,
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
            specs::run()?;
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
        Task::Kills { count } => {
            let mut command = Command::new("cargo");
            command.args(["test", "--package", "veracity", "--test", "it", "--", "--nocapture"]);
            command.arg("kills::").current_dir(process::root()).env("VERACITY_KILLS", count.to_string());
            process::finish(command)
        }
        Task::StateTests { folder, fill: false } => specs::state_tests(&folder),
        Task::StateTests { folder, fill: true } => specs::fill(&[&folder], usize::MAX >> 1),
        Task::Bench { what } => bench::run(&what),
    }
}
