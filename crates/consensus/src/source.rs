//! Answering those who follow the chain without being peers.
//!
//! Whoever follows asks for four things, all of which it verifies itself: the latest finalization, a block, a finalization
//! with its block, and a range of the state log with its proof. They are answered here from what the node has anyway, one
//! task for all, so that strangers cannot take more of the node than that (docs/spec/following.md).

use std::sync::{Arc, OnceLock};

use alloy_primitives::B256;
use bytes::Bytes;
use commonware_codec::{DecodeExt as _, Encode as _};
use commonware_consensus::{BoundedBlock as _, marshal::Identifier, types::Height};
use commonware_cryptography::sha256;
use commonware_glue::stateful::db::p2p as state_resolver;
use commonware_macros::select;
use commonware_runtime::{Handle, Spawner};
use commonware_storage::{mmr, qmdb::sync::Request};
use commonware_utils::futures::Pool;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

use crate::{
    Marshal,
    block::{Block, Digest},
    database::{OPERATION_BYTES_MAX, SYNC_BATCH},
};

/// What a follower asks of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// The latest finalization. Whoever passes the question on may wait with it until the node has a block above this
    /// height.
    Latest {
        /// The height.
        above: u64,
    },
    /// The block with this hash.
    Block(B256),
    /// The finalization of the block at this height, and the block.
    Finalized(u64),
    /// A range of the state log with its proof; the range is in the codec of the consensus library.
    State(Bytes),
}

/// More than a finalization has.
const FINALIZATION_BYTES_MAX: usize = 512;

impl Question {
    /// Most bytes of an honest answer.
    #[must_use]
    pub fn answer_bytes_max(&self) -> usize {
        match self {
            Self::Latest { .. } => FINALIZATION_BYTES_MAX,
            Self::Block(_) => Block::max_encode_size(&()),
            Self::Finalized(_) => FINALIZATION_BYTES_MAX + Block::max_encode_size(&()),
            Self::State(_) => state_resolver::max_payload_size::<mmr::Family, sha256::Digest>(
                SYNC_BATCH,
                OPERATION_BYTES_MAX,
            ),
        }
    }
}

/// A node as those see it who follow it. Copies share it.
#[derive(Debug, Clone)]
pub struct Source(mpsc::Sender<Asked>);

/// Questions on their way to the node that answers them.
#[derive(Debug)]
pub struct Questions(mpsc::Receiver<Asked>);

type Asked = (Question, oneshot::Sender<Option<Bytes>>);

/// Why a question got no answer: the node has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the node has stopped")]
pub struct Gone;

/// Questions that wait for their turn; whoever asks more waits before.
const WAITING_MAX: usize = 64;
/// Questions that are answered at once.
const AT_ONCE: usize = 4;

impl Source {
    /// A node to ask, and where the questions come out.
    #[must_use]
    pub fn new() -> (Self, Questions) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        (Self(sender), Questions(receiver))
    }

    /// Asks; the answer is nothing if the node has not what is asked for.
    ///
    /// # Errors
    /// [`Gone`].
    pub async fn ask(&self, question: Question) -> Result<Option<Bytes>, Gone> {
        let (answer, answered) = oneshot::channel();
        self.0.send((question, answer)).await.map_err(|_| Gone)?;
        answered.await.map_err(|_| Gone)
    }
}

pub(crate) type StateRequest = Request<mmr::Family>;
type Answer = Box<dyn Fn(StateRequest) -> BoxFuture<'static, Option<Bytes>> + Send + Sync>;

/// The state log of this node, once it is open. Copies share it.
#[derive(Clone, Default)]
pub(crate) struct StateLog(Arc<OnceLock<Answer>>);

impl StateLog {
    /// Answers from an open log from now on.
    pub(crate) fn open(&self, answer: Answer) {
        // It is opened once in the life of a node.
        let _ = self.0.set(answer);
    }

    async fn range(&self, request: &Bytes) -> Option<Bytes> {
        let request = StateRequest::decode(request.clone()).ok()?;
        if request.max_ops() > SYNC_BATCH {
            return None;
        }
        self.0.get()?(request).await
    }
}

async fn answer(question: Question, marshal: Marshal, log: StateLog) -> Option<Bytes> {
    match question {
        Question::Latest { .. } => {
            let (height, _) = marshal.get_info(Identifier::Latest).await?;
            Some(marshal.get_finalization(height).await?.encode())
        }
        Question::Block(hash) => Some(marshal.get_block(&Digest(hash)).await?.inner().encode()),
        Question::Finalized(height) => {
            let finalization = marshal.get_finalization(Height::new(height)).await?;
            let block = marshal.get_block(Height::new(height)).await?;
            Some((finalization, block.inner().clone()).encode())
        }
        Question::State(request) => log.range(&request).await,
    }
}

/// Answers questions until the node stops.
pub(crate) fn serve<E: Spawner>(
    context: &E,
    mut questions: Questions,
    marshal: Marshal,
    log: StateLog,
) -> Handle<()> {
    context.child("source").spawn(move |_| async move {
        let mut answers = Pool::default();
        loop {
            if answers.len() >= AT_ONCE {
                answers.next_completed().await;
                continue;
            }
            select! {
                asked = questions.0.recv() => {
                    let Some((question, wanted)) = asked else {
                        // Nobody can ask any more.
                        return futures::future::pending().await;
                    };
                    let found = answer(question, marshal.clone(), log.clone());
                    answers.push(async move {
                        // Whoever asked may have gone.
                        let _ = wanted.send(found.await);
                    });
                },
                () = answers.next_completed() => {},
            }
        }
    })
}
