use std::{fmt, net::SocketAddr, num::NonZeroUsize, path::PathBuf};

use clap::Args;
use serde::Serialize;
use veracity_node::{Contact, Folder, Node, NodeError, NodeOptions};

use super::{
    follower,
    role::{Flag, Kind, check_flags},
    serve,
};
use crate::{chain, error::Failure, output::Output, server};

const EXAMPLES: &str = "\
Examples:
  veracity node start --folder ~/.veracity/localnet/0
  veracity node start --folder /srv/validator --rpc 127.0.0.1:8545
  veracity node start --folder /srv/worker";

/// Start the node of a folder, and run it until it is interrupted.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct StartArgs {
    /// Folder of the node, with its keys and its network.
    #[arg(long, value_name = "DIR")]
    folder: PathBuf,
    /// Address for peers; for a worker, host or gateway that for HTTP [default: the folder's].
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Validator, follower: address for JSON-RPC [default: the folder's].
    #[arg(long, value_name = "ADDRESS")]
    rpc: Option<SocketAddr>,
    /// Threads: of a validator or follower for consensus [default: 2], of a worker for models [default: one per core].
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Validator: node to ask where to join and to find others through, beside the folder's, as veracity status shows it;
    /// may be repeated.
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

/// Threads for consensus, unless something else is asked for.
const CONSENSUS_THREADS: NonZeroUsize = NonZeroUsize::new(2).expect("not zero");

/// Runs `veracity node start`.
pub(super) fn execute(args: &StartArgs, out: Output) -> Result<(), Failure> {
    let kind = Kind::of_folder(&args.folder)?;
    let (validator, follower) = (kind == Kind::Validator, kind == Kind::Follower);
    let flag = |name, given, fits| Flag { name, given, fits, needed: false };
    let flags = [
        flag("--rpc", args.rpc.is_some(), validator || follower),
        flag("--listen", args.listen.is_some(), !follower),
        flag("--bootstrap", !args.bootstrap.is_empty(), validator),
    ];
    check_flags(&kind, &flags)?;
    match kind {
        Kind::Validator => validate(args, out),
        Kind::Follower => {
            follower::start(&args.folder, args.rpc, args.threads.unwrap_or(CONSENSUS_THREADS), out)
        }
        Kind::Provider(_) => {
            let threads = args.threads.map_or(0, NonZeroUsize::get);
            serve::run(&args.folder, serve::Overrides { listen: args.listen, threads }, out)
        }
    }
}

/// Runs a validator.
fn validate(args: &StartArgs, out: Output) -> Result<(), Failure> {
    let folder = Folder::new(&args.folder);
    let config = folder.config().map_err(|e| chain::folder_failure(&e))?;
    let identity = folder.identity().map_err(|e| chain::folder_failure(&e))?;
    let options = NodeOptions {
        folder,
        listen: args.listen.unwrap_or(config.listen),
        rpc: veracity_rpc::Config::new(args.rpc.unwrap_or(config.rpc)),
        beneficiary: config.beneficiary,
        threads: args.threads.unwrap_or(CONSENSUS_THREADS),
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
        run(Node::start(options), out, |node| Banner {
            node: alloy_primitives::hex::encode(identity.public_key()),
            network: node.network().hash().to_string(),
            chain_id: node.network().chain_id(),
            height: node.chain().head().number(),
            rpc: format!("http://{}", node.rpc_address()),
        })
        .await
    })
}

/// Runs a node until it is interrupted, from its start on; `banner` is what is said when it serves.
pub(super) async fn run<B: Serialize + fmt::Display>(
    starting: impl Future<Output = Result<Node, NodeError>>,
    out: Output,
    banner: impl FnOnce(&Node) -> B,
) -> Result<(), Failure> {
    let mut interrupted = std::pin::pin!(server::interrupted());
    let node = tokio::select! {
        node = starting => node.map_err(|e| chain::node_failure(&e))?,
        () = &mut interrupted => return Ok(()),
    };
    out.result(&banner(&node));
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
