//! Receipts built with `ciborium`, which nobody here wrote, so that each part can be bent before it is encoded.

use ciborium::Value;
use veracity_receipt::Receipt;

/// Entries of a map, in the order in which they are written.
pub(crate) type Entries = Vec<(Value, Value)>;

/// The parts of a receipt, free to be changed.
#[derive(Clone)]
pub(crate) struct Craft {
    pub(crate) cwt_claims: Entries,
    pub(crate) protected: Entries,
    pub(crate) unprotected: Entries,
    pub(crate) parameters: Entries,
    pub(crate) usage: Entries,
    pub(crate) payload: Entries,
    pub(crate) signature: Vec<u8>,
}

impl Craft {
    /// The parts as the specification lays them out.
    pub(crate) fn new(receipt: &Receipt) -> Self {
        let (claims, executor) = (receipt.claims(), receipt.executor());
        let (parameters, usage) = (&claims.parameters, &claims.usage);
        Self {
            cwt_claims: entries([
                (1, Some(executor.to_string().into())),
                (2, Some(claims.model_id.to_string().into())),
                (6, Some(claims.issued_at.into())),
            ]),
            protected: entries([
                (1, Some((-8).into())),
                (3, Some("application/vnd.veracity.receipt+cbor".into())),
                (4, Some(bytes(executor.as_bytes()))),
            ]),
            unprotected: entries([(
                394,
                receipt.evidence().map(|evidence| Value::Array(vec![bytes(&evidence.encode())])),
            )]),
            parameters: entries([
                (1, Some(parameters.protocol.clone().into())),
                (2, Some(parameters.model_name.clone().into())),
                (3, parameters.request_json_length.map(Value::from)),
                (4, parameters.response_json_length.map(Value::from)),
            ]),
            usage: entries([
                (1, Some(usage.samples.into())),
                (2, Some(usage.input_bytes.into())),
                (3, Some(usage.output_bytes.into())),
                (4, usage.macs.map(Value::from)),
            ]),
            payload: entries([
                (1, Some(1.into())),
                (2, Some(bytes(claims.model_id.as_bytes()))),
                (3, Some(bytes(claims.request_hash.as_bytes()))),
                (4, Some(bytes(claims.response_hash.as_bytes()))),
                (5, Some(Value::Null)),
                (6, Some(Value::Null)),
                (7, Some(claims.software.clone().into())),
                (8, claims.trace_root.map(|root| bytes(root.as_bytes()))),
                (9, claims.sequence.map(Value::from)),
            ]),
            signature: receipt.signature().to_vec(),
        }
    }

    pub(crate) fn protected(&self) -> Vec<u8> {
        let mut protected = self.protected.clone();
        protected.push((15.into(), Value::Map(self.cwt_claims.clone())));
        cbor(&Value::Map(protected))
    }

    /// The payload; a null in place of the parameters or the usage stands for those held here.
    pub(crate) fn payload(&self) -> Vec<u8> {
        let mut payload = self.payload.clone();
        for (key, value) in &mut payload {
            if value.is_null() {
                let map = if *key == Value::from(5) { &self.parameters } else { &self.usage };
                *value = Value::Map(map.clone());
            }
        }
        cbor(&Value::Map(payload))
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let parts = vec![
            bytes(&self.protected()),
            Value::Map(self.unprotected.clone()),
            bytes(&self.payload()),
            bytes(&self.signature),
        ];
        cbor(&Value::Tag(18, Box::new(Value::Array(parts))))
    }
}

/// Changes the value under a key.
pub(crate) fn set(entries: &mut Entries, key: u64, value: impl Into<Value>) {
    let entry = entries.iter_mut().find(|(k, _)| *k == Value::from(key)).expect("a key of the map");
    entry.1 = value.into();
}

/// Takes a key out.
pub(crate) fn remove(entries: &mut Entries, key: u64) {
    entries.retain(|(k, _)| *k != Value::from(key));
}

pub(crate) fn bytes(bytes: &[u8]) -> Value {
    Value::Bytes(bytes.to_vec())
}

pub(crate) fn cbor(value: &Value) -> Vec<u8> {
    let mut encoded = vec![];
    ciborium::into_writer(value, &mut encoded).expect("writing to memory");
    encoded
}

fn entries<const N: usize>(pairs: [(u64, Option<Value>); N]) -> Entries {
    pairs.into_iter().filter_map(|(key, value)| Some((key.into(), value?))).collect()
}
