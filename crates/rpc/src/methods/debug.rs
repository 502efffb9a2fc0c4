//! Traces.

use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::B256;
use alloy_rpc_types_eth::TransactionRequest;
use alloy_rpc_types_trace::{
    common::TraceResult,
    geth::{GethDebugTracingCallOptions, GethDebugTracingOptions, GethTrace},
};
use veracity_chain::{BlockContext, Call, Traced, trace_block, trace_call};

use super::{Table, block};
use crate::{Finalized, RpcError, arguments::Arguments, node::Node};

pub(super) fn register(table: &mut Table) {
    table.executing("debug_traceTransaction", |node, mut arguments| {
        let hash: B256 = arguments.next("hash")?;
        let options = arguments.optional("options")?.unwrap_or_default();
        let unknown = RpcError::UnknownTransaction { hash };
        let Some((height, index)) = node.chain.place_of(hash)? else { return Err(unknown) };
        let Some(block) = node.chain.block(height)? else { return Err(unknown) };
        let traces = traces(node, &block, Traced::Transaction(index), &options)?;
        traces.into_iter().next().ok_or(unknown)
    });
    table.executing("debug_traceBlockByHash", |node, mut arguments| {
        let hash: B256 = arguments.next("hash")?;
        all(node, BlockId::from(hash), arguments)
    });
    table.executing("debug_traceBlockByNumber", |node, mut arguments| {
        let number: BlockNumberOrTag = arguments.next("block")?;
        all(node, BlockId::from(number), arguments)
    });
    table.executing("debug_traceCall", |node, mut arguments| {
        let request: TransactionRequest = arguments.next("transaction")?;
        let (state, at) = node.state(block(&mut arguments)?)?;
        let options: GethDebugTracingCallOptions = arguments.optional("options")?.unwrap_or_default();
        let call = Call {
            request,
            state: options.state_overrides,
            block: options.block_overrides,
            gas_max: node.config.call_gas_max,
        };
        Ok(trace_call(&state, &at, &call, &options.tracing_options)?)
    });
}

fn all(
    node: &Node,
    block: BlockId,
    mut arguments: Arguments<'_>,
) -> Result<Vec<TraceResult<GethTrace, String>>, RpcError> {
    let options: GethDebugTracingOptions = arguments.optional("options")?.unwrap_or_default();
    let head = node.chain.head().number();
    let block = node.block(block)?.ok_or(RpcError::UnknownBlock { block, head })?;
    let traces = traces(node, &block, Traced::Block, &options)?;
    let hashes = block.transactions().iter().map(|transaction| Some(*transaction.tx_hash()));
    let named = traces.into_iter().zip(hashes);
    Ok(named.map(|(result, tx_hash)| TraceResult::Success { result, tx_hash }).collect())
}

/// Traces of transactions of `block`, executed again on the state before it.
fn traces(
    node: &Node,
    block: &Finalized,
    which: Traced,
    options: &GethDebugTracingOptions,
) -> Result<Vec<GethTrace>, RpcError> {
    let Some(parent) = block.number().checked_sub(1) else { return Ok(vec![]) };
    let state = node.state_at(parent)?;
    let at = BlockContext::of(block.header(), node.chain.chain_id());
    let transactions: Vec<_> =
        (0..block.transactions().len()).filter_map(|index| block.transaction(index)).collect();
    Ok(trace_block(&state, &at, block.hash(), &transactions, which, options)?)
}
