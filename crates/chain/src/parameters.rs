//! The numbers of the chain, which the contract Parameters keeps (docs/spec/contracts.md, section 4).

use alloy_primitives::{Address, U256, address, keccak256};

use crate::State;

/// Address of the contract Parameters.
pub const PARAMETERS: Address = address!("0x0000000000000000000000000000000000005e02");

/// Slot of the word that keeps what `validators_max` was at genesis, which no vote exceeds.
pub(crate) const GENESIS_VALIDATORS_MAX_SLOT: U256 = U256::from_limbs([4, 0, 0, 0]);

macro_rules! parameters {
    ($($(#[$doc:meta])* $variant:ident $name:literal $min:literal..=$max:literal, $genesis:literal;)*) => {
        /// A number of the chain. Votes of validators change most of them within their ranges.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Parameter { $($(#[$doc])* $variant,)* }

        impl Parameter {
            /// All of them, in the order of the specification.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name in the contract and in genesis files; the unit comes last.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Smallest and largest value that it can have; none is zero.
            #[must_use]
            pub const fn range(self) -> (u128, u128) {
                match self { $(Self::$variant => ($min, $max),)* }
            }

            /// Its value at genesis, unless the genesis file gives another.
            #[must_use]
            pub const fn genesis(self) -> u128 {
                match self { $(Self::$variant => $genesis,)* }
            }
        }
    };
}

parameters! {
    /// Gas limit that blocks move to.
    GasLimitTarget "gas_limit_target" 30_000_000..=1_000_000_000, 200_000_000;
    /// Wei per gas below which the base fee does not fall.
    BaseFeeMinWei "base_fee_min_wei" 8..=1_000_000_000_000, 1_000_000_000;
    /// Smallest bond of a validator.
    BondMinValidatorWei "bond_min_validator_wei"
        1_000_000_000_000_000..=1_000_000_000_000_000_000_000_000_000, 10_000_000_000_000_000_000_000;
    /// Smallest bond of a worker.
    BondMinWorkerWei "bond_min_worker_wei"
        1_000_000_000_000_000..=1_000_000_000_000_000_000_000_000_000, 1_000_000_000_000_000_000_000;
    /// Smallest bond of a host.
    BondMinHostWei "bond_min_host_wei"
        1_000_000_000_000_000..=1_000_000_000_000_000_000_000_000_000, 100_000_000_000_000_000_000;
    /// Smallest bond of a gateway.
    BondMinGatewayWei "bond_min_gateway_wei"
        1_000_000_000_000_000..=1_000_000_000_000_000_000_000_000_000, 100_000_000_000_000_000_000;
    /// How long roles and money answer for a node after it has given them up.
    UnbondDelayS "unbond_delay_s" 60..=7_776_000, 604_800;
    /// Length of an epoch; no vote changes it.
    EpochBlocks "epoch_blocks" 8..=1_000_000, 3600;
    /// Most validators; votes can lower it, and raise it up to what it was at genesis.
    ValidatorsMax "validators_max" 1..=128, 64;
    /// How many hosts a model should have.
    HostsPerModel "hosts_per_model" 1..=32, 3;
    /// Longest pause between blocks when nothing happens; no vote changes it.
    HeartbeatMs "heartbeat_ms" 200..=60_000, 1000;
    /// Time between a vote and its effect.
    GovernanceDelayS "governance_delay_s" 86_400..=2_592_000, 259_200;
    /// How long a proposal can be voted on before it is queued.
    ProposalPeriodS "proposal_period_s" 86_400..=5_184_000, 1_209_600;
}

impl Parameter {
    /// The parameter of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|parameter| parameter.name() == name)
    }

    /// Storage slot of its value.
    #[must_use]
    pub fn slot(self) -> U256 {
        let mut key = [0; 64];
        key[..self.name().len()].copy_from_slice(self.name().as_bytes());
        keccak256(key).into()
    }
}

impl State {
    /// The value of a parameter; none on a chain without the contract.
    #[must_use]
    pub fn parameter(&self, parameter: Parameter) -> Option<u128> {
        let value = self.slot(PARAMETERS, parameter.slot());
        (!value.is_zero()).then(|| value.saturating_to())
    }

    /// Longest pause between blocks when nothing happens, in milliseconds.
    #[must_use]
    pub fn heartbeat_ms(&self) -> u64 {
        self.parameter_or_genesis(Parameter::HeartbeatMs)
    }

    /// Length of an epoch.
    #[must_use]
    pub fn epoch_blocks(&self) -> u64 {
        self.parameter_or_genesis(Parameter::EpochBlocks)
    }

    /// Most validators.
    #[must_use]
    pub fn validators_max(&self) -> u64 {
        self.parameter_or_genesis(Parameter::ValidatorsMax)
    }

    fn parameter_or_genesis(&self, parameter: Parameter) -> u64 {
        saturating(self.parameter(parameter).unwrap_or(parameter.genesis()))
    }
}

pub(crate) fn saturating(value: u128) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}
