//! Which models are hosted for others (`docs/spec/hosting.md`, section 5).

use std::{
    fmt::Write as _,
    fs::{self, File, TryLockError},
    io,
    path::PathBuf,
};

use veracity_graph::{Digest, ModelId};

use crate::{HostedError, Store, StoreError};

const HEADER: &str = "veracity hosted 1";
const REMEDY: &str = "delete it; the models that it lists then count as your own";

/// Why a model is in the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostedKind {
    /// Its owner offers it; it is never evicted.
    Own,
    /// It is here, or about to be, because this node hosts for others.
    Fetched,
    /// It must not be fetched, nor offered, without being asked.
    Refused,
}

const KINDS: [(HostedKind, &str); 3] =
    [(HostedKind::Own, "own"), (HostedKind::Fetched, "fetched"), (HostedKind::Refused, "refused")];

/// An entry of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hosted {
    /// The model.
    pub id: ModelId,
    /// Why it is listed.
    pub kind: HostedKind,
    /// Bytes of graph and weights.
    pub size_bytes: u64,
    /// Last use in seconds, by the clock of the ticks.
    pub used_s: u64,
}

/// The right of one process to write the index, until it is dropped.
#[derive(Debug)]
pub struct HostedLock(#[expect(dead_code, reason = "held, not read")] File);

impl Store {
    /// Takes the right to write the index.
    ///
    /// # Errors
    /// [`HostedError::InUse`] if another process has it, [`HostedError::Store`].
    pub fn lock_hosted(&self) -> Result<HostedLock, HostedError> {
        let folder = self.root().join("hosted");
        let path = folder.join("lock");
        let exclusive = self.exclusive()?;
        if !folder.is_dir() {
            self.disk.create_dir(&folder)?;
            self.disk.sync_dir(self.root())?;
        }
        drop(exclusive);
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(StoreError::io("lock", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(HostedLock(file)),
            Err(TryLockError::WouldBlock) => Err(HostedError::InUse { path: folder }),
            Err(TryLockError::Error(e)) => Err(StoreError::io("lock", path)(e).into()),
        }
    }

    /// The index, ordered by id; empty if there is none.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`], [`StoreError::Io`].
    pub fn hosted(&self) -> Result<Vec<Hosted>, StoreError> {
        let path = self.hosted_path();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) if e.kind() == io::ErrorKind::InvalidData => String::new(),
            Err(e) => return Err(StoreError::io("read", path)(e)),
        };
        decode(&text).ok_or_else(|| StoreError::Corrupt {
            path,
            reason: "it is not what was written".to_owned(),
            remedy: REMEDY,
        })
    }

    /// Replaces the index. Durable when it returns.
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::DiskFull`].
    pub fn set_hosted(&self, _: &HostedLock, entries: &[Hosted]) -> Result<(), StoreError> {
        let scratch = self.scratch()?;
        let file = scratch.path.join("index");
        self.disk.write_file(file.clone(), encode(entries).as_bytes())?;
        self.disk.rename(&file, &self.hosted_path())?;
        self.disk.sync_dir(&self.root().join("hosted"))
    }

    fn hosted_path(&self) -> PathBuf {
        self.root().join("hosted").join("index")
    }
}

fn encode(entries: &[Hosted]) -> String {
    let mut entries = entries.to_vec();
    entries.sort_by_key(|entry| entry.id);
    let mut text = format!("{HEADER}\n");
    for Hosted { id, kind, size_bytes, used_s } in entries {
        let kind = KINDS.into_iter().find(|(k, _)| *k == kind).map_or("", |(_, word)| word);
        let _ = writeln!(text, "{id} {kind} {size_bytes} {used_s}");
    }
    let check = Digest::of(text.as_bytes());
    let _ = writeln!(text, "{check}");
    text
}

/// One index has one text.
fn decode(text: &str) -> Option<Vec<Hosted>> {
    let body = text.strip_prefix(HEADER)?.strip_prefix('\n')?;
    let (_check, lines) = body.lines().collect::<Vec<_>>().split_last().map(|(c, l)| (*c, l.to_vec()))?;
    let entries = lines.into_iter().map(decode_line).collect::<Option<Vec<_>>>()?;
    (encode(&entries) == text).then_some(entries)
}

fn decode_line(line: &str) -> Option<Hosted> {
    let mut words = line.split(' ');
    let id = ModelId(Digest::from_hex(words.next()?)?);
    let word = words.next()?;
    let kind = KINDS.into_iter().find(|(_, w)| *w == word)?.0;
    let (size_bytes, used_s) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    words.next().is_none().then_some(Hosted { id, kind, size_bytes, used_s })
}
