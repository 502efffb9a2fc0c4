//! Groups of a part, verified against the model id (`docs/spec/hosting.md`, sections 1, 2 and 5).

use std::{
    fmt,
    fs::{self, File},
    io::{self, BufReader},
    ops::Range,
    path::PathBuf,
};

use bao_tree::{
    BaoTree, BlockSize, ChunkNum, ChunkRanges,
    io::{
        EncodeError,
        outboard::{PreOrderMemOutboard, PreOrderOutboard},
        sync::{encode_ranges_validated, outboard},
    },
};
use veracity_graph::{Manifest, ModelId, Part};

use crate::{GroupsError, Store, StoreError};

/// Bytes of a group, the unit of verification. The last one of a part may be shorter.
pub const GROUP_BYTES: u64 = 16 << 10;
/// Most groups in one encoded range.
pub const GROUPS_MAX: u64 = 256;

const BLOCK_SIZE: BlockSize = BlockSize::from_chunk_log(4);
const CHUNKS_IN_GROUP: u64 = 16;
const _: () = assert!(GROUP_BYTES == CHUNKS_IN_GROUP << 10);
const PAIR_BYTES: u64 = 64;
const REMEDY: &str =
    "the model is offered no more; remove it with `veracity model rm` and import or pull it again";

/// A part of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PartName {
    /// The canonical graph.
    Graph,
    /// The bytes of the constants.
    Weights,
}

impl PartName {
    /// Both parts, in the order in which they are fetched.
    pub const ALL: [Self; 2] = [Self::Graph, Self::Weights];

    /// The name in paths and URLs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Graph => "graph",
            Self::Weights => "weights",
        }
    }

    /// What the manifest says about this part.
    #[must_use]
    pub fn of(self, manifest: &Manifest) -> &Part {
        match self {
            Self::Graph => &manifest.graph,
            Self::Weights => &manifest.weights,
        }
    }
}

impl fmt::Display for PartName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Number of groups of a part of `size_bytes`.
#[must_use]
pub fn group_count(size_bytes: u64) -> u64 {
    size_bytes.div_ceil(GROUP_BYTES)
}

/// Bytes of `groups` of a part of `size_bytes` in Bao encoding. `groups` lies within the part. Cost: its length.
#[must_use]
pub fn encoded_bytes(size_bytes: u64, groups: &Range<u64>) -> u64 {
    let at = |group: u64| size_bytes.min(group.saturating_mul(GROUP_BYTES));
    let data = at(groups.end) - at(groups.start);
    data + PAIR_BYTES * pairs(&(0..group_count(size_bytes)), groups)
}

/// Inner nodes at and below the one over `span` that have a group in `wanted` below them.
fn pairs(span: &Range<u64>, wanted: &Range<u64>) -> u64 {
    let len = span.end - span.start;
    if len <= 1 || span.start.max(wanted.start) >= span.end.min(wanted.end) {
        return 0;
    }
    let middle = span.start + len.next_power_of_two() / 2;
    1 + pairs(&(span.start..middle), wanted) + pairs(&(middle..span.end), wanted)
}

/// The hash tree of a part.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tree {
    pub(crate) root: blake3::Hash,
    pub(crate) shape: BaoTree,
}

impl Tree {
    pub(crate) fn of(part: &Part) -> Self {
        let root = blake3::Hash::from_bytes(part.digest.0);
        Self { root, shape: BaoTree::new(part.size_bytes, BLOCK_SIZE) }
    }

    pub(crate) fn outboard<'a>(&self, file: &'a File) -> PreOrderOutboard<&'a File> {
        PreOrderOutboard { root: self.root, tree: self.shape, data: file }
    }
}

pub(crate) fn chunk_ranges(groups: &Range<u64>) -> ChunkRanges {
    ChunkRanges::from(ChunkNum(groups.start * CHUNKS_IN_GROUP)..ChunkNum(groups.end * CHUNKS_IN_GROUP))
}

/// Where the stored bytes first differ from what the root says, if they do.
pub(crate) fn mismatch(error: EncodeError) -> io::Result<u64> {
    match error {
        EncodeError::LeafHashMismatch(chunk) => Ok(chunk.to_bytes()),
        EncodeError::ParentHashMismatch(node) => Ok(node.chunk_range().start.to_bytes()),
        EncodeError::Io(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
        error => Err(error.into()),
    }
}

impl Store {
    /// These groups of a part in Bao encoding, each verified against the model id before it is returned. Memory: their
    /// size.
    ///
    /// # Errors
    /// [`GroupsError::Range`] if there are no such groups or more than [`GROUPS_MAX`]; [`GroupsError::NoHashes`] before
    /// [`Store::make_outboards`]; [`GroupsError::Damaged`] if bytes or hashes on disk are wrong; [`GroupsError::Store`].
    pub fn read_groups(
        &self,
        id: &ModelId,
        name: PartName,
        groups: Range<u64>,
    ) -> Result<Vec<u8>, GroupsError> {
        let manifest = self.manifest(id)?;
        let part = name.of(&manifest);
        let group_count = group_count(part.size_bytes);
        let count = groups.end.saturating_sub(groups.start);
        if count == 0 || count > GROUPS_MAX || groups.end > group_count {
            return Err(GroupsError::Range { first: groups.start, count, group_count });
        }
        let open = |path: PathBuf| File::open(&path).map_err(|e| self.read_error(id, path, e));
        let hashes = match File::open(self.outboard_path(id, name)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(GroupsError::NoHashes { id: *id }),
            file => file.map_err(StoreError::io("read", self.outboard_path(id, name)))?,
        };
        let data = open(self.part_path(id, name))?;
        let tree = Tree::of(part);
        let size_bytes = usize::try_from(encoded_bytes(part.size_bytes, &groups)).unwrap_or(0);
        let mut encoded = Vec::with_capacity(size_bytes);
        match encode_ranges_validated(&data, tree.outboard(&hashes), &chunk_ranges(&groups), &mut encoded) {
            Ok(()) => Ok(encoded),
            Err(error) => match mismatch(error) {
                Ok(offset) => Err(GroupsError::Damaged { path: self.part_path(id, name), offset }),
                Err(e) => Err(StoreError::io("read", self.part_path(id, name))(e).into()),
            },
        }
    }

    /// Verifies all bytes of a model and writes the hashes that [`Store::read_groups`] needs, replacing those that are
    /// there; a quarantine ends. Memory: 0.4 % of the model.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if the bytes are wrong, [`StoreError::NotFound`], [`StoreError::Io`],
    /// [`StoreError::DiskFull`].
    pub fn make_outboards(&self, id: &ModelId) -> Result<(), StoreError> {
        let manifest = self.manifest(id)?;
        let scratch = self.scratch()?;
        for name in PartName::ALL {
            let hashes = self.hash_part(id, name, name.of(&manifest))?;
            self.disk.write_file(scratch.path.join(name.as_str()), &hashes)?;
        }
        let _lock = self.exclusive()?;
        if !self.contains(id) {
            return Err(StoreError::NotFound { reference: id.to_string() });
        }
        for name in PartName::ALL {
            self.disk.rename(&scratch.path.join(name.as_str()), &self.outboard_path(id, name))?;
        }
        let mark = self.quarantine_path(id);
        if mark.exists() {
            self.disk.remove_file(&mark)?;
        }
        self.disk.sync_dir(&self.model_dir(id))
    }

    /// Marks a model as one that must not be served. Durable when it returns.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Io`], [`StoreError::DiskFull`].
    pub fn quarantine(&self, id: &ModelId, reason: &str) -> Result<(), StoreError> {
        let scratch = self.scratch()?;
        let _lock = self.exclusive()?;
        if !self.contains(id) {
            return Err(StoreError::NotFound { reference: id.to_string() });
        }
        let file = scratch.path.join("quarantine");
        self.disk.write_file(file.clone(), format!("{reason}\n").as_bytes())?;
        self.disk.rename(&file, &self.quarantine_path(id))?;
        self.disk.sync_dir(&self.model_dir(id))
    }

    /// Whether the model must not be served.
    #[must_use]
    pub fn is_quarantined(&self, id: &ModelId) -> bool {
        self.quarantine_path(id).exists()
    }

    /// Hash pairs of a part in pre-order, if its bytes are right.
    fn hash_part(&self, id: &ModelId, name: PartName, part: &Part) -> Result<Vec<u8>, StoreError> {
        let path = self.part_path(id, name);
        let corrupt = |reason: String| StoreError::Corrupt { path: path.clone(), reason, remedy: REMEDY };
        let found = fs::metadata(&path).map_or(part.size_bytes, |m| m.len());
        if found != part.size_bytes {
            return Err(corrupt(format!("it has {found} bytes, the manifest says {}", part.size_bytes)));
        }
        let file = File::open(&path).map_err(|e| self.read_error(id, path.clone(), e))?;
        let tree = Tree::of(part);
        let size_bytes = usize::try_from(tree.shape.outboard_size()).unwrap_or(usize::MAX);
        let mut hashes = PreOrderMemOutboard { root: tree.root, tree: tree.shape, data: vec![0; size_bytes] };
        let root = outboard(BufReader::with_capacity(1 << 20, file), tree.shape, &mut hashes)
            .map_err(StoreError::io("read", &path))?;
        if root != tree.root {
            return Err(corrupt(format!("its hash is {root}")));
        }
        Ok(hashes.data)
    }

    fn part_path(&self, id: &ModelId, name: PartName) -> PathBuf {
        self.model_dir(id).join(name.as_str())
    }

    fn outboard_path(&self, id: &ModelId, name: PartName) -> PathBuf {
        self.model_dir(id).join(format!("{name}.obao"))
    }

    fn quarantine_path(&self, id: &ModelId) -> PathBuf {
        self.model_dir(id).join("quarantine")
    }
}
