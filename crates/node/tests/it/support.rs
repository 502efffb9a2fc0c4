//! A network of nodes in one process, each with its own folder.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    num::NonZeroUsize,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use alloy_consensus::{SignableTransaction as _, TxEip1559, TxEnvelope};
use alloy_eips::Encodable2718 as _;
use alloy_primitives::{Address, B256, TxKind, U256, hex};
use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::SolCall as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use veracity_chain::{Parameter, Role, STAKE};
use veracity_node::{
    Created, DevAccount, DevPlan, Folder, FollowerConfig, FollowerOptions, Node, NodeConfig, NodeError,
    NodeOptions,
};
use veracity_validator::{Contact, Identity};

alloy_sol_types::sol! {
    function register(bytes32 nodeId, uint8 roles, string endpoint, bytes proof) external payable;
}

/// How long anything may take on a busy machine.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(120);
const CHAIN_ID: u64 = 31337;

pub(crate) struct Net {
    created: Created,
    folder: TempDir,
    nodes: Vec<Option<Node>>,
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    listener.local_addr().expect("it is bound")
}

impl Net {
    pub(crate) fn new(validators: usize) -> Self {
        Self::with(validators, vec![])
    }

    /// A network whose parameters differ from the usual.
    pub(crate) fn with(validators: usize, parameters: Vec<(Parameter, u128)>) -> Self {
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is after 1970");
        let plan = DevPlan {
            chain_id: CHAIN_ID,
            validators: (0..validators).map(|_| free_address()).collect(),
            accounts: 3,
            parameters,
            time: time.as_secs(),
        };
        let created = plan.create().expect("it is a network");
        let folder = TempDir::new().expect("there is room");
        for (index, founder) in created.founders.iter().enumerate() {
            let at = Folder::new(&folder.path().join(index.to_string()));
            let config = NodeConfig {
                listen: founder.listen,
                rpc: (Ipv4Addr::LOCALHOST, 0).into(),
                beneficiary: founder.operator.address,
                allow_private: true,
                join: false,
                bootstrap: vec![],
            };
            at.found(&created.network, founder, &config).expect("the folder is empty");
        }
        Self { created, folder, nodes: (0..validators).map(|_| None).collect() }
    }

    pub(crate) async fn start(&mut self, node: usize) {
        self.nodes[node] = Some(self.try_start(node).await.expect("it starts"));
    }

    /// How a node starts, or why it does not.
    pub(crate) async fn try_start(&self, node: usize) -> Result<Node, NodeError> {
        let folder = Folder::new(&self.at(node));
        let threads = NonZeroUsize::new(2).expect("not zero");
        let rpc = veracity_rpc::Config::new((Ipv4Addr::LOCALHOST, 0).into());
        if folder.is_follower() {
            let started = Node::follow(FollowerOptions { folder, rpc, threads });
            return tokio::time::timeout(TIMEOUT, started).await.expect("it starts in time, or not");
        }
        let config = folder.config().expect("it was made");
        let options = NodeOptions {
            folder,
            listen: config.listen,
            rpc,
            beneficiary: config.beneficiary,
            threads,
            bootstrap: vec![],
            allow_private: true,
        };
        tokio::time::timeout(TIMEOUT, Node::start(options)).await.expect("it starts in time, or not")
    }

    /// The folder of a node.
    pub(crate) fn at(&self, node: usize) -> PathBuf {
        self.folder.path().join(node.to_string())
    }

    pub(crate) async fn stop(&mut self, node: usize) {
        let stopped = self.nodes[node].take().expect("it runs").stop().await;
        assert_eq!(stopped, veracity_validator::Stopped::Asked);
    }

    pub(crate) async fn call(&self, node: usize, method: &str, params: Value) -> Value {
        let address = self.nodes[node].as_ref().expect("it runs").rpc_address();
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let asked = tokio::task::spawn_blocking(move || {
            let url = format!("http://{address}");
            let answer =
                ureq::post(&url).header("content-type", "application/json").send(request.to_string());
            answer.expect("it answers").body_mut().read_to_string().expect("it is text")
        });
        let answer: Value = serde_json::from_str(&asked.await.expect("it answers")).expect("it is JSON");
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }

    /// How others are told of a founder.
    pub(crate) fn contact(&self, founder: usize) -> Contact {
        let founder = &self.created.founders[founder];
        Contact { key: Identity::from_seed(founder.seed).public_key(), address: founder.listen }
    }

    /// Makes the folder of a node that joins, and bonds it as a validator by the operator of the first.
    pub(crate) async fn join(&mut self) -> usize {
        let node = self.nodes.len();
        let operator = self.created.founders[0].operator.clone();
        let (seed, listen) = ([0x5e; 32], free_address());
        let config = NodeConfig {
            listen,
            rpc: (Ipv4Addr::LOCALHOST, 0).into(),
            beneficiary: operator.address,
            allow_private: true,
            join: false,
            // It asks one of them, and not all founders.
            bootstrap: vec![self.contact(1)],
        };
        let folder = Folder::new(&self.folder.path().join(node.to_string()));
        folder.join(&self.created.network, seed, &config).expect("the folder is empty");
        self.nodes.push(None);
        let identity = Identity::from_seed(seed);
        let proof = identity.bind_operator(CHAIN_ID, operator.address);
        let call = registerCall {
            nodeId: identity.public_key().into(),
            roles: Role::Validator as u8,
            endpoint: listen.to_string(),
            proof: proof.to_vec().into(),
        };
        let registration = TxEip1559 {
            nonce: 0,
            gas_limit: 2_000_000,
            to: TxKind::Call(STAKE),
            value: U256::from(Parameter::BondMinValidatorWei.genesis()),
            input: call.abi_encode().into(),
            ..TxEip1559::default()
        };
        let hash = self.submit(0, &operator, registration).await;
        assert_eq!(self.receipt(0, hash).await["status"], "0x1");
        node
    }

    /// Makes the folder of a node that follows these, which run.
    pub(crate) fn follow(&mut self, upstreams: &[usize]) -> usize {
        let node = self.nodes.len();
        let url =
            |node: &usize| format!("http://{}", self.nodes[*node].as_ref().expect("it runs").rpc_address());
        let config = FollowerConfig {
            rpc: (Ipv4Addr::LOCALHOST, 0).into(),
            upstreams: upstreams.iter().map(url).collect(),
        };
        let folder = Folder::new(&self.folder.path().join(node.to_string()));
        folder.follow(&self.created.network, &config).expect("the folder is empty");
        self.nodes.push(None);
        node
    }

    /// Sends money of the first account.
    pub(crate) async fn send(&self, node: usize, nonce: u64, to: Address, value: u64) -> B256 {
        let transfer = TxEip1559 {
            nonce,
            gas_limit: 21_000,
            to: TxKind::Call(to),
            value: U256::from(value),
            ..TxEip1559::default()
        };
        self.submit(node, &self.created.accounts[0], transfer).await
    }

    async fn submit(&self, node: usize, from: &DevAccount, transaction: TxEip1559) -> B256 {
        let signer = PrivateKeySigner::from_bytes(&from.key).expect("it is a key");
        let transaction = TxEip1559 {
            chain_id: CHAIN_ID,
            max_fee_per_gas: 100_000_000_000,
            max_priority_fee_per_gas: 1_000_000_000,
            ..transaction
        };
        let signature = signer.sign_hash_sync(&transaction.signature_hash()).expect("it signs");
        let transaction: TxEnvelope = transaction.into_signed(signature).into();
        let bytes = format!("0x{}", hex::encode(transaction.encoded_2718()));
        let hash = self.call(node, "eth_sendRawTransaction", json!([bytes])).await;
        assert_eq!(hash, transaction.tx_hash().to_string());
        *transaction.tx_hash()
    }

    /// Waits for the receipt of a transaction.
    pub(crate) async fn receipt(&self, node: usize, hash: B256) -> Value {
        let deadline = tokio::time::Instant::now() + TIMEOUT;
        loop {
            let receipt = self.call(node, "eth_getTransactionReceipt", json!([hash])).await;
            if !receipt.is_null() {
                return receipt;
            }
            assert!(tokio::time::Instant::now() < deadline, "{hash} is not in the chain of node {node}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn height(&self, node: usize) -> u64 {
        let height = self.call(node, "eth_blockNumber", json!([])).await;
        let height = height.as_str().and_then(|height| height.strip_prefix("0x")).expect("it is a number");
        u64::from_str_radix(height, 16).expect("it is a number")
    }

    /// Waits until a node has a block of this height.
    pub(crate) async fn until(&self, node: usize, height: u64) {
        let deadline = tokio::time::Instant::now() + TIMEOUT;
        while self.height(node).await < height {
            assert!(tokio::time::Instant::now() < deadline, "node {node} does not get to block {height}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub(crate) async fn balance(&self, node: usize, of: Address) -> U256 {
        let balance = self.call(node, "eth_getBalance", json!([of, "latest"])).await;
        balance.as_str().and_then(|balance| balance.parse().ok()).expect("it is a number")
    }

    pub(crate) async fn block_hash(&self, node: usize, block: &Value) -> Value {
        self.call(node, "eth_getBlockByNumber", json!([block, false])).await["hash"].clone()
    }
}
