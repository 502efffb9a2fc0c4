use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use alloy_primitives::{Address, hex};
use clap::Args;
use serde::Serialize;
use veracity_node::{Contact, Folder, NodeConfig};

use super::follower;
use crate::{chain, commands::network, error::Failure, output::Output};

const EXAMPLES: &str = "\
Examples:
  veracity node init --folder v --network net.json --listen 203.0.113.7:30303
  veracity node init --folder v --network net.json --listen 127.0.0.1:30303
  veracity node init --role follower --folder f --network net.json --upstream http://203.0.113.1:8545

The network file is the same for all nodes; each node's folder has it as network.json.";

/// Make the folder of a node that joins a network: a validator with a new key, or a follower.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct InitArgs {
    /// Folder to make.
    #[arg(long, value_name = "DIR")]
    folder: PathBuf,
    /// What the node does.
    #[arg(long, value_enum, default_value_t)]
    role: Role,
    /// Network file.
    #[arg(long, value_name = "FILE")]
    network: PathBuf,
    /// Validator: IP address and port at which the other validators reach this one.
    #[arg(long, value_name = "ADDRESS", required_if_eq("role", "validator"))]
    listen: Option<SocketAddr>,
    /// Follower: JSON-RPC of a node to follow, which need not be trusted; several times for more.
    #[arg(long, value_name = "URL")]
    upstream: Vec<String>,
    /// Address for JSON-RPC; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8545")]
    rpc: SocketAddr,
    /// Account that receives the tips of its blocks [default: nobody].
    #[arg(long, value_name = "ADDRESS")]
    beneficiary: Option<Address>,
    /// Node to ask where to join, instead of the founders, as veracity status shows it; may be repeated.
    #[arg(long, value_name = "KEY@ADDRESS")]
    bootstrap: Vec<Contact>,
}

/// What a node does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum Role {
    /// It signs blocks, once it is bonded and elected.
    #[default]
    Validator,
    /// It follows other nodes, verifies what they say, and serves JSON-RPC.
    Follower,
}

/// What was made.
#[derive(Debug, Serialize)]
struct Made {
    node: String,
    folder: String,
    network: String,
    listen: SocketAddr,
}

/// Runs `veracity node init`.
pub(super) fn execute(args: &InitArgs, out: Output) -> Result<(), Failure> {
    if args.role == Role::Follower {
        if args.listen.is_some() || args.beneficiary.is_some() {
            let message = "a follower has no peers and makes no blocks";
            return Err(Failure::input("flag_unfit", message, "leave --listen and --beneficiary out"));
        }
        return follower::init(&args.folder, &args.network, &args.upstream, args.rpc, out);
    }
    let network = network::read(&args.network)?;
    let Some(listen) = args.listen else { unreachable!("a validator must be given an address") };
    if listen.port() == 0 || listen.ip().is_unspecified() {
        let message = format!("nobody can connect to {listen}");
        return Err(Failure::input("bad_address", message, "give the IP address and port that others reach"));
    }
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|e| Failure::outside("no_random", e, "try again"))?;
    let config = NodeConfig {
        listen,
        rpc: args.rpc,
        beneficiary: args.beneficiary.unwrap_or_default(),
        allow_private: is_private(listen.ip()),
        join: true,
        bootstrap: args.bootstrap.clone(),
    };
    let folder = Folder::new(&args.folder);
    folder.join(&network, seed, &config).map_err(|e| chain::folder_failure(&e))?;
    let identity = folder.identity().map_err(|e| chain::folder_failure(&e))?;
    out.result(&Made {
        node: hex::encode(identity.public_key()),
        folder: args.folder.display().to_string(),
        network: network.hash().to_string(),
        listen,
    });
    Ok(())
}

/// Whether others with private addresses are its peers, too.
fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, folder, network, listen } = self;
        writeln!(f, "Node {node}")?;
        writeln!(
            f,
            "  folder     {folder}; its node.key is the node: keep it secret, and never run it twice"
        )?;
        writeln!(f, "  network    {network}")?;
        writeln!(f, "  listen     {listen}")?;
        writeln!(f, "  next       veracity node bond --folder {folder} --operator-key FILE --rpc URL")?;
        write!(f, "             veracity node start --folder {folder}")
    }
}
