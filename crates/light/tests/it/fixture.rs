//! A small chain made with Ethereum's libraries, and validators that sign what they are told.

use alloy_consensus::{
    Eip658Value, Header, Receipt, ReceiptEnvelope, ReceiptWithBloom, proofs::calculate_receipt_root,
};
use alloy_primitives::{Address, B256, Bytes, Log, LogData, U256, keccak256};
use alloy_rlp::Encodable as _;
use alloy_trie::{HashBuilder, Nibbles, proof::ProofRetainer};
use ark_bls12_381::{Fr, G1Affine, G1Projective, G2Affine, g1};
use ark_ec::{
    AffineRepr as _, CurveGroup as _,
    hashing::{HashToCurve as _, curve_maps::wb::WBMap, map_to_curve_hasher::MapToCurveBasedHasher},
};
use ark_ff::field_hashers::DefaultFieldHasher;
use ark_serialize::CanonicalSerialize as _;
use sha2::Sha256;
use veracity_light::{
    BlockHash, Evidence, Finalization, NetworkKey, Parts, Proposal, RECEIPTS_CONTRACT, Round, Subject, merkle,
};

type Hasher = MapToCurveBasedHasher<G1Projective, DefaultFieldHasher<Sha256>, WBMap<g1::Config>>;

/// The validators: one secret, as if all shares had been put together.
pub(crate) struct Validators(Fr);

impl Validators {
    pub(crate) fn new(secret: u64) -> Self {
        Self(Fr::from(secret))
    }

    pub(crate) fn key(&self) -> NetworkKey {
        let mut bytes = Vec::new();
        (G2Affine::generator() * self.0).into_affine().serialize_compressed(&mut bytes).unwrap();
        NetworkKey::from_bytes(&bytes).unwrap()
    }

    pub(crate) fn sign(&self, namespace: &[u8], message: &[u8]) -> [u8; 48] {
        let framed = [&[u8::try_from(namespace.len()).unwrap()], namespace, message].concat();
        let hasher = Hasher::new(b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_").unwrap();
        compress((hasher.hash(&framed).unwrap() * self.0).into_affine())
    }

    /// A certificate of the round `epoch 1, view 9`, whose numbers have one byte each.
    pub(crate) fn finalize(&self, payload: BlockHash) -> Finalization {
        let proposal = Proposal { round: Round { epoch: 1, view: 9 }, parent_view: 8, payload };
        let message = [&[1, 9, 8], payload.as_bytes().as_slice()].concat();
        let vote_signature = self.sign(b"veracity_FINALIZE", &message);
        Finalization { proposal, vote_signature, seed_signature: self.sign(b"veracity_SEED", &[1, 9]) }
    }
}

pub(crate) fn compress(point: G1Affine) -> [u8; 48] {
    let mut bytes = Vec::new();
    point.serialize_compressed(&mut bytes).unwrap();
    bytes.try_into().unwrap()
}

pub(crate) const SUBJECT: Subject = Subject { executor: [7; 32], sequence: 1002, receipt_id: [0x5a; 32] };
pub(crate) const HEIGHT: u64 = 120;
pub(crate) const TIME: u64 = 1_795_000_100;

/// What the chain is like around an anchoring transaction.
#[derive(Clone)]
pub(crate) struct Scene {
    pub(crate) ids: Vec<[u8; 32]>,
    pub(crate) index: usize,
    pub(crate) n_transactions: u64,
    pub(crate) transaction: u64,
    pub(crate) logs: Vec<Log>,
    pub(crate) log_index: u64,
    pub(crate) status: bool,
    /// Blocks on top, the last of which is certified.
    pub(crate) n_above: u64,
}

impl Default for Scene {
    fn default() -> Self {
        let mut ids: Vec<_> = (0..5).map(|i| [i; 32]).collect();
        ids[2] = SUBJECT.receipt_id;
        let logs = vec![other_log(), anchored(&ids), other_log()];
        Self {
            ids,
            index: 2,
            n_transactions: 20,
            transaction: 17,
            logs,
            log_index: 1,
            status: true,
            n_above: 2,
        }
    }
}

pub(crate) fn other_log() -> Log {
    let data = LogData::new_unchecked(vec![B256::repeat_byte(1)], Bytes::from_static(b"data"));
    Log { address: Address::repeat_byte(9), data }
}

/// The event for batch 3 of [`SUBJECT`]'s executor, from sequence 1000.
pub(crate) fn anchored(ids: &[[u8; 32]]) -> Log {
    let word = |value: usize| B256::from(U256::from(value));
    let topics = vec![
        keccak256("Anchored(bytes32,uint256,uint64,uint32,bytes32)"),
        B256::from(SUBJECT.executor),
        word(3),
    ];
    let data = [word(1000), word(ids.len()), B256::from(merkle::root(ids).unwrap_or_default())].concat();
    Log { address: Address::from(RECEIPTS_CONTRACT), data: LogData::new_unchecked(topics, data.into()) }
}

impl Scene {
    fn receipts(&self) -> Vec<ReceiptEnvelope> {
        let receipt = |transaction| {
            let is_ours = transaction == self.transaction;
            let receipt = Receipt {
                status: Eip658Value::Eip658(!is_ours || self.status),
                cumulative_gas_used: 21_000 * (transaction + 1),
                logs: if is_ours { self.logs.clone() } else { vec![other_log()] },
            };
            let receipt = ReceiptWithBloom::from(receipt);
            match transaction % 3 {
                0 => ReceiptEnvelope::Legacy(receipt),
                1 => ReceiptEnvelope::Eip2930(receipt),
                _ => ReceiptEnvelope::Eip1559(receipt),
            }
        };
        (0..self.n_transactions).map(receipt).collect()
    }

    /// Headers from the anchoring block up, oldest first.
    pub(crate) fn headers(&self) -> Vec<Vec<u8>> {
        let mut header = Header {
            parent_hash: B256::repeat_byte(3),
            receipts_root: calculate_receipt_root(&self.receipts()),
            number: HEIGHT,
            timestamp: TIME,
            gas_limit: 200_000_000,
            base_fee_per_gas: Some(1_000_000_000),
            withdrawals_root: Some(B256::repeat_byte(4)),
            blob_gas_used: Some(0),
            excess_blob_gas: Some(0),
            parent_beacon_block_root: Some(B256::ZERO),
            requests_hash: Some(B256::repeat_byte(5)),
            ..Header::default()
        };
        let mut headers = vec![alloy_rlp::encode(&header)];
        for _ in 0..self.n_above {
            header = Header { parent_hash: header.hash_slow(), number: header.number + 1, ..header };
            headers.push(alloy_rlp::encode(&header));
        }
        headers
    }

    /// The nodes from the root of the trie of receipts to the one of the transaction.
    pub(crate) fn nodes(&self) -> Vec<Vec<u8>> {
        let key = |index: u64| Nibbles::unpack(alloy_rlp::encode(index));
        let mut leaves: Vec<_> =
            self.receipts().iter().zip(0..).map(|(receipt, index)| (key(index), encode(receipt))).collect();
        leaves.sort();
        let retainer = ProofRetainer::new(vec![key(self.transaction)]);
        let mut builder = HashBuilder::default().with_proof_retainer(retainer);
        leaves.iter().for_each(|(key, value)| builder.add_leaf(*key, value));
        assert_eq!(builder.root(), calculate_receipt_root(&self.receipts()));
        builder.take_proof_nodes().into_nodes_sorted().into_iter().map(|(_, node)| node.to_vec()).collect()
    }

    pub(crate) fn parts(&self, validators: &Validators) -> Parts {
        let headers = self.headers();
        Parts {
            certificate: validators.finalize(BlockHash::of(headers.last().unwrap())),
            headers,
            transaction_index: self.transaction,
            nodes: self.nodes(),
            log_index: self.log_index,
            path: merkle::path(&self.ids, self.index).unwrap(),
        }
    }
}

fn encode(receipt: &ReceiptEnvelope) -> Vec<u8> {
    let mut bytes = Vec::new();
    match receipt {
        ReceiptEnvelope::Legacy(receipt) => receipt.encode(&mut bytes),
        typed => alloy_eips::Encodable2718::encode_2718(typed, &mut bytes),
    }
    bytes
}

pub(crate) fn validators() -> Validators {
    Validators::new(0x5eed)
}

pub(crate) fn parts() -> Parts {
    Scene::default().parts(&validators())
}

pub(crate) fn evidence() -> Evidence {
    Evidence::new(parts()).unwrap()
}
