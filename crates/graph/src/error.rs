use veracity_ops::OpError;

use crate::Elem;

/// Why bytes are not a canonical graph, manifest or bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes do not begin with the format's magic.
    #[error("not a {what}: the first bytes are not its magic")]
    Magic {
        /// The expected format.
        what: &'static str,
    },
    /// The version is not one that this program reads.
    #[error("{what} version {found} is not supported, this program reads version {supported}")]
    Version {
        /// The format.
        what: &'static str,
        /// Version in the bytes.
        found: u8,
        /// Version that is supported.
        supported: u8,
    },
    /// The bytes end early.
    #[error("the bytes end at {offset} inside {what}")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Where the bytes end.
        offset: usize,
    },
    /// Bytes follow the value.
    #[error("{count} bytes follow the end")]
    Trailing {
        /// Number of bytes left.
        count: usize,
    },
    /// A number, tag or text is outside what the format allows.
    #[error("{what} at byte {offset} is invalid: {reason}")]
    Invalid {
        /// What was being read.
        what: &'static str,
        /// Where the number, tag or text begins.
        offset: usize,
        /// Which rule is broken.
        reason: &'static str,
    },
    /// A part's bytes do not hash to what the manifest says.
    #[error("the {part} does not match its manifest: expected hash {expected}, found {found}")]
    PartMismatch {
        /// `graph` or `weights`.
        part: &'static str,
        /// Hash in the manifest.
        expected: String,
        /// Hash of the bytes.
        found: String,
    },
}

/// Why a bundle is not a valid model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The graph bytes are not canonical.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The graph and its constants break a rule.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// Why a graph with its constants is not a valid model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A node or output names a value that does not exist or comes later.
    #[error("{place} uses value {value}, which is not defined before it")]
    UndefinedValue {
        /// Node or output.
        place: String,
        /// Value id.
        value: u32,
    },
    /// An operand that must be a constant is not.
    #[error("node '{node}': operand {operand} must be a constant")]
    NotConstant {
        /// Node name.
        node: String,
        /// Operand index.
        operand: usize,
    },
    /// The weight bytes are shorter or longer than the constants need.
    #[error("the constants need {expected} bytes, the weights have {found}")]
    WeightsSize {
        /// Bytes that the graph's constants need.
        expected: u64,
        /// Bytes present.
        found: u64,
    },
    /// Two inputs or two outputs share a name, or a name is empty or too long.
    #[error("{place} name '{name}' is empty, too long or used twice")]
    Name {
        /// `input`, `output` or `symbol`.
        place: &'static str,
        /// The name.
        name: String,
    },
    /// An input or output declaration is inconsistent.
    #[error("'{name}': {reason}")]
    Interface {
        /// Input or output name.
        name: String,
        /// Which rule is broken.
        reason: &'static str,
    },
    /// A sum of products can leave its accumulator.
    #[error("node '{node}': its accumulator could reach {worst}, the limit is {limit}")]
    AccumulatorOverflow {
        /// Node name.
        node: String,
        /// Worst magnitude over all inputs.
        worst: i128,
        /// Largest magnitude allowed.
        limit: i128,
    },
    /// Bounding the sums of products would take more work than the size of the model allows.
    #[error("node '{node}': weights are shared in too many different ways to bound their sums")]
    SumsWork {
        /// Node name.
        node: String,
    },
    /// The graph has no canonical bytes.
    #[error("the graph cannot be encoded: a size is beyond 32 bits, or a list is longer than {list_max}")]
    NotEncodable {
        /// Longest list.
        list_max: usize,
    },
    /// An operator refuses its attributes or operands, or a tensor is too large or holds a value that it may not.
    #[error("node '{node}': {source}")]
    Op {
        /// Node name; or `input` or `constant` with its name or index.
        node: String,
        /// The refusal.
        source: OpError,
    },
}

/// Why the tensors of a request do not fit a model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// A tensor that the model does not have.
    #[error("the model has no input '{name}'; its inputs are {expected:?}")]
    UnknownInput {
        /// Name in the request.
        name: String,
        /// The model's input names.
        expected: Vec<String>,
    },
    /// An input is missing.
    #[error("input '{name}' is missing")]
    MissingInput {
        /// Name of the input.
        name: String,
    },
    /// An input is given twice.
    #[error("input '{name}' is given twice")]
    DuplicateInput {
        /// Name of the input.
        name: String,
    },
    /// The element type differs.
    #[error("input '{name}' has type {found}, the model takes {expected}")]
    Type {
        /// Name of the input.
        name: String,
        /// Type that the model takes.
        expected: Elem,
        /// Type in the request.
        found: Elem,
    },
    /// The shape does not fit.
    #[error("input '{name}' has shape {found:?}, the model takes {expected} (the first axis is the batch)")]
    Shape {
        /// Name of the input.
        name: String,
        /// Shape that the model takes, in words.
        expected: String,
        /// Shape in the request, batch axis first.
        found: Vec<usize>,
    },
    /// The number of values differs from the shape.
    #[error("input '{name}' has {found} values, its shape needs {expected}")]
    Count {
        /// Name of the input.
        name: String,
        /// Product of the shape.
        expected: usize,
        /// Values present.
        found: usize,
    },
    /// A value is NaN or infinite.
    #[error("input '{name}' holds a NaN or infinity at position {position}")]
    NotFinite {
        /// Name of the input.
        name: String,
        /// Row-major position.
        position: usize,
    },
    /// An integer is outside the range that the model declares.
    #[error("input '{name}' holds {value} at position {position}, outside [{lo}, {hi}]")]
    Range {
        /// Name of the input.
        name: String,
        /// Row-major position.
        position: usize,
        /// The value.
        value: i64,
        /// Smallest allowed.
        lo: i64,
        /// Largest allowed.
        hi: i64,
    },
}
