//! `veracity node`: the nodes of a network, each with a folder of its own.

mod bond;
mod follower;
mod init;
mod leave;
mod role;
mod serve;
mod settings;
mod start;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::{error::Failure, output::Output};

const EXAMPLES: &str = "\
Examples:
  veracity node init --folder v --network net.json --listen 203.0.113.7:30303
  veracity node bond --folder v --operator-key operator.key
  veracity node start --folder v
  veracity node init --folder w --role worker --model me/digits \\
      --chain http://node.example:8545 --operator-key operator.key
  veracity node start --folder w
  veracity node init --folder f --role follower --network net.json \\
      --upstream http://203.0.113.1:8545
  veracity node leave --folder v --operator-key operator.key";

/// Run a node of a network, a validator, follower, worker, host or gateway: make it, bond it, start it, leave.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct NodeArgs {
    #[command(subcommand)]
    command: NodeCommand,
}

#[derive(Debug, Subcommand)]
enum NodeCommand {
    Init(Box<init::InitArgs>),
    Bond(bond::BondArgs),
    Start(start::StartArgs),
    Leave(leave::LeaveArgs),
    Withdraw(leave::WithdrawArgs),
}

/// File of the operator's key of the node whose data folder this is, if `node init` made it.
pub(super) fn operator_key_beside(data: &Path) -> Option<PathBuf> {
    settings::operator_key_beside(data)
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
