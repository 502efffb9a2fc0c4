use std::{
    any::Any,
    fmt,
    future::Future,
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::Router;
use tokio::{net::TcpListener, sync::Semaphore};
use veracity_graph::ModelId;
use veracity_receipt::{ExecutorId, ExecutorKey, NetworkKey};
use veracity_store::{EvidenceLog, ReceiptLog, ReceiptLogError, SequenceLog, Store};
use veracity_worker::Worker;

use crate::{
    Config, StartError,
    body::{BUDGET_UNIT_BYTES, BodyLimits},
    cache::ModelCache,
    error::ApiError,
    evidence::Evidences,
    forward::{Directory, ForwardConfig, Forwarder, Network},
    metrics::{Metrics, Sampled},
    routes, server,
};

/// How often receipts are made to survive power loss.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// A server for the models of one store. Cheap to clone; clones are the same server.
#[derive(Debug, Clone)]
pub struct Gateway {
    pub(crate) shared: Arc<Shared>,
    /// Routes of others beside those of the gateway.
    beside: Router,
}

/// Told which model a request is about to run; what it gives is dropped when the run has ended.
pub(crate) struct UseHook(Box<OnUse>);

type OnUse = dyn Fn(&ModelId) -> Box<dyn Any> + Send + Sync;

impl fmt::Debug for UseHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UseHook")
    }
}

/// What all requests share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) store: Arc<Store>,
    pub(crate) worker: Worker,
    pub(crate) models: ModelCache,
    pub(crate) receipts: ReceiptLog,
    pub(crate) sequences: Arc<SequenceLog>,
    pub(crate) evidence: Evidences,
    pub(crate) metrics: Metrics,
    /// Requests that run or wait for it.
    pub(crate) admission: Arc<Semaphore>,
    pub(crate) runs: Arc<Semaphore>,
    pub(crate) transfers: Arc<Semaphore>,
    pub(crate) bodies: BodyLimits,
    /// Set when no more requests should come.
    pub(crate) stopping: AtomicBool,
    /// Set once at most.
    pub(crate) network: OnceLock<Network>,
    /// Set once at most.
    use_hook: OnceLock<UseHook>,
}

impl Gateway {
    /// A gateway that serves the models of `store` and signs with `key`. It takes the store's receipt log: one gateway
    /// per store.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn new(store: Arc<Store>, key: ExecutorKey, config: Config) -> Result<Self, StartError> {
        let faults = config.faults();
        if !faults.is_empty() {
            return Err(StartError::Config(faults));
        }
        let shared = Shared {
            receipts: store.receipt_log(config.receipts)?,
            sequences: Arc::new(
                store.sequence_log(key.executor().as_bytes()).map_err(ReceiptLogError::Store)?,
            ),
            evidence: Evidences::default(),
            worker: Worker::new(key, config.limits, config.trace),
            models: ModelCache::new(config.engine, config.loaded_bytes_max),
            metrics: Metrics::new(),
            admission: Arc::new(Semaphore::new(config.runs_max.saturating_add(config.queue_max).min(MANY))),
            runs: Arc::new(Semaphore::new(config.runs_max.min(MANY))),
            transfers: Arc::new(Semaphore::new(config.transfers_max.min(MANY))),
            bodies: BodyLimits {
                bytes_max: config.body_bytes_max,
                idle_timeout: config.idle_timeout,
                budget: Arc::new(Semaphore::new(budget_units(&config))),
            },
            stopping: AtomicBool::new(false),
            network: OnceLock::new(),
            use_hook: OnceLock::new(),
            store,
            config,
        };
        Ok(Self { shared: Arc::new(shared), beside: Router::new() })
    }

    /// Serves `routes` too, on the same connections. They bring their own limits.
    ///
    /// # Panics
    /// If a route is one of the gateway's.
    #[must_use]
    pub fn beside(mut self, routes: Router) -> Self {
        self.beside = self.beside.merge(routes);
        self
    }

    /// Calls `hook` before each run with the model; what it gives is dropped when the run has ended. So whoever removes
    /// models by their use knows which are used. The first hook stays.
    pub fn on_use<G: Any>(&self, hook: impl Fn(&ModelId) -> G + Send + Sync + 'static) {
        let hook = UseHook(Box::new(move |id| Box::new(hook(id))));
        let _first_stays = self.shared.use_hook.set(hook);
    }

    /// Who signs the receipts.
    #[must_use]
    pub fn executor(&self) -> ExecutorId {
        self.shared.worker.executor()
    }

    /// The sequences of its receipts, for whoever anchors them.
    #[must_use]
    pub fn sequences(&self) -> &Arc<SequenceLog> {
        &self.shared.sequences
    }

    /// Gives receipts with evidence from this log from now on. The first call counts.
    pub fn serve_evidence(&self, evidence: Arc<EvidenceLog>) {
        self.shared.evidence.open(evidence);
    }

    /// Takes part in a network from now on: names mean what its registry says where the store has no such name, and with a
    /// [`ForwardConfig`] requests for models that are not run here go to its workers. Evidence from workers is believed if
    /// it holds under `key`. The first call counts.
    ///
    /// # Errors
    /// [`StartError::Config`].
    pub fn join(
        &self,
        directory: Arc<dyn Directory>,
        key: NetworkKey,
        forward: Option<ForwardConfig>,
    ) -> Result<(), StartError> {
        let faults = forward.map(|config| config.faults()).unwrap_or_default();
        if !faults.is_empty() {
            return Err(StartError::Config(faults));
        }
        let network = Network::new(directory, self.executor(), key, forward);
        let _first_stays = self.shared.network.set(network);
        Ok(())
    }

    /// Serves connections until `shutdown` completes; then lets requests in progress end, for at most
    /// [`Config::drain_timeout`], and makes the receipts durable. Needs a runtime with I/O and time.
    ///
    /// # Errors
    /// When receipts cannot be made durable. A failure to accept one connection is logged and waited out.
    pub async fn serve(
        &self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send,
    ) -> io::Result<()> {
        let keeper = tokio::spawn(keep_receipts(Arc::clone(&self.shared)));
        let router = routes::router(&self.shared).merge(self.beside.clone());
        let config = &self.shared.config;
        let stop = async {
            shutdown.await;
            self.shared.stopping.store(true, Ordering::Release);
        };
        server::serve(listener, router, config, stop).await;
        keeper.abort();
        let shared = Arc::clone(&self.shared);
        let synced = tokio::task::spawn_blocking(move || shared.receipts.sync()).await;
        synced.map_err(io::Error::other)?.map_err(io::Error::other)
    }
}

/// Most permits of a semaphore that make sense; tokio allows a few more.
const MANY: usize = 1 << 40;

fn budget_units(config: &Config) -> usize {
    usize::try_from(config.bodies_bytes_max / BUDGET_UNIT_BYTES + 1).map_or(MANY, |units| units.min(MANY))
}

async fn keep_receipts(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(SYNC_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let shared = Arc::clone(&shared);
        match tokio::task::spawn_blocking(move || shared.receipts.sync()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "gateway.receipts: cannot be made durable"),
            Err(_) => return,
        }
    }
}

/// Runs `job` on a blocking thread.
pub(crate) async fn blocking<T: Send + 'static>(
    shared: &Arc<Shared>,
    job: impl FnOnce(&Shared) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let shared = Arc::clone(shared);
    let done = tokio::task::spawn_blocking(move || job(&shared)).await;
    done.map_err(|_| ApiError::Internal)?
}

impl Shared {
    /// Says that a model is used until the result is dropped.
    pub(crate) fn use_model(&self, id: &ModelId) -> Option<Box<dyn Any>> {
        self.use_hook.get().map(|hook| (hook.0)(id))
    }

    /// What forwards requests, if anything does.
    pub(crate) fn forwarder(&self) -> Option<&Forwarder> {
        self.network.get()?.forwarder.as_ref()
    }

    fn bodies_units(&self) -> usize {
        budget_units(&self.config).saturating_sub(self.bodies.budget.available_permits())
    }

    pub(crate) fn sample(&self) -> Result<Sampled, ApiError> {
        let entries = self.store.list()?;
        let (loaded_models, loaded_bytes) = self.models.usage();
        let (workers, workers_aside) = self.forwarder().map_or((0, 0), Forwarder::counts);
        Ok(Sampled {
            workers: workers as u64,
            workers_aside: workers_aside as u64,
            models: entries.len() as u64,
            stored_bytes: entries.iter().map(veracity_store::Entry::size_bytes).sum(),
            loaded_models: loaded_models as u64,
            loaded_bytes,
            receipts: self.receipts.len() as u64,
            bodies_bytes: self.bodies_units() as u64 * BUDGET_UNIT_BYTES,
        })
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;

    use super::*;

    /// A defect costs one request, not the server.
    #[tokio::test]
    async fn a_job_that_panics_is_an_internal_error() {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(dir.path()).unwrap());
        let gateway = Gateway::new(store, ExecutorKey::from_seed(&[1; 32]), Config::default()).unwrap();
        let error = blocking(&gateway.shared, |_| -> Result<(), ApiError> { panic!("a defect") });
        let error = error.await.unwrap_err();
        assert_eq!(error.refusal().code, "internal");
        assert_eq!(error.into_response().status(), 500);
        assert!(blocking(&gateway.shared, |_| Ok(())).await.is_ok());
    }
}
