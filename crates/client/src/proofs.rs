//! What a node gives to those who verify by themselves (`docs/spec/rpc.md`, section 5). Nothing here is checked yet.

use alloy_primitives::{B256, Bytes};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Chain, ClientError, Log, quantity};

/// Why a block is final: a certificate of it or of a later block, and the headers between.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct BlockFinalization {
    /// As consensus made it.
    pub certificate: Bytes,
    /// Headers (RLP) from the block that was asked for up to the certified one.
    pub headers: Vec<Bytes>,
}

/// That a transaction is in a block, and what it did there.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TransactionInclusion {
    /// The block's header (RLP).
    pub header: Bytes,
    /// Its hash.
    pub block_hash: B256,
    #[serde(deserialize_with = "number")]
    /// Its height.
    pub block_number: u64,
    /// The transaction's place in the block.
    #[serde(deserialize_with = "number")]
    pub index: u64,
    /// The receipt (EIP-2718).
    pub receipt: Bytes,
    /// Nodes from `receiptsRoot` to the receipt.
    pub receipt_proof: Vec<Bytes>,
}

fn number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let value = Value::deserialize(deserializer)?;
    quantity(&value).ok_or_else(|| serde::de::Error::custom("not a quantity"))
}

impl Chain {
    /// The certificate of a block; none while nothing certifies it.
    ///
    /// # Errors
    /// As [`Rpc::call`](crate::Rpc::call).
    pub fn finalization(&self, height: u64) -> Result<Option<BlockFinalization>, ClientError> {
        self.rpc().call("veracity_getFinalization", json!([format!("{height:#x}")]))
    }

    /// Where a transaction is, with proofs; none if no block has it.
    ///
    /// # Errors
    /// As [`Rpc::call`](crate::Rpc::call).
    pub fn inclusion(&self, transaction: B256) -> Result<Option<TransactionInclusion>, ClientError> {
        self.rpc().call("veracity_getTransactionInclusion", json!([transaction]))
    }

    /// The network key that the node has. Whoever trusts a node with it trusts it with everything.
    ///
    /// # Errors
    /// As [`Rpc::call`](crate::Rpc::call).
    pub fn network_key(&self) -> Result<Bytes, ClientError> {
        self.rpc().call("veracity_networkKey", json!([]))
    }

    /// Logs of a contract in one block whose first topics are these.
    ///
    /// # Errors
    /// As [`Rpc::call`](crate::Rpc::call).
    pub fn logs_at(
        &self,
        height: u64,
        contract: alloy_primitives::Address,
        topics: &[B256],
    ) -> Result<Vec<Log>, ClientError> {
        let block = format!("{height:#x}");
        let filter = json!({ "fromBlock": block, "toBlock": block, "address": contract, "topics": topics });
        self.rpc().call("eth_getLogs", json!([filter]))
    }
}
