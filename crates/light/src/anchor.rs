//! From a header to a receipt id (specification, sections 5 to 7).

use crate::{
    AnchorError, BlockHash, RlpError,
    hash::keccak256,
    header::Header,
    merkle::{self, BATCH_RECEIPTS_MAX},
    rlp::{self, Reader},
    trie,
};

/// Address of the contract that anchors receipts (`docs/spec/contracts.md`, section 1).
pub const RECEIPTS_CONTRACT: [u8; 20] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x5e, 0x04];

const ANCHORED: &[u8] = b"Anchored(bytes32,uint256,uint64,uint32,bytes32)";
const BLOOM_BYTES: usize = 256;

/// What evidence is held against: it all comes from the receipt, nothing from the evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Ed25519 key of the executor, which is its node id.
    pub executor: [u8; 32],
    /// Number of the receipt among those of the executor.
    pub sequence: u64,
    /// Id of the receipt.
    pub receipt_id: [u8; 32],
}

/// Where a receipt is anchored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// The block. Whether it is final, [`FinalBlock`](crate::FinalBlock) says.
    pub block: BlockHash,
    /// Its number.
    pub height: u64,
    /// Its timestamp, Unix seconds.
    pub time: u64,
    /// Number of the batch among those of the executor.
    pub batch: u64,
    /// Place of the receipt in the batch.
    pub index: u64,
}

/// The parts of an evidence between header and receipt id.
pub(crate) struct Inclusion<'a> {
    pub(crate) header: &'a [u8],
    pub(crate) transaction_index: u64,
    pub(crate) nodes: &'a [Vec<u8>],
    pub(crate) log_index: u64,
    pub(crate) path: &'a [[u8; 32]],
}

pub(crate) fn verify(inclusion: &Inclusion<'_>, subject: &Subject) -> Result<Anchor, AnchorError> {
    let header = Header::decode(inclusion.header).map_err(AnchorError::Header)?;
    let key = rlp::encode_number(inclusion.transaction_index);
    let receipt = trie::value(header.receipts_root, &key, inclusion.nodes)?;
    let log = find_log(receipt, inclusion.log_index)?;
    let batch = Batch::of(&log, subject)?;
    let outside =
        || AnchorError::OtherBatch { sequence: subject.sequence, first: batch.first, count: batch.count };
    let index = subject.sequence.checked_sub(batch.first).ok_or_else(outside)?;
    if index >= u64::from(batch.count) {
        return Err(outside());
    }
    if !merkle::is_included(&subject.receipt_id, index, u64::from(batch.count), inclusion.path, &batch.root) {
        return Err(AnchorError::NotIncluded { sequence: subject.sequence, batch: batch.number, index });
    }
    Ok(Anchor {
        block: BlockHash::of(inclusion.header),
        height: header.height,
        time: header.time,
        batch: batch.number,
        index,
    })
}

/// An Ethereum log.
struct Log<'a> {
    address: [u8; 20],
    topics: Vec<[u8; 32]>,
    data: &'a [u8],
}

/// Log `index` of an Ethereum receipt.
fn find_log(receipt: &[u8], index: u64) -> Result<Log<'_>, AnchorError> {
    let (succeeded, mut logs) = split_receipt(receipt).map_err(AnchorError::Receipt)?;
    if !succeeded {
        return Err(AnchorError::Reverted);
    }
    for found in 0_u64.. {
        if logs.is_empty() {
            return Err(AnchorError::NoLog { index, found });
        }
        if found == index {
            break;
        }
        logs.skip().map_err(AnchorError::Receipt)?;
    }
    decode_log(&mut logs).map_err(AnchorError::Receipt)
}

/// Whether the transaction succeeded, and its logs.
fn split_receipt(receipt: &[u8]) -> Result<(bool, Reader<'_>), RlpError> {
    let list = match receipt {
        [0..=0x7f, list @ ..] => list,
        legacy => legacy,
    };
    let mut items = Reader::of_list(list)?;
    let status = items.string()?;
    items.number()?;
    items.array::<BLOOM_BYTES>()?;
    let logs = items.list()?;
    items.finish()?;
    Ok((status == [1], logs))
}

fn decode_log<'a>(logs: &mut Reader<'a>) -> Result<Log<'a>, RlpError> {
    let mut items = logs.list()?;
    let address = items.array()?;
    let mut list = items.list()?;
    let mut topics = Vec::new();
    while !list.is_empty() {
        topics.push(list.array()?);
    }
    let data = items.string()?;
    items.finish()?;
    Ok(Log { address, topics, data })
}

/// What the event says.
struct Batch {
    number: u64,
    first: u64,
    count: u32,
    root: [u8; 32],
}

impl Batch {
    /// The batch that a log anchors, if it is the right event of the right executor.
    fn of(log: &Log<'_>, subject: &Subject) -> Result<Self, AnchorError> {
        if log.address != RECEIPTS_CONTRACT {
            return Err(AnchorError::OtherContract { found: log.address });
        }
        let [event, executor, number] = log.topics.as_slice() else {
            return Err(AnchorError::OtherEvent);
        };
        if *event != keccak256(ANCHORED) {
            return Err(AnchorError::OtherEvent);
        }
        if *executor != subject.executor {
            return Err(AnchorError::OtherExecutor { expected: subject.executor, found: *executor });
        }
        let ([first, count, root], []) = log.data.as_chunks::<32>() else {
            return Err(AnchorError::Event { field: "data" });
        };
        let number = word(number).ok_or(AnchorError::Event { field: "batch" })?;
        let first = word(first).ok_or(AnchorError::Event { field: "first" })?;
        let count = word(count).and_then(|count| u32::try_from(count).ok());
        let count = count.filter(|count| (1..=BATCH_RECEIPTS_MAX).contains(count));
        let count = count.ok_or(AnchorError::Event { field: "count" })?;
        Ok(Self { number, first, count, root: *root })
    }
}

/// A number of the ABI, if it has at most 64 bits.
fn word(word: &[u8; 32]) -> Option<u64> {
    let (high, low) = word.split_last_chunk::<8>()?;
    high.iter().all(|byte| *byte == 0).then(|| u64::from_be_bytes(*low))
}
