use std::{collections::BTreeMap, io, mem};

use alloy_consensus::{SignableTransaction as _, TxEip1559};
use alloy_primitives::{Bytes, LogData, Signature, TxKind, U256, keccak256};
use redb::StorageBackend;

use super::*;

const CHAIN_ID: u64 = 7;

/// A chain of blocks that nobody executed: of each, three transactions, the last of which failed.
fn blocks(count: u64) -> Vec<Finalized> {
    let mut parent_hash = B256::ZERO;
    let block = |height: u64| {
        let transactions: Vec<_> = (0..3).map(|i| transaction(height * 3 + i)).collect();
        let receipts: Vec<_> = (0..3u8).map(receipt).collect();
        let senders = (0..3u8).map(Address::repeat_byte).collect();
        let logs_bloom = receipts.iter().fold(Bloom::ZERO, |bloom, receipt| bloom | *receipt.logs_bloom());
        let header = Header { number: height, parent_hash, logs_bloom, ..Header::default() };
        parent_hash = header.hash_slow();
        Finalized::new(Arc::new(Block { header, transactions }), senders, receipts)
    };
    (0..count).map(block).collect()
}

fn transaction(nonce: u64) -> TxEnvelope {
    let fields = TxEip1559 {
        chain_id: CHAIN_ID,
        nonce,
        gas_limit: 100_000,
        max_fee_per_gas: 9,
        max_priority_fee_per_gas: 2,
        to: TxKind::Call(Address::repeat_byte(9)),
        input: Bytes::from(vec![5; 40]),
        ..TxEip1559::default()
    };
    fields.into_signed(Signature::new(U256::from(1), U256::from(2), true)).into()
}

fn receipt(index: u8) -> ReceiptEnvelope {
    let data = LogData::new_unchecked(vec![B256::repeat_byte(index)], Bytes::from(vec![index; 5]));
    let logs = vec![Log { address: Address::repeat_byte(index), data }; usize::from(2 - index)];
    let cumulative_gas_used = 30_000 * (u64::from(index) + 1);
    let receipt = Receipt { status: (index < 2).into(), cumulative_gas_used, logs };
    ReceiptEnvelope::from_typed(TxType::Eip1559, receipt.into_with_bloom())
}

#[test]
fn records_of_this_version_stay_as_they_are() {
    let block = &blocks(2)[1];
    let stored = [records::encode(&bodies(block)), records::encode(&receipts(block))].concat();
    let expected = "0xb5577cdab84d9a10212503d0a2584cb55d9f897d8b108a39ed6724972fa9fc2f";
    assert_eq!(keccak256(stored).to_string(), expected);
}

#[test]
fn damaged_records_never_panic_and_shortened_ones_are_refused() {
    let block = &blocks(1)[0];
    for bytes in bodies(block) {
        assert!(decode_transaction(&bytes).is_some());
        for length in 0..bytes.len() {
            assert_eq!(decode_transaction(&bytes[..length]), None, "{length}");
        }
        flipped(&bytes).for_each(|bytes| drop(decode_transaction(&bytes)));
        assert_eq!(decode_transaction(&[&bytes[..], &[0]].concat()), None);
    }
    for bytes in receipts(block) {
        for length in 0..bytes.len() {
            assert_eq!(decode_receipt(&bytes[..length]), None, "{length}");
        }
        flipped(&bytes).for_each(|bytes| drop(decode_receipt(&bytes)));
        assert_eq!(decode_receipt(&[&bytes[..], &[0]].concat()), None);
    }
}

fn flipped(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..bytes.len()).flat_map(|at| {
        [1, 0x80, 0xff].map(|mask| {
            let mut bytes = bytes.to_vec();
            bytes[at] ^= mask;
            bytes
        })
    })
}

/// A disk that loses power: what was written since the last flush is on it in part.
#[derive(Debug, Clone, Default)]
struct Disk(Arc<Mutex<Image>>);

#[derive(Debug, Clone, Default)]
struct Image {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// Writes since the last flush: where, and what.
    unflushed: Vec<(usize, Vec<u8>)>,
    /// Writes and flushes that still succeed.
    left: Option<u64>,
}

impl Disk {
    /// The disk after the power was lost: of the writes since the last flush, those are on it that `kept` says.
    fn after_loss(&self, kept: impl Fn(usize) -> bool) -> Self {
        let image = self.0.lock().unwrap();
        let mut durable = image.durable.clone();
        for (_, (at, bytes)) in image.unflushed.iter().enumerate().filter(|(i, _)| kept(*i)) {
            durable.resize(durable.len().max(at + bytes.len()), 0);
            durable[*at..at + bytes.len()].copy_from_slice(bytes);
        }
        let image = Image { live: durable.clone(), durable, ..Image::default() };
        Self(Arc::new(Mutex::new(image)))
    }

    fn step(&self) -> io::Result<MutexGuard<'_, Image>> {
        let mut image = self.0.lock().unwrap();
        match &mut image.left {
            Some(0) => return Err(io::Error::other("no power")),
            Some(left) => *left -= 1,
            None => {}
        }
        Ok(image)
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().live.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let at = usize::try_from(offset).unwrap();
        let image = self.0.lock().unwrap();
        let bytes = image.live.get(at..at + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut image = self.step()?;
        let len = usize::try_from(len).unwrap();
        image.live.resize(len, 0);
        // The size of a file is kept apart from its bytes, and is written first.
        image.durable.resize(len, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut image = self.step()?;
        image.durable = image.live.clone();
        image.unflushed.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut image = self.step()?;
        let at = usize::try_from(offset).unwrap();
        image.live[at..at + data.len()].copy_from_slice(data);
        image.unflushed.push((at, data.to_vec()));
        Ok(())
    }
}

fn open(disk: &Disk) -> Result<Index, IndexError> {
    let database = Database::builder().create_with_backend(disk.clone()).map_err(store)?;
    Index::new(database, CHAIN_ID)
}

/// Appends `blocks`, flushing after every fourth, until the disk fails. Returns the last height that was flushed.
fn fill(index: &Index, blocks: &[Finalized]) -> Result<u64, (u64, IndexError)> {
    let mut flushed = 0;
    for block in blocks {
        index.append(block).map_err(|error| (flushed, error))?;
        if block.number() % 4 == 3 {
            index.flush().map_err(|error| (flushed, error))?;
            flushed = block.number();
        }
    }
    Ok(flushed)
}

#[test]
fn whenever_power_is_lost_what_was_flushed_is_there() {
    let blocks = blocks(24);
    let by_hash: BTreeMap<_, _> = blocks.iter().map(|block| (block.hash(), block)).collect();
    let mut cuts = 0;
    for cut in 0.. {
        let disk = Disk::default();
        let index = open(&disk).unwrap();
        index.append(&blocks[0]).unwrap();
        index.flush().unwrap();
        disk.0.lock().unwrap().left = Some(cut);
        let filled = fill(&index, &blocks[1..]);
        // What a process that is gone does not do any more.
        mem::forget(index);
        let flushed = match filled {
            Ok(_) => break,
            Err((flushed, error)) => {
                assert!(matches!(error, IndexError::Store(_)), "{error}");
                assert!(error.to_string().contains("open it again"), "{error}");
                flushed
            }
        };
        cuts += 1;
        let ways: [&dyn Fn(usize) -> bool; 4] = [&|_| false, &|_| true, &|i| i % 2 == 0, &|i| i % 3 == 1];
        for kept in ways {
            let index = open(&disk.after_loss(kept)).unwrap();
            let last = index.height().unwrap();
            assert!(last >= flushed, "cut {cut}: {last}, flushed {flushed}");
            for height in 0..=last {
                let block = index.block(height).unwrap().unwrap();
                assert_eq!(block.receipts(), by_hash[&block.hash()].receipts());
                for (i, transaction) in block.transactions().iter().enumerate() {
                    assert_eq!(index.place_of(*transaction.tx_hash()).unwrap(), Some((height, i)));
                }
            }
            let next = usize::try_from(last).unwrap() + 1;
            blocks[next..].iter().for_each(|block| index.append(block).unwrap());
        }
    }
    assert!(cuts > 20, "{cuts}");
}
