//! `GET /v1/receipts/{id}`.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use serde_json::{Value, json};
use veracity_receipt::{CONTENT_TYPE, Receipt, ReceiptId};

use crate::{
    error::ApiError,
    gateway::{Shared, blocking},
    routes::ReferencePath,
};

pub(crate) async fn receipt(
    State(shared): State<Arc<Shared>>,
    path: ReferencePath,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let id = path.reference;
    let bytes = blocking(&shared, move |shared| {
        let not_found = || ApiError::ReceiptNotFound { id: id.chars().take(80).collect() };
        let parsed: ReceiptId = id.parse().map_err(|_| not_found())?;
        let bytes = shared.receipts.get(parsed.as_bytes())?.ok_or_else(not_found)?;
        // One of a later version is given as it is.
        let known = Receipt::decode(&bytes).ok();
        Ok(known.map_or(bytes, |receipt| with_evidence(shared, receipt).encode()))
    })
    .await?;
    let accepts = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if accepts.split(',').any(|kind| kind.split(';').next().map(str::trim) == Some("application/json")) {
        return Ok(Json(receipt_json(&Receipt::decode(&bytes)?)).into_response());
    }
    let mut response = bytes.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    Ok(response)
}

/// Of this node's receipts the evidence is here; of those that were passed on, their worker has it.
fn with_evidence(shared: &Shared, receipt: Receipt) -> Receipt {
    match shared.forwarder() {
        Some(forwarder) if receipt.executor() != shared.worker.executor() => forwarder.with_evidence(receipt),
        _ => shared.evidence.join(&shared.sequences, receipt),
    }
}

fn receipt_json(receipt: &Receipt) -> Value {
    let claims = receipt.claims();
    let (parameters, usage) = (&claims.parameters, &claims.usage);
    let signature: String = receipt.signature().iter().map(|byte| format!("{byte:02x}")).collect();
    json!({
        "id": receipt.id().to_string(),
        "executor": receipt.executor().to_string(),
        "signature": signature,
        "issued_at": claims.issued_at,
        "model_id": claims.model_id.to_string(),
        "request_hash": claims.request_hash.to_string(),
        "response_hash": claims.response_hash.to_string(),
        "parameters": {
            "protocol": parameters.protocol,
            "model_name": parameters.model_name,
            "request_json_length": parameters.request_json_length,
            "response_json_length": parameters.response_json_length,
        },
        "usage": {
            "samples": usage.samples,
            "input_bytes": usage.input_bytes,
            "output_bytes": usage.output_bytes,
            "macs": usage.macs,
        },
        "software": claims.software,
        "sequence": claims.sequence,
        "anchored": anchor_json(receipt),
        "trace_root": claims.trace_root.map(|root| root.to_string()),
    })
}

/// Where the receipt is anchored, as its evidence says. Whether the block is final, the network key decides.
fn anchor_json(receipt: &Receipt) -> Value {
    let anchor = receipt.evidence().zip(receipt.subject());
    match anchor.and_then(|(evidence, subject)| evidence.verify_anchor(&subject).ok()) {
        Some(anchor) => json!({
            "block": anchor.height,
            "block_hash": anchor.block.to_string(),
            "time": anchor.time,
            "batch": anchor.batch,
            "index": anchor.index,
        }),
        None => Value::Null,
    }
}
