//! Constants of a product as its kernels take them: weights in panels, folded biases, and how sums are finished.

use veracity_ops::DType;

#[cfg(target_arch = "x86_64")]
use crate::avx512;
use crate::{Element, Isa, LinearSpec, Requantiser, requant::Finish, tile::Group};

/// Some columns of the weights.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Panel {
    pub(crate) column: usize,
    pub(crate) columns: usize,
    pub(crate) vectors: usize,
    pub(crate) start: usize,
    pub(crate) len: usize,
}

#[derive(Debug, Clone)]
pub(crate) enum Bias {
    Narrow(Vec<i32>),
    Wide(Vec<i64>),
}

/// The bias of each channel with all constant terms, and how to finish its sums.
/// `magnitude` is the sum of `|w|` and `sum` the sum of `w` of a channel.
pub(crate) fn constants(
    spec: &LinearSpec<'_>,
    raised_by: i64,
    sums: impl Fn(usize) -> (i64, i64),
) -> (Bias, Finish) {
    let zero = i64::from(spec.x_zero);
    let spread = (spec.x.max() - zero).max(zero - spec.x.min());
    let mut worst = 0;
    let mut bias = vec![0i64; spec.n];
    for (channel, folded) in bias.iter_mut().enumerate() {
        let (sum, magnitude) = sums(channel);
        let own = spec.bias.map_or(0, |b| b[channel]);
        *folded = own.wrapping_sub((raised_by + zero).wrapping_mul(sum));
        worst = worst.max(own.saturating_abs().saturating_add(magnitude.saturating_mul(spread)));
    }
    let finish = spec.requant.map_or(Finish::Accumulate, |r| r.finish(spec, worst));
    if let (Finish::Shift { shift, y }, Some(requant)) = (&finish, spec.requant) {
        let channel = |c: usize| if requant.shift.len() == 1 { 0 } else { c };
        for (c, (bias, shift)) in bias.iter_mut().zip(shift).enumerate() {
            let zero = i64::from(y.zero) << shift;
            *bias = bias.wrapping_add(requant.offset(channel(c))).wrapping_add(zero);
        }
    }
    let bias = match spec.acc {
        DType::I64 => Bias::Wide(bias),
        DType::I8 | DType::I16 | DType::I32 => Bias::Narrow(bias.into_iter().map(i32::truncate).collect()),
    };
    (bias, finish)
}

impl Requantiser {
    /// How to finish sums of at most `worst`.
    fn finish(&self, spec: &LinearSpec<'_>, worst: i64) -> Finish {
        let channel = |c: usize| if self.shift.len() == 1 { 0 } else { c };
        let shift: Vec<u32> = (0..spec.n).map(|c| self.shift[channel(c)]).collect();
        let is_pure_shift = self.mul.iter().all(|m| *m == 1) && self.shift.iter().all(|s| *s < 32);
        if spec.acc == DType::I32 && is_pure_shift {
            let added = |c: usize| self.offset(c).abs() + (i64::from(self.y.zero).abs() << self.shift[c]);
            let most = (0..self.shift.len()).map(added).max().unwrap_or(0).saturating_add(worst);
            if most <= i64::from(i32::MAX) {
                return Finish::Shift { shift, y: self.y };
            }
        }
        let mul = (0..spec.n).map(|c| self.mul[channel(c)]).collect();
        let offset = (0..spec.n).map(|c| self.offset(channel(c))).collect();
        Finish::Scale { mul, offset, shift, y: self.y }
    }
}

/// The constants of fused rounding, if outputs are `i8` by a shift alone.
#[cfg(target_arch = "x86_64")]
pub(crate) fn rounding(group: Group, bias: &Bias, finish: &Finish) -> Option<avx512::Rounding> {
    let (Group::Quads, Bias::Narrow(bias), Finish::Shift { shift, y }) = (group, bias, finish) else {
        return None;
    };
    (y.dtype == DType::I8).then(|| avx512::Rounding::new(bias, shift, y))
}

/// Full panels, then one of as few vectors as hold the rest.
pub(crate) fn panels(isa: Isa, n: usize, k_packed: usize) -> Vec<Panel> {
    let shape = isa.tile_shape();
    let width = shape.lanes * shape.vectors;
    let panel = |column: usize| {
        let columns = (n - column).min(width);
        let vectors = columns.div_ceil(shape.lanes);
        // All panels before are full, so nothing before is padding.
        let (start, len) = (column * k_packed, vectors * shape.lanes * k_packed);
        Panel { column, columns, vectors, start, len }
    };
    (0..n).step_by(width).map(panel).collect()
}

pub(crate) fn pack(spec: &LinearSpec<'_>, group: Group, panels: &[Panel], packed: &mut [i8]) {
    for panel in panels {
        let lanes = panel.len.checked_div(packed_k(spec, group)).unwrap_or(0);
        for column in 0..panel.columns {
            let row = &spec.weights[(panel.column + column) * spec.k..][..spec.k];
            let groups = row.chunks(spec.run.max(1)).flat_map(|run| run.chunks(group.len()));
            for (g, weights) in groups.enumerate() {
                let at = panel.start + (g * lanes + group.lane(column, panel.vectors)) * group.len();
                packed[at..at + weights.len()].copy_from_slice(weights);
            }
        }
    }
}

/// Length of the reduction with each run rounded up to whole groups.
pub(crate) fn packed_k(spec: &LinearSpec<'_>, group: Group) -> usize {
    spec.k.checked_div(spec.run).unwrap_or(0) * spec.run.next_multiple_of(group.len())
}
