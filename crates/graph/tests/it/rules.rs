//! What makes a graph a model: each rule broken, and the words of its refusal.

use veracity_graph::{Decoding, Dim, Elem, Encoding, Graph, Model, ModelError, ValueId};
use veracity_ops::{DType, Op, Requant, Slice, Softmax, TensorType};

use crate::examples::{SMALL_WEIGHTS, constant, every_operator, full, matmul, node, requant, small_graph};

fn refusal(graph: Graph, weights: &[u8]) -> String {
    match Model::new(graph, weights.to_vec()) {
        Ok(model) => panic!("accepted: {:?}", model.graph()),
        Err(error) => error.to_string(),
    }
}

/// The small graph after a change.
fn changed(change: impl FnOnce(&mut Graph)) -> String {
    let mut graph = small_graph();
    change(&mut graph);
    refusal(graph, &SMALL_WEIGHTS)
}

fn set_range(graph: &mut Graph, elem: Elem, lo: i32, hi: i32) {
    graph.inputs[0].elem = elem;
    graph.inputs[0].encoding = Encoding::Integer { lo, hi };
}

fn set_zero(graph: &mut Graph, dtype: DType, zero: i32) {
    if let Encoding::Quantise { dtype: d, zero: z, .. } = &mut graph.inputs[0].encoding {
        (*d, *z) = (dtype, zero);
    }
}

#[test]
fn names() {
    let long = "n".repeat(513);
    assert_eq!(changed(|g| g.inputs[0].name.clear()), "input name '' is empty, too long or used twice");
    assert_eq!(
        changed(|g| g.outputs.push(g.outputs[0].clone())),
        "output name 'y' is empty, too long or used twice"
    );
    let twice = vec!["n".to_owned(), "n".to_owned()];
    assert_eq!(changed(|g| g.symbols = twice), "symbol name 'n' is empty, too long or used twice");
    let expected = format!("node name '{long}' is empty, too long or used twice");
    assert_eq!(changed(|g| g.nodes[0].name = long.clone()), expected);
    let longest = Model::new(
        Graph { nodes: vec![node(&long[1..], matmul(), &[0, 1])], ..small_graph_without_nodes() },
        SMALL_WEIGHTS.to_vec(),
    );
    assert!(longest.is_ok());
}

fn small_graph_without_nodes() -> Graph {
    let mut graph = small_graph();
    graph.nodes.clear();
    graph.outputs[0].value = ValueId(0);
    graph
}

#[test]
fn interfaces() {
    let cases: [(&str, fn(&mut Graph)); 12] = [
        ("'graph': a model has at least one input and one output", |g| g.outputs.clear()),
        ("'graph': a model has at least one input and one output", |g| g.inputs.clear()),
        ("'x': an extent names an unknown symbol", |g| g.inputs[0].dims = vec![Dim::Symbol(0)]),
        ("'x': inputs are i8, i16 or i32 inside the graph", |g| set_zero(g, DType::I64, 0)),
        ("'x': zero does not fit the element type", |g| set_zero(g, DType::I8, 128)),
        ("'x': the encoding does not fit the element type", |g| g.inputs[0].elem = Elem::I32),
        ("'x': the encoding does not fit the element type", |g| set_range(g, Elem::F32, 0, 1)),
        ("'x': the range is empty", |g| set_range(g, Elem::I64, 1, 0)),
        ("'y': integers decode to i32 or i64", |g| g.outputs[0].decoding = Decoding::Integer(Elem::F32)),
        ("node 'input x': tensor of shape [4294967295, 4294967295] is too large", |g| {
            g.inputs[0].dims = vec![Dim::Fixed(u32::MAX); 2];
        }),
        ("node 'input x': tensor of shape [1, 1, 1, 1, 1, 1, 1, 1, 1] is too large", |g| {
            g.symbols = vec!["n".into()];
            g.inputs[0].dims = vec![Dim::Symbol(0); 30];
        }),
        ("node 'constant 2': tensor of shape [4294967295, 0, 9] is too large", |g| {
            g.constants.push(constant(DType::I8, &[u32::MAX, 0, 9]));
            g.nodes.iter_mut().flat_map(|n| &mut n.inputs).filter(|v| v.0 == 3).for_each(|v| v.0 = 4);
            g.outputs[0].value = ValueId(0);
        }),
    ];
    for (expected, change) in cases {
        assert_eq!(changed(change), expected);
    }
}

#[test]
fn operands() {
    let cases: [(&str, fn(&mut Graph)); 8] = [
        ("node 'fc' uses value 3, which is not defined before it", |g| g.nodes[0].inputs[0] = ValueId(3)),
        ("node 'fc' uses value 4294967295, which is not defined before it", |g| {
            g.nodes[1].inputs[0] = ValueId(u32::MAX);
        }),
        ("output 'y' uses value 5, which is not defined before it", |g| g.outputs[0].value = ValueId(5)),
        ("node 'fc': operand 1 must be a constant", |g| g.nodes[0].inputs[1] = ValueId(0)),
        ("node 'fc': operand 2 must be a constant", |g| g.nodes[1].inputs.push(ValueId(3))),
        ("node 'fc': MatMul: takes 2 or 3 operands, got 1", |g| g.nodes[0].inputs.truncate(1)),
        ("node 'fc': Requant: attribute x_zero = 7 is outside its range", |g| {
            g.nodes[0].op = Op::MatMul(veracity_ops::MatMul { x_zero: 0, acc: DType::I64 });
            g.nodes[1].op = Op::Requant(Requant { x_zero: 7, y: full(DType::I8) });
        }),
        ("node 'fc': MatMul: k differs (shapes [[3], [1, 2]])", |g| g.inputs[0].dims = vec![Dim::Fixed(3)]),
    ];
    for (expected, change) in cases {
        assert_eq!(changed(change), expected);
    }
}

#[test]
fn weights() {
    assert_eq!(refusal(small_graph(), &[]), "the constants need 2 bytes, the weights have 0");
    assert_eq!(refusal(small_graph(), &[0; 4]), "the constants need 3 bytes, the weights have 4");
    let huge = changed(|g| g.constants[1] = constant(DType::I64, &[u32::MAX; 3]));
    assert_eq!(huge, format!("the constants need {} bytes, the weights have 3", u64::MAX));
    let mut negative = SMALL_WEIGHTS;
    negative[2] = 0xFF;
    assert_eq!(
        refusal(small_graph(), &negative),
        "node 'fc': Requant: attribute shift = -1 is outside its range"
    );

    let mut graph = small_graph_without_nodes();
    graph.constants = vec![constant(DType::I64, &[2])];
    let far = [[0; 8], ((1i64 << 47) + 1).to_le_bytes()].concat();
    let expected =
        "node 'constant 0': constant: value 140737488355329 is outside [-140737488355328, 140737488355328]";
    assert_eq!(refusal(graph.clone(), &far), expected);
    assert!(Model::new(graph, [[0; 8], (1i64 << 47).to_le_bytes()].concat()).is_ok());
}

/// A value in the third operand, or beyond the first part that is decoded, is seen too.
#[test]
fn constants_far_inside() {
    let n = 70_000u32;
    let mut graph = small_graph();
    graph.inputs[0].dims = vec![Dim::Fixed(n)];
    graph.constants = vec![constant(DType::I8, &[n]), constant(DType::I16, &[n])];
    graph.nodes = vec![node("far", requant(full(DType::I8)), &[0, 1, 2])];
    graph.outputs[0].value = ValueId(3);
    let n = n as usize;
    let mut weights = [vec![1u8; n], [1, 0].repeat(n)].concat();
    assert!(Model::new(graph.clone(), weights.clone()).is_ok());
    *weights.last_mut().unwrap() = 0x80;
    let expected = "node 'far': Requant: attribute mul = -32767 is outside its range";
    assert_eq!(refusal(graph.clone(), &weights), expected);
    weights[n - 1] = 63;
    assert_eq!(refusal(graph, &weights), "node 'far': Requant: attribute shift = 63 is outside its range");

    // 0 is a shift, but not a multiplier: a constant is checked for each of its roles.
    let mut graph = small_graph_without_nodes();
    graph.symbols = vec!["n".into()];
    graph.inputs[0].dims = vec![Dim::Symbol(0)];
    graph.constants = vec![constant(DType::I8, &[1])];
    graph.nodes = vec![node("shift", requant(full(DType::I8)), &[0, 1])];
    assert!(Model::new(graph.clone(), vec![0]).is_ok());
    graph.nodes.push(node("mul", requant(full(DType::I8)), &[0, 1, 1]));
    assert_eq!(refusal(graph, &[0]), "node 'mul': Requant: attribute mul = 0 is outside its range");

    let mut graph = small_graph_without_nodes();
    graph.constants = vec![constant(DType::I32, &[2])];
    let softmax = Softmax { shift: 0, one_bits: 1, y: full(DType::I8) };
    graph.nodes = vec![node("softmax", Op::Softmax(softmax), &[0, 1])];
    let expected = "node 'softmax': Softmax: attribute table[0] = 0 is outside its range";
    assert_eq!(refusal(graph, &[0; 8]), expected);
}

#[test]
fn sizes_beyond_their_encoding() {
    let expected = "the graph cannot be encoded: a size is beyond 32 bits, or a list is longer than 1048576";
    let dynamic = |g: &mut Graph| {
        g.symbols = vec!["n".into()];
        g.inputs[0].dims = vec![Dim::Symbol(0)];
    };
    let wide = changed(|g| {
        dynamic(g);
        g.nodes[1].op = Op::Slice(Slice { axis: 1 << 32, start: 0, end: 0, step: 1 });
    });
    assert_eq!(wide, expected);
    let long = changed(|g| {
        dynamic(g);
        g.nodes[1].op =
            Op::Reshape(veracity_ops::Reshape { dims: vec![veracity_ops::DimSpec::Infer; (1 << 20) + 1] });
    });
    assert_eq!(long, expected);
}

#[test]
fn types_need_the_graphs_inputs() {
    let model = every_operator();
    let ty = |dtype, shape: &[usize]| TensorType::new(dtype, shape.to_vec()).unwrap();
    let inputs = [ty(DType::I8, &[4, 4, 2]), ty(DType::I32, &[5]), ty(DType::I32, &[2])];
    assert_eq!(model.types(&inputs).map(|t| t.len()), Ok(37));
    let expected = "'graph': the number or element types of the inputs differ from the graph's";
    let error = |inputs: &[TensorType]| model.types(inputs).unwrap_err().to_string();
    assert_eq!(error(&inputs[..2]), expected);
    assert_eq!(error(&[inputs[1].clone(), inputs[0].clone(), inputs[2].clone()]), expected);
    let other = [ty(DType::I8, &[4, 3, 2]), inputs[1].clone(), inputs[2].clone()];
    assert!(matches!(model.types(&other), Err(ModelError::Op { .. })));
}
