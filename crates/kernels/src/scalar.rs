//! Tiles in portable Rust.

use crate::tile::{Acc, TILE_COLS, Tile};

/// Columns per vector.
pub(crate) const LANES: usize = 8;
/// Vectors per panel.
pub(crate) const VECTORS: usize = 2;
/// Rows per tile.
pub(crate) const ROWS: usize = 4;

/// Sums of `i16` pairs times `i8` pairs.
pub(crate) fn pairs(tile: &Tile<'_, i16>, acc: &mut Acc) {
    let cols = tile.vectors * LANES;
    for (row, acc) in acc.chunks_exact_mut(TILE_COLS).take(tile.rows.len()).enumerate() {
        let (acc, x) = (&mut acc[..cols], &tile.x[tile.rows[row]..]);
        acc.fill(0);
        for (at, w) in tile.groups.offsets().iter().zip(tile.w.chunks_exact(2 * cols)) {
            let [x0, x1] = [x[*at], x[at + 1]].map(i32::from);
            for (acc, w) in acc.iter_mut().zip(w.as_chunks::<2>().0) {
                *acc = acc.wrapping_add(x0 * i32::from(w[0]) + x1 * i32::from(w[1]));
            }
        }
    }
}
