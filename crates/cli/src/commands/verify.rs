use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use clap::Args;
use veracity_receipt::{ExecutorId, Materials, Policy, RECEIPT_BYTES_MAX, Receipt, Reexecutor};
use veracity_worker::{Auditor, Limits, LoadedModel};

use crate::{
    args::Global,
    data,
    error::Failure,
    models::{self, Found},
    output::Output,
    progress::{Progress, Unit},
    runner::EngineArgs,
    statement::Judgement,
    words,
};

const EXAMPLES: &str = "\
Examples:
  veracity verify r.cose                        with r.cose.request and .response beside it
  veracity verify r.cose --request asked.bin --response got.bin --model net.vmodel
  veracity verify r.cose --executor 3d40..660c  only this executor will do
  veracity verify r.cose --json

A receipt is verified when no check FAILs and signature, model, request and execution PASS; a SKIP never counts as a \
PASS. The model is taken from the store by the id in the receipt unless --model is given.

Exit status: 0 verified, 1 not verified, 2 bad input.";

/// Check a receipt offline: believe nobody, run the model again, compare every bit.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct VerifyArgs {
    /// The receipt.
    receipt: PathBuf,
    /// Name, id, .vmodel file or folder [default: the receipt's model in the store].
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// Exact bytes of the request body [default: RECEIPT.request if it exists].
    #[arg(long, value_name = "FILE")]
    request: Option<PathBuf>,
    /// Exact bytes of the response body [default: RECEIPT.response if it exists].
    #[arg(long, value_name = "FILE")]
    response: Option<PathBuf>,
    /// Executor that must have signed, 64 hex digits [default: anyone].
    #[arg(long, value_name = "ID")]
    executor: Option<ExecutorId>,
    #[command(flatten)]
    engine: EngineArgs,
}

/// Runs `veracity verify`; `false` if the receipt is not verified.
pub(crate) fn execute(args: &VerifyArgs, global: &Global, out: Output) -> Result<bool, Failure> {
    let receipt = read_receipt(&args.receipt)?;
    let request = body(args.request.as_deref(), &args.receipt, "request")?;
    let response = body(args.response.as_deref(), &args.receipt, "response")?;
    let progress = Progress::new(out.is_json(), "running the model again", Unit::Steps);
    let model = model(args, &receipt, global)?;
    let evidence = Evidence {
        receipt: &receipt,
        request: request.as_deref(),
        response: response.as_deref(),
        model: model.as_ref(),
        executor: args.executor,
    };
    let judgement = judge(evidence);
    drop(progress);
    out.result(&judgement);
    Ok(judgement.verified)
}

/// What is held against each other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Evidence<'a> {
    /// The receipt.
    pub(crate) receipt: &'a [u8],
    /// Body of the request.
    pub(crate) request: Option<&'a [u8]>,
    /// Body of the response.
    pub(crate) response: Option<&'a [u8]>,
    /// The model, ready to run the request again.
    pub(crate) model: Option<&'a LoadedModel>,
    /// Who must have signed.
    pub(crate) executor: Option<ExecutorId>,
}

/// Holds the evidence against each other and against a new run of the model.
pub(crate) fn judge(evidence: Evidence<'_>) -> Judgement {
    let receipt = Receipt::decode(evidence.receipt).ok();
    let claims = receipt.as_ref().map(Receipt::claims);
    // It is the user's own machine and time: no limit but memory.
    let limits = Limits { samples_max: usize::MAX };
    let auditor = evidence.model.map(|loaded| Auditor { loaded, limits });
    let materials = Materials {
        model_id: auditor.as_ref().map(Reexecutor::model_id),
        request: claims.zip(evidence.request).map(|(claims, body)| claims.request(body)),
        response: claims.zip(evidence.response).map(|(claims, body)| claims.response(body)),
        reexecutor: auditor.as_ref().map(|auditor| auditor as &dyn Reexecutor),
    };
    let policy = Policy { now: Some(words::now()), executor: evidence.executor, ..Policy::default() };
    let verdict = veracity_receipt::verify(evidence.receipt, &materials, &policy);
    Judgement::new(&verdict, receipt.as_ref())
}

/// At most one byte more than receipts have: a larger file is refused by its verdict, not read.
fn read_receipt(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(RECEIPT_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    let read = File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes));
    read.map_err(|e| Failure::read(path, &e))?;
    Ok(bytes)
}

/// The body in the file that was named, or in the one beside the receipt if it is there.
fn body(named: Option<&Path>, receipt: &Path, kind: &str) -> Result<Option<Vec<u8>>, Failure> {
    let beside = sibling(receipt, kind);
    let path = match named {
        Some(path) => path,
        None if beside.is_file() => &beside,
        None => return Ok(None),
    };
    std::fs::read(path).map(Some).map_err(|e| Failure::read(path, &e))
}

/// `RECEIPT.request` or `RECEIPT.response`.
pub(crate) fn sibling(receipt: &Path, kind: &str) -> PathBuf {
    let mut name = receipt.as_os_str().to_owned();
    name.push(".");
    name.push(kind);
    PathBuf::from(name)
}

/// The model that was named; else the receipt's, if the store has it.
fn model(args: &VerifyArgs, receipt: &[u8], global: &Global) -> Result<Option<LoadedModel>, Failure> {
    let found = match (&args.model, Receipt::decode(receipt)) {
        (Some(reference), _) => Some(models::find(reference, global)?),
        (None, Ok(receipt)) => stored(&receipt.claims().model_id.to_string(), global)?,
        (None, Err(_)) => None,
    };
    found.map(|found| args.engine.load(found.bundle)).transpose()
}

/// The model with this id, if the store has it.
fn stored(id: &str, global: &Global) -> Result<Option<Found>, Failure> {
    let Some(store) = data::open_existing_store(global)? else { return Ok(None) };
    match models::from_store(&store, id) {
        Err(failure) if failure.code == "model_not_found" => Ok(None),
        found => found.map(Some),
    }
}
