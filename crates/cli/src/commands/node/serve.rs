//! `veracity node start` for workers, hosts and gateways.

use std::{fmt, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use serde::Serialize;
use veracity_client::Chain;
use veracity_engine::Options;
use veracity_gateway::Config;
use veracity_store::Store;

use super::settings::Settings;
use crate::{
    commands::model,
    error::Failure,
    hosting::{self, Bytes, HostArgs},
    member::{Member, Part, Plan},
    output::Output,
    provider::{self, Joining, Role},
};

/// What is not in the folder.
#[derive(Debug, Clone, Copy)]
pub(super) struct Overrides {
    /// Where to listen instead.
    pub(super) listen: Option<SocketAddr>,
    /// Threads that run models; 0 for one per core.
    pub(super) threads: usize,
}

/// What runs where.
#[derive(Debug, Serialize)]
struct Banner {
    url: String,
    node: String,
    folder: String,
    models: Option<usize>,
    provider: provider::Banner,
    hosting: Option<hosting::Banner>,
}

/// Runs the node of a folder until it is interrupted.
pub(super) fn run(folder: &Path, overrides: Overrides, out: Output) -> Result<(), Failure> {
    let settings = Settings::read(folder)?;
    let operator = settings.operator()?;
    let store = Settings::store(folder)?;
    let connected = settings.connect()?;
    if settings.roles.contains(&Role::Worker) {
        fetch(&settings, &connected, &store, out)?;
    }
    let engine = Options { threads: overrides.threads, ..Options::default() };
    let member = Member::start(Plan {
        store: &store,
        roles: &settings.roles,
        listen: overrides.listen.unwrap_or(settings.listen),
        // Models change by the command line, on this machine.
        config: Config { engine, writable: false, ..Config::default() },
        host: HostArgs::new(Bytes(settings.host_quota_bytes), settings.host_interval_s),
    })?;
    let part = member.take_part(Joining {
        chain: connected,
        operator,
        network_key: Some(settings.key()?),
        roles: settings.roles.clone(),
        endpoint: settings.endpoint.clone().unwrap_or_else(|| member.node.url()),
        interval: Duration::from_millis(settings.anchor_interval_ms),
        worker_timeout: Duration::from_secs(settings.worker_timeout_s),
    })?;
    let interrupt = member.node.interrupt();
    out.result(&banner(folder, &settings, &member, &part));
    member.node.wait_unless(interrupt, std::future::pending());
    out.note("stopping; requests in progress may end");
    part.stop();
    member.node.stop()
}

/// Fetches what the worker is to serve and lacks.
fn fetch(settings: &Settings, chain: &Chain, store: &Arc<Store>, out: Output) -> Result<(), Failure> {
    settings.models.iter().try_for_each(|reference| {
        let id = model::fetch(reference, chain, store, out)?;
        out.note(format!("model {reference} is here: {id}"));
        Ok(())
    })
}

fn banner(folder: &Path, settings: &Settings, member: &Member, part: &Part) -> Banner {
    let models =
        settings.roles.contains(&Role::Worker).then(|| member.node.store.ids().map_or(0, |ids| ids.len()));
    Banner {
        url: member.node.url(),
        node: member.node.executor.to_string(),
        folder: folder.display().to_string(),
        models,
        provider: part.provider.banner.clone(),
        hosting: member.host.as_ref().map(hosting::Host::banner),
    }
}

impl fmt::Display for Banner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, node, folder, models, provider, hosting } = self;
        writeln!(f, "Node {node} serves {url}")?;
        writeln!(f, "  folder     {folder}")?;
        if let Some(models) = models {
            writeln!(f, "  models     {models}; veracity model ls --data {folder}/data")?;
        }
        writeln!(f, "{provider}")?;
        if let Some(hosting) = hosting {
            writeln!(f, "{hosting}")?;
        }
        write!(f, "  stop       Ctrl-C")
    }
}
