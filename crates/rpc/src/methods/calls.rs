//! Calls, estimates and access lists.

use alloy_eips::eip2930::AccessListResult;
use alloy_primitives::{Bytes, U64, U256};
use alloy_rpc_types_eth::{BlockOverrides, TransactionRequest, state::StateOverride};
use veracity_chain::{BlockContext, Call, CallEnd, State, access_list, call, estimate_gas};

use super::{Table, block};
use crate::{RpcError, arguments::Arguments, error::halt_words, node::Node};

pub(super) fn register(table: &mut Table) {
    table.executing("eth_call", |node, arguments| {
        let (state, at, request) = read(node, arguments)?;
        output(call(&state, &at, &request)?.end)
    });
    table.executing("eth_estimateGas", |node, arguments| {
        let (state, at, request) = read(node, arguments)?;
        Ok(U64::from(estimate_gas(&state, &at, &request)?))
    });
    table.executing("eth_createAccessList", |node, arguments| {
        let (state, at, request) = read(node, arguments)?;
        let (access_list, outcome) = access_list(&state, &at, &request)?;
        let error = output(outcome.end).err().map(|error| error.to_string());
        Ok(AccessListResult { access_list, gas_used: U256::from(outcome.gas_used), error })
    });
}

fn read(node: &Node, mut arguments: Arguments<'_>) -> Result<(State, BlockContext, Call), RpcError> {
    let request: TransactionRequest = arguments.next("transaction")?;
    let (state, at) = node.state(block(&mut arguments)?)?;
    let overrides: Option<StateOverride> = arguments.optional("stateOverrides")?;
    let block: Option<BlockOverrides> = arguments.optional("blockOverrides")?;
    let gas_max = node.config.call_gas_max;
    Ok((state, at, Call { request, state: overrides, block, gas_max }))
}

fn output(end: CallEnd) -> Result<Bytes, RpcError> {
    match end {
        CallEnd::Returned(output) => Ok(output),
        CallEnd::Reverted(output) => Err(RpcError::Reverted { output }),
        CallEnd::Halted(reason) => Err(RpcError::Halted { reason: halt_words(&reason) }),
    }
}
