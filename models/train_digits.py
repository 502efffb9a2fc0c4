"""Trains the two digit classifiers of this folder and writes them with their sample files.

Run `python train_digits.py` in an environment with `requirements.txt`; it takes some ten seconds. All random
choices have fixed seeds and the arithmetic runs on one thread, so a second run on the same machine writes the
same bytes.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import helper
from onnx.reference import ReferenceEvaluator
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits

from layers import F32, BatchNorm, Conv3x3, Dense, Flatten, Layer, MaxPool2x2, Relu

FOLDER = Path(__file__).parent
SEED = 2024
OPSET = 17
N_CLASSES = 10
PIXEL_MAX = 16
TEST_SHARE = 0.3
N_CALIBRATION = 256
N_EPOCHS = 60
BATCH_SIZE = 32


def main() -> None:
    train_x, test_x, train_y, test_y = load_split()
    jobs = [
        ("digits-mlp", mlp(np.random.default_rng(SEED)), (64,)),
        ("digits-cnn", cnn(np.random.default_rng(SEED)), (1, 8, 8)),
    ]
    for name, layers, shape in jobs:
        train(layers, train_x, train_y, shape, np.random.default_rng(SEED + 1))
        model = export(name, layers, shape)
        onnx.save(model, FOLDER / f"{name}.onnx")
        print(f"{name}: test accuracy {accuracy(model, test_x.reshape(-1, *shape), test_y):.4f}")
    calibration = train_x[:N_CALIBRATION]
    np.savez_compressed(FOLDER / "digits-calibration.npz", image=calibration)
    np.savez_compressed(FOLDER / "digits-cnn-calibration.npz", image=calibration.reshape(-1, 1, 8, 8))
    np.savez_compressed(FOLDER / "digits-test.npz", image=test_x, label=test_y)


def load_split() -> list[np.ndarray]:
    """Training and test images ([n, 64] in 0..1) and their labels, each class in equal shares."""
    pixels, labels = load_digits(return_X_y=True)
    images = (pixels / PIXEL_MAX).astype(F32)
    labels = labels.astype(np.int64)
    return train_test_split(images, labels, test_size=TEST_SHARE, random_state=SEED, stratify=labels)


def mlp(rng: np.random.Generator) -> list[Layer]:
    """64-64-32-10 with ReLU, on [batch, 64]."""
    return [Dense(64, 64, rng), Relu(), Dense(64, 32, rng), Relu(), Dense(32, N_CLASSES, rng)]


def cnn(rng: np.random.Generator) -> list[Layer]:
    """Two 3x3 convolutions, the first batch-normalised, one pooling and a linear layer, on [batch, 1, 8, 8]."""
    first = [Conv3x3(1, 16, rng), BatchNorm(16), Relu()]
    second = [Conv3x3(16, 32, rng), Relu(), MaxPool2x2()]
    return [*first, *second, Flatten(), Dense(32 * 4 * 4, N_CLASSES, rng)]


def train(layers, images, labels, shape, rng) -> None:
    """Adam on the cross-entropy, with images moved by up to one pixel and a rate that falls to zero."""
    optimizer = Adam(layers)
    n_steps = N_EPOCHS * -(-len(images) // BATCH_SIZE)
    for step, rows in enumerate(batches(len(images), rng)):
        x = shifted(images[rows].reshape(-1, 8, 8), rng).reshape(-1, *shape)
        for layer in layers:
            x = layer.forward(x, training=True)
        grad = cross_entropy_grad(x, labels[rows])
        for layer in reversed(layers):
            grad = layer.backward(grad)
        optimizer.step(rate=2e-3 * 0.5 * (1 + np.cos(np.pi * step / n_steps)))


def batches(n: int, rng: np.random.Generator):
    """Row numbers of each step: all rows once per epoch, in a new order each time."""
    for _ in range(N_EPOCHS):
        order = rng.permutation(n)
        for start in range(0, n, BATCH_SIZE):
            yield order[start : start + BATCH_SIZE]


def shifted(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Half of the images as they are, half moved by one pixel in one of the four directions."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    moves = np.array([(1, 1)] * 4 + [(0, 1), (2, 1), (1, 0), (1, 2)])
    chosen = moves[rng.integers(len(moves), size=len(images))]
    return np.stack([p[r : r + 8, c : c + 8] for p, (r, c) in zip(padded, chosen, strict=True)])


def cross_entropy_grad(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Gradient of the batch's mean cross-entropy at the logits."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    grad = powers / powers.sum(axis=1, keepdims=True)
    grad[np.arange(len(labels)), labels] -= 1
    return grad / F32(len(labels))


class Adam:
    """Adam (Kingma and Ba 2015) with decoupled weight decay, over the parameters of all layers."""

    BETA1, BETA2, EPSILON, DECAY = 0.9, 0.999, 1e-8, 1e-2

    def __init__(self, layers: list[Layer]) -> None:
        self.layers = layers
        self.moments = [[(np.zeros_like(p), np.zeros_like(p)) for p in layer.params] for layer in layers]
        self.n_steps = 0

    def step(self, rate: float) -> None:
        """Moves every parameter once, by the gradients of the latest backward pass."""
        self.n_steps += 1
        scale1 = 1 / (1 - self.BETA1**self.n_steps)
        scale2 = 1 / (1 - self.BETA2**self.n_steps)
        for layer, moments in zip(self.layers, self.moments, strict=True):
            for param, grad, (first, second) in zip(layer.params, layer.grads, moments, strict=True):
                first += (1 - self.BETA1) * (grad - first)
                second += (1 - self.BETA2) * (grad * grad - second)
                param -= rate * scale1 * first / (np.sqrt(scale2 * second) + self.EPSILON)
                param -= rate * self.DECAY * param


def export(name: str, layers: list[Layer], shape: tuple[int, ...]) -> onnx.ModelProto:
    """The trained layers as an ONNX model from `image` [batch, ...] to `logits` [batch, 10]."""
    names = [f"{type(layer).__name__.lower()}{i}" for i, layer in enumerate(layers)]
    edges = ["image", *(f"{n}.out" for n in names[:-1]), "logits"]
    nodes, tensors = [], []
    for i, (layer, layer_name) in enumerate(zip(layers, names, strict=True)):
        nodes += layer.nodes(layer_name, edges[i], edges[i + 1])
        tensors += layer.tensors(layer_name)
    image = helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, ["batch", *shape])
    logits = helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["batch", N_CLASSES])
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(
        helper.make_graph(nodes, name, [image], [logits], tensors),
        opset_imports=opsets,
        ir_version=helper.find_min_ir_version_for(opsets),
        producer_name="veracity",
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def accuracy(model: onnx.ModelProto, images: np.ndarray, labels: np.ndarray) -> float:
    """Share of images whose largest logit, by ONNX's reference evaluator, is the label."""
    (logits,) = ReferenceEvaluator(model).run(None, {"image": images})
    return float((logits.argmax(axis=1) == labels).mean())


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
