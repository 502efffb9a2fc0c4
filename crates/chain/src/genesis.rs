//! The first block and its state, from a file in the format of geth.

use alloy_consensus::{EMPTY_OMMER_ROOT_HASH, EMPTY_ROOT_HASH, Header, constants::EMPTY_WITHDRAWALS};
use alloy_eips::{eip1559::INITIAL_BASE_FEE, eip7685::EMPTY_REQUESTS_HASH};
use alloy_genesis::Genesis;
use alloy_primitives::{B256, U256, keccak256};

use crate::{AccountValues, Block, Change, State, slot_hash};

/// Changes that make the genesis state from nothing.
#[must_use]
pub fn genesis_changes(genesis: &Genesis) -> Vec<Change> {
    let mut changes = vec![];
    for (address, account) in &genesis.alloc {
        let at = keccak256(address);
        let code = account.code.clone().unwrap_or_default();
        let code_hash = keccak256(&code);
        if !code.is_empty() {
            changes.push(Change::Code(code_hash, code));
        }
        let (nonce, balance) = (account.nonce.unwrap_or_default(), account.balance);
        changes.push(Change::Account(at, Some(AccountValues { nonce, balance, code_hash })));
        let slots = account.storage.iter().flatten().filter(|(_, value)| !value.is_zero());
        changes.extend(slots.map(|(slot, value)| {
            Change::Slot(at, slot_hash(U256::from_be_bytes(slot.0)), U256::from_be_bytes(value.0))
        }));
    }
    changes
}

/// The genesis block; `state` is what [`genesis_changes`] make.
#[must_use]
pub fn genesis_block(genesis: &Genesis, state: &State) -> Block {
    let base_fee = genesis.base_fee_per_gas.and_then(|fee| u64::try_from(fee).ok());
    let header = Header {
        number: genesis.number.unwrap_or_default(),
        timestamp: genesis.timestamp,
        gas_limit: genesis.gas_limit,
        extra_data: genesis.extra_data.clone(),
        mix_hash: genesis.mix_hash,
        beneficiary: genesis.coinbase,
        state_root: state.root(),
        base_fee_per_gas: Some(base_fee.unwrap_or(INITIAL_BASE_FEE)),
        ..empty_header()
    };
    Block { header, transactions: vec![] }
}

/// What is the same in every block without transactions.
pub(crate) fn empty_header() -> Header {
    Header {
        ommers_hash: EMPTY_OMMER_ROOT_HASH,
        transactions_root: EMPTY_ROOT_HASH,
        receipts_root: EMPTY_ROOT_HASH,
        withdrawals_root: Some(EMPTY_WITHDRAWALS),
        blob_gas_used: Some(0),
        excess_blob_gas: Some(0),
        parent_beacon_block_root: Some(B256::ZERO),
        requests_hash: Some(EMPTY_REQUESTS_HASH),
        ..Header::default()
    }
}
