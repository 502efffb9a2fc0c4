use veracity_ops::{DType, Op};

use crate::Elem;

/// A value of a graph: inputs first, then constants, then node outputs in node order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub u32);

impl ValueId {
    /// As an index.
    #[must_use]
    pub fn index(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// A positive, finite, normal `f32`, kept as bits so that graphs compare and hash exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Scale(u32);

impl Scale {
    /// `value`, if it is positive, finite and normal.
    #[must_use]
    pub fn new(value: f32) -> Option<Self> {
        (value.is_normal() && value.is_sign_positive()).then(|| Self(value.to_bits()))
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> f32 {
        f32::from_bits(self.0)
    }
}

/// One extent of an input, per sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dim {
    /// Always this many.
    Fixed(u32),
    /// As many as the request says; equal symbols have equal extents. Indexes [`Graph::symbols`].
    Symbol(u32),
}

/// How a request's numbers become integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// `clamp(round_ties_even(x * inv_scale) + zero)` to the range of `dtype`: one IEEE 754 multiplication, one
    /// rounding. For `f32` inputs.
    Quantise {
        /// `i8`, `i16` or `i32`.
        dtype: DType,
        /// Reciprocal of the real size of one step.
        inv_scale: Scale,
        /// Integer that stands for real zero.
        zero: i32,
    },
    /// The integer itself, as `i32`; refused outside `[lo, hi]`. For integer inputs.
    Integer {
        /// Smallest value.
        lo: i32,
        /// Largest value.
        hi: i32,
    },
}

impl Encoding {
    /// Element type inside the graph.
    #[must_use]
    pub fn dtype(&self) -> DType {
        match self {
            Self::Quantise { dtype, .. } => *dtype,
            Self::Integer { .. } => DType::I32,
        }
    }
}

/// How integers become an answer's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoding {
    /// `f32(value - zero) * scale`: one exact subtraction, one conversion (to nearest, ties to even), one IEEE 754
    /// multiplication. The answer is `f32`.
    Dequantise {
        /// Real size of one step.
        scale: Scale,
        /// Integer that stands for real zero.
        zero: i32,
    },
    /// The integer itself, in this type: `i32` or `i64`.
    Integer(Elem),
}

/// A tensor that a request brings. The batch axis comes before `dims` and is not listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Name in requests.
    pub name: String,
    /// Element type in requests.
    pub elem: Elem,
    /// Extents per sample.
    pub dims: Vec<Dim>,
    /// How values become integers.
    pub encoding: Encoding,
}

/// A tensor that an answer carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Name in answers.
    pub name: String,
    /// The value.
    pub value: ValueId,
    /// How integers become numbers.
    pub decoding: Decoding,
}

/// Type of a constant; its bytes lie in the weights in the order of the constants, without gaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConstantType {
    /// Element type.
    pub dtype: DType,
    /// Extents.
    pub shape: Vec<u32>,
}

impl ConstantType {
    /// Size in bytes, if it can be represented.
    #[must_use]
    pub fn size_bytes(&self) -> Option<u64> {
        let size = u64::try_from(self.dtype.size()).ok()?;
        self.shape.iter().try_fold(size, |n, &d| n.checked_mul(u64::from(d)))
    }
}

/// An operator applied to values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Where it comes from, for messages; the source's node name.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// Operands, defined earlier.
    pub inputs: Vec<ValueId>,
}

/// Operators in execution order, with the tensors that enter and leave.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Graph {
    /// Names of dynamic extents.
    pub symbols: Vec<String>,
    /// Request tensors.
    pub inputs: Vec<Input>,
    /// Constant tensors.
    pub constants: Vec<ConstantType>,
    /// Operators; each uses earlier values only.
    pub nodes: Vec<Node>,
    /// Answer tensors.
    pub outputs: Vec<Output>,
}

impl Graph {
    /// Value of input `index`.
    #[must_use]
    pub fn input_value(&self, index: usize) -> ValueId {
        ValueId(u32::try_from(index).unwrap_or(u32::MAX))
    }

    /// Value of constant `index`.
    #[must_use]
    pub fn constant_value(&self, index: usize) -> ValueId {
        self.input_value(self.inputs.len().saturating_add(index))
    }

    /// Index of the constant that `value` is, if it is one.
    #[must_use]
    pub fn as_constant(&self, value: ValueId) -> Option<usize> {
        value.index().checked_sub(self.inputs.len()).filter(|&i| i < self.constants.len())
    }

    /// First output value of each node, and at the end the total number of values.
    #[must_use]
    pub fn first_outputs(&self) -> Vec<ValueId> {
        let mut next = self.inputs.len().saturating_add(self.constants.len());
        let mut ids = vec![self.input_value(next)];
        for node in &self.nodes {
            next = next.saturating_add(node.op.n_outputs());
            ids.push(self.input_value(next));
        }
        ids
    }
}
