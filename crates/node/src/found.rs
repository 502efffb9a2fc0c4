//! A founder's folder, and its part in the ceremony (docs/spec/founding.md, sections 5 and 8).

use std::{
    fs,
    io::{self, Write as _},
    net::{SocketAddr, TcpListener},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
};

use alloy_primitives::{Address, hex};
use tokio::sync::watch;
use veracity_ceremony::{Ceremony, Failed, Made, Options, Progress, RecordError, Recorder, StartError};
use veracity_validator::{FirstEpoch, Identity, KeyError};

use crate::{
    Folder, FolderError, FounderError, FounderFile, Network, NetworkError, NodeConfig, Plan,
    folder::{CONFIG, NETWORK, SHARE, restrict},
};

const FOUNDER: &str = "founder.json";
const FOUNDING: &str = "founding";
const FOUNDING_GONE: &str = "founding.gone";

/// How a founder takes part.
#[derive(Debug, Clone)]
pub struct FoundOptions {
    /// Its folder, which [`Folder::prepare`] made.
    pub folder: Folder,
    /// What the founders agreed on.
    pub plan: Plan,
    /// Where it listens for the others.
    pub listen: SocketAddr,
    /// Threads for the network and for computing.
    pub threads: NonZeroUsize,
    /// Whether others may have private addresses.
    pub allow_private: bool,
}

/// Why a founder gets no network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FoundError {
    /// Its folder is not right.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The folder is not a founder's.
    #[error("{path}: {source}")]
    Founder {
        /// The file that says so.
        path: PathBuf,
        /// Why.
        source: FounderError,
    },
    /// The plan is without it.
    #[error(
        "the plan does not have this node, {node}, among its founders: give its founder file to who writes the plan"
    )]
    NotInPlan {
        /// Its key, in hexadecimal digits.
        node: String,
    },
    /// The plan has it, but not as it said.
    #[error(
        "the plan says of this node that its {what} is {found}, its founder file says {expected}: do not accept it"
    )]
    Changed {
        /// What is not as it said.
        what: &'static str,
        /// What the founder said.
        expected: String,
        /// What the plan says.
        found: String,
    },
    /// A network file is not of the plan.
    #[error("the network file is not one that this plan makes: ask the other founders for theirs")]
    AnotherPlan,
    /// The folder belongs to a network that this plan does not make.
    #[error("{path} has another network in it: choose the plan that made it, or another folder")]
    OtherNetwork {
        /// The folder.
        path: PathBuf,
    },
    /// It cannot listen for the others.
    #[error(
        "cannot listen at {listen}: {source}; choose an address of this machine with a free port (behind NAT 0.0.0.0 and \
         the port that is passed on)"
    )]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The ceremony did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The ceremony gave no network.
    #[error(transparent)]
    Failed(#[from] Failed),
    /// What the ceremony gave does not fit the plan.
    #[error("what the founders made does not fit: {0}")]
    Network(#[from] NetworkError),
    /// The share that the ceremony gave does not fit.
    #[error("what the founders made does not fit: {0}")]
    Key(#[from] KeyError),
}

impl Folder {
    /// Makes the folder of a node that will found a network, and says who it is.
    ///
    /// # Errors
    /// [`FolderError::Taken`], [`FolderError::Io`].
    pub fn prepare(
        &self,
        seed: [u8; 32],
        config: &NodeConfig,
        chain_id: u64,
        operator: Address,
    ) -> Result<FounderFile, FolderError> {
        let founder = FounderFile::new(&Identity::from_seed(seed), chain_id, operator, config.listen);
        if self.file("node.key").exists() || self.network_file().exists() {
            return Err(FolderError::Taken { path: self.path().to_owned() });
        }
        let made = self.beside()?;
        made.write("node.key", &hex::encode(seed))?;
        made.write(CONFIG, &serde_json::to_string_pretty(config).expect("all keys are strings"))?;
        made.write(FOUNDER, &founder.to_json())?;
        fs::rename(made.path(), self.path()).map_err(at(self.path()))?;
        Ok(founder)
    }

    /// Who the node is as a founder.
    ///
    /// # Errors
    /// [`FoundError::Founder`], and [`FolderError::Io`] if the folder was not prepared.
    pub fn founder(&self) -> Result<FounderFile, FoundError> {
        let path = self.file(FOUNDER);
        let text = fs::read_to_string(&path).map_err(at(&path))?;
        FounderFile::from_json(&text).map_err(|source| FoundError::Founder { path, source })
    }

    /// Takes the network file of the other founders, who made the key without this one. The node joins as a new one does, and
    /// has its share from the next epoch on.
    ///
    /// # Errors
    /// [`FoundError`].
    pub fn take(&self, plan: &Plan, network: &Network) -> Result<(), FoundError> {
        check_place(plan, &self.founder()?)?;
        if !plan.made(network) {
            return Err(FoundError::AnotherPlan);
        }
        if !self.network_file().exists() {
            let config = NodeConfig { join: true, ..self.config()? };
            let config = serde_json::to_string_pretty(&config).expect("all keys are strings");
            self.write_whole(CONFIG, &config)?;
        }
        self.complete(plan, network, None)
    }

    /// Where the ceremony of a plan keeps its secrets and blocks.
    fn ceremony(&self, plan: &Plan) -> PathBuf {
        self.file(FOUNDING).join(hex::encode(plan.hash()))
    }

    /// Writes what the founders made: the share first, because the network file says that all is there.
    fn complete(&self, plan: &Plan, network: &Network, share: Option<&[u8]>) -> Result<(), FoundError> {
        if self.network_file().exists() {
            return match self.network()?.to_json() == network.to_json() && plan.made(network) {
                true => Ok(()),
                false => Err(FoundError::OtherNetwork { path: self.path().to_owned() }),
            };
        }
        if let Some(share) = share {
            self.write_whole(SHARE, &hex::encode(share))?;
        }
        self.write_whole(NETWORK, &network.to_json())?;
        Ok(())
    }

    /// Writes a file that is there whole or not at all, durably.
    fn write_whole(&self, name: &str, text: &str) -> Result<(), FolderError> {
        let (path, new) = (self.file(name), self.file(&format!("{name}.new")));
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let written = options.open(&new).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            // The name is durable when the folder is; where folders cannot be opened, the system sees to that.
            fs::File::open(self.path()).map_or(Ok(()), |folder| folder.sync_all())
        });
        written.map_err(at(&path))
    }

    /// Removes what ceremonies kept. Their secrets must not outlive the shares of the first epoch. It is moved first: no
    /// ceremony goes on with a part of it.
    pub(crate) fn forget_founding(&self) -> Result<(), FolderError> {
        let (path, gone) = (self.file(FOUNDING), self.file(FOUNDING_GONE));
        let is_there = |result: io::Result<()>| match result {
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        };
        let forgotten = is_there(fs::remove_dir_all(&gone))
            .and_then(|()| is_there(fs::rename(&path, &gone)))
            .and_then(|()| is_there(fs::remove_dir_all(&gone)));
        forgotten.map_err(at(&path))
    }
}

fn at(path: &Path) -> impl Fn(io::Error) -> FolderError {
    let path = path.to_owned();
    move |source| FolderError::Io { path: path.clone(), source }
}

/// Writes the outcome into the folder.
struct Keep {
    folder: Folder,
    plan: Plan,
    identity: Identity,
}

impl Keep {
    fn keep(&self, made: &Made) -> Result<(), FoundError> {
        let epoch = FirstEpoch::decode(&made.epoch)?;
        if let Some(share) = &made.share {
            epoch.check_share(&self.identity, share)?;
        }
        let network = self.plan.network(&epoch)?;
        self.folder.complete(&self.plan, &network, made.share.as_deref())
    }
}

impl Recorder for Keep {
    fn record(&self, made: Made) -> Result<(), RecordError> {
        self.keep(&made).map_err(RecordError::from)
    }
}

/// A founder that takes part in the ceremony, or has.
#[derive(Debug)]
pub struct Founding {
    folder: Folder,
    /// None if all had ended before.
    ceremony: Option<Ceremony>,
}

impl Founding {
    /// Takes part in the ceremony of a plan, or goes on with it. If all founders have ended, there is nothing to do.
    ///
    /// # Errors
    /// [`FoundError`].
    pub fn start(options: FoundOptions) -> Result<Self, FoundError> {
        let FoundOptions { folder, plan, listen, threads, allow_private } = options;
        check_place(&plan, &folder.founder()?)?;
        let storage = folder.ceremony(&plan);
        if folder.network_file().exists() {
            if !plan.made(&folder.network()?) {
                return Err(FoundError::OtherNetwork { path: folder.path().to_owned() });
            }
            if !storage.exists() {
                return Ok(Self { folder, ceremony: None });
            }
        }
        // The library would stop with a panic.
        TcpListener::bind(listen).map_err(|source| FoundError::Listen { listen, source })?;
        fs::create_dir_all(&storage).map_err(at(&storage))?;
        restrict(&storage).map_err(at(&storage))?;
        let identity = folder.identity()?;
        let ceremony = Ceremony::start(Options {
            signer: identity.signer().clone(),
            founders: plan.addresses().to_vec(),
            plan: plan.hash(),
            absent_max: plan.absent_max(),
            folder: storage,
            listen,
            threads,
            allow_private,
            recorder: Arc::new(Keep { folder: folder.clone(), plan, identity }),
        })?;
        Ok(Self { folder, ceremony: Some(ceremony) })
    }

    /// How far the founders are, while the ceremony goes on; none if all have ended.
    #[must_use]
    pub fn progress(&self) -> Option<watch::Receiver<Option<Progress>>> {
        self.ceremony.as_ref().map(Ceremony::progress)
    }

    /// Ends this founder's part. Whether all founders have ended, so that nobody needs it any more. This may block.
    ///
    /// # Errors
    /// [`FoundError::Failed`], and trouble with the folder.
    pub fn end(self) -> Result<bool, FoundError> {
        let ended = self.ceremony.map_or(Ok(()), Ceremony::stop);
        match ended {
            Ok(()) => {
                self.folder.forget_founding()?;
                Ok(true)
            }
            Err(Failed::Asked | Failed::Alone) if self.folder.network_file().exists() => Ok(false),
            Err(failed) => Err(failed.into()),
        }
    }
}

/// Checks that the plan has the founder as it described itself: the plan's author may have changed it.
fn check_place(plan: &Plan, founder: &FounderFile) -> Result<(), FoundError> {
    let Some(found) = plan.founders().iter().find(|node| node.node_id == founder.node_id) else {
        return Err(FoundError::NotInPlan { node: hex::encode(founder.node_id) });
    };
    let pairs = [
        ("chain id", founder.chain_id.to_string(), plan.genesis().chain_id().to_string()),
        ("operator", founder.operator.to_string(), found.operator.to_string()),
        ("address", founder.endpoint.clone(), found.endpoint.clone()),
    ];
    match pairs.into_iter().find(|(_, expected, found)| expected != found) {
        Some((what, expected, found)) => Err(FoundError::Changed { what, expected, found }),
        None => Ok(()),
    }
}
