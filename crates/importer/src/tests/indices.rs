//! Integer inputs: indices that are looked up in constants.

use veracity_graph::{Array, ArrayData, BatchError, Elem, Encoding};

use super::{
    N,
    builder::{Onnx, int, ints},
    compare, reference, try_import,
};
use crate::{ImportError, Samples, onnx::data_type};

/// A model with an integer input `ids` of these extents.
fn indexed(data_type: i32, extents: &[i64]) -> Onnx {
    let mut model = Onnx::new(&[-1]);
    model.graph.input.clear();
    let mut model = model.input("ids", extents);
    model.graph.input[0].r#type.as_mut().unwrap().tensor_type.as_mut().unwrap().elem_type = data_type;
    model
}

/// `N` samples of `len` indices below `rows`.
fn ids(extents: &[usize], rows: i64) -> Array {
    let n = N * extents.iter().product::<usize>();
    let values = (0..i64::try_from(n).unwrap()).map(|i| (i * 7 + i / 5) % rows).collect();
    let shape = std::iter::once(N).chain(extents.iter().copied()).collect();
    Array { shape, data: ArrayData::I64(values) }
}

fn as_i32(array: Array) -> Array {
    let ArrayData::I64(values) = array.data else { panic!("indices are i64") };
    Array {
        shape: array.shape,
        data: ArrayData::I32(values.iter().map(|&v| i32::try_from(v).unwrap()).collect()),
    }
}

fn given(array: Array) -> Samples {
    Samples::from([("ids".to_owned(), array)])
}

fn agrees(what: &str, model: &Onnx, samples: &Samples) {
    compare(what, model, samples, &reference(model, samples));
}

/// The mean of six embeddings, classified.
fn bag(data_type: i32) -> Onnx {
    indexed(data_type, &[-1, 6])
        .random("table", &[20, 8])
        .random("w", &[8, 5])
        .node("Gather", "table ids", "e", &[])
        .node("ReduceMean", "e", "m", &[ints("axes", &[1]), int("keepdims", 0)])
        .node("MatMul", "m w", "y", &[])
        .output("y e")
}

#[test]
fn embeddings() {
    agrees("bag of words", &bag(data_type::INT64), &given(ids(&[6], 20)));
    agrees("bag of words by i32", &bag(data_type::INT32), &given(as_i32(ids(&[6], 20))));
    let one = indexed(data_type::INT64, &[-1]).random("table", &[9, 4]).node("Gather", "table ids", "y", &[]);
    agrees("one index a sample", &one.output("y"), &given(ids(&[], 9)));
    let numbers =
        indexed(data_type::INT64, &[-1, 3]).random("table", &[9]).node("Gather", "table ids", "y", &[]);
    agrees("a table of numbers", &numbers.output("y"), &given(ids(&[3], 9)));
    let large: Vec<f32> = super::random(5, 36).iter().map(|v| 3000.0 * v).collect();
    let large = indexed(data_type::INT64, &[-1, 3]).floats("table", &[9, 4], &large);
    agrees("large numbers", &large.node("Gather", "table ids", "y", &[]).output("y"), &given(ids(&[3], 9)));
    let negative =
        indexed(data_type::INT64, &[-1, 3]).random("table", &[9, 4]).node("Gather", "table ids", "y", &[]);
    let mut from_the_end = ids(&[3], 9);
    if let ArrayData::I64(values) = &mut from_the_end.data {
        values.iter_mut().for_each(|v| *v -= 9);
    }
    agrees("from the end", &negative.output("y"), &given(from_the_end));
}

#[test]
fn sequences_of_any_length() {
    let model = indexed(data_type::INT64, &[-1, -1])
        .random("table", &[20, 8])
        .random("w", &[8, 8])
        .node("Gather", "table ids", "e", &[])
        .node("MatMul", "e w", "m", &[])
        .node("Tanh", "m", "t", &[])
        .node("ReduceMax", "t", "y", &[ints("axes", &[1]), int("keepdims", 0)])
        .output("y");
    agrees("short", &model, &given(ids(&[4], 20)));
    agrees("long", &model, &given(ids(&[17], 20)));
}

#[test]
fn positions_and_moved_indices() {
    let model = indexed(data_type::INT64, &[-1, 2, 6])
        .random("table", &[20, 8])
        .random("positions", &[12, 8])
        .raw("six", &[6], data_type::INT64, (0..6i64).flat_map(i64::to_le_bytes).collect())
        .ints("start", &[1])
        .ints("end", &[2])
        .ints("axis", &[1])
        .node("Slice", "ids start end axis", "second", &[])
        .node("Squeeze", "second axis", "flat", &[])
        .node("Cast", "flat", "cast", &[int("to", i64::from(data_type::INT64))])
        .node("Gather", "table cast", "e", &[])
        .node("Gather", "positions six", "p", &[])
        .node("Add", "e p", "y", &[])
        .output("y");
    agrees("positions", &model, &given(ids(&[2, 6], 20)));
    let imported = try_import(&model).unwrap();
    let input = &imported.model.graph().inputs[0];
    assert_eq!((input.elem, input.encoding), (Elem::I64, Encoding::Integer { lo: -20, hi: 19 }));
}

#[test]
fn indices_beyond_the_table() {
    let imported = try_import(&bag(data_type::INT64)).unwrap();
    let mut array = ids(&[6], 20);
    if let ArrayData::I64(values) = &mut array.data {
        values[4] = 20;
    }
    let error = imported.model.graph().encode_inputs(&given(array)).unwrap_err();
    assert!(matches!(error, BatchError::Range { position: 4, value: 20, lo: -20, hi: 19, .. }), "{error}");
    let error = imported.model.graph().encode_inputs(&given(as_i32(ids(&[6], 20)))).unwrap_err();
    assert!(matches!(error, BatchError::Type { .. }), "{error}");
    let unused = indexed(data_type::INT64, &[-1, 3]).node("Identity", "ids", "y", &[]).output("y");
    let encoding = try_import(&unused).unwrap().model.graph().inputs[0].encoding;
    assert_eq!(encoding, Encoding::Integer { lo: i32::MIN, hi: i32::MAX });
}

#[test]
fn uses_of_indices_that_are_refused() {
    let model = || indexed(data_type::INT64, &[-1, 3]).random("table", &[9, 4]).floats("none", &[0, 4], &[]);
    let cases = [
        (
            model().node("Relu", "ids", "y", &[]),
            "indices can be answered, moved and looked up, not computed with",
        ),
        (
            model().node("Cast", "ids", "y", &[int("to", 1)]),
            "indices can be answered, moved and looked up, not computed with",
        ),
        (
            model().node("Gather", "table ids", "y", &[int("axis", 1)]),
            "a table is looked up along its first axis, which must not be empty",
        ),
        (
            model().node("Gather", "none ids", "y", &[]),
            "a table is looked up along its first axis, which must not be empty",
        ),
        (model().input("x", &[-1, 3]).node("Gather", "table x", "y", &[]), "the indices must be integers"),
        (
            model().input("x", &[-1, 3]).node("Gather", "x ids", "y", &[int("axis", 1)]),
            "operand 1 must be a constant of the model",
        ),
        (model().ints("far", &[9]).node("Gather", "table far", "y", &[]), "an index is outside its axis"),
        (
            model().ints("many", &[0; 300_000]).node("Gather", "table many", "y", &[]),
            "it makes a constant that is much larger than its operand",
        ),
    ];
    for (model, expected) in cases {
        match try_import(&model.output("y")).map(|i| i.report) {
            Err(ImportError::UnsupportedUse { reason, .. }) => assert_eq!(reason, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
}
