//! Validators that bond, are elected, and leave.

use std::collections::BTreeMap;

use alloy_primitives::{B256, U256};
use commonware_codec::Encode as _;
use commonware_cryptography::{Signer as _, ed25519::PrivateKey};
use veracity_chain::{
    BINDING_NAMESPACE, Block, Change, Genesis, GenesisNode, Parameter, Role, STAKE, binding,
};

use crate::{
    client::{CHAIN_ID, Workload},
    network::{EPOCH_BLOCKS, endpoint},
};

alloy_sol_types::sol! {
    function register(bytes32 nodeId, uint8 roles, string endpoint, bytes proof) external payable;
    function setRoles(bytes32 nodeId, uint8 roles) external;
}

/// What a validator bonds, in wei: the least that it may.
fn bond() -> U256 {
    U256::from(Parameter::BondMinValidatorWei.genesis())
}

fn node_id(validator: &PrivateKey) -> B256 {
    B256::from_slice(&validator.public_key())
}

/// The proof that a client speaks for a validator.
fn proof(workload: &Workload, client: usize, validator: &PrivateKey) -> [u8; 64] {
    let message = binding(CHAIN_ID, workload.address(client));
    let proof = validator.sign(BINDING_NAMESPACE, &message).encode();
    proof.as_ref().try_into().expect("a signature has 64 bytes")
}

/// A chain with system contracts on which each founder is bonded by the client of its number.
pub(crate) fn genesis(workload: &Workload, founders: &[PrivateKey]) -> (Vec<Change>, Block) {
    let node = |(client, founder): (usize, &PrivateKey)| GenesisNode {
        node_id: node_id(founder),
        operator: workload.address(client),
        roles: [Role::Validator].into(),
        endpoint: endpoint(client).to_string(),
        bond: bond(),
        proof: proof(workload, client, founder).into(),
    };
    let parameters = [(Parameter::EpochBlocks, EPOCH_BLOCKS.get().into()), (Parameter::ValidatorsMax, 5)];
    let genesis = Genesis {
        ethereum: workload.genesis(),
        parameters: BTreeMap::from(parameters),
        nodes: founders.iter().enumerate().map(node).collect(),
    };
    let built = genesis.build().expect("the founders' proofs and bonds are right");
    (built.changes, built.block)
}

/// Those who did not found the network bond, and one that did leaves, if there is one that is to.
pub(crate) fn add_changes(
    workload: &mut Workload,
    validators: &[PrivateKey],
    founders: usize,
    leaver: Option<usize>,
) {
    for (client, validator) in validators.iter().enumerate().skip(founders) {
        let call = registerCall {
            nodeId: node_id(validator),
            roles: Role::Validator as u8,
            endpoint: endpoint(client).to_string(),
            proof: proof(workload, client, validator).to_vec().into(),
        };
        workload.call(client, STAKE, bond(), &call);
    }
    if let Some(leaver) = leaver {
        let call = setRolesCall { nodeId: node_id(&validators[leaver]), roles: 0 };
        workload.call(leaver, STAKE, U256::ZERO, &call);
    }
}
