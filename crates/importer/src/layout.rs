//! Where the axes of a value lie in memory, and how a value gets another layout or shape.

use veracity_ops::{DimSpec, Op, Reshape, Transpose};

use crate::{
    ImportError,
    read::{Act, Reader, Site},
    real::{Extent, RealConstant, RealOp},
};

/// How the axes of a sample lie in memory, against ONNX's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Layout {
    /// As in ONNX.
    Plain,
    /// `[spatial.., channels]` for ONNX's `[channels, spatial..]`.
    ChannelsLast,
    /// One axis holding `[h, w, c]` flattened, for ONNX's flattened `[c, h, w]`.
    FlatChannelsLast([usize; 3]),
}

/// Extents of the axes of a physical layout.
pub(crate) fn physical(shape: &[Extent], layout: &Layout) -> Vec<Extent> {
    match layout {
        Layout::Plain | Layout::FlatChannelsLast(_) => shape.to_vec(),
        Layout::ChannelsLast => shape.iter().skip(1).chain(shape.first()).copied().collect(),
    }
}

impl Act {
    /// Physical axis of ONNX's sample axis `axis`.
    pub(crate) fn physical_axis(&self, axis: usize) -> usize {
        match (&self.layout, axis) {
            (Layout::Plain | Layout::FlatChannelsLast(_), axis) => axis,
            (Layout::ChannelsLast, 0) => self.shape.len() - 1,
            (Layout::ChannelsLast, axis) => axis - 1,
        }
    }

    /// Number of values of a sample, if known.
    pub(crate) fn len(&self) -> Option<usize> {
        self.shape.iter().try_fold(1usize, |n, d| n.checked_mul(d.fixed()?))
    }
}

impl Reader {
    /// The values of `act`, which is in ONNX's order, under another shape.
    pub(crate) fn reshape(
        &mut self,
        site: Site<'_>,
        act: &Act,
        shape: Vec<Extent>,
        layout: Layout,
    ) -> Result<Act, ImportError> {
        let source = &self.graph.node(act.node).shape;
        let spec = |d: Extent| match d {
            Extent::Fixed(n) => DimSpec::Fixed(n),
            Extent::Symbol(_) => source.iter().position(|s| *s == d).map_or(DimSpec::Infer, DimSpec::Input),
            Extent::Derived => DimSpec::Infer,
        };
        let dims: Vec<DimSpec> = physical(&shape, &layout).into_iter().map(spec).collect();
        if dims.iter().filter(|d| **d == DimSpec::Infer).count() > 1 {
            return Err(
                site.refuse("more than one extent of the new shape is unknown; export with fixed extents")
            );
        }
        Ok(self.push(&site.name(), RealOp::Move(Op::Reshape(Reshape { dims })), &[act], shape, layout))
    }

    /// `act` with its axes named anew, in row-major order of what lies in memory: each axis of the result is one of
    /// `act`, or new with extent 1. Axes that are left out have extent 1.
    pub(crate) fn regroup(&mut self, name: &str, act: &Act, axes: &[Option<usize>], layout: Layout) -> Act {
        let shape: Vec<Extent> = axes.iter().map(|a| a.map_or(Extent::Fixed(1), |a| act.shape[a])).collect();
        let spec = |a: &Option<usize>| match *a {
            None => DimSpec::Fixed(1),
            Some(a) => act.shape[a].fixed().map_or(DimSpec::Input(act.physical_axis(a)), DimSpec::Fixed),
        };
        let mut dims: Vec<DimSpec> = axes.iter().map(spec).collect();
        if layout == Layout::ChannelsLast {
            dims.rotate_left(1);
        }
        self.push(name, RealOp::Move(Op::Reshape(Reshape { dims })), &[act], shape, layout)
    }

    /// `act` in another layout that puts the values in the same order.
    fn relabel(&mut self, name: &str, act: &Act, layout: Layout) -> Act {
        let axes: Vec<Option<usize>> = (0..act.shape.len()).map(Some).collect();
        self.regroup(name, act, &axes, layout)
    }

    /// As [`Reader::reshape`], for shapes whose extents are all known.
    fn reshape_fixed(&mut self, name: &str, act: &Act, shape: Vec<Extent>, layout: Layout) -> Act {
        let dims = physical(&shape, &layout)
            .iter()
            .map(|d| d.fixed().map_or(DimSpec::Infer, DimSpec::Fixed))
            .collect();
        self.push(name, RealOp::Move(Op::Reshape(Reshape { dims })), &[act], shape, layout)
    }

    fn permute(&mut self, name: &str, act: &Act, perm: Vec<usize>, layout: Layout) -> Act {
        let op = RealOp::Move(Op::Transpose(Transpose { perm }));
        self.push(name, op, &[act], act.shape.clone(), layout)
    }

    /// Whether changing the layout moves nothing: one channel, or one position.
    fn is_trivial(act: &Act) -> bool {
        let one = |d: &Extent| *d == Extent::Fixed(1);
        act.shape.first().is_none_or(one) || act.shape.iter().skip(1).all(one)
    }

    /// The value in ONNX's axis order.
    pub(crate) fn plain(&mut self, act: Act, name: &str) -> Act {
        match act.layout {
            Layout::Plain => act,
            Layout::ChannelsLast if Self::is_trivial(&act) => self.relabel(name, &act, Layout::Plain),
            Layout::ChannelsLast => {
                let rank = act.shape.len();
                let perm = std::iter::once(rank - 1).chain(0..rank - 1).collect();
                self.permute(name, &act, perm, Layout::Plain)
            }
            Layout::FlatChannelsLast([h, w, c]) => {
                let dims = [c, h, w].map(Extent::Fixed).to_vec();
                let split = self.reshape_fixed(name, &act, dims, Layout::ChannelsLast);
                let plain = self.plain(split, name);
                self.reshape_fixed(name, &plain, act.shape, Layout::Plain)
            }
        }
    }

    /// The value with channels last; `act` has at least two sample axes.
    pub(crate) fn channels_last(&mut self, act: Act, name: &str) -> Act {
        match act.layout {
            Layout::ChannelsLast => act,
            Layout::Plain if Self::is_trivial(&act) => self.relabel(name, &act, Layout::ChannelsLast),
            Layout::Plain => {
                let perm = (1..act.shape.len()).chain([0]).collect();
                self.permute(name, &act, perm, Layout::ChannelsLast)
            }
            Layout::FlatChannelsLast(_) => {
                let plain = self.plain(act, name);
                self.channels_last(plain, name)
            }
        }
    }

    /// Brings operands of one rank to one layout.
    pub(crate) fn same_layout(&mut self, acts: Vec<Act>, name: &str) -> Vec<Act> {
        let channels_last = acts.iter().any(|a| a.layout == Layout::ChannelsLast);
        let same_flat = acts.windows(2).all(|w| w[0].layout == w[1].layout && w[0].shape == w[1].shape);
        if same_flat {
            return acts;
        }
        let convert = |act| if channels_last { self.channels_last(act, name) } else { self.plain(act, name) };
        acts.into_iter().map(convert).collect()
    }

    /// A constant operand of an elementwise operator in the axis order of `act`, batch axis removed. It must not have a
    /// larger extent than `act`.
    pub(crate) fn broadcast_constant(
        &self,
        site: Site<'_>,
        act: &Act,
        shape: &[usize],
        values: Vec<f32>,
    ) -> Result<RealConstant, ImportError> {
        let (constant, grown) = self.growing_constant(site, act, shape, values)?;
        if grown != act.shape {
            return Err(site.refuse("a constant operand does not broadcast to the value's shape"));
        }
        Ok(constant)
    }

    /// As [`Reader::broadcast_constant`], with the extents of the result: those of `act` that are 1 may grow to the
    /// constant's.
    pub(crate) fn growing_constant(
        &self,
        site: Site<'_>,
        act: &Act,
        shape: &[usize],
        values: Vec<f32>,
    ) -> Result<(RealConstant, Vec<Extent>), ImportError> {
        let rank = act.shape.len();
        let Some(missing) = (rank + 1).checked_sub(shape.len()) else {
            return Err(site.refuse("a constant operand has more axes than the value"));
        };
        let full: Vec<usize> = std::iter::repeat_n(1, missing).chain(shape.iter().copied()).collect();
        if full[0] != 1 {
            return Err(site.refuse("a constant operand differs along the batch axis"));
        }
        let sample = full[1..].to_vec();
        let meet = |(&d, &e): (&usize, &Extent)| match e.fixed() {
            Some(1) => Some(Extent::Fixed(d)),
            fixed => (d == 1 || fixed == Some(d)).then_some(e),
        };
        let grown: Option<Vec<Extent>> = sample.iter().zip(&act.shape).map(meet).collect();
        let grown =
            grown.ok_or_else(|| site.refuse("a constant operand does not broadcast to the value's shape"))?;
        let constant = match &act.layout {
            Layout::Plain => RealConstant { shape: sample, values },
            Layout::ChannelsLast => channels_last_constant(&sample, &values),
            Layout::FlatChannelsLast([h, w, c]) if sample == [h * w * c] => {
                let last = channels_last_constant(&[*c, *h, *w], &values);
                RealConstant { shape: sample, values: last.values }
            }
            Layout::FlatChannelsLast(_) => RealConstant { shape: sample, values },
        };
        Ok((constant, grown))
    }
}

/// `[c, spatial..]` values in `[spatial.., c]` order.
pub(crate) fn channels_last_constant(shape: &[usize], values: &[f32]) -> RealConstant {
    let c = shape.first().copied().unwrap_or(1);
    let positions = values.len() / c.max(1);
    let reordered = (0..positions).flat_map(|p| (0..c).map(move |k| values[k * positions + p])).collect();
    let shape = shape.iter().skip(1).copied().chain([c]).collect();
    RealConstant { shape, values: reordered }
}
