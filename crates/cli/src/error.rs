//! Why a command ended without success: one sentence what, one sentence what to do, a stable code, an exit status.

use std::{fmt, path::Path};

use serde::Serialize;

use crate::words;

/// Whose trouble it is; decides the exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The arguments or files given do not fit; the same command will fail again. Exit status 2.
    Input,
    /// The disk, the network or another process; the same command may succeed later. Exit status 3.
    Outside,
}

/// Why a command ended without success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Failure {
    #[serde(skip)]
    pub(crate) kind: Kind,
    /// For programs; never changes its meaning.
    pub(crate) code: String,
    /// What is wrong.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) fix: String,
}

impl Failure {
    /// What was given does not fit.
    pub(crate) fn input(code: impl Into<String>, message: impl fmt::Display, fix: impl fmt::Display) -> Self {
        Self { kind: Kind::Input, code: code.into(), message: message.to_string(), fix: fix.to_string() }
    }

    /// Disk, network or another process.
    pub(crate) fn outside(
        code: impl Into<String>,
        message: impl fmt::Display,
        fix: impl fmt::Display,
    ) -> Self {
        Self { kind: Kind::Outside, ..Self::input(code, message, fix) }
    }

    /// A file that was named cannot be read.
    pub(crate) fn read(path: &Path, error: &std::io::Error) -> Self {
        use std::io::ErrorKind::{IsADirectory, NotFound, PermissionDenied};
        let path = path.display();
        let (code, fix) = match error.kind() {
            NotFound => ("file_not_found", "check the path"),
            IsADirectory => ("file_is_folder", "name a file inside it"),
            PermissionDenied => ("file_not_readable", "check who may read it"),
            _ => {
                return Self::outside(
                    "file_not_readable",
                    format!("{path}: {error}"),
                    "try again, check the disk",
                );
            }
        };
        Self::input(code, format!("{path}: {error}"), fix)
    }

    /// A file that was named cannot be written.
    pub(crate) fn write(path: &Path, error: &std::io::Error) -> Self {
        let message = format!("{} cannot be written: {error}", path.display());
        Self::outside(
            "file_not_writable",
            message,
            "check that the folder exists, may be written and has space",
        )
    }

    /// As `Failure`, with the file that it is about in front.
    pub(crate) fn about(mut self, path: &Path) -> Self {
        self.message = format!("{}: {}", path.display(), self.message);
        self
    }

    /// Exit status of the program.
    pub(crate) fn status(&self) -> u8 {
        match self.kind {
            Kind::Input => 2,
            Kind::Outside => 3,
        }
    }
}

/// `error[code]: what`, and below it what to do. Names from files cannot drive the terminal.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (message, fix) = (words::printable(&self.message), words::printable(&self.fix));
        write!(f, "error[{}]: {message}\n  fix: {fix}", words::printable(&self.code))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_read_well() {
        let failure = Failure::input("file_not_found", "x.npz: no such file", "check the path");
        let expected = "error[file_not_found]: x.npz: no such file\n  fix: check the path";
        assert_eq!((failure.to_string().as_str(), failure.status()), (expected, 2));
        assert_eq!(Failure::outside("port_taken", "", "").status(), 3);
        let hostile = Failure::input("x", "\x1b[2J\nPASS  all", "no");
        assert_eq!(hostile.to_string(), "error[x]: \\u{1b}[2J\\u{a}PASS  all\n  fix: no");
    }

    #[test]
    fn unreadable_files_have_codes() {
        let of = |kind| Failure::read(Path::new("x"), &std::io::Error::from(kind)).code;
        assert_eq!(of(std::io::ErrorKind::NotFound), "file_not_found");
        assert_eq!(of(std::io::ErrorKind::IsADirectory), "file_is_folder");
        assert_eq!(of(std::io::ErrorKind::PermissionDenied), "file_not_readable");
        assert_eq!(of(std::io::ErrorKind::TimedOut), "file_not_readable");
    }
}
