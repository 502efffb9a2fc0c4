//! Bytes and models meant to break the importer: typed refusals, no panic, memory in proportion to the file.

use prost::Message;

use super::{
    accuracy::digits,
    builder::{Onnx, float, int, ints, text},
    quantised::{qdq, qoperator},
    samples, try_import,
};
use crate::{Activations, ImportError, Options, Scheme, import, onnx::ModelProto, parse_only};

#[test]
fn truncated_files() {
    for file in ["digits-mlp.onnx", "digits-cnn.onnx"] {
        let bytes = digits(file);
        for len in (0..400).chain((400..bytes.len()).step_by(331)) {
            assert!(parse_only(&bytes[..len]).is_err(), "{file} cut to {len} bytes");
        }
    }
}

/// A generator of numbers that fuzzing mixes in.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % n
    }

    fn number(&mut self) -> i64 {
        let odd = [
            0,
            1,
            -1,
            2,
            3,
            7,
            255,
            1 << 16,
            1 << 20,
            (1 << 31) - 1,
            1 << 31,
            1 << 62,
            i64::MAX,
            i64::MIN,
            i64::MIN + 1,
        ];
        odd[self.roll(odd.len())]
    }
}

/// A model with many kinds of nodes.
fn varied() -> Onnx {
    Onnx::new(&[-1, 4, 6, 6])
        .random("w", &[4, 2, 3, 3])
        .random("t", &[4, 2, 3, 3])
        .random("b", &[4])
        .random("v", &[144, 5])
        .random("a", &[4, 1, 1])
        .ints("shape", &[-1, 4, 36])
        .ints("pads", &[0, 0, 1, 1, 0, 0, 1, 1])
        .ints("one", &[1])
        .ints("three", &[3])
        .floats("scales", &[4], &[1.0, 1.0, 2.0, 2.0])
        .node("Conv", "x w b", "c", &[int("group", 2), ints("pads", &[1, 1, 1, 1]), ints("strides", &[1, 1])])
        .node("PRelu", "c a", "p", &[])
        .node(
            "ConvTranspose",
            "p t",
            "u",
            &[int("group", 2), ints("strides", &[2, 2]), ints("output_padding", &[1, 1])],
        )
        .node(
            "MaxPool",
            "u",
            "m",
            &[ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2]), int("ceil_mode", 1)],
        )
        .node("Pad", "m pads", "q", &[])
        .node("Resize", "q - scales", "r", &[])
        .node("Slice", "c one three one", "s", &[])
        .node("ReduceMean", "r", "mean", &[ints("axes", &[2, 3])])
        .node("Transpose", "c", "tr", &[ints("perm", &[0, 3, 2, 1])])
        .node("Reshape", "c shape", "rs", &[])
        .node("Flatten", "c", "f", &[int("axis", 1)])
        .node("Gemm", "f v", "g", &[float("alpha", 0.5)])
        .node("Gather", "rs one", "ga", &[int("axis", 2)])
        .node("Softmax", "g", "y", &[int("axis", 1)])
        .node("Concat", "g y", "j", &[int("axis", 1)])
        .node("Elu", "j", "e", &[float("alpha", 1.0)])
        .node("ArgMax", "e", "i", &[int("axis", 1)])
        .node("Unsqueeze", "g one", "us", &[])
        .node("Split", "us", "k l", &[int("axis", 2)])
        .output("y i mean tr s us")
}

/// A model with functions, recurrent layers and what they are made of.
fn functional() -> Onnx {
    Onnx::new(&[-1, 6, 5])
        .random("w", &[1, 12, 5])
        .random("r", &[1, 12, 3])
        .random("b", &[1, 24])
        .random("w2", &[2, 9, 3])
        .random("r2", &[2, 9, 3])
        .random("c", &[6, 1])
        .floats("cube", &[1], &[3.0])
        .floats("half", &[1], &[0.5])
        .floats("one", &[1], &[1.0])
        .ints("zero", &[0])
        .ints("first", &[1])
        .ints("merge", &[0, 0, -1])
        .ints("shape", &[1, 6, 5])
        .node("Exp", "x", "e", &[])
        .node("Add", "e one", "e1", &[])
        .node("Log", "e1", "l", &[])
        .node("Div", "x e1", "d", &[])
        .node("Pow", "d cube", "p", &[])
        .node("Abs", "p", "a", &[])
        .node("Pow", "a half", "s", &[])
        .node("LogSoftmax", "l", "ls", &[int("axis", 1)])
        .node("Softmax", "s", "sm", &[int("axis", 1)])
        .node("Expand", "c shape", "ex", &[])
        .node("ConstantOfShape", "shape", "cs", &[])
        .node("Add", "sm ex", "m", &[])
        .node("Mul", "m cs", "m0", &[])
        .node("Add", "ls m0", "z", &[])
        .node("Transpose", "z", "t", &[ints("perm", &[1, 0, 2])])
        .node("LSTM", "t w r b", "ys h", &[int("hidden_size", 3)])
        .node("Squeeze", "ys first", "y1", &[])
        .node(
            "GRU",
            "y1 w2 r2",
            "gs gh",
            &[text("direction", "bidirectional"), int("linear_before_reset", 1)],
        )
        .node("Transpose", "gs", "g1", &[ints("perm", &[0, 2, 1, 3])])
        .node("Reshape", "g1 merge", "g2", &[])
        .node("Gather", "g2 zero", "g3", &[int("axis", 0)])
        .node("Squeeze", "g3 zero", "y", &[])
        .node("Squeeze", "h zero", "yh", &[])
        .output("y yh z")
}

/// Changes one number or name of a model.
fn disturb(model: &mut Onnx, dice: &mut Dice) {
    let graph = &mut model.graph;
    let (node, tensor) = (dice.roll(graph.node.len()), dice.roll(graph.initializer.len()));
    let (other, value) = (dice.roll(graph.node.len()), dice.number());
    let name = graph.node[other].output[0].clone();
    match dice.roll(8) {
        0 | 1 => {
            let attributes = &mut graph.node[node].attribute;
            if attributes.is_empty() {
                return;
            }
            let at = dice.roll(attributes.len());
            let attribute = &mut attributes[at];
            attribute.i = value;
            attribute.f = value as f32;
            if !attribute.ints.is_empty() {
                let at = dice.roll(attribute.ints.len());
                attribute.ints[at] = value;
            }
        }
        2 => {
            let dims = &mut graph.initializer[tensor].dims;
            if !dims.is_empty() {
                let at = dice.roll(dims.len());
                dims[at] = value;
            }
        }
        3 => graph.initializer[tensor].dims.push(value),
        4 => {
            let t = &mut graph.initializer[tensor];
            if t.data_type == crate::onnx::data_type::INT64 {
                t.raw_data.splice(..8, value.to_le_bytes());
            } else {
                let at = dice.roll(t.raw_data.len());
                t.raw_data[at] ^= 0x7f;
            }
        }
        5 => {
            let input = &mut graph.node[node].input;
            let at = dice.roll(input.len());
            input[at] = name;
        }
        6 => graph.node[node].op_type = graph.node[other].op_type.clone(),
        _ => {
            let shape = graph.input[0]
                .r#type
                .as_mut()
                .and_then(|t| t.tensor_type.as_mut())
                .and_then(|t| t.shape.as_mut());
            if let Some(shape) = shape {
                let at = dice.roll(shape.dim.len());
                shape.dim[at].value = Some(crate::onnx::DimValue::Value(value % 4096));
            }
        }
    }
}

/// Models of every kind, disturbed `n` times each: read, and converted with samples where that still works.
fn disturb_all(seed: u64, n: usize) {
    // Tables of functions take their time.
    let kinds: [(Onnx, &[usize], usize); 4] = [
        (varied(), &[4, 6, 6], n),
        (functional(), &[6, 5], n / 4),
        (qdq(), &[3, 6, 6], n),
        (qoperator(), &[3, 6, 6], n),
    ];
    for (kind, extents, n) in kinds {
        let samples = samples(&[("x", extents)]);
        try_import(&kind).unwrap();
        let mut dice = Dice(seed);
        let mut refused = 0;
        for _ in 0..n {
            let mut model = kind.clone();
            for _ in 0..=dice.roll(3) {
                disturb(&mut model, &mut dice);
            }
            let parsed = parse_only(&model.bytes());
            if let (Err(error), Ok(_)) = (&parsed, try_import(&model)) {
                panic!("{error}, and yet it is imported");
            }
            let options = Options { activations: Activations::I16, scheme: Scheme::Auto };
            if parsed.is_ok() && dice.roll(8) == 0 {
                let _ = import(&model.bytes(), Some(&samples), &options, &mut |_| {});
            }
            refused += usize::from(parsed.is_err());
        }
        assert!((n / 5..n).contains(&refused), "{refused} refused");
    }
}

#[test]
fn disturbed_models() {
    disturb_all(11, 400);
}

#[test]
fn disturbed_bytes() {
    let bytes = digits("digits-mlp.onnx");
    let mut dice = Dice(5);
    for _ in 0..600 {
        let mut bytes = bytes.clone();
        for _ in 0..=dice.roll(6) {
            // Most bytes are weights; the structure lies at both ends of them.
            let at = if dice.roll(2) == 0 { dice.roll(600) } else { bytes.len() - 1 - dice.roll(600) };
            bytes[at] = u8::try_from(dice.roll(256)).unwrap();
        }
        let _ = parse_only(&bytes);
    }
}

#[test]
fn deep_nesting() {
    // A graph within an attribute of a node of a graph, and so on.
    let mut bytes = Vec::new();
    for tag in std::iter::repeat_n([0x32, 0x2a, 0x0a], 400).flatten() {
        let mut outer = vec![tag];
        prost::encoding::encode_varint(bytes.len() as u64, &mut outer);
        outer.extend_from_slice(&bytes);
        bytes = outer;
    }
    let mut model = vec![0x3a];
    prost::encoding::encode_varint(bytes.len() as u64, &mut model);
    model.extend_from_slice(&bytes);
    assert_eq!(parse_only(&model).unwrap_err().code(), "not_onnx");
}

#[test]
fn an_empty_weight_with_a_huge_extent() {
    for (op, dims) in [
        ("MatMul", [0i64, 1 << 62]),
        ("Gemm", [1 << 62, 0]),
        ("MatMul", [0, 1 << 30]),
        ("Gemm", [1 << 30, 0]),
    ] {
        let model = Onnx::new(&[-1, 4]).floats("w", &dims, &[]).node(op, "x w", "y", &[]).output("y");
        assert!(try_import(&model).is_err(), "{op} {dims:?}");
    }
}

#[test]
fn long_chains() {
    let mut chain = Onnx::new(&[-1, 4, 1]).ints("t", &[-1, 2, 2]).ints("s", &[-1, 4, 1]);
    for i in 0..10_000 {
        let from = if i == 0 { "x".to_owned() } else { format!("v{i}") };
        let to = if i % 2 == 0 { "t" } else { "s" };
        chain = chain.node("Reshape", &format!("{from} {to}"), &format!("v{}", i + 1), &[]);
    }
    try_import(&chain.output("v10000")).unwrap();
}

#[test]
fn shapes_that_double() {
    let mut model = Onnx::new(&[-1, 4]).node("Shape", "x", "s0", &[]);
    for i in 0..60 {
        model = model.node("Concat", &format!("s{i} s{i}"), &format!("s{}", i + 1), &[int("axis", 0)]);
    }
    let error = try_import(&model.node("Reshape", "x s60", "y", &[]).output("y")).unwrap_err();
    assert!(error.to_string().contains("a computed shape has more than 64 items"), "{error}");
}

#[test]
fn one_constant_used_many_times() {
    let mut model = Onnx::new(&[-1, 1 << 20]).floats("w", &[1 << 20], &vec![0.5; 1 << 20]);
    for i in 0..400 {
        let from = if i == 0 { "x".to_owned() } else { format!("v{i}") };
        model = model.node("Add", &format!("{from} w"), &format!("v{}", i + 1), &[]);
    }
    let error = try_import(&model.output("v400")).unwrap_err();
    assert!(matches!(error, ImportError::UnsupportedUse { .. }), "{error}");
    assert!(
        error.to_string().contains("constants that are used many times would take too much memory"),
        "{error}"
    );
}

#[test]
fn extents_that_grow() {
    let mut model = Onnx::new(&[-1, 1, 4, 4]).floats("s", &[4], &[1.0, 1.0, 65_536.0, 65_536.0]);
    model = model.node("Resize", "x s", "v0", &[]).opset(10);
    for i in 0..6 {
        model = model.node("Resize", &format!("v{i} s"), &format!("v{}", i + 1), &[]);
    }
    let error = try_import(&model.output("v6")).unwrap_err();
    assert!(error.to_string().contains("2^31 elements"), "{error}");
    let w = Onnx::new(&[-1, 1, -1]).ints("t", &[0, 1, 1 << 62]).node("Reshape", "x t", "r", &[]).output("r");
    assert!(try_import(&w).is_err());
}

#[test]
fn recurrent_layers_of_a_small_file() {
    // Weights of huge extents without values, and many long layers of the same weights.
    let model = || Onnx::new(&[-1, 512, 2]).node("Transpose", "x", "v0", &[ints("perm", &[1, 0, 2])]);
    let empty = model().floats("w", &[0, 1 << 31, 2], &[]).floats("r", &[0, 0, 1 << 30], &[]);
    assert!(try_import(&empty.node("LSTM", "v0 w r", "y h", &[]).output("y")).is_err());
    let mut many = model().random("w", &[1, 8, 2]).random("r", &[1, 8, 2]).ints("one", &[1]);
    for i in 0..2000 {
        many = many.node("LSTM", &format!("v{i} w r"), &format!("y{i}"), &[]);
        many = many.node("Squeeze", &format!("y{i} one"), &format!("v{}", i + 1), &[]);
    }
    let error = try_import(&many.output("v2000")).map(|i| i.report).unwrap_err();
    assert!(error.to_string().contains("used many times would take too much memory"), "{error}");
}

#[test]
fn the_models_are_what_they_seem() {
    assert!(ModelProto::decode(varied().bytes().as_slice()).is_ok());
}
