//! Fees: what blocks burnt, what transactions tipped, and what to offer.

use alloy_consensus::Transaction as _;
use alloy_eips::BlockNumberOrTag;
use alloy_primitives::U64;
use alloy_rpc_types_eth::FeeHistory;
use veracity_chain::next_base_fee;

use super::Table;
use crate::{Finalized, RpcError, arguments::Arguments, node::Node};

/// Most percentiles of one request, as in geth.
const PERCENTILES_MAX: usize = 100;
/// Price of blob gas in a chain without blobs (EIP-4844, with no excess).
const BLOB_BASE_FEE_WEI: u64 = 1;
/// Highest tip that is suggested, whatever others pay: 500 gwei, as in geth.
const TIP_SUGGESTED_MAX_WEI: u128 = 500_000_000_000;

pub(super) fn register(table: &mut Table) {
    table.quick("eth_blobBaseFee", |_, _| Ok(U64::from(BLOB_BASE_FEE_WEI)));
    table.reading("eth_maxPriorityFeePerGas", |node, _| Ok(U64::from(tip(node))));
    table.reading("eth_gasPrice", |node, _| {
        let (head, state) = node.chain.latest();
        Ok(U64::from(next_base_fee(head.header(), &state).saturating_add(tip(node))))
    });
    table.executing("eth_feeHistory", history);
}

/// The median tip of the latest blocks.
fn tip(node: &Node) -> u64 {
    let blocks = node.chain.recent_blocks();
    let mut tips: Vec<u128> = blocks.iter().flat_map(|block| tips(block)).map(|(tip, _)| tip).collect();
    tips.sort_unstable();
    let median = tips.get(tips.len() / 2).copied().unwrap_or(node.config.tip_default_wei.into());
    u64::try_from(median.min(TIP_SUGGESTED_MAX_WEI)).unwrap_or(u64::MAX)
}

/// Tip in wei per gas, and gas, of each transaction of a block.
fn tips(block: &Finalized) -> impl Iterator<Item = (u128, u64)> {
    let base_fee = block.base_fee();
    let mut gas_before = 0;
    block.transactions().iter().zip(block.receipts()).map(move |(transaction, receipt)| {
        let gas = receipt.cumulative_gas_used() - gas_before;
        gas_before = receipt.cumulative_gas_used();
        (transaction.effective_tip_per_gas(base_fee).unwrap_or_default(), gas)
    })
}

fn history(node: &Node, mut arguments: Arguments<'_>) -> Result<FeeHistory, RpcError> {
    let count = count(&mut arguments)?.min(node.config.fee_blocks_max);
    let newest: BlockNumberOrTag = arguments.next("newestBlock")?;
    let percentiles = percentiles(&mut arguments)?;
    let head = node.chain.head().number();
    let block = newest.into();
    let newest = node.height(block)?.ok_or(RpcError::UnknownBlock { block, head })?;
    let oldest = (newest + 1).saturating_sub(count).max(node.chain.first());
    let mut history = FeeHistory { oldest_block: oldest, ..FeeHistory::default() };
    let mut rewards = vec![];
    for height in oldest..=newest {
        let Some(header) = node.chain.header(height)? else { continue };
        history.base_fee_per_gas.push(header.base_fee_per_gas.unwrap_or_default().into());
        #[expect(clippy::cast_precision_loss, reason = "a ratio that is shown")]
        history.gas_used_ratio.push(header.gas_used as f64 / header.gas_limit.max(1) as f64);
        if let Some(percentiles) = &percentiles {
            let block = node.chain.block(height)?;
            rewards.push(block.map_or_else(Vec::new, |block| at_percentiles(&block, percentiles)));
        }
    }
    history.base_fee_per_gas.push(base_fee_after(node, newest)?.into());
    history.base_fee_per_blob_gas = vec![BLOB_BASE_FEE_WEI.into(); history.base_fee_per_gas.len()];
    history.blob_gas_used_ratio = vec![0.0; history.gas_used_ratio.len()];
    history.reward = percentiles.map(|_| rewards);
    Ok(history)
}

/// A number, as JSON or in hexadecimal, of at least 1.
fn count(arguments: &mut Arguments<'_>) -> Result<u64, RpcError> {
    let value: serde_json::Value = arguments.next("blockCount")?;
    let count = match &value {
        serde_json::Value::Number(number) => number.as_u64(),
        serde_json::Value::String(text) => text.parse::<U64>().ok().map(|number| number.to()),
        _ => None,
    };
    let count = count.filter(|count| *count > 0);
    count.ok_or_else(|| arguments.refuse("blockCount", "expected a number of at least 1"))
}

fn percentiles(arguments: &mut Arguments<'_>) -> Result<Option<Vec<f64>>, RpcError> {
    let percentiles: Option<Vec<f64>> = arguments.optional("rewardPercentiles")?;
    let Some(percentiles) = percentiles.filter(|percentiles| !percentiles.is_empty()) else {
        return Ok(None);
    };
    let is_sorted = percentiles.is_sorted() && percentiles.iter().all(|p| (0.0..=100.0).contains(p));
    if percentiles.len() > PERCENTILES_MAX || !is_sorted {
        let reason = format!("expected at most {PERCENTILES_MAX} numbers from 0 to 100 in ascending order");
        return Err(arguments.refuse("rewardPercentiles", reason));
    }
    Ok(Some(percentiles))
}

/// Tips such that the given percentages of the block's gas paid at most as much.
fn at_percentiles(block: &Finalized, percentiles: &[f64]) -> Vec<u128> {
    let mut tips: Vec<_> = tips(block).collect();
    tips.sort_unstable();
    let gas_used: u64 = tips.iter().map(|(_, gas)| gas).sum();
    let at = |percentile: &f64| {
        #[expect(clippy::cast_precision_loss, reason = "gas of a block is far below 2^53")]
        let wanted = gas_used as f64 * percentile / 100.0;
        let mut sum = 0;
        let reached = tips.iter().find(|(_, gas)| {
            sum += gas;
            #[expect(clippy::cast_precision_loss, reason = "as above")]
            let sum = sum as f64;
            sum >= wanted
        });
        reached.or(tips.last()).map_or(0, |(tip, _)| *tip)
    };
    percentiles.iter().map(at).collect()
}

/// Base fee of the block after the one at `height`: as it was, or as it will be.
fn base_fee_after(node: &Node, height: u64) -> Result<u64, RpcError> {
    let (head, state) = node.chain.latest();
    if height >= head.number() {
        return Ok(next_base_fee(head.header(), &state));
    }
    let next = node.chain.header(height + 1)?;
    Ok(next.and_then(|header| header.base_fee_per_gas).unwrap_or_default())
}
