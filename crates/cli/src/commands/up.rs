use std::{fmt, net::SocketAddr};

use clap::Args;
use serde::Serialize;
use veracity_gateway::Config;

use crate::{args::Global, data, error::Failure, output::Output, runner::EngineArgs, server::Node};

const EXAMPLES: &str = "\
Examples:
  veracity up
  veracity up --listen 0.0.0.0:8080 --data /srv/veracity
  curl http://127.0.0.1:8080/v2/models/digits-cnn

Clients of the Open Inference Protocol v2 (tritonclient, KServe) work unchanged. Every answer has the header \
x-receipt-id; GET /v1/receipts/ID gives the receipt. There is no login and no TLS: beyond this machine models can be \
read and run but not changed, unless you say --writable. Logs go to stderr; RUST_LOG=debug says more.";

/// Serve the models of the data folder over HTTP, with a receipt for every answer.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct UpArgs {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Let everyone who can reach the server upload and remove models.
    #[arg(long, conflicts_with = "read_only")]
    writable: bool,
    /// Let nobody upload or remove models over HTTP.
    #[arg(long)]
    read_only: bool,
    #[command(flatten)]
    engine: EngineArgs,
}

/// What is served where.
#[derive(Debug, Serialize)]
struct Banner {
    url: String,
    executor: String,
    data: String,
    models: Vec<String>,
    writable: bool,
}

/// Runs `veracity up` until it is interrupted.
pub(crate) fn execute(args: &UpArgs, global: &Global, out: Output) -> Result<(), Failure> {
    let store = data::open_store(global)?;
    let names = store.names().map_err(|e| data::store_failure(&e))?;
    let folder = store.root().display().to_string();
    let writable = !args.read_only && (args.writable || args.listen.ip().is_loopback());
    let config = Config { engine: args.engine.options(), writable, ..Config::default() };
    let node = Node::start(store, config, args.listen)?;
    out.result(&Banner {
        url: node.url(),
        executor: node.executor.to_string(),
        data: folder,
        models: names.into_iter().map(|(name, _)| name.to_string()).collect(),
        writable,
    });
    node.wait();
    out.note("stopping; requests in progress may end");
    node.stop()
}

impl fmt::Display for Banner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, executor, data, models, writable } = self;
        let changes = if *writable { "can be changed" } else { "cannot be changed" };
        writeln!(f, "Veracity {} serves {url}", env!("CARGO_PKG_VERSION"))?;
        writeln!(f, "  data       {data} ({changes} over HTTP)")?;
        writeln!(f, "  executor   {executor}")?;
        match models.as_slice() {
            [] => writeln!(f, "  models     none yet; in another window: veracity import FILE.onnx")?,
            names => writeln!(f, "  models     {}", names.join(", "))?,
        }
        let model = models.first().map_or("MODEL", String::as_str);
        writeln!(f, "  try        curl {url}/v2/models/{model}")?;
        write!(f, "  stop       Ctrl-C")
    }
}
