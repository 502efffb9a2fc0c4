//! Whole networks of the usual shapes, with random weights: ResNet-18 and MobileNetV2 as torchvision draws them.
//!
//! Weights are drawn as for training (He et al. 2015), and the running statistics of each batch normalisation are those
//! of the samples, as after training: without them deep random networks give nearly the same logits for every input,
//! and any cosine would look good. For the same reason each logit has mean 0 over the samples. Samples are half
//! pictures, half noise; either kind alone is far outside the ranges that the other one measures.
//! `bench/make_models.py` draws the same networks for the benchmarks.

use std::collections::BTreeMap;

use veracity_graph::{Array, ArrayData};

use super::builder::{Onnx, float_tensor, int, ints};
use crate::{
    Activations, Imported, Options, Samples, Scheme, import, measure, onnx::AttributeProto,
    reference::Reference,
};

const CHANNELS: usize = 3;
const SIDE: usize = 224;
const N_CLASSES: usize = 1000;
/// Images that give the batch normalisations and the scales.
const N_SAMPLES: usize = 8;
/// Images that are compared.
const N_UNSEEN: usize = 8;
/// As in trained residual networks, a branch changes its input by less than the input's own size.
const BRANCH_SCALE: f32 = 0.3;

#[expect(clippy::cast_possible_truncation, reason = "to nearest")]
fn to_f32(x: f64) -> f32 {
    x as f32
}

/// Seeded numbers.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Evenly in `(0, 1)`.
    fn even(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (f64::from(u32::try_from(self.0 >> 32).unwrap()) + 0.5) / 4_294_967_296.0
    }

    /// `n` numbers of the normal distribution, by Box and Muller.
    fn normal(&mut self, n: usize, deviation: f64) -> Vec<f32> {
        let mut pair = || {
            let (radius, angle) = ((-2.0 * self.even().ln()).sqrt(), std::f64::consts::TAU * self.even());
            [angle.cos(), angle.sin()].map(|v| to_f32(deviation * radius * v))
        };
        let mut all: Vec<f32> = (0..n.div_ceil(2)).flat_map(|_| pair()).collect();
        all.truncate(n);
        all
    }

    fn between(&mut self, n: usize, lo: f64, hi: f64) -> Vec<f32> {
        (0..n).map(|_| to_f32(lo + (hi - lo) * self.even())).collect()
    }
}

/// `n` images like normalised photographs: patches of several sizes and pixel noise, within 2.5.
fn pictures(seed: u64, n: usize) -> Samples {
    let mut dice = Dice::new(seed);
    let mut pixels = dice.normal(n * CHANNELS * SIDE * SIDE, 0.25);
    for cells in [1, 7, 28] {
        let patches = dice.normal(n * CHANNELS * cells * cells, 0.6);
        let size = SIDE / cells;
        for (i, pixel) in pixels.iter_mut().enumerate() {
            let (plane, y, x) = (i / (SIDE * SIDE), i / SIDE % SIDE, i % SIDE);
            *pixel += patches[(plane * cells + y / size) * cells + x / size];
        }
    }
    samples(pixels.iter().map(|v| v.clamp(-2.5, 2.5)).collect())
}

/// `n` images of even noise, pixel by pixel.
fn noise(seed: u64, n: usize) -> Samples {
    samples(Dice::new(seed).between(n * CHANNELS * SIDE * SIDE, -2.0, 2.0))
}

fn samples(pixels: Vec<f32>) -> Samples {
    let shape = vec![pixels.len() / (CHANNELS * SIDE * SIDE), CHANNELS, SIDE, SIDE];
    Samples::from([("x".to_owned(), Array { shape, data: ArrayData::F32(pixels) })])
}

/// A value of the network: its name and the extents of a sample.
#[derive(Clone)]
struct Value {
    name: String,
    extents: Vec<usize>,
}

/// A network under construction, which runs each node on the samples as soon as it is added.
struct Net {
    model: Onnx,
    dice: Dice,
    /// Each value on the samples.
    values: BTreeMap<String, Array>,
}

fn extent(n: usize) -> i64 {
    i64::try_from(n).unwrap()
}

impl Net {
    fn new(samples: &Samples, seed: u64) -> (Self, Value) {
        let extents = vec![CHANNELS, SIDE, SIDE];
        let model = Onnx::new(&[-1, extent(CHANNELS), extent(SIDE), extent(SIDE)]);
        let net = Self { model, dice: Dice::new(seed), values: samples.clone() };
        (net, Value { name: "x".into(), extents })
    }

    /// Adds a node of some values and new constants, and runs it.
    fn node(
        &mut self,
        op: &str,
        inputs: &[&Value],
        constants: &[(&[usize], &[f32])],
        attributes: &[AttributeProto],
        extents: Vec<usize>,
    ) -> Value {
        let n = self.model.graph.node.len();
        let name = format!("{op}{n}");
        let mut step = Onnx { opset: self.model.opset, graph: Default::default() };
        let mut operands: Vec<String> = inputs.iter().map(|v| v.name.clone()).collect();
        for input in inputs {
            let extents: Vec<i64> =
                std::iter::once(-1).chain(input.extents.iter().map(|&d| extent(d))).collect();
            step = step.input(&input.name, &extents);
        }
        for (i, (shape, values)) in constants.iter().enumerate() {
            let (constant, dims) = (format!("{n}.{i}"), shape.iter().map(|&d| extent(d)).collect::<Vec<_>>());
            step.graph.initializer.push(float_tensor(&constant, &dims, values));
            operands.push(constant);
        }
        step = step.node(op, &operands.join(" "), &name, attributes).output(&name);
        let fed = inputs.iter().map(|v| (v.name.clone(), self.values[&v.name].clone())).collect();
        let answer = Reference::load(&step.bytes(), std::slice::from_ref(&name))
            .unwrap()
            .run(&fed, 0..N_SAMPLES)
            .unwrap();
        let shape = std::iter::once(N_SAMPLES).chain(extents.iter().copied()).collect();
        let data = ArrayData::F32(answer.concat().concat());
        // Only what a convolution reads is read again, as a shortcut.
        inputs.iter().filter(|_| op != "Conv").for_each(|v| drop(self.values.remove(&v.name)));
        self.values.insert(name.clone(), Array { shape, data });
        self.model.graph.initializer.append(&mut step.graph.initializer);
        self.model.graph.node.append(&mut step.graph.node);
        Value { name, extents }
    }

    /// Means and variances of a value per channel, over samples and positions.
    fn statistics(&self, x: &Value) -> [Vec<f32>; 2] {
        let ArrayData::F32(values) = &self.values[&x.name].data else { panic!("values are floats") };
        let n = x.extents[0];
        let positions = x.extents[1..].iter().product::<usize>();
        let mut sums = vec![[0.0f64; 2]; n];
        for (i, plane) in values.chunks(positions).enumerate() {
            for &v in plane {
                sums[i % n][0] += f64::from(v);
                sums[i % n][1] += f64::from(v) * f64::from(v);
            }
        }
        let count = (N_SAMPLES * positions) as f64;
        let mean = sums.iter().map(|s| to_f32(s[0] / count)).collect();
        let variance =
            sums.iter().map(|s| to_f32((s[1] / count - (s[0] / count).powi(2)).max(0.0))).collect();
        [mean, variance]
    }

    /// A square convolution without bias, then a batch normalisation whose outputs have about this deviation.
    fn conv(&mut self, x: &Value, n: usize, size: usize, stride: usize, groups: usize, scale: f32) -> Value {
        let (per_group, pad) = (x.extents[0] / groups, extent(size / 2));
        let fan_in = per_group * size * size;
        let weights = self.dice.normal(n * fan_in, (2.0 / fan_in as f64).sqrt());
        let attributes = [
            int("group", extent(groups)),
            ints("kernel_shape", &[extent(size); 2]),
            ints("pads", &[pad; 4]),
            ints("strides", &[extent(stride); 2]),
        ];
        let side = x.extents[1].div_ceil(stride);
        let y = self.node(
            "Conv",
            &[x],
            &[(&[n, per_group, size, size], &weights)],
            &attributes,
            vec![n, side, side],
        );
        let [mean, variance] = self.statistics(&y);
        let scales: Vec<f32> = self.dice.between(n, 0.8, 1.2).iter().map(|v| v * scale).collect();
        let shifts = self.dice.normal(n, 0.1);
        let parts: [&[f32]; 4] = [&scales, &shifts, &mean, &variance];
        let shape = [n];
        let constants = parts.map(|part| (&shape[..], part));
        let extents = y.extents.clone();
        self.node("BatchNormalization", &[&y], &constants, &[], extents)
    }

    fn relu(&mut self, x: &Value) -> Value {
        self.node("Relu", &[x], &[], &[], x.extents.clone())
    }

    fn relu6(&mut self, x: &Value) -> Value {
        self.node("Clip", &[x], &[(&[], &[0.0]), (&[], &[6.0])], &[], x.extents.clone())
    }

    fn add(&mut self, a: &Value, b: &Value) -> Value {
        self.node("Add", &[a, b], &[], &[], a.extents.clone())
    }

    /// The mean over the image and a linear layer whose outputs have mean 0 and a deviation of about 3.
    fn finish(mut self, x: &Value) -> Vec<u8> {
        let n = x.extents[0];
        let pooled = self.node("GlobalAveragePool", &[x], &[], &[], vec![n, 1, 1]);
        let [mean, variance] = self.statistics(&pooled);
        let flat = self.node("Flatten", &[&pooled], &[], &[], vec![n]);
        let total: f64 = variance.iter().map(|v| f64::from(*v)).sum();
        let weights = self.dice.normal(N_CLASSES * n, 3.0 / total.sqrt());
        let bias: Vec<f32> =
            weights.chunks(n).map(|row| -row.iter().zip(&mean).map(|(w, m)| w * m).sum::<f32>()).collect();
        let constants: [(&[usize], &[f32]); 2] = [(&[N_CLASSES, n], &weights), (&[N_CLASSES], &bias)];
        let logits = self.node("Gemm", &[&flat], &constants, &[int("transB", 1)], vec![N_CLASSES]);
        self.model.output(&logits.name).bytes()
    }
}

/// ResNet-18 (He et al. 2015, table 1).
fn resnet18(samples: &Samples) -> Vec<u8> {
    let (mut net, x) = Net::new(samples, 7);
    let x = net.conv(&x, 64, 7, 2, 1, 1.0);
    let x = net.relu(&x);
    let window = [ints("kernel_shape", &[3, 3]), ints("pads", &[1; 4]), ints("strides", &[2, 2])];
    let mut x = net.node("MaxPool", &[&x], &[], &window, vec![64, SIDE / 4, SIDE / 4]);
    for (n, stride) in [(64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1)] {
        let y = net.conv(&x, n, 3, stride, 1, 1.0);
        let y = net.relu(&y);
        let y = net.conv(&y, n, 3, 1, 1, BRANCH_SCALE);
        let shortcut = if stride == 1 { x } else { net.conv(&x, n, 1, stride, 1, 1.0) };
        let sum = net.add(&y, &shortcut);
        x = net.relu(&sum);
    }
    net.finish(&x)
}

/// MobileNetV2 (Sandler et al. 2018, table 2) of width 1.
fn mobilenet_v2(samples: &Samples) -> Vec<u8> {
    let (mut net, x) = Net::new(samples, 7);
    let x = net.conv(&x, 32, 3, 2, 1, 1.0);
    let mut x = net.relu6(&x);
    for (expansion, n, blocks, stride) in [
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ] {
        for stride in std::iter::once(stride).chain(std::iter::repeat_n(1, blocks - 1)) {
            let hidden = x.extents[0] * expansion;
            let mut y = x.clone();
            if expansion != 1 {
                y = net.conv(&y, hidden, 1, 1, 1, 1.0);
                y = net.relu6(&y);
            }
            let wide = net.conv(&y, hidden, 3, stride, hidden, 1.0);
            let wide = net.relu6(&wide);
            let residual = stride == 1 && x.extents[0] == n;
            let y = net.conv(&wide, n, 1, 1, 1, if residual { BRANCH_SCALE } else { 1.0 });
            x = if residual { net.add(&x, &y) } else { y };
        }
    }
    let x = net.conv(&x, 1280, 1, 1, 1, 1.0);
    let x = net.relu6(&x);
    net.finish(&x)
}

fn convert(source: &[u8], samples: &Samples, activations: Activations) -> Imported {
    import(source, Some(samples), &Options { activations, scheme: Scheme::Static }, &mut |_| {}).unwrap()
}

/// Converts a network with static scales and compares it on images that were not samples: mean cosines of the logits on
/// pictures and on noise.
fn cosines(what: &str, make: fn(&Samples) -> Vec<u8>, activations: Activations) -> [f64; 2] {
    let seen = [pictures(1, N_SAMPLES / 2), noise(1, N_SAMPLES / 2)].map(|s| super::to_f32(&s["x"])).concat();
    let seen = samples(seen);
    let source = make(&seen);
    let imported = convert(&source, &seen, activations);
    let cosine = |unseen: &Samples| {
        let outputs = measure(&source, &imported.model, unseen, &mut |_, _| {}).unwrap();
        assert_eq!(outputs.len(), 1);
        outputs[0].cosine_mean
    };
    let found = [pictures(2, N_UNSEEN), noise(2, N_UNSEEN)].each_ref().map(cosine);
    report(what, activations, found);
    found
}

#[expect(
    clippy::print_stdout,
    reason = "how much room the bounds leave, for those who run tests with --nocapture"
)]
fn report(what: &str, activations: Activations, [pictures, noise]: [f64; 2]) {
    println!("{what} {activations:?}: cosine {pictures:.4} on pictures, {noise:.4} on noise");
}

#[test]
fn resnet18_answers_as_f32_does() {
    let found = cosines("ResNet-18", resnet18, Activations::I8);
    assert!(found.iter().all(|c| *c >= 0.99), "{found:?}");
}

/// Random depthwise layers amplify every rounding, which training does not: 8 bits show it, and 16 bits are asked for.
#[test]
fn mobilenet_v2_answers_as_f32_does() {
    for (activations, bound) in [(Activations::I8, 0.9), (Activations::I16, 0.98)] {
        let found = cosines("MobileNetV2", mobilenet_v2, activations);
        assert!(found.iter().all(|c| *c >= bound), "{activations:?}: {found:?}");
    }
}
