//! WebSocket clients that ask and do not read. Written to the socket by hand, because real clients read.

use std::time::Duration;

use alloy_primitives::Address;
use jsonrpsee::rpc_params;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::{
    sealer::Sealing,
    support::{Node, raw, transfer},
};

/// Longer than the server ever takes to read on.
const PATIENCE: Duration = Duration::from_secs(3);
/// More than the kernel's buffers hold.
const BYTES_MAX: usize = 32 << 20;

/// A WebSocket to a node, after the handshake, with small buffers on this side.
async fn connect(node: &Node) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 << 10).unwrap();
    socket.set_send_buffer_size(16 << 10).unwrap();
    let mut stream = socket.connect(node.server.address()).await.unwrap();
    let handshake = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(handshake.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    stream
}

/// One masked text frame (RFC 6455, section 5.2), with a mask that changes nothing.
fn frame(payload: &str) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap();
    let mut frame = vec![0x81];
    match u8::try_from(length).ok().filter(|length| *length < 126) {
        Some(length) => frame.push(0x80 | length),
        None => frame.extend([&[0xfe][..], &length.to_be_bytes()].concat()),
    }
    frame.extend([0; 4]);
    frame.extend(payload.bytes());
    frame
}

/// The next message of the server that is an answer.
async fn answer(stream: &mut TcpStream) -> Value {
    loop {
        let opcode = stream.read_u8().await.unwrap() & 0xf;
        let length = match stream.read_u8().await.unwrap() {
            126 => stream.read_u16().await.unwrap().into(),
            127 => stream.read_u64().await.unwrap(),
            length => length.into(),
        };
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut payload).await.unwrap();
        if opcode == 1 {
            return serde_json::from_slice(&payload).unwrap();
        }
    }
}

fn request(id: usize, method: &str, params: &Value) -> String {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string()
}

/// Without a limit, the server would take everything, and keep an answer to each in memory, whether it is a call or not.
#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_is_not_read_from() {
    let node = Node::new(Sealing::Manual).await;
    let call = request(1, "eth_getBlockByNumber", &json!(["0x0", false]));
    let no_call = format!("[{}1]", "1,".repeat(50));
    for message in [&*call, "x", "[]", &no_call] {
        let mut stream = connect(&node).await;
        // Spaces, so that the kernel's buffers hold fewer of them.
        let frame = frame(&format!("{message:200}"));
        let (mut sent, mut part) = (0, 0);
        while let Ok(written) = timeout(PATIENCE, stream.write(&frame[part..])).await {
            part += written.unwrap();
            if part == frame.len() {
                (part, sent) = (0, sent + 1);
            }
            assert!(sent * frame.len() < BYTES_MAX, "the server reads on and on: {message}");
        }
        // Others are served, and once it reads, all its answers come.
        assert_eq!(node.ask::<Value>("eth_chainId", rpc_params![]).await, "0x11f63");
        for _ in 0..sent {
            let answer = answer(&mut stream).await;
            assert!(message != call || answer["result"]["number"] == "0x0", "{answer}");
        }
        stream.write_all(&frame[part..]).await.unwrap();
        answer(&mut stream).await;
    }
}

/// Without a limit, the last request would be answered first, because nothing keeps it waiting.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_many_calls_in_progress_waits_for_one_of_them() {
    const CALLS: usize = 600;
    let node = Node::with(Sealing::Manual, |config| config.sync_wait_ms_max = 1_000).await;
    let mut stream = connect(&node).await;
    let mut frames = Vec::new();
    for id in 0..CALLS {
        let transaction = raw(&transfer(0, u64::try_from(id).unwrap(), Address::ZERO, 1));
        frames.extend(frame(&request(id, "eth_sendRawTransactionSync", &json!([transaction]))));
    }
    frames.extend(frame(&request(CALLS, "eth_chainId", &json!([]))));
    stream.write_all(&frames).await.unwrap();
    let first = answer(&mut stream).await;
    assert!(first["id"] != CALLS && first["error"].is_object(), "{first}");
    for _ in 0..CALLS {
        answer(&mut stream).await;
    }
}
