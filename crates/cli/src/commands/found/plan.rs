use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use alloy_primitives::{Address, U256};
use clap::Args;
use serde::Serialize;
use veracity_chain::Parameter;
use veracity_node::{FounderFile, Plan, PlanDraft, PlanError};

use super::show::Shown;
use crate::{chain, commands::faucet, error::Failure, files, output::Output};

const EXAMPLES: &str = "\
Examples:
  veracity found plan a.json b.json c.json d.json --chain-id 7 --out plan.json
  veracity found plan founders/*.json --chain-id 7 --bond 50000 \\
    --allocate 0x70997970C51812dc3A010C7d01b50e0d17dc79C8=1000000 \\
    --parameter heartbeat_ms=2000 --parameter validators_max=100 \\
    --out plan.json

The plan says all about the network but its key. Each operator gets what its node bonds; other money is where --allocate \
puts it. The names of parameters are in docs/spec/contracts.md, section 4.";

/// Put founder files, money and parameters together into the plan that all founders agree on.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct PlanArgs {
    /// Founder files, in any order.
    #[arg(required = true, value_name = "FILE")]
    founders: Vec<PathBuf>,
    /// Chain that transactions are signed for.
    #[arg(long, value_name = "ID")]
    chain_id: u64,
    /// When the network begins, in seconds since 1970 [default: now].
    #[arg(long, value_name = "SECONDS")]
    time: Option<u64>,
    /// What each founder bonds, in VER [default: the least].
    #[arg(long, value_name = "VER", value_parser = faucet::amount)]
    bond: Option<U256>,
    /// Money that an account has from the beginning, in VER; may be given several times.
    #[arg(long, value_name = "ADDRESS=VER", value_parser = allocation)]
    allocate: Vec<(Address, U256)>,
    /// Parameter that differs from the usual; may be given several times.
    #[arg(long, value_name = "NAME=NUMBER", value_parser = parameter)]
    parameter: Vec<(Parameter, u128)>,
    /// How many founders may be absent when the key is made. The others then know their shares, so each is one that may sign
    /// anything until the first epoch is over.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    absent: u32,
    /// File for the plan.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

fn allocation(text: &str) -> Result<(Address, U256), String> {
    let (address, amount) = text.split_once('=').ok_or("must be an address, =, and VER")?;
    let address = chain::address(address)?;
    Ok((address, faucet::amount(amount)?))
}

fn parameter(text: &str) -> Result<(Parameter, u128), String> {
    let (name, value) = text.split_once('=').ok_or("must be a name, =, and a number")?;
    let names = || Parameter::ALL.iter().map(|parameter| parameter.name()).collect::<Vec<_>>().join(", ");
    let parameter = Parameter::from_name(name).ok_or_else(|| format!("{name} is none of {}", names()))?;
    Ok((parameter, value.parse().map_err(|_| format!("{value} is no number"))?))
}

/// Seconds that a plan's time may lie ahead.
const AHEAD_S_MAX: u64 = 30 * 86_400;
/// Longest founder file that is read.
const FOUNDER_BYTES_MAX: u64 = 64 << 10;
/// Longest plan that is read.
const PLAN_BYTES_MAX: u64 = 64 << 20;

/// Reads a plan.
///
/// # Errors
/// `plan`, and trouble with the file.
pub(super) fn read(path: &Path) -> Result<Plan, Failure> {
    let text = String::from_utf8(files::read(path, PLAN_BYTES_MAX)?);
    let text = text.map_err(|e| Failure::input("plan", e, "check the plan's file").about(path))?;
    Plan::from_json(&text).map_err(|e| plan_failure(&e).about(path))
}

fn plan_failure(error: &PlanError) -> Failure {
    Failure::input("plan", error, "make the plan again with veracity found plan")
}

fn read_founder(path: &Path) -> Result<FounderFile, Failure> {
    let text = String::from_utf8_lossy(&files::read(path, FOUNDER_BYTES_MAX)?).into_owned();
    let fix = "ask for the file that veracity found prepare wrote";
    FounderFile::from_json(&text).map_err(|e| Failure::input("founder", e, fix).about(path))
}

/// A plan that was written.
#[derive(Debug, Serialize)]
struct Written {
    file: String,
    plan: Shown,
}

/// Runs `veracity found plan`.
pub(super) fn execute(args: &PlanArgs, out: Output) -> Result<(), Failure> {
    let parameters: BTreeMap<Parameter, u128> = args.parameter.iter().copied().collect();
    let least = parameters.get(&Parameter::BondMinValidatorWei).copied();
    let least = least.unwrap_or(Parameter::BondMinValidatorWei.genesis());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut allocations = BTreeMap::new();
    for (address, amount) in &args.allocate {
        let balance: &mut U256 = allocations.entry(*address).or_default();
        *balance = balance.saturating_add(*amount);
    }
    let time = args.time.unwrap_or(now);
    if time > now.saturating_add(AHEAD_S_MAX) {
        let message = format!("the network would stand still for {} days", (time - now) / 86_400);
        return Err(Failure::input("plan", message, "give --time in seconds since 1970, or leave it out"));
    }
    let draft = PlanDraft {
        chain_id: args.chain_id,
        time,
        founders: args.founders.iter().map(|path| read_founder(path)).collect::<Result<_, _>>()?,
        bond: args.bond.unwrap_or(U256::from(least)),
        allocations,
        parameters,
        absent_max: args.absent,
    };
    let fix = "change the options, or ask the founder for another file";
    let plan = draft.create().map_err(|e| Failure::input("plan", e, fix))?;
    files::write_new(&args.out, plan.to_json().as_bytes())?;
    out.result(&Written { file: args.out.display().to_string(), plan: Shown::new(&plan) });
    Ok(())
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, plan } = self;
        writeln!(f, "{plan}")?;
        writeln!(f, "  next           send {file} to all founders; each of them:")?;
        write!(f, "                 veracity found show {file}")
    }
}
