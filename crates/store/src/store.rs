use std::{
    fs, io,
    path::{Path, PathBuf},
};

use veracity_graph::{Bundle, Digest, Manifest, ModelId, Part};

use crate::{
    Name, StoreError,
    disk::Disk,
    lock::{Exclusive, Scratch},
    name::is_id_prefix,
};

const VERSION_LINE: &str = "veracity store 1\n";
const REMEDY_MODEL: &str = "remove the model with `veracity model rm` and import or pull it again";
const REMEDY_NAME: &str = "remove the name with `veracity model rm`, or import or pull its model again";
const REMEDY_REPORT: &str = "import the model again to measure it again";

/// A folder of models, shared by processes. See the crate's page for what it promises.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    pub(crate) disk: Disk,
}

/// A stored model and its names.
#[derive(Debug)]
pub struct Entry {
    /// The model.
    pub id: ModelId,
    /// Names that point at it, in order.
    pub names: Vec<Name>,
    /// Its manifest, or why it cannot be read; one damaged model does not hide the others.
    pub manifest: Result<Manifest, StoreError>,
}

impl Entry {
    /// Bytes of graph and weights; 0 if the manifest cannot be read.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.manifest.as_ref().map_or(0, |m| m.graph.size_bytes.saturating_add(m.weights.size_bytes))
    }
}

/// What [`Store::remove`] removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// The model that the reference named; none for a damaged name, which pointed at no model.
    pub id: Option<ModelId>,
    /// Names that are gone.
    pub names: Vec<Name>,
    /// Whether the model itself is gone.
    pub model: bool,
}

impl Store {
    /// Opens the store in `root`, making it if there is none, and deletes what interrupted writes left behind.
    ///
    /// # Errors
    /// [`StoreError::NotAStore`], [`StoreError::Io`], [`StoreError::DiskFull`].
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        Self::open_on(root.into(), Disk::default())
    }

    pub(crate) fn open_on(root: PathBuf, disk: Disk) -> Result<Self, StoreError> {
        fs::create_dir_all(&root).map_err(StoreError::io("create folder", &root))?;
        let store = Self { root, disk };
        let lock = store.exclusive()?;
        store.check_version()?;
        for folder in ["models", "names", "receipts", "tmp"] {
            store.disk.ensure_dir(&store.root.join(folder))?;
        }
        store.disk.sync_dir(&store.root)?;
        store.clean(&lock)?;
        Ok(store)
    }

    /// The folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The model with this id, checked.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Corrupt`], [`StoreError::Io`].
    pub fn get(&self, id: &ModelId) -> Result<Bundle, StoreError> {
        let manifest = self.manifest(id)?;
        let graph = self.read_part(id, "graph", &manifest.graph)?;
        let weights = self.read_part(id, "weights", &manifest.weights)?;
        Ok(Bundle { manifest, graph, weights })
    }

    /// The manifest of this model, checked.
    ///
    /// # Errors
    /// As [`Store::get`].
    pub fn manifest(&self, id: &ModelId) -> Result<Manifest, StoreError> {
        let bytes = self.read_file(id, "manifest")?;
        let corrupt =
            |reason: String| self.corrupt(self.model_dir(id).join("manifest"), reason, REMEDY_MODEL);
        let manifest = Manifest::decode(&bytes).map_err(|e| corrupt(e.to_string()))?;
        match manifest.model_id() {
            found if found == *id => Ok(manifest),
            found => Err(corrupt(format!("its hash is {found}"))),
        }
    }

    /// The accuracy report of this model in JSON, if it has one.
    ///
    /// # Errors
    /// As [`Store::get`].
    pub fn report(&self, id: &ModelId) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.model_dir(id).join("report");
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound && self.contains(id) => return Ok(None),
            Err(e) => return Err(self.read_error(id, path, e)),
        };
        let corrupt = |reason: &str| self.corrupt(path, reason.to_owned(), REMEDY_REPORT);
        let Some((line, report)) = bytes.split_at_checked(65) else { return Err(corrupt("it is cut short")) };
        if line != format!("{}\n", Digest::of(report)).as_bytes() {
            return Err(corrupt("its checksum does not fit"));
        }
        Ok(Some(report.to_vec()))
    }

    /// Whether a model with this id is stored. Its bytes are not read.
    #[must_use]
    pub fn contains(&self, id: &ModelId) -> bool {
        self.model_dir(id).is_dir()
    }

    /// The id that a reference means: a name, an id, or the first 8 or more digits of one id.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Ambiguous`], [`StoreError::Corrupt`] if the name points at no model.
    pub fn resolve(&self, reference: &str) -> Result<ModelId, StoreError> {
        if let Some(id) = self.resolve_exact(reference)? {
            return Ok(id);
        }
        let not_found = || StoreError::NotFound { reference: reference.to_owned() };
        if !is_id_prefix(reference) {
            return Err(not_found());
        }
        let mut ids = self.ids()?;
        ids.retain(|id| id.to_string().starts_with(reference));
        match ids.as_slice() {
            [] => Err(not_found()),
            [id] => Ok(*id),
            _ => Err(StoreError::Ambiguous { reference: reference.to_owned(), ids }),
        }
    }

    /// As [`Store::resolve`] without abbreviations, whose meaning changes as models come and go.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if the name points at no model, [`StoreError::Io`].
    pub fn resolve_exact(&self, reference: &str) -> Result<Option<ModelId>, StoreError> {
        if let Ok(name) = reference.parse() {
            return self.read_name(&name);
        }
        Ok(Digest::from_hex(reference).map(ModelId).filter(|id| self.contains(id)))
    }

    /// All models, by id.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn list(&self) -> Result<Vec<Entry>, StoreError> {
        let names = self.names()?;
        let entry = |id: ModelId| {
            let names =
                names.iter().filter(|(_, target)| *target == id).map(|(name, _)| name.clone()).collect();
            Entry { id, names, manifest: self.manifest(&id) }
        };
        Ok(self.ids()?.into_iter().map(entry).collect())
    }

    /// Ids of all models, in order. Nothing of them is read.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn ids(&self) -> Result<Vec<ModelId>, StoreError> {
        let files = read_dir(&self.root.join("models"))?;
        let mut ids: Vec<_> = files.iter().filter_map(|file| Digest::from_hex(file)).map(ModelId).collect();
        ids.sort();
        Ok(ids)
    }

    /// All names with the ids that they point at, in order. A damaged name is left out, logged, and refused by
    /// [`Store::resolve`].
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn names(&self) -> Result<Vec<(Name, ModelId)>, StoreError> {
        let mut names = Vec::new();
        for file in read_dir(&self.root.join("names"))? {
            let Ok(name) = file.parse::<Name>() else { continue };
            match self.read_name(&name) {
                Ok(Some(id)) => names.push((name, id)),
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "name left out"),
            }
        }
        names.sort();
        Ok(names)
    }

    /// What is wrong with the names that [`Store::names`] leaves out.
    ///
    /// # Errors
    /// [`StoreError::Io`] if they cannot be listed.
    pub fn damaged_names(&self) -> Result<Vec<StoreError>, StoreError> {
        let files = read_dir(&self.root.join("names"))?;
        let names = files.iter().filter_map(|file| file.parse::<Name>().ok());
        Ok(names.filter_map(|name| self.read_name(&name).err()).collect())
    }

    /// Points `name` at a stored model, whatever it pointed at before. Durable when it returns.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if the model is not stored, [`StoreError::Io`], [`StoreError::DiskFull`].
    pub fn set_name(&self, name: &Name, id: &ModelId) -> Result<(), StoreError> {
        let scratch = self.scratch()?;
        let _lock = self.exclusive()?;
        if !self.contains(id) {
            return Err(StoreError::NotFound { reference: id.to_string() });
        }
        let file = scratch.path.join("name");
        self.disk.write_file(file.clone(), format!("{id}\n").as_bytes())?;
        let names = self.root.join("names");
        self.disk.rename(&file, &names.join(name.as_str()))?;
        self.disk.sync_dir(&names)
    }

    /// Replaces the accuracy report of a model. Durable when it returns.
    ///
    /// # Errors
    /// As [`Store::set_name`].
    pub fn set_report(&self, id: &ModelId, report: &[u8]) -> Result<(), StoreError> {
        let scratch = self.scratch()?;
        let lock = self.exclusive()?;
        self.replace_report(&lock, &scratch, id, report)
    }

    pub(crate) fn replace_report(
        &self,
        _: &Exclusive,
        scratch: &Scratch<'_>,
        id: &ModelId,
        report: &[u8],
    ) -> Result<(), StoreError> {
        if !self.contains(id) {
            return Err(StoreError::NotFound { reference: id.to_string() });
        }
        let file = scratch.path.join("report");
        self.disk.write_file(file.clone(), &report_bytes(report))?;
        self.disk.rename(&file, &self.model_dir(id).join("report"))?;
        self.disk.sync_dir(&self.model_dir(id))
    }

    /// Removes by reference: a name, and its model if that was the last name; or, by id, the model with all its names.
    ///
    /// # Errors
    /// As [`Store::resolve`], but a damaged name or model can be removed.
    pub fn remove(&self, reference: &str) -> Result<Removed, StoreError> {
        let scratch = self.scratch()?;
        let _lock = self.exclusive()?;
        let name = reference.parse::<Name>().ok();
        let id = match (self.resolve(reference), &name) {
            // The name points nowhere: removing it is the remedy.
            (Err(StoreError::Corrupt { .. }), Some(name)) => {
                self.remove_names(std::slice::from_ref(name))?;
                return Ok(Removed { id: None, names: vec![name.clone()], model: false });
            }
            (resolved, _) => resolved?,
        };
        let mut names: Vec<Name> =
            self.names()?.into_iter().filter(|(_, target)| *target == id).map(|(name, _)| name).collect();
        let others = name.is_some_and(|name| {
            let others = names.iter().any(|n| *n != name);
            names.retain(|n| !others || *n == name);
            others
        });
        self.remove_names(&names)?;
        if !others {
            self.disk.rename(&self.model_dir(&id), &scratch.path.join("removed"))?;
            self.disk.sync_dir(&self.root.join("models"))?;
        }
        Ok(Removed { id: Some(id), names, model: !others })
    }

    fn remove_names(&self, names: &[Name]) -> Result<(), StoreError> {
        let folder = self.root.join("names");
        for name in names {
            self.disk.remove_file(&folder.join(name.as_str()))?;
        }
        self.disk.sync_dir(&folder)
    }

    pub(crate) fn model_dir(&self, id: &ModelId) -> PathBuf {
        self.root.join("models").join(id.to_string())
    }

    fn check_version(&self) -> Result<(), StoreError> {
        let path = self.root.join("VERSION");
        match fs::read(&path) {
            Ok(found) if found == VERSION_LINE.as_bytes() => Ok(()),
            Ok(found) if found.is_empty() => self.write_version(path),
            Ok(found) => {
                let found = String::from_utf8_lossy(&found)
                    .lines()
                    .next()
                    .unwrap_or_default()
                    .chars()
                    .take(80)
                    .collect();
                Err(StoreError::NotAStore { path: self.root.clone(), found })
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => self.write_version(path),
            Err(e) => Err(StoreError::io("read", path)(e)),
        }
    }

    /// Not by rename: an empty or missing file is written again, and there is nothing before it to lose.
    fn write_version(&self, path: PathBuf) -> Result<(), StoreError> {
        self.disk.write_file(path, VERSION_LINE.as_bytes())
    }

    fn read_name(&self, name: &Name) -> Result<Option<ModelId>, StoreError> {
        let path = self.root.join("names").join(name.as_str());
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(StoreError::io("read", path)(e)),
        };
        let id = str::from_utf8(&text)
            .ok()
            .and_then(|t| t.strip_suffix('\n'))
            .and_then(Digest::from_hex)
            .map(ModelId);
        match id {
            Some(id) if self.contains(&id) => Ok(Some(id)),
            // Another process may have removed name and model since the file was read.
            Some(_) if !path.exists() => Ok(None),
            Some(id) => {
                Err(self.corrupt(path, format!("it points at model {id}, which is not here"), REMEDY_NAME))
            }
            None => Err(self.corrupt(path, "it does not hold a model id".to_owned(), REMEDY_NAME)),
        }
    }

    fn read_part(&self, id: &ModelId, file: &'static str, part: &Part) -> Result<Vec<u8>, StoreError> {
        let path = self.model_dir(id).join(file);
        let found = fs::metadata(&path).map_or(part.size_bytes, |m| m.len());
        if found != part.size_bytes {
            let reason = format!("it has {found} bytes, the manifest says {}", part.size_bytes);
            return Err(self.corrupt(path, reason, REMEDY_MODEL));
        }
        let bytes = self.read_file(id, file)?;
        part.check(file, &bytes).map_err(|e| self.corrupt(path, e.to_string(), REMEDY_MODEL))?;
        Ok(bytes)
    }

    fn read_file(&self, id: &ModelId, file: &'static str) -> Result<Vec<u8>, StoreError> {
        let path = self.model_dir(id).join(file);
        fs::read(&path).map_err(|e| self.read_error(id, path, e))
    }

    /// A missing file of a model that is there is damage; of one that is gone it is just that.
    pub(crate) fn read_error(&self, id: &ModelId, path: PathBuf, error: io::Error) -> StoreError {
        match error.kind() {
            io::ErrorKind::NotFound if !self.contains(id) => {
                StoreError::NotFound { reference: id.to_string() }
            }
            io::ErrorKind::NotFound => self.corrupt(path, "it is missing".to_owned(), REMEDY_MODEL),
            _ => StoreError::io("read", path)(error),
        }
    }

    #[expect(clippy::unused_self, reason = "reads like the other steps")]
    fn corrupt(&self, path: PathBuf, reason: String, remedy: &'static str) -> StoreError {
        StoreError::Corrupt { path, reason, remedy }
    }
}

pub(crate) fn report_bytes(report: &[u8]) -> Vec<u8> {
    [format!("{}\n", Digest::of(report)).as_bytes(), report].concat()
}

/// File names in a folder; those that are not UTF-8 are not ours.
pub(crate) fn read_dir(path: &Path) -> Result<Vec<String>, StoreError> {
    let read = || {
        let mut names = Vec::new();
        for entry in fs::read_dir(path)? {
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    };
    read().map_err(StoreError::io("list", path))
}
