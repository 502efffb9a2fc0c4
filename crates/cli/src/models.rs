//! The MODEL argument: a name or id in the store, a `.vmodel` file, or a folder with a model's parts.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use veracity_graph::{Bundle, Manifest, ModelId};
use veracity_store::Store;

use crate::{args::Global, data, error::Failure, files};

/// More than the longest head of a bundle, in bytes.
pub(crate) const HEADER_BYTES_MAX: u64 = 128 << 10;
const REPORT_BYTES_MAX: u64 = 16 << 20;
/// Files of a model in a folder.
const PARTS: [&str; 4] = ["graph", "weights", "report.json", "manifest"];

/// The bytes of a model.
#[derive(Debug)]
pub(crate) struct Found {
    /// Hash of the manifest, to which all bytes were compared.
    pub(crate) id: ModelId,
    /// Under which name it was asked for; the id where the user gave a path or an id.
    pub(crate) name: String,
    /// All bytes.
    pub(crate) bundle: Bundle,
    /// Accuracy report in JSON, if there is one; or why it cannot be read, which is no reason not to use the model.
    pub(crate) report: Result<Option<String>, Failure>,
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
        None if !path.exists() => Err(data::no_model(reference, global)?),
        Some(Err(_)) | None => load_path(path),
    }
}

/// The files that MODEL is read from where it is a path.
pub(crate) fn files(reference: &str) -> Vec<PathBuf> {
    let path = Path::new(reference);
    let paths = PARTS.iter().map(|part| path.join(part)).chain([path.to_owned()]);
    paths.filter(|path| path.is_file()).collect()
}

/// The files that [`write()`] writes.
pub(crate) fn written(path: &Path) -> Vec<PathBuf> {
    if is_bundle(path) { vec![path.to_owned()] } else { PARTS.iter().map(|part| path.join(part)).collect() }
}

fn is_bundle(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "vmodel")
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
    let report = store.report(&id).map_err(|e| data::store_failure(&e));
    let by_name = reference.parse::<veracity_store::Name>().is_ok();
    let name = if by_name { reference.to_owned() } else { id.to_string() };
    let report = report.map(|report| report.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()));
    Ok(Found { id, name, bundle, report })
}

fn load_path(path: &Path) -> Result<Found, Failure> {
    let metadata = fs::metadata(path).map_err(|e| Failure::read(path, &e))?;
    if !metadata.is_dir() {
        let bytes = read_bundle(path).map_err(|e| Failure::read(path, &e))?;
        let bundle = Bundle::decode(&bytes).map_err(|e| damaged(&e).about(path))?;
        return Ok(unnamed(bundle, Ok(None)));
    }
    let part = |name: &str, size: u64| files::read_start(&path.join(name), size.saturating_add(1));
    let manifest = part("manifest", HEADER_BYTES_MAX)?;
    let manifest = Manifest::decode(&manifest).map_err(|e| damaged(&e).about(path))?;
    let graph = part("graph", manifest.graph.size_bytes)?;
    let weights = part("weights", manifest.weights.size_bytes)?;
    let bundle = Bundle { manifest, graph, weights };
    bundle.check().map_err(|e| damaged(&e).about(path))?;
    Ok(unnamed(bundle, read_report(&path.join("report.json"))))
}

/// Reads as many bytes as the file's head announces and one more, which is refused when they are decoded.
fn read_bundle(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let mut bytes = Vec::new();
    file.by_ref().take(HEADER_BYTES_MAX).read_to_end(&mut bytes)?;
    if let Ok(head) = Bundle::read_header(&bytes) {
        let Manifest { graph, weights, .. } = head.manifest;
        let size = [graph.size_bytes, weights.size_bytes, 1]
            .into_iter()
            .fold(head.size_bytes as u64, u64::saturating_add);
        file.take(size.saturating_sub(bytes.len() as u64)).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

fn read_report(path: &Path) -> Result<Option<String>, Failure> {
    match files::read(path, REPORT_BYTES_MAX) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(failure) if failure.code == "file_not_found" => Ok(None),
        Err(failure) => Err(failure),
    }
}

fn unnamed(bundle: Bundle, report: Result<Option<String>, Failure>) -> Found {
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
    if is_bundle(path) {
        return files::write(path, &bundle.encode());
    }
    fs::create_dir_all(path).map_err(|e| Failure::write(path, &e))?;
    files::write(&path.join("graph"), &bundle.graph)?;
    files::write(&path.join("weights"), &bundle.weights)?;
    if let Some(report) = report {
        files::write(&path.join("report.json"), report.as_bytes())?;
    }
    // Last, so that a folder with a manifest is whole.
    files::write(&path.join("manifest"), &bundle.manifest.encode())
}
