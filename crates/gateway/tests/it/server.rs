//! A gateway of its own for each test, and a client.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use serde_json::Value;
use tokio::sync::oneshot;
use veracity_engine::Options;
use veracity_gateway::{Config, Gateway};
use veracity_receipt::ExecutorKey;
use veracity_store::Store;

use crate::fixture::bundle;

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) store: Arc<Store>,
    pub(crate) gateway: Gateway,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    dir: Option<tempfile::TempDir>,
}

pub(crate) fn config() -> Config {
    Config { engine: Options { threads: 1, ..Options::default() }, ..Config::default() }
}

impl Server {
    /// With the model of seed 1 under the name `tiny`.
    pub(crate) fn start(config: Config) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), config)
    }

    pub(crate) fn start_in(dir: tempfile::TempDir, config: Config) -> Self {
        Self::start_beside(dir, config, axum::Router::new())
    }

    /// With routes of others.
    pub(crate) fn start_beside(dir: tempfile::TempDir, config: Config, routes: axum::Router) -> Self {
        let store = Arc::new(Store::open(dir.path()).unwrap());
        let id = store.put(&bundle(1), Some(b"{\"cosine\":0.5}")).unwrap();
        store.set_name(&"tiny".parse().unwrap(), &id).unwrap();
        let key = ExecutorKey::from_seed(&store.executor_seed().unwrap());
        let gateway = Gateway::new(Arc::clone(&store), key, config).unwrap().beside(routes);
        let (stop, stopped) = oneshot::channel();
        let (send_address, address) = std::sync::mpsc::channel();
        let serving = gateway.clone();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                send_address.send(listener.local_addr().unwrap()).unwrap();
                serving.serve(listener, async { drop(stopped.await) }).await.unwrap();
            });
        });
        let address = address.recv().unwrap();
        Self { address, store, gateway, stop: Some(stop), thread: Some(thread), dir: Some(dir) }
    }

    /// Stops and gives the folder back.
    pub(crate) fn stop(mut self) -> tempfile::TempDir {
        self.shut_down();
        self.dir.take().unwrap()
    }

    pub(crate) fn shut_down(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }

    pub(crate) fn signal_stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n");
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        request += &format!("content-length: {}\r\n\r\n", body.len());
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        // The server may refuse before it has read everything.
        let _ = stream.write_all(body);
        Reply::read(&mut stream)
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], b"")
    }

    pub(crate) fn infer(&self, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        self.send("POST", "/v2/models/tiny/infer", headers, body)
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shut_down();
    }
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// Reads one reply; its body has a Content-Length.
    pub(crate) fn read(stream: &mut TcpStream) -> Self {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header = |line: &str| line.split_once(": ").map(|(n, v)| (n.to_ascii_lowercase(), v.to_owned()));
        let headers: Vec<_> = lines.filter_map(header).collect();
        let mut reply = Self { status, headers, body: Vec::new() };
        reply.body.resize(reply.header("content-length").unwrap().parse().unwrap(), 0);
        stream.read_exact(&mut reply.body).unwrap();
        reply
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// Status and code of a refusal.
    pub(crate) fn code(&self) -> (u16, String) {
        let json = self.json();
        assert!(!json["error"].as_str().unwrap().is_empty());
        (self.status, json["code"].as_str().unwrap().to_owned())
    }
}
