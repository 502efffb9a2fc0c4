use std::fmt;

use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

use alloy_primitives::{U256, hex};
use veracity_client::{Chain, ClientError, RoleSet, quantity as number};

use crate::{
    chain::{client_failure, ver},
    error::Failure,
    output::Output,
};

const EXAMPLES: &str = "\
Examples:
  veracity status
  veracity status --rpc http://127.0.0.1:8546 --json";

/// Show how a node and its network are.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct StatusArgs {
    /// JSON-RPC of the node.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8545")]
    rpc: String,
}

/// What a node says.
#[derive(Debug, Serialize)]
struct Status {
    software: String,
    chain_id: u64,
    height: u64,
    block: String,
    /// Seconds since 1970.
    time: u64,
    age_s: u64,
    base_fee_wei: u64,
    waiting: u64,
    network_key: Option<String>,
    /// Height of the first block, from the latest backwards, that the node has a certificate for.
    certified: Option<u64>,
    peers: u64,
    /// Final blocks that the node knows of and has not yet, if they are more than a few.
    behind: u64,
    /// Nodes that offer a role with enough bond; none on a chain without system contracts.
    nodes: Option<Nodes>,
}

/// Who takes part in the network.
#[derive(Debug, Serialize)]
struct Nodes {
    /// Those who would be elected now, highest bond first.
    validators: Vec<Validator>,
    workers: u64,
    hosts: u64,
    gateways: u64,
}

#[derive(Debug, Serialize)]
struct Validator {
    node: String,
    bond_wei: U256,
    endpoint: String,
}

/// Nodes that are looked at, at most: the oldest.
const NODES_MAX: u64 = 256;

fn nodes(chain: &Chain) -> Result<Nodes, ClientError> {
    let stake = chain.stake();
    let validators = stake.validators(chain.parameter("validators_max")?.saturating_to())?;
    let validators = validators.into_iter().map(|(id, bond_wei)| {
        let endpoint = stake.node(id)?.map(|info| info.endpoint).unwrap_or_default();
        Ok(Validator { node: hex::encode(id), bond_wei, endpoint })
    });
    let validators = validators.collect::<Result<Vec<_>, ClientError>>()?;
    let [mut workers, mut hosts, mut gateways] = [0; 3];
    for node in stake.nodes(0, NODES_MAX)? {
        let Some(info) = stake.node(node)?.filter(|info| info.bond >= info.required) else { continue };
        let has = |role| u64::from(RoleSet(info.roles).contains(role));
        workers += has(RoleSet::WORKER);
        hosts += has(RoleSet::HOST);
        gateways += has(RoleSet::GATEWAY);
    }
    Ok(Nodes { validators, workers, hosts, gateways })
}

/// Runs `veracity status`.
pub(crate) fn execute(args: &StatusArgs, out: Output) -> Result<(), Failure> {
    let chain = Chain::connect(&args.rpc).map_err(|e| client_failure(&e))?;
    let rpc = chain.rpc();
    let call =
        |method: &str, params: Value| rpc.call::<Value>(method, params).map_err(|e| client_failure(&e));
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let block = call("eth_getBlockByNumber", json!(["latest", false]))?;
    let height = number(&block["number"]).unwrap_or_default();
    let time = number(&block["timestamp"]).unwrap_or_default();
    let pool = call("txpool_status", json!([]))?;
    let certified = (height.saturating_sub(16)..=height).rev().find(|height| {
        let asked = call("veracity_getFinalization", json!([format!("0x{height:x}")]));
        asked.is_ok_and(|finalization| !finalization.is_null())
    });
    let syncing = call("eth_syncing", json!([]))?;
    let behind = number(&syncing["highestBlock"]).unwrap_or_default().saturating_sub(height);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    out.result(&Status {
        software: text(&call("web3_clientVersion", json!([]))?).unwrap_or_default(),
        chain_id: number(&call("eth_chainId", json!([]))?).unwrap_or_default(),
        height,
        block: text(&block["hash"]).unwrap_or_default(),
        time,
        age_s: now.as_secs().saturating_sub(time),
        base_fee_wei: number(&block["baseFeePerGas"]).unwrap_or_default(),
        waiting: ["pending", "queued"].iter().filter_map(|kind| number(&pool[*kind])).sum(),
        network_key: text(&call("veracity_networkKey", json!([]))?),
        certified,
        peers: number(&call("net_peerCount", json!([]))?).unwrap_or_default(),
        behind,
        nodes: nodes(&chain).ok(),
    });
    Ok(())
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            software,
            chain_id,
            height,
            block,
            age_s,
            base_fee_wei,
            waiting,
            network_key,
            certified,
            peers,
            behind,
            nodes,
            ..
        } = self;
        writeln!(f, "{software}, chain id {chain_id}")?;
        write!(f, "  height     {height}, {age_s} s ago")?;
        match behind {
            0 => writeln!(f)?,
            behind => writeln!(f, "; {behind} final blocks are still to come")?,
        }
        writeln!(f, "  block      {block}")?;
        match certified {
            Some(at) => writeln!(f, "  certified  up to {at}")?,
            None => writeln!(f, "  certified  nothing near the latest block")?,
        }
        writeln!(f, "  base fee   {base_fee_wei} wei per gas")?;
        writeln!(f, "  waiting    {waiting} transactions")?;
        writeln!(f, "  peers      {peers}")?;
        write!(f, "  key        {}", network_key.as_deref().unwrap_or("unknown to this node"))?;
        let Some(Nodes { validators, workers, hosts, gateways }) = nodes else { return Ok(()) };
        write!(f, "\n  nodes      {workers} workers, {hosts} hosts, {gateways} gateways")?;
        write!(f, "\n  validators that would be elected now")?;
        for Validator { node, bond_wei, endpoint } in validators {
            write!(f, "\n    {node}  {} VER  {endpoint}", ver(*bond_wei))?;
        }
        Ok(())
    }
}
