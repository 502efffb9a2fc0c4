/// Why a name does not select an instruction set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IsaError {
    /// No instruction set has this name.
    #[error("unknown instruction set {name:?}: expected scalar, avx2 or avx512")]
    Unknown {
        /// The name given.
        name: String,
    },
    /// This processor lacks the instruction set.
    #[error("this processor has no {name}")]
    Unavailable {
        /// The name given.
        name: &'static str,
    },
}

/// A value met at run time that the operator does not define, where no bound could rule it out beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// An accumulator does not fit its type, or the range that a requantisation takes.
    #[error("accumulator {value} is outside [{lo}, {hi}]")]
    Accumulator {
        /// The accumulator.
        value: i64,
        /// Smallest allowed value.
        lo: i64,
        /// Largest allowed value.
        hi: i64,
    },
    /// An index is outside its axis.
    #[error("index {value} is outside [{lo}, {hi}]")]
    Index {
        /// The index.
        value: i64,
        /// Smallest allowed value.
        lo: i64,
        /// Largest allowed value.
        hi: i64,
    },
}
