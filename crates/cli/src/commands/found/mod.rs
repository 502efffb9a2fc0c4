//! `veracity found`: begin a network together with others.

mod plan;
mod prepare;
mod run;
mod show;

use clap::{Args, Subcommand};

use crate::{error::Failure, output::Output};

const EXAMPLES: &str = "\
Examples:
  veracity found prepare --folder v --chain-id 7 --listen 203.0.113.7:30303 \\
    --operator 0x70997970C51812dc3A010C7d01b50e0d17dc79C8 --out a.json
  veracity found plan a.json b.json c.json d.json --chain-id 7 --out plan.json
  veracity found show plan.json
  veracity found run --folder v --plan plan.json
  veracity node start --folder v

Each founder prepares and sends its founder file to one of them, who writes the plan and sends it to all. Each reads the \
plan and runs it, all at the same time. Together they make the key of the network, which nobody ever has: each gets a \
share, and two thirds of the shares and one more sign together.";

/// Found a network with others: make its key together, so that nobody has it.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct FoundArgs {
    #[command(subcommand)]
    command: FoundCommand,
}

#[derive(Debug, Subcommand)]
enum FoundCommand {
    Prepare(prepare::PrepareArgs),
    Plan(plan::PlanArgs),
    Show(show::ShowArgs),
    Run(run::RunArgs),
}

/// Runs `veracity found`.
pub(crate) fn execute(args: &FoundArgs, out: Output) -> Result<(), Failure> {
    match &args.command {
        FoundCommand::Prepare(args) => prepare::execute(args, out),
        FoundCommand::Plan(args) => plan::execute(args, out),
        FoundCommand::Show(args) => show::execute(args, out),
        FoundCommand::Run(args) => run::execute(args, out),
    }
}
