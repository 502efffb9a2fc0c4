//! Hosting: what is offered to other nodes, and the thread that keeps it as the network needs it.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use clap::Args;
use serde::Serialize;
use veracity_client::{Account, Chain};
use veracity_gateway::Gateway;
use veracity_hosting::{
    Client, FetchConfig, Hosting, HostingConfig, HostingError, Maintainer, NodeId, router,
};
use veracity_provider::{ChainRegistry, HostLoop};
use veracity_store::{HostedError, Store};

use crate::{chain, data, error::Failure, words};

/// How long a stop waits for the thread; cutting it off loses nothing.
const PATIENCE: Duration = Duration::from_secs(2);
/// Seconds between two looks at the registry: on networks for development, and elsewhere.
const INTERVALS_S: (u64, u64) = (5, 60);

/// What a node does for the models of others.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct HostArgs {
    /// Disk for models of others, which this node fetches and offers as the network needs it, such as 500MB or 2TB; 0
    /// for own models only.
    #[arg(long, value_name = "SIZE", default_value = "20GB")]
    host_quota: Bytes,
    /// Seconds between two looks at the registry [default: 5 on networks for development, else 60].
    #[arg(long, value_name = "SECONDS", hide = true, value_parser = clap::value_parser!(u64).range(1..))]
    host_interval: Option<u64>,
}

impl HostArgs {
    pub(crate) fn new(host_quota: Bytes, host_interval: Option<u64>) -> Self {
        Self { host_quota, host_interval }
    }
}

/// A number of bytes, written with a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) u64);

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (digits, unit) = text.split_at(end);
        let step = match unit.trim_start() {
            "" | "B" => Some(1),
            "kB" | "KB" => Some(1_000),
            "MB" => Some(1_000_000),
            "GB" => Some(1_000_000_000),
            "TB" => Some(1_000_000_000_000),
            "KiB" => Some(1 << 10),
            "MiB" => Some(1 << 20),
            "GiB" => Some(1 << 30),
            "TiB" => Some(1 << 40),
            _ => None,
        };
        let bytes = step.zip(digits.parse::<u64>().ok()).and_then(|(step, number)| number.checked_mul(step));
        bytes
            .map(Self)
            .ok_or_else(|| "not a size: write a whole number and a unit, such as 500MB or 20GB".to_owned())
    }
}

/// What this node offers. One process at a time hosts from a data folder.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    hosting: Arc<Hosting>,
    args: HostArgs,
}

impl Host {
    /// Takes up what was hosted from this store before.
    ///
    /// # Errors
    /// `data_in_use` if another process hosts from it.
    pub(crate) fn open(store: &Arc<Store>, args: HostArgs) -> Result<Self, Failure> {
        let config = HostingConfig::with_quota(args.host_quota.0);
        let hosting = Hosting::open(Arc::clone(store), config).map_err(|e| hosting_failure(&e))?;
        Ok(Self { hosting, args })
    }

    /// What there is to say.
    pub(crate) fn banner(&self) -> Banner {
        Banner {
            offered: self.hosting.offered().len(),
            used_bytes: self.hosting.used_bytes(),
            quota_bytes: self.args.host_quota.0,
        }
    }

    /// The gateway with the routes by which other nodes fetch. What it runs is not evicted meanwhile.
    pub(crate) fn beside(&self, gateway: Gateway) -> Gateway {
        let hosting = Arc::clone(&self.hosting);
        gateway.on_use(move |id| hosting.use_model(id));
        gateway.beside(router(Arc::clone(&self.hosting)))
    }

    /// Starts to keep what is held as the chain's registry needs it, in the name of a node whose operator pays.
    ///
    /// # Errors
    /// `threads`.
    pub(crate) fn start(&self, chain: Chain, operator: Account, node: NodeId) -> Result<Hosted, Failure> {
        let dev = chain.id() == chain::CHAIN_ID;
        let client = client(FetchConfig { private_addresses: dev, ..FetchConfig::host() })?;
        let maintainer = Maintainer::new(Arc::clone(&self.hosting), client, node);
        let default_s = if dev { INTERVALS_S.0 } else { INTERVALS_S.1 };
        let interval = Duration::from_secs(self.args.host_interval.unwrap_or(default_s));
        let registry = ChainRegistry::of_host(chain, operator, node);
        let ticks = HostLoop::start(maintainer, registry, interval);
        let no_thread = |e| Failure::outside("threads", e, "try again when the machine is less busy");
        Ok(Hosted(ticks.map_err(no_thread)?))
    }
}

/// What there is to say about a host.
#[derive(Debug, Serialize)]
pub(crate) struct Banner {
    /// Models that other nodes can fetch here.
    offered: usize,
    /// Disk that models of others take, and may take.
    used_bytes: u64,
    quota_bytes: u64,
}

impl fmt::Display for Banner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offered, used_bytes, quota_bytes } = self;
        let (used, quota) = (words::size(*used_bytes), words::size(*quota_bytes));
        let offered = words::count(*offered as u64, "model");
        write!(f, "  hosting    {offered} for other nodes; models of others take {used} of {quota}")
    }
}

/// A node that hosts.
#[derive(Debug)]
pub(crate) struct Hosted(HostLoop);

impl Hosted {
    /// Ends it.
    pub(crate) fn stop(self) {
        if !self.0.stop(PATIENCE) {
            tracing::info!("hosting.stop: a fetch is cut off; what was verified stays");
        }
    }
}

/// A client of hosts.
///
/// # Errors
/// `bad_config`.
pub(crate) fn client(config: FetchConfig) -> Result<Client, Failure> {
    Client::new(config).map_err(|e| Failure::input("bad_config", e, "change the options"))
}

fn hosting_failure(error: &HostingError) -> Failure {
    match error {
        HostingError::Index(HostedError::InUse { path }) => Failure::outside(
            "data_in_use",
            format!("another process hosts from {}", path.display()),
            "stop the other process (veracity up, or veracity node start), or choose another folder",
        ),
        HostingError::Index(HostedError::Store(error)) | HostingError::Store(error) => {
            data::store_failure(error)
        }
        error => Failure::outside("hosting", error, "check the folder and the disk, then try again"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        let sizes = [
            ("0", 0),
            ("17", 17),
            ("17B", 17),
            ("500MB", 500_000_000),
            ("20 GB", 20_000_000_000),
            ("1GiB", 1 << 30),
            ("2TB", 2_000_000_000_000),
        ];
        for (text, bytes) in sizes {
            assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text}");
        }
        for text in ["", "GB", "1.5GB", "-1", "1gb", "99999999999TB", "1 G B", "20GB "] {
            assert!(text.parse::<Bytes>().unwrap_err().contains("20GB"), "{text}");
        }
    }
}
