//! Automate what a developer does: test, check, fuzz, bench.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]

mod acceptance;
mod bench;
mod check;
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
    /// Every test: unit, integration, documentation, and the acceptance tests with third-party clients.
    Test,
    /// Format, lints, documentation, crate layers, links.
    Check,
    /// A short run of every fuzz target (needs the nightly toolchain).
    Fuzz {
        /// Seconds for each target.
        #[arg(long, default_value_t = 15)]
        seconds: u32,
    },
    /// Measure the engine against peers, side by side, or the gateway against the engine.
    Bench {
        #[command(subcommand)]
        what: bench::What,
    },
}

fn main() -> Result<()> {
    match Args::parse().task {
        Task::Test => {
            process::cargo(&["test", "--workspace", "--quiet"])?;
            acceptance::run()
        }
        Task::Check => check::run(),
        Task::Fuzz { seconds } => fuzz::run(seconds),
        Task::Bench { what } => bench::run(&what),
    }
}
