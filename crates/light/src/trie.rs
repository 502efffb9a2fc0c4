//! Proofs in Merkle-Patricia tries (specification, section 5; Yellow Paper, appendix D).

use crate::{RlpError, TrieError, hash::keccak256, rlp::Reader};

/// The value under `key` in the trie with this root, given all nodes on the way, none left over.
pub(crate) fn value<'a>(root: [u8; 32], key: &[u8], nodes: &'a [Vec<u8>]) -> Result<&'a [u8], TrieError> {
    let nibbles: Vec<u8> = key.iter().flat_map(|byte| [byte >> 4, byte & 0xf]).collect();
    let (mut path, mut expected) = (nibbles.as_slice(), root);
    let mut depths = nodes.iter().enumerate();
    while let Some((depth, node)) = depths.next() {
        if keccak256(node) != expected {
            return Err(TrieError::Hash { depth });
        }
        match step(node, path).map_err(|source| TrieError::Node { depth, source })? {
            Step::Child { hash, rest } => (expected, path) = (hash, rest),
            Step::Leaf(value) if depths.next().is_none() => return Ok(value),
            Step::Leaf(_) => {
                return Err(TrieError::TrailingNodes { used: depth.saturating_add(1), found: nodes.len() });
            }
            Step::Nothing => return Err(TrieError::Absent { depth }),
        }
    }
    Err(TrieError::Incomplete { found: nodes.len() })
}

/// Where a node leads.
enum Step<'a, 'p> {
    Child { hash: [u8; 32], rest: &'p [u8] },
    Leaf(&'a [u8]),
    Nothing,
}

fn step<'a, 'p>(node: &'a [u8], path: &'p [u8]) -> Result<Step<'a, 'p>, RlpError> {
    let items = Reader::of_list(node)?;
    let mut count = items.clone();
    let mut n_items = 0_u8;
    while !count.is_empty() {
        count.skip()?;
        n_items = n_items.saturating_add(1);
    }
    match n_items {
        2 => short(items, path),
        17 => branch(items, path),
        n_items => Err(RlpError::WrongItems { n_items }),
    }
}

/// An extension or a leaf: a path in hex-prefix encoding, then a child or the value.
fn short<'a, 'p>(mut items: Reader<'a>, path: &'p [u8]) -> Result<Step<'a, 'p>, RlpError> {
    let encoded = items.string()?;
    let (is_leaf, own) = hex_prefix(encoded).ok_or(RlpError::NotCanonical)?;
    let rest = path.strip_prefix(own.as_slice());
    match (is_leaf, rest) {
        (_, None) => Ok(Step::Nothing),
        (true, Some([])) => items.string().map(Step::Leaf),
        (true, Some(_)) => Ok(Step::Nothing),
        (false, Some(rest)) => Ok(Step::Child { hash: items.array()?, rest }),
    }
}

/// Sixteen children and a value, which no key of a list of receipts ends at.
fn branch<'a, 'p>(mut items: Reader<'a>, path: &'p [u8]) -> Result<Step<'a, 'p>, RlpError> {
    let Some((nibble, rest)) = path.split_first() else { return Ok(Step::Nothing) };
    for _ in 0..*nibble {
        items.skip()?;
    }
    match items.clone().string()? {
        [] => Ok(Step::Nothing),
        _ => Ok(Step::Child { hash: items.array()?, rest }),
    }
}

/// Whether it is a leaf, and its nibbles (Yellow Paper, appendix C).
fn hex_prefix(bytes: &[u8]) -> Option<(bool, Vec<u8>)> {
    let (first, rest) = bytes.split_first()?;
    let nibbles = rest.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    let is_leaf = match first >> 4 {
        0 | 1 => false,
        2 | 3 => true,
        _ => return None,
    };
    match (first & 0x10 != 0, first & 0xf) {
        (true, nibble) => Some((is_leaf, std::iter::once(nibble).chain(nibbles).collect())),
        (false, 0) => Some((is_leaf, nibbles.collect())),
        (false, _) => None,
    }
}
