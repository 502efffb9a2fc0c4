//! Measures what HTTP, receipt and log add to a run: `cargo xtask bench gateway`.
//!
//! With the argument `serve` it only serves the small model as `tiny`, for clients written elsewhere.
#![expect(clippy::print_stdout, reason = "a program")]

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::Arc,
    time::{Duration, Instant},
};

use veracity_engine::Options;
use veracity_gateway::{Config, Gateway};
use veracity_receipt::{ExecutorKey, Request};
use veracity_store::Store;
use veracity_worker::{Limits, LoadedModel, execute, protocol};

#[path = "../../store/tests/it/fixture.rs"]
mod fixture;

const BODY: &str = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,4],"data":[1,2,3,4]},
    {"name":"ids","datatype":"INT64","shape":[1,1],"data":[1]}]}"#;
const N_RUNS: usize = 5000;

fn main() -> std::io::Result<()> {
    let dir = tempfile::tempdir()?;
    let store = Arc::new(Store::open(dir.path()).expect("a fresh folder is a store"));
    let id = store.put(&fixture::bundle(1), None).expect("the model is valid");
    store.set_name(&"tiny".parse().expect("a name"), &id).expect("the model is stored");
    let options = Options { threads: 1, ..Options::default() };
    let config = Config { engine: options, ..Config::default() };
    let gateway =
        Gateway::new(store, ExecutorKey::from_seed(&[1; 32]), config).expect("the configuration is valid");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    let serving = runtime.spawn(async move { gateway.serve(listener, std::future::pending()).await });
    if std::env::args().nth(1).as_deref() == Some("serve") {
        println!("{address}");
        return runtime.block_on(serving).map_err(std::io::Error::other)?;
    }
    let loaded = LoadedModel::load(fixture::bundle(1), &options).expect("the model is valid");
    let request = Request {
        protocol: protocol::PROTOCOL,
        model_name: "tiny",
        json_length: None,
        body: BODY.as_bytes(),
    };
    let arrays = protocol::decode(&request).expect("the request is valid").inputs;
    let batches = loaded.model().graph().encode_inputs(&arrays).expect("the inputs fit");
    let engine = median(|| drop(loaded.engine().run(&batches, None)));
    let execution = median(|| drop(execute(&loaded, &request, &Limits::default(), true)));
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let message = format!(
        "POST /v2/models/tiny/infer HTTP/1.1\r\nhost: t\r\ncontent-length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    let mut buffer = [0; 4096];
    let http = median(|| {
        stream.write_all(message.as_bytes()).expect("the server reads");
        let n = stream.read(&mut buffer).expect("the server answers");
        assert!(buffer[..n].starts_with(b"HTTP/1.1 200"), "the answer is good");
    });
    println!("engine             {engine:>10.1?}");
    println!("request to answer  {execution:>10.1?}  with trace");
    println!("over HTTP          {http:>10.1?}  with receipt; {:.1?} more than the engine", http - engine);
    Ok(())
}

fn median(mut run: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..N_RUNS)
        .map(|_| {
            let started = Instant::now();
            run();
            started.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[N_RUNS / 2]
}
