//! Groups of every size, read and received; damage and lies of every kind.

use std::{fs, io, ops::Range, path::Path};

use veracity_graph::{Digest, Manifest, ModelId, Part, Provenance};
use veracity_store::{
    GROUP_BYTES, GROUPS_MAX, GroupsError, Hosted, HostedError, HostedKind, PartName, PartialError, PutError,
    ReceiveError, Store, StoreError, encoded_bytes, group_count,
};

use crate::fixture::{bundle, wide_bundle};

const GROUP: usize = 16 << 10;
const SIZES: [usize; 14] = [
    0,
    1,
    1023,
    1024,
    1025,
    GROUP - 1,
    GROUP,
    GROUP + 1,
    2 * GROUP,
    3 * GROUP - 7,
    5 * GROUP + 1,
    8 * GROUP,
    9 * GROUP + 4096,
    13 * GROUP - 1024,
];

fn noise(size_bytes: usize) -> Vec<u8> {
    let mut bytes = vec![0; size_bytes];
    blake3::Hasher::new().update(&size_bytes.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn manifest(graph: &[u8], weights: &[u8]) -> Manifest {
    let provenance = Provenance {
        converter: String::new(),
        format: String::new(),
        source: Digest([0; 32]),
        options: String::new(),
        samples: None,
    };
    Manifest { graph: Part::of(graph), weights: Part::of(weights), provenance }
}

/// Puts bytes that are no model into a store, as if they were one.
fn plant(root: &Path, graph: &[u8], weights: &[u8]) -> (Store, Manifest, ModelId) {
    let store = Store::open(root).unwrap();
    let manifest = manifest(graph, weights);
    let id = manifest.model_id();
    let folder = root.join("models").join(id.to_string());
    fs::create_dir(&folder).unwrap();
    for (file, bytes) in [("manifest", manifest.encode().as_slice()), ("graph", graph), ("weights", weights)]
    {
        fs::write(folder.join(file), bytes).unwrap();
    }
    store.make_outboards(&id).unwrap();
    (store, manifest, id)
}

/// The specification's `encode`, word by word, with BLAKE3's own functions for subtrees.
fn encode(bytes: &[u8], span: Range<u64>, wanted: &Range<u64>, out: &mut Vec<u8>) {
    if span.end <= wanted.start || wanted.end <= span.start {
        return;
    }
    if span.end - span.start == 1 {
        out.extend_from_slice(slice(bytes, &span));
        return;
    }
    let middle = (span.start + 1..span.end).rfind(|m| (m - span.start).is_power_of_two()).unwrap();
    for side in [span.start..middle, middle..span.end] {
        out.extend_from_slice(&cv(bytes, &side));
    }
    encode(bytes, span.start..middle, wanted, out);
    encode(bytes, middle..span.end, wanted, out);
}

fn slice<'a>(bytes: &'a [u8], groups: &Range<u64>) -> &'a [u8] {
    let at = |group: u64| usize::try_from(group * GROUP_BYTES).unwrap().min(bytes.len());
    &bytes[at(groups.start)..at(groups.end)]
}

fn cv(bytes: &[u8], groups: &Range<u64>) -> [u8; 32] {
    use blake3::hazmat::HasherExt as _;
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(groups.start * GROUP_BYTES);
    hasher.update(slice(bytes, groups)).finalize_non_root()
}

#[test]
fn what_is_read_is_what_the_specification_says() {
    for size_bytes in SIZES {
        let dir = tempfile::tempdir().unwrap();
        let bytes = noise(size_bytes);
        let (store, _, id) = plant(dir.path(), b"g", &bytes);
        let n = group_count(size_bytes as u64);
        for (first, end) in (0..n).flat_map(|a| (a + 1..=n).map(move |b| (a, b))) {
            let encoded = store.read_groups(&id, PartName::Weights, first..end).unwrap();
            let mut expected = Vec::new();
            encode(&bytes, 0..n, &(first..end), &mut expected);
            assert_eq!(encoded, expected, "{size_bytes} bytes, groups {first}..{end}");
            assert_eq!(encoded.len() as u64, encoded_bytes(size_bytes as u64, &(first..end)));
        }
        for groups in [0..n + 1, n..n + 1, 0..0, n..n, u64::MAX - 1..u64::MAX, Range { start: 2, end: 1 }] {
            let error = store.read_groups(&id, PartName::Weights, groups).unwrap_err();
            assert!(matches!(error, GroupsError::Range { group_count, .. } if group_count == n), "{error}");
        }
    }
}

#[test]
fn whatever_is_missing_is_received_in_any_order() {
    for size_bytes in SIZES {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let bytes = noise(size_bytes);
        let (source, manifest, id) = plant(dirs[0].path(), &bytes, b"w");
        let store = Store::open(dirs[1].path()).unwrap();
        let n = group_count(size_bytes as u64);
        // Every third group, last first, each time in a new fetch that verifies what the others left.
        for turn in 0..3 {
            let partial = store.begin_fetch(&manifest).unwrap();
            let part = partial.part(PartName::Graph);
            let missing: Vec<u64> = part.missing().iter().cloned().flatten().collect();
            assert_eq!(missing, (0..n).filter(|g| g % 3 >= turn).collect::<Vec<_>>(), "{size_bytes} bytes");
            for group in (0..n).rev().filter(|g| g % 3 == turn) {
                let groups = group..group + 1;
                let encoded = source.read_groups(&id, PartName::Graph, groups.clone()).unwrap();
                let (written, result) = part.receive(&groups, encoded.as_slice());
                assert!(written == 1 && result.is_ok());
            }
        }
        assert_eq!(store.begin_fetch(&manifest).unwrap().part(PartName::Graph).missing(), []);
        let file = dirs[1].path().join("partial").join(id.to_string()).join("model/graph");
        assert_eq!(fs::read(file).unwrap(), bytes);
    }
}

#[test]
fn every_lie_is_found_before_its_group_is_kept() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let bytes = noise(3 * GROUP + 100);
    let (source, manifest, id) = plant(dirs[0].path(), b"g", &bytes);
    let store = Store::open(dirs[1].path()).unwrap();
    let encoded = source.read_groups(&id, PartName::Weights, 0..4).unwrap();
    let receive = |encoded: &[u8]| {
        let partial = store.begin_fetch(&manifest).unwrap();
        let (written, result) = partial.part(PartName::Weights).receive(&(0..4), encoded);
        drop(partial);
        let partial = store.begin_fetch(&manifest).unwrap();
        let missing: u64 = partial.part(PartName::Weights).missing().iter().map(|m| m.end - m.start).sum();
        assert_eq!(missing, 4 - written, "what was written is sound, and nothing else is there");
        let file = dirs[1].path().join("partial").join(id.to_string()).join("model/weights");
        let there = fs::read(file).unwrap();
        for (i, group) in there.chunks(GROUP).enumerate() {
            assert!(
                group.iter().all(|b| *b == 0) || group == &bytes[i * GROUP..bytes.len().min((i + 1) * GROUP)]
            );
        }
        partial.discard().unwrap();
        result
    };
    for position in (0..encoded.len()).step_by(1499).chain([0, 63, 64, encoded.len() - 1]) {
        let mut bad = encoded.clone();
        bad[position] ^= 1;
        let error = receive(&bad).unwrap_err();
        assert!(matches!(error, ReceiveError::WrongBytes { .. }), "byte {position}: {error}");
        let error = receive(&encoded[..position]).unwrap_err();
        assert!(matches!(error, ReceiveError::Truncated { .. }), "cut at {position}: {error}");
    }
    let error = receive(&[encoded.as_slice(), b"x"].concat()).unwrap_err();
    assert_eq!(error.to_string(), "bytes follow the range that was asked for");
    let zeros = receive(&vec![0; encoded.len()]).unwrap_err();
    assert_eq!(zeros.to_string(), "the bytes from 0 on are not those of the model");
    receive(&encoded).unwrap();
}

#[test]
fn a_source_that_fails_is_told_apart() {
    struct Broken;
    impl io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("gone"))
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let partial = store.begin_fetch(&wide_bundle(1).manifest).unwrap();
    let (written, result) = partial.part(PartName::Weights).receive(&(0..4), Broken);
    assert_eq!(written, 0);
    assert_eq!(result.unwrap_err().to_string(), "cannot read on: gone");
}

#[test]
fn a_damaged_part_or_hash_is_never_read() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _, id) = plant(dir.path(), b"g", &noise(2 * GROUP + 9));
    let folder = dir.path().join("models").join(id.to_string());
    for file in ["weights", "weights.obao"] {
        let good = fs::read(folder.join(file)).unwrap();
        for position in [0, 1, 40, good.len() / 2, good.len() - 1] {
            let mut bad = good.clone();
            bad[position] ^= 4;
            for bad in [bad, good[..position].to_vec()] {
                fs::write(folder.join(file), bad).unwrap();
                let error = store.read_groups(&id, PartName::Weights, 0..3).unwrap_err();
                assert!(matches!(error, GroupsError::Damaged { .. }), "{file} at {position}: {error}");
                let text = format!("{} or its hashes are damaged", folder.join("weights").display());
                assert!(error.to_string().starts_with(&text), "{error}");
                let made = store.make_outboards(&id);
                assert_eq!(made.is_ok(), file == "weights.obao", "hashes are made again, data are not");
                fs::write(folder.join(file), &good).unwrap();
            }
        }
        store.read_groups(&id, PartName::Weights, 0..3).unwrap();
    }
    fs::remove_file(folder.join("weights.obao")).unwrap();
    let error = store.read_groups(&id, PartName::Weights, 0..1).unwrap_err();
    assert_eq!(error.to_string(), format!("model {id} was not prepared for hosting; offer it first"));
    let error = store.read_groups(&ModelId(Digest([7; 32])), PartName::Graph, 0..1).unwrap_err();
    assert!(matches!(error, GroupsError::Store(StoreError::NotFound { .. })));
}

#[test]
fn more_groups_than_an_answer_holds_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _, id) =
        plant(dir.path(), b"g", &vec![5; (usize::try_from(GROUPS_MAX).unwrap() + 1) * GROUP]);
    assert!(store.read_groups(&id, PartName::Weights, 1..GROUPS_MAX + 1).is_ok());
    let error = store.read_groups(&id, PartName::Weights, 0..GROUPS_MAX + 1).unwrap_err();
    assert_eq!(
        error.to_string(),
        "257 groups from 0 are asked for; this part has 257, and an answer 1 to 256"
    );
}

#[test]
fn quarantine_ends_when_the_bytes_are_right_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let id = store.put(&bundle(1), None).unwrap();
    store.quarantine(&id, "weights").unwrap();
    assert!(store.is_quarantined(&id));
    store.make_outboards(&id).unwrap();
    assert!(!store.is_quarantined(&id));
    let gone = ModelId(Digest([1; 32]));
    assert!(matches!(store.quarantine(&gone, ""), Err(StoreError::NotFound { .. })));
    assert!(matches!(store.make_outboards(&gone), Err(StoreError::NotFound { .. })));
}

#[test]
fn a_fetch_is_refused_when_it_cannot_be() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let mut huge = manifest(b"g", b"w");
    huge.weights.size_bytes = u64::MAX;
    let error = store.begin_fetch(&huge).unwrap_err();
    assert!(matches!(error, PartialError::TooLarge { size_bytes: u64::MAX, .. }), "{error}");
    assert_eq!(store.partials().unwrap(), []);

    let manifest = wide_bundle(1).manifest;
    let id = manifest.model_id();
    let partial = store.begin_fetch(&manifest).unwrap();
    let text = format!("model {id} is being fetched by another process; wait for it or stop it");
    assert_eq!(store.begin_fetch(&manifest).unwrap_err().to_string(), text);
    assert_eq!(store.discard_partial(&id).unwrap_err().to_string(), text);
    assert_eq!(store.partials().unwrap(), [id]);
    assert_eq!(store.partial_manifest(&id), Some(manifest));
    let corrupt = |result: Result<(), PutError>| {
        assert!(matches!(result, Err(PutError::Store(StoreError::Corrupt { .. }))), "nothing was received");
    };
    corrupt(partial.check_graph());
    corrupt(partial.finish().map(drop));
    store.discard_partial(&id).unwrap();
    assert_eq!(store.partial_manifest(&id), None);
}

#[test]
fn what_is_no_model_does_not_become_visible() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (source, manifest, id) = plant(dirs[0].path(), b"no graph", b"w");
    let store = Store::open(dirs[1].path()).unwrap();
    let partial = store.begin_fetch(&manifest).unwrap();
    for name in PartName::ALL {
        let encoded = source.read_groups(&id, name, 0..1).unwrap();
        partial.part(name).receive(&(0..1), encoded.as_slice()).1.unwrap();
    }
    assert!(matches!(partial.check_graph(), Err(PutError::Bundle(_))));
    assert!(matches!(partial.finish(), Err(PutError::Bundle(_))));
    assert!(!store.contains(&id));
}

#[test]
fn the_index_has_one_text_and_one_writer() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.hosted().unwrap(), []);
    let lock = store.lock_hosted().unwrap();
    let text = store.lock_hosted().unwrap_err();
    assert!(matches!(text, HostedError::InUse { .. }));
    let entry =
        |byte, kind| Hosted { id: ModelId(Digest([byte; 32])), kind, size_bytes: 9, used_s: u64::MAX };
    let entries = [entry(1, HostedKind::Own), entry(2, HostedKind::Fetched), entry(3, HostedKind::Refused)];
    store.set_hosted(&lock, &[entries[2], entries[0], entries[1]]).unwrap();
    assert_eq!(store.hosted().unwrap(), entries);
    let path = dir.path().join("hosted/index");
    let good = fs::read(&path).unwrap();
    for position in 0..good.len() {
        let mut bad = good.clone();
        bad[position] ^= 1;
        for bad in [bad, good[..position].to_vec()] {
            fs::write(&path, bad).unwrap();
            assert!(matches!(store.hosted(), Err(StoreError::Corrupt { .. })), "byte {position}");
        }
    }
    drop(lock);
    store.lock_hosted().unwrap();
}
