//! Laws on generated input.

use proptest::prelude::*;
use sha2::{Digest as _, Sha256};
use veracity_light::{
    BlockHash, Evidence, Finalization, NetworkKey, Parts, Proposal, Round, SIGNATURE_BYTES, Subject, merkle,
};

use crate::fixture::{SUBJECT, Scene, anchored, evidence, validators};

fn sha(parts: &[&[u8]]) -> [u8; 32] {
    Sha256::digest(parts.concat()).into()
}

/// Level by level; an odd node at the end goes up as it is. The same tree as that of the recursion in RFC 9162.
fn naive_root(ids: &[[u8; 32]]) -> Option<[u8; 32]> {
    let mut level: Vec<_> = ids.iter().map(|id| sha(&[&[0], id])).collect();
    while level.len() > 1 {
        let pair = |nodes: &[[u8; 32]]| match nodes {
            [left, right] => sha(&[&[1], left, right]),
            [one] => *one,
            _ => unreachable!("chunks of two"),
        };
        level = level.chunks(2).map(pair).collect();
    }
    level.pop()
}

fn ids(n: usize) -> Vec<[u8; 32]> {
    (0..n).map(|i| sha(&[&i.to_le_bytes()])).collect()
}

#[test]
fn trees_of_every_small_size() {
    assert_eq!((merkle::root(&[]), merkle::path(&[], 0)), (None, None));
    assert_eq!(merkle::Tree::new(&[]), None);
    for size in 1..70 {
        let ids = ids(size);
        let root = merkle::root(&ids).unwrap();
        assert_eq!(Some(root), naive_root(&ids), "{size} leaves");
        assert_eq!(merkle::path(&ids, size), None);
        let tree = merkle::Tree::new(&ids).unwrap();
        assert_eq!((tree.root(), tree.path(size)), (root, None));
        let n = size as u64;
        for (index, id) in ids.iter().enumerate() {
            let (path, i) = (merkle::path(&ids, index).unwrap(), index as u64);
            assert_eq!(tree.path(index).as_ref(), Some(&path), "leaf {index} of {size}");
            assert!(merkle::is_included(id, i, n, &path, &root), "leaf {index} of {size}");
            for other in (0..n + 2).filter(|other| *other != i) {
                assert!(
                    !merkle::is_included(id, other, n, &path, &root),
                    "leaf {index} of {size} at {other}"
                );
            }
            let longer = [path.as_slice(), &[root]].concat();
            assert!(!merkle::is_included(id, i, n, &longer, &root));
            assert!(path.is_empty() || !merkle::is_included(id, i, n, &path[1..], &root));
            assert!(!merkle::is_included(&root, i, n, &path, &root), "an inner hash is no leaf");
            assert!(!merkle::is_included(id, i, 0, &path, &root));
        }
    }
}

#[test]
fn the_largest_batch_has_the_longest_path() {
    let ids = ids(merkle::BATCH_RECEIPTS_MAX as usize);
    let path = merkle::path(&ids, ids.len() - 1).unwrap();
    assert_eq!(path.len(), merkle::PATH_HASHES_MAX);
    let size = u64::from(merkle::BATCH_RECEIPTS_MAX);
    assert!(merkle::is_included(&ids[65_535], 65_535, size, &path, &naive_root(&ids).unwrap()));
}

prop_compose! {
    fn certificate()(
        numbers in prop::array::uniform3((any::<u64>(), 0_u32..64).prop_map(|(n, shift)| n >> shift)),
        payload in any::<[u8; 32]>(),
        vote in prop::collection::vec(any::<u8>(), SIGNATURE_BYTES),
        seed in prop::collection::vec(any::<u8>(), SIGNATURE_BYTES),
    ) -> Finalization {
        let [epoch, view, parent_view] = numbers;
        Finalization {
            proposal: Proposal { round: Round { epoch, view }, parent_view, payload: BlockHash::from_bytes(payload) },
            vote_signature: vote.try_into().unwrap(),
            seed_signature: seed.try_into().unwrap(),
        }
    }
}

fn blobs(size: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), size)
}

prop_compose! {
    fn any_parts()(
        certificate in certificate(),
        headers in blobs(1..5),
        transaction_index in any::<u64>(),
        nodes in blobs(1..5),
        log_index in any::<u64>(),
        path in prop::collection::vec(any::<[u8; 32]>(), 0..17),
    ) -> Parts {
        Parts { certificate, headers, transaction_index, nodes, log_index, path }
    }
}

/// Decodes and judges; what was decoded had one encoding.
fn judge(bytes: &[u8], key: &NetworkKey) -> Result<bool, TestCaseError> {
    let Ok(evidence) = Evidence::decode(bytes) else { return Ok(false) };
    prop_assert_eq!(evidence.encode(), bytes);
    Ok(veracity_light::verify(&evidence, &SUBJECT, key).is_ok())
}

proptest! {
    #[test]
    fn certificates_come_back(certificate in certificate()) {
        prop_assert_eq!(Finalization::decode(&certificate.encode()), Ok(certificate));
    }

    #[test]
    fn evidence_comes_back(parts in any_parts(), subject in any::<([u8; 32], u64, [u8; 32])>()) {
        let evidence = Evidence::new(parts).unwrap();
        prop_assert_eq!(Evidence::decode(&evidence.encode()), Ok(evidence.clone()));
        let (executor, sequence, receipt_id) = subject;
        let subject = Subject { executor, sequence, receipt_id };
        prop_assert!(evidence.verify_anchor(&subject).is_err());
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = Finalization::decode(&bytes);
        let _ = NetworkKey::from_bytes(&bytes);
        prop_assert!(!judge(&bytes, &validators().key())?);
    }

    /// Nodes that hash right but hold anything: the reader of the trie and of receipts meets bytes of all kinds.
    #[test]
    fn committed_rubbish_never_panics(
        value in prop::collection::vec(any::<u8>(), 0..200),
        is_leaf in any::<bool>(),
    ) {
        let node = if is_leaf { leaf(&value) } else { value };
        let root = BlockHash::of(&node);
        let parts = Parts {
            headers: vec![header(root.as_bytes())],
            nodes: vec![node],
            transaction_index: 0,
            ..evidence().parts().clone()
        };
        prop_assert!(Evidence::new(parts).unwrap().verify_anchor(&SUBJECT).is_err());
    }

    #[test]
    fn spliced_evidence_shows_nothing(
        start in any::<prop::sample::Index>(),
        length in 0_usize..6,
        splice in prop::collection::vec(any::<u8>(), 0..6),
    ) {
        let good = evidence().encode();
        let mut bytes = good.clone();
        let start = start.index(bytes.len());
        let end = (start + length).min(bytes.len());
        bytes.splice(start..end, splice);
        // Two pairings for each case that gets so far, which few do. Only the seed can differ, which nobody looks at.
        prop_assert!(is_same_but_for_the_seed(&bytes, &good) || !judge(&bytes, &validators().key())?);
    }
}

/// Whether evidence is the same as another but for the seed.
fn is_same_but_for_the_seed(bytes: &[u8], good: &[u8]) -> bool {
    let Ok(evidence) = Evidence::decode(bytes) else { return false };
    let mut parts = evidence.parts().clone();
    parts.certificate.seed_signature = Evidence::decode(good).unwrap().parts().certificate.seed_signature;
    Evidence::new(parts).unwrap().encode() == good
}

/// A leaf of the trie for the key of transaction 0.
fn leaf(value: &[u8]) -> Vec<u8> {
    alloy_rlp::encode(vec![alloy_primitives::Bytes::from_static(&[0x20, 0x80]), value.to_vec().into()])
}

fn header(receipts_root: &[u8; 32]) -> Vec<u8> {
    let receipts_root = alloy_primitives::B256::from(receipts_root);
    alloy_rlp::encode(alloy_consensus::Header { receipts_root, ..Default::default() })
}

/// Blocks of every shape of trie, batches of every size, blocks above: what is built verifies.
#[test]
fn built_evidence_verifies() {
    let (validators, key) = (validators(), validators().key());
    for (n_transactions, transaction) in
        [(1, 0), (2, 1), (17, 0), (127, 126), (128, 127), (129, 128), (130, 1), (300, 256), (300, 299)]
    {
        let scene = Scene { n_transactions, transaction, ..Scene::default() };
        assert_shows(&scene, &key, &validators);
    }
    for n_above in [0, 1, 63] {
        assert_shows(&Scene { n_above, ..Scene::default() }, &key, &validators);
    }
    for n_receipts in [3, 4, 7, 8, 100] {
        let mut ids = ids(n_receipts);
        ids[2] = SUBJECT.receipt_id;
        let logs = vec![anchored(&ids)];
        assert_shows(&Scene { ids, logs, log_index: 0, ..Scene::default() }, &key, &validators);
    }
}

fn assert_shows(scene: &Scene, key: &NetworkKey, validators: &crate::fixture::Validators) {
    let evidence = Evidence::new(scene.parts(validators)).unwrap();
    let (block, anchor) = veracity_light::verify(&evidence, &SUBJECT, key).unwrap();
    assert_eq!(block.certified_height, block.height + scene.n_above);
    assert_eq!((anchor.block, anchor.height, anchor.time), (block.hash, block.height, block.time));
    assert_eq!((anchor.batch, anchor.index), (3, 2));
}
