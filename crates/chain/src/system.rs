//! The system contracts as the node sees them: what it writes, what it reads (docs/spec/contracts.md).

use alloy_consensus::Header;
use alloy_primitives::{Address, B256, Bytes, U256, address, keccak256};
use alloy_rpc_types_eth::TransactionRequest;
use alloy_sol_types::SolCall;

use crate::{
    BlockContext, Call, CallEnd, Change, NoContract, PARAMETERS, RegisterError, State, call, slot_hash,
};

/// Nodes, their bonds and roles, and the election of validators.
pub const STAKE: Address = address!("0x0000000000000000000000000000000000005e01");
/// Names of models, and who hosts them.
pub const MODELS: Address = address!("0x0000000000000000000000000000000000005e03");
/// Anchored batches of receipts.
pub const RECEIPTS: Address = address!("0x0000000000000000000000000000000000005e04");
/// Random values of past blocks.
pub const RANDOMNESS: Address = address!("0x0000000000000000000000000000000000005e05");

/// Addresses of the system contracts.
pub const SYSTEM: [Address; 5] = [STAKE, PARAMETERS, MODELS, RECEIPTS, RANDOMNESS];

/// How many values the contract Randomness keeps.
const RANDOMNESS_WINDOW: u64 = 8192;

/// Most gas of a read: many times what the dearest needs (section 11).
const READ_GAS_MAX: u64 = 1 << 24;

/// What the key of a node signs to bind it to an operator begins with this, after its length.
pub const BINDING_NAMESPACE: &[u8; 28] = b"veracity operator binding v1";

pub(crate) mod abi {
    alloy_sol_types::sol! {
        interface Stake {
            error AlreadyRegistered(bytes32 nodeId, address operator);
            error BadRoles(uint256 roles);
            error BadProof(bytes32 nodeId, address operator);
            error EndpointTooLong(uint256 length);
            error BadEndpoint(uint256 position);
            error BondTooLow(uint256 required, uint256 bonded);
            error BondTooHigh(uint256 bonded);
            error BondBelowCandidates(uint256 lowest, uint256 bonded);

            function register(bytes32 nodeId, uint8 roles, string endpoint, bytes proof) external payable;
            function validators(uint256 max) external view returns (bytes32[] ids, uint256[] bonds);
            function operatorOf(bytes32 nodeId) external view returns (address operator);
            function endpointOf(bytes32 nodeId) external view returns (string endpoint);
            function hasRole(bytes32 nodeId, uint8 roles) external view returns (bool held);
            function isBonded(bytes32 nodeId, uint8 roles) external view returns (bool bonded);
        }
        interface Receipts {
            function nextSequence(bytes32 nodeId) external view returns (uint64 sequence);
        }
    }
}

impl From<abi::Stake::StakeErrors> for RegisterError {
    fn from(error: abi::Stake::StakeErrors) -> Self {
        use abi::Stake::StakeErrors as E;
        match error {
            E::AlreadyRegistered(e) => Self::AlreadyRegistered { operator: e.operator },
            E::BadRoles(_) => Self::NoRole,
            E::BadProof(e) => Self::BadProof { operator: e.operator },
            E::EndpointTooLong(e) => Self::EndpointTooLong { length: e.length },
            E::BadEndpoint(e) => Self::BadEndpoint { position: e.position },
            E::BondTooLow(e) => Self::BondTooLow { needed: e.required, bond: e.bonded },
            E::BondTooHigh(e) => Self::BondTooHigh { bond: e.bonded },
            E::BondBelowCandidates(e) => Self::BondBelowCandidates { lowest: e.lowest, bond: e.bonded },
        }
    }
}

/// What a node does for the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Role {
    /// Takes part in consensus.
    Validator = 1,
    /// Runs models and signs receipts.
    Worker = 2,
    /// Keeps and serves models.
    Host = 4,
    /// Serves clients over HTTP.
    Gateway = 8,
}

/// The mask that the contracts know `roles` by.
pub(crate) fn mask(roles: impl IntoIterator<Item = Role>) -> u8 {
    roles.into_iter().fold(0, |mask, role| mask | role as u8)
}

/// What a node's key signs under [`BINDING_NAMESPACE`] so that `operator` can register it on this chain: the chain id and
/// the operator.
#[must_use]
pub fn binding(chain_id: u64, operator: Address) -> [u8; 52] {
    let mut message = [0; 52];
    message[24..32].copy_from_slice(&chain_id.to_be_bytes());
    message[32..].copy_from_slice(operator.as_slice());
    message
}

/// All bytes that are signed for [`binding`]: length of the namespace, namespace, chain id, operator.
#[must_use]
pub fn binding_message(chain_id: u64, operator: Address) -> [u8; 81] {
    let mut message = [0; 81];
    message[0] = 28;
    message[1..29].copy_from_slice(BINDING_NAMESPACE);
    message[29..].copy_from_slice(&binding(chain_id, operator));
    message
}

/// The random value of the parent goes into the contract Randomness, if the chain has it (section 7).
pub(crate) fn remember_random(parent: &State, at: &BlockContext) -> Vec<Change> {
    // The genesis block has no value: no round decided it.
    let Some(height) = at.number.checked_sub(1).filter(|height| *height > 0) else { return vec![] };
    if parent.account(RANDOMNESS).is_none_or(|account| account.code.is_none()) {
        return vec![];
    }
    let (contract, place) = (keccak256(RANDOMNESS), height % RANDOMNESS_WINDOW);
    let words = [(place, at.random.into()), (RANDOMNESS_WINDOW + place, U256::from(height))];
    words.map(|(slot, value)| Change::Slot(contract, slot_hash(U256::from(slot)), value)).to_vec()
}

/// An elected validator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validator {
    /// Its Ed25519 key.
    pub node_id: B256,
    /// What it has bonded, in wei.
    pub bond_wei: u128,
    /// Where it is reached: at most 256 graphic ASCII characters, which nobody has checked further. May be empty.
    pub endpoint: String,
}

/// Reads the system contracts in the state after one block.
///
/// Every function runs the contract's code, so it costs as much as a call, and is wrong only if the contract is. On a
/// chain without system contracts all answer [`NoContract`].
#[derive(Debug, Clone, Copy)]
pub struct System<'a> {
    state: &'a State,
    at: BlockContext,
}

impl<'a> System<'a> {
    /// Reads in `state`, which is that after the block of `header`, at its time.
    #[must_use]
    pub fn new(state: &'a State, header: &Header, chain_id: u64) -> Self {
        Self { state, at: BlockContext::of(header, chain_id) }
    }

    /// The elected validators, highest bond first, at most `count_max`.
    ///
    /// # Errors
    /// [`NoContract`].
    pub fn validators(&self, count_max: u64) -> Result<Vec<Validator>, NoContract> {
        let elected = self.read(STAKE, &abi::Stake::validatorsCall { max: U256::from(count_max) })?;
        let validator = |(node_id, bond): (B256, U256)| {
            let endpoint = self.endpoint(node_id)?;
            Ok(Validator { node_id, bond_wei: bond.saturating_to(), endpoint })
        };
        elected.ids.into_iter().zip(elected.bonds).map(validator).collect()
    }

    /// Who speaks for a node; none if it is not registered.
    ///
    /// # Errors
    /// [`NoContract`].
    pub fn operator(&self, node_id: B256) -> Result<Option<Address>, NoContract> {
        let operator = self.read(STAKE, &abi::Stake::operatorOfCall { nodeId: node_id })?;
        Ok(Some(operator).filter(|operator| !operator.is_zero()))
    }

    /// Where a node is reached; empty if it does not say or is not registered.
    ///
    /// # Errors
    /// [`NoContract`].
    pub fn endpoint(&self, node_id: B256) -> Result<String, NoContract> {
        self.read(STAKE, &abi::Stake::endpointOfCall { nodeId: node_id })
    }

    /// Whether a node offers `role` with enough bond for everything that it offers.
    ///
    /// # Errors
    /// [`NoContract`].
    pub fn has_role(&self, node_id: B256, role: Role) -> Result<bool, NoContract> {
        self.read(STAKE, &abi::Stake::hasRoleCall { nodeId: node_id, roles: role as u8 })
    }

    /// Whether a node's money answers for it in `role`: it has the role, or left it less than `unbond_delay_s` ago.
    ///
    /// # Errors
    /// [`NoContract`].
    pub fn is_bonded(&self, node_id: B256, role: Role) -> Result<bool, NoContract> {
        self.read(STAKE, &abi::Stake::isBondedCall { nodeId: node_id, roles: role as u8 })
    }

    /// Sequence of the next receipt that an executor anchors; all below are anchored.
    ///
    /// # Errors
    /// [`NoContract`].
    pub fn next_sequence(&self, node_id: B256) -> Result<u64, NoContract> {
        self.read(RECEIPTS, &abi::Receipts::nextSequenceCall { nodeId: node_id })
    }

    fn read<C: SolCall>(&self, address: Address, function: &C) -> Result<C::Return, NoContract> {
        if self.state.account(address).is_none_or(|account| account.code.is_none()) {
            return Err(NoContract { address });
        }
        let request =
            TransactionRequest::default().to(address).input(Bytes::from(function.abi_encode()).into());
        let answer = call(self.state, &self.at, &Call { request, gas_max: READ_GAS_MAX, ..Call::default() });
        // The code is ours: a view that fails is our mistake.
        match answer.map(|answer| answer.end) {
            Ok(CallEnd::Returned(output)) => Ok(C::abi_decode_returns(&output)
                .unwrap_or_else(|error| panic!("the answer of {} has another form: {error}", C::SIGNATURE))),
            failed => {
                panic!("the system contract at {address} gives no answer to {}: {failed:?}", C::SIGNATURE)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use alloy_sol_types::SolInterface as _;
    use serde_json::Value;

    use super::*;
    use crate::artifacts;

    fn artifact(name: &str) -> Value {
        let path = format!("{}/../../contracts/artifacts/{name}.json", env!("CARGO_MANIFEST_DIR"));
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    /// Selectors of everything of this kind in an artifact.
    fn selectors(artifact: &Value, kind: &str) -> BTreeSet<[u8; 4]> {
        let items = artifact["abi"].as_array().unwrap().iter().filter(|item| item["type"] == kind);
        let selector = |item: &Value| {
            let inputs =
                item["inputs"].as_array().unwrap().iter().map(|input| input["type"].as_str().unwrap());
            let signature =
                format!("{}({})", item["name"].as_str().unwrap(), inputs.collect::<Vec<_>>().join(","));
            *keccak256(signature).first_chunk().unwrap()
        };
        items.map(selector).collect()
    }

    #[test]
    fn functions_and_errors_are_those_of_the_artifacts() {
        let [stake, receipts] = ["Stake", "Receipts"].map(artifact);
        let [functions, errors] = ["function", "error"].map(|kind| selectors(&stake, kind));
        assert!(abi::Stake::StakeCalls::selectors().all(|selector| functions.contains(&selector)));
        assert!(abi::Stake::StakeErrors::selectors().all(|selector| errors.contains(&selector)));
        let functions = selectors(&receipts, "function");
        assert!(abi::Receipts::ReceiptsCalls::selectors().all(|selector| functions.contains(&selector)));
    }

    #[test]
    fn addresses_are_those_of_the_artifacts() {
        let addresses = artifacts::codes().into_iter().map(|(address, _)| address);
        assert_eq!(addresses.take(SYSTEM.len()).collect::<Vec<_>>(), SYSTEM);
    }
}
