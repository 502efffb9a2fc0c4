//! A chain with one validator, and a server that says what it is told.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, TcpListener},
    num::NonZeroUsize,
    time::SystemTime,
};

use tempfile::TempDir;
use tokio::runtime::Runtime;
use veracity_client::{Account, Chain};
use veracity_node::{Created, DevPlan, Folder, Node, NodeConfig, NodeOptions};

pub(crate) const CHAIN_ID: u64 = 31337;

/// A running chain; it ends when dropped.
pub(crate) struct Network {
    pub(crate) chain: Chain,
    created: Created,
    node: Option<Node>,
    runtime: Runtime,
    _folder: TempDir,
}

impl Network {
    pub(crate) fn start() -> Self {
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let validators = vec![(Ipv4Addr::LOCALHOST, 0).into()];
        let plan = DevPlan { chain_id: CHAIN_ID, validators, accounts: 3, parameters: vec![], time };
        let created = plan.create().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (at, founder) = (Folder::new(&folder.path().join("0")), &created.founders[0]);
        let rpc = (Ipv4Addr::LOCALHOST, 0).into();
        let beneficiary = founder.operator.address;
        let config =
            NodeConfig { listen: founder.listen, rpc, beneficiary, allow_private: true, join: false };
        at.found(&created.network, founder, &config).unwrap();
        let options = NodeOptions {
            folder: at,
            listen: founder.listen,
            rpc: veracity_rpc::Config::new(rpc),
            beneficiary,
            threads: NonZeroUsize::MIN,
            allow_private: true,
        };
        let runtime = Runtime::new().unwrap();
        let node = runtime.block_on(Node::start(options)).unwrap();
        let chain = Chain::connect(&format!("http://{}", node.rpc_address())).unwrap();
        Self { chain, created, node: Some(node), runtime, _folder: folder }
    }

    /// A funded account.
    pub(crate) fn account(&self, index: usize) -> Account {
        Account::from_key(self.created.accounts[index].key).unwrap()
    }

    pub(crate) fn key(&self) -> Vec<u8> {
        self.created.network.key().to_vec()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if let Some(node) = self.node.take() {
            self.runtime.block_on(node.stop());
        }
    }
}

/// Serves these bodies, one per request, the last one for ever; gives the URL.
pub(crate) fn serve(bodies: &[&str]) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut bodies: Vec<String> = bodies.iter().rev().map(ToString::to_string).collect();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let (mut line, mut length) = (String::new(), 0);
            while stream.read_line(&mut line).is_ok_and(|n| n > 2) {
                let lower = line.to_ascii_lowercase();
                length = lower.strip_prefix("content-length:").map_or(length, |n| n.trim().parse().unwrap());
                line.clear();
            }
            stream.read_exact(&mut vec![0; length]).unwrap();
            let body = if bodies.len() > 1 { bodies.pop().unwrap() } else { bodies[0].clone() };
            let head =
                format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.get_mut().write_all(format!("{head}{body}").as_bytes()).unwrap();
        }
    });
    url
}
