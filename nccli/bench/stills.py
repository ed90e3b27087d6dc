"""Still pictures through Pillow: JPEG, WebP, AVIF, JPEG 2000."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from nccli.bench.codecs import Codec
from nccli.bench.coders import Frames


@dataclass(frozen=True)
class StillCoder:
    """A format that Pillow writes.

    Attributes:
        format: Pillow's name of it.
        fixed: save options that stay.
        knob: the save option that a setting goes to.
    """

    format: str
    fixed: tuple[tuple[str, Any], ...]
    knob: str

    def encode(self, frames: Frames, setting: float) -> bytes:
        out = io.BytesIO()
        value: Any = [setting] if self.knob == "quality_layers" else round(setting)
        Image.fromarray(frames[0]).save(out, self.format, **dict(self.fixed) | {self.knob: value})
        return out.getvalue()

    def decode(self, data: bytes, shape: tuple[int, ...]) -> Frames:
        with Image.open(io.BytesIO(data), formats=[self.format]) as image:
            return np.asarray(image.convert("RGB"))[None]


def make(codec: Codec, threads: int, device: str) -> StillCoder:
    """A coder for a codec whose home is this module."""
    name = codec.option("format")
    fixed: dict[str, Any] = {}
    if name == "JPEG":
        fixed = {"subsampling": codec.option("subsampling")}
    elif name == "WEBP":
        fixed = {"method": int(codec.option("method"))}
    elif name == "AVIF":
        fixed = {"codec": codec.option("codec"), "speed": int(codec.option("speed")), "max_threads": threads}
        fixed |= {"subsampling": codec.option("subsampling"), "advanced": {"tune": codec.option("tune")}}
    elif name == "JPEG2000":
        fixed = {"quality_mode": "rates", "irreversible": codec.option("irreversible") == "yes"}
        fixed |= {"mct": int(codec.option("mct"))}
        return StillCoder(name, tuple(fixed.items()), "quality_layers")
    return StillCoder(name, tuple(fixed.items()), "quality")
