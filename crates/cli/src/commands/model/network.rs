//! What the commands about the registry of models share.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use veracity_client::{Account, Chain, ClientError};
use veracity_graph::{Digest, ModelId};
use veracity_hosting::{FetchConfig, FetchError, HostReport, Registry as _, RegistryError, RoomError};
use veracity_provider::ChainRegistry;
use veracity_store::PartialError;

use crate::{
    chain::{self, client_failure},
    data,
    error::Failure,
    words,
};

/// Where the registry is asked.
#[derive(Debug, Clone, Args)]
pub(super) struct NetworkArgs {
    /// JSON-RPC of a node of the network.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8545")]
    rpc: String,
}

impl NetworkArgs {
    /// The chain behind it.
    ///
    /// # Errors
    /// A [`client_failure`].
    pub(super) fn connect(&self) -> Result<Chain, Failure> {
        Chain::connect(&self.rpc).map_err(|e| client_failure(&e))
    }
}

/// How models are fetched from the hosts of a chain: on networks for development they may be on this machine.
pub(super) fn fetch_config(chain: &Chain) -> FetchConfig {
    FetchConfig { private_addresses: chain.id() == chain::CHAIN_ID, ..FetchConfig::public() }
}

/// The model of an id, or of a name in the registry.
///
/// # Errors
/// A [`registry_failure`].
pub(super) fn find(
    registry: &ChainRegistry,
    reference: &str,
    version: Option<&str>,
) -> Result<ModelId, Failure> {
    match Digest::from_hex(reference) {
        Some(digest) => Ok(ModelId(digest)),
        None => registry.resolve(reference, version).map_err(|e| registry_failure(&e)),
    }
}

/// The account of a key file, or on networks for development the one that everybody knows of the node's operator.
///
/// # Errors
/// `bad_key`, `no_operator_key` and trouble with the file.
pub(super) fn operator(
    file: Option<&PathBuf>,
    chain: &Chain,
    address: alloy_primitives::Address,
) -> Result<Account, Failure> {
    if let Some(path) = file {
        return chain::read_account(path);
    }
    let known = (chain.id() == chain::CHAIN_ID).then(|| chain::dev_account(address)).flatten();
    let account = known.and_then(|account| Account::from_key(account.key).ok());
    account.ok_or_else(|| {
        let message = format!("the node's operator is {address}, whose key is not known here");
        Failure::input("no_operator_key", message, "give the file of its key with --operator-key")
    })
}

/// A host that was dropped in a fetch.
#[derive(Debug, Serialize)]
pub(super) struct Dropped {
    node: String,
    endpoint: String,
    reason: String,
    /// Whether no honest host does this.
    lied: bool,
}

impl From<&HostReport> for Dropped {
    fn from(report: &HostReport) -> Self {
        Self {
            node: report.node.to_string(),
            endpoint: report.endpoint.to_string(),
            reason: words::printable(&report.fault.to_string()),
            lied: report.fault.is_lie(),
        }
    }
}

/// Why the registry did not answer, for users.
pub(super) fn registry_failure(error: &RegistryError) -> Failure {
    match error {
        RegistryError::UnknownName { .. } => Failure::input(
            "model_not_published",
            error,
            "check name and version; `veracity model push` publishes a model",
        ),
        RegistryError::UnknownModel { .. } => Failure::input(
            "model_not_published",
            error,
            "check the id; `veracity model push` publishes a model",
        ),
        RegistryError::Unavailable(inner) => match inner.downcast_ref::<ClientError>() {
            Some(error) => client_failure(error),
            None => Failure::outside("registry", error, "try again"),
        },
        error => Failure::outside("registry", error, "try again"),
    }
}

/// Why a model was not fetched, for users.
pub(super) fn fetch_failure(error: &FetchError) -> Failure {
    let later = "the same command goes on where it ended; see who has it with `veracity model hosts`";
    match error {
        FetchError::NoHosts { .. } => Failure::outside("no_hosts", error, later),
        FetchError::AllHostsFailed { .. } => Failure::outside("hosts_failed", error, later),
        FetchError::Room(RoomError::Registry(error)) => registry_failure(error),
        FetchError::TooLarge { .. } => Failure::input("model_too_large", error, "host a smaller model"),
        FetchError::StatedSize { .. } | FetchError::Invalid { .. } => {
            Failure::input("model_damaged", error, "ask its publisher, or pull another version")
        }
        FetchError::Partial(PartialError::Store(error)) | FetchError::Store(error) => {
            data::store_failure(error)
        }
        FetchError::Partial(error @ PartialError::InUse { .. }) => {
            Failure::outside("data_in_use", error, "wait for the other process")
        }
        error => Failure::outside("fetch", error, "try again"),
    }
}
