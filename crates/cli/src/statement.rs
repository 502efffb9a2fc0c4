//! Receipts and verdicts for people and for programs.

use std::fmt;

use serde::Serialize;
use veracity_receipt::{Check, CheckName, Claims, Receipt, Tier, Verdict};

use crate::words;

/// What a receipt states.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Statement {
    pub(crate) receipt_id: String,
    executor: String,
    model_id: String,
    model_name: String,
    protocol: String,
    request_hash: String,
    response_hash: String,
    issued_at: u64,
    samples: u64,
    request_bytes: u64,
    response_bytes: u64,
    macs: Option<u64>,
    trace_root: Option<String>,
    software: String,
    sequence: Option<u64>,
}

impl From<&Receipt> for Statement {
    fn from(receipt: &Receipt) -> Self {
        let Claims {
            issued_at,
            model_id,
            request_hash,
            response_hash,
            parameters,
            usage,
            software,
            trace_root,
            sequence,
        } = receipt.claims();
        Self {
            receipt_id: receipt.id().to_string(),
            executor: receipt.executor().to_string(),
            model_id: model_id.to_string(),
            model_name: parameters.model_name.clone(),
            protocol: parameters.protocol.clone(),
            request_hash: request_hash.to_string(),
            response_hash: response_hash.to_string(),
            issued_at: *issued_at,
            samples: usage.samples,
            request_bytes: usage.input_bytes,
            response_bytes: usage.output_bytes,
            macs: usage.macs,
            trace_root: trace_root.map(|root| root.to_string()),
            software: software.clone(),
            sequence: *sequence,
        }
    }
}

/// In words, hashes shortened to 16 digits.
impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |hash: &str| format!("{}..", hash.get(..16).unwrap_or(hash));
        writeln!(f, "executor   {}  (its public key)", short(&self.executor))?;
        writeln!(f, "ran        {}  ({})", short(&self.model_id), self.model_name)?;
        writeln!(
            f,
            "on         {}  ({} of {})",
            short(&self.request_hash),
            words::size(self.request_bytes),
            self.protocol
        )?;
        writeln!(f, "and gave   {}  ({})", short(&self.response_hash), words::size(self.response_bytes))?;
        if let Some(root) = &self.trace_root {
            writeln!(f, "by way of  {}  (trace root over its checkpoints)", short(root))?;
        }
        let macs = self.macs.map(|macs| format!(", {} multiply-accumulates", words::grouped(macs)));
        let samples = words::count(self.samples, "sample");
        writeln!(f, "usage      {samples}{}", macs.unwrap_or_default())?;
        let number = self.sequence.map(|sequence| format!(" as its receipt number {sequence}"));
        let number = number.unwrap_or_default();
        write!(f, "signed     {} by {}{number}", words::utc(self.issued_at), self.software)
    }
}

/// The outcome of all checks on one receipt.
#[derive(Debug, Serialize)]
pub(crate) struct Judgement {
    pub(crate) verified: bool,
    tier: Option<&'static str>,
    checks: Vec<Line>,
    required: Vec<&'static str>,
    failed: Vec<&'static str>,
    unmet: Vec<&'static str>,
    skipped: Vec<&'static str>,
    /// Names of the receipt's model here; none if nobody looked.
    model_names: Option<Vec<String>>,
    warnings: Vec<String>,
    conclusion: String,
    receipt: Option<Statement>,
}

#[derive(Debug, Serialize)]
struct Line {
    name: &'static str,
    outcome: &'static str,
    detail: String,
    /// All of it in words.
    #[serde(skip)]
    text: String,
}

impl From<&Check> for Line {
    fn from(check: &Check) -> Self {
        let Check { name, outcome } = check;
        let (detail, text) = (outcome.detail(), check.to_string());
        Self { name: name.as_str(), outcome: outcome.label(), detail, text }
    }
}

impl Judgement {
    /// A verdict, with what the receipt states if it could be read.
    pub(crate) fn new(verdict: &Verdict, receipt: Option<&Receipt>) -> Self {
        Self {
            verified: verdict.verified(),
            tier: verdict.tier().map(Tier::as_str),
            checks: verdict.checks().iter().map(Line::from).collect(),
            required: verdict.required().iter().map(|n| n.as_str()).collect(),
            failed: verdict.failed().map(CheckName::as_str).collect(),
            unmet: verdict.unmet().map(CheckName::as_str).collect(),
            skipped: verdict.skipped().map(CheckName::as_str).collect(),
            model_names: None,
            warnings: Vec::new(),
            conclusion: verdict.conclusion(),
            receipt: receipt.map(Statement::from),
        }
    }

    /// Says what the receipt's model is called here, and warns if the name in the receipt means `namesake` here.
    pub(crate) fn name_model(&mut self, names: Vec<String>, namesake: Option<String>) {
        let known = match names.as_slice() {
            [] => "which has no name here".to_owned(),
            names => format!("known here as {}", names.join(", ")),
        };
        if let Some(line) = self.checks.iter_mut().find(|line| line.name == "model" && line.outcome == "PASS")
        {
            line.text = format!("{}, {known}", line.text);
        }
        if let (Some(id), Some(receipt)) = (namesake, &self.receipt) {
            let claimed = &receipt.model_name;
            self.warnings
                .push(format!("the receipt calls its model '{claimed}'; here that is another model, {id}"));
        }
        self.model_names = Some(names);
    }
}

/// One line per check and warning, then the conclusion.
impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.checks.iter().try_for_each(|line| writeln!(f, "{}", line.text))?;
        self.warnings.iter().try_for_each(|warning| writeln!(f, "WARN  name       {warning}"))?;
        f.write_str(&self.conclusion)
    }
}
