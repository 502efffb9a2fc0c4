use crate::{DType, RANK_MAX};

/// Why an operator refuses its attributes or operands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpError {
    /// The operator takes another number of operands.
    #[error("{op}: takes {expected} operands, got {found}")]
    Arity {
        /// Operator name.
        op: &'static str,
        /// What it takes, in words.
        expected: &'static str,
        /// What was given.
        found: usize,
    },
    /// An operand has an element type that the operator does not accept.
    #[error("{op}: operand {operand} has type {found:?}, needs {expected}")]
    Type {
        /// Operator name.
        op: &'static str,
        /// Operand index.
        operand: usize,
        /// Accepted types, in words.
        expected: &'static str,
        /// Type of the operand.
        found: DType,
    },
    /// Operand shapes do not fit each other or the attributes.
    #[error("{op}: {reason} (shapes {shapes:?})")]
    Shape {
        /// Operator name.
        op: &'static str,
        /// Which rule is broken.
        reason: &'static str,
        /// Shapes of the operands, or the attribute at fault, per sample; long ones are cut.
        shapes: Vec<Vec<usize>>,
    },
    /// An attribute is outside its range.
    #[error("{op}: attribute {attribute} = {value} is outside its range")]
    Attribute {
        /// Operator name.
        op: &'static str,
        /// Attribute name.
        attribute: &'static str,
        /// Offending value.
        value: i64,
    },
    /// A sum or product could exceed the integer that holds it.
    #[error("{op}: a value could need {bits} bits, the limit is {limit}")]
    Magnitude {
        /// Operator name.
        op: &'static str,
        /// Bits that the worst case needs.
        bits: u32,
        /// Bits available.
        limit: u32,
    },
    /// A tensor would be larger than [`ELEMENTS_MAX`](crate::ELEMENTS_MAX) elements or
    /// [`RANK_MAX`](crate::RANK_MAX) axes.
    #[error("tensor of shape {shape:?} is too large")]
    TooLarge {
        /// Shape of the refused tensor; cut if it has too many axes.
        shape: Vec<usize>,
    },
    /// A value lies outside its element type or, for an index, outside its axis.
    #[error("{op}: value {value} is outside [{lo}, {hi}]")]
    Range {
        /// Operator name.
        op: &'static str,
        /// Offending value.
        value: i64,
        /// Smallest allowed value.
        lo: i64,
        /// Largest allowed value.
        hi: i64,
    },
}

/// Most shapes in one message.
const SHAPES_SHOWN: usize = 4;

pub(crate) fn shape_error(op: &'static str, reason: &'static str, shapes: &[&[usize]]) -> OpError {
    OpError::Shape { op, reason, shapes: shapes.iter().take(SHAPES_SHOWN).map(|s| excerpt(s)).collect() }
}

/// Enough of a shape to show in a message: a refusal stays small, whatever it refuses.
pub(crate) fn excerpt(shape: &[usize]) -> Vec<usize> {
    shape.iter().take(RANK_MAX + 1).copied().collect()
}

pub(crate) fn check_arity(op: &'static str, found: usize, min: usize, max: usize) -> Result<(), OpError> {
    if (min..=max).contains(&found) {
        return Ok(());
    }
    let expected = match (min, max) {
        (1, 1) => "1",
        (2, 2) => "2",
        (2, 3) => "2 or 3",
        (_, _) => "1 to 1024",
    };
    Err(OpError::Arity { op, expected, found })
}

pub(crate) fn check_range(
    op: &'static str,
    attribute: &'static str,
    value: i64,
    range: std::ops::RangeInclusive<i64>,
) -> Result<(), OpError> {
    if range.contains(&value) { Ok(()) } else { Err(OpError::Attribute { op, attribute, value }) }
}
