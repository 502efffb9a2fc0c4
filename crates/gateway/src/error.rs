use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use veracity_receipt::DecodeError;
use veracity_store::{NameError, PutError, ReceiptLogError, SequenceError, StoreError};
use veracity_worker::{LoadError, Refusal, RequestError};

use crate::{ConfigFault, DirectoryError, refusal};

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration cannot work.
    #[error("the configuration cannot work: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Config(Vec<ConfigFault>),
    /// The receipts or their sequences cannot be opened.
    #[error(transparent)]
    Receipts(#[from] ReceiptLogError),
}

/// Why a request is refused or fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("nothing is at {path}; GET /openapi.json lists what there is")]
    UnknownRoute { path: String },
    #[error("{path} does not take {method}")]
    MethodNotAllowed { method: String, path: String },
    #[error("the path is not valid: {reason}")]
    InvalidPath { reason: String },
    #[error("the query is not valid: {reason}")]
    InvalidQuery { reason: String },
    #[error("the header {name} must be {expected}, once")]
    InvalidHeader { name: &'static str, expected: &'static str },
    #[error("the body has Content-Encoding '{found}'; send it uncompressed")]
    UnsupportedEncoding { found: String },
    #[error("the body has more than the {max} bytes that are allowed here")]
    BodyTooLarge { max: u64 },
    #[error("the connection ended after {found} bytes of the body; nothing was done")]
    IncompleteBody { found: u64 },
    #[error("no more of the body came for {} s; nothing was done", timeout.as_secs())]
    RequestTimeout { timeout: std::time::Duration },
    #[error("the server is busy with {what}; try again in {RETRY_AFTER_S} s")]
    Overloaded { what: &'static str },
    #[error("the run did not end within {} s", timeout.as_secs())]
    RunTimeout { timeout: std::time::Duration },
    #[error("a web page of another site may not change anything here")]
    CrossSite,
    #[error("this node runs no models and forwards no requests; ask a gateway or a worker of the network")]
    NotAWorker,
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error("no worker that can be reached serves model '{name}' now; try again in {RETRY_AFTER_S} s")]
    NoWorker { name: String },
    #[error("no worker answered for model '{name}': {faults}")]
    WorkersFailed { name: String, faults: String },
    #[error("{text}")]
    WorkerRefused { refusal: Refusal, text: String },
    #[error("models cannot be changed over HTTP here; use the command line on the server")]
    ReadOnly,
    #[error("model '{name}' is {found}, the request asks for version '{version}'")]
    VersionNotFound { name: String, version: String, found: String },
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(transparent)]
    Put(PutError),
    #[error("the report is not JSON: {reason}")]
    InvalidReport { reason: String },
    #[error("receipt '{id}' is unknown or no longer kept here")]
    ReceiptNotFound { id: String },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the receipt of this answer cannot be kept, so there is no answer: {0}")]
    Receipts(#[from] ReceiptLogError),
    #[error("the receipt of this answer cannot be numbered, so there is no answer: {0}")]
    Sequence(#[from] SequenceError),
    #[error("the receipt that is kept here is none of this version: {0}")]
    KeptReceipt(#[from] DecodeError),
    #[error("the stored model cannot be run here: {0}")]
    Load(#[from] LoadError),
    #[error("the server has a defect: a job panicked; its log says where, please report it")]
    Internal,
}

/// Seconds after which a refused client may try again.
const RETRY_AFTER_S: u64 = 1;

impl From<PutError> for ApiError {
    fn from(error: PutError) -> Self {
        match error {
            PutError::Store(error) => Self::Store(error),
            error => Self::Put(error),
        }
    }
}

impl ApiError {
    pub(crate) fn refusal(&self) -> Refusal {
        match self {
            Self::Request(error) => error.refusal(),
            Self::UnknownRoute { .. } => refusal::UNKNOWN_ROUTE,
            Self::MethodNotAllowed { .. } => refusal::METHOD_NOT_ALLOWED,
            Self::InvalidPath { .. } => refusal::INVALID_PATH,
            Self::InvalidQuery { .. } => refusal::INVALID_QUERY,
            Self::InvalidHeader { .. } => refusal::INVALID_HEADER,
            Self::UnsupportedEncoding { .. } => refusal::UNSUPPORTED_ENCODING,
            Self::BodyTooLarge { .. } | Self::Put(PutError::TooLarge { .. }) => refusal::BODY_TOO_LARGE,
            Self::IncompleteBody { .. } => refusal::INCOMPLETE_BODY,
            Self::RequestTimeout { .. } => refusal::REQUEST_TIMEOUT,
            Self::Overloaded { .. } => refusal::OVERLOADED,
            Self::RunTimeout { .. } => refusal::RUN_TIMEOUT,
            Self::CrossSite => refusal::CROSS_SITE,
            Self::NotAWorker => refusal::NOT_A_WORKER,
            Self::Directory(_) => refusal::REGISTRY_UNAVAILABLE,
            Self::NoWorker { .. } => refusal::NO_WORKER,
            Self::WorkersFailed { .. } => refusal::WORKERS_FAILED,
            Self::WorkerRefused { refusal, .. } => *refusal,
            Self::ReadOnly => refusal::READ_ONLY,
            Self::VersionNotFound { .. } => refusal::VERSION_NOT_FOUND,
            Self::Name(_) => refusal::INVALID_MODEL_NAME,
            Self::Put(PutError::Model(_)) => refusal::INVALID_MODEL,
            Self::Put(_) => refusal::INVALID_BUNDLE,
            Self::InvalidReport { .. } => refusal::INVALID_REPORT,
            Self::ReceiptNotFound { .. } => refusal::RECEIPT_NOT_FOUND,
            Self::Store(error)
            | Self::Receipts(ReceiptLogError::Store(error))
            | Self::Sequence(SequenceError::Store(error)) => store_refusal(error),
            Self::Receipts(_) | Self::Sequence(_) => refusal::STORE_FAILED,
            Self::KeptReceipt(_) => refusal::STORE_CORRUPT,
            Self::Load(_) => refusal::MODEL_UNUSABLE,
            Self::Internal => refusal::INTERNAL,
        }
    }
}

fn store_refusal(error: &StoreError) -> Refusal {
    match error {
        StoreError::NotFound { .. } => refusal::MODEL_NOT_FOUND,
        StoreError::Ambiguous { .. } => refusal::AMBIGUOUS_REFERENCE,
        StoreError::Corrupt { .. } => refusal::STORE_CORRUPT,
        StoreError::DiskFull { .. } => refusal::DISK_FULL,
        _ => refusal::STORE_FAILED,
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let refusal = self.refusal();
        if refusal.status >= 500 && refusal.status != 503 {
            tracing::error!(code = refusal.code, error = %self, "gateway.request");
        }
        let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::json!({ "error": self.to_string(), "code": refusal.code });
        let mut response = (status, axum::Json(body)).into_response();
        if refusal.status == 503 {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// That a full disk is this error of the store is shown by the store's own tests, which fill it at every write.
    #[test]
    fn a_full_disk_is_told_to_the_client() {
        let full = || StoreError::DiskFull { path: "tmp".into() };
        let errors = [
            ApiError::from(full()),
            ApiError::from(PutError::from(full())),
            ApiError::from(ReceiptLogError::from(full())),
            ApiError::from(SequenceError::from(full())),
        ];
        for error in errors {
            assert_eq!(error.refusal().code, "disk_full");
            assert_eq!(error.into_response().status(), StatusCode::INSUFFICIENT_STORAGE);
        }
    }
}
