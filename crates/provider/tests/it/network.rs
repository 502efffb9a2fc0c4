//! Nodes that serve models beside a chain.

use std::{sync::Arc, time::Duration};

use alloy_primitives::B256;
use ed25519_dalek::{Signer as _, SigningKey};
use tempfile::TempDir;
use tokio::net::TcpListener;
use veracity_client::{Account, Publication, RoleSet};
use veracity_graph::{Bundle, ModelId};
use veracity_hosting::{Client, FetchConfig, Hosting, HostingConfig, Maintainer, NodeId, router};
use veracity_provider::{ChainRegistry, HostLoop, manifest_root, model_word};
use veracity_store::Store;

use crate::dev_chain::Network;

impl Network {
    /// Registers a node whose key has this seed.
    pub(crate) fn register(&self, operator: &Account, seed: u8, roles: RoleSet, endpoint: &str) -> NodeId {
        let (key, stake) = (SigningKey::from_bytes(&[seed; 32]), self.chain.stake());
        let node: B256 = key.verifying_key().to_bytes().into();
        let proof = key.sign(&stake.binding_message(operator.address()).unwrap()).to_bytes();
        let bond = stake.required_bond(roles).unwrap();
        stake.register(operator, node, roles, endpoint, proof, bond).unwrap();
        NodeId(node.0)
    }

    pub(crate) fn publish(&self, owner: &Account, name: &str, version: &str, bundle: &Bundle) -> ModelId {
        let publication = Publication {
            model: model_word(&bundle.model_id()),
            name: name.to_owned(),
            version: version.to_owned(),
            licence: "MIT".to_owned(),
            size_bytes: (bundle.graph.len() + bundle.weights.len()) as u64,
            manifest_root: manifest_root(&bundle.manifest),
            price_per_request: 0,
            price_per_mega_mac: 0,
        };
        self.chain.models().publish(owner, &publication).unwrap();
        bundle.model_id()
    }

    pub(crate) fn reader(&self) -> ChainRegistry {
        ChainRegistry::of_reader(self.chain.clone())
    }
}

/// A registered host that serves over HTTP and ticks.
pub(crate) struct Member {
    pub(crate) hosting: Arc<Hosting>,
    pub(crate) id: NodeId,
    pub(crate) ticks: HostLoop,
    pub(crate) server: tokio::task::JoinHandle<()>,
    _dir: TempDir,
}

impl Member {
    /// The operator is the account with this index, which is the seed of the key too.
    pub(crate) fn start(network: &Network, index: u8) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(dir.path()).unwrap());
        let hosting = Hosting::open(store, HostingConfig::with_quota(1 << 30)).unwrap();
        let listener = network.runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let routes = router(Arc::clone(&hosting));
        let server = network.runtime.spawn(async move { axum::serve(listener, routes).await.unwrap() });
        let operator = network.account(index.into());
        let id = network.register(&operator, index, RoleSet::HOST, &endpoint);
        let client = Client::new(FetchConfig { attempts_max: 2, ..FetchConfig::local() }).unwrap();
        let maintainer = Maintainer::new(Arc::clone(&hosting), client, id);
        let registry = ChainRegistry::of_host(network.chain.clone(), operator, id);
        let ticks = HostLoop::start(maintainer, registry, Duration::from_millis(100)).unwrap();
        Self { hosting, id, ticks, server, _dir: dir }
    }
}

/// Waits until something is so; a test that waits too long fails.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut is: impl FnMut() -> bool) {
    let started = std::time::Instant::now();
    while !is() {
        assert!(started.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
