//! Division of one operator's work among threads.

use std::ops::Range;

use rayon::prelude::*;
use veracity_kernels::ViewMut;

/// Who works on an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Workers {
    /// The calling thread alone.
    Caller,
    /// This many threads of the pool that the caller runs in.
    Pool(usize),
}

/// Least work, in products, that is worth another thread.
pub(crate) const WORK_MIN: usize = 400_000;
/// Pieces per thread, so that a slow thread delays the others little.
const PIECES_PER_THREAD: usize = 4;

impl Workers {
    pub(crate) fn is_parallel(self) -> bool {
        self != Self::Caller
    }

    /// Calls `f` on pieces of `y`, which consists of units of `unit` values, with the range of units in each. Pieces
    /// begin at multiples of `multiple` units; a unit takes `work`.
    pub(crate) fn split(
        self,
        y: ViewMut<'_>,
        unit: usize,
        multiple: usize,
        work: usize,
        f: impl Fn(Range<usize>, ViewMut<'_>) + Sync,
    ) {
        let n_units = y.len().checked_div(unit).unwrap_or(0);
        let pieces = match self {
            Self::Caller => 1,
            Self::Pool(threads) => (threads * PIECES_PER_THREAD).min(n_units.saturating_mul(work) / WORK_MIN),
        };
        let per_piece = n_units.div_ceil(pieces.max(1)).next_multiple_of(multiple);
        if per_piece >= n_units {
            return f(0..n_units, y);
        }
        y.chunks(per_piece * unit).into_par_iter().enumerate().for_each(|(i, y)| {
            let first = i * per_piece;
            f(first..n_units.min(first + per_piece), y);
        });
    }
}
