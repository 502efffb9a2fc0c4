mod assets;
mod cheat;
mod picture;
mod stage;
mod steps;

use std::time::Instant;

use clap::Args;
use serde::Serialize;

use crate::{error::Failure, output::Output, statement::Judgement};

use self::{
    cheat::Cheat,
    stage::{Hosted, Stage},
    steps::{Question, Score},
};

const EXAMPLES: &str = "\
Examples:
  veracity demo
  veracity demo --json | jq .held_out

Everything happens in a temporary folder and on this machine: no network, no account, nothing is left behind.";

/// See everything once: import, host, ask, verify, and catch a cheater. Takes seconds.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DemoArgs {}

/// What the demo showed.
#[derive(Debug, Serialize)]
struct Report {
    models: Vec<Hosted>,
    question: Question,
    judgement: Judgement,
    cheats: Vec<Cheat>,
    held_out: Vec<Score>,
    elapsed_ms: u128,
}

/// Runs `veracity demo`; `false` if something did not go as it must.
pub(crate) fn execute(_: &DemoArgs, out: Output) -> Result<bool, Failure> {
    let started = Instant::now();
    out.say("Veracity in seven steps, on this machine alone; nothing is left behind.");
    let mut stage = Stage::new(out)?;
    let models = stage.import()?;
    stage.host()?;
    let exchange = steps::ask(&stage)?;
    let judgement = steps::verify(&stage, &exchange)?;
    let cheats = steps::cheat(&stage, &exchange)?;
    let held_out = steps::score(&stage)?;
    stage.close()?;
    let elapsed_ms = started.elapsed().as_millis();
    let caught = cheats.iter().all(|cheat| !cheat.judgement.verified);
    let good = judgement.verified && caught;
    steps::farewell(out, elapsed_ms, good);
    if out.is_json() {
        let question = exchange.question;
        out.document(&Report { models, question, judgement, cheats, held_out, elapsed_ms });
    }
    Ok(good)
}
