//! Tiles with 256-bit vectors: 8 columns of `i32` sums each.

use std::arch::x86_64::*;

use crate::{
    isa::Avx2,
    tile::{Acc, TILE_COLS, Tile},
};

/// Columns per vector.
pub(crate) const LANES: usize = 8;
/// Vectors per panel.
pub(crate) const VECTORS: usize = 2;
/// Rows of a full tile: 12 sums, 2 weights and one `x` of 16 registers.
pub(crate) const ROWS: usize = 6;

macro_rules! by_size {
    ($kernel:ident, $tile:ident, $acc:ident; $($rows:literal)*) => {
        match ($tile.rows.len(), $tile.vectors) {
            $(
                ($rows, 1) => $kernel::<$rows, 1>($tile, $acc),
                ($rows, 2) => $kernel::<$rows, 2>($tile, $acc),
            )*
            _ => unreachable!("a tile has 1 to 6 rows and 1 or 2 vectors"),
        }
    };
}

/// Sums of `i16` pairs times `i8` pairs: `vpmaddwd`, whose sum of two products of 23 bits cannot overflow.
pub(crate) fn pairs(_isa: Avx2, tile: &Tile<'_, i16>, acc: &mut Acc) {
    #[target_feature(enable = "avx2")]
    fn call(tile: &Tile<'_, i16>, acc: &mut Acc) {
        by_size!(pairs_tile, tile, acc; 1 2 3 4 5 6);
    }
    // SAFETY: `_isa` proves that the processor has AVX2.
    unsafe { call(tile, acc) }
}

#[target_feature(enable = "avx2")]
fn pairs_tile<const ROWS: usize, const VECTORS: usize>(tile: &Tile<'_, i16>, acc: &mut Acc) {
    let offsets = tile.groups.offsets();
    assert!(tile.w.len() >= offsets.len() * VECTORS * 16, "weights are too few");
    let rows = tile.checked_rows::<ROWS>();
    let mut sums = [[_mm256_setzero_si256(); VECTORS]; ROWS];
    let (x, w) = (tile.x.as_ptr(), tile.w.as_ptr());
    for (group, offset) in offsets.iter().enumerate() {
        // SAFETY: `w` holds `VECTORS * 16` bytes for each group, and each checked row 2 values at each offset.
        unsafe {
            let w: [__m256i; VECTORS] = std::array::from_fn(|v| {
                _mm256_cvtepi8_epi16(_mm_loadu_si128(w.add((group * VECTORS + v) * 16).cast()))
            });
            for (row, sums) in rows.iter().zip(&mut sums) {
                let x = x.add(row + offset).cast::<i32>().read_unaligned();
                let x = _mm256_set1_epi32(x);
                for (sum, w) in sums.iter_mut().zip(w) {
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(x, w));
                }
            }
        }
    }
    for (sums, acc) in sums.iter().zip(acc.as_chunks_mut::<TILE_COLS>().0) {
        for (sum, acc) in sums.iter().zip(acc.as_chunks_mut::<LANES>().0) {
            // SAFETY: `acc` holds 8 sums.
            unsafe { _mm256_storeu_si256(acc.as_mut_ptr().cast(), *sum) }
        }
    }
}
