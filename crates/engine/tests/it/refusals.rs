use std::sync::Arc;

use veracity_engine::{Engine, Options, RunError, reference};
use veracity_graph::{Batch, IntData, Model};
use veracity_ops::{Add, DType, Gather, Op, Pad, PadMode, Quantised};

use crate::builder::Builder;

/// `y = x0[x1] + x0[x1]`.
fn model() -> Arc<Model> {
    let mut builder = Builder::default();
    let x = builder.input(DType::I8, &[3]);
    let index = builder.input(DType::I32, &[2]);
    let y = builder.node(Op::Gather(Gather { axis: 0 }), &[x, index]);
    let add = Add { zeros: [0, 0], muls: [1, 1], shift: 0, y: Quantised::full(DType::I8, 0) };
    let y = builder.node(Op::Add(add), &[y, y]);
    builder.output(y);
    builder.build()
}

fn refusal(options: &Options, change: impl Fn(&mut Vec<Batch>)) -> RunError {
    let engine = Engine::load(model(), options).unwrap();
    let mut inputs = vec![
        Batch { n: 1, shape: vec![3], data: IntData::I8(vec![1, 2, 3]) },
        Batch { n: 1, shape: vec![2], data: IntData::I32(vec![0, -1]) },
    ];
    assert_eq!(
        engine.run(&inputs, None).map(|r| r.outputs[0].data.to_i64()).unwrap_or_default().len() % 2,
        0
    );
    change(&mut inputs);
    engine.run(&inputs, None).unwrap_err()
}

#[test]
fn refusals_say_what_is_wrong() {
    type Change = fn(&mut Vec<Batch>);
    let cases: [(Change, &str); 7] = [
        (|x| x.truncate(1), "the model has 2 inputs, the request 1"),
        (|x| x.iter_mut().for_each(|b| b.n = 0), "the request has no samples"),
        (|x| x[0].data = IntData::I16(vec![1, 2, 3]), "input 'x0' has type I16, the graph takes I8"),
        (|x| x[0].shape = vec![4], "input 'x0' has shape [4], which the model does not take"),
        (|x| x[1].n = 2, "input 'x1' has 2 samples, the first input has 1"),
        (|x| x[1].data = IntData::I32(vec![1]), "input 'x1' has 1 values, its shape needs 2"),
        (|x| x[1].data = IntData::I32(vec![0, 3]), "node 'Gather_0': index 3 is outside [-3, 2]"),
    ];
    for (change, message) in cases {
        assert_eq!(refusal(&Options::default(), change).to_string(), message);
    }
}

#[test]
fn memory_is_limited_before_it_is_taken() {
    let options = Options { memory_bytes_max: 5, ..Options::default() };
    let error = refusal(&options, |_| {});
    assert_eq!(error.to_string(), "the run needs 18 bytes, the limit is 5");
    let options = Options { memory_bytes_max: 19, ..Options::default() };
    let engine = Engine::load(model(), &options).unwrap();
    let inputs = [
        Batch { n: 9, shape: vec![3], data: IntData::I8(vec![1; 27]) },
        Batch { n: 9, shape: vec![2], data: IntData::I32(vec![0; 18]) },
    ];
    let error = engine.run(&inputs, None).unwrap_err();
    assert!(matches!(error, RunError::TooLarge { needed_bytes: 20.., limit_bytes: 19 }), "{error}");
}

#[test]
fn a_small_model_cannot_ask_for_any_size() {
    let mut builder = Builder::default();
    let x = builder.input(DType::I8, &[3]);
    let y = builder
        .node(Op::Pad(Pad { mode: PadMode::Constant(0), begin: vec![0], end: vec![(1 << 31) - 4] }), &[x]);
    builder.output(y);
    let engine = Engine::load(builder.build(), &Options::default()).unwrap();
    let inputs = [Batch { n: 1, shape: vec![3], data: IntData::I8(vec![1, 2, 3]) }];
    let error = engine.run(&inputs, None).unwrap_err();
    assert_eq!(error.to_string(), "the run needs 19327352823 bytes, the limit is 4294967296");
    let observed = engine.observe(&inputs, &mut |_, _| {}).unwrap_err();
    assert_eq!(observed, error);
}

#[test]
fn the_reference_refuses_the_same_index() {
    let inputs = [
        Batch { n: 1, shape: vec![3], data: IntData::I8(vec![1, 2, 3]) },
        Batch { n: 1, shape: vec![2], data: IntData::I32(vec![0, 3]) },
    ];
    let error = reference::run(&model(), &inputs, None).unwrap_err();
    assert_eq!(error.to_string(), "node 'Gather_0': Gather: value 3 is outside [-3, 2]");
}
