//! Tiles with 512-bit vectors: 16 columns of `i32` sums each.

use std::arch::x86_64::*;

use veracity_ops::Quantised;

use crate::{
    isa::Avx512,
    requant::{CHANNELS_MULTIPLE, Finish, Target},
    tile::{Acc, TILE_COLS, Tile},
};

/// Columns per vector.
pub(crate) const LANES: usize = 16;
/// Vectors per panel.
pub(crate) const VECTORS: usize = 4;

/// Rows of a full tile: as many as leave registers for the weights and one `x`, of 32.
pub(crate) fn rows(vectors: usize) -> usize {
    if vectors > 2 { 6 } else { 8 }
}

macro_rules! by_size {
    ($kernel:ident, $tile:ident, $acc:ident; $($rows:literal)*) => {
        match ($tile.rows, $tile.vectors) {
            $(
                ($rows, 1) => $kernel::<$rows, 1>($tile, $acc),
                ($rows, 2) => $kernel::<$rows, 2>($tile, $acc),
                ($rows, 3) => $kernel::<$rows, 3>($tile, $acc),
                ($rows, 4) => $kernel::<$rows, 4>($tile, $acc),
            )*
            _ => unreachable!("a tile has 1 to 8 rows and 1 to 4 vectors"),
        }
    };
}

/// Sums of `i8` quads times `i8` quads, `x` raised by 128: `vpdpbusd`, which does not saturate.
pub(crate) fn quads(_isa: Avx512, tile: &Tile<'_, i8>, acc: &mut Acc) {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn call(tile: &Tile<'_, i8>, acc: &mut Acc) {
        by_size!(quads_tile, tile, acc; 1 2 3 4 5 6 7 8);
    }
    // SAFETY: `_isa` proves that the processor has the features.
    unsafe { call(tile, acc) }
}

/// Sums of `i16` pairs times `i8` pairs: `vpdpwssd`, which does not saturate.
pub(crate) fn pairs(_isa: Avx512, tile: &Tile<'_, i16>, acc: &mut Acc) {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn call(tile: &Tile<'_, i16>, acc: &mut Acc) {
        by_size!(pairs_tile, tile, acc; 1 2 3 4 5 6 7 8);
    }
    // SAFETY: `_isa` proves that the processor has the features.
    unsafe { call(tile, acc) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn quads_tile<const ROWS: usize, const VECTORS: usize>(tile: &Tile<'_, i8>, acc: &mut Acc) {
    let groups = tile.w.len() / (VECTORS * 64);
    assert!(tile.x.len() >= (ROWS - 1) * tile.x_stride + groups * 4, "tile rows are too short");
    let flip = _mm512_set1_epi8(i8::MIN);
    let mut sums = [[_mm512_setzero_si512(); VECTORS]; ROWS];
    let (x, w, stride) = (tile.x.as_ptr(), tile.w.as_ptr(), tile.x_stride);
    for group in 0..groups {
        // SAFETY: `group < groups`, so `w` holds `VECTORS * 64` bytes there, and the assertion gives each row 4.
        unsafe {
            let w: [__m512i; VECTORS] =
                std::array::from_fn(|v| _mm512_loadu_si512(w.add((group * VECTORS + v) * 64).cast()));
            for (row, sums) in sums.iter_mut().enumerate() {
                let x = x.add(row * stride + group * 4).cast::<i32>().read_unaligned();
                let x = _mm512_xor_si512(_mm512_set1_epi32(x), flip);
                for (sum, w) in sums.iter_mut().zip(w) {
                    *sum = _mm512_dpbusd_epi32(*sum, x, w);
                }
            }
        }
    }
    store(&sums, acc);
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn pairs_tile<const ROWS: usize, const VECTORS: usize>(tile: &Tile<'_, i16>, acc: &mut Acc) {
    let groups = tile.w.len() / (VECTORS * 32);
    assert!(tile.x.len() >= (ROWS - 1) * tile.x_stride + groups * 2, "tile rows are too short");
    let mut sums = [[_mm512_setzero_si512(); VECTORS]; ROWS];
    let (x, w, stride) = (tile.x.as_ptr(), tile.w.as_ptr(), tile.x_stride);
    for group in 0..groups {
        // SAFETY: `group < groups`, so `w` holds `VECTORS * 32` bytes there, and the assertion gives each row 2.
        unsafe {
            let w: [__m512i; VECTORS] = std::array::from_fn(|v| {
                _mm512_cvtepi8_epi16(_mm256_loadu_si256(w.add((group * VECTORS + v) * 32).cast()))
            });
            for (row, sums) in sums.iter_mut().enumerate() {
                let x = x.add(row * stride + group * 2).cast::<i32>().read_unaligned();
                let x = _mm512_set1_epi32(x);
                for (sum, w) in sums.iter_mut().zip(w) {
                    *sum = _mm512_dpwssd_epi32(*sum, x, w);
                }
            }
        }
    }
    store(&sums, acc);
}

#[target_feature(enable = "avx512f")]
fn store<const ROWS: usize, const VECTORS: usize>(sums: &[[__m512i; VECTORS]; ROWS], acc: &mut Acc) {
    for (sums, acc) in sums.iter().zip(acc.as_chunks_mut::<TILE_COLS>().0) {
        for (sum, acc) in sums.iter().zip(acc.as_chunks_mut::<LANES>().0) {
            // SAFETY: `acc` holds 16 sums.
            unsafe { _mm512_storeu_si512(acc.as_mut_ptr().cast(), *sum) }
        }
    }
}

/// Rounds sums to `i8`; the same as `narrow_rows` in `requant.rs`.
pub(crate) fn finish(
    _isa: Avx512,
    finish: &Finish,
    acc: &[i32],
    acc_stride: usize,
    bias: &[i32],
    channel: usize,
    target: Target<'_, i8>,
) {
    // SAFETY: `_isa` proves that the processor has the features.
    unsafe { finish_rows(finish, acc, acc_stride, bias, channel, target) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(crate) fn finish_rows(
    finish: &Finish,
    acc: &[i32],
    acc_stride: usize,
    bias: &[i32],
    channel: usize,
    target: Target<'_, i8>,
) {
    if let Finish::Shift { shift, y: output } = finish {
        return shift_rows(shift, output, acc, acc_stride, bias, channel, target);
    }
    let Target { y, rows, cols, stride } = target;
    for (y, acc) in y.chunks_mut(stride.max(1)).zip(acc.chunks(acc_stride)).take(rows) {
        let y = &mut y[..cols];
        for first in (0..cols).step_by(LANES) {
            let acc = load_i32(from(acc, first));
            let sums = _mm512_add_epi32(acc, load_i32(from(bias, channel + first)));
            let values = finish_block(finish, sums, channel + first);
            let y = &mut y[first..];
            let mask = if y.len() < LANES { (1 << y.len()) - 1 } else { u16::MAX };
            // SAFETY: the mask has no lane beyond `y`.
            unsafe { _mm_mask_storeu_epi8(y.as_mut_ptr(), mask, values) }
        }
    }
}

/// The same for pure shifts, with each block of channels' constants held while its rows are rounded.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn shift_rows(
    shift: &[u32],
    output: &Quantised,
    acc: &[i32],
    acc_stride: usize,
    bias: &[i32],
    channel: usize,
    target: Target<'_, i8>,
) {
    let Target { y, rows, cols, stride } = target;
    for first in (0..cols).step_by(LANES) {
        let bias = load_i32(from(bias, channel + first));
        let shift = load_u32(from(shift, channel + first));
        let lanes = LANES.min(cols - first);
        let mask = if lanes < LANES { (1 << lanes) - 1 } else { u16::MAX };
        for row in 0..rows {
            let sums = _mm512_add_epi32(load_i32(from(acc, row * acc_stride + first)), bias);
            let values = shift_block(sums, shift, output);
            let y = &mut y[row * stride + first..][..lanes];
            // SAFETY: the mask has no lane beyond `y`.
            unsafe { _mm_mask_storeu_epi8(y.as_mut_ptr(), mask, values) }
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn shift_block(sums: __m512i, shift: __m512i, output: &Quantised) -> __m128i {
    let v = _mm512_add_epi32(_mm512_srav_epi32(sums, shift), _mm512_set1_epi32(output.zero));
    let v = _mm512_max_epi32(v, _mm512_set1_epi32(output.lo));
    _mm512_cvtepi32_epi8(_mm512_min_epi32(v, _mm512_set1_epi32(output.hi)))
}

/// The values of 16 channels at `first`.
#[inline(always)]
fn from<T>(values: &[T], first: usize) -> &[T; LANES] {
    const _: () = assert!(LANES == CHANNELS_MULTIPLE);
    values[first..].first_chunk().expect("per-channel values are padded")
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_i32(values: &[i32; LANES]) -> __m512i {
    // SAFETY: the array has 16 values.
    unsafe { _mm512_loadu_si512(values.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_u32(values: &[u32; LANES]) -> __m512i {
    // SAFETY: the array has 16 values.
    unsafe { _mm512_loadu_si512(values.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f")]
fn load_i64(values: &[i64; LANES]) -> [__m512i; 2] {
    // SAFETY: the array has 16 values, 8 for each vector.
    unsafe { [0, 8].map(|i| _mm512_loadu_si512(values.as_ptr().add(i).cast())) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn finish_block(finish: &Finish, sums: __m512i, channel: usize) -> __m128i {
    match finish {
        Finish::Accumulate => unreachable!("accumulators are not rounded"),
        Finish::Shift { shift, y } => shift_block(sums, load_u32(from(shift, channel)), y),
        Finish::Scale { mul, offset, shift, y } => {
            let mul = halves(load_i32(from(mul, channel)));
            let shift = halves(load_u32(from(shift, channel)));
            let (sums, offset) = (halves(sums), load_i64(from(offset, channel)));
            let [low, high] = [0, 1].map(|i| scale(sums[i], mul[i], offset[i], shift[i], y));
            _mm_unpacklo_epi64(low, high)
        }
    }
}

/// Sixteen values as `i64`, in order.
#[target_feature(enable = "avx512f")]
fn halves(values: __m512i) -> [__m512i; 2] {
    let high = _mm512_extracti64x4_epi64::<1>(values);
    [_mm512_cvtepi32_epi64(_mm512_castsi512_si256(values)), _mm512_cvtepi32_epi64(high)]
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn scale(sums: __m512i, mul: __m512i, offset: __m512i, shift: __m512i, y: &Quantised) -> __m128i {
    let v = _mm512_add_epi64(_mm512_mul_epi32(sums, mul), offset);
    let v = _mm512_add_epi64(_mm512_srav_epi64(v, shift), _mm512_set1_epi64(y.zero.into()));
    let v = _mm512_max_epi64(v, _mm512_set1_epi64(y.lo.into()));
    _mm512_cvtepi64_epi8(_mm512_min_epi64(v, _mm512_set1_epi64(y.hi.into())))
}

/// One line of outputs of a depthwise convolution of `i8`.
///
/// The kernel's rows are taken in groups of four, so that `vpdpbusd` adds four taps of a channel at once. For each
/// input column the four rows' values are interleaved once, for all outputs that read the column.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DepthwiseLine<'a> {
    /// Images.
    pub(crate) x: &'a [i8],
    /// Where each input line begins that the kernel's rows read, or `None` for padding; whole groups of four.
    pub(crate) rows: &'a [Option<usize>],
    /// For each output and tap of a row, the input column; `width` for padding.
    pub(crate) columns: &'a [usize],
    /// Taps of a row.
    pub(crate) taps: usize,
    /// Input columns.
    pub(crate) width: usize,
    /// Channels.
    pub(crate) channels: usize,
    /// What padding stands for.
    pub(crate) pad: i8,
    /// As [`pack_depthwise`] makes them.
    pub(crate) weights: &'a [i8],
    pub(crate) bias: &'a [i32],
    pub(crate) finish: &'a Finish,
}

/// Channels of a block.
const DEPTHWISE_CHANNELS: usize = 64;
/// Interleaved bytes of one column, one group of rows, and one block of channels.
pub(crate) const DEPTHWISE_BYTES: usize = 4 * DEPTHWISE_CHANNELS;

/// Weights `[channels, kh, kw]` as `[block, kw, group]` of [`DEPTHWISE_BYTES`], in the order of `interleave`.
pub(crate) fn pack_depthwise([kh, kw]: [usize; 2], channels: usize, weights: &[i8]) -> Vec<i8> {
    let groups = kh.div_ceil(4);
    let mut packed = vec![0; channels.div_ceil(DEPTHWISE_CHANNELS) * kw * groups * DEPTHWISE_BYTES];
    for (i, w) in weights.iter().enumerate() {
        let (channel, ky, kx) = (i / (kh * kw), i / kw % kh, i % kw);
        let (block, c) = (channel / DEPTHWISE_CHANNELS, channel % DEPTHWISE_CHANNELS);
        // Vector `c / 4 % 4`, its 128-bit lane `c / 16`, there the 32-bit element `c % 4`.
        let at = c / 4 % 4 * 64 + c / 16 * 16 + c % 4 * 4 + ky % 4;
        packed[((block * kw + kx) * groups + ky / 4) * DEPTHWISE_BYTES + at] = *w;
    }
    packed
}

/// Writes `y`; `scratch` holds [`DEPTHWISE_BYTES`] for each group of rows of each column and the padding.
pub(crate) fn depthwise_line(_isa: Avx512, line: &DepthwiseLine<'_>, scratch: &mut [i8], y: &mut [i8]) {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn call(line: &DepthwiseLine<'_>, scratch: &mut [i8], y: &mut [i8]) {
        let groups = line.rows.len() / 4;
        let weights = line.weights.chunks_exact(line.taps * groups * DEPTHWISE_BYTES);
        for (block, weights) in weights.enumerate() {
            let channel = block * DEPTHWISE_CHANNELS;
            interleave_columns(line, channel, scratch);
            let outputs = line.columns.len() / line.taps;
            let whole = outputs / 4 * 4;
            for ox in (0..whole).step_by(4) {
                depthwise_outputs::<4>(line, channel, ox, weights, scratch, y);
            }
            for ox in whole..outputs {
                depthwise_outputs::<1>(line, channel, ox, weights, scratch, y);
            }
        }
    }
    // SAFETY: `_isa` proves that the processor has the features.
    unsafe { call(line, scratch, y) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn interleave_columns(line: &DepthwiseLine<'_>, channel: usize, scratch: &mut [i8]) {
    let count = DEPTHWISE_CHANNELS.min(line.channels - channel);
    let pad = _mm512_set1_epi8(line.pad);
    let groups = line.rows.as_chunks::<4>().0;
    let mut slots = scratch.as_chunks_mut::<DEPTHWISE_BYTES>().0.iter_mut();
    for column in 0..line.width {
        for (rows, slot) in groups.iter().zip(&mut slots) {
            let values = rows.map(|row| match row {
                Some(row) => load_some(&line.x[row + column * line.channels + channel..][..count]),
                None => pad,
            });
            store_bytes(slot, interleave(values));
        }
    }
    for slot in slots {
        store_bytes(slot, interleave([pad; 4]));
    }
}

/// Up to 64 values, then zeros.
#[target_feature(enable = "avx512bw")]
fn load_some(values: &[i8]) -> __m512i {
    let mask = if values.len() < 64 { (1 << values.len()) - 1 } else { u64::MAX };
    // SAFETY: the mask has no lane beyond `values`.
    unsafe { _mm512_maskz_loadu_epi8(mask, values.as_ptr()) }
}

/// Raises four rows of 64 channels by 128 and brings the four values of each channel together.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn interleave(rows: [__m512i; 4]) -> [__m512i; 4] {
    let flip = _mm512_set1_epi8(i8::MIN);
    let [a, b, c, d] = rows.map(|row| _mm512_xor_si512(row, flip));
    let low = [_mm512_unpacklo_epi8(a, b), _mm512_unpacklo_epi8(c, d)];
    let high = [_mm512_unpackhi_epi8(a, b), _mm512_unpackhi_epi8(c, d)];
    [
        _mm512_unpacklo_epi16(low[0], low[1]),
        _mm512_unpackhi_epi16(low[0], low[1]),
        _mm512_unpacklo_epi16(high[0], high[1]),
        _mm512_unpackhi_epi16(high[0], high[1]),
    ]
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store_bytes(slot: &mut [i8; DEPTHWISE_BYTES], vectors: [__m512i; 4]) {
    for (slot, vector) in slot.as_chunks_mut::<64>().0.iter_mut().zip(vectors) {
        // SAFETY: `slot` has 64 bytes.
        unsafe { _mm512_storeu_si512(slot.as_mut_ptr().cast(), vector) }
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_bytes(slot: &[i8; DEPTHWISE_BYTES]) -> [__m512i; 4] {
    // SAFETY: `slot` has four times 64 bytes.
    unsafe { [0, 64, 128, 192].map(|at| _mm512_loadu_si512(slot.as_ptr().add(at).cast())) }
}

/// Outputs `ox` to `ox + N` of a block of channels.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn depthwise_outputs<const N: usize>(
    line: &DepthwiseLine<'_>,
    channel: usize,
    ox: usize,
    weights: &[i8],
    scratch: &[i8],
    y: &mut [i8],
) {
    let (groups, slots) = (line.rows.len() / 4, scratch.as_chunks::<DEPTHWISE_BYTES>().0);
    let mut sums = [[_mm512_setzero_si512(); 4]; N];
    for (tap, weights) in weights.as_chunks::<DEPTHWISE_BYTES>().0.iter().enumerate() {
        let (kx, group) = (tap / groups, tap % groups);
        let weights = load_bytes(weights);
        for (n, sums) in sums.iter_mut().enumerate() {
            let column = line.columns[(ox + n) * line.taps + kx];
            let x = load_bytes(&slots[column * groups + group]);
            for ((sum, x), w) in sums.iter_mut().zip(x).zip(weights) {
                *sum = _mm512_dpbusd_epi32(*sum, x, w);
            }
        }
    }
    for (n, sums) in sums.into_iter().enumerate() {
        let at = (ox + n) * line.channels + channel;
        let count = DEPTHWISE_CHANNELS.min(line.channels - channel);
        finish_interleaved(line, channel, sums, &mut y[at..at + count]);
    }
}

/// Rounds the sums of up to 64 channels, which are in the order of `interleave`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn finish_interleaved(line: &DepthwiseLine<'_>, channel: usize, [a, b, c, d]: [__m512i; 4], y: &mut [i8]) {
    // The 128-bit lanes form a 4 by 4 matrix, which is transposed.
    let even = [_mm512_shuffle_i32x4::<0x44>(a, b), _mm512_shuffle_i32x4::<0x44>(c, d)];
    let odd = [_mm512_shuffle_i32x4::<0xEE>(a, b), _mm512_shuffle_i32x4::<0xEE>(c, d)];
    let ordered = [
        _mm512_shuffle_i32x4::<0x88>(even[0], even[1]),
        _mm512_shuffle_i32x4::<0xDD>(even[0], even[1]),
        _mm512_shuffle_i32x4::<0x88>(odd[0], odd[1]),
        _mm512_shuffle_i32x4::<0xDD>(odd[0], odd[1]),
    ];
    for ((y, sums), first) in y.chunks_mut(LANES).zip(ordered).zip((channel..).step_by(LANES)) {
        let sums = _mm512_add_epi32(sums, load_i32(from(line.bias, first)));
        let values = match line.finish {
            Finish::Shift { shift, y } => shift_block(sums, load_u32(from(shift, first)), y),
            Finish::Scale { .. } | Finish::Accumulate => finish_block(line.finish, sums, first),
        };
        let mask = if y.len() < LANES { (1 << y.len()) - 1 } else { u16::MAX };
        // SAFETY: the mask has no lane beyond `y`.
        unsafe { _mm_mask_storeu_epi8(y.as_mut_ptr(), mask, values) }
    }
}
