//! What a light client needs.

use alloy_eips::BlockId;
use alloy_primitives::B256;

use super::Table;
use crate::{RpcError, inclusion};

pub(super) fn register(table: &mut Table) {
    table.quick("veracity_epoch", |node, _| Ok((node.epoch)()));
    table.executing("veracity_getFinalization", |node, mut arguments| {
        let block: BlockId = arguments.next("block")?;
        inclusion::finalization(node, block)
    });
    table.executing("veracity_getTransactionInclusion", |node, mut arguments| {
        let hash: B256 = arguments.next("hash")?;
        inclusion::transaction(node, hash)
    });
    table.quick("veracity_networkKey", |node, _| node.network_key.clone().ok_or(RpcError::NoNetworkKey));
}
