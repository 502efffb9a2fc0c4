//! Files that a user names: read within a limit, written in full or not at all.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::error::Failure;

/// Reads a file of at most `bytes_max` bytes; one without an end, such as `/dev/zero`, is refused like one that is
/// too large.
///
/// # Errors
/// `file_too_large`, and those of [`Failure::read`].
pub(crate) fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Failure> {
    let size = fs::metadata(path).map_or(0, |m| m.len());
    let bytes = if size > bytes_max { Vec::new() } else { read_start(path, bytes_max.saturating_add(1))? };
    if size.max(bytes.len() as u64) > bytes_max {
        let message = format!("{} has more than the {bytes_max} bytes that are read", path.display());
        return Err(Failure::input("file_too_large", message, "check that it is the file you mean"));
    }
    Ok(bytes)
}

/// The first bytes of a file, at most `bytes_max`.
///
/// # Errors
/// Those of [`Failure::read`].
pub(crate) fn read_start(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(bytes_max).read_to_end(&mut bytes));
    read.map(|_| bytes).map_err(|e| Failure::read(path, &e))
}

/// Writes a file that is there in full or not at all. What is no file (a pipe, `/dev/stdout`) is written to.
///
/// # Errors
/// `file_not_writable`.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    if fs::metadata(path).is_ok_and(|m| !m.is_file()) {
        return fs::write(path, bytes).map_err(|e| Failure::write(path, &e));
    }
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let write = || {
        let mut file = tempfile::Builder::new().prefix(".veracity-").tempfile_in(&folder)?;
        io::Write::write_all(&mut file, bytes)?;
        make_readable(file.as_file())?;
        file.persist(path).map_err(|e| e.error)?;
        Ok(())
    };
    write().map_err(|e: io::Error| Failure::write(path, &e))
}

/// As [`write()`], but a file with anything else in it is not overwritten.
///
/// # Errors
/// `file_exists`, `file_not_writable`.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let is_taken =
        fs::metadata(path).is_ok_and(|m| m.is_file()) && !fs::read(path).is_ok_and(|old| old == bytes);
    if is_taken {
        let message = format!("{} is there already, with something else in it", path.display());
        return Err(Failure::input("file_exists", message, "choose another name, or remove the file"));
    }
    write(path, bytes)
}

/// Temporary files are private; what the user asked for has the usual mode.
#[cfg(unix)]
fn make_readable(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn make_readable(_: &File) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        write_new(&path, b"key").unwrap();
        write_new(&path, b"key").unwrap();
        assert_eq!(write_new(&path, b"other").unwrap_err().code, "file_exists");
        assert_eq!(read(&path, 5).unwrap(), b"key");
    }

    #[test]
    fn reading_stops_at_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        write(&path, b"12345").unwrap();
        assert_eq!(read(&path, 5).unwrap(), b"12345");
        assert_eq!(read_start(&path, 3).unwrap(), b"123");
        let failure = read(&path, 4).unwrap_err();
        assert_eq!(failure.code, "file_too_large");
        assert!(failure.message.ends_with("x has more than the 4 bytes that are read"), "{failure}");
        assert_eq!(read(&dir.path().join("y"), 4).unwrap_err().code, "file_not_found");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_without_an_end_is_refused() {
        assert_eq!(read(Path::new("/dev/zero"), 1 << 20).unwrap_err().code, "file_too_large");
    }
}
