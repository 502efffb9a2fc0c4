//! Which `Host` headers are served.
//!
//! A web page whose name was made to point to this machine (DNS rebinding) sends its own name as `Host`, so a server on a
//! loopback address serves only addresses, `localhost`, and names that it was given.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    task::{Context, Poll},
};

use jsonrpsee::server::{HttpBody, HttpRequest, HttpResponse};
use tower::{Layer, Service};

/// The names that are served.
#[derive(Debug, Clone)]
pub(crate) struct Hosts {
    /// `None`: all.
    names: Option<Arc<BTreeSet<String>>>,
}

impl Hosts {
    pub(crate) fn new(listen: SocketAddr, names: &[String]) -> Self {
        let is_limited = listen.ip().is_loopback() || !names.is_empty();
        let names = || Arc::new(names.iter().map(|name| name.to_ascii_lowercase()).collect());
        Self { names: is_limited.then(names) }
    }

    fn serves<B>(&self, request: &HttpRequest<B>) -> bool {
        let Some(names) = &self.names else { return true };
        let header = request.headers().get("host").and_then(|host| host.to_str().ok());
        let authority = request.uri().authority().map(|authority| authority.as_str());
        let host = header.or(authority).unwrap_or_default();
        let name = without_port(host).to_ascii_lowercase();
        name == "localhost" || name.parse::<IpAddr>().is_ok() || names.contains(&name)
    }
}

fn without_port(host: &str) -> &str {
    let split = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    // A port of none after an address in brackets, but not a part of an address without them.
    let name = match split {
        Some((name, _)) if !name.contains(':') || name.ends_with(']') => name,
        _ => host,
    };
    name.trim_start_matches('[').trim_end_matches(']')
}

impl<S> Layer<S> for Hosts {
    type Service = HostCheck<S>;

    fn layer(&self, inner: S) -> HostCheck<S> {
        HostCheck { inner, hosts: self.clone() }
    }
}

/// Marks requests that come over a WebSocket, where nothing limits how many one connection makes at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OverWebSocket;

/// A service that refuses requests for other hosts, and marks those over a WebSocket.
#[derive(Debug, Clone)]
pub(crate) struct HostCheck<S> {
    inner: S,
    hosts: Hosts,
}

type Answer<E> = std::pin::Pin<Box<dyn Future<Output = Result<HttpResponse<HttpBody>, E>> + Send>>;

impl<S, B> Service<HttpRequest<B>> for HostCheck<S>
where
    S: Service<HttpRequest<B>, Response = HttpResponse<HttpBody>, Future: Send + 'static>,
    S::Error: Send + 'static,
{
    type Response = HttpResponse<HttpBody>;
    type Error = S::Error;
    type Future = Answer<S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: HttpRequest<B>) -> Self::Future {
        if self.hosts.serves(&request) {
            if request.headers().contains_key("upgrade") {
                request.extensions_mut().insert(OverWebSocket);
            }
            return Box::pin(self.inner.call(request));
        }
        Box::pin(std::future::ready(Ok(refused())))
    }
}

fn refused() -> HttpResponse<HttpBody> {
    let text = "this host name is not served: use localhost or an address, or add the name to the node's RPC hosts\n";
    let response = HttpResponse::<()>::builder().status(403).body(HttpBody::from(text));
    response.expect("the parts are valid")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_names_are_served_on_loopback() {
        let loopback: SocketAddr = "127.0.0.1:8545".parse().unwrap();
        let public: SocketAddr = "0.0.0.0:8545".parse().unwrap();
        let names = ["Node.Example".to_owned()];
        let cases: [(SocketAddr, &[String], &str, bool); 12] = [
            (loopback, &[], "localhost:8545", true),
            (loopback, &[], "LOCALHOST", true),
            (loopback, &[], "127.0.0.1:8545", true),
            (loopback, &[], "[::1]:8545", true),
            (loopback, &[], "evil.example:8545", false),
            (loopback, &[], "localhost.evil.example", false),
            (loopback, &[], "", false),
            (loopback, &names, "node.example:8545", true),
            (loopback, &names, "evil.example", false),
            (public, &[], "anything.example", true),
            (public, &names, "evil.example", false),
            (public, &names, "node.example", true),
        ];
        for (listen, names, host, serves) in cases {
            let mut request = HttpRequest::new(());
            request.headers_mut().insert("host", host.parse().unwrap());
            assert_eq!(Hosts::new(listen, names).serves(&request), serves, "{listen} {host:?}");
        }
    }
}
