//! Tiles with 512-bit vectors: 16 columns of `i32` sums each.

use std::arch::x86_64::*;

use veracity_ops::Quantised;

use crate::{
    isa::Avx512,
    requant::Target,
    tile::{Acc, Group, TILE_COLS, Tile},
};

mod depthwise;

pub(crate) use depthwise::{DepthwiseLines, DepthwiseWeights, depthwise_lines};

/// Columns per vector.
pub(crate) const LANES: usize = 16;
/// Vectors per panel.
pub(crate) const VECTORS: usize = 4;
const PANEL: usize = VECTORS * LANES;

/// Rows of a full tile: as many as leave registers for the weights and one `x`, of 32.
pub(crate) fn rows(vectors: usize) -> usize {
    if vectors > 2 { 6 } else { 8 }
}

macro_rules! by_size {
    ($kernel:ident, $tile:ident, $args:tt; $($rows:literal)*) => {
        match ($tile.rows.len(), $tile.vectors) {
            $(
                ($rows, 1) => $kernel::<$rows, 1> $args,
                ($rows, 2) => $kernel::<$rows, 2> $args,
                ($rows, 3) => $kernel::<$rows, 3> $args,
                ($rows, 4) => $kernel::<$rows, 4> $args,
            )*
            _ => unreachable!("a tile has 1 to 8 rows and 1 to 4 vectors"),
        }
    };
}

/// What becomes of the sums of a tile.
pub(crate) enum Sums<'a> {
    /// They are kept.
    Kept(&'a mut Acc),
    /// They are rounded while they are in registers.
    Rounded(PanelRounding<'a>, Target<'a, i8>),
}

/// Sums of `i8` quads times `i8` quads, `x` raised by 128: `vpdpbusd`, which does not saturate.
pub(crate) fn quads(_isa: Avx512, tile: &Tile<'_, i8>, sums: Sums<'_>) {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn call(tile: &Tile<'_, i8>, sums: Sums<'_>) {
        by_size!(quads_tile, tile, (tile, sums); 1 2 3 4 5 6 7 8);
    }
    // SAFETY: `_isa` proves that the processor has the features.
    unsafe { call(tile, sums) }
}

/// Sums of `i16` pairs times `i8` pairs: `vpdpwssd`, which does not saturate.
pub(crate) fn pairs(_isa: Avx512, tile: &Tile<'_, i16>, acc: &mut Acc) {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn call(tile: &Tile<'_, i16>, acc: &mut Acc) {
        by_size!(pairs_tile, tile, (tile, acc); 1 2 3 4 5 6 7 8);
    }
    // SAFETY: `_isa` proves that the processor has the features.
    unsafe { call(tile, acc) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn quads_tile<const ROWS: usize, const VECTORS: usize>(tile: &Tile<'_, i8>, out: Sums<'_>) {
    let offsets = tile.groups.offsets();
    assert!(tile.w.len() >= offsets.len() * VECTORS * 64, "weights are too few");
    let rows = tile.checked_rows::<ROWS>();
    // Hidden from the compiler, which would otherwise flip before it broadcasts and take three instructions for one.
    let flip = std::hint::black_box(_mm512_set1_epi8(i8::MIN));
    let first = match &out {
        Sums::Kept(_) => [_mm512_setzero_si512(); VECTORS],
        Sums::Rounded(rounding, _) => load_vectors(rounding.bias),
    };
    let mut sums = [first; ROWS];
    let (x, w) = (tile.x.as_ptr(), tile.w.as_ptr());
    for (group, offset) in offsets.iter().enumerate() {
        // SAFETY: `w` holds `VECTORS * 64` bytes for each group, and each checked row 4 values at each offset.
        unsafe {
            let w: [__m512i; VECTORS] =
                std::array::from_fn(|v| _mm512_loadu_si512(w.add((group * VECTORS + v) * 64).cast()));
            for (row, sums) in rows.iter().zip(&mut sums) {
                let x = x.add(row + offset).cast::<i32>().read_unaligned();
                let x = _mm512_xor_si512(_mm512_set1_epi32(x), flip);
                for (sum, w) in sums.iter_mut().zip(w) {
                    *sum = _mm512_dpbusd_epi32(*sum, x, w);
                }
            }
        }
    }
    match out {
        Sums::Kept(acc) => {
            for (sums, acc) in sums.iter().zip(acc.as_chunks_mut().0) {
                keep(sums, acc);
            }
        }
        Sums::Rounded(rounding, Target { y, cols, stride, .. }) => {
            let shift = load_vectors(rounding.shift);
            for (row, sums) in sums.into_iter().enumerate() {
                store_some(&mut y[row * stride..][..cols], round(sums, shift, rounding.lo, rounding.hi));
            }
        }
    }
}

/// Writes sums, which are in the order of [`Group::lane`], in the order of columns.
#[target_feature(enable = "avx512f")]
fn keep<const VECTORS: usize>(sums: &[__m512i; VECTORS], acc: &mut [i32; TILE_COLS]) {
    for (vector, sum) in sums.iter().enumerate() {
        let mut values = [0; LANES];
        // SAFETY: the array has 16 values.
        unsafe { _mm512_storeu_si512(values.as_mut_ptr().cast(), *sum) }
        for (four, values) in values.as_chunks::<4>().0.iter().enumerate() {
            acc[(four * VECTORS + vector) * 4..][..4].copy_from_slice(values);
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn pairs_tile<const ROWS: usize, const VECTORS: usize>(tile: &Tile<'_, i16>, acc: &mut Acc) {
    let offsets = tile.groups.offsets();
    assert!(tile.w.len() >= offsets.len() * VECTORS * 32, "weights are too few");
    let rows = tile.checked_rows::<ROWS>();
    let mut sums = [[_mm512_setzero_si512(); VECTORS]; ROWS];
    let (x, w) = (tile.x.as_ptr(), tile.w.as_ptr());
    for (group, offset) in offsets.iter().enumerate() {
        // SAFETY: `w` holds `VECTORS * 32` bytes for each group, and each checked row 2 values at each offset.
        unsafe {
            let w: [__m512i; VECTORS] = std::array::from_fn(|v| {
                _mm512_cvtepi8_epi16(_mm256_loadu_si256(w.add((group * VECTORS + v) * 32).cast()))
            });
            for (row, sums) in rows.iter().zip(&mut sums) {
                let x = x.add(row + offset).cast::<i32>().read_unaligned();
                let x = _mm512_set1_epi32(x);
                for (sum, w) in sums.iter_mut().zip(w) {
                    *sum = _mm512_dpwssd_epi32(*sum, x, w);
                }
            }
        }
    }
    for (sums, acc) in sums.iter().zip(acc.as_chunks_mut::<TILE_COLS>().0) {
        for (sum, acc) in sums.iter().zip(acc.as_chunks_mut::<LANES>().0) {
            // SAFETY: `acc` holds 16 sums.
            unsafe { _mm512_storeu_si512(acc.as_mut_ptr().cast(), *sum) }
        }
    }
}

/// The constants of `clamp((sum + bias) >> shift)` in `i8`, for each panel in the order of [`Group::lane`].
#[derive(Debug, Clone)]
pub(crate) struct Rounding {
    bias: Vec<i32>,
    shift: Vec<u32>,
    lo: i8,
    hi: i8,
}

/// The constants of one panel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PanelRounding<'a> {
    bias: &'a [i32],
    shift: &'a [u32],
    lo: i8,
    hi: i8,
}

impl Rounding {
    /// Constants for panels of [`VECTORS`], and a last one of as few as hold the rest.
    pub(crate) fn new(bias: &[i32], shift: &[u32], y: &Quantised) -> Self {
        let limit = |v: i32| i8::try_from(v).expect("limits are in the output's type");
        let padded = bias.len().next_multiple_of(LANES);
        let mut rounding =
            Self { bias: vec![0; padded], shift: vec![0; padded], lo: limit(y.lo), hi: limit(y.hi) };
        for (channel, (bias, shift)) in bias.iter().zip(shift).enumerate() {
            let panel = channel / PANEL * PANEL;
            let vectors = (padded - panel).min(PANEL) / LANES;
            let at = panel + Group::Quads.lane(channel - panel, vectors);
            (rounding.bias[at], rounding.shift[at]) = (*bias, *shift);
        }
        rounding
    }

    /// Constants of the panel whose first channel is `channel`.
    pub(crate) fn panel(&self, channel: usize) -> PanelRounding<'_> {
        let Self { lo, hi, .. } = *self;
        PanelRounding { bias: &self.bias[channel..], shift: &self.shift[channel..], lo, hi }
    }
}

/// `clamp(sums >> shift)` of up to 64 columns in order. The sums are in the order of [`Group::lane`], which makes the
/// narrowing of each 128 bits by itself the right one. Narrowing saturates, which changes nothing: `lo` and `hi` are
/// within `i8`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn round<const VECTORS: usize>(
    sums: [__m512i; VECTORS],
    shift: [__m512i; VECTORS],
    lo: i8,
    hi: i8,
) -> __m512i {
    let v = |i: usize| _mm512_srav_epi32(sums[i], shift[i]);
    let values = match VECTORS {
        1 => _mm512_castsi128_si512(_mm512_cvtsepi32_epi8(v(0))),
        2 => _mm512_castsi256_si512(_mm512_cvtsepi16_epi8(_mm512_packs_epi32(v(0), v(1)))),
        3 => {
            let values = _mm512_packs_epi16(_mm512_packs_epi32(v(0), v(1)), _mm512_packs_epi32(v(2), v(2)));
            let order = _mm512_setr_epi32(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 0, 0, 0, 0);
            _mm512_permutexvar_epi32(order, values)
        }
        4 => _mm512_packs_epi16(_mm512_packs_epi32(v(0), v(1)), _mm512_packs_epi32(v(2), v(3))),
        _ => unreachable!("a panel has at most 4 vectors"),
    };
    _mm512_min_epi8(_mm512_max_epi8(values, _mm512_set1_epi8(lo)), _mm512_set1_epi8(hi))
}

/// Writes as many of the values as `y` has, at most 64.
#[inline]
#[target_feature(enable = "avx512bw")]
fn store_some(y: &mut [i8], values: __m512i) {
    // SAFETY: the mask has no lane beyond `y`.
    unsafe { _mm512_mask_storeu_epi8(y.as_mut_ptr(), first_lanes(y.len()), values) }
}

/// A mask of the first `count` of 64 lanes.
#[inline]
fn first_lanes(count: usize) -> u64 {
    if count < 64 { (1 << count) - 1 } else { u64::MAX }
}

/// The first `N` vectors of 32-bit values.
#[inline]
#[target_feature(enable = "avx512f")]
fn load_vectors<T: Copy32, const N: usize>(values: &[T]) -> [__m512i; N] {
    let chunks = values.as_chunks::<LANES>().0.first_chunk::<N>().expect("a panel has whole vectors");
    let mut vectors = [_mm512_setzero_si512(); N];
    for (vector, values) in vectors.iter_mut().zip(chunks) {
        // SAFETY: each chunk has 16 values of 4 bytes.
        *vector = unsafe { _mm512_loadu_si512(values.as_ptr().cast()) };
    }
    vectors
}

/// Types of 32 bits.
trait Copy32: Copy {}
impl Copy32 for i32 {}
impl Copy32 for u32 {}
