//! Depthwise convolution of `i8`.
//!
//! `vpdpbusd` adds four taps of a channel at once, so four lines of input are interleaved, once for all outputs that read
//! them: in a group of four lines lie those that one output line needs, and often those of the next as well.

use std::arch::x86_64::*;

use super::{LANES, Rounding, VECTORS, first_lanes, load_vectors, round, store_some};
use crate::{isa::Avx512, tile::Group};

/// Channels of a full block.
const BLOCK: usize = VECTORS * LANES;

/// Weights as the kernel reads them.
#[derive(Debug, Clone)]
pub(crate) struct DepthwiseWeights {
    /// `[block, kx, group, line]` of a block's vectors.
    values: Vec<i8>,
    kernel: [usize; 2],
    channels: usize,
    /// Groups of four input lines.
    groups: usize,
    /// Output lines computed together.
    lines: usize,
}

/// Geometry of the kernel along the height.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Height {
    pub(crate) stride: usize,
    pub(crate) dilation: usize,
}

impl DepthwiseWeights {
    /// Packs weights `[channels, kh, kw]`.
    pub(crate) fn new([kh, kw]: [usize; 2], channels: usize, height: Height, weights: &[i8]) -> Self {
        let groups = kh.div_ceil(4);
        // With distances between taps, the lines of two outputs are not neighbours.
        let shared = if height.dilation == 1 { (4 * groups - kh) / height.stride + 1 } else { 1 };
        let lines = shared.min(2);
        let mut packed = Self { values: vec![], kernel: [kh, kw], channels, groups, lines };
        packed.values = vec![0; packed.block_start(channels.div_ceil(BLOCK))];
        for (i, w) in weights.iter().enumerate() {
            let (channel, ky, kx) = (i / (kh * kw), i / kw % kh, i % kw);
            let (block, vectors) = (channel / BLOCK, packed.vectors(channel / BLOCK));
            let lane = Group::Quads.lane(channel % BLOCK, vectors);
            for line in 0..lines {
                let row = line * height.stride + ky;
                let vector = ((kx * groups + row / 4) * lines + line) * vectors;
                let at = packed.block_start(block) + vector * 64 + lane * 4 + row % 4;
                packed.values[at] = *w;
            }
        }
        packed
    }

    /// Groups of four input lines.
    pub(crate) fn groups(&self) -> usize {
        self.groups
    }

    /// Output lines computed together.
    pub(crate) fn lines(&self) -> usize {
        self.lines
    }

    /// Bytes that the interleaved lines of `width` columns take, with one column of padding.
    pub(crate) fn scratch_bytes(&self, width: usize) -> usize {
        (width + 1) * self.groups * BLOCK * 4
    }

    fn vectors(&self, block: usize) -> usize {
        (self.channels - block * BLOCK).min(BLOCK).div_ceil(LANES)
    }

    /// All blocks before are full.
    fn block_start(&self, block: usize) -> usize {
        let vectors = self.channels.div_ceil(LANES).min(block * VECTORS);
        vectors * 64 * self.kernel[1] * self.groups * self.lines
    }
}

/// One or more lines of outputs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DepthwiseLines<'a> {
    /// Images.
    pub(crate) x: &'a [i8],
    /// Where each input line begins, or `None` for padding; four for each of [`DepthwiseWeights::groups`].
    pub(crate) rows: &'a [Option<usize>],
    /// For each output and tap of a line, the input column, or `width` for padding, times the groups of four lines.
    pub(crate) columns: &'a [usize],
    /// Input columns.
    pub(crate) width: usize,
    /// What padding stands for.
    pub(crate) pad: i8,
    pub(crate) weights: &'a DepthwiseWeights,
    pub(crate) rounding: &'a Rounding,
}

/// Writes the lines `y`, at most [`DepthwiseWeights::lines`]; `scratch` holds [`DepthwiseWeights::scratch_bytes`].
pub(crate) fn depthwise_lines(_isa: Avx512, at: &DepthwiseLines<'_>, scratch: &mut [i8], y: &mut [i8]) {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn call(at: &DepthwiseLines<'_>, scratch: &mut [i8], y: &mut [i8]) {
        for block in 0..at.weights.channels.div_ceil(BLOCK) {
            match at.weights.vectors(block) {
                1 => depthwise_block::<1, 8, 8>(at, block, scratch, y),
                2 => depthwise_block::<2, 8, 6>(at, block, scratch, y),
                3 => depthwise_block::<3, 8, 4>(at, block, scratch, y),
                4 => depthwise_block::<4, 6, 3>(at, block, scratch, y),
                _ => unreachable!("a block has 1 to 4 vectors"),
            }
        }
    }
    // SAFETY: `_isa` proves that the processor has the features.
    unsafe { call(at, scratch, y) }
}

/// `ONE` and `TWO` are how many outputs of one line, and of two lines, are computed at a time: as many as leave registers
/// for the weights and one `x`, of 32.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn depthwise_block<const V: usize, const ONE: usize, const TWO: usize>(
    at: &DepthwiseLines<'_>,
    block: usize,
    scratch: &mut [i8],
    y: &mut [i8],
) {
    interleave_columns::<V>(at, block * BLOCK, scratch);
    let line_len = at.columns.len() / at.weights.kernel[1] * at.weights.channels;
    match y.len() / line_len {
        1 => depthwise_outputs::<V, 1, ONE>(at, block, scratch, y),
        2 => depthwise_outputs::<V, 2, TWO>(at, block, scratch, y),
        _ => unreachable!("one or two lines are computed together"),
    }
}

/// Brings the values of four lines of each channel together, raised by 128, in the order of [`Group::lane`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn interleave_columns<const V: usize>(at: &DepthwiseLines<'_>, channel: usize, scratch: &mut [i8]) {
    let (channels, width) = (at.weights.channels, at.width);
    let count = BLOCK.min(channels - channel);
    let mask = first_lanes(count);
    let pads = [at.pad; BLOCK];
    let groups = at.rows.as_chunks::<4>().0;
    let slots = scratch.as_chunks_mut::<64>().0.as_chunks_mut::<V>().0;
    for (group, rows) in groups.iter().enumerate() {
        // The first column of each line, and the distance of columns.
        let lines = rows.map(|row| match row {
            Some(row) => (&at.x[row + channel..][..(width - 1) * channels + count], channels),
            None => (&pads[..count], 0),
        });
        for (column, slot) in slots.iter_mut().skip(group).step_by(groups.len()).take(width).enumerate() {
            let mut values = [_mm512_setzero_si512(); 4];
            for (value, (line, step)) in values.iter_mut().zip(lines) {
                // SAFETY: `column < width`, so `count` values lie there, and the mask has no lane beyond them.
                *value = unsafe { _mm512_maskz_loadu_epi8(mask, line.as_ptr().add(column * step)) };
            }
            store_vectors(slot, interleave::<V>(values));
        }
    }
    let pad = interleave([_mm512_set1_epi8(at.pad); 4]);
    for slot in &mut slots[width * groups.len()..][..groups.len()] {
        store_vectors(slot, pad);
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn interleave<const V: usize>(rows: [__m512i; 4]) -> [__m512i; V] {
    let flip = _mm512_set1_epi8(i8::MIN);
    // The channels of each 128 bits of the result, at the same place.
    let order = match V {
        1 => _mm512_setr_epi32(0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0),
        2 => _mm512_setr_epi32(0, 1, 0, 0, 2, 3, 0, 0, 4, 5, 0, 0, 6, 7, 0, 0),
        _ => _mm512_setr_epi32(0, 1, 2, 0, 3, 4, 5, 0, 6, 7, 8, 0, 9, 10, 11, 0),
    };
    let mut ordered = rows;
    for row in &mut ordered {
        *row = _mm512_xor_si512(*row, flip);
        if V < 4 {
            *row = _mm512_permutexvar_epi32(order, *row);
        }
    }
    let [a, b, c, d] = ordered;
    let low = [_mm512_unpacklo_epi8(a, b), _mm512_unpacklo_epi8(c, d)];
    let high = [_mm512_unpackhi_epi8(a, b), _mm512_unpackhi_epi8(c, d)];
    let all = [
        _mm512_unpacklo_epi16(low[0], low[1]),
        _mm512_unpackhi_epi16(low[0], low[1]),
        _mm512_unpacklo_epi16(high[0], high[1]),
        _mm512_unpackhi_epi16(high[0], high[1]),
    ];
    *all.first_chunk().expect("a block has at most 4 vectors")
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store_vectors<const V: usize>(slot: &mut [[i8; 64]; V], vectors: [__m512i; V]) {
    for (slot, vector) in slot.iter_mut().zip(vectors) {
        // SAFETY: `slot` has 64 bytes.
        unsafe { _mm512_storeu_si512(slot.as_mut_ptr().cast(), vector) }
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(slot: &[i8; 64]) -> __m512i {
    // SAFETY: `slot` has 64 bytes.
    unsafe { _mm512_loadu_si512(slot.as_ptr().cast()) }
}

/// All outputs of `L` lines for a block of channels, `N` of each line at a time.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn depthwise_outputs<const V: usize, const L: usize, const N: usize>(
    at: &DepthwiseLines<'_>,
    block: usize,
    scratch: &[i8],
    y: &mut [i8],
) {
    let taps = at.weights.kernel[1];
    let outputs = at.columns.len() / taps;
    let whole = outputs / N * N;
    for ox in (0..whole).step_by(N) {
        some_outputs::<V, L, N>(at, block, ox, scratch, y);
    }
    for ox in whole..outputs {
        some_outputs::<V, L, 1>(at, block, ox, scratch, y);
    }
}

/// Outputs `ox` to `ox + N` of `L` lines.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn some_outputs<const V: usize, const L: usize, const N: usize>(
    at: &DepthwiseLines<'_>,
    block: usize,
    ox: usize,
    scratch: &[i8],
    y: &mut [i8],
) {
    let DepthwiseWeights { groups, lines, channels, kernel: [_, taps], .. } = *at.weights;
    let weights = at.weights.values[at.weights.block_start(block)..].as_chunks::<64>().0.as_chunks::<V>().0;
    let slots = scratch.as_chunks::<64>().0.as_chunks::<V>().0;
    let rounding = at.rounding.panel(block * BLOCK);
    let columns = &at.columns[ox * taps..(ox + N) * taps];
    let mut sums = [[load_vectors::<_, V>(rounding.bias); N]; L];
    for kx in 0..taps {
        for group in 0..groups {
            let weights = &weights[(kx * groups + group) * lines..][..L];
            let x: [&[[i8; 64]; V]; N] = std::array::from_fn(|n| &slots[columns[n * taps + kx] + group]);
            for v in 0..V {
                let w: [__m512i; L] = std::array::from_fn(|line| load(&weights[line][v]));
                for n in 0..N {
                    let x = load(&x[n][v]);
                    for line in 0..L {
                        sums[line][n][v] = _mm512_dpbusd_epi32(sums[line][n][v], x, w[line]);
                    }
                }
            }
        }
    }
    let shift = load_vectors(rounding.shift);
    let line_len = at.columns.len() / taps * channels;
    let count = BLOCK.min(channels - block * BLOCK);
    for (line, sums) in sums.into_iter().enumerate() {
        for (n, sums) in sums.into_iter().enumerate() {
            let y = &mut y[line * line_len + (ox + n) * channels + block * BLOCK..][..count];
            store_some(y, round(sums, shift, rounding.lo, rounding.hi));
        }
    }
}
