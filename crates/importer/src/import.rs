use std::collections::BTreeMap;

use veracity_engine::Options as EngineOptions;
use veracity_graph::{Array, Bundle, Digest, Model, Provenance};
use veracity_ops::DType;

use crate::{
    ImportError, MeasureError, Report, bounds, calibrate,
    dynamic::{self, Lowered},
    measure::{COMPARED_MAX, measure},
    onnx, read,
    real::{RealGraph, RealOp},
    static_scales,
};

/// Name and version of the conversion. Any change that can alter a graph gets a new version.
pub const CONVERTER: &str = "veracity-importer/1";

/// Element type of activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activations {
    /// 8 bits: fastest.
    #[default]
    I8,
    /// 16 bits: nearly as accurate as f32.
    I16,
}

/// Where activation scales come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scheme {
    /// Static if there are samples or the source is already quantised, else dynamic.
    #[default]
    Auto,
    /// Per row, at run time: needs no samples.
    Dynamic,
    /// Fixed at import.
    Static,
}

/// How to convert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Element type of activations.
    pub activations: Activations,
    /// Where scales come from.
    pub scheme: Scheme,
}

/// Sample inputs by name; the first axis counts samples.
pub type Samples = BTreeMap<String, Array>;

/// What the importer is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Reading the source.
    Reading,
    /// Measuring ranges.
    Calibrating {
        /// Samples done.
        done: usize,
        /// All samples.
        total: usize,
    },
    /// Comparing with the original.
    Measuring {
        /// Samples done.
        done: usize,
        /// All samples compared.
        total: usize,
    },
    /// Assembling the model.
    Writing,
}

/// A converted model.
#[derive(Debug, Clone)]
pub struct Imported {
    /// The model with its provenance, ready to store.
    pub bundle: Bundle,
    /// The checked model.
    pub model: Model,
    /// Accuracy against the original.
    pub report: Report,
}

/// Converts an ONNX model.
///
/// # Errors
/// An [`ImportError`] naming the node or tensor and what to do.
pub fn import(
    source: &[u8],
    samples: Option<&Samples>,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<Imported, ImportError> {
    progress(Progress::Reading);
    let real = read::read(&onnx::parse(source)?)?;
    let ranges = ranges(&real, samples, options, progress)?;
    progress(Progress::Writing);
    let lowered = match &ranges {
        Some(ranges) => static_scales::lower(&real, ranges, options.activations)?,
        None => lower_unmeasured(&real, row_type(options.activations))?,
    };
    let model = lowered.model;
    let scheme = if ranges.is_some() { "static" } else { "dynamic" };
    let provenance = Provenance {
        converter: CONVERTER.into(),
        format: "onnx".into(),
        source: Digest::of(source),
        options: format!("activations={} scheme={scheme}", name(options.activations)),
        samples: samples.filter(|_| ranges.is_some()).map(samples_digest),
    };
    let bundle = Bundle::new(&model, provenance);
    let mut report = Report {
        scheme,
        activations: name(options.activations),
        n_samples: 0,
        not_measured: None,
        outputs: Vec::new(),
    };
    compare(source, samples, &model, &mut report, progress)?;
    Ok(Imported { bundle, model, report })
}

/// Fills in how close the model is to the f32 original, or why that is not known.
fn compare(
    source: &[u8],
    samples: Option<&Samples>,
    model: &Model,
    report: &mut Report,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), ImportError> {
    let Some(samples) = samples else {
        let reason = "no samples were given; pass --samples to learn how close the model is";
        report.not_measured = Some(reason.into());
        return Ok(());
    };
    let n_samples = calibrate::count(samples)?.min(COMPARED_MAX);
    let mut tell = |done, total| progress(Progress::Measuring { done, total });
    match measure(source, model, &calibrate::chunk(samples, 0..n_samples), &mut tell) {
        Ok(outputs) => (report.n_samples, report.outputs) = (n_samples, outputs),
        Err(MeasureError::Import(error)) => return Err(error),
        Err(error @ MeasureError::NoReference { .. }) => report.not_measured = Some(error.to_string()),
    }
    Ok(())
}

/// Reads a source without converting it, as a check of hostile bytes.
///
/// # Errors
/// As [`import`].
pub fn parse_only(source: &[u8]) -> Result<(), ImportError> {
    let real = read::read(&onnx::parse(source)?)?;
    lower_unmeasured(&real, DType::I8).map(|_| ())
}

/// The dynamic scheme as an answer of its own: without a measurement behind it that would notice a bad operand.
fn lower_unmeasured(real: &RealGraph, rows: DType) -> Result<Lowered, ImportError> {
    bounds::check_known(real)?;
    dynamic::lower(real, rows)
}

fn name(activations: Activations) -> &'static str {
    match activations {
        Activations::I8 => "i8",
        Activations::I16 => "i16",
    }
}

fn row_type(activations: Activations) -> DType {
    match activations {
        Activations::I8 => DType::I8,
        Activations::I16 => DType::I16,
    }
}

/// Ranges for static scales, or `None` for the dynamic scheme.
fn ranges(
    real: &RealGraph,
    samples: Option<&Samples>,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<Option<Vec<(f64, f64)>>, ImportError> {
    let declared = declared_ranges(real);
    match (options.scheme, samples, declared) {
        (Scheme::Dynamic, _, _) | (Scheme::Auto, None, None) => Ok(None),
        (Scheme::Auto | Scheme::Static, Some(samples), _) => {
            let fixed = dynamic::lower(real, DType::I16)?;
            let mut tell = |done, total| progress(Progress::Calibrating { done, total });
            calibrate::ranges(real, &fixed, samples, &EngineOptions::default(), &mut tell).map(Some)
        }
        (Scheme::Auto | Scheme::Static, None, Some(declared)) => {
            real.nodes.iter().try_for_each(|node| bounds::check_measured(node, |x| declared[x.0]))?;
            Ok(Some(declared))
        }
        (Scheme::Static, None, None) => Err(ImportError::StaticNeedsSamples),
    }
}

/// Ranges that an already quantised source declares, if they cover every value that needs one.
fn declared_ranges(real: &RealGraph) -> Option<Vec<(f64, f64)>> {
    let mut ranges: Vec<(f64, f64)> = Vec::with_capacity(real.nodes.len());
    for (i, node) in real.nodes.iter().enumerate() {
        let inherited = || node.inputs.first().and_then(|x| ranges.get(x.0)).copied();
        let moves = real.keeps_scale(crate::real::NodeId(i))
            || matches!(node.op, RealOp::Func(crate::func::Func::Clip(..)));
        let range = match (&node.op, node.declared) {
            (_, Some(range)) => Some(range),
            (_, None) if node.index => Some((0.0, 0.0)),
            (RealOp::Softmax, None) => Some((0.0, 1.0)),
            (_, None) if moves => inherited(),
            (_, None) => None,
        };
        ranges.push(range?);
    }
    Some(ranges)
}

/// Hash of samples in canonical form: per array its name, extents and little-endian values, each with its length.
fn samples_digest(samples: &Samples) -> Digest {
    let mut bytes = Vec::new();
    for (name, array) in samples {
        bytes.extend_from_slice(&u64::try_from(name.len()).unwrap_or(u64::MAX).to_le_bytes());
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(&u64::try_from(array.shape.len()).unwrap_or(u64::MAX).to_le_bytes());
        for &extent in &array.shape {
            bytes.extend_from_slice(&u64::try_from(extent).unwrap_or(u64::MAX).to_le_bytes());
        }
        bytes.extend_from_slice(array.elem().to_string().as_bytes());
        bytes.extend_from_slice(&array.to_bytes());
    }
    Digest::of(&bytes)
}
