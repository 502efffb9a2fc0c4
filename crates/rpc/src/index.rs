//! The durable index of finalized blocks.
//!
//! Tables of a redb file; `docs/spec/rpc.md`, section 6, has the bytes. A block is written in one transaction: after a
//! crash it is there whole or not at all. Writing is not flushed to the disk for every block, so that a crash may lose the
//! last ones: those after the last [`Index::flush`], which happens by itself every [`FLUSH_BLOCKS`] blocks and every
//! [`FLUSH_TIME`] while blocks come. Whoever delivers blocks therefore flushes before it forgets one, and delivers again
//! from [`Index::height`] on after a restart. Delivering a block twice does nothing.

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use alloy_consensus::{
    Eip658Value, Header, Receipt, ReceiptEnvelope, TxEnvelope, TxReceipt as _, TxType, transaction::Recovered,
};
use alloy_eips::{Decodable2718 as _, Encodable2718 as _};
use alloy_primitives::{Address, B256, Bloom, Log};
use alloy_rlp::{Decodable as _, Encodable as _};
use redb::{
    Database, Durability, ReadTransaction, ReadableDatabase as _, ReadableTable as _, TableDefinition,
    backends::InMemoryBackend,
};
use veracity_chain::Block;

use crate::{
    Finalized, IndexError,
    records::{self, Records},
};

/// Version of the tables.
const VERSION: u64 = 1;
/// Blocks that are written before they are flushed.
pub(crate) const FLUSH_BLOCKS: u32 = 64;
/// Time after which a block flushes those before it.
pub(crate) const FLUSH_TIME: Duration = Duration::from_secs(1);
/// Memory for pages of the file, in bytes.
const CACHE_BYTES: usize = 64 << 20;

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const HEADERS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("headers");
const BODIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("bodies");
const RECEIPTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("receipts");
const BLOOMS: TableDefinition<'_, u64, &[u8; 256]> = TableDefinition::new("blooms");
const HEIGHTS: TableDefinition<'_, &[u8; 32], u64> = TableDefinition::new("heights");
const PLACES: TableDefinition<'_, &[u8; 32], (u64, u32)> = TableDefinition::new("places");
const CERTIFICATES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("certificates");

/// The durable index of finalized blocks.
#[derive(Debug)]
pub struct Index {
    database: Database,
    written: Mutex<Written>,
}

#[derive(Debug)]
struct Written {
    first: Option<u64>,
    last: Option<(u64, B256)>,
    /// Blocks since the last flush.
    unflushed: u32,
    flushed: Instant,
}

/// A receipt with what its block says about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexedReceipt {
    /// The receipt.
    pub receipt: ReceiptEnvelope,
    /// Gas that the transaction used alone.
    pub gas_used: u64,
    /// Number of logs in the block before its own.
    pub logs_before: u64,
}

impl Index {
    /// Opens the index of the chain `chain_id` in a file, or makes it.
    ///
    /// # Errors
    /// [`IndexError::Open`], [`IndexError::Version`], [`IndexError::ChainId`], [`IndexError::Damaged`].
    pub fn open(path: &Path, chain_id: u64) -> Result<Self, IndexError> {
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create(path)
            .map_err(|source| IndexError::Open { path: path.into(), source: Box::new(source.into()) })?;
        Self::new(database, chain_id)
    }

    /// An index that is gone when it is dropped.
    ///
    /// # Errors
    /// [`IndexError::Store`] if there is no memory.
    pub fn in_memory(chain_id: u64) -> Result<Self, IndexError> {
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create_with_backend(InMemoryBackend::new())
            .map_err(store)?;
        Self::new(database, chain_id)
    }

    fn new(database: Database, chain_id: u64) -> Result<Self, IndexError> {
        let write = database.begin_write().map_err(store)?;
        {
            let mut meta = write.open_table(META).map_err(store)?;
            for (key, expected) in [("version", VERSION), ("chain_id", chain_id)] {
                let found = meta.get(key).map_err(store)?.map(|value| value.value());
                match found {
                    None => drop(meta.insert(key, expected).map_err(store)?),
                    Some(found) if found == expected => {}
                    Some(found) if key == "version" => return Err(IndexError::Version { expected, found }),
                    Some(found) => return Err(IndexError::ChainId { expected, found }),
                }
            }
            // So that readers find every table.
            write.open_table(HEADERS).map_err(store)?;
            write.open_table(BODIES).map_err(store)?;
            write.open_table(RECEIPTS).map_err(store)?;
            write.open_table(BLOOMS).map_err(store)?;
            write.open_table(HEIGHTS).map_err(store)?;
            write.open_table(PLACES).map_err(store)?;
            write.open_table(CERTIFICATES).map_err(store)?;
        }
        write.commit().map_err(store)?;
        let written = Written { first: None, last: None, unflushed: 0, flushed: Instant::now() };
        let index = Self { database, written: Mutex::new(written) };
        let (first, last) = index.ends()?;
        {
            let mut written = index.lock();
            (written.first, written.last) = (first, last);
        }
        Ok(index)
    }

    #[expect(clippy::type_complexity, reason = "read once, just above")]
    fn ends(&self) -> Result<(Option<u64>, Option<(u64, B256)>), IndexError> {
        let table = self.read()?.open_table(HEADERS).map_err(store)?;
        let first = table.first().map_err(store)?.map(|(height, _)| height.value());
        let Some((height, bytes)) = table.last().map_err(store)? else { return Ok((first, None)) };
        let last = decode_header(height.value(), bytes.value())?.hash_slow();
        Ok((first, Some((height.value(), last))))
    }

    /// Height of the first block, if there is one. It is genesis unless the node began with a later state.
    #[must_use]
    pub fn first(&self) -> Option<u64> {
        self.lock().first
    }

    /// Height of the last block, if there is one.
    #[must_use]
    pub fn height(&self) -> Option<u64> {
        self.lock().last.map(|(height, _)| height)
    }

    /// Appends a block; one that is here already is left as it is. The first may have any height.
    ///
    /// # Errors
    /// [`IndexError::Gap`] if blocks before it are missing, [`IndexError::Fork`] if another block is here in its place or
    /// in its parent's, [`IndexError::Store`] if writing failed: the index has to be opened again then, and the block
    /// delivered again.
    pub fn append(&self, block: &Finalized) -> Result<(), IndexError> {
        let mut written = self.lock();
        let height = block.number();
        if let Some((last, hash)) = written.last {
            if height <= last {
                return self.check_same(block);
            }
            if height != last + 1 {
                return Err(IndexError::Gap { expected: last + 1, found: height });
            }
            let found = block.header().parent_hash;
            if found != hash {
                return Err(IndexError::Fork { height: last, expected: hash, found });
            }
        }
        let is_due = written.unflushed + 1 >= FLUSH_BLOCKS || written.flushed.elapsed() >= FLUSH_TIME;
        self.write(is_due, |write| insert(write, block))?;
        written.first.get_or_insert(height);
        written.last = Some((height, block.hash()));
        written.unflushed += 1;
        if is_due {
            written.flushed();
        }
        Ok(())
    }

    fn check_same(&self, block: &Finalized) -> Result<(), IndexError> {
        let height = block.number();
        let expected = match self.header(height)? {
            Some(header) => header.hash_slow(),
            // Before the first.
            None => return Ok(()),
        };
        let found = block.hash();
        if found == expected { Ok(()) } else { Err(IndexError::Fork { height, expected, found }) }
    }

    /// Keeps the certificate of the block at `height`.
    ///
    /// # Errors
    /// [`IndexError::Store`].
    pub fn certify(&self, height: u64, certificate: &[u8]) -> Result<(), IndexError> {
        // Only one writer at a time; it is flushed with the next block.
        let _written = self.lock();
        self.write(false, |write| {
            write.open_table(CERTIFICATES).map_err(store)?.insert(height, certificate).map_err(store)?;
            Ok(())
        })
    }

    /// Makes everything that was appended durable.
    ///
    /// # Errors
    /// [`IndexError::Store`].
    pub fn flush(&self) -> Result<(), IndexError> {
        let mut written = self.lock();
        self.write(true, |_| Ok(()))?;
        written.flushed();
        Ok(())
    }

    /// The block at `height`.
    ///
    /// # Errors
    /// [`IndexError::Store`], [`IndexError::Damaged`]; so for all that reads.
    pub fn block(&self, height: u64) -> Result<Option<Finalized>, IndexError> {
        let read = self.read()?;
        let Some(header) = header(&read, height)? else { return Ok(None) };
        let bodies = read.open_table(BODIES).map_err(store)?;
        let receipts = read.open_table(RECEIPTS).map_err(store)?;
        let (bodies, receipts) = (bodies.get(height).map_err(store)?, receipts.get(height).map_err(store)?);
        let body = bodies.as_ref().and_then(|bytes| Records::new(bytes.value()));
        let transactions: Option<Vec<_>> =
            body.and_then(|records| records.iter().map(|item| decode_transaction(item?)).collect());
        let transactions = transactions.ok_or(damaged("bodies", height))?;
        let receipts = receipts.as_ref().and_then(|bytes| Records::new(bytes.value()));
        let receipts: Option<Vec<_>> = receipts
            .and_then(|records| records.iter().map(|item| Some(decode_receipt(item?)?.receipt)).collect());
        let receipts = receipts.filter(|receipts| receipts.len() == transactions.len());
        let receipts = receipts.ok_or(damaged("receipts", height))?;
        let (transactions, senders) = transactions
            .into_iter()
            .map(|transaction| {
                let (transaction, sender) = transaction.into_parts();
                (transaction, sender)
            })
            .unzip();
        Ok(Some(Finalized::new(Arc::new(Block { header, transactions }), senders, receipts)))
    }

    /// The header at `height`.
    ///
    /// # Errors
    /// As [`Index::block`].
    pub fn header(&self, height: u64) -> Result<Option<Header>, IndexError> {
        header(&self.read()?, height)
    }

    /// Height of the block with this hash.
    ///
    /// # Errors
    /// As [`Index::block`].
    pub fn height_of(&self, hash: B256) -> Result<Option<u64>, IndexError> {
        let table = self.read()?.open_table(HEIGHTS).map_err(store)?;
        Ok(table.get(&hash.0).map_err(store)?.map(|height| height.value()))
    }

    /// Height and index of the transaction with this hash.
    ///
    /// # Errors
    /// As [`Index::block`].
    pub fn place_of(&self, hash: B256) -> Result<Option<(u64, usize)>, IndexError> {
        let table = self.read()?.open_table(PLACES).map_err(store)?;
        let place = table.get(&hash.0).map_err(store)?.map(|place| place.value());
        Ok(place.and_then(|(height, index)| Some((height, usize::try_from(index).ok()?))))
    }

    /// The transaction at `index` of the block at `height`, with its sender.
    ///
    /// # Errors
    /// As [`Index::block`].
    pub fn transaction(
        &self,
        height: u64,
        index: usize,
    ) -> Result<Option<Recovered<TxEnvelope>>, IndexError> {
        let table = self.read()?.open_table(BODIES).map_err(store)?;
        let Some(bytes) = table.get(height).map_err(store)? else { return Ok(None) };
        let records = Records::new(bytes.value()).ok_or(damaged("bodies", height))?;
        if index >= records.len() {
            return Ok(None);
        }
        records.get(index).and_then(decode_transaction).map(Some).ok_or(damaged("bodies", height))
    }

    /// The receipt of the transaction at `index` of the block at `height`.
    ///
    /// # Errors
    /// As [`Index::block`].
    pub fn receipt(&self, height: u64, index: usize) -> Result<Option<IndexedReceipt>, IndexError> {
        let table = self.read()?.open_table(RECEIPTS).map_err(store)?;
        let Some(bytes) = table.get(height).map_err(store)? else { return Ok(None) };
        let records = Records::new(bytes.value()).ok_or(damaged("receipts", height))?;
        if index >= records.len() {
            return Ok(None);
        }
        records.get(index).and_then(decode_receipt).map(Some).ok_or(damaged("receipts", height))
    }

    /// Heights from `from` to `to` whose blooms satisfy `matches`, in their order.
    ///
    /// # Errors
    /// As [`Index::block`].
    pub fn heights_with(
        &self,
        from: u64,
        to: u64,
        matches: impl Fn(Bloom) -> bool,
    ) -> Result<Vec<u64>, IndexError> {
        let table = self.read()?.open_table(BLOOMS).map_err(store)?;
        let mut heights = vec![];
        for entry in table.range(from..=to).map_err(store)? {
            let (height, bloom) = entry.map_err(store)?;
            if matches(Bloom::from(bloom.value())) {
                heights.push(height.value());
            }
        }
        Ok(heights)
    }

    /// The first certificate of a block at `height` or above, and that block's height.
    ///
    /// # Errors
    /// As [`Index::block`].
    pub fn certificate_from(&self, height: u64) -> Result<Option<(u64, Vec<u8>)>, IndexError> {
        let table = self.read()?.open_table(CERTIFICATES).map_err(store)?;
        let first = table.range(height..).map_err(store)?.next().transpose().map_err(store)?;
        Ok(first.map(|(height, certificate)| (height.value(), certificate.value().to_vec())))
    }

    fn read(&self) -> Result<ReadTransaction, IndexError> {
        self.database.begin_read().map_err(store)
    }

    fn write(
        &self,
        is_durable: bool,
        fill: impl FnOnce(&redb::WriteTransaction) -> Result<(), IndexError>,
    ) -> Result<(), IndexError> {
        let mut write = self.database.begin_write().map_err(store)?;
        if !is_durable {
            write.set_durability(Durability::None).map_err(store)?;
        }
        fill(&write)?;
        write.commit().map_err(store)
    }

    fn lock(&self) -> MutexGuard<'_, Written> {
        // It is changed only after a transaction has succeeded, so it is right whatever panicked.
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        if let Err(error) = self.flush() {
            tracing::warn!(%error, "rpc.index: the last blocks were not flushed");
        }
    }
}

impl Written {
    fn flushed(&mut self) {
        (self.unflushed, self.flushed) = (0, Instant::now());
    }
}

fn store(error: impl Into<redb::Error>) -> IndexError {
    IndexError::Store(Box::new(error.into()))
}

const fn damaged(table: &'static str, height: u64) -> IndexError {
    IndexError::Damaged { table, height }
}

fn header(read: &ReadTransaction, height: u64) -> Result<Option<Header>, IndexError> {
    let table = read.open_table(HEADERS).map_err(store)?;
    table.get(height).map_err(store)?.map(|bytes| decode_header(height, bytes.value())).transpose()
}

fn decode_header(height: u64, mut bytes: &[u8]) -> Result<Header, IndexError> {
    let header = Header::decode(&mut bytes).ok().filter(|header| bytes.is_empty() && header.number == height);
    header.ok_or(damaged("headers", height))
}

fn insert(write: &redb::WriteTransaction, block: &Finalized) -> Result<(), IndexError> {
    let height = block.number();
    let put = |table: TableDefinition<'_, u64, &[u8]>, bytes: &[u8]| -> Result<(), IndexError> {
        write.open_table(table).map_err(store)?.insert(height, bytes).map_err(store)?;
        Ok(())
    };
    put(HEADERS, &alloy_rlp::encode(block.header()))?;
    put(BODIES, &records::encode(&bodies(block)))?;
    put(RECEIPTS, &records::encode(&receipts(block)))?;
    let bloom = block.header().logs_bloom;
    write.open_table(BLOOMS).map_err(store)?.insert(height, &bloom.0.0).map_err(store)?;
    write.open_table(HEIGHTS).map_err(store)?.insert(&block.hash().0, height).map_err(store)?;
    let mut places = write.open_table(PLACES).map_err(store)?;
    // In the order of hashes, neighbours share pages.
    let mut hashes: Vec<_> = (0u32..).zip(block.transactions()).map(|(i, t)| (*t.tx_hash(), i)).collect();
    hashes.sort_unstable();
    for (hash, index) in hashes {
        places.insert(&hash.0, (height, index)).map_err(store)?;
    }
    Ok(())
}

/// Sender, then the transaction (EIP-2718).
fn bodies(block: &Finalized) -> Vec<Vec<u8>> {
    let body = |(transaction, sender): (&TxEnvelope, &Address)| {
        let mut bytes = sender.to_vec();
        transaction.encode_2718(&mut bytes);
        bytes
    };
    block.transactions().iter().zip(block.senders()).map(body).collect()
}

fn decode_transaction(bytes: &[u8]) -> Option<Recovered<TxEnvelope>> {
    let (sender, mut rest) = bytes.split_first_chunk::<20>()?;
    let transaction = TxEnvelope::decode_2718(&mut rest).ok().filter(|_| rest.is_empty())?;
    Some(Recovered::new_unchecked(transaction, Address::from(sender)))
}

/// Type, status, cumulative gas, gas, logs before, logs (RLP). The bloom follows from the logs.
fn receipts(block: &Finalized) -> Vec<Vec<u8>> {
    let encode = |(index, receipt): (usize, &ReceiptEnvelope)| {
        let (gas_used, logs_before) = block.receipt_place(index).expect("the index is within");
        let mut bytes = vec![receipt.tx_type() as u8, u8::from(receipt.status())];
        bytes.extend(receipt.cumulative_gas_used().to_be_bytes());
        bytes.extend(gas_used.to_be_bytes());
        bytes.extend(logs_before.to_be_bytes());
        receipt.logs().to_vec().encode(&mut bytes);
        bytes
    };
    block.receipts().iter().enumerate().map(encode).collect()
}

fn decode_receipt(bytes: &[u8]) -> Option<IndexedReceipt> {
    let ([kind, status], rest) = bytes.split_first_chunk::<2>()?;
    let (cumulative_gas_used, rest) = split_u64(rest)?;
    let (gas_used, rest) = split_u64(rest)?;
    let (logs_before, mut rest) = split_u64(rest)?;
    let logs = Vec::<Log>::decode(&mut rest).ok().filter(|_| rest.is_empty() && *status <= 1)?;
    let receipt = Receipt { status: Eip658Value::Eip658(*status == 1), cumulative_gas_used, logs };
    let kind = TxType::try_from(*kind).ok()?;
    let receipt = ReceiptEnvelope::from_typed(kind, receipt.into_with_bloom());
    Some(IndexedReceipt { receipt, gas_used, logs_before })
}

fn split_u64(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*number), rest))
}

#[cfg(test)]
mod tests;
