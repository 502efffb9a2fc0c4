//! Receipts of released versions verify for ever. The expected values are those printed when the files were made; see
//! `testdata/README.md`.

use veracity_receipt::{
    CheckName, Claims, Materials, ModelId, Parameters, Policy, Receipt, Request, Response, Tier, TraceRoot,
    Usage, verify,
};

use crate::fixture::{MODEL_ID, Rerun, key, run, sign};

const FULL: &[u8] = include_bytes!("../../testdata/v1-full.cbor");
const SMALL: &[u8] = include_bytes!("../../testdata/v1-small.cbor");
const REQUEST: &[u8] = include_bytes!("../../testdata/request.bin");
const RESPONSE: &[u8] = include_bytes!("../../testdata/response.bin");
const EXECUTOR: &str = "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c";

const ANCHORED_ID: &str = "07dc39c38a02c8b166db9176d681cc573927599f2c19e9759b719c72256c04dd";

fn claims_of_full() -> Claims {
    Claims {
        issued_at: 1_795_000_000,
        model_id: ModelId::from_bytes([0x4d; 32]),
        request_hash: "ce6d5932917ffd944bfad0fd7bd51c4a908b17a5581e6476b2cf9d9ac100153d".parse().unwrap(),
        response_hash: "eaccaf4e995e97e6612d7e178fa737aabf4287b123c5e519efc48b806705b796".parse().unwrap(),
        parameters: Parameters {
            protocol: "oip/2".to_owned(),
            model_name: "digits".to_owned(),
            request_json_length: Some(79),
            response_json_length: None,
        },
        usage: Usage { samples: 1, input_bytes: 83, output_bytes: 60, macs: Some(7_850) },
        software: "veracity/0.1.0".to_owned(),
        trace_root: Some(TraceRoot::from_bytes([0x7a; 32])),
        sequence: None,
    }
}

fn claims_of_small() -> Claims {
    let mut claims = claims_of_full();
    claims.request_hash = "6016337363e364135dfc62de2ef51e6441e6abf5d955c4227d63f1158f86ca92".parse().unwrap();
    claims.parameters.request_json_length = None;
    claims.usage.macs = None;
    claims.trace_root = None;
    claims
}

#[test]
fn version_1_receipts_say_what_they_said() {
    let cases = [
        (FULL, claims_of_full(), "072af5f47eae4f82030cd4626bd3347d42ac328c6587005cbeee7a8709d53314"),
        (SMALL, claims_of_small(), "5aee9d3718f00806fceecc24cb1303e7d61d542a2ae6526f4cf9f070d16d71e0"),
    ];
    for (bytes, claims, id) in cases {
        let receipt = Receipt::decode(bytes).unwrap();
        assert_eq!(receipt.claims(), &claims);
        assert_eq!(receipt.executor().to_string(), EXECUTOR);
        assert_eq!(receipt.id().to_string(), id);
        assert_eq!(receipt.encode(), bytes);
    }
}

#[test]
fn version_1_receipts_verify() {
    let response = Response { json_length: None, body: RESPONSE };
    for (bytes, json_length) in [(FULL, Some(79)), (SMALL, None)] {
        let request = Request { protocol: "oip/2", model_name: "digits", json_length, body: REQUEST };
        let rerun = Rerun::giving(Ok(run()));
        let materials = Materials {
            model_id: Some(MODEL_ID),
            request: Some(request),
            response: Some(response),
            reexecutor: Some(&rerun),
        };
        let policy = Policy { executor: Some(EXECUTOR.parse().unwrap()), ..Policy::default() };
        let verdict = verify(bytes, &materials, &policy);
        assert!(verdict.verified(), "{verdict}");
        assert_eq!(verdict.tier(), Some(Tier::Signed));
    }
}

#[test]
fn version_1_evidence_verifies() {
    let anchored = include_bytes!("../../testdata/v1-anchored.cbor");
    let policy = Policy {
        network_key: Some(include_str!("../../testdata/network-key.hex").parse().unwrap()),
        required: vec![CheckName::Signature, CheckName::Final, CheckName::Anchored],
        ..Policy::default()
    };
    let verdict = verify(anchored, &Materials::default(), &policy);
    assert!(verdict.verified(), "{verdict}");
    let receipt = Receipt::decode(anchored).unwrap();
    assert_eq!(receipt.id().to_string(), ANCHORED_ID);
    assert_eq!(receipt.encode(), anchored);
}

#[test]
fn version_1_receipts_are_still_made() {
    assert_eq!(key().executor().to_string(), EXECUTOR);
    assert_eq!(sign(claims_of_full()).encode(), FULL);
    assert_eq!(sign(claims_of_small()).encode(), SMALL);
}
