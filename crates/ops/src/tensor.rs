use crate::OpError;

/// Largest number of elements in one tensor of one sample.
///
/// It makes every index an `i32` and keeps the arithmetic of shapes inside 32 bits, so that all machines accept the same
/// models. It is a ceiling of the format, not a promise of memory: `infer` allocates nothing that grows with the number
/// of elements, so whoever evaluates a stranger's model first infers all types and compares their sizes with what it
/// can spare.
pub const ELEMENTS_MAX: usize = 1 << 31;
/// Largest number of axes of one sample (the batch axis is not counted).
pub const RANK_MAX: usize = 8;

/// Element type of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DType {
    /// Signed 8-bit: weights and activations.
    I8,
    /// Signed 16-bit: activations and tables.
    I16,
    /// Signed 32-bit: accumulators, fixed-point values, indices.
    I32,
    /// Signed 64-bit: wide accumulators only.
    I64,
}

impl DType {
    /// Size of one element in bytes.
    #[must_use]
    pub fn size(self) -> usize {
        match self {
            Self::I8 => 1,
            Self::I16 => 2,
            Self::I32 => 4,
            Self::I64 => 8,
        }
    }

    /// Smallest value.
    #[must_use]
    pub fn min(self) -> i64 {
        match self {
            Self::I8 => i64::from(i8::MIN),
            Self::I16 => i64::from(i16::MIN),
            Self::I32 => i64::from(i32::MIN),
            Self::I64 => i64::MIN,
        }
    }

    /// Largest value.
    #[must_use]
    pub fn max(self) -> i64 {
        match self {
            Self::I8 => i64::from(i8::MAX),
            Self::I16 => i64::from(i16::MAX),
            Self::I32 => i64::from(i32::MAX),
            Self::I64 => i64::MAX,
        }
    }

    /// Whether `value` can be held.
    #[must_use]
    pub fn holds(self, value: i64) -> bool {
        (self.min()..=self.max()).contains(&value)
    }
}

/// Element type and shape of one sample's tensor.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TensorType {
    /// Element type.
    pub dtype: DType,
    /// Extent of each axis, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
}

impl TensorType {
    /// A type, after checking its size.
    ///
    /// # Errors
    /// [`OpError::TooLarge`] beyond [`RANK_MAX`] axes or [`ELEMENTS_MAX`] elements, where an empty axis counts as one
    /// position: so the product of any of the extents is bounded.
    pub fn new(dtype: DType, shape: Vec<usize>) -> Result<Self, OpError> {
        let ty = Self { dtype, shape };
        ty.check()?;
        Ok(ty)
    }

    /// Checks the size, as [`TensorType::new`] does.
    pub(crate) fn check(&self) -> Result<(), OpError> {
        let count = self.shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d.max(1)));
        match count {
            Some(n) if n <= ELEMENTS_MAX && self.shape.len() <= RANK_MAX => Ok(()),
            Some(_) | None => Err(OpError::TooLarge { shape: crate::error::excerpt(&self.shape) }),
        }
    }

    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.iter().fold(1, |n, &d| n.saturating_mul(d))
    }

    /// Whether some axis is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Extent of the last axis; 1 for a scalar.
    #[must_use]
    pub fn last(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }
}

/// One sample's tensor in row-major order. Every value fits the element type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    ty: TensorType,
    values: Vec<i64>,
}

impl Tensor {
    /// A tensor of `values`, row-major.
    ///
    /// # Errors
    /// [`OpError::Shape`] if the number of values differs from the shape, [`OpError::Range`] if a value does not fit.
    pub fn new(dtype: DType, shape: Vec<usize>, values: Vec<i64>) -> Result<Self, OpError> {
        let ty = TensorType::new(dtype, shape)?;
        if ty.len() != values.len() {
            return Err(crate::error::shape_error(
                "Tensor",
                "number of values differs from the shape",
                &[&ty.shape],
            ));
        }
        match values.iter().find(|v| !dtype.holds(**v)) {
            Some(&value) => Err(OpError::Range { op: "Tensor", value, lo: dtype.min(), hi: dtype.max() }),
            None => Ok(Self { ty, values }),
        }
    }

    /// Element type and shape.
    #[must_use]
    pub fn ty(&self) -> &TensorType {
        &self.ty
    }

    /// Shape, outermost axis first.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.ty.shape
    }

    /// Element type.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.ty.dtype
    }

    /// Values in row-major order, widened.
    #[must_use]
    pub fn values(&self) -> &[i64] {
        &self.values
    }

    /// Canonical bytes: each value little-endian in its element type, row-major.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let size = self.ty.dtype.size();
        self.values.iter().flat_map(|v| v.to_le_bytes().into_iter().take(size)).collect()
    }
}
