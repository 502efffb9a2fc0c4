//! The store is cut at every step, by an ending process, by power loss and by a full disk, opened again and compared
//! with what it had acknowledged.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use veracity_graph::ModelId;

use crate::{
    Name, PutError, Store, StoreError,
    disk::{Disk, Step},
    fixture::bundle,
};

/// A file with the content that was synced, or a folder with the entries that programs see and those that were synced.
#[derive(Debug)]
enum Node {
    File { synced: Vec<u8> },
    Folder { live: BTreeMap<OsString, usize>, synced: BTreeMap<OsString, usize> },
}

/// What a disk holds, kept up with each step.
#[derive(Debug)]
pub(crate) struct Image {
    root: PathBuf,
    /// The first is the root; nothing is ever removed.
    nodes: Vec<Node>,
}

impl Image {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root, nodes: vec![Node::Folder { live: BTreeMap::new(), synced: BTreeMap::new() }] }
    }

    fn entries(&mut self, folder: usize) -> &mut BTreeMap<OsString, usize> {
        match &mut self.nodes[folder] {
            Node::Folder { live, .. } => live,
            Node::File { .. } => panic!("not a folder"),
        }
    }

    fn find(&mut self, path: &Path) -> usize {
        let rest = path.strip_prefix(&self.root).unwrap().to_owned();
        rest.iter().fold(0, |folder, name| self.entries(folder)[name])
    }

    /// The entries of the folder around `path`, and the name in it.
    fn place(&mut self, path: &Path) -> (&mut BTreeMap<OsString, usize>, OsString) {
        let folder = self.find(path.parent().unwrap());
        (self.entries(folder), path.file_name().unwrap().to_owned())
    }

    fn create(&mut self, path: &Path, node: Node) {
        self.nodes.push(node);
        let new = self.nodes.len() - 1;
        let (entries, name) = self.place(path);
        entries.insert(name, new);
    }

    fn remove(&mut self, path: &Path) -> usize {
        let (entries, name) = self.place(path);
        entries.remove(&name).unwrap()
    }

    pub(crate) fn apply(&mut self, step: &Step) {
        match step {
            Step::CreateDir(path) => {
                self.create(path, Node::Folder { live: BTreeMap::new(), synced: BTreeMap::new() });
            }
            Step::CreateFile(path) => self.create(path, Node::File { synced: Vec::new() }),
            Step::Append(_) | Step::WriteAt(_) => {}
            Step::SyncFile(path) => {
                let file = self.find(path);
                self.nodes[file] = Node::File { synced: fs::read(path).unwrap() };
            }
            Step::SyncDir(path) => {
                let folder = self.find(path);
                let Node::Folder { live, synced } = &mut self.nodes[folder] else { panic!("not a folder") };
                synced.clone_from(live);
            }
            Step::Rename(from, to) => {
                let moved = self.remove(from);
                let (entries, name) = self.place(to);
                entries.insert(name, moved);
            }
            Step::RemoveFile(path) | Step::RemoveTree(path) => {
                self.remove(path);
            }
        }
    }

    /// Writes what power loss leaves: either no entry that was not synced, or all entries, but no unsynced content.
    pub(crate) fn write(&self, eager: bool, target: &Path) {
        self.write_node(0, eager, target);
        set_key_mode(target);
    }

    fn write_node(&self, node: usize, eager: bool, path: &Path) {
        match &self.nodes[node] {
            Node::File { synced } => fs::write(path, synced).unwrap(),
            Node::Folder { live, synced } => {
                fs::create_dir(path).unwrap();
                for (name, node) in if eager { live } else { synced } {
                    self.write_node(*node, eager, &path.join(name));
                }
            }
        }
    }
}

#[cfg(unix)]
fn set_key_mode(root: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let _ = fs::set_permissions(root.join("key"), fs::Permissions::from_mode(0o600));
}

#[cfg(not(unix))]
fn set_key_mode(_: &Path) {}

/// What a user sees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct State {
    models: BTreeMap<ModelId, Option<Vec<u8>>>,
    names: BTreeMap<Name, ModelId>,
    seed: Option<[u8; 32]>,
}

impl State {
    fn of(store: &Store) -> Self {
        let mut state = Self::default();
        for entry in store.list().unwrap() {
            assert_eq!(store.get(&entry.id).unwrap().model_id(), entry.id, "a visible model is whole");
            state.models.insert(entry.id, store.report(&entry.id).unwrap());
        }
        for file in crate::store::read_dir(&store.root().join("names")).unwrap() {
            let name: Name = file.parse().unwrap();
            state.names.insert(name, store.resolve(&file).unwrap());
        }
        state.seed = store.key_path().exists().then(|| store.executor_seed().unwrap());
        state
    }
}

type Run = fn(&Store) -> Result<(), String>;
type Change = fn(&mut State);

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn text(error: impl ToString) -> String {
    error.to_string()
}

fn id(seed: i8) -> ModelId {
    bundle(seed).model_id()
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn point(state: &mut State, seed: i8) {
    state.names.insert(name("a"), id(seed));
}

/// Operations with what each one changes; the second change is how far it may get without being acknowledged.
const SCRIPT: &[(Run, &[Change])] = &[
    (
        |s| s.put(&bundle(1), Some(b"{}")).map(drop).map_err(text),
        &[|s| drop(s.models.insert(id(1), Some(b"{}".to_vec())))],
    ),
    (|s| s.set_name(&name("a"), &id(1)).map_err(text), &[|s| point(s, 1)]),
    (
        |s| s.put_reader(bundle(2).encode().as_slice(), 1 << 20).map(drop).map_err(text),
        &[|s| drop(s.models.insert(id(2), None))],
    ),
    (|s| s.set_name(&name("a"), &id(2)).map_err(text), &[|s| point(s, 2)]),
    (
        |s| s.set_report(&id(1), b"{\"n\":1}").map_err(text),
        &[|s| drop(s.models.insert(id(1), Some(b"{\"n\":1}".to_vec())))],
    ),
    (|s| s.executor_seed().map(drop).map_err(text), &[|_| {}]),
    (
        |s| s.remove("a").map(drop).map_err(text),
        &[
            |s| {
                s.names.clear();
                s.models.remove(&id(2));
            },
            |s| s.names.clear(),
        ],
    ),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Step n and all after it fail: the process is gone.
    Crash,
    /// Step n fails once, because the disk is full.
    DiskFull,
}

struct Outcome {
    /// States that may be found: the last acknowledged one, and what the operation in progress may have done.
    allowed: Vec<State>,
    finished: bool,
}

/// Runs the script with a fault at step `n`; tells what was acknowledged.
fn run(root: &Path, image: &Arc<Mutex<Image>>, n: usize, fault: Fault) -> Outcome {
    let (count, shared) = (Mutex::new(0), Arc::clone(image));
    let hook = move |step: &Step| {
        let mut count = count.lock().unwrap();
        *count += 1;
        match fault {
            Fault::Crash if *count > n => return Err(io::Error::other("crash")),
            Fault::DiskFull if *count == n + 1 => return Err(io::ErrorKind::StorageFull.into()),
            Fault::Crash | Fault::DiskFull => {}
        }
        shared.lock().unwrap().apply(step);
        Ok(())
    };
    let mut state = State::default();
    let disk = Disk::with_hook(Arc::new(hook));
    let store = match Store::open_on(root.to_owned(), disk.clone()) {
        Err(_) if fault == Fault::DiskFull => Store::open_on(root.to_owned(), disk).unwrap(),
        Err(_) => return Outcome { allowed: vec![state], finished: false },
        Ok(store) => store,
    };
    for (operation, changes) in SCRIPT {
        let mut allowed = vec![state.clone()];
        for change in *changes {
            let mut next = state.clone();
            change(&mut next);
            allowed.push(next);
        }
        let done = match operation(&store) {
            Err(message) if fault == Fault::DiskFull => {
                assert!(message.starts_with("the disk is full at "), "{message}");
                let found = State::of(&store);
                let found = State { seed: state.seed, ..found };
                assert!(
                    allowed.contains(&found),
                    "after a full disk at step {n}: {found:?} is none of {allowed:?}"
                );
                // A removal that got as far as the names leaves the model, so the name is not found again.
                matches!(operation(&store), Ok(())) || found.names.is_empty()
            }
            result => result.is_ok(),
        };
        if !done {
            return Outcome { allowed, finished: false };
        }
        state = allowed.swap_remove(1);
        state.seed = store.key_path().exists().then(|| store.executor_seed().unwrap());
    }
    Outcome { allowed: vec![state], finished: true }
}

fn check(root: &Path, outcome: &Outcome, what: &str) {
    let store = Store::open(root).unwrap_or_else(|e| panic!("{what}: {e}"));
    let found = State::of(&store);
    let fits = |allowed: &State| {
        // A key that was drawn but not acknowledged is nobody's yet.
        *allowed == State { seed: if allowed.seed.is_some() { found.seed } else { None }, ..found.clone() }
    };
    assert!(
        outcome.allowed.iter().any(fits),
        "{what}: found {found:?}, expected one of {:?}",
        outcome.allowed
    );
    assert_eq!(fs::read_dir(root.join("tmp")).unwrap().count(), 0, "{what}: leftovers are deleted");
}

#[test]
fn nothing_acknowledged_is_lost_wherever_it_stops() {
    let mut n = 0;
    loop {
        let dir = tempfile::tempdir().unwrap();
        let [root, lazy, eager] = ["live", "lazy", "eager"].map(|f| dir.path().join(f));
        let image = Arc::new(Mutex::new(Image::new(root.clone())));
        let outcome = run(&root, &image, n, Fault::Crash);
        for (folder, is_eager) in [(&lazy, false), (&eager, true)] {
            image.lock().unwrap().write(is_eager, folder);
        }
        check(&root, &outcome, &format!("killed at step {n}"));
        check(&lazy, &outcome, &format!("power lost at step {n}, nothing unsynced kept"));
        check(&eager, &outcome, &format!("power lost at step {n}, entries kept without content"));
        if outcome.finished {
            break;
        }
        n += 1;
    }
    assert!(n > 50, "only {n} steps were cut");
}

#[test]
fn a_full_disk_changes_nothing_and_can_be_retried() {
    let mut n = 0;
    loop {
        let dir = tempfile::tempdir().unwrap();
        let image = Arc::new(Mutex::new(Image::new(dir.path().to_owned())));
        let outcome = run(dir.path(), &image, n, Fault::DiskFull);
        assert!(outcome.finished, "step {n}");
        if n > 200 {
            break;
        }
        n += 1;
    }
}

#[test]
fn a_live_upload_is_not_cleaned_away() {
    struct OpenMeanwhile<'a>(PathBuf, &'a [u8]);
    impl io::Read for OpenMeanwhile<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            Store::open(&self.0).unwrap();
            self.1.read(&mut buffer[..1])
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let bytes = bundle(1).encode();
    let stored = store.put_reader(OpenMeanwhile(dir.path().to_owned(), &bytes), u64::MAX).unwrap();
    assert_eq!(store.get(&stored).unwrap(), bundle(1));
}

#[test]
fn failures_of_the_source_leave_nothing() {
    struct Broken;
    impl io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("gone"))
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let bytes = bundle(1).encode();
    let broken = io::Read::chain(&bytes[..bytes.len() - 1], Broken);
    assert!(matches!(store.put_reader(broken, u64::MAX), Err(PutError::Source(_))));
    assert_eq!(State::of(&store), State::default());
    assert!(matches!(store.get(&id(1)), Err(StoreError::NotFound { .. })));
    assert_eq!(fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
}
