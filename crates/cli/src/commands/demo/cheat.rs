//! Five lies, each with the check that catches it.

use serde::Serialize;
use veracity_receipt::{Claims, ExecutorKey, NetworkKey, Receipt, Response, Run};

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

/// Tries all five. `case` is the honest one; `key` is the executor's own; `other` is another honest answer to the same
/// request, with its receipt that is not anchored yet.
pub(super) fn attempt_all(
    case: Case<'_>,
    exchange: Exchange<'_>,
    key: &ExecutorKey,
    other: Exchange<'_>,
) -> Vec<Cheat> {
    let Exchange { response, receipt, .. } = exchange;
    let wrong_response = flip(response, response.len() - 1);
    let wrong_receipt = change_sequence(receipt);
    let moved = move_evidence(receipt, other.receipt);
    let other_network = case.network_key.map(other_key);
    let false_receipt = sign_falsely(exchange, &wrong_response, key);
    let try_it = |what, receipt: &[u8], response: &[u8]| Cheat {
        what,
        judgement: judge(Case { receipt, response: Some(response), ..case }),
    };
    vec![
        try_it("One bit of the response is changed on its way to you.", receipt, &wrong_response),
        try_it("One bit of the receipt is changed, in its sequence number.", &wrong_receipt, response),
        try_it("The server itself lies, and signs the wrong response.", &false_receipt, &wrong_response),
        Cheat {
            what: "The evidence of one receipt is shown with another.",
            judgement: judge(Case {
                receipt: &moved,
                request: Some(other.request),
                response: Some(other.response),
                ..case
            }),
        },
        Cheat {
            what: "A network of the server's friends is passed off as the real one.",
            judgement: judge(Case { network_key: other_network.as_ref(), ..case }),
        },
    ]
}

/// The receipt with another sequence, and everything else as it was.
fn change_sequence(receipt: &[u8]) -> Vec<u8> {
    let honest = Receipt::decode(receipt).expect("the honest receipt is one");
    let evidence = honest.evidence().cloned();
    let bare = honest.with_evidence(None).encode();
    let changed = flip(&bare, bare.len() - SIGNATURE_ITEM_BYTES - 1);
    Receipt::decode(&changed).map_or(changed, |receipt| receipt.with_evidence(evidence).encode())
}

/// Another receipt with the evidence of this one.
fn move_evidence(from: &[u8], to: &[u8]) -> Vec<u8> {
    let evidence = Receipt::decode(from).expect("the honest receipt is one").evidence().cloned();
    Receipt::decode(to).expect("the other one, too").with_evidence(evidence).encode()
}

/// The key whose secret is the negative one: as good a key as this one, of another network.
fn other_key(key: &NetworkKey) -> NetworkKey {
    /// Says which of two points with one coordinate it is.
    const SIGN: u8 = 0x20;
    let mut bytes = *key.as_bytes();
    bytes[0] ^= SIGN;
    NetworkKey::from_bytes(&bytes).expect("the negative of a point is one")
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
