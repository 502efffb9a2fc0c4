//! The steps by which the store changes the disk. All of them go through [`Disk`], so that a test can cut the sequence
//! at each one and replay what a disk would hold then.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
};

use bao_tree::io::sync::WriteAt as _;

use crate::StoreError;

/// A change to the disk that is about to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(not(test), allow(dead_code, reason = "only tests look inside"))]
pub(crate) enum Step {
    CreateDir(PathBuf),
    /// Create a file, or empty the one that is there.
    CreateFile(PathBuf),
    Append(PathBuf),
    /// Overwrite a part of a file, or change its length.
    WriteAt(PathBuf),
    SyncFile(PathBuf),
    SyncDir(PathBuf),
    Rename(PathBuf, PathBuf),
    RemoveFile(PathBuf),
    /// Remove a folder with all it holds; it was invisible before, so how far it gets does not matter.
    RemoveTree(PathBuf),
}

#[cfg(test)]
pub(crate) type Hook = std::sync::Arc<dyn Fn(&Step) -> std::io::Result<()> + Send + Sync>;

#[derive(Clone, Default)]
pub(crate) struct Disk {
    #[cfg(test)]
    hook: Option<Hook>,
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Disk")
    }
}

impl Disk {
    #[cfg(test)]
    pub(crate) fn with_hook(hook: Hook) -> Self {
        Self { hook: Some(hook) }
    }

    #[cfg(test)]
    pub(crate) fn step(&self, step: &Step) -> std::io::Result<()> {
        self.hook.as_ref().map_or(Ok(()), |hook| hook(step))
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "tests cut here")]
    pub(crate) fn step(&self, _: &Step) -> std::io::Result<()> {
        Ok(())
    }

    /// Makes a folder unless it is there.
    pub(crate) fn ensure_dir(&self, path: &Path) -> Result<(), StoreError> {
        if path.is_dir() {
            return Ok(());
        }
        self.create_dir(path)
    }

    pub(crate) fn create_dir(&self, path: &Path) -> Result<(), StoreError> {
        let create = || {
            self.step(&Step::CreateDir(path.to_owned()))?;
            fs::create_dir(path)
        };
        create().map_err(StoreError::io("create folder", path))
    }

    /// Creates a file for writing. On Unix its owner alone may read it if `private`.
    pub(crate) fn create_file(&self, path: PathBuf, private: bool) -> Result<DiskFile<'_>, StoreError> {
        let create = || {
            self.step(&Step::CreateFile(path.clone()))?;
            let mut options = File::options();
            options.write(true).create(true).truncate(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, if private { 0o600 } else { 0o644 });
            options.open(&path)
        };
        let file = create().map_err(StoreError::io("create", &path))?;
        Ok(DiskFile { disk: self, path, file })
    }

    /// Opens a file of `size_bytes` for reading and writing anywhere; what it lacks is filled with a hole.
    pub(crate) fn open_sized(&self, path: PathBuf, size_bytes: u64) -> Result<DiskFile<'_>, StoreError> {
        let open = || {
            if !path.exists() {
                self.step(&Step::CreateFile(path.clone()))?;
            }
            let file = File::options().read(true).write(true).create(true).truncate(false).open(&path)?;
            if file.metadata()?.len() != size_bytes {
                self.step(&Step::WriteAt(path.clone()))?;
                file.set_len(size_bytes)?;
            }
            Ok(file)
        };
        let file = open().map_err(StoreError::io("open", &path))?;
        Ok(DiskFile { disk: self, path, file })
    }

    /// Writes a whole file and syncs it. The folder is not synced.
    pub(crate) fn write_file(&self, path: PathBuf, bytes: &[u8]) -> Result<(), StoreError> {
        let mut file = self.create_file(path, false)?;
        file.append(bytes)?;
        file.sync()
    }

    pub(crate) fn sync_dir(&self, path: &Path) -> Result<(), StoreError> {
        let sync = || {
            self.step(&Step::SyncDir(path.to_owned()))?;
            // Windows cannot open a folder as a file; its renames are journalled.
            if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
        };
        sync().map_err(StoreError::io("sync folder", path))
    }

    pub(crate) fn rename(&self, from: &Path, to: &Path) -> Result<(), StoreError> {
        let rename = || {
            self.step(&Step::Rename(from.to_owned(), to.to_owned()))?;
            fs::rename(from, to)
        };
        rename().map_err(StoreError::io("rename to", to))
    }

    pub(crate) fn remove_file(&self, path: &Path) -> Result<(), StoreError> {
        let remove = || {
            self.step(&Step::RemoveFile(path.to_owned()))?;
            fs::remove_file(path)
        };
        remove().map_err(StoreError::io("remove", path))
    }

    pub(crate) fn remove_tree(&self, path: &Path) -> Result<(), StoreError> {
        let remove = || {
            self.step(&Step::RemoveTree(path.to_owned()))?;
            fs::remove_dir_all(path)
        };
        remove().map_err(StoreError::io("remove", path))
    }
}

/// A file that is being written.
#[derive(Debug)]
pub(crate) struct DiskFile<'a> {
    disk: &'a Disk,
    path: PathBuf,
    file: File,
}

impl DiskFile<'_> {
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let mut write = || {
            self.disk.step(&Step::Append(self.path.clone()))?;
            self.file.write_all(bytes)
        };
        write().map_err(StoreError::io("write", &self.path))
    }

    /// Overwrites what is at `offset`; several threads may do so at different places.
    pub(crate) fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let write = || {
            self.disk.step(&Step::WriteAt(self.path.clone()))?;
            self.file.try_clone()?.write_all_at(offset, bytes)
        };
        write().map_err(StoreError::io("write", &self.path))
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        let sync = || {
            self.disk.step(&Step::SyncFile(self.path.clone()))?;
            self.file.sync_all()
        };
        sync().map_err(StoreError::io("sync", &self.path))
    }
}
