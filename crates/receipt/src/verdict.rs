//! What came out: one line per check, and the conclusion.

use std::fmt::{self, Write as _};

use crate::CheckError;

/// The checks, in the order in which they run (specification, section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CheckName {
    /// The bytes are the one encoding of a receipt.
    Decode,
    /// The executor's key signed it.
    Signature,
    /// It was not issued in the future.
    Time,
    /// The expected executor signed it.
    Executor,
    /// It is for the model at hand.
    Model,
    /// It is for the request at hand.
    Request,
    /// It is for the response at hand.
    Response,
    /// Running the request again gave the response, bit for bit.
    Execution,
    /// That run has the trace root that was claimed.
    Trace,
    /// That run has the usage that was claimed.
    Usage,
    /// The block of the evidence is final under the network key.
    Final,
    /// That block anchors the receipt at its sequence.
    Anchored,
}

impl CheckName {
    /// All checks, in order.
    pub const ALL: [Self; 12] = [
        Self::Decode,
        Self::Signature,
        Self::Time,
        Self::Executor,
        Self::Model,
        Self::Request,
        Self::Response,
        Self::Execution,
        Self::Trace,
        Self::Usage,
        Self::Final,
        Self::Anchored,
    ];

    /// The name in verdicts, JSON and policies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Signature => "signature",
            Self::Time => "time",
            Self::Executor => "executor",
            Self::Model => "model",
            Self::Request => "request",
            Self::Response => "response",
            Self::Execution => "execution",
            Self::Trace => "trace",
            Self::Usage => "usage",
            Self::Final => "final",
            Self::Anchored => "anchored",
        }
    }
}

impl fmt::Display for CheckName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How a check ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was made and holds; what was found.
    Pass(String),
    /// It was made and does not hold.
    Fail(CheckError),
    /// It was not made; why not.
    Skip(String),
}

impl Outcome {
    /// `PASS`, `FAIL` or `SKIP`.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Pass(_) => "PASS",
            Self::Fail(_) => "FAIL",
            Self::Skip(_) => "SKIP",
        }
    }

    /// The finding, the error or the reason, in one sentence.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::Pass(detail) | Self::Skip(detail) => detail.clone(),
            Self::Fail(error) => error.to_string(),
        }
    }

    /// Whether the check was made and holds.
    #[must_use]
    pub const fn is_pass(&self) -> bool {
        matches!(self, Self::Pass(_))
    }

    /// Whether the check was made and does not hold.
    #[must_use]
    pub const fn is_fail(&self) -> bool {
        matches!(self, Self::Fail(_))
    }

    /// Whether the check was not made.
    #[must_use]
    pub const fn is_skip(&self) -> bool {
        matches!(self, Self::Skip(_))
    }
}

/// One line of a verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Which check.
    pub name: CheckName,
    /// How it ended.
    pub outcome: Outcome,
}

/// For example `PASS  signature  Ed25519 by 1f3a...`. Always one line: what is not printable ASCII is escaped, so that
/// no text from outside can imitate another line.
impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {:<9}  ", self.outcome.label(), self.name)?;
        for character in self.outcome.detail().chars() {
            match character {
                ' '..='~' => f.write_char(character)?,
                _ => write!(f, "{}", character.escape_unicode())?,
            }
        }
        Ok(())
    }
}

/// What a receipt's own evidence is worth to others (design, section 3). Higher tiers come with the evidence for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Tier {
    /// The executor's signature holds: it can be held to the statement by anyone who runs the request again.
    Signed,
}

impl Tier {
    /// The label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Signed => "signed",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The outcome of all checks on one receipt. Made by [`verify`](crate::verify) only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    checks: Vec<Check>,
    required: Vec<CheckName>,
}

impl Verdict {
    pub(crate) fn new(checks: Vec<Check>, required: Vec<CheckName>) -> Self {
        Self { checks, required }
    }

    /// All twelve checks, in the order of [`CheckName::ALL`].
    #[must_use]
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// How one check ended.
    #[must_use]
    pub fn outcome(&self, name: CheckName) -> Option<&Outcome> {
        self.checks.iter().find(|check| check.name == name).map(|check| &check.outcome)
    }

    /// The checks that the policy requires.
    #[must_use]
    pub fn required(&self) -> &[CheckName] {
        &self.required
    }

    /// Checks that failed, required or not.
    pub fn failed(&self) -> impl Iterator<Item = CheckName> {
        self.checks.iter().filter(|check| check.outcome.is_fail()).map(|check| check.name)
    }

    /// Checks that were not made, required or not.
    pub fn skipped(&self) -> impl Iterator<Item = CheckName> {
        self.checks.iter().filter(|check| check.outcome.is_skip()).map(|check| check.name)
    }

    /// Required checks that did not pass.
    pub fn unmet(&self) -> impl Iterator<Item = CheckName> {
        self.required.iter().copied().filter(|name| !self.passed(*name))
    }

    /// Whether no check failed and every required one passed. SKIP never counts as PASS.
    #[must_use]
    pub fn verified(&self) -> bool {
        self.passed(CheckName::Decode) && self.failed().next().is_none() && self.unmet().next().is_none()
    }

    /// What the receipt's own evidence supports; nothing unless the receipt is verified, so that the label never says
    /// more than was checked here.
    #[must_use]
    pub fn tier(&self) -> Option<Tier> {
        (self.verified() && self.passed(CheckName::Signature)).then_some(Tier::Signed)
    }

    /// The conclusion in one line, with what it leaves open: VERIFIED does not hide what was skipped.
    #[must_use]
    pub fn conclusion(&self) -> String {
        let (failed, unmet, skipped) = (list(self.failed()), list(self.unmet()), list(self.skipped()));
        let tier = self.tier().map_or("none", Tier::as_str);
        match (self.verified(), failed.is_empty(), skipped.is_empty()) {
            (true, _, true) => format!("VERIFIED (tier: {tier})"),
            (true, _, false) => format!("VERIFIED (tier: {tier}), except what was skipped: {skipped}"),
            (false, true, _) => format!("NOT VERIFIED: required but not passed: {unmet}"),
            (false, false, _) => format!("NOT VERIFIED: failed: {failed}"),
        }
    }

    fn passed(&self, name: CheckName) -> bool {
        self.outcome(name).is_some_and(Outcome::is_pass)
    }
}

fn list(names: impl Iterator<Item = CheckName>) -> String {
    names.map(CheckName::as_str).collect::<Vec<_>>().join(", ")
}

/// One line per check, then the conclusion.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.checks.iter().try_for_each(|check| writeln!(f, "{check}"))?;
        f.write_str(&self.conclusion())
    }
}
