//! What the founders of a network agree on before they make its key (docs/spec/founding.md, sections 2 and 3).

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use alloy_genesis::GenesisAccount;
use alloy_primitives::{Address, B256, FixedBytes, U256};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use veracity_chain::{Genesis, GenesisError, GenesisNode, Parameter, Role};
use veracity_consensus::VALIDATORS_MAX;
use veracity_validator::{FirstEpoch, Identity};

use crate::{Network, NetworkError};

/// Who a founder is, as it tells those who write the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FounderFile {
    version: u32,
    /// Chain that the proof is for.
    pub chain_id: u64,
    /// Key of its node.
    pub node_id: B256,
    /// Who will own its bond and speak for it.
    pub operator: Address,
    /// Where the other founders reach it.
    pub endpoint: String,
    /// The node's signature over the operator's binding message.
    pub proof: FixedBytes<64>,
}

const VERSION: u32 = 1;

/// Why a file says nothing about a founder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FounderError {
    /// It is not JSON of the format.
    #[error("not a founder file: {0}")]
    Json(#[from] serde_json::Error),
    /// It is of another version.
    #[error(
        "the founder file has version {found}, this program reads version {VERSION}: use the same program"
    )]
    Version {
        /// The file's.
        found: u32,
    },
}

impl FounderFile {
    /// Says that a node founds a network with this chain id, for an operator.
    #[must_use]
    pub fn new(identity: &Identity, chain_id: u64, operator: Address, endpoint: SocketAddr) -> Self {
        Self {
            version: VERSION,
            chain_id,
            node_id: identity.public_key().into(),
            operator,
            endpoint: endpoint.to_string(),
            proof: identity.bind_operator(chain_id, operator).into(),
        }
    }

    /// Reads a founder file. Its proof is checked when it is in a plan.
    ///
    /// # Errors
    /// [`FounderError`].
    pub fn from_json(text: &str) -> Result<Self, FounderError> {
        let file: Self = serde_json::from_str(text)?;
        match file.version {
            VERSION => Ok(file),
            found => Err(FounderError::Version { found }),
        }
    }

    /// The file that [`Self::from_json`] reads.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("all keys are strings")
    }
}

/// What somebody chooses for a network when he puts a plan together.
#[derive(Debug, Clone)]
pub struct PlanDraft {
    /// Chain that transactions are signed for.
    pub chain_id: u64,
    /// Seconds since 1970 at which it begins.
    pub time: u64,
    /// Its founders.
    pub founders: Vec<FounderFile>,
    /// What each founder bonds, in wei, which its operator gets in the first block.
    pub bond: U256,
    /// What accounts have in the first block beside that, in wei.
    pub allocations: BTreeMap<Address, U256>,
    /// Parameters that differ from the usual.
    pub parameters: BTreeMap<Parameter, u128>,
    /// How many founders may be absent.
    pub absent_max: u32,
}

/// What the founders of a network agree on: all about it but its key.
#[derive(Debug, Clone)]
pub struct Plan {
    genesis: Genesis,
    absent_max: u32,
    founders: Vec<GenesisNode>,
    addresses: Vec<(B256, SocketAddr)>,
    file: Value,
}

/// The file's format.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PlanFile {
    version: u32,
    absent_max: u32,
    genesis: Value,
}

/// Why a plan is none.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// It is not JSON of the format.
    #[error("not a plan: {0}")]
    Json(#[from] serde_json::Error),
    /// It is of another version.
    #[error(
        "the plan has version {found}, this program reads version {VERSION}: use the program that wrote it"
    )]
    Version {
        /// The file's.
        found: u32,
    },
    /// A founder's proof is for another chain.
    #[error(
        "founder {node_id} is for chain {found}, the plan for chain {expected}: let it prepare for this chain"
    )]
    Chain {
        /// Its key.
        node_id: B256,
        /// The plan's chain.
        expected: u64,
        /// The founder's.
        found: u64,
    },
    /// The first block is invalid.
    #[error("genesis: {0}")]
    Genesis(Box<GenesisError>),
    /// There are too few founders to make a key together.
    #[error("a plan needs two founders or more, not {count}")]
    TooFew {
        /// How many there are.
        count: usize,
    },
    /// There are more founders than validators.
    #[error("a network with this plan has at most {count_max} validators, not {count}")]
    TooMany {
        /// How many there are.
        count: usize,
        /// How many there may be.
        count_max: u64,
    },
    /// A founder cannot be reached.
    #[error(
        "founder {node_id} cannot be reached at {endpoint:?}: it must be an IP address and a port, such as 203.0.113.7:30303"
    )]
    Endpoint {
        /// Its key.
        node_id: B256,
        /// What was given.
        endpoint: String,
    },
    /// Two founders have one address.
    #[error("two founders are to be reached at {endpoint}")]
    SameEndpoint {
        /// The address.
        endpoint: SocketAddr,
    },
    /// More founders may be absent than may be faulty.
    #[error("of {founders} founders at most {count_max} may be absent, not {count}")]
    Absent {
        /// How many founders there are.
        founders: usize,
        /// How many may be absent.
        count_max: usize,
        /// How many the plan says.
        count: u32,
    },
}

impl From<GenesisError> for PlanError {
    fn from(error: GenesisError) -> Self {
        Self::Genesis(Box::new(error))
    }
}

/// How many of so many validators may be faulty.
#[must_use]
pub fn faulty_max(validators: usize) -> usize {
    validators.saturating_sub(1) / 3
}

impl PlanDraft {
    /// The plan. It does not depend on the order of the founders.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn create(&self) -> Result<Plan, PlanError> {
        let mut genesis = Genesis { parameters: self.parameters.clone(), ..Genesis::default() };
        genesis.ethereum.config.chain_id = self.chain_id;
        genesis.ethereum.timestamp = self.time;
        let gas_limit = genesis.parameters.get(&Parameter::GasLimitTarget).copied();
        let gas_limit = gas_limit.unwrap_or(Parameter::GasLimitTarget.genesis());
        genesis.ethereum.gas_limit = u64::try_from(gas_limit).unwrap_or(u64::MAX);
        let mut balances = self.allocations.clone();
        let mut founders = self.founders.clone();
        founders.sort_by_key(|founder| founder.node_id);
        for founder in founders {
            let FounderFile { chain_id, node_id, operator, endpoint, proof, .. } = founder;
            if chain_id != self.chain_id {
                return Err(PlanError::Chain { node_id, expected: self.chain_id, found: chain_id });
            }
            let balance = balances.entry(operator).or_default();
            *balance = balance.saturating_add(self.bond);
            let roles = [Role::Validator].into();
            genesis.nodes.push(GenesisNode { node_id, operator, roles, endpoint, bond: self.bond, proof });
        }
        let account = |(address, balance)| (address, GenesisAccount::default().with_balance(balance));
        genesis.ethereum.alloc.extend(balances.into_iter().map(account));
        Plan::new(genesis, self.absent_max)
    }
}

impl Plan {
    /// Checks a plan.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn new(genesis: Genesis, absent_max: u32) -> Result<Self, PlanError> {
        let built = genesis.build()?;
        let is_founder = |node: &&GenesisNode| node.roles.contains(&Role::Validator);
        let founders: Vec<GenesisNode> = genesis.nodes.iter().filter(is_founder).cloned().collect();
        let count = founders.len();
        if count < 2 {
            return Err(PlanError::TooFew { count });
        }
        let count_max = built.state.validators_max().min(VALIDATORS_MAX.get().into());
        if u64::try_from(count).unwrap_or(u64::MAX) > count_max {
            return Err(PlanError::TooMany { count, count_max });
        }
        let addresses = addresses(&founders)?;
        let absent = usize::try_from(absent_max).unwrap_or(usize::MAX);
        if absent > faulty_max(count) {
            let count_max = faulty_max(count);
            return Err(PlanError::Absent { founders: count, count_max, count: absent_max });
        }
        let file =
            PlanFile { version: VERSION, absent_max, genesis: serde_json::from_str(&genesis.to_json())? };
        Ok(Self { genesis, absent_max, founders, addresses, file: serde_json::to_value(file)? })
    }

    /// Reads a plan.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn from_json(text: &str) -> Result<Self, PlanError> {
        let file: PlanFile = serde_json::from_str(text)?;
        if file.version != VERSION {
            return Err(PlanError::Version { found: file.version });
        }
        Self::new(Genesis::from_json(&file.genesis.to_string())?, file.absent_max)
    }

    /// The file that [`Self::from_json`] reads.
    #[must_use]
    pub fn to_json(&self) -> String {
        format!("{:#}\n", self.file)
    }

    /// What names the plan: founders with the same hash make the same network.
    #[must_use]
    pub fn hash(&self) -> B256 {
        let mut text = String::new();
        write_canonical(&self.file, &mut text);
        B256::new(blake3::derive_key(HASH_DOMAIN, text.as_bytes()))
    }

    /// What the network begins with.
    #[must_use]
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// How many founders may be absent when the key is made.
    #[must_use]
    pub fn absent_max(&self) -> u32 {
        self.absent_max
    }

    /// The founders, in the order in which they are registered.
    #[must_use]
    pub fn founders(&self) -> &[GenesisNode] {
        &self.founders
    }

    /// The keys of the founders, and where they are reached.
    #[must_use]
    pub fn addresses(&self) -> &[(B256, SocketAddr)] {
        &self.addresses
    }

    /// The network that begins with this epoch.
    ///
    /// # Errors
    /// [`NetworkError`].
    pub(crate) fn network(&self, epoch: &FirstEpoch) -> Result<Network, NetworkError> {
        Network::new(&self.genesis, epoch)
    }

    /// Whether a network is one that this plan makes, with some key.
    pub(crate) fn made(&self, network: &Network) -> bool {
        let founders: BTreeSet<B256> = self.founders.iter().map(|founder| founder.node_id).collect();
        let validators: BTreeSet<B256> = network.epoch().validators().into_iter().map(B256::from).collect();
        let is_same = |ours: Network| ours.to_json() == network.to_json();
        founders == validators && self.network(network.epoch()).is_ok_and(is_same)
    }
}

const HASH_DOMAIN: &str = "veracity founding plan v1";

/// JSON without white space, the members of objects sorted by name. Written here, because the order that the library gives
/// depends on how it was compiled.
fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(members) => {
            let sorted: BTreeMap<&String, &Value> = members.iter().collect();
            out.push('{');
            for (index, (name, value)) in sorted.into_iter().enumerate() {
                out.push_str(if index == 0 { "" } else { "," });
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push(':');
                write_canonical(value, out);
            }
            out.push('}');
        }
        Value::Array(values) => {
            out.push('[');
            for (index, value) in values.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { "," });
                write_canonical(value, out);
            }
            out.push(']');
        }
        plain => out.push_str(&plain.to_string()),
    }
}

fn addresses(founders: &[GenesisNode]) -> Result<Vec<(B256, SocketAddr)>, PlanError> {
    let mut seen = BTreeSet::new();
    let address = |founder: &GenesisNode| {
        let GenesisNode { node_id, endpoint, .. } = founder;
        let address = endpoint.parse().ok().filter(|address: &SocketAddr| {
            // The scope of an IPv6 address counts for nothing on the network, so it may not be here.
            let is_usable =
                address.port() != 0 && !address.ip().is_unspecified() && !address.ip().is_multicast();
            is_usable && SocketAddr::new(address.ip(), address.port()).to_string() == *endpoint
        });
        let Some(address) = address else {
            return Err(PlanError::Endpoint { node_id: *node_id, endpoint: endpoint.clone() });
        };
        match seen.insert(address) {
            true => Ok((*node_id, address)),
            false => Err(PlanError::SameEndpoint { endpoint: address }),
        }
    };
    founders.iter().map(address).collect()
}
