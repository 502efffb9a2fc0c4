//! Anchoring of receipts (`docs/spec/anchoring.md`).

use std::{collections::BTreeSet, fmt, sync::Arc};

use alloy_primitives::B256;
use veracity_client::{Account, Chain, ClientError, Receipts, RoleSet};
use veracity_light::{
    NetworkKey,
    merkle::{self, BATCH_RECEIPTS_MAX},
};
use veracity_receipt::ExecutorId;
use veracity_store::{AnchoredBatch, EvidenceLog, SequenceLog};

use crate::AnchorError;

/// How often a sequence that was anchored meanwhile is asked for again.
const CONTENDED_TRIES: u32 = 5;

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
    /// Batches below are done, or in `missing`.
    known: Option<u64>,
    /// Batches without evidence.
    missing: BTreeSet<u64>,
    /// A transaction that was sent and did not come into a block for a long time.
    sent: Option<B256>,
}

impl fmt::Debug for Anchorer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Anchorer").field("executor", &self.executor).field("missing", &self.missing).finish()
    }
}

/// What a tick did.
#[derive(Debug, Default)]
pub struct Tick {
    /// Batches that were anchored.
    pub anchored: Vec<AnchoredBatch>,
    /// Batches whose evidence is kept now.
    pub proven: Vec<AnchoredBatch>,
    /// Batches whose evidence was not made; the next tick tries again.
    pub failed: Vec<(u64, AnchorError)>,
}

impl Anchorer {
    /// An anchorer of the executor's receipts. Nothing is asked yet.
    #[must_use]
    pub fn new(parts: AnchorerParts) -> Self {
        let executor = B256::from(*parts.executor.as_bytes());
        Self { parts, executor, known: None, missing: BTreeSet::new(), sent: None }
    }

    /// Anchors what was issued and is not anchored, and keeps evidence of what is final. Blocks for as long as that takes.
    ///
    /// # Errors
    /// [`AnchorError`]; nothing is lost by it, and the next tick goes on from there. What fails for one batch is in
    /// [`Tick::failed`].
    pub fn tick(&mut self) -> Result<Tick, AnchorError> {
        let mut tick = Tick::default();
        let issued = self.parts.sequences.issued();
        let next = self.receipts().next_sequence(self.executor)?;
        if next > issued {
            return Err(AnchorError::Behind { anchored: next, issued });
        }
        self.look()?;
        if next < issued {
            self.check_node()?;
            self.check_sent()?;
            let anchored = self.anchor(next, issued, &mut tick);
            if let Err(AnchorError::Client(ClientError::NotFinal { hash, .. })) = &anchored {
                self.sent = Some(*hash);
            }
            anchored?;
            self.look()?;
        }
        self.prove(&mut tick)?;
        Ok(tick)
    }

    /// Batches that wait for their evidence.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.missing.len()
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

    /// While the network makes no blocks, one transaction waits and not one for each tick.
    fn check_sent(&mut self) -> Result<(), AnchorError> {
        match self.sent {
            Some(hash) if self.parts.chain.is_waiting(hash)? => Err(AnchorError::Waiting { hash }),
            _ => {
                self.sent = None;
                Ok(())
            }
        }
    }

    /// Anchors the receipts `next..issued`.
    fn anchor(&self, mut next: u64, issued: u64, tick: &mut Tick) -> Result<(), AnchorError> {
        let mut tries = 0;
        while next < issued {
            let end = issued.min(next.saturating_add(BATCH_RECEIPTS_MAX.into()));
            let ids = self.parts.sequences.ids(next..end)?;
            let count = u32::try_from(ids.len()).unwrap_or(BATCH_RECEIPTS_MAX);
            let root = B256::from(merkle::root(&ids).unwrap_or_default());
            match self.receipts().anchor(&self.parts.operator, self.executor, next, count, root) {
                Ok(sent) => {
                    let number = sent.logs.iter().find_map(|log| log.topics.get(2)).map_or(0, number);
                    tick.anchored.push(AnchoredBatch { number, first: next, count });
                    next = end;
                }
                // A transaction of a process before this one, or beside it, came first: nothing is anchored twice.
                Err(ClientError::Refused(refusal))
                    if refusal.decode::<Receipts::WrongSequence>().is_some() =>
                {
                    tries += 1;
                    if tries > CONTENDED_TRIES {
                        return Err(AnchorError::Contended);
                    }
                    next = self.receipts().next_sequence(self.executor)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Keeps evidence of all batches that have some.
    fn prove(&mut self, tick: &mut Tick) -> Result<(), AnchorError> {
        for batch in self.missing.clone() {
            match self.make_evidence(batch) {
                Ok(Some((anchored, evidence))) => {
                    self.parts.evidence.append(anchored, &evidence)?;
                    self.missing.remove(&batch);
                    tick.proven.push(anchored);
                }
                // Nothing certifies its block yet, nor one after it.
                Ok(None) => break,
                Err(error @ AnchorError::Client(ClientError::Unreachable { .. })) => return Err(error),
                Err(error) => tick.failed.push((batch, error)),
            }
        }
        if !tick.proven.is_empty() {
            self.parts.evidence.sync()?;
        }
        Ok(())
    }
}

/// A number that the contract keeps far below the limit.
fn number(word: &B256) -> u64 {
    let (_, low) = word.split_at(24);
    low.try_into().map_or(0, u64::from_be_bytes)
}
