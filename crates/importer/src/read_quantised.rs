//! Already quantised models: scales and zero points become declared ranges and real weights. The integer rule of the
//! source is not followed; Veracity's own is.

use veracity_ops::ReduceKind;

use crate::{
    ImportError,
    func::Func,
    onnx::{Attributes, Constant, ConstantData, data_type},
    read::{Act, Reader, Site, Value},
    read_linear, read_movement, read_ops, read_pool,
    real::RealOp,
};

/// Smallest and largest value of a quantised ONNX type.
fn type_range(data_type: i32) -> Option<(f64, f64)> {
    Some(match data_type {
        data_type::UINT8 => (0.0, 255.0),
        data_type::INT8 => (-128.0, 127.0),
        data_type::UINT16 => (0.0, 65_535.0),
        data_type::INT16 => (-32_768.0, 32_767.0),
        data_type::INT32 => (f64::from(i32::MIN), f64::from(i32::MAX)),
        _ => return None,
    })
}

/// Scale and zero point operands `at` and `at + 1`.
struct Affine {
    scale: Vec<f32>,
    zero: Vec<i64>,
    data_type: i32,
}

fn affine(r: &Reader, site: Site<'_>, at: usize) -> Result<Affine, ImportError> {
    let (_, scale) = r.floats(site, at)?.ok_or_else(|| site.refuse("a scale is missing"))?;
    if scale.is_empty() || scale.iter().any(|s| !(s.is_normal() && *s > 0.0)) {
        return Err(site.refuse("a scale is not a positive number"));
    }
    let (zero, data_type) = match r.constant(site, at + 1)? {
        Some(Constant { data: ConstantData::Int(v), data_type, .. }) => (v, data_type),
        Some(_) => return Err(site.refuse("a zero point is not an integer")),
        None => (vec![0; scale.len()], data_type::UINT8),
    };
    Ok(Affine { scale, zero, data_type })
}

/// Declares on the node of `x` the range that an activation's scale and zero point span. Quantisation saturates, and
/// quantisers drop a ReLU or ReLU6 that this saturation implies, so where the value has no other use (`own`) the range
/// is also its clip.
fn declare(r: &mut Reader, site: Site<'_>, x: &Act, at: usize, own: bool) -> Result<(), ImportError> {
    let a = affine(r, site, at)?;
    let ([scale], Some(zero), Some((lo, hi))) = (a.scale.as_slice(), a.zero.first(), type_range(a.data_type))
    else {
        return Err(site.refuse("activations need one scale and one zero point of 8 or 16 bits"));
    };
    if a.data_type == data_type::INT32 {
        return Err(site.refuse("activations need one scale and one zero point of 8 or 16 bits"));
    }
    let real = |q: f64| (q - *zero as f64) * f64::from(*scale);
    let range = (real(lo), real(hi));
    let node = &mut r.graph.nodes[x.node.0];
    node.declared.get_or_insert(range);
    if own && node.op.rounds() && node.tie.is_none() {
        node.clip.get_or_insert(range);
    }
    Ok(())
}

/// Real values of a quantised constant; `axis` counts if there is one scale per position along it.
fn dequantise(site: Site<'_>, c: &Constant, a: &Affine, axis: i64) -> Result<Constant, ImportError> {
    let (ConstantData::Int(values), Some(_)) = (&c.data, type_range(c.data_type)) else {
        return Err(site.refuse("a quantised constant is not an integer of 8, 16 or 32 bits"));
    };
    let rank = i64::try_from(c.shape.len()).unwrap_or(0);
    let axis = usize::try_from(if axis < 0 { axis.saturating_add(rank) } else { axis }).unwrap_or(usize::MAX);
    let per_axis = a.scale.len() > 1;
    let (extent, inner) = match c.shape.get(axis) {
        Some(&extent) => (extent, c.shape[axis + 1..].iter().product::<usize>()),
        None => (1, values.len()),
    };
    if (per_axis && extent != a.scale.len()) || (a.zero.len() != a.scale.len() && a.zero.len() != 1) {
        return Err(site.refuse("scales and zero points do not fit the constant"));
    }
    let channel = |i: usize| if per_axis { i / inner.max(1) % extent } else { 0 };
    #[expect(clippy::cast_possible_truncation, reason = "one product in f64, rounded once to f32")]
    let real = |(i, &v): (usize, &i64)| {
        let zero = a.zero[channel(i) % a.zero.len()];
        (v.saturating_sub(zero) as f64 * f64::from(a.scale[channel(i)])) as f32
    };
    let data = ConstantData::Float(values.iter().enumerate().map(real).collect());
    Ok(Constant { shape: c.shape.clone(), data, data_type: data_type::FLOAT })
}

/// Operand `at` with its scale and zero point at the next two operands, as real values.
fn weights(r: &Reader, site: Site<'_>, at: usize, axis: i64) -> Result<(Vec<usize>, Vec<f32>), ImportError> {
    let c = r.constant(site, at)?.ok_or_else(|| site.refuse("the weights are missing"))?;
    let real = dequantise(site, &c, &affine(r, site, at + 1)?, axis)?;
    match real.data {
        ConstantData::Float(v) => Ok((real.shape, v)),
        ConstantData::Int(_) => Err(site.refuse("the weights are not numbers")),
    }
}

/// An accumulator bias at operand `at`, in steps of input scale times weight scale.
fn bias(
    r: &Reader,
    site: Site<'_>,
    at: usize,
    x_scale_at: usize,
    w_scale_at: usize,
) -> Result<Option<Vec<f32>>, ImportError> {
    let Some(values) = r.ints(site, at)? else { return Ok(None) };
    let (x, w) = (affine(r, site, x_scale_at)?, affine(r, site, w_scale_at)?);
    #[expect(clippy::cast_possible_truncation, reason = "products in f64, rounded once to f32")]
    let real = |(j, &b): (usize, &i64)| {
        (b as f64 * f64::from(x.scale[0]) * f64::from(w.scale[j % w.scale.len()])) as f32
    };
    Ok(Some(values.iter().enumerate().map(real).collect()))
}

pub(crate) fn read(r: &mut Reader, site: Site<'_>, a: &Attributes<'_>) -> Result<Vec<Value>, ImportError> {
    let op = site.node.op_type.as_str();
    if let Value::Constant(c) = r.operand(site, 0)?
        && matches!(op, "DequantizeLinear" | "QuantizeLinear")
    {
        return fold(r, site, a, c).map(|c| vec![Value::Constant(c)]);
    }
    let y = match op {
        "QuantizeLinear" | "DequantizeLinear" => {
            let x = r.act(site, 0)?;
            let own = r.used_once(site, 0);
            declare(r, site, &x, 1, own)?;
            return Ok(vec![Value::Act(x)]);
        }
        "QLinearConv" => {
            let x = declared_operand(r, site, 0)?;
            let (shape, w) = weights(r, site, 3, 0)?;
            let b = bias(r, site, 8, 1, 4)?;
            let y = read_linear::conv_parts(r, site, a, x, (&shape, &w), b)?;
            declare(r, site, &y, 6, true)?;
            y
        }
        "QLinearMatMul" => {
            let x = declared_operand(r, site, 0)?;
            let (shape, w) = weights(r, site, 3, -1)?;
            let y = read_linear::gemm_parts(r, site, x, (&shape, &w, false), None, [1.0, 1.0])?;
            declare(r, site, &y, 6, true)?;
            y
        }
        "QGemm" => gemm(r, site, a)?,
        "QLinearAdd" | "QLinearMul" => {
            let (x, y) = (declared_operand(r, site, 0)?, declared_operand(r, site, 3)?);
            if x.shape != y.shape {
                return Err(site.refuse("both operands must have one shape"));
            }
            let acts = r.same_layout(vec![x, y], &site.name());
            let op = if op == "QLinearAdd" { RealOp::Add } else { RealOp::Mul };
            let (shape, layout) = (acts[0].shape.clone(), acts[0].layout.clone());
            let y = r.push(&site.name(), op, &acts.iter().collect::<Vec<_>>(), shape, layout);
            declare(r, site, &y, 6, true)?;
            y
        }
        "QLinearGlobalAveragePool" => {
            if a.int("channels_last", 0) != 0 {
                return Err(site.refuse("channels_last is not supported"));
            }
            let x = declared_operand(r, site, 0)?;
            let y = read_pool::global_parts(r, site, x, ReduceKind::Mean)?;
            declare(r, site, &y, 3, true)?;
            y
        }
        "QLinearAveragePool" => {
            declared_operand(r, site, 0)?;
            let y = read_pool::pool(r, site, a, false)?;
            declare(r, site, &y, 3, true)?;
            y
        }
        "QLinearSigmoid" | "QLinearLeakyRelu" => {
            let x = declared_operand(r, site, 0)?;
            let alpha = f64::from(a.float("alpha", 0.01));
            let func = if op == "QLinearSigmoid" { Func::Sigmoid } else { Func::LeakyRelu(alpha) };
            let y = read_ops::apply(r, site, &x, func);
            declare(r, site, &y, 3, true)?;
            y
        }
        "QLinearConcat" => {
            let n = site.node.input.len().saturating_sub(2) / 3;
            let operands: Vec<Act> =
                (0..n).map(|i| declared_operand(r, site, 2 + 3 * i)).collect::<Result<_, _>>()?;
            let y = read_movement::concat_acts(r, site, operands, a.int("axis", 1))?;
            declare(r, site, &y, 0, true)?;
            y
        }
        "FusedConv" | "FusedGemm" | "FusedMatMul" => {
            return Err(site.unsupported("export without ONNX Runtime's graph optimisations"));
        }
        _ => return Err(site.unsupported("docs/importing.md lists the supported operators")),
    };
    Ok(vec![Value::Act(y)])
}

fn declared_operand(r: &mut Reader, site: Site<'_>, at: usize) -> Result<Act, ImportError> {
    let x = r.act(site, at)?;
    declare(r, site, &x, at + 1, false)?;
    Ok(x)
}

fn gemm(r: &mut Reader, site: Site<'_>, a: &Attributes<'_>) -> Result<Act, ImportError> {
    let x = declared_operand(r, site, 0)?;
    let trans_b = a.int("transB", 0) != 0;
    if a.int("transA", 0) != 0 || x.shape.len() != 1 {
        return Err(site.refuse("the first operand must be [batch, k], not transposed"));
    }
    let (shape, w) = weights(r, site, 3, if trans_b { 0 } else { 1 })?;
    let bias = bias(r, site, 6, 1, 4)?.map(|b| (vec![b.len()], b));
    let y = read_linear::gemm_parts(r, site, x, (&shape, &w, trans_b), bias, [a.float("alpha", 1.0), 1.0])?;
    if site.operand(7).is_some() {
        declare(r, site, &y, 7, true)?;
    }
    Ok(y)
}

/// `DequantizeLinear` of a constant, or `QuantizeLinear` of a float constant.
fn fold(r: &Reader, site: Site<'_>, a: &Attributes<'_>, c: Constant) -> Result<Constant, ImportError> {
    let affine = affine(r, site, 1)?;
    let axis = a.int("axis", 1);
    if a.int("block_size", 0) != 0 {
        return Err(site.refuse("blocked quantisation is not supported"));
    }
    if site.node.op_type == "DequantizeLinear" {
        return dequantise(site, &c, &affine, axis);
    }
    let ConstantData::Float(values) = &c.data else {
        return Err(site.refuse("the constant is not a float tensor"));
    };
    let (Some((lo, hi)), [scale]) = (type_range(affine.data_type), affine.scale.as_slice()) else {
        return Err(site.refuse("constants are quantised with one scale"));
    };
    let zero = affine.zero.first().copied().unwrap_or(0) as f64;
    #[expect(clippy::cast_possible_truncation, reason = "clamped to a 32-bit range")]
    let quantise =
        |v: &f32| ((f64::from(*v) / f64::from(*scale)).round_ties_even() + zero).clamp(lo, hi) as i64;
    let data = ConstantData::Int(values.iter().map(quantise).collect());
    Ok(Constant { shape: c.shape, data, data_type: affine.data_type })
}
