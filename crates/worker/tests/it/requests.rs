use veracity_engine::Options;
use veracity_graph::Elem;
use veracity_receipt::Request;
use veracity_worker::{Answer, Limits, LoadedModel, RequestError, execute, protocol::PROTOCOL};

use crate::fixture::bundle;

pub(crate) fn loaded() -> LoadedModel {
    LoadedModel::load(bundle(1), &Options { threads: 1, ..Options::default() }).unwrap()
}

pub(crate) fn request<'a>(body: &'a [u8], json_length: Option<u64>) -> Request<'a> {
    Request { protocol: PROTOCOL, model_name: "tiny", json_length, body }
}

pub(crate) fn run(body: &[u8], json_length: Option<u64>) -> Result<Answer, RequestError> {
    execute(&loaded(), &request(body, json_length), &Limits::default(), false)
}

pub(crate) const JSON: &str = r#"{"id":"7","inputs":[
    {"name":"x","datatype":"FP32","shape":[2,4],"data":[[1,2,3,4],[0.5,1.5,-1.5,1e1]]},
    {"name":"ids","datatype":"INT64","shape":[2,2],"data":[1,2,3,999]}]}"#;

/// `JSON` with binary inputs and the given tail of the object.
pub(crate) fn binary(tail: &str) -> (Vec<u8>, u64) {
    let json = format!(
        r#"{{"id":"7","inputs":[
    {{"name":"x","datatype":"FP32","shape":[2,4],"parameters":{{"binary_data_size":32}}}},
    {{"name":"ids","datatype":"INT64","shape":[2,2],"parameters":{{"binary_data_size":32}}}}]{tail}}}"#
    );
    let x = [1f32, 2.0, 3.0, 4.0, 0.5, 1.5, -1.5, 10.0].iter().flat_map(|v| v.to_le_bytes());
    let ids = [1i64, 2, 3, 999].iter().flat_map(|v| v.to_le_bytes());
    (json.bytes().chain(x).chain(ids).collect(), json.len() as u64)
}

fn body(answer: &Answer) -> &str {
    str::from_utf8(&answer.response.body).unwrap()
}

#[test]
fn json_and_binary_requests_have_the_same_answer() {
    let answer = run(JSON.as_bytes(), None).unwrap();
    // Row 1: x quantises to 0, 2, -2, 10; sums 40, -40, 10; shifted by 2 with ties up: 10, -10, 3.
    let id = bundle(1).model_id();
    let expected = format!(
        "{{\"id\":\"7\",\"model_name\":\"tiny\",\"model_version\":\"{id}\",\"outputs\":[\
         {{\"name\":\"y\",\"datatype\":\"FP32\",\"shape\":[2,3],\"data\":[4.0,-3.5,1.0,5.0,-4.5,1.0]}},\
         {{\"name\":\"copy\",\"datatype\":\"INT64\",\"shape\":[2,2],\"data\":[1,2,3,999]}}]}}"
    );
    let (bytes, length) = binary("");
    let from_binary = run(&bytes, Some(length)).unwrap();
    assert_eq!(body(&answer), body(&from_binary));
    assert_eq!(answer.response.json_length, None);
    assert_eq!(answer.usage.samples, 2);
    let values = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(values(body(&answer))["outputs"][1], values(&expected)["outputs"][1]);
    assert_eq!(values(body(&answer))["model_version"], values(&expected)["model_version"]);
}

#[test]
fn outputs_come_as_asked_for() {
    let all = run(JSON.as_bytes(), None).unwrap();
    let json: serde_json::Value = serde_json::from_str(body(&all)).unwrap();
    let y: Vec<f32> = json["outputs"][0]["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.to_string().parse().unwrap())
        .collect();
    let y_bytes: Vec<u8> = y.iter().flat_map(|v| v.to_le_bytes()).collect();

    let (bytes, length) =
        binary(r#","outputs":[{"name":"copy"},{"name":"y","parameters":{"binary_data":true}}]"#);
    let mixed = run(&bytes, Some(length)).unwrap().response;
    let (head, tail) = mixed.body.split_at(usize::try_from(mixed.json_length.unwrap()).unwrap());
    let head: serde_json::Value = serde_json::from_slice(head).unwrap();
    assert_eq!(head["outputs"][0], json["outputs"][1]);
    assert_eq!(head["outputs"][1]["parameters"]["binary_data_size"], 24);
    assert_eq!(tail, y_bytes);

    let tail = r#","parameters":{"binary_data_output":true},"outputs":[{"name":"y"},{"name":"copy","parameters":{"binary_data":false}}]"#;
    let (bytes, length) = binary(tail);
    let overridden = run(&bytes, Some(length)).unwrap().response;
    assert!(overridden.body.ends_with(&y_bytes));
    assert!(overridden.json_length.is_some());

    let (bytes, length) = binary(r#","parameters":{"binary_data_output":true}"#);
    let binary = run(&bytes, Some(length)).unwrap().response;
    assert_eq!(binary.body.len() as u64 - binary.json_length.unwrap(), 24 + 32);
}

#[test]
fn a_batch_answers_as_its_samples_do() {
    let answer: serde_json::Value = serde_json::from_str(body(&run(JSON.as_bytes(), None).unwrap())).unwrap();
    let one = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,4],"data":[0.5,1.5,-1.5,10]},
        {"name":"ids","datatype":"INT64","shape":[1,1],"data":[0]}],"outputs":[{"name":"y"}]}"#;
    let one: serde_json::Value = serde_json::from_str(body(&run(one.as_bytes(), None).unwrap())).unwrap();
    let y = answer["outputs"][0]["data"].as_array().unwrap();
    assert_eq!(one["outputs"][0]["data"].as_array().unwrap().as_slice(), &y[3..]);
    assert!(one.get("id").is_none());
}

#[test]
fn fields_that_repeat_the_path_must_agree() {
    let id = bundle(1).model_id();
    let with = |fields: &str| JSON.replacen('{', &format!("{{{fields},"), 1);
    run(with(&format!(r#""model_name":"tiny","model_version":"{id}""#)).as_bytes(), None).unwrap();
    run(with(r#""outputs":[],"parameters":null"#).as_bytes(), None).unwrap();
}

#[test]
fn tensors_are_described() {
    let loaded = loaded();
    let describe = |tensors: &[veracity_worker::TensorInfo]| {
        tensors.iter().map(|t| (t.name.clone(), t.elem, t.shape.clone())).collect::<Vec<_>>()
    };
    assert_eq!(
        describe(loaded.inputs()),
        [("x".to_owned(), Elem::F32, vec![None, Some(4)]), ("ids".to_owned(), Elem::I64, vec![None, None])]
    );
    assert_eq!(
        describe(loaded.outputs()),
        [("y".to_owned(), Elem::F32, vec![None, Some(3)]), ("copy".to_owned(), Elem::I64, vec![None, None])]
    );
}
