//! Time models of well-known shapes with random weights: `cargo run --release -p veracity-engine --example shapes`.
//!
//! Arguments: threads (default 1), instruction set (default the fastest), and a model's name to run it alone.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

#[path = "../tests/it/builder.rs"]
#[expect(dead_code, reason = "benchmarks build models by hand, not at random")]
mod builder;

use std::{sync::Arc, time::Instant};

use builder::{Builder, Random, Ref};
use veracity_engine::{Engine, Options, TraceKind};
use veracity_graph::Model;
use veracity_ops::{
    Add, Conv, DType, DimSpec, MatMul, MaxPool, Op, Quantised, Reduce, ReduceKind, Requant, Reshape,
    TensorType, Window,
};

/// A network that is being built, with its random weights.
struct Net {
    builder: Builder,
    random: Random,
    /// Whether requantisation multiplies as well as shifts.
    has_mul: bool,
    x: TensorType,
}

impl Net {
    fn new(shape: &[usize], has_mul: bool) -> (Self, Ref) {
        let mut builder = Builder::default();
        let input = builder.input(DType::I8, shape);
        let x = builder.ty(input).clone();
        (Self { builder, random: Random::new(1), has_mul, x }, input)
    }

    fn requant(&mut self, acc: Ref, n: usize, relu: bool) -> Ref {
        let shift = self.random.values(n, 9, 12);
        let shift = self.builder.constant(DType::I8, &[n], &shift);
        let mut operands = vec![acc, shift];
        if self.has_mul {
            let mul = self.random.values(n, 1 << 14, (1 << 15) - 1);
            operands.push(self.builder.constant(DType::I16, &[n], &mul));
        }
        let full = Quantised::full(DType::I8, 0);
        let y = Quantised { lo: if relu { 0 } else { -128 }, ..full };
        self.builder.node(Op::Requant(Requant { x_zero: 0, y }), &operands)
    }

    fn conv(&mut self, x: Ref, n: usize, kernel: usize, stride: usize, groups: usize, relu: bool) -> Ref {
        let c = self.builder.ty(x).shape[2];
        let shape = [n, kernel, kernel, c / groups];
        let weights = self.random.values(shape.iter().product(), -40, 40);
        let weights = self.builder.constant(DType::I8, &shape, &weights);
        let bias = self.random.values(n, -1000, 1000);
        let bias = self.builder.constant(DType::I32, &[n], &bias);
        let (strides, pads) = ([stride; 2], [kernel / 2; 4]);
        let conv = Conv { strides, pads, dilations: [1, 1], groups, x_zero: 0, acc: DType::I32 };
        let acc = self.builder.node(Op::Conv(conv), &[x, weights, bias]);
        self.requant(acc, n, relu)
    }

    fn dense(&mut self, x: Ref, n: usize, relu: bool) -> Ref {
        let k = *self.builder.ty(x).shape.last().unwrap();
        let weights = self.random.values(n * k, -40, 40);
        let weights = self.builder.constant(DType::I8, &[n, k], &weights);
        let bias = self.random.values(n, -1000, 1000);
        let bias = self.builder.constant(DType::I32, &[n], &bias);
        let acc = self.builder.node(Op::MatMul(MatMul { x_zero: 0, acc: DType::I32 }), &[x, weights, bias]);
        self.requant(acc, n, relu)
    }

    fn add(&mut self, a: Ref, b: Ref, relu: bool) -> Ref {
        let y = Quantised { lo: if relu { 0 } else { -128 }, ..Quantised::full(DType::I8, 0) };
        let op = Add { zeros: [0, 0], muls: [20_000, 30_000], shift: 15, y };
        self.builder.node(Op::Add(op), &[a, b])
    }

    fn max_pool(&mut self, x: Ref, kernel: usize, pad: usize) -> Ref {
        let window =
            Window { kernel: [kernel; 2], strides: [2; 2], pads: [pad; 4], dilations: [1, 1], ceil: false };
        self.builder.node(Op::MaxPool(MaxPool { window }), &[x])
    }

    fn mean(&mut self, x: Ref) -> Ref {
        let y = Quantised::full(DType::I8, 0);
        let op = Reduce { kind: ReduceKind::Mean, axes: vec![0, 1], x_zero: 0, mul: 1, shift: 0, y };
        self.builder.node(Op::Reduce(op), &[x])
    }

    fn flatten(&mut self, x: Ref) -> Ref {
        self.builder.node(Op::Reshape(Reshape { dims: vec![DimSpec::Infer] }), &[x])
    }

    fn finish(mut self, y: Ref) -> (Arc<Model>, TensorType) {
        self.builder.output(y);
        (self.builder.build(), self.x)
    }
}

fn mlp(has_mul: bool) -> (Arc<Model>, TensorType) {
    let (mut net, x) = Net::new(&[784], has_mul);
    let y = net.dense(x, 128, true);
    let y = net.dense(y, 10, false);
    net.finish(y)
}

fn lenet(has_mul: bool) -> (Arc<Model>, TensorType) {
    let (mut net, x) = Net::new(&[28, 28, 1], has_mul);
    let y = net.conv(x, 6, 5, 1, 1, true);
    let y = net.max_pool(y, 2, 0);
    let y = net.conv(y, 16, 5, 1, 1, true);
    let y = net.max_pool(y, 2, 0);
    let y = net.flatten(y);
    let y = net.dense(y, 120, true);
    let y = net.dense(y, 84, true);
    let y = net.dense(y, 10, false);
    net.finish(y)
}

fn resnet18(has_mul: bool) -> (Arc<Model>, TensorType) {
    let (mut net, x) = Net::new(&[224, 224, 3], has_mul);
    let y = net.conv(x, 64, 7, 2, 1, true);
    let mut y = net.max_pool(y, 3, 1);
    for (n, first_stride) in [(64, 1), (128, 2), (256, 2), (512, 2)] {
        for stride in [first_stride, 1] {
            let short = if stride == 2 { net.conv(y, n, 1, 2, 1, false) } else { y };
            let a = net.conv(y, n, 3, stride, 1, true);
            let b = net.conv(a, n, 3, 1, 1, false);
            y = net.add(b, short, true);
        }
    }
    let y = net.mean(y);
    let y = net.flatten(y);
    let y = net.dense(y, 1000, false);
    net.finish(y)
}

fn mobilenet_v2(has_mul: bool) -> (Arc<Model>, TensorType) {
    let (mut net, x) = Net::new(&[224, 224, 3], has_mul);
    let mut y = net.conv(x, 32, 3, 2, 1, true);
    let mut c = 32;
    let blocks = [
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ];
    for (expand, n, repeat, first_stride) in blocks {
        for i in 0..repeat {
            let stride = if i == 0 { first_stride } else { 1 };
            let hidden = c * expand;
            let a = if expand > 1 { net.conv(y, hidden, 1, 1, 1, true) } else { y };
            let a = net.conv(a, hidden, 3, stride, hidden, true);
            let b = net.conv(a, n, 1, 1, 1, false);
            y = if stride == 1 && c == n { net.add(b, y, false) } else { b };
            c = n;
        }
    }
    let y = net.conv(y, 1280, 1, 1, 1, true);
    let y = net.mean(y);
    let y = net.flatten(y);
    let y = net.dense(y, 1000, false);
    net.finish(y)
}

fn gemm(n: usize) -> impl Fn(bool) -> (Arc<Model>, TensorType) {
    move |has_mul| {
        let (mut net, x) = Net::new(&[n, n], has_mul);
        let y = net.dense(x, n, true);
        net.finish(y)
    }
}

/// Least time of a run in seconds.
fn seconds(engine: &Engine, ty: &TensorType, n: usize, trace: Option<TraceKind>) -> f64 {
    let inputs = [Random::new(9).batch(n, ty)];
    let mut least = f64::MAX;
    let begin = Instant::now();
    let mut runs = 0;
    while runs < 5 || (begin.elapsed().as_millis() < 400 && runs < 20_000) {
        let start = Instant::now();
        engine.run(&inputs, trace).unwrap();
        least = least.min(start.elapsed().as_secs_f64());
        runs += 1;
    }
    least
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let threads = args.first().map_or(1, |a| a.parse().unwrap());
    let isa = args.get(1).filter(|a| *a != "-").map(|a| a.parse().unwrap());
    type Make = Box<dyn Fn(bool) -> (Arc<Model>, TensorType)>;
    let models: [(&str, Make, &[usize]); 7] = [
        ("mlp", Box::new(mlp), &[1, 64]),
        ("lenet", Box::new(lenet), &[1, 64]),
        ("resnet18", Box::new(resnet18), &[1, 8]),
        ("mobilenet_v2", Box::new(mobilenet_v2), &[1, 8]),
        ("gemm-384", Box::new(gemm(384)), &[1]),
        ("gemm-1024", Box::new(gemm(1024)), &[1]),
        ("gemm-2048", Box::new(gemm(2048)), &[1]),
    ];
    for (name, make, batches) in models.iter().filter(|m| args.get(2).is_none_or(|only| only == m.0)) {
        for has_mul in [false, true] {
            let (model, ty) = make(has_mul);
            let engine = Engine::load(model, &Options { isa, threads, ..Options::default() }).unwrap();
            for &n in *batches {
                let [plain, traced, full] = [None, Some(TraceKind::Checkpoints), Some(TraceKind::Full)]
                    .map(|trace| seconds(&engine, &ty, n, trace));
                let rate = if let Some(size) = name.strip_prefix("gemm-") {
                    let size: f64 = size.parse().unwrap();
                    format!(", {:.0} GOP/s", 2.0 * size.powi(3) / plain / 1e9)
                } else {
                    String::new()
                };
                let step = if has_mul { "mul" } else { "shift" };
                println!(
                    "{name} n={n} {step} {} threads={threads}: {:.1} us, with checkpoints {:.1} us, with full trace {:.1} us{rate}",
                    engine.isa(),
                    plain * 1e6,
                    traced * 1e6,
                    full * 1e6
                );
            }
        }
    }
}
