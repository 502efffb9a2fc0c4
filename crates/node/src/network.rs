//! The file that says what a network is, and networks for development.

use std::{net::SocketAddr, num::NonZeroU64, sync::Arc, time::Duration};

use alloy_genesis::GenesisAccount;
use alloy_primitives::{Address, B256, Bytes, FixedBytes, U256};
use alloy_signer_local::{MnemonicBuilder, coins_bip39::English};
use serde::{Deserialize, Serialize};
use veracity_chain::{Genesis, GenesisError, GenesisNode, Parameter, Role};
use veracity_validator::{FirstEpoch, Identity, KeyError, deal};

/// What a network is: block 0 with its state, and the validators that it begins with. All nodes have the same file.
#[derive(Debug, Clone)]
pub struct Network {
    file: NetworkFile,
    genesis: Arc<veracity_consensus::Genesis>,
    epoch: FirstEpoch,
    epoch_blocks: NonZeroU64,
    heartbeat: Duration,
}

/// The file's format (docs/spec/consensus.md, section 7).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NetworkFile {
    version: u32,
    /// The first epoch: validators, their addresses, and the public part of the network's key.
    epoch: Bytes,
    /// Geth's format, with parameters and nodes under `config.veracity`.
    genesis: serde_json::Value,
}

const VERSION: u32 = 1;

/// Why a file is no network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// It is not JSON of the format.
    #[error("not a network file: {0}")]
    Json(#[from] serde_json::Error),
    /// It is of a later version.
    #[error(
        "the network file has version {found}, this program reads version {VERSION}: use a newer program"
    )]
    Version {
        /// The file's.
        found: u32,
    },
    /// Its genesis is invalid.
    #[error("genesis: {0}")]
    Genesis(Box<GenesisError>),
    /// Its first epoch is invalid, or a key for it.
    #[error("first epoch: {0}")]
    Key(#[from] KeyError),
}

impl From<GenesisError> for NetworkError {
    fn from(error: GenesisError) -> Self {
        Self::Genesis(Box::new(error))
    }
}

impl Network {
    /// Reads a network file.
    ///
    /// # Errors
    /// [`NetworkError`].
    pub fn from_json(text: &str) -> Result<Self, NetworkError> {
        let file: NetworkFile = serde_json::from_str(text)?;
        if file.version != VERSION {
            return Err(NetworkError::Version { found: file.version });
        }
        let genesis = Genesis::from_json(&file.genesis.to_string())?;
        Self::assemble(file, &genesis)
    }

    pub(crate) fn new(genesis: &Genesis, epoch: &FirstEpoch) -> Result<Self, NetworkError> {
        let file = NetworkFile {
            version: VERSION,
            epoch: epoch.encode().into(),
            genesis: serde_json::from_str(&genesis.to_json())?,
        };
        Self::assemble(file, genesis)
    }

    fn assemble(file: NetworkFile, genesis: &Genesis) -> Result<Self, NetworkError> {
        let epoch = FirstEpoch::decode(&file.epoch)?;
        let built = genesis.build()?;
        let epoch_blocks = NonZeroU64::new(built.state.epoch_blocks()).unwrap_or(NonZeroU64::MIN);
        let heartbeat = Duration::from_millis(built.state.heartbeat_ms());
        let info = epoch.info().clone();
        let genesis = veracity_consensus::Genesis::new(genesis.chain_id(), built.changes, built.block, info);
        let genesis = Arc::new(genesis.expect("a genesis that was built brings its code"));
        Ok(Self { file, genesis, epoch, epoch_blocks, heartbeat })
    }

    /// The file that [`Network::from_json`] reads.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(&self.file).expect("all keys are strings")
    }

    /// Hash of block 0, which names the network.
    #[must_use]
    pub fn hash(&self) -> B256 {
        self.genesis.hash()
    }

    /// Chain that transactions are signed for.
    #[must_use]
    pub fn chain_id(&self) -> u64 {
        self.genesis.chain_id()
    }

    /// The key that certificates verify against.
    #[must_use]
    pub fn key(&self) -> FixedBytes<96> {
        self.epoch.network_key().into()
    }

    pub(crate) fn genesis(&self) -> &Arc<veracity_consensus::Genesis> {
        &self.genesis
    }

    /// The first epoch.
    #[must_use]
    pub fn epoch(&self) -> &FirstEpoch {
        &self.epoch
    }

    pub(crate) fn epoch_blocks(&self) -> NonZeroU64 {
        self.epoch_blocks
    }

    pub(crate) fn heartbeat(&self) -> Duration {
        self.heartbeat
    }
}

/// The phrase that accounts for development come from, the one that Ethereum's tools use. Everybody knows it.
pub const DEV_MNEMONIC: &str = "test test test test test test test test test test test junk";

/// An account for development.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevAccount {
    /// Its address.
    pub address: Address,
    /// Its private key, which everybody knows.
    pub key: B256,
}

/// The first accounts of [`DEV_MNEMONIC`], at Ethereum's derivation path.
///
/// # Panics
/// Never: the phrase is valid.
#[must_use]
pub fn dev_accounts(first: u32, count: u32) -> Vec<DevAccount> {
    let account = |index| {
        let builder = MnemonicBuilder::<English>::default().phrase(DEV_MNEMONIC).index(index);
        let signer = builder.and_then(|builder| builder.build()).expect("the phrase is valid");
        DevAccount { address: signer.address(), key: signer.to_bytes() }
    };
    (first..first + count).map(account).collect()
}

/// The account that gives money away on networks for development.
#[must_use]
pub fn faucet_account() -> DevAccount {
    dev_accounts(FAUCET, 1).remove(0)
}

/// A network for development.
#[derive(Debug, Clone)]
pub struct DevPlan {
    /// Chain that transactions are signed for.
    pub chain_id: u64,
    /// Where its validators listen.
    pub validators: Vec<SocketAddr>,
    /// Number of accounts with money.
    pub accounts: u32,
    /// Parameters that differ from the usual.
    pub parameters: Vec<(Parameter, u128)>,
    /// Seconds since 1970 at which it begins.
    pub time: u64,
}

/// A validator of a new network, with what only it may know.
#[derive(Debug, Clone)]
pub struct Founder {
    /// Seed of its key.
    pub seed: [u8; 32],
    /// Its share of the network's key.
    pub share: Vec<u8>,
    /// Who owns its bond.
    pub operator: DevAccount,
    /// Where it listens.
    pub listen: SocketAddr,
}

/// Operators of providers, on networks for development.
const PROVIDERS_FIRST: u32 = 100;
/// How many providers of a network for development have money from the beginning.
pub const DEV_PROVIDERS: u32 = 32;

/// The account of an operator of providers, which has 1,000,000 VER on networks for development; `index` is below
/// [`DEV_PROVIDERS`]. Each has its own, so that transactions of different processes do not wait for each other.
///
/// # Panics
/// Never: there is one account.
#[must_use]
pub fn dev_provider(index: u32) -> DevAccount {
    dev_accounts(PROVIDERS_FIRST + index, 1).remove(0)
}

/// The accounts that operate nodes on networks for development: those of providers, and of as many validators as there may
/// be.
pub fn dev_operators() -> impl Iterator<Item = DevAccount> {
    let validators = u32::try_from(DEV_VALIDATORS_MAX).unwrap_or(u32::MAX);
    let places = (PROVIDERS_FIRST..PROVIDERS_FIRST + DEV_PROVIDERS)
        .chain(OPERATORS_FIRST..OPERATORS_FIRST + validators);
    places.map(|place| dev_accounts(place, 1).remove(0))
}

/// A new network.
#[derive(Debug, Clone)]
pub struct Created {
    /// The network.
    pub network: Network,
    /// Its validators, in the order of the plan.
    pub founders: Vec<Founder>,
    /// Accounts with money.
    pub accounts: Vec<DevAccount>,
}

/// Most validators of a network for development, for which each keeps room.
const DEV_VALIDATORS_MAX: u128 = 16;
/// Place of the faucet's account.
const FAUCET: u32 = 2000;
/// Operators of dev validators follow after the accounts for users.
const OPERATORS_FIRST: u32 = 1000;

impl DevPlan {
    /// Makes the network. All of it lies on one machine for a moment, which is fine for development only.
    ///
    /// # Errors
    /// [`NetworkError`] if the plan has no network.
    ///
    /// # Panics
    /// If the operating system gives no random numbers.
    pub fn create(&self) -> Result<Created, NetworkError> {
        let seeds: Vec<[u8; 32]> = self.validators.iter().map(|_| random()).collect();
        let identities: Vec<Identity> = seeds.iter().map(|seed| Identity::from_seed(*seed)).collect();
        let members: Vec<_> =
            identities.iter().zip(&self.validators).map(|(id, listen)| (id.public_key(), *listen)).collect();
        let dealt = deal(&members)?;
        let accounts = dev_accounts(0, self.accounts);
        let count = u32::try_from(members.len()).unwrap_or(u32::MAX);
        let operators = dev_accounts(OPERATORS_FIRST, count);
        let providers = dev_accounts(PROVIDERS_FIRST, DEV_PROVIDERS);

        let mut genesis = Genesis::default();
        genesis.parameters.insert(Parameter::ValidatorsMax, DEV_VALIDATORS_MAX.max(count.into()));
        genesis.parameters.extend(self.parameters.iter().copied());
        genesis.ethereum.config.chain_id = self.chain_id;
        genesis.ethereum.timestamp = self.time;
        let gas_limit = genesis.parameters.get(&Parameter::GasLimitTarget).copied();
        let gas_limit = gas_limit.unwrap_or(Parameter::GasLimitTarget.genesis());
        genesis.ethereum.gas_limit = u64::try_from(gas_limit).unwrap_or(u64::MAX);
        let ether = U256::from(10).pow(U256::from(18));
        let rich = |amount: u64| GenesisAccount::default().with_balance(U256::from(amount) * ether);
        genesis.ethereum.alloc.extend(accounts.iter().map(|account| (account.address, rich(10_000))));
        let rich_ones = operators.iter().chain(&providers);
        genesis.ethereum.alloc.extend(rich_ones.map(|account| (account.address, rich(1_000_000))));
        genesis.ethereum.alloc.insert(faucet_account().address, rich(10_000_000_000));
        for ((identity, operator), listen) in identities.iter().zip(&operators).zip(&self.validators) {
            genesis.nodes.push(GenesisNode {
                node_id: identity.public_key().into(),
                operator: operator.address,
                roles: [Role::Validator].into(),
                endpoint: listen.to_string(),
                bond: U256::from(10_000) * ether,
                proof: identity.bind_operator(self.chain_id, operator.address).into(),
            });
        }
        let network = Network::new(&genesis, &dealt.epoch)?;
        let founder = |((seed, operator), listen): ((&[u8; 32], &DevAccount), &SocketAddr)| {
            let share = dealt.shares[&Identity::from_seed(*seed).public_key()].clone();
            Founder { seed: *seed, share, operator: operator.clone(), listen: *listen }
        };
        let founders = seeds.iter().zip(&operators).zip(&self.validators).map(founder).collect();
        Ok(Created { network, founders, accounts })
    }
}

/// 32 random bytes of the operating system.
pub(crate) fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("the operating system gives random numbers");
    bytes
}
