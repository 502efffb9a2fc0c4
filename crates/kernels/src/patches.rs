//! Which values of an image each output of a convolution needs, and where they lie in memory.

use std::ops::Range;

use veracity_ops::{Conv, ConvTranspose};

use crate::{
    Element,
    tile::{Group, Offsets},
};

/// Geometry of a convolution over `[h, w, c]` images: an output position is a row of `kernel * width` values.
///
/// Tap `k` of output position `o` reads position `(o * stride + k * dilation - pad) / upsample` along each axis, if
/// that is a whole number inside the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patches {
    /// Height, width and channels of one image.
    pub x: [usize; 3],
    /// Output height and width.
    pub y: [usize; 2],
    /// Kernel height and width.
    pub kernel: [usize; 2],
    /// Steps.
    pub strides: [usize; 2],
    /// Distances between taps.
    pub dilations: [usize; 2],
    /// Top and left padding; negative where the output begins inside the image.
    pub pads: [isize; 2],
    /// Distance of neighbouring image positions; more than 1 for a transposed convolution.
    pub upsample: [usize; 2],
    /// First channel read.
    pub channel: usize,
    /// Number of channels read.
    pub width: usize,
}

fn signed(value: usize) -> isize {
    isize::try_from(value).expect("extents of tensors fit isize")
}

impl Patches {
    /// Geometry of `op` for operands of these shapes; all channels of the first group.
    #[must_use]
    pub fn conv(op: &Conv, x: [usize; 3], w: [usize; 4], y: [usize; 2]) -> Self {
        Self {
            x,
            y,
            kernel: [w[1], w[2]],
            strides: op.strides,
            dilations: op.dilations,
            pads: [signed(op.pads[0]), signed(op.pads[1])],
            upsample: [1, 1],
            channel: 0,
            width: w[3],
        }
    }

    /// Geometry of `op` as a convolution with the kernel reversed along height and width.
    #[must_use]
    pub fn transposed(op: &ConvTranspose, x: [usize; 3], w: [usize; 4], y: [usize; 2]) -> Self {
        let pad =
            |axis: usize| signed((w[axis + 1] - 1) * op.conv.dilations[axis]) - signed(op.conv.pads[axis]);
        Self {
            strides: [1, 1],
            pads: [pad(0), pad(1)],
            upsample: op.conv.strides,
            ..Self::conv(&op.conv, x, w, y)
        }
    }

    /// The same geometry for the channels of group `index`.
    #[must_use]
    pub fn group(&self, index: usize) -> Self {
        Self { channel: index * self.width, ..self.clone() }
    }

    /// Number of values of a row.
    #[must_use]
    pub fn k(&self) -> usize {
        self.kernel[0] * self.kernel[1] * self.width
    }

    /// Number of rows of one image.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.y[0] * self.y[1]
    }

    /// Number of values of a row of `op` with weights of shape `w` that are neighbours: those of all taps of one line,
    /// or of one tap.
    #[must_use]
    pub fn run(op: &Conv, [_, _, taps, width]: [usize; 4]) -> usize {
        if op.dilations[1] == 1 { taps * width } else { width }
    }

    /// Positions along `axis` from the first that `outputs` outputs read to the last.
    fn span(&self, axis: usize, outputs: usize) -> usize {
        outputs.saturating_sub(1) * self.strides[axis] + self.taps_span(axis)
    }

    fn taps_span(&self, axis: usize) -> usize {
        self.kernel[axis].saturating_sub(1) * self.dilations[axis] + 1
    }

    /// Whether nothing lies outside the image or between its positions.
    fn is_inside(&self) -> bool {
        let fits = |axis: usize| self.span(axis, self.y[axis]) <= self.x[axis];
        self.upsample == [1, 1] && self.pads == [0, 0] && fits(0) && fits(1)
    }

    /// Position along `axis` that tap `tap` of output `out` reads.
    pub(crate) fn source(&self, axis: usize, out: usize, tap: usize) -> Option<usize> {
        let padded = out * self.strides[axis] + tap * self.dilations[axis];
        inside(padded, self.pads[axis], self.upsample[axis], self.x[axis])
    }

    /// Where the input line begins that output line `line`, counted over all images, reads with tap `tap` of its
    /// height. The tap may lie beyond the kernel.
    pub(crate) fn line(&self, line: usize, tap: usize) -> Option<usize> {
        let iy = self.source(0, line % self.y[0], tap)?;
        Some((line / self.y[0] * self.x[0] + iy) * self.x[1] * self.x[2])
    }
}

/// How the rows of a convolution's operand lie in memory.
///
/// If neither padding nor a gap is in the way, a row is read where the image is. Otherwise the lines that a block of
/// outputs needs are copied once, with their padding, and rows are read there: they overlap, so this moves far less
/// than copying each row (the indirect convolution of Dukhan, arXiv:1907.02129, with offsets for pointers).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    pub(crate) patches: Patches,
    pub(crate) offsets: Offsets,
    /// Whether rows are read from the image itself.
    pub(crate) is_direct: bool,
    /// Values of a line.
    line: usize,
}

impl Layout {
    /// The layout for tiles that multiply `group` values of a `run` at a time. `is_same_type` says whether they multiply the
    /// image's own type.
    pub(crate) fn new(patches: Patches, run: usize, group: Group, is_same_type: bool) -> Self {
        let is_whole = patches.width == patches.x[2] && run.is_multiple_of(group.len());
        let is_direct = is_same_type && is_whole && patches.is_inside();
        let pixels = if is_direct { patches.x[1] } else { patches.span(1, patches.y[1]) };
        let line = pixels * patches.width;
        let runs = (patches.kernel[1] * patches.width).checked_div(run).unwrap_or(0);
        // Copied lines lie one after the other, whatever lies between them in the image.
        let lines = if is_direct { patches.dilations[0] } else { 1 };
        let starts = (0..patches.kernel[0]).flat_map(|ky| {
            let begin = ky * lines * line;
            let step = patches.dilations[1] * patches.width;
            (0..runs).map(move |kx| begin + kx * step)
        });
        let offsets = Offsets::new(starts, run, group);
        Self { patches, offsets, is_direct, line }
    }

    /// Memory that a thread needs to copy the lines of one output line, in bytes, for values of at most two bytes.
    #[must_use]
    pub fn scratch_bytes(&self) -> usize {
        if self.is_direct { 0 } else { self.patches.kernel[0].saturating_mul(self.line).saturating_mul(2) }
    }

    /// Most output lines of an image whose copied lines are together at most `values` values; at least one.
    pub(crate) fn lines_within(&self, values: usize) -> usize {
        let Patches { kernel, strides, .. } = self.patches;
        let lines = values.checked_div(self.line).unwrap_or(0);
        // How many lines another output line adds.
        let step = if self.shares_lines() { strides[0].min(kernel[0]) } else { kernel[0] };
        (lines.saturating_sub(kernel[0]) / step.max(1)).max(1)
    }

    /// Whether the lines of neighbouring outputs are copied once for both. With distances between the kernel's lines
    /// each output line has its own, so that no line is copied that nothing reads.
    fn shares_lines(&self) -> bool {
        self.patches.dilations[0] == 1
    }

    /// Where rows `rows` begin in the images.
    pub(crate) fn direct_rows(&self, rows: Range<usize>, begins: &mut Vec<usize>) {
        let Patches { x, y, strides, .. } = self.patches;
        begins.clear();
        for (line, columns) in lines(rows, y[1]) {
            let at = line / y[0] * x.iter().product::<usize>() + line % y[0] * strides[0] * self.line;
            begins.extend(columns.map(|ox| at + ox * strides[1] * x[2]));
        }
    }

    /// Copies the lines of the images `x` that `rows` read into `copy`; `begins` says where the rows begin there.
    #[inline(always)]
    pub(crate) fn copy_rows<X: Element, P: Element>(
        &self,
        x: &[X],
        rows: Range<usize>,
        pad: P,
        copy: &mut Vec<P>,
        begins: &mut Vec<usize>,
    ) {
        let Patches { x: [h, w, c], y, kernel, strides, dilations, width, .. } = self.patches;
        begins.clear();
        copy.clear();
        // The image copied last, its next line, and where its line 0 would lie in the copy.
        let (mut image, mut next, mut origin) = (usize::MAX, 0, 0);
        for (line, columns) in lines(rows, y[1]) {
            let first = line % y[0] * strides[0];
            if line / y[0] != image || next < first || !self.shares_lines() {
                (image, next) = (line / y[0], first);
                origin = signed(copy.len()) - signed(first * self.line);
            }
            let x = &x[image * h * w * c..][..h * w * c];
            for tap in next - first..kernel[0] {
                let at = copy.len();
                copy.resize(at + self.line, pad);
                self.copy_line(x, first + tap * dilations[0], &mut copy[at..]);
            }
            next = first + kernel[0];
            let at = (origin + signed(first * self.line)).unsigned_abs();
            begins.extend(columns.map(|ox| at + ox * strides[1] * width));
        }
        // What the last group of the last run reads beyond it.
        copy.resize(copy.len() + Group::LEN_MAX, pad);
    }

    /// Copies line `padded` of one image, leaving its padding as it is.
    #[inline(always)]
    fn copy_line<X: Element, P: Element>(&self, x: &[X], padded: usize, copy: &mut [P]) {
        let Patches { x: [h, w, c], pads, upsample, channel, width, .. } = self.patches;
        let Some(iy) = inside(padded, pads[0], upsample[0], h) else { return };
        let x = &x[iy * w * c..][..w * c];
        if upsample[1] == 1 && width == c {
            let (left, skipped) = (pads[1].max(0).unsigned_abs(), (-pads[1]).max(0).unsigned_abs());
            let x = x.get(skipped * c..).unwrap_or_default();
            return copy_values(x, copy.get_mut(left * c..).unwrap_or_default());
        }
        for (pixel, copy) in copy.chunks_exact_mut(width.max(1)).enumerate() {
            if let Some(ix) = inside(pixel, pads[1], upsample[1], w) {
                copy_values(&x[ix * c + channel..], copy);
            }
        }
    }
}

#[inline(always)]
fn copy_values<X: Element, P: Element>(x: &[X], copy: &mut [P]) {
    for (copy, x) in copy.iter_mut().zip(x) {
        *copy = P::truncate32(x.low());
    }
}

/// The position that padded position `at` is, if it is one.
fn inside(at: usize, pad: isize, upsample: usize, size: usize) -> Option<usize> {
    let at = usize::try_from(signed(at) - pad).ok()?;
    (at % upsample == 0 && at / upsample < size).then(|| at / upsample)
}

/// Lines of `width` rows that `rows` touch, with the columns touched in each.
fn lines(rows: Range<usize>, width: usize) -> impl Iterator<Item = (usize, Range<usize>)> {
    let width = width.max(1);
    (rows.start / width..rows.end.div_ceil(width)).map(move |line| {
        let begin = line * width;
        (line, rows.start.saturating_sub(begin)..(rows.end - begin).min(width))
    })
}
