//! A network of its own in a temporary folder.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tempfile::TempDir;
use veracity_client::{Account, Chain};
use veracity_gateway::Config;
use veracity_importer::Options;
use veracity_node::dev_provider;
use veracity_receipt::{ExecutorId, ExecutorKey, NetworkKey};
use veracity_store::Store;
use veracity_worker::LoadedModel;

use super::assets::{Digits, HeldOut, MODELS};
use crate::{
    chain,
    commands::import,
    data::{self, put_failure, store_failure},
    error::Failure,
    http::Server,
    net::{Net, NetPlan},
    output::{Output, Paint},
    progress::{Progress, Unit},
    provider::{self, Joining, Provider, Role},
    runner::EngineArgs,
    server::Node,
    words,
};

/// The demo's node and what a user of it has.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) out: Output,
    pub(super) held_out: HeldOut,
    /// First the provider ends, then the network that it takes part in, then the folder goes.
    provider: Option<Provider>,
    node: Option<Node>,
    net: Net,
    folder: TempDir,
}

/// Validators of the network.
const VALIDATORS: u8 = 4;
/// Time between two looks for receipts to anchor.
const ANCHOR_INTERVAL: Duration = Duration::from_millis(100);

/// A model that the demo imported.
#[derive(Debug, Serialize)]
pub(super) struct Hosted {
    name: &'static str,
    model_id: String,
    accuracy: Value,
}

impl Stage {
    /// An empty folder, in which the validators begin to start.
    pub(super) fn new(out: Output) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("veracity-demo-").tempdir().map_err(|e| {
            let message = format!("no temporary folder can be made: {e}");
            Failure::outside(
                "no_temporary_folder",
                message,
                "free some space, or set TMPDIR to a folder that may be written",
            )
        })?;
        let at = folder.path().join("network");
        let plan = NetPlan {
            folder: &at,
            validators: VALIDATORS,
            fresh: false,
            chain_id: chain::CHAIN_ID,
            rpc_port: 0,
        };
        let net = Net::start(plan)?;
        Ok(Self { out, held_out: HeldOut::read(), provider: None, node: None, net, folder })
    }

    /// Says what comes next.
    pub(super) fn title(&self, number: usize, verb: &str, what: &str) {
        let verb = self.out.colors().paint(Paint::Bold, format!("{number}. {verb}"));
        self.out.say(format!("\n{verb}  {what}"));
    }

    /// Says a text of lines, indented.
    pub(super) fn tell(&self, text: &str) {
        let lines: Vec<String> =
            text.lines().map(|line| format!("   {line}").trim_end().to_owned()).collect();
        self.out.say(lines.join("\n"));
    }

    /// Step 1: both models into the store.
    pub(super) fn import(&self) -> Result<Vec<Hosted>, Failure> {
        self.title(1, "Import", "two classifiers of handwritten digits, from ONNX to exact integers");
        MODELS.iter().map(|digits| self.import_one(digits)).collect()
    }

    fn import_one(&self, digits: &Digits) -> Result<Hosted, Failure> {
        let progress = Progress::new(self.out.is_json(), "importing", Unit::Steps);
        let imported = import::convert(digits.onnx, Some(&digits.samples()), &Options::default(), &progress)
            .map_err(|e| import::import_failure(&e))?;
        drop(progress);
        let (store, json) = (self.store()?, imported.report.to_json());
        let id = store.put(&imported.bundle, Some(json.as_bytes())).map_err(|e| put_failure(&e))?;
        let name = digits.name.parse().expect("the demo's names are names");
        store.set_name(&name, &id).map_err(|e| store_failure(&e))?;
        let size = words::size(imported.bundle.graph.len() as u64 + imported.bundle.weights.len() as u64);
        let head = format!(
            "{}  {} in {size}, was {} in f32",
            digits.name,
            digits.kind,
            words::size(digits.onnx.len() as u64)
        );
        self.tell(&format!("{head}\n  model id {id}"));
        self.tell(&accuracy(&imported.report));
        Ok(Hosted {
            name: digits.name,
            model_id: id.to_string(),
            accuracy: serde_json::from_str(&json).unwrap_or_default(),
        })
    }

    /// Step 2: a server on loopback, which is a provider of the network.
    pub(super) fn host(&mut self) -> Result<(), Failure> {
        let node = Node::start(self.store()?, Config::default(), ([127, 0, 0, 1], 0).into())?;
        self.title(2, "Host", &format!("them at {}", node.url()));
        self.tell(&format!("executor {}.. signs the receipts", &node.executor.to_string()[..16]));
        self.net.await_validators()?;
        let joining = Joining {
            chain: Chain::connect(&self.net.endpoints()[0]).map_err(|e| chain::client_failure(&e))?,
            operator: Account::from_key(dev_provider(0).key).expect("accounts for development have keys"),
            network_key: Some(self.network_key()?),
            roles: vec![Role::Worker, Role::Gateway],
            endpoint: node.url(),
            interval: ANCHOR_INTERVAL,
            worker_timeout: Duration::from_secs(provider::WORKER_TIMEOUT_S),
        };
        self.provider = Some(provider::join(&node, joining)?);
        self.tell(&format!("it bonds for that on a chain that {VALIDATORS} validators make"));
        self.node = Some(node);
        Ok(())
    }

    /// The key that the network's certificates verify against.
    pub(super) fn network_key(&self) -> Result<NetworkKey, Failure> {
        let key = NetworkKey::from_bytes(self.net.network.key().as_slice());
        key.map_err(|e| Failure::input("network_key_malformed", e, "please report this"))
    }

    /// A client of the server.
    pub(super) fn server(&self) -> Result<Server, Failure> {
        Server::new(&self.node.as_ref().map(Node::url).unwrap_or_default())
    }

    /// Who is expected to sign.
    pub(super) fn executor(&self) -> Option<ExecutorId> {
        self.node.as_ref().map(|node| node.executor)
    }

    /// The key of the executor, for the scene in which it lies.
    pub(super) fn key(&self) -> Result<ExecutorKey, Failure> {
        data::executor_key(&self.store()?)
    }

    /// A model as a verifier loads it: from its own copy, every hash checked.
    pub(super) fn load(&self, digits: &Digits) -> Result<LoadedModel, Failure> {
        let store = self.store()?;
        let id = store.resolve(digits.name).map_err(|e| store_failure(&e))?;
        EngineArgs::default().load(store.get(&id).map_err(|e| store_failure(&e))?)
    }

    /// Stops the server and removes the folder.
    pub(super) fn close(self) -> Result<(), Failure> {
        drop(self.provider);
        self.node.map_or(Ok(()), Node::stop)?;
        drop(self.net);
        // What cannot be removed is left to the system's own cleaning of temporary folders.
        let _left_behind = self.folder.close();
        Ok(())
    }

    fn store(&self) -> Result<Store, Failure> {
        Store::open(self.folder.path().join("data")).map_err(|e| store_failure(&e))
    }
}

/// The report in a line of at most 76 columns per output.
fn accuracy(report: &veracity_importer::Report) -> String {
    let percent = |share: f64| format!("{:.2} %", 100.0 * share);
    let line = |o: &veracity_importer::OutputAccuracy| {
        let agreement = o.argmax_agreement.map_or("-".to_owned(), percent);
        format!(
            "  against f32 on {} images: same digit {agreement}, cosine {:.5}",
            report.n_samples, o.cosine_mean
        )
    };
    report.outputs.iter().map(line).collect::<Vec<_>>().join("\n")
}
