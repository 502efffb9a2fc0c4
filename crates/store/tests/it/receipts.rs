use std::fs;

use veracity_store::{ReceiptLimits, ReceiptLogError, Store, StoreError};

fn id(n: u32) -> [u8; 32] {
    let mut id = [0; 32];
    id[..4].copy_from_slice(&n.to_le_bytes());
    id
}

fn receipt(n: u32) -> Vec<u8> {
    vec![n.to_le_bytes()[0]; 600]
}

#[test]
fn receipts_are_found_again_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let log = store.receipt_log(ReceiptLimits::default()).unwrap();
    assert!(log.is_empty());
    for n in 0..100 {
        log.append(&id(n), &receipt(n)).unwrap();
        log.append(&id(n), &receipt(n)).unwrap();
    }
    log.sync().unwrap();
    assert!(matches!(store.receipt_log(ReceiptLimits::default()), Err(ReceiptLogError::InUse { .. })));
    drop(log);
    let log = store.receipt_log(ReceiptLimits::default()).unwrap();
    assert_eq!(log.len(), 100);
    for n in 0..100 {
        assert_eq!(log.get(&id(n)).unwrap(), Some(receipt(n)));
    }
    assert_eq!(log.get(&id(100)).unwrap(), None);
}

#[test]
fn the_oldest_go_first() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    for limits in [
        ReceiptLimits { size_bytes_max: 64 << 10, ..ReceiptLimits::default() },
        ReceiptLimits { count_max: 100, ..ReceiptLimits::default() },
    ] {
        let log = store.receipt_log(limits).unwrap();
        let first = if limits.count_max == 100 { 2000 } else { 1000 };
        for n in first..first + 500 {
            log.append(&id(n), &receipt(n)).unwrap();
            assert!(log.len() <= 101);
        }
        assert_eq!(log.get(&id(first)).unwrap(), None);
        for n in first + 430..first + 500 {
            assert_eq!(log.get(&id(n)).unwrap(), Some(receipt(n)));
        }
    }
    let log = store.receipt_log(ReceiptLimits { size_bytes_max: 1600, count_max: 9 }).unwrap();
    assert!(matches!(
        log.append(&id(0), &receipt(0)),
        Err(ReceiptLogError::TooLarge { max: 100, found: 600 })
    ));
}

#[test]
fn a_log_cut_anywhere_keeps_its_whole_receipts_and_takes_more() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let log = store.receipt_log(ReceiptLimits::default()).unwrap();
    (0..3).for_each(|n| log.append(&id(n), b"receipt").unwrap());
    drop(log);
    let path = dir.path().join("receipts").join("0000000000000000.log");
    let whole = fs::read(&path).unwrap();
    let record = whole.len() / 3;
    for len in 0..whole.len() {
        fs::write(&path, &whole[..len]).unwrap();
        let log = store.receipt_log(ReceiptLimits::default()).unwrap();
        assert_eq!(log.len(), len / record, "{len} bytes");
        log.append(&id(7), b"later").unwrap();
        drop(log);
        let log = store.receipt_log(ReceiptLimits::default()).unwrap();
        assert_eq!(log.get(&id(7)).unwrap().unwrap(), b"later");
    }
}

#[test]
fn a_damaged_record_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let log = store.receipt_log(ReceiptLimits::default()).unwrap();
    log.append(&id(1), b"receipt").unwrap();
    let path = dir.path().join("receipts").join("0000000000000000.log");
    let good = fs::read(&path).unwrap();
    for position in 0..good.len() {
        let mut bad = good.clone();
        bad[position] ^= 1;
        fs::write(&path, bad).unwrap();
        assert!(matches!(log.get(&id(1)), Err(StoreError::Corrupt { .. })), "byte {position}");
    }
    fs::write(&path, &good[..good.len() - 1]).unwrap();
    let message = log.get(&id(1)).unwrap_err().to_string();
    assert!(message.contains("the record at byte 0 does not fit its checksum; delete the file"), "{message}");
}
