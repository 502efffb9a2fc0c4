//! `veracity model push NAME`: a model into the registry, from where hosts fetch it.

use std::{
    fmt,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use alloy_primitives::B256;
use clap::Args;
use serde::Serialize;
use veracity_client::{Account, Chain, Publication, RoleSet};
use veracity_graph::ModelId;
use veracity_hosting::{Registry as _, model_bytes};
use veracity_provider::{ChainRegistry, Placement, manifest_root, model_word};
use veracity_store::{Name, Store};

use super::{
    hosts::{self, Hosts},
    network::{NetworkArgs, fetch_config, operator, registry_failure},
};
use crate::{
    args::Global,
    chain::{self, client_failure},
    commands::node,
    data,
    error::Failure,
    hosting,
    output::Output,
    progress::{Progress, Unit},
};

/// Pause between two looks at the registry.
const PAUSE: Duration = Duration::from_millis(300);

/// What is said about the model in the registry.
#[derive(Debug, Args)]
pub(super) struct PublishArgs {
    /// Version under the name; one that is published never changes.
    #[arg(long, value_name = "V", default_value = "1")]
    version: String,
    /// SPDX expression of the licence.
    #[arg(long, value_name = "SPDX", default_value = "NOASSERTION")]
    licence: String,
    /// Price of a request in wei.
    #[arg(long, value_name = "WEI", default_value_t = 0)]
    price_per_request: u128,
    /// Price of a million multiply-accumulates in wei.
    #[arg(long, value_name = "WEI", default_value_t = 0)]
    price_per_mega_mac: u128,
    /// File with the private key of this node's operator in hexadecimal digits; on networks for development not needed.
    #[arg(long, value_name = "FILE")]
    operator_key: Option<PathBuf>,
    /// Wait until as many hosts have the model as the network wants, for at most this many seconds.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "600")]
    wait: Option<u64>,
    #[command(flatten)]
    network: NetworkArgs,
}

/// What was published.
#[derive(Debug, Serialize)]
pub(super) struct Pushed {
    model_id: String,
    name: String,
    version: String,
    owner: String,
    /// None if it was published before.
    transaction: Option<String>,
    block: Option<u64>,
    /// Where hosts fetch it first.
    endpoint: String,
    hosts: Hosts,
}

/// The node of the data folder, and who speaks for it.
struct Publisher {
    account: Account,
    endpoint: String,
}

/// Publishes a model of the store. Done before, it is not done again.
pub(super) fn push(
    model: &str,
    name: Option<&str>,
    args: &PublishArgs,
    global: &Global,
    out: Output,
) -> Result<Pushed, Failure> {
    let Some(store) = data::open_existing_store(global)? else {
        return Err(data::no_model(model, global)?);
    };
    let id = store.resolve(model).map_err(|e| data::store_failure(&e))?;
    let name = match name {
        Some(name) => name.to_owned(),
        None if model.parse::<Name>().is_ok() => model.to_owned(),
        None => {
            let message = format!("model {id} needs a name in the registry");
            return Err(Failure::input("no_name", message, "give one with --name, such as --name my-model"));
        }
    };
    let chain = args.network.connect()?;
    let publisher = publisher(&store, &chain, args.operator_key.as_ref())?;
    let manifest = store.get(&id).map_err(|e| data::store_failure(&e))?.manifest;
    let publication = Publication {
        model: model_word(&id),
        name,
        version: args.version.clone(),
        licence: args.licence.clone(),
        size_bytes: model_bytes(&manifest),
        manifest_root: manifest_root(&manifest),
        price_per_request: args.price_per_request,
        price_per_mega_mac: args.price_per_mega_mac,
    };
    let sent = publish(&chain, &publisher.account, &publication)?;
    let client = hosting::client(fetch_config(&chain))?;
    let registry = ChainRegistry::of_reader(chain);
    let placement = match args.wait {
        Some(seconds) => wait(&registry, &id, Duration::from_secs(seconds), out)?,
        None => registry.placement(&id).map_err(|e| registry_failure(&e))?,
    };
    Ok(Pushed {
        model_id: id.to_string(),
        name: publication.name,
        version: publication.version,
        owner: publisher.account.address().to_string(),
        transaction: sent.as_ref().map(|sent| sent.hash.to_string()),
        block: sent.map(|sent| sent.height),
        endpoint: publisher.endpoint,
        hosts: hosts::ask(&id, &placement, &client),
    })
}

/// The node of this data folder, which must be a host, or nobody could fetch the model from it.
fn publisher(store: &Store, chain: &Chain, key: Option<&PathBuf>) -> Result<Publisher, Failure> {
    let node = B256::from(*data::executor_key(store)?.executor().as_bytes());
    let fix = "run `veracity up` with this data folder on this network, and push again";
    let info = chain.stake().node(node).map_err(|e| client_failure(&e))?.ok_or_else(|| {
        let message =
            format!("the node of this data folder, {node}, is not registered on chain {}", chain.id());
        Failure::input("not_registered", message, fix)
    })?;
    if !chain.stake().has_role(node, RoleSet::HOST).map_err(|e| client_failure(&e))? {
        let message = format!("node {node} is no host with enough bond, so others cannot find the model");
        return Err(Failure::input("not_a_host", message, "give the node the role HOST and the bond for it"));
    }
    let own = node::operator_key_beside(store.root()).and_then(|path| chain::read_account(&path).ok());
    let account = match own.filter(|own| key.is_none() && own.address() == info.operator) {
        Some(own) => own,
        None => operator(key, chain, info.operator)?,
    };
    if account.address() != info.operator {
        let message = format!("{} is not the operator of this node, {} is", account.address(), info.operator);
        return Err(Failure::input("not_operator", message, "give the operator's key with --operator-key"));
    }
    Ok(Publisher { account, endpoint: info.endpoint })
}

/// Publishes what is not published as it is already.
fn publish(
    chain: &Chain,
    account: &Account,
    publication: &Publication,
) -> Result<Option<veracity_client::Sent>, Failure> {
    let models = chain.models();
    let Some(found) = models.model(publication.model).map_err(|e| client_failure(&e))? else {
        return models.publish(account, publication).map(Some).map_err(|e| client_failure(&e));
    };
    if found.owner == account.address()
        && found.name == publication.name
        && found.version == publication.version
    {
        return Ok(None);
    }
    let message = format!(
        "the model is published already, as {} {} of {}",
        crate::words::printable(&found.name),
        crate::words::printable(&found.version),
        found.owner
    );
    Err(Failure::input("published_already", message, "use that name and version, or import the model anew"))
}

/// Waits until as many nodes announce the model as should and can.
fn wait(registry: &ChainRegistry, id: &ModelId, time: Duration, out: Output) -> Result<Placement, Failure> {
    let (started, progress) =
        (Instant::now(), Progress::new(out.is_json(), "waiting for hosts", Unit::Steps));
    loop {
        let placement = registry.placement(id).map_err(|e| registry_failure(&e))?;
        let candidates = registry.candidates().map_err(|e| registry_failure(&e))?.len();
        let (announced, goal) = (placement.n_announced(), placement.hosts_per_model.min(candidates));
        progress.update("waiting for hosts", announced.min(goal) as u64, goal as u64);
        if announced >= goal {
            return Ok(placement);
        }
        if started.elapsed() >= time {
            let message = format!("{announced} of {goal} hosts have the model after {} s", time.as_secs());
            let fix = "they go on by themselves while `veracity up` runs here; see `veracity model hosts`";
            return Err(Failure::outside("hosts_missing", message, fix));
        }
        thread::sleep(PAUSE);
    }
}

impl fmt::Display for Pushed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, version, owner, endpoint, hosts, .. } = self;
        match self.block {
            Some(block) => writeln!(f, "published {name} {version} of {owner} in block {block}")?,
            None => writeln!(f, "{name} {version} of {owner} was published before")?,
        }
        writeln!(f, "hosts fetch it from {endpoint} while `veracity up` runs here")?;
        hosts.fmt(f)
    }
}
