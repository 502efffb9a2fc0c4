use std::{fmt, net::SocketAddr, num::NonZeroUsize, path::PathBuf};

use alloy_primitives::{B256, hex};
use clap::Args;
use serde::Serialize;
use veracity_node::{Failed, Folder, FoundError, FoundOptions, Founding, Network, Progress, Step};

use super::plan;
use crate::{chain, commands::network, error::Failure, output::Output, server};

const EXAMPLES: &str = "\
Examples:
  veracity found run --folder v --plan plan.json
  veracity found run --folder v --plan plan.json --listen 0.0.0.0:30303

All founders run it at the same time; it waits for those who are not there yet. It ends by itself when all have the \
network. It may be stopped and started again at any point. Compare the network and the key that it shows with the other \
founders.";

/// Make the key of a network with the other founders of its plan, and write the network file.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct RunArgs {
    /// Folder of the node, which `veracity found prepare` made.
    #[arg(long, value_name = "DIR")]
    folder: PathBuf,
    /// The plan that all founders have.
    #[arg(long, value_name = "FILE")]
    plan: PathBuf,
    /// Network file of the other founders, if they made the key without this one and are gone: the node then joins as a new one
    /// does, and has its share from the next epoch on.
    #[arg(long, value_name = "FILE")]
    network: Option<PathBuf>,
    /// Address for the other founders [default: the folder's].
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Threads for the ceremony.
    #[arg(long, default_value = "2")]
    threads: NonZeroUsize,
}

/// The network that was founded.
#[derive(Debug, Serialize)]
struct Founded {
    network: String,
    network_key: String,
    chain_id: u64,
    plan: String,
    file: String,
    folder: String,
    /// Whether the folder has a share; none if it is where the started node keeps it.
    has_share: bool,
}

/// Runs `veracity found run`.
pub(super) fn execute(args: &RunArgs, out: Output) -> Result<(), Failure> {
    let plan = plan::read(&args.plan)?;
    let folder = Folder::new(&args.folder);
    let config = folder.config().map_err(|e| chain::folder_failure(&e))?;
    let hash = plan.hash();
    let show = || -> Result<(), Failure> {
        let network = folder.network().map_err(|e| chain::folder_failure(&e))?;
        let has_share = folder.share().map_err(|e| chain::folder_failure(&e))?.is_some();
        out.result(&Founded::new(args, &network, hash, has_share));
        Ok(())
    };
    if let Some(file) = &args.network {
        folder.take(&plan, &network::read(file)?).map_err(|e| failure(&e))?;
        return show();
    }
    let options = FoundOptions {
        folder: folder.clone(),
        plan,
        listen: args.listen.unwrap_or(config.listen),
        threads: args.threads,
        allow_private: config.allow_private,
    };
    let runtime = server::runtime()?;
    runtime.block_on(async {
        let interrupted = std::pin::pin!(server::interrupted());
        let founding = Founding::start(options).map_err(|e| failure(&e))?;
        out.note(format!("plan {}", hex::encode(hash)));
        match founding.progress() {
            None => show()?,
            Some(progress) => tokio::select! {
                () = interrupted => {}
                followed = follow(progress, out, show) => followed?,
            },
        }
        let ended = tokio::task::spawn_blocking(move || founding.end()).await;
        let ended = ended.map_err(|e| Failure::outside("founding_failed", e, "see the log"))?;
        match ended.map_err(|e| failure(&e))? {
            true => out.note("all founders have the network; start the node"),
            false => out.note("stopped; founders who have no network yet may need this one: run it again"),
        }
        Ok(())
    })
}

/// Tells how far the founders are, and shows the network once it is there.
async fn follow(
    mut progress: tokio::sync::watch::Receiver<Option<Progress>>,
    out: Output,
    show: impl Fn() -> Result<(), Failure>,
) -> Result<(), Failure> {
    let (mut told, mut is_shown) = (String::new(), false);
    // It fails when the ceremony is over.
    while progress.changed().await.is_ok() {
        let Some(now) = progress.borrow_and_update().clone() else { continue };
        if matches!(now.step, Step::Ended(outcome) if !outcome.is_zero()) && !is_shown {
            show()?;
            is_shown = true;
        }
        let text = describe(&now);
        if text != told {
            out.note(&text);
            told = text;
        }
    }
    Ok(())
}

/// One line that says what is waited for.
fn describe(progress: &Progress) -> String {
    let Progress { step, others } = progress;
    let named = |is: &dyn Fn(&Option<Step>) -> bool| {
        let named: Vec<String> =
            others.iter().filter(|(_, step)| is(step)).map(|(key, _)| short(key)).collect();
        named.join(", ")
    };
    let total = others.len() + 1;
    let list = |label: &str, names: String| match names.is_empty() {
        true => String::new(),
        false => format!("; {label} {names}"),
    };
    match step {
        Step::Gathering | Step::Ready => {
            let there = others.values().flatten().count() + 1;
            let away = list("waits for", named(&|step| step.is_none()));
            let gathering = list("not all are connected to", named(&|step| *step == Some(Step::Gathering)));
            format!("{there} of {total} founders are here{away}{gathering}")
        }
        Step::Dealing => {
            format!("the founders deal shares{}", list("not here:", named(&|step| step.is_none())))
        }
        Step::Ended(ours) => {
            let have = others.values().filter(|step| **step == Some(Step::Ended(*ours))).count() + 1;
            let others_have =
                |step: &Option<Step>| matches!(step, Some(Step::Ended(theirs)) if theirs != ours);
            let differ = list("ANOTHER OUTCOME:", named(&others_have));
            let missing = list("serves", named(&|step| !matches!(step, Some(Step::Ended(_)))));
            let what = if ours.is_zero() { "know that there is no key" } else { "have the network" };
            format!("{have} of {total} founders {what}{missing}{differ}")
        }
    }
}

/// The beginning of a key, which is enough among founders.
fn short(key: &B256) -> String {
    hex::encode(&key[..6])
}

fn failure(error: &FoundError) -> Failure {
    let again = "run it again: it goes on where it was";
    match error {
        FoundError::Folder(error) => chain::folder_failure(error),
        FoundError::NotInPlan { .. } | FoundError::Changed { .. } => {
            Failure::input("plan_differs", error, "talk to the one who wrote the plan")
        }
        FoundError::OtherNetwork { .. } | FoundError::AnotherPlan => {
            Failure::input("other_network", error, "check --folder, --plan and --network")
        }
        FoundError::Founder { .. } => Failure::input("founder", error, "prepare another folder"),
        FoundError::Listen { .. } => Failure::outside("port_taken", error, "choose with --listen"),
        FoundError::Failed(Failed::NoKey | Failed::Revealed { .. } | Failed::Foreign) => {
            Failure::outside("no_key", error, "make a new plan: veracity found plan")
        }
        FoundError::Failed(Failed::Asked) => {
            Failure::outside("founding_stopped", "it was stopped before there was a network", again)
        }
        error => Failure::outside("founding_failed", error, again),
    }
}

impl Founded {
    fn new(args: &RunArgs, network: &Network, plan: B256, has_share: bool) -> Self {
        Self {
            network: network.hash().to_string(),
            network_key: network.key().to_string().trim_start_matches("0x").to_owned(),
            chain_id: network.chain_id(),
            plan: hex::encode(plan),
            file: args.folder.join("network.json").display().to_string(),
            folder: args.folder.display().to_string(),
            has_share,
        }
    }
}

impl fmt::Display for Founded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { network, network_key, chain_id, plan, file, folder, has_share } = self;
        writeln!(f, "Network {network}")?;
        writeln!(f, "  chain id   {chain_id}")?;
        writeln!(f, "  key        {network_key}")?;
        writeln!(f, "  plan       {plan}")?;
        writeln!(f, "  file       {file}, the same for all founders")?;
        if !has_share {
            writeln!(f, "  share      none here: the started node keeps it, or the next epoch gives one")?;
        }
        write!(f, "  next       when all founders have it: veracity node start --folder {folder}")
    }
}
