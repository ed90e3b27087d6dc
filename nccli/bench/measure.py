"""One measurement: encode, decode, compare. What a worker process does."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from nccli import files
from nccli.bench import memory
from nccli.bench.codecs import Codec
from nccli.bench.coder import Coder, Frames, open_coder
from nccli.bench.frames import load, load_mask, shown
from nccli.bench.rows import Row
from nccli.errors import MediaError
from nccli.metrics import IDENTICAL_PSNR, ms_ssim, psnr

T = TypeVar("T")


@dataclass(frozen=True)
class Task:
    """One codec at one setting on one image.

    Attributes:
        codec: which.
        setting: of its knob.
        image: name in the tables.
        path: of the picture or clip.
        mask: path of its region of interest.
        metrics: what to measure beside PSNR: `ms-ssim`, `lpips`.
        threads: CPU threads.
        device: where networks run.
        repeat: timed runs, of which the median counts.
        frames: most frames of a clip.
        picture: where to keep the decoded picture for the report.
        run: see `Row`.
        mark: see `Row`.
    """

    codec: Codec
    setting: float
    image: str
    path: str
    mask: str | None
    metrics: tuple[str, ...]
    threads: int
    device: str
    repeat: int
    frames: int
    picture: str | None
    run: str
    mark: str


def measure(task: Task) -> Row:
    """Do a task; the first of a process runs its codec once more than it times it, to warm up.

    Raises:
        MediaError: the picture cannot be read, or comes back in another shape.
    """
    x = load(task.path, task.frames)
    coder = _warm(task.codec, task.threads, task.device, x, task.setting)
    memory.forget_peak()
    data, encode_s = _timed(lambda: coder.encode(x, task.setting), task.repeat)
    x_hat, decode_s = _timed(lambda: coder.decode(data, x.shape), task.repeat)
    peak = memory.peak()
    if x_hat.shape != x.shape:
        raise MediaError(f"{task.image}: {x.shape} came back as {x_hat.shape}")
    inside, outside = _regions(task, x, x_hat)
    if task.picture:
        files.write_bytes(task.picture, shown(x_hat), force=True)
    count, height, width = x.shape[:3]
    return Row(
        codec=task.codec.name,
        image=task.image,
        setting=task.setting,
        width=width,
        height=height,
        frames=count,
        bytes=len(data),
        bpp=len(data) * 8 / (count * height * width),
        psnr=_mean([psnr(a, b) for a, b in zip(x, x_hat, strict=True)]) or 0.0,
        ms_ssim=_structure(x, x_hat) if "ms-ssim" in task.metrics else None,
        lpips=_perceptual(x, x_hat) if "lpips" in task.metrics else None,
        psnr_roi=inside,
        psnr_rest=outside,
        encode_s=encode_s,
        decode_s=decode_s,
        peak_mb=peak / 1e6,
        run=task.run,
        mark=task.mark,
    )


_open = lru_cache(maxsize=2)(open_coder)
_warmed: set[str] = set()


def _warm(codec: Codec, threads: int, device: str, x: Frames, setting: float) -> Coder:
    os.environ.setdefault("SVT_LOG", "1")  # errors only
    coder = _open(codec, threads, device)
    if codec.name not in _warmed:
        coder.decode(coder.encode(x[:1], setting), x[:1].shape)
        _warmed.add(codec.name)
    return coder


def _timed(call: Callable[[], T], repeat: int) -> tuple[T, float]:
    """A call's result and the median of its times in seconds."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        result = call()
        times.append(time.perf_counter() - start)
    return result, statistics.median(times)


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _structure(x: Frames, x_hat: Frames) -> float | None:
    found = [ms_ssim(a, b) for a, b in zip(x, x_hat, strict=True)]
    return _mean([value for value in found if value is not None])


def _regions(task: Task, x: Frames, x_hat: Frames) -> tuple[float | None, float | None]:
    """PSNR inside and outside the mask."""
    if task.mask is None:
        return None, None
    mask = load_mask(task.mask, *x.shape[1:3])
    return _psnr_where(x, x_hat, mask), _psnr_where(x, x_hat, ~mask)


def _psnr_where(x: Frames, x_hat: Frames, where: NDArray[np.bool_]) -> float | None:
    if not where.any():
        return None
    error = float(np.mean((x[:, where].astype(np.float64) - x_hat[:, where]) ** 2))
    return IDENTICAL_PSNR if error == 0 else float(10 * np.log10(255**2 / error))


@lru_cache(maxsize=1)
def _lpips() -> Callable[[Frames, Frames], float]:
    """LPIPS with AlexNet. Source: Zhang et al. 2018, the authors' package."""
    import lpips
    import torch

    network = lpips.LPIPS(net="alex", verbose=False).eval()

    def distance(a: Frames, b: Frames) -> float:
        planes = [torch.from_numpy(p).permute(2, 0, 1)[None].float() / 127.5 - 1 for p in (a, b)]
        with torch.inference_mode():
            return float(network(*planes))

    return distance


def _perceptual(x: Frames, x_hat: Frames) -> float | None:
    return _mean([_lpips()(a, b) for a, b in zip(x, x_hat, strict=True)])
