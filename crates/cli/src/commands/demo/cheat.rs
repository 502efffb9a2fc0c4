//! Three lies, each with the check that catches it.

use serde::Serialize;
use veracity_receipt::{Claims, ExecutorKey, Receipt, Response, Run};

use crate::{
    commands::verify::{Case, judge},
    statement::Judgement,
};

/// An answer with everything that is needed to check it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Exchange<'a> {
    /// Body of the request.
    pub(super) request: &'a [u8],
    /// Body of the response.
    pub(super) response: &'a [u8],
    /// The receipt.
    pub(super) receipt: &'a [u8],
}

/// A lie and what became of it.
#[derive(Debug, Serialize)]
pub(super) struct Cheat {
    /// The lie.
    pub(super) what: &'static str,
    pub(super) judgement: Judgement,
}

/// The signature with its CBOR head, at the end of a receipt; before it ends the sequence.
const SIGNATURE_ITEM_BYTES: usize = 66;

/// Tries all three. `case` is the honest one; `key` is the executor's own.
pub(super) fn attempt_all(case: Case<'_>, exchange: Exchange<'_>, key: &ExecutorKey) -> Vec<Cheat> {
    let Exchange { response, receipt, .. } = exchange;
    let wrong_response = flip(response, response.len() - 1);
    let wrong_receipt = flip(receipt, receipt.len() - SIGNATURE_ITEM_BYTES - 1);
    let false_receipt = sign_falsely(exchange, &wrong_response, key);
    let try_it = |what, receipt: &[u8], response: &[u8]| Cheat {
        what,
        judgement: judge(Case { receipt, response: Some(response), ..case }),
    };
    vec![
        try_it("One bit of the response is changed on its way to you.", receipt, &wrong_response),
        try_it("One bit of the receipt is changed, in its sequence number.", &wrong_receipt, response),
        try_it("The server itself lies, and signs the wrong response.", &false_receipt, &wrong_response),
    ]
}

/// The bytes with the lowest bit of one of them flipped.
fn flip(bytes: &[u8], position: usize) -> Vec<u8> {
    let mut flipped = bytes.to_vec();
    flipped[position] ^= 1;
    flipped
}

/// The receipt that a lying executor gives for another response: all true and well signed but the answer.
fn sign_falsely(honest: Exchange<'_>, response: &[u8], key: &ExecutorKey) -> Vec<u8> {
    let receipt = Receipt::decode(honest.receipt).expect("the honest receipt is one");
    let claims = receipt.claims();
    let response = Response { json_length: claims.parameters.response_json_length, body: response };
    let run = Run {
        samples: claims.usage.samples,
        macs: claims.usage.macs,
        trace_root: claims.trace_root,
        software: &claims.software,
        issued_at: claims.issued_at,
    };
    let sequence = claims.sequence;
    let claims = Claims::new(claims.model_id, &claims.request(honest.request), &response, &run);
    Receipt::sign(Claims { sequence, ..claims }, key).expect("only the answer is false").encode()
}
