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
/// How often it is looked whether the node still has a transaction that waits, and whether that offers enough.
const RAISE_POLL: Duration = Duration::from_secs(1);
/// A transaction that so many blocks have passed over offers more.
const PASSED_OVER_BLOCKS: u64 = 8;
/// How often a transaction offers more, at most: some six times as much in the end.
const RAISES_MAX: usize = 16;

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

/// A transaction that was made and, as far as is known, is in no block. It keeps its nonce, so however often it is given to
/// a node, and with whatever fees, it comes into a block once.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// For a call that says why it failed.
    request: Value,
    transaction: TxEip1559,
    /// Height at which it was made; no block up to there has it.
    made_at: u64,
    /// Height at which its fees were chosen.
    height: u64,
    /// Hashes of all that a node may have of it, the latest last: the same but for fees. None before it has a nonce.
    hashes: Vec<B256>,
}

impl Outgoing {
    /// Hash of what the node was given last.
    #[must_use]
    pub fn hash(&self) -> Option<B256> {
        self.hashes.last().copied()
    }
}

/// What is offered for gas, in wei: at most, and beyond the base fee.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fees {
    most: u128,
    tip: u128,
}

impl Fees {
    /// What goes in now: twice the base fee, of which only what is needed is paid, and the tip that is usual.
    fn usual(base_fee: u64, tip: u128) -> Self {
        Self { most: (2 * u128::from(base_fee)).saturating_add(tip), tip }
    }

    /// An eighth more, which is enough for a node to take it in place of the old, and what is usual now if that is more.
    fn raised(self, usual: Self) -> Self {
        let more = |fee: u128| fee.saturating_add(fee / 8).saturating_add(1);
        let tip = more(self.tip).max(usual.tip);
        Self { most: more(self.most).max(usual.most).max(tip), tip }
    }
}

/// What became of a transaction that a node was given.
enum Given {
    /// The node has it.
    Taken,
    /// Its nonce is used, or waits here with another transaction.
    NonceTaken,
}

impl Chain {
    /// Sends a transaction and waits until it is final. Gas and fees are chosen by what the node says; a transaction that
    /// waits while the base fee overtakes it, or while others are preferred, offers more.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if the contract refuses, in most cases before anything is paid; [`ClientError::Node`],
    /// as for too little money; [`ClientError::NotFinal`] and [`ClientError::Unreachable`], after which the transaction
    /// may still come into a block: look whether it did before sending another one, or use [`Chain::prepare`] and
    /// [`Chain::settle`], which can go on.
    pub fn transact(
        &self,
        account: &Account,
        to: Address,
        data: Bytes,
        value: U256,
    ) -> Result<Sent, ClientError> {
        let mut outgoing = self.prepare(account, to, data, value)?;
        self.settle(account, &mut outgoing)
    }

    /// Makes a transaction for [`Chain::settle`]. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if the contract refuses, [`ClientError::Node`], [`ClientError::Unreachable`].
    pub fn prepare(
        &self,
        account: &Account,
        to: Address,
        data: Bytes,
        value: U256,
    ) -> Result<Outgoing, ClientError> {
        let request =
            json!({ "from": account.address(), "to": to, "data": data, "value": format!("{value:#x}") });
        let gas = self.rpc().quantity("eth_estimateGas", json!([request, "latest"]))?;
        let (height, base_fee) = self.latest()?;
        let Fees { most, tip } = self.usual_fees(base_fee)?;
        let transaction = TxEip1559 {
            chain_id: self.id(),
            // The state may have changed by then.
            gas_limit: gas.saturating_add(gas / 4),
            max_fee_per_gas: most,
            max_priority_fee_per_gas: tip,
            to: TxKind::Call(to),
            value,
            input: data,
            ..TxEip1559::default()
        };
        Ok(Outgoing { request, transaction, made_at: height, height, hashes: vec![] })
    }

    /// Gives a transaction to the node, unless it has it, and waits until it is final. It can be called again with the same
    /// one after [`ClientError::NotFinal`] and [`ClientError::Unreachable`], and then goes on; after other errors the
    /// transaction is done with.
    ///
    /// # Errors
    /// As [`Chain::transact`].
    pub fn settle(&self, account: &Account, outgoing: &mut Outgoing) -> Result<Sent, ClientError> {
        let (started, mut pause, mut raised) = (Instant::now(), POLL, Instant::now());
        let mut is_given = false;
        loop {
            if let Some((hash, receipt)) = self.receipt(outgoing)? {
                return self.finish(outgoing, hash, receipt);
            }
            if !is_given {
                self.give_again(account, outgoing)?;
                is_given = true;
                continue;
            }
            if started.elapsed() > self.patience() {
                let hash = outgoing.hash().unwrap_or_default();
                return Err(ClientError::NotFinal { hash, waited_s: started.elapsed().as_secs() });
            }
            if raised.elapsed() > RAISE_POLL {
                if self.is_known(outgoing)? || !self.give_again(account, outgoing)? {
                    self.raise(account, outgoing)?;
                }
                raised = Instant::now();
            }
            sleep(pause);
            pause = (pause * 2).min(10 * POLL);
        }
    }

    /// Sends money.
    ///
    /// # Errors
    /// As [`Chain::transact`].
    pub fn transfer(&self, account: &Account, to: Address, amount: U256) -> Result<Sent, ClientError> {
        self.transact(account, to, Bytes::new(), amount)
    }

    /// The height of the latest block, and the base fee that a block after it has at most an eighth more of.
    fn latest(&self) -> Result<(u64, u64), ClientError> {
        let block: Value = self.rpc().call("eth_getBlockByNumber", json!(["latest", false]))?;
        let field = |name: &str| quantity(&block[name]).unwrap_or_default();
        Ok((field("number"), field("baseFeePerGas")))
    }

    fn usual_fees(&self, base_fee: u64) -> Result<Fees, ClientError> {
        let tip = u128::from(self.rpc().quantity("eth_maxPriorityFeePerGas", json!([]))?);
        Ok(Fees::usual(base_fee, tip))
    }

    /// Whether the node has any of it.
    fn is_known(&self, outgoing: &Outgoing) -> Result<bool, ClientError> {
        for hash in &outgoing.hashes {
            let found: Value = self.rpc().call("eth_getTransactionByHash", json!([hash]))?;
            if !found.is_null() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a final block has another transaction with the nonce, so that this one can come into none. Only a node that
    /// has all blocks since the transaction was made can say so, and only if it says all of it.
    fn is_lost(&self, account: &Account, outgoing: &Outgoing) -> Result<bool, ClientError> {
        let node = self.rpc().url().to_owned();
        let parameters = json!([account.address(), "latest"]);
        // Asked before the receipts: what is used now has one now, whichever it is.
        let is_used =
            self.rpc().quantity("eth_getTransactionCount", parameters)? > outgoing.transaction.nonce;
        let first: Value = self.rpc().call("eth_getBlockByNumber", json!(["earliest", false]))?;
        let has_all = quantity(&first["number"]).is_some_and(|first| first <= outgoing.made_at);
        let has_receipt = self.receipt(outgoing)?.is_some();
        Ok(is_used && has_all && !has_receipt && self.rpc().url() == node)
    }

    /// The receipt of whichever of its hashes is in a block.
    fn receipt(&self, outgoing: &Outgoing) -> Result<Option<(B256, Receipt)>, ClientError> {
        for hash in outgoing.hashes.iter().rev() {
            let receipt: Option<Receipt> = self.rpc().call("eth_getTransactionReceipt", json!([hash]))?;
            if let Some(receipt) = receipt {
                return Ok(Some((*hash, receipt)));
            }
        }
        Ok(None)
    }

    fn finish(&self, outgoing: &Outgoing, hash: B256, receipt: Receipt) -> Result<Sent, ClientError> {
        let number = |value: &Value| quantity(value).unwrap_or_default();
        let height = number(&receipt.block_number);
        if number(&receipt.status) != 1 {
            // On the state after its block the contract most likely refuses for the same reason.
            let again: Result<Value, ClientError> =
                self.rpc().call("eth_call", json!([outgoing.request, receipt.block_number]));
            return Err(match again {
                Err(ClientError::Refused(refusal)) => ClientError::Refused(refusal),
                _ => ClientError::Failed { hash, height },
            });
        }
        Ok(Sent { hash, height, index: number(&receipt.transaction_index), logs: receipt.logs })
    }

    /// As [`Chain::give`]; whether the node has it. If one that has forgotten it refuses it, because it is full for example,
    /// others may still have the transaction, so it is not done with.
    fn give_again(&self, account: &Account, outgoing: &mut Outgoing) -> Result<bool, ClientError> {
        match self.give(account, outgoing) {
            Err(ClientError::Node { .. }) if !outgoing.hashes.is_empty() => Ok(false),
            given => given.map(|()| true),
        }
    }

    /// Gives the node the transaction: for the first time with the account's next nonce, later, if the node has forgotten
    /// it, as it was.
    fn give(&self, account: &Account, outgoing: &mut Outgoing) -> Result<(), ClientError> {
        let _turn = account.turn();
        if !outgoing.hashes.is_empty() {
            if self.is_known(outgoing)? {
                return Ok(());
            }
            match self.offer(account, outgoing)? {
                Given::Taken => return Ok(()),
                Given::NonceTaken if !self.is_lost(account, outgoing)? => return Ok(()),
                // A transaction of another process is in a block, after which this can come into none.
                Given::NonceTaken => outgoing.hashes.clear(),
            }
        }
        for _ in 0..=NONCE_TRIES {
            let parameters = json!([account.address(), "pending"]);
            outgoing.transaction.nonce = self.rpc().quantity("eth_getTransactionCount", parameters)?;
            match self.offer(account, outgoing)? {
                Given::Taken => return Ok(()),
                // Another process sends from this account.
                Given::NonceTaken => outgoing.hashes.clear(),
            }
            sleep(POLL);
        }
        let message = "the account's nonces are taken by another process again and again".to_owned();
        Err(ClientError::Node { method: "eth_sendRawTransaction".to_owned(), code: -32000, message })
    }

    /// Gives the node the transaction as it is now. Its hash is kept before: if the node breaks off, it may have it. Another
    /// node is not asked in its place, because it would refuse what the first one has sent on.
    fn offer(&self, account: &Account, outgoing: &mut Outgoing) -> Result<Given, ClientError> {
        let signed = account.sign(outgoing.transaction.clone());
        let hash = *signed.tx_hash();
        let is_new = outgoing.hash() != Some(hash);
        if is_new {
            outgoing.hashes.push(hash);
        }
        let bytes = Bytes::from(signed.encoded_2718());
        match self.rpc().call_here::<B256>("eth_sendRawTransaction", json!([bytes])) {
            Ok(_) => Ok(Given::Taken),
            Err(ClientError::Node { message, .. }) if message.contains("already known") => Ok(Given::Taken),
            // It may have it. Whoever asks for the receipt next learns whether there is a node that can be reached.
            Err(ClientError::Unreachable { .. } | ClientError::Strange { .. }) => Ok(Given::Taken),
            Err(error) => {
                // It was refused, so the node has it not.
                outgoing.hashes.retain(|kept| !is_new || *kept != hash);
                match error {
                    ClientError::Node { message, .. } if is_taken(&message) => Ok(Given::NonceTaken),
                    error => Err(error),
                }
            }
        }
    }

    /// Offers more for a transaction that cannot come into a block, because the base fee is above what it pays, or that
    /// blocks have passed over.
    fn raise(&self, account: &Account, outgoing: &mut Outgoing) -> Result<(), ClientError> {
        let (height, base_fee) = self.latest()?;
        let old = outgoing.transaction.clone();
        let fees = Fees { most: old.max_fee_per_gas, tip: old.max_priority_fee_per_gas };
        let is_overtaken = u128::from(base_fee) > fees.most;
        let is_passed_over = height >= outgoing.height.saturating_add(PASSED_OVER_BLOCKS);
        if !(is_overtaken || is_passed_over) || outgoing.hashes.len() > RAISES_MAX {
            return Ok(());
        }
        let Fees { most, tip } = fees.raised(self.usual_fees(base_fee)?);
        outgoing.transaction.max_fee_per_gas = most;
        outgoing.transaction.max_priority_fee_per_gas = tip;
        match self.offer(account, outgoing) {
            Ok(Given::Taken) => outgoing.height = height,
            // One of its hashes came into a block, or the account cannot pay more: what the node has stays.
            Ok(Given::NonceTaken) | Err(ClientError::Node { .. }) => outgoing.transaction = old,
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

pub(crate) const PATIENCE: Duration = FINAL_TIMEOUT;

fn is_taken(message: &str) -> bool {
    ["nonce too low", "already known", "replacement transaction underpriced"]
        .into_iter()
        .any(|words| message.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_raised_replaces_what_was_offered() {
        // A pool takes a replacement for a tenth more of both fees, rounded up.
        let needed = |fee: u128| fee + fee.div_ceil(10);
        for old in [Fees { most: 0, tip: 0 }, Fees { most: 7, tip: 7 }, Fees::usual(1_000_000_007, 3)] {
            for usual in [Fees::usual(0, 0), Fees::usual(5_000_000_000, 1_000)] {
                let new = old.raised(usual);
                assert!(new.most >= needed(old.most) && new.tip >= needed(old.tip), "{old:?} {new:?}");
                assert!(new.most >= usual.most && new.tip >= usual.tip && new.tip <= new.most, "{new:?}");
            }
        }
        let full = Fees { most: u128::MAX, tip: u128::MAX };
        assert_eq!(full.raised(full), full);
    }
}
