//! Matrix products, convolutions among them, with the requantisation that follows.
//!
//! `y[row, j] = finish(bias[j] + sum_k (x[row, k] - x_zero) * w[j, k])`. Sums are formed modulo `2^32`: the model's
//! bounds prove that an `i32` holds each final sum, so what intermediate sums lose does not matter. The terms of
//! `x_zero`, and of the 128 that `vpdpbusd` needs added to `x`, depend on the channel alone and are folded into the
//! bias. Sums that need an `i64` are formed from pieces short enough for an `i32`.

use std::{cell::RefCell, ops::Range};

use veracity_ops::DType;

#[cfg(target_arch = "x86_64")]
use crate::avx512;
use crate::{
    Buffer, Element, Isa, Layout, Patches, Requantiser, View, ViewMut, packing,
    packing::{Bias, Panel, constants, pack, packed_k, panels},
    requant::{Finish, Target, narrow, wide},
    tile::{Acc, Group, Groups, Offsets, TILE_COLS, TILE_ROWS, Tile},
    vectorized, with_element_mut,
};

/// What a [`Linear`] computes.
#[derive(Debug, Clone, Copy)]
pub struct LinearSpec<'a> {
    /// Number of output channels.
    pub n: usize,
    /// Length of the reduction.
    pub k: usize,
    /// Length of the parts of a row of `x` that lie together; it divides `k`. See [`Patches::run`].
    pub run: usize,
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
    Patches(View<'a>, &'a Layout),
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
    run: usize,
    n: usize,
    /// Groups of a row that lies together.
    offsets: Offsets,
    panels: Vec<Panel>,
    weights: Buffer,
    weights_len: usize,
    bias: Bias,
    finish: Finish,
    #[cfg(target_arch = "x86_64")]
    rounding: Option<avx512::Rounding>,
    x: DType,
    x_zero: i32,
    y: DType,
}

/// Bytes of `x` that are multiplied with all panels before the next: they stay in the second-level cache.
const BLOCK_BYTES: usize = 192 * 1024;
/// Rows are divided among blocks in multiples of this, which all tile heights divide.
const ROWS_MULTIPLE: usize = 24;
const BLOCK_ROWS_MAX: usize = 20 * ROWS_MULTIPLE;

/// Memory that a thread keeps for the next product.
#[derive(Debug, Default)]
struct Scratch<P> {
    copy: Vec<P>,
    begins: Vec<usize>,
}

impl<P> Scratch<P> {
    /// Gives memory back that only unusually long lines need: threads live long, and there may be many.
    fn release(&mut self) {
        if self.copy.capacity() * size_of::<P>() > 4 * BLOCK_BYTES {
            self.copy = Vec::new();
        }
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
        assert!(spec.k == 0 || spec.k.is_multiple_of(spec.run), "runs make up the reduction");
        let group = if spec.x == DType::I8 && isa.has_quads() { Group::Quads } else { Group::Pairs };
        let panels = panels(isa, spec.n, packed_k(spec, group));
        let weights_len = panels.last().map_or(0, |p| p.start + p.len);
        let mut weights = Buffer::new(weights_len);
        pack(spec, group, &panels, weights.values_mut(weights_len));
        let row = |j: usize| spec.weights[j * spec.k..][..spec.k].iter().map(|w| i64::from(*w));
        let (bias, finish) =
            constants(spec, group.raised_by(), |j| (row(j).sum(), row(j).map(i64::abs).sum()));
        Self {
            isa,
            group,
            k: spec.k,
            run: spec.run,
            n: spec.n,
            offsets: Offsets::new(std::iter::once(0), spec.k, group),
            #[cfg(target_arch = "x86_64")]
            rounding: packing::rounding(group, &bias, &finish),
            panels,
            weights,
            weights_len,
            bias,
            finish,
            x: spec.x,
            x_zero: spec.x_zero,
            y: spec.requant.map_or(spec.acc, Requantiser::dtype),
        }
    }

    /// How this product reads `patches`.
    ///
    /// # Panics
    /// If they differ in size from the specification.
    #[must_use]
    pub fn layout(&self, patches: Patches) -> Layout {
        assert_eq!(patches.k(), self.k, "patches differ from the reduction");
        Layout::new(patches, self.run, self.group, self.x == self.group.dtype())
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
    /// If types or lengths disagree with the specification, or the rows lie together but the runs do not.
    pub fn apply(&self, x: Rows<'_>, rows: Range<usize>, out: Columns<'_>) {
        let (values, layout) = match x {
            Rows::Contiguous(values) => (values, None),
            Rows::Patches(values, layout) => (values, Some(layout)),
        };
        match layout {
            None => assert_eq!(self.run, self.k, "the reduction has several runs"),
            Some(layout) => assert_eq!(layout.patches.k(), self.k, "patches differ from the reduction"),
        }
        assert_eq!(out.y.dtype(), self.y, "output type differs");
        let Columns { y, column, stride } = out;
        with_element_mut!(y, |y| {
            let out = Rest { y, column, stride };
            match (values, self.group) {
                (View::I8(x), Group::Quads) => self.blocks::<i8, i8, _>(x, layout, rows, out),
                (View::I8(x), Group::Pairs) => self.blocks::<i8, i16, _>(x, layout, rows, out),
                (View::I16(x), Group::Pairs) => self.blocks::<i16, i16, _>(x, layout, rows, out),
                _ => panic!("x differs in type from the specification"),
            }
        });
    }

    fn blocks<X, P, Y>(&self, x: &[X], layout: Option<&Layout>, rows: Range<usize>, mut out: Rest<'_, Y>)
    where
        X: Factor,
        P: Factor,
        Y: Element,
    {
        let block = self.block_rows(layout, size_of::<P>());
        P::with_scratch(|scratch| {
            for first in rows.clone().step_by(block) {
                let rows = first..rows.end.min(first + block);
                let count = rows.len();
                let x = self.gather(x, layout, rows, scratch);
                let groups = layout.map_or(self.offsets.groups(), |layout| layout.offsets.groups());
                self.block(x.unwrap_or(&scratch.copy), &scratch.begins, groups, &mut out);
                out.skip_rows(count);
            }
            scratch.release();
        });
    }

    /// Rows that are multiplied with all panels before the next.
    fn block_rows(&self, layout: Option<&Layout>, value_bytes: usize) -> usize {
        let values = BLOCK_BYTES / value_bytes;
        let rows = match layout {
            Some(layout) if !layout.is_direct => layout.lines_within(values) * layout.patches.y[1],
            Some(_) | None => values / self.k.max(1),
        };
        (rows / ROWS_MULTIPLE * ROWS_MULTIPLE).clamp(ROWS_MULTIPLE, BLOCK_ROWS_MAX)
    }

    /// Finds where `rows` begin in `x` itself, which is returned, or copies what they need.
    fn gather<'x, X: Factor, P: Factor>(
        &self,
        x: &'x [X],
        layout: Option<&Layout>,
        rows: Range<usize>,
        scratch: &mut Scratch<P>,
    ) -> Option<&'x [P]> {
        let Scratch { copy, begins } = scratch;
        let pad = P::truncate32(self.x_zero);
        match layout {
            Some(layout) if layout.is_direct => {
                layout.direct_rows(rows, begins);
                P::of(X::view(x))
            }
            Some(layout) => {
                copy_patches(self.isa, layout, x, rows, pad, copy, begins);
                None
            }
            None => {
                begins.clear();
                let (first, count) = (rows.start * self.k, rows.len());
                if let Some(x) = P::of(X::view(x)).filter(|_| self.k.is_multiple_of(self.group.len())) {
                    begins.extend((0..count).map(|row| first + row * self.k));
                    return Some(x);
                }
                begins.extend((0..count).map(|row| row * self.k));
                copy_rows(self.isa, &x[first..first + count * self.k], pad, copy);
                None
            }
        }
    }

    /// Multiplies the rows of `x` that begin at `begins` with every panel.
    fn block<P: Factor, Y: Element>(
        &self,
        x: &[P],
        begins: &[usize],
        groups: Groups<'_>,
        out: &mut Rest<'_, Y>,
    ) {
        let mut acc: Acc = [0; TILE_ROWS * TILE_COLS];
        let weights = self.weights.values::<i8>(self.weights_len);
        for panel in &self.panels {
            let w = &weights[panel.start..panel.start + panel.len];
            let tile_rows = self.isa.tile_rows(panel.vectors);
            for (i, rows) in begins.chunks(tile_rows).enumerate() {
                let tile = Tile { x, rows, groups, w, vectors: panel.vectors };
                let target = out.target(i * tile_rows, rows.len(), panel);
                self.tile(&tile, panel, &mut acc, target);
            }
        }
    }

    #[inline(always)]
    fn tile<P: Factor, Y: Element>(
        &self,
        tile: &Tile<'_, P>,
        panel: &Panel,
        acc: &mut Acc,
        target: Target<'_, Y>,
    ) {
        #[cfg(target_arch = "x86_64")]
        if let (Some(rounding), Isa::Avx512(isa)) = (&self.rounding, self.isa)
            && let Some(tile) = P::as_quads(tile)
        {
            let rounding = rounding.panel(panel.column);
            return avx512::quads(isa, tile, avx512::Sums::Rounded(rounding, target.of_i8()));
        }
        match &self.bias {
            Bias::Narrow(bias) => {
                P::multiply(self.isa, tile, acc);
                narrow(self.isa, &self.finish, acc, TILE_COLS, bias, panel.column, target);
            }
            Bias::Wide(bias) => {
                let acc = self.wide_sums(tile, acc);
                wide(self.isa, &self.finish, &acc, TILE_COLS, bias, panel.column, target);
            }
        }
    }

    /// Adds up pieces of the reduction that an `i32` holds.
    fn wide_sums<P: Factor>(&self, tile: &Tile<'_, P>, acc: &mut Acc) -> [i64; TILE_ROWS * TILE_COLS] {
        let mut sums = [0i64; TILE_ROWS * TILE_COLS];
        let columns = tile.vectors * self.isa.tile_shape().lanes;
        let (n_groups, len) = (tile.groups.offsets().len(), self.group.len());
        for first in (0..n_groups).step_by(self.group.k_exact() / len) {
            let range = first..n_groups.min(first + self.group.k_exact() / len);
            let w = &tile.w[range.start * len * columns..range.end * len * columns];
            P::multiply(self.isa, &Tile { groups: tile.groups.slice(range), w, ..*tile }, acc);
            let rows = sums.chunks_mut(TILE_COLS).zip(acc.chunks(TILE_COLS)).take(tile.rows.len());
            for (sums, acc) in rows {
                sums.iter_mut().zip(&acc[..columns]).for_each(|(sum, acc)| *sum += i64::from(*acc));
            }
        }
        sums
    }
}

vectorized! {
    fn copy_patches<X: Factor, P: Element>(
        layout: &Layout,
        x: &[X],
        rows: Range<usize>,
        pad: P,
        copy: &mut Vec<P>,
        begins: &mut Vec<usize>,
    ) {
        layout.copy_rows(x, rows, pad, copy, begins);
    }
}

vectorized! {
    /// Copies `x`, followed by what the last group reads beyond it.
    fn copy_rows<X: Factor, P: Element>(x: &[X], pad: P, copy: &mut Vec<P>) {
        copy.clear();
        copy.resize(x.len() + Group::LEN_MAX, pad);
        for (copy, x) in copy.iter_mut().zip(x) {
            *copy = P::truncate32(x.low());
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

    /// The tile, if it multiplies bytes in groups of four.
    fn as_quads<'t, 'a>(tile: &'t Tile<'a, Self>) -> Option<&'t Tile<'a, i8>>;

    fn with_scratch(f: impl FnOnce(&mut Scratch<Self>));
}

impl Factor for i8 {
    fn multiply(isa: Isa, tile: &Tile<'_, Self>, acc: &mut Acc) {
        isa.quads(tile, acc);
    }

    fn as_quads<'t, 'a>(tile: &'t Tile<'a, Self>) -> Option<&'t Tile<'a, i8>> {
        Some(tile)
    }

    fn with_scratch(f: impl FnOnce(&mut Scratch<Self>)) {
        thread_local! {
            static SCRATCH: RefCell<Scratch<i8>> = RefCell::default();
        }
        SCRATCH.with_borrow_mut(f);
    }
}

impl Factor for i16 {
    fn multiply(isa: Isa, tile: &Tile<'_, Self>, acc: &mut Acc) {
        isa.pairs(tile, acc);
    }

    fn as_quads<'t, 'a>(_: &'t Tile<'a, Self>) -> Option<&'t Tile<'a, i8>> {
        None
    }

    fn with_scratch(f: impl FnOnce(&mut Scratch<Self>)) {
        thread_local! {
            static SCRATCH: RefCell<Scratch<i16>> = RefCell::default();
        }
        SCRATCH.with_borrow_mut(f);
    }
}
