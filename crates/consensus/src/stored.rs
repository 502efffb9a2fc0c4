//! What each node stores and how: the same for validators and followers.

use std::{num::NonZeroU64, sync::Arc, time::Duration};

use commonware_consensus::{
    marshal::{self, Start},
    simplex::types::Finalization,
    types::{Epoch, FixedEpocher, ViewDelta},
};
use commonware_cryptography::{Digested, certificate::ConstantProvider};
use commonware_glue::stateful::{PruneConfig, db::SyncEngineConfig};
use commonware_parallel::Strategy;
use commonware_runtime::buffer::paged::CacheRef;
use commonware_storage::{Context, archive::prunable, translator::EightCap};
use commonware_utils::{NZU16, NZU64, NZUsize};

use crate::{Block, Scheme, block::Digest, database::SYNC_BATCH};

/// Messages that wait for a part of the node.
pub(crate) const MAILBOX: std::num::NonZeroUsize = NZUsize!(256);
/// Bytes that are written or read at once.
pub(crate) const BUFFER: std::num::NonZeroUsize = NZUsize!(1 << 20);
/// Pause before something is fetched again.
pub(crate) const RETRY: Duration = Duration::from_millis(100);
/// Rounds behind the last finalized one that are remembered.
pub(crate) const VIEWS: ViewDelta = ViewDelta::new(64);
/// Blocks that are kept: some twelve days at one per second.
const BLOCKS_KEPT: u64 = 1 << 20;
/// Finalized blocks that are delivered before the first is acknowledged.
const ACKS_MAX: std::num::NonZeroUsize = NZUsize!(8);

/// How the state log is fetched.
pub(crate) const SYNC: SyncEngineConfig = SyncEngineConfig {
    fetch_batch_size: SYNC_BATCH,
    apply_batch_size: NZU64!(1024),
    max_outstanding_requests: NZUsize!(8),
};

type Final = Finalization<Scheme, Digest>;
type Archives<E> =
    (prunable::Archive<EightCap, E, Digest, Final>, prunable::Archive<EightCap, E, Digest, Arc<Block>>);
type MarshalConfig<S> =
    marshal::Config<ConstantProvider<Scheme, Epoch>, FixedEpocher, S, Block, Digested<Block>, Digest>;

/// What a node stores.
pub(crate) struct Stored<S> {
    /// Prefix of the names of all of it.
    pub(crate) partition: String,
    /// Cache of pages.
    pub(crate) page_cache: CacheRef,
    epoch_blocks: NonZeroU64,
    strategy: S,
}

impl<S: Strategy> Stored<S> {
    pub(crate) fn new(partition: String, epoch_blocks: NonZeroU64, strategy: S) -> Self {
        let page_cache = CacheRef::new(NZU16!(4096), NZUsize!(4096));
        Self { partition, page_cache, epoch_blocks, strategy }
    }

    fn archive(&self, name: &str) -> prunable::Config<EightCap, ()> {
        let prefix = &self.partition;
        prunable::Config {
            translator: EightCap,
            metadata_partition: format!("{prefix}-{name}-metadata"),
            key_partition: format!("{prefix}-{name}-keys"),
            key_page_cache: self.page_cache.clone(),
            value_partition: format!("{prefix}-{name}-values"),
            compression: None,
            codec_config: (),
            items_per_section: NZU64!(256),
            key_write_buffer: BUFFER,
            value_write_buffer: BUFFER,
            replay_buffer: BUFFER,
        }
    }

    /// The archives of certificates and of blocks.
    ///
    /// # Panics
    /// If they cannot be read.
    pub(crate) async fn archives<E: Context>(&self, context: &E) -> Archives<E> {
        let finalizations = self.archive("finalizations");
        let finalizations = prunable::Archive::init(context.child("finalizations"), finalizations).await;
        let blocks = prunable::Archive::init(context.child("blocks"), self.archive("blocks")).await;
        (
            finalizations.expect("the archive of certificates can be read"),
            blocks.expect("the archive of blocks can be read"),
        )
    }

    /// How blocks are kept, whose certificates `verifier` verifies.
    pub(crate) fn marshal_config(
        &self,
        verifier: Scheme,
        start: Start<Scheme, Digest, Digested<Block>>,
    ) -> MarshalConfig<S> {
        marshal::Config {
            provider: ConstantProvider::new(verifier),
            epocher: FixedEpocher::new(self.epoch_blocks),
            start,
            partition_prefix: self.partition.clone(),
            mailbox_size: MAILBOX,
            view_retention: VIEWS,
            prunable_items_per_section: NZU64!(256),
            page_cache: self.page_cache.clone(),
            replay_buffer: BUFFER,
            key_write_buffer: BUFFER,
            value_write_buffer: BUFFER,
            block_codec_config: (),
            max_repair: NZUsize!(32),
            max_pending_acks: ACKS_MAX,
            strategy: self.strategy.clone(),
        }
    }

    /// How much is kept. Blocks are kept for two epochs at least, so that the first of an epoch stays, and for long, so
    /// that those who were away catch up.
    pub(crate) fn prune_config(&self) -> PruneConfig {
        let blocks = self.epoch_blocks.get().saturating_mul(2).max(BLOCKS_KEPT);
        let blocks = usize::try_from(blocks).unwrap_or(usize::MAX);
        PruneConfig {
            maintenance_interval: NZUsize!(64),
            retained_marshal_blocks: blocks,
            retained_qmdb_blocks: blocks.min(256),
        }
    }
}
