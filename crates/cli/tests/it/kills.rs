//! Validators as processes, killed without warning while transactions come in: what was acknowledged stays, and the
//! killed one goes on where the others are.
//!
//! `VERACITY_KILLS` sets the number of kills; the long run has a hundred.

use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{JoinHandle, sleep},
    time::{Duration, Instant, SystemTime},
};

use alloy_consensus::{SignableTransaction as _, TxEip1559, TxEnvelope};
use alloy_eips::Encodable2718 as _;
use alloy_primitives::{Address, B256, TxKind, U256, hex};
use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use serde_json::{Value, json};
use tempfile::TempDir;
use veracity_node::{Created, DevAccount, DevPlan, Folder, NodeConfig};

const TIMEOUT: Duration = Duration::from_secs(120);
const CHAIN_ID: u64 = 31337;
const VALIDATORS: usize = 4;

struct Net {
    created: Created,
    configs: Vec<NodeConfig>,
    folder: TempDir,
    processes: Vec<Option<Child>>,
}

impl Drop for Net {
    fn drop(&mut self) {
        for child in self.processes.iter_mut().flatten() {
            // It may have ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Net {
    fn start() -> Self {
        let listeners: Vec<_> =
            (0..2 * VALIDATORS).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
        let addresses: Vec<SocketAddr> = listeners.iter().map(|l| l.local_addr().unwrap()).collect();
        drop(listeners);
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let validators = addresses[..VALIDATORS].to_vec();
        let plan = DevPlan { chain_id: CHAIN_ID, validators, accounts: 2, parameters: vec![], time };
        let created = plan.create().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut configs = vec![];
        for (index, founder) in created.founders.iter().enumerate() {
            let config = NodeConfig {
                listen: founder.listen,
                rpc: addresses[VALIDATORS + index],
                beneficiary: founder.operator.address,
                allow_private: true,
                join: false,
                bootstrap: vec![],
            };
            let at = Folder::new(&folder.path().join(index.to_string()));
            at.found(&created.network, founder, &config).unwrap();
            configs.push(config);
        }
        let mut net = Self { created, configs, folder, processes: (0..VALIDATORS).map(|_| None).collect() };
        (0..VALIDATORS).for_each(|node| net.spawn(node));
        (0..VALIDATORS).for_each(|node| net.await_height(node, 0));
        net
    }

    fn path(&self, node: usize) -> PathBuf {
        self.folder.path().join(node.to_string())
    }

    fn spawn(&mut self, node: usize) {
        let log = File::options().create(true).append(true).open(self.path(node).join("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_veracity"));
        command.args(["node", "start", "--folder"]).arg(self.path(node));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.processes[node] = Some(command.spawn().unwrap());
    }

    /// Kills a validator at once, as the loss of power would.
    fn kill(&mut self, node: usize) {
        let mut child = self.processes[node].take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn log(&self, node: usize) -> String {
        tail(&self.path(node).join("log"))
    }

    fn call(&self, node: usize, method: &str, params: &Value) -> Option<Value> {
        let answer = ask(&format!("http://{}", self.configs[node].rpc), method, params)?;
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        Some(answer["result"].clone())
    }

    fn height(&self, node: usize) -> Option<u64> {
        number(&self.call(node, "eth_blockNumber", &json!([]))?)
    }

    /// Waits until a validator answers and has a height.
    #[track_caller]
    fn await_height(&self, node: usize, height: u64) {
        let deadline = Instant::now() + TIMEOUT;
        while self.height(node).is_none_or(|found| found < height) {
            assert!(Instant::now() < deadline, "validator {node} is behind {height}:\n{}", self.log(node));
            sleep(Duration::from_millis(50));
        }
    }

    /// Sends a transaction, and waits until the node that took it says that it is final.
    #[track_caller]
    fn acknowledge(&self, node: usize, nonce: u64) -> B256 {
        let (bytes, hash) = transfer(&self.created.accounts[0], nonce);
        let sent = self.call(node, "eth_sendRawTransaction", &json!([bytes]));
        assert!(sent.is_some(), "validator {node} does not answer:\n{}", self.log(node));
        self.await_receipt(node, hash);
        hash
    }

    #[track_caller]
    fn await_receipt(&self, node: usize, hash: B256) {
        let deadline = Instant::now() + TIMEOUT;
        while self.call(node, "eth_getTransactionReceipt", &json!([hash])).is_none_or(|r| r.is_null()) {
            assert!(Instant::now() < deadline, "validator {node} lacks {hash}:\n{}", self.log(node));
            sleep(Duration::from_millis(20));
        }
    }

    fn block(&self, node: usize, height: u64) -> Value {
        let block = self.call(node, "eth_getBlockByNumber", &json!([format!("0x{height:x}"), false]));
        let block = block.unwrap_or_else(|| panic!("validator {node} does not answer:\n{}", self.log(node)));
        block["hash"].clone()
    }
}

fn tail(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let from = text.lines().count().saturating_sub(20);
    text.lines().skip(from).collect::<Vec<_>>().join("\n")
}

/// Sends transactions of the second account to whoever answers, without waiting for any, until it is dropped.
struct Load {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    /// Transactions under way at once.
    const AT_ONCE: u64 = 32;

    fn start(net: &Net) -> Self {
        let urls: Vec<String> = net.configs.iter().map(|config| format!("http://{}", config.rpc)).collect();
        let account = net.created.accounts[1].clone();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            for url in urls.iter().cycle() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                // A validator that was killed does not answer; the next one does.
                let nonce = ask(url, "eth_getTransactionCount", &json!([account.address, "latest"]));
                let nonce = nonce.and_then(|answer| number(&answer["result"]));
                for nonce in nonce.into_iter().flat_map(|first| first..first + Self::AT_ONCE) {
                    // It may be there already.
                    let _ = ask(url, "eth_sendRawTransaction", &json!([transfer(&account, nonce).0]));
                }
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the load goes on until it is stopped");
        }
    }
}

/// The answer of a node, with its error if it refuses; none if it does not answer.
fn ask(url: &str, method: &str, params: &Value) -> Option<Value> {
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
    let mut answer = ureq::post(url).header("content-type", "application/json").send(request).ok()?;
    serde_json::from_str(&answer.body_mut().read_to_string().ok()?).ok()
}

fn number(value: &Value) -> Option<u64> {
    u64::from_str_radix(value.as_str()?.strip_prefix("0x")?, 16).ok()
}

/// A transfer as it is sent, and its hash.
fn transfer(account: &DevAccount, nonce: u64) -> (String, B256) {
    let signer = PrivateKeySigner::from_bytes(&account.key).unwrap();
    let transaction = TxEip1559 {
        chain_id: CHAIN_ID,
        nonce,
        gas_limit: 21_000,
        max_fee_per_gas: 100_000_000_000,
        max_priority_fee_per_gas: 1_000_000_000,
        to: TxKind::Call(Address::repeat_byte(0x55)),
        value: U256::from(1),
        ..TxEip1559::default()
    };
    let signature = signer.sign_hash_sync(&transaction.signature_hash()).unwrap();
    let transaction: TxEnvelope = transaction.into_signed(signature).into();
    (format!("0x{}", hex::encode(transaction.encoded_2718())), *transaction.tx_hash())
}

#[test]
fn nothing_acknowledged_is_lost_when_validators_are_killed() {
    let kills: usize = std::env::var("VERACITY_KILLS").map_or(5, |count| count.parse().expect("a number"));
    let mut net = Net::start();
    let load = Load::start(&net);
    let mut acknowledged = vec![];
    let mut nonce = 0..;
    for kill in 0..kills {
        let victim = kill % VALIDATORS;
        let other = (victim + 1) % VALIDATORS;
        // The victim has acknowledged it itself, and is killed with others' under way.
        acknowledged.push(net.acknowledge(victim, nonce.next().unwrap()));
        net.kill(victim);
        for _ in 0..3 {
            acknowledged.push(net.acknowledge(other, nonce.next().unwrap()));
        }
        let height = net.height(other).unwrap();
        net.spawn(victim);
        net.await_height(victim, height);
        for hash in &acknowledged {
            net.await_receipt(victim, *hash);
        }
        assert_eq!(net.block(victim, height), net.block(other, height), "after kill {kill}");
    }
    drop(load);
    let under_way =
        net.call(0, "eth_getTransactionCount", &json!([net.created.accounts[1].address, "latest"]));
    assert!(under_way.and_then(|count| number(&count)).unwrap() > 100, "transactions came in all the time");
    // All at once, as when the building loses power.
    (0..VALIDATORS).for_each(|node| net.kill(node));
    (0..VALIDATORS).for_each(|node| net.spawn(node));
    for node in 0..VALIDATORS {
        net.await_height(node, 1);
        acknowledged.iter().for_each(|hash| net.await_receipt(node, *hash));
    }
    net.acknowledge(0, nonce.next().unwrap());
}
