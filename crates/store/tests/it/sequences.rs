use std::{fs, path::PathBuf};

use veracity_store::{SequenceError, SequenceLog, Store, StoreError};

const EXECUTOR: [u8; 32] = [5; 32];
const RECORD_BYTES: usize = 64;

fn id(n: u64) -> [u8; 32] {
    let mut id = [1; 32];
    id[..8].copy_from_slice(&n.to_le_bytes());
    id
}

fn take(log: &SequenceLog, n: u64) -> Result<u64, SequenceError> {
    log.issue(|sequence| Ok((sequence, id(n))))
}

fn segment(store: &Store, number: u64) -> PathBuf {
    let executor: String = EXECUTOR.iter().map(|byte| format!("{byte:02x}")).collect();
    store.root().join("sequences").join(executor).join(format!("{number:016x}.log"))
}

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    (dir, store)
}

#[test]
fn sequences_go_on_where_they_were() {
    let (_dir, store) = store();
    for round in 0..3 {
        let log = store.sequence_log(&EXECUTOR).unwrap();
        assert_eq!(log.issued(), 10 * round);
        for n in 10 * round..10 * (round + 1) {
            assert_eq!(take(&log, n).unwrap(), n);
        }
    }
    let log = store.sequence_log(&EXECUTOR).unwrap();
    assert_eq!(log.ids(0..30).unwrap(), (0..30).map(id).collect::<Vec<_>>());
    assert_eq!(log.ids(7..9).unwrap(), [id(7), id(8)]);
    assert_eq!(log.ids(9..9).unwrap(), [[0; 32]; 0]);
    let other = store.sequence_log(&[6; 32]).unwrap();
    assert_eq!(take(&other, 0).unwrap(), 0, "another executor counts for itself");
}

#[test]
fn what_is_not_signed_takes_no_sequence() {
    let (_dir, store) = store();
    let log = store.sequence_log(&EXECUTOR).unwrap();
    let refuse = |_| Err::<((), [u8; 32]), _>(SequenceError::Unknown { sequence: 9, issued: 9 });
    assert!(log.issue(refuse).is_err());
    assert_eq!(take(&log, 0).unwrap(), 0);
}

/// Two logs stand for two processes.
#[test]
fn writers_side_by_side_never_share_a_sequence() {
    let (_dir, store) = store();
    let logs = [(); 2].map(|()| store.sequence_log(&EXECUTOR).unwrap());
    let mut taken: Vec<(u64, u64)> = std::thread::scope(|scope| {
        let writer = |t: u64| {
            let log = &logs[usize::from(t % 2 == 1)];
            scope.spawn(move || {
                (0..50).map(|i| (take(log, 100 * t + i).unwrap(), 100 * t + i)).collect::<Vec<_>>()
            })
        };
        let writers: Vec<_> = (0..4).map(writer).collect();
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });
    taken.sort_unstable();
    let log = store.sequence_log(&EXECUTOR).unwrap();
    let ids = log.ids(0..200).unwrap();
    for (expected, (sequence, n)) in (0..200).zip(taken) {
        assert_eq!(sequence, expected);
        assert_eq!(ids[usize::try_from(sequence).unwrap()], id(n));
    }
}

#[test]
fn sequences_that_are_not_there() {
    let (_dir, store) = store();
    let log = store.sequence_log(&EXECUTOR).unwrap();
    take(&log, 0).unwrap();
    let message = log.ids(0..2).unwrap_err().to_string();
    assert_eq!(message, "sequence 1 is not here: 1 are issued, and the oldest may be pruned");
}

/// A log whose first segment is full, made without issuing 65536 receipts.
fn with_full_segment(store: &Store) -> SequenceLog {
    let log = store.sequence_log(&EXECUTOR).unwrap();
    take(&log, 0).unwrap();
    drop(log);
    let record = |sequence: u64| {
        let input = [EXECUTOR.as_slice(), &sequence.to_le_bytes(), &id(sequence)].concat();
        [id(sequence), blake3::derive_key("veracity sequence record v1", &input)].concat()
    };
    let full: Vec<u8> = (0..65_536).flat_map(record).collect();
    assert!(full.starts_with(&fs::read(segment(store, 0)).unwrap()), "the layout of the specification");
    fs::write(segment(store, 0), full).unwrap();
    store.sequence_log(&EXECUTOR).unwrap()
}

#[test]
fn segments_follow_each_other_and_old_ones_can_go() {
    let (_dir, store) = store();
    let log = with_full_segment(&store);
    let behind = store.sequence_log(&EXECUTOR).unwrap();
    assert_eq!(log.issued(), 65_536);
    assert_eq!(take(&log, 65_536).unwrap(), 65_536);
    assert_eq!(take(&behind, 65_537).unwrap(), 65_537, "another process has begun the segment");
    assert_eq!(take(&log, 65_538).unwrap(), 65_538);
    let across = 65_530..65_539;
    assert_eq!(log.ids(across.clone()).unwrap(), across.map(id).collect::<Vec<_>>());

    log.prune(65_535).unwrap();
    assert!(segment(&store, 0).exists(), "it holds one that is wanted");
    log.prune(u64::MAX).unwrap();
    assert!(!segment(&store, 0).exists() && segment(&store, 1).exists());
    assert!(matches!(log.ids(0..1), Err(SequenceError::Unknown { sequence: 0, issued: 65_539 })));
    assert_eq!(take(&store.sequence_log(&EXECUTOR).unwrap(), 65_539).unwrap(), 65_539);
}

/// Who anchors receipts need not be who issues them.
#[test]
fn what_other_processes_issue_is_seen_when_it_is_looked_for() {
    let (_dir, store) = store();
    let log = with_full_segment(&store);
    let beside = store.sequence_log(&EXECUTOR).unwrap();
    for last in [65_536, 65_537] {
        assert_eq!(take(&beside, last).unwrap(), last);
        assert_eq!((log.issued(), log.refresh().unwrap(), log.issued()), (last, last + 1, last + 1));
        assert_eq!(log.ids(last..last + 1).unwrap(), [id(last)]);
    }
    assert_eq!(log.refresh().unwrap(), 65_538, "nothing is new");
    assert_eq!(take(&log, 65_538).unwrap(), 65_538);
    // What a process wrote that ended before it was done is nobody's.
    let mut bytes = fs::read(segment(&store, 1)).unwrap();
    bytes.extend([7; 10]);
    fs::write(segment(&store, 1), bytes).unwrap();
    assert_eq!(beside.refresh().unwrap(), 65_539);
}

#[test]
fn a_segment_that_is_cut_before_the_last_is_refused() {
    let (_dir, store) = store();
    let log = with_full_segment(&store);
    take(&log, 65_536).unwrap();
    let full = fs::read(segment(&store, 0)).unwrap();
    fs::write(segment(&store, 0), &full[..full.len() - RECORD_BYTES]).unwrap();
    let message = store.sequence_log(&EXECUTOR).unwrap_err().to_string();
    assert!(message.contains("the record of sequence 65535 is damaged"), "{message}");
}

#[test]
fn what_was_never_acknowledged_is_cut_off() {
    let (_dir, store) = store();
    let log = store.sequence_log(&EXECUTOR).unwrap();
    (0..3).for_each(|n| assert_eq!(take(&log, n).unwrap(), n));
    drop(log);
    let whole = fs::read(segment(&store, 0)).unwrap();
    for length in 0..=whole.len() {
        fs::write(segment(&store, 0), &whole[..length]).unwrap();
        let log = store.sequence_log(&EXECUTOR).unwrap();
        assert_eq!(log.issued(), (length / RECORD_BYTES) as u64);
    }
    for n_zeros in [1, 64, 100, 1000] {
        fs::write(segment(&store, 0), [whole.as_slice(), &vec![0; n_zeros]].concat()).unwrap();
        let log = store.sequence_log(&EXECUTOR).unwrap();
        assert_eq!(take(&log, 3).unwrap(), 3, "{n_zeros} zeros");
    }
    // A process that dies while another has the log open.
    let log = store.sequence_log(&EXECUTOR).unwrap();
    let written = fs::read(segment(&store, 0)).unwrap();
    fs::write(segment(&store, 0), [written.as_slice(), &[9; 63]].concat()).unwrap();
    assert_eq!(take(&log, 4).unwrap(), 4);
    assert_eq!(store.sequence_log(&EXECUTOR).unwrap().ids(0..5).unwrap(), (0..5).map(id).collect::<Vec<_>>());
}

#[test]
fn damaged_records_are_refused_and_never_reused() {
    let (_dir, store) = store();
    let log = store.sequence_log(&EXECUTOR).unwrap();
    (0..2).for_each(|n| assert_eq!(take(&log, n).unwrap(), n));
    let good = fs::read(segment(&store, 0)).unwrap();
    for position in 0..good.len() {
        let mut bad = good.clone();
        bad[position] ^= 1;
        fs::write(segment(&store, 0), bad).unwrap();
        let error = store.sequence_log(&EXECUTOR).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "byte {position}");
        let message = log.ids(0..2).unwrap_err().to_string();
        let expected = format!("the record of sequence {} is damaged", position / RECORD_BYTES);
        assert!(message.contains(&expected), "{message}");
    }
    let hole = [&[0; RECORD_BYTES], &good[RECORD_BYTES..]].concat();
    fs::write(segment(&store, 0), hole).unwrap();
    let message = store.sequence_log(&EXECUTOR).unwrap_err().to_string();
    assert!(message.contains("remove the executor key to become a new executor"), "{message}");
}
