/// A stable code for a kind of refusal, and how HTTP says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// What programs compare; never changes.
    pub code: &'static str,
    /// HTTP status.
    pub status: u16,
    /// Whether it depends on this machine rather than on the request and the model alone.
    pub local: bool,
    /// What it means and what to do.
    pub meaning: &'static str,
}

/// Declares a constant per refusal and the table `REFUSALS` of them all; the gateway has one too.
#[doc(hidden)]
#[macro_export]
macro_rules! refusals {
    ($(#[$doc:meta])* $($name:ident = $code:literal, $status:literal, $local:literal, $meaning:literal;)*) => {
        $(pub(crate) const $name: $crate::Refusal =
            $crate::Refusal { code: $code, status: $status, local: $local, meaning: $meaning };)*
        $(#[$doc])*
        pub const REFUSALS: &[$crate::Refusal] = &[$($name),*];
    };
}

refusals! {
    /// All refusals of an inference request, as `docs/spec/inference-protocol.md`, section 6 lists them.
    JSON_LENGTH = "json_length", 400, false, "The JSON length exceeds the body.";
    MALFORMED_JSON = "malformed_json", 400, false, "The JSON part is not JSON in UTF-8.";
    INVALID_REQUEST = "invalid_request", 400, false, "A field is missing, unknown, repeated or of another type.";
    UNSUPPORTED_PARAMETER = "unsupported_parameter", 400, false, "A parameter that this server does not have; leave it out.";
    PARAMETER_VALUE = "parameter_value", 400, false, "A parameter has a value of another type.";
    MODEL_MISMATCH = "model_mismatch", 400, false, "`model_name` or `model_version` in the body differs from what the path asks for.";
    DUPLICATE_TENSOR = "duplicate_tensor", 400, false, "An input or output is named twice.";
    UNSUPPORTED_DATATYPE = "unsupported_datatype", 400, false, "The datatype is not FP32, INT32 or INT64.";
    TENSOR_DATA = "tensor_data", 400, false, "An input has neither or both of `data` and `binary_data_size`.";
    BINARY_SIZE = "binary_size", 400, false, "`binary_data_size` is not the size of shape and datatype.";
    BINARY_LENGTH = "binary_length", 400, false, "The binary part is shorter or longer than the sizes announce.";
    DATA_NESTING = "data_nesting", 400, false, "`data` is neither flat nor nested as the shape says.";
    DATA_COUNT = "data_count", 400, false, "The number of values differs from the shape.";
    DATA_TYPE = "data_type", 400, false, "An element of `data` is not a number of the datatype.";
    NUMBER_RANGE = "number_range", 400, false, "A number is too large for the datatype.";
    NOT_FINITE = "not_finite", 400, false, "A value is NaN or infinite.";
    ID_TOO_LONG = "id_too_long", 400, false, "`id` has more than 256 bytes.";
    TOO_MANY_TENSORS = "too_many_tensors", 400, false, "More than 1024 inputs or outputs, or more than 16 extents.";
    UNKNOWN_INPUT = "unknown_input", 400, false, "The model has no input of this name.";
    MISSING_INPUT = "missing_input", 400, false, "An input of the model is missing.";
    UNKNOWN_OUTPUT = "unknown_output", 400, false, "The model has no output of this name.";
    WRONG_DATATYPE = "wrong_datatype", 400, false, "The model takes another datatype for this input.";
    WRONG_SHAPE = "wrong_shape", 400, false, "The model takes another shape for this input.";
    OUT_OF_RANGE = "out_of_range", 400, false, "An integer is outside what the model takes.";
    RUN_REFUSED = "run_refused", 422, false, "An operator of the model refuses the values or shapes that follow from the inputs.";
    ANSWER_NOT_FINITE = "answer_not_finite", 422, false, "The model's answer overflows to infinity.";
    INVALID_NAME = "invalid_name", 400, false, "The model name cannot stand in a receipt.";
    TOO_MANY_SAMPLES = "too_many_samples", 413, true, "The batch is larger than this server allows; send it in parts.";
    RUN_TOO_LARGE = "run_too_large", 413, true, "The run needs more memory than this server allows; send fewer samples.";
}
