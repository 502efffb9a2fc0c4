//! Accounts, code, storage, and proofs of them.

use alloy_consensus::constants::EMPTY_ROOT_HASH;
use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U64, U256};
use alloy_rpc_types_eth::{EIP1186AccountProofResponse, EIP1186StorageProof};
use alloy_serde::JsonStorageKey;

use super::{Table, block};
use crate::{RpcError, arguments::Arguments, convert::to_u64, node::Node};

pub(super) fn register(table: &mut Table) {
    table.quick("eth_accounts", |_, _| Ok(Vec::<Address>::new()));
    table.reading("eth_getBalance", |node, mut arguments| {
        let address: Address = arguments.next("address")?;
        let (state, _) = node.state(block(&mut arguments)?)?;
        Ok(state.account(address).map_or(U256::ZERO, |account| account.balance))
    });
    table.reading("eth_getCode", |node, mut arguments| {
        let address: Address = arguments.next("address")?;
        let (state, _) = node.state(block(&mut arguments)?)?;
        let code = state.account(address).and_then(|account| account.code.as_ref());
        Ok(code.map_or_else(Bytes::new, |code| code.original_bytes()))
    });
    table.reading("eth_getStorageAt", |node, mut arguments| {
        let address: Address = arguments.next("address")?;
        let slot: JsonStorageKey = arguments.next("slot")?;
        let (state, _) = node.state(block(&mut arguments)?)?;
        Ok(B256::from(state.slot(address, slot.as_b256().into())))
    });
    table.reading("eth_getTransactionCount", transaction_count);
    table.executing("eth_getProof", proof);
}

fn transaction_count(node: &Node, mut arguments: Arguments<'_>) -> Result<U64, RpcError> {
    let address: Address = arguments.next("address")?;
    let block = block(&mut arguments)?;
    let (state, _) = node.state(block)?;
    let nonce = state.account(address).map_or(0, |account| account.nonce);
    let is_pending = block == Some(BlockId::Number(BlockNumberOrTag::Pending));
    Ok(U64::from(if is_pending { node.pool.next_nonce(address).max(nonce) } else { nonce }))
}

fn proof(node: &Node, mut arguments: Arguments<'_>) -> Result<EIP1186AccountProofResponse, RpcError> {
    let address: Address = arguments.next("address")?;
    let slots: Vec<JsonStorageKey> = arguments.next("slots")?;
    let (found, max) = (to_u64(slots.len()), to_u64(node.config.proof_slots_max));
    if found > max {
        let advice = "ask in several requests";
        return Err(RpcError::Limit { what: "slots of a proof", found, max, advice });
    }
    let (state, _) = node.state(block(&mut arguments)?)?;
    let account = state.account(address);
    let storage_proof = |key: JsonStorageKey| {
        let slot = key.as_b256().into();
        EIP1186StorageProof::new(key, state.slot(address, slot), state.slot_proof(address, slot))
    };
    Ok(EIP1186AccountProofResponse {
        address,
        balance: account.map_or(U256::ZERO, |account| account.balance),
        code_hash: account.map_or(KECCAK256_EMPTY, |account| account.code_hash),
        nonce: account.map_or(0, |account| account.nonce),
        storage_hash: account.map_or(EMPTY_ROOT_HASH, |account| account.storage.root_hash()),
        account_proof: state.account_proof(address),
        storage_proof: slots.into_iter().map(storage_proof).collect(),
    })
}
