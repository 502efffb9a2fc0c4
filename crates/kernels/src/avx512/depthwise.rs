//! Depthwise convolution of `i8`.
//!
//! `vpdpbusd` adds four taps of a channel at once, so four lines of input are interleaved, once for all outputs that read
//! them: in a group of four lines lie those that one output line needs, and often those of the next as well. Lines are
//! worked on in strips, whose interleaved columns fit the first-level cache.

use std::{arch::x86_64::*, ops::Range};

use veracity_ops::Conv;

use super::{LANES, Rounding, VECTORS, first_lanes, load_vectors, round, store_some};
use crate::{isa::Avx512, tile::Group};

/// Channels of a full block.
const BLOCK: usize = VECTORS * LANES;
/// Interleaved bytes of one column, one group of four lines, and one full block.
const SLOT_BYTES: usize = 4 * BLOCK;
/// Slots of a strip.
const SLOTS_MAX: usize = 128;

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
    /// Distance of the columns that neighbouring outputs read.
    stride: usize,
    /// Distance of the columns that neighbouring taps read.
    dilation: usize,
    /// Columns from an output's first tap to its last.
    span: usize,
}

impl DepthwiseWeights {
    /// Packs weights `[channels, kh, kw]` of `op`, unless this is no good way to compute it: if most of the four lines
    /// would be beside the kernel, or the columns of a few outputs were too many.
    pub(crate) fn new(op: &Conv, [kh, kw]: [usize; 2], channels: usize, weights: &[i8]) -> Option<Self> {
        let groups = kh.div_ceil(4);
        let span = kw.checked_sub(1)?.checked_mul(op.dilations[1])?.checked_add(1)?;
        let slots = span.checked_add(3 * op.strides[1])?.checked_mul(groups)?;
        if kh < 3 || slots > SLOTS_MAX {
            return None;
        }
        // With distances between taps, the lines of two outputs are not neighbours.
        let shared = if op.dilations[0] == 1 { (4 * groups - kh) / op.strides[0] + 1 } else { 1 };
        let lines = shared.min(2);
        let [stride, dilation] = [op.strides[1], op.dilations[1]];
        let mut packed =
            Self { values: vec![], kernel: [kh, kw], channels, groups, lines, stride, dilation, span };
        packed.values = vec![0; packed.block_start(channels.div_ceil(BLOCK))];
        for (i, w) in weights.iter().enumerate() {
            let (channel, ky, kx) = (i / (kh * kw), i / kw % kh, i % kw);
            let (block, vectors) = (channel / BLOCK, packed.vectors(channel / BLOCK));
            let lane = Group::Quads.lane(channel % BLOCK, vectors);
            for line in 0..lines {
                let row = line * op.strides[0] + ky;
                let vector = ((kx * groups + row / 4) * lines + line) * vectors;
                let at = packed.block_start(block) + vector * 64 + lane * 4 + row % 4;
                packed.values[at] = *w;
            }
        }
        Some(packed)
    }

    /// Groups of four input lines.
    pub(crate) fn groups(&self) -> usize {
        self.groups
    }

    /// Output lines computed together.
    pub(crate) fn lines(&self) -> usize {
        self.lines
    }

    /// Columns that `outputs` outputs of a line read.
    fn columns(&self, outputs: usize) -> usize {
        (outputs - 1) * self.stride + self.span
    }

    /// Outputs of a strip, of at most `outputs`.
    fn strip(&self, outputs: usize) -> usize {
        ((SLOTS_MAX / self.groups - self.span) / self.stride + 1).min(outputs)
    }

    /// Bytes of interleaved columns that lines of `outputs` outputs need at a time.
    pub(crate) fn scratch_bytes(&self, outputs: usize) -> usize {
        self.columns(self.strip(outputs)) * self.groups * SLOT_BYTES
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
    /// Input columns.
    pub(crate) width: usize,
    /// Columns of padding before them, negative where the output begins inside.
    pub(crate) pads: isize,
    /// Output columns.
    pub(crate) outputs: usize,
    /// What padding stands for.
    pub(crate) pad: i8,
    pub(crate) weights: &'a DepthwiseWeights,
    pub(crate) rounding: &'a Rounding,
}

/// Writes the lines `y`, at most [`DepthwiseWeights::lines`]; `scratch` holds [`DepthwiseWeights::scratch_bytes`].
pub(crate) fn depthwise_lines(_isa: Avx512, at: &DepthwiseLines<'_>, scratch: &mut [i8], y: &mut [i8]) {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn call(at: &DepthwiseLines<'_>, scratch: &mut [i8], y: &mut [i8]) {
        let strip = at.weights.strip(at.outputs);
        for block in 0..at.weights.channels.div_ceil(BLOCK) {
            for first in (0..at.outputs).step_by(strip) {
                let outputs = first..at.outputs.min(first + strip);
                match at.weights.vectors(block) {
                    1 => depthwise_block::<1, 8, 8>(at, block, outputs, scratch, y),
                    2 => depthwise_block::<2, 8, 6>(at, block, outputs, scratch, y),
                    3 => depthwise_block::<3, 8, 4>(at, block, outputs, scratch, y),
                    4 => depthwise_block::<4, 6, 3>(at, block, outputs, scratch, y),
                    _ => unreachable!("a block has 1 to 4 vectors"),
                }
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
    outputs: Range<usize>,
    scratch: &mut [i8],
    y: &mut [i8],
) {
    interleave_columns::<V>(at, block * BLOCK, &outputs, scratch);
    match y.len() / (at.outputs * at.weights.channels) {
        1 => depthwise_outputs::<V, 1, ONE>(at, block, outputs, scratch, y),
        2 => depthwise_outputs::<V, 2, TWO>(at, block, outputs, scratch, y),
        _ => unreachable!("one or two lines are computed together"),
    }
}

/// Brings the values of four lines of each channel together, raised by 128, in the order of [`Group::lane`], for the
/// columns that `outputs` read.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn interleave_columns<const V: usize>(
    at: &DepthwiseLines<'_>,
    channel: usize,
    outputs: &Range<usize>,
    scratch: &mut [i8],
) {
    let channels = at.weights.channels;
    let count = BLOCK.min(channels - channel);
    let mask = first_lanes(count);
    let groups = at.rows.as_chunks::<4>().0;
    let slots = scratch.as_chunks_mut::<64>().0.as_chunks_mut::<V>().0;
    let columns = at.weights.columns(outputs.len());
    // The columns that lie inside the image, and the first of them there.
    let place = |column: isize| {
        let first = signed(outputs.start * at.weights.stride);
        (column + at.pads - first).clamp(0, signed(columns)).unsigned_abs()
    };
    let inside = place(0)..place(signed(at.width));
    let left = (signed(outputs.start * at.weights.stride + inside.start) - at.pads).unsigned_abs();
    let pad = interleave::<V>([_mm512_set1_epi8(at.pad); 4]);
    for slot in &mut slots[..inside.start * groups.len()] {
        store_vectors(slot, pad);
    }
    for slot in &mut slots[inside.end * groups.len()..columns * groups.len()] {
        store_vectors(slot, pad);
    }
    if inside.is_empty() {
        return;
    }
    let pads = [at.pad; BLOCK];
    for (group, rows) in groups.iter().enumerate() {
        // The first column of each line, and the distance of columns.
        let lines = rows.map(|row| match row {
            Some(row) => {
                let line = &at.x[row + left * channels + channel..];
                (&line[..(inside.len() - 1) * channels + count], channels)
            }
            None => (&pads[..count], 0),
        });
        let slots = slots[inside.start * groups.len()..].iter_mut().skip(group).step_by(groups.len());
        for (column, slot) in slots.take(inside.len()).enumerate() {
            let mut values = [_mm512_setzero_si512(); 4];
            for (value, (line, step)) in values.iter_mut().zip(lines) {
                // SAFETY: `column < inside.len()`, so `count` values lie there, and the mask has no lane beyond them.
                *value = unsafe { _mm512_maskz_loadu_epi8(mask, line.as_ptr().add(column * step)) };
            }
            store_vectors(slot, interleave::<V>(values));
        }
    }
}

fn signed(value: usize) -> isize {
    isize::try_from(value).expect("extents of tensors fit isize")
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

/// Outputs `outputs` of `L` lines for a block of channels, `N` of each line at a time.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn depthwise_outputs<const V: usize, const L: usize, const N: usize>(
    at: &DepthwiseLines<'_>,
    block: usize,
    outputs: Range<usize>,
    scratch: &[i8],
    y: &mut [i8],
) {
    let whole = outputs.len() / N * N;
    for n in (0..whole).step_by(N) {
        some_outputs::<V, L, N>(at, block, [outputs.start + n, n], scratch, y);
    }
    for n in whole..outputs.len() {
        some_outputs::<V, L, 1>(at, block, [outputs.start + n, n], scratch, y);
    }
}

/// Outputs `ox` to `ox + N` of `L` lines, which are the outputs `first` and on of the strip.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn some_outputs<const V: usize, const L: usize, const N: usize>(
    at: &DepthwiseLines<'_>,
    block: usize,
    [ox, first]: [usize; 2],
    scratch: &[i8],
    y: &mut [i8],
) {
    let DepthwiseWeights { groups, lines, channels, kernel: [_, taps], stride, dilation, .. } = *at.weights;
    let weights = at.weights.values[at.weights.block_start(block)..].as_chunks::<64>().0.as_chunks::<V>().0;
    let slots = scratch.as_chunks::<64>().0.as_chunks::<V>().0;
    let rounding = at.rounding.panel(block * BLOCK);
    let mut sums = [[load_vectors::<_, V>(rounding.bias); N]; L];
    for kx in 0..taps {
        for group in 0..groups {
            let weights = &weights[(kx * groups + group) * lines..][..L];
            let slots = &slots[(first * stride + kx * dilation) * groups + group..];
            let x: [&[[i8; 64]; V]; N] = std::array::from_fn(|n| &slots[n * stride * groups]);
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
    let line_len = at.outputs * channels;
    let count = BLOCK.min(channels - block * BLOCK);
    for (line, sums) in sums.into_iter().enumerate() {
        for (n, sums) in sums.into_iter().enumerate() {
            let y = &mut y[line * line_len + (ox + n) * channels + block * BLOCK..][..count];
            store_some(y, round(sums, shift, rounding.lo, rounding.hi));
        }
    }
}
