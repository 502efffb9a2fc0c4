//! The sequences of an executor's receipts (specification, section 7).

use std::{
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{
    SequenceError, Store, StoreError,
    disk::{Disk, Step},
    store::read_dir,
};

/// Receipts in one segment.
const SEGMENT_RECORDS: u64 = 65_536;
const RECORD_LEN: usize = 64;
const RECORD_BYTES: u64 = RECORD_LEN as u64;
const SEGMENT_BYTES: u64 = SEGMENT_RECORDS * RECORD_BYTES;
const CHECK_CONTEXT: &str = "veracity sequence record v1";
const REMEDY: &str = "restore the folder from a backup, or remove the executor key to become a new executor";

/// The ids of an executor's receipts, in the order of their sequences: what makes sure that no sequence is used twice
/// and none is left out. Any number of processes and threads may use it at the same time.
#[derive(Debug)]
pub struct SequenceLog {
    disk: Disk,
    dir: PathBuf,
    executor: [u8; 32],
    /// Locked while a sequence is taken, by whichever process.
    lock: File,
    tail: Mutex<Tail>,
    durable: Mutex<Durable>,
    /// Told when a sync has ended.
    synced: Condvar,
    /// Whether a sync failed: what is on the disk is then unknown until it is read again.
    broken: AtomicBool,
}

/// How far the disk has got.
#[derive(Debug)]
struct Durable {
    /// Sequences below are durable.
    next: u64,
    /// Whether a thread syncs, for all that have written before it began.
    syncing: bool,
}

/// The segment that is being written.
#[derive(Debug)]
struct Tail {
    number: u64,
    file: File,
    /// The sequence after the last one that this process knows of.
    next: u64,
}

impl Store {
    /// Opens the sequences of an executor, given its public key. What an interrupted write left behind is cut off; all
    /// that is there is durable when this returns.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if a record is damaged, [`StoreError::Io`], [`StoreError::DiskFull`].
    pub fn sequence_log(&self, executor: &[u8; 32]) -> Result<SequenceLog, StoreError> {
        let parent = self.root().join("sequences");
        let dir = parent.join(blake3::Hash::from_bytes(*executor).to_hex().as_str());
        {
            let _lock = self.exclusive()?;
            for (folder, around) in [(&parent, self.root()), (&dir, parent.as_path())] {
                self.disk.ensure_dir(folder)?;
                self.disk.sync_dir(around)?;
            }
        }
        let path = dir.join("lock");
        let lock = File::options().create(true).truncate(false).write(true).open(&path);
        let lock = lock.map_err(StoreError::io("open", &path))?;
        SequenceLog::open(self.disk.clone(), dir, *executor, lock)
    }
}

impl SequenceLog {
    fn open(disk: Disk, dir: PathBuf, executor: [u8; 32], lock: File) -> Result<Self, StoreError> {
        let held = Held::new(&lock, &dir)?;
        let number = segments(&dir)?.pop().unwrap_or(0);
        check_before(&dir, number)?;
        let file = open_segment(&disk, &dir, number)?;
        let n_records = recover(&disk, &executor, number, &file, &segment_path(&dir, number))?;
        sync(&disk, &file, &segment_path(&dir, number))?;
        drop(held);
        let next = number * SEGMENT_RECORDS + n_records;
        let tail = Mutex::new(Tail { number, file, next });
        let durable = Mutex::new(Durable { next, syncing: false });
        Ok(Self {
            disk,
            dir,
            executor,
            lock,
            tail,
            durable,
            synced: Condvar::new(),
            broken: AtomicBool::new(false),
        })
    }

    /// Takes the next sequence for the receipt that `sign` makes, and keeps its id. `sign` gives what the caller wants
    /// back, and the id. When this returns, the sequence is taken for ever, power loss included; only then may the
    /// receipt leave the process. `sign` runs under the lock of the log, so it should only sign.
    ///
    /// If it fails, the receipt must not be shown to anybody: its sequence may be taken by another one.
    ///
    /// # Errors
    /// That of `sign`, whereupon no sequence is taken; [`SequenceError::Store`] if the disk fails;
    /// [`SequenceError::Broken`] after a failure to sync, until the log is opened again.
    pub fn issue<T, E: From<SequenceError>>(
        &self,
        sign: impl FnOnce(u64) -> Result<(T, [u8; 32]), E>,
    ) -> Result<T, E> {
        self.check()?;
        let (sequence, value) = {
            let mut tail = lock(&self.tail);
            let _held = Held::new(&self.lock, &self.dir).map_err(SequenceError::from)?;
            let sequence = self.advance(&mut tail).map_err(SequenceError::from)?;
            let (value, id) = sign(sequence)?;
            self.append(&mut tail, sequence, &id).map_err(SequenceError::from)?;
            (sequence, value)
        };
        self.sync_through(sequence)?;
        Ok(value)
    }

    /// How many receipts have their sequence for ever, as [`SequenceLog::issued`], those of other processes included. What
    /// they have written is made durable first.
    ///
    /// # Errors
    /// [`SequenceError::Store`] if the disk fails; [`SequenceError::Broken`] after a failure to sync, until the log is
    /// opened again.
    pub fn refresh(&self) -> Result<u64, SequenceError> {
        self.check()?;
        let next = {
            let mut tail = lock(&self.tail);
            let _held = Held::new(&self.lock, &self.dir)?;
            let next = self.advance(&mut tail)?;
            tail.next = next;
            next
        };
        if let Some(last) = next.checked_sub(1) {
            self.sync_through(last)?;
        }
        Ok(self.issued())
    }

    /// How many receipts have their sequence for ever, as far as this process knows: those below this number.
    #[must_use]
    pub fn issued(&self) -> u64 {
        lock(&self.durable).next
    }

    /// The receipt ids of these sequences, checked.
    ///
    /// # Errors
    /// [`SequenceError::Unknown`] if one is not issued yet or pruned, [`StoreError::Corrupt`], [`StoreError::Io`].
    pub fn ids(&self, sequences: Range<u64>) -> Result<Vec<[u8; 32]>, SequenceError> {
        let issued = self.issued();
        if let Some(sequence) = sequences.clone().last().filter(|last| *last >= issued) {
            return Err(SequenceError::Unknown { sequence, issued });
        }
        let mut ids = Vec::new();
        let mut first = sequences.start;
        while first < sequences.end {
            let number = first / SEGMENT_RECORDS;
            let end = sequences.end.min((number + 1) * SEGMENT_RECORDS);
            self.read_ids(number, first..end, &mut ids)?;
            first = end;
        }
        Ok(ids)
    }

    /// Deletes segments that hold no sequence from `keep` on. Who has anchored the receipts below `keep`, and made the
    /// evidence that anybody will ask for, needs them no more.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn prune(&self, keep: u64) -> Result<(), StoreError> {
        let last = lock(&self.tail).number;
        for number in segments(&self.dir)? {
            if number < last && (number + 1) * SEGMENT_RECORDS <= keep {
                self.disk.remove_file(&segment_path(&self.dir, number))?;
            }
        }
        Ok(())
    }

    /// The next sequence: after what this and other processes have written. The lock is held.
    fn advance(&self, tail: &mut Tail) -> Result<u64, StoreError> {
        loop {
            let path = segment_path(&self.dir, tail.number);
            let size = tail.file.metadata().map_err(StoreError::io("read", &path))?.len();
            let whole = size - size % RECORD_BYTES;
            if whole < size {
                // A process ended in the middle of a write that was never acknowledged.
                cut(&self.disk, &tail.file, whole, &path)?;
            }
            if whole < SEGMENT_BYTES {
                return Ok(tail.number * SEGMENT_RECORDS + whole / RECORD_BYTES);
            }
            // What comes before the new segment is durable before there is one.
            sync(&self.disk, &tail.file, &path)?;
            tail.file = open_segment(&self.disk, &self.dir, tail.number + 1)?;
            tail.number += 1;
        }
    }

    fn append(&self, tail: &mut Tail, sequence: u64, id: &[u8; 32]) -> Result<(), StoreError> {
        let path = segment_path(&self.dir, tail.number);
        let offset = sequence % SEGMENT_RECORDS * RECORD_BYTES;
        let record = encode(&self.executor, sequence, id);
        let write = || {
            self.disk.step(&Step::Append(path.clone()))?;
            tail.file.seek(SeekFrom::Start(offset))?;
            tail.file.write_all(&record)
        };
        if let Err(error) = { write }() {
            // If this fails as well, whoever comes next cuts off what is not a whole record.
            let _ = tail.file.set_len(offset);
            return Err(StoreError::io("append a sequence to", path)(error));
        }
        tail.next = sequence + 1;
        Ok(())
    }

    fn check(&self) -> Result<(), SequenceError> {
        match self.broken.load(Ordering::Acquire) {
            true => Err(SequenceError::Broken { path: self.dir.clone() }),
            false => Ok(()),
        }
    }

    /// Returns when `sequence` and all before it are durable. One thread syncs at a time; those that come meanwhile
    /// wait for it, and then one of them syncs for all.
    fn sync_through(&self, sequence: u64) -> Result<(), SequenceError> {
        let mut durable = lock(&self.durable);
        while durable.syncing && sequence >= durable.next {
            durable = self.synced.wait(durable).unwrap_or_else(PoisonError::into_inner);
        }
        if sequence < durable.next {
            return Ok(());
        }
        self.check()?;
        durable.syncing = true;
        drop(durable);
        let synced = self.sync_tail();
        let mut durable = lock(&self.durable);
        durable.syncing = false;
        match &synced {
            Ok(next) => durable.next = *next,
            // The system may forget what it could not write, and report success the next time.
            Err(_) => self.broken.store(true, Ordering::Release),
        }
        self.synced.notify_all();
        Ok(synced.map(drop)?)
    }

    /// Syncs what was written before and tells the sequence after it. Earlier segments were synced when they were full.
    fn sync_tail(&self) -> Result<u64, StoreError> {
        let (file, path, next) = {
            let tail = lock(&self.tail);
            let path = segment_path(&self.dir, tail.number);
            (tail.file.try_clone().map_err(StoreError::io("open", &path))?, path, tail.next)
        };
        sync(&self.disk, &file, &path)?;
        Ok(next)
    }

    fn read_ids(
        &self,
        number: u64,
        sequences: Range<u64>,
        ids: &mut Vec<[u8; 32]>,
    ) -> Result<(), SequenceError> {
        let path = segment_path(&self.dir, number);
        let mut record = [0; RECORD_LEN];
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(SequenceError::Unknown { sequence: sequences.start, issued: self.issued() });
            }
            Err(error) => return Err(StoreError::io("open", &path)(error).into()),
        };
        let start = SeekFrom::Start(sequences.start % SEGMENT_RECORDS * RECORD_BYTES);
        file.seek(start).map_err(StoreError::io("read", &path))?;
        let mut file = std::io::BufReader::new(file);
        for sequence in sequences {
            file.read_exact(&mut record).map_err(|_| corrupt(&path, sequence))?;
            ids.push(decode(&self.executor, sequence, &record).ok_or_else(|| corrupt(&path, sequence))?);
        }
        Ok(())
    }
}

/// The lock on the log, released when dropped.
struct Held<'a>(&'a File);

impl<'a> Held<'a> {
    fn new(lock: &'a File, dir: &Path) -> Result<Self, StoreError> {
        lock.lock().map_err(StoreError::io("lock", dir))?;
        Ok(Self(lock))
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::error!(%error, "sequences.unlock: other processes wait until this one ends");
        }
    }
}

/// Neither mutex is left in between by a panic: `tail` is set after what it describes.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whole records of the last segment, after what was never acknowledged is cut off: a part of a record, and records
/// of zeros, which power loss leaves where a length was kept and its content was not.
fn recover(
    disk: &Disk,
    executor: &[u8; 32],
    number: u64,
    mut file: &File,
    path: &Path,
) -> Result<u64, StoreError> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(StoreError::io("read", path))?;
    let (records, _) = bytes.as_chunks::<RECORD_LEN>();
    let written = records.iter().rposition(|record| *record != [0; RECORD_LEN]).map_or(0, |i| i + 1);
    for (record, sequence) in records.iter().take(written).zip(number * SEGMENT_RECORDS..) {
        decode(executor, sequence, record).ok_or_else(|| corrupt(path, sequence))?;
    }
    let whole = written as u64 * RECORD_BYTES;
    if whole < bytes.len() as u64 {
        tracing::info!(path = %path.display(), "sequences.open: an unfinished record is cut off");
        cut(disk, file, whole, path)?;
    }
    Ok(written as u64)
}

/// The segment before the last is full, because it was synced before there was another.
fn check_before(dir: &Path, last: u64) -> Result<(), StoreError> {
    let Some(number) = last.checked_sub(1) else { return Ok(()) };
    let path = segment_path(dir, number);
    match fs::metadata(&path) {
        Ok(metadata) if metadata.len() != SEGMENT_BYTES => {
            Err(corrupt(&path, number * SEGMENT_RECORDS + metadata.len() / RECORD_BYTES))
        }
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(StoreError::io("read", path)(error)),
    }
}

fn open_segment(disk: &Disk, dir: &Path, number: u64) -> Result<File, StoreError> {
    let path = segment_path(dir, number);
    let is_new = !path.exists();
    let open = || {
        if is_new {
            disk.step(&Step::CreateFile(path.clone()))?;
        }
        File::options().read(true).write(true).create(true).truncate(false).open(&path)
    };
    let file = open().map_err(StoreError::io("open", &path))?;
    if is_new {
        disk.sync_dir(dir)?;
    }
    Ok(file)
}

fn cut(disk: &Disk, file: &File, size: u64, path: &Path) -> Result<(), StoreError> {
    let cut = || {
        disk.step(&Step::WriteAt(path.to_owned()))?;
        file.set_len(size)
    };
    cut().map_err(StoreError::io("cut", path))
}

fn sync(disk: &Disk, file: &File, path: &Path) -> Result<(), StoreError> {
    let sync = || {
        disk.step(&Step::SyncFile(path.to_owned()))?;
        file.sync_data()
    };
    sync().map_err(StoreError::io("sync", path))
}

/// Numbers of the segments, ascending.
fn segments(dir: &Path) -> Result<Vec<u64>, StoreError> {
    let number = |file: &String| u64::from_str_radix(file.strip_suffix(".log")?, 16).ok();
    let mut numbers: Vec<u64> = read_dir(dir)?.iter().filter_map(number).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016x}.log"))
}

fn encode(executor: &[u8; 32], sequence: u64, id: &[u8; 32]) -> [u8; RECORD_LEN] {
    let mut record = [0; RECORD_LEN];
    let (head, check) = record.split_at_mut(32);
    head.copy_from_slice(id);
    let input = [executor.as_slice(), &sequence.to_le_bytes(), id].concat();
    check.copy_from_slice(&blake3::derive_key(CHECK_CONTEXT, &input));
    record
}

/// The id in a record, if it is whole, in its place and this executor's.
fn decode(executor: &[u8; 32], sequence: u64, record: &[u8; RECORD_LEN]) -> Option<[u8; 32]> {
    let id = *record.first_chunk()?;
    (encode(executor, sequence, &id) == *record).then_some(id)
}

fn corrupt(path: &Path, sequence: u64) -> StoreError {
    let reason = format!("the record of sequence {sequence} is damaged");
    StoreError::Corrupt { path: path.to_owned(), reason, remedy: REMEDY }
}
