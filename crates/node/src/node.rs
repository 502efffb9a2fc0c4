//! A node: a validator, an index of what it finalized, and the server that answers from it.

use std::{
    net::SocketAddr,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use alloy_primitives::{Address, B256};
use tokio::sync::watch;
use veracity_chain::PoolLimits;
use veracity_consensus::{Certificate, Finalized, Timing};
use veracity_rpc::{Chain, Config as RpcConfig, Index, IndexError, ServeError, Server, Services, serve};
use veracity_validator::{Events, Options, StartError, Stopped, Validator};

use crate::{Folder, FolderError, Network, pool::PoolView};

/// How a node runs.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    /// Its folder.
    pub folder: Folder,
    /// Where it listens for peers.
    pub listen: SocketAddr,
    /// Where and how it serves JSON-RPC.
    pub rpc: RpcConfig,
    /// Who receives the tips of its blocks.
    pub beneficiary: Address,
    /// Threads for consensus.
    pub threads: NonZeroUsize,
    /// Whether peers may have private addresses.
    pub allow_private: bool,
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// Its folder is not right.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The validator did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The index of blocks is not right.
    #[error("the index of blocks: {0}")]
    Index(#[from] IndexError),
    /// The index lacks a block that consensus has done with.
    #[error(
        "the index lacks block {height}, which consensus has: they are not from the same time. Restore the whole folder \
         from a backup"
    )]
    IndexBehind {
        /// Height of the block.
        height: u64,
    },
    /// The server did not start.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The validator stopped before its state was open.
    #[error("the validator stopped while it opened its state: {0}")]
    Stopped(Stopped),
}

/// A running node.
#[derive(Debug)]
pub struct Node {
    network: Network,
    validator: Validator,
    chain: Arc<Chain>,
    server: Server,
    tip: Arc<AtomicU64>,
}

/// Records what a validator finalizes.
#[derive(Debug)]
struct Record {
    /// The index, when it is open.
    chain: watch::Receiver<Option<Arc<Chain>>>,
    tip: Arc<AtomicU64>,
}

impl Record {
    /// The index; waits until it is open. Nothing if the node gave up before.
    fn chain(&self) -> Option<Arc<Chain>> {
        let mut chain = self.chain.clone();
        let open = chain.wait_for(Option::is_some);
        futures::executor::block_on(open).ok().and_then(|chain| chain.clone())
    }
}

impl Events for Record {
    fn finalized(&self, block: Finalized) {
        // Not done, so that it is delivered again at the next start.
        let chain = self.chain().expect("the node gave up before its index was open");
        let senders = block.executed.senders.clone();
        let appended = chain.append(block.block.execution().clone(), senders, &block.executed);
        // What consensus counts as done it does not deliver again, so it must be on disk.
        let done = appended.and_then(|()| chain.flush());
        done.unwrap_or_else(|error| panic!("a block could not be indexed: {error}"));
    }

    fn certified(&self, certificate: Certificate) {
        if let Some(chain) = self.chain()
            && let Err(error) = chain.certify(certificate.block, certificate.bytes.to_vec())
        {
            tracing::warn!(%error, "a certificate could not be indexed; a later one proves the block too");
        }
    }

    fn tip(&self, height: u64, _: B256) {
        self.tip.fetch_max(height, Ordering::Relaxed);
    }
}

/// Most gas of one transaction that a node passes on, the least that a block of any network has room for. One that takes
/// as long as a round would be tried by each leader in turn, and never be paid for.
const TRANSACTION_GAS_MAX: u64 = 30_000_000;

/// What the pool of a node accepts.
fn limits(network: &Network) -> PoolLimits {
    PoolLimits {
        chain_id: network.chain_id(),
        transactions_max: 100_000,
        per_sender_max: 4096,
        transaction_bytes_max: 128 << 10,
        gas_max: TRANSACTION_GAS_MAX,
        fee_min: 1,
    }
}

impl Node {
    /// Starts a node, on the tokio runtime of the caller and threads of its own.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn start(options: NodeOptions) -> Result<Self, NodeError> {
        let NodeOptions { folder, listen, rpc, beneficiary, threads, allow_private } = options;
        let network = folder.network()?;
        let index = Index::open(&folder.index(), network.chain_id())?;
        let (opened, chain) = watch::channel(None);
        let tip = Arc::new(AtomicU64::new(0));
        let heartbeat = network.heartbeat();
        let timing = Timing {
            heartbeat,
            leader: heartbeat + Duration::from_millis(1500),
            certification: heartbeat + Duration::from_secs(3),
            ..Timing::default()
        };
        let validator = Validator::start(Options {
            genesis: network.genesis().clone(),
            epoch: network.epoch().clone(),
            epoch_blocks: network.epoch_blocks(),
            identity: folder.identity()?,
            share: folder.share()?,
            folder: folder.consensus(),
            listen,
            beneficiary,
            pool: limits(&network),
            timing,
            threads,
            allow_private,
            sync: false,
            events: Arc::new(Record { chain, tip: tip.clone() }),
        })?;
        let mut heads = validator.heads();
        let head = tokio::select! {
            head = heads.wait_for(Option::is_some) => head.ok().and_then(|head| head.clone()),
            () = validator.ended() => None,
        };
        let Some(head) = head else {
            // Whoever waits for the index must not keep the validator from ending.
            drop(opened);
            let stopped = tokio::task::spawn_blocking(move || validator.stop()).await;
            return Err(NodeError::Stopped(stopped.unwrap_or(Stopped::Ended)));
        };
        // The share is stored where it is pruned when its epoch is over.
        folder.forget_share()?;
        let height = head.header.number;
        let start = match index.block(height)? {
            Some(block) => block,
            None if height == 0 => {
                veracity_rpc::Finalized::empty(network.genesis().block().execution().as_ref().clone())
            }
            None => return Err(NodeError::IndexBehind { height }),
        };
        let chain = Arc::new(Chain::open(index, network.chain_id(), start, head.state)?);
        opened.send_replace(Some(chain.clone()));
        let services = Services {
            chain: chain.clone(),
            pool: Arc::new(PoolView { pool: validator.pool().clone(), heads: validator.heads() }),
            peers: Arc::new(|| 0),
            network_key: Some(network.key().to_vec().into()),
        };
        let server = serve(rpc, services).await?;
        Ok(Self { network, validator, chain, server, tip })
    }

    /// The network that it belongs to.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Where it serves JSON-RPC.
    #[must_use]
    pub fn rpc_address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The chain as it is.
    #[must_use]
    pub fn chain(&self) -> &Arc<Chain> {
        &self.chain
    }

    /// The highest block that is known to be final.
    #[must_use]
    pub fn tip(&self) -> u64 {
        self.tip.load(Ordering::Relaxed)
    }

    /// Resolves when the node has stopped by itself, which it does not do for a good reason.
    pub async fn ended(&self) {
        self.validator.ended().await;
    }

    /// Stops the node; says why it had stopped, if it had.
    pub async fn stop(self) -> Stopped {
        let Self { validator, server, .. } = self;
        server.stop().await;
        let stopped = tokio::task::spawn_blocking(move || validator.stop()).await;
        stopped.unwrap_or(Stopped::Ended)
    }
}
