//! Recording what a validator finalizes.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use alloy_primitives::B256;
use tokio::sync::watch;
use veracity_consensus::{Certificate, Finalized, Head};
use veracity_rpc::{Chain, Index, IndexError};
use veracity_validator::Events;

use crate::{Network, NodeError};

/// Records what a validator finalizes in the index of blocks, once that is open.
#[derive(Debug)]
pub(crate) struct Record {
    chain_id: u64,
    stage: watch::Sender<Stage>,
    /// An index that begins with the next block.
    index: Mutex<Option<Index>>,
    tip: AtomicU64,
}

#[derive(Debug, Clone)]
enum Stage {
    /// The state is not open yet.
    Waiting,
    /// The node has the state of others, and no block yet.
    Joining,
    Open(Arc<Chain>),
    /// The node does not start.
    GivenUp,
}

impl Record {
    pub(crate) fn new(chain_id: u64) -> Self {
        let (stage, index) = (watch::Sender::new(Stage::Waiting), Mutex::new(None));
        Self { chain_id, stage, index, tip: AtomicU64::new(0) }
    }

    /// Takes the index, given the head of the state: it goes on from there, or begins with the next block if it is empty
    /// and the state is that of others.
    pub(crate) fn open(&self, index: Index, network: &Network, head: &Head) -> Result<(), NodeError> {
        let height = head.header.number;
        let start = match index.block(height)? {
            Some(block) => block,
            None if height == 0 => {
                veracity_rpc::Finalized::empty(network.genesis().block().execution().as_ref().clone())
            }
            None if index.height().is_none() => {
                *self.index.lock().unwrap_or_else(PoisonError::into_inner) = Some(index);
                self.stage.send_replace(Stage::Joining);
                return Ok(());
            }
            None => return Err(NodeError::IndexBehind { height }),
        };
        let chain = Chain::open(index, self.chain_id, start, head.state.clone())?;
        self.stage.send_replace(Stage::Open(Arc::new(chain)));
        Ok(())
    }

    /// The chain, once it has a block; nothing if the node gives up before.
    pub(crate) async fn opened(&self) -> Option<Arc<Chain>> {
        let mut stage = self.stage.subscribe();
        let stage = stage.wait_for(|stage| matches!(stage, Stage::Open(_) | Stage::GivenUp)).await;
        match &*stage.ok()? {
            Stage::Open(chain) => Some(chain.clone()),
            _ => None,
        }
    }

    pub(crate) fn give_up(&self) {
        self.stage.send_replace(Stage::GivenUp);
    }

    /// The highest block that is known to be final.
    pub(crate) fn tip(&self) -> u64 {
        self.tip.load(Ordering::Relaxed)
    }

    /// Waits until the state is open.
    fn stage(&self) -> Stage {
        let mut stage = self.stage.subscribe();
        let decided = stage.wait_for(|stage| !matches!(stage, Stage::Waiting));
        futures::executor::block_on(decided).map_or(Stage::GivenUp, |stage| stage.clone())
    }

    fn append(&self, block: &Finalized) -> Result<(), IndexError> {
        let Finalized { block, executed } = block;
        let chain = match self.stage() {
            Stage::Open(chain) => chain,
            Stage::Joining => {
                let index = self.index.lock().unwrap_or_else(PoisonError::into_inner).take();
                let index =
                    index.expect("it was put here before anybody was told, and blocks come one by one");
                let (senders, receipts) = (executed.senders.clone(), executed.receipts.clone());
                let start = veracity_rpc::Finalized::new(block.execution().clone(), senders, receipts);
                let chain = Arc::new(Chain::open(index, self.chain_id, start, executed.state.clone())?);
                chain.flush()?;
                self.stage.send_replace(Stage::Open(chain));
                return Ok(());
            }
            // Not done, so that it is delivered again at the next start.
            Stage::Waiting | Stage::GivenUp => panic!("the node gave up before its index was open"),
        };
        chain.append(block.execution().clone(), executed.senders.clone(), executed)?;
        // What consensus counts as done it does not deliver again, so it must be on disk.
        chain.flush()
    }
}

impl Events for Record {
    fn finalized(&self, block: Finalized) {
        self.append(&block).unwrap_or_else(|error| panic!("a block could not be indexed: {error}"));
    }

    fn certified(&self, certificate: Certificate) {
        if let Stage::Open(chain) = self.stage()
            && let Err(error) = chain.certify(certificate.block, certificate.bytes.to_vec())
        {
            tracing::warn!(%error, "a certificate could not be indexed; a later one proves the block too");
        }
    }

    fn tip(&self, height: u64, _: B256) {
        self.tip.fetch_max(height, Ordering::Relaxed);
    }
}
