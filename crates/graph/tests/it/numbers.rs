//! The border between a request's numbers and the graph's integers.

use std::collections::BTreeMap;

use veracity_graph::{
    Array, ArrayData, Batch, BatchError, Decoding, Dim, Elem, Encoding, Graph, Input, IntData, Output,
    ValueId,
};
use veracity_ops::DType;

use crate::examples::scale;

/// `x` f32, `i` i64 and `j` i32, which share the symbol `n`; `x` becomes `dtype`.
fn graph(dtype: DType, inv_scale: f32, zero: i32) -> Graph {
    let input = |name: &str, elem, dims: &[Dim], encoding| Input {
        name: name.into(),
        elem,
        dims: dims.to_vec(),
        encoding,
    };
    let integer = Encoding::Integer { lo: -2, hi: 5 };
    let n = Dim::Symbol(0);
    Graph {
        symbols: vec!["n".into()],
        inputs: vec![
            input("x", Elem::F32, &[n], Encoding::Quantise { dtype, inv_scale: scale(inv_scale), zero }),
            input("i", Elem::I64, &[Dim::Fixed(1)], integer),
            input("j", Elem::I32, &[n, Dim::Fixed(2)], integer),
        ],
        ..Graph::default()
    }
}

fn array(shape: &[usize], data: ArrayData) -> Array {
    Array { shape: shape.to_vec(), data }
}

/// A good request with `n` 2 and one sample.
fn request() -> BTreeMap<String, Array> {
    let tensors = [
        ("x", array(&[1, 2], ArrayData::F32(vec![0.0, 1.0]))),
        ("i", array(&[1, 1], ArrayData::I64(vec![5]))),
        ("j", array(&[1, 2, 2], ArrayData::I32(vec![-2, 0, 1, 2]))),
    ];
    tensors.into_iter().map(|(name, array)| (name.to_owned(), array)).collect()
}

fn quantised(dtype: DType, inv_scale: f32, zero: i32, x: &[f32]) -> Vec<i64> {
    let mut request = request();
    request.insert("x".into(), array(&[1, x.len()], ArrayData::F32(x.to_vec())));
    request.insert("j".into(), array(&[1, x.len(), 2], ArrayData::I32(vec![0; 2 * x.len()])));
    let batches = graph(dtype, inv_scale, zero).encode_inputs(&request).unwrap();
    assert_eq!(batches[0].data.dtype(), dtype);
    batches[0].data.to_i64()
}

#[test]
fn floats_become_integers() {
    let cases: [(DType, f32, i32, &[f32], &[i64]); 6] = [
        (DType::I8, 1.0, 0, &[0.5, 1.5, 2.5, -0.5, -1.5, -2.5], &[0, 2, 2, 0, -2, -2]),
        (DType::I8, 1.0, 0, &[127.4, 127.5, 1e30, -128.5, -129.0, -0.0], &[127, 127, 127, -128, -128, 0]),
        (DType::I8, 2.0, 10, &[0.25, 0.75, 58.5, 59.0, -69.0, f32::MAX], &[10, 12, 127, 127, -128, 127]),
        (
            DType::I16,
            1.0,
            -32_768,
            &[0.0, 65_534.0, 65_535.0, 65_536.0, -1.0],
            &[-32_768, 32_766, 32_767, 32_767, -32_768],
        ),
        (
            DType::I32,
            f32::MAX,
            0,
            &[f32::MAX, f32::MIN, f32::from_bits(1)],
            &[2_147_483_647, -2_147_483_648, 0],
        ),
        (
            DType::I32,
            1.0,
            i32::MIN,
            &[4_294_967_296.0, f32::MAX, f32::MIN],
            &[2_147_483_647, 2_147_483_647, -2_147_483_648],
        ),
    ];
    for (dtype, inv_scale, zero, x, expected) in cases {
        assert_eq!(quantised(dtype, inv_scale, zero, x), expected, "{x:?} to {dtype:?}");
    }
    // One multiplication in binary32: 0.1 * 5 rounds to 0.5, which is a tie.
    assert_eq!(quantised(DType::I8, 5.0, 0, &[0.1, 0.3]), [0, 2]);
}

#[test]
fn integers_are_taken_as_they_are() {
    let batches = graph(DType::I8, 1.0, 0).encode_inputs(&request()).unwrap();
    assert_eq!(batches[1], Batch { n: 1, shape: vec![1], data: IntData::I32(vec![5]) });
    assert_eq!(batches[2].data, IntData::I32(vec![-2, 0, 1, 2]));
    let types = graph(DType::I8, 1.0, 0).input_types(&batches).unwrap();
    assert_eq!(types.iter().map(|t| t.shape.clone()).collect::<Vec<_>>(), [vec![2], vec![1], vec![2, 2]]);
}

#[test]
fn refusals_name_the_tensor_and_the_rule() {
    let graph = graph(DType::I8, 1.0, 0);
    let f32s = |n: usize| ArrayData::F32(vec![0.0; n]);
    let i64s = |values: &[i64]| ArrayData::I64(values.to_vec());
    let i32s = |n: usize| ArrayData::I32(vec![0; n]);
    let shape = |name: &str, found: &[usize], takes: &str| {
        format!("input '{name}' has shape {found:?}, the model takes {takes} (the first axis is the batch)")
    };
    let cases = [
        ("x", None, "input 'x' is missing".to_owned()),
        (
            "z",
            Some(array(&[1], f32s(1))),
            "the model has no input 'z'; its inputs are [\"x\", \"i\", \"j\"]".to_owned(),
        ),
        ("x", Some(array(&[1, 2], i32s(2))), "input 'x' has type i32, the model takes f32".to_owned()),
        ("i", Some(array(&[1, 1], i32s(1))), "input 'i' has type i32, the model takes i64".to_owned()),
        ("j", Some(array(&[1, 2, 2], f32s(4))), "input 'j' has type f32, the model takes i32".to_owned()),
        ("x", Some(array(&[], f32s(1))), shape("x", &[], "[batch, n]")),
        ("x", Some(array(&[0, 2], f32s(0))), shape("x", &[0, 2], "[batch, n]")),
        ("x", Some(array(&[1, 2, 1], f32s(2))), shape("x", &[1, 2, 1], "[batch, n]")),
        ("x", Some(array(&[1, 0], f32s(0))), shape("x", &[1, 0], "[batch, n]")),
        ("i", Some(array(&[2, 1], i64s(&[1, 1]))), shape("i", &[2, 1], "[batch, 1]")),
        ("i", Some(array(&[1, 2], i64s(&[1, 1]))), shape("i", &[1, 2], "[batch, 1]")),
        ("j", Some(array(&[1, 3, 2], i32s(6))), shape("j", &[1, 3, 2], "[batch, n, 2]")),
        ("x", Some(array(&[1, 2], f32s(3))), "input 'x' has 3 values, its shape needs 2".to_owned()),
        (
            "x",
            Some(array(&[1, usize::MAX], f32s(3))),
            format!("input 'x' has 3 values, its shape needs {}", usize::MAX),
        ),
        (
            "x",
            Some(array(&[1, 2], ArrayData::F32(vec![0.0, f32::NAN]))),
            "input 'x' holds a NaN or infinity at position 1".to_owned(),
        ),
        (
            "x",
            Some(array(&[1, 2], ArrayData::F32(vec![f32::NEG_INFINITY, 0.0]))),
            "input 'x' holds a NaN or infinity at position 0".to_owned(),
        ),
        (
            "i",
            Some(array(&[1, 1], i64s(&[6]))),
            "input 'i' holds 6 at position 0, outside [-2, 5]".to_owned(),
        ),
        (
            "i",
            Some(array(&[1, 1], i64s(&[i64::MIN]))),
            format!("input 'i' holds {} at position 0, outside [-2, 5]", i64::MIN),
        ),
        (
            "i",
            Some(array(&[1, 1], i64s(&[1 << 32]))),
            "input 'i' holds 4294967296 at position 0, outside [-2, 5]".to_owned(),
        ),
        (
            "j",
            Some(array(&[1, 2, 2], ArrayData::I32(vec![0, 0, -3, 9]))),
            "input 'j' holds -3 at position 2, outside [-2, 5]".to_owned(),
        ),
    ];
    for (name, array, expected) in cases {
        let mut request = request();
        match array {
            Some(array) => drop(request.insert(name.to_owned(), array)),
            None => drop(request.remove(name)),
        }
        assert_eq!(graph.encode_inputs(&request).unwrap_err().to_string(), expected);
    }
    // Requests are maps; whoever reads a list of tensors refuses the second one with this.
    let twice = BatchError::DuplicateInput { name: "x".into() };
    assert_eq!(twice.to_string(), "input 'x' is given twice");
}

#[test]
fn integers_become_answers() {
    let decoding = |scale_value, zero| Decoding::Dequantise { scale: scale(scale_value), zero };
    let wide = IntData::I64(vec![1 << 40, -(1 << 40), 7, (1 << 24) + 1]);
    let i32s = ArrayData::I32(vec![i32::MAX, i32::MIN, 7, (1 << 24) + 1]);
    let floats = [1_099_511_627_776.0, -1_099_511_627_776.0, 7.0, 16_777_216.0];
    let cases = [
        (decoding(1.0, 0), wide.clone(), ArrayData::F32(floats.to_vec())),
        (Decoding::Integer(Elem::I32), wide.clone(), i32s),
        (Decoding::Integer(Elem::I64), wide.clone(), ArrayData::I64(wide.to_i64())),
        (decoding(0.5, -1), IntData::I8(vec![-128, 0, 1, 127]), ArrayData::F32(vec![-63.5, 0.5, 1.0, 64.0])),
        (
            decoding(0.1, 0),
            IntData::I16(vec![3, -3, 0, 1]),
            ArrayData::F32(vec![3.0 * 0.1, -3.0 * 0.1, 0.0, 0.1]),
        ),
        (
            decoding(f32::MAX, i32::MIN),
            IntData::I32(vec![i32::MAX, i32::MIN, -1, 0]),
            ArrayData::F32(vec![f32::INFINITY, 0.0, f32::INFINITY, f32::INFINITY]),
        ),
    ];
    for (decoding, data, expected) in cases {
        let outputs = vec![Output { name: "y".into(), value: ValueId(0), decoding }];
        let graph = Graph { outputs, ..Graph::default() };
        let batch = Batch { n: 2, shape: vec![2], data };
        assert_eq!(graph.decode_outputs(&[batch]), [("y".to_owned(), array(&[2, 2], expected))]);
    }
}

#[test]
fn bytes_are_little_endian() {
    let arrays = [
        (array(&[1], ArrayData::F32(vec![1.0])), vec![0, 0, 0x80, 0x3F]),
        (array(&[1], ArrayData::I32(vec![-2])), vec![0xFE, 0xFF, 0xFF, 0xFF]),
        (array(&[1], ArrayData::I64(vec![258])), vec![2, 1, 0, 0, 0, 0, 0, 0]),
    ];
    for (array, bytes) in arrays {
        assert_eq!(array.to_bytes(), bytes);
        assert_eq!(bytes.len(), array.elem().size() * array.len());
        assert!(!array.is_empty());
    }
}
