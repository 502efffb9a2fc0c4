//! A founder's part in the ceremony (docs/spec/founding.md, sections 4 and 5), on any runtime.
//!
//! The library makes the key: it runs a chain of its own among the founders, with signatures of their Ed25519 keys, whose
//! blocks carry what dealers publish. This module says when a founder begins, what of the outcome it accepts, and when it
//! may go: the library leaves that to its caller.
//!
//! What a crash can lose: nothing that the others saw. Seeds and dealings are durable before they are used, so a founder
//! that starts again deals the same shares; one that had begun does not wait again.

use std::{
    fmt,
    future::Future,
    num::{NonZeroU32, NonZeroU64, NonZeroUsize},
    pin::pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use alloy_primitives::B256;
use commonware_codec::{DecodeExt as _, Encode as _};
use commonware_consensus::types::Epoch;
use commonware_cryptography::{
    PublicKey as PublicKeyTrait, Signer as _,
    bls12381::{
        dkg::feldman_desmedt::{DealerPrivMsg, Reveal},
        primitives::{group::Share, sharing::Mode, variant::MinSig},
    },
    ed25519,
    transcript::Summary,
};
use commonware_glue::dkg::{
    SecretStore, bootstrap,
    network::{Addresses, Manager},
    types::EpochOutcome,
};
use commonware_macros::select;
use commonware_p2p::{
    Address, Blocker, PeerSetSubscription, Provider, Receiver, Recipients, Sender, TrackedPeers,
    max_message_size,
};
use commonware_parallel::Strategy;
use commonware_runtime::{Clock, Handle, Metrics, Quota, Spawner, Storage, buffer::paged::CacheRef};
use commonware_storage::Context as StorageContext;
use commonware_utils::{NZDuration, NZU16, NZU32, NZU64, NZUsize, ordered::Map};
use rand_core::CryptoRng;
use tokio::sync::{Mutex, watch};
use tracing::{info, warn};
use veracity_consensus::{EpochInfo, PublicKey, SHARING, Secrets};

use crate::{
    Failed, Progress, Step,
    error::RecordError,
    status::{Roster, STATUS_BYTES_MAX, TOLD},
};

/// A two-way channel to the other founders.
pub type Channel<S, R> = (S, R);

/// Number of channels: votes, certificates, requests for certificates, requests for blocks, blocks, dealings, and how far
/// founders are.
pub const CHANNELS: u64 = 7;

/// Messages that a founder may send per second on a channel. Nothing paces the chain of a ceremony but the network.
#[must_use]
pub const fn quota(channel: u64) -> Quota {
    Quota::per_second(match channel {
        0 | 1 => NZU32!(512),
        6 => NZU32!(16),
        _ => NZU32!(128),
    })
}

/// Largest message of a ceremony of so many founders, in bytes.
#[must_use]
pub fn message_bytes_max(founders: NonZeroU32) -> u32 {
    let engine = bootstrap::max_payload_size::<MinSig, Addresses<PublicKey>>(founders, SHARING);
    max_message_size(&[engine, STATUS_BYTES_MAX])
}

/// What the founders made.
#[derive(Clone)]
pub struct Outcome {
    /// What the network begins with.
    pub info: EpochInfo,
    /// This founder's share of the key. None if it was away and has to wait for the next epoch.
    pub share: Option<Share>,
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outcome").field("info", &self.info).finish_non_exhaustive()
    }
}

/// Who keeps the outcome.
pub trait Record: Send + Sync + 'static {
    /// Called when there is a key, again after each start. When this resolves the outcome is durable: the others are told so,
    /// and may go.
    fn record(&self, outcome: Outcome) -> impl Future<Output = Result<(), RecordError>> + Send;
}

/// A founder's part.
#[derive(Debug)]
pub struct Config<S, M, B, R> {
    /// The founder's key.
    pub signer: ed25519::PrivateKey,
    /// All founders, and where they are reached.
    pub founders: Map<PublicKey, Address>,
    /// Hash of the plan, which keeps founders of different plans apart.
    pub plan: B256,
    /// How many founders may be absent: so many shares may become known to the others.
    pub absent_max: u32,
    /// Prefix of the names of all that it stores.
    pub partition: String,
    /// How work is divided over threads.
    pub strategy: S,
    /// Who is connected.
    pub manager: M,
    /// Bars peers that break the protocol.
    pub blocker: B,
    /// Keeps the outcome.
    pub record: R,
}

const MAILBOX: NonZeroUsize = NZUsize!(256);
const BUFFER: NonZeroUsize = NZUsize!(1 << 16);
const FETCH: Duration = Duration::from_secs(2);
const RETRY: Duration = Duration::from_millis(200);
/// How long a founder that knows that all have ended goes on telling that it has.
const LINGER: Duration = Duration::from_secs(5);

/// How long a founder that has the outcome waits for others when none is there.
const ALONE: Duration = Duration::from_secs(60);

/// Blocks of a ceremony's chain. Dealings are sent with each block of the first half, and must be answered within it. Leaders
/// take turns, so that every founder leads many times in it, which paces the chain by the slowest, and in the second half,
/// where each dealer has to publish a log in a block of its own. A quorum nearby may give up on a founder far away as a
/// leader, and is fast then; so there are many blocks, also where founders are few.
fn blocks(founders: usize) -> NonZeroU64 {
    let blocks = u64::try_from(founders).unwrap_or(u64::MAX).saturating_mul(8).max(128);
    NonZeroU64::new(blocks).unwrap_or(NonZeroU64::MIN)
}

/// The store of a ceremony, which is read when the ceremony is over.
struct Shared<E: StorageContext>(Arc<Mutex<Secrets<E>>>);

impl<E: StorageContext> Clone for Shared<E> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<E: StorageContext> SecretStore for Shared<E> {
    async fn put_share(&mut self, epoch: Epoch, share: Share) {
        self.0.lock().await.put_share(epoch, share).await;
    }

    async fn get_share(&mut self, epoch: Epoch) -> Option<Share> {
        self.0.lock().await.get_share(epoch).await
    }

    async fn put_seed(&mut self, epoch: Epoch, seed: Summary) {
        self.0.lock().await.put_seed(epoch, seed).await;
    }

    async fn get_seed(&mut self, epoch: Epoch) -> Option<Summary> {
        self.0.lock().await.get_seed(epoch).await
    }

    async fn put_dealing<P: PublicKeyTrait>(&mut self, epoch: Epoch, dealer: P, private: DealerPrivMsg) {
        self.0.lock().await.put_dealing(epoch, dealer, private).await;
    }

    async fn get_dealing<P: PublicKeyTrait>(&mut self, epoch: Epoch, dealer: &P) -> Option<DealerPrivMsg> {
        self.0.lock().await.get_dealing(epoch, dealer).await
    }

    async fn prune(&mut self, min: Epoch) {
        self.0.lock().await.prune(min).await;
    }
}

/// A manager whose peers are tracked already: founders are connected before the library begins.
#[derive(Debug, Clone)]
struct Tracked<M>(M);

impl<M: Manager> Provider for Tracked<M> {
    type PublicKey = M::PublicKey;

    async fn peer_set(&mut self, id: u64) -> Option<TrackedPeers<Self::PublicKey>> {
        self.0.peer_set(id).await
    }

    async fn subscribe(&mut self) -> PeerSetSubscription<Self::PublicKey> {
        self.0.subscribe().await
    }
}

impl<M: Manager> Manager for Tracked<M> {
    type Directory = M::Directory;
    type Error = M::Error;

    fn track(
        &mut self,
        _: Epoch,
        _: TrackedPeers<Self::PublicKey>,
        _: &Self::Directory,
    ) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// Talks with the other founders.
struct Talk<'a, E, TX, RX, B> {
    context: &'a E,
    channel: Channel<TX, RX>,
    blocker: B,
    roster: Roster,
    tell_at: SystemTime,
    progress: &'a watch::Sender<Option<Progress>>,
}

impl<E, TX, RX, B> Talk<'_, E, TX, RX, B>
where
    E: Clock,
    TX: Sender<PublicKey = PublicKey>,
    RX: Receiver<PublicKey = PublicKey>,
    B: Blocker<PublicKey = PublicKey>,
{
    /// Hears the next message, or tells the others that this founder is at `step`. Nothing is lost if this is dropped.
    async fn turn(&mut self, step: Step) -> Result<(), Failed> {
        let message = select! {
            () = self.context.sleep_until(self.tell_at) => None,
            message = self.channel.1.recv() => Some(message.map_err(|_| Failed::Ended)?),
        };
        let now = self.context.current();
        let Some((peer, message)) = message else {
            self.tell_at = now + TOLD;
            self.channel.0.send(Recipients::All, step.encode(), true);
            let progress = Some(self.roster.progress(step, now));
            self.progress.send_if_modified(|known| {
                let is_new = *known != progress;
                known.clone_from(&progress);
                is_new
            });
            return Ok(());
        };
        match Step::decode(message) {
            Ok(step) => self.roster.hear(&peer, step, now),
            Err(_) => {
                warn!(%peer, "blocked a founder that sent a malformed status");
                self.blocker.block(peer);
            }
        }
        Ok(())
    }

    /// Waits until it is time to begin.
    async fn gather(&mut self) -> Result<(), Failed> {
        loop {
            let now = self.context.current();
            if self.roster.begins(now) {
                return Ok(());
            }
            self.turn(self.roster.waiting(now)).await?;
        }
    }

    /// Goes on until all others have ended as this founder did, and then for a while; or until none has been heard for
    /// long: they may have ended before it was started again.
    async fn serve(&mut self, outcome: B256) -> Result<(), Failed> {
        let mut alone_since = self.context.current();
        while !self.roster.have_all_ended(outcome) {
            let now = self.context.current();
            if !self.roster.is_alone(now) {
                alone_since = now;
            } else if now.duration_since(alone_since).is_ok_and(|passed| passed >= ALONE) {
                return Err(Failed::Alone);
            }
            self.turn(Step::Ended(outcome)).await?;
        }
        let until = self.context.current() + LINGER;
        while self.context.current() < until {
            self.turn(Step::Ended(outcome)).await?;
        }
        Ok(())
    }
}

/// Aborts a task when it is dropped.
struct Task(Handle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Takes part in a ceremony until all founders have ended.
///
/// `channels` are [`CHANNELS`], in their order. The network carries messages of [`message_bytes_max`], and knows no peers
/// yet.
///
/// # Errors
/// [`Failed`].
///
/// # Panics
/// If what it stored cannot be read, or cannot be written later, if the founders do not include the signer, or if there are
/// not as many channels.
pub async fn run<E, S, M, B, R, TX, RX>(
    context: &E,
    config: Config<S, M, B, R>,
    channels: Vec<Channel<TX, RX>>,
    progress: &watch::Sender<Option<Progress>>,
) -> Result<(), Failed>
where
    E: Spawner + CryptoRng + Metrics + Clock + Storage,
    S: Strategy,
    M: Manager<PublicKey = PublicKey, Directory = Addresses<PublicKey>>,
    B: Blocker<PublicKey = PublicKey>,
    R: Record,
    TX: Sender<PublicKey = PublicKey>,
    RX: Receiver<PublicKey = PublicKey>,
{
    let Config { signer, founders, plan, absent_max, partition, strategy, mut manager, blocker, record } =
        config;
    let participants = founders.keys().clone();
    let directory = Addresses::from(founders);
    let me = signer.public_key();
    let secrets = Secrets::open(context.child("secrets"), &partition, None).await;
    let mut secrets = Shared(Arc::new(Mutex::new(secrets)));
    manager
        .track(Epoch::zero(), TrackedPeers::primary(participants.clone()), &directory)
        .expect("each founder has an address");
    let channels: [_; 7] =
        channels.try_into().unwrap_or_else(|_| panic!("a ceremony has {CHANNELS} channels"));
    let [votes, certificates, resolver, backfill, broadcast, dealings, status] = channels;
    let others = participants.iter().filter(|key| **key != me).cloned();
    let mut talk = Talk {
        context,
        channel: status,
        blocker: blocker.clone(),
        roster: Roster::new(others, absent_max),
        tell_at: context.current(),
        progress,
    };
    // The seed is the first that the library stores: whoever has one began before, and the others may be waiting.
    if secrets.get_seed(Epoch::zero()).await.is_none() {
        talk.gather().await?;
    }
    info!(%plan, founders = participants.len(), "the ceremony begins");
    let engine = bootstrap::Engine::<_, MinSig, _, _, _, _, _>::new(
        context.child("engine"),
        bootstrap::Config {
            signer,
            manager: Tracked(manager),
            blocker,
            secret_store: secrets.clone(),
            strategy,
            namespace: namespace(plan),
            sharing_mode: Mode::NonZeroCounter,
            reveal: Reveal::V1,
            max_supported_mode: SHARING,
            partition_prefix: partition,
            page_cache: CacheRef::new(NZU16!(4096), NZUsize!(256)),
            write_buffer: BUFFER,
            replay_buffer: BUFFER,
            mailbox_size: MAILBOX,
            fetch_timeout: NZDuration!(FETCH),
            fetch_retry_delay: RETRY,
            items_per_section: NZU64!(256),
            participants: participants.clone(),
            directory: directory.clone(),
            blocks_per_epoch: blocks(participants.len()),
        },
    );
    let (task, completion) = engine.start(votes, certificates, resolver, backfill, broadcast, dealings);
    let mut task = Task(task);
    let mut completion = pin!(completion);
    let completion = loop {
        select! {
            completion = &mut completion => break completion.map_err(|_| Failed::Ended)?,
            told = talk.turn(Step::Dealing) => told?,
        }
    };
    let accepted = accept(completion.info, &participants, &directory, absent_max);
    let (outcome, failed) = match accepted {
        Ok(info) => {
            let outcome = B256::new(*blake3::hash(&info.encode()).as_bytes());
            let share = secrets.get_share(Epoch::zero()).await;
            record.record(Outcome { info, share }).await.map_err(Failed::Record)?;
            (outcome, None)
        }
        Err(failed) => {
            warn!(%failed, "the ceremony failed");
            (B256::ZERO, Some(failed))
        }
    };
    let served = select! {
        served = talk.serve(outcome) => served,
        _ = &mut task.0 => Err(Failed::Ended),
    };
    match (failed, served) {
        (Some(failed), Ok(()) | Err(Failed::Alone)) => Err(failed),
        (_, served) => served,
    }
}

/// What separates the signatures of this ceremony from all others. The library wants it for as long as the program runs.
fn namespace(plan: B256) -> &'static [u8] {
    Box::leak([b"veracity-founding-".as_slice(), plan.as_slice()].concat().into_boxed_slice())
}

/// What a network may begin with, from what the founders made. All founders decide alike, because all have the same.
fn accept(
    made: Option<EpochInfo>,
    founders: &commonware_utils::ordered::Set<PublicKey>,
    directory: &Addresses<PublicKey>,
    absent_max: u32,
) -> Result<EpochInfo, Failed> {
    let Some(mut info) = made else { return Err(Failed::NoKey) };
    let is_ours = info.outcome == EpochOutcome::Success
        && info.epoch == Epoch::zero()
        && info.output.players() == founders
        && info.players == *founders
        && info.directory == *directory;
    if !is_ours {
        return Err(Failed::Foreign);
    }
    let revealed = info.output.revealed();
    if revealed.len() > usize::try_from(absent_max).unwrap_or(usize::MAX) {
        let founders = revealed.iter().map(|key| B256::from_slice(key)).collect();
        return Err(Failed::Revealed { founders, allowed: absent_max });
    }
    // Nobody was elected yet who could follow.
    info.next_players = founders.clone();
    Ok(info)
}
