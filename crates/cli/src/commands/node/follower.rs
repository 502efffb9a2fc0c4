//! Followers: nodes that are no validators.

use std::{fmt, net::SocketAddr, num::NonZeroUsize, path::Path};

use serde::Serialize;
use veracity_client::Rpc;
use veracity_node::{Folder, FollowerConfig, FollowerOptions, Node};

use super::start;
use crate::{chain, commands::network, error::Failure, output::Output, server};

/// What was made.
#[derive(Debug, Serialize)]
pub(super) struct Made {
    folder: String,
    network: String,
    upstreams: Vec<String>,
}

/// Makes the folder of a follower.
pub(super) fn init(
    path: &Path,
    network: &Path,
    upstreams: &[String],
    rpc: SocketAddr,
) -> Result<Made, Failure> {
    let network = network::read(network)?;
    for url in upstreams {
        let fix = "give URLs such as http://203.0.113.1:8545 with --upstream";
        Rpc::new(url).map_err(|e| Failure::input("bad_url", e, fix))?;
    }
    let config = FollowerConfig { rpc, upstreams: upstreams.to_vec() };
    Folder::new(path).follow(&network, &config).map_err(|e| chain::folder_failure(&e))?;
    Ok(Made {
        folder: path.display().to_string(),
        network: network.hash().to_string(),
        upstreams: config.upstreams,
    })
}

/// What runs where.
#[derive(Debug, Serialize)]
struct Banner {
    network: String,
    chain_id: u64,
    height: u64,
    rpc: String,
}

/// Runs the follower of a folder until it is interrupted.
pub(super) fn start(
    path: &Path,
    rpc: Option<SocketAddr>,
    threads: NonZeroUsize,
    out: Output,
) -> Result<(), Failure> {
    let folder = Folder::new(path);
    let config = folder.follower_config().map_err(|e| chain::folder_failure(&e))?;
    let options =
        FollowerOptions { folder, rpc: veracity_rpc::Config::new(rpc.unwrap_or(config.rpc)), threads };
    let runtime = server::runtime()?;
    runtime.block_on(async {
        out.note(format!("follows {}; it is ready with the next block", config.upstreams.join(", ")));
        start::run(Node::follow(options), out, |node| Banner {
            network: node.network().hash().to_string(),
            chain_id: node.network().chain_id(),
            height: node.chain().head().number(),
            rpc: format!("http://{}", node.rpc_address()),
        })
        .await
    })
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { folder, network, upstreams } = self;
        writeln!(f, "Follower")?;
        writeln!(f, "  folder     {folder}")?;
        writeln!(f, "  network    {network}")?;
        for upstream in upstreams {
            writeln!(f, "  follows    {upstream}")?;
        }
        write!(f, "  next       veracity node start --folder {folder}")
    }
}

impl fmt::Display for Banner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { network, chain_id, height, rpc } = self;
        writeln!(f, "Follower")?;
        writeln!(f, "  network    {network}, chain id {chain_id}")?;
        writeln!(f, "  height     {height}")?;
        writeln!(f, "  JSON-RPC   {rpc}")?;
        write!(f, "  stop       Ctrl-C")
    }
}
