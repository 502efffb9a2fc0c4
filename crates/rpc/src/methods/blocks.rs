//! Blocks and their receipts.

use std::sync::Arc;

use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::{B256, U64};
use alloy_rpc_types_eth::{Block, TransactionReceipt};

use super::{Table, block};
use crate::{
    Finalized, RpcError,
    arguments::Arguments,
    convert::{self, to_u64},
    node::Node,
};

pub(super) fn register(table: &mut Table) {
    table.quick("eth_blockNumber", |node, _| Ok(U64::from(node.chain.head().number())));
    table.reading("eth_getBlockByHash", |node, mut arguments| {
        let block = by_hash(node, &mut arguments)?;
        shown(block, &mut arguments)
    });
    table.reading("eth_getBlockByNumber", |node, mut arguments| {
        let block = by_number(node, &mut arguments)?;
        shown(block, &mut arguments)
    });
    table.reading("eth_getBlockReceipts", |node, mut arguments| {
        let block = node.block(block(&mut arguments)?.unwrap_or_default())?;
        Ok(block.map(|block| -> Vec<TransactionReceipt> { convert::receipts(&block) }))
    });
    table.reading("eth_getBlockTransactionCountByHash", |node, mut arguments| {
        Ok(count(by_hash(node, &mut arguments)?))
    });
    table.reading("eth_getBlockTransactionCountByNumber", |node, mut arguments| {
        Ok(count(by_number(node, &mut arguments)?))
    });
    table.reading("eth_getUncleCountByBlockHash", |node, mut arguments| {
        Ok(by_hash(node, &mut arguments)?.map(|_| U64::ZERO))
    });
    table.reading("eth_getUncleCountByBlockNumber", |node, mut arguments| {
        Ok(by_number(node, &mut arguments)?.map(|_| U64::ZERO))
    });
    // There are no uncles.
    table.quick("eth_getUncleByBlockHashAndIndex", |_, _| Ok(None::<Block>));
    table.quick("eth_getUncleByBlockNumberAndIndex", |_, _| Ok(None::<Block>));
}

fn by_hash(node: &Node, arguments: &mut Arguments<'_>) -> Result<Option<Arc<Finalized>>, RpcError> {
    let hash: B256 = arguments.next("hash")?;
    node.block(BlockId::from(hash))
}

fn by_number(node: &Node, arguments: &mut Arguments<'_>) -> Result<Option<Arc<Finalized>>, RpcError> {
    let number: BlockNumberOrTag = arguments.next("block")?;
    node.block(BlockId::from(number))
}

fn shown(block: Option<Arc<Finalized>>, arguments: &mut Arguments<'_>) -> Result<Option<Block>, RpcError> {
    let is_full = arguments.optional("fullTransactions")?.unwrap_or_default();
    Ok(block.map(|block| convert::block(&block, is_full)))
}

fn count(block: Option<Arc<Finalized>>) -> Option<U64> {
    block.map(|block| U64::from(to_u64(block.transactions().len())))
}
