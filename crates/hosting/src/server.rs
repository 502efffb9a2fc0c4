//! The routes by which others fetch (`docs/spec/hosting.md`, section 2).

use std::{convert::Infallible, ops::Range, sync::Arc};

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use futures::stream;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::spawn_blocking,
    time::timeout,
};
use veracity_graph::{Digest, ModelId};
use veracity_store::PartName;

use crate::{Hosting, ServeError};

/// Seconds after which a refused client may come back.
pub(crate) const RETRY_AFTER_S: u64 = 1;
/// Bytes that are handed to a connection at a time.
const PIECE_BYTES: usize = 64 << 10;
/// An answer never changes: its URL names its content.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

#[derive(Debug, Clone)]
struct Shared {
    hosting: Arc<Hosting>,
    places: Arc<Semaphore>,
}

/// The routes; a node merges them into its own. They read and hash on threads for blocking work. The connections and their
/// number are the business of the server around it.
pub fn router(hosting: Arc<Hosting>) -> Router {
    let places = Arc::new(Semaphore::new(hosting.config.answers_max));
    Router::new()
        .route("/hosting/v1/models/{id}/manifest", get(manifest))
        .route("/hosting/v1/models/{id}/{part}/{first}/{count}", get(groups))
        .with_state(Shared { hosting, places })
}

async fn manifest(State(shared): State<Shared>, Path(id): Path<String>) -> Result<Response, ServeError> {
    let id = model_id(&id)?;
    answer(shared, move |hosting| hosting.manifest(&id).map(|manifest| manifest.encode())).await
}

async fn groups(
    State(shared): State<Shared>,
    Path((id, part, first, count)): Path<(String, String, String, String)>,
) -> Result<Response, ServeError> {
    let id = model_id(&id)?;
    let part = PartName::ALL.into_iter().find(|name| name.as_str() == part).ok_or(ServeError::BadRequest)?;
    let groups = range(&first, &count).ok_or(ServeError::BadRequest)?;
    answer(shared, move |hosting| hosting.groups(&id, part, groups)).await
}

fn model_id(text: &str) -> Result<ModelId, ServeError> {
    Digest::from_hex(text).map(ModelId).ok_or(ServeError::BadRequest)
}

fn range(first: &str, count: &str) -> Option<Range<u64>> {
    let number = |text: &str| text.parse::<u64>().ok().filter(|n| n.to_string() == text);
    let first = number(first)?;
    Some(first..first.checked_add(number(count)?)?)
}

async fn answer(
    shared: Shared,
    job: impl FnOnce(&Arc<Hosting>) -> Result<Vec<u8>, ServeError> + Send + 'static,
) -> Result<Response, ServeError> {
    let place = Arc::clone(&shared.places).try_acquire_owned().map_err(|_| ServeError::Busy)?;
    let hosting = Arc::clone(&shared.hosting);
    let bytes = spawn_blocking(move || job(&hosting)).await.map_err(|_| ServeError::Internal)??;
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(FOR_EVER));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    Ok((headers, body(shared.hosting, bytes, place)).into_response())
}

/// Hands the bytes over in pieces. Whoever does not take them in time loses the rest, and the connection with it, because
/// fewer bytes came than were announced; so slow readers keep neither memory nor places.
fn body(hosting: Arc<Hosting>, bytes: Vec<u8>, place: OwnedSemaphorePermit) -> Body {
    let (sender, mut receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let send = async {
            for piece in bytes.chunks(PIECE_BYTES) {
                // A copy, so that the whole does not live as long as its last piece.
                if sender.send(Ok::<_, Infallible>(Bytes::copy_from_slice(piece))).await.is_err() {
                    return;
                }
            }
        };
        if timeout(hosting.config.answer_timeout, send).await.is_err() {
            tracing::debug!("hosting.answer: not taken in time");
        }
        drop((place, bytes));
    });
    Body::from_stream(stream::poll_fn(move |context| receiver.poll_recv(context)))
}

impl ServeError {
    /// HTTP status and stable code.
    #[must_use]
    pub fn status(&self) -> (u16, &'static str) {
        match self {
            Self::BadRequest => (400, "bad_request"),
            Self::NotHosted { .. } => (404, "not_hosted"),
            Self::BadRange { .. } => (416, "bad_range"),
            Self::Busy => (503, "busy"),
            Self::Damaged { .. } => (500, "damaged"),
            Self::Disk(_) => (500, "disk_failed"),
            Self::Internal => (500, "internal"),
        }
    }
}

impl IntoResponse for ServeError {
    fn into_response(self) -> Response {
        let (status, code) = self.status();
        if status == 500 {
            tracing::error!(code, error = %self, "hosting.request");
        }
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::json!({ "error": self.to_string(), "code": code });
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if matches!(self, Self::Busy) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
        }
        response
    }
}
