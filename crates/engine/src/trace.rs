//! Commitment to the values of a run, as `docs/spec/trace.md` defines it.

use std::{fmt, str::FromStr, sync::LazyLock};

use blake3::Hasher;
use veracity_kernels::View;

use crate::TraceKindError;

/// Above this size a value is hashed by several threads, where there are.
const PARALLEL_BYTES_MIN: usize = 256 * 1024;

/// Which values of a run a trace commits to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TraceKind {
    /// Outputs, and as many values before them as multiply-accumulates pay for: the trace that receipts name.
    Checkpoints,
    /// Inputs and every value that the run rounds or moves: what a dispute asks for.
    Full,
}

impl TraceKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Checkpoints, Self::Full];

    /// Name, as [`FromStr`] reads it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Checkpoints => "checkpoints",
            Self::Full => "full",
        }
    }

    /// Contexts of a sample's root and of a batch's.
    pub(crate) fn contexts(self) -> [&'static str; 2] {
        match self {
            Self::Checkpoints => ["veracity checkpoints sample v1", "veracity checkpoints v1"],
            Self::Full => ["veracity trace sample v1", "veracity trace v1"],
        }
    }

    /// Hashers that have read the contexts, which is half the cost of a small model's root.
    fn hashers(self) -> &'static [Hasher; 2] {
        static HASHERS: LazyLock<[[Hasher; 2]; 2]> =
            LazyLock::new(|| TraceKind::ALL.map(|kind| kind.contexts().map(Hasher::new_derive_key)));
        let [checkpoints, full] = &*HASHERS;
        match self {
            Self::Checkpoints => checkpoints,
            Self::Full => full,
        }
    }
}

impl fmt::Display for TraceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for TraceKind {
    type Err = TraceKindError;

    fn from_str(name: &str) -> Result<Self, TraceKindError> {
        let kind = Self::ALL.into_iter().find(|kind| kind.name() == name);
        kind.ok_or_else(|| TraceKindError { name: name.to_owned() })
    }
}

/// Roots of the samples of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// What they commit to.
    pub kind: TraceKind,
    /// One root per sample, which no other sample influences.
    pub samples: Vec<[u8; 32]>,
}

impl Trace {
    /// Root of the batch.
    #[must_use]
    pub fn root(&self) -> [u8; 32] {
        let [_, batch] = self.kind.hashers();
        let count = u64::try_from(self.samples.len()).unwrap_or(u64::MAX);
        let mut hasher = batch.clone();
        hasher.update(&count.to_le_bytes()).update(self.samples.as_flattened());
        *hasher.finalize().as_bytes()
    }
}

/// The leaves of some samples, taken value by value in the order of the specification.
#[derive(Debug)]
pub(crate) struct Leaves {
    kind: TraceKind,
    n_samples: usize,
    /// By value, then by sample.
    leaves: Vec<[u8; 32]>,
}

impl Leaves {
    pub(crate) fn new(kind: TraceKind, n_samples: usize) -> Self {
        Self { kind, n_samples, leaves: Vec::new() }
    }

    pub(crate) fn kind(&self) -> TraceKind {
        self.kind
    }

    /// Appends the next value of each sample: `values` are those of all samples in order, or one that all share.
    pub(crate) fn push(&mut self, values: View<'_>, sample_len: Option<usize>, parallel: bool) {
        match sample_len {
            Some(len) => {
                let one = |sample: usize| leaf(values.slice(sample * len..(sample + 1) * len), parallel);
                self.leaves.extend((0..self.n_samples).map(one));
            }
            None => self.leaves.resize(self.leaves.len() + self.n_samples, leaf(values, parallel)),
        }
    }

    /// Root of each sample.
    pub(crate) fn roots(&self) -> Vec<[u8; 32]> {
        let [sample, _] = self.kind.hashers();
        let root = |index: usize| {
            let mut hasher = sample.clone();
            self.leaves.iter().skip(index).step_by(self.n_samples).for_each(|leaf| {
                hasher.update(leaf);
            });
            *hasher.finalize().as_bytes()
        };
        (0..self.n_samples).map(root).collect()
    }
}

/// Leaf of a value: the BLAKE3 hash of its canonical bytes.
fn leaf(value: View<'_>, parallel: bool) -> [u8; 32] {
    let mut hasher = Hasher::new();
    value.for_bytes(|bytes| {
        if parallel && bytes.len() >= PARALLEL_BYTES_MIN {
            hasher.update_rayon(bytes);
        } else {
            hasher.update(bytes);
        }
    });
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for kind in TraceKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        let unknown = TraceKind::from_str("all").unwrap_err();
        assert_eq!(unknown.to_string(), "unknown kind of trace \"all\": expected checkpoints or full");
    }
}
