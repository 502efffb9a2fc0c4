//! Followers in a simulated network, each with one honest upstream and one that is not.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use commonware_codec::{DecodeExt as _, Encode as _};
use commonware_consensus::{
    simplex::types::{Finalization, Finalize},
    types::{Round, View},
};
use commonware_cryptography::{
    Signer as _,
    bls12381::{dkg::feldman_desmedt::deal, primitives::sharing::Mode},
    ed25519,
};
use commonware_parallel::Sequential;
use commonware_runtime::{Handle, Spawner as _, Supervisor as _, deterministic};
use commonware_utils::{N3f1, TestRng, channel::mpsc, non_empty, ordered::Set};
use futures::future::BoxFuture;
use tokio::sync::watch;
use veracity_consensus::{
    Digest, FollowConfig, Genesis, Lie, NAMESPACE, Question, Scheme, SharedPool, Source, Unreachable,
    Upstream, UpstreamStatus, Upstreams, follow,
};

use crate::network::{EPOCH_BLOCKS, Watch, pool_limits};

/// What an upstream does instead of answering as it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Liar {
    /// Gives certificates of something that the network did not certify.
    ForgedCertificate,
    /// Gives certificates that another network signed.
    OtherNetwork,
    /// Gives blocks whose bytes were changed.
    OtherBody,
    /// Gives one block for another.
    OtherBlock,
    /// Gives a final block of another height.
    WrongHeight,
    /// Changes one bit of the state.
    FlippedState,
    /// Leaves out the end of a range of the state.
    TruncatedState,
    /// Gives the same old finalization for ever.
    Stale,
    /// Gives more than there can be.
    Oversized,
    /// Gives what means nothing.
    Garbage,
    /// Does not answer.
    Hanging,
    /// Cannot be reached.
    Unreachable,
}

/// A part of what a follower asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Latest,
    Block,
    Finalized,
    State,
}

fn part(question: &Question) -> Part {
    match question {
        Question::Latest { .. } => Part::Latest,
        Question::Block(_) => Part::Block,
        Question::Finalized(_) => Part::Finalized,
        Question::State(_) => Part::State,
    }
}

impl Liar {
    pub(crate) const ALL: [Self; 12] = [
        Self::ForgedCertificate,
        Self::OtherNetwork,
        Self::OtherBody,
        Self::OtherBlock,
        Self::WrongHeight,
        Self::FlippedState,
        Self::TruncatedState,
        Self::Stale,
        Self::Oversized,
        Self::Garbage,
        Self::Hanging,
        Self::Unreachable,
    ];

    /// What it lies about.
    fn part(self) -> Part {
        match self {
            Self::OtherBody | Self::OtherBlock => Part::Block,
            Self::WrongHeight => Part::Finalized,
            Self::FlippedState | Self::TruncatedState => Part::State,
            _ => Part::Latest,
        }
    }

    /// Whether the follower noticed.
    fn is_caught(self, status: &UpstreamStatus) -> bool {
        let UpstreamStatus { lie, trouble, .. } = status;
        match self {
            Self::ForgedCertificate | Self::OtherNetwork => *lie == Some(Lie::Certificate),
            Self::OtherBody => {
                matches!(lie, Some(Lie::Undecodable { expected: "block", .. } | Lie::OtherBlock { .. }))
            }
            Self::OtherBlock => matches!(lie, Some(Lie::OtherBlock { .. })),
            Self::WrongHeight => matches!(lie, Some(Lie::Height { .. })),
            Self::FlippedState | Self::TruncatedState => *lie == Some(Lie::State),
            // It is no lie to be behind.
            Self::Stale => lie.is_none(),
            Self::Oversized => matches!(lie, Some(Lie::Oversized { .. })),
            Self::Garbage => matches!(lie, Some(Lie::Undecodable { .. })),
            Self::Hanging | Self::Unreachable => lie.is_none() && trouble.is_some(),
        }
    }
}

type Final = Finalization<Scheme, Digest>;

/// An upstream that lies.
struct Lying {
    liar: Liar,
    source: Source,
    /// Signs for another network.
    foreign: Scheme,
    /// How often it was asked for what it lies about.
    asked: Arc<AtomicU64>,
    /// Its first answer to that.
    first: Arc<Mutex<Option<Bytes>>>,
}

/// A finalization that another network signed, of a block that this one has not.
fn foreign_finalization(scheme: &Scheme, honest: &Final) -> Final {
    let mut proposal = honest.proposal.clone();
    proposal.round = Round::new(proposal.round.epoch(), View::new(proposal.round.view().get() + 1));
    let vote = Finalize::sign(scheme, proposal).expect("it has a share");
    Final::from_finalizes(scheme, non_empty![@std::iter::once(&vote)], &Sequential).expect("one is enough")
}

fn lie(
    liar: Liar,
    question: &Question,
    honest: Bytes,
    foreign: &Scheme,
    first: &Mutex<Option<Bytes>>,
) -> Bytes {
    let changed = |mut bytes: Vec<u8>| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        Bytes::from(bytes)
    };
    match liar {
        Liar::ForgedCertificate => {
            let mut forged = Final::decode(honest).expect("it is honest");
            let round = forged.proposal.round;
            forged.proposal.round = Round::new(round.epoch(), View::new(round.view().get() + 1));
            forged.encode()
        }
        Liar::OtherNetwork => {
            foreign_finalization(foreign, &Final::decode(honest).expect("it is honest")).encode()
        }
        Liar::OtherBody | Liar::FlippedState => changed(honest.to_vec()),
        Liar::TruncatedState => honest.slice(..honest.len() - 7),
        Liar::OtherBlock | Liar::Stale => {
            first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(honest).clone()
        }
        Liar::Oversized => vec![0; question.answer_bytes_max() + 1].into(),
        Liar::Garbage => vec![0xff; 40].into(),
        Liar::WrongHeight | Liar::Hanging | Liar::Unreachable => honest,
    }
}

impl Upstream for Lying {
    fn name(&self) -> &str {
        "liar"
    }

    fn ask(&self, question: Question) -> BoxFuture<'static, Result<Option<Bytes>, Unreachable>> {
        let (liar, source, foreign) = (self.liar, self.source.clone(), self.foreign.clone());
        let first = self.first.clone();
        let lies = part(&question) == liar.part();
        if lies {
            self.asked.fetch_add(1, Ordering::Relaxed);
        }
        Box::pin(async move {
            match liar {
                Liar::Hanging => return futures::future::pending().await,
                Liar::Unreachable => return Err(Unreachable("connection refused".into())),
                _ => {}
            }
            let asked = match &question {
                Question::Finalized(height) if liar == Liar::WrongHeight => Question::Finalized(height - 1),
                question => question.clone(),
            };
            let honest = source.ask(asked).await.ok().flatten();
            Ok(match (honest, lies) {
                (Some(honest), true) => Some(lie(liar, &question, honest, &foreign, &first)),
                (honest, _) => honest,
            })
        })
    }

    fn submit(&self, _: Bytes) -> BoxFuture<'static, Result<(), Unreachable>> {
        Box::pin(async { Ok(()) })
    }
}

/// An upstream that answers as it should, but not before the liar was asked the same, so that it is.
struct Honest {
    source: Source,
    liar: Liar,
    asked: Arc<AtomicU64>,
}

impl Upstream for Honest {
    fn name(&self) -> &str {
        "honest"
    }

    fn ask(&self, question: Question) -> BoxFuture<'static, Result<Option<Bytes>, Unreachable>> {
        let (source, asked) = (self.source.clone(), self.asked.load(Ordering::Relaxed));
        // The second block that it gives is another one than was asked for.
        let enough = if self.liar == Liar::OtherBlock { 2 } else { 1 };
        let is_first = part(&question) == self.liar.part() && asked < enough;
        Box::pin(async move {
            if is_first {
                return Ok(None);
            }
            source.ask(question).await.map_err(|error| Unreachable(error.to_string()))
        })
    }

    fn submit(&self, _: Bytes) -> BoxFuture<'static, Result<(), Unreachable>> {
        Box::pin(async { Ok(()) })
    }
}

/// Someone who signs for another network.
fn foreigner() -> Scheme {
    let key = ed25519::PrivateKey::from_seed(1000).public_key();
    let players: Set<_> = Set::from_iter_dedup([key.clone()]);
    let dealt = deal::<_, _, N3f1>(TestRng::new(8), Mode::NonZeroCounter, players.clone());
    let (output, shares) = dealt.expect("there is one");
    let share = shares.get_value(&key).expect("it has one").clone();
    Scheme::signer(NAMESPACE, players, output.public().clone(), share).expect("it is its share")
}

/// A follower's part of the world.
pub(crate) struct Follower {
    pub(crate) liar: Liar,
    pub(crate) genesis: Arc<Genesis>,
    pub(crate) source: Source,
    pub(crate) watch: Watch,
}

/// Blocks that the network has before the follower joins, that it follows then, and that it misses.
const BEFORE: u64 = 12;
const FOLLOWED: u64 = 12;
const MISSED: u64 = 20;

/// Joins, follows, is away, and follows again. Returns once it has noticed the liar and is in step.
pub(crate) async fn run(context: deterministic::Context, follower: Follower) {
    let heights = follower.watch.world.heights();
    let reach = |height: u64| {
        let mut heights = heights.clone();
        async move { drop(heights.wait_for(|reached| *reached >= height).await) }
    };
    reach(BEFORE).await;
    let mut is_caught = false;
    let mut height = 0;
    for goal in [BEFORE + FOLLOWED, BEFORE + FOLLOWED + MISSED + FOLLOWED] {
        let asked = Arc::new(AtomicU64::new(0));
        let lying = Lying {
            liar: follower.liar,
            source: follower.source.clone(),
            foreign: foreigner(),
            asked: asked.clone(),
            first: Arc::default(),
        };
        let honest = Honest { source: follower.source.clone(), liar: follower.liar, asked };
        let upstreams: Vec<Arc<dyn Upstream>> = vec![Arc::new(lying), Arc::new(honest)];
        let upstreams = Upstreams::new(upstreams, Duration::from_secs(2));
        let (heads, mut head) = watch::channel(None);
        let life =
            live(context.child("life").with_attribute("until", goal), &follower, upstreams.clone(), heads);
        let is_there = |head: &Option<veracity_consensus::Head>| {
            head.as_ref().is_some_and(|head| head.header.number >= goal)
        };
        let reached = head.wait_for(is_there).await.expect("it runs").clone();
        let number = reached.expect("it is there").header.number;
        assert!(number > height, "it goes on where it was");
        height = number;
        // What it lies about may not have been asked yet.
        is_caught |= follower.liar.is_caught(&upstreams.status()[0]);
        life.abort();
        // What it had open is closed when it has ended.
        let _ = life.await;
        reach(goal + MISSED).await;
    }
    if !is_caught {
        follower.watch.world.fail(format!("{:?} was not noticed", follower.liar));
    }
}

fn live(
    context: deterministic::Context,
    follower: &Follower,
    upstreams: Upstreams,
    heads: watch::Sender<Option<veracity_consensus::Head>>,
) -> Handle<()> {
    let (pool, news) = SharedPool::new(pool_limits(), heads.subscribe());
    let (_, questions) = Source::new();
    let config = FollowConfig {
        genesis: follower.genesis.clone(),
        epoch_blocks: EPOCH_BLOCKS,
        partition: format!("follower-{:?}", follower.liar).to_lowercase(),
        strategy: Sequential,
        upstreams,
        observer: follower.watch.clone(),
        pool,
        news,
        heads,
        questions,
    };
    context.spawn(move |context| async move {
        let running = Box::pin(follow(&context, config)).await;
        let ended = Handle::select(running.tasks).await;
        panic!("a follower ended: {ended:?}");
    })
}

/// Told of what nobody waits for.
pub(crate) fn nobody<T>() -> mpsc::UnboundedSender<T> {
    mpsc::unbounded_channel().0
}
