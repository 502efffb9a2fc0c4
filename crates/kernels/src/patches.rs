//! Which values of an image a convolution's output needs, and copying them into rows.

use veracity_ops::{Conv, ConvTranspose};

use crate::Element;

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

    /// Whether the rows are the image's own pixels, in order.
    #[must_use]
    pub fn is_identity(&self) -> bool {
        self.kernel == [1, 1]
            && self.strides == [1, 1]
            && self.upsample == [1, 1]
            && self.pads == [0, 0]
            && self.y == [self.x[0], self.x[1]]
            && self.width == self.x[2]
    }

    /// Position along `axis` that tap `tap` of output `out` reads.
    pub(crate) fn source(&self, axis: usize, out: usize, tap: usize) -> Option<usize> {
        let raised = out * self.strides[axis] + tap * self.dilations[axis];
        let at = usize::try_from(signed(raised) - self.pads[axis]).ok()?;
        let inside = at % self.upsample[axis] == 0 && at / self.upsample[axis] < self.x[axis];
        inside.then(|| at / self.upsample[axis])
    }

    /// Copies rows `first..` of the images `x` to `out`, one every `stride` values, `pad` standing for what lies
    /// outside the image.
    #[inline(always)]
    pub(crate) fn gather<X: Element, P: Element>(
        &self,
        x: &[X],
        first: usize,
        pad: P,
        out: &mut [P],
        stride: usize,
    ) {
        let (mut line, mut ox) = (first / self.y[1], first % self.y[1]);
        let mut lines = self.lines(line);
        let is_run = self.dilations[1] == 1 && self.upsample[1] == 1 && self.width == self.x[2];
        for at in (0..out.len()).step_by(stride) {
            if is_run {
                self.copy_runs(x, &lines, ox, pad, &mut out[at..]);
            } else {
                self.copy_taps(x, &lines, ox, pad, &mut out[at..]);
            }
            ox += 1;
            if ox == self.y[1] {
                (line, ox) = (line + 1, 0);
                lines = if at + stride < out.len() { self.lines(line) } else { Vec::new() };
            }
        }
    }

    /// Where the lines begin that output line `line`, counted over all images, reads.
    pub(crate) fn lines(&self, line: usize) -> Vec<Option<usize>> {
        let first = line / self.y[0] * self.x[0];
        let begin = |iy: usize| (first + iy) * self.x[1] * self.x[2];
        (0..self.kernel[0]).map(|ky| self.source(0, line % self.y[0], ky).map(begin)).collect()
    }

    /// Neighbouring taps of all channels are neighbours in memory. May write values beyond them, which are written
    /// again later or not used: runs and rows are copied in order, and weights are zero beyond the last.
    #[inline(always)]
    fn copy_runs<X: Element, P: Element>(
        &self,
        x: &[X],
        lines: &[Option<usize>],
        ox: usize,
        pad: P,
        out: &mut [P],
    ) {
        let (taps, size, c) = (signed(self.kernel[1]), signed(self.x[1]), self.width);
        let first = signed(ox * self.strides[1]) - self.pads[1];
        let begin = (-first).clamp(0, taps);
        let end = (size - first).clamp(begin, taps);
        let [begin_at, end_at, from, len] = [begin, end, first + begin, taps].map(|v| v.unsigned_abs() * c);
        if begin_at == 0 && end_at == len {
            return match len {
                0..=16 => copy_lines::<_, _, 16>(&x[from..], lines, len, pad, out),
                17..=32 => copy_lines::<_, _, 32>(&x[from..], lines, len, pad, out),
                _ => copy_lines::<_, _, 64>(&x[from..], lines, len, pad, out),
            };
        }
        for (ky, line) in lines.iter().enumerate() {
            let out = &mut out[ky * len..];
            let Some(line) = line.filter(|_| end_at > begin_at) else {
                out[..len].fill(pad);
                continue;
            };
            if begin_at > 0 {
                out[..begin_at].fill(pad);
            }
            copy(&x[line + from..], &mut out[begin_at..end_at]);
            if end_at < len {
                out[end_at..len].fill(pad);
            }
        }
    }

    #[inline(always)]
    fn copy_taps<X: Element, P: Element>(
        &self,
        x: &[X],
        lines: &[Option<usize>],
        ox: usize,
        pad: P,
        out: &mut [P],
    ) {
        let mut taps = out.chunks_exact_mut(self.width);
        for line in lines {
            for (kx, out) in (0..self.kernel[1]).zip(&mut taps) {
                match line.zip(self.source(1, ox, kx)) {
                    None => out.fill(pad),
                    Some((line, ix)) => copy(&x[line + ix * self.x[2] + self.channel..], out),
                }
            }
        }
    }
}

/// Copies a run of `len` values from each line, by `N` at once if the run is not longer and there is room.
#[inline(always)]
fn copy_lines<X: Element, P: Element, const N: usize>(
    x: &[X],
    lines: &[Option<usize>],
    len: usize,
    pad: P,
    out: &mut [P],
) {
    for (ky, line) in lines.iter().enumerate() {
        let out = &mut out[ky * len..];
        let Some(line) = line else {
            out[..len].fill(pad);
            continue;
        };
        let x = &x[*line..];
        match (x.first_chunk::<N>(), out.first_chunk_mut::<N>()) {
            (Some(x), Some(out)) if len <= N => copy(x, out),
            (_, _) => copy(x, &mut out[..len]),
        }
    }
}

#[inline(always)]
fn copy<X: Element, P: Element>(x: &[X], out: &mut [P]) {
    for (out, x) in out.iter_mut().zip(x) {
        *out = P::truncate32(x.low());
    }
}
