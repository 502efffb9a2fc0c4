//! Operators and operand types drawn from a seed: valid ones, or bent in some places to values that nobody expects.

use veracity_ops::{
    Add, ArgMax, AvgPool, Concat, Conv, ConvTranspose, DType, DimSpec, Gather, MatMul, MaxPool, Mul, Op, Pad,
    PadMode, QuantRow, Quantised, Reduce, ReduceKind, Requant, Reshape, Resize, ResizeCoordinates,
    ResizeRounding, Slice, Softmax, Table, TensorType, Transpose, Window,
};

/// Number of operators.
pub(crate) const N_OPS: usize = 20;
const TYPES: [DType; 4] = [DType::I8, DType::I16, DType::I32, DType::I64];

/// A stream of numbers (SplitMix64).
pub(crate) struct Draw {
    state: u64,
    /// One number in this many is bent; 0 for none.
    pub(crate) bent: usize,
    /// The largest size drawn.
    pub(crate) most: usize,
}

impl Draw {
    pub(crate) fn new(seed: u64, bent: usize) -> Self {
        Self { state: seed, bent, most: usize::MAX }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    pub(crate) fn pick<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())].clone()
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.below(2) == 1
    }

    fn bends(&mut self) -> bool {
        self.bent > 0 && self.below(self.bent) == 0
    }

    /// A value of a type; extremes are common.
    pub(crate) fn value(&mut self, dtype: DType) -> i64 {
        match self.below(5) {
            0 => dtype.min(),
            1 => dtype.max(),
            2 => self.below(7) as i64 - 3,
            _ => (self.next() as i64).rem_euclid(dtype.max()) * self.pick(&[1, -1]),
        }
    }

    /// A size in `lo..=hi`, or bent.
    pub(crate) fn size(&mut self, lo: usize, hi: usize) -> usize {
        let value = lo + self.below(hi + 1 - lo);
        if !self.bends() {
            return value;
        }
        let odd = [0, 1, 9, 255, 4096, 4097, 65_535, 65_536, 1 << 24, (1 << 31) - 1, 1 << 31, (1 << 32) - 1];
        let huge =
            [usize::MAX, usize::MAX - 1, usize::MAX / 2, usize::MAX / 2 + 1, 1 << 33, 1 << 48, 1 << 62];
        let odd = if self.flag() { self.pick(&odd) } else { self.pick(&huge) };
        odd.min(self.most)
    }

    fn int(&mut self, lo: i32, hi: i32) -> i32 {
        let value = lo + self.below((hi - lo) as usize + 1) as i32;
        let odd = [i32::MIN, i32::MIN + 1, -32_768, -129, -128, -1, 0, 1, 127, 128, 32_767, 32_768, i32::MAX];
        if self.bends() { self.pick(&odd) } else { value }
    }

    fn long(&mut self, lo: i64, hi: i64) -> i64 {
        let value = lo + self.below((hi - lo) as usize + 1) as i64;
        let odd = [i64::MIN, i64::MIN + 1, -1 << 40, -1, 0, 1, 1 << 40, i64::MAX - 1, i64::MAX];
        if self.bends() { self.pick(&odd) } else { value }
    }

    fn bits(&mut self, hi: u32) -> u32 {
        let value = self.below(hi as usize + 1) as u32;
        if self.bends() { self.pick(&[0, 31, 32, 62, 63, 64, 127, u32::MAX]) } else { value }
    }

    fn dtype(&mut self, usual: &[DType]) -> DType {
        if self.bends() { self.pick(&TYPES) } else { self.pick(usual) }
    }

    fn ty(&mut self, usual: &[DType], shape: &[usize]) -> TensorType {
        let mut shape: Vec<usize> = shape.iter().map(|&d| self.size(d, d)).collect();
        if self.bends() {
            shape.truncate(shape.len() / 2);
        }
        if self.bends() {
            let extra = self.size(0, 2);
            (0..self.below(9)).for_each(|_| shape.push(extra));
        }
        TensorType { dtype: self.dtype(usual), shape }
    }

    fn shape(&mut self, ranks: std::ops::RangeInclusive<usize>) -> Vec<usize> {
        let rank = ranks.start() + self.below(ranks.end() + 1 - ranks.start());
        (0..rank).map(|_| if self.below(12) == 0 { 0 } else { 1 + self.below(4) }).collect()
    }

    pub(crate) fn quantised(&mut self) -> Quantised {
        let dtype = self.dtype(&TYPES[..3]);
        let (lo, hi) = (self.int(-128, 0), self.int(0, 127));
        Quantised { dtype, zero: self.int(-128, 127), lo, hi }
    }

    fn conv(&mut self, groups: usize) -> Conv {
        Conv {
            strides: [self.size(1, 3), self.size(1, 3)],
            pads: [self.size(0, 2), self.size(0, 2), self.size(0, 2), self.size(0, 2)],
            dilations: [self.size(1, 3), self.size(1, 3)],
            groups: self.size(groups, groups),
            x_zero: self.int(-128, 127),
            acc: self.dtype(&TYPES[2..]),
        }
    }

    fn window(&mut self) -> Window {
        Window {
            kernel: [self.size(1, 3), self.size(1, 3)],
            strides: [self.size(1, 3), self.size(1, 3)],
            pads: [self.size(0, 1), self.size(0, 1), self.size(0, 1), self.size(0, 1)],
            dilations: [self.size(1, 2), self.size(1, 2)],
            ceil: self.flag(),
        }
    }

    fn linear_types(&mut self, acc: DType, x: &[usize], w: &[usize]) -> Vec<TensorType> {
        let mut types = vec![self.ty(&TYPES[..2], x), self.ty(&TYPES[..1], w)];
        if self.flag() {
            types.push(self.ty(&[acc], &w[..1]));
        }
        types
    }

    fn convolution(&mut self, is_transposed: bool) -> (Op, Vec<TensorType>) {
        let (groups, cg, og) = (1 + self.below(3), 1 + self.below(3), 1 + self.below(3));
        let conv = self.conv(groups);
        let x = [1 + self.below(6), 1 + self.below(6), groups * cg];
        let w = [groups * og, 1 + self.below(3), 1 + self.below(3), cg];
        let types = self.linear_types(conv.acc, &x, &w);
        let op = if is_transposed {
            let output_pads = [self.size(0, 1), self.size(0, 1)];
            Op::ConvTranspose(ConvTranspose { conv, output_pads })
        } else {
            Op::Conv(conv)
        };
        (op, types)
    }

    /// Operator `kind` and operand types that it takes, unless they are bent.
    pub(crate) fn case(&mut self, kind: usize) -> (Op, Vec<TensorType>) {
        let mut shape = self.shape(0..=4);
        let small = &TYPES[..3];
        match kind {
            0 => {
                let (m, k, n) = (self.below(4), 1 + self.below(9), 1 + self.below(5));
                let op = MatMul { x_zero: self.int(-128, 127), acc: self.dtype(&TYPES[2..]) };
                let types = self.linear_types(op.acc, &[m, k], &[n, k]);
                (Op::MatMul(op), types)
            }
            1 => self.convolution(false),
            2 => self.convolution(true),
            3 => {
                let channels = if self.flag() { 1 } else { shape.last().copied().unwrap_or(1) };
                let op = Requant { x_zero: self.int(-128, 127), y: self.quantised() };
                let mut types = vec![self.ty(&TYPES, &shape), self.ty(&TYPES[..1], &[channels])];
                if self.flag() {
                    types.push(self.ty(&TYPES[1..2], &[channels]));
                }
                (Op::Requant(op), types)
            }
            4 => {
                let wide = self.below(8) == 0;
                let (x, entries) = if wide { (DType::I16, 65_536) } else { (DType::I8, 256) };
                (Op::Table(Table), vec![self.ty(&[x], &shape), self.ty(&TYPES[..2], &[entries])])
            }
            5 | 6 => {
                let mut other = shape.split_off(self.below(shape.len() + 1));
                std::mem::swap(&mut shape, &mut other);
                let full = [other.as_slice(), &shape].concat();
                shape.iter_mut().for_each(|d| *d = if self.flag() { 1 } else { *d });
                let zeros = [self.int(-128, 127), self.int(-128, 127)];
                let (shift, y) = (self.bits(20), self.quantised());
                let op = if kind == 5 {
                    Op::Add(Add {
                        zeros,
                        muls: [self.int(-32_767, 32_767), self.int(-32_767, 32_767)],
                        shift,
                        y,
                    })
                } else {
                    Op::Mul(Mul { zeros, mul: self.int(1, 32_767), shift, y })
                };
                let mut types = vec![self.ty(&TYPES[..2], &full), self.ty(small, &shape)];
                if self.flag() {
                    types.reverse();
                }
                (op, types)
            }
            7 => {
                let op = QuantRow { axis: self.size(0, shape.len()), q: self.dtype(&TYPES[..2]) };
                (Op::QuantRow(op), vec![self.ty(&TYPES[2..3], &shape)])
            }
            8 => {
                let op = Softmax { shift: self.bits(8), one_bits: self.bits(16), y: self.quantised() };
                let entries = 1 + self.below(40);
                (Op::Softmax(op), vec![self.ty(small, &shape), self.ty(&TYPES[2..3], &[entries])])
            }
            9 | 10 => {
                let window = self.window();
                let x = [1 + self.below(6), 1 + self.below(6), self.below(4)];
                let types = vec![self.ty(small, &x)];
                if kind == 9 {
                    return (Op::MaxPool(MaxPool { window }), types);
                }
                let (x_zero, mul) = (self.int(-128, 127), self.int(1, 32_767));
                let count_pads = self.flag();
                let shift = self.bits(20);
                (Op::AvgPool(AvgPool { window, count_pads, x_zero, mul, shift, y: self.quantised() }), types)
            }
            11 => {
                let shape: Vec<usize> = self.shape(1..=4).iter().map(|d| *d.max(&1)).collect();
                let mut axes: Vec<usize> = (0..shape.len()).filter(|_| self.flag()).collect();
                if axes.is_empty() {
                    axes.push(0);
                }
                let axes = axes.into_iter().map(|a| self.size(a, a)).collect();
                let kind = self.pick(&[ReduceKind::Sum, ReduceKind::Mean, ReduceKind::Max]);
                let (x_zero, mul, shift) = (self.int(-128, 127), self.int(1, 99), self.bits(20));
                let op = Reduce { kind, axes, x_zero, mul, shift, y: self.quantised() };
                (Op::Reduce(op), vec![self.ty(small, &shape)])
            }
            12 => {
                let shape: Vec<usize> = self.shape(1..=4).iter().map(|d| *d.max(&1)).collect();
                let axis = self.below(shape.len());
                let op = ArgMax { axis: self.size(axis, axis), last: self.flag() };
                (Op::ArgMax(op), vec![self.ty(&TYPES, &shape)])
            }
            13 => {
                let mut dims = Vec::new();
                for (i, &d) in shape.iter().enumerate() {
                    dims.push(if self.flag() {
                        DimSpec::Fixed(self.size(d, d))
                    } else {
                        DimSpec::Input(self.size(i, i))
                    });
                }
                if let Some(last) = dims.last_mut().filter(|_| self.below(3) > 0) {
                    *last = DimSpec::Infer;
                }
                (0..self.below(3)).for_each(|_| dims.insert(0, DimSpec::Fixed(1)));
                (Op::Reshape(Reshape { dims }), vec![self.ty(&TYPES, &shape)])
            }
            14 => {
                let mut perm: Vec<usize> = (0..shape.len()).collect();
                for i in 0..perm.len() {
                    let j = self.below(perm.len());
                    perm.swap(i, j);
                }
                let perm = perm.into_iter().map(|a| self.size(a, a)).collect();
                (Op::Transpose(Transpose { perm }), vec![self.ty(&TYPES, &shape)])
            }
            15 => {
                let mut shape = self.shape(1..=4);
                let axis = self.below(shape.len());
                let op = Concat { axis: self.size(axis, axis) };
                let types = (0..self.size(1, 4).min(2000)).map(|_| {
                    shape[axis] = self.below(4);
                    self.ty(&TYPES[..1], &shape)
                });
                (Op::Concat(op), types.collect())
            }
            16 => {
                let shape = self.shape(1..=4);
                let axis = self.below(shape.len());
                let step = self.pick(&[-3, -2, -1, 1, 2, 3]);
                let op = Slice {
                    axis: self.size(axis, axis),
                    start: self.long(-5, 5),
                    end: self.long(-5, 5),
                    step: self.long(step, step),
                };
                (Op::Slice(op), vec![self.ty(&TYPES, &shape)])
            }
            17 => {
                let mode = match self.below(3) {
                    0 => PadMode::Constant(self.int(-128, 127)),
                    1 => PadMode::Edge,
                    _ => PadMode::Reflect,
                };
                let most =
                    |d: usize| if mode == PadMode::Reflect { d.saturating_sub(1) } else { 2 * d.min(1) };
                let begin = shape.iter().map(|&d| self.size(0, most(d))).collect();
                let end = shape.iter().map(|&d| self.size(0, most(d))).collect();
                (Op::Pad(Pad { mode, begin, end }), vec![self.ty(&TYPES, &shape)])
            }
            18 => {
                let shape = self.shape(1..=3);
                let axis = self.below(shape.len());
                let indices = self.shape(0..=2);
                let op = Gather { axis: self.size(axis, axis) };
                (Op::Gather(op), vec![self.ty(&TYPES, &shape), self.ty(&TYPES[2..3], &indices)])
            }
            _ => {
                let scales = shape.iter().map(|_| (self.size(1, 5), self.size(1, 5))).collect();
                let coordinates = self.pick(&[
                    ResizeCoordinates::Asymmetric,
                    ResizeCoordinates::HalfPixel,
                    ResizeCoordinates::AlignCorners,
                ]);
                let rounding = self.pick(&[
                    ResizeRounding::Floor,
                    ResizeRounding::Ceil,
                    ResizeRounding::PreferFloor,
                    ResizeRounding::PreferCeil,
                ]);
                (Op::Resize(Resize { scales, coordinates, rounding }), vec![self.ty(&TYPES, &shape)])
            }
        }
    }
}
