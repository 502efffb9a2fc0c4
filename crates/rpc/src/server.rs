use std::{net::SocketAddr, sync::Arc, time::Duration};

use jsonrpsee::{
    Methods,
    core::middleware::RpcServiceBuilder,
    server::{
        BatchRequestConfig, IdProvider, PingConfig, ServerBuilder, ServerConfig, ServerHandle,
        serve_with_graceful_shutdown, stop_channel,
    },
    types::SubscriptionId,
};
use tokio::net::{TcpListener, TcpStream};
use tower_http::cors::{Any, CorsLayer};

use crate::{
    Config, ServeError, Services,
    convert::to_u64,
    filters::random_id,
    hosts::Hosts,
    methods,
    node::Node,
    pace::{Counted, Pace, Paced},
};

/// How often a WebSocket client is asked whether it is still there.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// How long it may take to answer.
const PONG_TIMEOUT: Duration = Duration::from_secs(60);

/// How long nothing is accepted after that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long requests in progress may hold up a stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// A running server. It stops when this is dropped, or after [`Server::stop_after`] when what that waits for has come.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    handle: ServerHandle,
}

impl Server {
    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no new requests once `ended` resolves, on the tokio runtime of the caller. [`Server::stop`] is still needed.
    pub fn stop_after(&self, ended: impl Future<Output = ()> + Send + 'static) {
        let handle = self.handle.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = ended => {
                    // An error means that it has stopped already.
                    let _ = handle.stop();
                }
                () = handle.clone().stopped() => {}
            }
        });
    }

    /// Stops: no new requests are taken. Returns once those in progress are answered and all connections are closed, or
    /// after [`STOP_TIMEOUT`]: a client chooses how long its requests take.
    pub async fn stop(self) {
        // An error means that it has stopped already.
        let _ = self.handle.stop();
        if tokio::time::timeout(STOP_TIMEOUT, self.handle.stopped()).await.is_err() {
            tracing::warn!("some requests were still in progress when the server stopped");
        }
    }
}

/// Serves HTTP and WebSocket on one port, on the tokio runtime of the caller.
///
/// # Errors
/// [`ServeError::Config`], [`ServeError::Listen`].
pub async fn serve(config: Config, services: Services) -> Result<Server, ServeError> {
    config.validate()?;
    let limits = ServerConfig::builder()
        .max_connections(config.connections_max)
        .max_subscriptions_per_connection(config.subscriptions_max)
        .max_request_body_size(config.request_bytes_max)
        .max_response_body_size(config.response_bytes_max)
        .set_batch_request_config(BatchRequestConfig::Limit(config.batch_max))
        .enable_ws_ping(PingConfig::new().ping_interval(PING_INTERVAL).inactive_limit(PONG_TIMEOUT))
        .set_id_provider(HexIds)
        .build();
    let listen = config.listen;
    let layers = tower::ServiceBuilder::new()
        .layer(Hosts::new(listen, &config.hosts))
        // Whatever a page may ask here is public, and nothing is signed here.
        .layer(CorsLayer::new().allow_origin(Any).allow_methods(Any).allow_headers(Any));
    let refused = |source| ServeError::Listen { listen, source };
    let listener = TcpListener::bind(listen).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    let methods: Methods = methods::module(Arc::new(Node::new(services, config))).into();
    let connections = ServerBuilder::with_config(limits).set_http_middleware(layers).to_service_builder();
    let (stop, handle) = stop_channel();
    tokio::spawn(async move {
        while let Some(connection) = accept(&listener, stop.clone().shutdown()).await {
            let pace = Pace::default();
            let counted = pace.clone();
            let calls =
                RpcServiceBuilder::new().layer_fn(move |calls| Counted { calls, pace: counted.clone() });
            let service = connections.clone().set_rpc_middleware(calls).build(methods.clone(), stop.clone());
            let stopped = stop.clone().shutdown();
            tokio::spawn(async move {
                let connection = Paced::new(connection, pace, PONG_TIMEOUT);
                let served = serve_with_graceful_shutdown(connection, service, stopped).await;
                if let Err(error) = served {
                    tracing::debug!(error, "a connection ended");
                }
            });
        }
    });
    tracing::info!(%address, methods = to_u64(methods::METHODS.len()), "rpc.serve");
    Ok(Server { address, handle })
}

/// The next connection; nothing once the server stops.
async fn accept(listener: &TcpListener, stopped: impl Future<Output = ()>) -> Option<TcpStream> {
    let mut stopped = std::pin::pin!(stopped);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stopped => return None,
        };
        let connection = accepted.and_then(|(connection, _)| {
            connection.set_nodelay(true)?;
            Ok(connection)
        });
        match connection {
            Ok(connection) => return Some(connection),
            Err(error) => {
                tracing::debug!(%error, "a connection could not be accepted");
                // If there are too many files, some must be closed first.
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The methods alone, for calling them without a server. Limits of connections do not apply to them.
#[must_use]
pub fn direct(config: Config, services: Services) -> Methods {
    methods::module(Arc::new(Node::new(services, config))).into()
}

/// Ids of subscriptions as Ethereum's tools expect them: random numbers in hexadecimal.
#[derive(Debug)]
struct HexIds;

impl IdProvider for HexIds {
    fn next_id(&self) -> SubscriptionId<'static> {
        let id = alloy_primitives::U256::from_be_bytes(random_id());
        SubscriptionId::Str(format!("{id:#x}").into())
    }
}
