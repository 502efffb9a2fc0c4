use std::{path::PathBuf, time::Instant};

use clap::Args;
use veracity_graph::Array;
use veracity_receipt::{Receipt, Request};
use veracity_store::SequenceError;
use veracity_worker::{
    Inference, Limits, LoadedModel, RequestError, ResponseBytes, Worker, protocol::PROTOCOL,
};

use crate::{
    apart::{self, Use},
    args::Global,
    commands::verify::sibling,
    data,
    error::Failure,
    files, models, npz,
    oip::{self, Message},
    outcome::{Outcome, Tensor},
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

The input is an .npz with one array per input of the model, under its ONNX name and with the batch as first axis (other \
arrays are ignored, with a note); or an .npy, a picture or a folder of pictures for a model with one input. --receipt \
r.cose also writes r.cose.request and r.cose.response, the exact bytes that were hashed; `veracity verify r.cose` finds \
them.";

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

/// Runs `veracity run`.
pub(crate) fn execute(args: &RunArgs, global: &Global, out: Output) -> Result<(), Failure> {
    let given = Given::read(&args.input)?;
    check_files(args, &given)?;
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
        output: args.output.clone(),
        receipt: answer.receipt.as_ref().map(Statement::from),
        notes: tensors.notes,
    });
    Ok(())
}

/// Refuses to write over the input, the model, or what this run itself has written.
fn check_files(args: &RunArgs, given: &Given) -> Result<(), Failure> {
    let mut uses: Vec<Use> =
        given.files(&args.input).into_iter().map(|path| Use::read("--input", path)).collect();
    uses.extend(models::files(&args.model).into_iter().map(|path| Use::read("the model", path)));
    uses.extend(args.output.iter().map(|path| Use::write("--output", path)));
    if let Some(path) = &args.receipt {
        uses.push(Use::write("--receipt", path));
        uses.push(Use::write("the request beside the receipt", sibling(path, "request")));
        uses.push(Use::write("the response beside the receipt", sibling(path, "response")));
    }
    apart::check(&uses)
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
    let store = data::open_store(global)?;
    let worker = Worker::new(data::executor_key(&store)?, limits, true);
    let inference = worker.infer(loaded, request, words::now());
    let Inference { response, claims } = inference.map_err(|e| request_failure(&e, args))?;
    let sequences = store.sequence_log(worker.executor().as_bytes()).map_err(|e| data::store_failure(&e))?;
    let receipt = sequences.issue(|sequence| {
        let receipt = worker.sign(claims, sequence)?;
        let id = *receipt.id().as_bytes();
        Ok((receipt, id))
    });
    let receipt = receipt.map_err(|error| match error {
        SignError::Request(error) => request_failure(&error, args),
        SignError::Sequence(error) => data::sequence_failure(&error),
    })?;
    Ok(Answer { response, receipt: Some(receipt) })
}

/// Why there is no receipt.
enum SignError {
    Request(RequestError),
    Sequence(SequenceError),
}

impl From<RequestError> for SignError {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

impl From<SequenceError> for SignError {
    fn from(error: SequenceError) -> Self {
        Self::Sequence(error)
    }
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
        files::write(path, &bytes.into_inner())?;
    }
    if let (Some(path), Some(receipt)) = (&args.receipt, &answer.receipt) {
        files::write(&sibling(path, "request"), request)?;
        files::write(&sibling(path, "response"), &answer.response.body)?;
        files::write(path, &receipt.encode())?;
    }
    Ok(())
}
