//! Connections: accepted within a limit, closed when idle, drained at the end.
//!
//! A connection costs whoever opens it next to nothing, so a thousand silent ones must not keep others out: while the
//! limit is reached, those that have sent nothing for [`PATIENCE`] make room.

use std::{convert::Infallible, future::Future, pin::pin, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::{GracefulShutdown, Watcher},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::Instant,
};

use crate::{Config, paced::Paced};

/// Pause after the operating system refused a connection, for lack of file descriptors for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a new connection may be silent while others wait for its place: longer than the way of a request through
/// most networks, shorter than the patience of a health check.
const PATIENCE: Duration = Duration::from_secs(1);

pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    config: &Config,
    shutdown: impl Future<Output = ()> + Send,
) {
    let places = Places::new(config.connections_max);
    let graceful = GracefulShutdown::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = accept(&listener, &places) => accepted,
        };
        let (stream, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "gateway.accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (crowded, idle_timeout) = (places.crowded.subscribe(), config.idle_timeout);
        let (router, watcher) = (router.clone(), graceful.watcher());
        tokio::spawn(async move {
            if speaks(&stream, crowded, idle_timeout).await {
                converse(stream, router, watcher, idle_timeout).await;
            }
            drop(place);
        });
    }
    // Those that have not spoken yet end with this.
    drop(places);
    drop(listener);
    if tokio::time::timeout(config.drain_timeout, graceful.shutdown()).await.is_err() {
        tracing::warn!("gateway.drain: requests in progress are cut off");
    }
}

/// The places that connections take.
struct Places {
    free: Arc<Semaphore>,
    /// Whether a connection waits for a place.
    crowded: watch::Sender<bool>,
}

impl Places {
    fn new(connections_max: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(connections_max)), crowded: watch::Sender::new(false) }
    }

    async fn take(&self) -> std::io::Result<OwnedSemaphorePermit> {
        if let Ok(place) = Arc::clone(&self.free).try_acquire_owned() {
            return Ok(place);
        }
        self.crowded.send_replace(true);
        let place = Arc::clone(&self.free).acquire_owned().await;
        self.crowded.send_replace(false);
        place.map_err(std::io::Error::other)
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Places,
) -> std::io::Result<(TcpStream, OwnedSemaphorePermit)> {
    // Accepted before there is a place, so that it is known that one is wanted.
    let (stream, _) = listener.accept().await?;
    // Answers are written at once; waiting to fill a packet only adds latency.
    stream.set_nodelay(true)?;
    Ok((stream, places.take().await?))
}

/// Waits for the first byte. `false` if there is none in time, its place is wanted, or the server stops.
async fn speaks(stream: &TcpStream, crowded: watch::Receiver<bool>, idle_timeout: Duration) -> bool {
    let mut byte = [0];
    tokio::select! {
        // In this order: whoever has spoken is served, also while the server stops.
        biased;
        // Not `readable`, which may be wrong about a new connection.
        peeked = stream.peek(&mut byte) => peeked.is_ok_and(|n_bytes| n_bytes > 0),
        () = unwanted(crowded) => false,
        () = tokio::time::sleep(idle_timeout) => false,
    }
}

/// Returns once [`PATIENCE`] is over and a connection waits, or when the server stops.
async fn unwanted(mut crowded: watch::Receiver<bool>) {
    let end = Instant::now() + PATIENCE;
    while crowded.wait_for(|crowded| *crowded).await.is_ok() {
        if Instant::now() >= end {
            return;
        }
        tokio::time::sleep_until(end).await;
    }
}

/// Answers the requests of a connection until one of the sides ends it.
async fn converse(stream: TcpStream, router: Router, watcher: Watcher, idle_timeout: Duration) {
    let service = service_fn(move |request: Request<Incoming>| {
        let mut router = router.clone();
        async move { call(&mut router, request.map(Body::new)).await }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(idle_timeout)
        .serve_connection(TokioIo::new(Paced::new(stream, idle_timeout)), service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "gateway.connection");
    }
}

async fn call(router: &mut Router, request: Request<Body>) -> Result<axum::response::Response, Infallible> {
    use hyper::service::Service as _;
    hyper_util::service::TowerToHyperService::new(router.clone()).call(request).await
}
