"""Speed and memory of refinement: one optimiser step against one run of g_s. Not collected by pytest.

python tools/benchmark_refine.py [--width 768 --height 512] [--threads 2] [--lambda 0.01]
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from skimage import data

from nccli.catalogue.entries import DEFAULT_MODEL, find
from nccli.catalogue.load import load_model
from nccli.codec.refining import RefineOptions
from nccli.coding.analysis import Analyser
from nccli.coding.search import setting_at
from nccli.entropy.rate import lambda_to_rate
from nccli.program.inputs import limit_threads
from nccli.refinement.descent.aims import Fixed
from nccli.refinement.descent.judge import Task
from nccli.refinement.descent.metric import Source
from nccli.refinement.descent.optimise import FREEZE_Z, Optimiser
from nccli.refinement.descent.problem import Kit

ROUNDS = 9


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--height", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--lambda", dest="lmbda", type=float, default=0.01)
    return parser.parse_args()


def alternating(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median seconds of each call; they take turns, so that other load meets all of them."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def main() -> None:
    """Measure and print."""
    options = arguments()
    limit_threads(options.threads)
    weights = load_model(find(DEFAULT_MODEL), "cpu")
    photo = np.tile(data.coffee(), (-(-options.height // 400), -(-options.width // 600), 1))
    pixels = np.ascontiguousarray(photo[: options.height, : options.width])
    setting = setting_at(weights, lambda_to_rate(options.lmbda))
    latents = Analyser(weights, pixels)(setting)
    whole = Source(pixels).distortion(slice(None), slice(None), weights.device)
    task = Task(Kit.of(weights), latents, setting, whole, options.height * options.width)
    runs = [Optimiser(task, RefineOptions(), Fixed(options.lmbda)) for _ in range(2)]
    runs[1]._freeze(FREEZE_Z)
    y = (torch.from_numpy(latents.y) * weights.spread[:, None, None])[None]

    def synthesis() -> None:
        with torch.no_grad():
            weights.g_s(y, runs[0]._problem.anchors)

    calls = {
        "g_s": synthesis,
        "step": lambda: runs[0]._step(0.3),
        "step, z frozen": lambda: runs[1]._step(0.7),
        "check": lambda: runs[0]._judge.measure(latents, setting),
    }
    for call in calls.values():
        call()
    seconds = alternating(calls)
    for name, value in seconds.items():
        print(f"{name:<16} {value * 1e3:8.1f} ms {value / seconds['g_s']:6.2f} x g_s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(f"peak memory      {peak / 1e6:8.0f} MB")


if __name__ == "__main__":
    main()
