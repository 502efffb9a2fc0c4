//! Attributes and types made to break an operator: each is a refusal, never a panic, an overflow or an allocation.

use veracity_ops::{ELEMENTS_MAX, Op, OpError, Slice, Tensor, TensorType};

use crate::{
    draw::{Draw, N_OPS},
    support::{I8, ty},
};

/// Operands of these types: in the first operand anything, in the others small positive numbers, which suit every
/// shift, multiplier, table and index.
fn operands(draw: &mut Draw, types: &[TensorType]) -> Vec<Tensor> {
    let mut operand = |(i, ty): (usize, &TensorType)| {
        let values =
            (0..ty.len()).map(|_| if i == 0 { draw.value(ty.dtype) } else { 1 + draw.below(3) as i64 });
        Tensor::new(ty.dtype, ty.shape.clone(), values.collect()).unwrap()
    };
    types.iter().enumerate().map(&mut operand).collect()
}

/// Evaluates what is small enough; the outputs must have the announced types. `Some` if there were outputs.
fn evaluate(draw: &mut Draw, op: &Op, types: &[TensorType]) -> Option<bool> {
    let refs: Vec<&TensorType> = types.iter().collect();
    let outputs = op.infer(&refs).ok()?;
    let is_small = |ty: &TensorType| ty.len() <= 70_000;
    if !outputs.iter().chain(types).all(is_small) {
        return None;
    }
    let inputs = operands(draw, types);
    match op.eval(&inputs.iter().collect::<Vec<_>>()) {
        Ok(values) => {
            assert!(values.iter().map(Tensor::ty).eq(&outputs), "{op:?} {types:?}");
            Some(true)
        }
        Err(OpError::Range { .. }) => Some(false),
        Err(error) => panic!("{op:?} {types:?}: accepted by infer, refused by eval: {error}"),
    }
}

#[test]
fn eval_gives_the_types_that_infer_announces() {
    let mut counts = [0; N_OPS];
    for seed in 0..20_000 {
        let mut draw = Draw::new(seed, 0);
        let kind = draw.below(N_OPS);
        let (op, types) = draw.case(kind);
        counts[kind] += usize::from(evaluate(&mut draw, &op, &types) == Some(true));
    }
    assert!(counts.iter().all(|n| *n > 150), "some operator was hardly evaluated: {counts:?}");
}

#[test]
fn no_attribute_or_type_stops_an_operator() {
    let (mut accepted, mut refused) = ([0; N_OPS], [0; N_OPS]);
    for seed in 0..120_000 {
        let mut draw = Draw::new(seed, [3, 8, 30][seed as usize % 3]);
        let kind = draw.below(N_OPS);
        let (op, types) = draw.case(kind);
        let refs: Vec<&TensorType> = types.iter().collect();
        match op.infer(&refs) {
            Ok(outputs) => {
                accepted[kind] += 1;
                assert_eq!(outputs.len(), op.n_outputs());
                let is_valid = |t: &TensorType| TensorType::new(t.dtype, t.shape.clone()).is_ok();
                assert!(outputs.iter().all(is_valid), "seed {seed}: {op:?} gives {outputs:?}");
            }
            Err(error) => {
                refused[kind] += 1;
                assert!(error.to_string().len() < 2000, "a long message");
            }
        }
        evaluate(&mut draw, &op, &types);
    }
    assert!(accepted.iter().chain(&refused).all(|n| *n > 100), "{accepted:?} {refused:?}");
}

#[test]
fn operands_of_another_operator_are_refused_or_taken() {
    for seed in 0..40_000 {
        let mut draw = Draw::new(seed, 40);
        let (kind, other) = (draw.below(N_OPS), draw.below(N_OPS));
        let (op, _) = draw.case(kind);
        let (_, mut types) = draw.case(other);
        types.truncate(draw.below(5));
        evaluate(&mut draw, &op, &types);
    }
}

#[test]
fn a_large_type_costs_nothing_to_infer() {
    let rows = ty(I8, &[ELEMENTS_MAX]);
    for (start, end, step) in
        [(0, i64::MAX, 1), (-1, i64::MIN, -1), (0, i64::MAX, i64::MAX), (-1, i64::MIN, i64::MIN)]
    {
        let op = Slice { axis: 0, start, end, step };
        let shape = Op::Slice(op).infer(&[&rows]).unwrap().remove(0).shape;
        assert_eq!(shape, [if step.unsigned_abs() == 1 { ELEMENTS_MAX } else { 1 }]);
    }
}

#[test]
fn an_empty_tensor_costs_nothing_to_evaluate() {
    let mut draw = Draw::new(7, 0);
    let empty = Tensor::new(I8, vec![ELEMENTS_MAX, 0], vec![]).unwrap();
    let mut evaluated = 0;
    for _ in 0..3000 {
        let kind = draw.below(N_OPS);
        let (op, types) = draw.case(kind);
        let all = operands(&mut draw, &types);
        let inputs: Vec<&Tensor> = std::iter::once(&empty).chain(all.iter().skip(1)).collect();
        let refs: Vec<&TensorType> = inputs.iter().map(|t| t.ty()).collect();
        let Ok(outputs) = op.infer(&refs) else { continue };
        if outputs.iter().all(TensorType::is_empty) {
            op.eval(&inputs).unwrap();
            evaluated += 1;
        }
    }
    assert!(evaluated > 50, "{evaluated}");
}
