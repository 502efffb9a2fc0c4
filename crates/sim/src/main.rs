//! Runs simulations of the network.

use std::process::ExitCode;

use clap::{Parser, ValueEnum as _};
use veracity_sim::{Scenario, run};

/// Run simulations of the network; a failure prints the seed that repeats it.
#[derive(Parser)]
struct Options {
    /// Number of seeds for each scenario.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// First seed.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Only this scenario.
    #[arg(long)]
    scenario: Option<Scenario>,
    /// Number of validators.
    #[arg(long, default_value_t = 4)]
    validators: u8,
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "this is a program")]
fn main() -> ExitCode {
    let options = Options::parse();
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let scenarios = options.scenario.map_or(Scenario::ALL.to_vec(), |scenario| vec![scenario]);
    let mut failures = 0;
    for seed in options.first..options.first + options.seeds {
        for scenario in &scenarios {
            let start = std::time::Instant::now();
            match run(*scenario, seed, options.validators) {
                Ok(report) => println!(
                    "{:<10} seed {seed}: {} transactions in {} blocks, {} crashes, longest pause {:.1} s, history {}, {:.1} s",
                    scenario.to_possible_value().map(|v| v.get_name().to_owned()).unwrap_or_default(),
                    report.transactions,
                    report.height,
                    report.crashes,
                    report.pause_max.as_secs_f64(),
                    report.history,
                    start.elapsed().as_secs_f64(),
                ),
                Err(failure) => {
                    failures += 1;
                    eprintln!("FAILED: {failure}");
                }
            }
        }
    }
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
