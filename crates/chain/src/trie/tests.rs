use std::collections::BTreeMap;

use alloy_primitives::{B256, U256, keccak256};
use alloy_trie::{HashBuilder, Nibbles, proof::verify_proof};

use super::*;

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    /// Keys that share long prefixes as often as none.
    fn key(&mut self) -> B256 {
        let mut key = keccak256(self.below(40).to_be_bytes());
        if self.below(2) == 0 {
            key = B256::repeat_byte(0x11);
            let at = usize::try_from(self.below(32)).unwrap();
            key[at] = u8::try_from(self.below(4)).unwrap();
        }
        key
    }
}

fn encoded(value: &U256) -> Vec<u8> {
    let mut bytes = Vec::new();
    value.encode(&mut bytes);
    bytes
}

/// The root as an independent implementation computes it.
fn expected_root(values: &BTreeMap<B256, U256>) -> B256 {
    let mut builder = HashBuilder::default();
    for (key, value) in values {
        builder.add_leaf(Nibbles::unpack(key), &encoded(value));
    }
    builder.root()
}

#[test]
fn equals_an_independent_implementation_after_every_change() {
    for seed in 0..40 {
        let mut random = Random(seed);
        let (mut trie, mut values) = (Trie::default(), BTreeMap::new());
        for step in 0..200 {
            let key = random.key();
            if random.below(3) == 0 {
                trie.remove(&key);
                values.remove(&key);
            } else {
                let value = U256::from(random.below(1 << 20)) << (random.below(2) * 200);
                trie.insert(&key, value);
                values.insert(key, value);
            }
            assert_eq!(trie.root_hash(), expected_root(&values), "seed {seed} step {step}");
            let probe = random.key();
            assert_eq!(trie.get(&probe), values.get(&probe), "seed {seed} step {step}");
        }
        let mut listed = BTreeMap::new();
        trie.for_each(&mut |key, value| assert_eq!(listed.insert(key, *value), None));
        assert_eq!(listed, values);
    }
}

#[test]
fn copies_do_not_change_each_other() {
    let mut random = Random(7);
    let mut trie = Trie::default();
    let mut kept = vec![];
    for value in 0..300 {
        trie.insert(&random.key(), U256::from(value));
        if random.below(4) == 0 {
            trie.remove(&random.key());
        }
        kept.push((trie.clone(), trie.root_hash()));
    }
    for (copy, root) in &kept {
        let mut values = BTreeMap::new();
        copy.for_each(&mut |key, value| {
            values.insert(key, *value);
        });
        assert_eq!(expected_root(&values), *root);
    }
}

#[test]
fn proofs_verify_elsewhere() {
    let mut random = Random(3);
    for size in [0, 1, 2, 5, 30, 60] {
        let (mut trie, mut values) = (Trie::default(), BTreeMap::new());
        for value in 0..size {
            let key = random.key();
            trie.insert(&key, U256::from(value + 1));
            values.insert(key, U256::from(value + 1));
        }
        for _ in 0..100 {
            let key = random.key();
            let proof = trie.proof(&key);
            let value = values.get(&key).map(encoded);
            let root = trie.root_hash();
            verify_proof(root, Nibbles::unpack(key), value.clone(), &proof).unwrap();
            let other = Some(encoded(&U256::from(1_000_000)));
            assert!(verify_proof(root, Nibbles::unpack(key), other, &proof).is_err());
        }
    }
}
