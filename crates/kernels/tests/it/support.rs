//! Random operands and comparison with the reference.

use veracity_kernels::{Buffer, Isa, View, ViewMut};
use veracity_ops::{DType, Op, Quantised, Tensor};

/// xorshift64*, seeded.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub(crate) fn within(&mut self, lo: i64, hi: i64) -> i64 {
        let span = u64::try_from(hi - lo).unwrap() + 1;
        lo + i64::try_from((self.next() >> 16) % span).unwrap()
    }

    pub(crate) fn size(&mut self, lo: usize, hi: usize) -> usize {
        usize::try_from(self.within(i64::try_from(lo).unwrap(), i64::try_from(hi).unwrap())).unwrap()
    }

    pub(crate) fn pick<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.size(0, values.len() - 1)]
    }

    /// A tensor of random values, or now and then of one extreme.
    pub(crate) fn tensor(&mut self, dtype: DType, shape: &[usize]) -> Tensor {
        let (lo, hi) = (dtype.min().max(-(1 << 46)), dtype.max().min(1 << 46));
        let (lo, hi) = self.pick(&[(lo, hi), (lo, hi), (lo, hi), (lo, lo), (hi, hi)]);
        self.tensor_within(dtype, shape, lo, hi)
    }

    pub(crate) fn tensor_within(&mut self, dtype: DType, shape: &[usize], lo: i64, hi: i64) -> Tensor {
        let values = (0..shape.iter().product()).map(|_| self.within(lo, hi)).collect();
        Tensor::new(dtype, shape.to_vec(), values).unwrap()
    }

    pub(crate) fn zero(&mut self, dtype: DType) -> i32 {
        let zero = self.pick(&[0, 1, -7, dtype.min(), dtype.max()]);
        i32::try_from(zero).unwrap()
    }

    pub(crate) fn quantised(&mut self) -> Quantised {
        let dtype = self.pick(&[DType::I8, DType::I8, DType::I16, DType::I32]);
        let zero = self.zero(dtype);
        let full = Quantised::full(dtype, zero);
        if self.pick(&[true, false]) { full } else { Quantised { lo: full.lo.max(zero), ..full } }
    }
}

/// Memory holding the values of a tensor.
pub(crate) fn buffer(x: &Tensor) -> Buffer {
    let mut buffer = Buffer::new(x.values().len() * x.dtype().size());
    fill(buffer.view_mut(x.dtype(), x.values().len()), x.values());
    buffer
}

pub(crate) fn fill(view: ViewMut<'_>, values: &[i64]) {
    match view {
        ViewMut::I8(y) => y.iter_mut().zip(values).for_each(|(y, v)| *y = i8::try_from(*v).unwrap()),
        ViewMut::I16(y) => y.iter_mut().zip(values).for_each(|(y, v)| *y = i16::try_from(*v).unwrap()),
        ViewMut::I32(y) => y.iter_mut().zip(values).for_each(|(y, v)| *y = i32::try_from(*v).unwrap()),
        ViewMut::I64(y) => y.copy_from_slice(values),
    }
}

pub(crate) fn values(view: View<'_>) -> Vec<i64> {
    (0..view.len()).map(|i| view.get(i)).collect()
}

pub(crate) fn i8s(x: &Tensor) -> Vec<i8> {
    x.values().iter().map(|v| i8::try_from(*v).unwrap()).collect()
}

pub(crate) fn i32s(x: &Tensor) -> Vec<i32> {
    x.values().iter().map(|v| i32::try_from(*v).unwrap()).collect()
}

/// Runs `op` by reference and `kernel` on each instruction set; skips operands that the operator refuses.
/// Returns whether it was compared.
pub(crate) fn compare(op: &Op, inputs: &[&Tensor], kernel: impl Fn(Isa, &[View<'_>], ViewMut<'_>)) -> bool {
    let Ok(expected) = op.eval(inputs) else { return false };
    let buffers: Vec<Buffer> = inputs.iter().map(|x| buffer(x)).collect();
    let views: Vec<View<'_>> =
        inputs.iter().zip(&buffers).map(|(x, b)| b.view(x.dtype(), x.values().len())).collect();
    for isa in Isa::available() {
        let (dtype, len) = (expected[0].dtype(), expected[0].values().len());
        let mut y = Buffer::new(len * dtype.size());
        kernel(isa, &views, y.view_mut(dtype, len));
        let shapes: Vec<_> = inputs.iter().map(|x| x.ty()).collect();
        assert_eq!(values(y.view(dtype, len)), expected[0].values(), "{isa} {op:?} {shapes:?}");
    }
    true
}
