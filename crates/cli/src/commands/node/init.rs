use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use alloy_primitives::{Address, hex};
use clap::Args;
use serde::Serialize;
use veracity_node::{Contact, Folder, NodeConfig};

use crate::{chain, commands::network, error::Failure, output::Output};

const EXAMPLES: &str = "\
Examples:
  veracity node init --folder v --network net.json --listen 203.0.113.7:30303
  veracity node init --folder v --network net.json --listen 127.0.0.1:30303

The network file is the same for all nodes; each node's folder has it as network.json.";

/// Make the folder of a node that joins a network, with a new key.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct InitArgs {
    /// Folder to make.
    #[arg(long, value_name = "DIR")]
    folder: PathBuf,
    /// Network file.
    #[arg(long, value_name = "FILE")]
    network: PathBuf,
    /// IP address and port at which the other validators reach this one.
    #[arg(long, value_name = "ADDRESS")]
    listen: SocketAddr,
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
    let network = network::read(&args.network)?;
    if args.listen.port() == 0 || args.listen.ip().is_unspecified() {
        let message = format!("nobody can connect to {}", args.listen);
        return Err(Failure::input("bad_address", message, "give the IP address and port that others reach"));
    }
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|e| Failure::outside("no_random", e, "try again"))?;
    let config = NodeConfig {
        listen: args.listen,
        rpc: args.rpc,
        beneficiary: args.beneficiary.unwrap_or_default(),
        allow_private: is_private(args.listen.ip()),
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
        listen: args.listen,
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
