use veracity_engine::RunError;
use veracity_graph::{BatchError, DecodeError, Elem, ModelError};
use veracity_receipt::ClaimsError;

use crate::refusal::{self, Refusal};

/// Why a stored model cannot be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The graph bytes are not canonical.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The graph is not a valid model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The engine cannot make it ready.
    #[error(transparent)]
    Engine(#[from] veracity_engine::LoadError),
}

/// Why a request has no answer. [`RequestError::refusal`] gives the stable code.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The JSON length exceeds the body.
    #[error("Inference-Header-Content-Length is {json}, the body has {body} bytes")]
    JsonLength {
        /// Value of the header.
        json: u64,
        /// Bytes of the body.
        body: usize,
    },
    /// Not JSON.
    #[error("the request is not JSON: {reason}")]
    MalformedJson {
        /// What and where, by line and column.
        reason: String,
    },
    /// Not JSON, because of a NaN or infinity.
    #[error("JSON has no NaN or Infinity: {reason}; models take finite numbers only")]
    NotFiniteJson {
        /// Where, by line and column.
        reason: String,
    },
    /// JSON, but not a request.
    #[error("not an inference request: {reason}")]
    InvalidRequest {
        /// What and where, by line and column.
        reason: String,
    },
    /// An unknown parameter.
    #[error("{place} has the parameter '{name}', which is not supported here; leave it out")]
    UnsupportedParameter {
        /// `the request`, `input '...'` or `output '...'`.
        place: String,
        /// Name of the parameter.
        name: String,
    },
    /// A parameter with a value of another type.
    #[error("the parameter '{name}' of {place} must be {expected}")]
    ParameterValue {
        /// As above.
        place: String,
        /// Name of the parameter.
        name: String,
        /// What it must be.
        expected: &'static str,
    },
    /// The body names another model than the path.
    #[error("'{field}' is '{found}', the request is for '{expected}'")]
    ModelMismatch {
        /// `model_name` or `model_version`.
        field: &'static str,
        /// What the path asks for.
        expected: String,
        /// What the body says.
        found: String,
    },
    /// A tensor named twice.
    #[error("{kind} '{name}' is named twice")]
    DuplicateTensor {
        /// `input` or `output`.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// A datatype that models here do not have.
    #[error("input '{name}' has datatype '{datatype}'; FP32, INT32 and INT64 are supported")]
    UnsupportedDatatype {
        /// The input.
        name: String,
        /// Its datatype.
        datatype: String,
    },
    /// Neither or both forms of data.
    #[error("input '{name}' needs either 'data' or 'binary_data_size'")]
    TensorData {
        /// The input.
        name: String,
    },
    /// The announced size does not fit the shape.
    #[error("input '{name}' announces {found} binary bytes, its shape and datatype need {expected}")]
    BinarySize {
        /// The input.
        name: String,
        /// Bytes of shape and datatype.
        expected: u64,
        /// Bytes announced.
        found: u64,
    },
    /// The binary part does not have the announced size.
    #[error("{found} bytes follow the JSON, the inputs announce {expected}")]
    BinaryLength {
        /// Bytes announced by all inputs.
        expected: u64,
        /// Bytes of the binary part.
        found: u64,
    },
    /// Arrays in arrays, but not as the shape says.
    #[error("input '{name}': the nesting of 'data' does not fit the shape at byte {position} of the array")]
    DataNesting {
        /// The input.
        name: String,
        /// Byte within the text of `data`.
        position: usize,
    },
    /// Too few or too many values.
    #[error("input '{name}': 'data' has {found}, its shape needs {expected} values")]
    DataCount {
        /// The input.
        name: String,
        /// Values that the shape needs.
        expected: u64,
        /// Values found, in words.
        found: String,
    },
    /// An element that is not a number of the datatype.
    #[error("input '{name}': {found} at position {position} is not {expected}")]
    DataType {
        /// The input.
        name: String,
        /// Row-major position.
        position: usize,
        /// What is needed.
        expected: &'static str,
        /// The text, cut.
        found: String,
    },
    /// A number beyond its type.
    #[error("input '{name}': {found} at position {position} is too large for {elem}")]
    NumberRange {
        /// The input.
        name: String,
        /// Row-major position.
        position: usize,
        /// The text, cut.
        found: String,
        /// The element type.
        elem: Elem,
    },
    /// An id that is too long.
    #[error("'id' has {found} bytes, at most {max} are allowed")]
    IdTooLong {
        /// Most bytes.
        max: usize,
        /// Bytes found.
        found: usize,
    },
    /// Too long a list.
    #[error("{what}: {found} are given, at most {max} are allowed")]
    TooManyTensors {
        /// `inputs`, `outputs` or the extents of an input.
        what: String,
        /// Most entries.
        max: usize,
        /// Entries found.
        found: usize,
    },
    /// An output that the model does not have.
    #[error("the model has no output '{name}'; its outputs are {expected:?}")]
    UnknownOutput {
        /// The name asked for.
        name: String,
        /// Names that there are.
        expected: Vec<String>,
    },
    /// The inputs do not fit the model.
    #[error(transparent)]
    Inputs(#[from] BatchError),
    /// The run failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// An answer that is not a number.
    #[error("output '{name}' of the model is not finite at position {position}")]
    AnswerNotFinite {
        /// The output.
        name: String,
        /// Row-major position.
        position: usize,
    },
    /// The model name cannot stand in a receipt.
    #[error(transparent)]
    Claims(#[from] ClaimsError),
    /// More samples than allowed here.
    #[error("the request has {found} samples, at most {max} are allowed here; send it in parts")]
    TooManySamples {
        /// Most samples.
        max: usize,
        /// Samples of the request.
        found: usize,
    },
}

impl RequestError {
    /// The stable code and the HTTP status.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::JsonLength { .. } => refusal::JSON_LENGTH,
            Self::MalformedJson { .. } => refusal::MALFORMED_JSON,
            Self::InvalidRequest { .. } => refusal::INVALID_REQUEST,
            Self::UnsupportedParameter { .. } => refusal::UNSUPPORTED_PARAMETER,
            Self::ParameterValue { .. } => refusal::PARAMETER_VALUE,
            Self::ModelMismatch { .. } => refusal::MODEL_MISMATCH,
            Self::DuplicateTensor { .. } | Self::Inputs(BatchError::DuplicateInput { .. }) => {
                refusal::DUPLICATE_TENSOR
            }
            Self::UnsupportedDatatype { .. } => refusal::UNSUPPORTED_DATATYPE,
            Self::TensorData { .. } => refusal::TENSOR_DATA,
            Self::BinarySize { .. } => refusal::BINARY_SIZE,
            Self::BinaryLength { .. } => refusal::BINARY_LENGTH,
            Self::DataNesting { .. } => refusal::DATA_NESTING,
            Self::DataCount { .. } | Self::Inputs(BatchError::Count { .. }) => refusal::DATA_COUNT,
            Self::DataType { .. } => refusal::DATA_TYPE,
            Self::NumberRange { .. } => refusal::NUMBER_RANGE,
            Self::NotFiniteJson { .. } | Self::Inputs(BatchError::NotFinite { .. }) => refusal::NOT_FINITE,
            Self::IdTooLong { .. } => refusal::ID_TOO_LONG,
            Self::TooManyTensors { .. } => refusal::TOO_MANY_TENSORS,
            Self::UnknownOutput { .. } => refusal::UNKNOWN_OUTPUT,
            Self::Inputs(BatchError::UnknownInput { .. }) => refusal::UNKNOWN_INPUT,
            Self::Inputs(BatchError::MissingInput { .. }) => refusal::MISSING_INPUT,
            Self::Inputs(BatchError::Type { .. }) => refusal::WRONG_DATATYPE,
            Self::Inputs(BatchError::Shape { .. }) => refusal::WRONG_SHAPE,
            Self::Inputs(BatchError::Range { .. }) => refusal::OUT_OF_RANGE,
            // What a later graph version may add; this one has nothing that is not named above.
            Self::Inputs(_) => refusal::INVALID_REQUEST,
            Self::Run(RunError::TooLarge { .. } | RunError::WeightsTooLarge { .. }) => refusal::RUN_TOO_LARGE,
            Self::Run(_) => refusal::RUN_REFUSED,
            Self::AnswerNotFinite { .. } => refusal::ANSWER_NOT_FINITE,
            Self::Claims(_) => refusal::INVALID_NAME,
            Self::TooManySamples { .. } => refusal::TOO_MANY_SAMPLES,
        }
    }
}
