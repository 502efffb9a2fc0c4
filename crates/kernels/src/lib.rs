//! Compute the operators of `veracity-ops` fast, bit for bit, over plain slices.
//!
//! This is the only crate with `unsafe`. An [`Isa`] value proves that the processor has its instructions; most kernels
//! are portable loops that the compiler vectorises for the chosen one, and only the matrix tiles are written with
//! intrinsics, in `avx2.rs` and `avx512.rs`, mirrored by `scalar.rs`. No instruction is used that saturates between
//! steps or rounds differently between processors.
//!
//! Kernels trust shapes, types and magnitudes: `Op::infer` and the model's accumulator bounds were checked before.
//! They panic, and never read or write outside their slices, if lengths disagree. Images are `[h, w, c]`; several
//! samples lie one after the other, and kernels that take `rows` or `lines` count over all of them.

#![cfg_attr(
    not(target_arch = "x86_64"),
    expect(unused_variables, reason = "only x86-64 has more than one path")
)]
#![expect(
    clippy::cast_possible_truncation,
    reason = "values are clamped to their type before they are narrowed"
)]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod buffer;
mod depthwise;
mod elementwise;
mod error;
mod isa;
mod linear;
mod movement;
mod packing;
mod patches;
mod pool;
mod reduce;
mod requant;
mod row;
mod scalar;
mod tile;

pub use buffer::{Buffer, Element, View, ViewMut};
pub use depthwise::Depthwise;
pub use elementwise::{Broadcast, add, mul, table};
pub use error::{IsaError, ValueError};
pub use isa::Isa;
#[cfg(target_arch = "x86_64")]
pub use isa::{Avx2, Avx512};
pub use linear::{Columns, Linear, LinearSpec, Rows};
pub use movement::{AxisMap, concat_part, gather, pad_maps, resize_maps, select, slice, transpose};
pub use patches::{Layout, Patches};
pub use pool::{Pooled, avg_pool, max_pool};
pub use reduce::{arg_max, reduce};
pub use requant::Requantiser;
pub use row::{quant_row, softmax};

/// Evaluates an expression with the values of a [`View`] in their own type.
macro_rules! with_element {
    ($view:expr, |$values:ident| $body:expr) => {
        match $view {
            $crate::View::I8($values) => $body,
            $crate::View::I16($values) => $body,
            $crate::View::I32($values) => $body,
            $crate::View::I64($values) => $body,
        }
    };
}

/// Evaluates an expression with the values of a [`ViewMut`] in their own type.
macro_rules! with_element_mut {
    ($view:expr, |$values:ident| $body:expr) => {
        match $view {
            $crate::ViewMut::I8($values) => $body,
            $crate::ViewMut::I16($values) => $body,
            $crate::ViewMut::I32($values) => $body,
            $crate::ViewMut::I64($values) => $body,
        }
    };
}

pub(crate) use isa::vectorized;
pub(crate) use with_element;
pub(crate) use with_element_mut;
