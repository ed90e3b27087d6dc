"""Pretrained networks of the zoo, coded as ncc files; a setting is a quality, each with weights of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nccli.bench.codecs import Codec, zoo_model
from nccli.bench.coders import Frames
from nccli.catalogue.entries import own_lambda
from nccli.codec.encoding import Encoding, Rate
from nccli.codec.image import encode_pixels
from nccli.codec.opened import decode_bytes
from nccli.program.inputs import limit_threads


@dataclass(frozen=True)
class ZooCoder:
    """A family of networks, each at the rate that it was trained for.

    Attributes:
        codec: names the family.
        device: where the networks run.
    """

    codec: Codec
    device: str

    def encode(self, frames: Frames, setting: float) -> bytes:
        model = zoo_model(self.codec, setting)
        return encode_pixels(
            frames[0], Encoding(Rate(lmbda=own_lambda(model)), model, self.device, measure=False)
        ).data

    def decode(self, data: bytes, shape: tuple[int, ...]) -> Frames:
        return np.asarray(decode_bytes(data, self.device).pixels, np.uint8)[None]


def make(codec: Codec, threads: int, device: str) -> ZooCoder:
    """A coder for a codec whose home is this module."""
    limit_threads(threads)
    return ZooCoder(codec, device)
