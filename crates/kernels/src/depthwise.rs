//! Convolution of each channel by itself (`groups` equal to both channel counts).

use std::ops::Range;

use veracity_ops::{Conv, DType};

#[cfg(target_arch = "x86_64")]
use crate::{
    Avx512, Buffer,
    avx512::{DepthwiseLines, DepthwiseWeights, Rounding, depthwise_lines},
};
use crate::{
    Element, Isa, LinearSpec, Patches, Requantiser, View, ViewMut,
    packing::{Bias, constants},
    requant::{Finish, Target, narrow_rows, wide_rows},
    tile::Group,
    vectorized, with_element_mut,
};

/// A depthwise convolution with its weights, packed for one instruction set.
#[derive(Debug, Clone)]
pub struct Depthwise {
    isa: Isa,
    weights: Weights,
    kernel: [usize; 2],
    channels: usize,
    bias: Bias,
    finish: Finish,
    x_zero: i32,
    y: DType,
}

#[derive(Debug, Clone)]
enum Weights {
    /// `[kh * kw, channels]`.
    Taps(Vec<i8>),
    #[cfg(target_arch = "x86_64")]
    Quads(Avx512, DepthwiseWeights, Rounding),
}

/// Channels whose sums are held at a time.
const BLOCK: usize = 64;

impl Depthwise {
    /// Packs the weights of `op`: `spec.n` is the number of channels, `spec.k` the number of taps of the `kernel`.
    ///
    /// # Panics
    /// If lengths disagree.
    #[must_use]
    pub fn new(isa: Isa, op: &Conv, kernel: [usize; 2], spec: &LinearSpec<'_>) -> Self {
        assert_eq!(spec.weights.len(), spec.n * spec.k, "weights are [n, k]");
        assert_eq!(kernel[0] * kernel[1], spec.k, "taps differ");
        let row = |j: usize| spec.weights[j * spec.k..][..spec.k].iter().map(|w| i64::from(*w));
        let constants =
            |raised_by| constants(spec, raised_by, |j| (row(j).sum(), row(j).map(i64::abs).sum()));
        let (bias, finish) = constants(0);
        let taps = |i: usize| spec.weights[i % spec.n * spec.k + i / spec.n];
        #[cfg(target_arch = "x86_64")]
        let quads = quads(isa, op, kernel, spec, constants(Group::Quads.raised_by()));
        #[cfg(not(target_arch = "x86_64"))]
        let quads = None;
        let weights = quads.unwrap_or_else(|| Weights::Taps((0..spec.k * spec.n).map(taps).collect()));
        let y = spec.requant.map_or(spec.acc, Requantiser::dtype);
        Self { isa, weights, kernel, channels: spec.n, bias, finish, x_zero: spec.x_zero, y }
    }

    /// Element type of the outputs.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.y
    }

    /// Computes output lines `lines`, counted over all images; `y` begins with the first of them.
    ///
    /// # Panics
    /// If types or lengths disagree with the specification.
    pub fn apply(&self, x: View<'_>, patches: &Patches, lines: Range<usize>, y: ViewMut<'_>) {
        assert_eq!(patches.x[2], self.channels, "channels differ");
        assert_eq!(patches.kernel, self.kernel, "kernels differ");
        assert_eq!(y.dtype(), self.y, "output type differs");
        if y.is_empty() {
            return;
        }
        match &self.weights {
            Weights::Taps(weights) => with_element_mut!(y, |y| match x {
                View::I8(x) => self.lines(weights, x, patches, lines, y),
                View::I16(x) => self.lines(weights, x, patches, lines, y),
                View::I32(_) | View::I64(_) => panic!("x differs in type from the specification"),
            }),
            #[cfg(target_arch = "x86_64")]
            Weights::Quads(isa, weights, rounding) => match (x, y) {
                (View::I8(x), ViewMut::I8(y)) => {
                    self.quad_lines(*isa, (weights, rounding), x, patches, lines, y);
                }
                _ => panic!("x differs in type from the specification"),
            },
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn quad_lines(
        &self,
        isa: Avx512,
        (weights, rounding): (&DepthwiseWeights, &Rounding),
        x: &[i8],
        patches: &Patches,
        mut lines: Range<usize>,
        mut y: &mut [i8],
    ) {
        let [height, width] = patches.y;
        let scratch_bytes = weights.scratch_bytes(width);
        let mut scratch = Buffer::new(scratch_bytes);
        let scratch = scratch.values_mut::<i8>(scratch_bytes);
        let mut rows = vec![None; 4 * weights.groups()];
        while !lines.is_empty() {
            let line = lines.start;
            let count = weights.lines().min(lines.len()).min(height - line % height);
            for (row, begin) in rows.iter_mut().enumerate() {
                *begin = patches.line(line, row);
            }
            let at = DepthwiseLines {
                x,
                rows: &rows,
                width: patches.x[1],
                pads: patches.pads[1],
                outputs: width,
                pad: i8::truncate32(self.x_zero),
                weights,
                rounding,
            };
            let (now, rest) = std::mem::take(&mut y).split_at_mut(count * width * self.channels);
            depthwise_lines(isa, &at, scratch, now);
            (y, lines.start) = (rest, line + count);
        }
    }

    fn lines<X: Element, Y: Element>(
        &self,
        weights: &[i8],
        x: &[X],
        patches: &Patches,
        lines: Range<usize>,
        y: &mut [Y],
    ) {
        let image = patches.x.iter().product::<usize>();
        let line_len = patches.y[1] * self.channels;
        for (line, y) in lines.zip(y.chunks_mut(line_len.max(1))) {
            let x = &x[line / patches.y[0] * image..][..image];
            let oy = line % patches.y[0];
            match &self.bias {
                Bias::Narrow(bias) => narrow_line(self.isa, self, weights, x, (patches, oy), bias, y),
                Bias::Wide(bias) => wide_line(self.isa, self, weights, x, (patches, oy), bias, y),
            }
        }
    }

    /// The pixel that a tap reads, if it is inside.
    #[inline(always)]
    fn pixel(&self, patches: &Patches, iy: Option<usize>, ox: usize, kx: usize) -> Option<usize> {
        let ix = patches.source(1, ox, kx)?;
        Some((iy? * patches.x[1] + ix) * self.channels)
    }

    /// Weights of a tap for `cols` channels from `channel` on.
    #[inline(always)]
    fn tap<'a>(&self, weights: &'a [i8], ky: usize, kx: usize, channel: usize, cols: usize) -> &'a [i8] {
        &weights[(ky * self.kernel[1] + kx) * self.channels + channel..][..cols]
    }
}

/// The weights for AVX-512, which rounds to `i8` by a shift alone.
#[cfg(target_arch = "x86_64")]
fn quads(
    isa: Isa,
    op: &Conv,
    kernel: [usize; 2],
    spec: &LinearSpec<'_>,
    constants: (Bias, Finish),
) -> Option<Weights> {
    let (Isa::Avx512(isa), DType::I8) = (isa, spec.x) else { return None };
    let (Bias::Narrow(bias), Finish::Shift { shift, y }) = constants else { return None };
    if y.dtype != DType::I8 {
        return None;
    }
    let weights = DepthwiseWeights::new(op, kernel, spec.n, spec.weights)?;
    Some(Weights::Quads(isa, weights, Rounding::new(&bias, &shift, &y)))
}

vectorized! {
    fn narrow_line<X: Element, Y: Element>(
        own: &Depthwise,
        weights: &[i8],
        x: &[X],
        at: (&Patches, usize),
        bias: &[i32],
        y: &mut [Y],
    ) {
        let (patches, oy) = at;
        for (ox, y) in y.chunks_exact_mut(own.channels).enumerate() {
            for channel in (0..own.channels).step_by(BLOCK) {
                let cols = BLOCK.min(own.channels - channel);
                let mut acc = [0i32; BLOCK];
                let sums = &mut acc[..cols];
                for ky in 0..patches.kernel[0] {
                    let iy = patches.source(0, oy, ky);
                    for kx in 0..patches.kernel[1] {
                        let w = own.tap(weights, ky, kx, channel, cols);
                        match own.pixel(patches, iy, ox, kx) {
                            Some(pixel) => add_products(sums, &x[pixel + channel..], w),
                            None => add_multiples(sums, own.x_zero, w),
                        }
                    }
                }
                let target = Target { y: &mut y[channel..], rows: 1, cols, stride: own.channels };
                narrow_rows(&own.finish, &acc, BLOCK, bias, channel, target);
            }
        }
    }
}

#[inline(always)]
fn add_products<X: Element>(sums: &mut [i32], x: &[X], w: &[i8]) {
    for ((sum, x), w) in sums.iter_mut().zip(x).zip(w) {
        *sum = sum.wrapping_add(x.low() * i32::from(*w));
    }
}

#[inline(always)]
fn add_multiples(sums: &mut [i32], x: i32, w: &[i8]) {
    for (sum, w) in sums.iter_mut().zip(w) {
        *sum = sum.wrapping_add(x * i32::from(*w));
    }
}

vectorized! {
    fn wide_line<X: Element, Y: Element>(
        own: &Depthwise,
        weights: &[i8],
        x: &[X],
        at: (&Patches, usize),
        bias: &[i64],
        y: &mut [Y],
    ) {
        let (patches, oy) = at;
        for (ox, y) in y.chunks_exact_mut(own.channels).enumerate() {
            for channel in (0..own.channels).step_by(BLOCK) {
                let cols = BLOCK.min(own.channels - channel);
                let mut acc = [0i64; BLOCK];
                for ky in 0..patches.kernel[0] {
                    let iy = patches.source(0, oy, ky);
                    for kx in 0..patches.kernel[1] {
                        let pixel = own.pixel(patches, iy, ox, kx);
                        let w = own.tap(weights, ky, kx, channel, cols);
                        for (i, (acc, w)) in acc.iter_mut().zip(w).enumerate() {
                            let x = pixel.map_or(own.x_zero, |pixel| x[pixel + channel + i].low());
                            *acc += i64::from(x * i32::from(*w));
                        }
                    }
                }
                let target = Target { y: &mut y[channel..], rows: 1, cols, stride: own.channels };
                wide_rows(&own.finish, &acc, BLOCK, bias, channel, target);
            }
        }
    }
}
