use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use veracity_gateway::Config;

use crate::{
    fixture::bundle,
    inference::JSON,
    server::{Reply, Server, config},
};

fn begin(server: &Server, path: &str, headers: &str) -> TcpStream {
    let mut stream = server.connect();
    stream.write_all(format!("POST {path} HTTP/1.1\r\nhost: test\r\n{headers}\r\n\r\n").as_bytes()).unwrap();
    stream
}

fn wait_for_number(server: &Server, line: &str) {
    while !String::from_utf8(server.get("/metrics").body).unwrap().lines().any(|l| l == line) {
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_large_body_is_refused_without_being_read() {
    let server = Server::start(config());
    for path in ["/v2/models/tiny/infer", "/v1/models"] {
        // Two gigabytes are announced, none is sent.
        let mut stream = begin(&server, path, "content-length: 2147483648");
        assert_eq!(Reply::read(&mut stream).code(), (413, "body_too_large".to_owned()), "{path}");
    }
}

#[test]
fn a_large_body_of_unknown_length_is_refused_at_the_limit() {
    let server = Server::start(Config { body_bytes_max: 100_000, upload_bytes_max: 100_000, ..config() });
    for path in ["/v2/models/tiny/infer", "/v1/models"] {
        let mut stream = begin(&server, path, "transfer-encoding: chunked");
        let head = bundle(2).encode();
        let piece = if path == "/v1/models" { head[..200].to_vec() } else { vec![b' '; 200] };
        let mut sent = 0;
        while sent < 100_200 {
            stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).unwrap();
            stream.write_all(&piece).unwrap();
            stream.write_all(b"\r\n").unwrap();
            sent += piece.len();
            if path == "/v1/models" {
                // The store finds out by itself that this is no bundle.
                break;
            }
        }
        if path == "/v1/models" {
            stream.write_all(b"0\r\n\r\n").unwrap();
            assert_eq!(Reply::read(&mut stream).code(), (400, "invalid_bundle".to_owned()));
        } else {
            assert_eq!(Reply::read(&mut stream).code(), (413, "body_too_large".to_owned()));
        }
    }
}

#[test]
fn a_bundle_that_announces_too_much_is_refused_from_its_header() {
    let server = Server::start(Config { upload_bytes_max: 1 << 20, ..config() });
    let mut large = bundle(2);
    large.manifest.weights.size_bytes = 1 << 40;
    let mut stream = begin(&server, "/v1/models", "transfer-encoding: chunked");
    let head = large.encode();
    stream.write_all(format!("{:x}\r\n", head.len()).as_bytes()).unwrap();
    stream.write_all(&head).unwrap();
    // The header is not followed by anything until the answer is there, except what fills the read-ahead.
    let filler = [b"1000\r\n".as_slice(), &[0; 4096], b"\r\n"].concat();
    stream.write_all(b"\r\n").unwrap();
    for _ in 0..8 {
        let _ = stream.write_all(&filler);
    }
    assert_eq!(Reply::read(&mut stream).code(), (413, "body_too_large".to_owned()));
}

#[test]
fn more_requests_than_the_queue_holds_are_sent_away() {
    let server = Server::start(Config { runs_max: 1, queue_max: 0, ..config() });
    let ask = || (0..500).map(|_| server.infer(&[], JSON.as_bytes())).collect::<Vec<_>>();
    let replies: Vec<_> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    let (served, refused): (Vec<_>, Vec<_>) = replies.into_iter().partition(|reply| reply.status == 200);
    assert!(!served.is_empty() && !refused.is_empty(), "{} served, {} refused", served.len(), refused.len());
    for reply in refused {
        assert_eq!(reply.code(), (503, "overloaded".to_owned()));
        assert_eq!(reply.header("retry-after"), Some("1"));
    }
}

#[test]
fn slow_senders_hold_no_slot() {
    let server = Server::start(Config { runs_max: 1, queue_max: 0, ..config() });
    let half = JSON.len() / 2;
    let mut first = begin(&server, "/v2/models/tiny/infer", &format!("content-length: {}", JSON.len()));
    first.write_all(&JSON.as_bytes()[..half]).unwrap();
    // The first one and the request for numbers itself.
    wait_for_number(&server, "veracity_requests_in_flight 2");
    assert_eq!(server.infer(&[], JSON.as_bytes()).status, 200);
    first.write_all(&JSON.as_bytes()[half..]).unwrap();
    assert_eq!(Reply::read(&mut first).status, 200);
}

#[test]
fn who_sends_a_byte_now_and_then_is_not_waited_for() {
    let server = Server::start(Config { idle_timeout: Duration::from_millis(400), ..config() });
    let mut stream = begin(&server, "/v2/models/tiny/infer", "content-length: 500");
    let mut drip = stream.try_clone().unwrap();
    // Never idle for as long as the timeout; the server hangs up all the same.
    let sender = std::thread::spawn(move || {
        while drip.write_all(b" ").is_ok() {
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    assert_eq!(Reply::read(&mut stream).code(), (408, "request_timeout".to_owned()));
    drop(stream);
    sender.join().unwrap();
}

#[test]
fn bodies_share_one_budget() {
    let size = 64 << 10;
    let server = Server::start(Config { body_bytes_max: size, bodies_bytes_max: size, ..config() });
    let mut first = begin(&server, "/v2/models/tiny/infer", &format!("content-length: {size}"));
    first.write_all(&vec![b' '; 60 << 10]).unwrap();
    wait_for_number(&server, "veracity_bodies_bytes 61440");
    let refused = server.infer(&[], &vec![b' '; 32 << 10]);
    assert_eq!(refused.code(), (503, "overloaded".to_owned()));
    assert_eq!(server.infer(&[], JSON.as_bytes()).status, 200, "small ones fit beside it");
}

#[test]
fn who_sends_nothing_is_not_waited_for() {
    let idle = Duration::from_millis(200);
    let server = Server::start(Config { idle_timeout: idle, ..config() });
    for path in ["/v2/models/tiny/infer", "/v1/models"] {
        let mut stream = begin(&server, path, "content-length: 500");
        stream.write_all(b"VMDL").unwrap();
        assert_eq!(Reply::read(&mut stream).code(), (408, "request_timeout".to_owned()), "{path}");
    }
    let mut stream = server.connect();
    stream.write_all(b"GET /v2 HTTP/1.1\r\nhost:").unwrap();
    let mut rest = Vec::new();
    // Hyper answers or not, but it closes.
    let _ = stream.read_to_end(&mut rest);
    assert_eq!(server.get("/v2").status, 200);
}

/// Answers that nobody reads stay in memory, so they must not stay for ever.
#[test]
fn who_does_not_read_is_not_waited_for() {
    let server = Server::start(Config { idle_timeout: Duration::from_millis(400), ..config() });
    let mut stream = server.connect();
    stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    let requests = b"GET /openapi.json HTTP/1.1\r\nhost: test\r\n\r\n".repeat(1000);
    // The answers fill what the systems keep; then the server waits, and hangs up.
    let ended = loop {
        if let Err(error) = stream.write_all(&requests) {
            break error;
        }
    };
    let kinds = [std::io::ErrorKind::ConnectionReset, std::io::ErrorKind::BrokenPipe];
    assert!(kinds.contains(&ended.kind()), "{ended}");
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn connections_beyond_the_limit_wait() {
    let server = Server::start(Config { connections_max: 1, ..config() });
    let first = begin(&server, "/v2/models/tiny/infer", "content-length: 9");
    std::thread::scope(|scope| {
        let second = scope.spawn(|| server.get("/v2").status);
        std::thread::sleep(Duration::from_millis(50));
        assert!(!second.is_finished());
        drop(first);
        assert_eq!(second.join().unwrap(), 200);
    });
}

#[test]
fn silent_connections_make_room() {
    // Clients here give up after 20 seconds, so an answer says that nobody waited for the idle timeout.
    let hour = Duration::from_secs(3600);
    let server = Server::start(Config { connections_max: 3, idle_timeout: hour, ..config() });
    let mut silent: Vec<_> = (0..8).map(|_| server.connect()).collect();
    assert_eq!(server.get("/healthz").status, 200);
    assert_eq!(silent[0].read(&mut [0]).unwrap(), 0, "the first one was closed");
    // Where nobody waits, silence does not matter.
    let mut patient = server.connect();
    std::thread::sleep(Duration::from_millis(1500));
    patient.write_all(b"GET /healthz HTTP/1.1\r\nhost: test\r\n\r\n").unwrap();
    assert_eq!(Reply::read(&mut patient).status, 200);
}

#[test]
fn a_shutdown_does_not_wait_for_silent_connections() {
    let hour = Duration::from_secs(3600);
    let server = Server::start(Config { idle_timeout: hour, drain_timeout: hour, ..config() });
    let mut silent = server.connect();
    assert_eq!(server.get("/readyz").status, 200);
    drop(server.stop());
    assert_eq!(silent.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_shutdown_lets_requests_end_and_takes_no_more() {
    let mut server = Server::start(config());
    let half = JSON.len() / 2;
    let head = format!("content-length: {}", JSON.len());
    let mut first = begin(&server, "/v2/models/tiny/infer", &head);
    first.write_all(&JSON.as_bytes()[..half]).unwrap();
    // The connection must be accepted before the stop; an answer on a later one shows that.
    assert_eq!(server.get("/readyz").status, 200);
    server.signal_stop();
    while TcpStream::connect(server.address).is_ok() {
        std::thread::sleep(Duration::from_millis(5));
    }
    first.write_all(&JSON.as_bytes()[half..]).unwrap();
    assert_eq!(Reply::read(&mut first).status, 200);
    server.shut_down();
}

#[test]
fn a_shutdown_does_not_wait_for_ever() {
    let server = Server::start(Config { drain_timeout: Duration::from_millis(100), ..config() });
    let _stuck = begin(&server, "/v2/models/tiny/infer", "content-length: 9");
    assert_eq!(server.get("/readyz").status, 200);
    drop(server.stop());
}

#[test]
fn connections_are_kept_for_the_next_request() {
    let server = Server::start(config());
    let mut stream = server.connect();
    for _ in 0..3 {
        let head = format!(
            "POST /v2/models/tiny/infer HTTP/1.1\r\nhost: t\r\ncontent-length: {}\r\n\r\n",
            JSON.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(JSON.as_bytes()).unwrap();
        assert_eq!(Reply::read(&mut stream).status, 200);
    }
}
