use std::{
    fmt,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use serde::Serialize;
use veracity_client::Rpc;
use veracity_node::Network;

use crate::{
    chain::{self, client_failure},
    error::Failure,
    files,
    output::Output,
};

const EXAMPLES: &str = "\
Examples:
  veracity network export-key --network network.json --out network.key
  veracity network export-key --rpc http://127.0.0.1:8545
  veracity network show network.json
  veracity verify r.cose --network-key network.key

The network key is 96 bytes and stays the same for ever. Whoever has the right one can check, without a network and \
without trusting anybody, that a block is final. So take it from somebody you trust, once: a node that gives it over \
JSON-RPC could give another.";

/// Describe a network, or take its key with you.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct NetworkArgs {
    #[command(subcommand)]
    command: NetworkCommand,
}

#[derive(Debug, Subcommand)]
enum NetworkCommand {
    ExportKey(ExportKeyArgs),
    Show(ShowArgs),
}

/// Write the key that all blocks of a network verify against, for ever.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  veracity network export-key --network network.json --out network.key")]
struct ExportKeyArgs {
    /// Network file, which every node's folder has.
    #[arg(long, value_name = "FILE", conflicts_with = "rpc")]
    network: Option<PathBuf>,
    /// JSON-RPC of a node that you trust.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8545")]
    rpc: String,
    /// File for the key in hexadecimal digits.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Show what a network file says.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  veracity network show ~/.veracity/localnet/0/network.json")]
struct ShowArgs {
    /// Network file.
    file: PathBuf,
}

/// A network's key.
#[derive(Debug, Serialize)]
struct Key {
    network_key: String,
    /// Whether it came from a node, which was believed.
    believed: bool,
    file: Option<String>,
}

/// A network.
#[derive(Debug, Serialize)]
struct Shown {
    network: String,
    chain_id: u64,
    network_key: String,
    validators: Vec<String>,
}

/// Longest network file that is read.
const NETWORK_BYTES_MAX: u64 = 64 << 20;

/// Reads a network file.
///
/// # Errors
/// `network`, and trouble with the file.
pub(super) fn read(path: &Path) -> Result<Network, Failure> {
    let text = String::from_utf8(files::read(path, NETWORK_BYTES_MAX)?);
    let text = text.map_err(|e| Failure::input("network", e, "check the network's file").about(path))?;
    Network::from_json(&text).map_err(|e| chain::network_failure(&e).about(path))
}

/// Runs `veracity network`.
pub(crate) fn execute(args: &NetworkArgs, out: Output) -> Result<(), Failure> {
    match &args.command {
        NetworkCommand::ExportKey(args) => export_key(args, out),
        NetworkCommand::Show(args) => {
            let network = read(&args.file)?;
            let hex = |key: [u8; 32]| alloy_primitives::hex::encode(key);
            out.result(&Shown {
                network: network.hash().to_string(),
                chain_id: network.chain_id(),
                network_key: bare(&network.key().to_string()),
                validators: network.epoch().validators().into_iter().map(hex).collect(),
            });
            Ok(())
        }
    }
}

fn export_key(args: &ExportKeyArgs, out: Output) -> Result<(), Failure> {
    let key = match &args.network {
        Some(file) => read(file)?.key().to_string(),
        None => {
            let rpc = Rpc::new(&args.rpc).map_err(|e| client_failure(&e))?;
            let key: alloy_primitives::FixedBytes<96> =
                rpc.call("veracity_networkKey", ()).map_err(|e| client_failure(&e))?;
            key.to_string()
        }
    };
    let network_key = bare(&key);
    if let Some(file) = &args.out {
        files::write_new(file, format!("{network_key}\n").as_bytes())?;
    }
    let file = args.out.as_ref().map(|file| file.display().to_string());
    out.result(&Key { network_key, believed: args.network.is_none(), file });
    Ok(())
}

/// The text of a key (docs/spec/light.md, section 2).
fn bare(key: &str) -> String {
    key.trim_start_matches("0x").to_owned()
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.network_key)
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { network, chain_id, network_key, validators } = self;
        writeln!(f, "Network {network}")?;
        writeln!(f, "  chain id    {chain_id}")?;
        writeln!(f, "  key         {network_key}")?;
        write!(f, "  founded by  {}", validators.join("\n              "))
    }
}
