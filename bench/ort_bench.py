"""Measures onnxruntime on one model in one configuration and prints one line of JSON.

    python ort_bench.py --model resnet18.onnx --threads 1 --batch 1 --seconds 5

The process is meant for one configuration only, as its peak memory is part of the result. A run is
`session.run` from a numpy array to numpy arrays. Keys: `median_ms` and `min_ms` per run, `throughput_per_s` in
samples, and in units of 10^6 bytes `rss_base_mb`, the resident memory once onnxruntime is imported, and
`rss_peak_mb`, the largest one of the process, so that their difference is what model and runs take.
"""

import argparse
import json
import re
import time
from array import array
from pathlib import Path

import numpy as np
import onnxruntime as ort

WARM_UP_RUNS = 3
RUNS_MIN = 5
# Keeps the recorded times under a megabyte, as they count towards the peak memory.
RUNS_MAX = 100_000


def main() -> None:
    args = parse_args()
    rss_base_mb = memory_mb("VmRSS")
    session = open_session(args.model, args.threads)
    feed = random_feed(session, args.batch)
    times_s = measure(session, feed, args.seconds)
    rss_peak_mb = memory_mb("VmHWM")
    result = {
        "model": args.model.name,
        "batch": args.batch,
        "threads": args.threads,
        "median_ms": round(1e3 * float(np.median(times_s)), 4),
        "min_ms": round(1e3 * min(times_s), 4),
        "throughput_per_s": round(args.batch * len(times_s) / sum(times_s), 2),
        "rss_base_mb": rss_base_mb,
        "rss_peak_mb": rss_peak_mb,
        "n_runs": len(times_s),
        "onnxruntime": ort.__version__,
    }
    print(json.dumps(result))


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=5.0, help="how long to measure, after warming up")
    return parser.parse_args()


def open_session(model: Path, threads: int) -> ort.InferenceSession:
    """A CPU session with every graph optimisation and onnxruntime's default thread spinning."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def random_feed(session: ort.InferenceSession, batch: int) -> dict[str, np.ndarray]:
    """Normal float samples of the model's own input shapes, whose first axis is the batch."""
    rng = np.random.default_rng(1)
    return {i.name: rng.standard_normal((batch, *i.shape[1:])).astype(np.float32) for i in session.get_inputs()}


def measure(session: ort.InferenceSession, feed: dict[str, np.ndarray], seconds: float) -> array:
    """Seconds of each run, for `seconds` in all or `RUNS_MAX` runs."""
    for _ in range(WARM_UP_RUNS):
        session.run(None, feed)
    times_s = array("d")
    end = time.perf_counter() + seconds
    while len(times_s) < RUNS_MIN or (len(times_s) < RUNS_MAX and time.perf_counter() < end):
        start = time.perf_counter()
        session.run(None, feed)
        times_s.append(time.perf_counter() - start)
    return times_s


def memory_mb(key: str) -> float:
    """This process's `VmRSS` or `VmHWM`, which, unlike `ru_maxrss`, does not count the parent before the exec."""
    status = Path("/proc/self/status").read_text()
    kib = int(re.search(rf"^{key}:\s+(\d+) kB$", status, re.MULTILINE).group(1))
    return round(kib * 1024 / 1e6, 1)


if __name__ == "__main__":
    main()
