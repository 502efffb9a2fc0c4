//! Everything that one follower runs, wired together: a node that is no validator and trusts nobody.
//!
//! It asks other nodes for finalizations, blocks and the state log ([`Upstreams`]) and verifies all of it from the network's
//! key: a finalization by its threshold signature, a block by the hash that a finalization or a later block names, the
//! state log by the root in a final block; and it executes each block itself. It stores what a validator stores and
//! recovers as a validator does. What it lacks is everything that takes part: votes, shares, peers, elections.
//! Rules and limits: docs/spec/following.md.

use std::{
    collections::VecDeque,
    num::NonZeroU64,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use alloy_consensus::{TxEnvelope, transaction::Recovered};
use alloy_eips::Encodable2718 as _;
use alloy_primitives::{Address, B256};
use bytes::Bytes;
use commonware_codec::DecodeExt as _;
use commonware_consensus::{
    Reporter,
    marshal::{core::Actor as MarshalActor, resolver::p2p as marshal_resolver},
    simplex::types::{Activity, Finalization},
    types::Round,
};
use commonware_cryptography::{Digested, Digestible as _};
use commonware_glue::stateful::{Config as StatefulConfig, Stateful, SyncPlan, db::p2p as state_resolver};
use commonware_macros::select;
use commonware_parallel::{Sequential, Strategy};
use commonware_runtime::{Clock, Metrics, Network, Spawner, Storage};
use commonware_utils::{NZDuration, futures::Pool};
use futures::future::join_all;
use rand_core::CryptoRng;
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use crate::{
    Genesis, Head, Marshal, NAMESPACE, Observer, PublicKey, Question, Questions, Running, Scheme, SharedPool,
    Upstreams,
    application::{App, Recent},
    block::Digest,
    database::{self, Resolver},
    seeds::{Seeds, Tips},
    source::{self, StateLog},
    stored::{MAILBOX, RETRY, SYNC, Stored},
    upstream::{self, Judge, Kind, Lie},
};

/// What a follower is.
#[derive(Debug)]
pub struct FollowConfig<S, O> {
    /// What the chain begins with.
    pub genesis: Arc<Genesis>,
    /// Blocks per epoch; the same on all nodes.
    pub epoch_blocks: NonZeroU64,
    /// Prefix of the names of all that it stores.
    pub partition: String,
    /// How work is divided over threads.
    pub strategy: S,
    /// Whom it follows.
    pub upstreams: Upstreams,
    /// Told of finalized blocks and certificates.
    pub observer: O,
    /// Transactions that clients brought and no block has yet.
    pub pool: SharedPool,
    /// Transactions of clients, on their way to upstreams.
    pub news: mpsc::UnboundedReceiver<Recovered<TxEnvelope>>,
    /// Told of each new head.
    pub heads: watch::Sender<Option<Head>>,
    /// Questions of those who follow this node.
    pub questions: Questions,
}

/// How long an upstream may wait for news before it answers that there are none.
pub const NEWS_WAIT: Duration = Duration::from_secs(10);
/// Pause after an answer that brought nothing new, and between attempts to find a point to begin at.
const PAUSE: Duration = Duration::from_millis(250);
/// After so long without a block, although the network has later ones, the log says so.
const STALLED: Duration = Duration::from_secs(60);

type Final = Finalization<Scheme, Digest>;

/// Starts a follower.
///
/// Without a state it waits until an upstream has a finalization, and begins with the state of that block.
///
/// # Panics
/// If what it stored cannot be read, or cannot be written later.
pub async fn follow<E, S, O>(context: &E, config: FollowConfig<S, O>) -> Running
where
    E: Spawner + CryptoRng + Metrics + Clock + Storage + Network,
    S: Strategy,
    O: Observer,
{
    let (genesis, upstreams) = (config.genesis, config.upstreams);
    let strategy = config.strategy.clone();
    let verifier = Scheme::certificate_verifier(NAMESPACE, genesis.network_key());
    let stored = Stored::new(config.partition, config.epoch_blocks, strategy.clone());
    // An upstream's silence is told by the upstreams, before the library gives up.
    let fetch_timeout = NZDuration!(upstreams.timeout() + Duration::from_millis(500));

    // Upstreams stand where a validator has peers.
    let (blocks, carrying_blocks) =
        upstream::channel(&context.child("blocks_channel"), Kind::Blocks, &upstreams);
    let (ranges, carrying_state) =
        upstream::channel(&context.child("state_channel"), Kind::State, &upstreams);
    let resolver = marshal_resolver::init(
        context.child("marshal_resolver"),
        marshal_resolver::Config {
            public_key: upstream::nobody(),
            peer_provider: upstreams.clone(),
            // All but the signature was checked before.
            blocker: Judge { upstreams: upstreams.clone(), lie: Lie::Certificate },
            mailbox_size: MAILBOX,
            fetch_timeout,
            fetch_retry_delay: RETRY,
            priority_requests: false,
            priority_responses: false,
        },
        blocks,
    );
    let (finalizations, blocks) = stored.archives(context).await;

    // Where to begin: where it stopped or, without a state, where the network is.
    let mut plan = SyncPlan::init(context.child("plan"), stored.partition.clone()).await;
    if plan.should_sync(true) {
        let floor = latest(&mut context.child("floor"), &upstreams, &verifier).await;
        info!(round = %floor.round(), "begins with the state of a final block");
        plan = plan.set_floor(floor).await;
    }
    let genesis_block = genesis.block().clone();
    let genesis_digest = genesis_block.digest();
    let start = plan.marshal_start(Digested::precomputed(genesis_block, genesis_digest));
    let (marshal_actor, marshal, floor) = MarshalActor::init(
        context.child("marshal"),
        finalizations,
        blocks,
        stored.marshal_config(verifier.clone(), start),
    )
    .await;

    // The state: from upstreams at first, then by executing blocks.
    let (state_actor, state_source) = state_resolver::Actor::new(
        context.child("state_resolver"),
        state_resolver::Config {
            peer_provider: upstreams.clone(),
            blocker: Judge { upstreams: upstreams.clone(), lie: Lie::State },
            database: None,
            mailbox_size: MAILBOX,
            me: None,
            fetch_timeout,
            fetch_retry_delay: RETRY,
            max_serve_ops: database::SYNC_BATCH,
            priority_requests: false,
            priority_responses: false,
        },
    );
    let state = state_actor.start(ranges);
    let log = StateLog::default();
    let application = App {
        genesis: genesis.clone(),
        // It never proposes.
        beneficiary: Address::ZERO,
        build_time: Duration::ZERO,
        clock_ahead: Duration::ZERO,
        pool: config.pool.clone(),
        seeds: Seeds::new(verifier.clone(), marshal.clone()),
        heads: Recent::default(),
        strategy: strategy.clone(),
        elections: None,
        marshal: marshal.clone(),
        observer: config.observer.clone(),
        is_told: false,
    };
    let heads = config.heads.subscribe();
    let db_config = database::Config {
        partition: stored.partition.clone(),
        page_cache: stored.page_cache.clone(),
        strategy,
        genesis,
        marshal: marshal.clone(),
        elections: None,
        heads: config.heads,
    };
    let resolvers = Resolver { source: state_source, log: log.clone() };
    let (stateful_actor, stateful) = Stateful::new(
        context.child("stateful"),
        StatefulConfig {
            application,
            db_config,
            provider: (),
            marshal: (marshal.clone(), floor),
            mailbox_size: MAILBOX,
            plan,
            resolvers,
            sync_config: SYNC,
            prune_config: Some(stored.prune_config()),
            strategy: config.strategy,
        },
    );
    let (tips, tip) = watch::channel(0);
    let reporter = Heard { inner: Tips { inner: stateful, observer: config.observer }, tips };
    let marshal_task = marshal_actor.start_unbuffered(reporter, resolver);
    let stateful = stateful_actor.start();

    let highest = Arc::new(Mutex::new(None));
    let listening = upstreams.keys().into_iter().map(|key| {
        let listener = Listener {
            key,
            upstreams: upstreams.clone(),
            verifier: verifier.clone(),
            marshal: marshal.clone(),
            tip: tip.clone(),
            highest: highest.clone(),
        };
        context.child("listen").spawn(move |context| listener.run(context))
    });
    let mut tasks: Vec<_> = listening.collect();
    let watching = upstreams.clone();
    tasks.push(context.child("progress").spawn(move |context| progress(context, watching, heads, tip)));
    let forwarding = move |context| forward(context, upstreams, config.news, config.pool);
    tasks.push(context.child("forward").spawn(forwarding));
    tasks.push(source::serve(context, config.questions, marshal.clone(), log));
    tasks.extend([carrying_blocks, carrying_state, state, marshal_task, stateful]);
    Running { tasks, marshal }
}

/// A finalization that an upstream gave, if the network signed it; if not, the upstream is dropped.
fn verified(
    rng: &mut impl CryptoRng,
    upstreams: &Upstreams,
    key: &PublicKey,
    verifier: &Scheme,
    answer: Bytes,
) -> Option<Final> {
    let finalization = Final::decode(answer).expect("it was examined");
    if finalization.verify(rng, verifier, &Sequential) {
        return Some(finalization);
    }
    upstreams.drop_liar(key, Lie::Certificate);
    None
}

/// The latest finalization that any upstream has; waits until one has any.
///
/// All are asked, so that one that is honest and up is enough to begin near the end of the chain.
async fn latest<E: Clock + CryptoRng>(context: &mut E, upstreams: &Upstreams, verifier: &Scheme) -> Final {
    let mut attempts = 0_u64;
    loop {
        let clock = &*context;
        let answers = join_all(upstreams.keys().into_iter().map(|key| async move {
            let answer = upstreams.ask(clock, &key, Question::Latest { above: 0 }, NEWS_WAIT).await;
            answer.map(|answer| (key, answer))
        }));
        let answers = answers.await;
        let known = answers.into_iter().flatten();
        let known = known.filter_map(|(key, answer)| verified(context, upstreams, &key, verifier, answer));
        if let Some(latest) = known.max_by_key(Finalization::round) {
            return latest;
        }
        if attempts.is_multiple_of(64) {
            warn!(?upstreams, "no upstream gives a finalization to begin with; they are asked again");
        }
        attempts += 1;
        context.sleep(PAUSE).await;
    }
}

/// Asks one upstream for finalizations, again and again.
struct Listener {
    key: PublicKey,
    upstreams: Upstreams,
    verifier: Scheme,
    marshal: Marshal,
    /// Height of the highest block known to be final.
    tip: watch::Receiver<u64>,
    /// The latest round that any upstream gave.
    highest: Arc<Mutex<Option<Round>>>,
}

impl Listener {
    async fn run<E: Clock + CryptoRng>(mut self, mut context: E) {
        while !self.upstreams.is_dropped(&self.key) {
            if let Some(until) = self.upstreams.pause(&self.key, context.current()) {
                context.sleep_until(until).await;
                continue;
            }
            let above = *self.tip.borrow();
            let answer = self.upstreams.ask(&context, &self.key, Question::Latest { above }, NEWS_WAIT).await;
            let is_news = answer.is_some_and(|answer| self.take(&mut context, answer));
            if !is_news {
                context.sleep(PAUSE).await;
            }
        }
        // The other tasks go on.
        futures::future::pending::<()>().await;
    }

    /// Whether an answer tells of a later round than any before.
    fn take(&mut self, rng: &mut impl CryptoRng, answer: Bytes) -> bool {
        let round = Final::decode(answer.clone()).expect("it was examined").round();
        // An old one changes nothing, whether it is signed or not.
        if self.highest().is_some_and(|highest| round <= highest) {
            return false;
        }
        let Some(finalization) = verified(rng, &self.upstreams, &self.key, &self.verifier, answer) else {
            return false;
        };
        *self.highest.lock().unwrap_or_else(PoisonError::into_inner) = Some(round);
        self.marshal.report(Activity::Finalization(finalization));
        true
    }

    fn highest(&self) -> Option<Round> {
        *self.highest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hears of the height of the highest block known to be final.
#[derive(Clone)]
struct Heard<R> {
    inner: R,
    tips: watch::Sender<u64>,
}

impl<R> Reporter for Heard<R>
where
    R: Reporter<Activity = commonware_consensus::marshal::Update<crate::Block>>,
{
    type Activity = R::Activity;

    fn report(&mut self, activity: Self::Activity) -> commonware_actor::Feedback {
        if let commonware_consensus::marshal::Update::Tip(_, height, _) = &activity {
            self.tips.send_replace(height.get());
        }
        self.inner.report(activity)
    }
}

/// Says when the follower is behind and stays there.
async fn progress<E: Clock>(
    context: E,
    upstreams: Upstreams,
    heads: watch::Receiver<Option<Head>>,
    tip: watch::Receiver<u64>,
) {
    let height = || heads.borrow().as_ref().map(|head| head.header.number);
    let mut before = None;
    loop {
        context.sleep(STALLED).await;
        let (now, tip) = (height(), *tip.borrow());
        if now == before && now.is_none_or(|height| height < tip) {
            warn!(
                height = now,
                tip,
                ?upstreams,
                "no upstream gives the next block. If they do not keep it any more, stop, remove `consensus` and \
                 `index.redb` from the folder, and start: the follower begins anew with a recent state"
            );
        }
        before = now;
    }
}

/// After this, what a client brought and still waits is sent again.
const REPEAT: Duration = Duration::from_secs(3);
/// Transactions of clients that are sent again, and that wait to be sent.
const REPEATED_MAX: usize = 1 << 14;
/// Transactions that are handed over at once.
const SUBMITTED_AT_ONCE: usize = 32;

/// Hands what clients bring to upstreams, again and again while it waits: one may have been away, or lost it.
async fn forward<E: Clock>(
    context: E,
    upstreams: Upstreams,
    mut news: mpsc::UnboundedReceiver<Recovered<TxEnvelope>>,
    pool: SharedPool,
) {
    let context = Arc::new(context);
    // What clients brought, and the part of it that is to be sent now.
    let mut own: VecDeque<B256> = VecDeque::new();
    let mut due: VecDeque<B256> = VecDeque::new();
    let mut open = Pool::default();
    let mut repeat_at = context.current() + REPEAT;
    loop {
        while open.len() < SUBMITTED_AT_ONCE
            && let Some(hash) = due.pop_front()
        {
            // One that was replaced, or is in a block, is not sent.
            let Some(transaction) = pool.with(|pool| pool.get(&hash).cloned()) else { continue };
            let (upstreams, clock) = (upstreams.clone(), context.clone());
            open.push(async move {
                upstreams.submit(clock.as_ref(), &transaction.encoded_2718().into()).await;
            });
        }
        select! {
            transaction = news.recv() => {
                let Some(transaction) = transaction else { return futures::future::pending().await };
                for queue in [&mut own, &mut due] {
                    queue.push_back(*transaction.tx_hash());
                    queue.drain(..queue.len().saturating_sub(REPEATED_MAX));
                }
            },
            () = open.next_completed() => {},
            () = context.sleep_until(repeat_at) => {
                pool.with(|pool| own.retain(|hash| pool.get(hash).is_some()));
                // What still waits for its first turn is among them.
                due.clone_from(&own);
                repeat_at = context.current() + REPEAT;
            },
        }
    }
}
