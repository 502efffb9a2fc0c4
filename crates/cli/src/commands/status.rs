use std::fmt;

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use alloy_primitives::{B256, U256, hex};
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
    /// Who signs, now and later; none if the node takes no part in consensus.
    epoch: Option<Epoch>,
    /// Nodes that offer a role with enough bond; none on a chain without system contracts.
    nodes: Option<Nodes>,
}

/// The epoch of the next block.
#[derive(Debug, Serialize)]
struct Epoch {
    epoch: u64,
    first_block: u64,
    last_block: u64,
    /// Whether this node signs.
    signs: bool,
    /// How many epochs in a row, up to the last, ended without new shares for those who were elected.
    failed_epochs: u64,
    /// Seconds since the first block for which somebody else was elected than those who sign; none if nothing failed, or if
    /// the node does not have that block.
    failing_s: Option<u64>,
    /// Who signs, as `KEY@ADDRESS` if the address is known.
    committee: Vec<String>,
    /// Who was elected for the epochs after this one, the next first.
    coming: Vec<Coming>,
}

/// Who was elected for an epoch.
#[derive(Debug, Serialize)]
struct Coming {
    epoch: u64,
    nodes: Vec<String>,
}

/// What `veracity_epoch` says.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct EpochAnswer {
    epoch: Value,
    first_block: Value,
    last_block: Value,
    committee: Vec<Member>,
    coming: Vec<ComingAnswer>,
    failed_epochs: Value,
    signs: bool,
}

#[derive(Debug, Deserialize)]
struct ComingAnswer {
    epoch: Value,
    nodes: Vec<Member>,
}

#[derive(Debug, Deserialize)]
struct Member {
    node: B256,
    address: Option<String>,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = hex::encode(self.node);
        match &self.address {
            Some(address) => write!(f, "{key}@{address}"),
            None => write!(f, "{key}"),
        }
    }
}

/// The epoch, as the node says; none if it takes no part in consensus, or is of a version that does not say.
fn epoch(chain: &Chain, now_s: u64) -> Option<Epoch> {
    let answer: Option<EpochAnswer> = chain.rpc().call("veracity_epoch", json!([])).ok()?;
    let EpochAnswer { epoch, first_block, last_block, committee, coming, failed_epochs, signs } = answer?;
    let [epoch, first_block, last_block, failed_epochs] =
        [epoch, first_block, last_block, failed_epochs].map(|value| number(&value).unwrap_or_default());
    let texts = |members: Vec<Member>| members.iter().map(ToString::to_string).collect::<Vec<_>>();
    let coming = coming.into_iter();
    let coming =
        coming.map(|one| Coming { epoch: number(&one.epoch).unwrap_or_default(), nodes: texts(one.nodes) });
    let coming = coming.collect();
    let committee = texts(committee);
    // Epochs are of one length. The first that failed is this one or before it by one less than there are.
    let blocks = last_block.saturating_sub(first_block).saturating_add(1);
    let since = first_block.saturating_sub(failed_epochs.saturating_sub(1).saturating_mul(blocks));
    let failing_s = (failed_epochs > 0).then(|| {
        let block: Value =
            chain.rpc().call("eth_getBlockByNumber", json!([format!("0x{since:x}"), false])).ok()?;
        Some(now_s.saturating_sub(number(&block["timestamp"])?))
    });
    let failing_s = failing_s.flatten();
    Some(Epoch { epoch, first_block, last_block, signs, failed_epochs, failing_s, committee, coming })
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { epoch, first_block, last_block, signs, failed_epochs, failing_s, committee, coming } =
            self;
        let signs = if *signs { "this node signs" } else { "this node does not sign" };
        write!(f, "\n  epoch      {epoch}, blocks {first_block} to {last_block}; {signs}")?;
        match failed_epochs {
            0 => write!(f, "\n  shares     as elected")?,
            count => {
                let since = failing_s.map(|s| format!(", since {s} s")).unwrap_or_default();
                write!(
                    f,
                    "\n  shares     FAILED to change in {count} epochs{since}: too few of the elected took part, and who \
                     signed goes on"
                )?;
            }
        }
        write!(f, "\n  committee that signs now")?;
        committee.iter().try_for_each(|member| write!(f, "\n    {member}"))?;
        let mut before = committee;
        for Coming { epoch, nodes } in coming {
            match nodes == before {
                true => write!(f, "\n  elected for epoch {epoch}: the same")?,
                false => {
                    write!(f, "\n  elected for epoch {epoch}")?;
                    nodes.iter().try_for_each(|member| write!(f, "\n    {member}"))?;
                }
            }
            before = nodes;
        }
        Ok(())
    }
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
        epoch: epoch(&chain, now.as_secs()),
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
            epoch,
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
        if let Some(epoch) = epoch {
            write!(f, "{epoch}")?;
        }
        let Some(Nodes { validators, workers, hosts, gateways }) = nodes else { return Ok(()) };
        write!(f, "\n  nodes      {workers} workers, {hosts} hosts, {gateways} gateways")?;
        write!(f, "\n  validators that would be elected now")?;
        for Validator { node, bond_wei, endpoint } in validators {
            write!(f, "\n    {node}  {} VER  {endpoint}", ver(*bond_wei))?;
        }
        Ok(())
    }
}
