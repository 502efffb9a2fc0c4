//! `veracity model hosts`: where a model should be and is.

use std::{fmt, thread};

use clap::Args;
use serde::Serialize;
use veracity_graph::ModelId;
use veracity_hosting::{Client, Endpoint};
use veracity_provider::{ChainRegistry, PlacedHost, Placement};

use super::network::{NetworkArgs, fetch_config, find, registry_failure};
use crate::{error::Failure, hosting, words};

#[derive(Debug, Args)]
pub(crate) struct HostsArgs {
    /// Name in the registry, or id.
    model: String,
    /// Version of the name [default: what was published last].
    #[arg(long, value_name = "V")]
    version: Option<String>,
    #[command(flatten)]
    network: NetworkArgs,
}

/// Where a model should be and is.
#[derive(Debug, Serialize)]
pub(super) struct Hosts {
    model_id: String,
    /// How many hosts it should have.
    hosts_per_model: usize,
    announced: usize,
    hosts: Vec<Row>,
}

/// A node that announces the model, or should.
#[derive(Debug, Serialize)]
struct Row {
    node: String,
    endpoint: String,
    /// Nodes that are nearer to the model.
    rank: usize,
    /// Whether its rank makes it hold the model.
    duty: bool,
    announced: bool,
    /// Whether it gave the right manifest just now.
    reachable: bool,
    /// Why it did not.
    trouble: Option<String>,
}

/// Asks the registry, and then the hosts.
pub(super) fn hosts(args: &HostsArgs) -> Result<Hosts, Failure> {
    let chain = args.network.connect()?;
    let client = hosting::client(fetch_config(&chain))?;
    let registry = ChainRegistry::of_reader(chain);
    let id = find(&registry, &args.model, args.version.as_deref())?;
    let placement = registry.placement(&id).map_err(|e| registry_failure(&e))?;
    Ok(ask(&id, &placement, &client))
}

/// Asks all hosts at the same time whether they have the model.
pub(super) fn ask(id: &ModelId, placement: &Placement, client: &Client) -> Hosts {
    let trouble = |host: &PlacedHost| match host.host.endpoint.parse::<Endpoint>() {
        Ok(endpoint) => client.manifest(&endpoint, id).err().map(|fault| fault.to_string()),
        Err(error) => Some(error.to_string()),
    };
    let rows = thread::scope(|scope| {
        let asked: Vec<_> =
            placement.nodes.iter().map(|host| (host, scope.spawn(move || trouble(host)))).collect();
        let rows = asked.into_iter().map(|(host, thread)| {
            let trouble = thread.join().unwrap_or_else(|_| Some("asking it failed".to_owned()));
            Row::new(host, placement.hosts_per_model, trouble)
        });
        rows.collect()
    });
    Hosts {
        model_id: id.to_string(),
        hosts_per_model: placement.hosts_per_model,
        announced: placement.n_announced(),
        hosts: rows,
    }
}

impl Row {
    fn new(host: &PlacedHost, k: usize, trouble: Option<String>) -> Self {
        Self {
            node: host.host.node.to_string(),
            endpoint: words::printable(&host.host.endpoint),
            rank: host.rank,
            duty: host.rank < k,
            announced: host.announced,
            reachable: trouble.is_none(),
            trouble: trouble.map(|text| words::printable(&text)),
        }
    }
}

impl fmt::Display for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { model_id, hosts_per_model, announced, hosts } = self;
        let goal = words::count(*hosts_per_model, "host");
        write!(f, "model {model_id}: announced by {}, wanted {goal}", words::grouped(*announced as u64))?;
        if hosts.is_empty() {
            return f.write_str("\nno node with the role HOST is bonded");
        }
        let width = hosts.iter().map(|row| row.endpoint.len()).max().unwrap_or(0).max(8);
        write!(f, "\n{:<16}  {:>4}  {:<width$}  {:<9}  REACHABLE", "NODE", "RANK", "ENDPOINT", "ANNOUNCED")?;
        hosts.iter().try_for_each(|row| {
            let node = row.node.get(..16).unwrap_or(&row.node);
            let announced = if row.announced { "yes" } else { "no" };
            let reachable = row.trouble.as_ref().map_or("yes".to_owned(), |trouble| format!("no: {trouble}"));
            write!(f, "\n{node:<16}  {:>4}  {:<width$}  {announced:<9}  {reachable}", row.rank, row.endpoint)
        })
    }
}
