use std::collections::BTreeSet;

use veracity_graph::{Bundle, Decoding, Model, Node, Scale};
use veracity_ops::{DimSpec, Op, Reshape};
use veracity_receipt::ExecutorKey;
use veracity_worker::{Limits, LoadedModel, REFUSALS, RequestError, Worker, execute};

use crate::{
    fixture::{bundle, tiny_model},
    requests::{JSON, binary, loaded, request, run},
};

const X: &str = r#"{"name":"x","datatype":"FP32","shape":[1,4],"data":[1,2,3,4]}"#;
const IDS: &str = r#"{"name":"ids","datatype":"INT64","shape":[1,1],"data":[1]}"#;

fn inputs(inputs: &[&str]) -> String {
    format!(r#"{{"inputs":[{}]}}"#, inputs.join(","))
}

/// Body, JSON length, code, beginning of the message.
fn cases() -> Vec<(String, Option<u64>, &'static str, &'static str)> {
    let x = |from: &str, to: &str| {
        assert!(X.contains(from));
        inputs(&[&X.replace(from, to), IDS])
    };
    let with = |fields: &str| JSON.replacen('{', &format!("{{{fields},"), 1);
    vec![
        (
            "{}".to_owned(),
            Some(3),
            "json_length",
            "Inference-Header-Content-Length is 3, the body has 2 bytes",
        ),
        (
            JSON.to_owned(),
            Some(u64::MAX),
            "json_length",
            "Inference-Header-Content-Length is 18446744073709551615",
        ),
        (String::new(), None, "malformed_json", "the request is not JSON: EOF"),
        ("{".to_owned(), None, "malformed_json", "the request is not JSON: EOF"),
        (inputs(&[X]) + "x", None, "malformed_json", "the request is not JSON: trailing characters"),
        ("[".repeat(1 << 20), None, "invalid_request", "not an inference request: invalid"),
        (
            with(&format!(r#""parameters":{{"a":{}}}"#, "[".repeat(1 << 16))),
            None,
            "malformed_json",
            "the request is not JSON: ",
        ),
        (
            "[]".to_owned(),
            None,
            "invalid_request",
            "not an inference request: invalid type: sequence, expected an object",
        ),
        ("{}".to_owned(), None, "invalid_request", "not an inference request: missing field `inputs`"),
        (with(r#""input":[]"#), None, "invalid_request", "not an inference request: unknown field `input`"),
        (with(r#""id":"8""#), None, "invalid_request", "not an inference request: duplicate field `id`"),
        (
            with(r#""parameters":{"binary_data_output":true,"binary_data_output":false}"#),
            None,
            "invalid_request",
            "not an inference request: repeated or too many parameters at 'binary_data_output'",
        ),
        (
            with(r#""parameters":7"#),
            None,
            "invalid_request",
            "not an inference request: invalid type: integer `7`, expected an object",
        ),
        (
            x("[1,4]", "[1,-4]"),
            None,
            "invalid_request",
            "not an inference request: invalid value: integer `-4`",
        ),
        (
            x("[1,4]", "[1,4.0]"),
            None,
            "invalid_request",
            "not an inference request: invalid type: floating point",
        ),
        (
            with(r#""parameters":{"priority":1}"#),
            None,
            "unsupported_parameter",
            "the request has the parameter 'priority', which is not supported here; leave it out",
        ),
        (
            x("\"data\"", r#""parameters":{"shared_memory_region":"a"},"data""#),
            None,
            "unsupported_parameter",
            "input 'x' has the parameter 'shared_memory_region'",
        ),
        (
            with(r#""outputs":[{"name":"y","parameters":{"classification":3}}]"#),
            None,
            "unsupported_parameter",
            "output 'y' has the parameter 'classification'",
        ),
        (
            with(r#""parameters":{"binary_data_output":1}"#),
            None,
            "parameter_value",
            "the parameter 'binary_data_output' of the request must be true or false",
        ),
        (
            x("\"data\"", r#""parameters":{"binary_data_size":-1},"data""#),
            None,
            "parameter_value",
            "the parameter 'binary_data_size' of input 'x' must be a number of bytes",
        ),
        (
            with(r#""model_name":"other""#),
            None,
            "model_mismatch",
            "'model_name' is 'other', the request is for 'tiny'",
        ),
        (
            with(r#""model_version":"1""#),
            None,
            "model_mismatch",
            "'model_version' is '1', the request is for '",
        ),
        (inputs(&[X, X, IDS]), None, "duplicate_tensor", "input 'x' is named twice"),
        (
            with(r#""outputs":[{"name":"y"},{"name":"y"}]"#),
            None,
            "duplicate_tensor",
            "output 'y' is named twice",
        ),
        (
            x("FP32", "FP64"),
            None,
            "unsupported_datatype",
            "input 'x' has datatype 'FP64'; FP32, INT32 and INT64 are supported",
        ),
        (
            x(r#","data":[1,2,3,4]"#, ""),
            None,
            "tensor_data",
            "input 'x' needs either 'data' or 'binary_data_size'",
        ),
        (
            x("\"data\"", r#""parameters":{"binary_data_size":16},"data""#),
            None,
            "tensor_data",
            "input 'x' needs either",
        ),
        (
            x(r#""data":[1,2,3,4]"#, r#""parameters":{"binary_data_size":15}"#),
            None,
            "binary_size",
            "input 'x' announces 15 binary bytes, its shape and datatype need 16",
        ),
        (
            x(r#""data":[1,2,3,4]"#, r#""parameters":{"binary_data_size":16}"#),
            None,
            "binary_length",
            "0 bytes follow the JSON, the inputs announce 16",
        ),
        (
            inputs(&[X, IDS]) + "tail",
            Some(inputs(&[X, IDS]).len() as u64),
            "binary_length",
            "4 bytes follow the JSON, the inputs announce 0",
        ),
        (
            x("[1,2,3,4]", "[[1,2],[3,4]]"),
            None,
            "data_nesting",
            "input 'x': the nesting of 'data' does not fit the shape at byte 1 of the array",
        ),
        (x("[1,2,3,4]", "[1,2,3]"), None, "data_count", "input 'x': 'data' has 3, its shape needs 4 values"),
        (
            x("[1,4]", "[9223372036854775807,4]"),
            None,
            "data_count",
            "input 'x': 'data' has 4, its shape needs 18446744073709551615",
        ),
        (
            x("[1,2,3,4]", "[1,2,3,\\\"4\\\"]").replace("\\\"", "\""),
            None,
            "data_type",
            "input 'x': \"4\" at position 3 is not a number",
        ),
        (
            inputs(&[X, &IDS.replace("[1]}", "[1.5]}")]),
            None,
            "data_type",
            "input 'ids': 1.5 at position 0 is not an integer without fraction or exponent",
        ),
        (
            x("[1,2,3,4]", "[1,2,3,-4e38]"),
            None,
            "number_range",
            "input 'x': -4e38 at position 3 is too large for f32",
        ),
        (x("[1,2,3,4]", "[1,2,3,NaN]"), None, "not_finite", "JSON has no NaN or Infinity: expected value"),
        (x("[1,2,3,4]", "[1,2,3,-Infinity]"), None, "not_finite", "JSON has no NaN or Infinity: "),
        (
            with(&format!(r#""model_name":"tiny","outputs":[{}]"#, vec![r#"{"name":"y"}"#; 1025].join(","))),
            None,
            "too_many_tensors",
            "outputs: 1025 are given, at most 1024 are allowed",
        ),
        (
            x("[1,4]", &format!("[{}]", ["1"; 17].join(","))),
            None,
            "too_many_tensors",
            "extents of input 'x': 17 are given, at most 16",
        ),
        (
            JSON.replace("\"7\"", &format!("\"{}\"", "7".repeat(257))),
            None,
            "id_too_long",
            "'id' has 257 bytes, at most 256 are allowed",
        ),
        (
            inputs(&[X, IDS, &X.replace("\"x\"", "\"z\"")]),
            None,
            "unknown_input",
            "the model has no input 'z'",
        ),
        (inputs(&[X]), None, "missing_input", "input 'ids' is missing"),
        (
            with(r#""outputs":[{"name":"z"}]"#),
            None,
            "unknown_output",
            "the model has no output 'z'; its outputs are [\"y\", \"copy\"]",
        ),
        (x("FP32", "INT32"), None, "wrong_datatype", "input 'x' has type i32, the model takes f32"),
        (x("[1,4]", "[4]"), None, "wrong_shape", "input 'x' has shape [4], the model takes [batch, 4]"),
        (x("[1,4]", "[2,2]"), None, "wrong_shape", "input 'x' has shape [2, 2]"),
        (
            inputs(&[X, &IDS.replace("[1]}", "[1000]}")]),
            None,
            "out_of_range",
            "input 'ids' holds 1000 at position 0, outside [0, 999]",
        ),
    ]
}

#[test]
fn every_bad_request_has_its_code_and_says_what_is_wrong() {
    for (body, json_length, code, message) in cases() {
        let shown: String = body.chars().take(300).collect();
        let error = run(body.as_bytes(), json_length).expect_err(&shown);
        assert_eq!(error.refusal().code, code, "{error} for {shown}");
        assert!(error.to_string().starts_with(message), "{error}\nfor {shown}");
        assert!(!error.refusal().local);
    }
}

#[test]
fn nan_in_binary_data_is_refused() {
    let (mut bytes, length) = binary("");
    let at = usize::try_from(length).unwrap() + 4;
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        bytes[at..at + 4].copy_from_slice(&bad.to_le_bytes());
        let error = run(&bytes, Some(length)).unwrap_err();
        assert_eq!(error.refusal().code, "not_finite");
        assert_eq!(error.to_string(), "input 'x' holds a NaN or infinity at position 1");
    }
}

#[test]
fn limits_of_the_machine_are_local() {
    let error =
        execute(&loaded(), &request(JSON.as_bytes(), None), &Limits { samples_max: 1 }, false).unwrap_err();
    assert_eq!(error.to_string(), "the request has 2 samples, at most 1 are allowed here; send it in parts");
    assert_eq!(
        (error.refusal().code, error.refusal().status, error.refusal().local),
        ("too_many_samples", 413, true)
    );

    let options = veracity_engine::Options { threads: 1, memory_bytes_max: 1, ..Default::default() };
    let small = LoadedModel::load(bundle(1), &options).unwrap();
    let error = execute(&small, &request(JSON.as_bytes(), None), &Limits::default(), false).unwrap_err();
    assert_eq!((error.refusal().code, error.refusal().local), ("run_too_large", true));

    // Enough for values, but not for packed weights.
    let options = veracity_engine::Options { memory_bytes_max: 500, ..options };
    let small = LoadedModel::load(bundle(1), &options).unwrap();
    let error = execute(&small, &request(JSON.as_bytes(), None), &Limits::default(), false).unwrap_err();
    assert!(error.to_string().starts_with("the packed weights need about "), "{error}");
    assert_eq!((error.refusal().code, error.refusal().local), ("run_too_large", true));
}

#[test]
fn an_answer_beyond_floats_is_refused() {
    let mut graph = tiny_model(1).graph().clone();
    graph.outputs[0].decoding = Decoding::Dequantise { scale: Scale::new(3e38).unwrap(), zero: 0 };
    let model = Model::new(graph, tiny_model(1).weights().to_vec()).unwrap();
    let bundle = Bundle::new(&model, bundle(1).manifest.provenance);
    let loaded =
        LoadedModel::load(bundle, &veracity_engine::Options { threads: 1, ..Default::default() }).unwrap();
    let error = execute(&loaded, &request(JSON.as_bytes(), None), &Limits::default(), false).unwrap_err();
    assert_eq!(error.refusal().code, "answer_not_finite");
    assert_eq!(error.to_string(), "output 'y' of the model is not finite at position 0");
}

/// A model with a free extent may have an operator that takes some of its values only.
#[test]
fn an_operator_that_refuses_the_shapes_is_a_refusal() {
    let mut graph = tiny_model(1).graph().clone();
    let copy = &mut graph.outputs[1].value;
    let pair = Op::Reshape(Reshape { dims: vec![DimSpec::Fixed(2), DimSpec::Fixed(1)] });
    graph.nodes.push(Node { name: "pair".to_owned(), op: pair, inputs: vec![*copy] });
    copy.0 += 1;
    let model = Model::new(graph, tiny_model(1).weights().to_vec()).unwrap();
    let bundle = Bundle::new(&model, bundle(1).manifest.provenance);
    let loaded =
        LoadedModel::load(bundle, &veracity_engine::Options { threads: 1, ..Default::default() }).unwrap();
    let run = |body: &str| execute(&loaded, &request(body.as_bytes(), None), &Limits::default(), false);
    assert!(run(JSON).is_ok(), "two ids are a pair");
    let error = run(&inputs(&[X, IDS])).unwrap_err();
    assert_eq!((error.refusal().code, error.refusal().local), ("run_refused", false));
    assert!(error.to_string().starts_with("node 'pair': Reshape: "), "{error}");
}

#[test]
fn a_name_that_no_receipt_can_hold_is_refused() {
    let worker = Worker::new(ExecutorKey::from_seed(&[1; 32]), Limits::default(), true);
    let bad = veracity_receipt::Request { model_name: "a b", ..request(JSON.as_bytes(), None) };
    let error = worker.infer(&loaded(), &bad, 0).unwrap_err();
    assert_eq!(error.refusal().code, "invalid_name");
    assert!(matches!(error, RequestError::Claims(_)), "before a sequence is taken");
    let mut claims = worker.infer(&loaded(), &request(JSON.as_bytes(), None), 0).unwrap().claims;
    claims.software.clear();
    assert!(matches!(worker.sign(claims, 0), Err(RequestError::Claims(_))));
}

/// What has fields is an object, at every level; an array of the fields in some order is another request.
#[test]
fn arrays_are_no_objects() {
    let x = r#"["x","FP32",[1,4],null,[1,2,3,4]]"#;
    let replaced = |from: &str, to: &str| {
        assert!(JSON.contains(from) || from == X, "{from}");
        inputs(&[X, IDS]).replacen(from, to, 1)
    };
    let with = |fields: &str| JSON.replacen('{', &format!("{{{fields},"), 1);
    let with_parameters = |json: &str| X.replacen('{', &format!(r#"{{"parameters":{json},"#), 1);
    run(inputs(&[X, IDS]).as_bytes(), None).unwrap();
    for (level, body) in [
        ("request", format!("[null,null,null,null,[{X},{IDS}],null]")),
        ("all", format!(r#"[null,null,null,null,[{x},{IDS}],[["y",null]]]"#)),
        ("input", replaced(X, x)),
        ("output", with(r#""outputs":[["y",null]]"#)),
        ("output without parameters", with(r#""outputs":[["y"]]"#)),
        ("null input", replaced(X, "null")),
        ("parameters", with(r#""parameters":[]"#)),
        ("parameters", with(r#""parameters":[["binary_data_output",true]]"#)),
        ("input parameters", inputs(&[&with_parameters("[]"), IDS])),
        ("output parameters", with(r#""outputs":[{"name":"y","parameters":[["binary_data",true]]}]"#)),
    ] {
        let error = run(body.as_bytes(), None).unwrap_err();
        assert_eq!(error.refusal().code, "invalid_request", "{level}: {error}");
        assert!(error.to_string().contains("expected an object"), "{level}: {error}");
    }
}

#[test]
fn codes_are_distinct_and_all_reached() {
    let reached: BTreeSet<&str> = cases().iter().map(|(_, _, code, _)| *code).collect();
    let all: BTreeSet<&str> = REFUSALS.iter().map(|r| r.code).collect();
    assert_eq!(all.len(), REFUSALS.len());
    let missing: Vec<_> = all.difference(&reached).copied().collect();
    // Reached by the tests above.
    let elsewhere = ["answer_not_finite", "invalid_name", "run_refused", "run_too_large", "too_many_samples"];
    assert_eq!(missing, elsewhere);
}
