//! How close a converted model is to its f32 original.

use std::sync::Arc;

use veracity_engine::{Engine, Options};
use veracity_graph::{Array, ArrayData, Model};

use crate::{
    ImportError, MeasureError, OutputAccuracy, Samples,
    calibrate::{self, CHUNK},
    reference::Reference,
    report::Accumulator,
};

/// Most samples that the accuracy report of an import compares.
pub(crate) const COMPARED_MAX: usize = 256;

/// Compares `model` with the ONNX model `source` that it was made of, on all of `samples`: one entry per output, in the
/// order of the model. `progress` gets the samples done and their number. The f32 original runs in rten, so the last
/// digits of the answer differ between machines.
///
/// # Errors
/// [`MeasureError::NoReference`] if rten cannot run the original, [`MeasureError::Import`] if the samples do not fit the
/// model, or it cannot run on them.
pub fn measure(
    source: &[u8],
    model: &Model,
    samples: &Samples,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<OutputAccuracy>, MeasureError> {
    let total = calibrate::count(samples)?;
    // Whether the samples fit is a question of its own, also where the reference cannot run.
    model.graph().encode_inputs(samples).map_err(ImportError::from)?;
    let names: Vec<String> = model.graph().outputs.iter().map(|o| o.name.clone()).collect();
    let no_reference = |reason| MeasureError::NoReference { reason };
    let reference = Reference::load(source, &names).map_err(no_reference)?;
    let engine = Engine::load(Arc::new(model.clone()), &Options::default()).map_err(|e| run_error(&e))?;
    let mut sums = vec![Accumulator::default(); names.len()];
    for start in (0..total).step_by(CHUNK) {
        let range = start..(start + CHUNK).min(total);
        let ours = answers(model, &engine, &calibrate::chunk(samples, range.clone()))?;
        for i in range.clone() {
            progress(i, total);
            let expected = reference.run(samples, i..i + 1).map_err(no_reference)?;
            for ((sum, expected), ours) in sums.iter_mut().zip(&expected).zip(&ours) {
                let len = (ours.len() / range.len()).max(1);
                let ours = ours.chunks(len).nth(i - start).unwrap_or(&[]);
                let [expected] = expected.as_slice() else { return Err(no_reference(OTHER_SHAPE.into())) };
                if expected.len() != ours.len() {
                    return Err(no_reference(OTHER_SHAPE.into()));
                }
                sum.add(expected, ours);
            }
        }
    }
    progress(total, total);
    Ok(sums.into_iter().zip(&names).map(|(sum, name)| sum.finish(name)).collect())
}

const OTHER_SHAPE: &str = "it answers in another shape";

/// The model's answers to `samples`, one list per output.
fn answers(model: &Model, engine: &Engine, samples: &Samples) -> Result<Vec<Vec<f32>>, ImportError> {
    let inputs = model.graph().encode_inputs(samples)?;
    let run = engine.run(&inputs, None).map_err(|e| run_error(&e))?;
    Ok(model.graph().decode_outputs(&run.outputs).iter().map(|(_, array)| to_f32(array)).collect())
}

fn run_error(error: &dyn std::fmt::Display) -> ImportError {
    ImportError::Run { reason: error.to_string() }
}

#[expect(clippy::cast_precision_loss, reason = "indices are small")]
fn to_f32(array: &Array) -> Vec<f32> {
    match &array.data {
        ArrayData::F32(v) => v.clone(),
        ArrayData::I32(v) => v.iter().map(|&v| v as f32).collect(),
        ArrayData::I64(v) => v.iter().map(|&v| v as f32).collect(),
    }
}
