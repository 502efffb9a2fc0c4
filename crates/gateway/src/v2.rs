//! Health and metadata of the Open Inference Protocol.

use std::sync::{Arc, atomic::Ordering};

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use serde_json::{Value, json};
use veracity_graph::ModelId;
use veracity_store::StoreError;
use veracity_worker::{Object, TensorInfo, protocol::datatype};

use crate::{
    body::{BodyLimits, buffer},
    error::ApiError,
    gateway::{Shared, blocking},
    routes::ModelPath,
};

/// The model that a path means. Ids are not abbreviated here: what an abbreviation means changes with the store.
pub(crate) fn resolve(shared: &Shared, path: &ModelPath) -> Result<ModelId, ApiError> {
    let found = shared.store.resolve_exact(&path.name)?;
    let id = found.ok_or_else(|| StoreError::NotFound { reference: path.name.clone() })?;
    match &path.version {
        Some(version) if *version != id.to_string() => Err(ApiError::VersionNotFound {
            name: path.name.clone(),
            version: version.clone(),
            found: id.to_string(),
        }),
        Some(_) | None => Ok(id),
    }
}

pub(crate) async fn server() -> Json<Value> {
    let extensions = ["binary_tensor_data", "veracity_receipts"];
    Json(json!({ "name": "veracity", "version": env!("CARGO_PKG_VERSION"), "extensions": extensions }))
}

pub(crate) async fn live() -> Json<Value> {
    Json(json!({ "live": true }))
}

pub(crate) async fn ready(State(shared): State<Arc<Shared>>) -> (StatusCode, Json<Value>) {
    let ready = !shared.stopping.load(Ordering::Acquire);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": ready })))
}

pub(crate) async fn model(
    State(shared): State<Arc<Shared>>,
    path: ModelPath,
) -> Result<Json<Value>, ApiError> {
    blocking(&shared, move |shared| {
        let id = resolve(shared, &path)?;
        let checked = shared.models.checked(&shared.store, &id)?;
        let tensors = |tensors: &[TensorInfo]| tensors.iter().map(tensor_json).collect::<Vec<_>>();
        Ok(Json(json!({
            "name": path.name,
            "versions": [id.to_string()],
            "platform": "veracity",
            "inputs": tensors(checked.inputs()),
            "outputs": tensors(checked.outputs()),
        })))
    })
    .await
}

pub(crate) fn tensor_json(tensor: &TensorInfo) -> Value {
    let shape: Vec<Value> = tensor.shape.iter().map(|n| n.map_or(json!(-1), |n| json!(n))).collect();
    json!({ "name": tensor.name, "datatype": datatype(tensor.elem), "shape": shape })
}

/// Reads and checks the model, so that ready means that it can be run. Its weights are packed by the first run, for
/// which somebody asks.
pub(crate) async fn model_ready(
    State(shared): State<Arc<Shared>>,
    path: ModelPath,
) -> Result<Json<Value>, ApiError> {
    blocking(&shared, move |shared| {
        let id = resolve(shared, &path)?;
        shared.models.checked(&shared.store, &id)?;
        Ok(Json(json!({ "name": path.name, "ready": true })))
    })
    .await
}

pub(crate) async fn models(State(shared): State<Arc<Shared>>) -> Result<Json<Value>, ApiError> {
    Ok(Json(json!({ "models": index_entries(&shared).await? })))
}

/// As Triton's model repository extension. Every stored model can be run, so `ready` makes no difference.
pub(crate) async fn index(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    let limits = BodyLimits { bytes_max: 4096, ..shared.bodies.clone() };
    let body = buffer(&headers, body, &limits).await?;
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct IndexRequest {
        #[serde(rename = "ready")]
        _ready: Option<bool>,
    }
    if !body.bytes.is_empty() {
        let parsed: Result<Object<IndexRequest>, _> = serde_json::from_slice(&body.bytes);
        parsed.map_err(|e| veracity_worker::RequestError::InvalidRequest { reason: e.to_string() })?;
    }
    Ok(Json(Value::Array(index_entries(&shared).await?)))
}

async fn index_entries(shared: &Arc<Shared>) -> Result<Vec<Value>, ApiError> {
    blocking(shared, |shared| {
        let entries = shared.store.list()?;
        let rows = entries.iter().flat_map(|entry| {
            let (state, reason) = match &entry.manifest {
                Ok(_) => ("READY", String::new()),
                Err(error) => ("UNAVAILABLE", error.to_string()),
            };
            // A model without a name is asked for by its id.
            let names = entry.names.iter().map(ToString::to_string);
            let unnamed = entry.names.is_empty().then(|| entry.id.to_string());
            let row = move |name| json!({ "name": name, "version": entry.id.to_string(), "state": state, "reason": reason });
            names.chain(unnamed).map(row)
        });
        Ok(rows.collect())
    })
    .await
}
