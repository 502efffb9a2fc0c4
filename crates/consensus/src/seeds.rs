//! Random values of rounds, and certificates, as they come out of consensus.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use commonware_actor::Feedback;
use commonware_consensus::{
    Automaton, CertifiableAutomaton, Handoff, Relay, Reporter,
    marshal::Update,
    simplex::{scheme::bls12381_threshold::vrf::Seedable as _, types::Activity},
    types::{Height, Round},
};
use commonware_utils::channel::oneshot;
use tokio::sync::Notify;

use crate::{
    Certificate, Head, Marshal, Observer, Scheme,
    block::{Block, Context, Digest, Seed},
};

/// Random values of the rounds since the last finalized block.
#[derive(Clone)]
pub(crate) struct Seeds(Arc<Shared>);

struct Shared {
    known: Mutex<BTreeMap<Round, Seed>>,
    arrivals: Notify,
    verifier: Scheme,
    marshal: Marshal,
}

/// Whether the random value of `round` may stand for a parent that was proposed in `parent`, in a block of round `child`.
pub(crate) fn is_round_of(round: Round, parent: Round, child: Round) -> bool {
    // The last block of an epoch may be certified again in later rounds, until the next epoch begins.
    let is_boundary = child.epoch() != parent.epoch();
    round == parent || (is_boundary && round.epoch() == parent.epoch() && round.view() > parent.view())
}

impl Seeds {
    pub(crate) fn new(verifier: Scheme, marshal: Marshal) -> Self {
        Self(Arc::new(Shared { known: Mutex::default(), arrivals: Notify::new(), verifier, marshal }))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Round, Seed>> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn insert(&self, seed: Seed) {
        self.lock().insert(seed.round, seed);
        self.0.arrivals.notify_waiters();
    }

    /// Whether the network signed this value.
    pub(crate) fn verify(&self, seed: &Seed) -> bool {
        // Values that came out of consensus were verified there.
        let is_known = self.lock().get(&seed.round) == Some(seed);
        is_known || seed.verify(&self.0.verifier)
    }

    /// The random value of `parent`'s round, for a block of round `child`; waits until it is known.
    pub(crate) async fn of(&self, parent: &Head, child: Round) -> Seed {
        let find = || {
            let known = self.lock();
            let mut later = known.range(parent.round..);
            later.find(|(round, _)| is_round_of(**round, parent.round, child)).map(|(_, seed)| seed.clone())
        };
        let mut asked = false;
        loop {
            let arrival = self.0.arrivals.notified();
            let mut arrival = std::pin::pin!(arrival);
            arrival.as_mut().enable();
            if let Some(seed) = find() {
                return seed;
            }
            if !asked {
                // After a restart or a synchronization it may be known from the block's certificate only.
                asked = true;
                if let Some(finalization) =
                    self.0.marshal.get_finalization(Height::new(parent.header.number)).await
                {
                    self.insert(finalization.seed());
                    continue;
                }
            }
            arrival.await;
        }
    }

    /// Forgets rounds before that of a finalized block.
    pub(crate) fn prune(&self, finalized: Round) {
        let mut known = self.lock();
        *known = known.split_off(&finalized);
    }
}

/// Stands between consensus and the application, and reads certificates on their way.
#[derive(Clone)]
pub(crate) struct Tap<A, O> {
    pub(crate) inner: A,
    pub(crate) seeds: Seeds,
    pub(crate) observer: O,
}

impl<A: Automaton<Context = Context, Digest = Digest>, O: Observer> Automaton for Tap<A, O> {
    type Context = Context;
    type Digest = Digest;

    async fn propose(&mut self, context: Context) -> oneshot::Receiver<Digest> {
        self.inner.propose(context).await
    }

    async fn verify(&mut self, context: Context, payload: Digest) -> oneshot::Receiver<bool> {
        self.inner.verify(context, payload).await
    }
}

impl<A: CertifiableAutomaton<Context = Context, Digest = Digest>, O: Observer> CertifiableAutomaton
    for Tap<A, O>
{
    async fn prepare(&mut self, context: Context) -> oneshot::Receiver<Handoff<Digest>> {
        self.inner.prepare(context).await
    }

    async fn certify(&mut self, round: Round, payload: Digest) -> oneshot::Receiver<bool> {
        self.inner.certify(round, payload).await
    }
}

impl<A: Relay, O: Observer> Relay for Tap<A, O> {
    type Digest = A::Digest;
    type Plan = A::Plan;
    type PublicKey = A::PublicKey;

    fn broadcast(&mut self, payload: A::Digest, plan: A::Plan) -> Feedback {
        self.inner.broadcast(payload, plan)
    }
}

impl<A, O> Reporter for Tap<A, O>
where
    A: Reporter<Activity = Activity<Scheme, Digest>>,
    O: Observer,
{
    type Activity = Activity<Scheme, Digest>;

    fn report(&mut self, activity: Self::Activity) -> Feedback {
        match &activity {
            Activity::Notarization(notarization) => self.seeds.insert(notarization.seed()),
            Activity::Finalization(finalization) => {
                self.seeds.insert(finalization.seed());
                self.observer.certified(Certificate::of(finalization));
            }
            _ => {}
        }
        self.inner.report(activity)
    }
}

/// Tells the observer of the highest block known to be final.
#[derive(Clone)]
pub(crate) struct Tips<R, O> {
    pub(crate) inner: R,
    pub(crate) observer: O,
}

impl<R, O> Reporter for Tips<R, O>
where
    R: Reporter<Activity = Update<Block>>,
    O: Observer,
{
    type Activity = Update<Block>;

    fn report(&mut self, activity: Update<Block>) -> Feedback {
        if let Update::Tip(round, height, digest) = &activity {
            self.observer.tip(*round, height.get(), digest.0);
        }
        self.inner.report(activity)
    }
}
