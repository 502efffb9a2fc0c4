use std::{
    fmt,
    io::{Cursor, Read},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use veracity_graph::Bundle;
use veracity_store::{Name, Store};

use crate::{
    args::Global,
    data,
    error::Failure,
    http::Server,
    models::{self, Found},
    output::Output,
    progress::{Progress, Unit, Watched},
    words,
};

/// Largest model that is fetched, in bytes.
const PULL_BYTES_MAX: u64 = 64 << 30;

/// What was sent or fetched.
#[derive(Debug, Serialize)]
pub(super) struct Transfer {
    model_id: String,
    name: Option<String>,
    server: String,
    #[serde(skip)]
    verb: &'static str,
}

#[derive(Debug, Deserialize)]
struct Uploaded {
    id: String,
}

/// Sends a model and its accuracy report.
pub(super) fn push(
    model: &str,
    server: &str,
    name: Option<&str>,
    global: &Global,
    out: Output,
) -> Result<Transfer, Failure> {
    let server = Server::new(server)?;
    let Found { id, name: name_here, bundle, report } = models::find(model, global)?;
    let name = match name {
        Some(name) => Some(parse_name(name)?),
        None => name_here.parse().ok(),
    };
    let query = name.as_ref().map(|name| format!("?name={name}")).unwrap_or_default();
    let bytes = bundle.encode();
    let progress = Progress::new(out.is_json(), "sending", Unit::Bytes);
    let body = Watched::new(&bytes[..], &progress, "sending", bytes.len() as u64);
    let answer = server.post(&format!("/v1/models{query}"), body, bytes.len() as u64)?;
    let uploaded: Uploaded = serde_json::from_slice(&answer).map_err(|_| server.strange("no model id"))?;
    if uploaded.id != id.to_string() {
        return Err(server.strange("another model id than the model has"));
    }
    match report {
        Ok(Some(report)) => server.put_json(&format!("/v1/models/{id}/report"), &report)?,
        Ok(None) => {}
        Err(failure) => out.note(format!("the accuracy report stays here: {}", failure.message)),
    }
    Ok(Transfer {
        model_id: id.to_string(),
        name: name.map(|n| n.to_string()),
        server: server.url().into(),
        verb: "sent",
    })
}

/// Fetches a model, checks every hash, and keeps the report that the server has for it.
pub(super) fn pull(
    server: &str,
    model: &str,
    name: Option<&str>,
    global: &Global,
    out: Output,
) -> Result<Transfer, Failure> {
    let server = Server::new(server)?;
    let remote = reference(model)?;
    let name = match name {
        Some(name) => Some(parse_name(name)?),
        None => remote.parse().ok(),
    };
    let store = data::open_store(global)?;
    let (reader, size) = server.open(&format!("/v1/models/{remote}/bundle"))?;
    let progress = Progress::new(out.is_json(), "fetching", Unit::Bytes);
    let reader = Watched::new(reader, &progress, "fetching", size.unwrap_or(0));
    let reader = check_id(reader, remote, &server)?;
    let id = store.put_reader(reader, PULL_BYTES_MAX).map_err(|e| data::put_failure(&e))?;
    drop(progress);
    if let Some(name) = &name {
        store.set_name(name, &id).map_err(|e| data::store_failure(&e))?;
    }
    let id = id.to_string();
    keep_report(&server, &store, &id, out)?;
    Ok(Transfer {
        model_id: id,
        name: name.map(|n| n.to_string()),
        server: server.url().into(),
        verb: "fetched",
    })
}

/// Where an id was asked for, the model that comes must have it; the manifest at the front of the bundle tells.
fn check_id(mut reader: impl Read, reference: &str, server: &Server) -> Result<impl Read, Failure> {
    let mut head = Vec::new();
    let broken = |e| Failure::outside("server_unreachable", format!("the model broke off: {e}"), "try again");
    reader.by_ref().take(models::HEADER_BYTES_MAX).read_to_end(&mut head).map_err(broken)?;
    let is_name = reference.parse::<Name>().is_ok();
    // A header that cannot be read is refused by the store, which says what is wrong with it.
    if let Ok(header) = Bundle::read_header(&head) {
        let id = header.manifest.model_id().to_string();
        if !is_name && !id.starts_with(reference) {
            return Err(server.strange(&format!("model {id} where {reference} was asked for")));
        }
    }
    Ok(Cursor::new(head).chain(reader))
}

/// A report is not part of a model's hash: it is what the server says.
fn keep_report(server: &Server, store: &Store, id: &str, out: Output) -> Result<(), Failure> {
    let card: Value = serde_json::from_slice(&server.get(&format!("/v1/models/{id}"))?).unwrap_or_default();
    let Some(report) = card.get("report").filter(|report| report.is_object()) else { return Ok(()) };
    let id = store.resolve(id).map_err(|e| data::store_failure(&e))?;
    store.set_report(&id, format!("{report:#}").as_bytes()).map_err(|e| data::store_failure(&e))?;
    out.note("the accuracy report is the server's word; import the original yourself to measure it");
    Ok(())
}

/// A reference that is one segment of a URL without escapes.
fn reference(text: &str) -> Result<&str, Failure> {
    let plain = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
    if !text.is_empty() && text.bytes().all(plain) && !text.starts_with('.') {
        return Ok(text);
    }
    let message = format!("'{}' is neither a name nor an id", words::printable(text));
    Err(Failure::input("bad_name", message, "give a name or id as the server lists it: GET /v1/models"))
}

pub(super) fn parse_name(name: &str) -> Result<Name, Failure> {
    name.parse()
        .map_err(|e| Failure::input("bad_name", e, "give another one with --name, such as --name my-model"))
}

impl fmt::Display for Transfer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { model_id, name, server, verb } = self;
        write!(
            f,
            "{verb} {model_id} ({}), {server}; every hash was checked",
            name.as_deref().unwrap_or("no name")
        )
    }
}
