//! How close the digit models stay to f32 on images that neither training nor calibration saw.

use std::{collections::BTreeMap, path::Path};

use veracity_graph::{Array, ArrayData};

use crate::{Activations, ImportError, MeasureError, Options, Progress, Samples, Scheme, import, measure};

pub(super) fn digits(file: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models").join(file);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The f32 array `image` of an archive that numpy wrote.
fn images(file: &str) -> Vec<f32> {
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(digits(file))).unwrap();
    let mut npy = Vec::new();
    std::io::Read::read_to_end(&mut archive.by_name("image.npy").unwrap(), &mut npy).unwrap();
    let header = 10 + usize::from(u16::from_le_bytes([npy[8], npy[9]]));
    npy[header..].as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

fn samples(values: Vec<f32>, extents: &[usize]) -> Samples {
    let shape = [values.len() / 64].iter().chain(extents).copied().collect();
    BTreeMap::from([("image".to_owned(), Array { shape, data: ArrayData::F32(values) })])
}

fn answers(model: &veracity_graph::Model, samples: &Samples) -> Vec<Vec<f32>> {
    let engine =
        veracity_engine::Engine::load(model.clone().into(), &veracity_engine::Options::default()).unwrap();
    let inputs = model.graph().encode_inputs(samples).unwrap();
    let run = engine.run(&inputs, None).unwrap();
    super::to_f32(&model.graph().decode_outputs(&run.outputs)[0].1).chunks(10).map(<[f32]>::to_vec).collect()
}

fn argmax(v: &[f32]) -> usize {
    (0..v.len()).fold(0, |best, i| if v[i] > v[best] { i } else { best })
}

#[test]
fn digit_models_answer_as_f32_does() {
    let shapes: [(&str, &[usize]); 2] = [("digits-mlp.onnx", &[64]), ("digits-cnn.onnx", &[1, 8, 8])];
    for (file, extents) in shapes {
        let source = digits(file);
        let calibration = samples(images("digits-calibration.npz"), extents);
        let unseen = samples(images("digits-test.npz"), extents);
        let reference = crate::reference::Reference::load(&source, &["logits".into()]).unwrap();
        let expected = reference.run(&unseen, 0..540).unwrap().remove(0);
        for (activations, scheme) in [
            (Activations::I8, Scheme::Static),
            (Activations::I16, Scheme::Static),
            (Activations::I8, Scheme::Dynamic),
            (Activations::I16, Scheme::Dynamic),
        ] {
            let imported =
                import(&source, Some(&calibration), &Options { activations, scheme }, &mut |_| {}).unwrap();
            let ours = answers(&imported.model, &unseen);
            assert_eq!(ours.len(), 540);
            let equal = ours.iter().zip(&expected).filter(|(a, b)| argmax(a) == argmax(b)).count();
            assert!(equal * 1000 >= 540 * 995, "{file} {activations:?} {scheme:?}: {equal} of 540");
            let report = &imported.report;
            assert_eq!((report.n_samples, &report.not_measured), (256, &None));
            assert!(
                report.outputs[0].argmax_agreement.unwrap() >= 0.99 && report.outputs[0].cosine_min > 0.99,
                "{report}"
            );
        }
    }
}

#[test]
fn measuring_again_gives_the_report() {
    let source = digits("digits-mlp.onnx");
    let calibration = samples(images("digits-calibration.npz"), &[64]);
    let mut steps = Vec::new();
    let imported =
        import(&source, Some(&calibration), &Options::default(), &mut |step| steps.push(step)).unwrap();
    let measured: Vec<usize> = steps
        .iter()
        .filter_map(
            |step| if let Progress::Measuring { done, total: 256 } = step { Some(*done) } else { None },
        )
        .collect();
    assert_eq!(measured, (0..=256).collect::<Vec<_>>(), "every sample is reported");
    let mut last = (0, 0);
    let found =
        measure(&source, &imported.model, &calibration, &mut |done, total| last = (done, total)).unwrap();
    assert_eq!((found, last), (imported.report.outputs, (256, 256)));
    let unseen = samples(images("digits-test.npz"), &[64]);
    let found = measure(&source, &imported.model, &unseen, &mut |_, _| {}).unwrap().remove(0);
    assert!(found.argmax_agreement.unwrap() >= 0.995 && found.cosine_mean >= 0.999, "{found:?}");
}

#[test]
fn why_nothing_is_measured() {
    let mish = super::Onnx::new(&[-1, 4]).node("Mish", "x", "y", &[]).output("y");
    let model = super::try_import(&mish).unwrap().model;
    let good = super::samples(&[("x", &[4])]);
    let error = measure(&mish.bytes(), &model, &good, &mut |_, _| {}).unwrap_err();
    assert!(matches!(error, MeasureError::NoReference { .. }));
    assert!(error.to_string().starts_with("the f32 reference cannot run this model: "), "{error}");
    let wrong = super::samples(&[("x", &[5])]);
    let error = measure(&mish.bytes(), &model, &wrong, &mut |_, _| {}).unwrap_err();
    assert!(matches!(error, MeasureError::Import(ImportError::Samples(_))));
    assert!(error.to_string().starts_with("samples: input 'x' has shape [11, 5]"), "{error}");
}
