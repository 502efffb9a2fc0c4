//! Same source, options and samples give the same bytes, everywhere.

use veracity_engine::Options as EngineOptions;
use veracity_graph::{Array, ArrayData};
use veracity_kernels::Isa;

use super::{
    N,
    accuracy::digits,
    builder::{Onnx, ints},
    random, samples,
};
use crate::{Activations, Imported, Options, Samples, Scheme, calibrate, dynamic, import, onnx, read};

fn small() -> Onnx {
    Onnx::new(&[-1, 3, 6, 6])
        .input("z", &[-1, 4, 1, 1])
        .random("w", &[4, 3, 3, 3])
        .random("b", &[4])
        .random("v", &[64, 5])
        .node("Conv", "x w b", "c", &[])
        .node("Gelu", "c", "g", &[])
        .node("Mul", "g z", "m", &[])
        .node("Flatten", "m", "f", &[])
        .node("MatMul", "f v", "l", &[])
        .node("Softmax", "l", "y", &[])
        .node("AveragePool", "m", "p", &[ints("kernel_shape", &[2, 2])])
        .output("y p l")
}

fn small_samples() -> Samples {
    samples(&[("x", &[3, 6, 6]), ("z", &[4, 1, 1])])
}

fn convert(source: &[u8], samples: Option<&Samples>, activations: Activations, scheme: Scheme) -> Imported {
    import(source, samples, &Options { activations, scheme }, &mut |_| {}).unwrap()
}

#[test]
fn the_same_conversion_twice_gives_the_same_bytes() {
    let (source, samples) = (small().bytes(), small_samples());
    for activations in [Activations::I8, Activations::I16] {
        for (samples, scheme) in [(None, Scheme::Dynamic), (Some(&samples), Scheme::Static)] {
            let [a, b] = [(); 2].map(|()| convert(&source, samples, activations, scheme).bundle.encode());
            assert_eq!(a, b);
        }
    }
}

#[test]
fn samples_in_another_order_of_names_are_the_same_samples() {
    let names = ["x", "z"];
    let all = small_samples();
    let forward: Samples = names.iter().map(|n| ((*n).to_owned(), all[*n].clone())).collect();
    let backward: Samples = names.iter().rev().map(|n| ((*n).to_owned(), all[*n].clone())).collect();
    let [a, b] =
        [forward, backward].map(|s| convert(&small().bytes(), Some(&s), Activations::I8, Scheme::Auto));
    assert_eq!(a.bundle, b.bundle);
}

#[test]
fn ranges_are_the_same_on_every_path() {
    let real = read::read(&onnx::parse(&small().bytes()).unwrap()).unwrap();
    let fixed = dynamic::lower(&real, veracity_ops::DType::I16).unwrap();
    let samples = small_samples();
    let expected =
        calibrate::ranges(&real, &fixed, &samples, &EngineOptions::default(), &mut |_, _| {}).unwrap();
    for isa in Isa::available() {
        for threads in [1, 3] {
            let options = EngineOptions { isa: Some(isa), threads, ..EngineOptions::default() };
            let ranges = calibrate::ranges(&real, &fixed, &samples, &options, &mut |_, _| {}).unwrap();
            assert_eq!(ranges, expected, "{isa:?} with {threads} threads");
        }
    }
}

#[test]
fn every_part_of_the_question_is_part_of_the_name() {
    let (model, samples) = (small(), small_samples());
    let id = |model: &Onnx, samples: Option<&Samples>, activations, scheme| {
        convert(&model.bytes(), samples, activations, scheme).bundle.model_id()
    };
    let base = id(&model, Some(&samples), Activations::I8, Scheme::Static);
    let mut other = samples.clone();
    if let ArrayData::F32(values) = &mut other.get_mut("x").unwrap().data {
        values[17] += 1e-6;
    }
    let mut renamed = model.clone();
    renamed.graph.node[0].name.push('a');
    let ids = [
        base,
        id(&model, Some(&other), Activations::I8, Scheme::Static),
        id(&model, Some(&samples), Activations::I16, Scheme::Static),
        id(&model, Some(&samples), Activations::I8, Scheme::Dynamic),
        id(&model, Some(&samples), Activations::I16, Scheme::Dynamic),
        id(&renamed, Some(&samples), Activations::I8, Scheme::Static),
    ];
    for (i, a) in ids.iter().enumerate() {
        assert!(ids[..i].iter().all(|b| a != b), "conversion {i} has the name of another");
    }
    // The scheme that `Auto` chooses is the scheme that is recorded, and samples count only where scales come from them.
    assert_eq!(id(&model, Some(&samples), Activations::I8, Scheme::Auto), base);
    let dynamic = id(&model, None, Activations::I8, Scheme::Dynamic);
    assert_eq!(id(&model, Some(&samples), Activations::I8, Scheme::Dynamic), dynamic);
    assert_eq!(id(&model, None, Activations::I8, Scheme::Auto), dynamic);
}

#[test]
fn provenance_says_how_to_convert_again() {
    let (source, samples) = (small().bytes(), small_samples());
    let provenance =
        convert(&source, Some(&samples), Activations::I16, Scheme::Auto).bundle.manifest.provenance;
    assert_eq!(provenance.converter, crate::CONVERTER);
    assert_eq!(provenance.format, "onnx");
    assert_eq!(provenance.source, veracity_graph::Digest::of(&source));
    assert_eq!(provenance.options, "activations=i16 scheme=static");
    assert!(provenance.samples.is_some());
}

/// Model ids of the digit models. A change here means that users' conversions change: give [`crate::CONVERTER`] a new
/// version with it.
#[test]
fn digit_models_keep_their_names() {
    let shapes: [(&str, &[usize]); 2] = [("digits-mlp.onnx", &[64]), ("digits-cnn.onnx", &[1, 8, 8])];
    let mut ids = Vec::new();
    for (file, extents) in shapes {
        let source = digits(file);
        let shape: Vec<usize> = [N].iter().chain(extents).copied().collect();
        let values = random(1, N * 64).iter().map(|v| v.abs()).collect();
        let samples = Samples::from([("image".to_owned(), Array { shape, data: ArrayData::F32(values) })]);
        for (activations, samples) in [
            (Activations::I8, None),
            (Activations::I16, None),
            (Activations::I8, Some(&samples)),
            (Activations::I16, Some(&samples)),
        ] {
            ids.push(convert(&source, samples, activations, Scheme::Auto).bundle.model_id().to_string());
        }
    }
    assert_eq!(ids, GOLDEN);
}

const GOLDEN: [&str; 8] = [
    "e86d74eca967e2a02f0bd95b6c55e9ec4cf026953fa406f3ebf83d4453c575a8",
    "acff6b0f8f224450664751fddd4bc272495e8eb5314a196b7d7f863b380e64ee",
    "a39846d6becdb5bcbbb7b2e2ecdb1082dbbcfbab3150c69549f330301a23f5df",
    "7c6a9cf4ebedf33026a1af247acab20ff6ffd95c2e7d7a4e89105e45f1f88180",
    "18adaafe0d6ae7dc4d75ec523aff8bc45a3579f79907bbc2a371253c2267fc9f",
    "f27505da7a5e83f99d1acd851f467254f74da75eec589aebbdf5de4a039c8684",
    "4d83e518de5b84afbb5761f4c0937fd82da66c1bde0a8f06024c3d2aa670b8d0",
    "8e14723ef84de93908597828033f07fbc9aa3602f6582ddae72a2ff64e4317f2",
];
