//! The state on disk, and the tries in memory that are made from it.
//!
//! The durable state is an authenticated log of operations (QMDB), which peers can fetch from each other against a root
//! that each block names. A block's `stateRoot` however is that of Ethereum's trie, which is a function of the same
//! accounts and slots: it is held in memory, made from the log at start, and each batch of changes carries the trie after
//! it. So there is one durable thing, and nothing that could disagree with it after a crash.

use std::{collections::HashMap, num::NonZeroU64, sync::Arc};

use alloy_consensus::Header;
use alloy_primitives::{B256, U256, keccak256};
use bytes::BufMut;
use commonware_codec::{Buf, Encode as _, Error as CodecError, FixedSize, Read, ReadExt as _, Write};
use commonware_consensus::types::{Height, Round};
use commonware_cryptography::{Digest as DigestTrait, Digestible as _, Sha256};
use commonware_glue::stateful::db::{
    Anchor, AttachableResolver, AttachableResolverSet, Barrier, DatabaseSet, ManagedDb, Merkleized as _,
    Shared, StateSyncSet, SyncEngineConfig, TipUpdate, Unmerkleized as _,
};
use commonware_parallel::Strategy;
use commonware_runtime::{Spawner, buffer::paged::CacheRef};
use commonware_storage::{
    Context as StorageContext,
    journal::contiguous::fixed::Config as JournalConfig,
    mmr::{self, full::Config as MerkleConfig},
    qmdb::{
        any::{FixedConfig, operation::Operation, unordered::fixed},
        sync::{Source as _, Target},
    },
    translator::EightCap,
};
use commonware_utils::{NZU64, NZUsize, channel::ring, non_empty_range, sequence::FixedBytes, sync::Mutex};
use tokio::sync::watch;
use tracing::warn;
use veracity_chain::{AccountValues, Change, Executed, State};

use crate::{
    Genesis, InvalidBlock, Marshal,
    block::{Block, SyncTarget},
    elections::Elections,
    source::StateLog,
};

/// Operations that a peer asks for, and gets, at once.
pub(crate) const SYNC_BATCH: NonZeroU64 = NZU64!(1024);

type Key = FixedBytes<32>;
/// Bytes of the largest operation of the log.
pub(crate) const OPERATION_BYTES_MAX: usize = fixed::Operation::<mmr::Family, Key, Record>::SIZE;
type Qmdb<E, S> = fixed::Db<mmr::Family, E, Key, Record, Sha256, EightCap, S>;
type Inner<E, S> = Shared<Qmdb<E, S>>;
type InnerUnmerkleized<E, S> = <Inner<E, S> as DatabaseSet<E>>::Unmerkleized;
type InnerMerkleized<E, S> = <Inner<E, S> as DatabaseSet<E>>::Merkleized;

/// One entry of the durable state. All have one size, which state synchronization needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record {
    /// An account; its key is the hash of its address.
    Account(AccountValues),
    /// A slot of the account with this hash.
    Slot { account: B256, slot: B256, value: U256 },
    /// A piece of the code with this hash; the last one is filled with zeros.
    Code { hash: B256, length: u32, index: u16, bytes: [u8; PIECE_BYTES] },
    /// Height of the block after which the state is this; kept with each commit, not under a key.
    Height(u64),
}

/// Bytes of code in one record.
const PIECE_BYTES: usize = 58;
const RECORD_BYTES: usize = 96;
/// More than any code has (EIP-170).
const CODE_BYTES_MAX: usize = 1 << 20;

impl FixedSize for Record {
    const SIZE: usize = 1 + RECORD_BYTES;
}

impl Write for Record {
    fn write(&self, out: &mut impl BufMut) {
        match self {
            Self::Account(AccountValues { nonce, balance, code_hash }) => {
                0u8.write(out);
                nonce.write(out);
                balance.to_be_bytes::<32>().write(out);
                code_hash.0.write(out);
                [0u8; RECORD_BYTES - 72].write(out);
            }
            Self::Slot { account, slot, value } => {
                1u8.write(out);
                account.0.write(out);
                slot.0.write(out);
                value.to_be_bytes::<32>().write(out);
            }
            Self::Code { hash, length, index, bytes } => {
                2u8.write(out);
                hash.0.write(out);
                length.write(out);
                index.write(out);
                bytes.write(out);
            }
            Self::Height(height) => {
                3u8.write(out);
                height.write(out);
                [0u8; RECORD_BYTES - 8].write(out);
            }
        }
    }
}

impl Read for Record {
    type Cfg = ();

    fn read_cfg(from: &mut impl Buf, (): &()) -> Result<Self, CodecError> {
        fn hash(from: &mut impl Buf) -> Result<B256, CodecError> {
            <[u8; 32]>::read(from).map(B256::new)
        }
        fn padding<const N: usize>(from: &mut impl Buf) -> Result<(), CodecError> {
            let is_zero = <[u8; N]>::read(from)?.iter().all(|byte| *byte == 0);
            if is_zero { Ok(()) } else { Err(CodecError::Invalid("Record", "padding")) }
        }
        Ok(match u8::read(from)? {
            0 => {
                let nonce = u64::read(from)?;
                let balance = U256::from_be_bytes(hash(from)?.0);
                let code_hash = hash(from)?;
                padding::<{ RECORD_BYTES - 72 }>(from)?;
                Self::Account(AccountValues { nonce, balance, code_hash })
            }
            1 => Self::Slot {
                account: hash(from)?,
                slot: hash(from)?,
                value: U256::from_be_bytes(hash(from)?.0),
            },
            2 => Self::Code {
                hash: hash(from)?,
                length: u32::read(from)?,
                index: u16::read(from)?,
                bytes: <[u8; PIECE_BYTES]>::read(from)?,
            },
            3 => {
                let height = u64::read(from)?;
                padding::<{ RECORD_BYTES - 8 }>(from)?;
                Self::Height(height)
            }
            tag => return Err(CodecError::InvalidEnum(tag)),
        })
    }
}

/// Keys are spread evenly, which the index in memory needs.
fn derived_key(domain: &'static str, parts: [&[u8]; 2]) -> Key {
    let mut hasher = blake3::Hasher::new_derive_key(domain);
    parts.iter().for_each(|part| {
        hasher.update(part);
    });
    Key::new(*hasher.finalize().as_bytes())
}

fn slot_key(account: &B256, slot: &B256) -> Key {
    derived_key("veracity state slot v1", [account.as_slice(), slot.as_slice()])
}

fn code_key(hash: &B256, index: u16) -> Key {
    derived_key("veracity state code v1", [hash.as_slice(), &index.to_be_bytes()])
}

fn account_key(account: &B256) -> Key {
    Key::new(account.0)
}

/// A block's state, and what blocks that follow need to know of the block.
#[derive(Debug, Clone)]
pub struct Head {
    /// The block's header.
    pub header: Arc<Header>,
    /// The block's hash.
    pub hash: B256,
    /// The round in which it was proposed.
    pub round: Round,
    /// The state after it.
    pub state: State,
}

impl Head {
    /// The head that a block leads to.
    #[must_use]
    pub fn new(block: &Block, state: State) -> Self {
        let header = Arc::new(block.header().clone());
        Self { header, hash: block.digest().0, round: block.section().context.round, state }
    }
}

/// What the database begins with, and who is told of its head.
pub(crate) struct Config<E: StorageContext, S: Strategy> {
    /// Prefix of the names of all partitions.
    pub(crate) partition: String,
    /// Cache of pages.
    pub(crate) page_cache: CacheRef,
    /// How work is divided over threads.
    pub(crate) strategy: S,
    /// What the chain begins with.
    pub(crate) genesis: Arc<Genesis>,
    /// Where blocks are, of which the log knows the height only.
    pub(crate) marshal: Marshal,
    /// Told of the head that the database begins with; none on a node that has no part in elections.
    pub(crate) elections: Option<Elections<E>>,
    /// Told of each new head.
    pub(crate) heads: watch::Sender<Option<Head>>,
}

impl<E: StorageContext, S: Strategy> Clone for Config<E, S> {
    fn clone(&self) -> Self {
        Self {
            partition: self.partition.clone(),
            page_cache: self.page_cache.clone(),
            strategy: self.strategy.clone(),
            genesis: self.genesis.clone(),
            marshal: self.marshal.clone(),
            elections: self.elections.clone(),
            heads: self.heads.clone(),
        }
    }
}

const BUFFER: std::num::NonZeroUsize = NZUsize!(1 << 20);
const ITEMS: NonZeroU64 = NZU64!(1 << 16);
/// Operations that are read at once when the state is made from the log.
const READ_BATCH: NonZeroU64 = NZU64!(1 << 12);

impl<E: StorageContext + Spawner, S: Strategy> Config<E, S> {
    fn qmdb(&self) -> FixedConfig<EightCap, S> {
        let Self { partition, page_cache, strategy, .. } = self;
        FixedConfig {
            merkle_config: MerkleConfig {
                journal_partition: format!("{partition}-state-merkle-nodes"),
                metadata_partition: format!("{partition}-state-merkle-pruned"),
                items_per_blob: ITEMS,
                write_buffer: BUFFER,
                replay_buffer: BUFFER,
                strategy: strategy.clone(),
                page_cache: page_cache.clone(),
            },
            journal_config: JournalConfig {
                partition: format!("{partition}-state-log"),
                items_per_blob: ITEMS,
                page_cache: page_cache.clone(),
                write_buffer: BUFFER,
                replay_buffer: BUFFER,
            },
            translator: EightCap,
            init_cache: Some(NZUsize!(1 << 16)),
            init_buffer: NZUsize!(1 << 21),
            init_concurrency: (),
        }
    }

    /// The head that an open log stands for.
    ///
    /// # Panics
    /// If the log, or the block that it names, is damaged: there is nothing to go on with.
    async fn head(&self, qmdb: &Inner<E, S>) -> Head {
        let qmdb = qmdb.read().await;
        let height = match qmdb.get_metadata().await.expect("the state can be read") {
            None => return self.genesis.head(),
            Some(Record::Height(height)) => Height::new(height),
            Some(_) => panic!("the state is damaged: its last commit names no height. {RESTORE}"),
        };
        let block = self.marshal.get_block(height).await;
        let Some(block) = block else { panic!("block {height} is missing. {RESTORE}") };
        let mut state = State::default();
        let applied = state.apply(&self.changes(&qmdb).await);
        let (expected, found) = (block.inner().header().state_root, state.root());
        assert!(
            applied.is_ok() && found == expected,
            "the state after block {height} is damaged: root {found}, expected {expected}. {RESTORE}"
        );
        Head::new(block.inner(), state)
    }

    /// Changes that make the state which the log leads to: what was written last under each key.
    async fn changes(&self, qmdb: &Qmdb<E, S>) -> Vec<Change> {
        let mut records = HashMap::new();
        let (mut at, end) = (qmdb.sync_boundary(), qmdb.bounds().end);
        while at < end {
            let (_, operations) = qmdb.proof(at, READ_BATCH).await.expect("the state can be read");
            at += u64::try_from(operations.len()).expect("a batch is small");
            for operation in operations {
                match operation {
                    Operation::Update(update) => {
                        records.insert(update.0, update.1);
                    }
                    Operation::Delete(key) => {
                        records.remove(&key);
                    }
                    Operation::CommitFloor(..) => {}
                }
            }
        }
        changes(records)
    }

    async fn open(&self, qmdb: Inner<E, S>) -> Database<E, S> {
        let head = self.head(&qmdb).await;
        if let Some(elections) = &self.elections {
            elections.see(&head).await;
        }
        self.heads.send_replace(Some(head.clone()));
        let memory =
            Memory { head: Mutex::new(head), heads: self.heads.clone(), genesis: self.genesis.clone() };
        Database { qmdb, memory: Arc::new(memory) }
    }
}

const RESTORE: &str = "Restore the data folder from a backup, or remove it and join again";

/// Changes that make the state which has these records; code comes before the accounts that have it.
///
/// # Panics
/// If a record does not belong into a state.
fn changes(records: HashMap<Key, Record>) -> Vec<Change> {
    let mut codes: HashMap<B256, Vec<u8>> = HashMap::new();
    let mut rest = vec![];
    for (key, record) in records {
        match record {
            Record::Account(values) => rest.push(Change::Account(B256::from_slice(&key), Some(values))),
            Record::Slot { account, slot, value } => rest.push(Change::Slot(account, slot, value)),
            Record::Code { hash, length, index, bytes } => {
                let length = usize::try_from(length).unwrap_or(usize::MAX).min(CODE_BYTES_MAX);
                let code = codes.entry(hash).or_insert_with(|| vec![0; length]);
                let place = code.get_mut(usize::from(index) * PIECE_BYTES..).unwrap_or_default();
                place.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
            }
            Record::Height(_) => panic!("the state is damaged: a height is no entry. {RESTORE}"),
        }
    }
    // A wrong length or a missing piece gives other code, which then misses under its hash.
    let codes = codes.into_values().map(|code| Change::Code(keccak256(&code), code.into()));
    codes.chain(rest).collect()
}

/// The durable state with the tries in memory.
pub(crate) struct Database<E: StorageContext + Spawner, S: Strategy> {
    qmdb: Inner<E, S>,
    memory: Arc<Memory>,
}

struct Memory {
    head: Mutex<Head>,
    heads: watch::Sender<Option<Head>>,
    genesis: Arc<Genesis>,
}

impl<E: StorageContext + Spawner, S: Strategy> Clone for Database<E, S> {
    fn clone(&self) -> Self {
        Self { qmdb: self.qmdb.clone(), memory: self.memory.clone() }
    }
}

/// The state after a block, to which a child's changes are added.
pub(crate) struct Unmerkleized<E: StorageContext + Spawner, S: Strategy> {
    qmdb: InnerUnmerkleized<E, S>,
    head: Head,
    genesis: Arc<Genesis>,
}

/// What a block does to the durable state.
pub(crate) struct Sealed<E: StorageContext + Spawner, S: Strategy> {
    qmdb: InnerMerkleized<E, S>,
    executed: Arc<Executed>,
    genesis: Arc<Genesis>,
}

/// The result of a block, not yet applied.
pub(crate) struct Merkleized<E: StorageContext + Spawner, S: Strategy> {
    sealed: Sealed<E, S>,
    head: Head,
}

impl<E: StorageContext + Spawner, S: Strategy> Clone for Merkleized<E, S> {
    fn clone(&self) -> Self {
        let Sealed { qmdb, executed, genesis } = &self.sealed;
        let sealed = Sealed { qmdb: qmdb.clone(), executed: executed.clone(), genesis: genesis.clone() };
        Self { sealed, head: self.head.clone() }
    }
}

impl<E: StorageContext + Spawner, S: Strategy> Unmerkleized<E, S> {
    /// The parent.
    pub(crate) fn head(&self) -> &Head {
        &self.head
    }

    /// Adds what a block does.
    pub(crate) async fn seal(self, executed: Executed) -> Sealed<E, S> {
        let Self { mut qmdb, head, genesis } = self;
        let height = head.header.number + 1;
        // The log begins empty, so the first block brings the genesis state too.
        let first = if height == 1 { genesis.changes() } else { &[] };
        for change in first.iter().chain(&executed.changes) {
            qmdb = write(qmdb, change, &head.state);
        }
        let qmdb = qmdb.with_metadata(Record::Height(height)).merkleize().await;
        Sealed { qmdb: qmdb.expect("the state can be read"), executed: Arc::new(executed), genesis }
    }
}

fn write<E: StorageContext + Spawner, S: Strategy>(
    mut qmdb: InnerUnmerkleized<E, S>,
    change: &Change,
    parent: &State,
) -> InnerUnmerkleized<E, S> {
    let (key, record) = match change {
        Change::Code(hash, code) => {
            let length = u32::try_from(code.len()).expect("code is bounded (EIP-170)");
            let pieces = (0u16..).zip(code.chunks(PIECE_BYTES));
            return pieces.fold(qmdb, |qmdb, (index, piece)| {
                let mut bytes = [0; PIECE_BYTES];
                bytes[..piece.len()].copy_from_slice(piece);
                qmdb.write(code_key(hash, index), Some(Record::Code { hash: *hash, length, index, bytes }))
            });
        }
        Change::Account(at, Some(values)) => (account_key(at), Some(Record::Account(*values))),
        Change::Account(at, None) | Change::Wiped(at) => {
            let mut slots = vec![];
            if let Some(account) = parent.account_at(at) {
                account.storage.for_each(&mut |slot, _| slots.push(slot));
            }
            qmdb = slots.iter().fold(qmdb, |qmdb, slot| qmdb.write(slot_key(at, slot), None));
            if matches!(change, Change::Wiped(_)) {
                return qmdb;
            }
            (account_key(at), None)
        }
        Change::Slot(account, slot, value) => {
            let (account, slot, value) = (*account, *slot, *value);
            let record = (!value.is_zero()).then_some(Record::Slot { account, slot, value });
            (slot_key(&account, &slot), record)
        }
    };
    qmdb.write(key, record)
}

impl<E: StorageContext + Spawner, S: Strategy> Sealed<E, S> {
    /// Where the log is after the block, which the block names.
    pub(crate) fn target(&self) -> SyncTarget {
        let bounds = self.qmdb.bounds();
        Target::new(self.qmdb.root(), non_empty_range!(bounds.inactivity_floor, bounds.tip.size))
    }

    /// The result of `block`, which names [`Sealed::target`].
    pub(crate) fn complete(self, block: &Block) -> Merkleized<E, S> {
        let head = Head::new(block, self.executed.state.clone());
        Merkleized { sealed: self, head }
    }
}

impl<E: StorageContext + Spawner, S: Strategy> Merkleized<E, S> {
    /// The block, and the state after it.
    pub(crate) fn head(&self) -> &Head {
        &self.head
    }

    /// What the block does.
    pub(crate) fn executed(&self) -> &Arc<Executed> {
        &self.sealed.executed
    }
}

/// Where the log is before the first block.
pub(crate) fn empty_target() -> SyncTarget {
    use commonware_parallel::Sequential;
    type Any = commonware_runtime::deterministic::Context;
    <Qmdb<Any, Sequential> as ManagedDb<Any>>::initial_sync_target()
}

impl<E, S> DatabaseSet<E> for Database<E, S>
where
    E: StorageContext + Spawner,
    S: Strategy,
{
    type Unmerkleized = Unmerkleized<E, S>;
    type Merkleized = Merkleized<E, S>;
    type Readers = ();
    type Config = Config<E, S>;
    type SyncTargets = SyncTarget;

    async fn init(context: E, config: Config<E, S>, expected: Option<SyncTarget>) -> Self {
        let qmdb = Inner::<E, S>::init(context, config.qmdb(), expected).await;
        config.open(qmdb).await
    }

    fn initial_sync_targets() -> SyncTarget {
        empty_target()
    }

    async fn new_batches(&self) -> Unmerkleized<E, S> {
        let qmdb = self.qmdb.new_batches().await;
        Unmerkleized { qmdb, head: self.memory.head.lock().clone(), genesis: self.memory.genesis.clone() }
    }

    fn fork_batches(parent: &Merkleized<E, S>) -> Unmerkleized<E, S> {
        let Sealed { qmdb, genesis, .. } = &parent.sealed;
        let qmdb = Inner::<E, S>::fork_batches(qmdb);
        Unmerkleized { qmdb, head: parent.head.clone(), genesis: genesis.clone() }
    }

    fn matches_sync_targets(batches: &Merkleized<E, S>, targets: &SyncTarget) -> bool {
        let matches = Inner::<E, S>::matches_sync_targets(&batches.sealed.qmdb, targets);
        if !matches {
            warn!(height = batches.head.header.number, error = %InvalidBlock::Target, "refused a block");
        }
        matches
    }

    fn readers(&self) {}

    async fn apply(&self, batches: Merkleized<E, S>) {
        let Merkleized { sealed, head } = batches;
        self.qmdb.apply(sealed.qmdb).await;
        *self.memory.head.lock() = head.clone();
        self.memory.heads.send_replace(Some(head));
    }

    async fn finalize(&self) -> Barrier {
        self.qmdb.finalize().await
    }

    async fn prune(&self, targets: &SyncTarget) {
        self.qmdb.prune(targets).await;
    }

    async fn committed_targets(&self) -> SyncTarget {
        self.qmdb.committed_targets().await
    }
}

/// Fetches the log of operations from peers, and serves it to them and to whoever asks this node.
#[derive(Clone)]
pub(crate) struct Resolver<R> {
    /// Peers.
    pub(crate) source: R,
    /// Opened with the database.
    pub(crate) log: StateLog,
}

impl<E, S, R> StateSyncSet<E, Resolver<R>> for Database<E, S>
where
    E: StorageContext + Spawner,
    S: Strategy,
    R: Send + 'static,
    Inner<E, S>:
        StateSyncSet<E, R> + DatabaseSet<E, Config = FixedConfig<EightCap, S>, SyncTargets = SyncTarget>,
{
    type Error = <Inner<E, S> as StateSyncSet<E, R>>::Error;

    async fn sync<D: DigestTrait>(
        context: E,
        config: Config<E, S>,
        Resolver { source, .. }: Resolver<R>,
        anchor: Anchor<D>,
        targets: SyncTarget,
        tip_updates: ring::Receiver<TipUpdate<D, SyncTarget>>,
        sync_config: SyncEngineConfig,
    ) -> Result<(Self, Anchor<D>), Self::Error> {
        let (qmdb, anchor) =
            Inner::<E, S>::sync(context, config.qmdb(), source, anchor, targets, tip_updates, sync_config)
                .await?;
        Ok((config.open(qmdb).await, anchor))
    }
}

impl<E, S, R> AttachableResolverSet<Database<E, S>> for Resolver<R>
where
    E: StorageContext + Spawner,
    S: Strategy,
    R: AttachableResolver<Qmdb<E, S>>,
{
    async fn attach_databases(&self, databases: Database<E, S>) {
        let qmdb = databases.qmdb.clone();
        self.log.open(Box::new(move |request| {
            let qmdb = qmdb.clone();
            Box::pin(async move { qmdb.serve(request).await.ok().map(|(range, _)| range.encode()) })
        }));
        self.source.attach_database(databases.qmdb).await;
    }
}
