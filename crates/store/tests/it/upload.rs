use std::io::Read;

use veracity_graph::{Bundle, DecodeError};
use veracity_store::{PutError, Store};

use crate::fixture::bundle;

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    (dir, store)
}

#[test]
fn what_is_put_comes_back() {
    let (_dir, store) = store();
    let id = store.put_reader(bundle(1).encode().as_slice(), 1 << 20).unwrap();
    assert_eq!(store.get(&id).unwrap(), bundle(1));
    assert_eq!(store.report(&id).unwrap(), None);
    assert_eq!(store.put(&bundle(1), Some(b"[]")).unwrap(), id, "again, now with a report");
    assert_eq!(store.report(&id).unwrap().unwrap(), b"[]");
    assert_eq!(store.put(&bundle(1), None).unwrap(), id, "again, without");
    assert_eq!(store.report(&id).unwrap().unwrap(), b"[]");
}

#[test]
fn every_shortened_or_damaged_upload_is_refused_and_leaves_nothing() {
    let (dir, store) = store();
    let bytes = bundle(1).encode();
    for len in 0..bytes.len() {
        let error = store.put_reader(&bytes[..len], 1 << 20).unwrap_err();
        let fits = matches!(
            error,
            PutError::Truncated { .. }
                | PutError::Bundle(DecodeError::Truncated { .. } | DecodeError::Magic { .. })
        );
        assert!(fits, "{len} bytes: {error}");
    }
    let id = bundle(1).model_id();
    for position in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[position] ^= 1;
        // A change of the provenance names another model, which is as good as this one.
        if store.put_reader(bad.as_slice(), 1 << 20).is_ok() {
            assert_ne!(Bundle::decode(&bad).unwrap().model_id(), id);
        }
    }
    assert!(!store.contains(&id));
    let error = store.put_reader([bytes.as_slice(), b"x"].concat().as_slice(), 1 << 20).unwrap_err();
    assert_eq!(error.to_string(), format!("bytes follow the bundle, whose header announces {}", bytes.len()));
    let error = store.put_reader(&bytes[..bytes.len() - 1], 1 << 20).unwrap_err();
    let expected = format!(
        "the bundle ends after {} bytes, its header announces {}; send it again",
        bytes.len() - 1,
        bytes.len()
    );
    assert_eq!(error.to_string(), expected);
    assert!(!store.contains(&id));
    assert_eq!(std::fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
}

#[test]
fn a_large_upload_is_refused_from_its_header() {
    let (_dir, store) = store();
    let mut large = bundle(1);
    large.manifest.weights.size_bytes = 1 << 40;
    let header = large.encode()[..Bundle::read_header(&large.encode()).unwrap().size_bytes].to_vec();
    let mut source = header.as_slice().chain(std::io::repeat(0));
    let error = store.put_reader(&mut source, 1 << 20).unwrap_err();
    assert!(error.to_string().ends_with(" bytes, at most 1048576 are allowed"), "{error}");
    large.manifest.graph.size_bytes = u64::MAX;
    assert!(matches!(
        store.put_reader(large.encode().as_slice(), u64::MAX - 1),
        Err(PutError::TooLarge { .. })
    ));
}

#[test]
fn a_bundle_that_is_no_model_is_refused() {
    let (_dir, store) = store();
    let mut bad = bundle(1);
    bad.weights.pop();
    bad.manifest.weights = veracity_graph::Part::of(&bad.weights);
    let expected = "not a valid model: the constants need 14 bytes, the weights have 13";
    assert_eq!(store.put_reader(bad.encode().as_slice(), 1 << 20).unwrap_err().to_string(), expected);
    assert_eq!(store.put(&bad, None).unwrap_err().to_string(), expected);
    bad.graph.push(0);
    bad.manifest.graph = veracity_graph::Part::of(&bad.graph);
    assert!(matches!(store.put_reader(bad.encode().as_slice(), 1 << 20), Err(PutError::Bundle(_))));
    bad.weights.push(9);
    assert!(matches!(store.put(&bad, None), Err(PutError::Bundle(DecodeError::PartMismatch { .. }))));
    assert!(store.list().unwrap().is_empty());
}
