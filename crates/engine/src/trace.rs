//! Commitment to every value of a run, as `docs/spec/trace.md` defines it.

use veracity_kernels::View;

/// Context of a sample's root.
const SAMPLE_CONTEXT: &str = "veracity trace sample v1";
/// Context of a batch's root.
const TRACE_CONTEXT: &str = "veracity trace v1";

/// Above this size a value is hashed by several threads, where there are.
const PARALLEL_BYTES_MIN: usize = 256 * 1024;

/// Roots of the samples of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trace {
    /// One root per sample, which no other sample influences.
    pub samples: Vec<[u8; 32]>,
}

impl Trace {
    /// Root of the batch.
    #[must_use]
    pub fn root(&self) -> [u8; 32] {
        let count = u64::try_from(self.samples.len()).unwrap_or(u64::MAX);
        let mut hasher = blake3::Hasher::new_derive_key(TRACE_CONTEXT);
        hasher.update(&count.to_le_bytes());
        self.samples.iter().for_each(|root| {
            hasher.update(root);
        });
        *hasher.finalize().as_bytes()
    }
}

/// Takes the values of one sample in the order of the specification.
#[derive(Debug, Clone)]
pub struct SampleHasher {
    leaves: blake3::Hasher,
}

impl Default for SampleHasher {
    fn default() -> Self {
        Self { leaves: blake3::Hasher::new_derive_key(SAMPLE_CONTEXT) }
    }
}

impl SampleHasher {
    /// Appends the leaf of the next value.
    pub fn update(&mut self, leaf: &[u8; 32]) {
        self.leaves.update(leaf);
    }

    /// Root of the sample.
    #[must_use]
    pub fn finalize(&self) -> [u8; 32] {
        *self.leaves.finalize().as_bytes()
    }
}

/// Leaf of a value: the BLAKE3 hash of its canonical bytes.
pub(crate) fn leaf(value: View<'_>, parallel: bool) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    value.for_bytes(|bytes| {
        if parallel && bytes.len() >= PARALLEL_BYTES_MIN {
            hasher.update_rayon(bytes);
        } else {
            hasher.update(bytes);
        }
    });
    *hasher.finalize().as_bytes()
}
