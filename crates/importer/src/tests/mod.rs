//! Small ONNX models built from code, imported, and compared with the f32 reference.

mod accuracy;
mod builder;
mod determinism;
mod documentation;
mod functions;
mod hostile;
mod indices;
mod layouts;
mod networks;
mod operators;
mod quantised;
mod recurrent;
mod refusals;

use std::sync::Arc;

use builder::Onnx;
use veracity_engine::{Engine, Options as EngineOptions};
use veracity_graph::{Array, ArrayData};

use crate::{Activations, Options, Samples, Scheme, import, reference::Reference};

/// Samples per comparison: not a multiple of the importer's chunk.
const N: usize = 11;

/// Numbers in `[-1, 1)`, the same for the same seed.
fn random(seed: u64, n: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        f32::from(u16::try_from(state >> 48).unwrap()) / 32_768.0 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

/// `N` samples for each input of these extents, between -2 and 2.
fn samples(inputs: &[(&str, &[usize])]) -> Samples {
    let one = |(i, (name, extents)): (usize, &(&str, &[usize]))| {
        let shape: Vec<usize> = std::iter::once(N).chain(extents.iter().copied()).collect();
        let values = random(7 + i as u64, shape.iter().product()).iter().map(|v| 2.0 * v).collect();
        ((*name).to_owned(), Array { shape, data: ArrayData::F32(values) })
    };
    inputs.iter().enumerate().map(one).collect()
}

fn to_f32(array: &Array) -> Vec<f32> {
    match &array.data {
        ArrayData::F32(v) => v.clone(),
        ArrayData::I32(v) => v.iter().map(|&v| v as f32).collect(),
        ArrayData::I64(v) => v.iter().map(|&v| v as f32).collect(),
    }
}

/// The four ways to convert, each with the largest error allowed, relative to the largest value of the output.
const WAYS: [(Activations, Scheme, f32); 4] = [
    (Activations::I16, Scheme::Dynamic, 0.016),
    (Activations::I16, Scheme::Static, 0.016),
    (Activations::I8, Scheme::Dynamic, 0.05),
    (Activations::I8, Scheme::Static, 0.08),
];

/// What the f32 reference answers, per output and sample.
fn reference(model: &Onnx, samples: &Samples) -> Vec<Vec<Vec<f32>>> {
    let outputs: Vec<String> = model.outputs();
    let reference = Reference::load(&model.bytes(), &outputs).unwrap_or_else(|e| panic!("{model:?}: {e}"));
    reference.run(samples, 0..N).unwrap_or_else(|e| panic!("{model:?}: {e}"))
}

/// Imports in every way and compares with `expected`, in shape of the answer and in values.
fn compare(what: &str, model: &Onnx, samples: &Samples, expected: &[Vec<Vec<f32>>]) {
    compare_with(what, model, samples, expected, 0.0);
}

/// As [`compare`], allowing an absolute error of `slack` beside the relative one.
fn compare_with(what: &str, model: &Onnx, samples: &Samples, expected: &[Vec<Vec<f32>>], slack: f32) {
    for (activations, scheme, bound) in WAYS {
        let options = Options { activations, scheme };
        let imported = import(&model.bytes(), Some(samples), &options, &mut |_| {});
        let imported = imported.unwrap_or_else(|e| panic!("{what} {options:?}: {e}"));
        let engine = Engine::load(Arc::new(imported.model.clone()), &EngineOptions::default()).unwrap();
        let inputs = imported.model.graph().encode_inputs(samples).unwrap();
        let run = engine.run(&inputs, None).unwrap_or_else(|e| panic!("{what} {options:?}: {e}"));
        let answers = imported.model.graph().decode_outputs(&run.outputs);
        assert_eq!(answers.len(), expected.len(), "{what}");
        for ((name, answer), expected) in answers.iter().zip(expected) {
            let ours = to_f32(answer);
            let expected = expected.concat();
            assert_eq!(answer.shape[0], N, "{what} {options:?}: {name}");
            assert_eq!(ours.len(), expected.len(), "{what} {options:?}: {name} has shape {:?}", answer.shape);
            let largest = expected.iter().fold(0.25f32, |m, v| m.max(v.abs()));
            for (i, (a, b)) in ours.iter().zip(&expected).enumerate() {
                let error = (a - b).abs();
                assert!(
                    error <= bound * largest + slack,
                    "{what} {options:?}: {name}[{i}] is {a}, expected {b} of {largest}"
                );
            }
        }
    }
}

/// Compares a model with rten in every way.
fn agrees(what: &str, model: &Onnx, inputs: &[(&str, &[usize])]) {
    let samples = samples(inputs);
    compare(what, model, &samples, &reference(model, &samples));
}

/// Compares a model of one input `x` and one output with `f`, which gets a sample.
fn computes(what: &str, model: &Onnx, extents: &[usize], f: impl Fn(&[f32]) -> Vec<f32>) {
    let samples = samples(&[("x", extents)]);
    let values = to_f32(&samples["x"]);
    let expected = values.chunks(extents.iter().product()).map(f).collect();
    compare(what, model, &samples, &[expected]);
}

/// Imports without samples.
fn try_import(model: &Onnx) -> Result<crate::Imported, crate::ImportError> {
    import(&model.bytes(), None, &Options::default(), &mut |_| {})
}
