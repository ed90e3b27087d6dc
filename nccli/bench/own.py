"""ncc itself, through its public interface."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nccli.bench.codecs import Codec
from nccli.bench.coders import Frames
from nccli.codec.encoding import Encoding, Rate
from nccli.codec.image import encode_pixels
from nccli.codec.opened import decode_bytes
from nccli.program.inputs import limit_threads


@dataclass(frozen=True)
class OwnCoder:
    """ncc with one of its models; a setting is a lambda.

    Attributes:
        model: catalogue name.
        device: where the networks run.
        effort: preset of the refinement; None for none.
    """

    model: str
    device: str
    effort: str | None

    def encode(self, frames: Frames, setting: float) -> bytes:
        if self.effort is not None:
            from nccli.refinement.refined import refine

            pixels = frames[0]
            return refine(
                pixels, lmbda=setting, options=self.effort, model=self.model, device=self.device
            ).data
        return encode_pixels(
            frames[0], Encoding(Rate(lmbda=setting), self.model, self.device, measure=False)
        ).data

    def decode(self, data: bytes, shape: tuple[int, ...]) -> Frames:
        return np.asarray(decode_bytes(data, self.device).pixels, np.uint8)[None]


def make(codec: Codec, threads: int, device: str) -> OwnCoder:
    """A coder for a codec whose home is this module."""
    limit_threads(threads)
    return OwnCoder(codec.option("model"), device, dict(codec.config).get("refine"))
