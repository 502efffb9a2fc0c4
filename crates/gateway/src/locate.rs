//! Where the model that a request means is run.

use axum::http::HeaderMap;
use veracity_graph::ModelId;
use veracity_store::StoreError;

use crate::{error::ApiError, forward::HOP, gateway::Shared, routes::ModelPath};

/// Where a model is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// From the store of this node.
    Here(ModelId),
    /// By a worker of the network.
    Elsewhere(ModelId),
}

/// Whether the request comes from a gateway, which must not be sent on.
pub(crate) fn is_forwarded(headers: &HeaderMap) -> bool {
    headers.contains_key(HOP)
}

/// The place of the model that a path means. The names of the store come first, then those of the network. Blocks: it may
/// ask the registry.
pub(crate) fn locate(shared: &Shared, path: &ModelPath, forwarded: bool) -> Result<Place, ApiError> {
    let (network, version) = (shared.network.get(), path.version.as_deref());
    let forwards = network.is_some_and(|network| network.forwarder.is_some());
    if !shared.config.runs && !forwards {
        return Err(ApiError::NotAWorker);
    }
    // Ids are not abbreviated here: what an abbreviation means changes with the store.
    let local = if shared.config.runs { shared.store.resolve_exact(&path.name)? } else { None };
    if let Some(id) = local.filter(|id| version.is_none_or(|version| version == id.to_string())) {
        return Ok(Place::Here(id));
    }
    let meant = match network {
        Some(network) => network.names.meaning(&path.name, version)?,
        None => None,
    };
    match meant {
        Some(id) if shared.config.runs && shared.store.contains(&id) => Ok(Place::Here(id)),
        Some(id) if forwards && !forwarded => Ok(Place::Elsewhere(id)),
        Some(_) | None => Err(unknown(path, local)),
    }
}

/// The model of a request that was found to be run here.
pub(crate) fn here(shared: &Shared, path: &ModelPath) -> Result<ModelId, ApiError> {
    match locate(shared, path, true)? {
        Place::Here(id) => Ok(id),
        Place::Elsewhere(_) => Err(unknown(path, None)),
    }
}

fn unknown(path: &ModelPath, local: Option<ModelId>) -> ApiError {
    match (local, &path.version) {
        (Some(found), Some(version)) => ApiError::VersionNotFound {
            name: path.name.clone(),
            version: version.clone(),
            found: found.to_string(),
        },
        _ => StoreError::NotFound { reference: path.name.clone() }.into(),
    }
}
