use veracity_store::{Store, StoreError};

use crate::fixture::bundle;

#[test]
fn writers_side_by_side_agree() {
    let dir = tempfile::tempdir().unwrap();
    Store::open(dir.path()).unwrap();
    std::thread::scope(|scope| {
        for worker in 0..4u8 {
            let root = dir.path();
            scope.spawn(move || {
                // Each has a store of its own, as processes do; they meet in the locks.
                for turn in 0..12 {
                    let store = Store::open(root).unwrap();
                    let model = bundle(i8::try_from(turn % 3).unwrap());
                    let id = store.put(&model, Some(&[worker])).unwrap();
                    match store.set_name(&"shared".parse().unwrap(), &id) {
                        Ok(()) | Err(StoreError::NotFound { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                    match store.get(&id) {
                        Ok(found) => assert_eq!(found, model),
                        Err(StoreError::NotFound { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                    if turn % 4 == 3 {
                        match store.remove("shared") {
                            Ok(_) | Err(StoreError::NotFound { .. }) => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                }
            });
        }
    });
    let store = Store::open(dir.path()).unwrap();
    assert!(store.list().unwrap().iter().all(|e| store.get(&e.id).is_ok()));
    assert_eq!(std::fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
}

#[test]
fn processes_that_start_together_have_one_key() {
    let dir = tempfile::tempdir().unwrap();
    let seeds: Vec<[u8; 32]> = std::thread::scope(|scope| {
        let root = dir.path();
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(move || Store::open(root).unwrap().executor_seed().unwrap()))
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert!(seeds.iter().all(|seed| *seed == seeds[0]));
}
