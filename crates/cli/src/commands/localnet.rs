use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant, SystemTime},
};

use clap::Args;
use serde::Serialize;
use veracity_node::{Created, DevPlan, Folder, NodeConfig};

use crate::{args::Global, chain, data, error::Failure, output::Output, server};

const EXAMPLES: &str = "\
Examples:
  veracity localnet
  veracity localnet --validators 7 --fresh
  cast block-number --rpc-url http://127.0.0.1:8545
  veracity status --rpc http://127.0.0.1:8545

Each validator is a process with a folder of its own, as on machines of their own: kill one, and the others go on. \
The network's key and all accounts are for development: everybody may know them.";

/// Run a network of several validators on this machine, each a process of its own.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct LocalnetArgs {
    /// Number of validators; up to a third of them may fail.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=32))]
    validators: u8,
    /// Folder of the network [default: localnet in the data folder].
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Begin a new network in place of the one that the folder has.
    #[arg(long)]
    fresh: bool,
    /// Port of the first validator's JSON-RPC; the others follow.
    #[arg(long, value_name = "PORT", default_value_t = 8545)]
    rpc_port: u16,
    /// Chain that transactions are signed for.
    #[arg(long, value_name = "ID", default_value_t = chain::CHAIN_ID)]
    chain_id: u64,
}

/// What runs where.
#[derive(Debug, Serialize)]
struct Banner {
    chain: chain::Banner,
    folder: String,
    endpoints: Vec<String>,
    processes: Vec<u32>,
}

/// Runs `veracity localnet` until it is interrupted.
pub(crate) fn execute(args: &LocalnetArgs, global: &Global, out: Output) -> Result<(), Failure> {
    let folder = match &args.folder {
        Some(folder) => folder.clone(),
        None => data::folder(global)?.join("localnet"),
    };
    let configs = prepare(args, &folder)?;
    let network = Folder::new(&folder.join("0")).network().map_err(|e| chain::folder_failure(&e))?;
    // From here on nobody stops this without the validators.
    let interrupt = server::Interrupt::listen()?;
    let mut processes = Processes(vec![]);
    for index in 0..configs.len() {
        processes.start(&folder.join(index.to_string()))?;
    }
    for (index, config) in configs.iter().enumerate() {
        processes.await_answer(index, config.rpc, &folder, &network.key().to_string())?;
    }
    let endpoints: Vec<String> = configs.iter().map(|config| format!("http://{}", config.rpc)).collect();
    out.result(&Banner {
        chain: chain::Banner::new(&network, &endpoints[0]),
        folder: folder.display().to_string(),
        endpoints,
        processes: processes.0.iter().map(Child::id).collect(),
    });
    interrupt.wait();
    out.note("stopping the validators");
    Ok(())
}

/// The configurations of the network in `folder`, which is made if there is none.
fn prepare(args: &LocalnetArgs, folder: &Path) -> Result<Vec<NodeConfig>, Failure> {
    let first = folder.join("0");
    if args.fresh && first.exists() {
        // Only what this command made is removed.
        for index in 0.. {
            let node = folder.join(index.to_string());
            if !Folder::new(&node).network_file().exists() {
                break;
            }
            std::fs::remove_dir_all(&node).map_err(|e| Failure::write(&node, &e))?;
        }
    }
    if !Folder::new(&first).network_file().exists() {
        found(args, folder)?;
    }
    let configs: Result<Vec<NodeConfig>, Failure> = (0..)
        .map(|index: u32| Folder::new(&folder.join(index.to_string())))
        .take_while(|node| node.network_file().exists())
        .map(|node| node.config().map_err(|e| chain::folder_failure(&e)))
        .collect();
    let configs = configs?;
    if configs.len() != usize::from(args.validators) {
        return Err(Failure::input(
            "other_network",
            format!("{} has a network of {} validators", folder.display(), configs.len()),
            format!("run it with --validators {}, or begin a new one with --fresh", configs.len()),
        ));
    }
    Ok(configs)
}

fn found(args: &LocalnetArgs, folder: &Path) -> Result<(), Failure> {
    let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let plan = DevPlan {
        chain_id: args.chain_id,
        validators: free_addresses(args.validators)?,
        accounts: chain::ACCOUNTS,
        parameters: vec![],
        time: time.as_secs(),
    };
    let Created { network, founders, .. } = plan.create().map_err(|e| chain::network_failure(&e))?;
    for (index, founder) in (0u16..).zip(&founders) {
        let config = NodeConfig {
            listen: founder.listen,
            rpc: (Ipv4Addr::LOCALHOST, args.rpc_port.saturating_add(index)).into(),
            beneficiary: founder.operator.address,
            allow_private: true,
        };
        let node = Folder::new(&folder.join(index.to_string()));
        node.found(&network, founder, &config).map_err(|e| chain::folder_failure(&e))?;
    }
    Ok(())
}

/// Addresses on this machine that are free now, and probably stay so.
fn free_addresses(count: u8) -> Result<Vec<SocketAddr>, Failure> {
    let bind = |_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    // All are held until all are found, so that no two are the same.
    let listeners: Result<Vec<TcpListener>, _> = (0..count).map(bind).collect();
    let addresses = listeners.and_then(|all| all.iter().map(TcpListener::local_addr).collect());
    addresses.map_err(|e| Failure::outside("no_port", e, "close programs that use many ports"))
}

/// Validators, which end with this.
struct Processes(Vec<Child>);

impl Processes {
    fn start(&mut self, folder: &Path) -> Result<(), Failure> {
        let failure =
            |e: std::io::Error| Failure::outside("process", e, "try again when the machine is less busy");
        let program = std::env::current_exe().map_err(failure)?;
        let log = folder.join("log");
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&log);
        let file = file.map_err(|e| Failure::write(&log, &e))?;
        let mut command = Command::new(program);
        command.args(["node", "start", "--folder"]).arg(folder);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        self.0.push(command.spawn().map_err(failure)?);
        Ok(())
    }

    /// Waits until a validator answers, and not some other program that has its port.
    fn await_answer(
        &mut self,
        index: usize,
        rpc: SocketAddr,
        folder: &Path,
        network_key: &str,
    ) -> Result<(), Failure> {
        let deadline = Instant::now() + Duration::from_secs(60);
        let url = format!("http://{rpc}");
        let log = folder.join(index.to_string()).join("log");
        loop {
            let key = chain::Rpc::new(&url).call("veracity_networkKey", &serde_json::json!([]));
            if key.is_ok_and(|key| key == network_key) {
                return Ok(());
            }
            let ended = self.0[index].try_wait().ok().flatten();
            if ended.is_some() || Instant::now() > deadline {
                let what = if ended.is_some() { "stopped" } else { "does not answer" };
                return Err(Failure::outside(
                    "validator_failed",
                    format!("validator {index} {what}"),
                    format!("its log says why: {}", log.display()),
                ));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        // All are asked before any is waited for. Killed without warning, this leaves them running.
        self.0.iter_mut().for_each(terminate);
        for child in &mut self.0 {
            // It was asked, or has ended.
            let _ = child.wait();
        }
    }
}

#[cfg(unix)]
fn terminate(child: &mut Child) {
    let id = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    let asked = id.map(|id| rustix::process::kill_process(id, rustix::process::Signal::TERM));
    if !matches!(asked, Some(Ok(()))) {
        let _ = child.kill();
    }
}

#[cfg(not(unix))]
fn terminate(child: &mut Child) {
    let _ = child.kill();
}

impl fmt::Display for Banner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { chain, folder, endpoints, processes } = self;
        writeln!(f, "A network of {} validators runs on this machine", endpoints.len())?;
        writeln!(f)?;
        for (index, (endpoint, process)) in endpoints.iter().zip(processes).enumerate() {
            writeln!(f, "  validator {index}  {endpoint}  process {process}  log {folder}/{index}/log")?;
        }
        writeln!(f)?;
        writeln!(f, "{chain}")?;
        write!(f, "  stop       Ctrl-C")
    }
}
