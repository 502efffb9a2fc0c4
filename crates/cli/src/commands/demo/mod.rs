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
    steps::{Anchored, Question, Score},
};

const EXAMPLES: &str = "\
Examples:
  veracity demo
  veracity demo --json | jq .held_out

Everything happens in a temporary folder and on this machine, where four validators run as processes: nothing goes \
over the network, no account is needed, nothing is left behind.";

/// See everything once: import, host, ask, anchor, verify, and catch a cheater. Takes seconds.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DemoArgs {}

/// What the demo showed.
#[derive(Debug, Serialize)]
struct Report {
    models: Vec<Hosted>,
    network_key: String,
    question: Question,
    anchored: Anchored,
    judgement: Judgement,
    cheats: Vec<Cheat>,
    held_out: Vec<Score>,
    elapsed_ms: u128,
}

/// Runs `veracity demo`; `false` if something did not go as it must.
pub(crate) fn execute(_: &DemoArgs, out: Output) -> Result<bool, Failure> {
    let started = Instant::now();
    out.say("Veracity in eight steps, on this machine alone; nothing is left behind.");
    let mut stage = Stage::new(out)?;
    let models = stage.import()?;
    stage.host()?;
    let mut exchange = steps::ask(&stage)?;
    let anchored = steps::anchor(&stage, &mut exchange)?;
    let judgement = steps::verify(&stage, &exchange)?;
    let cheats = steps::cheat(&stage, &exchange)?;
    let held_out = steps::score(&stage)?;
    let network_key = stage.network_key()?.to_string();
    stage.close()?;
    let elapsed_ms = started.elapsed().as_millis();
    let caught = cheats.iter().all(|cheat| !cheat.judgement.verified);
    let good = judgement.verified && caught;
    steps::farewell(out, elapsed_ms, good);
    if out.is_json() {
        let question = exchange.question;
        out.document(&Report {
            models,
            network_key,
            question,
            anchored,
            judgement,
            cheats,
            held_out,
            elapsed_ms,
        });
    }
    Ok(good)
}
