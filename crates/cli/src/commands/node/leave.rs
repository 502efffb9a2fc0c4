use std::{fmt, time::SystemTime};

use alloy_primitives::{U256, hex};
use clap::Args;
use serde::Serialize;
use veracity_client::{ClientError, RoleSet, Stake};

use super::bond::{Opened, Operated, not_operator};
use crate::{
    chain::{client_failure, ver},
    error::Failure,
    output::Output,
};

/// Give up all roles of a node, and take its money out of the bond.
///
/// A validator is not elected any more, but those who were elected before sign until the end of the third epoch after, and longer
/// if the newly elected do not turn up: keep it running until then. Stop a worker, host or gateway first: its next start
/// would bond it again. Its money can be withdrawn after the delay that the
/// network prescribes.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  veracity node leave --folder v --operator-key operator.key")]
pub(super) struct LeaveArgs {
    #[command(flatten)]
    operated: Operated,
}

/// Withdraw what was taken out of a node's bond, once it has waited for long enough.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  veracity node withdraw --folder v --operator-key operator.key")]
pub(super) struct WithdrawArgs {
    #[command(flatten)]
    operated: Operated,
}

/// What waits, or was paid.
#[derive(Debug, Serialize)]
struct Leaving {
    node: String,
    waiting: Vec<Waiting>,
    balance_wei: U256,
}

/// Money that waits.
#[derive(Debug, Serialize)]
struct Waiting {
    amount_wei: u128,
    /// Seconds since 1970.
    ready_at: u64,
}

/// Runs `veracity node leave`.
pub(super) fn leave(args: &LeaveArgs, out: Output) -> Result<(), Failure> {
    let failure = |e| client_failure(&e);
    let opened = args.operated.open()?;
    let Opened { node, operator, chain, .. } = &opened;
    let stake = chain.stake();
    let info = stake.node(*node).map_err(failure)?.ok_or_else(|| unknown(&opened))?;
    if info.operator != operator.address() {
        return Err(not_operator(&info, operator));
    }
    if info.roles != 0 {
        stake.set_roles(operator, *node, RoleSet(0)).map_err(failure)?;
    }
    if !info.bond.is_zero() {
        stake.unbond(operator, *node, info.bond).map_err(failure)?;
    }
    show(&opened, out)
}

/// Runs `veracity node withdraw`.
pub(super) fn withdraw(args: &WithdrawArgs, out: Output) -> Result<(), Failure> {
    let failure = |e| client_failure(&e);
    let opened = args.operated.open()?;
    let Opened { node, operator, chain, .. } = &opened;
    chain.stake().node(*node).map_err(failure)?.ok_or_else(|| unknown(&opened))?;
    match chain.stake().withdraw(operator, *node, operator.address()) {
        Ok(_) => show(&opened, out),
        Err(ClientError::Refused(refusal)) => {
            let next: Option<Stake::NothingToWithdraw> = refusal.decode();
            let rest = next.and_then(|next| rest(u64::try_from(next.nextAt).ok()?));
            let fix = rest.map_or_else(|| "do as it says".to_owned(), |rest| format!("try again in {rest}"));
            Err(Failure::input("chain_refused", refusal, fix))
        }
        Err(error) => Err(client_failure(&error)),
    }
}

fn unknown(opened: &Opened) -> Failure {
    let message = format!("node {} is not registered", hex::encode(opened.node));
    Failure::input("not_registered", message, "check --folder; veracity node bond registers it")
}

fn show(opened: &Opened, out: Output) -> Result<(), Failure> {
    let failure = |e| client_failure(&e);
    let Opened { node, operator, chain, .. } = opened;
    let waiting = chain.stake().unbondings(*node).map_err(failure)?;
    let waiting = waiting.into_iter().map(|(amount_wei, ready_at)| Waiting { amount_wei, ready_at });
    out.result(&Leaving {
        node: hex::encode(node),
        waiting: waiting.collect(),
        balance_wei: chain.balance(operator.address()).map_err(failure)?,
    });
    Ok(())
}

/// How long it is until this time, in seconds since 1970; none if it has come.
fn rest(ready_at: u64) -> Option<String> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let rest = ready_at.checked_sub(now).filter(|rest| *rest > 0)?;
    let (days, hours, minutes) = (rest / 86_400, rest % 86_400 / 3600, rest % 3600 / 60);
    Some(match (days, hours) {
        (0, 0) => format!("{minutes} minutes and {} seconds", rest % 60),
        (0, _) => format!("{hours} hours and {minutes} minutes"),
        _ => format!("{days} days and {hours} hours"),
    })
}

impl fmt::Display for Leaving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, waiting, balance_wei } = self;
        writeln!(f, "Node {node}")?;
        for Waiting { amount_wei, ready_at } in waiting {
            let amount = ver(U256::from(*amount_wei));
            match rest(*ready_at) {
                Some(rest) => writeln!(f, "  waits      {amount} VER, for {rest} more")?,
                None => writeln!(f, "  ready      {amount} VER: veracity node withdraw")?,
            }
        }
        write!(f, "  operator   has {} VER", ver(*balance_wei))
    }
}
