use std::sync::Arc;

use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::Bytes;
use tokio::sync::Semaphore;
use veracity_chain::{BlockContext, State};

use crate::{Chain, Config, EpochStatus, Finalized, Follow, RpcError, Submit, filters::Filters};

/// What the server answers from.
#[derive(Clone)]
pub struct Services {
    /// The finalized chain.
    pub chain: Arc<Chain>,
    /// The pool of waiting transactions.
    pub pool: Arc<dyn Submit>,
    /// Number of peers, for `net_peerCount`.
    pub peers: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// Height of the highest block that is known to be final, whether the node has it yet or not.
    pub tip: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// The epoch of the next block, if the node takes part in consensus.
    pub epoch: Arc<dyn Fn() -> Option<EpochStatus> + Send + Sync>,
    /// The key that certificates verify against, if the node knows it.
    pub network_key: Option<Bytes>,
    /// What answers those who follow the node, if it has consensus.
    pub follow: Option<Arc<dyn Follow>>,
}

impl std::fmt::Debug for Services {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Services").field("network_key", &self.network_key).finish_non_exhaustive()
    }
}

/// The context of all methods.
pub(crate) struct Node {
    pub(crate) chain: Arc<Chain>,
    pub(crate) pool: Arc<dyn Submit>,
    pub(crate) peers: Arc<dyn Fn() -> u64 + Send + Sync>,
    pub(crate) tip: Arc<dyn Fn() -> u64 + Send + Sync>,
    pub(crate) epoch: Arc<dyn Fn() -> Option<EpochStatus> + Send + Sync>,
    pub(crate) network_key: Option<Bytes>,
    pub(crate) follow: Option<Arc<dyn Follow>>,
    pub(crate) config: Config,
    pub(crate) filters: Filters,
    /// Executions and searches at once.
    pub(crate) executions: Semaphore,
    /// Answers to followers at once.
    pub(crate) followers: Semaphore,
}

impl Node {
    pub(crate) fn new(services: Services, config: Config) -> Self {
        let Services { chain, pool, peers, tip, epoch, network_key, follow } = services;
        let filters = Filters::new(config.filters_max, config.filter_idle);
        let executions = Semaphore::new(config.executions_max);
        let followers = Semaphore::new(config.followers_max);
        Self { chain, pool, peers, tip, epoch, network_key, follow, config, filters, executions, followers }
    }

    /// The height that `block` names, if there is such a block. Blocks are final at once, and what is pending is not a
    /// block, so all tags but `earliest` mean the latest.
    pub(crate) fn height(&self, block: BlockId) -> Result<Option<u64>, RpcError> {
        let head = self.chain.head().number();
        match block {
            BlockId::Hash(hash) => Ok(self.chain.height_of(hash.block_hash)?),
            BlockId::Number(BlockNumberOrTag::Earliest) => Ok(Some(self.chain.first())),
            BlockId::Number(BlockNumberOrTag::Number(number)) if number > head => Ok(None),
            BlockId::Number(BlockNumberOrTag::Number(number)) if number < self.chain.first() => {
                Err(RpcError::NotKept { first: self.chain.first() })
            }
            BlockId::Number(BlockNumberOrTag::Number(number)) => Ok(Some(number)),
            BlockId::Number(_) => Ok(Some(head)),
        }
    }

    pub(crate) fn block(&self, block: BlockId) -> Result<Option<Arc<Finalized>>, RpcError> {
        match self.height(block)? {
            Some(height) => Ok(self.chain.block(height)?),
            None => Ok(None),
        }
    }

    /// The state after `block`, and what its transactions saw of it.
    pub(crate) fn state(&self, block: Option<BlockId>) -> Result<(State, BlockContext), RpcError> {
        let block = block.unwrap_or_default();
        let chain_id = self.chain.chain_id();
        let (head, state) = self.chain.latest();
        let height = self.height(block)?.ok_or(RpcError::UnknownBlock { block, head: head.number() })?;
        if height == head.number() {
            return Ok((state, BlockContext::of(head.header(), chain_id)));
        }
        let state = self.state_at(height)?;
        let header = self.chain.header(height)?;
        let header = header.ok_or(RpcError::UnknownBlock { block, head: head.number() })?;
        Ok((state, BlockContext::of(&header, chain_id)))
    }

    pub(crate) fn state_at(&self, height: u64) -> Result<State, RpcError> {
        let first = self.chain.first_state();
        self.chain.state(height).ok_or(RpcError::StateNotKept { height, first })
    }
}
