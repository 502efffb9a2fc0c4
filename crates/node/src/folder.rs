//! What a node keeps on disk: its keys, its network, and its data.

use std::{
    fs,
    io::{self, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
};

use alloy_primitives::Address;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use veracity_validator::{Contact, Identity};

use crate::{Founder, Network, NetworkError};

/// How a node of a folder runs, unless it is told otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeConfig {
    /// Where it listens for peers.
    pub listen: SocketAddr,
    /// Where it serves JSON-RPC.
    pub rpc: SocketAddr,
    /// Who receives the tips of its blocks.
    pub beneficiary: Address,
    /// Whether peers may have private addresses, as on a network for development.
    pub allow_private: bool,
    /// Whether it joined a network that ran already, so that it begins with the state of others.
    #[serde(default)]
    pub join: bool,
    /// Whom it asks where to join, and finds others through; the founders, while it joins, if there are none.
    #[serde(default, with = "contacts")]
    pub bootstrap: Vec<Contact>,
}

/// Contacts as they are written.
mod contacts {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};
    use veracity_validator::Contact;

    pub(super) fn serialize<S: Serializer>(contacts: &[Contact], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(contacts.iter().map(ToString::to_string))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Contact>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        texts.iter().map(|text| text.parse().map_err(D::Error::custom)).collect()
    }
}

/// How a follower of a folder runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FollowerConfig {
    /// Where it serves JSON-RPC.
    pub rpc: SocketAddr,
    /// JSON-RPC of the nodes that it follows, at least one.
    pub upstreams: Vec<String>,
}

pub(crate) const NETWORK: &str = "network.json";
pub(crate) const CONFIG: &str = "node.json";
pub(crate) const SHARE: &str = "share.key";
const FOLLOWER: &str = "follower.json";
const KEY: &str = "node.key";

/// A node's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder(PathBuf);

/// Why a folder is not a node's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is a node in it already.
    #[error("{path} has a node in it already: choose another folder, or remove this one")]
    Taken {
        /// The folder.
        path: PathBuf,
    },
    /// A file with a key does not hold one.
    #[error("{path} must hold {expected} in hexadecimal: restore it from a backup")]
    Key {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
    },
    /// The configuration is invalid.
    #[error("{path}: {source}")]
    Config {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The network file is invalid.
    #[error("{path}: {source}")]
    Network {
        /// The file.
        path: PathBuf,
        /// Why.
        source: NetworkError,
    },
}

impl Folder {
    /// The folder at this path.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Where the network is described.
    #[must_use]
    pub fn network_file(&self) -> PathBuf {
        self.file(NETWORK)
    }

    /// Where consensus keeps blocks, state and secrets.
    #[must_use]
    pub fn consensus(&self) -> PathBuf {
        self.file("consensus")
    }

    /// Where blocks are indexed for clients.
    #[must_use]
    pub fn index(&self) -> PathBuf {
        self.file("index.redb")
    }

    /// Makes the folder of a validator that founds a network.
    ///
    /// # Errors
    /// [`FolderError::Taken`], [`FolderError::Io`].
    pub fn found(
        &self,
        network: &Network,
        founder: &Founder,
        config: &NodeConfig,
    ) -> Result<(), FolderError> {
        let keys = [(KEY, founder.seed.as_slice()), (SHARE, founder.share.as_slice())];
        self.make(network, &keys, CONFIG, config)
    }

    /// Makes the folder of a node that joins a network.
    ///
    /// # Errors
    /// [`FolderError::Taken`], [`FolderError::Io`].
    pub fn join(&self, network: &Network, seed: [u8; 32], config: &NodeConfig) -> Result<(), FolderError> {
        self.make(network, &[(KEY, seed.as_slice())], CONFIG, &NodeConfig { join: true, ..config.clone() })
    }

    /// Makes the folder of a node that follows a network. It has no key.
    ///
    /// # Errors
    /// [`FolderError::Taken`], [`FolderError::Io`].
    pub fn follow(&self, network: &Network, config: &FollowerConfig) -> Result<(), FolderError> {
        self.make(network, &[], FOLLOWER, config)
    }

    /// An empty folder beside this one with a name that nothing has, to be filled and moved here: so this one is there
    /// whole or not at all. What a crash leaves of it is hidden, and never used.
    ///
    /// # Errors
    /// [`FolderError::Io`].
    pub fn beside(&self) -> Result<Self, FolderError> {
        let mut random = [0; 8];
        getrandom::fill(&mut random)
            .map_err(|e| FolderError::Io { path: self.0.clone(), source: e.into() })?;
        let name = self.0.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let path = self.0.with_file_name(format!(".{name}.new-{}", alloy_primitives::hex::encode(random)));
        let made = fs::create_dir_all(&path).and_then(|()| restrict(&path));
        made.map_err(|source| FolderError::Io { path: path.clone(), source })?;
        Ok(Self(path))
    }

    fn make(
        &self,
        network: &Network,
        keys: &[(&str, &[u8])],
        config_file: &str,
        config: &impl Serialize,
    ) -> Result<(), FolderError> {
        if self.network_file().exists() {
            return Err(FolderError::Taken { path: self.0.clone() });
        }
        let made = self.beside()?;
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| FolderError::Io { path, source }
        };
        for (name, key) in keys {
            made.write(name, &alloy_primitives::hex::encode(key))?;
        }
        made.write(config_file, &serde_json::to_string_pretty(config).expect("all keys are strings"))?;
        made.write(NETWORK, &network.to_json())?;
        fs::rename(&made.0, &self.0).map_err(at(&self.0))
    }

    /// Removes the share of the first epoch, which consensus keeps as long as it is needed, and what it was made from.
    pub(crate) fn forget_share(&self) -> Result<(), FolderError> {
        self.forget_founding()?;
        let path = self.file(SHARE);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(FolderError::Io { path, source }),
            _ => Ok(()),
        }
    }

    /// Writes a new file that only its owner may read.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<(), FolderError> {
        let path = self.file(name);
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let written = options.open(&path).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
        written.map_err(|source| FolderError::Io { path, source })
    }

    /// How the node runs.
    ///
    /// # Errors
    /// [`FolderError::Io`], [`FolderError::Config`].
    pub fn config(&self) -> Result<NodeConfig, FolderError> {
        self.read(CONFIG)
    }

    /// Whether the folder is that of a follower.
    #[must_use]
    pub fn is_follower(&self) -> bool {
        self.file(FOLLOWER).exists()
    }

    /// How the follower runs.
    ///
    /// # Errors
    /// [`FolderError::Io`], [`FolderError::Config`].
    pub fn follower_config(&self) -> Result<FollowerConfig, FolderError> {
        self.read(FOLLOWER)
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<T, FolderError> {
        let path = self.file(name);
        match fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text).map_err(|source| FolderError::Config { path, source }),
            Err(source) => Err(FolderError::Io { path, source }),
        }
    }

    /// The network that the node belongs to.
    ///
    /// # Errors
    /// [`FolderError::Io`], [`FolderError::Network`].
    pub fn network(&self) -> Result<Network, FolderError> {
        let path = self.network_file();
        match fs::read_to_string(&path) {
            Ok(text) => Network::from_json(&text).map_err(|source| FolderError::Network { path, source }),
            Err(source) => Err(FolderError::Io { path, source }),
        }
    }

    /// The node's key.
    ///
    /// # Errors
    /// [`FolderError::Io`], [`FolderError::Key`].
    pub fn identity(&self) -> Result<Identity, FolderError> {
        let path = self.file(KEY);
        let expected = "the 32 bytes of the node's key";
        let bytes = read_secret(&path, expected)?;
        let seed = bytes.try_into().map_err(|_| FolderError::Key { path, expected })?;
        Ok(Identity::from_seed(seed))
    }

    /// The node's share of the network's key in the first epoch, if it has one.
    ///
    /// # Errors
    /// [`FolderError::Io`], [`FolderError::Key`].
    pub fn share(&self) -> Result<Option<Vec<u8>>, FolderError> {
        match read_secret(&self.file(SHARE), "a share of the network's key") {
            Err(FolderError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            share => share.map(Some),
        }
    }
}

fn read_secret(path: &Path, expected: &'static str) -> Result<Vec<u8>, FolderError> {
    let text =
        fs::read_to_string(path).map_err(|source| FolderError::Io { path: path.to_owned(), source })?;
    let bytes = alloy_primitives::hex::decode(text.trim());
    bytes.map_err(|_| FolderError::Key { path: path.to_owned(), expected })
}

/// Secrets lie below.
#[cfg(unix)]
pub(crate) fn restrict(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o700))
}

#[cfg(not(unix))]
pub(crate) fn restrict(_: &Path) -> io::Result<()> {
    Ok(())
}
