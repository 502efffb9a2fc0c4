//! A founder's part in the ceremony on the network, threads and disks of the operating system.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use alloy_primitives::B256;
use commonware_codec::{Copying, DecodeExt as _, Encode as _};
use commonware_cryptography::{ChaCha20Poly1305, Signer as _, ed25519::PrivateKey};
use commonware_glue::dkg::network::AddressableManager;
use commonware_p2p::{Address, authenticated::lookup};
use commonware_runtime::{Runner as _, Strategizer as _, Supervisor as _, tokio as runtime};
use commonware_stream::{
    cups::{self, Cups},
    sake::{self, Sake},
};
use commonware_utils::{NZUsize, ordered::Map};
use tokio::sync::{oneshot, watch};
use veracity_consensus::{PublicKey, VALIDATORS_MAX};

use crate::{
    CHANNELS, Config, Failed, Outcome, Progress, Record, error::RecordError, message_bytes_max, quota, run,
};

/// The library's futures are large where they are not optimised. Memory is used only as far as a stack grows.
const STACK_BYTES: usize = 64 << 20;

/// What the founders made, in the library's encoding.
#[derive(Clone)]
pub struct Made {
    /// What the network begins with.
    pub epoch: Vec<u8>,
    /// This founder's share of the key, if it has one.
    pub share: Option<Vec<u8>>,
}

impl std::fmt::Debug for Made {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Made").finish_non_exhaustive()
    }
}

/// Keeps the outcome, on a thread that may block.
pub trait Recorder: Send + Sync + 'static {
    /// As [`Record::record`].
    ///
    /// # Errors
    /// Why it could not be kept.
    fn record(&self, made: Made) -> Result<(), RecordError>;
}

struct Blocking(Arc<dyn Recorder>);

impl Record for Blocking {
    async fn record(&self, outcome: Outcome) -> Result<(), RecordError> {
        let recorder = self.0.clone();
        let share = outcome.share.map(|share| share.encode().to_vec());
        let made = Made { epoch: outcome.info.encode().to_vec(), share };
        tokio::task::spawn_blocking(move || recorder.record(made)).await?
    }
}

/// A founder's part, and where.
#[derive(Clone)]
pub struct Options {
    /// The founder's key.
    pub signer: PrivateKey,
    /// All founders, and where they are reached.
    pub founders: Vec<(B256, SocketAddr)>,
    /// Hash of the plan.
    pub plan: B256,
    /// How many founders may be absent.
    pub absent_max: u32,
    /// Where it stores everything.
    pub folder: PathBuf,
    /// Where it listens for the others.
    pub listen: SocketAddr,
    /// Threads for the network and for computing.
    pub threads: NonZeroUsize,
    /// Whether others may have private addresses.
    pub allow_private: bool,
    /// Keeps the outcome.
    pub recorder: Arc<dyn Recorder>,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { founders, plan, folder, listen, .. } = self;
        let mut fields = f.debug_struct("Options");
        fields
            .field("founders", founders)
            .field("plan", plan)
            .field("folder", folder)
            .field("listen", listen);
        fields.finish_non_exhaustive()
    }
}

/// Why a ceremony did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A founder has no key.
    #[error("founder {founder} is no Ed25519 key")]
    NoKey {
        /// What was given as its key.
        founder: B256,
    },
    /// A founder is named twice.
    #[error("founder {founder} is named twice")]
    Twice {
        /// Its key.
        founder: B256,
    },
    /// The key is not one of the founders'.
    #[error("the node is none of the founders")]
    Stranger,
    /// There are more founders than an epoch may have validators.
    #[error("a network has at most {VALIDATORS_MAX} founders, not {count}")]
    TooMany {
        /// How many were given.
        count: usize,
    },
    /// A thread could not be started.
    #[error("a thread could not be started: {0}")]
    Thread(std::io::Error),
}

/// A running ceremony.
#[derive(Debug)]
pub struct Ceremony {
    progress: watch::Receiver<Option<Progress>>,
    stop: Option<oneshot::Sender<()>>,
    thread: JoinHandle<Result<(), Failed>>,
}

impl Ceremony {
    /// Takes part in a ceremony, on threads of its own.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(options: Options) -> Result<Self, StartError> {
        let founders = addresses(&options.founders)?;
        if founders.get_value(&options.signer.public_key()).is_none() {
            return Err(StartError::Stranger);
        }
        let (telling, progress) = watch::channel(None);
        let (stop, asked) = oneshot::channel();
        let work = move || {
            let config = runtime::Config::new()
                .with_worker_threads(options.threads.get())
                .with_thread_stack_size(STACK_BYTES)
                .with_tcp_nodelay(Some(true))
                .with_storage_directory(&options.folder);
            runtime::Runner::new(config).start(|context| async move {
                let (mut network, oracle) =
                    lookup::Network::new(context.child("network"), peer_config(&options, &founders));
                let channels = (0..CHANNELS).map(|number| network.register(number, quota(number))).collect();
                let _network = network.start();
                let config = Config {
                    signer: options.signer,
                    founders,
                    plan: options.plan,
                    absent_max: options.absent_max,
                    partition: "ceremony".to_owned(),
                    strategy: context.strategy(options.threads),
                    manager: AddressableManager::new(oracle.clone()),
                    blocker: oracle,
                    record: Blocking(options.recorder),
                };
                tokio::select! {
                    _ = asked => Err(Failed::Asked),
                    ended = Box::pin(run(&context, config, channels, &telling)) => ended,
                }
            })
        };
        let thread = std::thread::Builder::new().name("ceremony".into()).stack_size(STACK_BYTES).spawn(work);
        Ok(Self { progress, stop: Some(stop), thread: thread.map_err(StartError::Thread)? })
    }

    /// How far the founders are. It ends with the ceremony.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Option<Progress>> {
        self.progress.clone()
    }

    /// Ends the ceremony unless it has ended; says how. This may block.
    ///
    /// # Errors
    /// [`Failed`].
    pub fn stop(mut self) -> Result<(), Failed> {
        if let Some(stop) = self.stop.take() {
            // It may have ended already.
            let _ = stop.send(());
        }
        self.thread.join().unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(Failed::Panic(text.unwrap_or_else(|| "a part of the ceremony panicked".to_owned())))
        })
    }
}

fn addresses(founders: &[(B256, SocketAddr)]) -> Result<Map<PublicKey, Address>, StartError> {
    if founders.len() > usize::try_from(VALIDATORS_MAX.get()).unwrap_or(usize::MAX) {
        return Err(StartError::TooMany { count: founders.len() });
    }
    let mut addresses = BTreeMap::new();
    for (founder, address) in founders {
        let key = PublicKey::decode(Copying(founder.as_slice()));
        let key = key.map_err(|_| StartError::NoKey { founder: *founder })?;
        if addresses.insert(key, Address::Symmetric(*address)).is_some() {
            return Err(StartError::Twice { founder: *founder });
        }
    }
    Ok(Map::from_iter_dedup(addresses))
}

fn peer_config(
    options: &Options,
    founders: &Map<PublicKey, Address>,
) -> lookup::Config<Cups<Sake<PrivateKey>, ChaCha20Poly1305>> {
    let handshake = Sake {
        signer: options.signer.clone(),
        synchrony_bound: Duration::from_secs(5),
        max_handshake_age: Duration::from_secs(10),
        version: sake::Version::V1,
    };
    let handshake = Cups::new(handshake, cups::Version::V1);
    // Founders of another plan are no peers.
    let namespace = [b"veracity-founding-p2p-".as_slice(), options.plan.as_slice()].concat();
    let config = if options.allow_private { lookup::Config::local } else { lookup::Config::recommended };
    let count = u32::try_from(founders.len()).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
    let peers_max = NonZeroUsize::new(founders.len()).unwrap_or(NonZeroUsize::MIN);
    let config =
        config(handshake, &namespace, options.listen, peers_max, message_bytes_max(count), NZUsize!(1024));
    lookup::Config { tracked_peer_sets: NZUsize!(1), ..config }
}
