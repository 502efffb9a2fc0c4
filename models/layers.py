"""Layers of a small feed-forward classifier in numpy: run, learn, and export to ONNX.

Every layer keeps what its backward pass needs from the latest `forward` call. `backward` takes the gradient at
the layer's output, returns the one at its input, and leaves those of `params` in `grads`. `nodes` writes the
layer as ONNX nodes. Activations are float32, images are [batch, channels, height, width].
"""

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

F32 = np.float32


class Layer:
    """A step without parameters; layers that learn fill `params` and `grads` with arrays of equal shapes."""

    def __init__(self) -> None:
        self.params: list[np.ndarray] = []
        self.grads: list[np.ndarray] = []

    def tensors(self, name: str) -> list[TensorProto]:
        """The layer's constants, named `name.what`."""
        return []


class Dense(Layer):
    """`x @ w + b`, ONNX Gemm with its default attributes: weights are [in, out]."""

    def __init__(self, n_in: int, n_out: int, rng: np.random.Generator) -> None:
        super().__init__()
        self.params = [he_normal(rng, (n_in, n_out), fan_in=n_in), np.zeros(n_out, F32)]

    def forward(self, x: np.ndarray, training: bool) -> np.ndarray:
        self.x = x
        return x @ self.params[0] + self.params[1]

    def backward(self, grad: np.ndarray) -> np.ndarray:
        self.grads = [self.x.T @ grad, grad.sum(axis=0)]
        return grad @ self.params[0].T

    def tensors(self, name: str) -> list[TensorProto]:
        return constants(name, ["weight", "bias"], self.params)

    def nodes(self, name: str, source: str, target: str) -> list[NodeProto]:
        inputs = [source, f"{name}.weight", f"{name}.bias"]
        return [helper.make_node("Gemm", inputs, [target], name=name)]


class Conv3x3(Layer):
    """3x3 convolution that keeps height and width; weights are [out, in, 3, 3]."""

    def __init__(self, n_in: int, n_out: int, rng: np.random.Generator) -> None:
        super().__init__()
        weight = he_normal(rng, (n_out, n_in, 3, 3), fan_in=9 * n_in)
        self.params = [weight, np.zeros(n_out, F32)]

    def forward(self, x: np.ndarray, training: bool) -> np.ndarray:
        self.shape = x.shape
        self.columns = unfold3x3(x)
        weight, bias = self.params
        out = self.columns @ weight.reshape(len(weight), -1).T + bias
        return out.reshape(x.shape[0], *x.shape[2:], -1).transpose(0, 3, 1, 2)

    def backward(self, grad: np.ndarray) -> np.ndarray:
        weight = self.params[0]
        rows = grad.transpose(0, 2, 3, 1).reshape(-1, len(weight))
        self.grads = [(rows.T @ self.columns).reshape(weight.shape), rows.sum(axis=0)]
        return fold3x3(rows @ weight.reshape(len(weight), -1), self.shape)

    def tensors(self, name: str) -> list[TensorProto]:
        return constants(name, ["weight", "bias"], self.params)

    def nodes(self, name: str, source: str, target: str) -> list[NodeProto]:
        inputs = [source, f"{name}.weight", f"{name}.bias"]
        return [helper.make_node("Conv", inputs, [target], name=name, pads=[1, 1, 1, 1])]


class BatchNorm(Layer):
    """Batch normalisation over all but the channel axis, with running statistics for inference."""

    EPSILON = 1e-5
    KEEP = 0.9

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.params = [np.ones(n_channels, F32), np.zeros(n_channels, F32)]
        self.mean = np.zeros(n_channels, F32)
        self.var = np.ones(n_channels, F32)

    def forward(self, x: np.ndarray, training: bool) -> np.ndarray:
        mean, var = self.mean, self.var
        if training:
            mean, var = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))
            self.mean = F32(self.KEEP) * self.mean + F32(1 - self.KEEP) * mean
            self.var = F32(self.KEEP) * self.var + F32(1 - self.KEEP) * var
        self.inv_std = 1 / np.sqrt(var + F32(self.EPSILON))
        self.normal = (x - per_channel(mean)) * per_channel(self.inv_std)
        return self.normal * per_channel(self.params[0]) + per_channel(self.params[1])

    def backward(self, grad: np.ndarray) -> np.ndarray:
        axes = (0, 2, 3)
        self.grads = [(grad * self.normal).sum(axis=axes), grad.sum(axis=axes)]
        n = grad.size // grad.shape[1]
        centred = grad - per_channel((self.grads[1] / n).astype(F32))
        centred -= self.normal * per_channel((self.grads[0] / n).astype(F32))
        return centred * per_channel(self.params[0] * self.inv_std)

    def tensors(self, name: str) -> list[TensorProto]:
        arrays = [*self.params, self.mean, self.var]
        return constants(name, ["scale", "bias", "mean", "var"], arrays)

    def nodes(self, name: str, source: str, target: str) -> list[NodeProto]:
        inputs = [source] + [f"{name}.{what}" for what in ("scale", "bias", "mean", "var")]
        return [helper.make_node("BatchNormalization", inputs, [target], name=name)]


class Relu(Layer):
    """`max(x, 0)`."""

    def forward(self, x: np.ndarray, training: bool) -> np.ndarray:
        self.alive = x > 0
        return x * self.alive

    def backward(self, grad: np.ndarray) -> np.ndarray:
        return grad * self.alive

    def nodes(self, name: str, source: str, target: str) -> list[NodeProto]:
        return [helper.make_node("Relu", [source], [target], name=name)]


class MaxPool2x2(Layer):
    """Maximum of each 2x2 square; height and width must be even."""

    def forward(self, x: np.ndarray, training: bool) -> np.ndarray:
        batch, channels, height, width = x.shape
        squares = x.reshape(batch, channels, height // 2, 2, width // 2, 2)
        best = squares.max(axis=(3, 5), keepdims=True)
        self.is_best = squares == best
        return best.reshape(batch, channels, height // 2, width // 2)

    def backward(self, grad: np.ndarray) -> np.ndarray:
        spread = grad[:, :, :, None, :, None] * self.is_best
        batch, channels, rows, _, cols, _ = spread.shape
        return spread.reshape(batch, channels, 2 * rows, 2 * cols)

    def nodes(self, name: str, source: str, target: str) -> list[NodeProto]:
        window = {"kernel_shape": [2, 2], "strides": [2, 2]}
        return [helper.make_node("MaxPool", [source], [target], name=name, **window)]


class Flatten(Layer):
    """[batch, ...] to [batch, features]."""

    def forward(self, x: np.ndarray, training: bool) -> np.ndarray:
        self.shape = x.shape
        return x.reshape(len(x), -1)

    def backward(self, grad: np.ndarray) -> np.ndarray:
        return grad.reshape(self.shape)

    def nodes(self, name: str, source: str, target: str) -> list[NodeProto]:
        return [helper.make_node("Flatten", [source], [target], name=name)]


def he_normal(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int) -> np.ndarray:
    """Normal weights that keep the scale of activations through a ReLU (He et al. 2015)."""
    return (rng.standard_normal(shape) * np.sqrt(2 / fan_in)).astype(F32)


def per_channel(values: np.ndarray) -> np.ndarray:
    """Shapes one value per channel so that it broadcasts over an image batch."""
    return values[None, :, None, None]


def unfold3x3(x: np.ndarray) -> np.ndarray:
    """The 3x3 surroundings of every pixel, zeros outside: [batch * height * width, channels * 9]."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    return windows.transpose(0, 2, 3, 1, 4, 5).reshape(-1, x.shape[1] * 9)


def fold3x3(columns: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Adds surroundings up into an image batch of `shape`: the transpose of `unfold3x3`."""
    batch, channels, height, width = shape
    windows = columns.reshape(batch, height, width, channels, 3, 3).transpose(4, 5, 0, 3, 1, 2)
    padded = np.zeros((batch, channels, height + 2, width + 2), F32)
    for row, col in np.ndindex(3, 3):
        padded[:, :, row : row + height, col : col + width] += windows[row, col]
    return padded[:, :, 1:-1, 1:-1]


def constants(name: str, whats: list[str], arrays: list[np.ndarray]) -> list[TensorProto]:
    """ONNX initializers `name.what` for the arrays."""
    return [numpy_helper.from_array(a, f"{name}.{what}") for what, a in zip(whats, arrays, strict=True)]
