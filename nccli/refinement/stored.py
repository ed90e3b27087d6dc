"""Stored latents as the start of a refinement, and the file they go back into."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nccli.codec.coded import Coded
from nccli.codec.image import decode_stored, model_of
from nccli.coding.sender import Latents, Stream
from nccli.container.image_file import ImageContainer, read_image, with_latents
from nccli.entropy.steps import LATENT_BITS, STEP_Z_CHOICES


@dataclass(frozen=True)
class Stored:
    """A decoded file before its synthesis.

    Attributes:
        container: the file.
        coded: the picture in it.
        latents: rounding them at the stream's setting gives the file's symbols.
    """

    container: ImageContainer
    coded: Coded
    latents: Latents

    def pack(self, stream: Stream) -> bytes:
        """The file with other latents; everything else stays."""
        return with_latents(self.container.header, self.container.sections, stream.setting, stream.payload)


def read_stored(data: bytes, device: str) -> Stored:
    """Latents and symbols of a file.

    Raises:
        FormatError: the file is damaged.
        UnsupportedError: it needs another version or model.
    """
    container = read_image(data)
    coded = decode_stored(container, model_of(container, device))
    stream = coded.stream
    z = stream.z.astype(np.float32) * np.float32(2.0 ** STEP_Z_CHOICES[stream.setting.step_z])
    y = stream.y_hat.astype(np.float32) / np.float32(2**LATENT_BITS)
    return Stored(container, coded, Latents(coded.grid, y, z))
