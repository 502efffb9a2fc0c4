use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use veracity_engine::{Engine, Options, Run, RunError, reference};
use veracity_graph::{Batch, Model, ValueId};
use veracity_kernels::Isa;
use veracity_ops::{DType, TensorType};

use crate::builder::{Random, data, random_model};

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

fn check(seed: u64, model: &Arc<Model>, inputs: &[Batch]) -> bool {
    let n = inputs[0].n;
    let expected = reference::run(model, inputs);
    for (name, engine) in engines(model) {
        let found = engine.run(inputs, true);
        let expected = match &expected {
            Ok(expected) => expected,
            // Values that no bound excludes are refused by both.
            Err(_) => {
                assert!(matches!(found, Err(RunError::Value { .. })), "seed {seed} {name}: {found:?}");
                continue;
            }
        };
        let found = found.unwrap();
        assert!(found == *expected, "seed {seed} {name}: {:#?}", model.graph().nodes);
        for index in 0..n {
            let alone: Vec<Batch> = inputs.iter().map(|b| sample(b, index)).collect();
            let Run { outputs, trace } = engine.run(&alone, true).unwrap();
            for (one, all) in outputs.iter().zip(&found.outputs) {
                assert_eq!(*one, sample(all, index), "seed {seed} {name}");
            }
            let roots = &found.trace.as_ref().unwrap().samples;
            assert_eq!(trace.unwrap().samples[0], roots[index], "seed {seed} {name}");
        }
        assert_eq!(engine.run(inputs, false).unwrap().outputs, found.outputs, "seed {seed} {name}");
    }
    expected.is_ok()
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

#[test]
fn observed_values_equal_the_reference() {
    let mut random = Random::new(77);
    let (mut compared, mut seen) = (0, 0);
    while compared < 20 {
        let Some(model) = random_model(&mut random) else { continue };
        let inputs = inputs(&model, &mut random, 2);
        let Ok(expected) = reference::run(&model, &inputs) else { continue };
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
        let runs: Vec<Run> = engines(&model).iter().map(|(_, e)| e.run(&inputs, true).unwrap()).collect();
        assert!(runs.iter().all(|run| *run == runs[0]), "n = {n}");
        let alone: Vec<Batch> = inputs.iter().map(|b| sample(b, n - 1)).collect();
        let expected = reference::run(&model, &alone).unwrap();
        assert_eq!(sample(&runs[0].outputs[0], n - 1), expected.outputs[0]);
        assert_eq!(runs[0].trace.as_ref().unwrap().samples[n - 1], expected.trace.unwrap().samples[0]);
    }
}
