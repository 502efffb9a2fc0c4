//! Contracts and transactions of a real chain.

use std::thread;

use alloy_primitives::{Address, B256, U256};
use veracity_client::{Account, ClientError, Publication, Receipts, RoleSet, Stake};

use crate::dev_chain::{CHAIN_ID, Network};

fn ether(amount: u64) -> U256 {
    U256::from(amount) * U256::from(10).pow(U256::from(18))
}

#[test]
fn money_moves_and_threads_take_turns() {
    let network = Network::start();
    let (chain, account) = (&network.chain, network.account(0));
    assert_eq!((chain.id(), chain.check_id()), (CHAIN_ID, Ok(())));
    let to = Address::repeat_byte(0x42);
    let sent = chain.transfer(&account, to, U256::from(5)).unwrap();
    assert!(sent.height > 0 && sent.logs.is_empty());
    // Three threads and one account: no nonce is used twice.
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| (0..3).for_each(|_| drop(chain.transfer(&account, to, U256::ONE).unwrap())));
        }
    });
    assert_eq!(chain.balance(to).unwrap(), U256::from(14));
    let poor = Account::from_key(B256::repeat_byte(9)).unwrap();
    let error = chain.transfer(&poor, to, U256::ONE).unwrap_err();
    assert!(
        matches!(&error, ClientError::Node { .. }) && error.to_string().contains("insufficient"),
        "{error}"
    );
}

#[test]
fn the_contracts_answer_typed_and_refuse_in_words() {
    let network = Network::start();
    let (chain, account) = (&network.chain, network.account(0));
    let (node, stake) = (B256::repeat_byte(3), network.chain.stake());
    assert_eq!(chain.parameter("hosts_per_model").unwrap(), U256::from(3));
    let Err(ClientError::Refused(refusal)) = chain.parameter("no_such") else { panic!("it is refused") };
    assert_eq!(refusal.name(), Some("UnknownParameter"));

    assert_eq!(stake.node(node).unwrap(), None);
    assert!(
        !stake.has_role(node, RoleSet::WORKER).unwrap() && !stake.is_bonded(node, RoleSet::HOST).unwrap()
    );
    let roles = RoleSet::WORKER.with(RoleSet::HOST);
    assert_eq!(stake.required_bond(roles).unwrap(), ether(1100));
    assert_eq!(stake.node_count().unwrap(), 1);
    let validator = stake.nodes(0, 10).unwrap()[0];
    let info = stake.node(validator).unwrap().unwrap();
    assert_eq!((info.roles, info.bond), (RoleSet::VALIDATOR.0, ether(10_000)));
    assert!(stake.binding_message(account.address()).unwrap().len() == 81);
    // A refusal comes before anything is paid.
    let before = chain.balance(account.address()).unwrap();
    let error = stake.register(&account, node, roles, "", [0; 64], ether(1)).unwrap_err();
    let ClientError::Refused(refusal) = &error else { panic!("{error}") };
    assert!(refusal.decode::<Stake::BadProof>().is_some(), "{error}");
    assert_eq!(chain.balance(account.address()).unwrap(), before);

    let receipts = chain.receipts();
    assert_eq!((receipts.next_sequence(node).unwrap(), receipts.batch_count(node).unwrap()), (0, 0));
    let ClientError::Refused(refusal) = receipts.batch(node, 0).unwrap_err() else { panic!("it is refused") };
    assert!(refusal.decode::<Receipts::UnknownBatch>().is_some());
    let error = receipts.anchor(&account, node, 0, 1, node).unwrap_err();
    assert!(error.to_string().starts_with("UnknownNode (nodeId 0x03030303"), "{error}");
}

#[test]
fn models_are_published_and_found() {
    let network = Network::start();
    let (chain, account) = (&network.chain, network.account(1));
    let models = chain.models();
    let publication = Publication {
        model: B256::repeat_byte(0x11),
        name: "digits".into(),
        version: "1".into(),
        licence: "MIT".into(),
        size_bytes: 77,
        manifest_root: B256::repeat_byte(0x12),
        price_per_request: 1,
        price_per_mega_mac: 2,
    };
    assert_eq!(models.resolve("digits", None).unwrap(), None);
    assert_eq!(models.model(publication.model).unwrap(), None);
    let sent = models.publish(&account, &publication).unwrap();
    // The price, and the publication.
    assert_eq!((sent.logs.len(), sent.logs[0].address), (2, veracity_client::MODELS));
    for version in [None, Some("1")] {
        assert_eq!(models.resolve("digits", version).unwrap(), Some(publication.model));
    }
    assert_eq!(models.resolve("digits", Some("2")).unwrap(), None);
    let found = models.model(publication.model).unwrap().unwrap();
    assert_eq!((found.owner, found.sizeBytes, found.pricePerMegaMac), (account.address(), 77, 2));
    assert_eq!((models.model_count().unwrap(), models.models(0, 256).unwrap()), (1, vec![publication.model]));
    assert_eq!(models.hosts(publication.model, 0, 256).unwrap(), []);
    let error = models.announce(&account, publication.model, B256::ZERO).unwrap_err();
    assert!(matches!(error, ClientError::Refused(_)), "{error}");
    // Proofs of what was done, for those who verify by themselves.
    let inclusion = chain.inclusion(sent.hash).unwrap().unwrap();
    assert_eq!((inclusion.block_number, inclusion.index), (sent.height, sent.index));
    assert_eq!(chain.logs_at(sent.height, veracity_client::MODELS, &[]).unwrap(), sent.logs);
    assert_eq!(chain.network_key().unwrap(), network.key_bytes());
    let finalization = loop {
        if let Some(finalization) = chain.finalization(sent.height).unwrap() {
            break finalization;
        }
    };
    assert_eq!(finalization.headers[0], inclusion.header);
    assert_eq!(chain.inclusion(B256::ZERO).unwrap(), None);
}
