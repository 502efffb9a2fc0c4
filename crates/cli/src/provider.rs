//! This node as a provider on a network: registered, and anchoring what it signs.

use std::{fmt, sync::Arc, time::Duration};

use clap::ValueEnum;
use serde::Serialize;
use veracity_client::{Account, Chain, ClientError, RoleSet};
use veracity_provider::{
    AnchorError, Anchorer, AnchorerParts, RegisterError, Registration, Service, register,
};
use veracity_receipt::NetworkKey;
use veracity_store::ReceiptLimits;

use crate::{
    chain::{self, client_failure},
    data,
    error::Failure,
    server::Node,
};

/// What a provider does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Runs models and signs receipts.
    Worker,
    /// Keeps models for others.
    Host,
    /// Serves clients.
    Gateway,
}

impl Role {
    fn bit(self) -> RoleSet {
        match self {
            Self::Worker => RoleSet::WORKER,
            Self::Host => RoleSet::HOST,
            Self::Gateway => RoleSet::GATEWAY,
        }
    }
}

/// Where and how a node takes part.
#[derive(Debug)]
pub(crate) struct Joining {
    /// JSON-RPC of a node of the network.
    pub(crate) rpc: String,
    /// Who pays.
    pub(crate) operator: Account,
    /// Whose certificates are believed; if none is given, that which the node at `rpc` says.
    pub(crate) network_key: Option<NetworkKey>,
    /// What this node does.
    pub(crate) roles: Vec<Role>,
    /// Where others reach it.
    pub(crate) endpoint: String,
    /// Time between two looks for receipts to anchor.
    pub(crate) interval: Duration,
}

/// A node that takes part; it anchors until this is dropped.
#[derive(Debug)]
pub(crate) struct Provider {
    /// What there is to say about it.
    pub(crate) banner: Banner,
    _anchoring: Service,
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
    anchor_interval_ms: u128,
}

/// Registers the node, unless it is registered, and anchors from now on.
///
/// # Errors
/// `rpc_unreachable`, `rpc_refused`, `not_operator`, `operator_poor`, `network_key_malformed` and trouble with the disk.
pub(crate) fn join(node: &Node, joining: Joining) -> Result<Provider, Failure> {
    let Joining { rpc, operator, network_key, roles, endpoint, interval } = joining;
    let connected = Chain::connect(&rpc).map_err(|e| client_failure(&e))?;
    let network_key = match network_key {
        Some(key) => key,
        None => stated_key(&connected)?,
    };
    let set = roles.iter().fold(RoleSet::default(), |set, role| set.with(role.bit()));
    let registration = Registration { roles: set, endpoint: endpoint.clone() };
    let key = data::executor_key(&node.store)?;
    register(&connected, &operator, &key, &registration).map_err(|e| register_failure(&e))?;
    let id = node.executor;
    let info = connected.stake().node((*id.as_bytes()).into()).map_err(|e| client_failure(&e))?;
    let banner = Banner {
        node: id.to_string(),
        operator: operator.address().to_string(),
        roles: roles.iter().map(|role| format!("{role:?}").to_lowercase()).collect(),
        bond_wei: info.map(|info| info.bond.to_string()).unwrap_or_default(),
        endpoint,
        rpc,
        chain_id: connected.id(),
        network_key: network_key.to_string(),
        anchor_interval_ms: interval.as_millis(),
    };
    let evidence = node.store.evidence_log(id.as_bytes(), network_key.as_bytes(), ReceiptLimits::default());
    let evidence = Arc::new(evidence.map_err(|e| data::receipts_failure(&e))?);
    node.gateway.serve_evidence(Arc::clone(&evidence));
    let mut anchorer = Anchorer::new(AnchorerParts {
        chain: connected,
        network_key,
        operator,
        executor: id,
        sequences: Arc::clone(node.gateway.sequences()),
        evidence,
    });
    let anchoring = Service::start("anchor", interval, move || tick(&mut anchorer));
    let anchoring =
        anchoring.map_err(|e| Failure::outside("threads", e, "try again when the machine is less busy"))?;
    Ok(Provider { banner, _anchoring: anchoring })
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

/// The key that a node says.
fn stated_key(connected: &Chain) -> Result<NetworkKey, Failure> {
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
        writeln!(f, "  operator   {operator}")?;
        let seconds = words_of(*anchor_interval_ms);
        write!(f, "  anchoring  receipts are anchored every {seconds}; then /v1/receipts/ID has the evidence")
    }
}

fn words_of(interval_ms: u128) -> String {
    match interval_ms {
        1000 => "second".to_owned(),
        ms if ms % 1000 == 0 => format!("{} seconds", ms / 1000),
        ms => format!("{ms} ms"),
    }
}
