//! Starting and stopping a validator.

use std::{
    future::Future,
    net::SocketAddr,
    num::{NonZeroU64, NonZeroUsize},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::SyncSender,
    },
    thread::JoinHandle,
    time::Duration,
};

use alloy_consensus::{TxEnvelope, transaction::Recovered};
use alloy_primitives::{Address, B256};
use commonware_consensus::types::Round;
use commonware_cryptography::{ChaCha20Poly1305, bls12381::primitives::group::Share, ed25519::PrivateKey};
use commonware_glue::dkg::network::AddressableManager;
use commonware_p2p::authenticated::lookup;
use commonware_runtime::{
    Clock as _, Handle, Metrics as _, Runner as _, Spawner as _, Strategizer as _, Supervisor as _,
    tokio as runtime,
};
use commonware_stream::{
    cups::{self, Cups},
    sake::{self, Sake},
};
use commonware_utils::NZUsize;
use tokio::sync::{mpsc, oneshot, watch};
use veracity_chain::PoolLimits;
use veracity_consensus::{
    Certificate, Channels, Config, EpochStatus, Faults, Finalized, FollowConfig, Genesis, Head, Observer,
    Questions, SharedPool, Source, Timing, Upstreams, follow, message_bytes_max, start,
};

use crate::{Contact, EpochView, FirstEpoch, Identity, KeyError, contact::directory};

/// What a validator is told, on threads that may block.
pub trait Events: Send + Sync + 'static {
    /// A block is final. Called in the order of heights. When this returns, the block is done with: after a crash it comes
    /// again if it was not, and may come again if it was.
    fn finalized(&self, block: Finalized);

    /// A certificate has come; not every block has one of its own, and it may come before or after its block.
    fn certified(&self, certificate: Certificate);

    /// A higher block is known to be final, which may be long before the node has all blocks up to it.
    fn tip(&self, height: u64, hash: B256);
}

/// How often connected peers are counted.
const PEERS_COUNTED: Duration = Duration::from_secs(3);
/// The library's futures are large where they are not optimised. Memory is used only as far as a stack grows.
const STACK_BYTES: usize = 64 << 20;

#[derive(Clone)]
struct Forward {
    events: Arc<dyn Events>,
    /// To a thread of its own: certificates may come faster than they are recorded, and wait while nothing else must.
    certificates: SyncSender<Certificate>,
}

/// Certificates that wait to be recorded; more are dropped, because later ones prove the same blocks.
const CERTIFICATES_WAITING_MAX: usize = 256;

impl Forward {
    fn new(events: Arc<dyn Events>) -> std::io::Result<Self> {
        let (certificates, waiting) = std::sync::mpsc::sync_channel(CERTIFICATES_WAITING_MAX);
        let told = events.clone();
        // It ends when the last sender is gone.
        std::thread::Builder::new()
            .name("certificates".into())
            .spawn(move || waiting.into_iter().for_each(|certificate| told.certified(certificate)))?;
        Ok(Self { events, certificates })
    }
}

impl Observer for Forward {
    async fn finalized(&self, block: Finalized) {
        let events = self.events.clone();
        let done = tokio::task::spawn_blocking(move || events.finalized(block)).await;
        // A panic there is one here: the block must not count as done.
        done.expect("a finalized block could not be recorded");
    }

    fn certified(&self, certificate: Certificate) {
        // Full, or the thread has ended with the validator.
        let _ = self.certificates.try_send(certificate);
    }

    fn tip(&self, _: Round, height: u64, hash: B256) {
        self.events.tip(height, hash);
    }
}

/// What a validator is and where.
#[derive(Clone)]
pub struct Options {
    /// What the chain begins with.
    pub genesis: Arc<Genesis>,
    /// Its first epoch.
    pub epoch: FirstEpoch,
    /// Blocks per epoch; the same on all nodes.
    pub epoch_blocks: NonZeroU64,
    /// The node's key.
    pub identity: Identity,
    /// Its share of the network's key, if it has one.
    pub share: Option<Vec<u8>>,
    /// Where it stores everything.
    pub folder: PathBuf,
    /// Where it listens for peers.
    pub listen: SocketAddr,
    /// Who receives the tips of its blocks.
    pub beneficiary: Address,
    /// What its pool accepts.
    pub pool: PoolLimits,
    /// How long it waits for what.
    pub timing: Timing,
    /// Threads for the network and for computing.
    pub threads: NonZeroUsize,
    /// Whom it asks where to join, and stays connected to; the founders, while it joins, if there are none.
    pub bootstrap: Vec<Contact>,
    /// Whether peers may have private addresses, as on a network for development.
    pub allow_private: bool,
    /// Whether it begins with the state of others; only if it has no state.
    pub sync: bool,
    /// Told of what happens.
    pub events: Arc<dyn Events>,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { identity, folder, listen, .. } = self;
        let mut fields = f.debug_struct("Options");
        fields.field("identity", identity).field("folder", folder).field("listen", listen);
        fields.finish_non_exhaustive()
    }
}

/// What a follower is and where.
#[derive(Clone)]
pub struct FollowOptions {
    /// What the chain begins with.
    pub genesis: Arc<Genesis>,
    /// Blocks per epoch; the same on all nodes.
    pub epoch_blocks: NonZeroU64,
    /// Where it stores everything.
    pub folder: PathBuf,
    /// Whom it follows.
    pub upstreams: Upstreams,
    /// What its pool accepts.
    pub pool: PoolLimits,
    /// Threads for the network and for computing.
    pub threads: NonZeroUsize,
    /// Told of what happens.
    pub events: Arc<dyn Events>,
}

impl std::fmt::Debug for FollowOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { folder, upstreams, .. } = self;
        f.debug_struct("FollowOptions")
            .field("folder", folder)
            .field("upstreams", upstreams)
            .finish_non_exhaustive()
    }
}

/// Why a validator did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Its key or share does not fit the network.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A thread could not be started.
    #[error("a thread could not be started: {0}")]
    Thread(std::io::Error),
}

/// Why a validator stopped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Stopped {
    /// It was asked to.
    #[error("it was asked to stop")]
    Asked,
    /// One of its parts ended.
    #[error("a part of it ended; its log says which")]
    Ended,
    /// Something that must not fail did.
    #[error("{0}")]
    Panic(String),
}

/// A running validator, or a follower.
#[derive(Debug)]
pub struct Validator {
    pool: SharedPool,
    heads: watch::Receiver<Option<Head>>,
    epochs: watch::Receiver<Option<EpochStatus>>,
    source: Source,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Stopped>>,
    ended: watch::Receiver<bool>,
    peers: Arc<AtomicU64>,
}

/// What the running node and those who hold it share.
struct Parts {
    pool: SharedPool,
    news: mpsc::UnboundedReceiver<Recovered<TxEnvelope>>,
    heads: watch::Sender<Option<Head>>,
    epochs: watch::Sender<Option<EpochStatus>>,
    questions: Questions,
    observer: Forward,
    peers: Arc<AtomicU64>,
}

/// Where a node runs.
struct Place {
    name: &'static str,
    folder: PathBuf,
    threads: NonZeroUsize,
    pool: PoolLimits,
    events: Arc<dyn Events>,
}

/// Runs a node on threads of its own, until it is asked to stop or one of its tasks ends.
fn launch<F, B>(place: Place, begin: B) -> Result<Validator, StartError>
where
    B: FnOnce(runtime::Context, Parts) -> F + Send + 'static,
    F: Future<Output = (runtime::Context, Vec<Handle<()>>)> + Send,
{
    let Place { name, folder, threads, pool, events } = place;
    let (heads, head) = watch::channel(None);
    let (epochs, epoch) = watch::channel(None);
    let (pool, news) = SharedPool::new(pool, head.clone());
    let (source, questions) = Source::new();
    let (stop, mut asked) = oneshot::channel();
    let (ending, ended) = watch::channel(false);
    let peers = Arc::new(AtomicU64::new(0));
    let observer = Forward::new(events).map_err(StartError::Thread)?;
    let parts = Parts { pool: pool.clone(), news, heads, epochs, questions, observer, peers: peers.clone() };
    let run = move || {
        // Whoever waits is told even if this panics.
        let _ending = Ending(ending);
        let config = runtime::Config::new()
            .with_worker_threads(threads.get())
            .with_thread_stack_size(STACK_BYTES)
            .with_tcp_nodelay(Some(true))
            .with_storage_directory(&folder);
        runtime::Runner::new(config).start(|context| async move {
            let (_context, tasks) = tokio::select! {
                begun = Box::pin(begin(context, parts)) => begun,
                // It waits for the network, or for somebody to follow.
                _ = &mut asked => return Stopped::Asked,
            };
            tokio::select! {
                _ = asked => Stopped::Asked,
                _ = Handle::select(tasks) => Stopped::Ended,
            }
        })
    };
    let thread = std::thread::Builder::new()
        .name(name.into())
        .stack_size(STACK_BYTES)
        .spawn(run)
        .map_err(StartError::Thread)?;
    let (stop, thread) = (Some(stop), Some(thread));
    Ok(Validator { pool, heads: head, epochs: epoch, source, stop, thread, ended, peers })
}

impl Validator {
    /// Starts a validator on threads of its own.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(options: Options) -> Result<Self, StartError> {
        let share =
            options.share.as_ref().map(|share| options.epoch.share(&options.identity, share)).transpose()?;
        let place = Place {
            name: "validator",
            folder: options.folder.clone(),
            threads: options.threads,
            pool: options.pool,
            events: options.events.clone(),
        };
        launch(place, move |context, parts| validate(context, options, share, parts))
    }

    /// Starts a follower on threads of its own: it does what a validator does but take part.
    ///
    /// # Errors
    /// [`StartError::Thread`].
    pub fn follow(options: FollowOptions) -> Result<Self, StartError> {
        let place = Place {
            name: "follower",
            folder: options.folder.clone(),
            threads: options.threads,
            pool: options.pool,
            events: options.events.clone(),
        };
        launch(place, move |context, parts| following(context, options, parts))
    }

    /// Transactions that wait for a block.
    #[must_use]
    pub fn pool(&self) -> &SharedPool {
        &self.pool
    }

    /// The latest final block and its state, as soon as the state is open.
    #[must_use]
    pub fn heads(&self) -> watch::Receiver<Option<Head>> {
        self.heads.clone()
    }

    /// The epoch of the next block, as soon as the state is open.
    pub fn epochs(&self) -> impl Fn() -> Option<EpochView> + Send + Sync + use<> {
        let epochs = self.epochs.clone();
        move || epochs.borrow().as_ref().map(EpochView::from)
    }

    /// What answers those who follow this node.
    #[must_use]
    pub fn source(&self) -> Source {
        self.source.clone()
    }

    /// How many peers it is connected to, or upstreams that answer it, some seconds ago at most.
    #[must_use]
    pub fn peers(&self) -> Arc<AtomicU64> {
        self.peers.clone()
    }

    /// Resolves when the validator has stopped.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut ended = self.ended.clone();
        async move {
            // An error means that it is gone, too.
            let _ = ended.wait_for(|ended| *ended).await;
        }
    }

    /// Whether the validator has stopped.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        *self.ended.borrow()
    }

    /// Stops the validator, and says why it stopped if it did so before.
    #[must_use]
    pub fn stop(mut self) -> Stopped {
        if let Some(stop) = self.stop.take() {
            // It may have stopped already.
            let _ = stop.send(());
        }
        let Some(thread) = self.thread.take() else { return Stopped::Asked };
        thread.join().unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Stopped::Panic(text.unwrap_or_else(|| "a part of the validator panicked".to_owned()))
        })
    }
}

async fn validate(
    context: runtime::Context,
    options: Options,
    share: Option<Share>,
    parts: Parts,
) -> (runtime::Context, Vec<Handle<()>>) {
    let (mut network, oracle) = lookup::Network::new(context.child("network"), peer_config(&options));
    type Numbered = Channels<(), ()>;
    let channels = Channels::new(|number| network.register(number, Numbered::quota(number)));
    let network = network.start();
    let Parts { pool, news, heads, epochs, questions, observer, peers } = parts;
    let config = Config {
        genesis: options.genesis,
        epoch_blocks: options.epoch_blocks,
        signer: options.identity.signer().clone(),
        share,
        partition: "validator".to_owned(),
        strategy: context.strategy(options.threads),
        manager: AddressableManager::new(oracle.clone()),
        bootstrap: directory(&options.bootstrap),
        blocker: oracle,
        observer,
        beneficiary: options.beneficiary,
        pool,
        news,
        heads,
        epochs,
        questions,
        timing: options.timing,
        sync: options.sync,
        faults: Faults::default(),
    };
    let counting = context.child("peers").spawn(move |context| count_peers(context, peers));
    let running = Box::pin(start(&context, config, channels)).await;
    let mut tasks = running.tasks;
    tasks.extend([network, counting]);
    (context, tasks)
}

async fn following(
    context: runtime::Context,
    options: FollowOptions,
    parts: Parts,
) -> (runtime::Context, Vec<Handle<()>>) {
    // It takes part in no epoch, so it tells of none.
    let Parts { pool, news, heads, epochs: _, questions, observer, peers } = parts;
    let upstreams = options.upstreams.clone();
    let counting = context.child("peers").spawn(move |context| async move {
        loop {
            let count = u64::try_from(upstreams.answering()).unwrap_or(u64::MAX);
            peers.store(count, Ordering::Relaxed);
            context.sleep(PEERS_COUNTED).await;
        }
    });
    let config = FollowConfig {
        genesis: options.genesis,
        epoch_blocks: options.epoch_blocks,
        partition: "follower".to_owned(),
        strategy: context.strategy(options.threads),
        upstreams: options.upstreams,
        observer,
        pool,
        news,
        heads,
        questions,
    };
    let running = Box::pin(follow(&context, config)).await;
    let mut tasks = running.tasks;
    tasks.push(counting);
    (context, tasks)
}

/// Counts connected peers again and again. The library tells of them by a metric only, one line for each peer.
async fn count_peers(context: runtime::Context, count: Arc<AtomicU64>) {
    loop {
        let metrics = context.encode();
        let connected = metrics.lines().filter(|line| line.contains("directory_connected{"));
        count.store(connected.map(|_| 1).sum(), Ordering::Relaxed);
        context.sleep(PEERS_COUNTED).await;
    }
}

struct Ending(watch::Sender<bool>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

fn peer_config(options: &Options) -> lookup::Config<Cups<Sake<PrivateKey>, ChaCha20Poly1305>> {
    let handshake = Sake {
        signer: options.identity.signer().clone(),
        synchrony_bound: Duration::from_secs(5),
        max_handshake_age: Duration::from_secs(10),
        version: sake::Version::V1,
    };
    let handshake = Cups::new(handshake, cups::Version::V1);
    // Peers of another network are no peers.
    let namespace = [b"veracity-p2p-".as_slice(), options.genesis.hash().as_slice()].concat();
    // Those of an epoch, of the next, and of the one after, those whom it was told of, and this node itself.
    let committee_max = usize::try_from(options.genesis.committee_max()).unwrap_or(usize::MAX);
    let told = options.bootstrap.len();
    let peers_max = NZUsize!(committee_max.saturating_mul(3).saturating_add(1).saturating_add(told));
    let config = if options.allow_private { lookup::Config::local } else { lookup::Config::recommended };
    let config =
        config(handshake, &namespace, options.listen, peers_max, message_bytes_max(), NZUsize!(1024));
    // Peers of the epoch before and of the one after are connected, too.
    lookup::Config { tracked_peer_sets: NZUsize!(3), ..config }
}
