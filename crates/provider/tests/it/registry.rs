//! The registry of a real chain, and nodes that host by it.

use veracity_client::{MODELS, Models, RoleSet};
use veracity_graph::ModelId;
use veracity_hosting::{
    Client, Endpoint, FetchConfig, NodeId, Published, Registry, RegistryError, holders, pull,
};
use veracity_provider::ChainRegistry;
use veracity_store::Store;

use crate::{
    dev_chain::Network,
    fixture::{bundle, wide_bundle},
    network::{Member, wait_until},
};

#[test]
fn what_is_published_is_found() {
    let network = Network::start();
    let (alice, bob) = (network.account(1), network.account(2));
    let node = network.register(&alice, 1, RoleSet::HOST, "http://127.0.0.1:1");
    let seen = ChainRegistry::of_host(network.chain.clone(), alice.clone(), node);
    let (first, second) = (
        network.publish(&alice, "a/digits", "1", &bundle(1)),
        network.publish(&alice, "a/digits", "2", &wide_bundle(2)),
    );
    let other = network.publish(&bob, "other", "1", &bundle(3));
    assert_eq!(seen.resolve("a/digits", None).unwrap(), second);
    assert_eq!(seen.resolve("a/digits", Some("1")).unwrap(), first);
    for (name, version, shown) in [("nobody", None, "nobody"), ("other", Some("9"), "other 9")] {
        let error = seen.resolve(name, version).unwrap_err();
        assert!(matches!(&error, RegistryError::UnknownName { name } if name == shown), "{error}");
    }
    let size = |bundle: &veracity_graph::Bundle| (bundle.graph.len() + bundle.weights.len()) as u64;
    let published = |id, bundle: &_, own| Published { id, size_bytes: size(bundle), own };
    let all = [
        published(first, &bundle(1), true),
        published(second, &wide_bundle(2), true),
        published(other, &bundle(3), false),
    ];
    assert_eq!(seen.models(0, 256).unwrap(), all);
    assert_eq!(seen.models(1, 1).unwrap(), all[1..2]);
    assert_eq!(seen.models(3, 256).unwrap(), []);
    assert_eq!(seen.model(&other).unwrap(), all[2]);
    let unknown = bundle(9).model_id();
    assert!(matches!(seen.model(&unknown), Err(RegistryError::UnknownModel { id }) if id == unknown));
    // A reader owns nothing, and a name that changes hands is not remembered.
    assert!(network.reader().models(0, 256).unwrap().iter().all(|published| !published.own));
    let transfer = Models::transferNameCall { name: "a/digits".into(), to: bob.address() };
    network.chain.send(&alice, MODELS, &transfer, Default::default()).unwrap();
    assert!(!seen.model(&first).unwrap().own);
}

#[test]
fn announcements_are_said_again_without_harm() {
    let network = Network::start();
    let operator = network.account(1);
    let node = network.register(&operator, 1, RoleSet::HOST.with(RoleSet::WORKER), "http://127.0.0.1:1");
    let worker = network.register(&network.account(2), 2, RoleSet::WORKER, "http://127.0.0.1:2");
    let seen = ChainRegistry::of_host(network.chain.clone(), operator.clone(), node);
    assert_eq!((seen.candidates().unwrap(), seen.hosts_per_model().unwrap()), (vec![node], 3));
    let unknown = bundle(9).model_id();
    assert!(matches!(seen.announce(&unknown), Err(RegistryError::UnknownModel { id }) if id == unknown));
    assert!(matches!(seen.placement(&unknown), Err(RegistryError::UnknownModel { .. })));
    let id = network.publish(&operator, "digits", "1", &bundle(1));
    assert_eq!(seen.hosts(&id).unwrap(), []);
    for _ in 0..2 {
        seen.announce(&id).unwrap();
        let [host] = &seen.hosts(&id).unwrap()[..] else { panic!("one host") };
        assert_eq!((host.node, host.endpoint.as_str()), (node, "http://127.0.0.1:1"));
    }
    let reader = network.reader();
    for refused in [reader.announce(&id), reader.retract(&id)] {
        assert!(matches!(refused, Err(RegistryError::ReadOnly)), "{refused:?}");
    }
    for _ in 0..2 {
        seen.retract(&id).unwrap();
        assert_eq!(seen.hosts(&id).unwrap(), []);
    }
    // A worker is no candidate and cannot announce; who gives up the role is none any more.
    let not_host = ChainRegistry::of_host(network.chain.clone(), network.account(2), worker);
    let error = not_host.announce(&id).unwrap_err();
    assert!(matches!(&error, RegistryError::Unavailable(_)), "{error}");
    assert!(error.to_string().contains("NotBondedHost"), "{error}");
    seen.announce(&id).unwrap();
    network.chain.stake().set_roles(&operator, node.0.into(), RoleSet::WORKER).unwrap();
    assert_eq!((seen.candidates().unwrap(), seen.hosts(&id).unwrap()), (vec![], vec![]));
}

#[test]
fn a_chain_that_is_away_is_an_error_to_be_tried_again() {
    let mut network = Network::start();
    let seen = network.reader();
    network.stop();
    let error = seen.candidates().unwrap_err();
    assert!(matches!(error, RegistryError::Unavailable(_)), "{error}");
    assert!(error.to_string().contains("try again later"), "{error}");
}

/// The whole of it, without commands: three nodes and an author over HTTP and a chain.
#[test]
fn a_pushed_model_gets_its_hosts() {
    let network = Network::start();
    let members: Vec<Member> = (1..=5).map(|index| Member::start(&network, index)).collect();
    let author = &members[0];
    let bundle = wide_bundle(1);
    author.hosting.store().put(&bundle, None).unwrap();
    let id = network.publish(&network.account(1), "digits", "1", &bundle);
    let reader = network.reader();
    let candidates: Vec<NodeId> = members.iter().map(|member| member.id).collect();
    let held = |id: &ModelId| {
        let placement = reader.placement(id).unwrap();
        let announced = |node: &NodeId| placement.nodes.iter().any(|n| n.host.node == *node && n.announced);
        holders(id, &candidates, 3).iter().all(announced)
    };
    wait_until("the nearest three hold it", || held(&id));
    let placement = reader.placement(&id).unwrap();
    let ranks: Vec<_> = placement.nodes.iter().map(|node| node.rank).collect();
    assert!(ranks.is_sorted() && ranks.starts_with(&[0, 1, 2]), "{ranks:?}");
    assert!((3..=4).contains(&placement.n_announced()), "the author beside the three, if it is none");
    for host in placement.nodes {
        let member = members.iter().find(|member| member.id == host.host.node).unwrap();
        assert!(member.hosting.offers(&id) && member.hosting.store().get(&id).is_ok());
        assert!(host.host.endpoint.parse::<Endpoint>().is_ok());
    }
    // Somebody who has nothing gets it from them, also without the author.
    author.server.abort();
    assert!(author.ticks.stop(std::time::Duration::from_secs(60)), "it ends");
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let client = Client::new(FetchConfig { attempts_max: 2, ..FetchConfig::local() }).unwrap();
    assert_eq!(pull(&client, &store, &reader, id, 1 << 30, &()).unwrap(), id);
    assert_eq!(store.get(&id).unwrap().weights, bundle.weights);
}
