//! The layout of a receipt (specification, sections 1, 2 and 5). Encoder and decoder of each part stand side by side
//! and name the same keys in the same order.

use veracity_light::{
    EVIDENCE_BYTES_MAX, Evidence,
    cbor::{MapWriter, Reader, Writer},
};

use crate::{
    Claims, DecodeError, ExecutorId, ModelId, Parameters, RequestHash, ResponseHash, TraceRoot, Usage,
    claims::{MODEL_NAME_BYTES_MAX, PROTOCOL_BYTES_MAX, SOFTWARE_BYTES_MAX, check_name},
};

/// Format version of the receipts of this crate.
pub const VERSION: u64 = 1;
/// Largest receipt that is decoded, in bytes: 16 KiB and the largest evidence.
pub const RECEIPT_BYTES_MAX: usize = 114_688;
const _: () = assert!(RECEIPT_BYTES_MAX == 16_384 + EVIDENCE_BYTES_MAX);
/// Content type in the protected header (RFC 9052, section 3.1).
pub const CONTENT_TYPE: &str = "application/vnd.veracity.receipt+cbor";

/// Tag of `COSE_Sign1_Tagged` (RFC 9052, section 4.2).
const TAG_SIGN1: u64 = 18;
/// `EdDSA` (RFC 9053, section 2.2).
const ALGORITHM: i128 = -8;

/// Header labels (RFC 9052, section 3.1; RFC 9597).
mod header {
    pub(super) const ALGORITHM: u64 = 1;
    pub(super) const CONTENT_TYPE: u64 = 3;
    pub(super) const KEY_ID: u64 = 4;
    pub(super) const CWT_CLAIMS: u64 = 15;
    /// Receipts of a transparency service (RFC 9942, section 2): here, of the chain.
    pub(super) const RECEIPTS: u64 = 394;
}

/// CWT claims (RFC 8392, section 3.1).
mod cwt {
    pub(super) const ISSUER: u64 = 1;
    pub(super) const SUBJECT: u64 = 2;
    pub(super) const ISSUED_AT: u64 = 6;
}

mod payload {
    pub(super) const VERSION: u64 = 1;
    pub(super) const MODEL_ID: u64 = 2;
    pub(super) const REQUEST_HASH: u64 = 3;
    pub(super) const RESPONSE_HASH: u64 = 4;
    pub(super) const PARAMETERS: u64 = 5;
    pub(super) const USAGE: u64 = 6;
    pub(super) const SOFTWARE: u64 = 7;
    pub(super) const TRACE_ROOT: u64 = 8;
    pub(super) const SEQUENCE: u64 = 9;
}

mod parameters {
    pub(super) const PROTOCOL: u64 = 1;
    pub(super) const MODEL_NAME: u64 = 2;
    pub(super) const REQUEST_JSON_LENGTH: u64 = 3;
    pub(super) const RESPONSE_JSON_LENGTH: u64 = 4;
}

mod usage {
    pub(super) const SAMPLES: u64 = 1;
    pub(super) const INPUT_BYTES: u64 = 2;
    pub(super) const OUTPUT_BYTES: u64 = 3;
    pub(super) const MACS: u64 = 4;
}

/// The bytes that are signed (RFC 9052, section 4.4).
pub(crate) fn signed_bytes(claims: &Claims, executor: &ExecutorId) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.array(4);
    writer.text("Signature1");
    writer.bytes(&encode_protected(claims, executor));
    writer.bytes(b"");
    writer.bytes(&encode_payload(claims));
    writer.finish()
}

/// The whole receipt, with evidence if there is some.
pub(crate) fn encode(
    claims: &Claims,
    executor: &ExecutorId,
    signature: &[u8; 64],
    evidence: Option<&Evidence>,
) -> Vec<u8> {
    let mut unprotected = MapWriter::default();
    unprotected.optional(header::RECEIPTS, evidence, |w, evidence| {
        w.array(1);
        w.bytes(&evidence.encode());
    });
    let mut writer = Writer::default();
    writer.tag(TAG_SIGN1);
    writer.array(4);
    writer.bytes(&encode_protected(claims, executor));
    writer.map(unprotected);
    writer.bytes(&encode_payload(claims));
    writer.bytes(signature);
    writer.finish()
}

/// The parts of a receipt.
pub(crate) struct Decoded {
    pub(crate) claims: Claims,
    pub(crate) executor: ExecutorId,
    pub(crate) signature: [u8; 64],
    pub(crate) evidence: Option<Evidence>,
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Decoded, DecodeError> {
    if bytes.len() > RECEIPT_BYTES_MAX {
        return Err(DecodeError::TooLarge { max: RECEIPT_BYTES_MAX, found: bytes.len() });
    }
    let mut reader = Reader::new(bytes, 0);
    match reader.tag()? {
        TAG_SIGN1 => {}
        found => return Err(DecodeError::WrongTag { expected: TAG_SIGN1, found }),
    }
    reader.array(4)?;
    let protected = decode_protected(embedded(&mut reader)?)?;
    let evidence = decode_unprotected(&mut reader)?;
    let claims = decode_payload(embedded(&mut reader)?, &protected)?;
    let signature = reader.bytes_exact()?;
    reader.finish("receipt")?;
    claims.validate()?;
    Ok(Decoded { claims, executor: protected.executor, signature, evidence })
}

/// A reader of the CBOR inside a byte string.
fn embedded<'a>(reader: &mut Reader<'a>) -> Result<Reader<'a>, DecodeError> {
    let bytes = reader.bytes()?;
    Ok(Reader::new(bytes, reader.offset().saturating_sub(bytes.len())))
}

/// Outside the signature there may be evidence, and nothing else (specification, section 5).
fn decode_unprotected(reader: &mut Reader<'_>) -> Result<Option<Evidence>, DecodeError> {
    let mut evidence = None;
    for _ in 0..reader.map_length()? {
        let label = reader.integer()?;
        if label != i128::from(header::RECEIPTS) || evidence.is_some() {
            return Err(DecodeError::UnknownUnprotected { label });
        }
        reader.array(1)?;
        evidence = Some(Evidence::decode(reader.bytes()?).map_err(DecodeError::Evidence)?);
    }
    Ok(evidence)
}

/// What the protected header says that the payload does not.
struct Protected {
    executor: ExecutorId,
    subject: ModelId,
    issued_at: u64,
}

fn encode_protected(claims: &Claims, executor: &ExecutorId) -> Vec<u8> {
    let mut cwt_claims = MapWriter::default();
    cwt_claims.entry(cwt::ISSUER, |w| w.text(&executor.to_string()));
    cwt_claims.entry(cwt::SUBJECT, |w| w.text(&claims.model_id.to_string()));
    cwt_claims.entry(cwt::ISSUED_AT, |w| w.unsigned(claims.issued_at));

    let mut map = MapWriter::default();
    map.entry(header::ALGORITHM, |w| w.negative(7));
    map.entry(header::CONTENT_TYPE, |w| w.text(CONTENT_TYPE));
    map.entry(header::KEY_ID, |w| w.bytes(executor.as_bytes()));
    map.entry(header::CWT_CLAIMS, |w| w.map(cwt_claims));
    finish(map)
}

fn decode_protected(mut reader: Reader<'_>) -> Result<Protected, DecodeError> {
    let mut map = reader.map("protected header")?;
    map.required(header::ALGORITHM, |r| match r.integer()? {
        ALGORITHM => Ok(()),
        found => Err(DecodeError::UnsupportedAlgorithm { expected: ALGORITHM, found }),
    })?;
    map.required(header::CONTENT_TYPE, |r| match r.text()? {
        CONTENT_TYPE => Ok(()),
        found => Err(DecodeError::WrongContentType { found: found.escape_debug().take(80).collect() }),
    })?;
    let executor = map.required(header::KEY_ID, |r| r.bytes_exact().map(ExecutorId::from_bytes))?;
    let protected = map.required(header::CWT_CLAIMS, |r| decode_cwt_claims(r, executor))?;
    map.finish()?;
    reader.finish("protected header")?;
    Ok(protected)
}

fn decode_cwt_claims(reader: &mut Reader<'_>, executor: ExecutorId) -> Result<Protected, DecodeError> {
    let mut map = reader.map("CWT claims")?;
    let issuer = map.required(cwt::ISSUER, |r| read_id("iss", r, ExecutorId::from_bytes))?;
    if issuer != executor {
        return Err(DecodeError::IssuerMismatch { expected: executor, found: issuer });
    }
    let subject = map.required(cwt::SUBJECT, |r| read_id("sub", r, ModelId::from_bytes))?;
    let issued_at = map.required(cwt::ISSUED_AT, Reader::unsigned)?;
    map.finish()?;
    Ok(Protected { executor, subject, issued_at })
}

fn encode_payload(claims: &Claims) -> Vec<u8> {
    let mut map = MapWriter::default();
    map.entry(payload::VERSION, |w| w.unsigned(VERSION));
    map.entry(payload::MODEL_ID, |w| w.bytes(claims.model_id.as_bytes()));
    map.entry(payload::REQUEST_HASH, |w| w.bytes(claims.request_hash.as_bytes()));
    map.entry(payload::RESPONSE_HASH, |w| w.bytes(claims.response_hash.as_bytes()));
    map.entry(payload::PARAMETERS, |w| w.map(encode_parameters(&claims.parameters)));
    map.entry(payload::USAGE, |w| w.map(encode_usage(&claims.usage)));
    map.entry(payload::SOFTWARE, |w| w.text(&claims.software));
    map.optional(payload::TRACE_ROOT, claims.trace_root, |w, root| w.bytes(root.as_bytes()));
    map.optional(payload::SEQUENCE, claims.sequence, Writer::unsigned);
    finish(map)
}

fn decode_payload(mut reader: Reader<'_>, protected: &Protected) -> Result<Claims, DecodeError> {
    let mut map = reader.map("payload")?;
    map.required(payload::VERSION, |r| match r.unsigned()? {
        VERSION => Ok(()),
        found => Err(DecodeError::UnsupportedVersion { expected: VERSION, found }),
    })?;
    let model_id = map.required(payload::MODEL_ID, |r| r.bytes_exact().map(ModelId::from_bytes))?;
    if model_id != protected.subject {
        return Err(DecodeError::SubjectMismatch { expected: model_id, found: protected.subject });
    }
    let claims = Claims {
        issued_at: protected.issued_at,
        model_id,
        request_hash: map
            .required(payload::REQUEST_HASH, |r| r.bytes_exact().map(RequestHash::from_bytes))?,
        response_hash: map
            .required(payload::RESPONSE_HASH, |r| r.bytes_exact().map(ResponseHash::from_bytes))?,
        parameters: map.required(payload::PARAMETERS, decode_parameters)?,
        usage: map.required(payload::USAGE, decode_usage)?,
        software: map.required(payload::SOFTWARE, |r| read_name("software", r, SOFTWARE_BYTES_MAX))?,
        trace_root: map.optional(payload::TRACE_ROOT, |r| r.bytes_exact().map(TraceRoot::from_bytes))?,
        sequence: map.optional(payload::SEQUENCE, Reader::unsigned)?,
    };
    map.finish()?;
    reader.finish("payload")?;
    Ok(claims)
}

fn encode_parameters(from: &Parameters) -> MapWriter {
    let mut map = MapWriter::default();
    map.entry(parameters::PROTOCOL, |w| w.text(&from.protocol));
    map.entry(parameters::MODEL_NAME, |w| w.text(&from.model_name));
    map.optional(parameters::REQUEST_JSON_LENGTH, from.request_json_length, Writer::unsigned);
    map.optional(parameters::RESPONSE_JSON_LENGTH, from.response_json_length, Writer::unsigned);
    map
}

fn decode_parameters(reader: &mut Reader<'_>) -> Result<Parameters, DecodeError> {
    let mut map = reader.map("parameters")?;
    let decoded = Parameters {
        protocol: map.required(parameters::PROTOCOL, |r| read_name("protocol", r, PROTOCOL_BYTES_MAX))?,
        model_name: map
            .required(parameters::MODEL_NAME, |r| read_name("model name", r, MODEL_NAME_BYTES_MAX))?,
        request_json_length: map.optional(parameters::REQUEST_JSON_LENGTH, Reader::unsigned)?,
        response_json_length: map.optional(parameters::RESPONSE_JSON_LENGTH, Reader::unsigned)?,
    };
    map.finish()?;
    Ok(decoded)
}

fn encode_usage(from: &Usage) -> MapWriter {
    let mut map = MapWriter::default();
    map.entry(usage::SAMPLES, |w| w.unsigned(from.samples));
    map.entry(usage::INPUT_BYTES, |w| w.unsigned(from.input_bytes));
    map.entry(usage::OUTPUT_BYTES, |w| w.unsigned(from.output_bytes));
    map.optional(usage::MACS, from.macs, Writer::unsigned);
    map
}

fn decode_usage(reader: &mut Reader<'_>) -> Result<Usage, DecodeError> {
    let mut map = reader.map("usage")?;
    let decoded = Usage {
        samples: map.required(usage::SAMPLES, Reader::unsigned)?,
        input_bytes: map.required(usage::INPUT_BYTES, Reader::unsigned)?,
        output_bytes: map.required(usage::OUTPUT_BYTES, Reader::unsigned)?,
        macs: map.optional(usage::MACS, Reader::unsigned)?,
    };
    map.finish()?;
    Ok(decoded)
}

fn read_name(name: &'static str, reader: &mut Reader<'_>, max: usize) -> Result<String, DecodeError> {
    let text = reader.text()?;
    check_name(name, text, max)?;
    Ok(text.to_owned())
}

fn read_id<T>(claim: &'static str, r: &mut Reader<'_>, id: fn([u8; 32]) -> T) -> Result<T, DecodeError> {
    crate::ids::parse_hex(r.text()?).map(id).map_err(|source| DecodeError::ClaimText { claim, source })
}

fn finish(map: MapWriter) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.map(map);
    writer.finish()
}
