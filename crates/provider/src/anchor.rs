//! Anchoring of receipts (`docs/spec/anchoring.md`).

use std::{
    collections::{BTreeSet, VecDeque},
    fmt,
    sync::Arc,
};

use alloy_primitives::B256;
use veracity_client::{Account, Chain, ClientError, Outgoing, Receipts, RoleSet};
use veracity_light::{
    NetworkKey,
    merkle::{self, BATCH_RECEIPTS_MAX},
};
use veracity_receipt::ExecutorId;
use veracity_store::{AnchoredBatch, EvidenceLog, SequenceLog};

use crate::AnchorError;

/// How often a sequence that was anchored meanwhile is asked for again.
const CONTENDED_TRIES: u32 = 5;
/// Batches that get their evidence in one tick, at most.
const PROVEN_MAX: usize = 64;
/// Batches whose evidence could not be made that are tried again in one tick, at most. They take turns.
const RETRIED_MAX: usize = 8;

/// What an [`Anchorer`] works with.
#[derive(Debug)]
pub struct AnchorerParts {
    /// The network.
    pub chain: Chain,
    /// Whose evidence is believed.
    pub network_key: NetworkKey,
    /// Operator of the executor, who pays.
    pub operator: Account,
    /// Whose receipts they are.
    pub executor: ExecutorId,
    /// Their ids.
    pub sequences: Arc<SequenceLog>,
    /// Where evidence is kept.
    pub evidence: Arc<EvidenceLog>,
}

/// Anchors the receipts of one executor and keeps evidence of it. It has no clock: whoever calls [`Anchorer::tick`]
/// chooses the interval. All that it knows is on the chain and in the store, so it may end at any point.
pub struct Anchorer {
    pub(crate) parts: AnchorerParts,
    pub(crate) executor: B256,
    /// Batches below are done, or in `missing` or `failed`.
    known: Option<u64>,
    /// Batches without evidence that were not tried.
    missing: BTreeSet<u64>,
    /// Batches whose evidence could not be made, those first that were tried longest ago.
    failed: VecDeque<u64>,
    /// What was made to be sent, until it is in a block or cannot come into one any more.
    sending: Option<Sending>,
}

/// A transaction that anchors.
struct Sending {
    outgoing: Outgoing,
    first: u64,
    count: u32,
}

impl fmt::Debug for Anchorer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { executor, missing, failed, .. } = self;
        let mut fields = f.debug_struct("Anchorer");
        fields.field("executor", executor).field("missing", missing).field("failed", failed);
        fields.finish_non_exhaustive()
    }
}

/// What a tick did.
#[derive(Debug, Default)]
pub struct Tick {
    /// Batches that were anchored.
    pub anchored: Vec<AnchoredBatch>,
    /// Batches whose evidence is kept now.
    pub proven: Vec<AnchoredBatch>,
    /// Batches whose evidence was not made; a later tick tries again.
    pub failed: Vec<(u64, AnchorError)>,
}

impl Anchorer {
    /// An anchorer of the executor's receipts. Nothing is asked yet.
    #[must_use]
    pub fn new(parts: AnchorerParts) -> Self {
        let executor = B256::from(*parts.executor.as_bytes());
        let (missing, failed) = (BTreeSet::new(), VecDeque::new());
        Self { parts, executor, known: None, missing, failed, sending: None }
    }

    /// Anchors what was issued and is not anchored, and keeps evidence of what is final. Blocks for as long as that takes.
    ///
    /// # Errors
    /// [`AnchorError`]; nothing is lost by it, and the next tick goes on from there. What fails for one batch is in
    /// [`Tick::failed`].
    pub fn tick(&mut self) -> Result<Tick, AnchorError> {
        let mut tick = Tick::default();
        // Other processes issue receipts of this executor, too.
        let issued = self.parts.sequences.refresh()?;
        let next = self.receipts().next_sequence(self.executor)?;
        if next > issued {
            return Err(AnchorError::Behind { anchored: next, issued });
        }
        self.look()?;
        if self.sending.is_some() || next < issued {
            self.check_node()?;
            self.anchor(issued, &mut tick)?;
            self.look()?;
        }
        self.prove(&mut tick)?;
        Ok(tick)
    }

    /// Batches that wait for their evidence.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.missing.len() + self.failed.len()
    }

    pub(crate) fn receipts(&self) -> veracity_client::ReceiptsContract<'_> {
        self.parts.chain.receipts()
    }

    /// Takes notice of new batches. Those before the oldest whose evidence is kept had to make room.
    fn look(&mut self) -> Result<(), AnchorError> {
        let count = self.receipts().batch_count(self.executor)?;
        let evidence = &self.parts.evidence;
        let first = self.known.unwrap_or_else(|| evidence.oldest().unwrap_or(0));
        self.missing.extend((first..count).filter(|batch| !evidence.contains(*batch)));
        self.known = Some(count.max(first));
        Ok(())
    }

    fn check_node(&self) -> Result<(), AnchorError> {
        let (executor, account) = (self.executor, self.parts.operator.address());
        let stake = self.parts.chain.stake();
        let info = stake.node(executor)?.ok_or(AnchorError::NotRegistered { executor })?;
        if info.operator != account {
            return Err(AnchorError::OtherOperator { executor, operator: info.operator, account });
        }
        match stake.is_bonded(executor, RoleSet::WORKER)? {
            true => Ok(()),
            false => Err(AnchorError::NotBonded { executor }),
        }
    }

    /// Anchors the receipts below `issued`: first what an earlier tick sent and did not see in a block, so that one
    /// transaction waits and not one for each tick, then what is left.
    fn anchor(&mut self, issued: u64, tick: &mut Tick) -> Result<(), AnchorError> {
        let mut tries = 0;
        loop {
            if self.sending.is_none() {
                let next = self.receipts().next_sequence(self.executor)?;
                if next >= issued {
                    return Ok(());
                }
                let end = issued.min(next.saturating_add(BATCH_RECEIPTS_MAX.into()));
                self.sending = self.prepare(next, end)?;
            }
            // A transaction of a process before this one, or beside it, came first: nothing is anchored twice.
            if !self.send(tick)? {
                tries += 1;
                if tries > CONTENDED_TRIES {
                    return Err(AnchorError::Contended);
                }
            }
        }
    }

    /// Makes the transaction that anchors the receipts `first..end`; none if others are anchored in their place already.
    fn prepare(&self, first: u64, end: u64) -> Result<Option<Sending>, AnchorError> {
        let ids = self.parts.sequences.ids(first..end)?;
        let count = u32::try_from(ids.len()).unwrap_or(BATCH_RECEIPTS_MAX);
        let root = B256::from(merkle::root(&ids).unwrap_or_default());
        let made = self.receipts().prepare_anchor(&self.parts.operator, self.executor, first, count, root);
        match made {
            Ok(outgoing) => Ok(Some(Sending { outgoing, first, count })),
            Err(error) if is_taken(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends what was made, and waits until it is final; `false` if others were anchored in its place. It is kept as long as
    /// it may still come into a block.
    fn send(&mut self, tick: &mut Tick) -> Result<bool, AnchorError> {
        let Some(mut sending) = self.sending.take() else { return Ok(false) };
        let waited = sending.outgoing.hash();
        match self.parts.chain.settle(&self.parts.operator, &mut sending.outgoing) {
            Ok(sent) => {
                let number = sent.logs.iter().find_map(|log| log.topics.get(2)).map_or(0, number);
                tick.anchored.push(AnchoredBatch { number, first: sending.first, count: sending.count });
                Ok(true)
            }
            Err(error) if is_taken(&error) => Ok(false),
            Err(error @ (ClientError::NotFinal { .. } | ClientError::Unreachable { .. })) => {
                self.sending = Some(sending);
                match error {
                    ClientError::NotFinal { hash, .. } if waited.is_some() => {
                        Err(AnchorError::Waiting { hash })
                    }
                    error => Err(error.into()),
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Keeps evidence of batches that have some: of those that were not tried, the oldest first, and of some of those that
    /// failed, so that neither keeps the other waiting.
    fn prove(&mut self, tick: &mut Tick) -> Result<(), AnchorError> {
        let fresh: Vec<u64> = self.missing.iter().copied().take(PROVEN_MAX).collect();
        let n_retried = RETRIED_MAX.min(self.failed.len());
        for batch in fresh {
            // Nothing certifies its block yet, nor one after it.
            if !self.prove_one(batch, tick)? {
                break;
            }
            self.missing.remove(&batch);
        }
        for _ in 0..n_retried {
            let Some(batch) = self.failed.front().copied() else { break };
            let is_tried = self.prove_one(batch, tick)?;
            self.failed.pop_front();
            if !is_tried {
                self.failed.push_back(batch);
            }
        }
        if !tick.proven.is_empty() {
            self.parts.evidence.sync()?;
        }
        Ok(())
    }

    /// Keeps evidence of a batch, or puts it behind those that failed; `false` if there can be none yet.
    fn prove_one(&mut self, batch: u64, tick: &mut Tick) -> Result<bool, AnchorError> {
        match self.make_evidence(batch) {
            Ok(Some((anchored, evidence))) => {
                self.parts.evidence.append(anchored, &evidence)?;
                tick.proven.push(anchored);
            }
            Ok(None) => return Ok(false),
            Err(error @ AnchorError::Client(ClientError::Unreachable { .. })) => return Err(error),
            Err(error) => {
                self.failed.push_back(batch);
                tick.failed.push((batch, error));
            }
        }
        Ok(true)
    }
}

/// Whether the contract refuses because receipts are anchored in the place of these.
fn is_taken(error: &ClientError) -> bool {
    matches!(error, ClientError::Refused(refusal) if refusal.decode::<Receipts::WrongSequence>().is_some())
}

/// A number that the contract keeps far below the limit.
fn number(word: &B256) -> u64 {
    let (_, low) = word.split_at(24);
    low.try_into().map_or(0, u64::from_be_bytes)
}
