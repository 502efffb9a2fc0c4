//! Models as content: upload, list, describe, download, remove.

use std::sync::Arc;

use axum::{
    Json,
    body::Body,
    extract::{RawQuery, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde_json::{Value, json};
use veracity_graph::{Manifest, Part};
use veracity_store::{Entry, Name, StoreError};

use crate::{
    body::{BodyLimits, buffer, pump},
    error::ApiError,
    gateway::{Shared, blocking},
    routes::ReferencePath,
    v2::tensor_json,
};

/// Largest accuracy report in bytes.
const REPORT_BYTES_MAX: u64 = 1 << 20;

/// Refuses changes where they are switched off, and those that a page of another site makes in somebody's browser.
fn check_writable(shared: &Shared, headers: &HeaderMap) -> Result<(), ApiError> {
    if !shared.config.writable {
        return Err(ApiError::ReadOnly);
    }
    match headers.get("sec-fetch-site").map(HeaderValue::as_bytes) {
        Some(b"cross-site" | b"same-site") => Err(ApiError::CrossSite),
        Some(_) | None if is_foreign_page(headers) => Err(ApiError::CrossSite),
        Some(_) | None => Ok(()),
    }
}

/// Whether a page of another site sends this. Browsers name the page's site in `Origin`; a site whose name was made to
/// point here (DNS rebinding) is its own host, so only addresses and `localhost` count as ours.
fn is_foreign_page(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return false };
    let host = headers.get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or_default();
    let own = origin.to_str().ok().and_then(|o| o.split_once("://")).is_some_and(|(_, site)| site == host);
    let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
    let name = name.map_or(host, |(name, _)| name).trim_start_matches('[').trim_end_matches(']');
    let is_address = name == "localhost" || name.parse::<std::net::IpAddr>().is_ok();
    !(own && is_address)
}

fn transfer(shared: &Shared) -> Result<tokio::sync::OwnedSemaphorePermit, ApiError> {
    let busy = |_| ApiError::Overloaded { what: "other transfers of models" };
    Arc::clone(&shared.transfers).try_acquire_owned().map_err(busy)
}

pub(crate) async fn upload(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    check_writable(&shared, &headers)?;
    let name = query_name(query.as_deref())?;
    let _transfer = transfer(&shared)?;
    let max = shared.config.upload_bytes_max;
    let store = Arc::clone(&shared.store);
    let limits = (max, shared.config.idle_timeout);
    let (id, name) = pump(&headers, body, limits, move |reader| {
        let id = store.put_reader(reader, max)?;
        if let Some(name) = &name {
            store.set_name(name, &id)?;
        }
        Ok((id, name))
    })
    .await?;
    let name = name.map(|name| name.to_string());
    Ok((StatusCode::CREATED, Json(json!({ "id": id.to_string(), "name": name }))))
}

/// The query has one optional parameter, whose characters need no escapes.
fn query_name(query: Option<&str>) -> Result<Option<Name>, ApiError> {
    match query.filter(|q| !q.is_empty()) {
        None => Ok(None),
        Some(query) => match query.strip_prefix("name=") {
            Some(name) if !name.contains('&') => Ok(Some(name.parse()?)),
            Some(_) | None => Err(ApiError::InvalidQuery { reason: "it may be name=NAME, once".to_owned() }),
        },
    }
}

pub(crate) async fn list(State(shared): State<Arc<Shared>>) -> Result<Json<Value>, ApiError> {
    blocking(&shared, |shared| {
        let models: Vec<Value> = shared.store.list()?.iter().map(entry_json).collect();
        Ok(Json(json!({ "models": models })))
    })
    .await
}

fn entry_json(entry: &Entry) -> Value {
    let error = entry.manifest.as_ref().err().map(ToString::to_string);
    json!({ "id": entry.id.to_string(), "names": names_json(&entry.names), "size_bytes": entry.size_bytes(), "error": error })
}

fn names_json(names: &[Name]) -> Vec<&str> {
    names.iter().map(Name::as_str).collect()
}

pub(crate) async fn show(
    State(shared): State<Arc<Shared>>,
    path: ReferencePath,
) -> Result<Json<Value>, ApiError> {
    blocking(&shared, move |shared| {
        let id = shared.store.resolve(&path.reference)?;
        let manifest = shared.store.manifest(&id)?;
        let (report, report_error) = match shared.store.report(&id) {
            Ok(report) => (report.and_then(|text| serde_json::from_slice::<Value>(&text).ok()), None),
            // A model is as good as before when its report is damaged.
            Err(error @ StoreError::Corrupt { .. }) => (None, Some(error.to_string())),
            Err(error) => return Err(error.into()),
        };
        let checked = shared.models.checked(&shared.store, &id)?;
        let names: Vec<Name> = shared
            .store
            .names()?
            .into_iter()
            .filter(|(_, target)| *target == id)
            .map(|(name, _)| name)
            .collect();
        Ok(Json(json!({
            "id": id.to_string(),
            "names": names_json(&names),
            "manifest": manifest_json(&manifest),
            "inputs": checked.inputs().iter().map(tensor_json).collect::<Vec<_>>(),
            "outputs": checked.outputs().iter().map(tensor_json).collect::<Vec<_>>(),
            "report": report,
            "report_error": report_error,
        })))
    })
    .await
}

fn manifest_json(manifest: &Manifest) -> Value {
    let part = |part: &Part| json!({ "digest": part.digest.to_string(), "size_bytes": part.size_bytes });
    let from = &manifest.provenance;
    json!({
        "graph": part(&manifest.graph),
        "weights": part(&manifest.weights),
        "provenance": {
            "converter": from.converter,
            "format": from.format,
            "source": from.source.to_string(),
            "options": from.options,
            "samples": from.samples.map(|digest| digest.to_string()),
        },
    })
}

pub(crate) async fn bundle(
    State(shared): State<Arc<Shared>>,
    path: ReferencePath,
) -> Result<Response, ApiError> {
    let _transfer = transfer(&shared)?;
    let bytes = blocking(&shared, move |shared| {
        let id = shared.store.resolve(&path.reference)?;
        Ok(shared.store.get(&id)?.encode())
    })
    .await?;
    let mut response = bytes.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    Ok(response)
}

pub(crate) async fn set_report(
    State(shared): State<Arc<Shared>>,
    path: ReferencePath,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    check_writable(&shared, &headers)?;
    let limits = BodyLimits { bytes_max: REPORT_BYTES_MAX, ..shared.bodies.clone() };
    let body = buffer(&headers, body, &limits).await?;
    serde_json::from_slice::<serde::de::IgnoredAny>(&body.bytes)
        .map_err(|e| ApiError::InvalidReport { reason: e.to_string() })?;
    blocking(&shared, move |shared| {
        let id = shared.store.resolve(&path.reference)?;
        shared.store.set_report(&id, &body.bytes)?;
        Ok(Json(json!({ "id": id.to_string() })))
    })
    .await
}

pub(crate) async fn remove(
    State(shared): State<Arc<Shared>>,
    path: ReferencePath,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    check_writable(&shared, &headers)?;
    blocking(&shared, move |shared| {
        let removed = shared.store.remove(&path.reference)?;
        if let Some(id) = removed.id.filter(|_| removed.model) {
            shared.models.forget(&id);
        }
        let (id, names) = (removed.id.map(|id| id.to_string()), names_json(&removed.names));
        Ok(Json(json!({ "id": id, "names": names, "model_removed": removed.model })))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_other_sites_are_foreign() {
        let cases = [
            (None, "evil.example", false),
            (Some("http://127.0.0.1:8080"), "127.0.0.1:8080", false),
            (Some("http://localhost:8080"), "localhost:8080", false),
            (Some("http://[::1]:8080"), "[::1]:8080", false),
            (Some("http://evil.example"), "127.0.0.1:8080", true),
            (Some("http://evil.example"), "evil.example", true),
            (Some("http://evil.example:8080"), "evil.example:8080", true),
            (Some("null"), "127.0.0.1:8080", true),
        ];
        for (origin, host, foreign) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static(host));
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            }
            assert_eq!(is_foreign_page(&headers), foreign, "{origin:?} at {host}");
        }
    }
}
