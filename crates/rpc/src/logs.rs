//! The search for logs: blooms first, then the receipts of the blocks whose bloom matches.

use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_rpc_types_eth::{Filter, FilterBlockOption, Log};

use crate::{
    Finalized, RpcError,
    convert::{LogPlace, to_u64},
    node::Node,
};

/// Most addresses, and most topics in one place, of a filter.
const TERMS_MAX: usize = 1000;

/// Refuses filters that cost too much.
pub(crate) fn check(filter: &Filter) -> Result<(), RpcError> {
    let longest = filter.topics.iter().map(|topic| topic.len()).chain([filter.address.len()]).max();
    match longest {
        Some(found) if found > TERMS_MAX => Err(RpcError::Limit {
            what: "addresses or topics of a filter",
            found: to_u64(found),
            max: to_u64(TERMS_MAX),
            advice: "ask in several requests",
        }),
        _ => Ok(()),
    }
}

/// All logs that match, in their order.
pub(crate) fn search(node: &Node, filter: &Filter) -> Result<Vec<Log>, RpcError> {
    check(filter)?;
    let (from, to) = match filter.block_option {
        FilterBlockOption::AtBlockHash(hash) => {
            let block = BlockId::from(hash);
            let head = node.chain.head().number();
            let height = node.height(block)?.ok_or(RpcError::UnknownBlock { block, head })?;
            (height, height)
        }
        FilterBlockOption::Range { from_block, to_block } => {
            let from = bound(node, from_block)?;
            let to = bound(node, to_block)?;
            if from > to {
                return Err(RpcError::Range { from, to });
            }
            (from, to.min(node.chain.head().number()))
        }
    };
    range(node, filter, from, to)
}

/// Logs of the blocks `from` to `to` that match; none if `from` is after `to`.
pub(crate) fn range(node: &Node, filter: &Filter, from: u64, to: u64) -> Result<Vec<Log>, RpcError> {
    let mut logs = vec![];
    if from > to {
        return Ok(logs);
    }
    let (found, max) = ((to - from).saturating_add(1), node.config.log_blocks_max);
    if found > max {
        let advice = "ask for a narrower range of blocks";
        return Err(RpcError::Limit { what: "blocks of a log search", found, max, advice });
    }
    let mut complete = from;
    for height in node.chain.index().heights_with(from, to, |bloom| filter.matches_bloom(bloom))? {
        if let Some(block) = node.chain.block(height)? {
            logs.extend(matching(filter, &block));
        }
        if logs.len() > node.config.logs_max {
            return Err(RpcError::Logs { max: to_u64(node.config.logs_max), from, to: complete });
        }
        complete = height;
    }
    Ok(logs)
}

/// Logs of `block` that match.
pub(crate) fn matching(filter: &Filter, block: &Finalized) -> Vec<Log> {
    let mut logs = vec![];
    let mut logs_before = 0;
    for (index, (transaction, receipt)) in block.transactions().iter().zip(block.receipts()).enumerate() {
        let mut place =
            LogPlace::new(block.header(), block.hash(), index, *transaction.tx_hash(), logs_before);
        let placed = receipt.logs().iter().map(|log| (filter.matches(log), place.log(log.clone())));
        logs.extend(placed.filter(|(matches, _)| *matches).map(|(_, log)| log));
        logs_before += to_u64(receipt.logs().len());
    }
    logs
}

/// A height as it is asked for, which may be above the latest.
fn bound(node: &Node, block: Option<BlockNumberOrTag>) -> Result<u64, RpcError> {
    let block = block.unwrap_or_default();
    match block {
        BlockNumberOrTag::Number(number) if number > node.chain.head().number() => Ok(number),
        _ => Ok(node.height(block.into())?.unwrap_or_default()),
    }
}
