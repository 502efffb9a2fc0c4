//! That no command writes over what it reads, or writes two things to one place.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::error::Failure;

/// A file that a command reads or writes, and what the user knows it as.
#[derive(Debug, Clone)]
pub(crate) struct Use {
    what: &'static str,
    path: PathBuf,
    written: bool,
}

impl Use {
    /// It is read.
    pub(crate) fn read(what: &'static str, path: impl Into<PathBuf>) -> Self {
        Self { what, path: path.into(), written: false }
    }

    /// It is written.
    pub(crate) fn write(what: &'static str, path: impl Into<PathBuf>) -> Self {
        Self { what, path: path.into(), written: true }
    }
}

/// Checks that nothing is written to a place that is also read or written as something else, by whatever path or link.
/// What is no file (`/dev/null`, a pipe) may have several uses, as may what is only read.
///
/// # Errors
/// `same_file`.
pub(crate) fn check(uses: &[Use]) -> Result<(), Failure> {
    let places: Vec<(&Use, Place)> = uses.iter().filter_map(|u| Some((u, place(&u.path)?))).collect();
    for (i, (one, place)) in places.iter().enumerate() {
        let clash = places[..i].iter().find(|(other, p)| p == place && (one.written || other.written));
        if let Some((other, _)) = clash {
            let (what, path) = (other.what, one.path.display());
            let message = format!("{what} and {} are the same file, {path}, which would be lost", one.what);
            return Err(Failure::input("same_file", message, "give each its own file"));
        }
    }
    Ok(())
}

/// What tells one file from another.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// A file that exists, by device and number where the system has them.
    #[cfg(unix)]
    File { device: u64, number: u64 },
    /// Its path without links and dots.
    Path(PathBuf),
}

/// Nothing for what is neither a file nor can become one.
fn place(path: &Path) -> Option<Place> {
    match fs::metadata(path) {
        Ok(metadata) => metadata.is_file().then(|| existing(path, &metadata)),
        Err(_) => {
            let parent = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
            let parent = parent.canonicalize().unwrap_or_else(|_| parent.to_owned());
            Some(Place::Path(parent.join(path.file_name()?)))
        }
    }
}

#[cfg(unix)]
fn existing(_: &Path, metadata: &fs::Metadata) -> Place {
    use std::os::unix::fs::MetadataExt;
    Place::File { device: metadata.dev(), number: metadata.ino() }
}

#[cfg(not(unix))]
fn existing(path: &Path, _: &fs::Metadata) -> Place {
    Place::Path(path.canonicalize().unwrap_or_else(|_| path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_file_has_one_use() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("x"), "x").unwrap();
        fs::create_dir(path("folder")).unwrap();
        let read = |name: &str| Use::read("--input", path(name));
        let write = |name: &str| Use::write("--output", path(name));
        for (uses, clash) in [
            ([read("x"), write("x")], true),
            ([read("x"), write("folder/../x")], true),
            ([write("y"), write("folder/../y")], true),
            ([write("x"), write("./x")], true),
            ([read("x"), read("x")], false),
            ([read("x"), write("y")], false),
            ([write("x"), write("folder/x")], false),
            ([write("folder"), write("folder")], false),
        ] {
            assert_eq!(check(&uses).is_err(), clash, "{uses:?}");
        }
        let failure = check(&[read("x"), write("x")]).unwrap_err();
        let expected = "error[same_file]: --input and --output are the same file, ";
        assert!(failure.to_string().starts_with(expected), "{failure}");
        assert_eq!(failure.status(), 2);
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_devices_shared() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("x"), "x").unwrap();
        fs::hard_link(path("x"), path("hard")).unwrap();
        std::os::unix::fs::symlink("x", path("soft")).unwrap();
        for link in ["hard", "soft"] {
            check(&[Use::read("--input", path("x")), Use::write("--output", path(link))]).unwrap_err();
        }
        let null = || Use::write("--output", "/dev/null");
        check(&[null(), null()]).unwrap();
    }
}
