//! Every operator against rten, or against its formula where rten lacks it.

use veracity_graph::{Array, ArrayData};

use super::{
    agrees,
    builder::{Onnx, float, floats, int, ints, text},
    computes,
};
use crate::onnx::AttributeProto;

/// A model of one node `op` from `x` and constants to `y`.
fn one(extents: &[i64], op: &str, attributes: &[AttributeProto]) -> Onnx {
    Onnx::new(extents).node(op, "x", "y", attributes).output("y")
}

#[test]
fn matrix_products() {
    let matmul = Onnx::new(&[-1, 6]).random("w", &[6, 5]).node("MatMul", "x w", "y", &[]).output("y");
    agrees("MatMul", &matmul, &[("x", &[6])]);
    let rows = Onnx::new(&[-1, 4, 6]).random("w", &[6, 5]).node("MatMul", "x w", "y", &[]).output("y");
    agrees("MatMul of rows", &rows, &[("x", &[4, 6])]);
    let gemm = |trans, attributes: &[AttributeProto], bias: &[i64]| {
        let dims = if trans { [5, 6] } else { [6, 5] };
        let all = [attributes, &[int("transB", i64::from(trans))]].concat();
        Onnx::new(&[-1, 6]).random("w", &dims).random("b", bias).node("Gemm", "x w b", "y", &all).output("y")
    };
    let scaled = [float("alpha", 0.5), float("beta", -3.0)];
    for (trans, attributes, bias) in [
        (false, &[][..], &[5][..]),
        (true, &[], &[5]),
        (true, &scaled, &[1, 5]),
        (false, &scaled, &[1]),
        (true, &scaled, &[]),
    ] {
        agrees(&format!("Gemm {trans} {bias:?}"), &gemm(trans, attributes, bias), &[("x", &[6])]);
    }
    let unbiased = Onnx::new(&[-1, 6]).random("w", &[6, 5]).node("Gemm", "x w", "y", &[]).output("y");
    agrees("Gemm without bias", &unbiased, &[("x", &[6])]);
}

/// A convolution of `x` by random weights and a bias.
fn conv(op: &str, x: &[i64], w: &[i64], n_outputs: i64, attributes: &[AttributeProto]) -> Onnx {
    Onnx::new(x).random("w", w).random("b", &[n_outputs]).node(op, "x w b", "y", attributes).output("y")
}

#[test]
fn convolutions_in_two_dimensions() {
    type Case = (&'static str, i64, [i64; 4], Vec<AttributeProto>);
    let cases: Vec<Case> = vec![
        ("plain", 3, [4, 3, 3, 3], vec![]),
        ("1x1", 3, [4, 3, 1, 1], vec![]),
        ("not square", 3, [4, 3, 2, 3], vec![]),
        ("groups", 4, [6, 2, 3, 3], vec![int("group", 2)]),
        ("depthwise", 4, [4, 1, 3, 3], vec![int("group", 4), ints("pads", &[1, 1, 1, 1])]),
        ("depthwise times two", 4, [8, 1, 3, 3], vec![int("group", 4)]),
        ("strides", 3, [4, 3, 3, 3], vec![ints("strides", &[2, 1])]),
        ("dilation", 3, [4, 3, 3, 2], vec![ints("dilations", &[1, 2])]),
        ("asymmetric pads", 3, [4, 3, 3, 3], vec![ints("pads", &[0, 1, 2, 0])]),
        (
            "all",
            4,
            [4, 2, 3, 2],
            vec![
                int("group", 2),
                ints("strides", &[1, 2]),
                ints("dilations", &[2, 1]),
                ints("pads", &[1, 0, 2, 1]),
                ints("kernel_shape", &[3, 2]),
            ],
        ),
        ("upper", 3, [4, 3, 2, 4], vec![text("auto_pad", "SAME_UPPER"), ints("strides", &[2, 3])]),
        ("lower", 3, [4, 3, 2, 4], vec![text("auto_pad", "SAME_LOWER"), ints("strides", &[1, 1])]),
        ("valid", 3, [4, 3, 2, 4], vec![text("auto_pad", "VALID")]),
        ("not set", 3, [4, 3, 2, 4], vec![text("auto_pad", "NOTSET"), ints("pads", &[1, 1, 0, 0])]),
    ];
    for (what, c, w, attributes) in cases {
        let model = conv("Conv", &[-1, c, 7, 6], &w, w[0], &attributes);
        agrees(&format!("Conv {what}"), &model, &[("x", &[usize::try_from(c).unwrap(), 7, 6])]);
    }
    let lower = [text("auto_pad", "SAME_LOWER"), ints("strides", &[2, 3])];
    let explicit = [ints("pads", &[1, 1, 0, 0]), ints("strides", &[2, 3])];
    let [lower, explicit] = [&lower, &explicit].map(|a| conv("Conv", &[-1, 3, 7, 6], &[4, 3, 2, 4], 4, a));
    let samples = super::samples(&[("x", &[3, 7, 6])]);
    super::compare("Conv lower with strides", &lower, &samples, &super::reference(&explicit, &samples));
    let unbiased =
        Onnx::new(&[-1, 3, 5, 5]).random("w", &[4, 3, 3, 3]).node("Conv", "x w", "y", &[]).output("y");
    agrees("Conv without bias", &unbiased, &[("x", &[3, 5, 5])]);
}

#[test]
fn convolutions_in_one_dimension() {
    for (what, w, attributes) in [
        ("plain", [4, 3, 3], vec![]),
        ("pads", [4, 3, 3], vec![ints("pads", &[2, 0]), ints("strides", &[2]), ints("dilations", &[2])]),
        ("upper", [4, 3, 4], vec![text("auto_pad", "SAME_UPPER")]),
    ] {
        agrees(&format!("Conv {what}"), &conv("Conv", &[-1, 3, 9], &w, w[0], &attributes), &[("x", &[3, 9])]);
    }
    let pooled = conv("Conv", &[-1, 3, 9], &[4, 3, 3], 4, &[])
        .node("MaxPool", "y", "p", &[ints("kernel_shape", &[2]), ints("strides", &[2])])
        .node("GlobalAveragePool", "p", "g", &[]);
    let pooled =
        Onnx { graph: crate::onnx::GraphProto { output: vec![], ..pooled.graph }, ..pooled }.output("p g");
    agrees("1-D pools", &pooled, &[("x", &[3, 9])]);
}

#[test]
fn transposed_convolutions() {
    for (what, x, w, n, attributes) in [
        ("plain", vec![-1, 3, 4, 5], vec![3, 4, 3, 3], 4, vec![]),
        ("strides", vec![-1, 3, 4, 5], vec![3, 4, 3, 2], 4, vec![ints("strides", &[2, 3])]),
        (
            "pads",
            vec![-1, 3, 4, 5],
            vec![3, 4, 3, 3],
            4,
            vec![ints("strides", &[2, 2]), ints("pads", &[1, 0, 0, 1])],
        ),
        (
            "output pads",
            vec![-1, 3, 4, 5],
            vec![3, 4, 3, 3],
            4,
            vec![ints("strides", &[2, 2]), ints("pads", &[1, 1, 1, 1]), ints("output_padding", &[1, 1])],
        ),
        ("1-D", vec![-1, 3, 5], vec![3, 4, 3], 4, vec![ints("strides", &[2])]),
    ] {
        let extents: Vec<usize> = x.iter().skip(1).map(|&d| usize::try_from(d).unwrap()).collect();
        let model = conv("ConvTranspose", &x, &w, n, &attributes);
        agrees(&format!("ConvTranspose {what}"), &model, &[("x", &extents)]);
    }
}

/// ONNX's ConvTranspose, position by position: `x` `[c, h, w]`, weights `[c, n / groups, k, k]`.
#[expect(clippy::too_many_arguments, reason = "the operator's own parameters")]
fn transposed(
    x: &[f32],
    [c, h, w]: [usize; 3],
    weights: &[f32],
    n: usize,
    k: usize,
    groups: usize,
    step: usize,
    dilation: usize,
) -> Vec<f32> {
    let size = |v: usize| (v - 1) * step + (k - 1) * dilation + 1;
    let (oh, ow, per_group) = (size(h), size(w), n / groups);
    let mut y = vec![0.0; n * oh * ow];
    for (i, o) in (0..c).flat_map(|i| (0..per_group).map(move |o| (i, o))) {
        let out = i / (c / groups) * per_group + o;
        for (iy, ix, ky, kx) in
            (0..h * w * k * k).map(|p| (p / (w * k * k), p / (k * k) % w, p / k % k, p % k))
        {
            let at = (out * oh + iy * step + ky * dilation) * ow + ix * step + kx * dilation;
            y[at] += x[(i * h + iy) * w + ix] * weights[((i * per_group + o) * k + ky) * k + kx];
        }
    }
    y
}

#[test]
fn transposed_convolutions_with_groups_and_dilation() {
    for (groups, step, dilation) in [(2, 1, 1), (2, 2, 1), (4, 2, 2), (1, 1, 2)] {
        let weights = super::random(5, 4 * (8 / groups) * 4);
        let dims = [4, 8 / i64::try_from(groups).unwrap(), 2, 2];
        let [s, d] = [step, dilation].map(|v: usize| i64::try_from(v).unwrap());
        let attributes = [
            int("group", i64::try_from(groups).unwrap()),
            ints("strides", &[s, s]),
            ints("dilations", &[d, d]),
        ];
        let model = Onnx::new(&[-1, 4, 3, 5]).floats("w", &dims, &weights).node(
            "ConvTranspose",
            "x w",
            "y",
            &attributes,
        );
        computes(&format!("ConvTranspose of {groups} groups"), &model.output("y"), &[4, 3, 5], |x| {
            transposed(x, [4, 3, 5], &weights, 8, 2, groups, step, dilation)
        });
    }
}

#[test]
fn transposed_convolutions_pad_automatically() {
    for mode in ["SAME_UPPER", "SAME_LOWER"] {
        let attributes = [text("auto_pad", mode), ints("strides", &[2, 2])];
        let weights = super::random(5, 3 * 2 * 9);
        let model = Onnx::new(&[-1, 3, 4, 4]).floats("w", &[3, 2, 3, 3], &weights);
        let model = model.node("ConvTranspose", "x w", "y", &attributes).output("y");
        // One row and column too many: it is trimmed at the end for SAME_UPPER, at the start for SAME_LOWER.
        let first = usize::from(mode == "SAME_LOWER");
        computes(mode, &model, &[3, 4, 4], |x| {
            let full = transposed(x, [3, 4, 4], &weights, 2, 3, 1, 2, 1);
            let keep = |p: &usize| {
                (first..first + 8).contains(&(p / 9 % 9)) && (first..first + 8).contains(&(p % 9))
            };
            (0..full.len()).filter(keep).map(|p| full[p]).collect()
        });
    }
}

#[test]
fn activations_of_the_reference() {
    for (op, opset, attributes) in [
        ("Relu", 17, vec![]),
        ("LeakyRelu", 17, vec![]),
        ("LeakyRelu", 17, vec![float("alpha", 0.3)]),
        ("LeakyRelu", 17, vec![float("alpha", 6.0)]),
        ("LeakyRelu", 17, vec![float("alpha", -0.5)]),
        ("Elu", 17, vec![]),
        ("Elu", 17, vec![float("alpha", 7.0)]),
        ("Sigmoid", 17, vec![]),
        ("Tanh", 17, vec![]),
        ("HardSigmoid", 17, vec![]),
        ("HardSigmoid", 17, vec![float("alpha", 0.02), float("beta", 0.3)]),
        ("HardSwish", 17, vec![]),
        ("Gelu", 20, vec![]),
        ("Gelu", 20, vec![text("approximate", "tanh")]),
        ("Swish", 24, vec![]),
        ("Softplus", 17, vec![]),
        ("Erf", 17, vec![]),
        ("Abs", 17, vec![]),
        ("Neg", 17, vec![]),
        ("Identity", 17, vec![]),
    ] {
        agrees(
            &format!("{op} {attributes:?}"),
            &one(&[-1, 3, 40], op, &attributes).opset(opset),
            &[("x", &[3, 40])],
        );
    }
}

#[test]
fn activations_by_formula() {
    let each = |f: fn(f32) -> f32| move |x: &[f32]| x.iter().map(|&v| f(v)).collect::<Vec<f32>>();
    let selu = |x: f32| 1.050_701 * if x < 0.0 { 1.673_263_2 * x.exp_m1() } else { x };
    computes("Selu", &one(&[-1, 50], "Selu", &[]), &[50], each(selu));
    let selu = |x: f32| -2.0 * if x < 0.0 { 3.0 * x.exp_m1() } else { x };
    let attributes = [float("alpha", 3.0), float("gamma", -2.0)];
    computes("Selu negative", &one(&[-1, 50], "Selu", &attributes), &[50], each(selu));
    let celu = |x: f32| if x < 0.0 { 8.0 * (x / 8.0).exp_m1() } else { x };
    computes("Celu", &one(&[-1, 50], "Celu", &[float("alpha", 8.0)]), &[50], each(celu));
    let mish = |x: f32| x * x.exp().ln_1p().tanh();
    computes("Mish", &one(&[-1, 50], "Mish", &[]), &[50], each(mish));
    computes("Softsign", &one(&[-1, 50], "Softsign", &[]), &[50], each(|x| x / (1.0 + x.abs())));
    // Continuous at its threshold for this sample only if no value is near it; the bound is wide enough for i8.
    let zeros = |x: &[f32]| x.iter().map(|_| 0.0).collect::<Vec<f32>>();
    computes("ThresholdedRelu", &one(&[-1, 50], "ThresholdedRelu", &[float("alpha", 20.0)]), &[50], zeros);
    let scaled = Onnx::new(&[-1, 50]).floats("k", &[], &[15.0]).node("Mul", "x k", "s", &[]);
    let wide = scaled.node("Celu", "s", "y", &[float("alpha", 8.0)]).output("y");
    computes(
        "Celu of large values",
        &wide,
        &[50],
        each(|x| {
            let x = 15.0 * x;
            if x < 0.0 { 8.0 * (x / 8.0).exp_m1() } else { x }
        }),
    );
}

#[test]
fn slopes_per_channel() {
    for (what, slope) in [("channels", &[3i64, 1, 1][..]), ("last axis", &[5]), ("one", &[1])] {
        let model = Onnx::new(&[-1, 3, 4, 5]).random("a", slope).node("PRelu", "x a", "y", &[]).output("y");
        agrees(&format!("PRelu {what}"), &model, &[("x", &[3, 4, 5])]);
    }
    let after = conv("Conv", &[-1, 3, 5, 5], &[4, 3, 3, 3], 4, &[]);
    let after = after.random("a", &[4, 1, 1]).node("PRelu", "y a", "z", &[]);
    let after =
        Onnx { graph: crate::onnx::GraphProto { output: vec![], ..after.graph }, ..after }.output("z");
    agrees("PRelu after Conv", &after, &[("x", &[3, 5, 5])]);
}

#[test]
fn clips() {
    let x: &[(&str, &[usize])] = &[("x", &[30])];
    agrees("Clip attributes", &one(&[-1, 30], "Clip", &[float("min", -0.5), float("max", 1.0)]).opset(9), x);
    agrees("Clip default attributes", &one(&[-1, 30], "Clip", &[float("max", 1.0)]).opset(9), x);
    let operands = Onnx::new(&[-1, 30]).floats("lo", &[], &[-0.25]).floats("hi", &[], &[0.75]);
    agrees("Clip operands", &operands.clone().node("Clip", "x lo hi", "y", &[]).output("y"), x);
    agrees("Clip low", &operands.clone().node("Clip", "x lo", "y", &[]).output("y"), x);
    agrees("Clip high", &operands.clone().node("Clip", "x - hi", "y", &[]).output("y"), x);
    agrees("Min", &operands.clone().node("Min", "x hi", "y", &[]).output("y"), x);
    agrees("Max", &operands.clone().node("Max", "x lo", "y", &[]).output("y"), x);
    let wide = operands.random("w", &[30, 8]).floats("low", &[], &[-3.0]).floats("high", &[], &[5.0]);
    let absorbed = wide.node("MatMul", "x w", "m", &[]).node("Clip", "m low high", "y", &[]);
    agrees("Clip absorbed", &absorbed.output("y"), x);
}

#[test]
fn softmax_of_both_semantics() {
    let x: &[(&str, &[usize])] = &[("x", &[3, 4])];
    agrees("last axis", &one(&[-1, 3, 4], "Softmax", &[]), x);
    agrees("axis 2", &one(&[-1, 3, 4], "Softmax", &[int("axis", 2)]), x);
    // Before opset 13 everything from the axis on, 1 by default, is one row.
    let one_row = |x: &[f32]| {
        let e: Vec<f32> = x.iter().map(|v| v.exp()).collect();
        e.iter().map(|v| v / e.iter().sum::<f32>()).collect()
    };
    computes("opset 11", &one(&[-1, 3, 4], "Softmax", &[]).opset(11), &[3, 4], one_row);
    let rows = |x: &[f32]| x.chunks(4).flat_map(one_row).collect();
    computes("opset 11 axis 2", &one(&[-1, 3, 4], "Softmax", &[int("axis", 2)]).opset(11), &[3, 4], rows);
}

#[test]
fn pools() {
    type Case = (&'static str, Vec<AttributeProto>);
    let cases: Vec<Case> = vec![
        ("plain", vec![ints("kernel_shape", &[2, 3])]),
        ("strides", vec![ints("kernel_shape", &[3, 3]), ints("strides", &[2, 3])]),
        ("pads", vec![ints("kernel_shape", &[3, 3]), ints("pads", &[1, 0, 2, 1]), ints("strides", &[2, 2])]),
        ("ceil", vec![ints("kernel_shape", &[3, 3]), ints("strides", &[2, 2]), int("ceil_mode", 1)]),
        (
            "ceil and pads",
            vec![
                ints("kernel_shape", &[2, 2]),
                ints("strides", &[3, 3]),
                ints("pads", &[1, 1, 1, 1]),
                int("ceil_mode", 1),
            ],
        ),
        (
            "upper",
            vec![ints("kernel_shape", &[2, 3]), ints("strides", &[2, 2]), text("auto_pad", "SAME_UPPER")],
        ),
        ("lower", vec![ints("kernel_shape", &[2, 4]), text("auto_pad", "SAME_LOWER")]),
    ];
    for (what, attributes) in cases {
        for op in ["MaxPool", "AveragePool"] {
            agrees(&format!("{op} {what}"), &one(&[-1, 3, 7, 8], op, &attributes), &[("x", &[3, 7, 8])]);
        }
        let padded = [attributes, vec![int("count_include_pad", 1)]].concat();
        agrees(
            &format!("AveragePool {what} with pads"),
            &one(&[-1, 3, 7, 8], "AveragePool", &padded),
            &[("x", &[3, 7, 8])],
        );
    }
    for op in ["GlobalAveragePool", "GlobalMaxPool"] {
        agrees(op, &one(&[-1, 3, 7, 8], op, &[]), &[("x", &[3, 7, 8])]);
    }
    let dilated = [ints("kernel_shape", &[2, 2]), ints("dilations", &[2, 3])];
    computes("MaxPool with dilation", &one(&[-1, 1, 4, 5], "MaxPool", &dilated), &[1, 4, 5], |x| {
        let at = |y: usize, c: usize| x[y * 5 + c];
        let max = |y, c| at(y, c).max(at(y, c + 3)).max(at(y + 2, c)).max(at(y + 2, c + 3));
        (0..2).flat_map(|y| (0..2).map(move |c| (y, c))).map(|(y, c)| max(y, c)).collect()
    });
}

#[test]
fn arithmetic_with_constants() {
    for op in ["Add", "Sub", "Mul", "Div"] {
        for dims in [&[][..], &[1], &[5], &[3, 1, 1], &[1, 3, 1, 1], &[3, 4, 5], &[4, 1]] {
            let n: i64 = dims.iter().product();
            let values: Vec<f32> =
                super::random(4, usize::try_from(n).unwrap()).iter().map(|v| v + 1.5).collect();
            let model = Onnx::new(&[-1, 3, 4, 5]).floats("c", dims, &values);
            agrees(
                &format!("{op} {dims:?}"),
                &model.clone().node(op, "x c", "y", &[]).output("y"),
                &[("x", &[3, 4, 5])],
            );
            if op != "Div" {
                let swapped = model.node(op, "c x", "y", &[]).output("y");
                agrees(&format!("{op} {dims:?} first"), &swapped, &[("x", &[3, 4, 5])]);
            }
        }
    }
    let square = Onnx::new(&[-1, 9]).floats("two", &[], &[2.0]).node("Pow", "x two", "y", &[]).output("y");
    agrees("Pow", &square, &[("x", &[9])]);
}

#[test]
fn arithmetic_of_values() {
    let inputs: &[(&str, &[usize])] = &[("x", &[3, 4, 5]), ("z", &[3, 4, 5])];
    let small: &[(&str, &[usize])] = &[("x", &[3, 4, 5]), ("z", &[3, 1, 1])];
    let other: &[(&str, &[usize])] = &[("x", &[3, 1, 5]), ("z", &[1, 4, 5])];
    for op in ["Add", "Sub", "Mul"] {
        for shapes in [inputs, small, other] {
            let extents = |i: usize| -> Vec<i64> {
                std::iter::once(-1).chain(shapes[i].1.iter().map(|&d| i64::try_from(d).unwrap())).collect()
            };
            let model = Onnx::new(&extents(0)).input("z", &extents(1));
            agrees(op, &model.clone().node(op, "x z", "y", &[]).output("y"), shapes);
            agrees(op, &model.node(op, "z x", "y", &[]).output("y"), shapes);
        }
    }
    agrees("x + x", &Onnx::new(&[-1, 9]).node("Add", "x x", "y", &[]).output("y"), &[("x", &[9])]);
}

#[test]
fn squeeze_and_excite() {
    let model = conv("Conv", &[-1, 3, 6, 6], &[4, 3, 3, 3], 4, &[])
        .random("w1", &[2, 4, 1, 1])
        .random("w2", &[4, 2, 1, 1])
        .node("GlobalAveragePool", "y", "g", &[])
        .node("Conv", "g w1", "s", &[])
        .node("Relu", "s", "r", &[])
        .node("Conv", "r w2", "e", &[])
        .node("Sigmoid", "e", "gate", &[])
        .node("Mul", "y gate", "out", &[]);
    let model =
        Onnx { graph: crate::onnx::GraphProto { output: vec![], ..model.graph }, ..model }.output("out");
    agrees("squeeze and excite", &model, &[("x", &[3, 6, 6])]);
}

#[test]
fn moves() {
    let x: &[(&str, &[usize])] = &[("x", &[3, 4, 5])];
    let model = || Onnx::new(&[-1, 3, 4, 5]);
    let concat = model().node("Relu", "x", "r", &[]);
    for axis in [1, 2, 3, -1] {
        agrees("Concat", &concat.clone().node("Concat", "x r x", "y", &[int("axis", axis)]).output("y"), x);
        let split = model().node("Split", "x", "a", &[int("axis", axis), int("num_outputs", 1)]);
        agrees("Split of one", &split.opset(18).output("a"), x);
    }
    let split =
        model().opset(11).node("Split", "x", "a b", &[int("axis", 1), ints("split", &[1, 2])]).output("b a");
    agrees("Split by attribute", &split, x);
    let split = model().ints("s", &[3, 2]).node("Split", "x s", "a b", &[int("axis", 3)]).output("b a");
    agrees("Split by operand", &split, x);
    let even = model().node("Split", "x", "a b", &[int("axis", 2)]).output("b a");
    agrees("Split evenly", &even, x);
    for (start, end, axes, steps) in [
        (vec![1], vec![3], vec![2], vec![1]),
        (vec![-1], vec![-100], vec![3], vec![-1]),
        (vec![4], vec![0], vec![3], vec![-2]),
        (vec![0, 1], vec![i64::MAX, -1], vec![0, -2], vec![1, 1]),
        (vec![-2, 3], vec![9, i64::MIN], vec![1, -1], vec![1, -3]),
    ] {
        let model = model().ints("s", &start).ints("e", &end).ints("a", &axes).ints("t", &steps);
        agrees(
            &format!("Slice {start:?} {end:?}"),
            &model.node("Slice", "x s e a t", "y", &[]).output("y"),
            x,
        );
    }
    let old = [ints("starts", &[1, 0]), ints("ends", &[3, 2]), ints("axes", &[2, 3])];
    computes("Slice by attribute", &one(&[-1, 3, 4, 5], "Slice", &old).opset(9), &[3, 4, 5], |x| {
        let inside = |p: &usize| (1..3).contains(&(p / 5 % 4)) && p % 5 < 2;
        (0..60).filter(inside).map(|p| x[p]).collect()
    });
    for perm in [[0, 1, 2, 3], [0, 2, 3, 1], [0, 3, 1, 2], [0, 3, 2, 1]] {
        agrees(&format!("Transpose {perm:?}"), &one(&[-1, 3, 4, 5], "Transpose", &[ints("perm", &perm)]), x);
    }
    for (axis, indices) in [(1, vec![2, 0, -1]), (3, vec![4, 4]), (-2, vec![1])] {
        let model = model().ints("i", &indices).node("Gather", "x i", "y", &[int("axis", axis)]).output("y");
        agrees("Gather", &model, x);
    }
    let scalar = model().raw("i", &[], crate::onnx::data_type::INT64, 2i64.to_le_bytes().into());
    agrees("Gather of one", &scalar.node("Gather", "x i", "y", &[int("axis", 1)]).output("y"), x);
}

#[test]
fn pads() {
    let x: &[(&str, &[usize])] = &[("x", &[3, 4, 5])];
    let model = Onnx::new(&[-1, 3, 4, 5]).ints("p", &[0, 0, 1, 2, 0, 1, 0, 3]).floats("v", &[], &[0.75]);
    let modes = [("constant", "x p"), ("constant", "x p v"), ("reflect", "x p"), ("edge", "x p")];
    for (mode, operands) in modes {
        let p: &[i64] =
            if mode == "constant" { &[0, 0, 1, 2, 0, 1, 0, 3] } else { &[0, 0, 1, 2, 0, 0, 0, 3] };
        let model = Onnx::new(&[-1, 3, 4, 5]).ints("p", p).floats("v", &[], &[0.75]);
        let model = model.node("Pad", operands, "y", &[text("mode", mode)]).output("y");
        if mode == "edge" {
            computes("Pad edge", &model, &[3, 4, 5], |x| {
                let at =
                    |p: usize| (p / 50, (p / 10 % 5).saturating_sub(1), (p % 10).saturating_sub(2).min(4));
                (0..150).map(at).map(|(c, h, w)| x[(c * 4 + h) * 5 + w]).collect()
            });
        } else {
            agrees(&format!("Pad {mode}"), &model, x);
        }
    }
    let far = Onnx::new(&[-1, 3, 4, 5]).ints("p", &[0, 0, 1, 0, 0, 0, 0, 0]).floats("v", &[], &[-7.0]);
    agrees("Pad beyond the range", &far.node("Pad", "x p v", "y", &[]).output("y"), x);
    let axes =
        model.ints("q", &[1, 2]).ints("a", &[-1]).node("Pad", "x q v a", "y", &[]).opset(18).output("y");
    computes("Pad of one axis", &axes, &[3, 4, 5], |x| {
        x.chunks(5).flat_map(|row| [&[0.75], row, &[0.75, 0.75]].concat()).collect()
    });
    let old =
        one(&[-1, 3, 4, 5], "Pad", &[ints("pads", &[0, 0, 0, 1, 0, 0, 0, 0]), float("value", 0.5)]).opset(9);
    computes("Pad by attribute", &old, &[3, 4, 5], |x| {
        x.chunks(5).flat_map(|row| [&[0.5], row].concat()).collect()
    });
}

#[test]
fn shapes() {
    let x: &[(&str, &[usize])] = &[("x", &[3, 4, 5])];
    let model = || Onnx::new(&[-1, 3, 4, 5]);
    for target in [vec![-1, 12, 5], vec![0, 60], vec![0, 0, -1], vec![-1, 3, 2, 2, 5], vec![0, -1, 5]] {
        agrees(
            &format!("Reshape {target:?}"),
            &model().ints("t", &target).node("Reshape", "x t", "y", &[]).output("y"),
            x,
        );
    }
    agrees("Flatten", &one(&[-1, 3, 4, 5], "Flatten", &[]), x);
    agrees("Flatten -3", &one(&[-1, 3, 4, 5], "Flatten", &[int("axis", -3)]), x);
    let squeezed =
        model().ints("a", &[2, -1]).node("Unsqueeze", "x a", "u", &[]).node("Squeeze", "u a", "y", &[]);
    agrees("Unsqueeze and Squeeze", &squeezed.output("u y"), x);
    let old = model().node("Unsqueeze", "x", "u", &[ints("axes", &[1])]).node(
        "Squeeze",
        "u",
        "y",
        &[ints("axes", &[1])],
    );
    computes("by attribute", &old.opset(9).output("y"), &[3, 4, 5], <[f32]>::to_vec);
}

#[test]
fn shapes_as_pytorch_computes_them() {
    let index = |model: Onnx, name: &str, v: i64| {
        model.raw(name, &[], crate::onnx::data_type::INT64, v.to_le_bytes().into())
    };
    let flat = index(Onnx::new(&[-1, 3, 4, 5]), "zero", 0)
        .ints("axis", &[0])
        .ints("rest", &[-1])
        .random("w", &[60, 4])
        .node("Shape", "x", "s", &[])
        .node("Gather", "s zero", "n", &[int("axis", 0)])
        .node("Unsqueeze", "n axis", "n1", &[])
        .node("Concat", "n1 rest", "target", &[int("axis", 0)])
        .node("Reshape", "x target", "f", &[])
        .node("MatMul", "f w", "y", &[]);
    agrees("x.view(x.size(0), -1)", &flat.output("y"), &[("x", &[3, 4, 5])]);
    // Channel shuffle with every extent taken from the shape.
    let shuffle = Onnx::new(&[-1, 4, 5, 5])
        .ints("two", &[2])
        .ints("all", &[1 << 40])
        .ints("zero", &[0])
        .ints("minus", &[-1])
        .node("Shape", "x", "s", &[])
        .node("Slice", "s zero two2", "head", &[])
        .ints("two2", &[1])
        .node("Slice", "s two all", "tail", &[])
        .node("Concat", "head two minus tail", "t", &[int("axis", 0)])
        .node("Reshape", "x t", "r", &[])
        .node("Transpose", "r", "p", &[ints("perm", &[0, 2, 1, 3, 4])])
        .node("Reshape", "p s", "y", &[]);
    agrees("channel shuffle", &shuffle.output("y"), &[("x", &[4, 5, 5])]);
}

#[test]
fn resizes() {
    let x: &[(&str, &[usize])] = &[("x", &[3, 4, 6])];
    let model =
        || Onnx::new(&[-1, 3, 4, 6]).floats("s", &[4], &[1.0, 1.0, 2.0, 1.5]).ints("z", &[1, 3, 7, 4]);
    for mode in ["asymmetric", "half_pixel", "align_corners"] {
        for rounding in ["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"] {
            let how = [
                text("mode", "nearest"),
                text("coordinate_transformation_mode", mode),
                text("nearest_mode", rounding),
            ];
            let scaled = model().node("Resize", "x - s", "y", &how).output("y");
            // Samples run one by one: the batch extent among the sizes would not fit a batch.
            let sized = model().ints("z2", &[11, 3, 7, 4]).node("Resize", "x - - z2", "y", &how).output("y");
            agrees(&format!("Resize {mode} {rounding}"), &scaled, x);
            agrees(&format!("Resize {mode} {rounding} to sizes"), &sized, x);
        }
    }
    let whole = |x: &[f32]| (0..144).map(|p| x[p / 48 * 24 + p / 12 % 4 * 6 + p % 12 / 2]).collect();
    let attribute = [floats("scales", &[1.0, 1.0, 1.0, 2.0]), text("mode", "nearest")];
    computes(
        "Upsample by attribute",
        &one(&[-1, 3, 4, 6], "Upsample", &attribute).opset(9),
        &[3, 4, 6],
        whole,
    );
    let s = Onnx::new(&[-1, 3, 4, 6]).floats("s", &[4], &[1.0, 1.0, 1.0, 2.0]);
    computes(
        "Upsample",
        &s.clone().node("Upsample", "x s", "y", &[]).opset(9).output("y"),
        &[3, 4, 6],
        whole,
    );
    computes("Resize 10", &s.node("Resize", "x s", "y", &[]).opset(10).output("y"), &[3, 4, 6], whole);
    let axes = Onnx::new(&[-1, 3, 4, 6]).ints("z", &[12]);
    let how = [
        ints("axes", &[3]),
        text("coordinate_transformation_mode", "asymmetric"),
        text("nearest_mode", "floor"),
    ];
    computes(
        "Resize of one axis",
        &axes.node("Resize", "x - - z", "y", &how).opset(18).output("y"),
        &[3, 4, 6],
        whole,
    );
}

#[test]
fn resizes_to_computed_sizes() {
    let model = Onnx::new(&[-1, 3, 4, 6])
        .ints("from", &[0])
        .ints("to", &[2])
        .ints("hw", &[8, 12])
        .node("Shape", "x", "s", &[])
        .node("Slice", "s from to", "nc", &[])
        .node("Concat", "nc hw", "sizes", &[int("axis", 0)])
        .node(
            "Resize",
            "x - - sizes",
            "y",
            &[text("coordinate_transformation_mode", "asymmetric"), text("nearest_mode", "floor")],
        );
    agrees("F.interpolate(size=..)", &model.output("y"), &[("x", &[3, 4, 6])]);
}

#[test]
fn reductions() {
    let x: &[(&str, &[usize])] = &[("x", &[3, 4, 5])];
    for op in ["ReduceMean", "ReduceSum", "ReduceMax"] {
        for (axes, keep) in [(vec![2, 3], 1), (vec![2, 3], 0), (vec![1], 0), (vec![-1], 1), (vec![1, 3], 0)] {
            let attribute = one(&[-1, 3, 4, 5], op, &[ints("axes", &axes), int("keepdims", keep)]);
            let operand =
                Onnx::new(&[-1, 3, 4, 5]).ints("a", &axes).node(op, "x a", "y", &[int("keepdims", keep)]);
            if op != "ReduceSum" {
                agrees(&format!("{op} {axes:?} {keep}"), &attribute, x);
            }
            agrees(&format!("{op} {axes:?} {keep} by operand"), &operand.opset(18).output("y"), x);
        }
    }
    for (axis, keep) in [(1, 1), (2, 0), (-1, 0)] {
        let attributes = [int("axis", axis), int("keepdims", keep)];
        let model = one(&[-1, 3, 4, 5], "ArgMax", &attributes);
        // Far enough apart that 8 bits tell them apart.
        let value = |i: usize| (i * 7 % 61) as f32 / 15.0 - 2.0;
        let values = (0..super::N * 60).map(|i| value(i % 60 + i / 60)).collect();
        let apart = Array { shape: vec![super::N, 3, 4, 5], data: ArrayData::F32(values) };
        let samples = std::collections::BTreeMap::from([("x".to_owned(), apart)]);
        super::compare("ArgMax", &model, &samples, &super::reference(&model, &samples));
    }
    for (last, expected) in [(0, 1.0), (1, 3.0)] {
        let model = one(&[-1, 5], "Mul", &[]);
        let model =
            Onnx { graph: crate::onnx::GraphProto { node: vec![], output: vec![], ..model.graph }, ..model };
        let model = model.floats("k", &[5], &[0.0; 5]).floats("a", &[5], &[1.0, 2.0, 0.0, 2.0, -1.0]);
        let model = model.node("Mul", "x k", "m", &[]).node("Add", "m a", "s", &[]);
        let model =
            model.node("ArgMax", "s", "y", &[int("axis", 1), int("select_last_index", last)]).output("y");
        computes("ArgMax of equals", &model, &[5], |_| vec![expected]);
    }
}

#[test]
fn batch_normalisation() {
    let norm = |model: Onnx, x: &str, n: i64| {
        let positive: Vec<f32> =
            super::random(9, usize::try_from(n).unwrap()).iter().map(|v| v + 1.25).collect();
        model
            .random("scale", &[n])
            .random("shift", &[n])
            .random("mean", &[n])
            .floats("var", &[n], &positive)
            .node("BatchNormalization", &format!("{x} scale shift mean var"), "bn", &[float("epsilon", 1e-3)])
    };
    agrees("alone", &norm(Onnx::new(&[-1, 4, 3, 3]), "x", 4).output("bn"), &[("x", &[4, 3, 3])]);
    agrees("flat", &norm(Onnx::new(&[-1, 4]), "x", 4).output("bn"), &[("x", &[4])]);
    let conv = Onnx::new(&[-1, 3, 5, 5]).random("w", &[4, 3, 3, 3]).random("b", &[4]).node(
        "Conv",
        "x w b",
        "c",
        &[],
    );
    let folded = norm(conv.clone(), "c", 4).node("Relu", "bn", "y", &[]).output("y");
    agrees("folded", &folded, &[("x", &[3, 5, 5])]);
    let imported = super::try_import(&folded).unwrap();
    let convs =
        imported.model.graph().nodes.iter().filter(|n| n.name.starts_with("BatchNormalization")).count();
    assert_eq!(convs, 0, "the normalisation is folded into the convolution");
    agrees(
        "kept, as the convolution has another use",
        &norm(conv, "c", 4).output("bn c"),
        &[("x", &[3, 5, 5])],
    );
    let gemm = Onnx::new(&[-1, 6]).random("w", &[6, 4]).random("b", &[4]).node("Gemm", "x w b", "g", &[]);
    agrees("folded into Gemm", &norm(gemm, "g", 4).output("bn"), &[("x", &[6])]);
    let conv = Onnx::new(&[-1, 3, 5, 5]).random("w", &[3, 4, 3, 3]).random("b", &[4]).node(
        "ConvTranspose",
        "x w b",
        "c",
        &[],
    );
    agrees("folded into ConvTranspose", &norm(conv, "c", 4).output("bn"), &[("x", &[3, 5, 5])]);
}

#[test]
fn scales_and_shifts_fold_into_products() {
    let model = Onnx::new(&[-1, 3, 5, 5])
        .random("w", &[4, 3, 3, 3])
        .random("b", &[4])
        .random("k", &[4, 1, 1])
        .random("a", &[1, 4, 1, 1])
        .node("Conv", "x w b", "c", &[])
        .node("Mul", "c k", "m", &[])
        .node("Add", "a m", "y", &[])
        .output("y");
    agrees("Conv, Mul, Add", &model, &[("x", &[3, 5, 5])]);
    let imported = super::try_import(&model).unwrap();
    let left = |name: &str| name.starts_with("Mul") || name.starts_with("Add");
    assert!(!imported.model.graph().nodes.iter().any(|n| left(&n.name)), "everything is folded");
}

#[test]
fn weights_that_nodes_compute() {
    let model = Onnx::new(&[-1, 6])
        .random("w", &[5, 2, 3])
        .ints("shape", &[5, -1])
        .node("Reshape", "w shape", "w2", &[])
        .node("Transpose", "w2", "w3", &[])
        .node("Identity", "w3", "w4", &[])
        .node("MatMul", "x w4", "y", &[])
        .output("y");
    agrees("folded weights", &model, &[("x", &[6])]);
}

#[test]
fn rows_of_zero_weights_cost_no_precision() {
    let mut w: Vec<f32> = super::random(3, 30).iter().map(|v| v / 1000.0).collect();
    w[..6].fill(0.0);
    let model =
        Onnx::new(&[-1, 6]).floats("w", &[5, 6], &w).floats("b", &[5], &[0.003, 0.0, 0.001, 0.0, 0.0]);
    let model = model.node("Gemm", "x w b", "g", &[int("transB", 1)]).floats("k", &[], &[500.0]).node(
        "Mul",
        "g k",
        "y",
        &[],
    );
    agrees("a row of zeros", &model.node("Relu", "g", "r", &[]).output("y r"), &[("x", &[6])]);
}
