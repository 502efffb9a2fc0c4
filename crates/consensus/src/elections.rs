//! Who validates in future epochs: the contract Stake says so, and consensus asks it once in each epoch.
//!
//! The question is answered in the state after the middle block of an epoch, which all nodes have in common, and the
//! answer is kept durably before that block counts as done: it is needed again when the epoch ends. A node that joined too
//! late to be able to ask does not guess: it waits until the last block of the epoch, which says it, is final.

use std::{
    collections::BTreeMap,
    num::NonZeroU64,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::BufMut;
use commonware_codec::{
    Buf, Copying, DecodeExt as _, Encode as _, EncodeSize, Error as CodecError, RangeCfg, Read, Write,
};
use commonware_consensus::types::{Epoch, Epocher as _, FixedEpocher, Height};
use commonware_glue::dkg::{ParticipantsProvider, network::Addresses, types::EpochOutcome};
use commonware_p2p::Address;
use commonware_storage::{
    Context,
    metadata::{Config, Metadata},
};
use commonware_utils::{
    ordered::{Map, Set},
    sequence::U64,
};
use tokio::sync::{Mutex, watch};
use tracing::{info, warn};
use veracity_chain::System;

use crate::{
    Block, EpochInfo, Genesis, Head, Marshal, PublicKey, VALIDATORS_MAX, block::SHARING, committee::Schemes,
};

/// What the middle of an epoch decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Elected {
    /// Who receives shares two epochs later.
    pub(crate) players: Set<PublicKey>,
    /// Where they, and all who have a part in this epoch, are reached.
    pub(crate) directory: Map<PublicKey, Address>,
}

/// Asks the contract Stake, in the state of `head`, who follows those whom `current` names.
///
/// Candidates without an address cannot be reached, so they are not elected. If nobody is left, or there is no contract,
/// those who were elected last stay. At most `count_max` are elected. Who has a part in the epoch and gives no address keeps the one that was known.
pub(crate) fn elect(current: &EpochInfo, head: &Head, chain_id: u64, count_max: u64) -> Elected {
    let system = System::new(&head.state, &head.header, chain_id);
    let count_max = head.state.validators_max().min(count_max);
    let candidates = system.validators(count_max).unwrap_or_default();
    let candidates = candidates.iter().filter_map(|candidate| {
        let key = PublicKey::decode(Copying(candidate.node_id.as_slice())).ok()?;
        Some((key, address(&candidate.endpoint)?))
    });
    let candidates: BTreeMap<PublicKey, Address> = candidates.collect();
    let players = match candidates.is_empty() {
        true => current.next_players.clone(),
        false => Set::from_iter_dedup(candidates.keys().cloned()),
    };
    let mut directory = current.directory.clone().into_inner().into_iter().collect::<BTreeMap<_, _>>();
    for (key, known) in &mut directory {
        let endpoint = system.endpoint(alloy_primitives::B256::from_slice(key)).unwrap_or_default();
        *known = address(&endpoint).unwrap_or_else(|| known.clone());
    }
    directory.extend(candidates);
    Elected { players, directory: Map::from_iter_dedup(directory) }
}

/// The address that an endpoint of a validator is: an IP address and a port.
fn address(endpoint: &str) -> Option<Address> {
    let address: std::net::SocketAddr = endpoint.parse().ok()?;
    let is_usable = address.port() != 0 && !address.ip().is_unspecified() && !address.ip().is_multicast();
    // As others read it from the block: all must find the same, and an address has parts that are not written (the scope
    // of an IPv6 address).
    let written = is_usable.then(|| Address::Symmetric(address).encode())?;
    Address::decode(Copying(&written)).ok()
}

/// What is known of an epoch.
#[derive(Clone, Default)]
pub(crate) struct Record {
    /// What it began with, if the block that says so is not there: the node joined later.
    pub(crate) info: Option<EpochInfo>,
    pub(crate) elected: Option<Elected>,
}

impl Write for Record {
    fn write(&self, out: &mut impl BufMut) {
        self.info.write(out);
        self.elected.is_some().write(out);
        if let Some(Elected { players, directory }) = &self.elected {
            players.write(out);
            directory.write(out);
        }
    }
}

impl EncodeSize for Record {
    fn encode_size(&self) -> usize {
        let elected = self.elected.as_ref();
        let elected = elected.map_or(0, |e| e.players.encode_size() + e.directory.encode_size());
        self.info.encode_size() + 1 + elected
    }
}

impl Read for Record {
    type Cfg = ();

    fn read_cfg(from: &mut impl Buf, (): &()) -> Result<Self, CodecError> {
        let count = usize::try_from(VALIDATORS_MAX.get()).unwrap_or(usize::MAX);
        let info = Option::<EpochInfo>::read_cfg(from, &(VALIDATORS_MAX, SHARING))?;
        let elected = if bool::read_cfg(from, &())? {
            let players = Set::read_cfg(from, &(RangeCfg::new(1..=count), ()))?;
            // Dealers, players, next players, and those who were elected.
            let directory = Map::read_cfg(from, &(RangeCfg::new(1..=4 * count), (), ()))?;
            Some(Elected { players, directory })
        } else {
            None
        };
        Ok(Self { info, elected })
    }
}

/// Epochs whose records are kept.
const EPOCHS_KEPT: u64 = 4;
/// How often a node that could not elect looks whether the block is final that says who was elected.
const TRUTH_POLL: Duration = Duration::from_millis(200);
/// Epochs whose resharing failed, at most, that are counted.
const FAILURES_MAX: u64 = 256;

/// The epoch of the next block, as a node knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochStatus {
    /// Height of its first block.
    pub first: u64,
    /// Height of its last block.
    pub last: u64,
    /// What it began with. Its `players` receive shares and sign from the next epoch on, `next_players` from the one after.
    pub info: EpochInfo,
    /// Whom its middle block elected, to sign from the third epoch after it on; none before, and none on a node that
    /// joined after it.
    pub elected: Option<Map<PublicKey, Option<Address>>>,
    /// How many epochs in a row, up to the last, ended without new shares; at most 256 are counted.
    pub failures: u64,
    /// Whether this node has a share of the key, and so signs.
    pub has_share: bool,
}

/// The elections of a network, as one node sees them. Copies share them.
pub(crate) struct Elections<E: Context>(Arc<Shared<E>>);

struct Shared<E: Context> {
    chain_id: u64,
    committee_max: u64,
    epocher: FixedEpocher,
    genesis: EpochInfo,
    clock: E,
    store: Mutex<Option<Metadata<E, U64, Record>>>,
    schemes: Schemes,
    /// Final blocks, as soon as they can be read.
    marshal: OnceLock<Marshal>,
    /// Told when a record was written, with the height of the state; 0 before it is open.
    height: watch::Sender<u64>,
    status: watch::Sender<Option<EpochStatus>>,
}

impl<E: Context> Clone for Elections<E> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<E: Context> Elections<E> {
    pub(crate) async fn open(
        context: E,
        partition: &str,
        genesis: &Genesis,
        epoch_blocks: NonZeroU64,
        schemes: Schemes,
        status: watch::Sender<Option<EpochStatus>>,
    ) -> Self {
        let config = Config { partition: format!("{partition}-elections"), codec_config: () };
        let store = Metadata::init(context.child("store"), config).await;
        let store = store.expect("the store of elections can be read");
        Self(Arc::new(Shared {
            chain_id: genesis.chain_id(),
            committee_max: genesis.committee_max(),
            epocher: FixedEpocher::new(epoch_blocks),
            genesis: genesis.info().clone(),
            clock: context,
            store: Mutex::new(Some(store)),
            schemes,
            marshal: OnceLock::new(),
            height: watch::Sender::new(0),
            status,
        }))
    }

    /// Lets it read final blocks.
    pub(crate) fn attach(&self, marshal: Marshal) {
        assert!(self.0.marshal.set(marshal).is_ok(), "there is one store of blocks");
    }

    /// Remembers what an epoch began with, for a node that has not the block that says so.
    pub(crate) async fn joined(&self, info: EpochInfo) {
        self.change(info.epoch, |record| record.info = Some(info)).await;
    }

    /// Takes note of a final block's state, durably: `head` was executed, or is what the node begins with.
    pub(crate) async fn see(&self, head: &Head) {
        let height = Height::new(head.header.number);
        let epoch = self.epoch(height);
        let is_middle = self.0.epocher.midpoint(epoch) == Some(height);
        if is_middle && self.record(epoch).await.is_none_or(|record| record.elected.is_none()) {
            match self.info(epoch).await {
                Some(info) => {
                    let elected = elect(&info, head, self.0.chain_id, self.0.committee_max);
                    info!(%epoch, players = elected.players.len(), "elected who receives shares in two epochs");
                    self.change(epoch, |record| record.elected = Some(elected)).await;
                }
                None => warn!(%epoch, "the beginning of the epoch is unknown, so is who was elected in it"),
            }
        }
        self.0.height.send_replace(height.get());
        self.report(self.epoch(height.next()), is_middle).await;
    }

    /// Says what is known of the epoch of the next block, if that has changed.
    async fn report(&self, epoch: Epoch, has_elected: bool) {
        let has_share = self.0.schemes.has_share(epoch);
        let is_told = |status: &EpochStatus| status.info.epoch == epoch && status.has_share == has_share;
        if !has_elected && self.0.status.borrow().as_ref().is_some_and(is_told) {
            return;
        }
        let (Some(info), Some(first), Some(last)) =
            (self.info(epoch).await, self.0.epocher.first(epoch), self.0.epocher.last(epoch))
        else {
            return;
        };
        let elected = self.record(epoch).await.and_then(|record| record.elected);
        let elected = elected.map(|Elected { players, directory }| {
            let place = |player: &PublicKey| (player.clone(), directory.get_value(player).cloned());
            Map::from_iter_dedup(players.iter().map(place))
        });
        let failures = self.failures(&info).await;
        let (first, last) = (first.get(), last.get());
        self.0.status.send_replace(Some(EpochStatus { first, last, info, elected, failures, has_share }));
    }

    /// How many epochs before the one that begins with `info` ended without new shares.
    async fn failures(&self, info: &EpochInfo) -> u64 {
        let (mut count, mut info) = (0, info.clone());
        while info.outcome == EpochOutcome::Failure && count < FAILURES_MAX {
            count += 1;
            let Some(before) = info.epoch.previous() else { break };
            let Some(earlier) = self.info(before).await else { break };
            info = earlier;
        }
        count
    }

    fn epoch(&self, height: Height) -> Epoch {
        self.0.epocher.containing(height).expect("each height is in an epoch").epoch()
    }

    /// What an epoch began with.
    async fn info(&self, epoch: Epoch) -> Option<EpochInfo> {
        let Some(before) = epoch.previous() else { return Some(self.0.genesis.clone()) };
        if let Some(info) = self.record(epoch).await.and_then(|record| record.info) {
            return Some(info);
        }
        let block = self.0.marshal.get()?.get_block(self.0.epocher.last(before)?).await?;
        Block::epoch_info(block.inner()).cloned()
    }

    async fn record(&self, epoch: Epoch) -> Option<Record> {
        let store = self.0.store.lock().await;
        store.as_ref().and_then(|store| store.get(&U64::new(epoch.get())).cloned())
    }

    async fn change(&self, epoch: Epoch, change: impl FnOnce(&mut Record)) {
        let mut store = self.0.store.lock().await;
        let mut records = store.take().expect("an earlier write failed, which stopped the node");
        records.retain(|kept, _| u64::from(kept) + EPOCHS_KEPT > epoch.get());
        let written = records.upsert_sync(U64::new(epoch.get()), change).await;
        *store = Some(written.expect("the store of elections can be written: is the disk full?"));
    }

    /// What the middle of `epoch` decided; waits until it is known, which is at the end of the epoch at the latest.
    ///
    /// Whoever has the state after the middle block knows it from then on. A node that joined with a later state cannot
    /// ask it any more. It takes part in nothing that depends on the answer until the last block of the epoch is final,
    /// which says it: so it votes neither for nor against that block, and whatever it derives from the answer is right.
    async fn elected(&self, epoch: Epoch) -> Elected {
        let middle = self.0.epocher.midpoint(epoch).expect("each epoch has a middle").get();
        let mut height = self.0.height.subscribe();
        // The sender is ours.
        let _ = height.wait_for(|height| *height >= middle).await;
        if let Some(elected) = self.record(epoch).await.and_then(|record| record.elected) {
            return elected;
        }
        info!(%epoch, "joined after the election of this epoch: waits for the block that says who was elected");
        loop {
            if let Some(EpochInfo { next_players, directory, .. }) = self.info(epoch.next()).await {
                return Elected { players: next_players, directory: directory.into_inner() };
            }
            self.0.clock.sleep(TRUTH_POLL).await;
        }
    }
}

impl<E: Context> ParticipantsProvider for Elections<E> {
    type Directory = Addresses<PublicKey>;
    type PublicKey = PublicKey;

    /// Who receives shares in `epoch`, to sign in the next.
    async fn participants(&mut self, epoch: Epoch) -> Set<PublicKey> {
        match epoch.get().checked_sub(2) {
            Some(decided) => self.elected(Epoch::new(decided)).await.players,
            // The first two were decided before there was a chain.
            None => self.0.genesis.next_players.clone(),
        }
    }

    async fn directory(&mut self, epoch: Epoch, peers: Set<PublicKey>) -> Addresses<PublicKey> {
        let known = match epoch.previous() {
            Some(decided) => self.elected(decided).await.directory,
            None => self.0.genesis.directory.clone().into_inner(),
        };
        let nowhere = Address::Symmetric(([0, 0, 0, 0], 0).into());
        let address = |peer: &PublicKey| known.get_value(peer).unwrap_or(&nowhere).clone();
        peers.iter().map(|peer| (peer.clone(), address(peer))).collect()
    }
}
