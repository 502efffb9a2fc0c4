//! What the server refuses, and how it is reached.

use jsonrpsee::{
    core::{ClientError, client::ClientT, params::BatchRequestBuilder},
    http_client::{HeaderMap, HeaderValue, HttpClientBuilder},
    rpc_params,
    ws_client::WsClientBuilder,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use veracity_rpc::{Config, ConfigError, ServeError, Services, serve};

use crate::{
    sealer::Sealing,
    support::{Node, address},
};

#[tokio::test(flavor = "multi_thread")]
async fn arguments_that_are_wrong_are_named() {
    let node = Node::new(Sealing::Manual).await;
    let cases = [
        ("eth_getBalance", rpc_params![], "invalid argument 0 (address): missing value"),
        ("eth_getBalance", rpc_params![Value::Null], "invalid argument 0 (address): missing value"),
        ("eth_getBalance", rpc_params!["0x12"], "invalid argument 0 (address): "),
        ("eth_getBalance", rpc_params![address(0), "newest"], "invalid argument 1 (block): "),
        ("eth_getStorageAt", rpc_params![address(0)], "invalid argument 1 (slot): missing value"),
        ("eth_getBlockByNumber", rpc_params!["latest", "yes"], "invalid argument 1 (fullTransactions): "),
        ("eth_call", rpc_params![json!({"to": 7})], "invalid argument 0 (transaction): "),
        ("eth_getLogs", rpc_params![json!({"fromBlock": "x"})], "invalid argument 0 (filter): "),
        ("eth_getTransactionReceipt", rpc_params!["0x01"], "invalid argument 0 (hash): "),
        ("eth_getFilterChanges", rpc_params!["filter"], "invalid argument 0 (filter): "),
        (
            "debug_traceTransaction",
            rpc_params![format!("{:#066x}", 1), json!(1)],
            "invalid argument 1 (options): ",
        ),
    ];
    for (method, params, words) in cases {
        let error = node.refusal(method, params).await;
        assert_eq!(error.code(), -32602, "{method}: {error}");
        assert!(error.message().starts_with(words), "{method}: {error}");
    }
    let mut named = jsonrpsee::core::params::ObjectParams::new();
    named.insert("address", address(0)).unwrap();
    let error = node.http.request::<Value, _>("eth_getBalance", named).await.unwrap_err();
    assert!(
        matches!(&error, ClientError::Call(e) if e.message() == "params must be a list of values"),
        "{error}"
    );
    let error = node.refusal("eth_sendTransaction", rpc_params![json!({})]).await;
    assert_eq!(error.code(), -32601);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_requests_and_answers_are_refused() {
    let node = Node::with(Sealing::Manual, |config| {
        config.request_bytes_max = 10_000;
        config.response_bytes_max = 2_000;
        config.batch_max = 3;
    })
    .await;
    let large = format!("0x{}", "00".repeat(10_000));
    let error = node.http.request::<Value, _>("web3_sha3", rpc_params![large]).await.unwrap_err();
    // HTTP 413.
    assert!(matches!(error, ClientError::Transport(_)), "{error}");
    let batch = |count| {
        let mut batch = BatchRequestBuilder::new();
        (0..count).for_each(|_| batch.insert("eth_chainId", rpc_params![]).unwrap());
        batch
    };
    assert_eq!(node.http.batch_request::<String>(batch(3)).await.unwrap().num_successful_calls(), 3);
    let one = r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}"#;
    let answer = post(&node, &format!("[{one},{one},{one},{one}]")).await;
    assert!(answer.contains(r#"{"code":-32010,"message":"The batch request was too large""#), "{answer}");
    let large = json!({"to": address(5), "input": format!("0x{}", "11".repeat(1500))});
    let code = json!({address(5).to_string(): {"code": "0x365f5f37365ff3"}});
    let error = node.refusal("eth_call", rpc_params![large, "latest", code]).await;
    assert_eq!(error.code(), -32008, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_above_the_limit_are_refused() {
    let node = Node::with(Sealing::Manual, |config| config.connections_max = 2).await;
    let url = format!("ws://{}", node.server.address());
    let first = WsClientBuilder::default().build(&url).await.unwrap();
    let _second = WsClientBuilder::default().build(&url).await.unwrap();
    assert!(WsClientBuilder::default().build(&url).await.is_err());
    assert_eq!(first.request::<String, _>("eth_blockNumber", rpc_params![]).await.unwrap(), "0x0");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_host_names_are_refused_on_loopback() {
    let node = Node::with(Sealing::Manual, |config| config.hosts = vec!["node.example".into()]).await;
    let asked = async |host: &'static str| {
        let headers = HeaderMap::from_iter([("host".parse().unwrap(), HeaderValue::from_static(host))]);
        let url = format!("http://{}", node.server.address());
        let client = HttpClientBuilder::default().set_headers(headers).build(url).unwrap();
        client.request::<String, _>("eth_chainId", rpc_params![]).await
    };
    for host in ["localhost", "127.0.0.1:8545", "node.example"] {
        asked(host).await.unwrap();
    }
    assert!(asked("evil.example").await.is_err());
    let answer = exchange(
        &node,
        "POST / HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    assert!(answer.contains("this host name is not served: use localhost"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_may_ask_from_anywhere() {
    let node = Node::new(Sealing::Manual).await;
    let preflight = "OPTIONS / HTTP/1.1\r\nHost: localhost\r\nOrigin: https://app.example\r\n\
                     Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type\r\n\
                     Connection: close\r\n\r\n";
    let answer = exchange(&node, preflight).await.to_lowercase();
    assert!(answer.starts_with("http/1.1 200"), "{answer}");
    assert!(answer.contains("access-control-allow-origin: *"), "{answer}");
    assert!(answer.contains("access-control-allow-headers: *"), "{answer}");
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}"#;
    let answer = post(&node, body).await;
    assert!(answer.contains("access-control-allow-origin: *"), "{answer}");
    assert!(answer.ends_with(r#"{"jsonrpc":"2.0","id":1,"result":"0x11f63"}"#), "{answer}");
}

/// What a page of another origin gets for a body.
async fn post(node: &Node, body: &str) -> String {
    let request = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nOrigin: https://app.example\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    exchange(node, &request).await
}

/// Sends bytes, and reads the answer to its end.
async fn exchange(node: &Node, request: &str) -> String {
    let mut stream = TcpStream::connect(node.server.address()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_start_says_why() {
    let node = Node::new(Sealing::Manual).await;
    let services = || Services {
        chain: node.chain.clone(),
        pool: node.sealer.clone(),
        peers: std::sync::Arc::new(|| 0),
        epoch: std::sync::Arc::new(|| None),
        tip: std::sync::Arc::new(|| 0),
        network_key: None,
        follow: None,
    };
    let taken = Config::new(node.server.address());
    let error = serve(taken, services()).await.unwrap_err();
    assert!(matches!(error, ServeError::Listen { .. }), "{error}");
    assert!(error.to_string().contains("choose another port, or stop what uses this one"), "{error}");
    let mut empty = Config::new("127.0.0.1:0".parse().unwrap());
    (empty.batch_max, empty.logs_max) = (0, 0);
    assert_eq!(empty.validate(), Err(ConfigError { zero: vec!["batch_max", "logs_max"] }));
    let error = serve(empty, services()).await.unwrap_err();
    assert_eq!(error.to_string(), "invalid RPC configuration: batch_max, logs_max must be at least 1");
}
