//! Receipts with the evidence that they are anchored (`docs/spec/anchoring.md`, section 4).

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use veracity_light::{Evidence, Parts, merkle::Tree};
use veracity_receipt::Receipt;
use veracity_store::{AnchoredBatch, EvidenceLog, SequenceError, SequenceLog};

/// Joins receipts with the evidence of their batch.
#[derive(Debug, Default)]
pub(crate) struct Evidences {
    /// None until somebody anchors.
    log: OnceLock<Arc<EvidenceLog>>,
    /// Tree of the batch that was asked for last: to make one takes as long as the batch is.
    tree: Mutex<Option<(AnchoredBatch, Arc<Tree>)>>,
}

impl Evidences {
    /// Takes evidence from here from now on; the first call counts.
    pub(crate) fn open(&self, log: Arc<EvidenceLog>) {
        let _first = self.log.set(log);
    }

    /// The receipt with evidence, if there is some that fits. A receipt is as good without, so what fails here is logged.
    pub(crate) fn join(&self, sequences: &SequenceLog, receipt: Receipt) -> Receipt {
        match self.evidence(sequences, &receipt) {
            Ok(None) => receipt,
            Ok(evidence) => receipt.with_evidence(evidence),
            Err(error) => {
                tracing::warn!(receipt = %receipt.id(), %error, "gateway.evidence: a receipt is given without it");
                receipt
            }
        }
    }

    fn evidence(
        &self,
        sequences: &SequenceLog,
        receipt: &Receipt,
    ) -> Result<Option<Evidence>, SequenceError> {
        let (Some(log), Some(subject)) = (self.log.get(), receipt.subject()) else { return Ok(None) };
        let Some((batch, bytes)) = log.find(subject.sequence)? else { return Ok(None) };
        let Some(index) = batch.index(subject.sequence) else { return Ok(None) };
        let tree = self.tree(sequences, batch)?;
        let path =
            usize::try_from(index).ok().and_then(|index| tree.as_ref()?.path(index)).unwrap_or_default();
        let common = Evidence::decode(&bytes).ok().map(|evidence| evidence.parts().clone());
        let evidence = common.and_then(|common| Evidence::new(Parts { path, ..common }).ok());
        Ok(evidence.filter(|evidence| evidence.verify_anchor(&subject).is_ok()))
    }

    fn tree(
        &self,
        sequences: &SequenceLog,
        batch: AnchoredBatch,
    ) -> Result<Option<Arc<Tree>>, SequenceError> {
        // A replacement is one step, so a poisoned lock is still good.
        let mut kept = self.tree.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, tree)) = kept.as_ref().filter(|(of, _)| *of == batch) {
            return Ok(Some(Arc::clone(tree)));
        }
        let ids = sequences.ids(batch.first..batch.first.saturating_add(batch.count.into()))?;
        let tree = Tree::new(&ids).map(Arc::new);
        *kept = tree.clone().map(|tree| (batch, tree));
        Ok(tree)
    }
}
