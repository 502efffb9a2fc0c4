use veracity_graph::ModelError;
use veracity_kernels::ValueError;
use veracity_ops::{DType, OpError};

/// Why a model cannot be made ready.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The operating system gives no threads.
    #[error("cannot start {threads} threads: {source}")]
    Threads {
        /// Number of threads wanted.
        threads: usize,
        /// The refusal.
        source: rayon::ThreadPoolBuildError,
    },
    /// An operator of the model refuses its operands.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// A name that is not one of a [`TraceKind`](crate::TraceKind).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown kind of trace {name:?}: expected checkpoints or full")]
pub struct TraceKindError {
    /// The name.
    pub name: String,
}

/// Why a run fails. All variants but [`RunError::TooLarge`] and [`RunError::WeightsTooLarge`] depend on the request and the model alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The number of inputs differs.
    #[error("the model has {expected} inputs, the request {found}")]
    InputCount {
        /// Inputs of the model.
        expected: usize,
        /// Inputs given.
        found: usize,
    },
    /// The request has no samples.
    #[error("the request has no samples")]
    Empty,
    /// An input has another element type.
    #[error("input '{name}' has type {found:?}, the graph takes {expected:?}")]
    InputType {
        /// Name of the input.
        name: String,
        /// Type that the model takes.
        expected: DType,
        /// Type given.
        found: DType,
    },
    /// An input has another shape than the model declares, or two inputs disagree about a symbol.
    #[error("input '{name}' has shape {found:?}, which the model does not take")]
    InputShape {
        /// Name of the input.
        name: String,
        /// Extents of one sample.
        found: Vec<usize>,
    },
    /// Inputs have different numbers of samples.
    #[error("input '{name}' has {found} samples, the first input has {expected}")]
    InputBatch {
        /// Name of the input.
        name: String,
        /// Samples of the first input.
        expected: usize,
        /// Samples of this one.
        found: usize,
    },
    /// An input has more or fewer values than its shape says.
    #[error("input '{name}' has {found} values, its shape needs {expected}")]
    InputCountValues {
        /// Name of the input.
        name: String,
        /// Product of the shape and the number of samples.
        expected: usize,
        /// Values given.
        found: usize,
    },
    /// An operator refuses operands of the shapes that follow from the inputs.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The values would need more memory than allowed.
    #[error("the run needs {needed_bytes} bytes, the limit is {limit_bytes}")]
    TooLarge {
        /// Memory that the run needs.
        needed_bytes: u128,
        /// [`Options::memory_bytes_max`](crate::Options::memory_bytes_max).
        limit_bytes: usize,
    },
    /// The weights, packed for this processor, would need more memory than allowed.
    #[error("the packed weights need about {needed_bytes} bytes, the limit is {limit_bytes}")]
    WeightsTooLarge {
        /// Memory that the packed weights need.
        needed_bytes: u128,
        /// [`Options::memory_bytes_max`](crate::Options::memory_bytes_max).
        limit_bytes: usize,
    },
    /// An operator met a value that it does not define.
    #[error("node '{node}': {source}")]
    Value {
        /// Name of the node.
        node: String,
        /// The refusal.
        source: ValueError,
    },
    /// The reference met a value that an operator does not define.
    #[error("node '{node}': {source}")]
    Reference {
        /// Name of the node.
        node: String,
        /// The refusal.
        source: OpError,
    },
}
