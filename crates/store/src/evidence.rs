//! Evidence of anchored batches (specification, section 8).

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{ReceiptLimits, ReceiptLog, ReceiptLogError, Store, StoreError, receipts::Place};

const FOLDER_CONTEXT: &str = "veracity evidence folder v1";
const BATCH_CONTEXT: &str = "veracity evidence batch v1";
const REMEDY: &str = "delete the folder; the node makes the evidence again from the chain";
const HEAD_BYTES: usize = 20;

/// A batch of receipts that was anchored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnchoredBatch {
    /// Its number among those of the executor.
    pub number: u64,
    /// Sequence of its first receipt.
    pub first: u64,
    /// Number of receipts.
    pub count: u32,
}

impl AnchoredBatch {
    /// The place of a sequence in the batch, if it is in there.
    #[must_use]
    pub fn index(&self, sequence: u64) -> Option<u32> {
        let index = u32::try_from(sequence.checked_sub(self.first)?).ok()?;
        (index < self.count).then_some(index)
    }
}

/// Evidence for the batches of one executor on one network: what their receipts have in common. What it holds is opaque here.
/// One process at a time appends; any thread may read.
#[derive(Debug)]
pub struct EvidenceLog {
    log: ReceiptLog,
    executor: [u8; 32],
    /// By first sequence. Batches whose evidence was deleted for lack of room may still be here.
    batches: Mutex<BTreeMap<u64, AnchoredBatch>>,
}

impl Store {
    /// Opens the evidence for an executor's receipts on the network with this key.
    ///
    /// # Errors
    /// [`ReceiptLogError::InUse`] if another process has it open, [`ReceiptLogError::Store`] if the disk fails.
    pub fn evidence_log(
        &self,
        executor: &[u8; 32],
        network_key: &[u8],
        limits: ReceiptLimits,
    ) -> Result<EvidenceLog, ReceiptLogError> {
        let parent = self.root().join("evidence");
        let name =
            blake3::Hasher::new_derive_key(FOLDER_CONTEXT).update(executor).update(network_key).finalize();
        let dir = parent.join(name.to_hex().as_str());
        {
            let _lock = self.exclusive()?;
            for (folder, around) in [(&parent, self.root()), (&dir, parent.as_path())] {
                self.disk.ensure_dir(folder)?;
                self.disk.sync_dir(around)?;
            }
        }
        let log = ReceiptLog::open(Place { dir, remedy: REMEDY }, limits)?;
        let mut batches = BTreeMap::new();
        for id in log.ids() {
            let found = log.get(&id)?.as_deref().and_then(decode).map(|(batch, _)| batch);
            batches.extend(found.map(|batch| (batch.first, batch)));
        }
        Ok(EvidenceLog { log, executor: *executor, batches: Mutex::new(batches) })
    }
}

impl EvidenceLog {
    /// Keeps the evidence of a batch. When it returns, the evidence survives the end of this process; [`EvidenceLog::sync`]
    /// makes it survive power loss. A batch that is there already is not written again.
    ///
    /// # Errors
    /// As [`ReceiptLog::append`].
    pub fn append(&self, batch: AnchoredBatch, evidence: &[u8]) -> Result<(), ReceiptLogError> {
        self.log.append(&self.id(batch.number), &encode(batch, evidence))?;
        let mut batches = self.batches();
        batches.insert(batch.first, batch);
        // Those that had to make room are the oldest.
        while let Some(oldest) =
            batches.first_entry().filter(|e| !self.log.contains(&self.id(e.get().number)))
        {
            oldest.remove();
        }
        Ok(())
    }

    /// The batch with a sequence and its evidence, if it is kept.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`], [`StoreError::Io`].
    pub fn find(&self, sequence: u64) -> Result<Option<(AnchoredBatch, Vec<u8>)>, StoreError> {
        let below = self.batches().range(..=sequence).next_back().map(|(_, batch)| *batch);
        let Some(batch) = below.filter(|batch| batch.index(sequence).is_some()) else { return Ok(None) };
        let record = self.log.get(&self.id(batch.number))?;
        Ok(record.as_deref().and_then(decode).map(|(batch, evidence)| (batch, evidence.to_vec())))
    }

    /// Whether the evidence of a batch is kept.
    #[must_use]
    pub fn contains(&self, number: u64) -> bool {
        self.log.contains(&self.id(number))
    }

    /// Number of the oldest batch that is kept. Evidence of older ones was deleted for lack of room.
    #[must_use]
    pub fn oldest(&self) -> Option<u64> {
        self.batches().first_key_value().map(|(_, batch)| batch.number)
    }

    /// Makes all evidence survive power loss.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn sync(&self) -> Result<(), StoreError> {
        self.log.sync()
    }

    fn id(&self, number: u64) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key(BATCH_CONTEXT);
        *hasher.update(&self.executor).update(&number.to_le_bytes()).finalize().as_bytes()
    }

    /// An insertion is one step, so a poisoned lock is still good.
    fn batches(&self) -> MutexGuard<'_, BTreeMap<u64, AnchoredBatch>> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn encode(batch: AnchoredBatch, evidence: &[u8]) -> Vec<u8> {
    let AnchoredBatch { number, first, count } = batch;
    [&number.to_le_bytes()[..], &first.to_le_bytes(), &count.to_le_bytes(), evidence].concat()
}

fn decode(record: &[u8]) -> Option<(AnchoredBatch, &[u8])> {
    let (head, evidence) = record.split_first_chunk::<HEAD_BYTES>()?;
    let (number, rest) = head.split_first_chunk::<8>()?;
    let (first, count) = rest.split_first_chunk::<8>()?;
    let batch = AnchoredBatch {
        number: u64::from_le_bytes(*number),
        first: u64::from_le_bytes(*first),
        count: u32::from_le_bytes(count.try_into().ok()?),
    };
    Some((batch, evidence))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const EXECUTOR: [u8; 32] = [4; 32];
    const KEY: [u8; 96] = [5; 96];

    fn batch(number: u64) -> AnchoredBatch {
        AnchoredBatch { number, first: number * 10, count: 10 }
    }

    fn open(store: &Store) -> EvidenceLog {
        store.evidence_log(&EXECUTOR, &KEY, ReceiptLimits::default()).unwrap()
    }

    #[test]
    fn evidence_is_found_by_any_sequence_of_its_batch() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let log = open(&store);
        for number in [0, 2] {
            log.append(batch(number), &[u8::try_from(number).unwrap(); 7]).unwrap();
            // Once is enough.
            log.append(batch(number), b"other").unwrap();
        }
        assert!(matches!(
            store.evidence_log(&EXECUTOR, &KEY, ReceiptLimits::default()),
            Err(ReceiptLogError::InUse { .. })
        ));
        log.sync().unwrap();
        drop(log);
        let log = open(&store);
        for (sequence, number) in
            [(0, Some(0)), (9, Some(0)), (10, None), (19, None), (20, Some(2)), (29, Some(2)), (30, None)]
        {
            let found = log.find(sequence).unwrap();
            let expected = number.map(|n| (batch(n), vec![u8::try_from(n).unwrap(); 7]));
            assert_eq!(found, expected, "{sequence}");
        }
        assert_eq!((log.contains(1), log.contains(2), log.oldest()), (false, true, Some(0)));
        // Another network, or another executor, has its own.
        assert!(!store.evidence_log(&EXECUTOR, &[6; 96], ReceiptLimits::default()).unwrap().contains(0));
        assert!(!store.evidence_log(&[7; 32], &KEY, ReceiptLimits::default()).unwrap().contains(0));
    }

    #[test]
    fn the_oldest_evidence_makes_room() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let limits = ReceiptLimits { count_max: 32, ..ReceiptLimits::default() };
        let log = store.evidence_log(&EXECUTOR, &KEY, limits).unwrap();
        for number in 0..100 {
            log.append(batch(number), b"evidence").unwrap();
        }
        let oldest = log.oldest().unwrap();
        assert!((60..100).contains(&oldest), "{oldest}");
        assert_eq!(log.find(batch(oldest - 1).first).unwrap(), None);
        assert!(log.find(batch(oldest).first).unwrap().is_some());
    }

    /// The process ends, or power is lost, at any byte of a write: what was whole before is there, what was not is
    /// not, and is written again.
    #[test]
    fn a_cut_at_any_byte_loses_only_what_was_being_written() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let log = open(&store);
        log.append(batch(0), b"first").unwrap();
        let segment = log.segment();
        let whole = fs::read(&segment).unwrap().len();
        log.append(batch(1), b"second").unwrap();
        drop(log);
        let bytes = fs::read(&segment).unwrap();
        for end in whole..=bytes.len() {
            fs::write(&segment, &bytes[..end]).unwrap();
            let log = open(&store);
            assert_eq!(log.find(5).unwrap(), Some((batch(0), b"first".to_vec())), "{end}");
            let second = (end == bytes.len()).then(|| (batch(1), b"second".to_vec()));
            assert_eq!(log.find(15).unwrap(), second, "{end}");
            log.append(batch(1), b"second").unwrap();
            assert_eq!(log.find(15).unwrap(), Some((batch(1), b"second".to_vec())), "{end}");
        }
    }

    impl EvidenceLog {
        fn segment(&self) -> std::path::PathBuf {
            self.log.dir().join("0000000000000000.log")
        }
    }
}
