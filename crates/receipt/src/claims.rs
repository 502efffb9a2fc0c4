//! What a receipt states (specification, section 1), apart from who signs it.

use std::fmt;

use veracity_light::cbor::to_u64;

use crate::{ClaimsError, ModelId, Request, RequestHash, Response, ResponseHash, TraceRoot};

/// Longest protocol name, in bytes.
pub const PROTOCOL_BYTES_MAX: usize = 32;
/// Longest model name, in bytes.
pub const MODEL_NAME_BYTES_MAX: usize = 256;
/// Longest software name and version, in bytes.
pub const SOFTWARE_BYTES_MAX: usize = 64;

/// The statement of one receipt: this model gave this response to this request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// When the executor says that it issued the receipt, in Unix seconds (CWT claim `iat`).
    pub issued_at: u64,
    /// The model that ran.
    pub model_id: ModelId,
    /// What was asked.
    pub request_hash: RequestHash,
    /// What was answered.
    pub response_hash: ResponseHash,
    /// How the bytes of request and response are read.
    pub parameters: Parameters,
    /// What was consumed.
    pub usage: Usage,
    /// Software of the executor and its version, for example `veracity/0.1.0`.
    pub software: String,
    /// Commitment to the run, if the executor made one.
    pub trace_root: Option<TraceRoot>,
    /// Number of the receipt among those of its executor: 0, 1, 2, ... without gaps (`docs/spec/contracts.md`,
    /// section 6). Receipts of the first commits have none; only one that has it can be anchored.
    pub sequence: Option<u64>,
}

/// How the bytes of request and response are read. All of it is covered by the two hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// As [`Request::protocol`].
    pub protocol: String,
    /// As [`Request::model_name`].
    pub model_name: String,
    /// As [`Request::json_length`].
    pub request_json_length: Option<u64>,
    /// As [`Response::json_length`].
    pub response_json_length: Option<u64>,
}

/// What a run consumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Rows of the batch.
    pub samples: u64,
    /// Bytes of the request body.
    pub input_bytes: u64,
    /// Bytes of the response body.
    pub output_bytes: u64,
    /// Multiply-accumulates of the run, if the executor counts them.
    pub macs: Option<u64>,
}

/// For example `samples 1, bytes in 314, bytes out 120, macs 7850`.
impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { samples, input_bytes, output_bytes, macs } = self;
        write!(f, "samples {samples}, bytes in {input_bytes}, bytes out {output_bytes}, macs ")?;
        match macs {
            Some(macs) => write!(f, "{macs}"),
            None => write!(f, "not counted"),
        }
    }
}

/// What [`Claims::new`] needs to know about a run beside model, request and response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run<'a> {
    /// As [`Usage::samples`].
    pub samples: u64,
    /// As [`Usage::macs`].
    pub macs: Option<u64>,
    /// As [`Claims::trace_root`].
    pub trace_root: Option<TraceRoot>,
    /// As [`Claims::software`].
    pub software: &'a str,
    /// As [`Claims::issued_at`].
    pub issued_at: u64,
}

impl Claims {
    /// The claims about one exchange, still without a sequence, which is drawn when they are signed. Hashes, parameters
    /// and sizes come from the same bytes, so they agree.
    #[must_use]
    pub fn new(model_id: ModelId, request: &Request<'_>, response: &Response<'_>, run: &Run<'_>) -> Self {
        Self {
            issued_at: run.issued_at,
            model_id,
            request_hash: request.hash(),
            response_hash: response.hash(),
            parameters: Parameters {
                protocol: request.protocol.to_owned(),
                model_name: request.model_name.to_owned(),
                request_json_length: request.json_length,
                response_json_length: response.json_length,
            },
            usage: Usage {
                samples: run.samples,
                input_bytes: to_u64(request.body.len()),
                output_bytes: to_u64(response.body.len()),
                macs: run.macs,
            },
            software: run.software.to_owned(),
            trace_root: run.trace_root,
            sequence: None,
        }
    }

    /// These bytes as the body of a request that is read as the receipt says. For who has the body alone; who sent the
    /// request knows better and builds the [`Request`] from that.
    #[must_use]
    pub fn request<'a>(&'a self, body: &'a [u8]) -> Request<'a> {
        let Parameters { protocol, model_name, request_json_length, response_json_length: _ } =
            &self.parameters;
        Request { protocol, model_name, json_length: *request_json_length, body }
    }

    /// These bytes as the body of a response that is read as the receipt says, as in [`Claims::request`].
    #[must_use]
    pub fn response<'a>(&self, body: &'a [u8]) -> Response<'a> {
        Response { json_length: self.parameters.response_json_length, body }
    }

    /// The rules that go beyond types (specification, section 1). Signing applies them as well; who draws a sequence
    /// applies them before, so that none is drawn in vain.
    ///
    /// # Errors
    /// [`ClaimsError`] if a name is empty, too long or not graphic ASCII, or if a JSON length exceeds its body.
    pub fn validate(&self) -> Result<(), ClaimsError> {
        let Parameters { protocol, model_name, request_json_length, response_json_length } = &self.parameters;
        check_name("protocol", protocol, PROTOCOL_BYTES_MAX)?;
        check_name("model name", model_name, MODEL_NAME_BYTES_MAX)?;
        check_name("software", &self.software, SOFTWARE_BYTES_MAX)?;
        check_json_length("request", *request_json_length, self.usage.input_bytes)?;
        check_json_length("response", *response_json_length, self.usage.output_bytes)
    }
}

/// Names are graphic ASCII: printed anywhere they cannot imitate another line, and no two look alike.
pub(crate) fn check_name(name: &'static str, text: &str, max: usize) -> Result<(), ClaimsError> {
    if text.is_empty() || text.len() > max {
        return Err(ClaimsError::NameLength { name, max, found: text.len() });
    }
    match text.bytes().position(|byte| !byte.is_ascii_graphic()) {
        Some(position) => Err(ClaimsError::NameCharacter { name, position }),
        None => Ok(()),
    }
}

fn check_json_length(message: &'static str, json: Option<u64>, body: u64) -> Result<(), ClaimsError> {
    match json {
        Some(json) if json > body => Err(ClaimsError::JsonLength { message, json, body }),
        Some(_) | None => Ok(()),
    }
}
