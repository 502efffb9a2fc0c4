//! The sequences of an executor are cut at every step, by an ending process and by power loss, and opened again: no
//! sequence that was acknowledged is given to another receipt, and none is left out.

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex},
};

use crate::{
    SequenceError, Store,
    crash_tests::Image,
    disk::{Disk, Step},
};

const EXECUTOR: [u8; 32] = [5; 32];

fn id(n: u64) -> [u8; 32] {
    let mut id = [1; 32];
    id[..8].copy_from_slice(&n.to_le_bytes());
    id
}

fn issue(store: &Store, n: u64) -> Result<u64, String> {
    let log = store.sequence_log(&EXECUTOR).map_err(|error| error.to_string())?;
    log.issue(|sequence| Ok::<_, SequenceError>((sequence, id(n)))).map_err(|error| error.to_string())
}

/// Issues three receipts, opening the log anew for each, with the process gone at step `n`; tells how many were
/// acknowledged.
fn run(root: &Path, image: &Arc<Mutex<Image>>, n: usize) -> u64 {
    let (count, shared) = (Mutex::new(0), Arc::clone(image));
    let hook = move |step: &Step| {
        let mut count = count.lock().unwrap();
        *count += 1;
        if *count > n {
            return Err(io::Error::other("crash"));
        }
        shared.lock().unwrap().apply(step);
        Ok(())
    };
    let Ok(store) = Store::open_on(root.to_owned(), Disk::with_hook(Arc::new(hook))) else { return 0 };
    for receipt in 0..3 {
        match issue(&store, receipt) {
            Ok(sequence) => assert_eq!(sequence, receipt),
            Err(_) => return receipt,
        }
    }
    3
}

fn check(root: &Path, n_acknowledged: u64, what: &str) {
    let store = Store::open(root).unwrap_or_else(|error| panic!("{what}: {error}"));
    let log = store.sequence_log(&EXECUTOR).unwrap_or_else(|error| panic!("{what}: {error}"));
    let issued = log.issued();
    assert!((n_acknowledged..=n_acknowledged + 1).contains(&issued), "{what}: {issued} of {n_acknowledged}");
    let expected: Vec<_> = (0..issued).map(id).collect();
    assert_eq!(log.ids(0..issued).unwrap(), expected, "{what}");
    assert_eq!(issue(&store, 77), Ok(issued), "{what}: no gap, nothing twice");
}

#[test]
fn no_sequence_is_used_twice_or_left_out_wherever_it_stops() {
    let mut n = 0;
    loop {
        let dir = tempfile::tempdir().unwrap();
        let [root, lazy, eager] = ["live", "lazy", "eager"].map(|folder| dir.path().join(folder));
        let image = Arc::new(Mutex::new(Image::new(root.clone())));
        let n_acknowledged = run(&root, &image, n);
        for (folder, is_eager) in [(&lazy, false), (&eager, true)] {
            image.lock().unwrap().write(is_eager, folder);
        }
        check(&root, n_acknowledged, &format!("killed at step {n}"));
        check(&lazy, n_acknowledged, &format!("power lost at step {n}, nothing unsynced kept"));
        check(&eager, n_acknowledged, &format!("power lost at step {n}, entries kept without content"));
        if n_acknowledged == 3 {
            break;
        }
        n += 1;
    }
    assert!(n > 15, "only {n} steps were cut");
}

/// Fails one step of a log that is open: once, with this error.
fn with_fault(fails: fn(&Step) -> bool, kind: io::ErrorKind) -> (tempfile::TempDir, Store, Arc<Mutex<bool>>) {
    let armed = Arc::new(Mutex::new(false));
    let shared = Arc::clone(&armed);
    let hook = move |step: &Step| match *shared.lock().unwrap() && fails(step) {
        true => Err(kind.into()),
        false => Ok(()),
    };
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_on(dir.path().to_owned(), Disk::with_hook(Arc::new(hook))).unwrap();
    (dir, store, armed)
}

#[test]
fn a_full_disk_takes_no_sequence() {
    let (_dir, store, armed) = with_fault(|step| matches!(step, Step::Append(_)), io::ErrorKind::StorageFull);
    let log = store.sequence_log(&EXECUTOR).unwrap();
    let take = |n| log.issue(|sequence| Ok::<_, SequenceError>((sequence, id(n))));
    assert_eq!(take(0).unwrap(), 0);
    *armed.lock().unwrap() = true;
    assert!(take(1).unwrap_err().to_string().starts_with("the disk is full at "));
    *armed.lock().unwrap() = false;
    assert_eq!(take(2).unwrap(), 1);
    assert_eq!(log.ids(0..2).unwrap(), [id(0), id(2)]);
}

#[test]
fn after_a_failed_sync_the_log_is_opened_again_before_it_goes_on() {
    let (_dir, store, armed) = with_fault(|step| matches!(step, Step::SyncFile(_)), io::ErrorKind::Other);
    let log = store.sequence_log(&EXECUTOR).unwrap();
    let take = |n| log.issue(|sequence| Ok::<_, SequenceError>((sequence, id(n))));
    assert_eq!(take(0).unwrap(), 0);
    *armed.lock().unwrap() = true;
    assert!(take(1).unwrap_err().to_string().starts_with("cannot sync "));
    *armed.lock().unwrap() = false;
    let error = take(2).unwrap_err();
    assert!(matches!(error, SequenceError::Broken { .. }));
    assert!(error.to_string().contains("check the disk and start again"), "{error}");
    assert_eq!(log.issued(), 1);
    // The receipt that was not acknowledged keeps its sequence; nobody else gets it.
    assert_eq!(issue(&store, 3), Ok(2));
}
