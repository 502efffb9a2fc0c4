//! Nodes that a follower follows, in the place of peers.
//!
//! The consensus library fetches blocks and the state log from peers. A follower has none: it asks other nodes over their
//! public interface. This module looks to the library like a network whose peers are those nodes, so that the choice of
//! whom to ask, repeats and the exclusion of liars are the same code as among validators.
//!
//! Nothing that comes from there is believed. What can be told from the answer alone is checked here ([`Lie`]); the rest is
//! checked by the library, which reports it to [`Judge`].

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use alloy_primitives::B256;
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use commonware_actor::{Feedback, Unreliable};
use commonware_codec::{DecodeExt as _, ReadExt as _, Write as _};
use commonware_consensus::{
    Heightable as _, marshal::resolver::handler, simplex::types::Finalization, types::Height,
};
use commonware_cryptography::{Digestible as _, Signer as _, ed25519};
use commonware_macros::select;
use commonware_p2p::{
    BlockedSubscription, Blocker, CheckedSender, LimitedSender, Message, PeerSetSubscription, PeerSetUpdate,
    Provider, Receiver, Recipients, TrackedPeers,
};
use commonware_runtime::{Clock, Handle, IoBufs, Spawner};
use commonware_utils::{NZUsize, channel::ring, futures::Pool, ordered::Set};
use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use crate::{
    PublicKey, Question, Scheme,
    block::{Block, Digest},
};

/// A node that a follower follows. It is not trusted: it may answer anything, late, or not at all.
pub trait Upstream: Send + Sync + 'static {
    /// What it is called in logs: its address.
    fn name(&self) -> &str;

    /// Asks it; nothing if it says that it has not what is asked for. No more than
    /// [`Question::answer_bytes_max`] bytes and one need be read of an answer.
    fn ask(&self, question: Question) -> BoxFuture<'static, Result<Option<Bytes>, Unreachable>>;

    /// Hands it a transaction in its envelope of EIP-2718.
    fn submit(&self, transaction: Bytes) -> BoxFuture<'static, Result<(), Unreachable>>;
}

/// An upstream gave no answer; it may later.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreachable(pub String);

/// Why an upstream is not asked any more: it answered what no honest node does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Lie {
    /// Its answer is longer than any honest one.
    #[error("an answer of {found} bytes, where at most {max} are possible")]
    Oversized {
        /// Bytes of the answer, as far as it was read.
        found: usize,
        /// The most there can be.
        max: usize,
    },
    /// Its answer cannot be decoded, or a block's header does not commit to its body.
    #[error("an answer that is no {expected}: {reason}")]
    Undecodable {
        /// What was asked for.
        expected: &'static str,
        /// Where decoding ended.
        reason: String,
    },
    /// It gave another block than that with the hash that was asked for or certified.
    #[error("block {found}, where {expected} was expected")]
    OtherBlock {
        /// Hash of the block that was expected.
        expected: B256,
        /// Hash of the one it gave.
        found: B256,
    },
    /// It gave a block of another height.
    #[error("a block of height {found}, where {expected} was asked for")]
    Height {
        /// The height that was asked for.
        expected: u64,
        /// The height it gave.
        found: u64,
    },
    /// Its certificate is not signed by the network's key: it is forged, or that of another network.
    #[error("a certificate that the network's key did not sign")]
    Certificate,
    /// Its range of the state log does not belong to the state that a final block names.
    #[error("a range of the state log that does not lead to the state of a final block")]
    State,
}

/// An upstream, as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamStatus {
    /// What it is called.
    pub name: String,
    /// Why it is not asked any more, if so.
    pub lie: Option<Lie>,
    /// Why it gave no answer the last time, if so.
    pub trouble: Option<Unreachable>,
}

/// First pause after an upstream gave no answer; it doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
struct State {
    lie: Option<Lie>,
    trouble: Option<Unreachable>,
    failures: u32,
    /// Whether it ever gave an answer.
    has_answered: bool,
    /// Until when it is left alone.
    pause: Option<SystemTime>,
}

struct Entry {
    /// Its name towards the library; no key of anybody.
    key: PublicKey,
    upstream: Arc<dyn Upstream>,
    state: Mutex<State>,
}

impl Entry {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The nodes that a follower follows. Copies share them.
#[derive(Clone)]
pub struct Upstreams(Arc<Shared>);

struct Shared {
    entries: Vec<Entry>,
    /// How long an answer may take.
    timeout: Duration,
    /// Which of them gets the next transaction first.
    turn: AtomicUsize,
    /// Kept, because the library ends when nobody could tell it of peers any more.
    tracked: Mutex<Vec<mpsc::UnboundedSender<PeerSetUpdate<PublicKey>>>>,
    blocked: Mutex<Vec<ring::Sender<Set<PublicKey>>>>,
}

impl std::fmt::Debug for Upstreams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.status()).finish()
    }
}

fn silence(timeout: Duration) -> Unreachable {
    Unreachable(format!("no answer within {} ms", timeout.as_millis()))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Upstreams {
    /// Nodes to follow, each of which may take so long for an answer.
    #[must_use]
    pub fn new(upstreams: Vec<Arc<dyn Upstream>>, timeout: Duration) -> Self {
        let entries = (0u64..).zip(upstreams).map(|(number, upstream)| Entry {
            key: ed25519::PrivateKey::from_seed(number).public_key(),
            upstream,
            state: Mutex::default(),
        });
        let (tracked, blocked) = (Mutex::default(), Mutex::default());
        Self(Arc::new(Shared {
            entries: entries.collect(),
            timeout,
            turn: AtomicUsize::new(0),
            tracked,
            blocked,
        }))
    }

    /// How long an answer may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.0.timeout
    }

    /// How they are.
    #[must_use]
    pub fn status(&self) -> Vec<UpstreamStatus> {
        let status = |entry: &Entry| {
            let State { lie, trouble, .. } = &*entry.state();
            UpstreamStatus {
                name: entry.upstream.name().to_owned(),
                lie: lie.clone(),
                trouble: trouble.clone(),
            }
        };
        self.0.entries.iter().map(status).collect()
    }

    /// How many answered when they were asked last.
    #[must_use]
    pub fn answering(&self) -> usize {
        let answers = |state: &State| state.has_answered && state.lie.is_none() && state.trouble.is_none();
        self.0.entries.iter().filter(|entry| answers(&entry.state())).count()
    }

    /// Their names towards the library.
    pub(crate) fn keys(&self) -> Vec<PublicKey> {
        self.0.entries.iter().map(|entry| entry.key.clone()).collect()
    }

    fn entry(&self, key: &PublicKey) -> Option<&Entry> {
        self.0.entries.iter().find(|entry| entry.key == *key)
    }

    pub(crate) fn is_dropped(&self, key: &PublicKey) -> bool {
        self.entry(key).is_none_or(|entry| entry.state().lie.is_some())
    }

    /// Until when an upstream is left alone, if that is later than now.
    pub(crate) fn pause(&self, key: &PublicKey, now: SystemTime) -> Option<SystemTime> {
        let until = self.entry(key)?.state().pause.filter(|until| *until > now)?;
        // The clock may have been set back since.
        Some(now.checked_add(PAUSE_MAX).map_or(until, |latest| until.min(latest)))
    }

    fn liars(&self) -> Set<PublicKey> {
        let liars = self.0.entries.iter().filter(|entry| entry.state().lie.is_some());
        Set::from_iter_dedup(liars.map(|entry| entry.key.clone()))
    }

    /// Stops asking an upstream, until the follower starts again.
    pub(crate) fn drop_liar(&self, key: &PublicKey, lie: Lie) {
        let Some(entry) = self.entry(key) else { return };
        {
            let mut state = entry.state();
            if state.lie.is_some() {
                return;
            }
            error!(
                upstream = entry.upstream.name(),
                %lie,
                "dropped an upstream that gave what no honest node gives; follow another"
            );
            state.lie = Some(lie);
        }
        let liars = self.liars();
        lock(&self.0.blocked).retain(|told| told.send_lossy(liars.clone()));
    }

    fn heard(&self, entry: &Entry, now: SystemTime, trouble: Option<&Unreachable>) {
        let mut state = entry.state();
        let name = entry.upstream.name();
        match trouble {
            None => {
                if state.trouble.take().is_some() {
                    info!(upstream = name, "an upstream answers again");
                }
                (state.failures, state.pause, state.has_answered) = (0, None, true);
            }
            Some(trouble) => {
                if state.trouble.is_none() {
                    warn!(upstream = name, %trouble, "an upstream gives no answer; it is asked again later");
                }
                let pause = PAUSE_MIN.saturating_mul(1 << state.failures.min(16)).min(PAUSE_MAX);
                state.failures = state.failures.saturating_add(1);
                state.pause = now.checked_add(pause);
                state.trouble = Some(trouble.clone());
            }
        }
    }

    /// Asks an upstream, whatever happened before; what is no honest answer drops it. Nothing if it is dropped, gives no
    /// answer in time, or has not what is asked for.
    pub(crate) async fn ask(
        &self,
        clock: &impl Clock,
        key: &PublicKey,
        question: Question,
        wait: Duration,
    ) -> Option<Bytes> {
        let entry = self.entry(key).filter(|_| !self.is_dropped(key))?;
        let timeout = self.0.timeout + wait;
        let answer = select! {
            answer = entry.upstream.ask(question.clone()) => answer,
            () = clock.sleep(timeout) => Err(silence(timeout)),
        };
        self.heard(entry, clock.current(), answer.as_ref().err());
        let answer = answer.ok().flatten()?;
        match examine(&question, &answer) {
            Ok(()) => Some(answer),
            Err(lie) => {
                self.drop_liar(key, lie);
                None
            }
        }
    }

    /// Hands a transaction to those that answer, until one takes it: each time another is the first, so that what one
    /// keeps to itself gets to the next. Returns whether one did.
    pub(crate) async fn submit(&self, clock: &impl Clock, transaction: &Bytes) -> bool {
        let entries = &self.0.entries;
        let first = self.0.turn.fetch_add(1, Ordering::Relaxed).checked_rem(entries.len()).unwrap_or(0);
        let (before, from_first) = entries.split_at(first);
        for entry in from_first.iter().chain(before) {
            let is_left_alone = self.pause(&entry.key, clock.current()).is_some();
            if is_left_alone || self.is_dropped(&entry.key) {
                continue;
            }
            let taken = select! {
                taken = entry.upstream.submit(transaction.clone()) => taken,
                () = clock.sleep(self.0.timeout) => Err(silence(self.0.timeout)),
            };
            self.heard(entry, clock.current(), taken.as_ref().err());
            if taken.is_ok() {
                return true;
            }
        }
        false
    }
}

/// A name towards the library that no upstream has.
pub(crate) fn nobody() -> PublicKey {
    ed25519::PrivateKey::from_seed(u64::MAX).public_key()
}

fn undecodable(expected: &'static str) -> impl FnOnce(commonware_codec::Error) -> Lie {
    move |error| Lie::Undecodable { expected, reason: error.to_string() }
}

/// Whether an answer can be that of an honest node, as far as it says itself.
pub(crate) fn examine(question: &Question, answer: &Bytes) -> Result<(), Lie> {
    let max = question.answer_bytes_max();
    if answer.len() > max {
        return Err(Lie::Oversized { found: answer.len(), max });
    }
    match question {
        Question::Latest { .. } => {
            Finalization::<Scheme, Digest>::decode(answer.clone()).map_err(undecodable("finalization"))?;
        }
        Question::Block(hash) => {
            let block = Block::decode(answer.clone()).map_err(undecodable("block"))?;
            same_block(*hash, &block)?;
        }
        Question::Finalized(height) => {
            let mut rest = answer.clone();
            let finalization =
                Finalization::<Scheme, Digest>::read(&mut rest).map_err(undecodable("finalization"))?;
            let block = Block::decode(rest).map_err(undecodable("block"))?;
            if block.height() != Height::new(*height) {
                return Err(Lie::Height { expected: *height, found: block.height().get() });
            }
            same_block(finalization.proposal.payload.0, &block)?;
        }
        // It is decoded and checked against the root of a final block by the library.
        Question::State(_) => {}
    }
    Ok(())
}

fn same_block(expected: B256, block: &Block) -> Result<(), Lie> {
    let found = block.digest().0;
    if found == expected { Ok(()) } else { Err(Lie::OtherBlock { expected, found }) }
}

impl Provider for Upstreams {
    type PublicKey = PublicKey;

    async fn peer_set(&mut self, _: u64) -> Option<TrackedPeers<PublicKey>> {
        Some(TrackedPeers::primary(Set::from_iter_dedup(self.keys())))
    }

    async fn subscribe(&mut self) -> PeerSetSubscription<PublicKey> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let all = TrackedPeers::primary(Set::from_iter_dedup(self.keys()));
        // The receiver is here.
        let _ = sender.send(PeerSetUpdate { index: 0, latest: all.clone(), all });
        lock(&self.0.tracked).push(sender);
        receiver
    }
}

/// Takes the library's verdicts on answers.
#[derive(Clone)]
pub(crate) struct Judge {
    pub(crate) upstreams: Upstreams,
    /// What it is that the library found wrong.
    pub(crate) lie: Lie,
}

impl Blocker for Judge {
    type PublicKey = PublicKey;

    fn block(&mut self, peer: PublicKey) -> Feedback {
        self.upstreams.drop_liar(&peer, self.lie.clone());
        Feedback::Ok
    }

    fn blocked(&mut self) -> BlockedSubscription<PublicKey> {
        let (sender, receiver) = ring::channel(NZUsize!(1));
        sender.send_lossy(self.upstreams.liars());
        lock(&self.upstreams.0.blocked).push(sender);
        receiver
    }
}

/// What is asked for on a channel of the library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Blocks,
    State,
}

impl Kind {
    fn question(self, key: Bytes) -> Option<Question> {
        match self {
            Self::State => Some(Question::State(key)),
            Self::Blocks => match handler::Key::<Digest>::decode(key).ok()? {
                handler::Key::Block(digest) => Some(Question::Block(digest.0)),
                handler::Key::Finalized { height } => Some(Question::Finalized(height.get())),
                // Only validators ask for what is not final.
                handler::Key::Notarized { .. } => None,
            },
        }
    }
}

// A message of the library's resolver: the number of the request, then what it is, then the key or the answer.
const REQUEST: u8 = 0;
const RESPONSE: u8 = 1;
const NOTHING: u8 = 2;

/// The number of a request, and its key.
fn parse_request(mut message: Bytes) -> Option<(u64, Bytes)> {
    if message.len() < 9 {
        return None;
    }
    let number = message.get_u64();
    (message.get_u8() == REQUEST).then_some((number, message))
}

fn response(number: u64, answer: Option<Bytes>) -> Bytes {
    let mut message = BytesMut::new();
    message.put_u64(number);
    match answer {
        Some(answer) => {
            message.put_u8(RESPONSE);
            answer.write(&mut message);
        }
        None => message.put_u8(NOTHING),
    }
    message.freeze()
}

/// The sending half of a channel to the upstreams.
pub(crate) struct Asking<E> {
    upstreams: Upstreams,
    clock: Arc<E>,
    requests: mpsc::UnboundedSender<(PublicKey, Bytes)>,
}

impl<E> Clone for Asking<E> {
    fn clone(&self) -> Self {
        Self { upstreams: self.upstreams.clone(), clock: self.clock.clone(), requests: self.requests.clone() }
    }
}

/// A request to upstreams that may be asked now.
pub(crate) struct Checked {
    to: Vec<PublicKey>,
    requests: mpsc::UnboundedSender<(PublicKey, Bytes)>,
}

impl<E: Clock> LimitedSender for Asking<E> {
    type PublicKey = PublicKey;
    type Checked<'a>
        = Checked
    where
        Self: 'a;

    /// Those that gave no answer lately are left alone for a while.
    fn check(&mut self, recipients: Recipients<PublicKey>) -> Result<Checked, SystemTime> {
        let asked: Vec<PublicKey> = match recipients {
            Recipients::All => self.upstreams.keys(),
            Recipients::Some(keys) => keys,
            Recipients::One(key) => vec![key],
        };
        let now = self.clock.current();
        let pauses = asked.iter().map(|key| self.upstreams.pause(key, now)).collect::<Option<Vec<_>>>();
        if let Some(first) = pauses.and_then(|pauses| pauses.into_iter().min()) {
            return Err(first);
        }
        let to = asked.into_iter().filter(|key| self.upstreams.pause(key, now).is_none());
        Ok(Checked { to: to.collect(), requests: self.requests.clone() })
    }
}

impl CheckedSender for Checked {
    type PublicKey = PublicKey;

    fn recipients(&self) -> Vec<PublicKey> {
        self.to.clone()
    }

    fn send(self, message: impl Into<IoBufs> + Send, _: bool) -> Unreliable<Feedback> {
        let message: Bytes = Bytes::copy_from_slice(message.into().coalesce().as_ref());
        let sent = self.to.into_iter().all(|key| self.requests.send((key, message.clone())).is_ok());
        Unreliable::new(if sent { Feedback::Ok } else { Feedback::Closed })
    }
}

/// The receiving half of a channel to the upstreams.
#[derive(Debug)]
pub(crate) struct Answers(mpsc::UnboundedReceiver<Message<PublicKey>>);

/// The follower stops.
#[derive(Debug, thiserror::Error)]
#[error("the follower stops")]
pub(crate) struct Stops;

impl Receiver for Answers {
    type Error = Stops;
    type PublicKey = PublicKey;

    async fn recv(&mut self) -> Result<Message<PublicKey>, Stops> {
        self.0.recv().await.ok_or(Stops)
    }

    fn capacity(&self) -> std::num::NonZeroUsize {
        // Not a limit: answers are as many as requests, which the library limits.
        NZUsize!(256)
    }
}

/// A channel of the library to the upstreams, and the task that carries its requests to them.
pub(crate) fn channel<E: Spawner + Clock>(
    context: &E,
    kind: Kind,
    upstreams: &Upstreams,
) -> ((Asking<E>, Answers), Handle<()>) {
    let (requests, mut asked) = mpsc::unbounded_channel::<(PublicKey, Bytes)>();
    let (answers, answered) = mpsc::unbounded_channel();
    let asking = Asking { upstreams: upstreams.clone(), clock: Arc::new(context.child("clock")), requests };
    let upstreams = upstreams.clone();
    let task = context.child("upstream").spawn(move |context| async move {
        let context = Arc::new(context);
        let mut open = Pool::default();
        loop {
            select! {
                request = asked.recv() => {
                    let Some((key, message)) = request else { return };
                    let Some((number, what)) = parse_request(message) else { continue };
                    let (upstreams, clock) = (upstreams.clone(), context.clone());
                    open.push(async move {
                        let answer = match kind.question(what) {
                            Some(question) => {
                                upstreams.ask(clock.as_ref(), &key, question, Duration::ZERO).await
                            }
                            None => None,
                        };
                        (key, response(number, answer).into())
                    });
                },
                message = open.next_completed() => {
                    // The library has stopped, and so will this.
                    let _ = answers.send(message);
                },
            }
        }
    });
    ((asking, Answers(answered)), task)
}

#[cfg(test)]
mod tests;
