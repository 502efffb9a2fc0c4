//! Read and write NumPy files: `.npy` (one tensor) and `.npz` (a zip archive of named ones).
//!
//! Format: NumPy enhancement proposal 1, versions 1.0 to 3.0. Element types `<f4`, `<i4` and `<i8` are taken as they
//! are, `<f8` is rounded to `f32` and noted; every other type is refused by name, because guessing a conversion would
//! change what a model is asked. Fortran order becomes row-major.
//!
//! Files come from strangers: names, counts and sizes are limited, memory grows with the bytes that were really read
//! and never with a length that a header claims, and archive entries are never written to disk.

mod archive;
mod error;
mod header;
mod values;

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufReader, Read},
    path::Path,
};

use veracity_graph::Array;

pub(crate) use archive::write;
pub(crate) use error::NpzError;

/// Bounds on what one file may make us hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Most bytes of values in all tensors together, as they lie in the file uncompressed.
    pub(crate) values_bytes_max: u64,
    /// Most tensors.
    pub(crate) tensors_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { values_bytes_max: 2 << 30, tensors_max: 256 }
    }
}

/// The tensors of a file.
#[derive(Debug, Default)]
pub(crate) struct Tensors {
    /// By name. The single tensor of an `.npy` file has the empty name.
    pub(crate) arrays: BTreeMap<String, Array>,
    /// What was changed while reading, in sentences.
    pub(crate) notes: Vec<String>,
}

/// Reads an `.npz` or `.npy` file, whichever its first bytes say.
///
/// # Errors
/// An [`NpzError`] that names the tensor and the rule it breaks.
pub(crate) fn read(path: &Path, limits: Limits) -> Result<Tensors, NpzError> {
    let mut file = File::open(path)?;
    let mut magic = Vec::new();
    file.by_ref().take(4).read_to_end(&mut magic)?;
    std::io::Seek::rewind(&mut file)?;
    match magic.as_slice() {
        b"PK\x03\x04" | b"PK\x05\x06" => archive::read(BufReader::new(file), limits),
        b"\x93NUM" => single(BufReader::new(file), limits),
        _ => Err(NpzError::Magic),
    }
}

/// Reads the bytes of an `.npz` file.
///
/// # Errors
/// As [`read`].
pub(crate) fn read_archive(bytes: &[u8]) -> Result<Tensors, NpzError> {
    archive::read(std::io::Cursor::new(bytes), Limits::default())
}

fn single(mut reader: impl Read, limits: Limits) -> Result<Tensors, NpzError> {
    let mut tensors = Tensors::default();
    let mut left = limits.values_bytes_max;
    let array = values::read("", &mut reader, &mut left, &mut tensors.notes)?;
    tensors.arrays.insert(String::new(), array);
    Ok(tensors)
}

#[cfg(test)]
mod tests;
