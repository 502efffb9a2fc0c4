//! A Merkle-Patricia trie in memory whose copies share what they have in common.
//!
//! This is Ethereum's modified Merkle-Patricia trie (Yellow Paper, appendix D) over keys of 32 bytes, which are hashes. A
//! block's state is a copy of its parent's with some leaves changed: only the nodes on the way to them are new, so many
//! blocks that compete for one height cost little more than one. Hashes are computed when a root or proof is asked for,
//! and kept.

use std::sync::{Arc, OnceLock};

use alloy_primitives::{B256, Bytes};
use alloy_trie::{
    EMPTY_ROOT_HASH, Nibbles, TrieMask,
    nodes::{BranchNodeRef, ExtensionNodeRef, LeafNodeRef, RlpNode},
};

/// What a leaf holds.
pub trait Leaf: Clone {
    /// Appends the value's RLP, which the leaf's hash is of.
    fn encode(&self, out: &mut Vec<u8>);
}

/// A trie from hashed keys to values.
#[derive(Debug, Clone)]
pub struct Trie<V> {
    root: Link<V>,
}

type Link<V> = Option<Arc<Node<V>>>;

#[derive(Debug, Clone)]
struct Node<V> {
    kind: Kind<V>,
    /// What a parent holds of this node: its hash, or its RLP if that is shorter.
    reference: OnceLock<RlpNode>,
}

#[derive(Debug, Clone)]
enum Kind<V> {
    Leaf { path: Nibbles, value: V },
    Extension { path: Nibbles, child: Arc<Node<V>> },
    Branch(Box<[Link<V>; 16]>),
}

impl<V> Default for Trie<V> {
    fn default() -> Self {
        Self { root: None }
    }
}

impl<V: Leaf> Trie<V> {
    /// Whether there are no leaves.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// The value at `key`.
    #[must_use]
    pub fn get(&self, key: &B256) -> Option<&V> {
        let key = Nibbles::unpack(key);
        let (mut node, mut depth) = (self.root.as_ref()?, 0);
        loop {
            match &node.kind {
                Kind::Leaf { path, value } => return (key.slice(depth..) == *path).then_some(value),
                Kind::Extension { path, child } => {
                    if !key.slice(depth..).starts_with(path) {
                        return None;
                    }
                    (node, depth) = (child, depth + path.len());
                }
                Kind::Branch(children) => {
                    (node, depth) = (children[nibble(&key, depth)].as_ref()?, depth + 1);
                }
            }
        }
    }

    /// Sets the value at `key`.
    pub fn insert(&mut self, key: &B256, value: V) {
        self.root = Some(insert(self.root.take(), Nibbles::unpack(key), value));
    }

    /// Removes the value at `key`, if there is one.
    pub fn remove(&mut self, key: &B256) {
        // Looked up first, so that a miss copies no nodes.
        if self.get(key).is_some() {
            self.root = self.root.take().and_then(|root| remove(root, Nibbles::unpack(key)));
        }
    }

    /// Hash of the trie.
    #[must_use]
    pub fn root_hash(&self) -> B256 {
        let Some(root) = &self.root else { return EMPTY_ROOT_HASH };
        let reference = root.reference();
        reference.as_hash().unwrap_or_else(|| alloy_primitives::keccak256(reference))
    }

    /// The nodes from the root towards `key`, each as RLP: they prove the value there, or that there is none. Nodes
    /// shorter than a hash lie within their parents and are not listed (EIP-1186).
    #[must_use]
    pub fn proof(&self, key: &B256) -> Vec<Bytes> {
        let key = Nibbles::unpack(key);
        let (mut nodes, mut next, mut depth) = (vec![], self.root.as_ref(), 0);
        while let Some(node) = next {
            if depth == 0 || node.reference().is_hash() {
                nodes.push(node.rlp().into());
            }
            next = match &node.kind {
                Kind::Leaf { .. } => None,
                Kind::Extension { path, child } => {
                    let leads_there = key.slice(depth..).starts_with(path);
                    depth += path.len();
                    Some(child).filter(|_| leads_there)
                }
                Kind::Branch(children) => {
                    depth += 1;
                    children[nibble(&key, depth - 1)].as_ref()
                }
            };
        }
        nodes
    }

    /// Calls `visit` with each key and value, in the order of keys.
    pub fn for_each(&self, visit: &mut impl FnMut(B256, &V)) {
        fn walk<V>(node: &Node<V>, prefix: Nibbles, visit: &mut impl FnMut(B256, &V)) {
            match &node.kind {
                Kind::Leaf { path, value } => visit(B256::from_slice(&prefix.join(path).pack()), value),
                Kind::Extension { path, child } => walk(child, prefix.join(path), visit),
                Kind::Branch(children) => {
                    for (nibble, child) in (0u8..).zip(children.iter()) {
                        if let Some(child) = child {
                            walk(child, prefix.join(&Nibbles::from_nibbles([nibble])), visit);
                        }
                    }
                }
            }
        }
        if let Some(root) = &self.root {
            walk(root, Nibbles::new(), visit);
        }
    }
}

impl<V> From<Kind<V>> for Node<V> {
    fn from(kind: Kind<V>) -> Self {
        Self { kind, reference: OnceLock::new() }
    }
}

impl<V: Leaf> Node<V> {
    fn reference(&self) -> &RlpNode {
        self.reference.get_or_init(|| RlpNode::from_rlp(&self.rlp()))
    }

    fn rlp(&self) -> Vec<u8> {
        let mut rlp = Vec::new();
        match &self.kind {
            Kind::Leaf { path, value } => {
                let mut bytes = Vec::new();
                value.encode(&mut bytes);
                LeafNodeRef::new(path, &bytes).rlp(&mut rlp);
            }
            Kind::Extension { path, child } => {
                ExtensionNodeRef::new(path, child.reference()).rlp(&mut rlp);
            }
            Kind::Branch(children) => {
                let mut mask = TrieMask::default();
                let present =
                    (0u8..).zip(children.iter()).filter_map(|(i, child)| Some((i, child.as_ref()?)));
                let references: Vec<RlpNode> = present
                    .map(|(i, child)| {
                        mask.set_bit(i);
                        child.reference().clone()
                    })
                    .collect();
                BranchNodeRef::new(&references, mask).rlp(&mut rlp);
            }
        }
        rlp
    }
}

fn nibble(key: &Nibbles, depth: usize) -> usize {
    usize::from(key.get(depth).expect("keys have one length, so no key ends at a branch"))
}

/// `node` below `path`, which may be empty.
fn extend<V: Leaf>(path: Nibbles, node: Arc<Node<V>>) -> Arc<Node<V>> {
    if path.is_empty() {
        return node;
    }
    let kind = match Arc::unwrap_or_clone(node).kind {
        Kind::Leaf { path: rest, value } => Kind::Leaf { path: path.join(&rest), value },
        Kind::Extension { path: rest, child } => Kind::Extension { path: path.join(&rest), child },
        branch @ Kind::Branch(_) => Kind::Extension { path, child: Arc::new(branch.into()) },
    };
    Arc::new(kind.into())
}

/// `link` with `value` at `key`. Nodes that other tries share are copied, others are changed in place.
fn insert<V: Leaf>(link: Link<V>, key: Nibbles, value: V) -> Arc<Node<V>> {
    let Some(node) = link else { return Arc::new(Kind::Leaf { path: key, value }.into()) };
    let kind = match Arc::unwrap_or_clone(node).kind {
        Kind::Branch(mut children) => {
            let child = &mut children[nibble(&key, 0)];
            *child = Some(insert(child.take(), key.slice(1..), value));
            Kind::Branch(children)
        }
        Kind::Leaf { path, .. } if path == key => Kind::Leaf { path, value },
        Kind::Extension { path, child } if key.starts_with(&path) => {
            let child = insert(Some(child), key.slice(path.len()..), value);
            Kind::Extension { path, child }
        }
        old @ (Kind::Leaf { .. } | Kind::Extension { .. }) => split(old, &key, value),
    };
    Arc::new(kind.into())
}

/// A leaf or extension whose path leaves `key` somewhere, together with a new leaf.
fn split<V: Leaf>(old: Kind<V>, key: &Nibbles, value: V) -> Kind<V> {
    let mut children: Box<[Link<V>; 16]> = Box::default();
    let path = match &old {
        Kind::Leaf { path, .. } | Kind::Extension { path, .. } => *path,
        Kind::Branch(_) => Nibbles::new(),
    };
    let common = path.common_prefix_length(key);
    let rest = path.slice(common + 1..);
    let below = match old {
        Kind::Leaf { value, .. } => Arc::new(Kind::Leaf { path: rest, value }.into()),
        Kind::Extension { child, .. } => extend(rest, child),
        branch @ Kind::Branch(_) => Arc::new(branch.into()),
    };
    children[nibble(&path, common)] = Some(below);
    let leaf = Kind::Leaf { path: key.slice(common + 1..), value };
    children[nibble(key, common)] = Some(Arc::new(leaf.into()));
    let branch = Kind::Branch(children);
    if common == 0 {
        return branch;
    }
    Kind::Extension { path: key.slice(..common), child: Arc::new(branch.into()) }
}

/// `node` without `key`, which is there.
fn remove<V: Leaf>(node: Arc<Node<V>>, key: Nibbles) -> Link<V> {
    match Arc::unwrap_or_clone(node).kind {
        Kind::Leaf { .. } => None,
        Kind::Extension { path, child } => {
            remove(child, key.slice(path.len()..)).map(|child| extend(path, child))
        }
        Kind::Branch(mut children) => {
            let child = &mut children[nibble(&key, 0)];
            *child = child.take().and_then(|child| remove(child, key.slice(1..)));
            let mut present = (0u8..).zip(children.iter_mut()).filter(|(_, child)| child.is_some());
            match (present.next(), present.next()) {
                (Some((i, only)), None) => only.take().map(|only| extend(Nibbles::from_nibbles([i]), only)),
                _ => Some(Arc::new(Kind::Branch(children).into())),
            }
        }
    }
}

#[cfg(test)]
mod tests;
