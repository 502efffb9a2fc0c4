use std::{fmt, path::PathBuf, time::Instant};

use clap::Args;
use serde::Serialize;
use veracity_graph::{Array, ArrayData};
use veracity_receipt::{Receipt, Request};
use veracity_worker::{
    Inference, Limits, LoadedModel, RequestError, ResponseBytes, Worker, protocol::PROTOCOL,
};

use crate::{
    args::Global,
    commands::verify::sibling,
    data,
    error::Failure,
    models, npz,
    oip::{self, Message},
    output::Output,
    progress::{Progress, Unit},
    runner::EngineArgs,
    statement::Statement,
    tensors::Given,
    words,
};

const EXAMPLES: &str = "\
Examples:
  veracity run digits-cnn --input x.npz
  veracity run digits-cnn --input x.npz --output y.npz --receipt r.cose
  veracity run ./net.vmodel --input photo.png --isa scalar --threads 1

The input is an .npz with one array per input of the model, under its ONNX name and with the batch as first axis; or an \
.npy, a picture or a folder of pictures for a model with one input. --receipt r.cose also writes r.cose.request and \
r.cose.response, the exact bytes that were hashed; `veracity verify r.cose` finds them.";

/// Run a model on this machine and sign a receipt for the answer.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RunArgs {
    /// Name, id, first 8 or more digits of an id, .vmodel file or folder.
    model: String,
    /// The input tensors.
    #[arg(long, value_name = "FILE|DIR")]
    input: PathBuf,
    /// Write the output tensors to this .npz.
    #[arg(long, value_name = "FILE.npz")]
    output: Option<PathBuf>,
    /// Write the receipt here, and request and response beside it.
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
    #[command(flatten)]
    engine: EngineArgs,
}

/// Most values of one output that are shown.
const SHOWN_MAX: usize = 1000;

/// What a run gave.
#[derive(Debug, Serialize)]
struct Outcome {
    model_id: String,
    elapsed_us: u128,
    outputs: Vec<Tensor>,
    receipt: Option<Statement>,
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Tensor {
    name: String,
    #[serde(rename = "type")]
    elem: String,
    shape: Vec<usize>,
    /// Row-major; nothing if there are more than a thousand.
    values: Option<Values>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Values {
    F32(Vec<f32>),
    I64(Vec<i64>),
}

/// Runs `veracity run`.
pub(crate) fn execute(args: &RunArgs, global: &Global, out: Output) -> Result<(), Failure> {
    let given = Given::read(&args.input)?;
    let found = models::find(&args.model, global)?;
    let progress = Progress::new(out.is_json(), "running", Unit::Steps);
    let (name, loaded) = (found.name, args.engine.load(found.bundle)?);
    let tensors = given.named(loaded.model().graph())?;
    tensors.notes.iter().for_each(|note| out.note(note));
    let Message { json_length, body } = oip::encode(&tensors.arrays);
    let request = Request { protocol: PROTOCOL, model_name: &name, json_length, body: &body };
    let started = Instant::now();
    let answer = answer(args, &loaded, &request, global)?;
    let elapsed_us = started.elapsed().as_micros();
    drop(progress);
    let outputs = oip::decode(answer.response.json_length, &answer.response.body)
        .expect("the worker's responses are responses of the protocol");
    write_files(args, &body, &answer, &outputs)?;
    out.result(&Outcome {
        model_id: loaded.id().to_string(),
        elapsed_us,
        outputs: outputs.into_iter().map(Tensor::from).collect(),
        receipt: answer.receipt.as_ref().map(Statement::from),
        notes: tensors.notes,
    });
    Ok(())
}

/// An answer, with a receipt if one is wanted.
struct Answer {
    response: ResponseBytes,
    receipt: Option<Receipt>,
}

/// Runs the request. Only for a receipt the data folder and its key are needed.
fn answer(
    args: &RunArgs,
    loaded: &LoadedModel,
    request: &Request<'_>,
    global: &Global,
) -> Result<Answer, Failure> {
    let limits = Limits { samples_max: usize::MAX };
    if args.receipt.is_none() {
        let answer = veracity_worker::execute(loaded, request, &limits, false)
            .map_err(|e| request_failure(&e, args))?;
        return Ok(Answer { response: answer.response, receipt: None });
    }
    let key = data::executor_key(&data::open_store(global)?)?;
    let inference = Worker::new(key, limits, true).infer(loaded, request, words::now());
    let Inference { response, receipt } = inference.map_err(|e| request_failure(&e, args))?;
    Ok(Answer { response, receipt: Some(receipt) })
}

fn request_failure(error: &RequestError, args: &RunArgs) -> Failure {
    let fix = format!("see what the model takes: veracity model show {}", args.model);
    Failure::input(error.refusal().code, error, fix)
}

fn write_files(
    args: &RunArgs,
    request: &[u8],
    answer: &Answer,
    outputs: &[(String, Array)],
) -> Result<(), Failure> {
    if let Some(path) = &args.output {
        let mut bytes = std::io::Cursor::new(Vec::new());
        npz::write(&mut bytes, outputs).map_err(|e| Failure::outside(e.code(), &e, e.fix()))?;
        models::write_file(path, &bytes.into_inner())?;
    }
    if let (Some(path), Some(receipt)) = (&args.receipt, &answer.receipt) {
        models::write_file(&sibling(path, "request"), request)?;
        models::write_file(&sibling(path, "response"), &answer.response.body)?;
        models::write_file(path, &receipt.encode())?;
    }
    Ok(())
}

impl From<(String, Array)> for Tensor {
    fn from((name, array): (String, Array)) -> Self {
        let elem = array.elem().to_string();
        let few = array.len() <= SHOWN_MAX;
        let values = match array.data {
            ArrayData::F32(v) => Values::F32(v),
            ArrayData::I32(v) => Values::I64(v.into_iter().map(i64::from).collect()),
            ArrayData::I64(v) => Values::I64(v),
        };
        Self { name, elem, shape: array.shape, values: Some(values).filter(|_| few) }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for tensor in &self.outputs {
            writeln!(f, "{}  {} {:?}", words::printable(&tensor.name), tensor.elem, tensor.shape)?;
            match &tensor.values {
                Some(values) => write_rows(f, values, tensor.shape.first().copied().unwrap_or(1))?,
                None => writeln!(f, "  (more than {SHOWN_MAX} values; see --output)")?,
            }
        }
        match &self.receipt {
            Some(receipt) => write!(f, "receipt\n  {}", receipt.to_string().replace('\n', "\n  ")),
            None => {
                write!(f, "in {} us, without a receipt; ask for one with --receipt FILE", self.elapsed_us)
            }
        }
    }
}

/// One line per sample.
fn write_rows(f: &mut fmt::Formatter<'_>, values: &Values, n: usize) -> fmt::Result {
    let texts: Vec<String> = match values {
        Values::F32(v) => v.iter().map(|x| format!("{x:.4}")).collect(),
        Values::I64(v) => v.iter().map(ToString::to_string).collect(),
    };
    let columns = (texts.len() / n.max(1)).max(1);
    texts.chunks(columns).try_for_each(|row| writeln!(f, "  {}", row.join(" ")))
}
