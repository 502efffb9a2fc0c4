//! `veracity model pull NAME`: a model from the hosts that the registry knows.

use std::{
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use serde::Serialize;
use veracity_client::Chain;
use veracity_graph::{Manifest, ModelId};
use veracity_hosting::{Client, HostReport, Observer, model_bytes};
use veracity_provider::ChainRegistry;
use veracity_store::{Name, Store};

use super::network::{Dropped, NetworkArgs, fetch_config, fetch_failure, find};
use crate::{
    args::Global,
    data,
    error::Failure,
    hosting,
    output::Output,
    progress::{Progress, Unit},
    words,
};

/// Largest model that is fetched, in bytes.
const BYTES_MAX: u64 = 64 << 30;

/// What is to be fetched.
pub(super) struct Wanted<'a> {
    /// Name in the registry, or id.
    pub(super) model: &'a str,
    pub(super) version: Option<&'a str>,
    /// Name here.
    pub(super) name: Option<&'a str>,
}

/// What was fetched.
#[derive(Debug, Serialize)]
pub(super) struct Obtained {
    model_id: String,
    name: Option<String>,
    size_bytes: u64,
    /// Of them, what came now.
    fetched_bytes: u64,
    /// Of them, what an attempt before had fetched.
    resumed_bytes: u64,
    /// Hosts that were dropped, in the order in which that happened.
    dropped: Vec<Dropped>,
}

/// Finds hosts, and fetches from several at the same time. What is verified stays when it ends early.
pub(super) fn obtain(
    wanted: &Wanted<'_>,
    network: &NetworkArgs,
    global: &Global,
    out: Output,
) -> Result<Obtained, Failure> {
    let name = local_name(wanted)?;
    let chain = network.connect()?;
    let client = hosting::client(fetch_config(&chain))?;
    let registry = ChainRegistry::of_reader(chain);
    let id = find(&registry, wanted.model, wanted.version)?;
    let store = data::open_store(global)?;
    let watch = Watch::new(out);
    pull(&client, &store, &registry, id, &watch)?;
    let size_bytes = model_bytes(&store.manifest(&id).map_err(|e| data::store_failure(&e))?);
    if let Some(name) = &name {
        store.set_name(name, &id).map_err(|e| data::store_failure(&e))?;
    }
    Ok(Obtained {
        model_id: id.to_string(),
        name: name.map(|name| name.to_string()),
        size_bytes,
        fetched_bytes: watch.fetched.load(Relaxed),
        resumed_bytes: watch.resumed.load(Relaxed),
        dropped: watch.dropped.into_inner().unwrap_or_else(PoisonError::into_inner),
    })
}

/// Fetches a model of the network into a store, unless it is there, and checks every byte; without a name here.
///
/// # Errors
/// `model_not_published`, `no_hosts`, `hosts_failed` and trouble with disk and chain.
pub(crate) fn fetch(reference: &str, chain: &Chain, store: &Store, out: Output) -> Result<ModelId, Failure> {
    let client = hosting::client(fetch_config(chain))?;
    let registry = ChainRegistry::of_reader(chain.clone());
    let id = find(&registry, reference, None)?;
    if !store.contains(&id) {
        out.note(format!("fetching model {}", words::printable(reference)));
        pull(&client, store, &registry, id, &Watch::new(out))?;
    }
    Ok(id)
}

fn pull(
    client: &Client,
    store: &Store,
    registry: &ChainRegistry,
    id: ModelId,
    watch: &Watch,
) -> Result<(), Failure> {
    let pulled = veracity_hosting::pull(client, store, registry, id, BYTES_MAX, watch);
    pulled.map(drop).map_err(|e| fetch_failure(&e))
}

/// The name here: the one that was asked for, else the last part of the registry's; none for an id.
fn local_name(wanted: &Wanted<'_>) -> Result<Option<Name>, Failure> {
    let last = wanted.model.rsplit('/').next().unwrap_or_default();
    match wanted.name {
        Some(name) => super::remote::parse_name(name).map(Some),
        None => Ok(last.parse().ok()),
    }
}

/// Shows and counts.
struct Watch {
    out: Output,
    progress: Progress,
    size: AtomicU64,
    fetched: AtomicU64,
    resumed: AtomicU64,
    dropped: Mutex<Vec<Dropped>>,
}

impl Watch {
    fn new(out: Output) -> Self {
        Self {
            out,
            progress: Progress::new(out.is_json(), "finding hosts", Unit::Bytes),
            size: AtomicU64::new(0),
            fetched: AtomicU64::new(0),
            resumed: AtomicU64::new(0),
            dropped: Mutex::default(),
        }
    }

    fn show(&self) {
        let done = self.fetched.load(Relaxed).saturating_add(self.resumed.load(Relaxed));
        self.progress.update("fetching", done, self.size.load(Relaxed).max(done));
    }
}

impl Observer for Watch {
    fn began(&self, manifest: &Manifest) {
        self.size.store(model_bytes(manifest), Relaxed);
    }

    fn resumed(&self, bytes: u64) {
        self.resumed.store(bytes, Relaxed);
        self.show();
    }

    fn verified(&self, bytes: u64) {
        self.fetched.fetch_add(bytes, Relaxed);
        self.show();
    }

    fn dropped(&self, report: &HostReport) {
        self.out.note(words::printable(&report.to_string()));
        self.dropped.lock().unwrap_or_else(PoisonError::into_inner).push(report.into());
    }
}

impl fmt::Display for Obtained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { model_id, name, size_bytes, fetched_bytes, resumed_bytes, .. } = self;
        let name = name.as_deref().unwrap_or("no name");
        if *fetched_bytes == 0 && *resumed_bytes == 0 {
            return write!(f, "model {model_id} ({name}) is here already");
        }
        write!(f, "fetched {model_id} ({name}), {}", words::size(*size_bytes))?;
        if *resumed_bytes > 0 {
            write!(f, ", of which {} were here", words::size(*resumed_bytes))?;
        }
        f.write_str("; every byte was checked")
    }
}
