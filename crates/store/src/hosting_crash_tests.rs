//! Fetching and hosting are cut at every step, by an ending process and by power loss; what was acknowledged is there, and
//! what was half fetched is fetched to its end.

use std::{
    collections::BTreeSet,
    io,
    path::Path,
    sync::{Arc, Mutex},
};

use veracity_graph::{Bundle, ModelId};

use crate::{
    Hosted, HostedKind, PartName, Partial, Store,
    crash_tests::Image,
    disk::{Disk, Step},
    fixture::wide_bundle,
};

/// What a host sees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct State {
    models: BTreeSet<ModelId>,
    quarantined: BTreeSet<ModelId>,
    hosted: Vec<ModelId>,
}

impl State {
    fn of(store: &Store) -> Self {
        let models: BTreeSet<_> = store.ids().unwrap().into_iter().collect();
        for id in &models {
            assert_eq!(store.get(id).unwrap().model_id(), *id, "a visible model is whole");
        }
        let quarantined = models.iter().copied().filter(|id| store.is_quarantined(id)).collect();
        Self { models, quarantined, hosted: store.hosted().unwrap().iter().map(|h| h.id).collect() }
    }
}

type Run = fn(&Store, &Store) -> Result<(), String>;
type Change = fn(&mut State);

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn text(error: impl ToString) -> String {
    error.to_string()
}

fn id(seed: i8) -> ModelId {
    wide_bundle(seed).model_id()
}

/// Receives what is missing of a part, group by group, from a store that has it.
fn receive(partial: &Partial<'_>, name: PartName, source: &Store) -> Result<(), String> {
    let part = partial.part(name);
    for group in part.missing().iter().cloned().flatten() {
        let groups = group..group + 1;
        let bytes = source.read_groups(&partial.id(), name, groups.clone()).unwrap();
        part.receive(&groups, bytes.as_slice()).1.map_err(text)?;
    }
    Ok(())
}

fn fetch(store: &Store, source: &Store, bundle: &Bundle) -> Result<(), String> {
    let partial = store.begin_fetch(&bundle.manifest).map_err(text)?;
    receive(&partial, PartName::Graph, source)?;
    receive(&partial, PartName::Weights, source)?;
    partial.finish().map(drop).map_err(text)
}

fn set_hosted(store: &Store, entries: &[Hosted]) -> Result<(), String> {
    let lock = store.lock_hosted().map_err(text)?;
    store.set_hosted(&lock, entries).map_err(text)
}

const SCRIPT: &[(Run, Change)] = &[
    (|s, from| fetch(s, from, &wide_bundle(1)), |s| assert!(s.models.insert(id(1)))),
    (
        |s, _| {
            let entry = Hosted { id: id(1), kind: HostedKind::Fetched, size_bytes: 7, used_s: 3 };
            set_hosted(s, &[entry])
        },
        |s| s.hosted = vec![id(1)],
    ),
    (|s, _| s.quarantine(&id(1), "a test").map_err(text), |s| assert!(s.quarantined.insert(id(1)))),
    (|s, _| s.make_outboards(&id(1)).map_err(text), |s| s.quarantined.clear()),
    (
        |s, from| {
            let partial = s.begin_fetch(&wide_bundle(2).manifest).map_err(text)?;
            receive(&partial, PartName::Weights, from)
        },
        |_| {},
    ),
    (|s, _| s.discard_partial(&id(2)).map_err(text), |_| {}),
    (|s, _| s.remove(&id(1).to_string()).map(drop).map_err(text), |s| s.models.clear()),
    (|s, _| set_hosted(s, &[]), |s| s.hosted.clear()),
];

/// Runs the script until step `n`; gives the states that may be found, and whether it ended.
fn run(root: &Path, source: &Store, image: &Arc<Mutex<Image>>, n: usize) -> (Vec<State>, bool) {
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
    let mut state = State::default();
    let Ok(store) = Store::open_on(root.to_owned(), Disk::with_hook(Arc::new(hook))) else {
        return (vec![state], false);
    };
    for (operation, change) in SCRIPT {
        let mut next = state.clone();
        change(&mut next);
        if operation(&store, source).is_err() {
            return (vec![state, next], false);
        }
        state = next;
    }
    (vec![state], true)
}

fn check(root: &Path, source: &Store, allowed: &[State], what: &str) {
    let store = Store::open(root).unwrap_or_else(|e| panic!("{what}: {e}"));
    let mut found = State::of(&store);
    // A model whose removal was cut is gone with its quarantine, which nobody asks for then.
    found.quarantined.retain(|id| found.models.contains(id));
    assert!(allowed.contains(&found), "{what}: found {found:?}, expected one of {allowed:?}");
    for seed in [1, 2] {
        let bundle = wide_bundle(seed);
        let Some(manifest) = store.partial_manifest(&id(seed)) else { continue };
        assert_eq!(manifest, bundle.manifest, "{what}");
        fetch(&store, source, &bundle).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(store.get(&id(seed)).unwrap(), bundle, "{what}");
        assert!(!store.partials().unwrap().contains(&id(seed)), "{what}");
    }
}

#[test]
fn a_fetch_goes_on_wherever_it_was_cut() {
    let dir = tempfile::tempdir().unwrap();
    let source = Store::open(dir.path()).unwrap();
    for seed in [1, 2] {
        source.put(&wide_bundle(seed), None).unwrap();
        source.make_outboards(&id(seed)).unwrap();
    }
    // The time goes into waiting for the disk, so several cuts are tried at the same time.
    let cut_each = &|first: usize| {
        let mut n = first;
        while !cut_at(n, &source) {
            n += N_THREADS;
        }
        n
    };
    let ends: Vec<usize> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..N_THREADS).map(|first| scope.spawn(move || cut_each(first))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(ends.iter().all(|n| *n > 80), "only {ends:?} steps were cut");
}

const N_THREADS: usize = 6;

/// Cuts the script at step `n` and checks what is left; tells whether it ended before.
fn cut_at(n: usize, source: &Store) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let [root, lazy, eager] = ["live", "lazy", "eager"].map(|f| dir.path().join(f));
    let image = Arc::new(Mutex::new(Image::new(root.clone())));
    let (allowed, ended) = run(&root, source, &image, n);
    for (folder, is_eager) in [(&lazy, false), (&eager, true)] {
        image.lock().unwrap().write(is_eager, folder);
    }
    check(&root, source, &allowed, &format!("killed at step {n}"));
    check(&lazy, source, &allowed, &format!("power lost at step {n}, nothing unsynced kept"));
    check(&eager, source, &allowed, &format!("power lost at step {n}, entries kept without content"));
    ended
}
