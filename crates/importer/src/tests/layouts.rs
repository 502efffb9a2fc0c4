//! Values with several names, uses and memory layouts; batches and dynamic extents.

use super::{
    agrees,
    builder::{Onnx, int, ints},
    reference, samples, to_f32, try_import,
};

fn conv_model() -> Onnx {
    Onnx::new(&[-1, 3, 6, 6]).random("w", &[4, 3, 3, 3]).random("b", &[4]).node(
        "Conv",
        "x w b",
        "c",
        &[ints("pads", &[1, 1, 1, 1])],
    )
}

const X: &[(&str, &[usize])] = &[("x", &[3, 6, 6])];

#[test]
fn values_with_two_uses_are_not_folded_into() {
    agrees(
        "relu and raw",
        &conv_model().node("Relu", "c", "r", &[]).node("Add", "r c", "y", &[]).output("y"),
        X,
    );
    agrees("relu and output", &conv_model().node("Relu", "c", "r", &[]).output("r c"), X);
    let alias =
        conv_model().node("Identity", "c", "i", &[]).node("Relu", "i", "r", &[]).node("Sub", "r c", "y", &[]);
    agrees("alias", &alias.output("y"), X);
    let alias = conv_model().node("Identity", "c", "i", &[]).node("Identity", "i", "j", &[]).node(
        "Relu",
        "j",
        "y",
        &[],
    );
    agrees("aliases of one use", &alias.output("y"), X);
    let both =
        conv_model().node("Identity", "c", "i", &[]).node("Relu", "c", "r", &[]).node("Add", "r i", "y", &[]);
    agrees("alias after", &both.output("y i"), X);
    let clips =
        conv_model().node("Relu", "c", "r", &[]).node("Relu", "r", "s", &[]).node("Add", "r s", "y", &[]);
    agrees("relu of relu", &clips.output("y"), X);
    let scaled =
        conv_model().random("k", &[4, 1, 1]).node("Mul", "c k", "m", &[]).node("Add", "m c", "y", &[]);
    agrees("scaled and raw", &scaled.output("y"), X);
    let view = conv_model()
        .node("Transpose", "c", "t", &[ints("perm", &[0, 2, 3, 1])])
        .node("Relu", "c", "r", &[])
        .output("t r");
    agrees("a transposed view and a relu", &view, X);
    let view = conv_model()
        .random("k", &[4])
        .node("Transpose", "c", "t", &[ints("perm", &[0, 2, 3, 1])])
        .node("Mul", "t k", "m", &[])
        .node("Relu", "m", "y", &[])
        .output("y");
    agrees("channels last in the source", &view, X);
}

#[test]
fn residuals() {
    let model = conv_model()
        .node("Relu", "c", "r", &[])
        .random("w2", &[4, 4, 3, 3])
        .node("Conv", "r w2", "d", &[ints("pads", &[1, 1, 1, 1])])
        .node("Add", "d r", "s", &[])
        .node("Relu", "s", "y", &[])
        .node("GlobalAveragePool", "y", "g", &[])
        .node("Flatten", "g", "f", &[])
        .random("v", &[4, 5])
        .node("MatMul", "f v", "out", &[]);
    agrees("residual", &model.output("out y"), X);
}

#[test]
fn flattened_images() {
    let flat = || conv_model().node("Flatten", "c", "f", &[]);
    let gemm = || flat().random("v", &[5, 144]).node("Gemm", "f v", "g", &[int("transB", 1)]);
    agrees("Flatten, Gemm", &gemm().output("g"), X);
    agrees("Flatten, Gemm, and the flat value", &gemm().output("g f"), X);
    agrees(
        "Flatten, Relu, Gemm",
        &flat()
            .node("Relu", "f", "r", &[])
            .random("v", &[144, 5])
            .node("MatMul", "r v", "g", &[])
            .output("g"),
        X,
    );
    let scaled = flat().random("k", &[144]).node("Mul", "f k", "m", &[]).random("v", &[144, 5]).node(
        "MatMul",
        "m v",
        "g",
        &[],
    );
    agrees("Flatten, Mul per position, Gemm", &scaled.output("g m"), X);
    let joined = flat().node("Relu", "f", "r", &[]).node("Concat", "f r", "j", &[int("axis", 1)]);
    agrees("Flatten, Concat", &joined.output("j"), X);
    let cut = flat().ints("s", &[3]).ints("e", &[100]).ints("a", &[1]).node("Slice", "f s e a", "y", &[]);
    agrees("Flatten, Slice", &cut.output("y"), X);
    let softmax =
        flat().node("Softmax", "f", "y", &[]).node("ArgMax", "f", "i", &[int("axis", 1), int("keepdims", 0)]);
    agrees("Flatten, Softmax, ArgMax", &softmax.output("y i"), X);
    let back = flat().ints("t", &[-1, 4, 6, 6]).node("Reshape", "f t", "i", &[]).node(
        "MaxPool",
        "i",
        "y",
        &[ints("kernel_shape", &[2, 2])],
    );
    agrees("Flatten and back", &back.output("y"), X);
    let added =
        flat().node("Flatten", "x", "fx", &[]).random("v", &[108, 144]).node("MatMul", "fx v", "m", &[]);
    agrees("flat in two orders", &added.node("Add", "f m", "y", &[]).output("y"), X);
}

#[test]
fn mixed_layouts_meet() {
    let two = Onnx::new(&[-1, 3, 6, 6])
        .input("z", &[-1, 4, 6, 6])
        .random("w", &[4, 3, 1, 1])
        .node("Conv", "x w", "c", &[])
        .node("Add", "c z", "s", &[])
        .node("Concat", "z c s", "j", &[int("axis", 1)])
        .output("s j");
    agrees("channels last and plain", &two, &[("x", &[3, 6, 6]), ("z", &[4, 6, 6])]);
}

#[test]
fn several_inputs_and_outputs() {
    let model = Onnx::new(&[-1, 4])
        .input("z", &[-1, 3])
        .random("w", &[4, 3])
        .node("MatMul", "x w", "m", &[])
        .node("Mul", "m z", "p", &[])
        .node("Softmax", "p", "q", &[])
        .output("q m x");
    agrees("two inputs, three outputs", &model, &[("x", &[4]), ("z", &[3])]);
}

#[test]
fn a_fixed_batch_of_one_takes_any_batch() {
    let model = Onnx::new(&[1, 3, 4])
        .ints("t", &[1, 12])
        .random("w", &[12, 5])
        .node("Reshape", "x t", "f", &[])
        .node("MatMul", "f w", "y", &[])
        .output("y");
    agrees("batch 1", &model, &[("x", &[3, 4])]);
}

#[test]
fn dynamic_extents() {
    let model = Onnx::new(&[-1, 3, -1, -1])
        .random("w", &[4, 3, 3, 3])
        .random("b", &[4])
        .random("one", &[1, 4, 1, 1])
        .random("v", &[4, 5])
        .node("Conv", "x w b", "c", &[ints("pads", &[1, 1, 1, 1]), ints("strides", &[2, 2])])
        .node("Relu", "c", "r", &[])
        .node("MaxPool", "r", "p", &[ints("kernel_shape", &[2, 2])])
        .node("Conv", "p one", "mask", &[])
        .node("ReduceMean", "p", "mean", &[ints("axes", &[1]), int("keepdims", 0)])
        .node("GlobalAveragePool", "p", "g", &[])
        .node("Flatten", "g", "f", &[])
        .node("MatMul", "f v", "y", &[])
        .output("y mask mean p");
    agrees("small", &model, &[("x", &[3, 8, 8])]);
    agrees("large", &model, &[("x", &[3, 17, 12])]);
    let imported = try_import(&model).unwrap();
    for extents in [[3usize, 8, 8], [3, 11, 30]] {
        let samples = samples(&[("x", &extents)]);
        let inputs = imported.model.graph().encode_inputs(&samples).unwrap();
        let types = imported.model.graph().input_types(&inputs).unwrap();
        imported.model.types(&types).unwrap();
    }
    let sequence = Onnx::new(&[-1, -1, 6]).random("w", &[6, 6]).node("MatMul", "x w", "m", &[]).node(
        "Softmax",
        "m",
        "y",
        &[],
    );
    agrees("sequence", &sequence.output("y m"), &[("x", &[9, 6])]);
    let line = Onnx::new(&[-1, 3, -1]).random("w", &[4, 3, 3]).node("Conv", "x w", "y", &[]).output("y");
    agrees("1-D", &line, &[("x", &[3, 14])]);
}

#[test]
fn a_batch_is_its_samples_one_by_one() {
    let model = conv_model()
        .node("Flatten", "c", "f", &[])
        .random("v", &[144, 5])
        .node("MatMul", "f v", "y", &[])
        .output("y");
    let imported = try_import(&model).unwrap();
    let engine =
        veracity_engine::Engine::load(imported.model.clone().into(), &veracity_engine::Options::default())
            .unwrap();
    let samples = samples(X);
    let answer = |samples: &crate::Samples| {
        let inputs = imported.model.graph().encode_inputs(samples).unwrap();
        let outputs = engine.run(&inputs, None).unwrap().outputs;
        to_f32(&imported.model.graph().decode_outputs(&outputs)[0].1)
    };
    let one_by_one: Vec<f32> =
        (0..super::N).flat_map(|i| answer(&crate::calibrate::chunk(&samples, i..i + 1))).collect();
    assert_eq!(answer(&samples), one_by_one);
    assert_eq!(reference(&model, &samples)[0].len(), super::N);
}
