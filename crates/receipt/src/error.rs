//! What can be wrong, one variant per check, in the order of the checks.

use thiserror::Error;
use veracity_light::{AnchorError, CborError, EvidenceError, FinalityError};

use crate::{ExecutorId, ModelId, RequestHash, ResponseHash, TraceRoot, Usage};

/// Why a text is not an id.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum IdError {
    /// The text does not have 64 digits.
    #[error("an id has 64 hex digits, this text has {found} bytes")]
    Length {
        /// Bytes of the text.
        found: usize,
    },
    /// A digit is not one of `0123456789abcdef`.
    #[error("the digits of byte {pair} are not lower-case hex")]
    Digit {
        /// Which of the 32 pairs of digits.
        pair: usize,
    },
}

/// Why claims cannot stand in a receipt.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ClaimsError {
    /// A name is empty or too long.
    #[error("the {name} must have 1 to {max} bytes, this one has {found}")]
    NameLength {
        /// Which name.
        name: &'static str,
        /// Most bytes allowed.
        max: usize,
        /// Bytes found.
        found: usize,
    },
    /// A name has a space, a control character or a character beyond ASCII.
    #[error("the {name} may have graphic ASCII characters only, byte {position} is another")]
    NameCharacter {
        /// Which name.
        name: &'static str,
        /// First offending byte.
        position: usize,
    },
    /// The JSON part of a body is claimed to be longer than the body.
    #[error("the {message} has {body} bytes, its JSON part cannot have {json}")]
    JsonLength {
        /// `request` or `response`.
        message: &'static str,
        /// Claimed bytes of JSON.
        json: u64,
        /// Claimed bytes of the body.
        body: u64,
    },
}

/// Why bytes are not a receipt of version 1. Offsets count from the first byte of the receipt.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// More bytes than any receipt may have.
    #[error("a receipt has at most {max} bytes, this one has {found}")]
    TooLarge {
        /// [`RECEIPT_BYTES_MAX`](crate::RECEIPT_BYTES_MAX).
        max: usize,
        /// Bytes found.
        found: usize,
    },
    /// The bytes are not the CBOR that belongs there.
    #[error(transparent)]
    Cbor(#[from] CborError),
    /// Another tag than that of COSE_Sign1.
    #[error("a receipt is a COSE_Sign1 with tag {expected}, this has tag {found}")]
    WrongTag {
        /// 18.
        expected: u64,
        /// The tag found.
        found: u64,
    },
    /// Another signature algorithm than EdDSA.
    #[error("the algorithm must be {expected} (EdDSA), it is {found}")]
    UnsupportedAlgorithm {
        /// -8.
        expected: i128,
        /// The algorithm found.
        found: i128,
    },
    /// The content is something else.
    #[error("the content type must be {}, it is {found}", crate::CONTENT_TYPE)]
    WrongContentType {
        /// The content type found, escaped and cut to 80 characters.
        found: String,
    },
    /// `iss` or `sub` is not the hex of 32 bytes.
    #[error("the claim {claim} is not an id: {source}")]
    ClaimText {
        /// `iss` or `sub`.
        claim: &'static str,
        /// Why not.
        source: IdError,
    },
    /// `iss` is not the hex of the key id.
    #[error("the issuer must be the key id {expected}, it is {found}")]
    IssuerMismatch {
        /// The key id.
        expected: ExecutorId,
        /// `iss`.
        found: ExecutorId,
    },
    /// The unprotected header carries evidence that is malformed. Offsets in it count from its own first byte.
    #[error("the evidence is malformed: {0}")]
    Evidence(#[source] EvidenceError),
    /// The unprotected header carries something else.
    #[error("unknown header label {label} outside the signature")]
    UnknownUnprotected {
        /// The first label found.
        label: i128,
    },
    /// Another format version.
    #[error("this decoder knows version {expected} of the receipt, this one has version {found}")]
    UnsupportedVersion {
        /// [`VERSION`](crate::VERSION).
        expected: u64,
        /// The version found.
        found: u64,
    },
    /// `sub` is not the hex of the model id.
    #[error("the subject must be the model id {expected}, it is {found}")]
    SubjectMismatch {
        /// The model id of the payload.
        expected: ModelId,
        /// `sub`.
        found: ModelId,
    },
    /// The claims break a rule that signing would have refused too.
    #[error(transparent)]
    Claims(#[from] ClaimsError),
}

/// Why a signature is not believed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// The key id is no public key.
    #[error("executor {executor} is not a point of the curve, so not an Ed25519 public key")]
    InvalidKey {
        /// The key id.
        executor: ExecutorId,
    },
    /// The key id is a second encoding of a public key.
    #[error("executor {executor} is not the canonical encoding of its point")]
    NonCanonicalKey {
        /// The key id.
        executor: ExecutorId,
    },
    /// The key makes signatures that hold for many messages.
    #[error("executor {executor} is a point of small order, under which anyone can sign")]
    WeakKey {
        /// The key id.
        executor: ExecutorId,
    },
    /// The signature is not that of this key over these claims.
    #[error("the signature is not one of executor {executor} over these claims")]
    Mismatch {
        /// The key id.
        executor: ExecutorId,
    },
}

/// Why a re-executor gave no response.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReexecuteError {
    /// The model does not accept this request, today and for ever. So nobody can have run it.
    #[error("the model refuses the request: {reason}")]
    Refused {
        /// In the words of the re-executor.
        reason: String,
    },
    /// It could not be run here and now. That says nothing about the receipt.
    #[error("could not re-execute: {reason}")]
    Unavailable {
        /// In the words of the re-executor.
        reason: String,
    },
}

/// Why a check failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CheckError {
    /// `decode`: the bytes are not a receipt.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// `signature`: not the executor's.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// `time`: issued in the future.
    #[error("issued at {issued_at}, which is later than {now} by more than the tolerance of {tolerance_s} s")]
    IssuedInFuture {
        /// Unix seconds claimed.
        issued_at: u64,
        /// Unix seconds by the policy.
        now: u64,
        /// Tolerance by the policy, in seconds.
        tolerance_s: u64,
    },
    /// `executor`: signed by another one.
    #[error("expected executor {expected}, found {found}")]
    ExecutorMismatch {
        /// By the policy.
        expected: ExecutorId,
        /// By the receipt.
        found: ExecutorId,
    },
    /// `model`: the model at hand is another one.
    #[error("the receipt is for model {expected}, the model at hand is {found}")]
    ModelMismatch {
        /// By the receipt.
        expected: ModelId,
        /// At hand.
        found: ModelId,
    },
    /// `request`: sent under another protocol.
    #[error("the receipt is for protocol {expected}, the request at hand is {found}")]
    ProtocolMismatch {
        /// By the receipt.
        expected: String,
        /// At hand.
        found: String,
    },
    /// `request`: sent to another name.
    #[error("the receipt is for model name {expected}, the request at hand is for {found}")]
    ModelNameMismatch {
        /// By the receipt.
        expected: String,
        /// At hand.
        found: String,
    },
    /// `request` or `response`: split between JSON and tensors at another place.
    #[error("the receipt has {} in the {message}, the one at hand has {}", json(expected), json(found))]
    JsonLengthMismatch {
        /// `request` or `response`.
        message: &'static str,
        /// By the receipt.
        expected: Option<u64>,
        /// At hand.
        found: Option<u64>,
    },
    /// `request`: another one was asked.
    #[error("the receipt is for request {expected}, the request at hand is {found}")]
    RequestMismatch {
        /// By the receipt.
        expected: RequestHash,
        /// At hand.
        found: RequestHash,
    },
    /// `request`: right bytes, wrong count.
    #[error("the receipt counts {expected} request bytes, the request at hand has {found}")]
    RequestBytesMismatch {
        /// By the receipt.
        expected: u64,
        /// At hand.
        found: u64,
    },
    /// `response`: another one was given.
    #[error("the receipt is for response {expected}, the response at hand is {found}")]
    ResponseMismatch {
        /// By the receipt.
        expected: ResponseHash,
        /// At hand.
        found: ResponseHash,
    },
    /// `response`: right bytes, wrong count.
    #[error("the receipt counts {expected} response bytes, the response at hand has {found}")]
    ResponseBytesMismatch {
        /// By the receipt.
        expected: u64,
        /// At hand.
        found: u64,
    },
    /// `execution`: the request cannot have been run.
    #[error("the receipt claims a run that is impossible: the model refuses the request: {reason}")]
    ExecutionRefused {
        /// In the words of the re-executor.
        reason: String,
    },
    /// `execution`: the model gives another response.
    #[error(
        "the receipt claims response {expected}, the model gives {found}: the executor signed a false response"
    )]
    ExecutionMismatch {
        /// By the receipt.
        expected: ResponseHash,
        /// Re-executed.
        found: ResponseHash,
    },
    /// `trace`: the run has another trace.
    #[error("the receipt claims trace {expected}, the run has {found}")]
    TraceMismatch {
        /// By the receipt.
        expected: TraceRoot,
        /// Re-executed.
        found: TraceRoot,
    },
    /// `usage`: the run has another usage.
    #[error("the receipt claims {expected}, the run has {found}")]
    UsageMismatch {
        /// By the receipt.
        expected: Usage,
        /// Re-executed.
        found: Usage,
    },
    /// `final`: the block of the evidence is not shown to be final.
    #[error(transparent)]
    Finality(#[from] FinalityError),
    /// `anchored`: the receipt has no sequence, so it cannot be anchored anywhere.
    #[error("the receipt has evidence but no sequence, so it stands in no batch")]
    NoSequence,
    /// `anchored`: the block does not anchor the receipt.
    #[error(transparent)]
    Anchor(#[from] AnchorError),
}

fn json(length: &Option<u64>) -> String {
    length.map_or_else(|| "JSON only".to_owned(), |length| format!("{length} bytes of JSON"))
}
