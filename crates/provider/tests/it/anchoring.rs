//! From signed receipts to evidence that verifies from the network key alone, wherever the process ends in between.

use std::{fs, thread};

use veracity_client::RoleSet;
use veracity_provider::AnchorError;
use veracity_store::SequenceError;

use crate::{
    dev_chain::Network,
    support::{Provider, assert_verifies, settle},
};

const BATCH_MAX: u64 = 65_536;

#[test]
fn receipts_are_anchored_and_verify_from_the_network_key() {
    let network = Network::start();
    let (chain, operator) = (&network.chain, network.account(0));
    let provider = Provider::new(1, &network.key());
    provider.register(chain, &operator, RoleSet::WORKER);
    let mut anchorer = provider.anchorer(chain, &operator, network.key());
    let nothing = anchorer.tick().unwrap();
    assert!(nothing.anchored.is_empty() && nothing.proven.is_empty());
    for size in [1, 2, 5] {
        let receipts: Vec<_> = (0..size).map(|_| provider.issue()).collect();
        assert!(provider.join(receipts[0].clone()).is_none());
        let tick = settle(&mut anchorer).unwrap();
        assert_eq!((tick.anchored.len(), &tick.proven, tick.failed.len()), (1, &tick.anchored, 0));
        assert_eq!(tick.anchored[0].count, size);
        for receipt in receipts {
            let (id, bare) = (receipt.id(), receipt.encode());
            let joined = provider.join(receipt).unwrap();
            assert_verifies(&joined, network.key());
            assert_eq!((joined.id(), joined.with_evidence(None).encode()), (id, bare));
        }
    }
    assert_eq!(chain.receipts().next_sequence(provider.id()).unwrap(), 8);
    assert_eq!(chain.receipts().batch_count(provider.id()).unwrap(), 3);
}

#[test]
fn only_the_operator_of_a_bonded_worker_anchors() {
    let network = Network::start();
    let (chain, operator) = (&network.chain, network.account(0));
    let provider = Provider::new(2, &network.key());
    let mut anchorer = provider.anchorer(chain, &operator, network.key());
    // Without receipts there is nothing to refuse.
    anchorer.tick().unwrap();
    provider.issue();
    assert!(matches!(anchorer.tick().unwrap_err(), AnchorError::NotRegistered { .. }));
    provider.register(chain, &operator, RoleSet::HOST);
    assert!(matches!(anchorer.tick().unwrap_err(), AnchorError::NotBonded { .. }));
    provider.register(chain, &operator, RoleSet::WORKER);
    let mut other = provider.anchorer(chain, &network.account(1), network.key());
    assert!(matches!(other.tick().unwrap_err(), AnchorError::OtherOperator { .. }));
    assert_eq!(settle(&mut anchorer).unwrap().proven.len(), 1);
}

/// The process ends after each step; the one that follows does what is missing and nothing twice.
#[test]
fn the_next_process_goes_on_wherever_one_ended() {
    let network = Network::start();
    let (chain, operator) = (&network.chain, network.account(0));
    let mut provider = Provider::new(3, &network.key());
    provider.register(chain, &operator, RoleSet::WORKER);
    let receipts: Vec<_> = (0..4).map(|_| provider.issue()).collect();
    let reopen = |provider: &mut Provider| {
        let empty = Provider::new(9, &network.key());
        let Provider { folder, .. } = std::mem::replace(provider, empty);
        *provider = Provider::open(3, &network.key(), folder);
    };
    // After the answers, before anything was sent.
    reopen(&mut provider);
    // After the batch was anchored, before there was evidence.
    let ids = provider.sequences.ids(0..2).unwrap();
    let root = veracity_light::merkle::root(&ids).unwrap().into();
    chain.receipts().anchor(&operator, provider.id(), 0, 2, root).unwrap();
    reopen(&mut provider);
    let tick = settle(&mut provider.anchorer(chain, &operator, network.key())).unwrap();
    assert_eq!((tick.anchored.len(), tick.proven.len()), (1, 2));
    // After all: nothing is left.
    reopen(&mut provider);
    let tick = settle(&mut provider.anchorer(chain, &operator, network.key())).unwrap();
    assert_eq!((tick.anchored.len(), tick.proven.len()), (0, 0));
    // Evidence is lost: it is made again.
    fs::remove_dir_all(provider.folder.path().join("evidence")).unwrap();
    reopen(&mut provider);
    let tick = settle(&mut provider.anchorer(chain, &operator, network.key())).unwrap();
    assert_eq!((tick.anchored.len(), tick.proven.len()), (0, 2));
    for receipt in receipts {
        assert_verifies(&provider.join(receipt).unwrap(), network.key());
    }
}

/// A process and the one after it, whose transactions are both under way: the contract takes one of them.
#[test]
fn two_at_once_anchor_nothing_twice() {
    let network = Network::start();
    let (chain, operator) = (&network.chain, network.account(0));
    let provider = Provider::new(4, &network.key());
    provider.register(chain, &operator, RoleSet::WORKER);
    for round in 1..=4 {
        let receipts: Vec<_> = (0..3).map(|_| provider.issue()).collect();
        let anchored: usize = thread::scope(|scope| {
            let tick =
                || settle(&mut provider.anchorer(chain, &operator, network.key())).unwrap().anchored.len();
            let threads: Vec<_> = (0..3).map(|_| scope.spawn(tick)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(anchored, 1);
        assert_eq!(chain.receipts().next_sequence(provider.id()).unwrap(), 3 * round);
        receipts.into_iter().for_each(|r| assert_verifies(&provider.join(r).unwrap(), network.key()));
    }
}

/// `veracity run` beside `veracity up`: receipts that another process issues are anchored without one of this process.
#[test]
fn receipts_of_another_process_are_anchored() {
    let network = Network::start();
    let (chain, operator) = (&network.chain, network.account(0));
    let provider = Provider::new(7, &network.key());
    provider.register(chain, &operator, RoleSet::WORKER);
    let mut anchorer = provider.anchorer(chain, &operator, network.key());
    settle(&mut anchorer).unwrap();
    let id = *provider.executor.executor().as_bytes();
    let store = veracity_store::Store::open(provider.folder.path()).unwrap();
    let beside = store.sequence_log(&id).unwrap();
    for sequence in 0..3 {
        beside.issue(|next| Ok::<_, SequenceError>((assert_eq!(next, sequence), [8; 32]))).unwrap();
    }
    let tick = settle(&mut anchorer).unwrap();
    assert_eq!((tick.anchored.len(), tick.anchored[0].count, tick.proven.len()), (1, 3, 1));
}

/// Two folders with one key: the one that falls behind says so, and so does the one whose receipts are not those anchored.
#[test]
fn a_second_copy_of_the_key_is_noticed() {
    let network = Network::start();
    let (chain, operator) = (&network.chain, network.account(0));
    let (provider, copy) = (Provider::new(5, &network.key()), Provider::new(5, &network.key()));
    provider.register(chain, &operator, RoleSet::WORKER);
    provider.issue();
    settle(&mut provider.anchorer(chain, &operator, network.key())).unwrap();
    let mut twin = copy.anchorer(chain, &operator, network.key());
    assert!(matches!(twin.tick().unwrap_err(), AnchorError::Behind { anchored: 1, issued: 0 }));
    // Ed25519 is deterministic, so the twin has to sign something else.
    copy.sequences.issue(|_| Ok::<_, SequenceError>(((), [7; 32]))).unwrap();
    let tick = settle(&mut twin).unwrap();
    assert!(matches!(tick.failed[..], [(0, AnchorError::OtherReceipts { batch: 0 })]), "{tick:?}");
}

/// More receipts than a batch holds, written as store.md, section 7, has them.
#[test]
fn many_receipts_take_several_batches() {
    let network = Network::start();
    let (chain, operator) = (&network.chain, network.account(0));
    let key = network.key();
    let provider = Provider::new(6, &key);
    provider.register(chain, &operator, RoleSet::WORKER);
    let executor = provider.id();
    let record = |sequence: u64| {
        let id = blake3::hash(&sequence.to_le_bytes());
        let mut check = blake3::Hasher::new_derive_key("veracity sequence record v1");
        check.update(executor.as_slice()).update(&sequence.to_le_bytes()).update(id.as_bytes());
        [*id.as_bytes(), *check.finalize().as_bytes()].concat()
    };
    let Provider { folder, sequences, evidence, .. } = provider;
    drop((sequences, evidence));
    let segments = folder
        .path()
        .join("sequences")
        .join(veracity_receipt::ExecutorId::from_bytes(executor.0).to_string());
    for (number, range) in [(0, 0..BATCH_MAX), (1, BATCH_MAX..BATCH_MAX + 2)] {
        let bytes: Vec<u8> = range.flat_map(record).collect();
        fs::write(segments.join(format!("{number:016x}.log")), bytes).unwrap();
    }
    let provider = Provider::open(6, &key, folder);
    let tick = settle(&mut provider.anchorer(chain, &operator, network.key())).unwrap();
    let counts: Vec<_> = tick.anchored.iter().map(|batch| (batch.number, batch.first, batch.count)).collect();
    assert_eq!(counts, [(0, 0, 65_536), (1, 65_536, 2)]);
    assert_eq!(tick.proven, tick.anchored);
    let (batch, _) = provider.evidence.find(BATCH_MAX - 1).unwrap().unwrap();
    assert_eq!(batch.index(BATCH_MAX - 1), Some(65_535));
    // The next real receipt goes on from there.
    let receipt = provider.issue();
    assert_eq!(receipt.claims().sequence, Some(BATCH_MAX + 2));
    settle(&mut provider.anchorer(chain, &operator, network.key())).unwrap();
    assert_verifies(&provider.join(receipt).unwrap(), network.key());
}
