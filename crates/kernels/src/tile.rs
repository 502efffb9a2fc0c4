//! The innermost product: a few rows of `x` times one panel of packed weights.

use crate::{Isa, scalar};
#[cfg(target_arch = "x86_64")]
use crate::{avx2, avx512};

/// Most rows of a tile.
pub(crate) const TILE_ROWS: usize = 8;
/// Most columns of a tile, and the distance of its rows.
pub(crate) const TILE_COLS: usize = 64;
/// A tile's sums, modulo `2^32`.
pub(crate) type Acc = [i32; TILE_ROWS * TILE_COLS];

/// Operands of a tile.
///
/// `x` holds `rows` rows, `x_stride` apart, of as many values as `w` has; `w` holds, for each group of 2 or 4 of them,
/// that many weights for each of the `vectors * lanes` columns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tile<'a, X> {
    pub(crate) x: &'a [X],
    pub(crate) x_stride: usize,
    pub(crate) rows: usize,
    pub(crate) w: &'a [i8],
    pub(crate) vectors: usize,
}

/// What is multiplied: bytes in groups of four, or 16-bit values in groups of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    /// `i8` times `i8`; `x` is raised by 128 before it is multiplied.
    Quads,
    /// `i16` times `i8`.
    Pairs,
}

impl Group {
    pub(crate) fn len(self) -> usize {
        match self {
            Self::Quads => 4,
            Self::Pairs => 2,
        }
    }

    /// What the product adds to each `x`.
    pub(crate) fn raised_by(self) -> i64 {
        match self {
            Self::Quads => 128,
            Self::Pairs => 0,
        }
    }

    /// Values whose sum of products cannot leave an `i32`.
    pub(crate) fn k_exact(self) -> usize {
        const QUADS: usize = 65_536;
        const PAIRS: usize = 508;
        const _: () = assert!(255 * 128 * QUADS < 1 << 31 && 32_768 * 128 * PAIRS < 1 << 31);
        match self {
            Self::Quads => QUADS,
            Self::Pairs => PAIRS,
        }
    }
}

/// Tile shapes of an instruction set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Columns per vector.
    pub(crate) lanes: usize,
    /// Vectors per panel.
    pub(crate) vectors: usize,
}

impl Isa {
    pub(crate) fn tile_shape(self) -> Shape {
        match self {
            Self::Scalar => Shape { lanes: scalar::LANES, vectors: scalar::VECTORS },
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => Shape { lanes: avx2::LANES, vectors: avx2::VECTORS },
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => Shape { lanes: avx512::LANES, vectors: avx512::VECTORS },
        }
    }

    /// Rows of a full tile over a panel of `vectors`.
    pub(crate) fn tile_rows(self, vectors: usize) -> usize {
        match self {
            Self::Scalar => scalar::ROWS,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => avx2::ROWS,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => avx512::rows(vectors),
        }
    }

    /// Whether `i8` values are multiplied as they are; otherwise they are widened to `i16`.
    pub(crate) fn has_quads(self) -> bool {
        match self {
            Self::Scalar => false,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => false,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => true,
        }
    }

    pub(crate) fn pairs(self, tile: &Tile<'_, i16>, acc: &mut Acc) {
        match self {
            Self::Scalar => scalar::pairs(tile, acc),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(isa) => avx2::pairs(isa, tile, acc),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(isa) => avx512::pairs(isa, tile, acc),
        }
    }

    /// # Panics
    /// On an instruction set without [`Isa::has_quads`].
    pub(crate) fn quads(self, tile: &Tile<'_, i8>, acc: &mut Acc) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(isa) => avx512::quads(isa, tile, acc),
            _ => unreachable!("weights are packed in quads for AVX-512 only"),
        }
    }
}
