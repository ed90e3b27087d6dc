"""One measurement: encode, decode, compare. What a worker process does."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from nccli import files
from nccli.bench.codecs import Codec
from nccli.bench.coders import Coder, Frames, open_coder
from nccli.bench.frames import load, shown
from nccli.bench.peak import forget_peak, peak
from nccli.bench.referee import compare
from nccli.bench.rows import Row
from nccli.errors import MediaError

T = TypeVar("T")


@dataclass(frozen=True)
class Case:
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


def measure(case: Case) -> Row:
    """Do a case; the first of a process runs its codec once more than it times it, to warm up.

    Raises:
        MediaError: the picture cannot be read, or comes back in another shape.
    """
    x = load(case.path, case.frames)
    coder = _warm(case.codec, case.threads, case.device, x, case.setting)
    forget_peak()
    data, encode_s = _timed(lambda: coder.encode(x, case.setting), case.repeat)
    x_hat, decode_s = _timed(lambda: coder.decode(data, x.shape), case.repeat)
    most = peak()
    if x_hat.shape != x.shape:
        raise MediaError(f"{case.image}: {x.shape} came back as {x_hat.shape}")
    quality = compare(x, x_hat, case.metrics, case.mask)
    if case.picture:
        files.write_bytes(case.picture, shown(x_hat), force=True)
    count, height, width = x.shape[:3]
    return Row(
        codec=case.codec.name,
        image=case.image,
        setting=case.setting,
        width=width,
        height=height,
        frames=count,
        bytes=len(data),
        bpp=len(data) * 8 / (count * height * width),
        psnr=quality.psnr,
        ms_ssim=quality.ms_ssim,
        lpips=quality.lpips,
        psnr_roi=quality.psnr_roi,
        psnr_rest=quality.psnr_rest,
        encode_s=encode_s,
        decode_s=decode_s,
        peak_mb=most / 1e6,
        run=case.run,
        mark=case.mark,
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
