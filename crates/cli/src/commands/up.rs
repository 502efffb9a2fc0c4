use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use clap::Args;
use serde::Serialize;
use veracity_client::{Account, Chain};
use veracity_gateway::Config;
use veracity_node::{DevPlan, Folder, Node as ChainNode, NodeConfig, NodeOptions, dev_provider};
use veracity_receipt::NetworkKey;

use crate::{
    args::Global,
    chain,
    commands::verify::network_key,
    data,
    error::Failure,
    hosting::{self, Host, HostArgs},
    member::{Member, Part, Plan},
    output::Output,
    provider::{self, Joining, Role},
    runner::EngineArgs,
    server::Node,
};

const EXAMPLES: &str = "\
Examples:
  veracity up
  veracity up --listen 0.0.0.0:8080 --data /srv/veracity
  curl http://127.0.0.1:8080/v2/models/digits-cnn
  curl http://127.0.0.1:8080/v1/receipts/ID -o r.cose
  veracity up --chain http://node.example:8545 --operator-key op.key
  cast block-number --rpc-url http://127.0.0.1:8545

A chain with one validator and accounts for development runs beside the models; its data stays in the folder \
dev-chain of the data folder until --fresh removes it. This node is registered there as a provider, and \
anchors its receipts: a moment after the answer, the receipt that it gives carries evidence that verifies offline \
against the chain's key (veracity verify --network-key). With --chain it takes part in another network in the same way.

Clients of the Open Inference Protocol v2 (tritonclient, KServe) work unchanged. Every answer has the header \
x-receipt-id; GET /v1/receipts/ID gives the receipt. There is no login and no TLS: beyond this machine models can be \
read and run but not changed, unless you say --writable. Logs go to stderr; RUST_LOG=debug says more.";

/// Serve the models of the data folder over HTTP, with a receipt for every answer, and a chain for development.
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
    /// Address of the chain's JSON-RPC; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8545")]
    rpc: SocketAddr,
    /// Run no chain.
    #[arg(long, conflicts_with_all = ["rpc", "fresh"])]
    no_chain: bool,
    /// Take part in the network of this JSON-RPC, and run no chain.
    #[arg(long, value_name = "URL", conflicts_with_all = ["rpc", "no_chain", "fresh"], requires = "operator_key")]
    chain: Option<String>,
    /// File with the private key of this node's operator in hexadecimal digits.
    #[arg(long, value_name = "FILE", requires = "chain")]
    operator_key: Option<PathBuf>,
    /// Key of that network: 192 hex digits, or a file with them [default: what the node at URL says].
    #[arg(long, value_name = "FILE|HEX", requires = "chain")]
    network_key: Option<String>,
    /// What this node does on the network; its operator bonds for all of it.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Role::Worker, Role::Host, Role::Gateway])]
    roles: Vec<Role>,
    /// Where others reach this node [default: where it listens].
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// Milliseconds between two looks for receipts to anchor; each batch is a transaction that the operator pays.
    #[arg(long, value_name = "MS", default_value_t = provider::ANCHOR_INTERVAL_MS, value_parser = clap::value_parser!(u64).range(1..))]
    anchor_interval: u64,
    /// Seconds that another worker may take for a request that this node forwards as a gateway; then the next is asked.
    #[arg(long, value_name = "SECONDS", default_value_t = provider::WORKER_TIMEOUT_S, value_parser = clap::value_parser!(u64).range(1..=3600))]
    worker_timeout: u64,
    #[command(flatten)]
    host: HostArgs,
    /// Begin a new chain in place of the one that the data folder has.
    #[arg(long)]
    fresh: bool,
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
    provider: Option<provider::Banner>,
    hosting: Option<hosting::Banner>,
    chain: Option<chain::Banner>,
}

/// Runs `veracity up` until it is interrupted.
pub(crate) fn execute(args: &UpArgs, global: &Global, out: Output) -> Result<(), Failure> {
    let store = data::open_store(global)?;
    let names = store.names().map_err(|e| data::store_failure(&e))?;
    let folder = store.root().display().to_string();
    let writable = !args.read_only && (args.writable || args.listen.ip().is_loopback());
    let config = Config { engine: args.engine.options(), writable, ..Config::default() };
    let chain_folder = store.root().join("dev-chain");
    let store = Arc::new(store);
    let plan = Plan { store: &store, roles: &args.roles, listen: args.listen, config, host: args.host };
    let member = Member::start(plan)?;
    let node = &member.node;
    let chain = match args.no_chain || args.chain.is_some() {
        true => None,
        false => Some(start_chain(args, &chain_folder, node)?),
    };
    let rpc = chain.as_ref().map(|chain| format!("http://{}", chain.rpc_address()));
    let part = rpc.as_ref().or(args.chain.as_ref()).map(|rpc| take_part(args, rpc, &member)).transpose();
    let part = match part {
        Ok(part) => part,
        Err(failure) => {
            // If the chain beside it has stopped, that is why.
            let is_stopped = chain.as_ref().is_some_and(ChainNode::has_ended);
            let stopped = chain.map(|chain| node.block_on(chain.stop()));
            return Err(stopped.filter(|_| is_stopped).map_or(failure, chain_stopped));
        }
    };
    let interrupt = node.interrupt();
    out.result(&Banner {
        url: node.url(),
        executor: node.executor.to_string(),
        data: folder,
        models: names.into_iter().map(|(name, _)| name.to_string()).collect(),
        writable,
        provider: part.as_ref().map(|part| part.provider.banner.clone()),
        hosting: part.as_ref().and(member.host.as_ref()).map(Host::banner),
        chain: chain.as_ref().zip(rpc).map(|(chain, rpc)| chain::Banner::new(chain.network(), &rpc)),
    });
    let ended = match &chain {
        Some(chain) => node.wait_unless(interrupt, chain.ended()),
        None => node.wait_unless(interrupt, std::future::pending()),
    };
    out.note("stopping; requests in progress may end");
    part.into_iter().for_each(Part::stop);
    let stopped = chain.map(|chain| node.block_on(chain.stop()));
    member.node.stop()?;
    match stopped.filter(|_| ended) {
        Some(stopped) => Err(chain_stopped(stopped)),
        None => Ok(()),
    }
}

fn chain_stopped(stopped: impl fmt::Display) -> Failure {
    Failure::outside("chain_stopped", stopped, "see the log; if the disk was full, make room")
}

/// Takes part in a network: as the operator that was named, or on a chain for development as one that has money there.
fn take_part(args: &UpArgs, rpc: &str, member: &Member) -> Result<Part, Failure> {
    let operator = match &args.operator_key {
        Some(path) => chain::read_account(path)?,
        None => Account::from_key(dev_provider(0).key).expect("accounts for development have keys"),
    };
    let key: Option<NetworkKey> = args.network_key.as_deref().map(network_key).transpose()?;
    let joining = Joining {
        chain: Chain::connect(rpc).map_err(|e| chain::client_failure(&e))?,
        operator,
        network_key: key,
        roles: args.roles.clone(),
        endpoint: args.endpoint.clone().unwrap_or_else(|| member.node.url()),
        interval: Duration::from_millis(args.anchor_interval),
        worker_timeout: Duration::from_secs(args.worker_timeout),
    };
    member.take_part(joining)
}

/// Where the validator of a chain for development says that it is reached; it has no peers.
const PEER_PORT: u16 = 30303;

/// Starts the chain of a folder, which is made if there is none.
fn start_chain(args: &UpArgs, folder: &Path, node: &Node) -> Result<ChainNode, Failure> {
    let nodes = Folder::new(folder);
    if args.fresh && nodes.network_file().exists() {
        std::fs::remove_dir_all(folder).map_err(|e| Failure::write(folder, &e))?;
    }
    if !nodes.network_file().exists() {
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        // A validator without peers listens where it likes.
        let plan = DevPlan {
            chain_id: chain::CHAIN_ID,
            validators: vec![(Ipv4Addr::LOCALHOST, PEER_PORT).into()],
            accounts: chain::ACCOUNTS,
            parameters: vec![],
            time: time.as_secs(),
        };
        let created = plan.create().map_err(|e| chain::network_failure(&e))?;
        let founder = &created.founders[0];
        let config = NodeConfig {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            rpc: args.rpc,
            beneficiary: founder.operator.address,
            allow_private: true,
            join: false,
            bootstrap: vec![],
        };
        nodes.found(&created.network, founder, &config).map_err(|e| chain::folder_failure(&e))?;
    }
    let config = nodes.config().map_err(|e| chain::folder_failure(&e))?;
    let options = NodeOptions {
        folder: nodes,
        listen: config.listen,
        rpc: veracity_rpc::Config::new(args.rpc),
        beneficiary: config.beneficiary,
        threads: NonZeroUsize::MIN.saturating_add(1),
        bootstrap: vec![],
        allow_private: true,
    };
    node.block_on(ChainNode::start(options)).map_err(|e| chain::node_failure(&e))
}

impl fmt::Display for Banner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, executor, data, models, writable, provider, hosting, chain } = self;
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
        if let Some(provider) = provider {
            writeln!(f, "{provider}")?;
        }
        if let Some(hosting) = hosting {
            writeln!(f, "{hosting}")?;
        }
        if let Some(chain) = chain {
            writeln!(f)?;
            writeln!(f, "A chain with one validator runs beside it")?;
            writeln!(f, "{chain}")?;
            writeln!(f)?;
        }
        write!(f, "  stop       Ctrl-C")
    }
}
