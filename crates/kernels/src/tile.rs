//! The innermost product: a few rows of `x` times one panel of packed weights.

use veracity_ops::DType;

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
/// `w` holds, for each group of 2 or 4 values of a row, that many weights for each of the `vectors * lanes` columns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tile<'a, X> {
    pub(crate) x: &'a [X],
    /// Where each row begins in `x`.
    pub(crate) rows: &'a [usize],
    pub(crate) groups: Groups<'a>,
    pub(crate) w: &'a [i8],
    pub(crate) vectors: usize,
}

impl<X> Tile<'_, X> {
    /// Where the first `ROWS` rows begin, of which every group lies inside `x`.
    #[inline(always)]
    pub(crate) fn checked_rows<const ROWS: usize>(&self) -> [usize; ROWS] {
        let rows: [usize; ROWS] = *self.rows.first_chunk().expect("a tile has as many rows as its kernel");
        let fits = |row: &usize| *row <= self.x.len() && self.groups.reach <= self.x.len() - row;
        assert!(rows.iter().all(fits), "a row ends outside its operand");
        rows
    }
}

/// Where the groups of a row begin, relative to the row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Groups<'a> {
    /// Read only: `reach` depends on it.
    offsets: &'a [usize],
    reach: usize,
}

impl<'a> Groups<'a> {
    /// Each at most [`Groups::reach`] less the length of a group.
    #[inline(always)]
    pub(crate) fn offsets(&self) -> &'a [usize] {
        self.offsets
    }

    /// The groups `range` alone.
    pub(crate) fn slice(self, range: std::ops::Range<usize>) -> Self {
        Self { offsets: &self.offsets[range], ..self }
    }
}

/// The groups of a row whose values lie in runs: neighbours within a run, and the runs anywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offsets {
    values: Vec<usize>,
    reach: usize,
}

impl Offsets {
    /// Runs of `run` values that begin at `starts`. The last group of a run may reach beyond it, to values that are
    /// multiplied with zeros.
    pub(crate) fn new(starts: impl Iterator<Item = usize>, run: usize, group: Group) -> Self {
        let values: Vec<usize> =
            starts.flat_map(|start| (0..run).step_by(group.len()).map(move |at| start + at)).collect();
        let reach = values.iter().max().map_or(0, |last| last + group.len());
        Self { values, reach }
    }

    pub(crate) fn groups(&self) -> Groups<'_> {
        Groups { offsets: &self.values, reach: self.reach }
    }
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
    pub(crate) const LEN_MAX: usize = 4;

    pub(crate) fn len(self) -> usize {
        match self {
            Self::Quads => 4,
            Self::Pairs => 2,
        }
    }

    /// The type that is multiplied.
    pub(crate) fn dtype(self) -> DType {
        match self {
            Self::Quads => DType::I8,
            Self::Pairs => DType::I16,
        }
    }

    /// Place among the sums of `vectors` vectors where a column of a panel is computed.
    ///
    /// Quads are packed such that narrowing the vectors together, 128 bits by 128 bits as the instructions do it,
    /// brings the columns into order: lane `l` of vector `v` holds four columns from `4 * (l * vectors + v)` on.
    pub(crate) fn lane(self, column: usize, vectors: usize) -> usize {
        match self {
            Self::Quads => {
                let (four, rest) = (column / 4, column % 4);
                four % vectors * 16 + four / vectors * 4 + rest
            }
            Self::Pairs => column,
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
            Self::Avx512(isa) => avx512::quads(isa, tile, avx512::Sums::Kept(acc)),
            _ => unreachable!("weights are packed in quads for AVX-512 only"),
        }
    }
}
