//! The MODEL argument: a name or id in the store, a `.vmodel` file, or a folder with a model's parts.

use std::{
    fs,
    path::{Path, PathBuf},
};

use veracity_graph::{Bundle, Manifest, ModelId};
use veracity_store::{Store, StoreError};

use crate::{args::Global, data, error::Failure};

/// The bytes of a model.
#[derive(Debug)]
pub(crate) struct Found {
    /// Hash of the manifest, to which all bytes were compared.
    pub(crate) id: ModelId,
    /// Under which name it was asked for; the id where the user gave a path or an id.
    pub(crate) name: String,
    /// All bytes.
    pub(crate) bundle: Bundle,
    /// Accuracy report in JSON, if there is one.
    pub(crate) report: Option<String>,
}

/// Finds what MODEL names. A text with a path separator or ending in `.vmodel` is a path; another one is looked for in
/// the store first and then as a path.
///
/// # Errors
/// `model_not_found`, `model_damaged` and the store's refusals.
pub(crate) fn find(reference: &str, global: &Global) -> Result<Found, Failure> {
    let path = Path::new(reference);
    if is_path(reference) {
        return load_path(path);
    }
    match data::open_existing_store(global)?.map(|store| from_store(&store, reference)) {
        Some(Ok(found)) => Ok(found),
        Some(Err(failure)) if failure.code != "model_not_found" || !path.exists() => Err(failure),
        None if !path.exists() => {
            Err(data::store_failure(&StoreError::NotFound { reference: reference.to_owned() }))
        }
        Some(Err(_)) | None => load_path(path),
    }
}

fn is_path(reference: &str) -> bool {
    reference.contains(std::path::is_separator) || reference.ends_with(".vmodel")
}

/// Loads a model of the store.
///
/// # Errors
/// The store's refusals.
pub(crate) fn from_store(store: &Store, reference: &str) -> Result<Found, Failure> {
    let id = store.resolve(reference).map_err(|e| data::store_failure(&e))?;
    let bundle = store.get(&id).map_err(|e| data::store_failure(&e))?;
    let report = store.report(&id).map_err(|e| data::store_failure(&e))?;
    let by_name = reference.parse::<veracity_store::Name>().is_ok();
    let name = if by_name { reference.to_owned() } else { id.to_string() };
    let report = report.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Ok(Found { id, name, bundle, report })
}

fn load_path(path: &Path) -> Result<Found, Failure> {
    let metadata = fs::metadata(path).map_err(|e| Failure::read(path, &e))?;
    if !metadata.is_dir() {
        let bytes = fs::read(path).map_err(|e| Failure::read(path, &e))?;
        let bundle = Bundle::decode(&bytes).map_err(|e| damaged(&e).about(path))?;
        return Ok(unnamed(bundle, None));
    }
    let part = |name: &str| fs::read(path.join(name)).map_err(|e| Failure::read(&path.join(name), &e));
    let manifest = Manifest::decode(&part("manifest")?).map_err(|e| damaged(&e).about(path))?;
    let bundle = Bundle { manifest, graph: part("graph")?, weights: part("weights")? };
    bundle.check().map_err(|e| damaged(&e).about(path))?;
    Ok(unnamed(bundle, fs::read_to_string(path.join("report.json")).ok()))
}

fn unnamed(bundle: Bundle, report: Option<String>) -> Found {
    let id = bundle.model_id();
    Found { id, name: id.to_string(), bundle, report }
}

/// The bytes are no model.
pub(crate) fn damaged(error: &dyn std::fmt::Display) -> Failure {
    Failure::input("model_damaged", error, "get the model again, or import it from its source")
}

/// Where a model is written to outside the store: a `.vmodel` file, or a folder with its parts.
///
/// # Errors
/// `file_not_writable`.
pub(crate) fn write(path: &Path, bundle: &Bundle, report: Option<&str>) -> Result<(), Failure> {
    if path.extension().is_some_and(|e| e == "vmodel") {
        return write_file(path, &bundle.encode());
    }
    fs::create_dir_all(path).map_err(|e| Failure::write(path, &e))?;
    write_file(&path.join("graph"), &bundle.graph)?;
    write_file(&path.join("weights"), &bundle.weights)?;
    if let Some(report) = report {
        write_file(&path.join("report.json"), report.as_bytes())?;
    }
    // Last, so that a folder with a manifest is whole.
    write_file(&path.join("manifest"), &bundle.manifest.encode())
}

/// Writes a file that is there in full or not at all. What is no file (a pipe, `/dev/stdout`) is written to.
///
/// # Errors
/// `file_not_writable`.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    if fs::metadata(path).is_ok_and(|m| !m.is_file()) {
        return fs::write(path, bytes).map_err(|e| Failure::write(path, &e));
    }
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let write = || {
        let mut file = tempfile::Builder::new().prefix(".veracity-").tempfile_in(&folder)?;
        std::io::Write::write_all(&mut file, bytes)?;
        make_readable(file.as_file())?;
        file.persist(path).map_err(|e| e.error)?;
        Ok(())
    };
    write().map_err(|e: std::io::Error| Failure::write(path, &e))
}

/// Temporary files are private; what the user asked for has the usual mode.
#[cfg(unix)]
fn make_readable(file: &fs::File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn make_readable(_: &fs::File) -> std::io::Result<()> {
    Ok(())
}
