//! The receipt log (specification, section 6).

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File, TryLockError},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{ReceiptLogError, Store, StoreError, store::read_dir};

const N_SEGMENTS: u64 = 16;
const HEAD_BYTES: usize = 36;
const CHECK_BYTES: usize = 8;
const REMEDY: &str = "delete the file; clients keep their own copies of receipts";

/// Folder of a log of records and what to do when one is damaged.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) dir: PathBuf,
    pub(crate) remedy: &'static str,
}

/// How much the log keeps; the oldest receipts go first, a segment at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiptLimits {
    /// Most receipts. They cost about 100 bytes of memory each.
    pub count_max: usize,
    /// Most bytes on disk; a segment is a sixteenth of it.
    pub size_bytes_max: u64,
}

impl Default for ReceiptLimits {
    fn default() -> Self {
        Self { count_max: 100_000, size_bytes_max: 64 << 20 }
    }
}

/// The latest receipts, found by id. One process at a time appends; any thread may read.
#[derive(Debug)]
pub struct ReceiptLog {
    dir: PathBuf,
    remedy: &'static str,
    limits: ReceiptLimits,
    inner: Mutex<Inner>,
    _lock: File,
}

#[derive(Debug, Default)]
struct Inner {
    index: HashMap<[u8; 32], Location>,
    /// By number; the last one is being written.
    segments: BTreeMap<u64, Segment>,
}

#[derive(Debug, Clone, Copy)]
struct Location {
    segment: u64,
    offset: u64,
    len: usize,
}

#[derive(Debug)]
struct Segment {
    file: File,
    size_bytes: u64,
    ids: Vec<[u8; 32]>,
    synced: bool,
}

impl Store {
    /// Opens the receipt log for appending.
    ///
    /// # Errors
    /// [`ReceiptLogError::InUse`] if another process has it open, [`ReceiptLogError::Store`] if the disk fails.
    pub fn receipt_log(&self, limits: ReceiptLimits) -> Result<ReceiptLog, ReceiptLogError> {
        ReceiptLog::open(Place { dir: self.root().join("receipts"), remedy: REMEDY }, limits)
    }
}

impl ReceiptLog {
    pub(crate) fn open(place: Place, limits: ReceiptLimits) -> Result<Self, ReceiptLogError> {
        let Place { dir, remedy } = place;
        let path = dir.join("lock");
        let lock = File::options().create(true).truncate(false).write(true).open(&path);
        let lock = lock.map_err(StoreError::io("open", &path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(ReceiptLogError::InUse { path: dir }),
            Err(TryLockError::Error(e)) => return Err(StoreError::io("lock", path)(e).into()),
        }
        let mut inner = Inner::default();
        let number = |file: &String| u64::from_str_radix(file.strip_suffix(".log")?, 16).ok();
        let mut numbers: Vec<u64> = read_dir(&dir)?.iter().filter_map(number).collect();
        numbers.sort_unstable();
        for (position, &n) in numbers.iter().enumerate() {
            let last = position + 1 == numbers.len();
            inner.load(&segment_path(&dir, n), n, last)?;
        }
        let log = Self { dir, remedy, limits, inner: Mutex::new(inner), _lock: lock };
        log.evict(&mut log.lock())?;
        Ok(log)
    }

    /// Keeps a receipt. When it returns, the receipt survives the end of this process; [`ReceiptLog::sync`] makes it
    /// survive power loss. A receipt that is already there is not written again.
    ///
    /// # Errors
    /// [`ReceiptLogError::TooLarge`], or [`ReceiptLogError::Store`] if the disk fails; then the log is as before.
    pub fn append(&self, id: &[u8; 32], receipt: &[u8]) -> Result<(), ReceiptLogError> {
        let record = encode(id, receipt);
        let max = self.limits.size_bytes_max / N_SEGMENTS;
        if record.len() as u64 > max || u32::try_from(receipt.len()).is_err() {
            return Err(ReceiptLogError::TooLarge { max, found: receipt.len() });
        }
        let mut inner = self.lock();
        if inner.index.contains_key(id) {
            return Ok(());
        }
        let n_max = (self.limits.count_max as u64 / N_SEGMENTS).max(1);
        let full = |s: &Segment| s.size_bytes + record.len() as u64 > max || s.ids.len() as u64 >= n_max;
        if inner.segments.last_key_value().is_none_or(|(_, s)| full(s)) {
            self.start_segment(&mut inner)?;
        }
        inner.append(id, &record, receipt.len()).map_err(StoreError::io("append a receipt to", &self.dir))?;
        Ok(self.evict(&mut inner)?)
    }

    /// The receipt with this id, if it is still kept.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if its checksum does not fit, [`StoreError::Io`].
    pub fn get(&self, id: &[u8; 32]) -> Result<Option<Vec<u8>>, StoreError> {
        let inner = self.lock();
        let Some(location) = inner.index.get(id).copied() else { return Ok(None) };
        let Some(segment) = inner.segments.get(&location.segment) else { return Ok(None) };
        let path = segment_path(&self.dir, location.segment);
        let mut record = vec![0; HEAD_BYTES + location.len + CHECK_BYTES];
        let read = || {
            let mut file = &segment.file;
            file.seek(SeekFrom::Start(location.offset))?;
            file.read_exact(&mut record)
        };
        let corrupt = |path| {
            let reason = format!("the record at byte {} does not fit its checksum", location.offset);
            StoreError::Corrupt { path, reason, remedy: self.remedy }
        };
        match { read }() {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Err(corrupt(path)),
            Err(e) => return Err(StoreError::io("read", path)(e)),
        }
        match decode(&record) {
            Some((found, receipt, _)) if found == *id => Ok(Some(receipt.to_vec())),
            _ => Err(corrupt(path)),
        }
    }

    /// The ids of all receipts kept, in no order.
    pub(crate) fn ids(&self) -> Vec<[u8; 32]> {
        self.lock().index.keys().copied().collect()
    }

    #[cfg(test)]
    pub(crate) fn dir(&self) -> &std::path::Path {
        &self.dir
    }

    pub(crate) fn contains(&self, id: &[u8; 32]) -> bool {
        self.lock().index.contains_key(id)
    }

    /// Number of receipts kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().index.len()
    }

    /// Whether no receipt is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes all receipts survive power loss. Blocks for as long as the disk takes; appending goes on meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn sync(&self) -> Result<(), StoreError> {
        let mut unsynced = Vec::new();
        for (n, segment) in self.lock().segments.iter_mut().filter(|(_, s)| !s.synced) {
            unsynced.push((*n, segment.file.try_clone().map_err(StoreError::io("open", &self.dir))?));
            // Before the sync, so that what is appended meanwhile is not taken for synced.
            segment.synced = true;
        }
        for (n, file) in unsynced {
            file.sync_data().map_err(|e| {
                if let Some(segment) = self.lock().segments.get_mut(&n) {
                    segment.synced = false;
                }
                StoreError::io("sync", segment_path(&self.dir, n))(e)
            })?;
        }
        Ok(())
    }

    /// The state stays whole between any two statements that could panic, so a poisoned lock is still good.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start_segment(&self, inner: &mut Inner) -> Result<(), StoreError> {
        let n = inner.segments.last_key_value().map_or(0, |(n, _)| n + 1);
        let path = segment_path(&self.dir, n);
        let create = || {
            let file = File::options().create_new(true).read(true).write(true).open(&path)?;
            if cfg!(unix) {
                File::open(&self.dir)?.sync_all()?;
            }
            Ok(file)
        };
        let file = create().map_err(StoreError::io("create", &path))?;
        inner.segments.insert(n, Segment { file, size_bytes: 0, ids: Vec::new(), synced: true });
        Ok(())
    }

    fn evict(&self, inner: &mut Inner) -> Result<(), StoreError> {
        let size = |inner: &Inner| inner.segments.values().map(|s| s.size_bytes).sum::<u64>();
        let over = |inner: &Inner| {
            size(inner) > self.limits.size_bytes_max || inner.index.len() > self.limits.count_max
        };
        while inner.segments.len() > 1 && over(inner) {
            let Some((n, segment)) = inner.segments.pop_first() else { break };
            for id in segment.ids {
                if inner.index.get(&id).is_some_and(|location| location.segment == n) {
                    inner.index.remove(&id);
                }
            }
            let path = segment_path(&self.dir, n);
            fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
        }
        Ok(())
    }
}

impl Inner {
    fn load(&mut self, path: &PathBuf, n: u64, last: bool) -> Result<(), StoreError> {
        let open = || {
            let mut file = File::options().read(true).write(true).open(path)?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok((file, bytes))
        };
        let (file, bytes) = open().map_err(StoreError::io("read", path))?;
        let mut segment = Segment { file, size_bytes: 0, ids: Vec::new(), synced: true };
        let mut rest = bytes.as_slice();
        while let Some((id, receipt, len)) = decode(rest) {
            self.index.insert(id, Location { segment: n, offset: segment.size_bytes, len: receipt.len() });
            segment.ids.push(id);
            segment.size_bytes += len as u64;
            rest = &rest[len..];
        }
        if !rest.is_empty() && last {
            tracing::info!(path = %path.display(), n_bytes = rest.len(), "receipts.open: an unfinished record is cut off");
            segment.file.set_len(segment.size_bytes).map_err(StoreError::io("cut", path))?;
        }
        self.segments.insert(n, segment);
        Ok(())
    }

    fn append(&mut self, id: &[u8; 32], record: &[u8], len: usize) -> io::Result<()> {
        let Some(mut entry) = self.segments.last_entry() else { return Ok(()) };
        let n = *entry.key();
        let segment = entry.get_mut();
        let offset = segment.size_bytes;
        segment.file.seek(SeekFrom::Start(offset))?;
        if let Err(error) = segment.file.write_all(record) {
            // Half a record at the end would hide those after it from the next open.
            segment.file.set_len(offset)?;
            return Err(error);
        }
        segment.size_bytes += record.len() as u64;
        segment.synced = false;
        segment.ids.push(*id);
        self.index.insert(*id, Location { segment: n, offset, len });
        Ok(())
    }
}

fn segment_path(dir: &std::path::Path, n: u64) -> PathBuf {
    dir.join(format!("{n:016x}.log"))
}

fn encode(id: &[u8; 32], receipt: &[u8]) -> Vec<u8> {
    let len = u32::try_from(receipt.len()).unwrap_or(u32::MAX);
    let mut record = [&len.to_le_bytes(), id.as_slice(), receipt].concat();
    let check = blake3::hash(&record);
    record.extend_from_slice(&check.as_bytes()[..CHECK_BYTES]);
    record
}

/// Id, receipt and length of the record at the front, if it is whole.
fn decode(bytes: &[u8]) -> Option<([u8; 32], &[u8], usize)> {
    let (len, _) = bytes.split_first_chunk::<4>()?;
    let end = HEAD_BYTES.checked_add(usize::try_from(u32::from_le_bytes(*len)).ok()?)?;
    let (record, rest) = bytes.split_at_checked(end)?;
    let check = rest.get(..CHECK_BYTES)?;
    let id = record.get(4..HEAD_BYTES)?.try_into().ok()?;
    let receipt = record.get(HEAD_BYTES..)?;
    (blake3::hash(record).as_bytes()[..CHECK_BYTES] == *check).then_some((id, receipt, end + CHECK_BYTES))
}
