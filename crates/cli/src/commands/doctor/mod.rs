mod machine;
mod node;

use std::{fmt, net::SocketAddr};

use clap::Args;
use serde::Serialize;

use crate::{
    args::Global,
    data,
    error::Failure,
    output::Output,
    progress::{Progress, Unit},
    words,
};

const EXAMPLES: &str = "\
Examples:
  veracity doctor
  veracity doctor --listen 0.0.0.0:8080 --data /srv/veracity
  veracity doctor --json | jq '.checks[] | select(.label != \"PASS\")'

Exit status: 0 if nothing FAILs, 1 otherwise.";

/// Check whether this machine is fit to run and verify models, and say how to mend what is not.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DoctorArgs {
    /// Address that `veracity up` will listen on.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
enum Label {
    Pass,
    Warn,
    Fail,
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pass => "PASS",
            Self::Warn => "WARN",
            Self::Fail => "FAIL",
        })
    }
}

/// One line of the report.
#[derive(Debug, Serialize)]
struct Check {
    label: Label,
    name: &'static str,
    finding: String,
    /// What to do; nothing where all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

impl Check {
    fn pass(name: &'static str, finding: impl fmt::Display) -> Self {
        Self { label: Label::Pass, name, finding: finding.to_string(), fix: None }
    }

    fn warn(name: &'static str, finding: impl fmt::Display, fix: impl fmt::Display) -> Self {
        Self { label: Label::Warn, name, finding: finding.to_string(), fix: Some(fix.to_string()) }
    }

    fn fail(name: &'static str, finding: impl fmt::Display, fix: impl fmt::Display) -> Self {
        Self { label: Label::Fail, ..Self::warn(name, finding, fix) }
    }
}

#[derive(Debug, Serialize)]
struct Diagnosis {
    healthy: bool,
    checks: Vec<Check>,
}

/// Runs `veracity doctor`; `false` if something failed.
pub(crate) fn execute(args: &DoctorArgs, global: &Global, out: Output) -> Result<bool, Failure> {
    let folder = data::folder(global)?;
    let mut checks = vec![machine::processor(), machine::cores(), machine::memory(), machine::clock()];
    checks.extend([node::data_folder(&folder), node::disk_space(&folder)]);
    let progress = Progress::new(out.is_json(), "reading every model", Unit::Steps);
    checks.extend(node::store(&folder));
    drop(progress);
    checks.push(node::port(args.listen));
    let healthy = checks.iter().all(|c| c.label != Label::Fail);
    out.result(&Diagnosis { healthy, checks });
    Ok(healthy)
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Check { label, name, finding, fix } in &self.checks {
            writeln!(f, "{label}  {name:<9}  {finding}")?;
            if let Some(fix) = fix {
                writeln!(f, "                 fix: {fix}")?;
            }
        }
        let count = |label| self.checks.iter().filter(|c| c.label == label).count();
        let (warnings, failures) =
            (words::count(count(Label::Warn), "warning"), words::count(count(Label::Fail), "failure"));
        match self.healthy {
            true => write!(f, "healthy ({warnings})"),
            false => write!(f, "not healthy: {failures}, {warnings}"),
        }
    }
}
