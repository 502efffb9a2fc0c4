//! One exchange and its receipt, and a re-executor that gives what it is told.

use std::cell::Cell;

use veracity_receipt::{
    Claims, ExecutorKey, Materials, ModelId, NetworkKey, Receipt, ReexecuteError, Reexecution, Reexecutor,
    Request, Response, Run, TraceRoot, Usage,
};

pub(crate) const ISSUED_AT: u64 = 1_795_000_000;
pub(crate) const MODEL_ID: ModelId = ModelId::from_bytes([0x4d; 32]);
pub(crate) const TRACE_ROOT: TraceRoot = TraceRoot::from_bytes([0x7a; 32]);

pub(crate) const REQUEST: Request<'static> = Request {
    protocol: "oip/2",
    model_name: "digits",
    json_length: Some(79),
    body: b"{\"inputs\":[{\"name\":\"x\",\"datatype\":\"UINT8\",\"shape\":[1,4],\"parameters\":{\"n\":4}}]}\x00\x7f\x80\xff",
};

pub(crate) const RESPONSE: Response<'static> = Response {
    json_length: None,
    body: b"{\"outputs\":[{\"name\":\"class\",\"datatype\":\"INT64\",\"data\":[7]}]}",
};

pub(crate) const RUN: Run<'static> = Run {
    samples: 1,
    macs: Some(7_850),
    trace_root: Some(TRACE_ROOT),
    software: "veracity/0.1.0",
    issued_at: ISSUED_AT,
};

pub(crate) fn key() -> ExecutorKey {
    ExecutorKey::from_seed(&[1; 32])
}

pub(crate) fn claims() -> Claims {
    Claims { sequence: Some(41), ..Claims::new(MODEL_ID, &REQUEST, &RESPONSE, &RUN) }
}

/// A receipt with every optional field.
pub(crate) fn receipt() -> Receipt {
    sign(claims())
}

/// A receipt with no optional field.
pub(crate) fn small_receipt() -> Receipt {
    let request = Request { json_length: None, ..REQUEST };
    sign(Claims::new(MODEL_ID, &request, &RESPONSE, &Run { macs: None, trace_root: None, ..RUN }))
}

/// [`receipt`] with evidence under [`network_key`], whose certificate Commonware made.
pub(crate) fn anchored_receipt() -> Receipt {
    Receipt::decode(include_bytes!("../../testdata/v1-anchored.cbor")).unwrap()
}

pub(crate) fn network_key() -> NetworkKey {
    include_str!("../../testdata/network-key.hex").parse().unwrap()
}

pub(crate) fn sign(claims: Claims) -> Receipt {
    Receipt::sign(claims, &key()).unwrap()
}

/// Gives the same result for every request and counts how often it was asked.
pub(crate) struct Rerun {
    pub(crate) model_id: ModelId,
    pub(crate) result: Result<Reexecution, ReexecuteError>,
    pub(crate) n_calls: Cell<u32>,
}

impl Rerun {
    pub(crate) fn giving(result: Result<Reexecution, ReexecuteError>) -> Self {
        Self { model_id: MODEL_ID, result, n_calls: Cell::new(0) }
    }

    pub(crate) fn honest() -> Self {
        Self::giving(Ok(run()))
    }
}

impl Reexecutor for Rerun {
    fn model_id(&self) -> ModelId {
        self.model_id
    }

    fn reexecute(&self, _: &Claims, _: &Request<'_>) -> Result<Reexecution, ReexecuteError> {
        self.n_calls.set(self.n_calls.get() + 1);
        self.result.clone()
    }
}

/// What an honest re-execution gives.
pub(crate) fn run() -> Reexecution {
    let usage = Usage { samples: 1, input_bytes: 83, output_bytes: 60, macs: Some(7_850) };
    Reexecution {
        json_length: RESPONSE.json_length,
        body: RESPONSE.body.to_vec(),
        trace_root: Some(TRACE_ROOT),
        usage: Some(usage),
    }
}

/// All that a verifier can have.
pub(crate) fn materials(rerun: &Rerun) -> Materials<'_> {
    Materials {
        model_id: Some(MODEL_ID),
        request: Some(REQUEST),
        response: Some(RESPONSE),
        reexecutor: Some(rerun),
    }
}
