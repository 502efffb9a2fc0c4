use std::{fmt, net::SocketAddr, num::NonZeroUsize, path::PathBuf};

use clap::Args;
use serde::Serialize;
use veracity_node::{Contact, Folder, Node, NodeOptions};

use super::follower;
use crate::{chain, error::Failure, output::Output, server};

const EXAMPLES: &str = "\
Examples:
  veracity node start --folder ~/.veracity/localnet/0
  veracity node start --folder /srv/validator --rpc 127.0.0.1:8545";

/// Start the node of a folder, and run it until it is interrupted.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct StartArgs {
    /// Folder of the node, with its keys and its network.
    #[arg(long, value_name = "DIR")]
    folder: PathBuf,
    /// Address for peers [default: the folder's].
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Address for JSON-RPC [default: the folder's].
    #[arg(long, value_name = "ADDRESS")]
    rpc: Option<SocketAddr>,
    /// Threads for consensus.
    #[arg(long, default_value = "2")]
    threads: NonZeroUsize,
    /// Node to ask where to join and to find others through, beside the folder's, as veracity status shows it; may be
    /// repeated.
    #[arg(long, value_name = "KEY@ADDRESS")]
    bootstrap: Vec<Contact>,
}

/// What runs where.
#[derive(Debug, Serialize)]
struct Banner {
    node: String,
    network: String,
    chain_id: u64,
    height: u64,
    rpc: String,
}

/// Runs `veracity node start`.
pub(super) fn execute(args: &StartArgs, out: Output) -> Result<(), Failure> {
    let folder = Folder::new(&args.folder);
    if folder.is_follower() {
        return follower::start(&args.folder, args.rpc, args.threads, out);
    }
    let config = folder.config().map_err(|e| chain::folder_failure(&e))?;
    let identity = folder.identity().map_err(|e| chain::folder_failure(&e))?;
    let options = NodeOptions {
        folder,
        listen: args.listen.unwrap_or(config.listen),
        rpc: veracity_rpc::Config::new(args.rpc.unwrap_or(config.rpc)),
        beneficiary: config.beneficiary,
        threads: args.threads,
        bootstrap: args.bootstrap.clone(),
        allow_private: config.allow_private,
    };
    let runtime = server::runtime()?;
    runtime.block_on(async {
        if config.join {
            out.note(format!(
                "node {} listens at {}; it begins when the validators connect, in the epoch after its election",
                alloy_primitives::hex::encode(identity.public_key()),
                options.listen
            ));
        }
        let mut interrupted = std::pin::pin!(server::interrupted());
        let node = tokio::select! {
            node = Node::start(options) => node.map_err(|e| chain::node_failure(&e))?,
            () = &mut interrupted => return Ok(()),
        };
        out.result(&Banner {
            node: identity.public_key().iter().map(|byte| format!("{byte:02x}")).collect(),
            network: node.network().hash().to_string(),
            chain_id: node.network().chain_id(),
            height: node.chain().head().number(),
            rpc: format!("http://{}", node.rpc_address()),
        });
        let is_asked = tokio::select! {
            () = interrupted => true,
            () = node.ended() => false,
        };
        let stopped = node.stop().await;
        if is_asked {
            return Ok(());
        }
        Err(Failure::outside(
            "node_stopped",
            stopped,
            "see the log; if the disk was full, make room and start again",
        ))
    })
}

impl fmt::Display for Banner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, network, chain_id, height, rpc } = self;
        writeln!(f, "Node {node}")?;
        writeln!(f, "  network    {network}, chain id {chain_id}")?;
        writeln!(f, "  height     {height}")?;
        writeln!(f, "  JSON-RPC   {rpc}")?;
        write!(f, "  stop       Ctrl-C")
    }
}
