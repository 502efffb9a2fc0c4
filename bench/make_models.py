"""Writes the benchmark networks as float ONNX files with calibration samples: `python make_models.py OUTDIR`.

The weights are random, as speed does not depend on them, but the activations are sane: weights are He-scaled, and
the running statistics of each batch normalisation are those of the calibration images, as after training. Without
them deep random networks give nearly the same logits for every input. Topologies follow torchvision.

The seed is fixed, but the statistics are sums of floats: another CPU may write models that differ in the last bits.
"""

import argparse
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper

OPSET = 17
SEED = 7
N_CLASSES = 1000
# As in trained residual networks, a branch changes its input by less than the input's own size.
BRANCH_SCALE = 0.3
F32 = onnx.TensorProto.FLOAT


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("outdir", type=Path)
    outdir = parser.parse_args().outdir
    outdir.mkdir(parents=True, exist_ok=True)
    for name, build, shape, n_samples in NETWORKS:
        rng = np.random.default_rng(SEED)
        samples = images(rng, n_samples, shape)
        net = Net(samples, rng)
        model = net.finish(name, build(net))
        onnx.save(model, outdir / f"{name}.onnx")
        np.savez_compressed(outdir / f"{name}-calibration.npz", image=samples)
        n_distinct = len(np.unique(net.values["logits"].argmax(axis=1)))
        print(f"{name}: {len(model.graph.node)} nodes, {n_distinct} distinct answers to {n_samples} samples")


def images(rng: np.random.Generator, n: int, shape: tuple[int, ...]) -> np.ndarray:
    """Random images in -2.5..2.5, the range of normalised photographs: patches of several sizes and pixel noise."""
    pixels = rng.standard_normal((n, *shape))
    if len(shape) == 3:
        channels, height, width = shape
        pixels *= 0.25
        for cells in (1, 7, 28):
            patches = 0.6 * rng.standard_normal((n, channels, cells, cells))
            pixels += np.kron(patches, np.ones((height // cells, width // cells)))
    return np.clip(pixels, -2.5, 2.5).astype(np.float32)


class Net:
    """An ONNX graph under construction that runs each node on the samples as soon as it is added.

    Methods take and give tensor names; `values` has what each tensor holds for the samples.
    """

    def __init__(self, samples: np.ndarray, rng: np.random.Generator) -> None:
        self.rng = rng
        self.shape = samples.shape[1:]
        self.values = {"image": samples}
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: dict[str, onnx.TensorProto] = {}

    def constant(self, what: str, array: np.ndarray) -> str:
        """Adds an initializer of the node that comes next."""
        name = f"{len(self.nodes)}.{what}"
        self.tensors[name] = numpy_helper.from_array(array.astype(np.float32), name)
        return name

    def weight(self, shape: tuple[int, ...]) -> str:
        """Normal weights [out, in, ...] that keep the scale of activations through a ReLU (He et al. 2015)."""
        std = np.sqrt(2 / np.prod(shape[1:]))
        return self.constant("weight", self.rng.standard_normal(shape) * std)

    def node(self, op: str, inputs: list[str], target: str | None = None, **attributes) -> str:
        """Adds a node with one output, runs it, and returns the output's name."""
        target = target or f"{len(self.nodes)}.{op.lower()}"
        node = helper.make_node(op, inputs, [target], name=f"{len(self.nodes)}", **attributes)
        self.nodes.append(node)
        self.values[target] = self.run(node)
        return target

    def run(self, node: onnx.NodeProto) -> np.ndarray:
        """The node's output on the samples."""
        fed = [name for name in dict.fromkeys(node.input) if name in self.values]
        graph = helper.make_graph(
            [node],
            "step",
            [helper.make_tensor_value_info(name, F32, self.values[name].shape) for name in fed],
            [helper.make_tensor_value_info(node.output[0], F32, None)],
            [self.tensors[name] for name in node.input if name in self.tensors],
        )
        session = ort.InferenceSession(model_of(graph).SerializeToString(), providers=["CPUExecutionProvider"])
        return session.run(None, {name: self.values[name] for name in fed})[0]

    def conv(self, x: str, n_out: int, size: int, stride=1, pad=0, groups=1, bias=True) -> str:
        """2-d convolution with a square kernel."""
        n_in = self.values[x].shape[1]
        inputs = [x, self.weight((n_out, n_in // groups, size, size))]
        if bias:
            inputs.append(self.constant("bias", 0.1 * self.rng.standard_normal(n_out)))
        return self.node("Conv", inputs, group=groups, **window(size, stride, pad))

    def batch_norm(self, x: str, scale: float = 1.0) -> str:
        """Batch normalisation whose running statistics are those of the samples."""
        value = self.values[x].astype(np.float64)
        n = value.shape[1]
        inputs = [
            x,
            self.constant("scale", scale * self.rng.uniform(0.8, 1.2, n)),
            self.constant("bias", 0.1 * self.rng.standard_normal(n)),
            self.constant("mean", value.mean(axis=(0, 2, 3))),
            self.constant("var", value.var(axis=(0, 2, 3))),
        ]
        return self.node("BatchNormalization", inputs)

    def relu(self, x: str) -> str:
        return self.node("Relu", [x])

    def relu6(self, x: str) -> str:
        bounds = [self.constant("min", np.array(0.0)), self.constant("max", np.array(6.0))]
        return self.node("Clip", [x, *bounds])

    def max_pool(self, x: str, size: int, stride: int, pad: int = 0) -> str:
        return self.node("MaxPool", [x], **window(size, stride, pad))

    def gemm(self, x: str, n_out: int) -> str:
        """Linear layer with weights [out, in], as torch exports it."""
        inputs = [x, self.weight((n_out, self.values[x].shape[1]))]
        inputs.append(self.constant("bias", 0.1 * self.rng.standard_normal(n_out)))
        return self.node("Gemm", inputs, transB=1)

    def classify(self, x: str, n_out: int) -> str:
        """The last linear layer: over the samples each logit has mean 0 and a standard deviation of about 3."""
        features = self.values[x].astype(np.float64)
        weight = self.rng.standard_normal((n_out, features.shape[1]))
        weight *= 3 / np.sqrt(features.var(axis=0).sum())
        bias = -weight @ features.mean(axis=0)
        inputs = [x, self.constant("weight", weight), self.constant("bias", bias)]
        return self.node("Gemm", inputs, "logits", transB=1)

    def finish(self, name: str, logits: str) -> onnx.ModelProto:
        """The checked model, with a free batch axis."""
        n_out = self.values[logits].shape[1]
        graph = helper.make_graph(
            self.nodes,
            name,
            [helper.make_tensor_value_info("image", F32, ["batch", *self.shape])],
            [helper.make_tensor_value_info(logits, F32, ["batch", n_out])],
            list(self.tensors.values()),
        )
        model = model_of(graph)
        onnx.checker.check_model(model, full_check=True)
        return model


def window(size: int, stride: int, pad: int) -> dict[str, list[int]]:
    """Attributes of a square convolution or pooling window."""
    return {"kernel_shape": [size] * 2, "strides": [stride] * 2, "pads": [pad] * 4}


def model_of(graph: onnx.GraphProto) -> onnx.ModelProto:
    opsets = [helper.make_opsetid("", OPSET)]
    version = helper.find_min_ir_version_for(opsets)
    return helper.make_model(graph, opset_imports=opsets, ir_version=version, producer_name="veracity")


def mlp(net: Net) -> str:
    return net.classify(net.relu(net.gemm("image", 128)), 10)


def lenet(net: Net) -> str:
    """LeNet-5 with ReLU and maximum pooling, on 28x28."""
    x = net.max_pool(net.relu(net.conv("image", 6, 5, pad=2)), 2, 2)
    x = net.max_pool(net.relu(net.conv(x, 16, 5)), 2, 2)
    x = net.node("Flatten", [x])
    for n_out in (120, 84):
        x = net.relu(net.gemm(x, n_out))
    return net.classify(x, 10)


def mobilenet_v2(net: Net) -> str:
    """MobileNetV2 (Sandler et al. 2018, table 2) of width 1."""
    x = conv_relu6(net, "image", 32, 3, stride=2)
    stages = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    for expansion, n_out, n_blocks, stride in stages:
        for block in range(n_blocks):
            x = inverted_residual(net, x, n_out, expansion, stride if block == 0 else 1)
    return pool_and_classify(net, conv_relu6(net, x, 1280, 1))


def inverted_residual(net: Net, x: str, n_out: int, expansion: int, stride: int) -> str:
    """Expand 1x1, depthwise 3x3, project 1x1; added to its input where the shapes agree."""
    n_in = net.values[x].shape[1]
    hidden = n_in * expansion
    y = conv_relu6(net, x, hidden, 1) if expansion != 1 else x
    y = conv_relu6(net, y, hidden, 3, stride, groups=hidden)
    y = net.conv(y, n_out, 1, bias=False)
    if stride != 1 or n_in != n_out:
        return net.batch_norm(y)
    return net.node("Add", [x, net.batch_norm(y, BRANCH_SCALE)])


def conv_relu6(net: Net, x: str, n_out: int, size: int, stride: int = 1, groups: int = 1) -> str:
    y = net.conv(x, n_out, size, stride, pad=size // 2, groups=groups, bias=False)
    return net.relu6(net.batch_norm(y))


def resnet18(net: Net) -> str:
    """ResNet-18 (He et al. 2015, table 1)."""
    x = net.relu(net.batch_norm(net.conv("image", 64, 7, stride=2, pad=3, bias=False)))
    x = net.max_pool(x, 3, 2, pad=1)
    for n_out, stride in [(64, 1), (128, 2), (256, 2), (512, 2)]:
        x = basic_block(net, x, n_out, stride)
        x = basic_block(net, x, n_out, 1)
    return pool_and_classify(net, x)


def basic_block(net: Net, x: str, n_out: int, stride: int) -> str:
    """Two 3x3 convolutions and a shortcut, which is a 1x1 convolution where the shape changes."""
    y = net.relu(net.batch_norm(net.conv(x, n_out, 3, stride, pad=1, bias=False)))
    y = net.batch_norm(net.conv(y, n_out, 3, pad=1, bias=False), BRANCH_SCALE)
    if stride != 1:
        x = net.batch_norm(net.conv(x, n_out, 1, stride, bias=False))
    return net.relu(net.node("Add", [y, x]))


def pool_and_classify(net: Net, x: str) -> str:
    """Mean over the image and a linear layer."""
    return net.classify(net.node("Flatten", [net.node("GlobalAveragePool", [x])]), N_CLASSES)


NETWORKS = [
    ("mlp-784-128-10", mlp, (784,), 64),
    ("lenet", lenet, (1, 28, 28), 64),
    ("mobilenetv2", mobilenet_v2, (3, 224, 224), 8),
    ("resnet18", resnet18, (3, 224, 224), 8),
]


if __name__ == "__main__":
    main()
