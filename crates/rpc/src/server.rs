use std::{net::SocketAddr, sync::Arc, time::Duration};

use jsonrpsee::{
    Methods,
    server::{BatchRequestConfig, IdProvider, PingConfig, ServerBuilder, ServerConfig, ServerHandle},
    types::SubscriptionId,
};
use tower_http::cors::{Any, CorsLayer};

use crate::{
    Config, ServeError, Services, convert::to_u64, filters::random_id, hosts::Hosts, methods, node::Node,
};

/// How often a WebSocket client is asked whether it is still there.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// How long it may take to answer.
const PONG_TIMEOUT: Duration = Duration::from_secs(60);

/// How long requests in progress may hold up a stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// A running server. It stops when this is dropped.
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
    let server = ServerBuilder::with_config(limits)
        .set_http_middleware(layers)
        .build(listen)
        .await
        .map_err(refused)?;
    let address = server.local_addr().map_err(refused)?;
    let node = Arc::new(Node::new(services, config));
    let handle = server.start(methods::module(node));
    tracing::info!(%address, methods = to_u64(methods::METHODS.len()), "rpc.serve");
    Ok(Server { address, handle })
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
