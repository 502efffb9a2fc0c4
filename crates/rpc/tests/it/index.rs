//! The index: what it keeps over restarts and crashes, and what it refuses.

use std::sync::Arc;

use alloy_primitives::B256;
use redb::{Database, TableDefinition};
use veracity_chain::Block;
use veracity_rpc::{Chain, Finalized, Index, IndexError};

use crate::{
    sealer::Sealing,
    support::{
        CHAIN_ID, COUNTER, LOGGER, REVERTER, address, chain, error, genesis, invoke, sealer, transfer, words,
    },
};

/// A chain of `count` blocks of some transactions each.
fn blocks(count: u64) -> Arc<Chain> {
    let chain = chain(None);
    let sealer = sealer(&chain, Sealing::Manual);
    for height in 0..count {
        let sent = [
            transfer(0, height, address(1), 1),
            invoke(1, 2 * height, LOGGER, &words(&[height, 1, 2])),
            invoke(1, 2 * height + 1, REVERTER, &[]),
            invoke(2, height, COUNTER, &[]),
        ];
        for transaction in sent {
            veracity_rpc::Submit::submit(&*sealer, transaction).unwrap();
        }
        sealer.seal(usize::MAX);
    }
    chain
}

fn get(chain: &Chain, height: u64) -> Arc<Finalized> {
    chain.block(height).unwrap().unwrap()
}

/// Whether `index` has exactly the blocks of `chain` up to `height`.
fn assert_has(index: &Index, chain: &Chain, height: u64) {
    assert_eq!((index.first(), index.height()), (Some(0), Some(height)));
    for height in 0..=height {
        let (expected, found) = (get(chain, height), index.block(height).unwrap().unwrap());
        assert_eq!(found.hash(), expected.hash());
        assert_eq!(found.transactions(), expected.transactions());
        assert_eq!((found.senders(), found.receipts()), (expected.senders(), expected.receipts()));
        assert_eq!(index.header(height).unwrap().as_ref(), Some(expected.header()));
        assert_eq!(index.height_of(expected.hash()).unwrap(), Some(height));
        for (i, transaction) in expected.transactions().iter().enumerate() {
            assert_eq!(index.place_of(*transaction.tx_hash()).unwrap(), Some((height, i)));
            assert_eq!(index.transaction(height, i).unwrap(), expected.transaction(i));
            let receipt = index.receipt(height, i).unwrap().unwrap();
            assert_eq!(&receipt.receipt, &expected.receipts()[i]);
        }
        assert_eq!(index.transaction(height, 9).unwrap(), None);
        assert_eq!(index.receipt(height, 9).unwrap(), None);
    }
    assert!(index.block(height + 1).unwrap().is_none());
    assert!(index.header(height + 1).unwrap().is_none());
    assert_eq!(index.transaction(height + 1, 0).unwrap(), None);
    assert_eq!(index.receipt(height + 1, 0).unwrap(), None);
    assert_eq!(index.height_of(B256::repeat_byte(1)).unwrap(), None);
}

#[test]
fn blocks_are_there_after_a_restart() {
    let chain = blocks(20);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    for height in 0..=20 {
        // A restart before each block.
        let index = Index::open(&path, CHAIN_ID).unwrap();
        index.append(&get(&chain, height)).unwrap();
        index.certify(height, &height.to_be_bytes()).unwrap();
        assert_has(&index, &chain, height);
    }
    let index = Index::open(&path, CHAIN_ID).unwrap();
    assert_eq!(index.certificate_from(7).unwrap(), Some((7, 7u64.to_be_bytes().to_vec())));
    assert_eq!(index.certificate_from(21).unwrap(), None);
    let matching = index.heights_with(3, 9, |bloom| !bloom.is_zero()).unwrap();
    assert_eq!(matching, [3, 4, 5, 6, 7, 8, 9]);
}

#[test]
fn a_crash_loses_at_most_what_was_not_flushed() {
    let chain = blocks(150);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    let index = Index::open(&path, CHAIN_ID).unwrap();
    let mut flushed = 0;
    let mut kept = 0;
    for height in 0..=150 {
        index.append(&get(&chain, height)).unwrap();
        if height % 40 == 39 {
            index.flush().unwrap();
            flushed = height;
        }
        if height % 7 == 0 {
            // What is in the file now is what a process that is killed leaves.
            let copy = folder.path().join("copy");
            std::fs::copy(&path, &copy).unwrap();
            let after = Index::open(&copy, CHAIN_ID).unwrap();
            let last = after.height();
            assert!(last.is_none_or(|last| (kept..=height).contains(&last)), "{last:?} at {height}");
            assert!(flushed == 0 || last >= Some(flushed), "{last:?} at {height}, flushed {flushed}");
            if let Some(last) = last {
                assert_has(&after, &chain, last);
                kept = last;
                // Delivered again from there, or from before, it is whole.
                for height in last.saturating_sub(3)..=height {
                    after.append(&get(&chain, height)).unwrap();
                }
                assert_has(&after, &chain, height);
            }
        }
    }
    // 64 blocks are flushed without being told.
    assert!(kept >= 100, "{kept}");
}

#[test]
fn a_block_twice_is_one_and_a_gap_or_fork_is_refused() {
    let (chain, other) = (blocks(5), blocks(5));
    let index = Index::in_memory(CHAIN_ID).unwrap();
    for height in [0, 1, 1, 0, 2, 1, 2] {
        index.append(&get(&chain, height)).unwrap();
    }
    assert_has(&index, &chain, 2);
    let gap = error(index.append(&get(&chain, 4)));
    assert!(matches!(gap, IndexError::Gap { expected: 3, found: 4 }), "{gap}");
    assert_eq!(gap.to_string(), "block 4 cannot be indexed after block 2: deliver block 3 first");
    // The other chain has other times, so other blocks.
    let fork = error(index.append(&get(&other, 2)));
    assert!(matches!(fork, IndexError::Fork { height: 2, .. }), "{fork}");
    let fork = error(index.append(&get(&other, 3)));
    assert!(matches!(fork, IndexError::Fork { height: 2, .. }), "{fork}");
    assert!(fork.to_string().ends_with("one of them was never finalized"), "{fork}");
    assert_has(&index, &chain, 2);
}

#[test]
fn an_index_may_begin_later() {
    let chain = blocks(5);
    let index = Index::in_memory(CHAIN_ID).unwrap();
    index.append(&get(&chain, 3)).unwrap();
    index.append(&get(&chain, 4)).unwrap();
    // Earlier than the first: known to be final, and not kept.
    index.append(&get(&chain, 1)).unwrap();
    assert_eq!((index.first(), index.height()), (Some(3), Some(4)));
    assert!(index.block(1).unwrap().is_none());
}

#[test]
fn files_of_others_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    drop(Index::open(&path, CHAIN_ID).unwrap());
    let other = error(Index::open(&path, 1));
    assert_eq!(
        other.to_string(),
        format!("the index of blocks is of chain {CHAIN_ID}, this is chain 1: use another data folder")
    );
    let held = Index::open(&path, CHAIN_ID).unwrap();
    let open = error(Index::open(&path, CHAIN_ID));
    assert!(matches!(open, IndexError::Open { .. }), "{open}");
    assert!(open.to_string().contains("check that no other node uses it"), "{open}");
    drop(held);
    write(&path, |write| {
        write.open_table(TableDefinition::<&str, u64>::new("meta")).unwrap().insert("version", 9).unwrap();
    });
    let version = error(Index::open(&path, CHAIN_ID));
    assert_eq!(
        version.to_string(),
        "the index of blocks has version 9, this program reads version 1: delete it and sync again"
    );
    let text = folder.path().join("text");
    std::fs::write(&text, "not an index".repeat(1000)).unwrap();
    assert!(matches!(error(Index::open(&text, CHAIN_ID)), IndexError::Open { .. }));
}

fn write(path: &std::path::Path, change: impl FnOnce(&redb::WriteTransaction)) {
    let database = Database::create(path).unwrap();
    let write = database.begin_write().unwrap();
    change(&write);
    write.commit().unwrap();
}

#[test]
fn damaged_tables_are_told_and_never_panic() {
    let chain = blocks(3);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    for table in ["bodies", "receipts", "headers"] {
        for length in [0, 3, 8, 40, 200] {
            let _ = std::fs::remove_file(&path);
            let index = Index::open(&path, CHAIN_ID).unwrap();
            (0..=3).for_each(|height| index.append(&get(&chain, height)).unwrap());
            drop(index);
            write(&path, |write| {
                let definition = TableDefinition::<u64, &[u8]>::new(table);
                write.open_table(definition).unwrap().insert(2, &[1; 200][..length]).unwrap();
            });
            let index = Index::open(&path, CHAIN_ID).unwrap();
            let damaged = error(index.block(2));
            assert!(
                matches!(damaged, IndexError::Damaged { height: 2, table: t } if t == table),
                "{damaged}"
            );
            assert!(index.block(1).unwrap().is_some());
            match table {
                "bodies" => drop(error(index.transaction(2, 0))),
                "receipts" => drop(error(index.receipt(2, 0))),
                _ => drop(error(index.header(2))),
            }
        }
    }
}

#[test]
fn a_chain_goes_on_where_it_was() {
    let source = blocks(6);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    let append = |chain: &Chain, height| {
        let block = get(&source, height);
        let executed = veracity_chain::Executed {
            state: source.state(height).unwrap(),
            changes: vec![],
            senders: block.senders().to_vec(),
            receipts: block.receipts().to_vec(),
            gas_used: 0,
        };
        let transactions = block.transactions().to_vec();
        let block_of = Block { header: block.header().clone(), transactions };
        chain.append(Arc::new(block_of), block.senders().to_vec(), &executed)
    };
    let behind = crate::support::chain(None);
    let (start, state) = genesis();
    let chain = Chain::open(Index::open(&path, CHAIN_ID).unwrap(), CHAIN_ID, start, state).unwrap();
    (1..=5).for_each(|height| append(&chain, height).unwrap());
    // Again, and from before.
    append(&chain, 3).unwrap();
    assert_eq!(chain.head().number(), 5);
    let gap = error(append(&behind, 2));
    assert!(matches!(gap, IndexError::Gap { expected: 1, found: 2 }), "{gap}");
    drop(chain);

    // The state on disk was two blocks behind the index: they come again, and are not shown before.
    let start = Index::open(&path, CHAIN_ID).unwrap().block(3).unwrap().unwrap();
    let index = Index::open(&path, CHAIN_ID).unwrap();
    let chain = Chain::open(index, CHAIN_ID, start, source.state(3).unwrap()).unwrap();
    assert_eq!((chain.head().number(), chain.first_state()), (3, 3));
    assert!(chain.block(4).unwrap().is_none() && chain.header(4).unwrap().is_none());
    assert_eq!(chain.height_of(get(&source, 4).hash()).unwrap(), None);
    (4..=6).for_each(|height| append(&chain, height).unwrap());
    assert_eq!(chain.head().hash(), get(&source, 6).hash());
    assert!(chain.state(2).is_none() && chain.state(4).is_some());
    chain.flush().unwrap();
    drop(chain);

    // A state of another block is refused.
    let index = Index::open(&path, CHAIN_ID).unwrap();
    let start = index.block(6).unwrap().unwrap();
    let state = error(Chain::open(index, CHAIN_ID, start, source.state(5).unwrap()));
    assert!(matches!(state, IndexError::State { height: 6, .. }), "{state}");
    assert!(state.to_string().contains("the state is damaged"), "{state}");
}
