use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use veracity_engine::{Engine, Options, Run, RunError, TraceKind, reference};
use veracity_graph::{Batch, Model, ValueId};
use veracity_kernels::Isa;
use veracity_ops::{DType, TensorType};

use crate::builder::{Random, data, deep_model, random_model};

fn inputs(model: &Model, random: &mut Random, n: usize) -> Vec<Batch> {
    let extent = |dim: &veracity_graph::Dim| match dim {
        veracity_graph::Dim::Fixed(n) => usize::try_from(*n).unwrap(),
        veracity_graph::Dim::Symbol(_) => unreachable!("random models have fixed extents"),
    };
    let inputs = model.graph().inputs.iter();
    let ty = |i: &veracity_graph::Input| {
        TensorType::new(i.encoding.dtype(), i.dims.iter().map(extent).collect()).unwrap()
    };
    inputs.map(|i| random.batch(n, &ty(i))).collect()
}

fn sample(batch: &Batch, index: usize) -> Batch {
    let len = batch.data.len() / batch.n;
    let values = &batch.data.to_i64()[index * len..(index + 1) * len];
    Batch { n: 1, shape: batch.shape.clone(), data: data(batch.data.dtype(), values) }
}

fn engines(model: &Arc<Model>) -> Vec<(String, Engine)> {
    let mut engines = Vec::new();
    for isa in Isa::available() {
        for threads in [1, 2, 4] {
            let options = Options { isa: Some(isa), threads, ..Options::default() };
            engines.push((
                format!("{isa} threads={threads}"),
                Engine::load(Arc::clone(model), &options).unwrap(),
            ));
        }
    }
    engines
}

/// Whether the model has an answer, which then is that of the reference, as is each trace: on every instruction set,
/// with any number of threads, together and alone.
fn check(seed: u64, model: &Arc<Model>, inputs: &[Batch]) -> bool {
    let expected = TraceKind::ALL.map(|kind| reference::run(model, inputs, Some(kind)));
    for (name, engine) in engines(model) {
        for (kind, expected) in TraceKind::ALL.into_iter().zip(&expected) {
            let at = format!("seed {seed} {name} {kind}");
            let found = engine.run(inputs, Some(kind));
            let Ok(expected) = expected else {
                // Values that no bound excludes are refused by both.
                assert!(matches!(found, Err(RunError::Value { .. })), "{at}: {found:?}");
                continue;
            };
            let found = found.unwrap();
            assert!(found == *expected, "{at}: {:#?}", model.graph().nodes);
            check_samples(&at, &engine, inputs, &found);
            let untraced = engine.run(inputs, None).unwrap();
            assert_eq!(untraced, Run { trace: None, ..found }, "{at}");
        }
    }
    if let [Ok(one), Ok(other)] = &expected {
        let [one, other] = [one, other].map(|run| run.trace.as_ref().unwrap());
        assert!(one.samples.iter().all(|root| !other.samples.contains(root)), "seed {seed}");
        assert_ne!(one.root(), other.root(), "seed {seed}");
    }
    expected.iter().all(Result::is_ok)
}

/// Each sample alone gives what it gives in the batch.
fn check_samples(at: &str, engine: &Engine, inputs: &[Batch], all: &Run) {
    let (n, trace) = (inputs[0].n, all.trace.as_ref().unwrap());
    for index in 0..n {
        let alone: Vec<Batch> = inputs.iter().map(|b| sample(b, index)).collect();
        let one = engine.run(&alone, Some(trace.kind)).unwrap();
        for (one, all) in one.outputs.iter().zip(&all.outputs) {
            assert_eq!(*one, sample(all, index), "{at}");
        }
        assert_eq!(one.trace.unwrap().samples, [trace.samples[index]], "{at}");
        assert_eq!(one.macs.map(|macs| macs * n as u64), all.macs, "{at}");
    }
}

#[test]
fn random_models_equal_the_reference() {
    let (mut compared, mut seed) = (0, 0);
    let mut operators = BTreeSet::new();
    while compared < 400 {
        seed += 1;
        let mut random = Random::new(seed);
        let Some(model) = random_model(&mut random) else { continue };
        let n = random.pick(&[1, 2, 3, 5]);
        let inputs = inputs(&model, &mut random, n);
        if check(seed, &model, &inputs) {
            compared += 1;
            operators.extend(model.graph().nodes.iter().map(|node| node.op.name()));
        }
    }
    assert_eq!(operators.len(), 20, "some operators were not drawn: {operators:?}");
}

/// Models with enough work for checkpoints.
#[test]
fn deep_models_equal_the_reference() {
    let (mut n_checkpoints, mut seed) = (0, 0);
    while n_checkpoints < 6 {
        seed += 1;
        let mut random = Random::new(seed);
        let Some(model) = deep_model(&mut random) else { continue };
        let inputs = inputs(&model, &mut random, 2);
        if check(seed, &model, &inputs) {
            let types = model.graph().input_types(&inputs).unwrap();
            n_checkpoints += model.checkpoints(&types).unwrap().len();
        }
    }
}

#[test]
fn observed_values_equal_the_reference() {
    let mut random = Random::new(77);
    let (mut compared, mut seen) = (0, 0);
    while compared < 20 {
        let Some(model) = random_model(&mut random) else { continue };
        let inputs = inputs(&model, &mut random, 2);
        let Ok(expected) = reference::run(&model, &inputs, None) else { continue };
        let engine = Engine::load(Arc::clone(&model), &Options { threads: 1, ..Options::default() }).unwrap();
        let mut values: BTreeMap<ValueId, Vec<i64>> = BTreeMap::new();
        let mut visit = |id: ValueId, view: veracity_kernels::View<'_>| {
            values.entry(id).or_default().extend((0..view.len()).map(|i| view.get(i)));
        };
        engine.observe(&inputs, &mut visit).unwrap();
        let n_values: usize = model.graph().nodes.iter().map(|n| n.op.n_outputs()).sum();
        assert_eq!(values.len(), n_values);
        for (output, batch) in model.graph().outputs.iter().zip(&expected.outputs) {
            if let Some(values) = values.get(&output.value) {
                assert_eq!(*values, batch.data.to_i64());
                seen += 1;
            }
        }
        compared += 1;
    }
    assert!(seen > 10, "only {seen} outputs were compared");
}

#[test]
fn batches_larger_than_a_group_equal_single_runs() {
    use crate::builder::Builder;
    use veracity_ops::{Add, Conv, MaxPool, Op, Quantised, Requant, Window};

    let mut random = Random::new(5);
    let mut builder = Builder::default();
    let x = builder.input(DType::I8, &[32, 32, 16]);
    let shift = builder.constant(DType::I8, &[1], &[11]);
    let mut y = x;
    for (c, groups) in [(16, 1), (32, 1), (32, 32), (32, 2)] {
        let shape = [32, 3, 3, c / groups];
        let weights = random.values(shape.iter().product(), -128, 127);
        let weights = builder.constant(DType::I8, &shape, &weights);
        let conv =
            Conv { strides: [1, 1], pads: [1; 4], dilations: [1, 1], groups, x_zero: -128, acc: DType::I32 };
        let sums = builder.node(Op::Conv(conv), &[y, weights]);
        let next = builder
            .node(Op::Requant(Requant { x_zero: 0, y: Quantised::full(DType::I8, 0) }), &[sums, shift]);
        let add = Add { zeros: [0, 0], muls: [9, -7], shift: 3, y: Quantised::full(DType::I8, 1) };
        y = if c == 16 { next } else { builder.node(Op::Add(add), &[y, next]) };
    }
    let window = Window { kernel: [2, 2], strides: [2, 2], pads: [0; 4], dilations: [1, 1], ceil: false };
    let y = builder.node(Op::MaxPool(MaxPool { window }), &[y]);
    builder.output(y);
    let model = builder.build();
    for n in [1, 3, 40] {
        let inputs = inputs(&model, &mut random, n);
        let alone: Vec<Batch> = inputs.iter().map(|b| sample(b, n - 1)).collect();
        for kind in TraceKind::ALL {
            let run = |(_, engine): &(String, Engine)| engine.run(&inputs, Some(kind)).unwrap();
            let runs: Vec<Run> = engines(&model).iter().map(run).collect();
            assert!(runs.iter().all(|run| *run == runs[0]), "n = {n} {kind}");
            let expected = reference::run(&model, &alone, Some(kind)).unwrap();
            assert_eq!(sample(&runs[0].outputs[0], n - 1), expected.outputs[0]);
            assert_eq!(runs[0].trace.as_ref().unwrap().samples[n - 1], expected.trace.unwrap().samples[0]);
        }
    }
}
