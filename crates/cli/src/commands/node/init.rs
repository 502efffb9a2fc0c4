use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use alloy_primitives::{Address, hex};
use clap::Args;
use serde::Serialize;
use veracity_client::Chain;
use veracity_hosting::Endpoint;
use veracity_node::{Contact, Folder, NodeConfig};
use veracity_receipt::NetworkKey;

use super::{
    follower,
    role::{Flag, Kind, Role, check_flags},
    settings::Settings,
};
use crate::{
    chain::{self, client_failure},
    commands::{network, verify},
    error::Failure,
    hosting::Bytes,
    output::Output,
    provider,
};

const EXAMPLES: &str = "\
Examples:
  veracity node init --folder v --network net.json --listen 203.0.113.7:30303
  veracity node init --folder w --role worker --model me/digits \\
      --chain http://node.example:8545 --operator-key op.key \\
      --listen 0.0.0.0:8080 --endpoint http://203.0.113.7:8080
  veracity node init --folder h --role host --host-quota 500GB \\
      --chain http://node.example:8545 --operator-key op.key
  veracity node init --folder g --role gateway \\
      --chain http://node.example:8545 --operator-key op.key
  veracity node init --folder f --role follower --network net.json \\
      --upstream http://203.0.113.1:8545

A validator needs --network and --listen, a follower --network and --upstream. Worker, host and gateway need --chain and --operator-key; they take the \
network's key from --network or --network-key, and if neither is given from the node at --chain, which is then believed. \
`veracity node start --folder DIR` needs nothing else.";

/// Where a validator or follower serves JSON-RPC.
const RPC: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8545);
/// Where worker, host and gateway serve HTTP.
const HTTP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
/// Disk for models of others, unless something else is asked for.
const HOST_QUOTA: Bytes = Bytes(20_000_000_000);

/// Make the folder of a node, with all that it needs to run.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct InitArgs {
    /// Folder to make.
    #[arg(long, value_name = "DIR")]
    folder: PathBuf,
    /// What the node does. Worker, host and gateway can run together; a validator or follower has a folder of its own.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Role::Validator])]
    role: Vec<Role>,
    /// Network file.
    #[arg(long, value_name = "FILE")]
    network: Option<PathBuf>,
    /// IP address and port: for a validator those at which the other validators reach it; else where HTTP is served
    /// [default: 127.0.0.1:8080].
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Validator, follower: address for JSON-RPC; port 0 takes a free one [default: 127.0.0.1:8545].
    #[arg(long, value_name = "ADDRESS")]
    rpc: Option<SocketAddr>,
    /// Validator: account that receives the tips of its blocks [default: nobody].
    #[arg(long, value_name = "ADDRESS", value_parser = chain::address)]
    beneficiary: Option<Address>,
    /// Validator: node to ask where to join, instead of the founders, as veracity status shows it; may be repeated.
    #[arg(long, value_name = "KEY@ADDRESS")]
    bootstrap: Vec<Contact>,
    /// Follower: JSON-RPC of a node to follow, which need not be trusted; several times for more.
    #[arg(long, value_name = "URL")]
    upstream: Vec<String>,
    #[command(flatten)]
    provider: ProviderArgs,
}

/// What a worker, host or gateway is told.
#[derive(Debug, Args)]
struct ProviderArgs {
    /// Worker, host, gateway: JSON-RPC of a node of the network; several times for more, of which the first that answers
    /// is used.
    #[arg(long, value_name = "URL")]
    chain: Vec<String>,
    /// Worker, host, gateway: file with the private key of the operator's account, which pays. It is read at each start.
    #[arg(long, value_name = "FILE")]
    operator_key: Option<PathBuf>,
    /// Worker, host, gateway: key of the network, 192 hex digits or a file with them [default: that of --network, else
    /// what the node at --chain says].
    #[arg(long, value_name = "FILE|HEX", conflicts_with = "network")]
    network_key: Option<String>,
    /// Worker, host, gateway: URL at which others reach it [default: where it listens].
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// Worker: model that it fetches from hosts when it starts without it, by its name on the network or its id; several
    /// times for more.
    #[arg(long, value_name = "NAME")]
    model: Vec<String>,
    /// Worker: milliseconds between two looks for receipts to anchor [default: 1000].
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..))]
    anchor_interval: Option<u64>,
    /// Host: disk for models of others, such as 500MB or 2TB [default: 20GB].
    #[arg(long, value_name = "SIZE")]
    host_quota: Option<Bytes>,
    /// Host: seconds between two looks at the registry.
    #[arg(long, value_name = "SECONDS", hide = true, value_parser = clap::value_parser!(u64).range(1..))]
    host_interval: Option<u64>,
    /// Gateway: seconds that a worker may take for one request; then the next is asked [default: 60].
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    worker_timeout: Option<u64>,
}

/// What was made.
#[derive(Debug, Serialize)]
struct Made {
    node: String,
    role: String,
    folder: String,
    /// Hash of the network, if there was a file of it.
    network: Option<String>,
    network_key: String,
    listen: SocketAddr,
    #[serde(skip)]
    next: Vec<String>,
}

/// Runs `veracity node init`.
pub(super) fn execute(args: &InitArgs, out: Output) -> Result<(), Failure> {
    let kind = Kind::of(&args.role)?;
    args.check(&kind)?;
    match &kind {
        Kind::Validator => out.result(&validator(args, &kind)?),
        Kind::Follower => {
            let Some(network) = &args.network else { unreachable!("check: a follower needs --network") };
            out.result(&follower::init(&args.folder, network, &args.upstream, args.rpc.unwrap_or(RPC))?);
        }
        Kind::Provider(roles) => out.result(&provider_folder(args, &kind, roles)?),
    }
    Ok(())
}

impl InitArgs {
    fn check(&self, kind: &Kind) -> Result<(), Failure> {
        let ProviderArgs { chain, operator_key, network_key, endpoint, .. } = &self.provider;
        let ProviderArgs { model, anchor_interval, host_quota, host_interval, worker_timeout, .. } =
            &self.provider;
        let validator = *kind == Kind::Validator;
        let (worker, host) = (kind.provides(provider::Role::Worker), kind.provides(provider::Role::Host));
        let gateway = kind.provides(provider::Role::Gateway);
        let any = matches!(kind, Kind::Provider(_));
        let follower = *kind == Kind::Follower;
        let flag = |name, given, fits, needed| Flag { name, given, fits, needed };
        let flags = [
            flag("--network", self.network.is_some(), true, validator || follower),
            flag("--listen", self.listen.is_some(), !follower, validator),
            flag("--rpc", self.rpc.is_some(), validator || follower, false),
            flag("--beneficiary", self.beneficiary.is_some(), validator, false),
            flag("--bootstrap", !self.bootstrap.is_empty(), validator, false),
            flag("--upstream", !self.upstream.is_empty(), follower, follower),
            flag("--chain", !chain.is_empty(), any, any),
            flag("--operator-key", operator_key.is_some(), any, any),
            flag("--network-key", network_key.is_some(), any, false),
            flag("--endpoint", endpoint.is_some(), any, false),
            flag("--model", !model.is_empty(), worker, false),
            flag("--anchor-interval", anchor_interval.is_some(), worker, false),
            flag("--host-quota", host_quota.is_some(), host, false),
            flag("--host-interval", host_interval.is_some(), host, false),
            flag("--worker-timeout", worker_timeout.is_some(), gateway, false),
        ];
        check_flags(kind, &flags)
    }
}

fn validator(args: &InitArgs, kind: &Kind) -> Result<Made, Failure> {
    let (Some(file), Some(listen)) = (&args.network, args.listen) else {
        unreachable!("check: a validator needs --network and --listen")
    };
    let network = network::read(file)?;
    if listen.port() == 0 || listen.ip().is_unspecified() {
        let message = format!("nobody can connect to {listen}");
        return Err(Failure::input("bad_address", message, "give the IP address and port that others reach"));
    }
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|e| Failure::outside("no_random", e, "try again"))?;
    let config = NodeConfig {
        listen,
        rpc: args.rpc.unwrap_or(RPC),
        beneficiary: args.beneficiary.unwrap_or_default(),
        allow_private: is_private(listen.ip()),
        join: true,
        bootstrap: args.bootstrap.clone(),
    };
    let folder = Folder::new(&args.folder);
    folder.join(&network, seed, &config).map_err(|e| chain::folder_failure(&e))?;
    let identity = folder.identity().map_err(|e| chain::folder_failure(&e))?;
    let at = args.folder.display().to_string();
    Ok(Made {
        node: hex::encode(identity.public_key()),
        role: kind.name(),
        network: Some(network.hash().to_string()),
        network_key: network.key().to_string(),
        listen,
        next: vec![
            format!("veracity node bond --folder {at} --operator-key FILE --rpc URL"),
            format!("veracity node start --folder {at}"),
        ],
        folder: at,
    })
}

/// Whether others with private addresses are its peers, too.
fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

fn provider_folder(args: &InitArgs, kind: &Kind, roles: &[provider::Role]) -> Result<Made, Failure> {
    let given = &args.provider;
    let listen = args.listen.unwrap_or(HTTP);
    let endpoint = endpoint(given.endpoint.as_deref(), listen)?;
    let operator_key = absolute(given.operator_key.as_deref().unwrap_or(Path::new("")))?;
    chain::read_account(&operator_key)?;
    let network = args.network.as_deref().map(network::read).transpose()?;
    let key: NetworkKey = match (&network, &given.network_key) {
        (Some(network), _) => {
            let key = NetworkKey::from_bytes(&network.key()[..]);
            key.map_err(|e| Failure::input("network", e, "check the network's file"))?
        }
        (None, Some(key)) => verify::network_key(key)?,
        (None, None) => {
            let url = given.chain.first().map_or("", String::as_str);
            let connected = Chain::connect(url).map_err(|e| client_failure(&e))?;
            provider::stated_key(&connected)?
        }
    };
    let settings = Settings {
        roles: roles.to_vec(),
        chain: given.chain.clone(),
        network_key: key.to_string(),
        listen,
        endpoint,
        operator_key,
        models: given.model.clone(),
        host_quota_bytes: given.host_quota.unwrap_or(HOST_QUOTA).0,
        host_interval_s: given.host_interval,
        anchor_interval_ms: given.anchor_interval.unwrap_or(provider::ANCHOR_INTERVAL_MS),
        worker_timeout_s: given.worker_timeout.unwrap_or(provider::WORKER_TIMEOUT_S),
    };
    let executor = settings.make(&args.folder)?.executor();
    let at = args.folder.display().to_string();
    Ok(Made {
        node: executor.to_string(),
        role: kind.name(),
        network: network.map(|network| network.hash().to_string()),
        network_key: settings.network_key,
        listen,
        next: vec![format!("veracity node start --folder {at}")],
        folder: at,
    })
}

/// The URL that the registry gets. Where a node listens at all addresses, or at any port, nobody knows it yet: at any port it
/// is known at the start.
fn endpoint(given: Option<&str>, listen: SocketAddr) -> Result<Option<String>, Failure> {
    match given {
        Some(url) => {
            let endpoint: Result<Endpoint, _> = url.parse();
            let fix = "give the URL that others reach, such as http://203.0.113.7:8080";
            endpoint.map(|url| Some(url.to_string())).map_err(|e| Failure::input("bad_url", e, fix))
        }
        None if listen.ip().is_unspecified() => {
            let message = format!("others cannot reach it at {listen}");
            Err(Failure::input("flag_missing", message, "give the URL that others reach with --endpoint"))
        }
        None => Ok(None),
    }
}

/// A path that means the same wherever the node is started.
fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|e| Failure::read(path, &e))
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, role, folder, network, network_key, listen, next } = self;
        writeln!(f, "Node {node}, {role}")?;
        writeln!(
            f,
            "  folder     {folder}; the key in it is the node: keep it secret, and never run it twice"
        )?;
        match network {
            Some(network) => writeln!(f, "  network    {network}")?,
            None => writeln!(f, "  network    the one with key {network_key}")?,
        }
        write!(f, "  listen     {listen}")?;
        let labels = std::iter::once("next").chain(std::iter::repeat(""));
        next.iter().zip(labels).try_for_each(|(command, label)| write!(f, "\n  {label:<10} {command}"))
    }
}
