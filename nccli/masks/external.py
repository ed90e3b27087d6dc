"""`onnx:PATH`: masks by a network of the user's own. The only import of onnxruntime."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nccli.errors import ModelError, UsageError

FREE_SIDE = 512
"""What a network sees that takes any size."""

FLOATS = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}


def parse(text: str) -> tuple[Path, float, float]:
    """`PATH[,mean=M][,std=S]`: the file, and what makes (x - mean) / std of samples in [0, 1]."""
    path, *rest = text.split(",")
    given = {"mean": 0.0, "std": 1.0}
    for part in rest:
        name, _, value = part.partition("=")
        try:
            given[name.strip()] = float(value)
        except ValueError:
            given[name.strip()] = 0.0
    if set(given) != {"mean", "std"} or given["std"] <= 0:
        raise UsageError(f"onnx:{text} is not of the form onnx:PATH[,mean=M][,std=S]")
    return Path(path), given["mean"], given["std"]


def onnx_mask(text: str, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The mask (h, w) in [0, 1] that a network makes of (h, w, 3).

    Its one input is RGB, b c h w or b h w c; its first output is one plane, of probabilities or, when
    values leave [0, 1], of logits.

    Raises:
        UsageError: the network is of another kind.
        ModelError: the file or onnxruntime is missing.
    """
    path, mean, std = parse(text)
    session = _session(path)
    given = session.get_inputs()[0]
    if len(session.get_inputs()) != 1 or len(given.shape) != 4 or given.type not in FLOATS:
        raise UsageError(f"{path} does not take one picture: its input is {given.type} {given.shape}")
    last = given.shape[3] == 3 and given.shape[1] != 3
    high, wide = (
        side if isinstance(side, int) and side > 0 else FREE_SIDE
        for side in (given.shape[1:3] if last else given.shape[2:])
    )
    picture = Image.fromarray(pixels)
    small = np.asarray(picture.resize((wide, high), Image.Resampling.BILINEAR, reducing_gap=2.0), np.float64)
    x = ((small / 255 - mean) / std).astype(FLOATS[given.type])[None]
    try:
        output = session.run(None, {given.name: x if last else x.transpose(0, 3, 1, 2)})[0]
    except _failures() as error:
        raise ModelError(f"{path} cannot be run: {error}") from error
    whole = Image.fromarray(_plane(np.asarray(output), path)).resize(picture.size, Image.Resampling.BILINEAR)
    return np.asarray(whole, np.float32)


def _plane(output: NDArray[Any], path: Path) -> NDArray[np.float32]:
    sides = [side for side in output.shape if side != 1]
    if len(sides) != 2:
        raise UsageError(f"{path} does not make one mask: its output is {list(output.shape)}")
    plane = output.reshape(sides).astype(np.float32)
    if plane.min() < 0 or plane.max() > 1:
        plane = 1 / (1 + np.exp(-plane.clip(-60, 60)))
    return plane


@lru_cache(maxsize=1)
def _session(path: Path) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelError("onnx models need onnxruntime: pip install 'nccli[onnx]'") from error
    if not path.is_file():
        raise ModelError(f"no network in {path}")
    try:
        return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except _failures() as error:
        raise ModelError(f"{path} is not a network that onnxruntime reads") from error


def _failures() -> tuple[type[Exception], ...]:
    """What onnxruntime raises: its exceptions have no base of their own."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    own = [kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    return (RuntimeError, ValueError, *own)
