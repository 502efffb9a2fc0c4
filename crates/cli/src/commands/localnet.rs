use std::{fmt, path::PathBuf, time::Duration};

use clap::Args;
use serde::Serialize;

use crate::{
    args::Global,
    chain, data,
    error::Failure,
    net::{Net, NetPlan, ProviderProcess},
    output::Output,
    server,
};

const EXAMPLES: &str = "\
Examples:
  veracity localnet
  veracity localnet --validators 7 --providers 3 --fresh
  veracity model push digits-cnn http://127.0.0.1:8080
  cast block-number --rpc-url http://127.0.0.1:8545
  veracity status --rpc http://127.0.0.1:8545

Each validator and each provider is a process with a folder of its own, as on machines of their own: kill one, and the \
others go on. Providers serve models, host them for each other and anchor their receipts. The network's key and all \
accounts are for development: everybody may know them.";

/// Run a network of several validators and providers on this machine, each a process of its own.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct LocalnetArgs {
    /// Number of validators; up to a third of them may fail.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=32))]
    validators: u8,
    /// Number of providers, which are workers, hosts and gateways.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(0..=32))]
    providers: u8,
    /// Folder of the network [default: localnet in the data folder].
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Begin a new network in place of the one that the folder has.
    #[arg(long)]
    fresh: bool,
    /// Port of the first validator's JSON-RPC; the others follow. 0 takes free ones. Counts for a new network.
    #[arg(long, value_name = "PORT", default_value_t = 8545)]
    rpc_port: u16,
    /// Port of the first provider; the others follow. 0 takes free ones.
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    gateway_port: u16,
    /// Chain that transactions are signed for.
    #[arg(long, value_name = "ID", default_value_t = chain::CHAIN_ID, value_parser = clap::value_parser!(u64).range(1..))]
    chain_id: u64,
}

/// How often it is looked whether all processes run.
const WATCH: Duration = Duration::from_millis(500);

/// What runs where.
#[derive(Debug, Serialize)]
struct Banner {
    chain: chain::Banner,
    folder: String,
    endpoints: Vec<String>,
    processes: Vec<u32>,
    providers: Vec<ProviderProcess>,
}

/// Runs `veracity localnet` until it is interrupted.
pub(crate) fn execute(args: &LocalnetArgs, global: &Global, out: Output) -> Result<(), Failure> {
    let folder = match &args.folder {
        Some(folder) => folder.clone(),
        None => data::folder(global)?.join("localnet"),
    };
    // From here on nobody stops this without the processes.
    let mut interrupt = server::Interrupt::listen()?;
    let plan = NetPlan {
        folder: &folder,
        validators: args.validators,
        fresh: args.fresh,
        chain_id: args.chain_id,
        rpc_port: args.rpc_port,
    };
    let mut net = Net::start(plan)?;
    let started =
        net.await_validators().and_then(|()| net.start_providers(args.providers, args.gateway_port));
    let providers = match started {
        // Ctrl-C reaches the processes as well, which end before they answer.
        Err(_) if interrupt.came_within(Duration::ZERO) => return Ok(()),
        started => started?,
    };
    let endpoints = net.endpoints();
    out.result(&Banner {
        chain: chain::Banner::new(&net.network, &endpoints[0]),
        folder: folder.display().to_string(),
        endpoints,
        processes: net.validators(),
        providers,
    });
    while !interrupt.came_within(WATCH) {
        let (ended, goes_on) = net.ended();
        // Those may have ended for the same interrupt.
        if ended.is_empty() || interrupt.came_within(Duration::ZERO) {
            continue;
        }
        ended.into_iter().for_each(|what| out.note(what));
        if !goes_on {
            let fix = format!("see {}/0/log", folder.display());
            return Err(Failure::outside("validator_failed", "no validator runs any more", fix));
        }
    }
    out.note("stopping the providers and the validators");
    Ok(())
}

impl fmt::Display for Banner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { chain, folder, endpoints, processes, providers } = self;
        writeln!(f, "A network of {} validators runs on this machine", endpoints.len())?;
        writeln!(f)?;
        for (index, (endpoint, process)) in endpoints.iter().zip(processes).enumerate() {
            writeln!(f, "  validator {index}  {endpoint}  process {process}  log {folder}/{index}/log")?;
        }
        for (index, provider) in providers.iter().enumerate() {
            writeln!(f, "  provider {index}   {provider}")?;
        }
        writeln!(f)?;
        writeln!(f, "{chain}")?;
        write!(f, "  stop       Ctrl-C")
    }
}

impl fmt::Display for ProviderProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (process, folder) = self.place();
        write!(f, "{}  process {process}  log {folder}/log", self.url)
    }
}
