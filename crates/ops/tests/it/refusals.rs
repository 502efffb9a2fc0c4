//! Every refusal of every operator, with its words.

use veracity_ops::{
    Add, ArgMax, AvgPool, Concat, Conv, ConvTranspose, DType, DimSpec, ELEMENTS_MAX, Gather, MatMul, MaxPool,
    Mul, Op, OpError, Pad, PadMode, QuantRow, Quantised, Reduce, ReduceKind, Requant, Reshape, Resize,
    ResizeCoordinates, ResizeRounding, Slice, Softmax, Table, Tensor, TensorType, Transpose, Window,
};

use crate::support::{I8, I16, I32, I64, eval_error, plain, refusal, tensor, ty};

fn check(cases: &[(Op, &[TensorType], &str)]) {
    for (op, types, expected) in cases {
        assert_eq!(refusal(op, &types.iter().collect::<Vec<_>>()), *expected, "{op:?}");
    }
}

fn matmul() -> MatMul {
    MatMul { x_zero: 0, acc: I32 }
}

fn conv() -> Conv {
    Conv { strides: [1, 1], pads: [0; 4], dilations: [1, 1], groups: 1, x_zero: 0, acc: I32 }
}

#[test]
fn linear() {
    let (x, w) = (ty(I8, &[1, 3]), ty(I8, &[2, 3]));
    let one = || Op::MatMul(matmul());
    let image = ty(I8, &[4, 4, 2]);
    let kernel = ty(I8, &[3, 2, 2, 2]);
    let up = |conv, output_pads| Op::ConvTranspose(ConvTranspose { conv, output_pads });
    check(&[
        (one(), std::slice::from_ref(&x), "MatMul: takes 2 or 3 operands, got 1"),
        (one(), &[ty(I32, &[3]), w.clone()], "MatMul: operand 0 has type I32, needs i8 or i16"),
        (one(), &[x.clone(), ty(I16, &[2, 3])], "MatMul: operand 1 has type I16, needs i8"),
        (
            Op::MatMul(MatMul { acc: I16, ..matmul() }),
            &[x.clone(), w.clone()],
            "MatMul: operand 0 has type I16, needs an i32 or i64 output",
        ),
        (
            Op::MatMul(MatMul { x_zero: 128, ..matmul() }),
            &[x.clone(), w.clone()],
            "MatMul: attribute x_zero = 128 is outside its range",
        ),
        (
            one(),
            &[x.clone(), w.clone(), ty(I64, &[2])],
            "MatMul: operand 2 has type I64, needs the accumulator type",
        ),
        (
            one(),
            &[x.clone(), w.clone(), ty(I32, &[3])],
            "MatMul: bias must hold one value per output channel (shapes [[2, 3], [3]])",
        ),
        (one(), &[ty(I8, &[]), w.clone()], "MatMul: needs x [.., k] and w [n, k] (shapes [[], [2, 3]])"),
        (one(), &[x.clone(), ty(I8, &[2, 4])], "MatMul: k differs (shapes [[1, 3], [2, 4]])"),
        (
            Op::MatMul(MatMul { acc: I64, ..matmul() }),
            &[ty(I16, &[1 << 24]), ty(I8, &[1, 1 << 24])],
            "MatMul: a value could need 47 bits, the limit is 46",
        ),
        (
            one(),
            &[ty(I8, &[ELEMENTS_MAX / 3, 3]), ty(I8, &[ELEMENTS_MAX / 3, 3])],
            "tensor of shape [715827882, 715827882] is too large",
        ),
        (
            Op::Conv(Conv { strides: [0, 1], ..conv() }),
            &[image.clone(), kernel.clone()],
            "Conv: attribute strides = 0 is outside its range",
        ),
        (
            Op::Conv(Conv { dilations: [1, 65_537], ..conv() }),
            &[image.clone(), kernel.clone()],
            "Conv: attribute dilations = 65537 is outside its range",
        ),
        (
            Op::Conv(Conv { pads: [0, 0, usize::MAX, 0], ..conv() }),
            &[image.clone(), kernel.clone()],
            "Conv: attribute pads = -1 is outside its range",
        ),
        (
            Op::Conv(Conv { groups: 0, ..conv() }),
            &[image.clone(), kernel.clone()],
            "Conv: attribute groups = 0 is outside its range",
        ),
        (
            Op::Conv(conv()),
            &[ty(I8, &[4, 2]), kernel.clone()],
            "Conv: needs x [h, w, c] and w [oc, kh, kw, c / groups] (shapes [[4, 2], [3, 2, 2, 2]])",
        ),
        (
            Op::Conv(Conv { groups: 2, ..conv() }),
            &[image.clone(), kernel.clone()],
            "Conv: channels and groups disagree (shapes [[4, 4, 2], [3, 2, 2, 2]])",
        ),
        (
            Op::Conv(conv()),
            &[image.clone(), ty(I8, &[3, 5, 2, 2])],
            "Conv: the kernel is larger than the padded input (shapes [[4, 4, 2], [3, 5, 2, 2]])",
        ),
        (
            Op::Conv(conv()),
            &[image.clone(), ty(I8, &[3, 0, 2, 2])],
            "Conv: the kernel is larger than the padded input (shapes [[4, 4, 2], [3, 0, 2, 2]])",
        ),
        (
            up(conv(), [1, 0]),
            &[image.clone(), kernel.clone()],
            "ConvTranspose: attribute output_pads = 1 is outside its range",
        ),
        (
            up(Conv { pads: [3, 0, 2, 0], ..conv() }, [0, 0]),
            &[image, kernel],
            "ConvTranspose: padding removes the whole output (shapes [[4, 4, 2], [3, 2, 2, 2]])",
        ),
    ]);
}

#[test]
fn values() {
    let requant = |x_zero, y| Op::Requant(Requant { x_zero, y });
    let (x, shift) = (ty(I32, &[2, 3]), ty(I8, &[3]));
    let y = plain(I8);
    let add = Add { zeros: [0, 0], muls: [1, 1], shift: 0, y };
    let mul = Mul { zeros: [0, 0], mul: 1, shift: 0, y };
    let two = [ty(I8, &[2]), ty(I8, &[2])];
    check(&[
        (requant(0, y), std::slice::from_ref(&x), "Requant: takes 2 or 3 operands, got 1"),
        (
            requant(0, plain(I64)),
            &[x.clone(), shift.clone()],
            "Requant: operand 0 has type I64, needs an i8, i16 or i32 output",
        ),
        (
            requant(0, Quantised { zero: 200, ..y }),
            &[x.clone(), shift.clone()],
            "Requant: attribute zero = 200 is outside its range",
        ),
        (
            requant(0, Quantised { lo: -129, ..y }),
            &[x.clone(), shift.clone()],
            "Requant: attribute lo = -129 is outside its range",
        ),
        (
            requant(0, Quantised { lo: 5, hi: 4, ..y }),
            &[x.clone(), shift.clone()],
            "Requant: attribute hi = 4 is outside its range",
        ),
        (
            requant(-129, y),
            &[ty(I8, &[3]), shift.clone()],
            "Requant: attribute x_zero = -129 is outside its range",
        ),
        (requant(0, y), &[x.clone(), ty(I16, &[3])], "Requant: operand 1 has type I16, needs i8"),
        (
            requant(0, y),
            &[x.clone(), ty(I8, &[2])],
            "Requant: shift must hold one value, or one per channel (shapes [[2, 3], [2]])",
        ),
        (
            requant(0, y),
            &[x.clone(), shift.clone(), ty(I8, &[3])],
            "Requant: operand 2 has type I8, needs i16",
        ),
        (
            requant(0, y),
            &[x.clone(), shift.clone(), ty(I16, &[1])],
            "Requant: mul and shift differ in length (shapes [[3], [1]])",
        ),
        (
            Op::Table(Table),
            &[ty(I32, &[1]), ty(I8, &[256])],
            "Table: operand 0 has type I32, needs i8 or i16",
        ),
        (
            Op::Table(Table),
            &[ty(I8, &[1]), ty(I32, &[256])],
            "Table: operand 1 has type I32, needs i8 or i16",
        ),
        (
            Op::Table(Table),
            &[ty(I16, &[1]), ty(I8, &[256])],
            "Table: the table must have one entry per input value (shapes [[1], [256]])",
        ),
        (Op::Add(add.clone()), &two[..1], "Add: takes 2 operands, got 1"),
        (
            Op::Add(add.clone()),
            &[ty(I64, &[2]), ty(I8, &[2])],
            "Add: operand 0 has type I64, needs i8, i16 or i32",
        ),
        (Op::Add(Add { shift: 63, ..add.clone() }), &two, "Add: attribute shift = 63 is outside its range"),
        (
            Op::Add(Add { zeros: [0, 128], ..add.clone() }),
            &two,
            "Add: attribute zero = 128 is outside its range",
        ),
        (
            Op::Add(Add { muls: [i32::MIN, 0], ..add.clone() }),
            &two,
            "Add: attribute mul = -2147483648 is outside its range",
        ),
        (Op::Add(add), &[ty(I8, &[2]), ty(I8, &[3])], "Add: shapes do not broadcast (shapes [[2], [3]])"),
        (Op::Mul(Mul { mul: 0, ..mul.clone() }), &two, "Mul: attribute mul = 0 is outside its range"),
        (
            Op::Mul(Mul { mul: 3, ..mul }),
            &[ty(I32, &[2]), ty(I32, &[2])],
            "Mul: a value could need 64 bits, the limit is 62",
        ),
    ]);
}

#[test]
fn rows() {
    let x = ty(I32, &[2, 3]);
    let softmax = Softmax { shift: 0, one_bits: 8, y: plain(I16) };
    let table = ty(I32, &[16]);
    let one = |axis, q| Op::QuantRow(QuantRow { axis, q });
    check(&[
        (one(0, I8), &[], "QuantRow: takes 1 operands, got 0"),
        (one(0, I8), &[ty(I8, &[1])], "QuantRow: operand 0 has type I8, needs i32"),
        (
            one(0, I32),
            std::slice::from_ref(&x),
            "QuantRow: operand 0 has type I32, needs an i8 or i16 output",
        ),
        (one(3, I8), std::slice::from_ref(&x), "QuantRow: axis is beyond the rank (shapes [[2, 3]])"),
        (
            Op::Softmax(Softmax { shift: 32, ..softmax.clone() }),
            &[x.clone(), table.clone()],
            "Softmax: attribute shift = 32 is outside its range",
        ),
        (
            Op::Softmax(Softmax { one_bits: 31, ..softmax.clone() }),
            &[x.clone(), table.clone()],
            "Softmax: attribute one_bits = 31 is outside its range",
        ),
        (
            Op::Softmax(softmax.clone()),
            &[ty(I64, &[3]), table.clone()],
            "Softmax: operand 0 has type I64, needs i8, i16 or i32",
        ),
        (
            Op::Softmax(softmax.clone()),
            &[x.clone(), ty(I8, &[16])],
            "Softmax: operand 1 has type I8, needs i32",
        ),
        (
            Op::Softmax(softmax.clone()),
            &[x.clone(), ty(I32, &[0])],
            "Softmax: the table must have 1 to 65536 entries (shapes [[2, 3], [0]])",
        ),
        (
            Op::Softmax(softmax.clone()),
            &[x.clone(), ty(I32, &[65_537])],
            "Softmax: the table must have 1 to 65536 entries (shapes [[2, 3], [65537]])",
        ),
        (
            Op::Softmax(softmax),
            &[ty(I8, &[(1 << 24) + 1]), table],
            "Softmax: the row is longer than 2^24 (shapes [[16777217]])",
        ),
    ]);
}

#[test]
fn pools_and_reductions() {
    let window = Window { kernel: [2, 2], strides: [1, 1], pads: [0; 4], dilations: [1, 1], ceil: false };
    let x = [ty(I8, &[4, 4, 1])];
    let max = |window| Op::MaxPool(MaxPool { window });
    let avg = |mul, shift, x_zero| {
        Op::AvgPool(AvgPool { window: window.clone(), count_pads: false, x_zero, mul, shift, y: plain(I8) })
    };
    let wide = Window { kernel: [4096, 4096], pads: [4095; 4], ..window.clone() };
    let wide = AvgPool { window: wide, count_pads: true, x_zero: 0, mul: 32_767, shift: 0, y: plain(I8) };
    let reduce = |axes: &[usize], mul, shift| {
        let kind = ReduceKind::Mean;
        Op::Reduce(Reduce { kind, axes: axes.to_vec(), x_zero: 0, mul, shift, y: plain(I8) })
    };
    check(&[
        (max(window.clone()), &[], "MaxPool: takes 1 operands, got 0"),
        (
            max(Window { kernel: [0, 2], ..window.clone() }),
            &x,
            "MaxPool: attribute kernel = 0 is outside its range",
        ),
        (
            max(Window { strides: [1, 0], ..window.clone() }),
            &x,
            "MaxPool: attribute strides = 0 is outside its range",
        ),
        (
            max(Window { dilations: [4097, 1], ..window.clone() }),
            &x,
            "MaxPool: attribute dilations = 4097 is outside its range",
        ),
        (
            max(Window { pads: [0, 0, 2, 0], ..window.clone() }),
            &x,
            "MaxPool: attribute pads = 2 is outside its range",
        ),
        (
            max(window.clone()),
            &[ty(I64, &[4, 4, 1])],
            "MaxPool: operand 0 has type I64, needs i8, i16 or i32",
        ),
        (max(window.clone()), &[ty(I8, &[4, 4])], "MaxPool: needs x [h, w, c] (shapes [[4, 4]])"),
        (
            max(window.clone()),
            &[ty(I8, &[1, 4, 1])],
            "MaxPool: the window is larger than the padded input (shapes [[1, 4, 1]])",
        ),
        (avg(0, 0, 0), &x, "AvgPool: attribute mul = 0 is outside its range"),
        (avg(1, 32, 0), &x, "AvgPool: attribute shift = 32 is outside its range"),
        (avg(1, 0, 128), &x, "AvgPool: attribute x_zero = 128 is outside its range"),
        (Op::AvgPool(wide), &[ty(I32, &[4, 4, 1])], "AvgPool: a value could need 70 bits, the limit is 62"),
        (
            reduce(&[], 1, 0),
            &x,
            "Reduce: axes must be ascending and inside the rank (shapes [[4, 4, 1], []])",
        ),
        (
            reduce(&[1, 1], 1, 0),
            &x,
            "Reduce: axes must be ascending and inside the rank (shapes [[4, 4, 1], [1, 1]])",
        ),
        (
            reduce(&[3], 1, 0),
            &x,
            "Reduce: axes must be ascending and inside the rank (shapes [[4, 4, 1], [3]])",
        ),
        (reduce(&[0], 1, 0), &[ty(I8, &[0, 2])], "Reduce: a reduced axis is empty (shapes [[0, 2], [0]])"),
        (reduce(&[0], 32_768, 0), &x, "Reduce: attribute mul = 32768 is outside its range"),
        (reduce(&[0], 1, 32), &x, "Reduce: attribute shift = 32 is outside its range"),
        (reduce(&[0], 1, 0), &[ty(I64, &[2])], "Reduce: operand 0 has type I64, needs i8, i16 or i32"),
        (
            reduce(&[0], 32_767, 0),
            &[ty(I32, &[1 << 20])],
            "Reduce: a value could need 66 bits, the limit is 62",
        ),
        (
            Op::ArgMax(ArgMax { axis: usize::MAX, last: false }),
            &x,
            "ArgMax: axes must be ascending and inside the rank (shapes [[4, 4, 1], [18446744073709551615]])",
        ),
    ]);
}

#[test]
fn movement() {
    let x = [ty(I8, &[2, 3])];
    let reshape = |dims: &[DimSpec]| Op::Reshape(Reshape { dims: dims.to_vec() });
    let pad = |mode, begin: &[usize], end: &[usize]| {
        Op::Pad(Pad { mode, begin: begin.to_vec(), end: end.to_vec() })
    };
    let slice = |axis, step| Op::Slice(Slice { axis, start: 0, end: 1, step });
    let resize = |scales: &[(usize, usize)]| {
        let (coordinates, rounding) = (ResizeCoordinates::Asymmetric, ResizeRounding::Floor);
        Op::Resize(Resize { scales: scales.to_vec(), coordinates, rounding })
    };
    let gather = |axis| Op::Gather(Gather { axis });
    let zero = PadMode::Constant(0);
    let long = [1; 9];
    check(&[
        (reshape(&[]), &[], "Reshape: takes 1 operands, got 0"),
        (
            reshape(&[DimSpec::Input(2)]),
            &x,
            "Reshape: an extent names an axis beyond the rank (shapes [[2, 3]])",
        ),
        (reshape(&[DimSpec::Infer; 2]), &x, "Reshape: at most one extent is inferred (shapes [[2, 3]])"),
        (reshape(&[DimSpec::Fixed(5)]), &x, "Reshape: the number of elements would change (shapes [[2, 3]])"),
        (
            reshape(&[DimSpec::Fixed(4), DimSpec::Infer]),
            &x,
            "Reshape: the number of elements would change (shapes [[2, 3]])",
        ),
        (reshape(&[DimSpec::Fixed(usize::MAX)]), &x, "tensor of shape [18446744073709551615] is too large"),
        (reshape(&[DimSpec::Fixed(1); 20]), &x, "tensor of shape [1, 1, 1, 1, 1, 1, 1, 1, 1] is too large"),
        (
            Op::Transpose(Transpose { perm: vec![0, 0] }),
            &x,
            "Transpose: perm is not a permutation of the axes (shapes [[2, 3], [0, 0]])",
        ),
        (Op::Concat(Concat { axis: 0 }), &[], "Concat: takes 1 to 1024 operands, got 0"),
        (Op::Concat(Concat { axis: 2 }), &x, "Concat: axis is beyond the rank (shapes [[2, 3]])"),
        (
            Op::Concat(Concat { axis: 0 }),
            &[ty(I8, &[1]), ty(I16, &[1])],
            "Concat: operand 1 has type I16, needs the type of operand 0",
        ),
        (
            Op::Concat(Concat { axis: 0 }),
            &[ty(I8, &[1, 2]), ty(I8, &[1, 3])],
            "Concat: operands differ beside the joined axis (shapes [[1, 2], [1, 3]])",
        ),
        (slice(0, 0), &x, "Slice: attribute step = 0 is outside its range"),
        (slice(2, 1), &x, "Slice: axis is beyond the rank (shapes [[2, 3]])"),
        (pad(zero, &[0], &[0]), &x, "Pad: needs one begin and one end per axis (shapes [[2, 3], [0], [0]])"),
        (
            pad(PadMode::Constant(128), &[0, 0], &[0, 0]),
            &x,
            "Pad: attribute value = 128 is outside its range",
        ),
        (
            pad(PadMode::Reflect, &[2, 0], &[0, 0]),
            &x,
            "Pad: padding reaches beyond the mirror image (shapes [[2, 3]])",
        ),
        (
            pad(PadMode::Edge, &[1, 0], &[0, 0]),
            &[ty(I8, &[0, 3])],
            "Pad: padding reaches beyond the mirror image (shapes [[0, 3]])",
        ),
        (
            pad(zero, &[usize::MAX, 0], &[usize::MAX, 0]),
            &x,
            "tensor of shape [18446744073709551615, 3] is too large",
        ),
        (gather(0), &[ty(I8, &[1]), ty(I64, &[1])], "Gather: operand 1 has type I64, needs i32"),
        (gather(1), &[ty(I8, &[1]), ty(I32, &[1])], "Gather: axis is beyond the rank (shapes [[1], [1]])"),
        (
            gather(0),
            &[ty(I8, &[1, 1, 1, 1, 1]), ty(I32, &[1, 1, 1, 1, 1])],
            "tensor of shape [1, 1, 1, 1, 1, 1, 1, 1, 1] is too large",
        ),
        (resize(&[(1, 1)]), &x, "Resize: needs one scale per axis (shapes [[2, 3]])"),
        (resize(&[(1, 1), (0, 1)]), &x, "Resize: attribute scale = 0 is outside its range"),
        (resize(&[(1, 65_537), (1, 1)]), &x, "Resize: attribute scale = 65537 is outside its range"),
        (reshape(&[]), &[ty(I8, &long)], "tensor of shape [1, 1, 1, 1, 1, 1, 1, 1, 1] is too large"),
    ]);
}

#[test]
fn values_that_only_evaluation_sees() {
    let requant = Op::Requant(Requant { x_zero: 0, y: plain(I8) });
    let x = tensor(I32, &[1], &[1]);
    let shift = |s| tensor(I8, &[1], &[s]);
    let message = |op: &Op, inputs: &[&Tensor]| eval_error(op, inputs).to_string();
    assert_eq!(message(&requant, &[&x, &shift(63)]), "Requant: attribute shift = 63 is outside its range");
    assert_eq!(message(&requant, &[&x, &shift(-1)]), "Requant: attribute shift = -1 is outside its range");
    let zero = tensor(I16, &[1], &[0]);
    assert_eq!(message(&requant, &[&x, &shift(1), &zero]), "Requant: attribute mul = 0 is outside its range");

    let wide = "is outside [-140737488355328, 140737488355328]";
    let far = tensor(I64, &[1], &[(1 << 47) + 1]);
    assert_eq!(message(&requant, &[&far, &shift(1)]), format!("Requant: value 140737488355329 {wide}"));
    let below = Op::Requant(Requant { x_zero: i32::MAX, y: plain(I8) });
    let lowest = tensor(I64, &[1], &[i64::MIN]);
    assert_eq!(message(&below, &[&lowest, &shift(1)]), format!("Requant: value {} {wide}", i64::MIN));

    let softmax = Op::Softmax(Softmax { shift: 0, one_bits: 0, y: plain(I8) });
    let table = |values: &[i64]| tensor(I32, &[values.len()], values);
    let softmax_error = |values: &[i64]| message(&softmax, &[&x, &table(values)]);
    assert_eq!(softmax_error(&[1, -1]), "Softmax: attribute table = -1 is outside its range");
    assert_eq!(softmax_error(&[(1 << 24) + 1]), "Softmax: attribute table = 16777217 is outside its range");
    assert_eq!(softmax_error(&[0, 1]), "Softmax: attribute table[0] = 0 is outside its range");

    let gather = Op::Gather(Gather { axis: 0 });
    let data = tensor(I8, &[2], &[1, 2]);
    let at = |i| tensor(I32, &[1], &[i]);
    assert_eq!(message(&gather, &[&data, &at(2)]), "Gather: value 2 is outside [-2, 1]");
    assert_eq!(message(&gather, &[&data, &at(-3)]), "Gather: value -3 is outside [-2, 1]");
    let none = tensor(I8, &[0], &[]);
    assert_eq!(message(&gather, &[&none, &at(0)]), "Gather: value 0 is outside [0, -1]");

    let dot = |acc| Op::MatMul(MatMul { x_zero: 0, acc });
    let (a, w) = (tensor(I8, &[1], &[1]), tensor(I8, &[1, 1], &[1]));
    let error = message(&dot(I32), &[&a, &w, &tensor(I32, &[1], &[i64::from(i32::MAX)])]);
    assert_eq!(error, "MatMul: value 2147483648 is outside [-2147483648, 2147483647]");
    let error = message(&dot(I64), &[&a, &w, &tensor(I64, &[1], &[i64::MAX])]);
    assert_eq!(error, format!("MatMul: value {} {wide}", i64::MAX));
}

#[test]
fn tensors() {
    let error = |dtype: DType, shape: &[usize], values: &[i64]| {
        Tensor::new(dtype, shape.to_vec(), values.to_vec()).unwrap_err()
    };
    let found = error(I8, &[2], &[1]).to_string();
    assert_eq!(found, "Tensor: number of values differs from the shape (shapes [[2]])");
    assert_eq!(error(I8, &[1], &[128]).to_string(), "Tensor: value 128 is outside [-128, 127]");
    let too_large = OpError::TooLarge { shape: vec![usize::MAX, 0] };
    assert_eq!(
        error(I8, &[usize::MAX, 0], &[]),
        too_large,
        "an empty axis does not make room for a huge one"
    );
    assert_eq!(TensorType::new(I8, vec![ELEMENTS_MAX]).map(|t| t.len()), Ok(ELEMENTS_MAX));
    assert!(TensorType::new(I8, vec![ELEMENTS_MAX + 1]).is_err());
    let bytes = tensor(I16, &[2], &[-2, 258]).to_bytes();
    assert_eq!(bytes, [0xFE, 0xFF, 0x02, 0x01]);
}
