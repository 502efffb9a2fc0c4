//! A network whose validators and providers are processes on this machine, for `localnet` and the demo.

use std::{
    fs::{File, OpenOptions},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant, SystemTime},
};

use serde::Serialize;
use serde_json::{Value, json};
use veracity_client::Rpc;
use veracity_node::{Created, DevPlan, Folder, Network, NodeConfig, dev_provider};

use crate::{chain, error::Failure, files};

/// How long a process may take until it answers.
const START_TIMEOUT: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);

/// What to run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NetPlan<'a> {
    /// Folder of the network, which is made if there is none.
    pub(crate) folder: &'a Path,
    /// Number of validators.
    pub(crate) validators: u8,
    /// Chain that transactions are signed for.
    pub(crate) chain_id: u64,
    /// Port of the first validator's JSON-RPC, the others follow; 0 takes free ones. Counts when the network is made.
    pub(crate) rpc_port: u16,
}

/// A running network. Dropping it stops its processes: providers first, which need the validators until then.
#[derive(Debug)]
pub(crate) struct Net {
    /// What network it is.
    pub(crate) network: Network,
    folder: PathBuf,
    configs: Vec<NodeConfig>,
    providers: Processes,
    validators: Processes,
}

/// A provider that runs.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ProviderProcess {
    /// Where it is reached.
    pub(crate) url: String,
    executor: String,
    process: u32,
    folder: String,
}

impl ProviderProcess {
    /// Its process and its folder.
    pub(crate) fn place(&self) -> (u32, &str) {
        (self.process, &self.folder)
    }
}

impl Net {
    /// Starts the validators, not waiting until they answer.
    ///
    /// # Errors
    /// `other_network` if the folder has a network of another size, `process`, and trouble with the folder.
    pub(crate) fn start(plan: NetPlan<'_>) -> Result<Self, Failure> {
        let configs = prepare(plan)?;
        let network = Folder::new(&plan.folder.join("0")).network().map_err(|e| chain::folder_failure(&e))?;
        let mut net = Self {
            network,
            folder: plan.folder.to_owned(),
            configs,
            providers: Processes(vec![]),
            validators: Processes(vec![]),
        };
        for index in 0..net.configs.len() {
            let folder = net.folder.join(index.to_string());
            let mut command = command(&folder.join("log"))?;
            command.args(["node", "start", "--folder"]).arg(&folder).stdout(Stdio::null());
            net.validators.start(&mut command)?;
        }
        Ok(net)
    }

    /// The validators' JSON-RPC.
    pub(crate) fn endpoints(&self) -> Vec<String> {
        self.configs.iter().map(|config| format!("http://{}", config.rpc)).collect()
    }

    /// Ids of the validators' processes.
    pub(crate) fn validators(&self) -> Vec<u32> {
        self.validators.0.iter().map(Child::id).collect()
    }

    /// Waits until all validators answer, and not some other program that has a port of theirs.
    ///
    /// # Errors
    /// `validator_failed`.
    pub(crate) fn await_validators(&mut self) -> Result<(), Failure> {
        let network_key = self.network.key().to_string();
        for (index, url) in self.endpoints().iter().enumerate() {
            let answers = || {
                let key = Rpc::new(url).and_then(|rpc| rpc.call::<Value>("veracity_networkKey", json!([])));
                key.ok().filter(|key| *key == network_key)
            };
            let log = self.folder.join(index.to_string()).join("log");
            self.validators.wait(index, answers).map_err(|what| {
                let message = format!("validator {index} {what}");
                Failure::outside("validator_failed", message, log_says(&log))
            })?;
        }
        Ok(())
    }

    /// Starts providers that take part in the network and waits until they are registered. The first one listens at
    /// `port` and the others follow; 0 takes free ones.
    ///
    /// # Errors
    /// `provider_failed`, `process`, and trouble with the folder.
    pub(crate) fn start_providers(&mut self, count: u8, port: u16) -> Result<Vec<ProviderProcess>, Failure> {
        for index in 0..count {
            let offset = if port == 0 { 0 } else { u16::from(index) };
            self.start_provider(index, (Ipv4Addr::LOCALHOST, port.saturating_add(offset)).into())?;
        }
        (0..usize::from(count)).map(|index| self.await_provider(index)).collect()
    }

    fn start_provider(&mut self, index: u8, listen: SocketAddr) -> Result<(), Failure> {
        let folder = provider_folder(&self.folder, index.into());
        std::fs::create_dir_all(&folder).map_err(|e| Failure::write(&folder, &e))?;
        let operator = folder.join("operator.key");
        files::write(&operator, format!("{}\n", dev_provider(index.into()).key).as_bytes())?;
        let banner = folder.join("up.json");
        let stdout = File::create(&banner).map_err(|e| Failure::write(&banner, &e))?;
        let rpc = self.configs[usize::from(index) % self.configs.len()].rpc;
        let mut command = command(&folder.join("log"))?;
        command.args(["up", "--json", "--listen", &listen.to_string(), "--chain", &format!("http://{rpc}")]);
        command.args(["--network-key", &self.network.key().to_string(), "--operator-key"]).arg(operator);
        command.arg("--data").arg(folder.join("data")).stdout(stdout);
        self.providers.start(&mut command)
    }

    fn await_provider(&mut self, index: usize) -> Result<ProviderProcess, Failure> {
        let folder = provider_folder(&self.folder, index);
        let banner = || serde_json::from_slice::<Value>(&std::fs::read(folder.join("up.json")).ok()?).ok();
        let banner = self.providers.wait(index, banner).map_err(|what| {
            let message = format!("provider {index} {what}");
            Failure::outside("provider_failed", message, log_says(&folder.join("log")))
        })?;
        let text = |name: &str| banner[name].as_str().unwrap_or_default().to_owned();
        Ok(ProviderProcess {
            url: text("url"),
            executor: text("executor"),
            process: self.providers.0[index].id(),
            folder: folder.display().to_string(),
        })
    }
}

/// Removes what [`Net::start`] and [`Net::start_providers`] made in a folder, and nothing else.
///
/// # Errors
/// Trouble with the folder.
pub(crate) fn remove(folder: &Path) -> Result<(), Failure> {
    let validators = (0..).map(|index: usize| folder.join(index.to_string()));
    let validators = validators.take_while(|node| Folder::new(node).network_file().exists());
    let providers = (0..).map(|index| provider_folder(folder, index));
    let providers = providers.take_while(|provider| provider.join("operator.key").exists());
    validators
        .chain(providers)
        .try_for_each(|made| std::fs::remove_dir_all(&made).map_err(|e| Failure::write(&made, &e)))
}

fn provider_folder(folder: &Path, index: usize) -> PathBuf {
    folder.join(format!("provider-{index}"))
}

fn log_says(log: &Path) -> String {
    format!("its log says why: {}", log.display())
}

/// The configurations of the network in the folder, which is made if there is none.
fn prepare(plan: NetPlan<'_>) -> Result<Vec<NodeConfig>, Failure> {
    let folder = plan.folder;
    if !Folder::new(&folder.join("0")).network_file().exists() {
        found(plan)?;
    }
    let configs: Result<Vec<NodeConfig>, Failure> = (0..)
        .map(|index: u32| Folder::new(&folder.join(index.to_string())))
        .take_while(|node| node.network_file().exists())
        .map(|node| node.config().map_err(|e| chain::folder_failure(&e)))
        .collect();
    let configs = configs?;
    if configs.len() != usize::from(plan.validators) {
        return Err(Failure::input(
            "other_network",
            format!("{} has a network of {} validators", folder.display(), configs.len()),
            format!("run it with --validators {}, or begin a new one with --fresh", configs.len()),
        ));
    }
    Ok(configs)
}

fn found(plan: NetPlan<'_>) -> Result<(), Failure> {
    let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let count = usize::from(plan.validators);
    let mut addresses = free_addresses(2 * count)?;
    let free = addresses.split_off(count);
    let dev = DevPlan {
        chain_id: plan.chain_id,
        validators: addresses,
        accounts: chain::ACCOUNTS,
        parameters: vec![],
        time: time.as_secs(),
    };
    let Created { network, founders, .. } = dev.create().map_err(|e| chain::network_failure(&e))?;
    for ((index, founder), free) in (0u16..).zip(&founders).zip(free) {
        let rpc = match plan.rpc_port {
            0 => free,
            port => (Ipv4Addr::LOCALHOST, port.saturating_add(index)).into(),
        };
        let config = NodeConfig {
            listen: founder.listen,
            rpc,
            beneficiary: founder.operator.address,
            allow_private: true,
            join: false,
            bootstrap: vec![],
        };
        let node = Folder::new(&plan.folder.join(index.to_string()));
        node.found(&network, founder, &config).map_err(|e| chain::folder_failure(&e))?;
    }
    Ok(())
}

/// Addresses on this machine that are free now, and probably stay so.
fn free_addresses(count: usize) -> Result<Vec<SocketAddr>, Failure> {
    let bind = |_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    // All are held until all are found, so that no two are the same.
    let listeners: Result<Vec<TcpListener>, _> = (0..count).map(bind).collect();
    let addresses = listeners.and_then(|all| all.iter().map(TcpListener::local_addr).collect());
    addresses.map_err(|e| Failure::outside("no_port", e, "close programs that use many ports"))
}

/// This program again, with its errors in a log.
fn command(log: &Path) -> Result<Command, Failure> {
    let program = std::env::current_exe().map_err(|e| process_failure(&e))?;
    let file = OpenOptions::new().create(true).append(true).open(log).map_err(|e| Failure::write(log, &e))?;
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stderr(file);
    Ok(command)
}

fn process_failure(error: &std::io::Error) -> Failure {
    Failure::outside("process", error, "try again when the machine is less busy")
}

/// Processes, which end with this.
#[derive(Debug)]
struct Processes(Vec<Child>);

impl Processes {
    fn start(&mut self, command: &mut Command) -> Result<(), Failure> {
        self.0.push(command.spawn().map_err(|e| process_failure(&e))?);
        Ok(())
    }

    /// Waits until a process has what is looked for; else says what is the matter with it.
    fn wait<T>(&mut self, index: usize, look: impl Fn() -> Option<T>) -> Result<T, &'static str> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if let Some(found) = look() {
                return Ok(found);
            }
            if self.0[index].try_wait().ok().flatten().is_some() {
                return Err("stopped");
            }
            if Instant::now() > deadline {
                return Err("does not answer");
            }
            std::thread::sleep(PAUSE);
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
