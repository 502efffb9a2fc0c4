use std::fmt;

use alloy_primitives::{Address, U256, utils::parse_ether};
use clap::Args;
use serde::Serialize;
use veracity_client::{Account, Chain};
use veracity_node::faucet_account;

use crate::{
    chain::{self, client_failure, ver},
    error::Failure,
    output::Output,
};

const EXAMPLES: &str = "\
Examples:
  veracity faucet 0x70997970C51812dc3A010C7d01b50e0d17dc79C8
  veracity faucet 0x70997970C51812dc3A010C7d01b50e0d17dc79C8 --amount 20000

Networks for development have an account for this, whose key everybody knows. Other networks have none.";

/// Give an account money, on a network for development.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct FaucetArgs {
    /// Who gets it.
    #[arg(value_parser = chain::address)]
    address: Address,
    /// How much, in VER.
    #[arg(long, value_name = "VER", default_value = "100", value_parser = amount)]
    amount: U256,
    /// JSON-RPC of a node of the network.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8545")]
    rpc: String,
}

/// An amount in VER, at most 10^9 of it.
pub(super) fn amount(text: &str) -> Result<U256, String> {
    const VER_MAX: u64 = 1_000_000_000;
    let wei = parse_ether(text).map_err(|_| "not a number of VER such as 12 or 0.5".to_owned())?;
    let wei_max = U256::from(VER_MAX) * U256::from(10).pow(U256::from(18));
    match wei.is_zero() || wei > wei_max {
        true => Err(format!("must be more than 0 and at most {VER_MAX} VER")),
        false => Ok(wei),
    }
}

/// What was given.
#[derive(Debug, Serialize)]
struct Given {
    address: Address,
    amount_wei: U256,
    balance_wei: U256,
    transaction: String,
    height: u64,
}

/// Runs `veracity faucet`.
pub(crate) fn execute(args: &FaucetArgs, out: Output) -> Result<(), Failure> {
    let failure = |e| client_failure(&e);
    let chain = Chain::connect(&args.rpc).map_err(failure)?;
    let account = Account::from_key(faucet_account().key).expect("the key of the faucet is one");
    let balance = chain.balance(account.address()).map_err(failure)?;
    if balance <= args.amount {
        let message = format!("the faucet of this network has {} VER", ver(balance));
        return Err(Failure::input(
            "no_faucet",
            message,
            "ask for less; if this is no network for development, ask somebody who has VER",
        ));
    }
    let sent = chain.transfer(&account, args.address, args.amount).map_err(failure)?;
    out.result(&Given {
        address: args.address,
        amount_wei: args.amount,
        balance_wei: chain.balance(args.address).map_err(failure)?,
        transaction: sent.hash.to_string(),
        height: sent.height,
    });
    Ok(())
}

impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, amount_wei, balance_wei, transaction, height } = self;
        writeln!(f, "{address} got {} VER in block {height}", ver(*amount_wei))?;
        writeln!(f, "  transaction  {transaction}")?;
        write!(f, "  balance      {} VER", ver(*balance_wei))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_bounded() {
        assert_eq!(amount("0.5").unwrap(), U256::from(500_000_000_000_000_000_u64));
        for text in ["", "0", "-1", "a", "1e3", "1000000001", "0.0000000000000000001"] {
            assert!(amount(text).is_err(), "{text}");
        }
    }
}
