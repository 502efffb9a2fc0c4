//! This node as a provider on a network: registered, and anchoring what it signs.

use std::{fmt, sync::Arc, time::Duration};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use veracity_client::{Account, Chain, ClientError, RoleSet};
use veracity_gateway::ForwardConfig;
use veracity_provider::{
    AnchorError, Anchorer, AnchorerParts, RegisterError, Registration, Service, register,
};
use veracity_receipt::NetworkKey;
use veracity_store::ReceiptLimits;

use crate::{
    chain::{self, client_failure},
    data,
    directory::ChainDirectory,
    error::Failure,
    server::Node,
};

/// What a provider does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// Runs models and signs receipts.
    Worker,
    /// Keeps models for others.
    Host,
    /// Serves clients.
    Gateway,
}

impl Role {
    /// The roles as the contract has them.
    pub(crate) fn set(roles: &[Self]) -> RoleSet {
        roles.iter().fold(RoleSet::default(), |set, role| set.with(role.bit()))
    }

    /// How it is called.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Host => "host",
            Self::Gateway => "gateway",
        }
    }

    fn bit(self) -> RoleSet {
        match self {
            Self::Worker => RoleSet::WORKER,
            Self::Host => RoleSet::HOST,
            Self::Gateway => RoleSet::GATEWAY,
        }
    }
}

/// How long another worker may take for one request, in seconds.
pub(crate) const WORKER_TIMEOUT_S: u64 = 60;
/// Milliseconds between two looks for receipts to anchor.
pub(crate) const ANCHOR_INTERVAL_MS: u64 = 1000;

/// Where and how a node takes part.
#[derive(Debug)]
pub(crate) struct Joining {
    /// The network's chain.
    pub(crate) chain: Chain,
    /// Who pays.
    pub(crate) operator: Account,
    /// Whose certificates are believed; if none is given, that which its node says.
    pub(crate) network_key: Option<NetworkKey>,
    /// What this node does.
    pub(crate) roles: Vec<Role>,
    /// Where others reach it.
    pub(crate) endpoint: String,
    /// Time between two looks for receipts to anchor.
    pub(crate) interval: Duration,
    /// How long another worker may take for one request that this node forwards.
    pub(crate) worker_timeout: Duration,
}

/// A node that takes part; a worker anchors until this is dropped.
#[derive(Debug)]
pub(crate) struct Provider {
    /// What there is to say about it.
    pub(crate) banner: Banner,
    _anchoring: Option<Service>,
}

/// What there is to say about a provider.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Banner {
    node: String,
    operator: String,
    roles: Vec<String>,
    bond_wei: String,
    endpoint: String,
    rpc: String,
    chain_id: u64,
    network_key: String,
    /// None for a node that signs no receipts.
    anchor_interval_ms: Option<u128>,
}

/// Registers the node, unless it is registered, and does what its roles ask for from now on: a worker anchors what it signs
/// and knows models by their names on the network, a gateway forwards.
///
/// # Errors
/// `rpc_unreachable`, `other_network`, `rpc_refused`, `not_operator`, `operator_poor`, `network_key_malformed` and trouble with the disk.
pub(crate) fn join(node: &Node, joining: Joining) -> Result<Provider, Failure> {
    let Joining { chain: connected, operator, network_key, roles, endpoint, interval, worker_timeout } =
        joining;
    let network_key = match network_key {
        Some(key) => {
            check_network(&connected, &key)?;
            key
        }
        None => stated_key(&connected)?,
    };
    let registration = Registration { roles: Role::set(&roles), endpoint: endpoint.clone() };
    let key = data::executor_key(&node.store)?;
    register(&connected, &operator, &key, &registration).map_err(|e| register_failure(&e))?;
    let (id, is_worker) = (node.executor, roles.contains(&Role::Worker));
    let info = connected.stake().node((*id.as_bytes()).into()).map_err(|e| client_failure(&e))?;
    let banner = Banner {
        node: id.to_string(),
        operator: operator.address().to_string(),
        roles: roles.iter().map(|role| role.name().to_owned()).collect(),
        bond_wei: info.map(|info| info.bond.to_string()).unwrap_or_default(),
        endpoint,
        rpc: connected.rpc().url().to_owned(),
        chain_id: connected.id(),
        network_key: network_key.to_string(),
        anchor_interval_ms: is_worker.then_some(interval.as_millis()),
    };
    if is_worker || roles.contains(&Role::Gateway) {
        let forward = roles.contains(&Role::Gateway).then(|| ForwardConfig {
            private_addresses: connected.id() == chain::CHAIN_ID,
            attempt_timeout: worker_timeout,
            total_timeout: worker_timeout.saturating_mul(2),
            ..ForwardConfig::default()
        });
        let directory = Arc::new(ChainDirectory::new(connected.clone()));
        let joined = node.gateway.join(directory, network_key.clone(), forward);
        joined.map_err(|e| Failure::input("bad_config", e, "change the options"))?;
    }
    let anchoring = match is_worker {
        true => Some(anchor(node, connected, network_key, operator, interval)?),
        false => None,
    };
    Ok(Provider { banner, _anchoring: anchoring })
}

/// Anchors what the node signs, and gives its receipts with evidence.
fn anchor(
    node: &Node,
    chain: Chain,
    network_key: NetworkKey,
    operator: Account,
    interval: Duration,
) -> Result<Service, Failure> {
    let id = node.executor;
    let evidence = node.store.evidence_log(id.as_bytes(), network_key.as_bytes(), ReceiptLimits::default());
    let evidence = Arc::new(evidence.map_err(|e| data::receipts_failure(&e))?);
    node.gateway.serve_evidence(Arc::clone(&evidence));
    let mut anchorer = Anchorer::new(AnchorerParts {
        chain,
        network_key,
        operator,
        executor: id,
        sequences: Arc::clone(node.gateway.sequences()),
        evidence,
    });
    let anchoring = Service::start("anchor", interval, move || tick(&mut anchorer));
    anchoring.map_err(|e| Failure::outside("threads", e, "try again when the machine is less busy"))
}

/// Anchors, and logs what was done; one failure stands for all.
fn tick(anchorer: &mut Anchorer) -> Result<(), AnchorError> {
    let tick = anchorer.tick()?;
    for batch in &tick.anchored {
        tracing::info!(
            batch = batch.number,
            first = batch.first,
            count = batch.count,
            "anchor.batch: anchored"
        );
    }
    tick.failed.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
}

/// Checks that a node says that it is one of the network with this key.
///
/// # Errors
/// `other_network`, and those of [`stated_key`].
pub(crate) fn check_network(connected: &Chain, key: &NetworkKey) -> Result<(), Failure> {
    let stated = stated_key(connected)?;
    if stated == *key {
        return Ok(());
    }
    let message = format!("{} is a node of another network: its key is {stated}", connected.rpc().url());
    Err(Failure::input("other_network", message, "give a node of the network, or the network's right key"))
}

/// The key that a node says.
///
/// # Errors
/// A [`client_failure`], and `network_key_malformed`.
pub(crate) fn stated_key(connected: &Chain) -> Result<NetworkKey, Failure> {
    let bytes = connected.network_key().map_err(|e| client_failure(&e))?;
    NetworkKey::from_bytes(&bytes).map_err(|e| {
        Failure::input("network_key_malformed", e, "check that --chain is the JSON-RPC of a Veracity node")
    })
}

fn register_failure(error: &RegisterError) -> Failure {
    match error {
        RegisterError::OtherOperator { .. } => {
            Failure::input("not_operator", error, "give the operator's key with --operator-key")
        }
        RegisterError::TooPoor { .. } => Failure::input(
            "operator_poor",
            error,
            "send it money; a chain for development that is older than this program begins anew with --fresh",
        ),
        RegisterError::Client(ClientError::Refused(refusal)) => {
            Failure::input("chain_refused", refusal, "do as it says")
        }
        RegisterError::Client(error) => client_failure(error),
        error => Failure::outside("chain", error, "try again"),
    }
}

impl fmt::Display for Banner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operator, roles, bond_wei, rpc, chain_id, anchor_interval_ms, .. } = self;
        let bond = chain::ether(bond_wei);
        writeln!(
            f,
            "  provider   {} with {bond} VER bonded, on chain {chain_id} by {rpc}",
            roles.join(", ")
        )?;
        write!(f, "  operator   {operator}")?;
        let Some(interval_ms) = anchor_interval_ms else { return Ok(()) };
        let seconds = words_of(*interval_ms);
        write!(
            f,
            "\n  anchoring  receipts are anchored every {seconds}; then /v1/receipts/ID has the evidence"
        )
    }
}

fn words_of(interval_ms: u128) -> String {
    match interval_ms {
        1000 => "second".to_owned(),
        ms if ms % 1000 == 0 => format!("{} seconds", ms / 1000),
        ms => format!("{ms} ms"),
    }
}
