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
    /// Instead of all that: how the cost of a block grows with the number of validators, as a table.
    #[arg(long)]
    growth: bool,
}

/// Sizes of networks in the table: those that bear one, two and four faulty validators.
const SIZES: [u8; 3] = [4, 7, 13];
/// Channels of `Channels` by what they carry.
const VOTES: [usize; 1] = [0];
const CERTIFICATES: [usize; 2] = [1, 2];
const BLOCKS: [usize; 2] = [3, 4];
const RESHARING: [usize; 1] = [6];

/// Prints what one validator hears for each block, and how long transactions take.
#[expect(clippy::print_stdout, reason = "this is a program")]
fn growth(seed: u64) -> Result<(), String> {
    println!(
        "validators | heard per block: votes | certificates | blocks | resharing | all | kB | final p50 ms | p99 ms"
    );
    for validators in SIZES {
        let report = run(Scenario::Calm, seed, validators)?;
        let count = f64::from(validators) * f64::from(u32::try_from(report.height).unwrap_or(u32::MAX));
        let per_block = |number: u64| f64::from(u32::try_from(number).unwrap_or(u32::MAX)) / count;
        let heard = |channels: &[usize]| per_block(report.traffic.on(channels.iter().copied()).messages);
        let all = report.traffic.total();
        let final_ms = |percent: usize| {
            let last = report.latencies.len().saturating_sub(1);
            report.latencies.get(last * percent / 100).map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
        };
        println!(
            "{validators:>10} | {:>22.1} | {:>12.1} | {:>6.1} | {:>9.1} | {:>3.0} | {:>4.1} | {:>12.0} | {:>6.0}",
            heard(&VOTES),
            heard(&CERTIFICATES),
            heard(&BLOCKS),
            heard(&RESHARING),
            per_block(all.messages),
            per_block(all.bytes) / 1000.0,
            final_ms(50),
            final_ms(99),
        );
    }
    Ok(())
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "this is a program")]
fn main() -> ExitCode {
    let options = Options::parse();
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    if options.growth {
        return match growth(options.first) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                eprintln!("FAILED: {failure}");
                ExitCode::FAILURE
            }
        };
    }
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
