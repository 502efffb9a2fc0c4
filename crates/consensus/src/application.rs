//! Building and checking blocks on behalf of consensus.

use std::{sync::Arc, time::Duration};

use alloy_consensus::{
    Transaction as _, TxEnvelope,
    transaction::{Recovered, SignerRecoverable as _},
};
use alloy_primitives::{Address, B256};
use commonware_consensus::{
    Application as ConsensusApplication, Heightable as _,
    marshal::ancestry::Ancestry,
    types::{Round, View},
};
use commonware_cryptography::bls12381::primitives::variant::MinSig;
use commonware_cryptography::{Digested, Digestible as _, ed25519};
use commonware_glue::dkg::network::Addresses;
use commonware_glue::{
    dkg::reshare,
    stateful::{Application, Finality, Input, Proposed},
};
use commonware_macros::select;
use commonware_parallel::Strategy;
use commonware_runtime::{Clock, Metrics, Spawner, Storage};
use commonware_storage::Context as StorageContext;
use tracing::{debug, warn};
use veracity_chain::{Block as ExecutionBlock, BlockError, Builder, Choice, Executed, check_block};

use crate::{
    Certificate, Finalized, Genesis, Head, Marshal, Observer, Scheme, SharedPool,
    block::{BLOCK_BYTES_MAX, Block, Context, PublicKey, Section, Seed, random_value},
    database::{Database, Merkleized, Unmerkleized, empty_target},
    elections::Elections,
    seeds::{Seeds, is_round_of},
};

/// How far a block's time may lie after its parent's, in seconds: a chain that stood still catches up in such steps.
pub const TIME_STEP_MAX: u64 = 3600;
/// How often the clock is looked at while a block's time has not come.
const CLOCK_STEP: Duration = Duration::from_millis(100);
/// Bytes of transactions that a block may have, so that it fits with its header.
const TRANSACTION_BYTES_MAX: usize = BLOCK_BYTES_MAX - (1 << 14);

/// Builds and checks blocks.
pub(crate) struct App<E: StorageContext, S, O> {
    pub(crate) genesis: Arc<Genesis>,
    pub(crate) beneficiary: Address,
    /// How long building a block may take.
    pub(crate) build_time: Duration,
    /// See [`Faults`](crate::Faults).
    pub(crate) clock_ahead: Duration,
    pub(crate) pool: SharedPool,
    pub(crate) seeds: Seeds,
    pub(crate) heads: Recent,
    pub(crate) strategy: S,
    /// None on a node that has no part in elections.
    pub(crate) elections: Option<Elections<E>>,
    pub(crate) marshal: Marshal,
    pub(crate) observer: O,
    /// Whether consensus tells the observer of certificates. Otherwise those that were fetched with blocks are shown.
    pub(crate) is_told: bool,
}

impl<E: StorageContext, S: Clone, O: Clone> Clone for App<E, S, O> {
    fn clone(&self) -> Self {
        Self {
            genesis: self.genesis.clone(),
            beneficiary: self.beneficiary,
            build_time: self.build_time,
            clock_ahead: self.clock_ahead,
            pool: self.pool.clone(),
            seeds: self.seeds.clone(),
            heads: self.heads.clone(),
            strategy: self.strategy.clone(),
            elections: self.elections.clone(),
            marshal: self.marshal.clone(),
            observer: self.observer.clone(),
            is_told: self.is_told,
        }
    }
}

/// Why a block is not voted for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidBlock {
    /// It breaks a rule of the chain.
    #[error(transparent)]
    Chain(#[from] BlockError),
    /// Its time lies too far after its parent's.
    #[error("timestamp {found} is more than {TIME_STEP_MAX} s after the parent's, {parent}")]
    Timestamp {
        /// The parent's, in seconds since 1970.
        parent: u64,
        /// The block's.
        found: u64,
    },
    /// It has a random value although its parent has none, or lacks it.
    #[error("the block must carry the random value of its parent's round, and none after genesis")]
    SeedPresence,
    /// Its random value is that of another round.
    #[error("the random value is for round {found}, the parent's is {parent}")]
    SeedRound {
        /// The parent's round.
        parent: Round,
        /// The value's.
        found: Round,
    },
    /// Its random value is not signed by the network.
    #[error("the random value is not signed by the network's key")]
    SeedSignature,
    /// `mixHash` is not its random value.
    #[error("mixHash is not the random value that the block carries")]
    MixHash,
    /// It does not name the state log that it leads to.
    #[error("the block names another state than the one it leads to")]
    Target,
}

/// Checks what consensus adds to a block, as far as its parent decides it. `is_signed` says whether the network signed a
/// random value.
pub(crate) fn check_section(
    parent: &Head,
    block: &Block,
    is_signed: impl FnOnce(&Seed) -> bool,
) -> Result<(), InvalidBlock> {
    let (header, section) = (block.header(), block.section());
    if header.timestamp > parent.header.timestamp.saturating_add(TIME_STEP_MAX) {
        return Err(InvalidBlock::Timestamp { parent: parent.header.timestamp, found: header.timestamp });
    }
    let value = match &section.seed {
        None if parent.header.number == 0 => B256::ZERO,
        Some(seed) if parent.header.number > 0 => {
            if !is_round_of(seed.round, parent.round, section.context.round) {
                return Err(InvalidBlock::SeedRound { parent: parent.round, found: seed.round });
            }
            if !is_signed(seed) {
                return Err(InvalidBlock::SeedSignature);
            }
            random_value(seed)
        }
        _ => return Err(InvalidBlock::SeedPresence),
    };
    if header.mix_hash == value { Ok(()) } else { Err(InvalidBlock::MixHash) }
}

impl<E: StorageContext, S: Strategy, O: Observer> App<E, S, O> {
    /// The senders of a block's transactions; those that wait in the pool are known already.
    async fn senders(&self, block: &Arc<ExecutionBlock>) -> Result<Vec<Recovered<TxEnvelope>>, BlockError> {
        let (block, pool) = (block.clone(), self.pool.clone());
        let length = block.transactions.len();
        let recover = move |strategy: S| {
            let indexed: Vec<(usize, &TxEnvelope)> = block.transactions.iter().enumerate().collect();
            let recovered = strategy.map_collect_vec(indexed, |(index, transaction)| {
                let sender =
                    pool.sender(transaction.tx_hash()).map_or_else(|| transaction.recover_signer(), Ok);
                let sender = sender.map_err(|_| BlockError::Signature { index })?;
                Ok(Recovered::new_unchecked(transaction.clone(), sender))
            });
            recovered.into_iter().collect()
        };
        self.strategy.spawn(length, recover).await
    }

    /// Executes a block on its parent.
    async fn execute(&self, parent: &Head, block: &Block) -> Result<Executed, InvalidBlock> {
        check_section(parent, block, |seed| self.seeds.verify(seed))?;
        let senders = self.senders(block.execution()).await?;
        let (parent, chain_id, execution) =
            (parent.clone(), self.genesis.chain_id(), block.execution().clone());
        let check = move |_| check_block(&parent.header, &parent.state, chain_id, &execution, &senders);
        Ok(self.strategy.spawn(1 + block.execution().transactions.len(), check).await?)
    }

    /// What tips most, as far as a block has room for it.
    ///
    /// It is copied, so that the pool is not held while transactions are executed.
    fn candidates(&self, parent: &Head) -> Vec<Recovered<TxEnvelope>> {
        use alloy_eips::Encodable2718 as _;
        let base_fee = veracity_chain::next_base_fee(&parent.header, &parent.state);
        let (mut gas, mut bytes) = (0_u64, 0);
        self.pool.with(|pool| {
            let mut best = pool.best(&parent.state, base_fee);
            let mut candidates = vec![];
            // Limits are more than what is used, so there are candidates for twice the gas.
            while gas < parent.header.gas_limit.saturating_mul(2)
                && let Some(transaction) = best.peek()
            {
                let length = transaction.encode_2718_len() + 8;
                let fits = bytes + length <= TRANSACTION_BYTES_MAX;
                if fits {
                    bytes += length;
                    gas = gas.saturating_add(transaction.gas_limit());
                    candidates.push(transaction.clone());
                }
                best.advance(fits);
            }
            candidates
        })
    }

    /// Fills a block with what tips most, until it is full or `clock` has reached `until`: what takes long to build takes
    /// long to check, and a round ends.
    fn build(&self, parent: &Head, choice: &Choice, clock: &impl Clock, until: Duration) -> Builder {
        let mut builder = Builder::new(&parent.header, &parent.state, self.genesis.chain_id(), choice);
        for transaction in self.candidates(parent) {
            if builder.gas_left() < TRANSFER_GAS || now(clock) >= until {
                break;
            }
            // One that may not be here, and those of its sender that follow it, wait on or are dropped by the pool.
            let _ = builder.push(&transaction);
        }
        builder
    }
}

/// Gas of the cheapest transaction.
const TRANSFER_GAS: u64 = 21_000;

/// Time since 1970.
fn now(clock: &impl Clock) -> Duration {
    clock.current().duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
}

/// What a proposal carries besides transactions.
pub(crate) type Upstream = reshare::Input<(), MinSig, ed25519::PrivateKey, Addresses<PublicKey>>;

impl<E, S, O> Application<E> for App<E, S, O>
where
    E: Spawner + Metrics + Clock + Storage,
    S: Strategy,
    O: Observer,
{
    type SigningScheme = Scheme;
    type Context = Context;
    type Block = Block;
    type Databases = Database<E, S>;
    type Captured = Arc<Executed>;
    type Provider = ();
    type Input = Upstream;

    fn sync_targets(block: &Block) -> crate::block::SyncTarget {
        block.section().target.clone()
    }

    async fn genesis(&mut self) -> Block {
        self.genesis.block().clone()
    }

    async fn propose(
        &mut self,
        (runtime, context): (E, Context),
        _ancestry: impl Ancestry<Block>,
        batches: Unmerkleized<E, S>,
        input: Input<Upstream, ()>,
    ) -> Option<Proposed<Self, E>> {
        let parent = batches.head().clone();
        let seed = match parent.header.number {
            0 => None,
            // Whoever may propose has a certificate of the parent, from which this comes; consensus gives up on us
            // if it does not.
            _ => Some(self.seeds.of(&parent, context.round).await),
        };
        let latest = parent.header.timestamp + TIME_STEP_MAX;
        let choice = Choice {
            timestamp: (now(&runtime) + self.clock_ahead).as_secs().clamp(parent.header.timestamp, latest),
            beneficiary: self.beneficiary,
            random: seed.as_ref().map(random_value).unwrap_or_default(),
            extra_data: vec![0; 32].into(),
        };
        let app = self.clone();
        let until = now(&runtime) + self.build_time;
        // It grows with what waits, by which the strategy tells whether it is worth another thread.
        let length = 1 + self.pool.with(veracity_chain::Pool::len);
        let build = move |_| app.build(&parent, &choice, &runtime, until).finish();
        let (mut execution, executed) = self.strategy.spawn(length, build).await;
        let sealed = batches.seal(executed).await;
        let section = Section { context, target: sealed.target(), seed, payload: input.upstream.payload };
        execution.header.extra_data = section.hash().into();
        let block = Block::new(execution, section);
        let merkleized = sealed.complete(&block);
        self.heads.insert(&merkleized);
        Some(Proposed { block, merkleized })
    }

    async fn process(
        &mut self,
        _: (E, Context),
        ancestry: impl Ancestry<Block>,
        batches: Unmerkleized<E, S>,
        _: Finality,
    ) -> Option<Merkleized<E, S>> {
        let block = ancestry.peek()?.inner_shared();
        let parent = batches.head().clone();
        let executed = match self.execute(&parent, &block).await {
            Ok(executed) => executed,
            Err(error) => {
                warn!(height = block.height().get(), hash = %block.digest(), %error, "refused a block");
                return None;
            }
        };
        let sealed = batches.seal(executed).await;
        // Whether this is where the block says that it leads, its owner checks (database.rs).
        let merkleized = sealed.complete(&block);
        self.heads.insert(&merkleized);
        Some(merkleized)
    }

    /// Tells of a final block before its state is applied: a block whose state is durable is not delivered again.
    async fn capture(
        &mut self,
        _: (E, Context),
        block: &Block,
        batches: &Merkleized<E, S>,
        (): (),
    ) -> Arc<Executed> {
        let executed = batches.executed().clone();
        if let Some(elections) = &self.elections {
            elections.see(batches.head()).await;
        }
        self.observer.finalized(Finalized { block: block.clone(), executed: executed.clone() }).await;
        if !self.is_told
            && let Some(finalization) = self.marshal.get_finalization(block.height()).await
        {
            self.observer.certified(Certificate::of(&finalization));
        }
        executed
    }

    async fn finalized(&mut self, _: (E, Context), block: &Block, executed: Arc<Executed>, (): ()) {
        debug!(
            height = block.height().get(),
            transactions = block.execution().transactions.len(),
            "finalized"
        );
        self.pool.update(&executed.changes);
        self.seeds.prune(block.section().context.round);
    }
}

/// Heads of blocks that were built or checked lately, by hash.
#[derive(Clone, Default)]
pub(crate) struct Recent(Arc<std::sync::Mutex<std::collections::VecDeque<Head>>>);

impl Recent {
    const COUNT_MAX: usize = 16;

    fn lock(&self) -> std::sync::MutexGuard<'_, std::collections::VecDeque<Head>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn insert<E: commonware_storage::Context + Spawner, S: Strategy>(&self, result: &Merkleized<E, S>) {
        let mut heads = self.lock();
        heads.truncate(Self::COUNT_MAX - 1);
        heads.push_front(result.head().clone());
    }

    fn get(&self, hash: &B256) -> Option<Head> {
        self.lock().iter().find(|head| head.hash == *hash).cloned()
    }
}

/// The first view of an epoch.
const FIRST_VIEW: View = View::new(1);
/// How long the first view of an epoch is drawn out, once by its leader, so that all enter the epoch before anything is
/// sent in it, and once by all others before they go on to the second view, so that they have heard everybody's vote. The
/// library knows nobody at first; it gives up on a leader that it has not heard if it has heard a quorum. When only some of
/// the validators do that, a view is lost for all, with the whole time that it may take.
const EPOCH_PAUSE: Duration = Duration::from_millis(200);

/// Paces proposals: one with transactions is made at once, one without after a heartbeat.
///
/// This waits in front of the state's owner, which finalizes nothing while it builds.
#[derive(Clone)]
pub(crate) struct Paced<A> {
    pub(crate) inner: A,
    pub(crate) pool: SharedPool,
    pub(crate) heads: Recent,
    pub(crate) heartbeat: Duration,
    /// See [`Faults`](crate::Faults).
    pub(crate) false_target: bool,
}

/// A block that is like this one, but for the state log that it names.
fn with_false_target(block: &Block) -> Digested<Block> {
    let (mut execution, mut section) = (block.execution().as_ref().clone(), block.section().clone());
    section.target.root = empty_target().root;
    execution.header.extra_data = section.hash().into();
    let block = Block::new(execution, section);
    let digest = block.digest();
    Digested::precomputed(block, digest)
}

impl<A, E> ConsensusApplication<E> for Paced<A>
where
    E: Clock,
    A: ConsensusApplication<E, Block = Block, Context = Context>,
{
    type SigningScheme = A::SigningScheme;
    type Context = Context;
    type Block = Block;
    type Input = A::Input;

    async fn propose(
        &mut self,
        (runtime, context): (E, Context),
        ancestry: impl Ancestry<Block>,
        input: A::Input,
    ) -> Option<Digested<Block>> {
        if context.round.view() == FIRST_VIEW {
            runtime.sleep(EPOCH_PAUSE).await;
        }
        // A parent that this node did not check itself is rare: then there is no wait.
        if let Some(head) = self.heads.get(&context.parent.1.0) {
            select! {
                () = self.pool.ready(&head) => {},
                () = runtime.sleep(self.heartbeat) => {},
            }
        }
        let block = self.inner.propose((runtime, context), ancestry, input).await?;
        Some(if self.false_target { with_false_target(block.inner()) } else { block })
    }

    /// Waits until the block's time has come before it is checked. Whether it has differs between nodes, so this delays a
    /// vote and never decides it. It waits here, where it holds up nobody else, and not beyond what the check would
    /// refuse anyway.
    async fn verify(&mut self, (runtime, context): (E, Context), ancestry: impl Ancestry<Block>) -> bool {
        // The vote has been cast by now; this is what certification waits for.
        if context.round.view() == FIRST_VIEW {
            runtime.sleep(EPOCH_PAUSE).await;
        }
        if let Some(block) = ancestry.peek() {
            let begins = block.inner().header().timestamp;
            let parent = self.heads.get(&context.parent.1.0);
            let is_allowed =
                parent.is_none_or(|parent| begins <= parent.header.timestamp.saturating_add(TIME_STEP_MAX));
            while is_allowed && now(&runtime).as_secs() < begins {
                runtime.sleep(CLOCK_STEP).await;
            }
        }
        self.inner.verify((runtime, context), ancestry).await
    }
}
