//! The routes, once: the router and the OpenAPI document are made from this table.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{FromRequestParts, Path, Request, State},
    http::{HeaderValue, Method, Uri, header, request::Parts},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse as _, Response},
    routing::{MethodRouter, delete, get, post, put},
};
use serde_json::Value;

use crate::{
    error::ApiError,
    gateway::{Shared, blocking},
    infer,
    metrics::InFlight,
    models,
    openapi::openapi,
    receipts, v2,
};

/// A route and how the OpenAPI document describes it.
pub(crate) struct Route {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    /// Operation id, and label in metrics.
    pub(crate) name: &'static str,
    pub(crate) summary: &'static str,
    /// Media type and schema of the body, if there is one.
    pub(crate) request: Option<(&'static str, &'static str)>,
    /// Status, media type and schema of success.
    pub(crate) response: (u16, &'static str, &'static str),
    pub(crate) handler: fn() -> MethodRouter<Arc<Shared>>,
}

const JSON: &str = "application/json";
const BINARY: &str = "application/octet-stream";

/// All routes.
pub(crate) const ROUTES: &[Route] = &[
    Route {
        method: "get",
        path: "/v2",
        name: "server_metadata",
        summary: "Name, version and extensions of the server",
        request: None,
        response: (200, JSON, "ServerMetadata"),
        handler: || get(v2::server),
    },
    Route {
        method: "get",
        path: "/v2/health/live",
        name: "server_live",
        summary: "Whether the server runs",
        request: None,
        response: (200, JSON, "Live"),
        handler: || get(v2::live),
    },
    Route {
        method: "get",
        path: "/v2/health/ready",
        name: "server_ready",
        summary: "Whether the server takes requests",
        request: None,
        response: (200, JSON, "Ready"),
        handler: || get(v2::ready),
    },
    Route {
        method: "get",
        path: "/v2/models",
        name: "models",
        summary: "Names that can be asked for",
        request: None,
        response: (200, JSON, "Index"),
        handler: || get(v2::models),
    },
    Route {
        method: "post",
        path: "/v2/repository/index",
        name: "repository_index",
        summary: "As Triton's model repository extension",
        request: Some((JSON, "IndexRequest")),
        response: (200, JSON, "RepositoryIndex"),
        handler: || post(v2::index),
    },
    Route {
        method: "get",
        path: "/v2/models/{name}",
        name: "model_metadata",
        summary: "Inputs and outputs of a model",
        request: None,
        response: (200, JSON, "ModelMetadata"),
        handler: || get(v2::model),
    },
    Route {
        method: "get",
        path: "/v2/models/{name}/versions/{version}",
        name: "model_version_metadata",
        summary: "Inputs and outputs of a model, if the name still means this version",
        request: None,
        response: (200, JSON, "ModelMetadata"),
        handler: || get(v2::model),
    },
    Route {
        method: "get",
        path: "/v2/models/{name}/ready",
        name: "model_ready",
        summary: "Checks a model and says that it is ready",
        request: None,
        response: (200, JSON, "ModelReady"),
        handler: || get(v2::model_ready),
    },
    Route {
        method: "get",
        path: "/v2/models/{name}/versions/{version}/ready",
        name: "model_version_ready",
        summary: "Checks a model and says that it is ready, if the name still means this version",
        request: None,
        response: (200, JSON, "ModelReady"),
        handler: || get(v2::model_ready),
    },
    Route {
        method: "post",
        path: "/v2/models/{name}/infer",
        name: "infer",
        summary: "Runs a model; the answer comes with a receipt",
        request: Some((JSON, "InferRequest")),
        response: (200, JSON, "InferResponse"),
        handler: || post(infer::infer),
    },
    Route {
        method: "post",
        path: "/v2/models/{name}/versions/{version}/infer",
        name: "infer_version",
        summary: "Runs a model, if the name still means this version",
        request: Some((JSON, "InferRequest")),
        response: (200, JSON, "InferResponse"),
        handler: || post(infer::infer),
    },
    Route {
        method: "post",
        path: "/v1/models",
        name: "model_upload",
        summary: "Stores a model bundle, under the name in the query if there is one",
        request: Some((BINARY, "Binary")),
        response: (201, JSON, "Uploaded"),
        handler: || post(models::upload),
    },
    Route {
        method: "get",
        path: "/v1/models",
        name: "model_list",
        summary: "All stored models",
        request: None,
        response: (200, JSON, "ModelList"),
        handler: || get(models::list),
    },
    Route {
        method: "get",
        path: "/v1/models/{reference}",
        name: "model_show",
        summary: "Manifest, tensors and accuracy report of a model, by name, id or the first digits of its id",
        request: None,
        response: (200, JSON, "Model"),
        handler: || get(models::show),
    },
    Route {
        method: "delete",
        path: "/v1/models/{reference}",
        name: "model_remove",
        summary: "Removes a name, and its model if that was the last one; by id, the model with all names",
        request: None,
        response: (200, JSON, "Removed"),
        handler: || delete(models::remove),
    },
    Route {
        method: "get",
        path: "/v1/models/{reference}/bundle",
        name: "model_download",
        summary: "The model as one file",
        request: None,
        response: (200, BINARY, "Binary"),
        handler: || get(models::bundle),
    },
    Route {
        method: "put",
        path: "/v1/models/{reference}/report",
        name: "model_set_report",
        summary: "Replaces the accuracy report",
        request: Some((JSON, "Report")),
        response: (200, JSON, "Identified"),
        handler: || put(models::set_report),
    },
    Route {
        method: "get",
        path: "/v1/receipts/{reference}",
        name: "receipt",
        summary: "A receipt that is still kept, in CBOR; in JSON for `Accept: application/json`",
        request: None,
        response: (200, veracity_receipt::CONTENT_TYPE, "Binary"),
        handler: || get(receipts::receipt),
    },
    Route {
        method: "get",
        path: "/openapi.json",
        name: "openapi",
        summary: "This document",
        request: None,
        response: (200, JSON, "Anything"),
        handler: || get(document),
    },
    Route {
        method: "get",
        path: "/metrics",
        name: "metrics",
        summary: "Numbers for Prometheus",
        request: None,
        response: (200, METRICS_TYPE, "Text"),
        handler: || get(metrics),
    },
    Route {
        method: "get",
        path: "/healthz",
        name: "healthz",
        summary: "Whether the process runs",
        request: None,
        response: (200, JSON, "Live"),
        handler: || get(v2::live),
    },
    Route {
        method: "get",
        path: "/readyz",
        name: "readyz",
        summary: "Whether requests should be sent here",
        request: None,
        response: (200, JSON, "Ready"),
        handler: || get(v2::ready),
    },
];

const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(crate) fn router(shared: &Arc<Shared>) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        let label = (Arc::clone(shared), route.name);
        router = router.route(route.path, (route.handler)().layer(from_fn_with_state(label, observe)));
    }
    router.fallback(unknown).method_not_allowed_fallback(not_allowed).with_state(Arc::clone(shared))
}

async fn observe(
    State((shared, name)): State<(Arc<Shared>, &'static str)>,
    request: Request,
    next: Next,
) -> Response {
    let in_flight = InFlight::new(&shared.metrics);
    let response = match is_for_models(request.uri().path()) && !shared.config.runs {
        true => ApiError::NotAWorker.into_response(),
        false => next.run(request).await,
    };
    shared.metrics.observe(name, response.status().as_u16(), in_flight.1.elapsed());
    response
}

/// Whether a path is about the models of the store, which are not those of clients where none is run.
fn is_for_models(path: &str) -> bool {
    path == "/v1/models" || path.starts_with("/v1/models/")
}

async fn unknown(uri: Uri) -> ApiError {
    ApiError::UnknownRoute { path: uri.path().chars().take(200).collect() }
}

async fn not_allowed(method: Method, uri: Uri) -> ApiError {
    ApiError::MethodNotAllowed { method: method.to_string(), path: uri.path().chars().take(200).collect() }
}

async fn document() -> Json<Value> {
    Json(openapi())
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Result<Response, ApiError> {
    let text = blocking(&shared, |shared| Ok(shared.metrics.text(shared.sample()?))).await?;
    let mut response = text.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(METRICS_TYPE));
    Ok(response)
}

/// `{name}` and perhaps `{version}`, percent-decoded.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct ModelPath {
    pub(crate) name: String,
    pub(crate) version: Option<String>,
}

/// `{reference}`, percent-decoded.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct ReferencePath {
    pub(crate) reference: String,
}

async fn path<T: serde::de::DeserializeOwned + Send, S: Send + Sync>(
    parts: &mut Parts,
    state: &S,
) -> Result<T, ApiError> {
    let path = Path::<T>::from_request_parts(parts, state).await;
    path.map(|Path(path)| path).map_err(|e| ApiError::InvalidPath { reason: e.body_text() })
}

impl<S: Send + Sync> FromRequestParts<S> for ModelPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        path(parts, state).await
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ReferencePath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        path(parts, state).await
    }
}
