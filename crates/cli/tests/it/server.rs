//! `veracity up` and what other programs do with it.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
};

use crate::{
    home::{Home, PIXELS, npy, ramp},
    running::Running,
};

/// A running `veracity up`.
struct Up(Running);

impl Up {
    fn start(home: &Home, args: &[&str]) -> Self {
        let args = [&["up", "--no-chain", "--json", "--listen", "127.0.0.1:0"], args].concat();
        Self(Running::start(home, &args))
    }

    fn url(&self) -> &str {
        self.0.banner["url"].as_str().unwrap()
    }

    /// Head and body of the answer to one request, which must succeed.
    fn http(&self, method: &str, path: &str, body: &[u8]) -> (String, Vec<u8>) {
        let mut stream = TcpStream::connect(self.url().strip_prefix("http://").unwrap()).unwrap();
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
        )
        .unwrap();
        stream.write_all(body).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(answer[..end].to_vec()).unwrap().to_lowercase();
        assert!(head.starts_with("http/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
        (head, answer[end + 4..].to_vec())
    }
}

#[test]
fn models_travel_between_stores() {
    let (author, host, reader) = (Home::with_receipt(), Home::new(), Home::new());
    let up = Up::start(&host, &[]);
    let sent = author.run(&["model", "push", "mlp", up.url(), "--json"]).ok().json();
    let fetched = reader.run(&["model", "pull", up.url(), "mlp", "--name", "copy", "--json"]).ok().json();
    assert_eq!(sent["model_id"], fetched["model_id"]);
    let card = reader.run(&["model", "show", "copy", "--json"]).ok().json();
    assert_eq!(card["accuracy"]["n_samples"], 256, "the report travels along");
    // Who fetched the model can verify the author's receipt.
    for name in ["r.cose", "r.cose.request", "r.cose.response"] {
        reader.write(name, &author.read(name));
    }
    reader.run(&["verify", "r.cose"]).ok();
    let id = sent["model_id"].as_str().unwrap();
    reader.run(&["model", "pull", up.url(), id]).ok();
    let unknown = reader.run(&["model", "pull", up.url(), "nobody", "--json"]);
    assert_eq!(unknown.status, 2, "{unknown:?}");
    assert_eq!(unknown.json()["error"]["code"], "model_not_found");
}

#[test]
fn a_read_only_server_takes_no_models() {
    let (author, host) = (Home::with_mlp(), Home::new());
    let up = Up::start(&host, &["--read-only"]);
    let refused = author.run(&["model", "push", "mlp", up.url(), "--json"]);
    assert_eq!(refused.status, 2, "{refused:?}");
    assert_eq!(refused.json()["error"]["code"], "read_only");
}

/// The client keeps the bytes that it sent and received; they and the receipt verify offline.
#[test]
fn an_answer_over_http_is_verified_offline() {
    let home = Home::with_mlp();
    let up = Up::start(&home, &[]);
    assert_eq!(up.0.banner["models"][0], "mlp");
    let zeros = vec!["0.5"; PIXELS].join(",");
    let request = format!(
        r#"{{"inputs":[{{"name":"image","datatype":"FP32","shape":[1,{PIXELS}],"data":[{zeros}]}}]}}"#
    );
    let (head, response) = up.http("POST", "/v2/models/mlp/infer", request.as_bytes());
    let id =
        head.lines().find_map(|line| line.strip_prefix("x-receipt-id: ")).expect("an answer has a receipt");
    let (_, receipt) = up.http("GET", &format!("/v1/receipts/{id}"), b"");
    home.write("r.cose", &receipt);
    home.write("r.cose.request", request.as_bytes());
    home.write("r.cose.response", &response);
    let verdict = home.run(&["verify", "r.cose", "--json"]).ok().json();
    assert_eq!(verdict["receipt"]["executor"], up.0.banner["executor"]);
}

/// The command line and the server of one data folder are one executor, also at the same time.
#[test]
fn one_folder_is_one_executor() {
    let home = Home::with_mlp();
    let up = Up::start(&home, &[]);
    home.write("x.npy", &npy("<f4", &[1, PIXELS], &ramp(1)));
    let run = home.run(&["run", "mlp", "--input", "x.npy", "--receipt", "r.cose", "--json"]).ok().json();
    assert_eq!(run["receipt"]["executor"], up.0.banner["executor"]);
}

#[test]
fn trouble_with_a_server_has_codes() {
    let home = Home::with_mlp();
    let case = |args: &[&str], status, code: &str| {
        let done = home.run(&[args, &["--json"]].concat());
        assert_eq!(done.status, status, "{done:?}");
        assert_eq!(done.json()["error"]["code"], code, "{done:?}");
    };
    // Bound and closed again, so nobody listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nobody = format!("http://127.0.0.1:{port}");
    case(&["model", "push", "mlp", &nobody], 3, "server_unreachable");
    case(&["model", "pull", &nobody, "mlp"], 3, "server_unreachable");
    case(&["model", "pull", "node.example", "mlp"], 2, "bad_url");
    case(&["model", "pull", &nobody, "../key"], 2, "bad_name");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    case(&["up", "--listen", &address], 3, "port_taken");
    case(&["up", "--listen", "here"], 2, "usage");
    let up = Up::start(&home, &[]);
    case(&["up", "--listen", "127.0.0.1:0"], 3, "data_in_use");
    drop(up);
    fs::write(home.path("data/VERSION"), "something else\n").unwrap();
    case(&["up", "--listen", "127.0.0.1:0"], 2, "not_a_store");
}

/// A server that is asked to stop ends well.
#[cfg(unix)]
#[test]
fn a_server_stops_when_asked() {
    let home = Home::new();
    let mut up = Up::start(&home, &[]);
    let pid = up.0.child.id().to_string();
    std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    assert!(up.0.child.wait().unwrap().success());
}
