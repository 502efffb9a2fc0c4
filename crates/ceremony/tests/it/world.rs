//! Founders in the simulator.

use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex},
    time::Duration,
};

use alloy_primitives::B256;
use commonware_cryptography::{Signer as _, ed25519};
use commonware_glue::dkg::network::AddressableManager;
use commonware_p2p::{
    Address, Recipients, Sender as _,
    simulated::{self, Link, Network, Oracle},
};
use commonware_parallel::Sequential;
use commonware_runtime::{Clock as _, Handle, Runner as _, Spawner as _, Supervisor as _, deterministic};
use commonware_utils::{NZUsize, ordered::Map, probability};
use rand_core::Rng as _;
use tokio::sync::watch;
use veracity_ceremony::{
    CHANNELS, Config, Failed, Outcome, Progress, Record, RecordError, Step, message_bytes_max, quota, run,
};
use veracity_consensus::PublicKey;

type Context = deterministic::Context;

/// A network as between machines of one place.
pub(crate) const FAST: Link = Link {
    latency: Duration::from_millis(5),
    jitter: Duration::from_millis(1),
    success_rate: probability!(1.0),
};

/// Runs a simulation; two hours of its time must be enough.
pub(crate) fn simulate(seed: u64, run: impl AsyncFnOnce(Context)) {
    let config = deterministic::Config::new().with_seed(seed).with_timeout(Some(Duration::from_secs(7200)));
    deterministic::Runner::new(config).start(|context| run(context));
}

/// What a founder recorded.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<KeptState>>);

#[derive(Default)]
struct KeptState {
    outcome: Option<Outcome>,
    records: usize,
    refuses: bool,
}

impl Record for Kept {
    async fn record(&self, outcome: Outcome) -> Result<(), RecordError> {
        let mut kept = self.0.lock().expect("nothing panicked");
        if std::mem::take(&mut kept.refuses) {
            return Err("the disk is full".into());
        }
        kept.records += 1;
        if let Some(before) = &kept.outcome {
            assert!(before.info == outcome.info && before.share == outcome.share, "it is what it was");
        }
        kept.outcome = Some(outcome);
        Ok(())
    }
}

struct Founder {
    signer: ed25519::PrivateKey,
    kept: Kept,
    progress: watch::Receiver<Option<Progress>>,
    task: Option<Handle<Result<(), Failed>>>,
    starts: u64,
}

pub(crate) struct World<'a> {
    context: &'a Context,
    oracle: Oracle<PublicKey, Context>,
    addresses: Map<PublicKey, Address>,
    absent_max: u32,
    founders: Vec<Founder>,
}

impl<'a> World<'a> {
    pub(crate) async fn new(context: &'a Context, founders: usize, absent_max: u32, link: Link) -> Self {
        let signers: Vec<_> = (0..founders as u64).map(ed25519::PrivateKey::from_seed).collect();
        let address = |port| Address::Symmetric(([127, 0, 0, 1], port).into());
        let addresses = signers.iter().zip(1u16..).map(|(signer, port)| (signer.public_key(), address(port)));
        let addresses: Map<_, _> = Map::from_iter_dedup(addresses);
        let count = u32::try_from(founders).ok().and_then(NonZeroU32::new).expect("there are founders");
        let (network, oracle) = Network::new(
            context.child("network"),
            simulated::Config {
                max_size: message_bytes_max(count),
                max_peers_per_set: NZUsize!(16),
                disconnect_on_block: true,
                tracked_peer_sets: NZUsize!(1),
            },
        );
        network.start();
        let founder = |signer| Founder {
            signer,
            kept: Kept::default(),
            progress: watch::channel(None).1,
            task: None,
            starts: 0,
        };
        let founders = signers.into_iter().map(founder).collect();
        let world = Self { context, oracle, addresses, absent_max, founders };
        for one in 0..world.founders.len() {
            for other in 0..one {
                world.add_link(one, other, link.clone()).await;
            }
        }
        world
    }

    async fn add_link(&self, one: usize, other: usize, link: Link) {
        for (from, to) in [(one, other), (other, one)] {
            let (from, to) = (self.public_key(from), self.public_key(to));
            self.oracle.add_link(from, to, link.clone()).await.expect("they are two");
        }
    }

    /// Puts another link between two.
    pub(crate) async fn link(&self, one: usize, other: usize, link: Link) {
        for (from, to) in [(one, other), (other, one)] {
            self.oracle.remove_link(self.public_key(from), self.public_key(to)).await.expect("there is one");
        }
        self.add_link(one, other, link).await;
    }

    pub(crate) fn public_key(&self, founder: usize) -> PublicKey {
        self.founders[founder].signer.public_key()
    }

    pub(crate) fn key(&self, founder: usize) -> B256 {
        B256::from_slice(&self.public_key(founder))
    }

    async fn channels(
        &self,
        founder: usize,
    ) -> Vec<(simulated::Sender<PublicKey, Context>, simulated::Receiver<PublicKey>)> {
        let control = self.oracle.control(self.public_key(founder));
        let mut channels = vec![];
        for channel in 0..CHANNELS {
            channels.push(control.register(channel, quota(channel)).await.expect("the network runs"));
        }
        channels
    }

    pub(crate) async fn start(&mut self, founder: usize) {
        let channels = self.channels(founder).await;
        let (telling, progress) = watch::channel(None);
        let Founder { signer, kept, starts, .. } = &self.founders[founder];
        let context = self.context.child("founder").with_attribute("index", founder);
        let context = context.with_attribute("start", *starts);
        let config = Config {
            signer: signer.clone(),
            founders: self.addresses.clone(),
            plan: B256::repeat_byte(0x77),
            absent_max: self.absent_max,
            partition: format!("founder-{founder}"),
            strategy: Sequential,
            manager: AddressableManager::new(self.oracle.socket_manager()),
            blocker: self.oracle.control(signer.public_key()),
            record: kept.clone(),
        };
        let task = context.spawn(move |context| async move {
            let (context, telling) = (context, telling);
            Box::pin(run(&context, config, channels, &telling)).await
        });
        let founder = &mut self.founders[founder];
        founder.starts += 1;
        founder.progress = progress;
        founder.task = Some(task);
    }

    /// How a founder ended.
    pub(crate) async fn end(&mut self, founder: usize) -> Result<(), Failed> {
        let task = self.founders[founder].task.take().expect("it was started");
        task.await.expect("it does not panic")
    }

    /// Stops a founder where it is.
    pub(crate) async fn crash(&mut self, founder: usize) {
        let task = self.founders[founder].task.take().expect("it was started");
        task.abort();
        // It may have ended before.
        let _ = task.await;
    }

    /// A founder sends garbage on all channels instead of its part.
    pub(crate) async fn garbage(&self, founder: usize) {
        for (number, (mut sender, receiver)) in self.channels(founder).await.into_iter().enumerate() {
            let context = self.context.child("garbage").with_attribute("channel", number);
            context.spawn(move |mut context| async move {
                // Kept, so that the channel stays.
                let _receiver = receiver;
                loop {
                    context.sleep(Duration::from_millis(50)).await;
                    let mut bytes = vec![0; 1 + context.next_u32() as usize % 200];
                    context.fill_bytes(&mut bytes);
                    sender.send(Recipients::All, bytes, false);
                }
            });
        }
    }

    pub(crate) fn refuse_records(&self, founder: usize) {
        self.founders[founder].kept.0.lock().expect("nothing panicked").refuses = true;
    }

    pub(crate) fn records(&self, founder: usize) -> usize {
        self.founders[founder].kept.0.lock().expect("nothing panicked").records
    }

    pub(crate) fn outcomes(&self) -> Vec<Option<Outcome>> {
        let kept = self.founders.iter().map(|founder| founder.kept.0.lock().expect("nothing panicked"));
        kept.map(|kept| kept.outcome.clone()).collect()
    }

    /// Waits until a founder has told the others that it is ready.
    pub(crate) async fn until_ready(&self, founder: usize) {
        let is_ready =
            || self.founders[founder].progress.borrow().as_ref().is_some_and(|it| it.step == Step::Ready);
        while !is_ready() {
            self.context.sleep(Duration::from_millis(1)).await;
        }
    }

    pub(crate) fn progress(&self, founder: usize) -> Progress {
        self.founders[founder].progress.borrow().clone().expect("it runs")
    }
}
