//! Everything that one validator runs, wired together.
//!
//! The same code runs on the network and disks of the operating system and in the simulator: it is generic over the
//! runtime, and two crates of their own instantiate it.

use std::{num::NonZeroU64, sync::Arc, time::Duration};

use alloy_consensus::{TxEnvelope, transaction::Recovered};
use alloy_primitives::Address;
use commonware_broadcast::buffered;
use commonware_consensus::{
    Reporters,
    marshal::{self, core::Actor as MarshalActor, resolver::p2p as marshal_resolver, standard::Deferred},
    simplex::{
        SkipBudget,
        config::{ForwardPolicy, SkipPolicy},
        elector::{Random, RandomVersion},
    },
    types::{Epoch, FixedEpocher},
};
use commonware_cryptography::{
    Digested, Digestible as _, Sha256, Signer as _,
    bls12381::{
        dkg::feldman_desmedt::Reveal,
        primitives::{group::Share, sharing::Mode, variant::MinSig},
    },
    ed25519, sha256,
};
use commonware_glue::{
    dkg::{
        SecretStore as _,
        fence::Fence,
        max_payload_size as dkg_payload_size,
        network::{Addresses, Manager},
        orchestrator, probe, reshare,
        state_sync::{Config as SyncStartConfig, Plan as SyncStartPlan, StateSync},
        types::{Participants, SchemeInfo},
    },
    stateful::{Config as StatefulConfig, Stateful, SyncPlan, db::p2p as state_resolver},
};
use commonware_p2p::{Address as PeerAddress, Blocker, Receiver, Sender, max_message_size};
use commonware_parallel::Strategy;
use commonware_runtime::{Clock, Handle, Metrics, Network, Quota, Spawner, Storage};
use commonware_storage::mmr;
use commonware_utils::{
    NZDuration, NZU32,
    ordered::{Map, Set},
};
use rand_core::CryptoRng;
use tokio::sync::{mpsc, watch};

use crate::{
    Genesis, Head, MarshalVariant, NAMESPACE, Observer, PublicKey, Scheme, SharedPool, VALIDATORS_MAX,
    application::{App, Paced, Recent},
    block::{Digest, SHARING},
    committee::Schemes,
    database::{self, Resolver, SYNC_BATCH},
    elections::{Elections, EpochStatus},
    gossip,
    peers::Peers,
    secrets::Secrets,
    seeds::{Seeds, Tap, Tips},
    source::{self, Questions, StateLog},
    stored::{BUFFER, MAILBOX, RETRY, SYNC, Stored, VIEWS},
};

/// A two-way channel to peers.
pub type Channel<S, R> = (S, R);

/// The channels to peers, in the order of their numbers on the wire.
#[derive(Debug)]
pub struct Channels<S, R> {
    /// Votes on blocks.
    pub votes: Channel<S, R>,
    /// Certificates.
    pub certificates: Channel<S, R>,
    /// Requests for certificates.
    pub resolver: Channel<S, R>,
    /// Requests for blocks.
    pub backfill: Channel<S, R>,
    /// Proposed blocks.
    pub broadcast: Channel<S, R>,
    /// Requests for the state log.
    pub state: Channel<S, R>,
    /// Key resharing.
    pub reshare: Channel<S, R>,
    /// Requests for a point from which to join.
    pub probe: Channel<S, R>,
    /// Waiting transactions.
    pub transactions: Channel<S, R>,
}

impl<S, R> Channels<S, R> {
    /// Number of channels.
    pub const COUNT: u64 = 9;

    /// Messages that a peer may send per second on a channel: some times what forty rounds need. Room for as many is kept
    /// for each peer that there may be, half a kilobyte each.
    #[must_use]
    pub const fn quota(channel: u64) -> Quota {
        Quota::per_second(match channel {
            0 => NZU32!(256),
            // Transactions are gathered for some milliseconds each (gossip.rs).
            1 | 2 | 8 => NZU32!(128),
            7 => NZU32!(16),
            _ => NZU32!(64),
        })
    }

    /// Channels by number.
    #[must_use]
    pub fn new(mut channel: impl FnMut(u64) -> Channel<S, R>) -> Self {
        Self {
            votes: channel(0),
            certificates: channel(1),
            resolver: channel(2),
            backfill: channel(3),
            broadcast: channel(4),
            state: channel(5),
            reshare: channel(6),
            probe: channel(7),
            transactions: channel(8),
        }
    }
}

/// Largest message on any channel, in bytes.
#[must_use]
pub fn message_bytes_max() -> u32 {
    let validators = VALIDATORS_MAX.get();
    max_message_size(&[
        orchestrator::max_payload_size::<Scheme, Digest>(validators),
        marshal::max_payload_size::<MarshalVariant, Scheme>(validators, &()),
        probe::max_payload_size::<MarshalVariant, Scheme>(validators, &()),
        dkg_payload_size::<MinSig, PublicKey>(VALIDATORS_MAX),
        state_resolver::max_payload_size::<mmr::Family, sha256::Digest>(
            SYNC_BATCH,
            database::OPERATION_BYTES_MAX,
        ),
        gossip::PAYLOAD_BYTES_MAX,
    ])
}

/// How long a validator waits for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Longest pause between blocks when there are no transactions.
    pub heartbeat: Duration,
    /// For a leader's proposal; longer than the heartbeat.
    pub leader: Duration,
    /// For a certificate, after which the round is given up; longer than for the proposal.
    pub certification: Duration,
    /// For an answer of a peer.
    pub fetch: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(1),
            leader: Duration::from_millis(2500),
            certification: Duration::from_secs(4),
            fetch: Duration::from_secs(2),
        }
    }
}

/// What a validator is.
#[derive(Debug)]
pub struct Config<S, M, B, O> {
    /// What the chain begins with.
    pub genesis: Arc<Genesis>,
    /// Blocks per epoch; the same on all nodes.
    pub epoch_blocks: NonZeroU64,
    /// The validator's key, which names it.
    pub signer: ed25519::PrivateKey,
    /// Its share of the network's key in the first epoch, if it has one.
    pub share: Option<Share>,
    /// Prefix of the names of all that it stores.
    pub partition: String,
    /// How work is divided over threads.
    pub strategy: S,
    /// Who is connected.
    pub manager: M,
    /// Whom a node asks where to join, and connects to at any time; the founders, while it joins, if there are none.
    pub bootstrap: Map<PublicKey, PeerAddress>,
    /// Bars peers that break the protocol.
    pub blocker: B,
    /// Told of finalized blocks and certificates.
    pub observer: O,
    /// Who receives the tips of its blocks.
    pub beneficiary: Address,
    /// Transactions that wait.
    pub pool: SharedPool,
    /// Transactions of clients, on their way to peers.
    pub news: mpsc::UnboundedReceiver<Recovered<TxEnvelope>>,
    /// Told of each new head.
    pub heads: watch::Sender<Option<Head>>,
    /// Told of the epoch of the next block.
    pub epochs: watch::Sender<Option<EpochStatus>>,
    /// Questions of those who follow this node.
    pub questions: Questions,
    /// How long it waits for what.
    pub timing: Timing,
    /// Whether it begins with the state of others instead of all blocks; only if it has no state.
    pub sync: bool,
    /// What is wrong with it: nothing, but in simulations.
    pub faults: Faults,
}

/// What is wrong with a validator, in simulations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Faults {
    /// How far its clock is ahead.
    pub clock_ahead: Duration,
    /// Whether the blocks that it proposes name another state log than they lead to.
    pub false_target: bool,
}

/// A running validator.
#[expect(missing_debug_implementations, reason = "the library's handles have none")]
pub struct Running {
    /// Its tasks; when one ends, so has the validator.
    pub tasks: Vec<Handle<()>>,
    /// Its blocks and certificates.
    pub marshal: crate::Marshal,
}

/// Whom a node asks where to join: of `told`, or of the founders, more than a third must answer.
fn bootstrap(
    genesis: &Genesis,
    told: &Map<PublicKey, PeerAddress>,
) -> probe::Bootstrap<PublicKey, Addresses<PublicKey>> {
    let (participants, directory) = match told.is_empty() {
        true => (genesis.info().participants(), genesis.info().directory.clone()),
        false => {
            let nobody = Set::default();
            let asked = told.keys().clone();
            (
                Participants { dealers: asked, players: nobody.clone(), next_players: nobody },
                told.clone().into(),
            )
        }
    };
    probe::Bootstrap { epoch: Epoch::zero(), participants, directory }
}

/// Starts a validator.
///
/// # Panics
/// If what it stored cannot be read, or cannot be written later: a validator that forgets what it signed is worse than
/// one that stands still.
pub async fn start<E, S, M, B, O, TX, RX>(
    context: &E,
    config: Config<S, M, B, O>,
    channels: Channels<TX, RX>,
) -> Running
where
    E: Spawner + CryptoRng + Metrics + Clock + Storage + Network,
    S: Strategy,
    M: Manager<PublicKey = PublicKey, Directory = Addresses<PublicKey>> + Clone,
    B: Blocker<PublicKey = PublicKey>,
    O: Observer,
    TX: Sender<PublicKey = PublicKey>,
    RX: Receiver<PublicKey = PublicKey>,
{
    let Config { genesis, epoch_blocks, signer, partition, strategy, blocker, timing, .. } = config;
    let bootstrap = bootstrap(&genesis, &config.bootstrap);
    let manager = Peers { inner: config.manager.clone(), told: config.bootstrap };
    let public_key = signer.public_key();
    let stored = Stored::new(partition.clone(), epoch_blocks, strategy.clone());
    let page_cache = stored.page_cache.clone();
    let fetch_timeout = NZDuration!(timing.fetch);
    let verifier = Scheme::certificate_verifier(NAMESPACE, genesis.network_key());

    // Who signs in the first epoch, and with which share.
    let schemes = Schemes::default();
    let mut secrets = Secrets::open(context.child("secrets"), &partition, config.share).await;
    let share = secrets.get_share(Epoch::zero()).await;
    let output = &genesis.info().output;
    let info = |share| SchemeInfo::new(&public_key, output.players().clone(), output.public().clone(), share);
    schemes.insert(Epoch::zero(), info(share));

    // Blocks: how they are fetched, passed on and kept.
    let resolver = marshal_resolver::init(
        context.child("marshal_resolver"),
        marshal_resolver::Config {
            public_key: public_key.clone(),
            peer_provider: manager.clone(),
            blocker: blocker.clone(),
            mailbox_size: MAILBOX,
            fetch_timeout,
            fetch_retry_delay: RETRY,
            priority_requests: false,
            priority_responses: false,
        },
        channels.backfill,
    );
    let (broadcast, buffer) = buffered::Engine::new(
        context.child("broadcast"),
        buffered::Config {
            public_key: public_key.clone(),
            mailbox_size: MAILBOX,
            deque_size: 8,
            priority: false,
            codec_config: (),
            peer_provider: manager.clone(),
            strategy: strategy.clone(),
        },
    );
    let broadcast = broadcast.start(channels.broadcast);
    let (finalizations, blocks) = stored.archives(context).await;

    // Where to begin: at genesis, where it stopped, or, without a state, where the others are.
    let mut plan = SyncPlan::init(context.child("plan"), partition.clone()).await;
    let (probe, probe_mailbox) = probe::Actor::new(probe::Config {
        context: context.child("probe"),
        manager: config.manager,
        bootstrap,
        floor: plan.floor().cloned(),
        verifier: verifier.clone(),
        genesis: genesis.info().clone(),
        strategy: strategy.clone(),
        blocker: blocker.clone(),
        blocks_per_epoch: epoch_blocks,
        retry_timeout: NZDuration!(Duration::from_millis(500)),
        mailbox_size: MAILBOX,
        block_codec_config: (),
    });
    let probe = probe.start(channels.probe);
    let elections = Elections::open(
        context.child("elections"),
        &partition,
        &genesis,
        epoch_blocks,
        schemes.clone(),
        config.epochs,
    )
    .await;
    let state_sync = if plan.should_sync(config.sync) {
        let artifact = probe_mailbox.subscribe().await.expect("the probe runs");
        let output = &artifact.info.output;
        let info = SchemeInfo::new(&public_key, output.players().clone(), output.public().clone(), None);
        schemes.insert(artifact.info.epoch, info);
        elections.joined(artifact.info.clone()).await;
        plan = plan.set_floor(artifact.floor).await;
        let floor = plan.floor().cloned().expect("the floor was set");
        Some(StateSync { info: artifact.info, floor })
    } else {
        None
    };
    let genesis_block = genesis.block().clone();
    let genesis_digest = genesis_block.digest();
    let begin = plan.marshal_start(Digested::precomputed(genesis_block, genesis_digest));
    let (marshal_actor, marshal, floor) = MarshalActor::init(
        context.child("marshal"),
        finalizations,
        blocks,
        stored.marshal_config(verifier.clone(), begin),
    )
    .await;
    elections.attach(marshal.clone());

    // The key, from epoch to epoch.
    let (fence, gate) = Fence::new();
    let start_plan = SyncStartPlan::init(
        context.child("start_plan"),
        SyncStartConfig {
            partition_prefix: partition.clone(),
            max_participants: VALIDATORS_MAX,
            max_supported_mode: SHARING,
        },
        state_sync,
    )
    .await;
    let (reshare_actor, reshare_mailbox) = reshare::Actor::new(
        context.child("reshare"),
        reshare::Config {
            signer,
            manager: manager.clone(),
            blocker: blocker.clone(),
            participants_provider: elections.clone(),
            secret_store: secrets,
            strategy: strategy.clone(),
            registrar: schemes.clone(),
            marshal: marshal.clone(),
            state_sync: start_plan.clone(),
            fence,
            namespace: NAMESPACE,
            sharing_mode: Mode::NonZeroCounter,
            reveal: Reveal::V1,
            mailbox_size: MAILBOX,
            partition_prefix: format!("{partition}-reshare"),
            page_cache: page_cache.clone(),
            write_buffer: BUFFER,
            replay_buffer: BUFFER,
            max_participants: VALIDATORS_MAX,
            blocks_per_epoch: epoch_blocks,
        },
    );
    let reshare = reshare_actor.start(channels.reshare);

    // The state.
    let (state_actor, state_source) = state_resolver::Actor::new(
        context.child("state_resolver"),
        state_resolver::Config {
            peer_provider: manager.clone(),
            blocker: blocker.clone(),
            database: None,
            mailbox_size: MAILBOX,
            me: Some(public_key),
            fetch_timeout,
            fetch_retry_delay: RETRY,
            max_serve_ops: SYNC_BATCH,
            priority_requests: false,
            priority_responses: false,
        },
    );
    let state = state_actor.start(channels.state);
    let seeds = Seeds::new(verifier, marshal.clone());
    let recent = Recent::default();
    let application = App {
        genesis: genesis.clone(),
        beneficiary: config.beneficiary,
        build_time: timing.leader / 4,
        clock_ahead: config.faults.clock_ahead,
        pool: config.pool.clone(),
        seeds: seeds.clone(),
        heads: recent.clone(),
        strategy: strategy.clone(),
        elections: Some(elections.clone()),
        marshal: marshal.clone(),
        observer: config.observer.clone(),
        is_told: true,
    };
    let log = StateLog::default();
    let (stateful_actor, stateful) = Stateful::new(
        context.child("stateful"),
        StatefulConfig {
            application,
            db_config: database::Config {
                partition: partition.clone(),
                page_cache: page_cache.clone(),
                strategy: strategy.clone(),
                genesis,
                marshal: marshal.clone(),
                elections: Some(elections),
                heads: config.heads,
            },
            provider: (),
            marshal: (marshal.clone(), floor),
            mailbox_size: MAILBOX,
            plan,
            resolvers: Resolver { source: state_source, log: log.clone() },
            sync_config: SYNC,
            prune_config: Some(stored.prune_config()),
            strategy: strategy.clone(),
        },
    );

    // Consensus, epoch after epoch.
    let automaton = Paced {
        inner: reshare::Application::new(stateful.clone(), reshare_mailbox.clone(), epoch_blocks),
        pool: config.pool.clone(),
        heads: recent,
        heartbeat: timing.heartbeat,
        false_target: config.faults.false_target,
    };
    let automaton =
        Deferred::new(context.child("deferred"), automaton, marshal.clone(), FixedEpocher::new(epoch_blocks));
    let (orchestrator_actor, orchestrator_mailbox) = orchestrator::Actor::new(
        context.child("orchestrator"),
        orchestrator::Config {
            oracle: blocker.clone(),
            manager,
            provider: schemes,
            marshal: marshal.clone(),
            application: Tap { inner: automaton, seeds, observer: config.observer.clone() },
            strategy: strategy.clone(),
            simplex: orchestrator::SimplexConfig {
                elector: Random::<Sha256>::new(RandomVersion::V1),
                mailbox_size: MAILBOX,
                replay_buffer: BUFFER,
                write_buffer: BUFFER,
                page_cache,
                leader_timeout: timing.leader,
                certification_timeout: timing.certification,
                timeout_retry: timing.leader / 2,
                fetch_timeout,
                fetch_retry_delay: RETRY,
                view_retention: VIEWS,
                skip: SkipPolicy::Enabled {
                    timeout: 2 * (timing.certification + timing.leader),
                    budget: SkipBudget::Participants,
                },
                forward: ForwardPolicy::Disabled,
                track_historical_votes: false,
            },
            gate,
            state_sync: start_plan,
            blocks_per_epoch: epoch_blocks,
            mailbox_size: MAILBOX,
            partition_prefix: format!("{partition}-simplex"),
        },
    );
    let orchestrator = orchestrator_actor.start(channels.votes, channels.certificates, channels.resolver);
    let reporters = Reporters::from((orchestrator_mailbox, reshare_mailbox));
    let reporters = Reporters::from((stateful, Tips { inner: reporters, observer: config.observer.clone() }));
    let marshal_task = marshal_actor.start(reporters, buffer, resolver);
    probe_mailbox.attach(marshal.clone());
    let stateful = stateful_actor.start();
    let source = source::serve(context, config.questions, marshal.clone(), log);
    let gossip = gossip::start(context, channels.transactions, config.pool, config.news, blocker, strategy);

    let mut tasks = vec![broadcast, probe, reshare, state, orchestrator, marshal_task, stateful, source];
    tasks.extend(gossip);
    Running { tasks, marshal }
}
