//! Transactions: fees, nonce, and the wait until they are final.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use alloy_consensus::TxEip1559;
use alloy_eips::Encodable2718 as _;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Account, Chain, ClientError, quantity};

/// How long a transaction is waited for.
const FINAL_TIMEOUT: Duration = Duration::from_secs(60);
/// First pause between two questions for a receipt; it grows to ten times as much.
const POLL: Duration = Duration::from_millis(10);
/// How often a nonce that another process took is asked for again.
const NONCE_TRIES: u32 = 5;

/// A transaction that is in a final block and succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Its hash.
    pub hash: B256,
    /// Height of its block.
    pub height: u64,
    /// Its place in the block.
    pub index: u64,
    /// What contracts logged.
    pub logs: Vec<Log>,
}

/// A log of a contract.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Log {
    /// The contract.
    pub address: Address,
    /// Hash of the event's signature, then its indexed arguments.
    pub topics: Vec<B256>,
    /// The other arguments.
    pub data: Bytes,
    /// The transaction.
    pub transaction_hash: B256,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Receipt {
    status: Value,
    block_number: Value,
    transaction_index: Value,
    logs: Vec<Log>,
}

impl Chain {
    /// Sends a transaction and waits until it is final. Gas and fees are chosen by what the node says: the fee cap is
    /// twice the base fee and the tip, of which only what is needed is paid.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if the contract refuses, in most cases before anything is paid; [`ClientError::Node`],
    /// as for too little money; [`ClientError::NotFinal`] and [`ClientError::Unreachable`], after which the transaction
    /// may still come into a block: look whether it did before sending another one.
    pub fn transact(
        &self,
        account: &Account,
        to: Address,
        data: Bytes,
        value: U256,
    ) -> Result<Sent, ClientError> {
        let request =
            json!({ "from": account.address(), "to": to, "data": data, "value": format!("{value:#x}") });
        let gas = self.rpc().quantity("eth_estimateGas", json!([request, "latest"]))?;
        let block: Value = self.rpc().call("eth_getBlockByNumber", json!(["latest", false]))?;
        let base_fee = quantity(&block["baseFeePerGas"]).unwrap_or_default();
        let tip = u128::from(self.rpc().quantity("eth_maxPriorityFeePerGas", json!([]))?);
        let transaction = TxEip1559 {
            chain_id: self.id(),
            // The state may have changed by then.
            gas_limit: gas.saturating_add(gas / 4),
            max_fee_per_gas: (2 * u128::from(base_fee)).saturating_add(tip),
            max_priority_fee_per_gas: tip,
            to: TxKind::Call(to),
            value,
            input: data,
            ..TxEip1559::default()
        };
        let hash = self.submit(account, &transaction)?;
        let receipt = self.await_receipt(hash)?;
        let number = |value: &Value| quantity(value).unwrap_or_default();
        let height = number(&receipt.block_number);
        if number(&receipt.status) != 1 {
            // On the state after its block the contract most likely refuses for the same reason.
            let again: Result<Value, ClientError> =
                self.rpc().call("eth_call", json!([request, receipt.block_number]));
            return Err(match again {
                Err(ClientError::Refused(refusal)) => ClientError::Refused(refusal),
                _ => ClientError::Failed { hash, height },
            });
        }
        Ok(Sent { hash, height, index: number(&receipt.transaction_index), logs: receipt.logs })
    }

    /// Sends money.
    ///
    /// # Errors
    /// As [`Chain::transact`].
    pub fn transfer(&self, account: &Account, to: Address, amount: U256) -> Result<Sent, ClientError> {
        self.transact(account, to, Bytes::new(), amount)
    }

    /// Whether the node has a transaction that is in no block yet.
    ///
    /// # Errors
    /// As [`Rpc::call`](crate::Rpc::call).
    pub fn is_waiting(&self, hash: B256) -> Result<bool, ClientError> {
        let found: Value = self.rpc().call("eth_getTransactionByHash", json!([hash]))?;
        Ok(!found.is_null() && found["blockNumber"].is_null())
    }

    /// Gives the node a transaction with the account's next nonce.
    fn submit(&self, account: &Account, transaction: &TxEip1559) -> Result<B256, ClientError> {
        let _turn = account.turn();
        let mut tries = 0;
        loop {
            let address = account.address();
            let nonce = self.rpc().quantity("eth_getTransactionCount", json!([address, "pending"]))?;
            let signed = account.sign(TxEip1559 { nonce, ..transaction.clone() });
            let bytes = Bytes::from(signed.encoded_2718());
            match self.rpc().call::<B256>("eth_sendRawTransaction", json!([bytes])) {
                Ok(_) => return Ok(*signed.tx_hash()),
                Err(ClientError::Node { message, .. }) if is_taken(&message) && tries < NONCE_TRIES => {
                    // Another process sends from this account.
                    tries += 1;
                    sleep(POLL);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn await_receipt(&self, hash: B256) -> Result<Receipt, ClientError> {
        let (started, mut pause) = (Instant::now(), POLL);
        loop {
            if let Some(receipt) =
                self.rpc().call::<Option<Receipt>>("eth_getTransactionReceipt", json!([hash]))?
            {
                return Ok(receipt);
            }
            if started.elapsed() > self.patience() {
                return Err(ClientError::NotFinal { hash, waited_s: started.elapsed().as_secs() });
            }
            sleep(pause);
            pause = (pause * 2).min(10 * POLL);
        }
    }
}

pub(crate) const PATIENCE: Duration = FINAL_TIMEOUT;

fn is_taken(message: &str) -> bool {
    ["nonce too low", "already known", "replacement transaction underpriced"]
        .into_iter()
        .any(|words| message.contains(words))
}
