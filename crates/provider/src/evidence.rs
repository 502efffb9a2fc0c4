//! Evidence of a batch, from what a node gives (`docs/spec/anchoring.md`, section 3). Nothing is kept unchecked.

use alloy_primitives::{B256, U256};
use alloy_sol_types::SolEvent as _;
use veracity_client::{RECEIPTS, Receipts};
use veracity_light::{
    AnchorError as Lies, Evidence, Finalization, Parts, Subject, VerifyError, merkle::Tree, verify,
};
use veracity_store::AnchoredBatch;

use crate::{AnchorError, Anchorer};

impl Anchorer {
    /// The evidence that the receipts of a batch have in common, without a path; nothing if nothing certifies its block
    /// yet. Linear in the size of the batch.
    pub(crate) fn make_evidence(&self, batch: u64) -> Result<Option<(AnchoredBatch, Vec<u8>)>, AnchorError> {
        let Receipts::Batch { root, first, count, height, .. } =
            self.receipts().batch(self.executor, batch)?;
        let anchored = AnchoredBatch { number: batch, first, count };
        let ids = self.parts.sequences.ids(first..first.saturating_add(count.into()))?;
        let other = AnchorError::OtherReceipts { batch };
        let (Some(tree), Some(id)) = (Tree::new(&ids), ids.first()) else { return Err(other) };
        if tree.root() != root.0 {
            return Err(other);
        }
        let chain = &self.parts.chain;
        let Some(finalization) = chain.finalization(height)? else { return Ok(None) };
        let certificate = Finalization::decode(&finalization.certificate)
            .map_err(|source| AnchorError::Certificate { batch, source })?;
        let topics = [Receipts::Anchored::SIGNATURE_HASH, self.executor, B256::from(U256::from(batch))];
        let not_shown = || AnchorError::NotShown { batch, height };
        let log = chain.logs_at(height, RECEIPTS, &topics)?.pop().ok_or_else(not_shown)?;
        let inclusion = chain.inclusion(log.transaction_hash)?.ok_or_else(not_shown)?;
        let mut parts = Parts {
            certificate,
            headers: finalization.headers.iter().map(|header| header.to_vec()).collect(),
            transaction_index: inclusion.index,
            nodes: inclusion.receipt_proof.iter().map(|node| node.to_vec()).collect(),
            log_index: 0,
            path: tree.path(0).unwrap_or_default(),
        };
        // The batch's root is that of the ids, so what holds for the first of them holds for all.
        let subject = Subject { executor: self.executor.0, sequence: first, receipt_id: *id };
        parts.log_index = self.find_log(batch, &parts, &subject)?;
        parts.path.clear();
        let evidence = make(batch, parts)?;
        Ok(Some((anchored, evidence.encode())))
    }

    /// The position of the batch's log among those of its transaction, all else being checked too.
    fn find_log(&self, batch: u64, parts: &Parts, subject: &Subject) -> Result<u64, AnchorError> {
        let mut log_index = 0;
        loop {
            let evidence = make(batch, Parts { log_index, ..parts.clone() })?;
            // Which log it is has to be found; that the block is final is checked once.
            match evidence.verify_anchor(subject) {
                Ok(_) => {
                    let refuted = |source| AnchorError::Refuted { batch, source };
                    let key = &self.parts.network_key;
                    verify(&evidence, subject, key).map_err(refuted)?;
                    // What is handed out is right in all its parts, also in this one, which nobody has to look at.
                    let seed = parts.certificate.seed().verify(key);
                    seed.map_err(|error| refuted(VerifyError::Finality(error.into())))?;
                    return Ok(log_index);
                }
                Err(
                    source @ (Lies::NoLog { .. }
                    | Lies::Header(_)
                    | Lies::Trie(_)
                    | Lies::Receipt(_)
                    | Lies::Reverted),
                ) => {
                    return Err(AnchorError::Refuted { batch, source: VerifyError::Anchor(source) });
                }
                Err(_) => log_index += 1,
            }
        }
    }
}

fn make(batch: u64, parts: Parts) -> Result<Evidence, AnchorError> {
    Evidence::new(parts).map_err(|source| AnchorError::Evidence { batch, source })
}
