//! One function per ONNX operator, elementwise ones here.

use crate::{
    ImportError, fold,
    func::Func,
    onnx::{Attributes, Constant, ConstantData, data_type},
    read::{Act, Reader, Site, Value},
    read_linear, read_movement, read_pool, read_quantised, read_recurrent,
    real::{Extent, RealConstant, RealOp},
};

const TRANSFORMER_HINT: &str = "transformer operators are not part of this importer version";
const RECURRENT_HINT: &str =
    "of the recurrent layers LSTM and GRU are supported; write the steps out, or use one of them";

pub(crate) fn read(r: &mut Reader, site: Site<'_>) -> Result<Vec<Value>, ImportError> {
    let attributes = &Attributes::of(site.node);
    let op = site.node.op_type.as_str();
    let act = match (site.node.domain.as_str(), op) {
        ("com.microsoft", _) => return read_quantised::read(r, site, attributes),
        ("" | "ai.onnx", "QuantizeLinear" | "DequantizeLinear" | "QLinearConv" | "QLinearMatMul") => {
            return read_quantised::read(r, site, attributes);
        }
        ("" | "ai.onnx", "Split") => return read_movement::split(r, site, attributes),
        (
            "" | "ai.onnx",
            "Identity" | "Dropout" | "Cast" | "Transpose" | "Unsqueeze" | "Squeeze" | "Reshape" | "Flatten",
        ) if matches!(r.operand(site, 0)?, Value::Constant(_)) => {
            return fold::fold_constant(r, site, attributes).map(|c| vec![Value::Constant(c)]);
        }
        ("" | "ai.onnx", "Gather")
            if [0, 1].iter().all(|&i| matches!(r.operand(site, i), Ok(Value::Constant(_)))) =>
        {
            return fold::gather_constant(r, site, attributes).map(|c| vec![Value::Constant(c)]);
        }
        ("" | "ai.onnx", "ConstantOfShape" | "Expand") => {
            return fold::expand_constant(r, site, attributes).map(|c| vec![Value::Constant(c)]);
        }
        ("" | "ai.onnx", "LSTM" | "GRU") => return read_recurrent::read(r, site, attributes),
        ("" | "ai.onnx", _) => read_default(r, site, attributes, op)?,
        (_, _) => {
            return Err(site.unsupported(
                "only the default ONNX domain and ONNX Runtime's quantised operators are read",
            ));
        }
    };
    Ok(vec![Value::Act(act)])
}

fn read_default(r: &mut Reader, site: Site<'_>, a: &Attributes<'_>, op: &str) -> Result<Act, ImportError> {
    if let Some(func) = function(op, a) {
        let x = r.act(site, 0)?;
        return Ok(apply(r, site, &x, func));
    }
    match op {
        "Identity" | "Dropout" => r.free_act(site, 0),
        "Cast" if a.int("to", 1) == i64::from(data_type::FLOAT) => r.act(site, 0),
        "Cast" => match r.operand(site, 0)? {
            Value::Act(act) if r.graph.is_index(act.node) => Ok(act),
            _ => Err(site.refuse("only casts to float32 are supported")),
        },
        "Relu" => clip(r, site, 0.0, f64::INFINITY),
        "Clip" => {
            let (lo, hi) = clip_bounds(r, site, a)?;
            clip(r, site, lo, hi)
        }
        "Min" | "Max" => min_max(r, site, op),
        "PRelu" => prelu(r, site),
        "Add" | "Sub" => add(r, site, op == "Sub"),
        "Mul" | "Div" => mul(r, site, op == "Div"),
        "Neg" => {
            let x = r.act(site, 0)?;
            Ok(scale(r, site, &x, -1.0))
        }
        "Pow" => power(r, site),
        "MatMul" => read_linear::matmul(r, site),
        "Gemm" => read_linear::gemm(r, site, a),
        "Conv" => read_linear::conv(r, site, a),
        "ConvTranspose" => read_linear::conv_transpose(r, site, a),
        "BatchNormalization" => read_linear::batch_norm(r, site, a),
        "MaxPool" | "AveragePool" => read_pool::pool(r, site, a, op == "MaxPool"),
        "GlobalAveragePool" | "GlobalMaxPool" => read_pool::global(r, site, op == "GlobalMaxPool"),
        "ReduceMean" | "ReduceSum" | "ReduceMax" => read_pool::reduce(r, site, a, op),
        "ArgMax" => read_pool::arg_max(r, site, a),
        "Softmax" => read_pool::softmax(r, site, a),
        "LogSoftmax" => read_pool::log_softmax(r, site, a),
        "Reshape" => read_movement::reshape(r, site, a),
        "Flatten" => read_movement::flatten(r, site, a),
        "Squeeze" => read_movement::squeeze(r, site, a),
        "Unsqueeze" => read_movement::unsqueeze(r, site, a),
        "Transpose" => read_movement::transpose(r, site, a),
        "Concat" => read_movement::concat(r, site, a),
        "Slice" => read_movement::slice(r, site, a),
        "Pad" => read_movement::pad(r, site, a),
        "Gather" => read_movement::gather(r, site, a),
        "Resize" | "Upsample" => read_movement::resize(r, site, a),
        "RNN" => Err(site.unsupported(RECURRENT_HINT)),
        "LayerNormalization" | "Attention" | "Einsum" | "RotaryEmbedding" => {
            Err(site.unsupported(TRANSFORMER_HINT))
        }
        "If" | "Loop" | "Scan" => {
            Err(site.unsupported("control flow is not supported; export with fixed control flow"))
        }
        _ => Err(site.unsupported("docs/importing.md lists the supported operators")),
    }
}

/// Operators that are one function of one value.
fn function(op: &str, a: &Attributes<'_>) -> Option<Func> {
    let f = |name, default| f64::from(a.float(name, default));
    Some(match op {
        "LeakyRelu" => Func::LeakyRelu(f("alpha", 0.01)),
        "Elu" => Func::Elu(f("alpha", 1.0)),
        "Selu" => Func::Selu(f("alpha", 1.673_263_2), f("gamma", 1.050_701)),
        "Celu" => Func::Celu(f("alpha", 1.0)),
        "Sigmoid" => Func::Sigmoid,
        "Tanh" => Func::Tanh,
        "HardSigmoid" => Func::HardSigmoid(f("alpha", 0.2), f("beta", 0.5)),
        "HardSwish" => Func::HardSwish,
        "Gelu" if a.text("approximate", "none") == "tanh" => Func::GeluTanh,
        "Gelu" => Func::GeluErf,
        "Swish" if a.float("alpha", 1.0).to_bits() == 1.0f32.to_bits() => Func::Silu,
        "Swish" => Func::Swish(f("alpha", 1.0)),
        "Mish" => Func::Mish,
        "Softplus" => Func::Softplus,
        "Softsign" => Func::Softsign,
        "Erf" => Func::Erf,
        "Abs" => Func::Abs,
        "ThresholdedRelu" => Func::ThresholdedRelu(f("alpha", 1.0)),
        "Exp" => Func::Exp,
        "Log" => Func::Log,
        "Sqrt" => Func::Sqrt,
        "Reciprocal" => Func::Reciprocal,
        _ => return None,
    })
}

pub(crate) fn apply(r: &mut Reader, site: Site<'_>, x: &Act, func: Func) -> Act {
    r.push(&site.name(), RealOp::Func(func), &[x], x.shape.clone(), x.layout.clone())
}

fn clip_bounds(r: &Reader, site: Site<'_>, a: &Attributes<'_>) -> Result<(f64, f64), ImportError> {
    let (mut lo, mut hi) = (f64::NEG_INFINITY, f64::INFINITY);
    if a.has("min") {
        lo = f64::from(a.float("min", 0.0));
    }
    if a.has("max") {
        hi = f64::from(a.float("max", 0.0));
    }
    if let Some((_, v)) = r.floats(site, 1)? {
        lo = v.first().map_or(lo, |&v| f64::from(v));
    }
    if let Some((_, v)) = r.floats(site, 2)? {
        hi = v.first().map_or(hi, |&v| f64::from(v));
    }
    Ok((lo, hi))
}

/// Absorbs a clip into the node that makes the value, if it is used here only; else adds a function.
fn clip(r: &mut Reader, site: Site<'_>, lo: f64, hi: f64) -> Result<Act, ImportError> {
    let x = r.act(site, 0)?;
    if lo > hi {
        return Err(site.refuse("the lower bound is above the upper bound"));
    }
    // The first numbers beyond f32 stand for no bound, as exporters write them.
    let lo = if lo <= f64::from(f32::MIN) { f64::NEG_INFINITY } else { lo };
    let hi = if hi >= f64::from(f32::MAX) { f64::INFINITY } else { hi };
    let once = r.used_once(site, 0);
    let node = &mut r.graph.nodes[x.node.0];
    let free = node.clip.is_none() && node.declared.is_none() && node.tie.is_none();
    if once && node.op.rounds() && free {
        node.clip = Some((lo, hi));
        return Ok(x);
    }
    Ok(apply(r, site, &x, Func::Clip(lo, hi)))
}

fn min_max(r: &mut Reader, site: Site<'_>, op: &str) -> Result<Act, ImportError> {
    let Some((_, bound)) = r.floats(site, 1)?.filter(|(_, v)| v.len() == 1 && site.node.input.len() == 2)
    else {
        return Err(site.refuse("only one value and one constant number are supported"));
    };
    let bound = f64::from(bound.first().copied().unwrap_or(0.0));
    if op == "Min" { clip(r, site, f64::NEG_INFINITY, bound) } else { clip(r, site, bound, f64::INFINITY) }
}

fn prelu(r: &mut Reader, site: Site<'_>) -> Result<Act, ImportError> {
    let x = r.act(site, 0)?;
    let (shape, slope) = r.floats(site, 1)?.ok_or_else(|| site.refuse("the slope must be a constant"))?;
    if let [slope] = slope.as_slice() {
        return Ok(apply(r, site, &x, Func::LeakyRelu(f64::from(*slope))));
    }
    // ONNX broadcasts the slope from the right; where [c] does not fit the last axis, exporters mean channels.
    let fits_last = x.shape.last().and_then(|d| d.fixed()) == shape.first().copied();
    let spread = if fits_last { 0 } else { x.shape.len().saturating_sub(1) };
    let shape = if shape.len() == 1 { [shape, vec![1; spread]].concat() } else { shape };
    let up = apply(r, site, &x, Func::Clip(0.0, f64::INFINITY));
    let down = apply(r, site, &x, Func::Clip(f64::NEG_INFINITY, 0.0));
    let constant = r.broadcast_constant(site, &down, &shape, slope)?;
    let (shape, layout) = (down.shape.clone(), down.layout.clone());
    let down = r.push(&site.name(), RealOp::MulConstant(constant), &[&down], shape.clone(), layout.clone());
    Ok(r.push(&site.name(), RealOp::Add, &[&up, &down], shape, layout))
}

/// Splits two operands into a value and a constant, or two values of one layout.
enum Pair {
    Constant { x: Act, shape: Vec<usize>, values: Vec<f32>, constant_first: bool },
    Acts(Act, Act),
}

fn pair(r: &mut Reader, site: Site<'_>) -> Result<Pair, ImportError> {
    match (r.operand(site, 0)?, r.operand(site, 1)?) {
        (Value::Act(_), Value::Constant(c)) => constant_pair(r.act(site, 0)?, c, false, site),
        (Value::Constant(c), Value::Act(_)) => constant_pair(r.act(site, 1)?, c, true, site),
        (Value::Act(_), Value::Act(_)) => {
            let (a, b) = (r.act(site, 0)?, r.act(site, 1)?);
            if a.shape.len() != b.shape.len() {
                return Err(site.refuse(
                    "values of different rank would mix the batch axis; unsqueeze one of them first",
                ));
            }
            let mut acts = r.same_layout(vec![a, b], &site.name()).into_iter();
            match (acts.next(), acts.next()) {
                (Some(a), Some(b)) => Ok(Pair::Acts(a, b)),
                _ => Err(site.refuse("two operands are needed")),
            }
        }
        _ => Err(site.refuse("at least one operand must depend on the request")),
    }
}

fn constant_pair(x: Act, c: Constant, constant_first: bool, site: Site<'_>) -> Result<Pair, ImportError> {
    match c.data {
        ConstantData::Float(values) => Ok(Pair::Constant { x, shape: c.shape, values, constant_first }),
        ConstantData::Int(_) => Err(site.refuse("the constant operand must be a float tensor")),
    }
}

fn broadcast_shape(a: &Act, b: &Act) -> Vec<Extent> {
    let one = Extent::Fixed(1);
    a.shape.iter().zip(&b.shape).map(|(x, y)| if *x == one { *y } else { *x }).collect()
}

fn add(r: &mut Reader, site: Site<'_>, subtract: bool) -> Result<Act, ImportError> {
    match pair(r, site)? {
        Pair::Acts(a, b) => {
            let op = if subtract { RealOp::Sub } else { RealOp::Add };
            let shape = broadcast_shape(&a, &b);
            Ok(r.push(&site.name(), op, &[&a, &b], shape, a.layout.clone()))
        }
        Pair::Constant { x, shape, values, constant_first } => {
            let minus = subtract && !constant_first;
            let values = values.iter().map(|v| if minus { -v } else { *v }).collect();
            let x = if subtract && constant_first { scale(r, site, &x, -1.0) } else { x };
            let (constant, grown) = r.growing_constant(site, &x, &shape, values)?;
            let operand = usize::from(constant_first);
            if !subtract && r.used_once(site, operand) && read_linear::absorb(r, &x, None, Some(&constant)) {
                return Ok(x);
            }
            Ok(r.push(&site.name(), RealOp::AddConstant(constant), &[&x], grown, x.layout.clone()))
        }
    }
}

pub(crate) fn scale(r: &mut Reader, site: Site<'_>, x: &Act, by: f32) -> Act {
    let constant = RealConstant { shape: vec![1; x.shape.len()], values: vec![by] };
    r.push(&site.name(), RealOp::MulConstant(constant), &[x], x.shape.clone(), x.layout.clone())
}

fn mul(r: &mut Reader, site: Site<'_>, divide: bool) -> Result<Act, ImportError> {
    match pair(r, site)? {
        Pair::Acts(a, b) => {
            let b = if divide { reciprocal(r, site, &b) } else { b };
            let shape = broadcast_shape(&a, &b);
            Ok(r.push(&site.name(), RealOp::Mul, &[&a, &b], shape, a.layout.clone()))
        }
        Pair::Constant { x, shape, values, constant_first } => {
            let inverted = divide && !constant_first;
            if inverted && values.contains(&0.0) {
                return Err(site.refuse("it divides by zero"));
            }
            let values = values.iter().map(|v| if inverted { 1.0 / v } else { *v }).collect();
            let x = if divide && constant_first { reciprocal(r, site, &x) } else { x };
            let (constant, grown) = r.growing_constant(site, &x, &shape, values)?;
            let own = r.used_once(site, usize::from(constant_first));
            if own && read_linear::absorb(r, &x, Some(&constant), None) {
                return Ok(x);
            }
            Ok(r.push(&site.name(), RealOp::MulConstant(constant), &[&x], grown, x.layout.clone()))
        }
    }
}

/// One divided by a value, with 16 bits as it will be multiplied.
fn reciprocal(r: &mut Reader, site: Site<'_>, x: &Act) -> Act {
    let y = apply(r, site, x, Func::Reciprocal);
    r.graph.nodes[y.node.0].wide = true;
    y
}

/// The exponents that a table is worth: beyond them nearly all values are 0 or beyond the range.
const EXPONENT_MAX: f64 = 16.0;

fn power(r: &mut Reader, site: Site<'_>) -> Result<Act, ImportError> {
    let x = r.act(site, 0)?;
    let exponent = match r.constant(site, 1)?.map(|c| c.data) {
        Some(ConstantData::Float(v)) => v.first().filter(|_| v.len() == 1).map(|&v| f64::from(v)),
        Some(ConstantData::Int(v)) => v.first().filter(|_| v.len() == 1).map(|&v| v as f64),
        None => None,
    };
    let exponent = exponent.ok_or_else(|| site.refuse("the exponent must be one constant number"))?;
    if exponent == 0.0 || exponent.abs() > EXPONENT_MAX {
        return Err(site.refuse("the exponent must not be zero, nor beyond 16 in magnitude"));
    }
    let func = match exponent {
        1.0 => return Ok(x),
        2.0 => return Ok(r.push(&site.name(), RealOp::Mul, &[&x, &x], x.shape.clone(), x.layout.clone())),
        0.5 => Func::Sqrt,
        -1.0 => Func::Reciprocal,
        p => Func::Power(p),
    };
    Ok(apply(r, site, &x, func))
}
