//! Models that are being fetched (`docs/spec/hosting.md`, sections 3 and 5).

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read},
    ops::Range,
    path::{Path, PathBuf},
};

use bao_tree::io::{
    BaoContentItem, DecodeError as BaoError,
    sync::{DecodeResponseIter, encode_ranges_validated},
};
use veracity_graph::{DecodeLimits, Digest, Graph, Manifest, Model, ModelId};

use crate::{
    PartName, PartialError, PutError, ReceiveError, Store, StoreError,
    disk::DiskFile,
    groups::{GROUPS_MAX, Tree, chunk_ranges, group_count, mismatch},
    store::read_dir,
};

/// Largest part that is accepted, so that no offset overflows: 256 TiB.
const PART_BYTES_MAX: u64 = 1 << 48;

/// A model that is being fetched, held by one process. Dropping it keeps what was verified; a later
/// [`Store::begin_fetch`] goes on from there.
#[derive(Debug)]
pub struct Partial<'a> {
    store: &'a Store,
    id: ModelId,
    manifest: Manifest,
    /// `partial/<id>`.
    dir: PathBuf,
    parts: [PartialPart<'a>; 2],
    _lock: File,
}

/// One part of a model that is being fetched. Several threads may receive different groups at the same time.
#[derive(Debug)]
pub struct PartialPart<'a> {
    tree: Tree,
    data: DiskFile<'a>,
    hashes: DiskFile<'a>,
    missing: Vec<Range<u64>>,
}

impl Store {
    /// Begins to fetch the model of this manifest, or goes on where an earlier fetch ended. All that is there is verified
    /// again.
    ///
    /// # Errors
    /// [`PartialError::TooLarge`]; [`PartialError::InUse`] if another fetch of this model is under way;
    /// [`PartialError::Store`].
    pub fn begin_fetch(&self, manifest: &Manifest) -> Result<Partial<'_>, PartialError> {
        for name in PartName::ALL {
            let size_bytes = name.of(manifest).size_bytes;
            if size_bytes > PART_BYTES_MAX {
                return Err(PartialError::TooLarge { size_bytes, size_bytes_max: PART_BYTES_MAX });
            }
        }
        let id = manifest.model_id();
        let dir = self.partial_dir(&id);
        let lock = self.lock_partial(&id, &dir)?;
        let model = dir.join("model");
        self.disk.ensure_dir(&model)?;
        let path = model.join("manifest");
        let bytes = manifest.encode();
        if fs::read(&path).ok().is_none_or(|found| found != bytes) {
            self.disk.write_file(path, &bytes)?;
            for folder in [&model, &dir, &self.root().join("partial")] {
                self.disk.sync_dir(folder)?;
            }
        }
        let part = |name| self.open_part(&model, name, manifest);
        let parts = [part(PartName::Graph)?, part(PartName::Weights)?];
        Ok(Partial { store: self, id, manifest: manifest.clone(), dir, parts, _lock: lock })
    }

    /// The manifest of a fetch that did not end, checked against the id.
    #[must_use]
    pub fn partial_manifest(&self, id: &ModelId) -> Option<Manifest> {
        let bytes = fs::read(self.partial_dir(id).join("model/manifest")).ok()?;
        Manifest::decode(&bytes).ok().filter(|manifest| manifest.model_id() == *id)
    }

    /// Models whose fetch did not end, in order.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn partials(&self) -> Result<Vec<ModelId>, StoreError> {
        let folder = self.root().join("partial");
        let files = if folder.exists() { read_dir(&folder)? } else { Vec::new() };
        let mut ids: Vec<_> = files.iter().filter_map(|file| Digest::from_hex(file)).map(ModelId).collect();
        ids.sort();
        Ok(ids)
    }

    /// Deletes what was fetched of a model whose fetch did not end; nothing if there is none.
    ///
    /// # Errors
    /// [`PartialError::InUse`], [`PartialError::Store`].
    pub fn discard_partial(&self, id: &ModelId) -> Result<(), PartialError> {
        let dir = self.partial_dir(id);
        if !dir.exists() {
            return Ok(());
        }
        let _lock = self.lock_partial(id, &dir)?;
        let _exclusive = self.exclusive()?;
        Ok(self.disk.remove_tree(&dir)?)
    }

    fn partial_dir(&self, id: &ModelId) -> PathBuf {
        self.root().join("partial").join(id.to_string())
    }

    /// Makes the folder of a fetch and locks it. Under the store's lock, as the removal of the folder is.
    fn lock_partial(&self, id: &ModelId, dir: &Path) -> Result<File, PartialError> {
        let _exclusive = self.exclusive()?;
        let folder = self.root().join("partial");
        if !folder.is_dir() {
            self.disk.create_dir(&folder)?;
            self.disk.sync_dir(self.root())?;
        }
        self.disk.ensure_dir(dir)?;
        let path = dir.join("lock");
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(StoreError::io("lock", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(PartialError::InUse { id: *id }),
            Err(TryLockError::Error(e)) => Err(StoreError::io("lock", path)(e).into()),
        }
    }

    fn open_part(
        &self,
        model: &Path,
        name: PartName,
        manifest: &Manifest,
    ) -> Result<PartialPart<'_>, StoreError> {
        let part = name.of(manifest);
        let tree = Tree::of(part);
        let path = model.join(name.as_str());
        let fresh = !path.exists();
        let data = self.disk.open_sized(path, part.size_bytes)?;
        let hashes = self.disk.open_sized(model.join(format!("{name}.obao")), tree.shape.outboard_size())?;
        let mut part = PartialPart { tree, data, hashes, missing: Vec::new() };
        let all = 0..group_count(part.size_bytes());
        part.missing = match (all.is_empty(), fresh) {
            (true, _) => Vec::new(),
            (false, true) => vec![all],
            (false, false) => part.find_missing()?,
        };
        Ok(part)
    }
}

impl Partial<'_> {
    /// The model.
    #[must_use]
    pub fn id(&self) -> ModelId {
        self.id
    }

    /// One of its parts.
    #[must_use]
    pub fn part(&self, name: PartName) -> &PartialPart<'_> {
        match name {
            PartName::Graph => &self.parts[0],
            PartName::Weights => &self.parts[1],
        }
    }

    /// Whether the graph, all of which was received, is one: so that nobody waits for the weights of a model that is none.
    ///
    /// # Errors
    /// [`PutError::Bundle`] if it is none; [`StoreError::Corrupt`] if bytes are missing or wrong; [`PutError::Store`].
    pub fn check_graph(&self) -> Result<(), PutError> {
        Graph::decode(&self.read(PartName::Graph)?, DecodeLimits::default())?;
        Ok(())
    }

    /// Stores the model, all of which was received: durable and visible when this returns. Memory: the size of the model.
    ///
    /// # Errors
    /// [`PutError::Bundle`] if the graph is none; [`PutError::Model`] if it is no valid model; [`StoreError::Corrupt`] if
    /// bytes are missing or wrong; [`PutError::Store`]. What was received stays.
    pub fn finish(self) -> Result<ModelId, PutError> {
        let graph = Graph::decode(&self.read(PartName::Graph)?, DecodeLimits::default())?;
        Model::new(graph, self.read(PartName::Weights)?)?;
        let model = self.dir.join("model");
        for part in &self.parts {
            part.data.sync()?;
            part.hashes.sync()?;
        }
        self.store.disk.sync_dir(&model)?;
        let lock = self.store.exclusive()?;
        self.store.place(&lock, &self.id, &model, &self.dir.join("corrupt"))?;
        if let Err(error) = self.store.disk.remove_tree(&self.dir) {
            tracing::warn!(%error, "store.finish: the folder of a complete fetch stays");
        }
        Ok(self.id)
    }

    /// Deletes what was received.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn discard(self) -> Result<(), StoreError> {
        let _lock = self.store.exclusive()?;
        self.store.disk.remove_tree(&self.dir)
    }

    /// All bytes of a part, checked.
    fn read(&self, name: PartName) -> Result<Vec<u8>, StoreError> {
        let path = self.part(name).data.path();
        let bytes = fs::read(path).map_err(StoreError::io("read", path))?;
        name.of(&self.manifest).check(name.as_str(), &bytes).map_err(|error| StoreError::Corrupt {
            path: path.to_owned(),
            reason: error.to_string(),
            remedy: "fetch the model again; what is missing or damaged is found and fetched",
        })?;
        Ok(bytes)
    }
}

impl PartialPart<'_> {
    /// Bytes of the whole part.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.tree.shape.size()
    }

    /// Groups that were missing when the fetch began, in order and not adjacent.
    #[must_use]
    pub fn missing(&self) -> &[Range<u64>] {
        &self.missing
    }

    /// Receives these groups in Bao encoding. Each is written when it is verified, none before; no more is read than the
    /// encoding and one byte after it. Gives the number of groups that were written, also after an error.
    ///
    /// # Errors
    /// [`ReceiveError`].
    pub fn receive(&self, groups: &Range<u64>, mut encoded: impl Read) -> (u64, Result<(), ReceiveError>) {
        let mut written = 0;
        let ranges = chunk_ranges(groups);
        for item in DecodeResponseIter::new(self.tree.root, self.tree.shape, &mut encoded, &ranges) {
            match item.map_err(receive_error).and_then(|item| self.keep(item)) {
                Ok(n_groups) => written += n_groups,
                Err(error) => return (written, Err(error)),
            }
        }
        (written, end(encoded))
    }

    /// Writes what was verified; gives the number of groups, 1 or 0.
    fn keep(&self, item: BaoContentItem) -> Result<u64, ReceiveError> {
        match item {
            BaoContentItem::Parent(parent) => {
                if let Some(place) = self.tree.shape.pre_order_offset(parent.node) {
                    let pair = [*parent.pair.0.as_bytes(), *parent.pair.1.as_bytes()].concat();
                    self.hashes.write_at(place * 64, &pair)?;
                }
                Ok(0)
            }
            BaoContentItem::Leaf(leaf) => {
                self.data.write_at(leaf.offset, &leaf.data)?;
                Ok(1)
            }
        }
    }

    fn find_missing(&self) -> Result<Vec<Range<u64>>, StoreError> {
        let mut missing: Vec<Range<u64>> = Vec::new();
        let group_count = group_count(self.size_bytes());
        let mut first = 0;
        while first < group_count {
            let end = group_count.min(first + GROUPS_MAX);
            if !self.is_sound(&(first..end))? {
                for group in first..end {
                    if self.is_sound(&(group..group + 1))? {
                        continue;
                    }
                    match missing.last_mut().filter(|last| last.end == group) {
                        Some(last) => last.end += 1,
                        None => missing.push(group..group + 1),
                    }
                }
            }
            first = end;
        }
        Ok(missing)
    }

    fn is_sound(&self, groups: &Range<u64>) -> Result<bool, StoreError> {
        let hashes = self.tree.outboard(self.hashes.file());
        match encode_ranges_validated(self.data.file(), hashes, &chunk_ranges(groups), io::sink()) {
            Ok(()) => Ok(true),
            Err(error) => {
                mismatch(error).map_err(StoreError::io("read", self.data.path()))?;
                Ok(false)
            }
        }
    }
}

fn receive_error(error: BaoError) -> ReceiveError {
    match error {
        BaoError::ParentNotFound(node) => {
            ReceiveError::Truncated { offset: node.chunk_range().start.to_bytes() }
        }
        BaoError::LeafNotFound(chunk) => ReceiveError::Truncated { offset: chunk.to_bytes() },
        BaoError::ParentHashMismatch(node) => {
            ReceiveError::WrongBytes { offset: node.chunk_range().start.to_bytes() }
        }
        BaoError::LeafHashMismatch(chunk) => ReceiveError::WrongBytes { offset: chunk.to_bytes() },
        BaoError::Io(e) => ReceiveError::Source(e),
    }
}

/// Checks that nothing follows. An error here is not one of the bytes, which are all there.
fn end(mut encoded: impl Read) -> Result<(), ReceiveError> {
    loop {
        match encoded.read(&mut [0]) {
            Ok(0) => return Ok(()),
            Ok(_) => return Err(ReceiveError::TooLong),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Ok(()),
        }
    }
}
