//! Convert ONNX models into exact integer graphs, deterministically, and measure what that costs in accuracy.
//!
//! The graph is a pure function of the source bytes, the samples, the options and [`CONVERTER`]: all arithmetic that
//! reaches it is IEEE 754 addition, multiplication, division and square root in a fixed order, and scales are measured
//! by running the model in exact fixed point, never in floats. The steps: read ONNX into a real-valued graph without
//! batch axis, channels last, with batch normalisation and clips folded; lower it to fixed point with per-row
//! quantisation, which needs no samples; and, if there are samples, run that on them to find each value's range and
//! lower the graph again with static scales.
//!
//! The accuracy report compares with the f32 original in rten. It is stored beside the model, not in it: f32 results
//! differ between machines, the model must not.

#![forbid(unsafe_code)]

mod bounds;
mod build;
mod calibrate;
#[cfg(feature = "reference")]
mod complete;
mod dynamic;
mod error;
mod fixed;
mod fold;
mod func;
mod import;
mod layout;
mod measure;
mod onnx;
mod pieces;
mod read;
mod read_linear;
mod read_movement;
mod read_ops;
mod read_pool;
mod read_quantised;
mod read_recurrent;
mod read_shape;
mod real;
#[cfg_attr(not(feature = "reference"), path = "no_reference.rs")]
mod reference;
mod report;
mod static_scales;
#[cfg(test)]
mod tests;

pub use error::{ImportError, MeasureError};
pub use import::{Activations, CONVERTER, Imported, Options, Progress, Samples, Scheme, import, parse_only};
pub use measure::measure;
pub use report::{OutputAccuracy, Report};
