"""The referee: compares pictures in a process of its own, the same for all codecs.

Its libraries would otherwise count as memory of every codec, and its threads disturb the clock.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nccli.bench.coders import Frames
from nccli.bench.frames import load_mask
from nccli.engine import thread_variables
from nccli.errors import MediaError, NccError


@dataclass(frozen=True)
class Likeness:
    """How near a decoded picture is to its original; the columns of `Row`."""

    psnr: float
    ms_ssim: float | None
    lpips: float | None
    psnr_roi: float | None
    psnr_rest: float | None


def compare(x: Frames, x_hat: Frames, metrics: tuple[str, ...], mask: str | None) -> Likeness:
    """Likeness of `x_hat`, measured in the other process.

    Args:
        x: original.
        x_hat: decoded, of the same shape.
        metrics: what to measure beside PSNR: `ms-ssim`, `lpips`.
        mask: path of the region of interest.

    Raises:
        MediaError: the mask cannot be read.
        ModelError: LPIPS is not installed.
    """
    pipe = _process()
    try:
        pipe.send((x, x_hat, metrics, mask))
        answer = pipe.recv()
    except (EOFError, OSError):
        _process.cache_clear()
        raise MediaError("the pictures could not be compared: the process for it died") from None
    if isinstance(answer, Likeness):
        return answer
    raise answer


@lru_cache(maxsize=1)
def _process() -> Connection[Any, Any]:
    """A pipe to the referee; it ends with this process, or when the pipe does."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    context.Process(target=_serve, args=(theirs,), daemon=True).start()
    theirs.close()
    return ours


def _serve(pipe: Connection[Any, Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.update(thread_variables(1))
    while True:
        try:
            question = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(_judge(*question))
        except NccError as error:
            pipe.send(error)


def _judge(x: Frames, x_hat: Frames, metrics: tuple[str, ...], mask: str | None) -> Likeness:
    from nccli.media.metrics import psnr

    inside, outside = _regions(mask, x, x_hat)
    return Likeness(
        psnr=_mean([psnr(a, b) for a, b in zip(x, x_hat, strict=True)]) or 0.0,
        ms_ssim=_structure(x, x_hat) if "ms-ssim" in metrics else None,
        lpips=_perceptual(x, x_hat) if "lpips" in metrics else None,
        psnr_roi=inside,
        psnr_rest=outside,
    )


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _structure(x: Frames, x_hat: Frames) -> float | None:
    from nccli.media.metrics import ms_ssim

    found = [ms_ssim(a, b) for a, b in zip(x, x_hat, strict=True)]
    return _mean([value for value in found if value is not None])


def _regions(path: str | None, x: Frames, x_hat: Frames) -> tuple[float | None, float | None]:
    """PSNR inside and outside the mask."""
    if path is None:
        return None, None
    mask = load_mask(path, *x.shape[1:3])
    return _psnr_where(x, x_hat, mask), _psnr_where(x, x_hat, ~mask)


def _psnr_where(x: Frames, x_hat: Frames, where: NDArray[np.bool_]) -> float | None:
    if not where.any():
        return None
    from nccli.media.metrics import IDENTICAL_PSNR

    error = float(np.mean((x[:, where].astype(np.float64) - x_hat[:, where]) ** 2))
    return IDENTICAL_PSNR if error == 0 else float(10 * np.log10(255**2 / error))


@lru_cache(maxsize=1)
def _lpips() -> Callable[[Frames, Frames], float]:
    """LPIPS with AlexNet, as in refinement."""
    import torch

    from nccli.refinement.descent.perceptual import lpips_metric

    metric = lpips_metric(None, torch.device("cpu"))

    def distance(x: Frames, x_hat: Frames) -> float:
        planes = [torch.from_numpy(p).permute(2, 0, 1)[None].float() / 255 for p in (x_hat, x)]
        with torch.inference_mode():
            return float(metric(*planes))

    return distance


def _perceptual(x: Frames, x_hat: Frames) -> float | None:
    return _mean([_lpips()(a, b) for a, b in zip(x, x_hat, strict=True)])
