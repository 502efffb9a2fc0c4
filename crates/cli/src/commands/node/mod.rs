//! `veracity node`: validators and followers of a network.

mod bond;
mod follower;
mod init;
mod leave;
mod start;

use clap::{Args, Subcommand};

use crate::{error::Failure, output::Output};

const EXAMPLES: &str = "\
Examples:
  veracity node init --folder v --network net.json --listen 203.0.113.7:30303
  veracity node bond --folder v --operator-key operator.key
  veracity node start --folder v
  veracity node init --role follower --folder f --network net.json --upstream http://203.0.113.1:8545
  veracity node leave --folder v --operator-key operator.key";

/// Run a validator of a network: make it, bond it, start it, leave.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct NodeArgs {
    #[command(subcommand)]
    command: NodeCommand,
}

#[derive(Debug, Subcommand)]
enum NodeCommand {
    Init(init::InitArgs),
    Bond(bond::BondArgs),
    Start(start::StartArgs),
    Leave(leave::LeaveArgs),
    Withdraw(leave::WithdrawArgs),
}

/// Runs `veracity node`.
pub(crate) fn execute(args: &NodeArgs, out: Output) -> Result<(), Failure> {
    match &args.command {
        NodeCommand::Init(args) => init::execute(args, out),
        NodeCommand::Bond(args) => bond::execute(args, out),
        NodeCommand::Start(args) => start::execute(args, out),
        NodeCommand::Leave(args) => leave::leave(args, out),
        NodeCommand::Withdraw(args) => leave::withdraw(args, out),
    }
}
