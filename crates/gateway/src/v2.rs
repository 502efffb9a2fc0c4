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
use veracity_worker::{Object, TensorInfo, protocol::datatype};

use crate::{
    body::{BodyLimits, buffer},
    error::ApiError,
    forward::Forwarder,
    gateway::{Shared, blocking},
    locate::{Place, is_forwarded, locate},
    routes::ModelPath,
};

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

/// What `here` says about a model of this node, or `elsewhere` about one that a worker has.
async fn about(
    shared: &Arc<Shared>,
    path: ModelPath,
    headers: &HeaderMap,
    here: fn(&Shared, &ModelPath, &ModelId) -> Result<Value, ApiError>,
    elsewhere: fn(&Forwarder, &ModelPath, &ModelId) -> Result<Value, ApiError>,
) -> Result<Json<Value>, ApiError> {
    let forwarded = is_forwarded(headers);
    let found =
        blocking(shared, move |shared| match (locate(shared, &path, forwarded)?, shared.forwarder()) {
            (Place::Here(id), _) => here(shared, &path, &id),
            (Place::Elsewhere(id), Some(forwarder)) => elsewhere(forwarder, &path, &id),
            (Place::Elsewhere(_), None) => Err(ApiError::NotAWorker),
        });
    found.await.map(Json)
}

pub(crate) async fn model(
    State(shared): State<Arc<Shared>>,
    path: ModelPath,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    about(&shared, path, &headers, own_model, others_model).await
}

fn own_model(shared: &Shared, path: &ModelPath, id: &ModelId) -> Result<Value, ApiError> {
    let checked = shared.models.checked(&shared.store, id)?;
    let tensors = |tensors: &[TensorInfo]| Value::Array(tensors.iter().map(tensor_json).collect());
    Ok(model_json(&path.name, id, &tensors(checked.inputs()), &tensors(checked.outputs())))
}

/// What the protocol has, and nothing else that a worker may add.
fn others_model(forwarder: &Forwarder, path: &ModelPath, id: &ModelId) -> Result<Value, ApiError> {
    let mut described = forwarder.describe(&path.name, id)?;
    let [inputs, outputs] = ["inputs", "outputs"].map(|field| described[field].take());
    Ok(model_json(&path.name, id, &inputs, &outputs))
}

fn model_json(name: &str, id: &ModelId, inputs: &Value, outputs: &Value) -> Value {
    json!({
        "name": name,
        "versions": [id.to_string()],
        "platform": "veracity",
        "inputs": inputs,
        "outputs": outputs,
    })
}

pub(crate) fn tensor_json(tensor: &TensorInfo) -> Value {
    let shape: Vec<Value> = tensor.shape.iter().map(|n| n.map_or(json!(-1), |n| json!(n))).collect();
    json!({ "name": tensor.name, "datatype": datatype(tensor.elem), "shape": shape })
}

/// Reads and checks the model, so that ready means that it can be run. Its weights are packed by the first run, for
/// which somebody asks. One that is not here is ready if a worker says so.
pub(crate) async fn model_ready(
    State(shared): State<Arc<Shared>>,
    path: ModelPath,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    about(&shared, path, &headers, own_ready, others_ready).await
}

fn own_ready(shared: &Shared, path: &ModelPath, id: &ModelId) -> Result<Value, ApiError> {
    shared.models.checked(&shared.store, id)?;
    Ok(json!({ "name": path.name, "ready": true }))
}

fn others_ready(forwarder: &Forwarder, path: &ModelPath, id: &ModelId) -> Result<Value, ApiError> {
    forwarder.is_served(&path.name, id)?;
    Ok(json!({ "name": path.name, "ready": true }))
}

pub(crate) async fn models(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    Ok(Json(json!({ "models": index_entries(&shared, is_forwarded(&headers)).await? })))
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
    Ok(Json(Value::Array(index_entries(&shared, is_forwarded(&headers)).await?)))
}

/// The models of the store if they are run here, and those that workers have if requests are forwarded.
async fn index_entries(shared: &Arc<Shared>, forwarded: bool) -> Result<Vec<Value>, ApiError> {
    if !shared.config.runs && shared.forwarder().is_none() {
        return Err(ApiError::NotAWorker);
    }
    blocking(shared, move |shared| {
        let mut rows = if shared.config.runs { stored(shared)? } else { vec![] };
        if let (Some(network), Some(forwarder), false) = (shared.network.get(), shared.forwarder(), forwarded)
        {
            let row = |(name, id): &(String, ModelId)| json!({ "name": name, "version": id.to_string(), "state": "READY", "reason": "" });
            let is_stored = |name: &str| rows.iter().any(|row| row["name"] == name);
            let others = forwarder.reachable(&network.names)?;
            let others: Vec<Value> =
                others.iter().filter(|(name, _)| !is_stored(name)).map(row).collect();
            rows.extend(others);
        }
        Ok(rows)
    })
    .await
}

fn stored(shared: &Shared) -> Result<Vec<Value>, ApiError> {
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
}
