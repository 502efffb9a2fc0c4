//! A node: a validator, an index of what it finalized, and the server that answers from it.

use std::{
    net::{SocketAddr, TcpListener},
    num::NonZeroUsize,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use alloy_primitives::{Address, U64};
use veracity_chain::PoolLimits;
use veracity_client::ClientError;
use veracity_consensus::{Head, Timing, Upstream, UpstreamStatus, Upstreams};
use veracity_rpc::{
    Chain, ComingCommittee, CommitteeMember, Config as RpcConfig, EpochStatus, Index, IndexError, ServeError,
    Server, Services, serve,
};
use veracity_validator::{
    Contact, EpochView, FollowOptions, Member, Options, StartError, Stopped, Validator,
};

use crate::{
    Folder, FolderError, Network,
    follow::Followed,
    pool::PoolView,
    record::Record,
    upstream::{ANSWER_TIMEOUT, RpcUpstream},
};

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
    /// Whom it asks where to join, and finds others through, beside those that its folder names.
    pub bootstrap: Vec<Contact>,
    /// Whether peers may have private addresses.
    pub allow_private: bool,
}

/// How a follower runs.
#[derive(Debug, Clone)]
pub struct FollowerOptions {
    /// Its folder.
    pub folder: Folder,
    /// Where and how it serves JSON-RPC.
    pub rpc: RpcConfig,
    /// Threads for following.
    pub threads: NonZeroUsize,
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
    /// It cannot listen for peers.
    #[error(
        "cannot listen for peers at {listen}: {source}; if this node runs already, leave it; else choose an address of \
         this machine with a free port (behind NAT 0.0.0.0 and the port that is passed on)"
    )]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A follower has nobody to follow.
    #[error("follower.json names no upstream: give the JSON-RPC of at least one node of the network")]
    NoUpstream,
    /// Everybody whom a follower follows lies.
    #[error(
        "no upstream is left to follow: {lies}. They may be of another network: name others in follower.json"
    )]
    Lies {
        /// Who, and how.
        lies: String,
    },
    /// What it should follow is no URL.
    #[error(transparent)]
    Upstream(#[from] ClientError),
    /// The server did not start.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The validator stopped before the node could serve.
    #[error(
        "the node stopped while it started: {0}. If the disk is full, make room; if a file is damaged, restore the whole \
         folder from a backup, or remove consensus and index.redb from it and join the network again"
    )]
    Stopped(Stopped),
}

/// A running node.
#[derive(Debug)]
pub struct Node {
    network: Network,
    validator: Validator,
    chain: Arc<Chain>,
    server: Server,
    record: Arc<Record>,
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

/// The head, once the state is open and has this height; nothing if the validator stops before.
async fn reached(validator: &Validator, height: u64) -> Option<Head> {
    let mut heads = validator.heads();
    let is_there = |head: &Option<Head>| head.as_ref().is_some_and(|head| head.header.number >= height);
    tokio::select! {
        head = heads.wait_for(is_there) => head.ok().and_then(|head| head.clone()),
        () = validator.ended() => None,
    }
}

/// Resolves when there is no upstream left that did not lie; says how each did.
async fn all_lie(upstreams: &Upstreams) -> String {
    loop {
        let lie = |status: UpstreamStatus| Some(format!("{}: {}", status.name, status.lie?));
        let lies: Option<Vec<String>> = upstreams.status().into_iter().map(lie).collect();
        if let Some(lies) = lies {
            return lies.join("; ");
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// The index of a node that joined. If it stopped while it joined, it may have begun anew with a later state, and then so
/// does the index: it holds nothing that others do not have.
fn continued(index: Index, folder: &Folder, network: &Network, head: &Head) -> Result<Index, NodeError> {
    let height = head.header.number;
    let Some(last) = index.height() else { return Ok(index) };
    if height == 0 || index.block(height)?.is_some() {
        return Ok(index);
    }
    tracing::warn!(last, height, "the index begins anew: the node stopped while it joined");
    drop(index);
    let path = folder.index();
    std::fs::remove_file(&path).map_err(|source| FolderError::Io { path: path.clone(), source })?;
    Ok(Index::open(&path, network.chain_id())?)
}

/// What is told of an epoch.
fn epoch_status(view: EpochView) -> EpochStatus {
    let member = |member: Member| CommitteeMember {
        node: member.key.into(),
        address: member.address.map(|a| a.to_string()),
    };
    let members = |members: Vec<Member>| members.into_iter().map(member).collect::<Vec<_>>();
    let later = (view.epoch + 1..).map(U64::from);
    let coming = later.zip(view.coming);
    EpochStatus {
        epoch: U64::from(view.epoch),
        first_block: U64::from(view.first),
        last_block: U64::from(view.last),
        committee: members(view.committee),
        coming: coming.map(|(epoch, nodes)| ComingCommittee { epoch, nodes: members(nodes) }).collect(),
        failed_epochs: U64::from(view.failures),
        signs: view.has_share,
    }
}

/// Stops a validator whose node does not start; says why it had stopped.
async fn give_up(validator: Validator, record: &Record) -> Stopped {
    // Whoever waits for the index must not keep the validator from ending.
    record.give_up();
    let stopped = tokio::task::spawn_blocking(move || validator.stop()).await;
    stopped.unwrap_or(Stopped::Ended)
}

impl Node {
    /// Starts a node, on the tokio runtime of the caller and threads of its own.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn start(options: NodeOptions) -> Result<Self, NodeError> {
        let NodeOptions { folder, listen, rpc, beneficiary, threads, bootstrap, allow_private } = options;
        let network = folder.network()?;
        let config = folder.config()?;
        // The library would stop with a panic.
        TcpListener::bind(listen).map_err(|source| NodeError::Listen { listen, source })?;
        let index = Index::open(&folder.index(), network.chain_id())?;
        let record = Arc::new(Record::new(network.chain_id()));
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
            bootstrap: [bootstrap, config.bootstrap].concat(),
            allow_private,
            sync: config.join,
            events: record.clone(),
        })?;
        let Some(head) = reached(&validator, 0).await else {
            return Err(NodeError::Stopped(give_up(validator, &record).await));
        };
        // The share is stored where it is pruned when its epoch is over.
        folder.forget_share()?;
        let index = if config.join { continued(index, &folder, &network, &head)? } else { index };
        Self::open(network, validator, record, index, &head, rpc).await
    }

    /// Starts a follower, on the tokio runtime of the caller and threads of its own. Without a state it waits until an
    /// upstream gives it one to begin with, and then for the next block.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn follow(options: FollowerOptions) -> Result<Self, NodeError> {
        let FollowerOptions { folder, rpc, threads } = options;
        let network = folder.network()?;
        let config = folder.follower_config()?;
        let upstreams = config.upstreams.iter().map(|url| {
            let upstream = RpcUpstream::new(url)?;
            Ok(Arc::new(upstream) as Arc<dyn Upstream>)
        });
        let upstreams = upstreams.collect::<Result<Vec<_>, ClientError>>()?;
        if upstreams.is_empty() {
            return Err(NodeError::NoUpstream);
        }
        let index = Index::open(&folder.index(), network.chain_id())?;
        let record = Arc::new(Record::new(network.chain_id()));
        let upstreams = Upstreams::new(upstreams, ANSWER_TIMEOUT);
        let validator = Validator::follow(FollowOptions {
            genesis: network.genesis().clone(),
            epoch_blocks: network.epoch_blocks(),
            folder: folder.consensus(),
            upstreams: upstreams.clone(),
            pool: limits(&network),
            threads,
            events: record.clone(),
        })?;
        let head = tokio::select! {
            head = reached(&validator, 0) => head,
            lies = all_lie(&upstreams) => {
                give_up(validator, &record).await;
                return Err(NodeError::Lies { lies });
            }
        };
        let Some(head) = head else {
            return Err(NodeError::Stopped(give_up(validator, &record).await));
        };
        let index = continued(index, &folder, &network, &head)?;
        Self::open(network, validator, record, index, &head, rpc).await
    }

    /// Serves, once the index has what it had and a block at least.
    async fn open(
        network: Network,
        validator: Validator,
        record: Arc<Record>,
        index: Index,
        head: &Head,
        rpc: RpcConfig,
    ) -> Result<Self, NodeError> {
        let indexed = index.height().unwrap_or(0);
        record.open(index, &network, head)?;
        // Blocks that were served before are delivered again, and nobody should miss them meanwhile.
        let Some(_) = reached(&validator, indexed).await else {
            return Err(NodeError::Stopped(give_up(validator, &record).await));
        };
        let Some(chain) = record.opened().await else {
            return Err(NodeError::Stopped(give_up(validator, &record).await));
        };
        let peers = validator.peers();
        let (tip, epochs) = (record.clone(), validator.epochs());
        let services = Services {
            chain: chain.clone(),
            pool: Arc::new(PoolView { pool: validator.pool().clone(), heads: validator.heads() }),
            peers: Arc::new(move || peers.load(Ordering::Relaxed)),
            tip: Arc::new(move || tip.tip()),
            epoch: Arc::new(move || epochs().map(epoch_status)),
            network_key: Some(network.key().to_vec().into()),
            follow: Some(Arc::new(Followed(validator.source()))),
        };
        let server = serve(rpc, services).await?;
        // Who asks a node that makes no more blocks should learn so at once, and not wait for a block.
        server.stop_after(validator.ended());
        Ok(Self { network, validator, chain, server, record })
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
        self.record.tip()
    }

    /// Resolves when the node has stopped by itself, which it does not do for a good reason.
    pub async fn ended(&self) {
        self.validator.ended().await;
    }

    /// Whether the node has stopped by itself.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.validator.has_ended()
    }

    /// Stops the node; says why it had stopped, if it had.
    pub async fn stop(self) -> Stopped {
        let Self { validator, server, .. } = self;
        server.stop().await;
        let stopped = tokio::task::spawn_blocking(move || validator.stop()).await;
        stopped.unwrap_or(Stopped::Ended)
    }
}
