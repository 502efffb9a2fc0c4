//! Two models: the example of the specification, and one with every operator.

use veracity_graph::{
    Bundle, ConstantType, Decoding, Digest, Dim, Elem, Encoding, Graph, Input, Model, Node, Output,
    Provenance, Scale, ValueId,
};
use veracity_ops::{
    Add, ArgMax, AvgPool, Concat, Conv, ConvTranspose, DType, DimSpec, Gather, MatMul, MaxPool, Mul, Op, Pad,
    PadMode, QuantRow, Quantised, Reduce, ReduceKind, Requant, Reshape, Resize, ResizeCoordinates,
    ResizeRounding, Slice, Softmax, Table, Transpose, Window,
};

pub(crate) fn scale(value: f32) -> Scale {
    Scale::new(value).unwrap()
}

pub(crate) fn float_input(name: &str, dims: &[Dim], dtype: DType, zero: i32) -> Input {
    let encoding = Encoding::Quantise { dtype, inv_scale: scale(2.0), zero };
    Input { name: name.into(), elem: Elem::F32, dims: dims.to_vec(), encoding }
}

pub(crate) fn constant(dtype: DType, shape: &[u32]) -> ConstantType {
    ConstantType { dtype, shape: shape.to_vec() }
}

pub(crate) fn node(name: &str, op: Op, inputs: &[u32]) -> Node {
    Node { name: name.into(), op, inputs: inputs.iter().map(|v| ValueId(*v)).collect() }
}

pub(crate) fn float_output(name: &str, value: u32) -> Output {
    let decoding = Decoding::Dequantise { scale: scale(0.25), zero: -1 };
    Output { name: name.into(), value: ValueId(value), decoding }
}

pub(crate) fn matmul() -> Op {
    Op::MatMul(MatMul { x_zero: 0, acc: DType::I32 })
}

pub(crate) fn full(dtype: DType) -> Quantised {
    Quantised::full(dtype, 0)
}

pub(crate) fn requant(y: Quantised) -> Op {
    Op::Requant(Requant { x_zero: 0, y })
}

/// `y = requant(w x)` with two inputs values and one output value.
pub(crate) fn small_graph() -> Graph {
    let y = Quantised { dtype: DType::I8, zero: -1, lo: -1, hi: 127 };
    Graph {
        symbols: vec![],
        inputs: vec![float_input("x", &[Dim::Fixed(2)], DType::I8, 0)],
        constants: vec![constant(DType::I8, &[1, 2]), constant(DType::I8, &[1])],
        nodes: vec![node("fc", matmul(), &[0, 1]), node("fc", requant(y), &[3, 2])],
        outputs: vec![float_output("y", 4)],
    }
}

pub(crate) const SMALL_WEIGHTS: [u8; 3] = [3, 0xFE, 1];

pub(crate) fn provenance() -> Provenance {
    Provenance {
        converter: "by hand/1".into(),
        format: "none".into(),
        source: Digest::of(b""),
        options: String::new(),
        samples: None,
    }
}

pub(crate) fn small_bundle() -> Bundle {
    Bundle::new(&Model::new(small_graph(), SMALL_WEIGHTS.to_vec()).unwrap(), provenance())
}

fn window(strides: [usize; 2]) -> Window {
    Window { kernel: [2, 2], strides, pads: [0; 4], dilations: [1, 1], ceil: false }
}

fn weights(constants: &[(ConstantType, Vec<i64>)]) -> Vec<u8> {
    let bytes = |(c, values): &(ConstantType, Vec<i64>)| {
        let size = c.dtype.size();
        values.iter().flat_map(|v| v.to_le_bytes().into_iter().take(size)).collect::<Vec<_>>()
    };
    constants.iter().flat_map(bytes).collect()
}

/// Every operator, every element type, a symbol, and every encoding and decoding.
pub(crate) fn every_operator() -> Model {
    let (i8, i16, i32, i64) = (DType::I8, DType::I16, DType::I32, DType::I64);
    let ramp = |n: i64, step: i64| (0..n).map(|i| (i * step + 11) % 61 - 30).collect::<Vec<_>>();
    let constants = vec![
        (constant(i8, &[2, 2, 2, 2]), ramp(16, 7)),
        (constant(i32, &[2]), vec![500, -500]),
        (constant(i8, &[2]), vec![14, 15]),
        (constant(i16, &[2]), vec![1000, 32_767]),
        (constant(i8, &[256]), (-128..128).map(|v: i64| v.max(v / 4)).collect()),
        (constant(i8, &[2, 2, 2, 2]), ramp(16, 13)),
        (constant(i64, &[2]), vec![1 << 40, -3]),
        (constant(i8, &[1]), vec![3]),
        (constant(i8, &[3, 2]), ramp(6, 5)),
        (constant(i32, &[4]), vec![1 << 24, 6_171_992, 2_270_549, 0]),
    ];
    let conv = Conv { strides: [1, 1], pads: [0; 4], dilations: [1, 1], groups: 1, x_zero: -3, acc: i32 };
    let up = Conv { strides: [2, 2], x_zero: 0, acc: i64, ..conv.clone() };
    let y = |dtype, zero| Quantised::full(dtype, zero);
    let avg = AvgPool { window: window([2, 2]), count_pads: true, x_zero: 4, mul: 3, shift: 1, y: y(i8, -4) };
    let resize = Resize {
        scales: vec![(2, 1), (1, 1), (1, 1)],
        coordinates: ResizeCoordinates::HalfPixel,
        rounding: ResizeRounding::PreferFloor,
    };
    let mean = Reduce { kind: ReduceKind::Mean, axes: vec![1], x_zero: 0, mul: 5, shift: 1, y: y(i32, 7) };
    let pad = Pad { mode: PadMode::Edge, begin: vec![0, 1, 0], end: vec![0, 1, 0] };
    let slice = Slice { axis: 2, start: -1, end: i64::MIN, step: -2 };
    let reshape = Reshape { dims: vec![DimSpec::Infer, DimSpec::Fixed(2)] };
    let softmax = Softmax { shift: 6, one_bits: 14, y: y(i16, 0) };
    let mul = Mul { zeros: [1, -3], mul: 3, shift: 4, y: y(i16, 5) };
    let add = Add {
        zeros: [0, -3],
        muls: [5, -9],
        shift: 6,
        y: Quantised { dtype: i8, zero: 2, lo: -100, hi: 99 },
    };
    let graph = Graph {
        symbols: vec!["n".into()],
        inputs: vec![
            float_input("a", &[Dim::Fixed(4), Dim::Fixed(4), Dim::Fixed(2)], i8, -3),
            float_input("b", &[Dim::Symbol(0)], i32, 0),
            Input {
                name: "i".into(),
                elem: Elem::I64,
                dims: vec![Dim::Fixed(2)],
                encoding: Encoding::Integer { lo: -8, hi: 7 },
            },
        ],
        constants: constants.iter().map(|(c, _)| c.clone()).collect(),
        nodes: vec![
            node("conv", Op::Conv(conv), &[0, 3, 4]),
            node("conv", Op::Requant(Requant { x_zero: 0, y: y(i8, 1) }), &[13, 5, 6]),
            node("relu", Op::Table(Table), &[14, 7]),
            node("max", Op::MaxPool(MaxPool { window: window([1, 1]) }), &[15]),
            node("up", Op::ConvTranspose(ConvTranspose { conv: up, output_pads: [0, 0] }), &[16, 8, 9]),
            node("up", requant(full(i16)), &[17, 10]),
            node("add", Op::Add(add), &[18, 0]),
            node("mul", Op::Mul(mul), &[19, 0]),
            node("avg", Op::AvgPool(avg), &[20]),
            node("pad", Op::Pad(pad), &[21]),
            node("resize", Op::Resize(resize), &[22]),
            node("transpose", Op::Transpose(Transpose { perm: vec![2, 0, 1] }), &[23]),
            node("slice", Op::Slice(slice), &[24]),
            node("reshape", Op::Reshape(reshape), &[25]),
            node("fc", matmul(), &[26, 11]),
            node("rows", Op::QuantRow(QuantRow { axis: 1, q: i8 }), &[27]),
            node("softmax", Op::Softmax(softmax), &[28, 12]),
            node("concat", Op::Concat(Concat { axis: 1 }), &[28, 28]),
            node("gather", Op::Gather(Gather { axis: 0 }), &[31, 2]),
            node("mean", Op::Reduce(mean), &[32]),
            node("argmax", Op::ArgMax(ArgMax { axis: 0, last: true }), &[27]),
            node("rows of b", Op::QuantRow(QuantRow { axis: 0, q: i16 }), &[1]),
        ],
        outputs: vec![
            float_output("mean", 33),
            Output { name: "argmax".into(), value: ValueId(34), decoding: Decoding::Integer(Elem::I64) },
            float_output("softmax", 30),
            float_output("q", 35),
            Output { name: "m".into(), value: ValueId(36), decoding: Decoding::Integer(Elem::I32) },
        ],
    };
    Model::new(graph, weights(&constants)).unwrap()
}
