"""What several test modules share."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from nccli.codec.coded import with_details
from nccli.codec.encoding import Encoding, Rate
from nccli.codec.image import encode_pixels
from nccli.coding.analysis import Analyser
from nccli.coding.details import extra
from nccli.coding.sender import Latents, Stream, default_step_z, send
from nccli.coding.tiles import Shape, reconstruct
from nccli.container.framing import CRC_BYTES
from nccli.container.image_file import read_image
from nccli.container.section_ids import SectionId
from nccli.entropy.rate import lambda_to_rate
from nccli.entropy.setting import Setting
from nccli.networks.weights import ImageWeights

Pixels = NDArray[np.uint8]

ROOT = Path(__file__).resolve().parent.parent.parent


Call = Callable[..., int]
"""The command line: arguments -> exit code."""


def frozen(pixels: Pixels) -> Pixels:
    """A read-only contiguous copy: no test can change another's picture."""
    copy = np.array(pixels, np.uint8, order="C")
    copy.setflags(write=False)
    return copy


@dataclass(frozen=True)
class Sample:
    """A picture coded once, with everything the encoder knew."""

    pixels: Pixels
    latents: Latents
    stream: Stream
    data: bytes

    @property
    def shape(self) -> Shape:
        return Shape(*self.pixels.shape[:2])

    def reconstruct(self, weights: ImageWeights) -> Pixels:
        """The encoder's own picture."""
        with torch.inference_mode():
            field = self.stream.setting.field(self.latents.grid)
            added = extra(weights, self.latents.grid, self.stream.setting, self.stream.details)
            return reconstruct(weights, self.stream.y_hat, field, self.shape, extra=added)


def setting_of(weights: ImageWeights, lmbda: float, step_y: int = 0) -> Setting:
    rate = lambda_to_rate(lmbda)
    return Setting(rate, step_y, default_step_z(weights, rate))


def analysed(weights: ImageWeights, pixels: Pixels, lmbda: float = 0.01) -> Latents:
    """The latents that an encode at this lambda starts from."""
    with torch.inference_mode():
        return Analyser(weights, pixels)(setting_of(weights, lmbda))


def encode_sample(weights: ImageWeights, pixels: Pixels, lmbda: float) -> Sample:
    with torch.inference_mode():
        latents = analysed(weights, pixels, lmbda)
        stream = with_details(weights, pixels, send(weights, latents, setting_of(weights, lmbda)))
    data = encode_pixels(pixels, Encoding(Rate(lmbda=lmbda), device="cpu", measure=False)).data
    return Sample(pixels, latents, stream, data)


def encode(pixels: Pixels, lmbda: float) -> bytes:
    return encode_pixels(pixels, Encoding(Rate(lmbda=lmbda), device="cpu", measure=False)).data


def latents_payload(data: bytes) -> bytes:
    return read_image(data).section(SectionId.LATENTS)


def with_crc(body: bytes) -> bytes:
    """A file whose checksum is right, whatever is in front of it."""
    return body + struct.pack("<I", zlib.crc32(body))


def resealed(data: bytes) -> bytes:
    """The same file with its checksum computed anew."""
    return with_crc(data[:-CRC_BYTES])


def run_python(
    *args: str, cwd: Path = ROOT, stdout: int = subprocess.PIPE
) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter that finds this checkout."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    environment = os.environ | {"PYTHONPATH": path}
    command, error = [sys.executable, *args], subprocess.PIPE
    return subprocess.run(
        command, cwd=cwd, env=environment, stdout=stdout, stderr=error, text=True, timeout=120
    )


def run_ncc(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own."""
    return run_python("-c", "from nccli.cli import main; main()", *args, cwd=cwd)
