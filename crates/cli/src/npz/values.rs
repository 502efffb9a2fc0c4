//! The values after the header.

use std::io::Read;

use veracity_graph::{Array, ArrayData};

use super::{
    NpzError,
    header::{self, Element, Header},
};

/// Bytes read at a time; a multiple of every element size.
const CHUNK_BYTES: usize = 64 << 10;

/// Reads one `.npy` file to its end, which must come after the last value. `left` is the budget of bytes.
pub(super) fn read(
    name: &str,
    reader: &mut impl Read,
    left: &mut u64,
    notes: &mut Vec<String>,
) -> Result<Array, NpzError> {
    let header = header::read(name, reader)?;
    let count = spend(name, &header, left)?;
    let data = match header.element {
        Element::F32 => ArrayData::F32(exactly(name, reader, count, &header, f32::from_le_bytes)?),
        Element::I32 => ArrayData::I32(exactly(name, reader, count, &header, i32::from_le_bytes)?),
        Element::I64 => ArrayData::I64(exactly(name, reader, count, &header, i64::from_le_bytes)?),
        Element::F64 => {
            let label = if name.is_empty() { "the tensor".to_owned() } else { format!("'{name}'") };
            notes.push(format!("{label} is float64 and was rounded to float32"));
            ArrayData::F32(exactly(name, reader, count, &header, to_f32)?)
        }
    };
    end(name, reader)?;
    Ok(Array { shape: header.shape, data })
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "rounding to the nearest f32 is what is wanted and noted"
)]
fn to_f32(bytes: [u8; 8]) -> f32 {
    f64::from_le_bytes(bytes) as f32
}

/// Number of values, if their bytes are within the budget.
fn spend(name: &str, header: &Header, left: &mut u64) -> Result<usize, NpzError> {
    let count = header.shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    let bytes = count.and_then(|n| u64::try_from(n).ok()?.checked_mul(header.element.size()));
    match (count, bytes.and_then(|bytes| left.checked_sub(bytes))) {
        (Some(count), Some(rest)) => {
            *left = rest;
            Ok(count)
        }
        _ => Err(NpzError::TooLarge { name: name.to_owned(), shape: header.shape.clone(), max: *left }),
    }
}

/// Reads `count` values in row-major order.
fn exactly<T: Copy, const N: usize>(
    name: &str,
    reader: &mut impl Read,
    count: usize,
    header: &Header,
    from: fn([u8; N]) -> T,
) -> Result<Vec<T>, NpzError> {
    let mut values = Vec::new();
    let mut chunk = Vec::with_capacity(CHUNK_BYTES.min(count.saturating_mul(N)));
    while values.len() < count {
        chunk.clear();
        let wanted = (count - values.len()).saturating_mul(N).min(CHUNK_BYTES);
        let found = reader.by_ref().take(u64::try_from(wanted).unwrap_or(u64::MAX)).read_to_end(&mut chunk);
        let found = found.map_err(NpzError::reading)?;
        values.extend(chunk.as_chunks::<N>().0.iter().map(|&bytes| from(bytes)));
        if found < wanted {
            return Err(NpzError::Truncated { name: name.to_owned(), expected: count, found: values.len() });
        }
    }
    let transposed = header.fortran && header.shape.len() > 1;
    Ok(if transposed { row_major(&values, &header.shape) } else { values })
}

/// Also makes the archive compare its checksum, which it does at the end of an entry.
fn end(name: &str, reader: &mut impl Read) -> Result<(), NpzError> {
    let mut byte = [0];
    match reader.read(&mut byte).map_err(NpzError::reading)? {
        0 => Ok(()),
        _ => Err(NpzError::Trailing { name: name.to_owned() }),
    }
}

/// Values whose first index is fastest, reordered so that the last one is.
fn row_major<T: Copy>(values: &[T], shape: &[usize]) -> Vec<T> {
    let mut strides = Vec::with_capacity(shape.len());
    let mut stride = 1usize;
    for &extent in shape {
        strides.push(stride);
        stride = stride.saturating_mul(extent);
    }
    let mut index = vec![0; shape.len()];
    let mut out = Vec::with_capacity(values.len());
    for _ in 0..values.len() {
        let position: usize = index.iter().zip(&strides).map(|(i, s)| i * s).sum();
        out.push(values[position]);
        advance(&mut index, shape);
    }
    out
}

/// The next index in row-major order.
fn advance(index: &mut [usize], shape: &[usize]) {
    for (i, &extent) in index.iter_mut().zip(shape).rev() {
        *i += 1;
        if *i < extent {
            return;
        }
        *i = 0;
    }
}
