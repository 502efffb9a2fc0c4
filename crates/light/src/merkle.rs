//! Merkle trees over receipt ids (RFC 9162, section 2.1): root, path, and the check of a path.

use sha2::{Digest as _, Sha256};

/// A receipt id or the hash of a node.
type Hash = [u8; 32];

/// Most receipts in one batch (`docs/spec/contracts.md`, section 6).
pub const BATCH_RECEIPTS_MAX: u32 = 65_536;
/// Most hashes in a path: the height of a tree over [`BATCH_RECEIPTS_MAX`] leaves.
pub const PATH_HASHES_MAX: usize = 16;

/// The root over these receipt ids, in the order of their sequences (RFC 9162, section 2.1.1). `None` without ids: the
/// contract anchors no empty batch. Linear in their number.
#[must_use]
pub fn root(ids: &[Hash]) -> Option<Hash> {
    match ids {
        [] => None,
        [id] => Some(leaf(id)),
        _ => {
            let (left, right) = split(ids)?;
            Some(node(&root(left)?, &root(right)?))
        }
    }
}

/// The path from leaf `index` to the root (RFC 9162, section 2.1.3.1), lowest hash first. `None` if there is no such
/// leaf. Linear in the number of ids.
#[must_use]
pub fn path(ids: &[Hash], index: usize) -> Option<Vec<Hash>> {
    match ids {
        [] => None,
        [_] => (index == 0).then(Vec::new),
        _ => {
            let (left, right) = split(ids)?;
            let (mut hashes, sibling) = match index.checked_sub(left.len()) {
                None => (path(left, index)?, root(right)?),
                Some(index) => (path(right, index)?, root(left)?),
            };
            hashes.push(sibling);
            Some(hashes)
        }
    }
}

/// A tree with all its hashes, for whoever needs many paths: made once in time linear in its leaves, and a path takes as
/// many steps as the tree is high.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// Hashes from the leaves up to the root. The last of an odd number goes up as it is, which is where the split at a
    /// power of two leaves it.
    levels: Vec<Vec<Hash>>,
}

impl Tree {
    /// The tree over these receipt ids. `None` without ids.
    #[must_use]
    pub fn new(ids: &[Hash]) -> Option<Self> {
        let mut level: Vec<Hash> = ids.iter().map(leaf).collect();
        let mut levels = Vec::new();
        while level.len() > 1 {
            let above = level.chunks(2).filter_map(|pair| match pair {
                [left, right] => Some(node(left, right)),
                [last] => Some(*last),
                _ => None,
            });
            let above = above.collect();
            levels.push(std::mem::replace(&mut level, above));
        }
        (!level.is_empty()).then(|| {
            levels.push(level);
            Self { levels }
        })
    }

    /// As [`root`].
    #[must_use]
    pub fn root(&self) -> Hash {
        self.levels.last().and_then(|level| level.first()).copied().unwrap_or_default()
    }

    /// As [`path`].
    #[must_use]
    pub fn path(&self, index: usize) -> Option<Vec<Hash>> {
        self.levels.first()?.get(index)?;
        let siblings = self.levels.iter().scan(index, |place, level| {
            let sibling = level.get(*place ^ 1).copied();
            *place >>= 1;
            Some(sibling)
        });
        Some(siblings.flatten().collect())
    }
}

/// Whether `id` is leaf `index` of the tree with `size` leaves and this root (RFC 9162, section 2.1.3.2, whose names
/// these are).
#[must_use]
pub fn is_included(id: &Hash, index: u64, size: u64, path: &[Hash], root: &Hash) -> bool {
    let Some(last) = size.checked_sub(1).filter(|last| index <= *last) else { return false };
    let (mut f_n, mut s_n, mut r) = (index, last, leaf(id));
    for p in path {
        if s_n == 0 {
            return false;
        }
        if f_n & 1 == 1 || f_n == s_n {
            r = node(p, &r);
            while f_n & 1 == 0 && f_n != 0 {
                (f_n, s_n) = (f_n >> 1, s_n >> 1);
            }
        } else {
            r = node(&r, p);
        }
        (f_n, s_n) = (f_n >> 1, s_n >> 1);
    }
    s_n == 0 && r == *root
}

/// At the largest power of two below the number of leaves, of which there are at least two.
fn split(ids: &[Hash]) -> Option<(&[Hash], &[Hash])> {
    ids.split_at_checked(ids.len().checked_next_power_of_two()? >> 1)
}

fn leaf(id: &Hash) -> Hash {
    Sha256::new().chain_update([0]).chain_update(id).finalize().into()
}

fn node(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}
