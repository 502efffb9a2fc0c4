use std::fmt;

use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

use veracity_client::{Rpc, quantity as number};

use crate::{chain::client_failure, error::Failure, output::Output};

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
}

/// Runs `veracity status`.
pub(crate) fn execute(args: &StatusArgs, out: Output) -> Result<(), Failure> {
    let rpc = Rpc::new(&args.rpc).map_err(|e| client_failure(&e))?;
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
            ..
        } = self;
        writeln!(f, "{software}, chain id {chain_id}")?;
        writeln!(f, "  height     {height}, {age_s} s ago")?;
        writeln!(f, "  block      {block}")?;
        match certified {
            Some(at) => writeln!(f, "  certified  up to {at}")?,
            None => writeln!(f, "  certified  nothing near the latest block")?,
        }
        writeln!(f, "  base fee   {base_fee_wei} wei per gas")?;
        writeln!(f, "  waiting    {waiting} transactions")?;
        write!(f, "  key        {}", network_key.as_deref().unwrap_or("unknown to this node"))
    }
}
