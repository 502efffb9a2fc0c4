//! What names mean on the network, remembered for some seconds.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Semaphore;
use veracity_graph::ModelId;

use super::{Directory, model_id};
use crate::error::ApiError;

/// Most names, and most models, that are remembered.
const REMEMBERED_MAX: usize = 4096;
/// Most questions to the registry at once.
const LOOKUPS_MAX: usize = 32;
/// How long an old answer stands in when the registry does not answer.
const STALE_MAX: Duration = Duration::from_secs(600);
/// Longest name that can be published.
const NAME_BYTES_MAX: usize = 256;

#[derive(Debug)]
pub(crate) struct Names {
    directory: Arc<dyn Directory>,
    memory: Duration,
    lookups: Semaphore,
    /// What a name means, and since when that is known.
    resolved: Mutex<HashMap<String, (Instant, Option<ModelId>)>>,
    /// Under which name a model was published, which never changes.
    published: Mutex<HashMap<ModelId, String>>,
}

impl Names {
    pub(crate) fn new(directory: Arc<dyn Directory>, memory: Duration) -> Self {
        Self {
            directory,
            memory,
            lookups: Semaphore::new(LOOKUPS_MAX),
            resolved: Mutex::default(),
            published: Mutex::default(),
        }
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
        let known = lock(&self.resolved).get(name).copied();
        let age = known.map(|(since, _)| since.elapsed());
        match known.zip(age) {
            Some(((_, id), age)) if age < self.memory => return Ok(id),
            _ => {}
        }
        let _turn = self.turn()?;
        match (self.directory.resolve(name), known.zip(age)) {
            (Ok(id), _) => {
                remember(&mut lock(&self.resolved), name.to_owned(), (Instant::now(), id));
                Ok(id)
            }
            (Err(error), Some(((_, id), age))) if age < STALE_MAX => {
                tracing::warn!(name, %error, "gateway.names: what was known before stands in");
                Ok(id)
            }
            (Err(error), _) => Err(error.into()),
        }
    }

    /// The names under which models were published.
    pub(crate) fn published(&self, ids: &[ModelId]) -> Result<Vec<Option<String>>, ApiError> {
        let unknown: Vec<ModelId> = {
            let known = lock(&self.published);
            ids.iter().filter(|id| !known.contains_key(id)).copied().collect()
        };
        let mut found = HashMap::new();
        if !unknown.is_empty() {
            let _turn = self.turn()?;
            let names = self.directory.published_names(&unknown)?;
            found.extend(unknown.iter().copied().zip(names).filter_map(|(id, name)| Some((id, name?))));
        }
        let mut known = lock(&self.published);
        let names = ids.iter().map(|id| known.get(id).or_else(|| found.get(id)).cloned()).collect();
        found.into_iter().for_each(|(id, name)| remember(&mut known, id, name));
        Ok(names)
    }

    fn turn(&self) -> Result<tokio::sync::SemaphorePermit<'_>, ApiError> {
        self.lookups.try_acquire().map_err(|_| ApiError::Overloaded { what: "questions to the registry" })
    }
}

/// Keeps an entry. When there are too many, all go: what is needed is asked for again.
fn remember<K: Eq + Hash, V>(known: &mut HashMap<K, V>, key: K, value: V) {
    if known.len() >= REMEMBERED_MAX && !known.contains_key(&key) {
        known.clear();
    }
    known.insert(key, value);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
