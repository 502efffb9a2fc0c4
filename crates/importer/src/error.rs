use veracity_graph::{BatchError, ModelError};

/// Why a source file cannot be imported. Each has a stable [`code`](ImportError::code).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The bytes are not an ONNX model.
    #[error("not a readable ONNX file: {reason}")]
    NotOnnx {
        /// What the reader says.
        reason: String,
    },
    /// The operator set is older or newer than what the importer follows.
    #[error(
        "operator set {found} of domain '{domain}' is outside {min} to {max}; convert the model with onnx.version_converter"
    )]
    Opset {
        /// Operator domain.
        domain: String,
        /// Version in the file.
        found: i64,
        /// Oldest supported.
        min: i64,
        /// Newest supported.
        max: i64,
    },
    /// An operator that the importer does not know.
    #[error("operator {op} (node '{node}') is not supported: {hint}")]
    UnsupportedOperator {
        /// Operator type, with its domain if not the default one.
        op: String,
        /// Node name, or its first output.
        node: String,
        /// What to do.
        hint: String,
    },
    /// A supported operator used in an unsupported way.
    #[error("node '{node}' ({op}): {reason}")]
    UnsupportedUse {
        /// Operator type.
        op: String,
        /// Node name, or its first output.
        node: String,
        /// What is not supported, and what to do.
        reason: String,
    },
    /// A node refers to a tensor that nothing defines before it.
    #[error("node '{node}' uses tensor '{tensor}', which nothing defines before it")]
    UndefinedTensor {
        /// Node name.
        node: String,
        /// Tensor name.
        tensor: String,
    },
    /// A tensor is malformed, or defined twice.
    #[error("tensor '{tensor}': {reason}")]
    BadTensor {
        /// Tensor name.
        tensor: String,
        /// Which rule is broken.
        reason: String,
    },
    /// A model input or output is declared in an unsupported way.
    #[error("'{name}': {reason}")]
    Interface {
        /// Input or output name.
        name: String,
        /// What is not supported, and what to do.
        reason: String,
    },
    /// The samples do not fit the model.
    #[error("samples: {0}")]
    Samples(#[from] BatchError),
    /// There are samples without a row.
    #[error("samples: the file holds no sample")]
    NoSamples,
    /// A static conversion was asked for without anything to take scales from.
    #[error(
        "static scales need samples, or a model that is already quantised; give --samples, or leave the scheme at auto"
    )]
    StaticNeedsSamples,
    /// The converted graph breaks a rule of the format.
    #[error("the converted graph is invalid: {0}")]
    Model(#[from] ModelError),
    /// The converted graph cannot be run on the samples.
    #[error("running the converted model on the samples failed: {reason}")]
    Run {
        /// What the engine says.
        reason: String,
    },
    /// A value leaves the fixed-point range while scales are measured.
    #[error(
        "node '{node}': values exceed +-{limit}, the range of the fixed-point pass; scale the model's inputs down, or use the dynamic scheme"
    )]
    OutOfRange {
        /// Node name.
        node: String,
        /// Largest representable magnitude.
        limit: f64,
    },
}

impl ImportError {
    /// Stable code for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotOnnx { .. } => "not_onnx",
            Self::Opset { .. } => "unsupported_opset",
            Self::UnsupportedOperator { .. } => "unsupported_operator",
            Self::UnsupportedUse { .. } => "unsupported_use",
            Self::UndefinedTensor { .. } => "undefined_tensor",
            Self::BadTensor { .. } => "bad_tensor",
            Self::Interface { .. } => "unsupported_interface",
            Self::Samples(_) => "bad_samples",
            Self::NoSamples => "no_samples",
            Self::StaticNeedsSamples => "static_needs_samples",
            Self::Model(_) => "invalid_graph",
            Self::Run { .. } => "run_failed",
            Self::OutOfRange { .. } => "out_of_range",
        }
    }
}

/// Why a model could not be compared with its original.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MeasureError {
    /// The f32 reference does not run the original, or not as ONNX says.
    #[error("the f32 reference cannot run this model: {reason}")]
    NoReference {
        /// What the reference says.
        reason: String,
    },
    /// The samples do not fit the model, or it does not run on them.
    #[error(transparent)]
    Import(#[from] ImportError),
}
