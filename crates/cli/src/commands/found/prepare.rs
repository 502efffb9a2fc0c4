use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use alloy_primitives::{Address, hex};
use clap::Args;
use serde::Serialize;
use veracity_node::{Folder, NodeConfig};

use crate::{chain, error::Failure, files, output::Output};

const EXAMPLES: &str = "\
Examples:
  veracity keys new operator.key
  veracity found prepare --folder v --chain-id 7 --listen 203.0.113.7:30303 \\
    --operator 0x70997970C51812dc3A010C7d01b50e0d17dc79C8 --out a.json

Only the operator's address is needed here: keep its key on another machine. The founder file has no secret.";

/// Make the folder of a node that founds a network, and the file that tells the others who it is.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct PrepareArgs {
    /// Folder to make.
    #[arg(long, value_name = "DIR")]
    folder: PathBuf,
    /// Chain that transactions of the network will be signed for; the same for all founders.
    #[arg(long, value_name = "ID")]
    chain_id: u64,
    /// IP address and port at which the other founders reach this one.
    #[arg(long, value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Account that will own the node's bond and speak for it.
    #[arg(long, value_name = "ADDRESS", value_parser = chain::address)]
    operator: Address,
    /// Address for JSON-RPC, later; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8545")]
    rpc: SocketAddr,
    /// Account that receives the tips of its blocks [default: the operator].
    #[arg(long, value_name = "ADDRESS", value_parser = chain::address)]
    beneficiary: Option<Address>,
    /// File for the founder file.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// What was made.
#[derive(Debug, Serialize)]
struct Made {
    node: String,
    folder: String,
    file: String,
    listen: SocketAddr,
    operator: String,
}

/// Runs `veracity found prepare`.
pub(super) fn execute(args: &PrepareArgs, out: Output) -> Result<(), Failure> {
    if args.listen.port() == 0 || args.listen.ip().is_unspecified() || args.listen.ip().is_multicast() {
        let message = format!("nobody can connect to {}", args.listen);
        return Err(Failure::input("bad_address", message, "give the IP address and port that others reach"));
    }
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|e| Failure::outside("no_random", e, "try again"))?;
    let config = NodeConfig {
        listen: args.listen,
        rpc: args.rpc,
        beneficiary: args.beneficiary.unwrap_or(args.operator),
        allow_private: is_private(args.listen.ip()),
        join: false,
        bootstrap: vec![],
    };
    let folder = Folder::new(&args.folder);
    let founder = folder.prepare(seed, &config, args.chain_id, args.operator);
    let founder = founder.map_err(|e| chain::folder_failure(&e))?;
    files::write_new(&args.out, format!("{}\n", founder.to_json()).as_bytes())?;
    out.result(&Made {
        node: hex::encode(founder.node_id),
        folder: args.folder.display().to_string(),
        file: args.out.display().to_string(),
        listen: args.listen,
        operator: args.operator.to_string(),
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
        let Self { node, folder, file, listen, operator } = self;
        writeln!(f, "Founder {node}")?;
        writeln!(
            f,
            "  folder     {folder}; its node.key is the node: keep it secret, and never run it twice"
        )?;
        writeln!(f, "  listen     {listen}")?;
        writeln!(f, "  operator   {operator}")?;
        writeln!(f, "  next       send {file} to the one who writes the plan; when you have the plan:")?;
        writeln!(f, "             veracity found show plan.json")?;
        write!(f, "             veracity found run --folder {folder} --plan plan.json")
    }
}
