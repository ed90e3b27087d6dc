"""Still pictures through optional packages: JPEG XL (imagecodecs), HEIF (pillow-heif)."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np

from nccli.bench.codecs import Codec
from nccli.bench.coders import Coder, Frames


@dataclass(frozen=True)
class JxlCoder:
    """JPEG XL by libjxl; a setting is a Butteraugli distance.

    Attributes:
        effort: 1 .. 9.
        threads: CPU threads.
    """

    effort: int
    threads: int

    def encode(self, frames: Frames, setting: float) -> bytes:
        import imagecodecs

        data = imagecodecs.jpegxl_encode(
            frames[0], distance=setting, effort=self.effort, numthreads=self.threads
        )
        return bytes(data)

    def decode(self, data: bytes, shape: tuple[int, ...]) -> Frames:
        import imagecodecs

        return np.asarray(imagecodecs.jpegxl_decode(data, numthreads=self.threads), np.uint8)[None]


@dataclass(frozen=True)
class HeifCoder:
    """HEIF with x265 inside, by libheif.

    Attributes:
        chroma: subsampling as libheif writes it, 420 or 444.
        tune: x265's.
    """

    chroma: int
    tune: str

    def encode(self, frames: Frames, setting: float) -> bytes:
        import pillow_heif

        out = io.BytesIO()
        height, width = frames.shape[1:3]
        picture = pillow_heif.from_bytes("RGB", (width, height), frames[0].tobytes())
        picture.save(out, quality=round(setting), chroma=self.chroma, enc_params={"tune": self.tune})
        return out.getvalue()

    def decode(self, data: bytes, shape: tuple[int, ...]) -> Frames:
        import pillow_heif

        return np.asarray(pillow_heif.open_heif(data, convert_hdr_to_8bit=True), np.uint8)[None, ..., :3]


def make(codec: Codec, threads: int, device: str) -> Coder:
    """A coder for a codec whose home is this module."""
    if codec.option("format") == "jxl":
        return JxlCoder(int(codec.option("effort")), threads)
    return HeifCoder(int(codec.option("chroma").replace(":", "")), codec.option("tune"))
