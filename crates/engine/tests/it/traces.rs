//! Roots, put together from values by the words of `docs/spec/trace.md`.

use std::{collections::BTreeMap, sync::Arc};

use veracity_engine::{Engine, Options, Trace, TraceKind, reference};
use veracity_graph::{Array, ArrayData, Batch, Bundle, IntData, Model};
use veracity_ops::{Add, DType, DimSpec, MatMul, Op, Quantised, Requant, Reshape, Slice, Tensor};

use crate::builder::{Builder, Random};

const CONFORMANCE: &str = include_str!("../../conformance.toml");
const EVERY_OPERATOR: &[u8] = include_bytes!("../../../graph/testdata/every-operator.vmdl");

/// A model with one checkpoint, value 38, and outputs of every sort: a reshape, an accumulator, an input, a constant,
/// and one twice. `dead` is a weight that nothing but the checkpoint shows.
fn model(dead: i64) -> Arc<Model> {
    let mut random = Random::new(3);
    let mut builder = Builder::default();
    let x = builder.input(DType::I8, &[4, 1024]);
    let mut weights = random.values(1024 * 1024, -128, 127);
    weights[0] = dead;
    let weights = builder.constant(DType::I8, &[1024, 1024], &weights);
    let shift = builder.constant(DType::I8, &[1], &[12]);
    let last = builder.constant(DType::I8, &[10, 256], &random.values(10 * 256, -128, 127));
    let constant = builder.constant(DType::I16, &[3], &[1, -2, 300]);
    let y = Quantised::full(DType::I8, 0);
    let matmul = || Op::MatMul(MatMul { x_zero: 0, acc: DType::I32 });
    let slice = |start, end| Op::Slice(Slice { axis: 1, start, end, step: 1 });
    let sums = builder.node(matmul(), &[x, weights]);
    let rounded = builder.node(Op::Requant(Requant { x_zero: 0, y }), &[sums, shift]);
    // With `sums` they are the work that one checkpoint costs. Nothing reads them, and no trace lists them.
    for _ in 1..32 {
        builder.node(matmul(), &[x, weights]);
    }
    builder.node(slice(0, 256), &[rounded]);
    let cut = builder.node(slice(256, 512), &[rounded]);
    let doubled = builder.node(Op::Add(Add { zeros: [0, 0], muls: [1, 1], shift: 1, y }), &[cut, cut]);
    let flat = builder.node(Op::Reshape(Reshape { dims: vec![DimSpec::Infer] }), &[doubled]);
    let accumulators = builder.node(matmul(), &[cut, last]);
    for output in [flat, accumulators, x, constant, flat] {
        builder.output(output);
    }
    builder.build()
}

/// Values of the traces of that model, by id. The first column of the product, `dead`'s, reaches only values 5 to 38.
const CHECKPOINTS: [usize; 6] = [38, 41, 42, 0, 4, 41];
const FULL: [usize; 5] = [0, 6, 38, 39, 40];

fn inputs(n: usize) -> Vec<Batch> {
    vec![Random::new(4).batch(n, &veracity_ops::TensorType { dtype: DType::I8, shape: vec![4, 1024] })]
}

/// Canonical bytes of all values of one sample.
fn values(model: &Model, inputs: &[Batch], sample: usize) -> Vec<Vec<u8>> {
    let input = |batch: &Batch| {
        let len = batch.data.len() / batch.n;
        let values = batch.data.to_i64()[sample * len..][..len].to_vec();
        Tensor::new(batch.data.dtype(), batch.shape.clone(), values).unwrap()
    };
    let mut values: Vec<Tensor> = inputs.iter().map(input).collect();
    values.extend((0..model.graph().constants.len()).map(|i| model.constant_tensor(i).unwrap()));
    for node in &model.graph().nodes {
        let operands: Vec<&Tensor> = node.inputs.iter().map(|v| &values[v.index()]).collect();
        values.extend(node.op.eval(&operands).unwrap());
    }
    values.iter().map(Tensor::to_bytes).collect()
}

fn sample_root(context: &str, values: &[Vec<u8>], listed: &[usize]) -> [u8; 32] {
    let leaves = listed.iter().flat_map(|value| *blake3::hash(&values[*value]).as_bytes());
    blake3::derive_key(context, &leaves.collect::<Vec<u8>>())
}

fn trace(model: &Arc<Model>, inputs: &[Batch], kind: TraceKind) -> Trace {
    let engine = Engine::load(Arc::clone(model), &Options { threads: 1, ..Options::default() }).unwrap();
    engine.run(inputs, Some(kind)).unwrap().trace.unwrap()
}

#[test]
fn roots_are_those_of_the_specification() {
    let (model, inputs) = (model(0), inputs(2));
    let cases = [
        (
            TraceKind::Checkpoints,
            "veracity checkpoints sample v1",
            "veracity checkpoints v1",
            &CHECKPOINTS[..],
        ),
        (TraceKind::Full, "veracity trace sample v1", "veracity trace v1", &FULL[..]),
    ];
    for (kind, sample_context, context, listed) in cases {
        let values = [0, 1].map(|sample| values(&model, &inputs, sample));
        let roots = values.each_ref().map(|values| sample_root(sample_context, values, listed));
        let trace = trace(&model, &inputs, kind);
        assert_eq!(trace.samples, roots, "{kind}");
        let root = blake3::derive_key(context, &[&[2, 0, 0, 0, 0, 0, 0, 0], roots.as_flattened()].concat());
        assert_eq!(trace.root(), root, "{kind}");

        for place in listed {
            let mut changed = values[0].clone();
            changed[*place][0] ^= 1;
            assert_ne!(sample_root(sample_context, &changed, listed), roots[0], "{kind}: value {place}");
        }
    }
}

/// What a trace is for: a model that gives the same answer in another way has another root.
#[test]
fn another_way_to_the_same_outputs_is_seen() {
    let inputs = inputs(1);
    let [one, other] = [0, 100].map(model);
    for kind in TraceKind::ALL {
        let [one, other] = [&one, &other].map(|model| reference::run(model, &inputs, Some(kind)).unwrap());
        assert_eq!(one.outputs[0].data, other.outputs[0].data);
        assert_eq!(one.outputs[1].data, other.outputs[1].data);
        assert_ne!(one.trace, other.trace, "{kind}");
    }
}

/// Inputs that lead to the same values are told apart by the full trace, not by the checkpoints.
#[test]
fn inputs_are_in_the_full_trace_only() {
    let mut builder = Builder::default();
    let x = builder.input(DType::I8, &[2]);
    let first = builder.node(Op::Slice(Slice { axis: 0, start: 0, end: 1, step: 1 }), &[x]);
    builder.output(first);
    let model = builder.build();
    let inputs =
        [[1, 2], [1, 3], [2, 2]].map(|x| [Batch { n: 1, shape: vec![2], data: IntData::I8(x.into()) }]);
    let roots = |kind| {
        inputs.each_ref().map(|inputs| {
            let trace = trace(&model, inputs, kind);
            assert_eq!(reference::run(&model, inputs, Some(kind)).unwrap().trace.as_ref(), Some(&trace));
            trace.root()
        })
    };
    let [one, same_output, other] = roots(TraceKind::Checkpoints);
    assert_eq!(one, same_output);
    assert_ne!(one, other);
    let [one, same_output, other] = roots(TraceKind::Full);
    assert!(one != same_output && same_output != other && other != one);
}

#[test]
fn the_count_and_the_order_of_samples_are_in_the_root() {
    let model = model(0);
    let three = trace(&model, &inputs(3), TraceKind::Checkpoints);
    let mut others = [three.clone(), three.clone(), three.clone(), three.clone()];
    others[0].samples.truncate(2);
    others[1].samples.swap(0, 1);
    others[2].samples[2] = three.samples[0];
    others[3].kind = TraceKind::Full;
    assert!(others.iter().all(|other| other.root() != three.root()));
}

fn every_operator() -> (Arc<Model>, Vec<Batch>) {
    let f32s =
        |shape: &[usize], values: Vec<f32>| Array { shape: shape.to_vec(), data: ArrayData::F32(values) };
    let model = Bundle::decode(EVERY_OPERATOR).unwrap().load().unwrap();
    let a = f32s(&[1, 4, 4, 2], (0i16..32).map(|i| f32::from(i * 37 % 64 - 32)).collect());
    let b = f32s(&[1, 5], vec![0.0, -1.0e9, 12.5, 3.0e8, -7.0]);
    let i = Array { shape: vec![1, 2], data: ArrayData::I64(vec![-8, 6]) };
    let request = [("a", a), ("b", b), ("i", i)].map(|(name, array)| (name.to_owned(), array));
    let inputs = model.graph().encode_inputs(&BTreeMap::from(request)).unwrap();
    (Arc::new(model), inputs)
}

/// A change here is a change of the trace, and needs new contexts.
#[test]
fn roots_are_what_they_were() {
    let models = [("every_operator", every_operator()), ("one_checkpoint", (model(0), inputs(3)))];
    for (name, (model, inputs)) in models {
        let root = |kind| blake3::Hash::from_bytes(trace(&model, &inputs, kind).root());
        let lines = TraceKind::ALL.map(|kind| format!("{name}_{kind} = \"{}\"", root(kind)));
        for line in &lines {
            assert!(CONFORMANCE.lines().any(|l| l == line), "conformance.toml lacks one of {lines:#?}");
        }
    }
}
