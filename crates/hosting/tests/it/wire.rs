//! Honest hosts: whatever is fetched is what was offered.

use std::{fs, sync::atomic::Ordering, time::Duration};

use veracity_hosting::{Client, FetchConfig, FetchError, Order, ReserveError, RoomError, fetch};
use veracity_store::{PartName, Store};

use crate::{
    fixture::{bundle, bundle_with_rows, wide_bundle},
    network::{Node, Watch, client, config, fetch_from, order, size_bytes},
};

#[test]
fn a_model_comes_from_several_hosts_in_pieces() {
    // Two pieces of 4 MiB and one of a few groups.
    let model = bundle_with_rows(1, 2_100_000);
    let nodes = [Node::with(1, &[&model]), Node::with(2, &[&model])];
    let sources = [nodes[0].source.clone(), nodes[1].source.clone()];
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let watch = Watch::default();
    let id = fetch_from(&client(), &store, &model, &sources, &watch).unwrap();
    assert_eq!(store.get(&id).unwrap(), model);
    assert_eq!(watch.bytes.load(Ordering::Relaxed), size_bytes(&model));
    assert!(watch.began.load(Ordering::Relaxed));
    assert_eq!(store.partials().unwrap(), []);
    assert_eq!(*watch.reports.lock().unwrap(), Vec::<String>::new());
}

#[test]
fn models_of_every_size_come_whole() {
    for rows in [3, 4093, 4094, 4095, 4096, 8190, 16_382, 20_000] {
        let model = bundle_with_rows(2, rows);
        let node = Node::with(1, &[&model]);
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let id = fetch_from(&client(), &store, &model, node.sources(), &Watch::default()).unwrap();
        assert_eq!(store.get(&id).unwrap(), model, "{rows} rows");
    }
}

#[test]
fn a_stopped_fetch_goes_on_where_it_was() {
    let model = bundle_with_rows(1, 3_200_000);
    let node = Node::with(1, &[&model]);
    let dir = tempfile::tempdir().unwrap();
    let mut brought = 0;
    // One connection, so that it is known when it stops; the process is new each time.
    let client = Client::new(FetchConfig { connections: 1, ..config() }).unwrap();
    for turn in 0..4 {
        let store = Store::open(dir.path()).unwrap();
        let watch = Watch { bytes_max: (turn < 3).then_some(1), ..Watch::default() };
        let result = fetch_from(&client, &store, &model, node.sources(), &watch);
        brought += watch.bytes.load(Ordering::Relaxed);
        match turn {
            3 => assert_eq!(store.get(&result.unwrap()).unwrap(), model),
            _ => assert!(matches!(result, Err(FetchError::Stopped))),
        }
    }
    assert_eq!(brought, size_bytes(&model), "nothing came twice");
}

#[test]
fn a_damaged_partial_file_is_mended() {
    let model = wide_bundle(1);
    let node = Node::with(1, &[&model]);
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let partial = store.begin_fetch(&model.manifest).unwrap();
    for (name, groups) in [(PartName::Graph, 0..1), (PartName::Weights, 0..4)] {
        let encoded = node.hosting.groups(&model.model_id(), name, groups.clone()).unwrap();
        partial.part(name).receive(&groups, encoded.as_slice()).1.unwrap();
    }
    drop(partial);
    let partial = dir.path().join("partial").join(model.model_id().to_string()).join("model");
    for (file, position) in [("weights", 20_000), ("weights.obao", 70), ("graph", 5)] {
        let mut bytes = fs::read(partial.join(file)).unwrap();
        bytes[position] ^= 1;
        fs::write(partial.join(file), bytes).unwrap();
    }
    fs::write(partial.join("manifest"), b"x").unwrap();
    let watch = Watch::default();
    let id = fetch_from(&client(), &store, &model, node.sources(), &watch).unwrap();
    assert_eq!(store.get(&id).unwrap(), model);
    assert!(watch.bytes.load(Ordering::Relaxed) < size_bytes(&model), "what was sound was not fetched again");
}

#[test]
fn sizes_are_checked_before_room_is_made() {
    let model = wide_bundle(1);
    let node = Node::with(1, &[&model]);
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let sources = [node.source];
    let good = order(&model, &sources);
    let no_room = |_: &_| panic!("nothing is reserved");
    let refused = |order: Order<'_>| fetch(&client(), &store, order, no_room, &()).unwrap_err();

    let error = refused(Order { stated_bytes: Some(1), ..good });
    let found = size_bytes(&model);
    assert_eq!(
        error.to_string(),
        format!(
            "the registry says that the model has 1 bytes, its manifest {found}; the entry lies and is ignored"
        )
    );
    assert!(error.is_final());
    let error = refused(Order { size_bytes_max: 9, ..good });
    assert!(matches!(error, FetchError::TooLarge { size_bytes, size_bytes_max: 9 } if size_bytes == found));
    assert!(!error.is_final());
    let error = refused(Order { sources: &[], ..good });
    assert!(matches!(error, FetchError::NoHosts { .. }));

    let room = RoomError::from(ReserveError::AboveLimit { size_bytes: 2, limit_bytes: 1 });
    let error = fetch(&client(), &store, good, |_| Err(room), &()).unwrap_err();
    assert!(matches!(error, FetchError::Room(RoomError::Reserve(_))), "{error}");
    assert_eq!(store.partials().unwrap(), []);
}

#[test]
fn a_fetch_that_takes_too_long_goes_on_later() {
    let model = wide_bundle(1);
    let node = Node::with(1, &[&model]);
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let short = FetchConfig { fetch_timeout: Some(Duration::from_nanos(1)), ..config() };
    let watch = Watch::default();
    let error = fetch_from(&Client::new(short).unwrap(), &store, &model, node.sources(), &watch).unwrap_err();
    assert_eq!(error.to_string(), "the fetch took more than 0 s; start it again to go on");
    assert!(!error.is_final());
    fetch_from(&client(), &store, &model, node.sources(), &Watch::default()).unwrap();
}

#[test]
fn no_more_hosts_are_asked_than_allowed() {
    let model = wide_bundle(1);
    let nodes = [Node::with(1, &[]), Node::with(2, &[&model])];
    let sources = nodes.each_ref().map(|node| node.source.clone());
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let one = Client::new(FetchConfig { hosts_max: 1, ..config() }).unwrap();
    let error = fetch_from(&one, &store, &model, &sources, &Watch::default()).unwrap_err();
    assert!(matches!(&error, FetchError::AllHostsFailed { reports, .. } if reports.len() == 1), "{error}");
    fetch_from(&client(), &store, &model, &sources, &Watch::default()).unwrap();
}

#[test]
fn a_store_that_fails_keeps_what_came() {
    let model = wide_bundle(1);
    let node = Node::with(1, &[&model]);
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let place = dir.path().join("models").join(model.model_id().to_string());
    fs::write(&place, b"in the way").unwrap();
    let error = fetch_from(&client(), &store, &model, node.sources(), &Watch::default()).unwrap_err();
    assert!(matches!(error, FetchError::Store(_)), "{error}");
    fs::remove_file(&place).unwrap();
    let watch = Watch::default();
    let id = fetch_from(&client(), &store, &model, node.sources(), &watch).unwrap();
    assert_eq!(store.get(&id).unwrap(), model);
    assert_eq!(watch.bytes.load(Ordering::Relaxed), 0, "all was there");
}

#[test]
fn a_fetch_under_way_is_left_alone() {
    let model = bundle(1);
    let node = Node::with(1, &[&model]);
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let _partial = store.begin_fetch(&model.manifest).unwrap();
    let error = fetch_from(&client(), &store, &model, node.sources(), &Watch::default()).unwrap_err();
    assert!(matches!(error, FetchError::Partial(_)), "{error}");
}

#[test]
fn addresses_that_are_not_public_are_refused() {
    let model = bundle(1);
    let node = Node::with(1, &[&model]);
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let client = Client::new(FetchConfig { private_addresses: false, ..config() }).unwrap();
    let error = fetch_from(&client, &store, &model, node.sources(), &Watch::default()).unwrap_err();
    assert!(error.to_string().contains("its address is not public"), "{error}");
}
