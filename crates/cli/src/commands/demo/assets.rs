//! The digit models and real handwritten digits, carried inside the program so that the demo runs anywhere.

use std::collections::BTreeMap;

use veracity_graph::{Array, ArrayData};
use veracity_importer::Samples;

use crate::npz;

macro_rules! model_file {
    ($name:literal) => {
        include_bytes!(concat!("../../../../../models/", $name))
    };
}

/// A model of the demo. See `models/README.md` for where it comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Digits {
    /// Name in the store.
    pub(super) name: &'static str,
    /// What it is.
    pub(super) kind: &'static str,
    /// ONNX file.
    pub(super) onnx: &'static [u8],
    /// Training images for calibration, `.npz`.
    samples: &'static [u8],
    /// Extents of one image.
    shape: &'static [usize],
}

/// The two models.
pub(super) const MODELS: [Digits; 2] = [
    Digits {
        name: "digits-cnn",
        kind: "convolutions",
        onnx: model_file!("digits-cnn.onnx"),
        samples: model_file!("digits-cnn-calibration.npz"),
        shape: &[1, 8, 8],
    },
    Digits {
        name: "digits-mlp",
        kind: "three dense layers",
        onnx: model_file!("digits-mlp.onnx"),
        samples: model_file!("digits-calibration.npz"),
        shape: &[64],
    },
];
/// Pixels in a row of an image.
pub(super) const WIDTH: usize = 8;
const PIXELS: usize = WIDTH * WIDTH;

impl Digits {
    /// Samples for calibration.
    pub(super) fn samples(&self) -> Samples {
        npz::read_archive(self.samples).expect("an embedded file is whole").arrays
    }

    /// Images as the model takes them.
    pub(super) fn input(&self, pixels: &[f32]) -> Array {
        let mut shape = vec![pixels.len() / PIXELS];
        shape.extend_from_slice(self.shape);
        Array { shape, data: ArrayData::F32(pixels.to_vec()) }
    }
}

/// Images that no training saw, with what they show.
#[derive(Debug)]
pub(super) struct HeldOut {
    /// All images, back to back.
    pub(super) pixels: Vec<f32>,
    /// The digit on each image.
    pub(super) labels: Vec<usize>,
}

impl HeldOut {
    /// Reads the embedded set.
    pub(super) fn read() -> Self {
        let bytes = model_file!("digits-test.npz");
        let mut arrays = npz::read_archive(bytes).expect("an embedded file is whole").arrays;
        let pixels = match take(&mut arrays, "image") {
            ArrayData::F32(pixels) => pixels,
            other => panic!("images are f32, not {other:?}"),
        };
        let labels = match take(&mut arrays, "label") {
            ArrayData::I64(labels) => labels,
            other => panic!("labels are i64, not {other:?}"),
        };
        let digit = |label: &i64| usize::try_from(*label).expect("labels are digits");
        Self { pixels, labels: labels.iter().map(digit).collect() }
    }

    /// One image.
    pub(super) fn image(&self, index: usize) -> &[f32] {
        &self.pixels[index * PIXELS..(index + 1) * PIXELS]
    }
}

fn take(arrays: &mut BTreeMap<String, Array>, name: &str) -> ArrayData {
    arrays.remove(name).expect("the embedded file has images and labels").data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_files_fit_together() {
        let held_out = HeldOut::read();
        assert_eq!(held_out.pixels.len(), held_out.labels.len() * PIXELS);
        assert!(held_out.labels.iter().all(|label| *label < 10));
        for model in MODELS {
            assert_eq!(model.samples()["image"].shape[1..], *model.shape, "{}", model.name);
        }
    }
}
