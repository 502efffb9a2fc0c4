//! What a block must be to be decoded and voted for, who is elected, and that formats do not change unseen.

mod hostile;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use alloy_primitives::{B256, U256};
use commonware_codec::{Copying, Decode as _, DecodeExt as _, Encode as _};
use commonware_consensus::types::{Epoch, Round, View};
use commonware_cryptography::{
    Digestible as _, Signer as _,
    bls12381::{
        dkg::feldman_desmedt::deal,
        primitives::{group::G1, sharing::Mode},
    },
    ed25519,
};
use commonware_glue::dkg::types::EpochOutcome;
use commonware_math::algebra::CryptoGroup as _;
use commonware_p2p::Address;
use commonware_utils::{
    N3f1, TestRng,
    ordered::{Map, Set},
};
use veracity_chain::{AccountValues, BINDING_NAMESPACE, GenesisNode, Parameter, Role, State, binding};

use crate::{
    Block, Context, Digest, EpochInfo, Head, InvalidBlock, Section, Seed, TIME_STEP_MAX,
    application::check_section,
    database::{Record, empty_target},
    elections::{Elected, elect},
    random_value,
};

fn round(epoch: u64, view: u64) -> Round {
    Round::new(Epoch::new(epoch), View::new(view))
}

fn key() -> ed25519::PublicKey {
    validator(1).public_key()
}

fn validator(seed: u64) -> ed25519::PrivateKey {
    ed25519::PrivateKey::from_seed(seed)
}

fn address(port: u16) -> Address {
    Address::Symmetric(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))
}

/// An epoch of these validators, reached at ports of their numbers.
fn epoch_of(seeds: &[u64]) -> EpochInfo {
    let address = |seed: &u64| (validator(*seed).public_key(), address(u16::try_from(*seed).unwrap()));
    let directory: Map<_, _> = Map::from_iter_dedup(seeds.iter().map(address));
    let players = directory.keys().clone();
    let (output, _) = deal::<_, _, N3f1>(TestRng::new(7), Mode::NonZeroCounter, players.clone()).unwrap();
    EpochInfo {
        outcome: EpochOutcome::Success,
        epoch: Epoch::zero(),
        output,
        players: players.clone(),
        next_players: players,
        directory: directory.into(),
    }
}

fn genesis() -> Block {
    let file = alloy_genesis::Genesis::default();
    Block::genesis(veracity_chain::genesis_block(&file, &State::default()), epoch_of(&[1]))
}

const CHAIN_ID: u64 = 2604;

/// The head of a chain on which these validators are bonded, each with an endpoint.
fn bonded(endpoints: &[(u64, &str)]) -> Head {
    let bond = U256::from(Parameter::BondMinValidatorWei.genesis());
    let operator = |seed: u64| alloy_primitives::Address::with_last_byte(u8::try_from(seed).unwrap());
    let mut genesis = veracity_chain::Genesis::default();
    genesis.ethereum.config.chain_id = CHAIN_ID;
    genesis.ethereum.gas_limit = 200_000_000;
    for (seed, endpoint) in endpoints {
        let rich = alloy_genesis::GenesisAccount::default().with_balance(bond);
        genesis.ethereum.alloc.insert(operator(*seed), rich);
        let proof = validator(*seed).sign(BINDING_NAMESPACE, &binding(CHAIN_ID, operator(*seed)));
        genesis.nodes.push(GenesisNode {
            node_id: B256::from_slice(&validator(*seed).public_key()),
            operator: operator(*seed),
            roles: [Role::Validator].into(),
            endpoint: (*endpoint).to_owned(),
            bond,
            proof: proof.encode().as_ref().try_into().unwrap(),
        });
    }
    let built = genesis.build().unwrap();
    Head::new(&Block::genesis(built.block, epoch_of(&[1])), built.state)
}

#[test]
fn the_bonded_are_elected_if_they_can_be_reached() {
    let keys = |seeds: &[u64]| Set::from_iter_dedup(seeds.iter().map(|seed| validator(*seed).public_key()));
    let current = epoch_of(&[1, 2, 7]);
    let endpoints = [
        (1, "127.0.0.1:100"),
        (2, ""),
        (3, "[::1]:300"),
        (4, "node.example:4"),
        (5, "0.0.0.0:5"),
        (6, "10.0.0.6:0"),
    ];
    let Elected { players, directory } = elect(&current, &bonded(&endpoints), CHAIN_ID, 64);
    assert_eq!(players, keys(&[1, 3]));
    // Those who have a part already stay reachable: where they say, or where they were.
    let at = |seed: u64| directory.get_value(&validator(seed).public_key());
    assert_eq!(at(1), Some(&address(100)));
    assert_eq!(at(2), Some(&address(2)));
    assert_eq!(at(7), Some(&address(7)));
    assert_eq!(at(3), Some(&Address::Symmetric("[::1]:300".parse().unwrap())));
    assert_eq!(directory.keys(), &keys(&[1, 2, 3, 7]));
    // What a node elects is what others read: one whose endpoint says more than is written could halt the network.
    let scoped = bonded(&[(8, "[fe80::1%5]:8")]);
    let Elected { directory, .. } = elect(&current, &scoped, CHAIN_ID, 64);
    let (bytes, count) = (directory.encode(), directory.len());
    let read: Map<ed25519::PublicKey, Address> =
        Map::decode_cfg(Copying(&bytes), &((..=count).into(), (), ())).unwrap();
    assert_eq!(read, directory);
    let two = bonded(&[(8, "[::1]:8"), (9, "[::1]:9")]);
    assert_eq!(elect(&current, &two, CHAIN_ID, 1).players.len(), 1);
}

#[test]
fn those_who_were_elected_last_stay_when_nobody_is() {
    let current = epoch_of(&[1, 2]);
    for head in [bonded(&[(3, "nowhere")]), Head::new(&genesis(), State::default())] {
        let Elected { players, directory } = elect(&current, &head, CHAIN_ID, 64);
        assert_eq!(players, current.next_players);
        assert_eq!(directory, current.directory.clone().into_inner());
    }
}

fn seed(round: Round) -> Seed {
    Seed::new(round, G1::generator())
}

/// A child of `parent` as an honest leader makes it, but for what `change` does.
fn child(
    parent: &Head,
    at: Round,
    seed: Option<Seed>,
    change: impl FnOnce(&mut alloy_consensus::Header),
) -> Block {
    let section = Section {
        context: Context { round: at, leader: key(), parent: (parent.round.view(), Digest(parent.hash)) },
        target: empty_target(),
        seed,
        payload: None,
    };
    let mut execution = genesis().execution().as_ref().clone();
    execution.header.number = parent.header.number + 1;
    execution.header.parent_hash = parent.hash;
    execution.header.mix_hash = section.seed.as_ref().map(random_value).unwrap_or_default();
    execution.header.extra_data = section.hash().into();
    change(&mut execution.header);
    Block::new(execution, section)
}

fn first() -> Head {
    Head::new(&genesis(), State::default())
}

fn second() -> Head {
    Head::new(&child(&first(), round(0, 3), None, |_| ()), State::default())
}

#[test]
fn an_honest_block_passes() {
    assert_eq!(check_section(&first(), &child(&first(), round(0, 3), None, |_| ()), |_| false), Ok(()));
    let block = child(&second(), round(0, 5), Some(seed(round(0, 3))), |_| ());
    assert_eq!(check_section(&second(), &block, |seed| seed.round == round(0, 3)), Ok(()));
    // In the first block of an epoch the value may be that of a later round of the epoch before.
    let block = child(&second(), round(1, 1), Some(seed(round(0, 9))), |_| ());
    assert_eq!(check_section(&second(), &block, |_| true), Ok(()));
    let block = child(&first(), round(0, 3), None, |header| header.timestamp += TIME_STEP_MAX);
    assert_eq!(check_section(&first(), &block, |_| true), Ok(()));
}

#[test]
fn what_breaks_a_rule_is_refused() {
    let refused = |parent: &Head, block: &Block| check_section(parent, block, |_| true).unwrap_err();
    let block = child(&first(), round(0, 3), None, |header| header.timestamp += TIME_STEP_MAX + 1);
    assert_eq!(refused(&first(), &block), InvalidBlock::Timestamp { parent: 0, found: TIME_STEP_MAX + 1 });
    let block = child(&first(), round(0, 3), Some(seed(round(0, 0))), |_| ());
    assert_eq!(refused(&first(), &block), InvalidBlock::SeedPresence);
    let block = child(&second(), round(0, 5), None, |_| ());
    assert_eq!(refused(&second(), &block), InvalidBlock::SeedPresence);
    // Within an epoch only the parent's own round counts; across, none before it and none of another epoch.
    let parent = round(0, 3);
    for (at, found) in [
        (round(0, 5), round(0, 4)),
        (round(0, 5), round(0, 2)),
        (round(1, 1), round(0, 2)),
        (round(1, 1), round(1, 0)),
    ] {
        let block = child(&second(), at, Some(seed(found)), |_| ());
        assert_eq!(refused(&second(), &block), InvalidBlock::SeedRound { parent, found });
    }
    let block = child(&second(), round(0, 5), Some(seed(parent)), |_| ());
    assert_eq!(check_section(&second(), &block, |_| false), Err(InvalidBlock::SeedSignature));
    let block = child(&second(), round(0, 5), Some(seed(parent)), |header| header.mix_hash = B256::ZERO);
    assert_eq!(refused(&second(), &block), InvalidBlock::MixHash);
}

#[test]
fn a_block_has_one_encoding_and_its_hash_covers_all_of_it() {
    for block in [genesis(), child(&second(), round(0, 5), Some(seed(round(0, 3))), |_| ())] {
        let bytes = block.encode();
        let decoded = Block::decode(Copying(&bytes)).unwrap();
        assert_eq!(decoded.digest(), block.digest());
        assert_eq!(decoded.encode(), bytes);
        // Whatever byte is changed: it is no block, or another one.
        for at in 0..bytes.len() {
            let mut changed = bytes.to_vec();
            changed[at] ^= 1;
            let other = Block::decode(Copying(&changed));
            assert!(other.is_err() || other.unwrap().digest() != block.digest(), "byte {at}");
        }
        assert!(Block::decode(Copying(&bytes[..bytes.len() - 1])).is_err());
        assert!(Block::decode(Copying(&[bytes.as_ref(), &[0]].concat())).is_err());
    }
}

fn records() -> [Record; 4] {
    let hash = B256::repeat_byte(2);
    [
        Record::Account(AccountValues { nonce: 1, balance: U256::from(3), code_hash: hash }),
        Record::Slot { account: hash, slot: B256::repeat_byte(4), value: U256::from(5) },
        Record::Code { hash, length: 6, index: 7, bytes: [8; 58] },
        Record::Height(9),
    ]
}

#[test]
fn a_record_has_one_encoding() {
    for record in records() {
        let bytes = record.encode();
        assert_eq!(bytes.len(), 97);
        assert_eq!(Record::decode(Copying(&bytes)).unwrap(), record);
    }
    // Padding is zero, and there are four kinds.
    for record in [&records()[0], &records()[3]] {
        let mut bytes = record.encode().to_vec();
        bytes[96] = 1;
        assert!(Record::decode(Copying(&bytes)).is_err());
    }
    let mut bytes = records()[3].encode().to_vec();
    bytes[0] = 4;
    assert!(Record::decode(Copying(&bytes)).is_err());
}

/// Nodes of different versions would not understand each other, or their own disks, if one of these changed.
#[test]
fn formats_are_as_they_were() {
    let records: Vec<u8> = records().iter().flat_map(|record| record.encode().to_vec()).collect();
    let block = child(&second(), round(0, 5), Some(seed(round(0, 3))), |_| ());
    let golden = [blake3::hash(&genesis().encode()), blake3::hash(&block.encode()), blake3::hash(&records)];
    assert_eq!(
        golden.map(|hash| hash.to_hex()[..16].to_owned()),
        ["ef86cb053e73cca9", "52c8c162575c06d1", "dcc7150b5b68ea36"]
    );
}
