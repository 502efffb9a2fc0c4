//! How close the digit models stay to f32 on images that neither training nor calibration saw.

use std::{collections::BTreeMap, path::Path};

use veracity_graph::{Array, ArrayData};

use crate::{Activations, Options, Samples, Scheme, import};

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
    let run = engine.run(&inputs, false).unwrap();
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
