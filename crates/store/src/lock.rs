//! Locks and the folders in `tmp/` (specification, section 3).

use std::{
    fs::{File, TryLockError},
    io::ErrorKind,
    path::PathBuf,
};

use crate::{Store, StoreError, disk::Disk, store::read_dir};

/// Held while visible things change; the kernel releases it when the process dies.
#[derive(Debug)]
pub(crate) struct Exclusive(#[expect(dead_code, reason = "held, not read")] File);

/// A folder in `tmp/` with its own lock, deleted when dropped.
#[derive(Debug)]
pub(crate) struct Scratch<'a> {
    disk: &'a Disk,
    pub(crate) path: PathBuf,
    _lock: File,
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        // What stays behind is deleted at the next open.
        if let Err(error) = self.disk.remove_tree(&self.path) {
            tracing::debug!(%error, "scratch folder stays until the next open");
        }
    }
}

impl Store {
    /// Waits for the lock under which visible things change.
    pub(crate) fn exclusive(&self) -> Result<Exclusive, StoreError> {
        let path = self.root().join("lock");
        let open = || {
            let file = File::options().create(true).truncate(false).write(true).open(&path)?;
            file.lock()?;
            Ok(file)
        };
        open().map(Exclusive).map_err(StoreError::io("lock", &path))
    }

    /// A new folder in `tmp/`. It must not be asked for while the caller holds the exclusive lock.
    pub(crate) fn scratch(&self) -> Result<Scratch<'_>, StoreError> {
        // Under the lock, so that nobody who cleans sees the folder before it is locked.
        let _lock = self.exclusive()?;
        let tmp = self.root().join("tmp");
        let free = |n: &u64| !tmp.join(format!("{}-{n}", std::process::id())).exists();
        let n = (0..u64::MAX).find(free).unwrap_or(u64::MAX);
        let path = tmp.join(format!("{}-{n}", std::process::id()));
        self.disk.create_dir(&path)?;
        let lock = path.join("lock");
        let open = || {
            let file = File::create(&lock)?;
            file.lock()?;
            Ok(file)
        };
        let lock = open().map_err(StoreError::io("lock", &lock))?;
        Ok(Scratch { disk: &self.disk, path, _lock: lock })
    }

    /// Deletes folders in `tmp/` whose process is gone.
    pub(crate) fn clean(&self, _: &Exclusive) -> Result<(), StoreError> {
        let tmp = self.root().join("tmp");
        for folder in read_dir(&tmp)? {
            let path = tmp.join(folder);
            let in_use = File::open(path.join("lock"))
                .is_ok_and(|f| matches!(f.try_lock(), Err(TryLockError::WouldBlock)));
            if !in_use {
                tracing::info!(path = %path.display(), "store.clean: an interrupted write left this behind");
                // Its own process may be deleting it at this very moment; then it is gone, as wanted.
                match self.disk.remove_tree(&path) {
                    Err(StoreError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {}
                    done => done?,
                }
            }
        }
        Ok(())
    }
}
