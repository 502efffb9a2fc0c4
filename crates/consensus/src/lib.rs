//! Order blocks: the only crate, beside its two instances for runtimes, that knows the consensus library.
//!
//! Validators agree on blocks by Simplex consensus with threshold signatures of BLS12-381: one key of 96 bytes, which
//! stays the same while validators come and go, verifies any block's certificate, and each round gives a random value.
//! This crate joins that to the chain: [`Block`] is an Ethereum block with what consensus adds, the state is kept in an
//! authenticated log that peers fetch from each other, and [`start`] wires all of it together on any runtime.

mod application;
mod block;
mod committee;
mod database;
mod elections;
mod follow;
mod genesis;
mod gossip;
mod peers;
mod pool;
mod secrets;
mod seeds;
mod source;
mod stack;
mod stored;
#[cfg(test)]
mod tests;
mod upstream;

use std::{future::Future, sync::Arc};

use alloy_primitives::{B256, Bytes};
use commonware_codec::Encode as _;
use commonware_consensus::{
    marshal,
    simplex::{scheme::bls12381_threshold::vrf, types::Finalization},
    types::Round,
};
use commonware_cryptography::bls12381::primitives::variant::MinSig;
use veracity_chain::Executed;

pub use application::{InvalidBlock, TIME_STEP_MAX};
pub use block::{
    BLOCK_BYTES_MAX, Block, Context, Digest, EpochInfo, NetworkKey, Payload, PublicKey, SHARING, Section,
    Seed, SyncTarget, VALIDATORS_MAX, random_value,
};
pub use database::Head;
pub use elections::EpochStatus;
pub use follow::{FollowConfig, NEWS_WAIT, follow};
pub use genesis::Genesis;
pub use pool::{SharedPool, SubmitError};
pub use secrets::Secrets;
pub use source::{Gone, Question, Questions, Source};
pub use stack::{Channel, Channels, Config, Faults, Running, Timing, message_bytes_max, start};
pub use upstream::{Lie, Unreachable, Upstream, UpstreamStatus, Upstreams};

/// What separates this network's signatures from all others.
pub const NAMESPACE: &[u8] = b"veracity";

/// How blocks are certified: threshold signatures, and a random value for each round.
pub type Scheme = vrf::Scheme<PublicKey, MinSig>;
type MarshalVariant = marshal::standard::Standard<Block>;
/// Blocks and certificates of a node.
pub type Marshal = marshal::core::Mailbox<Scheme, MarshalVariant>;

/// A block that is final, and what it did.
#[derive(Debug, Clone)]
pub struct Finalized {
    /// The block.
    pub block: Block,
    /// Its receipts, its changes, and the state after it.
    pub executed: Arc<Executed>,
}

/// A certificate that a block is final.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Hash of the block.
    pub block: B256,
    /// The certificate, as the light client reads it.
    pub bytes: Bytes,
}

impl Certificate {
    pub(crate) fn of(finalization: &Finalization<Scheme, Digest>) -> Self {
        Self { block: finalization.proposal.payload.0, bytes: finalization.encode().to_vec().into() }
    }
}

/// Who wants to know of finalized blocks.
pub trait Observer: Clone + Send + Sync + 'static {
    /// Called with each finalized block in the order of heights. When this resolves the block is done with: after a crash
    /// it comes again if it was not, and may come again if it was.
    fn finalized(&self, block: Finalized) -> impl Future<Output = ()> + Send;

    /// Called with certificates as they come, in any order, before or after their block, and not for every block: a block
    /// is final too when one that follows it is.
    fn certified(&self, certificate: Certificate);

    /// Called when a higher block is known to be final, which may be long before the node has all blocks up to it.
    fn tip(&self, round: Round, height: u64, hash: B256);
}
