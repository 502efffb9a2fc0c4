//! Bytes, ids and answers that hold for ever (`testdata/README.md`). A test that fails here means that models of the
//! past no longer are what they were.

use std::collections::BTreeMap;

use veracity_graph::{Array, ArrayData, Batch, Bundle, DecodeLimits, Digest, Graph, IntData, Model};
use veracity_ops::{DType, Tensor};

use crate::{draw::Draw, examples, graphs};

const SMALL: &[u8] = include_bytes!("../../testdata/small.vmdl");
const EVERY_OPERATOR: &[u8] = include_bytes!("../../testdata/every-operator.vmdl");
const IDS: &str = include_str!("../../testdata/ids.txt");
const CONFORMANCE: &str = include_str!("../../conformance.toml");
const SPECIFICATION: &str = include_str!("../../../../docs/spec/model.md");

fn frozen_id(name: &str) -> &'static str {
    let line = IDS.lines().find(|line| line.ends_with(name)).unwrap();
    line.split(' ').next().unwrap()
}

fn check(name: &str, bytes: &[u8], model: &Model) {
    let bundle = Bundle::decode(bytes).unwrap();
    assert_eq!(bundle.model_id().to_string(), frozen_id(name));
    assert_eq!(bundle.encode(), bytes);
    assert_eq!(bundle.load().as_ref(), Ok(model));
    assert_eq!(Bundle::new(model, examples::provenance()).encode(), bytes, "{name} made again");
}

#[test]
fn old_bundles_are_what_they_were() {
    check(
        "small.vmdl",
        SMALL,
        &Model::new(examples::small_graph(), examples::SMALL_WEIGHTS.to_vec()).unwrap(),
    );
    check("every-operator.vmdl", EVERY_OPERATOR, &examples::every_operator());
}

/// The lines of the specification's example, `offset  bytes  what`, joined.
#[test]
fn the_specification_shows_these_bytes() {
    let (_, example) = SPECIFICATION.split_once("## 8. Example").unwrap();
    let block = example.split("```").nth(1).unwrap();
    let mut bytes = Vec::new();
    for line in block.lines().filter(|line| !line.trim().is_empty()) {
        let (offset, rest) = line.trim_start().split_once("  ").unwrap();
        assert_eq!(offset.parse::<usize>(), Ok(bytes.len()), "{line}");
        let hex = rest.trim_start().split("  ").next().unwrap();
        bytes.extend(hex.split(' ').map(|byte| u8::from_str_radix(byte, 16).unwrap()));
    }
    assert_eq!(bytes, SMALL);
    assert!(example.contains(frozen_id("small.vmdl")), "the example's id");
}

fn sample(batch: &Batch) -> Tensor {
    Tensor::new(batch.data.dtype(), batch.shape.clone(), batch.data.to_i64()).unwrap()
}

/// All values of one sample, by the meaning of each operator.
fn evaluate(model: &Model, inputs: &[Batch]) -> Vec<Tensor> {
    let graph = model.graph();
    let mut values: Vec<Tensor> = inputs.iter().map(sample).collect();
    values.extend((0..graph.constants.len()).map(|i| model.constant_tensor(i).unwrap()));
    for node in &graph.nodes {
        let operands: Vec<&Tensor> = node.inputs.iter().map(|v| &values[v.index()]).collect();
        let outputs = node.op.eval(&operands).unwrap_or_else(|e| panic!("{}: {e}", node.name));
        values.extend(outputs);
    }
    values
}

fn f32s(shape: &[usize], values: impl Iterator<Item = f32>) -> Array {
    Array { shape: shape.to_vec(), data: ArrayData::F32(values.collect()) }
}

/// Digest of the canonical bytes of every value of a run of every operator.
fn run_digest() -> String {
    let model = Bundle::decode(EVERY_OPERATOR).unwrap().load().unwrap();
    let a = f32s(&[1, 4, 4, 2], (0i16..32).map(|i| f32::from(i * 37 % 64 - 32)));
    let b = f32s(&[1, 5], [0.0, -1.0e9, 12.5, 3.0e8, -7.0].into_iter());
    let i = Array { shape: vec![1, 2], data: ArrayData::I64(vec![-8, 6]) };
    let request: BTreeMap<String, Array> =
        [("a", a), ("b", b), ("i", i)].into_iter().map(|(name, array)| (name.to_owned(), array)).collect();
    let inputs = model.graph().encode_inputs(&request).unwrap();
    let values = evaluate(&model, &inputs);
    let types = model.types(&model.graph().input_types(&inputs).unwrap()).unwrap();
    assert!(values.iter().map(Tensor::ty).eq(&types));
    for (i, v) in values.iter().enumerate() {
        let varies = v.values().len() < 2 || v.values().iter().any(|x| *x != v.values()[0]);
        assert!(varies, "value {i} is {:?}: it would not show a change", v.values());
    }
    let bytes: Vec<u8> = values.iter().flat_map(Tensor::to_bytes).collect();
    Digest::of(&bytes).to_string()
}

#[test]
fn every_operator_computes_what_it_did() {
    assert_eq!(run_digest(), frozen_id("every-operator.values"));
}

#[test]
fn the_small_example_computes_what_the_specification_says() {
    let model = Bundle::decode(SMALL).unwrap().load().unwrap();
    let request = BTreeMap::from([("x".to_owned(), f32s(&[1, 2], [1.5, -1.25].into_iter()))]);
    let inputs = model.graph().encode_inputs(&request).unwrap();
    assert_eq!(inputs[0].data, IntData::I8(vec![3, -2]));
    let values = evaluate(&model, &inputs);
    assert_eq!((values[3].values(), values[4].values(), values[4].dtype()), (&[13][..], &[6][..], DType::I8));
    let y = Batch { n: 1, shape: vec![1], data: IntData::I8(vec![6]) };
    let (name, array) = model.graph().decode_outputs(&[y]).remove(0);
    assert_eq!((name.as_str(), array), ("y", f32s(&[1, 1], [1.75].into_iter())));
}

fn graphs_digest() -> String {
    let mut hasher = blake3::Hasher::new();
    for seed in 0..2000 {
        hasher.update(&graphs::graph(&mut Draw::new(seed, [0, 4][seed as usize % 2]), 8).encode());
    }
    hasher.finalize().to_string()
}

fn manifests_digest() -> String {
    let mut hasher = blake3::Hasher::new();
    for seed in 0..500 {
        let manifest = graphs::manifest(&mut Draw::new(seed, 0));
        hasher.update(&manifest.encode());
        hasher.update(&manifest.model_id().0.0);
    }
    hasher.finalize().to_string()
}

#[test]
fn seeded_encodings_are_what_they_were() {
    for (name, digest) in [("graph", graphs_digest()), ("manifest", manifests_digest())] {
        let line = format!("{name} = \"{digest}\"");
        assert!(CONFORMANCE.lines().any(|l| l == line), "conformance.toml lacks {line}");
    }
    let bytes = examples::every_operator().graph().encode();
    assert!(Graph::decode(&bytes, DecodeLimits::default()).is_ok());
}
