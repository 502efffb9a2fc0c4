//! Receipts and verdicts for people and for programs.

use std::fmt;

use serde::Serialize;
use veracity_receipt::{Claims, Receipt, Verdict};

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
            writeln!(f, "by way of  {}  (trace root over every step)", short(root))?;
        }
        let macs = self.macs.map(|macs| format!(", {} multiply-accumulates", words::grouped(macs)));
        let plural = if self.samples == 1 { "" } else { "s" };
        writeln!(f, "usage      {} sample{plural}{}", self.samples, macs.unwrap_or_default())?;
        write!(f, "signed     {} by {}", words::utc(self.issued_at), self.software)
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
    receipt: Option<Statement>,
    #[serde(skip)]
    text: String,
}

#[derive(Debug, Serialize)]
struct Line {
    name: &'static str,
    outcome: &'static str,
    detail: String,
}

impl Judgement {
    /// A verdict, with what the receipt states if it could be read.
    pub(crate) fn new(verdict: &Verdict, receipt: Option<&Receipt>) -> Self {
        let line = |check: &veracity_receipt::Check| Line {
            name: check.name.as_str(),
            outcome: check.outcome.label(),
            detail: check.outcome.detail(),
        };
        Self {
            verified: verdict.verified(),
            tier: verdict.tier().map(veracity_receipt::Tier::as_str),
            checks: verdict.checks().iter().map(line).collect(),
            required: verdict.required().iter().map(|n| n.as_str()).collect(),
            failed: verdict.failed().map(veracity_receipt::CheckName::as_str).collect(),
            unmet: verdict.unmet().map(veracity_receipt::CheckName::as_str).collect(),
            receipt: receipt.map(Statement::from),
            text: verdict.to_string(),
        }
    }
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
