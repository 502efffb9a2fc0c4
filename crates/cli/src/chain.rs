//! What commands about the chain share.

use std::{fmt, path::Path};

use alloy_primitives::Address;
use serde::Serialize;
pub(crate) use veracity_client::ver;
use veracity_client::{Account, ClientError};
use veracity_node::{DevAccount, FolderError, Network, NetworkError, NodeError, dev_accounts, dev_operators};

use crate::{error::Failure, files};

/// Longest file of a key.
const KEY_BYTES_MAX: u64 = 4096;
/// Chain id of networks for development, the one that Ethereum's tools expect.
pub(crate) const CHAIN_ID: u64 = 31337;
/// Accounts with money on networks for development.
pub(crate) const ACCOUNTS: u32 = 10;

/// The account for development with this address, if it is one that operates nodes, or one for users.
pub(crate) fn dev_account(address: alloy_primitives::Address) -> Option<DevAccount> {
    dev_accounts(0, ACCOUNTS).into_iter().chain(dev_operators()).find(|account| account.address == address)
}

/// What one needs to use a network for development.
#[derive(Debug, Serialize)]
pub(crate) struct Banner {
    chain_id: u64,
    network: String,
    network_key: String,
    rpc: String,
    accounts: Vec<ShownAccount>,
}

/// An account that everybody may use.
#[derive(Debug, Serialize)]
struct ShownAccount {
    address: String,
    private_key: String,
}

impl Banner {
    pub(crate) fn new(network: &Network, rpc: &str) -> Self {
        let account = |account: DevAccount| ShownAccount {
            address: account.address.to_string(),
            private_key: account.key.to_string(),
        };
        Self {
            chain_id: network.chain_id(),
            network: network.hash().to_string(),
            network_key: network.key().to_string(),
            rpc: rpc.to_owned(),
            accounts: dev_accounts(0, ACCOUNTS).into_iter().map(account).collect(),
        }
    }
}

impl fmt::Display for Banner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { chain_id, network, network_key, rpc, accounts } = self;
        writeln!(f, "  chain id   {chain_id}")?;
        writeln!(f, "  network    {network}")?;
        writeln!(f, "  key        {network_key}")?;
        writeln!(f, "  JSON-RPC   {rpc} (HTTP and WebSocket)")?;
        writeln!(
            f,
            "  accounts   10000 VER each; everybody knows these keys, so use them for development only"
        )?;
        for (index, account) in accounts.iter().enumerate() {
            writeln!(f, "    ({index}) {}  {}", account.address, account.private_key)?;
        }
        writeln!(f, "  try        cast block-number --rpc-url {rpc}")?;
        writeln!(
            f,
            "             cast balance {} --rpc-url {rpc}",
            accounts.first().map_or("", |a| &a.address)
        )?;
        write!(f, "             veracity status --rpc {rpc}")
    }
}

/// An address as a user writes it. With capital and small letters it must have the checksum of EIP-55, so that a slip of
/// the finger is noticed.
pub(crate) fn address(text: &str) -> Result<Address, String> {
    let address: Address = text.parse().map_err(|_| format!("{text} is no address"))?;
    let digits = text.trim_start_matches("0x");
    let is_mixed =
        digits.bytes().any(|b| b.is_ascii_lowercase()) && digits.bytes().any(|b| b.is_ascii_uppercase());
    if is_mixed && address.to_checksum(None).trim_start_matches("0x") != digits {
        return Err(format!("{text} has a digit or more that is wrong: its checksum (EIP-55) does not fit"));
    }
    Ok(address)
}

/// The account whose private key a file has, in hexadecimal digits.
///
/// # Errors
/// `bad_key`, and trouble with the file.
pub(crate) fn read_account(path: &Path) -> Result<Account, Failure> {
    let text = files::read(path, KEY_BYTES_MAX)?;
    let text = String::from_utf8_lossy(&text);
    text.parse().map_err(|e| Failure::input("bad_key", e, "give the file of a private key").about(path))
}

/// Why a node or a contract did not answer, for users.
pub(crate) fn client_failure(error: &ClientError) -> Failure {
    match error {
        ClientError::BadUrl { .. } => {
            Failure::input("bad_url", error, "give the JSON-RPC of a node, such as http://127.0.0.1:8545")
        }
        ClientError::Refused(_) => Failure::input("chain_refused", error, "do as it says"),
        ClientError::Node { .. } => Failure::input("rpc_refused", error, "see what the node says"),
        ClientError::Unreachable { .. } => Failure::outside(
            "rpc_unreachable",
            error,
            "check the address, and that the node there runs (veracity up runs one here)",
        ),
        _ => Failure::outside("chain", error, "try again"),
    }
}

/// Whole VER of an amount in wei.
pub(crate) fn ether(wei: &str) -> String {
    const DECIMALS: usize = 18;
    match wei.len().checked_sub(DECIMALS) {
        None | Some(0) => "less than 1".to_owned(),
        Some(digits) => wei[..digits].to_owned(),
    }
}

pub(crate) fn folder_failure(error: &FolderError) -> Failure {
    match error {
        FolderError::Io { .. } => {
            Failure::outside("node_folder", error, "check the path and who may read it")
        }
        FolderError::Taken { .. } => Failure::input("node_folder_taken", error, "choose another folder"),
        _ => Failure::input("node_folder", error, "restore the folder from a backup"),
    }
}

pub(crate) fn network_failure(error: &NetworkError) -> Failure {
    Failure::input("network", error, "check the network's file")
}

pub(crate) fn node_failure(error: &NodeError) -> Failure {
    match error {
        NodeError::Folder(error) => folder_failure(error),
        NodeError::Serve(error) => Failure::outside("rpc_port", error, "choose another address with --rpc"),
        NodeError::NoUpstream | NodeError::Upstream(_) | NodeError::Lies { .. } => {
            Failure::input("upstreams", error, "put the JSON-RPC of nodes of this network into follower.json")
        }
        error => Failure::outside("node", error, "do as it says; the log above has more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_address_is_refused() {
        let right = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
        assert!(address(right).is_ok() && address(&right.to_lowercase()).is_ok());
        let refused = address("0x70997970C51812dc3A010C7d01b50e0d17dc79C9").unwrap_err();
        assert!(refused.contains("EIP-55"), "{refused}");
        assert!(address("0x7099").unwrap_err().contains("no address"));
    }
}
