/// Why a NumPy file is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum NpzError {
    /// The file cannot be read at all.
    #[error("it cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// Neither a zip archive nor an `.npy` file.
    #[error("it is neither an .npz nor an .npy file")]
    Magic,
    /// The zip archive is damaged or uses something that NumPy does not write.
    #[error("the archive cannot be read: {0}")]
    Archive(#[from] zip::result::ZipError),
    /// More tensors than the limit.
    #[error("it has {found} entries, at most {max} are read")]
    Entries {
        /// Entries in the archive.
        found: usize,
        /// The limit.
        max: usize,
    },
    /// An entry is no `.npy` file, or two have one name.
    #[error("entry '{name}' {reason}")]
    Entry {
        /// Name in the archive.
        name: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// The header is not one that NumPy writes.
    #[error("{}: the header is invalid: {reason}", tensor(name))]
    Header {
        /// Tensor name.
        name: String,
        /// Which rule is broken.
        reason: &'static str,
    },
    /// A format version that does not exist yet.
    #[error("{}: .npy version {major}.{minor} is not supported, versions 1.0 to 3.0 are", tensor(name))]
    Version {
        /// Tensor name.
        name: String,
        /// Major version.
        major: u8,
        /// Minor version.
        minor: u8,
    },
    /// An element type that is not taken.
    #[error("{} has element type '{descr}'; '<f4', '<f8', '<i4' and '<i8' are read", tensor(name))]
    Type {
        /// Tensor name.
        name: String,
        /// As in the file.
        descr: String,
    },
    /// More values than the limit.
    #[error("{} has shape {shape:?}, which is beyond the limit of {max} bytes per file", tensor(name))]
    TooLarge {
        /// Tensor name.
        name: String,
        /// Shape in the header.
        shape: Vec<usize>,
        /// The limit.
        max: u64,
    },
    /// The values end early.
    #[error("{} ends after {found} of {expected} values", tensor(name))]
    Truncated {
        /// Tensor name.
        name: String,
        /// Values by the shape.
        expected: usize,
        /// Values present.
        found: usize,
    },
    /// Bytes follow the values.
    #[error("{} has bytes after its last value", tensor(name))]
    Trailing {
        /// Tensor name.
        name: String,
    },
}

fn tensor(name: &str) -> String {
    if name.is_empty() { "the tensor".to_owned() } else { format!("tensor '{name}'") }
}

impl NpzError {
    /// Trouble inside the compressed data is the file's fault, not the disk's.
    pub(super) fn reading(error: std::io::Error) -> Self {
        use std::io::ErrorKind::{InvalidData, InvalidInput, Other, UnexpectedEof, Unsupported};
        match error.kind() {
            InvalidData | InvalidInput | UnexpectedEof | Unsupported | Other => {
                Self::Archive(zip::result::ZipError::Io(error))
            }
            _ => Self::Io(error),
        }
    }

    /// Stable code.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Io(_) => "npz_io",
            Self::Magic => "npz_magic",
            Self::Archive(_) => "npz_archive",
            Self::Entries { .. } => "npz_entries",
            Self::Entry { .. } => "npz_entry",
            Self::Header { .. } => "npz_header",
            Self::Version { .. } => "npz_version",
            Self::Type { .. } => "npz_type",
            Self::TooLarge { .. } => "npz_too_large",
            Self::Truncated { .. } => "npz_truncated",
            Self::Trailing { .. } => "npz_trailing",
        }
    }

    /// What to do about it.
    pub(crate) fn fix(&self) -> &'static str {
        match self {
            Self::Io(_) => "check the path and that the file may be read",
            Self::Type { .. } => "convert it first: numpy.savez(..., name=array.astype('float32'))",
            Self::Entries { .. } | Self::TooLarge { .. } => "split it into several files",
            Self::Magic
            | Self::Archive(_)
            | Self::Entry { .. }
            | Self::Header { .. }
            | Self::Version { .. }
            | Self::Truncated { .. }
            | Self::Trailing { .. } => "write it again with numpy.savez or numpy.savez_compressed",
        }
    }
}
