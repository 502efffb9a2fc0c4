"""Calls a running server through NVIDIA's own Open Inference Protocol client and checks what comes back.

    python open_inference.py BASE_URL MODEL_NAME INPUT_NPZ

INPUT_NPZ holds `image`, rows of pixels that fit the model's one input after reshaping, and `label`. Each check prints
a line; the last line is `N passed, M failed`, and the exit status is 1 if any failed.
"""

import argparse
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput, InferResult
from tritonclient.utils import InferenceServerException, np_to_triton_dtype, triton_to_np_dtype

ACCURACY_MIN = 0.95
BATCH = 8
REQUEST_ID = "acceptance-1"


def main() -> int:
    args = parse_args()
    server = Server(args.base_url, args.model_name, dict(np.load(args.input_npz)))
    failed = [check.__name__ for check in CHECKS if not passes(check, server)]
    print(f"{len(CHECKS) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base_url", help="such as http://127.0.0.1:8000")
    parser.add_argument("model_name")
    parser.add_argument("input_npz", type=Path)
    return parser.parse_args()


def passes(check: Callable, server: "Server") -> bool:
    """Runs one check and prints how it went."""
    try:
        check(server)
    except Exception:
        print(f"FAIL {check.__name__}: {check.__doc__}\n{traceback.format_exc()}")
        return False
    print(f"ok   {check.__name__}")
    return True


class Server:
    """The server under test, the model's declared tensors, and samples in the model's shape."""

    def __init__(self, base_url: str, model: str, arrays: dict[str, np.ndarray]) -> None:
        self.client = connect(base_url)
        self.model = model
        self.metadata = self.client.get_model_metadata(model)
        (self.declared,) = self.metadata["inputs"]
        self.outputs = [output["name"] for output in self.metadata["outputs"]]
        dtype = triton_to_np_dtype(self.declared["datatype"])
        self.images = arrays["image"].astype(dtype).reshape(-1, *self.declared["shape"][1:])
        self.labels = arrays["label"]

    def input(self, images: np.ndarray, binary: bool = True, name: str | None = None) -> InferInput:
        """An input tensor, with the model's own name unless told otherwise."""
        tensor = InferInput(name or self.declared["name"], list(images.shape), np_to_triton_dtype(images.dtype))
        return tensor.set_data_from_numpy(images, binary_data=binary)

    def infer(self, images: np.ndarray, *, binary_in=True, binary_out: bool | None = True, **options) -> InferResult:
        """One call. `binary_out=None` names no outputs, so that the client asks for all of them in binary form."""
        outputs = None
        if binary_out is not None:
            outputs = [InferRequestedOutput(name, binary_data=binary_out) for name in self.outputs]
        return self.client.infer(self.model, [self.input(images, binary_in)], outputs=outputs, **options)

    def answers(self, images: np.ndarray, **options) -> list[np.ndarray]:
        """All output tensors of one call."""
        result = self.infer(images, **options)
        return [result.as_numpy(name) for name in self.outputs]

    def refusal(self, tensor: InferInput, model: str | None = None, **options) -> InferenceServerException:
        """The error that the server must answer with; its status is a 4xx and its message is not empty."""
        try:
            self.client.infer(model or self.model, [tensor], **options)
        except InferenceServerException as refusal:
            assert refusal.status().startswith("4"), refusal
            assert refusal.message(), "the refusal has no message"
            assert refusal.debug_details() is None, f"the body is not an Open Inference error: {refusal}"
            return refusal
        raise AssertionError("the server accepted the request")


def connect(base_url: str) -> InferenceServerClient:
    """A client for the URL; tritonclient takes the scheme apart from the rest."""
    scheme, _, rest = base_url.rstrip("/").partition("://")
    return InferenceServerClient(rest, ssl=scheme == "https")


def same_bits(left: list[np.ndarray], right: list[np.ndarray]) -> bool:
    """Whether two lists of tensors agree in type, shape and every bit."""
    keys = [[(t.dtype, t.shape, t.tobytes()) for t in tensors] for tensors in (left, right)]
    return keys[0] == keys[1]


def server_is_live(server: Server) -> None:
    """GET v2/health/live is 200."""
    assert server.client.is_server_live()


def server_is_ready(server: Server) -> None:
    """GET v2/health/ready is 200."""
    assert server.client.is_server_ready()


def model_is_ready(server: Server) -> None:
    """The model is ready, by its name alone and by each of its versions."""
    assert server.client.is_model_ready(server.model)
    for version in server.metadata.get("versions", []):
        assert server.client.is_model_ready(server.model, version), version


def unknown_model_is_not_ready(server: Server) -> None:
    """A model that does not exist is not ready, and asking for its metadata is an error."""
    assert not server.client.is_model_ready("no-such-model")
    try:
        server.client.get_model_metadata("no-such-model")
    except InferenceServerException as refusal:
        assert refusal.status() == "404", refusal
    else:
        raise AssertionError("there is metadata of a model that does not exist")


def server_metadata_is_complete(server: Server) -> None:
    """The server tells its name, its version and the binary tensor extension."""
    metadata = server.client.get_server_metadata()
    assert metadata["name"] and metadata["version"], metadata
    assert "binary_tensor_data" in metadata["extensions"], metadata


def model_metadata_is_complete(server: Server) -> None:
    """Name, platform and each tensor's name, datatype and shape with a free batch axis are there."""
    assert server.metadata["name"] == server.model, server.metadata
    assert server.metadata["platform"], server.metadata
    for tensor in server.metadata["inputs"] + server.metadata["outputs"]:
        assert tensor["name"] and triton_to_np_dtype(tensor["datatype"]), tensor
        assert tensor["shape"][0] == -1, tensor


def answers_have_declared_types(server: Server) -> None:
    """Each output has the datatype and the shape that the metadata declares."""
    answers = server.answers(server.images[:BATCH])
    for tensor, declared in zip(answers, server.metadata["outputs"], strict=True):
        assert tensor.dtype == triton_to_np_dtype(declared["datatype"]), (tensor.dtype, declared)
        assert list(tensor.shape) == [BATCH, *declared["shape"][1:]], (tensor.shape, declared)


def binary_and_json_agree(server: Server) -> None:
    """All four mixes of binary and JSON input and output give the same bits."""
    images = server.images[:BATCH]
    expected = server.answers(images)
    for binary_in, binary_out in [(True, False), (False, True), (False, False)]:
        answers = server.answers(images, binary_in=binary_in, binary_out=binary_out)
        assert same_bits(answers, expected), (binary_in, binary_out)


def binary_output_has_no_json_data(server: Server) -> None:
    """A binary output has its size in the JSON part and no data there; a JSON output the reverse."""
    for binary in (True, False):
        response = server.infer(server.images[:1], binary_out=binary).get_response()
        for output in response["outputs"]:
            assert ("data" in output) != binary, output
            assert ("binary_data_size" in output.get("parameters", {})) == binary, output


def outputs_default_to_all_in_binary(server: Server) -> None:
    """Without an output list the client sets `binary_data_output`, and gets every output in binary form."""
    images = server.images[:BATCH]
    result = server.infer(images, binary_out=None)
    outputs = result.get_response()["outputs"]
    assert [output["name"] for output in outputs] == server.outputs, outputs
    assert all("binary_data_size" in output["parameters"] for output in outputs), outputs
    assert same_bits([result.as_numpy(name) for name in server.outputs], server.answers(images))


def outputs_mix_forms_and_keep_their_order(server: Server) -> None:
    """Outputs asked for in reverse order, in turns binary and JSON, hold the same values."""
    images = server.images[:BATCH]
    names = server.outputs[::-1]
    wanted = [InferRequestedOutput(name, binary_data=i % 2 == 0) for i, name in enumerate(names)]
    result = server.client.infer(server.model, [server.input(images)], outputs=wanted)
    assert [output["name"] for output in result.get_response()["outputs"]] == names
    answers = [result.as_numpy(name) for name in server.outputs]
    assert same_bits(answers, server.answers(images))


def batch_agrees_with_single_calls(server: Server) -> None:
    """A batch gives, bit for bit, what its images give one by one."""
    images = server.images[:BATCH]
    singles = [server.answers(images[i : i + 1]) for i in range(BATCH)]
    joined = [np.concatenate(tensors) for tensors in zip(*singles, strict=True)]
    assert same_bits(joined, server.answers(images))


def compressed_requests_agree(server: Server) -> None:
    """Requests with a gzip or deflate body are understood or refused with 415, and may be answered compressed."""
    images = server.images[:BATCH]
    expected = server.answers(images)
    for coding in ("gzip", "deflate"):
        assert same_bits(server.answers(images, response_compression_algorithm=coding), expected), coding
        try:
            answers = server.answers(images, request_compression_algorithm=coding)
        except InferenceServerException as refusal:
            assert refusal.status() == "415", refusal
        else:
            assert same_bits(answers, expected), coding


def response_names_model_and_request(server: Server) -> None:
    """The response repeats the model's name and the request's id, and its parameters are an object."""
    response = server.infer(server.images[:1], request_id=REQUEST_ID).get_response()
    assert response["model_name"] == server.model, response
    assert response["id"] == REQUEST_ID, response
    parameters = response.get("parameters", {})
    assert isinstance(parameters, dict), response
    print(f"     response parameters: {parameters}")


def wrong_tensor_name_is_refused(server: Server) -> None:
    """An input that the model does not have is an error, and so is an output."""
    images = server.images[:1]
    refusal = server.refusal(server.input(images, name="no-such-input"))
    assert "no-such-input" in refusal.message(), refusal
    refusal = server.refusal(server.input(images), outputs=[InferRequestedOutput("no-such-output")])
    assert "no-such-output" in refusal.message(), refusal


def wrong_datatype_is_refused(server: Server) -> None:
    """An input of another datatype is an error, in both forms."""
    images = server.images[:1].astype(np.float64)
    for binary in (True, False):
        server.refusal(server.input(images, binary))


def wrong_shape_is_refused(server: Server) -> None:
    """An input with a longer last axis or one axis too many is an error, in both forms."""
    images = server.images[:1]
    for wrong in (np.concatenate([images, images], axis=-1), images[None]):
        for binary in (True, False):
            server.refusal(server.input(wrong, binary))


def wrong_size_is_refused(server: Server) -> None:
    """A body with fewer bytes than its shape needs is an error."""
    tensor = server.input(server.images[:1])
    server.refusal(tensor.set_shape([2, *server.images.shape[1:]]))


def unknown_model_is_refused(server: Server) -> None:
    """Inference on a model that does not exist is a 404."""
    refusal = server.refusal(server.input(server.images[:1]), model="no-such-model")
    assert refusal.status() == "404", refusal


def server_serves_on_after_a_refusal(server: Server) -> None:
    """After a refused request the same connection gives the same bits as before."""
    images = server.images[:BATCH]
    expected = server.answers(images)
    server.refusal(server.input(images, name="no-such-input"))
    assert same_bits(server.answers(images), expected)


def answers_are_accurate(server: Server) -> None:
    """The first output's largest value is the label for most samples."""
    starts = range(0, len(server.images), BATCH)
    logits = np.concatenate([server.answers(server.images[i : i + BATCH])[0] for i in starts])
    accuracy = float((logits.argmax(axis=1) == server.labels).mean())
    print(f"     accuracy {accuracy:.4f} on {len(server.labels)} samples")
    assert accuracy >= ACCURACY_MIN, accuracy


CHECKS = [
    server_is_live,
    server_is_ready,
    model_is_ready,
    unknown_model_is_not_ready,
    server_metadata_is_complete,
    model_metadata_is_complete,
    answers_have_declared_types,
    binary_and_json_agree,
    binary_output_has_no_json_data,
    outputs_default_to_all_in_binary,
    outputs_mix_forms_and_keep_their_order,
    batch_agrees_with_single_calls,
    compressed_requests_agree,
    response_names_model_and_request,
    wrong_tensor_name_is_refused,
    wrong_datatype_is_refused,
    wrong_shape_is_refused,
    wrong_size_is_refused,
    unknown_model_is_refused,
    server_serves_on_after_a_refusal,
    answers_are_accurate,
]


if __name__ == "__main__":
    sys.exit(main())
