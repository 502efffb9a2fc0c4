use std::collections::BTreeSet;

use alloy_consensus::{SignableTransaction, TxLegacy};
use alloy_eips::eip2935::{HISTORY_STORAGE_ADDRESS, HISTORY_STORAGE_CODE};
use alloy_genesis::GenesisAccount;
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256, address, b256, bytes, keccak256};
use alloy_sol_types::{SolValue, sol};
use serde_json::Value;
use veracity_chain::{Genesis, GenesisError, GenesisNode, Parameter, Role, STAKE, State, System};

use crate::{
    blocks::expected_root,
    support::{CHAIN_ID, Chain, ETHER, genesis, node, node_id, send, signer},
};

const PERMIT2: Address = address!("0x000000000022D473030F116dDEE9F6B43aC78BA3");

sol! {
    function DOMAIN_SEPARATOR() external view returns (bytes32 separator);
    function nodeCount() external view returns (uint256 count);
}

fn predeploys() -> Value {
    serde_json::from_str(include_str!("../../../../contracts/artifacts/predeploys.json")).unwrap()
}

fn parse<T: std::str::FromStr<Err: std::fmt::Debug>>(value: &Value) -> T {
    value.as_str().unwrap().parse().unwrap()
}

/// Four nodes of different kinds.
fn with_nodes() -> Genesis {
    let nodes = vec![
        node(1, &[Role::Validator], 10_000),
        node(2, &[Role::Validator, Role::Host], 30_000),
        node(3, &[Role::Validator], 20_000),
        node(4, &[Role::Worker, Role::Gateway], 1_100),
    ];
    Genesis { nodes, ..genesis() }
}

/// Whoever computes genesis from the same file has the same block, for ever.
#[test]
fn the_first_block_stays_the_same() {
    let made = with_nodes().build().unwrap();
    assert_eq!(made.block.header.state_root, made.state.root());
    assert_eq!(made.state.root(), expected_root(&made.state), "as another implementation has it");
    assert_eq!(
        made.state.root(),
        b256!("0xadaa67625c993b413e010cddd4a1d8a5849d9d49406420bcd7d15472c1028a16")
    );
    assert_eq!(
        made.block.hash(),
        b256!("0xea6a21db508b5d7c5d703ff6a82810a95fe940b80b447add49ff61b05899b423")
    );
    let mut rebuilt = State::default();
    rebuilt.apply(&made.changes).unwrap();
    assert_eq!(rebuilt.root(), made.state.root());
}

#[test]
fn the_first_nodes_are_registered_and_pay() {
    let chain = Chain::start(&with_nodes());
    let system = chain.system();
    let validators = system.validators(64).unwrap();
    let found: Vec<_> =
        validators.iter().map(|v| (v.node_id, v.bond_wei / u128::from(ETHER), v.endpoint.as_str())).collect();
    let expected = [(2, 30_000, "10.0.0.2:9000"), (3, 20_000, "10.0.0.3:9000"), (1, 10_000, "10.0.0.1:9000")];
    assert_eq!(found, expected.map(|(i, bond, endpoint)| (node_id(i), bond, endpoint)));
    assert_eq!(system.validators(1).unwrap(), validators[..1]);
    for (index, role, expected) in [
        (1, Role::Validator, true),
        (1, Role::Worker, false),
        (2, Role::Host, true),
        (4, Role::Gateway, true),
    ] {
        assert_eq!(system.has_role(node_id(index), role).unwrap(), expected, "{index} {role:?}");
        assert_eq!(system.is_bonded(node_id(index), role).unwrap(), expected, "{index} {role:?}");
    }
    assert_eq!(system.operator(node_id(4)).unwrap(), Some(signer(4).address()));
    assert_eq!(
        (system.operator(node_id(5)).unwrap(), system.endpoint(node_id(5)).unwrap()),
        (None, String::new())
    );

    let ether = |n: u64| U256::from(n) * U256::from(ETHER);
    assert_eq!(chain.balance(STAKE), ether(61_100));
    assert_eq!(chain.balance(signer(2).address()), ether(70_000));
    // No transaction was sent: the operators' first one has nonce 0.
    assert_eq!(chain.state.account(signer(2).address()).unwrap().nonce, 0);
    assert!(chain.state.account(Address::ZERO).is_none(), "who called to make Permit2");
    let mut chain = chain;
    chain.extend(&[send(2, 0, Address::repeat_byte(1), 1)]);
    assert_eq!(chain.view(STAKE, &nodeCountCall {}), U256::from(4));
}

/// The chain id is in the code of Permit2 and its domain separator, nowhere else.
#[test]
fn permit2_is_made_for_the_chain() {
    let permit2 = &predeploys()["permit2"];
    let chains = [CHAIN_ID, 1].map(|chain_id| {
        let mut genesis = genesis();
        genesis.ethereum.config.chain_id = chain_id;
        (chain_id, Chain::start(&genesis))
    });
    for (chain_id, chain) in &chains {
        let account = chain.state.account(PERMIT2).unwrap();
        assert_eq!((account.nonce, account.balance), (1, U256::ZERO));
        let mut code = account.code.as_ref().unwrap().original_bytes().to_vec();
        let domain = keccak256(
            (
                keccak256("EIP712Domain(string name,uint256 chainId,address verifyingContract)"),
                keccak256("Permit2"),
                U256::from(*chain_id),
                PERMIT2,
            )
                .abi_encode(),
        );
        for place in permit2["immutables"].as_array().unwrap() {
            let offset = usize::try_from(place["offset"].as_u64().unwrap()).unwrap();
            let expected = match place["value"].as_str().unwrap() {
                "chainId" => U256::from(*chain_id).into(),
                "domainSeparator" => domain,
                other => panic!("{other}"),
            };
            assert_eq!(B256::from_slice(&code[offset..][..32]), expected);
            code[offset..][..32].fill(0);
        }
        assert_eq!(keccak256(code), parse::<B256>(&permit2["runtimeTemplateHash"]));
        if *chain_id == CHAIN_ID {
            assert_eq!(chain.view(PERMIT2, &DOMAIN_SEPARATORCall {}), domain);
        }
    }
    assert_ne!(chains[0].1.state.root(), chains[1].1.state.root());
}

/// Contract that a transaction signed beforehand makes: its address follows from its code.
fn presigned(init_code: Bytes, gas_price: u128, gas_limit: u64, r: U256, s: U256, v: u64) -> Address {
    let transaction =
        TxLegacy { gas_price, gas_limit, to: TxKind::Create, input: init_code, ..TxLegacy::default() };
    let signature = Signature::new(r, s, v == 28);
    signature.recover_address_from_prehash(&transaction.signature_hash()).unwrap().create(0)
}

#[test]
fn addresses_of_predeploys_follow_from_their_code() {
    let chain = Chain::start(&genesis());
    let code = |address| chain.state.account(address).unwrap().code.as_ref().unwrap().original_bytes();
    let predeploys = predeploys();
    for name in ["create2Deployer", "multicall3"] {
        let contract = &predeploys[name];
        let signed = &contract["presigned"];
        let init_code: Bytes = parse(&contract["initCode"]);
        let [gas_price, gas, v] = ["gasPrice", "gas", "v"].map(|field| parse::<u64>(&signed[field]));
        let at =
            presigned(init_code.clone(), gas_price.into(), gas, parse(&signed["r"]), parse(&signed["s"]), v);
        assert_eq!(at, parse::<Address>(&contract["address"]), "{name}");
        assert!(init_code.ends_with(&code(at)), "{name}: the init code returns its own end");
    }
    // The transaction of EIP-2935; its init code is a prefix that returns the rest.
    let init_code = [&bytes!("0x60538060095f395ff3")[..], &HISTORY_STORAGE_CODE].concat();
    let s = U256::from_str_radix("aa12693182426612186309f02cfe8a80a0000", 16).unwrap();
    let at = presigned(init_code.into(), 1_000_000_000_000, 250_000, U256::from(0x539), s, 27);
    assert_eq!(at, HISTORY_STORAGE_ADDRESS);
    assert_eq!(code(at), HISTORY_STORAGE_CODE);

    let permit2 = &predeploys["permit2"];
    let [salt, hash] = ["salt", "initCodeHash"].map(|field| parse::<B256>(&permit2[field]));
    assert_eq!(keccak256(parse::<Bytes>(&permit2["initCode"])), hash);
    assert_eq!(parse::<Address>(&permit2["deployer"]).create2(salt, hash), PERMIT2);
}

/// The history contract must survive a call that gives it nothing, which would end an empty account (EIP-161).
#[test]
fn anyone_may_touch_the_history_contract() {
    let mut chain = Chain::start(&genesis());
    let parent = chain.head.hash();
    chain.extend(&[]);
    chain.extend(&[send(1, 0, HISTORY_STORAGE_ADDRESS, 0)]);
    assert_eq!(chain.state.slot(HISTORY_STORAGE_ADDRESS, U256::ZERO), U256::from_be_bytes(parent.0));
}

#[test]
fn a_file_in_the_format_of_geth_is_read_and_written() {
    let text = r#"{
        "config": { "chainId": 86372, "londonBlock": 0, "veracity": {
            "parameters": { "heartbeat_ms": 500, "validators_max": "0x10", "bond_min_worker_wei": "2000000000000000" },
            "nodes": [{
                "nodeId": "0x0101010101010101010101010101010101010101010101010101010101010101",
                "operator": "0x00000000000000000000000000000000000000aa",
                "roles": ["worker", "validator"],
                "bond": "1000000000000000000",
                "proof": "0x01020304050607080102030405060708010203040506070801020304050607080102030405060708010203040506070801020304050607080102030405060708"
            }]
        } },
        "gasLimit": "0x1c9c380", "timestamp": "0x10", "difficulty": "0x0", "extraData": "0x",
        "alloc": { "00000000000000000000000000000000000000aa": { "balance": "0xde0b6b3a7640000" } }
    }"#;
    let genesis = Genesis::from_json(text).unwrap();
    assert_eq!((genesis.chain_id(), genesis.ethereum.gas_limit), (86_372, 30_000_000));
    let parameters: Vec<_> = genesis.parameters.iter().map(|(p, value)| (*p, *value)).collect();
    let expected = [
        (Parameter::BondMinWorkerWei, 2_000_000_000_000_000),
        (Parameter::ValidatorsMax, 16),
        (Parameter::HeartbeatMs, 500),
    ];
    assert_eq!(parameters, expected);
    assert_eq!(genesis.nodes[0].roles, BTreeSet::from([Role::Validator, Role::Worker]));
    assert_eq!(genesis.nodes[0].bond, U256::from(ETHER));
    assert_eq!(Genesis::from_json(&genesis.to_json()).unwrap(), genesis);

    let plain = Genesis::from_json(r#"{ "config": { "chainId": 7 }, "gasLimit": "0x1c9c380", "alloc": {} }"#)
        .unwrap();
    assert!(plain.nodes.is_empty() && plain.parameters.is_empty());
    assert_eq!(Genesis::from_json(&plain.to_json()).unwrap(), plain);
    assert_eq!(plain.build().unwrap().state.heartbeat_ms(), 1000);
}

#[test]
fn files_that_are_none_are_refused() {
    let refuse = |text: &str, expected: &str| {
        let error = Genesis::from_json(text).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    };
    let extension =
        |text: &str| format!(r#"{{ "config": {{ "chainId": 7, "veracity": {text} }}, "alloc": {{}} }}"#);
    refuse("{", "the genesis file cannot be read: EOF while parsing");
    refuse(&extension(r#"{ "node": [] }"#), "the genesis file cannot be read: unknown field `node`");
    refuse(&extension(r#"{ "nodes": [{}] }"#), "the genesis file cannot be read: missing field `nodeId`");
    refuse(
        &extension(r#"{ "parameters": { "heartbeat_s": 1 } }"#),
        "there is no parameter heartbeat_s: docs/spec/contracts.md, section 4, lists them",
    );
    let large = format!(r#"{{ "parameters": {{ "heartbeat_ms": "{}" }} }}"#, U256::MAX);
    refuse(&extension(&large), &format!("heartbeat_ms is {}, outside of 200 to 60000", U256::MAX));
}

#[test]
fn a_genesis_that_breaks_a_rule_is_refused() {
    let refuse = |change: &dyn Fn(&mut Genesis), expected: &str| {
        let mut genesis = genesis();
        change(&mut genesis);
        assert_eq!(genesis.build().unwrap_err().to_string(), expected);
    };
    refuse(&|g| g.ethereum.number = Some(1), "number is 1: leave it out, the first block is block 0");
    refuse(&|g| g.ethereum.gas_limit = 29_999_999, "gasLimit is 29999999, at least 30000000 is needed");
    refuse(&|g| g.ethereum.extra_data = vec![0; 33].into(), "extraData has 33 bytes, at most 32 are allowed");
    for reserved in [Address::ZERO, STAKE, PERMIT2, HISTORY_STORAGE_ADDRESS] {
        let expected = format!("alloc has an account at {reserved}, which genesis makes itself: remove it");
        refuse(&|g| _ = g.ethereum.alloc.insert(reserved, GenesisAccount::default()), &expected);
    }
    let one = Address::with_last_byte(1);
    let code = |bytes: Bytes| (one, GenesisAccount::default().with_code(Some(bytes)));
    let expected = format!("alloc gives {one} code that begins with 0xef01 and is no delegation: correct it");
    refuse(&|g| g.ethereum.alloc.extend([code(bytes!("0xef0100"))]), &expected);
    let expected = format!(
        "alloc gives {one} storage but neither code nor nonce: remove the storage, or give it a nonce"
    );
    let word = B256::with_last_byte(1);
    let bare = GenesisAccount::default().with_storage(Some([(word, word)].into()));
    refuse(&|g| g.ethereum.alloc.extend([(one, bare.clone())]), &expected);
    for (parameter, value, expected) in [
        (Parameter::HeartbeatMs, 199, "heartbeat_ms is 199, outside of 200 to 60000"),
        (Parameter::ValidatorsMax, 129, "validators_max is 129, outside of 1 to 128"),
        (Parameter::EpochBlocks, 511, "epoch_blocks is 511, at least 512 are needed, 8 times validators_max"),
        (
            Parameter::UnbondDelayS,
            14_399,
            "unbond_delay_s is 14399, at least 14400 are needed, 4 epochs of heartbeats",
        ),
    ] {
        refuse(&|g| _ = g.parameters.insert(parameter, value), expected);
    }
}

#[test]
fn nodes_that_the_contract_refuses_make_the_genesis_invalid() {
    let refuse = |nodes: Vec<GenesisNode>, expected: &str| {
        let mut genesis = Genesis { nodes, ..genesis() };
        genesis.parameters.insert(Parameter::ValidatorsMax, 2);
        let rich = GenesisAccount::default().with_balance(U256::MAX >> 1);
        genesis.ethereum.alloc.insert(signer(9).address(), rich);
        let coded = GenesisAccount::default().with_code(Some(bytes!("0x00"))).with_balance(U256::MAX >> 1);
        genesis.ethereum.alloc.insert(signer(8).address(), coded);
        let index = genesis.nodes.len() - 1;
        let error = genesis.build().unwrap_err();
        let GenesisError::Node { index: found, node_id, .. } = &error else { panic!("{error}") };
        assert_eq!((*found, *node_id), (index, genesis.nodes[index].node_id));
        assert_eq!(error.to_string(), format!("node {index}, {node_id}: {expected}"));
    };
    let changed = |index, change: fn(&mut GenesisNode)| {
        let mut node = node(index, &[Role::Validator], 10_000);
        change(&mut node);
        vec![node]
    };
    let good = || node(1, &[Role::Validator], 10_000);
    let operator = signer(1).address();
    refuse(vec![good(), good()], &format!("its key is registered already, by {operator}: list it once"));
    refuse(changed(1, |n| n.roles.clear()), "it needs at least one role");
    refuse(
        changed(1, |n| n.operator = signer(2).address()),
        &format!(
            "its proof is not its signature for operator {} on this chain: let its key sign the binding",
            signer(2).address()
        ),
    );
    refuse(
        changed(1, |n| n.endpoint = "x".repeat(257)),
        "its endpoint has 257 bytes, at most 256 are allowed",
    );
    refuse(changed(1, |n| n.endpoint = "a b".into()), "its endpoint is not graphic ASCII: see byte 1");
    refuse(
        changed(1, |n| n.bond -= U256::ONE),
        "its bond is 9999999999999999999999 wei, its roles need 10000000000000000000000",
    );
    refuse(
        changed(9, |n| n.bond = U256::ONE << 128),
        "its bond is 340282366920938463463374607431768211456 wei, at most 2^128 - 1 are possible",
    );
    let expected = "its bond is 10000000000000000000000 wei, but as many validators as can stand have \
        20000000000000000000000 or more: bond more or list fewer";
    let rich = |index| node(index, &[Role::Validator], 20_000);
    refuse(vec![rich(2), rich(3), good()], expected);
    refuse(
        changed(1, |n| n.bond *= U256::from(1000)),
        "its operator cannot register it: lack of funds (100000000000000000000000) for max fee \
         (10000000000000000000000000)",
    );
    refuse(
        changed(8, |_| ()),
        "its operator cannot register it: reject transactions from senders with deployed code",
    );
}

#[test]
fn a_chain_without_system_contracts_says_so() {
    let chain = Chain::new(&[]);
    let system = System::new(&chain.state, &chain.head.header, CHAIN_ID);
    let expected =
        format!("there is no contract at {STAKE}: this chain's genesis was made without system contracts");
    assert_eq!(system.validators(4).unwrap_err().to_string(), expected);
    assert!(system.next_sequence(B256::ZERO).is_err());
    assert_eq!(
        (chain.state.heartbeat_ms(), chain.state.epoch_blocks(), chain.state.validators_max()),
        (1000, 3600, 64)
    );
    assert_eq!(chain.state.parameter(Parameter::HeartbeatMs), None);
}

/// Nothing but the contract writes the storage of Stake: a registration by transaction leaves the same slots.
#[test]
fn genesis_registers_as_a_transaction_does() {
    let by_genesis = Chain::start(&Genesis { nodes: vec![node(1, &[Role::Worker], 1000)], ..genesis() });
    let storage = |state: &State| {
        let mut slots = vec![];
        state.account(STAKE).unwrap().storage.for_each(&mut |slot, value| slots.push((slot, *value)));
        slots
    };
    let mut by_transaction = Chain::start(&genesis());
    by_transaction.extend(&[crate::system::register(1, 0, &node(1, &[Role::Worker], 1000))]);
    let [a, b] = [storage(&by_genesis.state), storage(&by_transaction.state)];
    // They differ in the word with the time of registration.
    let differences = a.iter().zip(&b).filter(|(a, b)| a != b).count();
    assert_eq!((a.len(), b.len(), differences), (a.len(), a.len(), 1));
}
