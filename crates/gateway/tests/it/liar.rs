//! A worker that does what no worker should: an HTTP server with a key that runs the model rightly and then spoils what
//! it gives, as it is told.

use std::{
    io::{BufRead, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use veracity_engine::Options;
use veracity_graph::Bundle;
use veracity_receipt::{Claims, ExecutorId, ExecutorKey, ModelId, Receipt, Request, Response, Run};
use veracity_worker::{Limits, LoadedModel, Worker, protocol::PROTOCOL};

/// What it does wrong.
#[allow(dead_code, reason = "not every binary tells all lies")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lie {
    /// Nothing.
    None,
    /// A byte of the answer is another than the one that was signed.
    FlippedByte,
    /// The receipt is for another model.
    OtherModel,
    /// The receipt is by another key.
    OtherKey,
    /// The answer and receipt that were given first are given again and again.
    Replay,
    /// The receipt was issued an hour ago.
    OldReceipt,
    /// The receipt has no sequence.
    Unnumbered,
    /// There is no receipt.
    NoReceipt,
    /// It answers nothing.
    Hang,
    /// Its answer does not end.
    Endless,
    /// Its answer ends too early.
    CutShort,
    /// It refuses what is right.
    Refusal,
    /// As [`Self::Refusal`], after a while.
    SlowRefusal,
    /// It answers what cannot be answered, and signs it.
    Anything,
    /// It says that it is busy.
    Busy,
    /// It says that it does not have the model that it said it has.
    Gone,
    /// It does not say whether it serves a model.
    Silent,
    /// It answers with a status that means nothing.
    Nonsense,
    /// It sends whoever asks to somebody else.
    Redirect,
}

pub(crate) struct Liar {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    key: [u8; 32],
    model: LoadedModel,
    lie: Mutex<Lie>,
    /// Answer and receipt that were given first.
    first: Mutex<Option<(Vec<u8>, Vec<u8>)>>,
    sequence: AtomicU64,
    asked: AtomicU64,
    ready: AtomicU64,
}

impl Liar {
    pub(crate) fn start(key: [u8; 32], bundle: Bundle) -> Self {
        let model = LoadedModel::load(bundle, &Options { threads: 1, ..Options::default() }).unwrap();
        let shared = Arc::new(Shared {
            key,
            model,
            lie: Mutex::new(Lie::None),
            first: Mutex::new(None),
            sequence: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            ready: AtomicU64::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&serving);
                // A client that hangs up is no failure.
                thread::spawn(move || shared.serve(&stream).unwrap_or_default());
            }
        });
        Self { address, shared }
    }

    pub(crate) fn set(&self, lie: Lie) {
        *self.shared.lie.lock().unwrap() = lie;
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn executor(&self) -> ExecutorId {
        ExecutorKey::from_seed(&self.shared.key).executor()
    }

    /// How often it was asked to run the model.
    pub(crate) fn asked(&self) -> u64 {
        self.shared.asked.load(SeqCst)
    }

    /// How often it was asked whether it serves a model.
    #[allow(dead_code, reason = "not every binary counts")]
    pub(crate) fn asked_whether_ready(&self) -> u64 {
        self.shared.ready.load(SeqCst)
    }
}

/// A request, as far as it matters here.
struct Read {
    line: String,
    json_length: Option<u64>,
    body: Vec<u8>,
}

fn read(stream: &TcpStream) -> std::io::Result<Read> {
    let mut reader = BufReader::new(stream);
    let (mut line, mut length, mut json_length) = (String::new(), 0, None);
    reader.read_line(&mut line)?;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let Some((name, value)) = header.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap(),
            "inference-header-content-length" => json_length = value.parse().ok(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Read { line, json_length, body })
}

fn reply(mut stream: &TcpStream, status: &str, headers: &str, body: &[u8]) -> std::io::Result<()> {
    let length = body.len();
    write!(stream, "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n")?;
    stream.write_all(body)
}

impl Shared {
    fn serve(&self, stream: &TcpStream) -> std::io::Result<()> {
        let read = read(stream)?;
        let path = read.line.split(' ').nth(1).unwrap_or_default().to_owned();
        let id = self.model.id().to_string();
        let parts: Vec<&str> = path.split('/').collect();
        match parts[..] {
            ["", "v2", "models", model, "ready"] => {
                self.ready.fetch_add(1, SeqCst);
                if *self.lie.lock().unwrap() == Lie::Silent {
                    thread::sleep(Duration::from_secs(3600));
                }
                match model == id {
                    true => reply(stream, "200 OK", "", br#"{"ready":true}"#),
                    false => {
                        reply(stream, "404 Not Found", "", br#"{"error":"no","code":"model_not_found"}"#)
                    }
                }
            }
            ["", "v2", "models"] => {
                let row = format!(r#"{{"models":[{{"name":"x","version":"{id}","state":"READY"}}]}}"#);
                reply(stream, "200 OK", "", row.as_bytes())
            }
            ["", "v2", "models", name, "versions", model, "infer"] if model == id => {
                self.asked.fetch_add(1, SeqCst);
                self.infer(stream, &name.replace("%2F", "/"), &read)
            }
            _ => reply(stream, "404 Not Found", "", br#"{"error":"no","code":"model_not_found"}"#),
        }
    }

    fn infer(&self, mut stream: &TcpStream, name: &str, read: &Read) -> std::io::Result<()> {
        let lie = *self.lie.lock().unwrap();
        match lie {
            Lie::Hang => {
                thread::sleep(Duration::from_secs(3600));
                return Ok(());
            }
            Lie::Refusal | Lie::SlowRefusal => {
                thread::sleep(Duration::from_millis(if lie == Lie::SlowRefusal { 300 } else { 0 }));
                let body = br#"{"error":"no","code":"unknown_input"}"#;
                return reply(stream, "400 Bad Request", "", body);
            }
            Lie::Busy => {
                let body = br#"{"error":"busy","code":"overloaded"}"#;
                return reply(stream, "503 Service Unavailable", "", body);
            }
            Lie::Gone => {
                return reply(stream, "404 Not Found", "", br#"{"error":"no","code":"model_not_found"}"#);
            }
            Lie::Nonsense => return reply(stream, "418 I'm a teapot", "", b"tea"),
            Lie::Redirect => return reply(stream, "307 Temporary Redirect", "location: /elsewhere\r\n", b""),
            _ => {}
        }
        let (mut answer, receipt) = self.run(name, read, lie);
        let header = match lie {
            Lie::NoReceipt => String::new(),
            _ => format!("x-receipt: {}\r\n", base64(&receipt)),
        };
        match lie {
            Lie::FlippedByte => answer[5] ^= 1,
            Lie::Endless => {
                write!(stream, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n{header}\r\n")?;
                loop {
                    stream.write_all(&[b"1000\r\n".as_slice(), &[b' '; 4096], b"\r\n"].concat())?;
                }
            }
            Lie::CutShort => {
                let length = answer.len() + 1;
                write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n{header}\r\n")?;
                return stream.write_all(&answer);
            }
            _ => {}
        }
        reply(stream, "200 OK", &header, &answer)
    }

    fn run(&self, name: &str, read: &Read, lie: Lie) -> (Vec<u8>, Vec<u8>) {
        if let Some(first) = self.first.lock().unwrap().clone().filter(|_| lie == Lie::Replay) {
            return first;
        }
        let request =
            Request { protocol: PROTOCOL, model_name: name, json_length: read.json_length, body: &read.body };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let issued_at = if lie == Lie::OldReceipt { now - 3600 } else { now };
        let sequence = self.sequence.fetch_add(1, SeqCst);
        if lie == Lie::Anything {
            let response = Response { json_length: None, body: b"anything" };
            let run = Run { samples: 1, macs: None, trace_root: None, software: "liar", issued_at };
            let model = ModelId::from_bytes(self.model.id().0.0);
            let claims = Claims { sequence: Some(sequence), ..Claims::new(model, &request, &response, &run) };
            let receipt = Receipt::sign(claims, &ExecutorKey::from_seed(&self.key)).unwrap();
            return (response.body.to_vec(), receipt.encode());
        }
        let worker = Worker::new(ExecutorKey::from_seed(&self.key), Limits::default(), true);
        let inference = worker.infer(&self.model, &request, issued_at).unwrap();
        let mut claims = Claims { sequence: Some(sequence), ..inference.claims };
        let mut key = ExecutorKey::from_seed(&self.key);
        match lie {
            Lie::OtherModel => claims.model_id = ModelId::from_bytes([9; 32]),
            Lie::OtherKey => key = ExecutorKey::from_seed(&[0x5a; 32]),
            Lie::Unnumbered => claims.sequence = None,
            _ => {}
        }
        let receipt = Receipt::sign(claims, &key).unwrap().encode();
        let given = (inference.response.body, receipt);
        self.first.lock().unwrap().get_or_insert_with(|| given.clone());
        given
    }
}

/// RFC 4648, section 4, one bit after the other.
fn base64(bytes: &[u8]) -> String {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |n| byte >> n & 1)).collect();
    let digit =
        |six: &[u8]| six.iter().chain([0; 6].iter()).take(6).fold(0, |n, bit| n << 1 | usize::from(*bit));
    let text: String = bits.chunks(6).map(|six| char::from(alphabet[digit(six)])).collect();
    let padding = "=".repeat((4 - text.len() % 4) % 4);
    text + &padding
}
