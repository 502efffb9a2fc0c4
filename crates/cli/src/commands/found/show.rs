use std::{collections::BTreeMap, fmt, path::PathBuf, time::SystemTime};

use alloy_primitives::{U256, hex};
use clap::Args;
use serde::Serialize;
use veracity_node::{Plan, faulty_max};

use super::plan;
use crate::{chain::ver, error::Failure, output::Output};

const EXAMPLES: &str = "\
Example:
  veracity found show plan.json

Compare the hash with the other founders in a way that the author of the plan cannot change: founders with the same hash \
make the same network, and others do not meet.";

/// Show what one agrees to with a plan.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ShowArgs {
    /// The plan.
    file: PathBuf,
}

/// A plan, for those who decide about it.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    plan: String,
    chain_id: u64,
    /// Time of the first block, in seconds since 1970.
    time: u64,
    gas_limit: u64,
    base_fee_wei: Option<String>,
    /// Bonded nodes that found nothing: workers, hosts, gateways.
    other_nodes: usize,
    founders: Vec<ShownFounder>,
    absent_max: u32,
    faulty_max: usize,
    balances_wei: BTreeMap<String, String>,
    /// Whether anybody has money beyond the bonds.
    has_free_money: bool,
    /// Accounts that have code or storage from the beginning.
    contracts: Vec<String>,
    parameters: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
struct ShownFounder {
    node: String,
    operator: String,
    endpoint: String,
    bond_wei: String,
}

impl Shown {
    pub(super) fn new(plan: &Plan) -> Self {
        let genesis = plan.genesis();
        let alloc = &genesis.ethereum.alloc;
        let founder = |founder: &veracity_chain::GenesisNode| ShownFounder {
            node: hex::encode(founder.node_id),
            operator: founder.operator.to_string(),
            endpoint: founder.endpoint.clone(),
            bond_wei: founder.bond.to_string(),
        };
        let has_code =
            alloc.iter().filter(|(_, account)| account.code.is_some() || account.storage.is_some());
        let parameters = genesis.parameters.iter();
        let money = alloc.values().fold(U256::ZERO, |sum, account| sum.saturating_add(account.balance));
        let bonds =
            genesis.nodes.iter().fold(U256::ZERO, |sum, node| sum.saturating_add(U256::from(node.bond)));
        Self {
            has_free_money: money > bonds,
            plan: hex::encode(plan.hash()),
            chain_id: genesis.chain_id(),
            time: genesis.ethereum.timestamp,
            gas_limit: genesis.ethereum.gas_limit,
            base_fee_wei: genesis.ethereum.base_fee_per_gas.map(|fee| fee.to_string()),
            other_nodes: genesis.nodes.len().saturating_sub(plan.founders().len()),
            founders: plan.founders().iter().map(founder).collect(),
            absent_max: plan.absent_max(),
            faulty_max: faulty_max(plan.founders().len()),
            balances_wei: alloc
                .iter()
                .map(|(a, account)| (a.to_string(), account.balance.to_string()))
                .collect(),
            contracts: has_code.map(|(address, _)| address.to_string()).collect(),
            parameters: parameters.map(|(p, value)| (p.name().to_owned(), value.to_string())).collect(),
        }
    }
}

/// Runs `veracity found show`.
pub(super) fn execute(args: &ShowArgs, out: Output) -> Result<(), Failure> {
    out.result(&Shown::new(&plan::read(&args.file)?));
    Ok(())
}

/// An amount of wei, written in digits, in VER.
fn in_ver(wei: &str) -> String {
    wei.parse().map(ver).unwrap_or_default()
}

/// How far a time is from now. Blocks have no time before it, so a network that begins in days stands still until then.
fn from_now(time: u64) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let span = |seconds: u64| match seconds {
        ..120 => format!("{seconds} seconds"),
        120..7200 => format!("{} minutes", seconds / 60),
        7200..172_800 => format!("{} hours", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    };
    match time.checked_sub(now) {
        None => format!("{} ago", span(now - time)),
        Some(ahead) if ahead < 3600 => format!("in {}", span(ahead)),
        Some(ahead) => format!("IN {}: the network stands still until then", span(ahead)),
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Plan {}", self.plan)?;
        writeln!(f, "  chain id       {}", self.chain_id)?;
        writeln!(f, "  begins         {} ({} seconds after 1970)", from_now(self.time), self.time)?;
        writeln!(f, "  gas limit      {}", self.gas_limit)?;
        if let Some(fee) = &self.base_fee_wei {
            writeln!(f, "  base fee       {fee} wei, which is not the usual")?;
        }
        if self.other_nodes > 0 {
            writeln!(
                f,
                "  other nodes    {} that found nothing are bonded: read the file",
                self.other_nodes
            )?;
        }
        writeln!(f, "  founders       {}, of whom {} may be faulty", self.founders.len(), self.faulty_max)?;
        for founder in &self.founders {
            let ShownFounder { node, operator, endpoint, bond_wei } = founder;
            writeln!(f, "    {node}  at {endpoint}")?;
            writeln!(f, "      bonds {} VER of {operator}", in_ver(bond_wei))?;
        }
        writeln!(f, "  may be absent  {}", self.absent_max)?;
        writeln!(f, "  money          before the founders bond")?;
        for (address, wei) in &self.balances_wei {
            writeln!(f, "    {address}  {} VER", in_ver(wei))?;
        }
        if !self.has_free_money {
            writeln!(
                f,
                "    ALL OF IT IS BONDED: nobody could pay for a transaction; see found plan --allocate"
            )?;
        }
        for address in &self.contracts {
            writeln!(f, "    {address}  has code or storage: read the file")?;
        }
        write!(f, "  parameters     ")?;
        if self.parameters.is_empty() {
            return write!(f, "the usual");
        }
        write!(f, "the usual, but")?;
        for (name, value) in &self.parameters {
            write!(f, "\n    {name} = {value}")?;
        }
        Ok(())
    }
}
