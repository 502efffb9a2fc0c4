//! What names mean on the network, remembered for some seconds.
//!
//! A question to the registry may take long or fail, and strangers choose the names. So each question has a thread of its
//! own, a name is asked for once at a time, and who knows an older answer waits only for a moment.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use veracity_graph::ModelId;

use super::{
    Directory, DirectoryError,
    bounded::Bounded,
    model_id,
    remembered::{Memory, lock},
};
use crate::error::ApiError;

/// Most names that are remembered, and as many of each other kind of answer.
const REMEMBERED_MAX: usize = 4096;
/// Most questions to the registry at once.
const LOOKUPS_MAX: usize = 32;
/// Most requests that wait for an answer of the registry because they know no older one.
const WAITING_MAX: usize = 64;
/// How long it is remembered that the registry has no such name or model.
const UNKNOWN_MEMORY: Duration = Duration::from_secs(2);
/// How long whoever knows an older answer waits for a new one.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long others do.
const LOOKUP_TIME_MAX: Duration = Duration::from_secs(30);
/// Longest name that can be published.
const NAME_BYTES_MAX: usize = 256;

#[derive(Debug)]
pub(crate) struct Names(Arc<Shared>);

/// What the threads that ask share.
#[derive(Debug)]
struct Shared {
    directory: Arc<dyn Directory>,
    memory: Memory,
    lookups: Arc<Semaphore>,
    waiting: Semaphore,
    /// What names mean.
    resolved: Mutex<Bounded<String, Resolved>>,
    /// Names that mean nothing, and when that was found.
    unresolved: Mutex<Bounded<String, Instant>>,
    /// Names that the registry is being asked about.
    asking: Mutex<HashMap<String, Arc<Lookup>>>,
    /// Under which name a model was published, which never changes.
    published: Mutex<Bounded<ModelId, String>>,
    /// Models that were not published, and when that was found.
    unpublished: Mutex<Bounded<ModelId, Instant>>,
}

#[derive(Debug, Clone, Copy)]
struct Resolved {
    id: ModelId,
    /// When the registry was asked last.
    asked: Instant,
    /// When it answered.
    since: Instant,
}

type Answer = Result<Option<ModelId>, String>;

/// A question that is being asked.
#[derive(Debug, Default)]
struct Lookup {
    answer: Mutex<Option<Answer>>,
    answered: Condvar,
}

impl Lookup {
    fn end(&self, answer: Answer) {
        *lock(&self.answer) = Some(answer);
        self.answered.notify_all();
    }

    /// The answer, unless it takes longer.
    fn wait(&self, patience: Duration) -> Option<Answer> {
        let answer = lock(&self.answer);
        let waited = self.answered.wait_timeout_while(answer, patience, |answer| answer.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.clone()
    }
}

impl Names {
    pub(crate) fn new(directory: Arc<dyn Directory>, memory: Memory) -> Self {
        Self(Arc::new(Shared {
            directory,
            memory,
            lookups: Arc::new(Semaphore::new(LOOKUPS_MAX)),
            waiting: Semaphore::new(WAITING_MAX),
            resolved: Mutex::new(Bounded::new(REMEMBERED_MAX)),
            unresolved: Mutex::new(Bounded::new(REMEMBERED_MAX)),
            asking: Mutex::default(),
            published: Mutex::new(Bounded::new(REMEMBERED_MAX)),
            unpublished: Mutex::new(Bounded::new(REMEMBERED_MAX)),
        }))
    }

    /// The model that a name and perhaps a version mean on the network: a version is a model id, and one that was published
    /// under this name. Blocks while the registry is asked.
    pub(crate) fn meaning(&self, name: &str, version: Option<&str>) -> Result<Option<ModelId>, ApiError> {
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(|b| b.is_ascii_graphic()) {
            return Ok(None);
        }
        if let Some(id) = model_id(name) {
            return Ok(Some(id).filter(|_| version.is_none_or(|version| version == name)));
        }
        match version {
            None => self.resolve(name),
            Some(version) => {
                let Some(id) = model_id(version) else { return Ok(None) };
                let names = self.published(&[id])?;
                Ok(names.first().is_some_and(|found| found.as_deref() == Some(name)).then_some(id))
            }
        }
    }

    /// The model that was published last under a name.
    pub(crate) fn resolve(&self, name: &str) -> Result<Option<ModelId>, ApiError> {
        let shared = &self.0;
        let known = lock(&shared.resolved).get(name).copied();
        if let Some(known) = known.filter(|known| known.asked.elapsed() < shared.memory.fresh) {
            return Ok(Some(known.id));
        }
        let unknown =
            lock(&shared.unresolved).get(name).is_some_and(|since| since.elapsed() < UNKNOWN_MEMORY);
        if known.is_none() && unknown {
            return Ok(None);
        }
        let old = known.filter(|known| known.since.elapsed() < shared.memory.stale).map(|known| known.id);
        match (shared.ask(name), old) {
            // No turn, or somebody waits for the answer already.
            (Err(_) | Ok((_, false)), Some(old)) => Ok(Some(old)),
            (Ok((lookup, true)), Some(old)) => match lookup.wait(PATIENCE) {
                Some(Ok(answer)) => Ok(answer),
                Some(Err(_)) | None => Ok(Some(old)),
            },
            (Ok((lookup, _)), None) => {
                let _waiting = shared.waiting.try_acquire().map_err(overloaded)?;
                match lookup.wait(LOOKUP_TIME_MAX) {
                    Some(Ok(answer)) => Ok(answer),
                    Some(Err(reason)) => Err(DirectoryError(reason.into()).into()),
                    None => Err(DirectoryError("it takes too long".into()).into()),
                }
            }
            (Err(error), None) => Err(error),
        }
    }

    /// The names under which models were published.
    pub(crate) fn published(&self, ids: &[ModelId]) -> Result<Vec<Option<String>>, ApiError> {
        let shared = &self.0;
        let unknown: Vec<ModelId> = {
            let (known, unpublished) = (lock(&shared.published), lock(&shared.unpublished));
            let is_fresh = |since: &Instant| since.elapsed() < UNKNOWN_MEMORY;
            let is_known =
                |id: &ModelId| known.get(id).is_some() || unpublished.get(id).is_some_and(is_fresh);
            ids.iter().filter(|id| !is_known(id)).copied().collect()
        };
        let mut found = HashMap::new();
        if !unknown.is_empty() {
            let _turn = shared.turn()?;
            let names = shared.directory.published_names(&unknown)?;
            found.extend(unknown.into_iter().zip(names));
        }
        let (mut known, mut unpublished) = (lock(&shared.published), lock(&shared.unpublished));
        let name = |id| known.get(id).or_else(|| found.get(id)?.as_ref()).cloned();
        let names = ids.iter().map(name).collect();
        for (id, name) in found {
            match name {
                Some(name) => known.insert(id, name),
                None => unpublished.insert(id, Instant::now()),
            }
        }
        Ok(names)
    }
}

impl Shared {
    fn turn(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        Arc::clone(&self.lookups).try_acquire_owned().map_err(overloaded)
    }

    /// Begins to ask what a name means, unless that is being asked already; says whether it began.
    fn ask(self: &Arc<Self>, name: &str) -> Result<(Arc<Lookup>, bool), ApiError> {
        let mut asking = lock(&self.asking);
        if let Some(lookup) = asking.get(name) {
            return Ok((Arc::clone(lookup), false));
        }
        let turn = self.turn()?;
        let lookup = Arc::<Lookup>::default();
        let (shared, name, begun) = (Arc::clone(self), name.to_owned(), Arc::clone(&lookup));
        asking.insert(name.clone(), Arc::clone(&lookup));
        let key = name.clone();
        let thread = thread::Builder::new().name("gateway-names".to_owned()).spawn(move || {
            // A directory that panics must not leave a name that is being asked for ever.
            let answer = catch_unwind(AssertUnwindSafe(|| shared.directory.resolve(&name)));
            let answer = match answer {
                Ok(answer) => answer.map_err(|error| error.0.to_string()),
                Err(_) => Err("it panicked".to_owned()),
            };
            shared.record(&name, &answer);
            lock(&shared.asking).remove(&name);
            begun.end(answer);
            drop(turn);
        });
        if thread.is_err() {
            asking.remove(&key);
            return Err(ApiError::Overloaded { what: "questions to the registry" });
        }
        Ok((lookup, true))
    }

    fn record(&self, name: &str, answer: &Answer) {
        let (mut resolved, now) = (lock(&self.resolved), Instant::now());
        match answer {
            Ok(Some(id)) => resolved.insert(name.to_owned(), Resolved { id: *id, asked: now, since: now }),
            Ok(None) => {
                resolved.remove(name);
                lock(&self.unresolved).insert(name.to_owned(), now);
            }
            Err(error) => {
                tracing::warn!(name, %error, "gateway.names: the registry does not answer");
                if let Some(known) = resolved.get(name).copied() {
                    resolved.insert(name.to_owned(), Resolved { asked: now, ..known });
                }
            }
        }
    }
}

fn overloaded<E>(_: E) -> ApiError {
    ApiError::Overloaded { what: "questions to the registry" }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use veracity_graph::Digest;

    use super::*;
    use crate::WorkerEntry;

    const ID: ModelId = ModelId(Digest([7; 32]));

    /// Knows the names `a` and `b` and one model; hangs as long as it is told to.
    #[derive(Debug, Default)]
    struct Slow {
        asked: AtomicUsize,
        hangs: Mutex<bool>,
        released: Condvar,
    }

    impl Slow {
        fn set(&self, hangs: bool) {
            *lock(&self.hangs) = hangs;
            self.released.notify_all();
        }
    }

    impl Directory for Slow {
        fn resolve(&self, name: &str) -> Result<Option<ModelId>, DirectoryError> {
            self.asked.fetch_add(1, SeqCst);
            drop(self.released.wait_while(lock(&self.hangs), |hangs| *hangs).unwrap());
            Ok(["a", "b"].contains(&name).then_some(ID))
        }

        fn published_names(&self, ids: &[ModelId]) -> Result<Vec<Option<String>>, DirectoryError> {
            self.asked.fetch_add(1, SeqCst);
            Ok(ids.iter().map(|id| (*id == ID).then(|| "a".to_owned())).collect())
        }

        fn workers(&self, _: usize) -> Result<Vec<WorkerEntry>, DirectoryError> {
            Ok(vec![])
        }
    }

    fn names(fresh: Duration) -> (Arc<Slow>, Arc<Names>) {
        let slow = Arc::<Slow>::default();
        let memory = Memory { fresh, stale: Duration::from_secs(600) };
        (Arc::clone(&slow), Arc::new(Names::new(slow, memory)))
    }

    #[test]
    fn a_known_name_is_known_while_the_registry_hangs_and_all_turns_are_taken() {
        let (slow, names) = names(Duration::ZERO);
        assert_eq!(names.resolve("a").unwrap(), Some(ID));
        slow.set(true);
        let started = Instant::now();
        assert_eq!(names.resolve("a").unwrap(), Some(ID), "it takes long");
        assert_eq!(names.resolve("a").unwrap(), Some(ID), "somebody asks");
        assert_eq!(slow.asked.load(SeqCst), 2, "once at a time");
        let taken: Vec<_> = (0..LOOKUPS_MAX - 1).map(|_| names.0.turn().unwrap()).collect();
        assert!(matches!(names.resolve("b"), Err(ApiError::Overloaded { .. })));
        assert_eq!(names.resolve("a").unwrap(), Some(ID), "there is no turn");
        assert!(started.elapsed() < LOOKUP_TIME_MAX);
        drop(taken);
        slow.set(false);
        assert_eq!(names.resolve("b").unwrap(), Some(ID));
    }

    #[test]
    fn many_who_ask_for_a_name_are_one_question() {
        let (slow, names) = names(Duration::from_secs(60));
        slow.set(true);
        let askers: Vec<_> = (0..16)
            .map(|_| {
                let names = Arc::clone(&names);
                thread::spawn(move || names.resolve("a").unwrap())
            })
            .collect();
        while slow.asked.load(SeqCst) == 0 {
            thread::yield_now();
        }
        slow.set(false);
        askers.into_iter().for_each(|asker| assert_eq!(asker.join().unwrap(), Some(ID)));
        assert_eq!(slow.asked.load(SeqCst), 1);
    }

    #[test]
    fn what_the_registry_does_not_know_is_not_asked_again_at_once() {
        let (slow, names) = names(Duration::ZERO);
        let other = ModelId(Digest([8; 32])).to_string();
        for _ in 0..3 {
            assert_eq!(names.resolve("nobody").unwrap(), None);
            assert_eq!(names.meaning("a", Some(&other)).unwrap(), None);
        }
        assert_eq!(slow.asked.load(SeqCst), 2);
        assert_eq!(names.meaning("a", Some(&ID.to_string())).unwrap(), Some(ID));
    }

    /// Strangers that ask for many names do not make those forgotten that are used.
    #[test]
    fn names_that_mean_nothing_drive_out_none_that_do() {
        let (slow, names) = names(Duration::from_secs(600));
        assert_eq!(names.resolve("a").unwrap(), Some(ID));
        let now = Instant::now();
        (0..=REMEMBERED_MAX).for_each(|n| names.0.record(&n.to_string(), &Ok(None)));
        assert_eq!(names.resolve("a").unwrap(), Some(ID));
        assert_eq!(slow.asked.load(SeqCst), 1, "{:?}", now.elapsed());
    }
}
