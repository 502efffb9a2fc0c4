//! Constants, and the arithmetic on shapes that exporters leave in a graph.

use crate::{
    ImportError,
    onnx::{self, Constant, ConstantData, data_type},
    read::{Act, Reader, Site, Value},
    real::Extent,
};

/// One element of a tensor that holds a shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShapeItem {
    Known(i64),
    /// The batch extent.
    Batch,
    /// A dynamic extent of a sample: the symbol.
    Symbol(u32),
    /// A dynamic extent that the importer does not follow.
    Other,
}

/// Most items of a shape computation.
pub(crate) const SHAPE_ITEMS_MAX: usize = 64;

/// Operators that may follow a shape computation.
const SHAPE_OPS: [&str; 12] = [
    "Gather",
    "Slice",
    "Concat",
    "Unsqueeze",
    "Squeeze",
    "Cast",
    "Identity",
    "Add",
    "Mul",
    "Div",
    "Sub",
    "Reshape",
];

impl Reader {
    /// Evaluates constants and arithmetic on shapes.
    pub(crate) fn read_shape_node(&mut self, site: Site<'_>) -> Result<Option<Value>, ImportError> {
        let attributes = onnx::Attributes::of(site.node);
        match site.node.op_type.as_str() {
            "Constant" => {
                let constant = if let Some(tensor) = attributes.tensor("value") {
                    onnx::constant(tensor)?
                } else if let Some(ints) = attributes.ints("value_ints").filter(|v| !v.is_empty()) {
                    Constant::ints(ints.to_vec())
                } else if attributes.has("value_int") {
                    Constant { shape: vec![], ..Constant::ints(vec![attributes.int("value_int", 0)]) }
                } else if attributes.has("value_float") {
                    let data = ConstantData::Float(vec![attributes.float("value_float", 0.0)]);
                    Constant { shape: vec![], data, data_type: data_type::FLOAT }
                } else if let Some(floats) = attributes.floats("value_floats") {
                    let data = ConstantData::Float(floats.to_vec());
                    Constant { shape: vec![floats.len()], data, data_type: data_type::FLOAT }
                } else {
                    return Err(site.refuse("only numeric constants are supported"));
                };
                Ok(Some(Value::Constant(constant)))
            }
            "Shape" => match self.operand(site, 0)? {
                Value::Act(act) => {
                    let item = |d: &Extent| match *d {
                        Extent::Fixed(n) => ShapeItem::Known(i64::try_from(n).unwrap_or(i64::MAX)),
                        Extent::Symbol(s) => ShapeItem::Symbol(s),
                        Extent::Derived => ShapeItem::Other,
                    };
                    let mut items: Vec<ShapeItem> = act.shape.iter().map(item).collect();
                    items.insert(act.batch, ShapeItem::Batch);
                    let n = i64::try_from(items.len()).unwrap_or(0);
                    let bound =
                        |v: i64| usize::try_from(if v < 0 { v + n } else { v }.clamp(0, n)).unwrap_or(0);
                    let (start, end) = (bound(attributes.int("start", 0)), bound(attributes.int("end", n)));
                    Ok(Some(Value::Shape(items.get(start..end).unwrap_or(&[]).to_vec())))
                }
                Value::Constant(c) => {
                    let items = c.shape.iter().map(|&d| i64::try_from(d).unwrap_or(i64::MAX)).collect();
                    Ok(Some(Value::Constant(Constant::ints(items))))
                }
                Value::Shape(_) => Err(site.refuse("the shape of a shape is not supported")),
            },
            op if SHAPE_OPS.contains(&op) => self.fold_shape(site, &attributes),
            _ => Ok(None),
        }
    }

    /// Folds an operator whose operands are all shapes or integer constants.
    fn fold_shape(
        &self,
        site: Site<'_>,
        attributes: &onnx::Attributes<'_>,
    ) -> Result<Option<Value>, ImportError> {
        let names = || site.node.input.iter().filter(|n| !n.is_empty());
        if !names().any(|name| matches!(self.values.get(name), Some(Value::Shape(_)))) {
            return Ok(None);
        }
        let mut operands = Vec::new();
        for name in names() {
            match self.values.get(name) {
                Some(Value::Shape(items)) => operands.push(items.clone()),
                Some(Value::Constant(c)) if c.len() > SHAPE_ITEMS_MAX || operands.len() > SHAPE_ITEMS_MAX => {
                    return Err(site.refuse("a computed shape has more than 64 items"));
                }
                Some(Value::Constant(Constant { data: ConstantData::Int(v), .. })) => {
                    operands.push(v.iter().map(|&v| ShapeItem::Known(v)).collect());
                }
                Some(Value::Constant(_) | Value::Act(_)) | None => return Ok(None),
            }
        }
        let Some(first) = operands.first().cloned() else { return Ok(None) };
        let known = |i: usize, default: i64| match operands.get(i).and_then(|o| o.first()) {
            Some(ShapeItem::Known(v)) => *v,
            Some(_) | None => default,
        };
        let items = match site.node.op_type.as_str() {
            "Cast" | "Identity" | "Unsqueeze" | "Squeeze" | "Reshape" => first,
            "Concat" => operands.concat(),
            "Gather" => {
                let n = i64::try_from(first.len()).unwrap_or(0);
                let pick = |item: &ShapeItem| match item {
                    ShapeItem::Known(i) => {
                        usize::try_from(if *i < 0 { i + n } else { *i }).ok().and_then(|i| first.get(i))
                    }
                    ShapeItem::Batch | ShapeItem::Symbol(_) | ShapeItem::Other => None,
                };
                let picked: Option<Vec<ShapeItem>> =
                    operands.get(1).and_then(|o| o.iter().map(|i| pick(i).copied()).collect());
                picked.ok_or_else(|| site.refuse("the index is not a constant inside the shape"))?
            }
            "Slice" => {
                let (start, end) = match attributes.ints("starts").zip(attributes.ints("ends")) {
                    Some((s, e)) => (s.first().copied().unwrap_or(0), e.first().copied().unwrap_or(i64::MAX)),
                    None => (known(1, 0), known(2, i64::MAX)),
                };
                if known(4, 1) != 1 {
                    return Err(site.refuse("a shape can be sliced with step 1 only"));
                }
                let n = i64::try_from(first.len()).unwrap_or(0);
                let bound = |v: i64| usize::try_from(if v < 0 { v + n } else { v }.clamp(0, n)).unwrap_or(0);
                first.get(bound(start)..bound(end)).unwrap_or(&[]).to_vec()
            }
            op => {
                let pair = |(a, b): (&ShapeItem, &ShapeItem)| match (a, b, op) {
                    (ShapeItem::Known(a), ShapeItem::Known(b), "Add") => {
                        a.checked_add(*b).map(ShapeItem::Known)
                    }
                    (ShapeItem::Known(a), ShapeItem::Known(b), "Sub") => {
                        a.checked_sub(*b).map(ShapeItem::Known)
                    }
                    (ShapeItem::Known(a), ShapeItem::Known(b), "Mul") => {
                        a.checked_mul(*b).map(ShapeItem::Known)
                    }
                    (ShapeItem::Known(a), ShapeItem::Known(b), "Div") => {
                        a.checked_div(*b).map(ShapeItem::Known)
                    }
                    (a, ShapeItem::Known(1), "Mul" | "Div") => Some(*a),
                    (ShapeItem::Known(1), b, "Mul") => Some(*b),
                    _ => Some(ShapeItem::Other),
                };
                let other = operands.get(1).cloned().unwrap_or_default();
                let n = first.len().max(other.len());
                let at = |v: &Vec<ShapeItem>, i: usize| v.get(if v.len() == 1 { 0 } else { i }).copied();
                let items = (0..n)
                    .map(|i| at(&first, i).zip(at(&other, i)).and_then(|(a, b)| pair((&a, &b))))
                    .collect();
                let items: Option<Vec<ShapeItem>> = items;
                items.ok_or_else(|| site.refuse("the shape arithmetic is not supported"))?
            }
        };
        Ok(Some(Value::Shape(items)))
    }

    /// Reads the target of a Reshape against the value's shape; the batch axis must stay first.
    pub(crate) fn reshape_target(
        &self,
        site: Site<'_>,
        act: &Act,
        target: &[ShapeItem],
    ) -> Result<Vec<Extent>, ImportError> {
        let refuse = || site.refuse("the batch axis must stay first and apart; export with a batch axis");
        let (first, rest) = target.split_first().ok_or_else(refuse)?;
        let source = |i: usize| act.shape.get(i).copied();
        let mut extents = Vec::new();
        for (i, item) in rest.iter().enumerate() {
            extents.push(match *item {
                ShapeItem::Known(0) => {
                    Some(source(i).ok_or_else(|| site.refuse("a zero extent names no axis"))?)
                }
                ShapeItem::Known(-1) => None,
                ShapeItem::Known(n) => {
                    Some(Extent::Fixed(usize::try_from(n).map_err(|_| site.refuse("an extent is negative"))?))
                }
                ShapeItem::Symbol(s) => Some(Extent::Symbol(s)),
                ShapeItem::Other => Some(Extent::Derived),
                ShapeItem::Batch => return Err(refuse()),
            });
        }
        let known = extents.iter().try_fold(1usize, |n, d| n.checked_mul(d.map_or(Some(1), Extent::fixed)?));
        let batch_kept = match *first {
            ShapeItem::Batch | ShapeItem::Known(0) => true,
            ShapeItem::Known(-1) => known.is_some() && known == act.len(),
            ShapeItem::Known(n) => self.batch == Some(n) || (n == 1 && known.is_some() && known == act.len()),
            ShapeItem::Symbol(_) | ShapeItem::Other => false,
        };
        if !batch_kept {
            return Err(refuse());
        }
        let left = act.len().zip(known).and_then(|(len, known)| len.checked_div(known));
        Ok(extents.into_iter().map(|d| d.unwrap_or(left.map_or(Extent::Derived, Extent::Fixed))).collect())
    }

    /// Operand `i` as a shape.
    pub(crate) fn shape_operand(&self, site: Site<'_>, i: usize) -> Result<Vec<ShapeItem>, ImportError> {
        match self.operand(site, i)? {
            Value::Shape(items) => Ok(items),
            Value::Constant(Constant { data: ConstantData::Int(v), .. }) => {
                Ok(v.into_iter().map(ShapeItem::Known).collect())
            }
            Value::Constant(_) | Value::Act(_) => {
                Err(site.refuse("a shape must not depend on the request's values"))
            }
        }
    }
}
