//! Memory that holds elements of any type, and typed views of it.

use veracity_ops::DType;

/// An element type of tensors: `i8`, `i16`, `i32` or `i64`.
pub trait Element: Copy + Default + Ord + Send + Sync + std::fmt::Debug + sealed::Sealed + 'static {
    /// The type's name in the format.
    const DTYPE: DType;
    /// The value.
    fn widen(self) -> i64;
    /// The low 32 bits of the value: all of it, for types that fit.
    fn low(self) -> i32;
    /// Keeps the low bits.
    fn truncate(value: i64) -> Self;
    /// Keeps the low bits, or extends the sign.
    fn truncate32(value: i32) -> Self;
    /// A view of `values`.
    fn view(values: &[Self]) -> View<'_>;
    /// A view of `values`, to be written.
    fn view_mut(values: &mut [Self]) -> ViewMut<'_>;
    /// The values of `view`, if they are of this type.
    fn of(view: View<'_>) -> Option<&[Self]>;
    /// The values of `view`, if they are of this type.
    fn of_mut(view: ViewMut<'_>) -> Option<&mut [Self]>;
}

mod sealed {
    #[expect(unnameable_types, reason = "only this crate may implement it")]
    pub trait Sealed {}
}

macro_rules! elements {
    ($($ty:ty, $variant:ident;)*) => {
        /// Values of one element type.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[expect(missing_docs, reason = "each variant is named after its element type")]
        pub enum View<'a> { $($variant(&'a [$ty]),)* }

        /// Values of one element type, to be written.
        #[derive(Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "each variant is named after its element type")]
        pub enum ViewMut<'a> { $($variant(&'a mut [$ty]),)* }

        impl<'a> View<'a> {
            /// Element type.
            #[must_use]
            pub fn dtype(&self) -> DType {
                match self { $(Self::$variant(_) => DType::$variant,)* }
            }

            /// Number of values.
            #[must_use]
            pub fn len(&self) -> usize {
                match self { $(Self::$variant(v) => v.len(),)* }
            }

            /// Whether there are no values.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// The values `range`.
            #[must_use]
            pub fn slice(self, range: std::ops::Range<usize>) -> View<'a> {
                match self { $(Self::$variant(v) => View::$variant(&v[range]),)* }
            }

            /// The value at `index`, widened.
            #[must_use]
            pub fn get(&self, index: usize) -> i64 {
                match self { $(Self::$variant(v) => i64::from(v[index]),)* }
            }

            /// Calls `f` with the canonical bytes, little-endian and row-major, in order and in pieces.
            pub fn for_bytes(&self, mut f: impl FnMut(&[u8])) {
                match self { $(Self::$variant(v) => for_bytes(v, |x| x.to_le_bytes(), &mut f),)* }
            }
        }

        impl<'a> ViewMut<'a> {
            /// Element type.
            #[must_use]
            pub fn dtype(&self) -> DType {
                match self { $(Self::$variant(_) => DType::$variant,)* }
            }

            /// Number of values.
            #[must_use]
            pub fn len(&self) -> usize {
                match self { $(Self::$variant(v) => v.len(),)* }
            }

            /// Whether there are no values.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// Splits the values into pieces of `len`; the last may be shorter.
            #[must_use]
            pub fn chunks(self, len: usize) -> Vec<ViewMut<'a>> {
                match self { $(Self::$variant(v) => v.chunks_mut(len.max(1)).map(ViewMut::$variant).collect(),)* }
            }

            /// The same values, borrowed again.
            pub fn reborrow(&mut self) -> ViewMut<'_> {
                match self { $(Self::$variant(v) => ViewMut::$variant(v),)* }
            }
        }

        impl Buffer {
            /// The first `len` values of type `dtype`.
            #[must_use]
            pub fn view(&self, dtype: DType, len: usize) -> View<'_> {
                match dtype { $(DType::$variant => View::$variant(self.values::<$ty>(len)),)* }
            }

            /// The first `len` values of type `dtype`.
            pub fn view_mut(&mut self, dtype: DType, len: usize) -> ViewMut<'_> {
                match dtype { $(DType::$variant => ViewMut::$variant(self.values_mut::<$ty>(len)),)* }
            }
        }

        $(
            impl sealed::Sealed for $ty {}
            impl Element for $ty {
                const DTYPE: DType = DType::$variant;
                #[inline(always)]
                fn widen(self) -> i64 { i64::from(self) }
                #[inline(always)]
                fn low(self) -> i32 { self as i32 }
                #[inline(always)]
                fn truncate(value: i64) -> Self { value as $ty }
                #[inline(always)]
                fn truncate32(value: i32) -> Self { value as $ty }
                fn view(values: &[Self]) -> View<'_> { View::$variant(values) }
                fn view_mut(values: &mut [Self]) -> ViewMut<'_> { ViewMut::$variant(values) }
                fn of(view: View<'_>) -> Option<&[Self]> {
                    if let View::$variant(v) = view { Some(v) } else { None }
                }
                fn of_mut(view: ViewMut<'_>) -> Option<&mut [Self]> {
                    if let ViewMut::$variant(v) = view { Some(v) } else { None }
                }
            }
        )*
    };
}

elements! { i8, I8; i16, I16; i32, I32; i64, I64; }

fn for_bytes<T: Element, const N: usize>(
    values: &[T],
    bytes: impl Fn(T) -> [u8; N],
    f: &mut impl FnMut(&[u8]),
) {
    if cfg!(target_endian = "little") {
        // SAFETY: elements are integers, so all their bytes are initialised, and `u8` has no alignment.
        return f(unsafe {
            std::slice::from_raw_parts(values.as_ptr().cast(), std::mem::size_of_val(values))
        });
    }
    values.iter().for_each(|v| f(&bytes(*v)));
}

#[derive(Debug, Clone, Copy, Default)]
#[repr(C, align(64))]
struct Line([u64; 8]);

const LINE_BYTES: usize = size_of::<Line>();

/// Zero-initialised memory aligned to cache lines.
#[derive(Debug, Clone, Default)]
pub struct Buffer {
    lines: Vec<Line>,
}

impl Buffer {
    /// At least `bytes` bytes of zeros.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self { lines: vec![Line::default(); bytes.div_ceil(LINE_BYTES)] }
    }

    /// Size.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.lines.len() * LINE_BYTES
    }

    /// Makes room for at least `bytes` bytes.
    pub fn grow(&mut self, bytes: usize) {
        if bytes > self.size_bytes() {
            self.lines.resize(bytes.div_ceil(LINE_BYTES), Line::default());
        }
    }

    /// The first `len` values, read as `T`.
    ///
    /// # Panics
    /// If the buffer is smaller.
    #[must_use]
    pub fn values<T: Element>(&self, len: usize) -> &[T] {
        assert!(
            len <= self.size_bytes() / size_of::<T>(),
            "view of {len} elements is larger than its buffer"
        );
        // SAFETY: the memory is initialised, `len` values fit in it, its alignment of 64 is enough, and every bit
        // pattern is a value of `T`, which is an integer because `Element` is sealed.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), len) }
    }

    /// The first `len` values, read as `T`.
    ///
    /// # Panics
    /// If the buffer is smaller.
    pub fn values_mut<T: Element>(&mut self, len: usize) -> &mut [T] {
        assert!(
            len <= self.size_bytes() / size_of::<T>(),
            "view of {len} elements is larger than its buffer"
        );
        // SAFETY: as in `values`, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), len) }
    }
}
