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
    /// Whether a new network takes the place of the one in the folder.
    pub(crate) fresh: bool,
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
    _lock: File,
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
    /// `localnet_runs`, `other_network` if the folder has a network of another size, `process`, and trouble with the folder.
    pub(crate) fn start(plan: NetPlan<'_>) -> Result<Self, Failure> {
        let lock = lock(plan.folder)?;
        if plan.fresh {
            remove(plan.folder)?;
        }
        let configs = prepare(plan)?;
        let network = Folder::new(&plan.folder.join("0")).network().map_err(|e| chain::folder_failure(&e))?;
        let mut net = Self {
            network,
            folder: plan.folder.to_owned(),
            configs,
            providers: Processes::default(),
            validators: Processes::default(),
            _lock: lock,
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

    /// What has ended since this was asked last, by name; and whether any validator still runs.
    pub(crate) fn ended(&mut self) -> (Vec<String>, bool) {
        let validators = self.validators.ended().into_iter().map(|index| {
            let folder = self.folder.join(index.to_string());
            format!(
                "validator {index} ended; start it again with veracity node start --folder {}",
                folder.display()
            )
        });
        let mut ended: Vec<String> = validators.collect();
        ended.extend(self.providers.ended().into_iter().map(|index| {
            let log = provider_folder(&self.folder, index).join("log");
            format!("provider {index} ended; {}", log_says(&log))
        }));
        (ended, self.validators.1.iter().any(|ended| !ended))
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
        let said = || serde_json::from_slice::<Value>(&std::fs::read(folder.join("up.json")).ok()?).ok();
        // What it says before it ends is an error.
        let banner = self.providers.wait(index, || said().filter(|said| said["url"].is_string()));
        let banner = banner.map_err(|what| {
            let why = said().and_then(|said| Some(format!(": {}", said["message"].as_str()?)));
            let message = format!("provider {index} {what}{}", why.unwrap_or_default());
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

/// Keeps others from running, or removing, the network of a folder.
fn lock(folder: &Path) -> Result<File, Failure> {
    std::fs::create_dir_all(folder).map_err(|e| Failure::write(folder, &e))?;
    let path = folder.join("lock");
    let opened = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = opened.map_err(|e| Failure::write(&path, &e))?;
    let runs = |message: String, fix: String| Failure::input("localnet_runs", message, fix);
    let shown = folder.display();
    match file.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => {
            return Err(runs(
                format!("the network in {shown} runs"),
                "stop it first, with Ctrl-C where it runs".into(),
            ));
        }
        Err(std::fs::TryLockError::Error(e)) => return Err(Failure::write(&path, &e)),
    }
    // Killed without warning, one before may have left validators running.
    for index in 0.. {
        let node = Folder::new(&folder.join(index.to_string()));
        if !node.network_file().exists() {
            break;
        }
        let Ok(config) = node.config() else { continue };
        if TcpListener::bind(config.listen).is_err() {
            let message =
                format!("validator {index} in {shown}, or another program, is at {}", config.listen);
            let fix = format!("end it first: pkill -f 'veracity node start --folder {shown}/{index}'");
            return Err(runs(message, fix));
        }
    }
    Ok(file)
}

/// Removes what [`Net::start`] and [`Net::start_providers`] made in a folder, and nothing else.
///
/// # Errors
/// Trouble with the folder.
fn remove(folder: &Path) -> Result<(), Failure> {
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

/// Processes, which end with this, and which of them are known to have ended.
#[derive(Debug, Default)]
struct Processes(Vec<Child>, Vec<bool>);

impl Processes {
    fn start(&mut self, command: &mut Command) -> Result<(), Failure> {
        self.0.push(command.spawn().map_err(|e| process_failure(&e))?);
        self.1.push(false);
        Ok(())
    }

    /// Those that have ended since this was asked last.
    fn ended(&mut self) -> Vec<usize> {
        let mut found = vec![];
        for (index, (child, ended)) in self.0.iter_mut().zip(&mut self.1).enumerate() {
            if !*ended && child.try_wait().ok().flatten().is_some() {
                *ended = true;
                found.push(index);
            }
        }
        found
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
