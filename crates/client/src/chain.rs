//! A chain, seen through one node.

use std::time::Duration;

use alloy_primitives::{Address, Bytes, U256, utils::format_ether};
use alloy_sol_types::SolCall;
use serde_json::json;

use crate::{Account, ClientError, Rpc, Sent, send::PATIENCE};

/// An amount of wei in VER, without zeros at the end.
#[must_use]
pub fn ver(wei: U256) -> String {
    let text = format_ether(wei);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A chain, seen through the JSON-RPC of one node at a time. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Chain {
    rpc: Rpc,
    id: u64,
    patience: Duration,
}

impl Chain {
    /// Connects to the node at a URL and asks which chain it has.
    ///
    /// # Errors
    /// [`ClientError::BadUrl`], [`ClientError::Unreachable`], [`ClientError::Strange`].
    pub fn connect(url: &str) -> Result<Self, ClientError> {
        let rpc = Rpc::new(url)?;
        let id = rpc.quantity("eth_chainId", json!([]))?;
        Ok(Self { rpc, id, patience: PATIENCE })
    }

    /// The same chain, seen through the next of these nodes from then on when one cannot be reached, if it is of a network
    /// with this chain id and key. What is no URL is left out.
    #[must_use]
    pub fn with_reserve<'a>(self, urls: impl IntoIterator<Item = &'a str>, network_key: Vec<u8>) -> Self {
        let (id, patience) = (self.id, self.patience);
        let is_right = move |node: &Rpc| {
            let chain = Self { rpc: node.clone(), id, patience };
            chain.check_id().is_ok() && chain.network_key().is_ok_and(|key| *key == *network_key)
        };
        Self { rpc: self.rpc.with_reserve(urls, is_right), ..self }
    }

    /// The same chain, with another time to wait until a transaction is final; a minute if none is given.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The chain id, which transactions are signed for.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The client of its node.
    #[must_use]
    pub fn rpc(&self) -> &Rpc {
        &self.rpc
    }

    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    /// Checks that the node still has this chain, and not another one that was begun in its place.
    ///
    /// # Errors
    /// [`ClientError::OtherChain`], [`ClientError::Unreachable`].
    pub fn check_id(&self) -> Result<(), ClientError> {
        let found = self.rpc.quantity("eth_chainId", json!([]))?;
        match found == self.id {
            true => Ok(()),
            false => {
                Err(ClientError::OtherChain { url: self.rpc.url().to_owned(), expected: self.id, found })
            }
        }
    }

    /// Reads from a contract, in the latest final state.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if the contract refuses, [`ClientError::Strange`] if there is no such contract.
    pub fn read<C: SolCall>(&self, contract: Address, call: &C) -> Result<C::Return, ClientError> {
        let request = json!({ "to": contract, "data": Bytes::from(call.abi_encode()) });
        let answer: Bytes = self.rpc.call("eth_call", json!([request, "latest"]))?;
        C::abi_decode_returns_validate(&answer)
            .map_err(|_| self.rpc.strange(format!("an answer of {contract} that is not of {}", C::SIGNATURE)))
    }

    /// Calls a contract by a transaction of an account, and waits until it is final.
    ///
    /// # Errors
    /// As [`Chain::transact`].
    pub fn send(
        &self,
        account: &Account,
        contract: Address,
        call: &impl SolCall,
        value: U256,
    ) -> Result<Sent, ClientError> {
        self.transact(account, contract, call.abi_encode().into(), value)
    }

    /// Money of an address, in wei.
    ///
    /// # Errors
    /// As [`Rpc::call`].
    pub fn balance(&self, of: Address) -> Result<U256, ClientError> {
        self.rpc.call("eth_getBalance", json!([of, "latest"]))
    }
}
