//! A chain with one validator in this process.

use std::{net::Ipv4Addr, num::NonZeroUsize, time::SystemTime};

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
    pub(crate) runtime: Runtime,
    _folder: TempDir,
}

impl Network {
    pub(crate) fn start() -> Self {
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let validators = vec![(Ipv4Addr::LOCALHOST, 0).into()];
        let plan = DevPlan { chain_id: CHAIN_ID, validators, accounts: 6, parameters: vec![], time };
        let created = plan.create().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (at, founder) = (Folder::new(&folder.path().join("0")), &created.founders[0]);
        let rpc = (Ipv4Addr::LOCALHOST, 0).into();
        let beneficiary = founder.operator.address;
        let config = NodeConfig {
            listen: founder.listen,
            rpc,
            beneficiary,
            allow_private: true,
            join: false,
            bootstrap: vec![],
        };
        at.found(&created.network, founder, &config).unwrap();
        let options = NodeOptions {
            folder: at,
            listen: founder.listen,
            rpc: veracity_rpc::Config::new(rpc),
            beneficiary,
            threads: NonZeroUsize::MIN,
            bootstrap: vec![],
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

    /// The key that certificates verify against.
    pub(crate) fn key_bytes(&self) -> Vec<u8> {
        self.created.network.key().to_vec()
    }

    pub(crate) fn stop(&mut self) {
        if let Some(node) = self.node.take() {
            self.runtime.block_on(node.stop());
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.stop();
    }
}
