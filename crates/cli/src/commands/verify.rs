use std::path::{Path, PathBuf};

use clap::Args;
use veracity_light::{EVIDENCE_BYTES_MAX, Evidence, KeyError};
use veracity_receipt::{
    CheckName, Claims, ExecutorId, Materials, NetworkKey, Policy, RECEIPT_BYTES_MAX, Receipt, Reexecutor,
};
use veracity_worker::{Auditor, Limits, LoadedModel};

use crate::{
    args::Global,
    data,
    error::Failure,
    files,
    models::{self, Found},
    output::Output,
    progress::{Progress, Unit},
    runner::EngineArgs,
    statement::Judgement,
    words,
};

const EXAMPLES: &str = "\
Examples:
  veracity verify r.cose
  veracity verify r.cose --request sent.bin --response got.bin
  veracity verify r.cose --model net.vmodel --json
  veracity verify r.cose --network-key key.hex

A receipt is verified when no check FAILs and signature, model, request and execution PASS; a SKIP never counts as a \
PASS, and the conclusion names what was skipped. Without --model the model is taken from the store by the id in the \
receipt; the line `model` says which names it has there. Without --executor anyone may have signed. With --network-key \
the receipt must also be anchored in a block that the validators of that network finalized: final and anchored must PASS.

Exit status: 0 verified, 1 not verified, 2 bad input.";

/// Bodies of up to this many bytes are read even if the receipt claims fewer, so that the verdict names both hashes.
const BODY_BYTES_UNCLAIMED: u64 = 64 << 20;

/// Digits of a network key.
const NETWORK_KEY_DIGITS: usize = 192;
/// A file with a network key has 192 digits and a newline.
const NETWORK_KEY_FILE_BYTES_MAX: u64 = 1024;

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
    /// Key of the network in whose blocks the receipt must be anchored: 192 hex digits, or a file with them.
    #[arg(long, value_name = "FILE|HEX")]
    network_key: Option<String>,
    /// Evidence that it is anchored, if the receipt does not carry it.
    #[arg(long, value_name = "FILE")]
    evidence: Option<PathBuf>,
    #[command(flatten)]
    engine: EngineArgs,
}

/// Runs `veracity verify`; `false` if the receipt is not verified.
pub(crate) fn execute(args: &VerifyArgs, global: &Global, out: Output) -> Result<bool, Failure> {
    // At most one byte more than receipts have: a larger file is refused by its verdict, not read.
    let mut receipt = files::read_start(&args.receipt, RECEIPT_BYTES_MAX as u64 + 1)?;
    let mut decoded = Receipt::decode(&receipt).ok();
    if let Some(path) = &args.evidence {
        let evidence = evidence(path)?;
        decoded = decoded.map(|receipt| receipt.with_evidence(Some(evidence)));
        receipt = decoded.as_ref().map_or(receipt, Receipt::encode);
    }
    let network_key = args.network_key.as_deref().map(network_key).transpose()?;
    let usage = decoded.as_ref().map(|receipt| receipt.claims().usage);
    let body = |named: &Option<PathBuf>, kind, claimed: Option<u64>| {
        body(named.as_deref(), &args.receipt, kind, claimed.unwrap_or(0).max(BODY_BYTES_UNCLAIMED))
    };
    let request = body(&args.request, "request", usage.map(|usage| usage.input_bytes))?;
    let response = body(&args.response, "response", usage.map(|usage| usage.output_bytes))?;
    let progress = Progress::new(out.is_json(), "running the model again", Unit::Steps);
    let model = model(args, decoded.as_ref(), global)?;
    let case = Case {
        receipt: &receipt,
        request: request.as_deref(),
        response: response.as_deref(),
        model: model.as_ref(),
        executor: args.executor,
        network_key: network_key.as_ref(),
    };
    let mut judgement = judge(case);
    drop(progress);
    if let Some((names, namesake)) = decoded.and_then(|receipt| local_names(receipt.claims(), global)) {
        judgement.name_model(names, namesake);
    }
    out.result(&judgement);
    Ok(judgement.verified)
}

/// What is held against each other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case<'a> {
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
    /// The network in whose blocks it must be anchored.
    pub(crate) network_key: Option<&'a NetworkKey>,
}

/// Holds all of it against each other and against a new run of the model.
pub(crate) fn judge(case: Case<'_>) -> Judgement {
    let receipt = Receipt::decode(case.receipt).ok();
    let claims = receipt.as_ref().map(Receipt::claims);
    // It is the user's own machine and time: no limit but memory.
    let limits = Limits { samples_max: usize::MAX };
    let auditor = case.model.map(|loaded| Auditor { loaded, limits });
    let materials = Materials {
        model_id: auditor.as_ref().map(Reexecutor::model_id),
        request: claims.zip(case.request).map(|(claims, body)| claims.request(body)),
        response: claims.zip(case.response).map(|(claims, body)| claims.response(body)),
        reexecutor: auditor.as_ref().map(|auditor| auditor as &dyn Reexecutor),
    };
    let mut policy = Policy {
        now: Some(words::now()),
        executor: case.executor,
        network_key: case.network_key.cloned(),
        ..Policy::default()
    };
    if policy.network_key.is_some() {
        policy.required.extend([CheckName::Final, CheckName::Anchored]);
    }
    let verdict = veracity_receipt::verify(case.receipt, &materials, &policy);
    Judgement::new(&verdict, receipt.as_ref())
}

/// The evidence in a file.
fn evidence(path: &Path) -> Result<Evidence, Failure> {
    let bytes = files::read(path, EVIDENCE_BYTES_MAX as u64)?;
    Evidence::decode(&bytes).map_err(|error| {
        let message = format!("{} is no evidence: {error}", path.display());
        Failure::input("evidence_malformed", message, "get it again from a node of the network")
    })
}

/// The key that these digits are, with or without `0x` in front, or the one in the file with this name: what is not 192
/// digits names a file.
///
/// # Errors
/// `network_key_malformed`, and trouble with the file.
pub(crate) fn network_key(given: &str) -> Result<NetworkKey, Failure> {
    let digits = given.strip_prefix("0x").unwrap_or(given);
    let is_key = digits.len() == NETWORK_KEY_DIGITS && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let text = match is_key {
        true => digits.to_owned(),
        false => {
            let bytes = files::read(Path::new(given), NETWORK_KEY_FILE_BYTES_MAX)?;
            String::from_utf8_lossy(&bytes).trim().trim_start_matches("0x").to_owned()
        }
    };
    text.parse().map_err(|error: KeyError| {
        let fix = "give the 192 hex digits of the network's key, or a file with them";
        Failure::input("network_key_malformed", error, fix)
    })
}

/// The body in the file that was named, or in the one beside the receipt if it is there.
fn body(
    named: Option<&Path>,
    receipt: &Path,
    kind: &str,
    bytes_max: u64,
) -> Result<Option<Vec<u8>>, Failure> {
    let beside = sibling(receipt, kind);
    let path = match named {
        Some(path) => path,
        None if beside.is_file() => &beside,
        None => return Ok(None),
    };
    files::read(path, bytes_max).map(Some)
}

/// `RECEIPT.request` or `RECEIPT.response`.
pub(crate) fn sibling(receipt: &Path, kind: &str) -> PathBuf {
    let mut name = receipt.as_os_str().to_owned();
    name.push(".");
    name.push(kind);
    PathBuf::from(name)
}

/// The model that was named; else the receipt's, if the store has it.
fn model(
    args: &VerifyArgs,
    receipt: Option<&Receipt>,
    global: &Global,
) -> Result<Option<LoadedModel>, Failure> {
    let found = match (&args.model, receipt) {
        (Some(reference), _) => Some(models::find(reference, global)?),
        (None, Some(receipt)) => stored(&receipt.claims().model_id.to_string(), global)?,
        (None, None) => None,
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

/// The names here of the receipt's model, and the id of another model that has the receipt's name for it here. Nothing
/// if the store cannot be read: who brings the model along needs none.
fn local_names(claims: &Claims, global: &Global) -> Option<(Vec<String>, Option<String>)> {
    let own = claims.model_id.to_string();
    let names = match data::open_existing_store(global).ok()? {
        Some(store) => store.names().ok()?,
        None => Vec::new(),
    };
    let names = names.into_iter().map(|(name, id)| (name.to_string(), id.to_string()));
    let (ours, others): (Vec<_>, Vec<_>) = names.partition(|(_, id)| *id == own);
    let namesake = others.into_iter().find(|(name, _)| *name == claims.parameters.model_name);
    Some((ours.into_iter().map(|(name, _)| name).collect(), namesake.map(|(_, id)| id)))
}
