"""Stored latents as the start of a refinement, and the file they go back into."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nccli.codec.image import model_of
from nccli.coding.payload import read_payload
from nccli.coding.sender import Latents, Stream
from nccli.container.image_file import ImageContainer, read_image, with_latents
from nccli.container.section_ids import SectionId
from nccli.container.sections import stored_setting
from nccli.entropy.grid import Grid
from nccli.entropy.steps import LATENT_BITS, STEP_Z_CHOICES
from nccli.networks.weights import ImageWeights


@dataclass(frozen=True)
class Stored:
    """A decoded file before its synthesis.

    Attributes:
        container: the file.
        weights: the model it names.
        latents: rounding them at the stream's setting gives the file's symbols.
        stream: as it stands in the file.
    """

    container: ImageContainer
    weights: ImageWeights
    latents: Latents
    stream: Stream

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
    weights = model_of(container, device)
    header, setting = container.header, stored_setting(container)
    grid = Grid.of(header.height, header.width)
    payload = container.section(SectionId.LATENTS)
    read = read_payload(weights, grid, setting, payload)
    z = read.z.astype(np.float32) * np.float32(2.0 ** STEP_Z_CHOICES[setting.step_z])
    latents = Latents(grid, read.y_hat.astype(np.float32) / np.float32(2**LATENT_BITS), z)
    return Stored(container, weights, latents, Stream(setting, payload, read.y_hat))
