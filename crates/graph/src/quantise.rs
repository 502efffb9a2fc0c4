//! The border between a request's numbers and the graph's integers: the only floats of the format.

#![expect(
    clippy::float_arithmetic,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "docs/spec/model.md section 4 defines each of these IEEE 754 operations exactly"
)]

use std::collections::{BTreeMap, BTreeSet};

use veracity_ops::{DType, TensorType};

use crate::{Array, ArrayData, Batch, BatchError, Decoding, Dim, Elem, Encoding, Graph, Input, IntData};

/// `clamp(round_ties_even(x * inv_scale) + zero)` for a finite `x`: the definition.
fn quantise(x: f32, inv_scale: f32, zero: i32, lo: i64, hi: i64) -> i64 {
    // A product beyond 2^62 in magnitude lies outside every element type, so clamping it first changes nothing; the
    // cast is then exact.
    const LIMIT: f32 = 4.6e18;
    let rounded = (x * inv_scale).round_ties_even().clamp(-LIMIT, LIMIT) as i64;
    rounded.saturating_add(i64::from(zero)).clamp(lo, hi)
}

/// The same for `i8` and `i16`, in steps that every processor does on many values at once. The product is clamped before
/// it is rounded, to whole numbers, so the order does not matter. Adding 1.5 * 2^23 rounds a number below 2^22 to an
/// integer, ties to even, and leaves that integer in the low bits of the sum.
fn quantise_narrow(x: f32, inv_scale: f32, zero: i32, lo: i16, hi: i16) -> i32 {
    const MAGIC: f32 = 12_582_912.0;
    let limit = |v: i16| i32::from(v).saturating_sub(zero) as f32;
    // Comparisons in this form are one instruction each.
    let product = x * inv_scale;
    let product = if product > limit(lo) { product } else { limit(lo) };
    let product = if product < limit(hi) { product } else { limit(hi) };
    (product + MAGIC).to_bits().cast_signed().wrapping_sub(MAGIC.to_bits().cast_signed().wrapping_sub(zero))
}

/// Position of the first NaN or infinity.
fn first_not_finite(x: &[f32]) -> Option<usize> {
    const EXPONENT: u32 = 0x7f80_0000;
    let any = x.iter().fold(false, |any, v| any | (v.to_bits() & EXPONENT == EXPONENT));
    if any { x.iter().position(|v| !v.is_finite()) } else { None }
}

fn dequantise(value: i64, zero: i32, scale: f32) -> f32 {
    value.saturating_sub(i64::from(zero)) as f32 * scale
}

fn quantise_all(name: &str, x: &[f32], encoding: (DType, f32, i32)) -> Result<IntData, BatchError> {
    if let Some(position) = first_not_finite(x) {
        return Err(BatchError::NotFinite { name: name.to_owned(), position });
    }
    let (dtype, inv_scale, zero) = encoding;
    let one = |v: &f32| quantise(*v, inv_scale, zero, dtype.min(), dtype.max());
    Ok(match dtype {
        DType::I8 => {
            IntData::I8(x.iter().map(|v| quantise_narrow(*v, inv_scale, zero, -128, 127) as i8).collect())
        }
        DType::I16 => IntData::I16(
            x.iter().map(|v| quantise_narrow(*v, inv_scale, zero, -32_768, 32_767) as i16).collect(),
        ),
        DType::I32 | DType::I64 => IntData::I32(x.iter().map(|v| one(v) as i32).collect()),
    })
}

fn check_all(name: &str, values: impl Iterator<Item = i64>, lo: i32, hi: i32) -> Result<IntData, BatchError> {
    let (lo, hi) = (i64::from(lo), i64::from(hi));
    let check = |(position, value): (usize, i64)| {
        if (lo..=hi).contains(&value) {
            Ok(value as i32)
        } else {
            Err(BatchError::Range { name: name.to_owned(), position, value, lo, hi })
        }
    };
    values.enumerate().map(check).collect::<Result<_, _>>().map(IntData::I32)
}

impl Input {
    fn encode(&self, array: &Array) -> Result<Batch, BatchError> {
        let type_error =
            || BatchError::Type { name: self.name.clone(), expected: self.elem, found: array.elem() };
        if array.elem() != self.elem {
            return Err(type_error());
        }
        let data = match (&array.data, self.encoding) {
            (ArrayData::F32(x), Encoding::Quantise { dtype, inv_scale, zero }) => {
                quantise_all(&self.name, x, (dtype, inv_scale.get(), zero))?
            }
            (ArrayData::I32(x), Encoding::Integer { lo, hi }) => {
                check_all(&self.name, x.iter().map(|&v| i64::from(v)), lo, hi)?
            }
            (ArrayData::I64(x), Encoding::Integer { lo, hi }) => {
                check_all(&self.name, x.iter().copied(), lo, hi)?
            }
            (ArrayData::F32(_), Encoding::Integer { .. })
            | (ArrayData::I32(_) | ArrayData::I64(_), Encoding::Quantise { .. }) => return Err(type_error()),
        };
        let n = array.shape.first().copied().unwrap_or(0);
        Ok(Batch { n, shape: array.shape.iter().skip(1).copied().collect(), data })
    }
}

impl Graph {
    /// The request's tensors as integers, in the order of [`Graph::inputs`].
    ///
    /// All inputs have the same batch extent, at least 1; equal symbols have equal extents.
    ///
    /// # Errors
    /// A [`BatchError`] naming the tensor and the rule that it breaks.
    pub fn encode_inputs(&self, arrays: &BTreeMap<String, Array>) -> Result<Vec<Batch>, BatchError> {
        let known: BTreeSet<&str> = self.inputs.iter().map(|i| i.name.as_str()).collect();
        if let Some(name) = arrays.keys().find(|name| !known.contains(name.as_str())) {
            let expected = self.inputs.iter().map(|i| i.name.clone()).collect();
            return Err(BatchError::UnknownInput { name: name.clone(), expected });
        }
        let mut symbols = BTreeMap::new();
        let mut batches: Vec<Batch> = Vec::with_capacity(self.inputs.len());
        for input in &self.inputs {
            let array = arrays
                .get(&input.name)
                .ok_or_else(|| BatchError::MissingInput { name: input.name.clone() })?;
            self.check_shape(input, array, batches.first().map(|b| b.n), &mut symbols)?;
            batches.push(input.encode(array)?);
        }
        Ok(batches)
    }

    fn check_shape(
        &self,
        input: &Input,
        array: &Array,
        n: Option<usize>,
        symbols: &mut BTreeMap<u32, usize>,
    ) -> Result<(), BatchError> {
        let fits = |symbols: &mut BTreeMap<u32, usize>| {
            let (batch, rest) = array.shape.split_first()?;
            let same_batch = *batch > 0 && n.is_none_or(|n| n == *batch);
            (same_batch && rest.len() == input.dims.len()).then_some(())?;
            let mut dims = rest.iter().zip(&input.dims);
            let dim_fits = |(&extent, dim): (&usize, &Dim)| match dim {
                Dim::Fixed(fixed) => u32::try_from(extent) == Ok(*fixed),
                Dim::Symbol(symbol) => extent > 0 && *symbols.entry(*symbol).or_insert(extent) == extent,
            };
            dims.all(dim_fits).then_some(())
        };
        if fits(symbols).is_none() {
            let expected = self.shape_text(input);
            return Err(BatchError::Shape { name: input.name.clone(), expected, found: array.shape.clone() });
        }
        let expected = array.shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).unwrap_or(usize::MAX);
        if expected != array.len() {
            return Err(BatchError::Count { name: input.name.clone(), expected, found: array.len() });
        }
        Ok(())
    }

    /// Shape of an input in words, such as `[batch, 3, 224, 224]`.
    #[must_use]
    pub fn shape_text(&self, input: &Input) -> String {
        let symbol = |i: &u32| usize::try_from(*i).ok().and_then(|i| self.symbols.get(i));
        let word = |dim: &Dim| match dim {
            Dim::Fixed(n) => n.to_string(),
            Dim::Symbol(i) => symbol(i).cloned().unwrap_or_default(),
        };
        let words: Vec<String> =
            std::iter::once("batch".to_owned()).chain(input.dims.iter().map(word)).collect();
        format!("[{}]", words.join(", "))
    }

    /// The answer's tensors, in the order of [`Graph::outputs`]; `batches` are the output values in that order.
    #[must_use]
    pub fn decode_outputs(&self, batches: &[Batch]) -> Vec<(String, Array)> {
        let decode = |(output, batch): (&crate::Output, &Batch)| {
            let shape = std::iter::once(batch.n).chain(batch.shape.iter().copied()).collect();
            let values = batch.data.to_i64();
            let data = match output.decoding {
                Decoding::Dequantise { scale, zero } => {
                    ArrayData::F32(values.iter().map(|&v| dequantise(v, zero, scale.get())).collect())
                }
                Decoding::Integer(Elem::I64) => ArrayData::I64(values),
                Decoding::Integer(Elem::I32 | Elem::F32) => ArrayData::I32(
                    values
                        .iter()
                        .map(|&v| v.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32)
                        .collect(),
                ),
            };
            (output.name.clone(), Array { shape, data })
        };
        self.outputs.iter().zip(batches).map(decode).collect()
    }

    /// Types of the inputs for batches of one request.
    ///
    /// # Errors
    /// The `ops` refusal of a tensor that is too large.
    pub fn input_types(&self, batches: &[Batch]) -> Result<Vec<TensorType>, veracity_ops::OpError> {
        batches.iter().map(|b| TensorType::new(b.data.dtype(), b.shape.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantisation_rounds_ties_to_even_and_saturates() {
        let cases =
            [(0.5, 0), (1.5, 2), (2.5, 2), (-0.5, 0), (-1.5, -2), (1e30, 127), (-1e30, -128), (127.4, 127)];
        for (x, expected) in cases {
            assert_eq!(quantise(x, 1.0, 0, -128, 127), expected, "{x}");
        }
    }

    #[test]
    fn the_fast_form_is_the_definition() {
        let mut bits = 1u32;
        for _ in 0..200_000 {
            bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let x = f32::from_bits(bits);
            let near = (bits >> 8) as f32 / 32_768.0 - 256.0;
            for x in [x, near, near.round() + 0.5].into_iter().filter(|x| x.is_finite()) {
                for (zero, lo, hi) in
                    [(0, -128, 127), (-128, -128, 127), (127, -128, 127), (-32_768, -32_768, 32_767)]
                {
                    for inv_scale in [1.0, 0.37, 1e30] {
                        let expected = quantise(x, inv_scale, zero, i64::from(lo), i64::from(hi));
                        assert_eq!(
                            i64::from(quantise_narrow(x, inv_scale, zero, lo, hi)),
                            expected,
                            "{x} {inv_scale}"
                        );
                    }
                }
            }
        }
    }
}
