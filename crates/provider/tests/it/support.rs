//! A store with receipts, and a node that lies.

use std::sync::Arc;

use alloy_primitives::B256;
use serde_json::{Value, json};
use tempfile::TempDir;
use veracity_client::{Account, Chain, ClientError, RoleSet, Rpc};
use veracity_light::{Evidence, Parts, merkle};
use veracity_provider::{AnchorError, Anchorer, AnchorerParts, Registration, Tick, register};
use veracity_receipt::{
    CheckName, Claims, ExecutorKey, Materials, ModelId, NetworkKey, Policy, Receipt, Request, Response, Run,
    verify,
};
use veracity_store::{EvidenceLog, ReceiptLimits, SequenceError, SequenceLog, Store};

use crate::{dev_chain::Network, server::serve_by};

impl Network {
    /// The key that certificates verify against.
    pub(crate) fn key(&self) -> NetworkKey {
        NetworkKey::from_bytes(&self.key_bytes()).unwrap()
    }
}

/// An executor with a store of its own.
pub(crate) struct Provider {
    pub(crate) executor: ExecutorKey,
    pub(crate) sequences: Arc<SequenceLog>,
    pub(crate) evidence: Arc<EvidenceLog>,
    pub(crate) folder: TempDir,
}

impl Provider {
    pub(crate) fn new(seed: u8, network_key: &NetworkKey) -> Self {
        Self::open(seed, network_key, tempfile::tempdir().unwrap())
    }

    pub(crate) fn open(seed: u8, network_key: &NetworkKey, folder: TempDir) -> Self {
        let executor = ExecutorKey::from_seed(&[seed; 32]);
        let store = Store::open(folder.path()).unwrap();
        let id = *executor.executor().as_bytes();
        let evidence = store.evidence_log(&id, network_key.as_bytes(), ReceiptLimits::default()).unwrap();
        let sequences = Arc::new(store.sequence_log(&id).unwrap());
        Self { executor, sequences, evidence: Arc::new(evidence), folder }
    }

    pub(crate) fn id(&self) -> B256 {
        (*self.executor.executor().as_bytes()).into()
    }

    /// Signs the next receipt.
    pub(crate) fn issue(&self) -> Receipt {
        let request = Request { protocol: "oip/2", model_name: "m", json_length: None, body: b"{}" };
        let response = Response { json_length: None, body: b"{}" };
        let run = Run { samples: 1, macs: None, trace_root: None, software: "test/1", issued_at: 1 };
        let claims = Claims::new(ModelId::from_bytes([1; 32]), &request, &response, &run);
        let sign = |sequence| {
            let claims = Claims { sequence: Some(sequence), ..claims };
            let receipt = Receipt::sign(claims, &self.executor).unwrap();
            let id = *receipt.id().as_bytes();
            Ok::<_, SequenceError>((receipt, id))
        };
        self.sequences.issue(sign).unwrap()
    }

    pub(crate) fn register(&self, chain: &Chain, operator: &Account, roles: RoleSet) {
        let registration = Registration { roles, endpoint: String::new() };
        register(chain, operator, &self.executor, &registration).unwrap();
    }

    pub(crate) fn anchorer(&self, chain: &Chain, operator: &Account, network_key: NetworkKey) -> Anchorer {
        Anchorer::new(AnchorerParts {
            chain: chain.clone(),
            network_key,
            operator: operator.clone(),
            executor: self.executor.executor(),
            sequences: Arc::clone(&self.sequences),
            evidence: Arc::clone(&self.evidence),
        })
    }

    /// The receipt with what is kept about its batch, as the gateway joins them.
    pub(crate) fn join(&self, receipt: Receipt) -> Option<Receipt> {
        let sequence = receipt.claims().sequence.unwrap();
        let (batch, bytes) = self.evidence.find(sequence).unwrap()?;
        let ids = self.sequences.ids(batch.first..batch.first + u64::from(batch.count)).unwrap();
        let path = merkle::path(&ids, batch.index(sequence).unwrap() as usize).unwrap();
        let common = Evidence::decode(&bytes).unwrap().parts().clone();
        Some(receipt.with_evidence(Some(Evidence::new(Parts { path, ..common }).unwrap())))
    }
}

/// Ticks until nothing waits for its evidence; gives the sum of what was done.
pub(crate) fn settle(anchorer: &mut Anchorer) -> Result<Tick, AnchorError> {
    let mut all = Tick::default();
    loop {
        let tick = anchorer.tick()?;
        all.anchored.extend(tick.anchored);
        all.proven.extend(tick.proven);
        all.failed.extend(tick.failed);
        if anchorer.waiting() == 0 || !all.failed.is_empty() {
            return Ok(all);
        }
    }
}

/// What a verifier says who has the receipt and the network's key, and nothing else.
#[track_caller]
pub(crate) fn assert_verifies(receipt: &Receipt, key: NetworkKey) {
    let required = vec![CheckName::Signature, CheckName::Final, CheckName::Anchored];
    let policy = Policy { network_key: Some(key), required, ..Policy::default() };
    let verdict = verify(&receipt.encode(), &Materials::default(), &policy);
    assert!(verdict.verified(), "{verdict:?}");
}

/// A node that hands on what another one says, but for the answers that `lie` gives for a method.
pub(crate) fn liar(chain: &Chain, lie: impl Fn(&str, Value) -> Value + Send + 'static) -> Chain {
    breaker(chain, vec![], lie, |_, _| false)
}

/// As [`liar`], with methods that are not handed on but answered always alike. It tells `heard` what it is asked, and if that
/// says so, closes the connection without an answer after it did it.
pub(crate) fn breaker(
    chain: &Chain,
    constants: Vec<(&'static str, Value)>,
    lie: impl Fn(&str, Value) -> Value + Send + 'static,
    heard: impl Fn(&str, &Value) -> bool + Send + 'static,
) -> Chain {
    let rpc: Rpc = chain.rpc().clone();
    let url = serve_by(move |request| {
        let request: Value = serde_json::from_slice(request).unwrap();
        let method = request["method"].as_str().unwrap();
        let constant = constants.iter().find(|(name, _)| *name == method).map(|(_, value)| value.clone());
        let answer = constant.map_or_else(|| rpc.call::<Value>(method, &request["params"]), Ok);
        if heard(method, &request["params"]) {
            return None;
        }
        let body = match answer {
            Ok(result) => json!({ "result": lie(method, result) }),
            Err(ClientError::Node { code, message, .. }) => {
                json!({ "error": { "code": code, "message": message } })
            }
            Err(ClientError::Refused(refusal)) => {
                json!({ "error": { "code": 3, "message": refusal.to_string(), "data": refusal.data() } })
            }
            Err(error) => panic!("{error}"),
        };
        Some(body.to_string())
    });
    Chain::connect(&url).unwrap()
}
