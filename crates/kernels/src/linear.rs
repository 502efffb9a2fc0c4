//! Matrix products, convolutions among them, with the requantisation that follows.
//!
//! `y[row, j] = finish(bias[j] + sum_k (x[row, k] - x_zero) * w[j, k])`. Sums are formed modulo `2^32`: the model's
//! bounds prove that an `i32` holds each final sum, so what intermediate sums lose does not matter. The terms of
//! `x_zero`, and of the 128 that `vpdpbusd` needs added to `x`, depend on the channel alone and are folded into the
//! bias. Sums that need an `i64` are formed from pieces short enough for an `i32`.

use std::{cell::RefCell, ops::Range};

use veracity_ops::DType;

use crate::{
    Buffer, Element, Isa, Patches, Requantiser, View, ViewMut,
    requant::{CHANNELS_MULTIPLE, Finish, Target, narrow, wide},
    tile::{Acc, Group, TILE_COLS, TILE_ROWS, Tile},
    vectorized, with_element_mut,
};

/// What a [`Linear`] computes.
#[derive(Debug, Clone, Copy)]
pub struct LinearSpec<'a> {
    /// Number of output channels.
    pub n: usize,
    /// Length of the reduction.
    pub k: usize,
    /// Weights, `[n, k]`.
    pub weights: &'a [i8],
    /// One value per output channel.
    pub bias: Option<&'a [i64]>,
    /// Element type of `x`: `i8` or `i16`.
    pub x: DType,
    /// Integer that stands for real zero in `x`.
    pub x_zero: i32,
    /// Accumulator type, which provably holds every sum.
    pub acc: DType,
    /// The following operator; without it the outputs are the accumulators.
    pub requant: Option<&'a Requantiser>,
}

/// Where the rows of `x` come from.
#[derive(Debug, Clone, Copy)]
pub enum Rows<'a> {
    /// One after the other.
    Contiguous(View<'a>),
    /// Patches of images, which lie one after the other.
    Patches(View<'a>, &'a Patches),
}

/// Where outputs go: row `i` to `y[i * stride + column..]`.
#[derive(Debug)]
pub struct Columns<'a> {
    /// Rows of outputs.
    pub y: ViewMut<'a>,
    /// First column written.
    pub column: usize,
    /// Distance of rows.
    pub stride: usize,
}

/// A matrix product with its weights, packed for one instruction set.
#[derive(Debug, Clone)]
pub struct Linear {
    isa: Isa,
    group: Group,
    k: usize,
    /// Length of the reduction, rounded up to whole groups.
    k_packed: usize,
    n: usize,
    panels: Vec<Panel>,
    weights: Buffer,
    weights_len: usize,
    bias: Bias,
    finish: Finish,
    x_zero: i32,
    y: DType,
}

/// Some columns of the weights.
#[derive(Debug, Clone, Copy)]
struct Panel {
    column: usize,
    columns: usize,
    vectors: usize,
    start: usize,
    len: usize,
}

#[derive(Debug, Clone)]
pub(crate) enum Bias {
    Narrow(Vec<i32>),
    Wide(Vec<i64>),
}

/// Bytes of `x` that are multiplied with all panels before the next: they stay in the second-level cache.
const BLOCK_BYTES: usize = 192 * 1024;
/// Rows are divided among blocks and threads in multiples of this, which all tile heights divide.
pub const ROWS_MULTIPLE: usize = 24;
const BLOCK_ROWS_MAX: usize = 4 * ROWS_MULTIPLE;

thread_local! {
    static SCRATCH: RefCell<Buffer> = RefCell::default();
}

/// The bias of each channel with all constant terms, and how to finish its sums; both padded.
/// `magnitude` is the sum of `|w|` and `sum` the sum of `w` of a channel.
pub(crate) fn constants(
    spec: &LinearSpec<'_>,
    raised_by: i64,
    sums: impl Fn(usize) -> (i64, i64),
) -> (Bias, Finish) {
    let zero = i64::from(spec.x_zero);
    let spread = (spec.x.max() - zero).max(zero - spec.x.min());
    let mut worst = 0;
    let padded = spec.n.next_multiple_of(CHANNELS_MULTIPLE);
    let mut bias = vec![0i64; padded];
    for (channel, folded) in bias.iter_mut().enumerate().take(spec.n) {
        let (sum, magnitude) = sums(channel);
        let own = spec.bias.map_or(0, |b| b[channel]);
        *folded = own.wrapping_sub((raised_by + zero).wrapping_mul(sum));
        worst = worst.max(own.saturating_abs().saturating_add(magnitude.saturating_mul(spread)));
    }
    let finish = spec.requant.map_or(Finish::Accumulate, |r| r.finish(spec, worst, padded));
    if let (Finish::Shift { .. }, Some(requant)) = (&finish, spec.requant) {
        let channel = |c: usize| if requant.shift.len() == 1 { 0 } else { c };
        (0..spec.n).for_each(|c| bias[c] = bias[c].wrapping_add(requant.offset(channel(c))));
    }
    let bias = match spec.acc {
        DType::I64 => Bias::Wide(bias),
        DType::I8 | DType::I16 | DType::I32 => Bias::Narrow(bias.into_iter().map(i32::truncate).collect()),
    };
    (bias, finish)
}

impl Requantiser {
    /// How to finish sums of at most `worst`, per channel up to `padded`.
    fn finish(&self, spec: &LinearSpec<'_>, worst: i64, padded: usize) -> Finish {
        let channel = |c: usize| if self.shift.len() == 1 { 0 } else { c.min(spec.n - 1) };
        let shift = (0..padded).map(|c| self.shift[channel(c)]).collect();
        let offsets = (0..self.shift.len()).map(|c| self.offset(c).abs()).max().unwrap_or(0);
        let most = worst.saturating_add(offsets).saturating_add(i64::from(self.y.zero).abs());
        let is_pure_shift = self.mul.iter().all(|m| *m == 1) && self.shift.iter().all(|s| *s < 32);
        if spec.acc == DType::I32 && is_pure_shift && most <= i64::from(i32::MAX) {
            return Finish::Shift { shift, y: self.y };
        }
        let mul = (0..padded).map(|c| self.mul[channel(c)]).collect();
        let offset = (0..padded).map(|c| self.offset(channel(c))).collect();
        Finish::Scale { mul, offset, shift, y: self.y }
    }
}

impl Linear {
    /// Packs the weights.
    ///
    /// # Panics
    /// If lengths disagree.
    #[must_use]
    pub fn new(isa: Isa, spec: &LinearSpec<'_>) -> Self {
        assert_eq!(spec.weights.len(), spec.n * spec.k, "weights are [n, k]");
        assert!(spec.bias.is_none_or(|b| b.len() == spec.n), "bias is [n]");
        let group = if spec.x == DType::I8 && isa.has_quads() { Group::Quads } else { Group::Pairs };
        let k_packed = spec.k.next_multiple_of(group.len());
        let panels = panels(isa, spec.n, k_packed);
        let weights_len = panels.last().map_or(0, |p| p.start + p.len);
        let mut weights = Buffer::new(weights_len);
        pack(spec, group, &panels, weights.values_mut(weights_len));
        let row = |j: usize| spec.weights[j * spec.k..][..spec.k].iter().map(|w| i64::from(*w));
        let (bias, finish) =
            constants(spec, group.raised_by(), |j| (row(j).sum(), row(j).map(i64::abs).sum()));
        let y = spec.requant.map_or(spec.acc, Requantiser::dtype);
        Self {
            isa,
            group,
            k: spec.k,
            k_packed,
            n: spec.n,
            panels,
            weights,
            weights_len,
            bias,
            finish,
            x_zero: spec.x_zero,
            y,
        }
    }

    /// Element type of the outputs.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.y
    }

    /// Number of output channels.
    #[must_use]
    pub fn n(&self) -> usize {
        self.n
    }

    /// Memory of the packed weights.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.weights.size_bytes()
    }

    /// Computes rows `rows`; `out.y` begins with the first of them.
    ///
    /// # Panics
    /// If types, lengths or patch sizes disagree with the specification.
    pub fn apply(&self, x: Rows<'_>, rows: Range<usize>, out: Columns<'_>) {
        let (Rows::Contiguous(values) | Rows::Patches(values, _)) = x;
        let patches = match x {
            Rows::Contiguous(_) => None,
            Rows::Patches(_, patches) => Some(patches).filter(|p| !p.is_identity()),
        };
        assert!(patches.is_none_or(|p| p.k() == self.k), "patches differ from the reduction");
        assert_eq!(out.y.dtype(), self.y, "output type differs");
        let Columns { y, column, stride } = out;
        with_element_mut!(y, |y| {
            let out = Rest { y, column, stride };
            match (values, self.group) {
                (View::I8(x), Group::Quads) => self.blocks::<i8, i8, _>(x, patches, rows, out),
                (View::I8(x), Group::Pairs) => self.blocks::<i8, i16, _>(x, patches, rows, out),
                (View::I16(x), Group::Pairs) => self.blocks::<i16, i16, _>(x, patches, rows, out),
                _ => panic!("x differs in type from the specification"),
            }
        });
    }

    fn blocks<X, P, Y>(&self, x: &[X], patches: Option<&Patches>, rows: Range<usize>, mut out: Rest<'_, Y>)
    where
        X: Factor,
        P: Factor,
        Y: Element,
    {
        let row_bytes = self.k_packed.max(1) * size_of::<P>();
        let block =
            (BLOCK_BYTES / row_bytes / ROWS_MULTIPLE * ROWS_MULTIPLE).clamp(ROWS_MULTIPLE, BLOCK_ROWS_MAX);
        let direct = P::of(X::view(x)).filter(|_| patches.is_none() && self.k == self.k_packed);
        for first in rows.clone().step_by(block) {
            let count = block.min(rows.end - first);
            if let Some(x) = direct {
                self.block(&x[first * self.k..(first + count) * self.k], count, &mut out);
            } else {
                SCRATCH.with_borrow_mut(|scratch| {
                    scratch.grow(count * row_bytes);
                    let panel = scratch.values_mut::<P>(count * self.k_packed);
                    self.gather(x, patches, first, panel);
                    self.block(panel, count, &mut out);
                });
            }
            out.skip_rows(count);
        }
    }

    fn gather<X: Factor, P: Element>(
        &self,
        x: &[X],
        patches: Option<&Patches>,
        first: usize,
        panel: &mut [P],
    ) {
        if self.k == 0 {
            return;
        }
        let pad = P::truncate32(self.x_zero);
        match patches {
            Some(patches) => gather_patches(self.isa, patches, x, first, pad, panel, self.k_packed),
            None => widen_rows(self.isa, &x[first * self.k..], self.k, panel, self.k_packed),
        }
    }

    /// Multiplies `count` packed rows with every panel.
    fn block<P: Factor, Y: Element>(&self, x: &[P], count: usize, out: &mut Rest<'_, Y>) {
        let mut acc: Acc = [0; TILE_ROWS * TILE_COLS];
        let weights = self.weights.values::<i8>(self.weights_len);
        for panel in &self.panels {
            let weights = &weights[panel.start..panel.start + panel.len];
            let tile_rows = self.isa.tile_rows(panel.vectors);
            for first in (0..count).step_by(tile_rows) {
                let rows = tile_rows.min(count - first);
                let tile = Tile {
                    x: &x[first * self.k_packed..],
                    x_stride: self.k_packed,
                    rows,
                    w: weights,
                    vectors: panel.vectors,
                };
                let target = out.target(first, rows, panel);
                match &self.bias {
                    Bias::Narrow(bias) => {
                        P::multiply(self.isa, &tile, &mut acc);
                        narrow(self.isa, &self.finish, &acc, TILE_COLS, bias, panel.column, target);
                    }
                    Bias::Wide(bias) => {
                        let acc = self.wide_sums(&tile, &mut acc);
                        wide(self.isa, &self.finish, &acc, TILE_COLS, bias, panel.column, target);
                    }
                }
            }
        }
    }

    /// Adds up pieces of the reduction that an `i32` holds.
    fn wide_sums<P: Factor>(&self, tile: &Tile<'_, P>, acc: &mut Acc) -> [i64; TILE_ROWS * TILE_COLS] {
        let mut sums = [0i64; TILE_ROWS * TILE_COLS];
        let columns = tile.vectors * self.isa.tile_shape().lanes;
        for first in (0..self.k_packed).step_by(self.group.k_exact()) {
            let k = self.group.k_exact().min(self.k_packed - first);
            let piece =
                Tile { x: &tile.x[first..], w: &tile.w[first * columns..(first + k) * columns], ..*tile };
            P::multiply(self.isa, &piece, acc);
            let rows = sums.chunks_mut(TILE_COLS).zip(acc.chunks(TILE_COLS)).take(tile.rows);
            for (sums, acc) in rows {
                sums.iter_mut().zip(&acc[..columns]).for_each(|(sum, acc)| *sum += i64::from(*acc));
            }
        }
        sums
    }
}

vectorized! {
    fn gather_patches<X: Factor, P: Element>(
        patches: &Patches,
        x: &[X],
        first: usize,
        pad: P,
        panel: &mut [P],
        stride: usize,
    ) {
        patches.gather(x, first, pad, panel, stride);
    }
}

vectorized! {
    fn widen_rows<X: Factor, P: Element>(x: &[X], k: usize, panel: &mut [P], stride: usize) {
        for (panel, x) in panel.chunks_exact_mut(stride).zip(x.chunks_exact(k)) {
            for (panel, x) in panel.iter_mut().zip(x) {
                *panel = P::truncate32(x.low());
            }
        }
    }
}

/// Outputs not yet written.
struct Rest<'a, Y> {
    y: &'a mut [Y],
    column: usize,
    stride: usize,
}

impl<Y> Rest<'_, Y> {
    fn skip_rows(&mut self, rows: usize) {
        let at = (rows * self.stride).min(self.y.len());
        self.y = &mut std::mem::take(&mut self.y)[at..];
    }

    fn target(&mut self, first: usize, rows: usize, panel: &Panel) -> Target<'_, Y> {
        let at = first * self.stride + self.column + panel.column;
        Target { y: &mut self.y[at..], rows, cols: panel.columns, stride: self.stride }
    }
}

/// A type that tiles multiply by `i8`.
trait Factor: Element {
    fn multiply(isa: Isa, tile: &Tile<'_, Self>, acc: &mut Acc);
}

impl Factor for i8 {
    fn multiply(isa: Isa, tile: &Tile<'_, Self>, acc: &mut Acc) {
        isa.quads(tile, acc);
    }
}

impl Factor for i16 {
    fn multiply(isa: Isa, tile: &Tile<'_, Self>, acc: &mut Acc) {
        isa.pairs(tile, acc);
    }
}

/// Full panels, then one of as few vectors as hold the rest.
fn panels(isa: Isa, n: usize, k_packed: usize) -> Vec<Panel> {
    let shape = isa.tile_shape();
    let mut start = 0;
    let panel = |column: usize| {
        let columns = (n - column).min(shape.lanes * shape.vectors);
        let vectors = columns.div_ceil(shape.lanes);
        let len = vectors * shape.lanes * k_packed;
        start += len;
        Panel { column, columns, vectors, start: start - len, len }
    };
    (0..n).step_by(shape.lanes * shape.vectors).map(panel).collect()
}

fn pack(spec: &LinearSpec<'_>, group: Group, panels: &[Panel], packed: &mut [i8]) {
    for panel in panels {
        let lanes = panel.len / spec.k.next_multiple_of(group.len()).max(1);
        for column in 0..panel.columns {
            let row = &spec.weights[(panel.column + column) * spec.k..][..spec.k];
            for (g, weights) in row.chunks(group.len()).enumerate() {
                let at = panel.start + (g * lanes + column) * group.len();
                packed[at..at + weights.len()].copy_from_slice(weights);
            }
        }
    }
}
