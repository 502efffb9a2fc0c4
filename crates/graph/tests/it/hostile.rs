//! Graphs made to waste time and memory: refused, or accepted in time that follows their size.

use veracity_graph::{DecodeLimits, Dim, Graph, Model, ModelError};
use veracity_ops::{Concat, DType, MatMul, Op, Requant};

use crate::{
    draw::Draw,
    examples::{constant, float_input, float_output, full, matmul, node, requant, small_graph},
    graphs,
};

/// 30,000 nodes that share 64 KB of weights and of shifts: a node costs its own bytes, not those of its constants.
#[test]
fn shared_constants_are_read_once() {
    let (n, k) = (256u32, 256);
    let mut graph = Graph {
        inputs: vec![float_input("x", &[Dim::Fixed(k)], DType::I8, 0)],
        constants: vec![constant(DType::I8, &[n, k]), constant(DType::I8, &[n * k])],
        outputs: vec![float_output("y", 0)],
        symbols: vec!["n".into()],
        nodes: vec![],
    };
    graph.inputs.push(float_input("z", &[Dim::Symbol(0)], DType::I32, 0));
    for _ in 0..15_000 {
        graph.nodes.push(node("", matmul(), &[0, 2]));
        graph.nodes.push(node("", requant(full(DType::I8)), &[1, 3]));
    }
    let weights = vec![1; 2 * (n * k) as usize];
    assert!(Model::new(graph.clone(), weights.clone()).is_ok());
    for (i, node) in graph.nodes.iter_mut().enumerate() {
        if let Op::MatMul(op) = &mut node.op {
            *op = MatMul { x_zero: i32::try_from(i).unwrap(), acc: DType::I32 };
        }
    }
    let error = Model::new(graph, weights).unwrap_err();
    assert!(matches!(error, ModelError::SumsWork { .. }));
    let expected = "node '': weights are shared in too many different ways to bound their sums";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_million_operands_are_refused() {
    let mut graph = small_graph();
    graph.nodes.truncate(1);
    graph.nodes.push(node("join", Op::Concat(Concat { axis: 0 }), &vec![0; 1 << 20]));
    let error = Model::new(graph, vec![3, 2, 1]).unwrap_err();
    assert_eq!(error.to_string(), "node 'join': Concat: takes 1 to 1024 operands, got 1048576");
}

/// The largest shapes, and messages about lists of a million numbers, stay cheap.
#[test]
fn large_shapes_cost_nothing() {
    let mut graph = small_graph();
    graph.inputs[0].dims = vec![Dim::Fixed(1 << 31)];
    graph.constants = vec![constant(DType::I8, &[1])];
    graph.nodes =
        (1..100_000).map(|i| node("", requant(full(DType::I8)), &[i * u32::from(i > 1), 1])).collect();
    graph.outputs[0].value.0 = 3;
    assert!(Model::new(graph.clone(), vec![1]).is_ok());
    graph.constants[0].shape = vec![1; 1 << 20];
    let message = Model::new(graph.clone(), vec![1]).unwrap_err().to_string();
    assert_eq!(message, "node 'constant 0': tensor of shape [1, 1, 1, 1, 1, 1, 1, 1, 1] is too large");
    graph.constants[0].shape = vec![1];
    graph.nodes[0].op = Op::Transpose(veracity_ops::Transpose { perm: vec![0; 1 << 20] });
    graph.nodes[0].inputs.truncate(1);
    assert!(Model::new(graph, vec![1]).unwrap_err().to_string().len() < 500);
}

/// Whatever decodes can be offered as a model, with any weights.
#[test]
fn no_graph_stops_the_check() {
    for seed in 0..6000 {
        let mut draw = Draw::new(seed, [0, 5][seed as usize % 2]);
        let mut graph = graphs::graph(&mut draw, 6);
        for (i, input) in graph.inputs.iter_mut().enumerate() {
            input.name = i.to_string();
            input.dims.iter_mut().for_each(|d| *d = Dim::Fixed(1 + draw.below(4) as u32));
        }
        graph.outputs.iter_mut().enumerate().for_each(|(i, o)| o.name = i.to_string());
        graph.symbols.clear();
        graph.constants.iter_mut().flat_map(|c| &mut c.shape).for_each(|d| *d %= 5);
        let first = graph.inputs.len() + graph.constants.len();
        for (i, node) in graph.nodes.iter_mut().enumerate() {
            node.inputs.iter_mut().for_each(|v| v.0 %= (first + i).max(1) as u32);
        }
        graph.outputs.iter_mut().for_each(|o| o.value.0 %= first.max(1) as u32);
        let size = graph.constants.iter().filter_map(|c| c.size_bytes()).sum::<u64>() as usize;
        let weights = (0..size).map(|_| draw.value(DType::I8) as u8).collect();
        if let Ok(model) = Model::new(graph, weights) {
            let again = Graph::decode(&model.graph().encode(), DecodeLimits::default());
            assert_eq!(again.as_ref(), Ok(model.graph()), "a model has one encoding");
        }
    }
}

/// A model that was accepted runs on every input without an overflow: the worst `i64` sums, moved and rescaled.
#[test]
fn accumulators_stay_in_range_wherever_they_move() {
    let mut graph = small_graph();
    graph.constants =
        vec![constant(DType::I8, &[1, 2]), constant(DType::I8, &[1]), constant(DType::I64, &[1])];
    let acc = DType::I64;
    graph.nodes = vec![
        node("dot", Op::MatMul(MatMul { x_zero: 0, acc }), &[0, 1, 3]),
        node("both", Op::Concat(Concat { axis: 0 }), &[4, 3]),
        node("down", Op::Requant(Requant { x_zero: 0, y: full(DType::I8) }), &[5, 2]),
    ];
    graph.outputs[0].value.0 = 6;
    let bias = (1i64 << 47) - 256 * 128;
    let weights = [&[0x80, 0x80, 40][..], &bias.to_le_bytes()].concat();
    let model = Model::new(graph.clone(), weights).unwrap();
    let x = veracity_ops::Tensor::new(DType::I8, vec![2], vec![-128; 2]).unwrap();
    let constants = [0, 1, 2].map(|i| model.constant_tensor(i).unwrap());
    let run = |i: usize, inputs: &[&veracity_ops::Tensor]| graph.nodes[i].op.eval(inputs).unwrap().remove(0);
    let dot = run(0, &[&x, &constants[0], &constants[2]]);
    let both = run(1, &[&dot, &constants[2]]);
    assert_eq!(both.values(), [1 << 47, bias]);
    assert_eq!(run(2, &[&both, &constants[1]]).values(), [127, 127]);
}
