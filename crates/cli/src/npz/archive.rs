//! The zip archive around several `.npy` files.

use std::io::{Read, Seek, Write};

use veracity_graph::{Array, ArrayData};
use zip::{CompressionMethod, ZipArchive, ZipWriter, write::SimpleFileOptions};

use super::{Limits, NpzError, Tensors, values};

/// Reads all tensors.
pub(super) fn read(reader: impl Read + Seek, limits: Limits) -> Result<Tensors, NpzError> {
    let mut archive = ZipArchive::new(reader)?;
    if archive.len() > limits.tensors_max {
        return Err(NpzError::Entries { found: archive.len(), max: limits.tensors_max });
    }
    let mut tensors = Tensors::default();
    let mut left = limits.values_bytes_max;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index)?;
        let file_name = entry.name()?.into_owned();
        let refuse = |reason| NpzError::Entry { name: file_name.clone(), reason };
        let name = file_name.strip_suffix(".npy").ok_or_else(|| refuse("is not an .npy file"))?;
        if tensors.arrays.contains_key(name) {
            return Err(refuse("is there twice"));
        }
        let array = values::read(name, &mut entry, &mut left, &mut tensors.notes)?;
        tensors.arrays.insert(name.to_owned(), array);
    }
    Ok(tensors)
}

/// Writes tensors as NumPy's `savez_compressed` does. The same tensors give the same bytes.
///
/// # Errors
/// What the writer says.
pub(crate) fn write(writer: impl Write + Seek, tensors: &[(String, Array)]) -> Result<(), NpzError> {
    let mut archive = ZipWriter::new(writer);
    let options =
        SimpleFileOptions::default().compression_method(CompressionMethod::Deflated).large_file(true);
    for (name, array) in tensors {
        archive.start_file(format!("{name}.npy"), options)?;
        archive.write_all(&header(name, array)?)?;
        archive.write_all(&array.to_bytes())?;
    }
    archive.finish()?.flush()?;
    Ok(())
}

/// Version 1.0; the values begin at a multiple of 64 bytes, as NumPy does it.
fn header(name: &str, array: &Array) -> Result<Vec<u8>, NpzError> {
    let descr = match array.data {
        ArrayData::F32(_) => "<f4",
        ArrayData::I32(_) => "<i4",
        ArrayData::I64(_) => "<i8",
    };
    let extents: Vec<String> = array.shape.iter().map(|d| format!("{d},")).collect();
    let shape = extents.join(" ");
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}");
    let padding = 63 - (10 + text.len()) % 64;
    text.extend(std::iter::repeat_n(' ', padding));
    text.push('\n');
    let refuse = |_| NpzError::Header { name: name.to_owned(), reason: "it would have too many axes" };
    let length = u16::try_from(text.len()).map_err(refuse)?;
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
    Ok(bytes)
}
