//! `POST /v2/models/{name}[/versions/{version}]/infer`.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use veracity_graph::ModelId;
use veracity_receipt::{Receipt, Request};
use veracity_worker::{Inference, ResponseBytes, protocol::PROTOCOL};

use crate::{
    base64,
    body::{Buffered, buffer, check_headers},
    error::ApiError,
    forward::{Asked, Passed},
    gateway::{Shared, blocking},
    locate::{Place, here, is_forwarded, locate},
    routes::ModelPath,
};

const JSON_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");
const RECEIPT: HeaderName = HeaderName::from_static("x-receipt");
const RECEIPT_ID: HeaderName = HeaderName::from_static("x-receipt-id");

pub(crate) async fn infer(
    State(shared): State<Arc<Shared>>,
    path: ModelPath,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let (json_length, inline) = (json_length(&headers)?, wants_receipt(&headers)?);
    check_headers(&headers, shared.bodies.bytes_max)?;
    // A slot is taken only once the body is here, so that slow senders hold none.
    let body = buffer(&headers, body, &shared.bodies).await?;
    let path = match elsewhere(&shared, path, &headers).await? {
        Located::Here(path) => path,
        Located::Elsewhere(path, id) => {
            let passed = forward(&shared, path, id, body, json_length).await?;
            let Passed { json_length, body, receipt } = passed;
            return Ok(answer(json_length, Bytes::from_owner(body), &receipt, inline));
        }
    };
    let overloaded = |_| ApiError::Overloaded { what: "other requests" };
    let admitted = Arc::clone(&shared.admission).try_acquire_owned().map_err(overloaded)?;
    let timeout = shared.config.run_timeout;
    let job = async {
        let run = Arc::clone(&shared.runs).acquire_owned().await.expect("nobody closes the semaphore");
        // The job holds its permits itself: should nobody wait for it any longer, it still counts until it ends.
        let job = move |shared: &Shared| {
            let inference = run_job(shared, &path, &body, json_length);
            // The next one may run while this one waits for the disk.
            drop(run);
            let answer = inference.and_then(|inference| sign(shared, inference));
            drop(admitted);
            answer
        };
        blocking(&shared, job).await
    };
    let done = tokio::time::timeout(timeout, job).await;
    let (response, receipt) = done.map_err(|_| ApiError::RunTimeout { timeout })??;
    Ok(answer(response.json_length, response.body.into(), &receipt, inline))
}

/// The bytes of an answer, and what HTTP says about them.
fn answer(json_length: Option<u64>, body: Bytes, receipt: &Receipt, inline: bool) -> Response {
    let mut answer = body.into_response();
    let headers = answer.headers_mut();
    let content_type = if json_length.is_some() { "application/octet-stream" } else { "application/json" };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Some(length) = json_length {
        headers.insert(JSON_LENGTH, HeaderValue::from(length));
    }
    headers.insert(RECEIPT_ID, ascii(receipt.id().to_string()));
    if inline {
        headers.insert(RECEIPT, ascii(base64::encode(&receipt.encode())));
    }
    answer
}

/// Where a request goes.
enum Located {
    Here(ModelPath),
    Elsewhere(ModelPath, ModelId),
}

/// Finds out whether another node runs the model. Without a network none does, and nothing is asked.
async fn elsewhere(shared: &Arc<Shared>, path: ModelPath, headers: &HeaderMap) -> Result<Located, ApiError> {
    if shared.network.get().is_none() && shared.config.runs {
        return Ok(Located::Here(path));
    }
    let forwarded = is_forwarded(headers);
    blocking(shared, move |shared| {
        Ok(match locate(shared, &path, forwarded)? {
            Place::Here(_) => Located::Here(path),
            Place::Elsewhere(id) => Located::Elsewhere(path, id),
        })
    })
    .await
}

async fn forward(
    shared: &Arc<Shared>,
    path: ModelPath,
    model: ModelId,
    body: Buffered,
    json_length: Option<u64>,
) -> Result<Passed, ApiError> {
    blocking(shared, move |shared| {
        let forwarder = shared.forwarder().ok_or(ApiError::NotAWorker)?;
        let asked = Asked { name: &path.name, model, json_length, body: &body.bytes };
        // Also if nobody waits for the answer any longer, it counts until it is here.
        forwarder.forward(shared, &asked)
    })
    .await
}

fn run_job(
    shared: &Shared,
    path: &ModelPath,
    body: &Buffered,
    json_length: Option<u64>,
) -> Result<Inference, ApiError> {
    let started = Instant::now();
    let id = here(shared, path)?;
    let _in_use = shared.use_model(&id);
    let loaded = shared.models.get(&shared.store, &id)?;
    let request = Request { protocol: PROTOCOL, model_name: &path.name, json_length, body: &body.bytes };
    let inference = shared.worker.infer(&loaded, &request, unix_seconds());
    shared.models.trim(&id);
    let inference = inference?;
    let usage = inference.claims.usage;
    shared.metrics.samples.inc_by(usage.samples);
    shared.metrics.request_bytes.inc_by(usage.input_bytes);
    shared.metrics.response_bytes.inc_by(usage.output_bytes);
    shared.metrics.run_seconds.inc_by(started.elapsed().as_secs_f64());
    Ok(inference)
}

/// Signs the receipt under the next sequence. Before the answer leaves, the sequence is this receipt's for ever and
/// the receipt survives the end of this process.
fn sign(shared: &Shared, inference: Inference) -> Result<(ResponseBytes, Receipt), ApiError> {
    let Inference { response, claims } = inference;
    let receipt = shared.sequences.issue(|sequence| {
        let receipt = shared.worker.sign(claims, sequence)?;
        let id = *receipt.id().as_bytes();
        Ok::<_, ApiError>((receipt, id))
    })?;
    shared.receipts.append(receipt.id().as_bytes(), &receipt.encode())?;
    Ok((response, receipt))
}

pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).as_ref().map_or(0, Duration::as_secs)
}

/// The value of a header that may come once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a [u8]>, ()> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(()),
        (value, None) => Ok(value.map(HeaderValue::as_bytes)),
    }
}

fn json_length(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let refuse =
        || ApiError::InvalidHeader { name: "Inference-Header-Content-Length", expected: "a number of bytes" };
    let Some(value) = single(headers, &JSON_LENGTH).map_err(|()| refuse())? else { return Ok(None) };
    let digits = value.iter().all(u8::is_ascii_digit).then(|| str::from_utf8(value).ok()).flatten();
    digits.and_then(|digits| digits.parse().ok()).map(Some).ok_or_else(refuse)
}

fn wants_receipt(headers: &HeaderMap) -> Result<bool, ApiError> {
    match single(headers, &RECEIPT) {
        Ok(None) => Ok(false),
        Ok(Some(b"inline")) => Ok(true),
        Ok(Some(_)) | Err(()) => Err(ApiError::InvalidHeader { name: "x-receipt", expected: "'inline'" }),
    }
}

fn ascii(digits: String) -> HeaderValue {
    HeaderValue::try_from(digits).expect("hex and base64 are ASCII")
}
