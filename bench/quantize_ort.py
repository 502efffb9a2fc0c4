"""Quantizes the benchmark networks and the digit models with onnxruntime: `python quantize_ort.py OUTDIR`.

OUTDIR is what `make_models.py` filled. Every network becomes `NAME.int8.onnx` in QDQ form, onnxruntime's fastest
int8 form on x86 with VNNI: u8 activations, i8 weights with one scale per output channel, ranges by MinMax over the
calibration samples. The small ones are also written in the older QOperator form, `NAME.qop.onnx`.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime as ort
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

MODELS = Path(__file__).parent.parent / "models"
NETWORKS = ["mlp-784-128-10", "lenet", "mobilenetv2", "resnet18"]
QOPERATOR = ["digits-mlp", "digits-cnn", "lenet"]
CALIBRATION_BATCH = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("outdir", type=Path)
    outdir = parser.parse_args().outdir
    jobs = [(name, outdir / f"{name}.onnx", outdir / f"{name}-calibration.npz") for name in NETWORKS]
    jobs.append(("digits-mlp", MODELS / "digits-mlp.onnx", MODELS / "digits-calibration.npz"))
    jobs.append(("digits-cnn", MODELS / "digits-cnn.onnx", MODELS / "digits-cnn-calibration.npz"))
    for name, model, calibration in jobs:
        samples = dict(np.load(calibration))
        forms = [(QuantFormat.QDQ, "int8")] + [(QuantFormat.QOperator, "qop")] * (name in QOPERATOR)
        for form, suffix in forms:
            target = outdir / f"{name}.{suffix}.onnx"
            quantize(model, target, samples, form)
            print(f"{target.name}: logits correlate by {correlation(model, target, samples):.4f} with those in float")


def quantize(model: Path, target: Path, samples: dict[str, np.ndarray], form: QuantFormat) -> None:
    """Writes the int8 form of `model` to `target`."""
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        # Symbolic shape inference is for transformers and would pull in sympy.
        quant_pre_process(model, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            target,
            Samples(samples),
            quant_format=form,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )


class Samples(CalibrationDataReader):
    """Feeds the samples in small batches, so that all intermediate values fit in memory."""

    def __init__(self, samples: dict[str, np.ndarray]) -> None:
        n = len(next(iter(samples.values())))
        starts = range(0, n, CALIBRATION_BATCH)
        self.feeds = iter([{k: v[i : i + CALIBRATION_BATCH] for k, v in samples.items()} for i in starts])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.feeds, None)


def correlation(model: Path, quantized: Path, samples: dict[str, np.ndarray]) -> float:
    """Correlation of both models' logits over all samples."""
    logits = []
    for path in (model, quantized):
        session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
        logits.append(session.run(None, samples)[0].ravel())
    return float(np.corrcoef(logits)[0, 1])


if __name__ == "__main__":
    main()
