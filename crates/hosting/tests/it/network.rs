//! Nodes on loopback.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use tempfile::TempDir;
use tokio::{net::TcpListener, runtime::Runtime};
use veracity_graph::{Bundle, Manifest, ModelId};
use veracity_hosting::{
    Client, FetchConfig, FetchError, HostReport, Hosting, HostingConfig, NodeId, Observer, Order, Source,
    fetch, router,
};
use veracity_store::Store;

/// A node that serves over HTTP until it is dropped.
pub(crate) struct Node {
    pub(crate) dir: TempDir,
    pub(crate) hosting: Arc<Hosting>,
    pub(crate) source: Source,
    pub(crate) runtime: Runtime,
}

impl Node {
    pub(crate) fn new(byte: u8, config: HostingConfig) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(dir.path()).unwrap());
        let hosting = Hosting::open(store, config).unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let routes = router(Arc::clone(&hosting));
        runtime.spawn(async move { axum::serve(listener, routes).await });
        let source = Source { node: NodeId([byte; 32]), endpoint: endpoint.parse().unwrap() };
        Self { dir, hosting, source, runtime }
    }

    /// A node that offers these models as its own.
    pub(crate) fn with(byte: u8, bundles: &[&Bundle]) -> Self {
        let node = Self::new(byte, HostingConfig::with_quota(1 << 30));
        bundles.iter().for_each(|bundle| node.own(bundle));
        node
    }

    /// Imports and offers a model.
    pub(crate) fn own(&self, bundle: &Bundle) {
        let id = self.hosting.store().put(bundle, None).unwrap();
        self.hosting.offer(&id).unwrap();
    }

    /// This host alone.
    pub(crate) fn sources(&self) -> &[Source] {
        std::slice::from_ref(&self.source)
    }

    pub(crate) fn file(&self, id: &ModelId, file: &str) -> std::path::PathBuf {
        self.dir.path().join("models").join(id.to_string()).join(file)
    }
}

/// Quick to give up.
pub(crate) fn config() -> FetchConfig {
    FetchConfig {
        attempts_max: 2,
        pause_min: std::time::Duration::from_millis(1),
        pause_max: std::time::Duration::from_millis(2),
        answer_timeout: std::time::Duration::from_secs(30),
        ..FetchConfig::local()
    }
}

pub(crate) fn client() -> Client {
    Client::new(config()).unwrap()
}

/// Counts, and stops when told.
#[derive(Default)]
pub(crate) struct Watch {
    pub(crate) bytes: AtomicU64,
    pub(crate) bytes_max: Option<u64>,
    pub(crate) reports: Mutex<Vec<String>>,
    pub(crate) began: AtomicBool,
}

impl Observer for Watch {
    fn began(&self, _: &Manifest) {
        self.began.store(true, Ordering::Relaxed);
    }

    fn verified(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn dropped(&self, report: &HostReport) {
        self.reports.lock().unwrap().push(report.to_string());
    }

    fn stopped(&self) -> bool {
        self.bytes_max.is_some_and(|max| self.bytes.load(Ordering::Relaxed) >= max)
    }
}

pub(crate) fn order<'a>(bundle: &Bundle, sources: &'a [Source]) -> Order<'a> {
    Order { id: bundle.model_id(), stated_bytes: Some(size_bytes(bundle)), size_bytes_max: 1 << 30, sources }
}

pub(crate) fn size_bytes(bundle: &Bundle) -> u64 {
    (bundle.graph.len() + bundle.weights.len()) as u64
}

/// Fetches with room for all.
pub(crate) fn fetch_from(
    client: &Client,
    store: &Store,
    bundle: &Bundle,
    sources: &[Source],
    watch: &Watch,
) -> Result<ModelId, FetchError> {
    fetch(client, store, order(bundle, sources), |_| Ok(()), watch)
}
