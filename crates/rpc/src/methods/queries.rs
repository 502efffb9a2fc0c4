//! Logs and filters.

use alloy_primitives::U256;
use alloy_rpc_types_eth::Filter;

use super::Table;
use crate::{filters::What, logs, node::Node};

pub(super) fn register(table: &mut Table) {
    table.executing("eth_getLogs", |node, mut arguments| {
        let filter: Filter = arguments.next("filter")?;
        logs::search(node, &filter)
    });
    table.quick("eth_newFilter", |node, mut arguments| {
        let filter: Filter = arguments.next("filter")?;
        logs::check(&filter)?;
        node.filters.add(What::Logs { filter: Box::new(filter), next: next(node) })
    });
    table.quick("eth_newBlockFilter", |node, _| node.filters.add(What::Blocks { next: next(node) }));
    table.quick("eth_newPendingTransactionFilter", |node, _| {
        node.filters.add(What::Transactions { ready: node.pool.ready() })
    });
    table.executing("eth_getFilterChanges", |node, mut arguments| {
        let id: U256 = arguments.next("filter")?;
        node.filters.changes(node, id)
    });
    table.executing("eth_getFilterLogs", |node, mut arguments| {
        let id: U256 = arguments.next("filter")?;
        logs::search(node, &node.filters.log_filter(id)?)
    });
    table.quick("eth_uninstallFilter", |node, mut arguments| {
        let id: U256 = arguments.next("filter")?;
        Ok(node.filters.remove(id))
    });
}

fn next(node: &Node) -> u64 {
    node.chain.head().number() + 1
}
