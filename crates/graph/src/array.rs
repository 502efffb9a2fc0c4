use std::fmt;

use veracity_ops::DType;

/// Element type of a tensor in a request or an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Elem {
    /// IEEE 754 binary32.
    F32,
    /// Signed 32-bit integer.
    I32,
    /// Signed 64-bit integer.
    I64,
}

impl Elem {
    /// Size of one element in bytes.
    #[must_use]
    pub fn size(self) -> usize {
        match self {
            Self::F32 | Self::I32 => 4,
            Self::I64 => 8,
        }
    }
}

impl fmt::Display for Elem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::I32 => "i32",
            Self::I64 => "i64",
        })
    }
}

/// Values of an [`Array`], row-major.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "each variant is named after its element type")]
pub enum ArrayData {
    F32(Vec<f32>),
    I32(Vec<i32>),
    I64(Vec<i64>),
}

/// A tensor of a request or an answer, the batch axis first.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Extents, the batch first.
    pub shape: Vec<usize>,
    /// Values, row-major.
    pub data: ArrayData,
}

impl Array {
    /// Element type.
    #[must_use]
    pub fn elem(&self) -> Elem {
        match self.data {
            ArrayData::F32(_) => Elem::F32,
            ArrayData::I32(_) => Elem::I32,
            ArrayData::I64(_) => Elem::I64,
        }
    }

    /// Number of values present.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.data {
            ArrayData::F32(v) => v.len(),
            ArrayData::I32(v) => v.len(),
            ArrayData::I64(v) => v.len(),
        }
    }

    /// Whether no value is present.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Values as little-endian bytes, row-major.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        match &self.data {
            ArrayData::F32(v) => v.iter().flat_map(|v| v.to_le_bytes()).collect(),
            ArrayData::I32(v) => v.iter().flat_map(|v| v.to_le_bytes()).collect(),
            ArrayData::I64(v) => v.iter().flat_map(|v| v.to_le_bytes()).collect(),
        }
    }
}

/// Integers of a [`Batch`], row-major.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is named after its element type")]
pub enum IntData {
    I8(Vec<i8>),
    I16(Vec<i16>),
    I32(Vec<i32>),
    I64(Vec<i64>),
}

impl IntData {
    /// Element type.
    #[must_use]
    pub fn dtype(&self) -> DType {
        match self {
            Self::I8(_) => DType::I8,
            Self::I16(_) => DType::I16,
            Self::I32(_) => DType::I32,
            Self::I64(_) => DType::I64,
        }
    }

    /// Number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::I8(v) => v.len(),
            Self::I16(v) => v.len(),
            Self::I32(v) => v.len(),
            Self::I64(v) => v.len(),
        }
    }

    /// Whether there are no values.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Values, widened.
    #[must_use]
    pub fn to_i64(&self) -> Vec<i64> {
        match self {
            Self::I8(v) => v.iter().map(|&v| i64::from(v)).collect(),
            Self::I16(v) => v.iter().map(|&v| i64::from(v)).collect(),
            Self::I32(v) => v.iter().map(|&v| i64::from(v)).collect(),
            Self::I64(v) => v.clone(),
        }
    }
}

/// `n` samples of one graph value, back to back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Number of samples.
    pub n: usize,
    /// Extents of one sample.
    pub shape: Vec<usize>,
    /// `n` times the product of `shape` values.
    pub data: IntData,
}
