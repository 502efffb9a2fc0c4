use std::{
    fmt,
    path::{Path, PathBuf},
    time::Instant,
};

use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::Value;
use veracity_graph::{BatchError, ModelError};
use veracity_importer::{
    Activations, ImportError, Imported, Options, OutputAccuracy, Progress as Step, Report, Samples, Scheme,
};
use veracity_store::Name;

use crate::{
    apart::{self, Use},
    args::Global,
    data,
    error::Failure,
    files, models,
    npz::Tensors,
    output::Output,
    progress::{Progress, Unit},
    tensors::Given,
    words,
};

/// No ONNX file is larger: protobuf messages end at 2 GiB.
const ONNX_BYTES_MAX: u64 = 2 << 30;

const EXAMPLES: &str = "\
Examples:
  veracity import net.onnx
  veracity import net.onnx --samples calibration.npz --name net-v2
  veracity import net.onnx --samples pictures/ --activations i16
  veracity import net.onnx --out net.vmodel

Samples are an .npz with one array per input of the model, under the input's ONNX name, the first axis counting the \
samples (other arrays are ignored, with a note); or an .npy or a folder of .png, .jpg and .bmp pictures for a model with \
one input. Pictures must have the model's size, are divided by 255 and laid out [batch, channel, row, column]. With \
samples the scales are static and the accuracy against the original is measured; without, rows are scaled at run time \
and nothing is measured.";

/// Convert an ONNX model to exact integers and measure what that costs in accuracy.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ImportArgs {
    /// The ONNX file.
    file: PathBuf,
    /// Sample inputs: an .npz, an .npy or a folder of pictures.
    #[arg(long, value_name = "FILE|DIR")]
    samples: Option<PathBuf>,
    /// Width of activations: 8 bits are fastest, 16 nearly as accurate as f32.
    #[arg(long, value_enum, default_value_t = Width::I8)]
    activations: Width,
    /// Where scales come from: auto takes static with samples and dynamic without.
    #[arg(long, value_enum, default_value_t = Scales::Auto)]
    scheme: Scales,
    /// Name in the store [default: the file's name in lower case].
    #[arg(long, value_name = "NAME", conflicts_with = "out")]
    name: Option<String>,
    /// Write the model there instead of into the store: one file if it ends in .vmodel, else a folder.
    #[arg(long, value_name = "DIR|FILE.vmodel")]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Width {
    I8,
    I16,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Scales {
    Auto,
    Dynamic,
    Static,
}

/// What was imported.
#[derive(Debug, Serialize)]
struct Import {
    model_id: String,
    name: Option<String>,
    path: Option<PathBuf>,
    size_bytes: u64,
    elapsed_ms: u128,
    accuracy: Value,
    notes: Vec<String>,
    #[serde(skip)]
    report: String,
}

/// Runs `veracity import`.
pub(crate) fn execute(args: &ImportArgs, global: &Global, out: Output) -> Result<(), Failure> {
    let started = Instant::now();
    let name = if args.out.is_none() { Some(chosen_name(args)?) } else { None };
    check_files(args)?;
    let onnx = read_source(&args.file)?;
    let progress = Progress::new(out.is_json(), "reading", Unit::Steps);
    let options = Options { activations: args.activations.into(), scheme: args.scheme.into() };
    let (imported, mut notes) = convert_file(args, &onnx, &options, &progress)?;
    drop(progress);
    keep(&imported, name.as_ref(), args.out.as_deref(), global)?;
    notes.extend(doubts(&imported.report));
    notes.iter().for_each(|note| out.note(note));
    out.result(&summary(&imported, name.as_ref(), args.out.clone(), notes, started.elapsed().as_millis()));
    Ok(())
}

/// Refuses to write over the source or the samples.
fn check_files(args: &ImportArgs) -> Result<(), Failure> {
    let mut uses = vec![Use::read("the source", &args.file)];
    uses.extend(args.samples.iter().map(|path| Use::read("--samples", path)));
    let written = args.out.iter().flat_map(|path| models::written(path));
    uses.extend(written.map(|path| Use::write("--out", path)));
    apart::check(&uses)
}

/// A warning for each output that is far from the original.
fn doubts(report: &Report) -> impl Iterator<Item = String> + '_ {
    const COSINE_MIN: f64 = 0.95;
    const ARGMAX_MIN: f64 = 0.9;
    let is_far = |o: &&OutputAccuracy| {
        o.cosine_mean < COSINE_MIN || o.argmax_agreement.is_some_and(|agreement| agreement < ARGMAX_MIN)
    };
    report.outputs.iter().filter(is_far).map(|o| {
        let name = &o.name;
        format!(
            "output '{name}' is far from the original: do not rely on this model as it is; try --activations i16, \
             --scheme dynamic, or samples that are like real inputs"
        )
    })
}

/// An empty file would be a protobuf message without fields, which says nothing useful.
fn read_source(file: &Path) -> Result<Vec<u8>, Failure> {
    let onnx = files::read(file, ONNX_BYTES_MAX)?;
    if onnx.is_empty() {
        let message = format!("{} is empty", file.display());
        return Err(Failure::input("not_onnx", message, "export the model again, or copy the file again"));
    }
    Ok(onnx)
}

/// Converts on the samples that were given; also gives what was changed in them.
fn convert_file(
    args: &ImportArgs,
    onnx: &[u8],
    options: &Options,
    progress: &Progress,
) -> Result<(Imported, Vec<String>), Failure> {
    let failure = |error: &ImportError| import_failure(error).about(&args.file);
    let convert = |samples: Option<&Samples>| convert(onnx, samples, options, progress);
    let Some(path) = &args.samples else {
        return convert(None).map(|imported| (imported, Vec::new())).map_err(|e| failure(&e));
    };
    let mut tensors = read_samples(path, onnx, options)?;
    let imported = match convert(Some(&tensors.arrays)) {
        // Only the importer knows the inputs. What is none, such as labels, is left out.
        Err(ImportError::Samples(BatchError::UnknownInput { expected, .. })) => {
            tensors = tensors.for_inputs(&expected, "bad_samples").map_err(|f| f.about(path))?;
            convert(Some(&tensors.arrays))
        }
        done => done,
    };
    Ok((imported.map_err(|e| failure(&e))?, tensors.notes))
}

/// Converts with a progress bar.
///
/// # Errors
/// The importer's refusals; see [`import_failure`].
pub(crate) fn convert(
    onnx: &[u8],
    samples: Option<&Samples>,
    options: &Options,
    progress: &Progress,
) -> Result<Imported, ImportError> {
    let mut show = |step| match step {
        Step::Reading | Step::Writing => {}
        Step::Calibrating { done, total } => progress.update("measuring ranges", done as u64, total as u64),
        Step::Measuring { done, total } => progress.update("comparing with f32", done as u64, total as u64),
    };
    veracity_importer::import(onnx, samples, options, &mut show)
}

/// What the importer refused, for users. Who meets a limit is told how to stay within it; who meets what should not
/// happen is asked to report it.
pub(crate) fn import_failure(error: &ImportError) -> Failure {
    let fix = match error {
        ImportError::NotOnnx { .. } => "give a whole ONNX file; external data files are not read",
        ImportError::Opset { .. } => "export the model again with an operator set in that range",
        ImportError::UnsupportedOperator { .. } | ImportError::UnsupportedUse { .. } => {
            "change that node before export, or simplify the model with onnxsim"
        }
        ImportError::UndefinedTensor { .. } | ImportError::BadTensor { .. } => {
            "export the model again, as a single file that onnx.checker accepts"
        }
        ImportError::Interface { .. } | ImportError::Model(ModelError::Name { .. }) => {
            "change the inputs and outputs of the model before export"
        }
        ImportError::Samples(_) | ImportError::NoSamples => {
            "name the arrays after the model's inputs, the first axis counting the samples"
        }
        ImportError::StaticNeedsSamples => "give --samples, or leave --scheme at auto",
        ImportError::OutOfRange { .. } => "scale the model's inputs down, or use the dynamic scheme",
        ImportError::Model(ModelError::AccumulatorOverflow { .. }) => {
            "use --activations i8, or split that layer into narrower ones"
        }
        ImportError::Model(ModelError::SumsWork { .. }) => "give that layer weights of its own",
        ImportError::Model(ModelError::Op { .. }) => {
            "check the shapes at that node with onnx.checker and shape inference, or make its tensors smaller"
        }
        ImportError::Model(ModelError::NotEncodable { .. }) => "export a smaller model",
        ImportError::Run { .. } => "give samples of another shape, or smaller ones",
        _ => "export the model again; if it runs in ONNX Runtime, please report this",
    };
    Failure::input(error.code(), error, fix)
}

/// Samples under the names of the model's inputs. What has no names needs the model, so that is read first.
fn read_samples(path: &Path, onnx: &[u8], options: &Options) -> Result<Tensors, Failure> {
    match Given::read(path)? {
        Given::Named(tensors) => Ok(tensors),
        unnamed => {
            let options = Options { scheme: Scheme::Auto, ..*options };
            let model = veracity_importer::import(onnx, None, &options, &mut |_| ())
                .map_err(|e| import_failure(&e))?;
            unnamed.named(model.model.graph())
        }
    }
}

/// The name that was given, or one made of the file's.
fn chosen_name(args: &ImportArgs) -> Result<Name, Failure> {
    let bad = |e| Failure::input("bad_name", e, "give another one with --name, such as --name my-model");
    match &args.name {
        Some(name) => name.parse().map_err(bad),
        None => name_of(&args.file).parse().map_err(bad),
    }
}

/// The file's name without folder and extension, in the characters of names.
fn name_of(file: &Path) -> String {
    let stem = file.file_stem().and_then(|s| s.to_str()).unwrap_or_default().to_ascii_lowercase();
    let letter = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' };
    stem.chars().map(letter).collect()
}

fn keep(
    imported: &Imported,
    name: Option<&Name>,
    path: Option<&Path>,
    global: &Global,
) -> Result<(), Failure> {
    let report = imported.report.to_json();
    if let Some(path) = path {
        return models::write(path, &imported.bundle, Some(&report));
    }
    let store = data::open_store(global)?;
    let id = store.put(&imported.bundle, Some(report.as_bytes())).map_err(|e| data::put_failure(&e))?;
    name.map_or(Ok(()), |name| store.set_name(name, &id)).map_err(|e| data::store_failure(&e))
}

fn summary(
    imported: &Imported,
    name: Option<&Name>,
    path: Option<PathBuf>,
    notes: Vec<String>,
    elapsed_ms: u128,
) -> Import {
    let manifest = &imported.bundle.manifest;
    Import {
        model_id: imported.bundle.model_id().to_string(),
        name: name.map(ToString::to_string),
        path,
        size_bytes: manifest.graph.size_bytes.saturating_add(manifest.weights.size_bytes),
        elapsed_ms,
        accuracy: serde_json::from_str(&imported.report.to_json()).unwrap_or(Value::Null),
        notes,
        report: imported.report.to_string(),
    }
}

impl fmt::Display for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.as_ref().map(|p| p.display().to_string());
        let place = self.name.clone().or(path).unwrap_or_default();
        writeln!(f, "imported  {place}  ({}, {} ms)", words::size(self.size_bytes), self.elapsed_ms)?;
        writeln!(f, "model id  {}", self.model_id)?;
        self.report.trim_end().lines().try_for_each(|line| writeln!(f, "  {}", words::printable(line)))?;
        write!(f, "next: veracity run {place} --input FILE.npz --receipt receipt.cose")
    }
}

impl From<Width> for Activations {
    fn from(width: Width) -> Self {
        match width {
            Width::I8 => Self::I8,
            Width::I16 => Self::I16,
        }
    }
}

impl From<Scales> for Scheme {
    fn from(scales: Scales) -> Self {
        match scales {
            Scales::Auto => Self::Auto,
            Scales::Dynamic => Self::Dynamic,
            Scales::Static => Self::Static,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only what should not happen is to be reported.
    #[test]
    fn limits_are_not_reported() {
        let text = || "x".to_owned();
        let limits = [
            ImportError::BadTensor { tensor: text(), reason: text() },
            ImportError::UndefinedTensor { node: text(), tensor: text() },
            ImportError::Interface { name: text(), reason: text() },
            ImportError::Model(ModelError::AccumulatorOverflow { node: text(), worst: 9, limit: 8 }),
            ImportError::Model(ModelError::SumsWork { node: text() }),
            ImportError::Model(ModelError::NotEncodable { list_max: 1 }),
            ImportError::Run { reason: text() },
        ];
        let asks = |error: &ImportError| import_failure(error).fix.contains("please report");
        for error in limits {
            assert!(!asks(&error), "{error}");
        }
        assert!(asks(&ImportError::Model(ModelError::WeightsSize { expected: 1, found: 2 })));
        assert!(asks(&ImportError::Model(ModelError::UndefinedValue { place: text(), value: 1 })));
    }

    #[test]
    fn names_come_from_files() {
        let cases = [("a/ResNet 18.onnx", "resnet-18"), ("mnist_v2.1.onnx", "mnist_v2.1"), ("é.onnx", "-")];
        for (file, name) in cases {
            assert_eq!(name_of(Path::new(file)), name);
        }
    }
}
