//! Each refusal is reached, and says what it should.

use super::{
    builder::{Onnx, float, float_tensor, int, ints, tensor, text},
    samples, try_import,
};
use crate::{ImportError, Options, Samples, Scheme, import, onnx::data_type};

fn refusal(model: &Onnx) -> ImportError {
    try_import(model).map(|i| i.report).expect_err("the model should be refused")
}

/// Checks the code and the whole message of a refusal.
fn expect(model: &Onnx, code: &str, message: &str) {
    let error = refusal(model);
    assert_eq!((error.code(), error.to_string().as_str()), (code, message));
}

fn identity() -> Onnx {
    Onnx::new(&[-1, 4]).node("Relu", "x", "y", &[]).output("y")
}

fn with_samples(model: &Onnx, samples: &Samples, scheme: Scheme) -> ImportError {
    let options = Options { scheme, ..Options::default() };
    import(&model.bytes(), Some(samples), &options, &mut |_| {})
        .map(|i| i.report)
        .expect_err("should be refused")
}

#[test]
fn files_that_are_not_onnx() {
    for bytes in [&b""[..], b"PK\x03\x04 a zip", b"\x80\x04 a pickle", &[0xff; 40]] {
        let error = crate::parse_only(bytes).unwrap_err();
        assert_eq!(error.code(), "not_onnx", "{error}");
        assert!(error.to_string().starts_with("not a readable ONNX file: "), "{error}");
    }
    for (bytes, reason) in [
        (&b""[..], "the file is empty"),
        (b"\x08\x08", "it holds no graph"),
        (b"\x3a\x00", "it declares neither a version nor operator sets"),
    ] {
        let error = crate::parse_only(bytes).unwrap_err();
        assert_eq!(error.to_string(), format!("not a readable ONNX file: {reason}"));
        assert_eq!(import(bytes, None, &Options::default(), &mut |_| {}).unwrap_err().code(), "not_onnx");
    }
}

#[test]
fn operator_sets() {
    let hint = "convert the model with onnx.version_converter";
    for opset in [8, 28, 0, -1, i64::MIN] {
        let message = format!("operator set {opset} of domain 'ai.onnx' is outside 9 to 27; {hint}");
        expect(&identity().opset(opset), "unsupported_opset", &message);
    }
}

#[test]
fn operators() {
    let model = |op: &str| Onnx::new(&[-1, 4]).node(op, "x", "y", &[]).output("y");
    for (op, hint) in [
        ("NonMaxSuppression", "docs/importing.md lists the supported operators"),
        (
            "RNN",
            "of the recurrent layers LSTM and GRU are supported; write the steps out, or use one of them",
        ),
        ("LayerNormalization", "transformer operators are not part of this importer version"),
        ("If", "control flow is not supported; export with fixed control flow"),
        ("com.microsoft.FusedConv", "export without ONNX Runtime's graph optimisations"),
        ("com.microsoft.Rope", "docs/importing.md lists the supported operators"),
        ("my.domain.Op", "only the default ONNX domain and ONNX Runtime's quantised operators are read"),
    ] {
        let node = format!("{}_0", op.rsplit('.').next().unwrap());
        expect(
            &model(op),
            "unsupported_operator",
            &format!("operator {op} (node '{node}') is not supported: {hint}"),
        );
    }
}

#[test]
fn a_nameless_node_goes_by_its_output() {
    let mut model = Onnx::new(&[-1, 4]).node("Foo", "x", "y", &[]).output("y");
    model.graph.node[0].name.clear();
    let message = "operator Foo (node 'y') is not supported: docs/importing.md lists the supported operators";
    expect(&model, "unsupported_operator", message);
}

#[test]
fn uses_of_operators() {
    let image = || {
        Onnx::new(&[-1, 3, 6, 6])
            .random("w", &[4, 3, 3, 3])
            .random("w0", &[4, 3, 0, 3])
            .ints("big", &[1 << 62, -1])
    };
    let cases: Vec<(Onnx, &str, &str)> = vec![
        (image().node("Conv", "x w", "y", &[int("group", 0)]), "Conv", "group must lie between 1 and 65536"),
        (
            image().node("Conv", "x w", "y", &[int("group", i64::MAX)]),
            "Conv",
            "group must lie between 1 and 65536",
        ),
        (
            image().node("Conv", "x w", "y", &[int("group", 2)]),
            "Conv",
            "channels, groups and weights disagree",
        ),
        (
            image().node("Conv", "x w0", "y", &[]),
            "Conv",
            "an attribute has the wrong length, or a value outside its range",
        ),
        (
            image().node("Conv", "x w", "y", &[ints("strides", &[0, 1])]),
            "Conv",
            "an attribute has the wrong length, or a value outside its range",
        ),
        (
            image().node("Conv", "x w", "y", &[ints("pads", &[-1, 0, 0, 0])]),
            "Conv",
            "padding must be between 0 and 65536",
        ),
        (
            image().node("Conv", "x w", "y", &[ints("dilations", &[9, 9])]),
            "Conv",
            "the kernel is larger than the padded input",
        ),
        (
            image().node("Conv", "x w", "y", &[text("auto_pad", "SAME")]),
            "Conv",
            "auto_pad has an unknown value",
        ),
        (image().node("Conv", "x", "y", &[]), "Conv", "the weights are missing"),
        (image().node("Conv", "x x", "y", &[]), "Conv", "operand 1 must be a constant of the model"),
        (
            image().node("ConvTranspose", "x w", "y", &[ints("output_shape", &[9, 9])]),
            "ConvTranspose",
            "output_shape is not supported; give pads and output_padding",
        ),
        (
            image().node("MaxPool", "x", "y", &[ints("kernel_shape", &[0, 2])]),
            "MaxPool",
            "an attribute has the wrong length, or a value outside its range",
        ),
        (
            image().node("MaxPool", "x", "y i", &[ints("kernel_shape", &[2, 2])]),
            "MaxPool",
            "the indices output is not supported",
        ),
        (
            image().node("Concat", "x x", "y", &[int("axis", 0)]),
            "Concat",
            "it works along the batch axis, which would mix samples",
        ),
        (
            image().node("Concat", "x x", "y", &[int("axis", i64::MAX)]),
            "Concat",
            "the axis is outside the rank",
        ),
        (
            image().node("ReduceMean", "x", "y", &[]),
            "ReduceMean",
            "without axes it reduces the batch axis too, which would mix samples",
        ),
        (
            image().node("Transpose", "x", "t", &[]).node("Relu", "t", "y", &[]),
            "Relu",
            "the batch axis of its operand is not the first; transpose it before",
        ),
        (
            image().node("Transpose", "x", "y", &[ints("perm", &[0, 1, 1, 2])]),
            "Transpose",
            "perm is not a permutation of the axes",
        ),
        (
            image().node("Reshape", "x big", "y", &[]),
            "Reshape",
            "the batch axis must stay first and apart; export with a batch axis",
        ),
        (
            image().node("Flatten", "x", "y", &[int("axis", i64::MAX)]),
            "Flatten",
            "only axis 1, which keeps the batch axis, is supported",
        ),
        (image().node("Pad", "x big", "y", &[]), "Pad", "pads must hold a begin and an end per axis"),
        (
            image().ints("p", &[0, 0, 1 << 40, 0, 0, 0, 0, 0]).node("Pad", "x p", "y", &[]),
            "Pad",
            "padding must not exceed 2^20 positions",
        ),
        (
            image().ints("p", &[0, 0, -1, 0, 0, 0, 0, 0]).node("Pad", "x p", "y", &[]),
            "Pad",
            "negative padding is not supported; use Slice",
        ),
        (
            image().node("Elu", "x", "y", &[float("alpha", f32::NAN)]),
            "Elu",
            "attribute 'alpha' is not a finite number",
        ),
        (image().floats("zero", &[], &[0.0]).node("Div", "x zero", "y", &[]), "Div", "it divides by zero"),
        (
            image().floats("c", &[2, 1, 1, 1], &[0.0; 2]).node("Add", "x c", "y", &[]),
            "Add",
            "a constant operand differs along the batch axis",
        ),
        (
            image().floats("c", &[5], &[0.0; 5]).node("Add", "x c", "y", &[]),
            "Add",
            "a constant operand does not broadcast to the value's shape",
        ),
        (
            image().node("Resize", "x - - big", "y", &[text("mode", "linear")]),
            "Resize",
            "only mode 'nearest' is supported",
        ),
        (
            image().floats("s", &[4], &[1.0, 1.0, 1.0, 1.3]).node("Resize", "x - s", "y", &[]),
            "Resize",
            "a scale does not give a whole number of positions; give sizes",
        ),
        (
            image().node("ArgMax", "x", "i", &[int("axis", 1)]).node("Relu", "i", "y", &[]),
            "Relu",
            "indices can be answered, moved and looked up, not computed with",
        ),
        (
            image().ints("s", &[0]).ints("e", &[0]).ints("a", &[1]).node("Slice", "x s e a", "y", &[]),
            "Slice",
            "a value would be empty, or have more than 8 axes or 2^31 elements",
        ),
        (
            image().node("Elu", "x", "y", &[float("alpha", 1e30)]),
            "activation",
            "its parameters make it steeper than 32767 or its curve higher than 8191; scale the model down",
        ),
        (
            image()
                .floats("k", &[4, 1, 1], &[3e38; 4])
                .node("Conv", "x w", "c", &[])
                .node("Mul", "c k", "k2", &[])
                .node("Mul", "k2 k", "y", &[]),
            "constants",
            "its weights exceed the range of f32 once scales are folded into them",
        ),
    ];
    for (model, op, reason) in cases {
        match refusal(&model.output("y")) {
            ImportError::UnsupportedUse { op: found, reason: why, .. } => {
                assert_eq!((found.as_str(), why.as_str()), (op, reason));
            }
            other => panic!("{op}, {reason}: {other}"),
        }
    }
    let model = image().node("Conv", "x w", "y", &[int("group", 0)]).output("y");
    expect(&model, "unsupported_use", "node 'Conv_0' (Conv): group must lie between 1 and 65536");
}

#[test]
fn tensors_that_nothing_defines() {
    let message = "node 'Relu_0' uses tensor 'nowhere', which nothing defines before it";
    expect(&Onnx::new(&[-1, 4]).node("Relu", "nowhere", "y", &[]).output("y"), "undefined_tensor", message);
    let cyclic = Onnx::new(&[-1, 4]).node("Add", "x b", "a", &[]).node("Relu", "a", "b", &[]).output("b");
    expect(&cyclic, "undefined_tensor", "node 'Add_0' uses tensor 'b', which nothing defines before it");
}

#[test]
fn bad_tensors() {
    let bad = |model: Onnx, reason: &str| {
        expect(
            &model.node("Relu", "x", "y", &[]).output("y"),
            "bad_tensor",
            &format!("tensor 'w': {reason}"),
        );
    };
    let new = || Onnx::new(&[-1, 4]);
    bad(new().floats("w", &[2], &[1.0, f32::NAN]), "it holds a NaN or an infinity");
    bad(new().floats("w", &[2], &[1.0, f32::INFINITY]), "it holds a NaN or an infinity");
    bad(new().floats("w", &[3], &[1.0, 2.0]), "the number of values differs from its shape");
    bad(new().floats("w", &[-3], &[1.0]), "an extent is negative");
    bad(new().floats("w", &[1 << 31, 1 << 31], &[1.0]), "it has more than 16 axes or 2^31 values");
    bad(new().floats("w", &[0, 1 << 62], &[]), "it has more than 16 axes or 2^31 values");
    bad(new().floats("w", &[1; 17], &[1.0]), "it has more than 16 axes or 2^31 values");
    bad(new().raw("w", &[1], data_type::FLOAT, vec![0; 5]), "its bytes are not a whole number of values");
    bad(new().raw("w", &[1], 16, vec![0; 2]), "element type 16 is not supported");
    bad(new().floats("w", &[1], &[1.0]).floats("w", &[1], &[1.0]), "it is defined twice");
    let mut external = new().floats("w", &[1], &[1.0]);
    external.graph.initializer[0].data_location = 1;
    bad(external, "its data lies in another file; save the model as a single file");
    let node = new().node("Constant", "", "w", &[tensor("value", float_tensor("w", &[2], &[1.0]))]);
    bad(node, "the number of values differs from its shape");
    let twice = new().node("Relu", "x", "w", &[]).node("Relu", "x", "w", &[]);
    bad(twice, "it is defined twice");
}

#[test]
fn interfaces() {
    let relu = |model: Onnx| model.node("Relu", "x", "y", &[]).output("y");
    let hint = "an extent is not between 1 and 2^24";
    for extent in [0, 1 << 62] {
        expect(&relu(Onnx::new(&[-1, extent])), "unsupported_interface", &format!("'x': {hint}"));
    }
    expect(&relu(Onnx::new(&[])), "unsupported_interface", "'x': it has no batch axis");
    let many = relu(Onnx::new(&[-1, 1 << 20, 1 << 20]));
    expect(&many, "unsupported_interface", "'x': it has more than 8 axes or 2^31 values");
    expect(
        &relu(Onnx::new(&[-1; 10])),
        "unsupported_interface",
        "'x': it has more than 8 axes or 2^31 values",
    );
    let mut ints = identity();
    ints.graph.input[0].r#type.as_mut().unwrap().tensor_type.as_mut().unwrap().elem_type = data_type::UINT8;
    let message = "'x': inputs must be float32, or int32 or int64 for indices";
    expect(&ints, "unsupported_interface", message);
    let mut unshaped = identity();
    unshaped.graph.input[0].r#type.as_mut().unwrap().tensor_type.as_mut().unwrap().shape = None;
    expect(&unshaped, "unsupported_interface", "'x': its shape is not declared; run onnx.shape_inference");
    let mut untyped = identity();
    untyped.graph.input[0].r#type = None;
    expect(&untyped, "unsupported_interface", "'x': inputs must be tensors");
    let mut no_input = identity();
    no_input.graph.input.clear();
    expect(&no_input, "unsupported_interface", "'graph': the model has no input");
    expect(&Onnx::new(&[-1, 4]), "unsupported_interface", "'graph': the model has no output");
    expect(&identity().output("y"), "unsupported_interface", "'y': the output is declared twice");
    let turned = Onnx::new(&[-1, 4]).node("Transpose", "x", "y", &[]).output("y");
    let message = "'y': its batch axis is not the first; end the model with a Transpose";
    expect(&turned, "unsupported_interface", message);
    let constant = Onnx::new(&[-1, 4]).random("w", &[4]).output("w");
    expect(&constant, "unsupported_interface", "'w': the output does not depend on any input");
    expect(
        &Onnx::new(&[-1, 4]).output("z"),
        "unsupported_interface",
        "'z': the output does not depend on any input",
    );
}

#[test]
fn bad_samples() {
    let model = identity();
    let error = with_samples(&model, &samples(&[("z", &[4])]), Scheme::Auto);
    assert_eq!(error.code(), "bad_samples");
    assert_eq!(error.to_string(), "samples: the model has no input 'z'; its inputs are [\"x\"]");
    let error = with_samples(&model, &samples(&[("x", &[5])]), Scheme::Dynamic);
    let message =
        "samples: input 'x' has shape [11, 5], the model takes [batch, 4] (the first axis is the batch)";
    assert_eq!(error.to_string(), message);
    let error = with_samples(&model, &Samples::new(), Scheme::Auto);
    assert_eq!(
        (error.code(), error.to_string().as_str()),
        ("no_samples", "samples: the file holds no sample")
    );
    let two = Onnx::new(&[-1, 4]).input("z", &[-1, 4]).node("Add", "x z", "y", &[]).output("y");
    let mut uneven = samples(&[("x", &[4]), ("z", &[4])]);
    let shorter = crate::calibrate::rows(&uneven["z"], 0..10);
    uneven.insert("z".into(), shorter);
    let error = with_samples(&two, &uneven, Scheme::Auto);
    assert_eq!(error.code(), "bad_samples", "{error}");
}

#[test]
fn static_scales_without_a_source_for_them() {
    let options = Options { scheme: Scheme::Static, ..Options::default() };
    let error = import(&identity().bytes(), None, &options, &mut |_| {}).map(|i| i.report).unwrap_err();
    let message = "static scales need samples, or a model that is already quantised; give --samples, or leave the scheme at auto";
    assert_eq!((error.code(), error.to_string().as_str()), ("static_needs_samples", message));
}

#[test]
fn graphs_that_break_the_format() {
    let two = Onnx::new(&[-1, 4]).input("z", &[-1, 5]).node("Add", "x z", "y", &[]).output("y");
    let error = refusal(&two);
    assert_eq!(error.code(), "invalid_graph");
    assert!(error.to_string().starts_with("the converted graph is invalid: node 'Add_0': "), "{error}");
}

#[test]
fn models_that_do_not_run_on_the_samples() {
    let model =
        Onnx::new(&[-1, 1, -1, -1]).random("w", &[1, 1, 5, 5]).node("Conv", "x w", "y", &[]).output("y");
    try_import(&model).unwrap();
    let error = with_samples(&model, &samples(&[("x", &[1, 3, 3])]), Scheme::Auto);
    assert_eq!(error.code(), "run_failed");
    assert!(error.to_string().starts_with("running the converted model on the samples failed: "), "{error}");
}

#[test]
fn values_beyond_the_fixed_point() {
    let limit = "exceed +-32768, the range of the fixed-point pass; scale the model's inputs down, or use the dynamic scheme";
    let large =
        Onnx::new(&[-1, 4]).floats("k", &[], &[1e6]).node("Mul", "x k", "m", &[]).node("Relu", "m", "y", &[]);
    let error = with_samples(&large.output("y"), &samples(&[("x", &[4])]), Scheme::Auto);
    assert_eq!((error.code(), error.to_string()), ("out_of_range", format!("node 'Mul_0': values {limit}")));
    let weights =
        Onnx::new(&[-1, 4]).floats("w", &[4, 1], &[1e30; 4]).node("MatMul", "x w", "y", &[]).output("y");
    expect(&weights, "out_of_range", &format!("node 'MatMul_0': values {limit}"));
}
