use std::collections::BTreeMap;

use alloy_consensus::{TxEnvelope, transaction::Recovered};
use alloy_primitives::{B256, Bytes, TxKind, U256, keccak256};
use alloy_sol_types::{SolCall, SolError, sol};
use serde_json::Value;
use veracity_chain::{
    BINDING_NAMESPACE, BlockContext, Builder, CallEnd, Choice, Executor, Genesis, GenesisNode, PARAMETERS,
    Parameter, RANDOMNESS, RECEIPTS, Role, STAKE, State, System, binding, binding_message, check_block,
    next_base_fee, next_gas_limit,
};

use crate::support::{
    CHAIN_ID, Chain, ETHER, choice, contract, genesis, node, node_id, send, sign, signer, transaction,
};

sol! {
    error NotYet(uint256 height, uint256 current);
    error TooOld(uint256 height, uint256 oldest);
    error NoValue(uint256 height);
    function randomness(uint256 height) external view returns (bytes32 value);

    function names() external view returns (bytes32[] list);
    function range(bytes32 name) external view returns (uint256 min, uint256 max);
    function get(bytes32 name) external view returns (uint256 value);
    function genesisValidatorsMax() external view returns (uint256 value);

    function register(bytes32 nodeId, uint8 roles, string endpoint, bytes proof) external payable;
    function bindingMessage(address operator) external view returns (bytes message);
    function anchor(bytes32 nodeId, uint64 first, uint32 count, bytes32 root) external returns (uint256 batch);
}

/// A transaction of `signer(from)` that registers `node`.
pub(crate) fn register(from: u8, nonce: u64, node: &GenesisNode) -> Recovered<TxEnvelope> {
    let GenesisNode { node_id, roles, endpoint, bond, proof, .. } = node.clone();
    let roles = roles.into_iter().fold(0, |mask, role| mask | role as u8);
    let call =
        registerCall { nodeId: node_id, roles, endpoint, proof: Bytes::copy_from_slice(proof.as_slice()) };
    let mut transaction = transaction(from, nonce, TxKind::Call(STAKE), 0, &call.abi_encode());
    transaction.value = bond;
    sign(from, transaction)
}

fn with(parameter: Parameter, value: u128) -> Genesis {
    Genesis { parameters: BTreeMap::from([(parameter, value)]), ..genesis() }
}

/// Appends a block without transactions and with this random value.
fn extend(chain: &mut Chain, random: B256) {
    let choice = Choice { random, ..choice(chain.head.header.timestamp + 1) };
    let (block, executed) = Builder::new(&chain.head.header, &chain.state, CHAIN_ID, &choice).finish();
    (chain.head, chain.state) = (block, executed.state);
}

fn randomness(chain: &Chain, height: u64) -> Result<B256, Bytes> {
    match chain.call(RANDOMNESS, randomnessCall { height: U256::from(height) }.abi_encode()) {
        CallEnd::Returned(word) => Ok(B256::from_slice(&word)),
        CallEnd::Reverted(error) => Err(error),
        CallEnd::Halted(reason) => panic!("{reason:?}"),
    }
}

#[test]
fn the_random_value_of_a_block_arrives_with_its_child() {
    let mut chain = Chain::start(&genesis());
    let values: Vec<B256> = (0..6u8).map(|i| keccak256([i])).collect();
    // Block 1 has no value to bring: no round decided genesis.
    values.iter().for_each(|value| extend(&mut chain, *value));
    assert_eq!(chain.head.header.mix_hash, values[5]);
    for height in 1..=5u64 {
        assert_eq!(randomness(&chain, height), Ok(values[usize::try_from(height).unwrap()]));
    }
    let height = U256::ZERO;
    assert_eq!(randomness(&chain, 0), Err(NoValue { height }.abi_encode().into()));
    let [height, current] = [6, 6].map(U256::from);
    assert_eq!(randomness(&chain, 6), Err(NotYet { height, current }.abi_encode().into()));
}

#[test]
fn the_header_commits_to_the_random_value() {
    let mut chain = Chain::start(&genesis());
    let first = (chain.head.header.clone(), chain.state.clone());
    extend(&mut chain, B256::repeat_byte(1));
    assert_eq!(chain.head.header.mix_hash, B256::ZERO, "a block on genesis brings none");
    let mut wrong = chain.head.clone();
    wrong.header.mix_hash = B256::repeat_byte(1);
    let error = check_block(&first.0, &first.1, CHAIN_ID, &wrong, &[]).unwrap_err().to_string();
    let [one, zero] = [B256::repeat_byte(1), B256::ZERO].map(|hash| format!("{hash:?}"));
    assert_eq!(error, format!("header field mix_hash is {one}, expected {zero}"));

    let (parent, state) = (chain.head.header.clone(), chain.state.clone());
    extend(&mut chain, B256::repeat_byte(2));
    let checked = check_block(&parent, &state, CHAIN_ID, &chain.head, &[]).unwrap();
    assert_eq!(checked.state.root(), chain.state.root());
    let mut rebuilt = state.clone();
    rebuilt.apply(&checked.changes).unwrap();
    assert_eq!(rebuilt.root(), chain.head.header.state_root);
    // Who changes the value alone has another state root.
    let mut wrong = chain.head.clone();
    wrong.header.mix_hash = B256::repeat_byte(3);
    let error = check_block(&parent, &state, CHAIN_ID, &wrong, &[]).unwrap_err().to_string();
    assert!(error.starts_with("header field state_root is "), "{error}");
}

/// The first transaction of a block sees its parent's value already.
#[test]
fn values_are_there_before_the_first_transaction() {
    // Calls randomness(number - 1) with the selector from calldata and stores the answer in slot 0.
    let reader = [
        &[0x5f, 0x35, 0x5f, 0x52, 0x60, 0x01, 0x43, 0x03, 0x60, 0x04, 0x52][..], // selector, number - 1
        &[0x60, 0x20, 0x5f, 0x60, 0x24, 0x5f, 0x61, 0x5e, 0x05, 0x5a, 0xfa, 0x50], // staticcall
        &[0x5f, 0x51, 0x5f, 0x55, 0x00],
    ]
    .concat();
    let mut genesis = genesis();
    let account = alloy_genesis::GenesisAccount::default().with_code(Some(reader.into()));
    genesis.ethereum.alloc.insert(contract(0), account);
    let mut chain = Chain::start(&genesis);
    extend(&mut chain, B256::ZERO);
    let selector = randomnessCall::SELECTOR;
    chain.extend(&[sign(1, transaction(1, 0, TxKind::Call(contract(0)), 0, &selector))]);
    assert_eq!(chain.state.slot(contract(0), U256::ZERO), U256::from_be_bytes(chain.head.header.mix_hash.0));
}

/// Two turns of the ring against a map.
#[test]
fn the_ring_keeps_the_last_8192_values() {
    let mut chain = Chain::start(&genesis());
    let at = |number: u64| BlockContext {
        number,
        random: keccak256(number.to_be_bytes()),
        ..BlockContext::of(&chain.head.header, CHAIN_ID)
    };
    let head = 2 * 8192 + 5u64;
    let state = (1..=head)
        .fold(chain.state.clone(), |state, number| Executor::new(&state, &at(number)).finish().state);
    let mut header = chain.head.header.clone();
    header.number = head;
    (chain.head.header, chain.state) = (header, state);
    for height in [head - 8192, head - 8191, 8192, 8193, 8200, 2 * 8192, head - 1] {
        let expected = (height + 8192 >= head).then(|| keccak256((height + 1).to_be_bytes()));
        assert_eq!(randomness(&chain, height).ok(), expected, "{height}");
    }
    let [height, oldest] = [head - 8193, head - 8192].map(U256::from);
    assert_eq!(randomness(&chain, head - 8193), Err(TooOld { height, oldest }.abi_encode().into()));
}

#[test]
fn the_gas_limit_moves_to_its_target() {
    for target in [31_000_000u64, 1_000_000_000] {
        let mut chain = Chain::start(&with(Parameter::GasLimitTarget, target.into()));
        for _ in 0..200 {
            let parent = chain.head.header.gas_limit;
            // go-ethereum, core.CalcGasLimit.
            let expected = (parent + parent / 1024 - 1).min(target);
            assert_eq!(next_gas_limit(&chain.head.header, &chain.state), expected);
            chain.extend(&[]);
            assert_eq!(chain.head.header.gas_limit, expected);
        }
        assert_eq!(chain.head.header.gas_limit == target, target == 31_000_000);
    }
    let mut genesis = with(Parameter::GasLimitTarget, 30_000_000);
    genesis.ethereum.gas_limit = 30_050_000;
    let mut chain = Chain::start(&genesis);
    let limits: Vec<u64> = (0..3)
        .map(|_| {
            chain.extend(&[]);
            chain.head.header.gas_limit
        })
        .collect();
    assert_eq!(limits, [30_050_000 - 30_050_000 / 1024 + 1, 30_000_000, 30_000_000]);
    // Without the contract it stays.
    let mut chain = Chain::new(&[]);
    chain.extend(&[]);
    assert_eq!(chain.head.header.gas_limit, 30_000_000);
}

#[test]
fn the_base_fee_does_not_fall_below_its_minimum() {
    let mut chain = Chain::start(&genesis());
    chain.extend(&[]);
    assert_eq!(chain.head.header.base_fee_per_gas, Some(1_000_000_000));
    chain.extend(&[send(1, 0, contract(0), 1)]);
    assert_eq!(chain.head.header.base_fee_per_gas, Some(1_000_000_000));

    // Loops until the gas is used up.
    let looper = alloy_genesis::GenesisAccount::default().with_code(Some(vec![0x5b, 0x5f, 0x56].into()));
    let mut genesis = with(Parameter::BaseFeeMinWei, 8);
    genesis.ethereum.alloc.insert(contract(0), looper);
    genesis.ethereum.base_fee_per_gas = Some(9);
    let mut chain = Chain::start(&genesis);
    chain.extend(&[]);
    assert_eq!(chain.head.header.base_fee_per_gas, Some(8), "7 without the minimum");
    let mut full = transaction(1, 0, TxKind::Call(contract(0)), 0, &[]);
    full.gas_limit = next_gas_limit(&chain.head.header, &chain.state);
    let executed = chain.extend(&[sign(1, full)]);
    assert_eq!(executed.gas_used, chain.head.header.gas_limit);
    assert_eq!(next_base_fee(&chain.head.header, &chain.state), 9, "it rises from there");
    assert_eq!(next_base_fee(&chain.head.header, &State::default()), 9);
    let empty = alloy_consensus::Header { gas_used: 0, ..chain.head.header };
    assert_eq!(next_base_fee(&empty, &State::default()), 7);
}

/// The table of parameters here, in the contract, and in its artifacts.
#[test]
fn parameters_are_those_of_the_contract() {
    let file = include_str!("../../../../contracts/artifacts/genesis-storage.json");
    let artifact: Value = serde_json::from_str(file).unwrap();
    let chain = Chain::start(&genesis());
    let word = |parameter: &Parameter| {
        let mut word = B256::ZERO;
        word[..parameter.name().len()].copy_from_slice(parameter.name().as_bytes());
        word
    };
    let names: Vec<B256> = Parameter::ALL.iter().map(word).collect();
    assert_eq!(chain.view(PARAMETERS, &namesCall {}), names);
    assert_eq!(artifact["parameters"].as_object().unwrap().len(), names.len());
    for parameter in Parameter::ALL {
        let name = parameter.name();
        let range = chain.view(PARAMETERS, &rangeCall { name: word(parameter) });
        assert_eq!((range.min.to(), range.max.to()), parameter.range(), "{name}");
        let value = chain.view(PARAMETERS, &getCall { name: word(parameter) });
        assert_eq!(value.to::<u128>(), parameter.genesis(), "{name}");
        assert_eq!(chain.state.parameter(*parameter), Some(parameter.genesis()), "{name}");
        let entry = &artifact["parameters"][name];
        assert_eq!(entry["slot"].as_str().unwrap().parse(), Ok(parameter.slot()), "{name}");
        assert_eq!(entry["value"].as_str().unwrap(), parameter.genesis().to_string(), "{name}");
        assert_eq!(Parameter::from_name(name), Some(*parameter));
    }
    assert_eq!(Parameter::from_name("heartbeat"), None);
    let words = artifact["accounts"][PARAMETERS.to_string().to_lowercase()]["storage"].as_object().unwrap();
    assert_eq!(words.len(), Parameter::ALL.len() + 1);
    for (slot, value) in words {
        let [slot, value] = [slot, value.as_str().unwrap()].map(|text| text.parse::<U256>().unwrap());
        assert_eq!(chain.state.slot(PARAMETERS, slot), value, "{slot}");
    }

    let mut genesis = genesis();
    genesis.parameters =
        [(Parameter::HeartbeatMs, 200), (Parameter::EpochBlocks, 64), (Parameter::ValidatorsMax, 8)].into();
    let chain = Chain::start(&genesis);
    let state = &chain.state;
    assert_eq!((state.heartbeat_ms(), state.epoch_blocks(), state.validators_max()), (200, 64, 8));
    assert_eq!(chain.view(PARAMETERS, &genesisValidatorsMaxCall {}), U256::from(8), "no vote exceeds it");
}

#[test]
fn nodes_that_register_later_are_read_as_the_first_ones_are() {
    let mut chain = Chain::start(&Genesis { nodes: vec![node(1, &[Role::Validator], 10_000)], ..genesis() });
    let newcomer = node(2, &[Role::Validator, Role::Worker], 12_000);
    let executed = chain.extend(&[register(2, 0, &newcomer), register(3, 0, &newcomer)]);
    let statuses: Vec<bool> = executed.receipts.iter().map(|receipt| receipt.status()).collect();
    assert_eq!(statuses, [true, false], "the signature is for another operator");
    let validators = chain.system().validators(64).unwrap();
    assert_eq!(validators.iter().map(|v| v.node_id).collect::<Vec<_>>(), [node_id(2), node_id(1)]);
    assert_eq!(validators[0].bond_wei, 12_000 * u128::from(ETHER));

    let system = chain.system();
    assert_eq!((system.next_sequence(node_id(2)), system.next_sequence(node_id(1))), (Ok(0), Ok(0)));
    let anchor = anchorCall { nodeId: node_id(2), first: 0, count: 5, root: B256::repeat_byte(1) };
    let executed =
        chain.extend(&[sign(2, transaction(2, 1, TxKind::Call(RECEIPTS), 0, &anchor.abi_encode()))]);
    assert!(executed.receipts[0].status());
    assert_eq!(chain.system().next_sequence(node_id(2)), Ok(5));
}

/// Reads see the time of the block: a role that was left is answered for until the delay is over.
#[test]
fn reads_see_the_time_of_their_block() {
    sol! { function setRoles(bytes32 nodeId, uint8 roles) external; }
    let mut chain = Chain::start(&Genesis { nodes: vec![node(1, &[Role::Worker], 1000)], ..genesis() });
    let leave = setRolesCall { nodeId: node_id(1), roles: 0 }.abi_encode();
    let executed = chain.extend(&[sign(1, transaction(1, 0, TxKind::Call(STAKE), 0, &leave))]);
    assert!(executed.receipts[0].status());
    let delay = u64::try_from(Parameter::UnbondDelayS.genesis()).unwrap();
    for (later, expected) in [(0, true), (delay - 1, true), (delay, false)] {
        let mut header = chain.head.header.clone();
        header.timestamp += later;
        let system = System::new(&chain.state, &header, CHAIN_ID);
        let found = (system.has_role(node_id(1), Role::Worker), system.is_bonded(node_id(1), Role::Worker));
        assert_eq!(found, (Ok(false), Ok(expected)), "{later}");
    }
}

#[test]
fn the_binding_is_what_the_contract_asks_for() {
    let chain = Chain::start(&genesis());
    let operator = signer(1).address();
    let message = chain.view(STAKE, &bindingMessageCall { operator });
    assert_eq!(message, Bytes::copy_from_slice(&binding_message(CHAIN_ID, operator)));
    let parts = [&[28][..], BINDING_NAMESPACE, &binding(CHAIN_ID, operator)].concat();
    assert_eq!(message, Bytes::from(parts));
}
