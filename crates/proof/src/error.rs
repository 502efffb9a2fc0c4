//! Why a proof is refused.

/// Why bytes are not a proof of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// They end too early.
    #[error("the proof ends at byte {offset}, before {label}")]
    Truncated {
        /// Where the item would begin.
        offset: usize,
        /// What is missing.
        label: &'static str,
    },
    /// A number is not below the modulus.
    #[error("{label} at byte {offset}: a number is not below the modulus")]
    Element {
        /// Where the item begins.
        offset: usize,
        /// What it should be.
        label: &'static str,
    },
    /// They go on after the end.
    #[error("{count} bytes follow the end of the proof")]
    Trailing {
        /// How many.
        count: usize,
    },
}

/// Why a sum of fractions is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FractionError {
    /// The bytes are not of the format.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// There are not two fractions to add.
    #[error("a sum has two fractions at least")]
    TooFew,
    /// A denominator is zero, so there is no sum.
    #[error("the product of the denominators is zero")]
    ZeroDenominator,
    /// The sum is not zero: something is looked up that is not in its table.
    #[error("the sum of the fractions is not zero")]
    Sum,
    /// The values of a layer do not follow from those of the next.
    #[error("layer {layer} does not follow from the next")]
    Layer {
        /// Number of variables of the layer.
        layer: usize,
    },
}
