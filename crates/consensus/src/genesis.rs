//! What a chain begins with.

use alloy_primitives::B256;
use commonware_cryptography::Digestible as _;
use veracity_chain::{Change, State};

use crate::{
    Head,
    block::{Block, EpochInfo, NetworkKey, VALIDATORS_MAX},
};

/// What a chain begins with: its first block with the state after it, and the validators of its first epoch.
#[derive(Debug, Clone)]
pub struct Genesis {
    chain_id: u64,
    block: Block,
    changes: Vec<Change>,
    state: State,
}

impl Genesis {
    /// A chain that begins with the state that `changes` make, the block `execution` (whose `extraData` is replaced) and
    /// the validators of `info`.
    ///
    /// # Errors
    /// [`UnknownCode`](veracity_chain::UnknownCode) if an account has code that is not among the changes.
    pub fn new(
        chain_id: u64,
        changes: Vec<Change>,
        execution: veracity_chain::Block,
        info: EpochInfo,
    ) -> Result<Self, veracity_chain::UnknownCode> {
        let mut state = State::default();
        state.apply(&changes)?;
        let block = Block::genesis(execution, info);
        Ok(Self { chain_id, block, changes, state })
    }

    /// Chain that signatures of transactions are for.
    #[must_use]
    pub fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// The first block.
    #[must_use]
    pub fn block(&self) -> &Block {
        &self.block
    }

    /// Its hash, which names the network.
    #[must_use]
    pub fn hash(&self) -> B256 {
        self.block.digest().0
    }

    /// The first epoch.
    #[must_use]
    pub fn info(&self) -> &EpochInfo {
        self.block.epoch_info().expect("the first block names the first epoch")
    }

    /// The key that all certificates of the network verify against, for ever.
    #[must_use]
    pub fn network_key(&self) -> NetworkKey {
        *self.info().output.public().public()
    }

    /// Most validators of an epoch: what the parameter `validators_max` says in the first block, at most
    /// [`VALIDATORS_MAX`]. Nodes prepare for as many, and the contract refuses votes for more.
    #[must_use]
    pub fn committee_max(&self) -> u64 {
        self.state.validators_max().clamp(1, VALIDATORS_MAX.get().into())
    }

    pub(crate) fn changes(&self) -> &[Change] {
        &self.changes
    }

    pub(crate) fn head(&self) -> Head {
        Head::new(&self.block, self.state.clone())
    }
}
