//! The folder of a worker, host or gateway: `node.json`, and the data folder that holds models, receipts and the
//! executor's key.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use veracity_client::{Account, Chain};
use veracity_receipt::{ExecutorKey, NetworkKey};
use veracity_store::Store;

use crate::{
    chain::{self, client_failure},
    data,
    error::Failure,
    files,
    provider::{self, Role},
};

const CONFIG: &str = "node.json";
const DATA: &str = "data";
/// Longest configuration that is read, in bytes.
const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// How the node runs: all that `node start` needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Settings {
    /// What it does.
    pub(super) roles: Vec<Role>,
    /// JSON-RPC of nodes of the network; one is asked until it cannot be reached, then the next.
    pub(super) chain: Vec<String>,
    /// Key of the network, in hexadecimal digits. A node with another one is refused.
    pub(super) network_key: String,
    /// Where it listens.
    pub(super) listen: SocketAddr,
    /// Where others reach it; where it listens if this is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) endpoint: Option<String>,
    /// File of the operator's key.
    pub(super) operator_key: PathBuf,
    /// Models that a worker fetches when it starts without them.
    #[serde(default)]
    pub(super) models: Vec<String>,
    /// Disk for models of others.
    pub(super) host_quota_bytes: u64,
    /// Seconds between two looks at the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) host_interval_s: Option<u64>,
    /// Milliseconds between two looks for receipts to anchor.
    pub(super) anchor_interval_ms: u64,
    /// Seconds that a worker may take for a request that is forwarded.
    pub(super) worker_timeout_s: u64,
}

/// File of the operator's key of the node that `node init` made, if this is its data folder.
pub(super) fn operator_key_beside(data: &Path) -> Option<PathBuf> {
    let folder = data.parent().filter(|_| data.ends_with(DATA))?;
    Settings::read(folder).ok().map(|settings| settings.operator_key)
}

impl Settings {
    /// Those of a folder.
    ///
    /// # Errors
    /// `node_folder`, and trouble with the file.
    pub(super) fn read(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join(CONFIG);
        let text = files::read(&path, CONFIG_BYTES_MAX)?;
        serde_json::from_slice(&text).map_err(|e| {
            let fix = "mend the file, or make a new folder with veracity node init";
            Failure::input("node_folder", e, fix).about(&path)
        })
    }

    /// Makes a folder with these, and a new executor's key. It is there whole or not at all.
    ///
    /// # Errors
    /// `node_folder_taken`, and trouble with the disk.
    pub(super) fn make(&self, folder: &Path) -> Result<ExecutorKey, Failure> {
        if folder.join(CONFIG).exists() {
            let message = format!("{} has a node in it already", folder.display());
            return Err(Failure::input("node_folder_taken", message, "choose another folder"));
        }
        let made = veracity_node::Folder::new(folder).beside().map_err(|e| chain::folder_failure(&e))?;
        let made = made.path();
        let store = Store::open(made.join(DATA)).map_err(|e| data::store_failure(&e))?;
        let key = data::executor_key(&store)?;
        drop(store);
        let text = serde_json::to_string_pretty(self).expect("all keys are strings");
        files::write(&made.join(CONFIG), text.as_bytes())?;
        fs::rename(made, folder).map_err(|e| Failure::write(folder, &e))?;
        Ok(key)
    }

    /// Models, receipts and key of the node.
    ///
    /// # Errors
    /// `node_folder`, and those of the store.
    pub(super) fn store(folder: &Path) -> Result<Arc<Store>, Failure> {
        let path = folder.join(DATA);
        // A node without its store would be another node.
        if !data::is_store(&path) {
            let message = format!("{} is missing", path.display());
            return Err(Failure::input("node_folder", message, "restore the folder from a backup"));
        }
        Store::open(path).map(Arc::new).map_err(|e| data::store_failure(&e))
    }

    /// Whose blocks are believed.
    ///
    /// # Errors
    /// `network_key_malformed`.
    pub(super) fn key(&self) -> Result<NetworkKey, Failure> {
        crate::commands::verify::network_key(&self.network_key)
    }

    /// Who pays.
    ///
    /// # Errors
    /// `bad_key`, and trouble with the file.
    pub(super) fn operator(&self) -> Result<Account, Failure> {
        chain::read_account(&self.operator_key)
    }

    /// The chain, seen through the first of its nodes that answers and is of the network, with the others in reserve.
    ///
    /// # Errors
    /// `other_network`, and a [`client_failure`].
    pub(super) fn connect(&self) -> Result<Chain, Failure> {
        let key = self.key()?;
        let mut failed = None;
        for url in &self.chain {
            match Chain::connect(url) {
                Ok(connected) => match provider::check_network(&connected, &key) {
                    Ok(()) => {
                        let urls = self.chain.iter().map(String::as_str);
                        return Ok(connected.with_reserve(urls, key.as_bytes().to_vec()));
                    }
                    // It must not keep the others from being asked; if none is right, it is what has to be mended.
                    Err(other) => failed = Some(other),
                },
                Err(error) => failed = failed.or_else(|| Some(client_failure(&error))),
            }
        }
        Err(failed.unwrap_or_else(|| {
            Failure::input("node_folder", "node.json names no chain", "add the URL of a node")
        }))
    }
}
