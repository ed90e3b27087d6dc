"""A coded picture and what goes with it <-> the sections of a file."""

from __future__ import annotations

from nccli.coding.sender import Stream
from nccli.container.framing import Section
from nccli.container.image_file import ImageHeader, with_latents
from nccli.container.roi_section import pack_region
from nccli.container.section_ids import SectionId
from nccli.container.sections import fixed_sections
from nccli.entropy.region import Region
from nccli.errors import UsageError
from nccli.media.picture import Picture
from nccli.networks.weights import ImageWeights


class Packer:
    """Makes files of a picture's streams; alpha, metadata and the last region are packed once."""

    def __init__(self, weights: ImageWeights, picture: Picture, limit: int | None) -> None:
        """Prepare.

        Args:
            weights: model.
            picture: what is being coded.
            limit: bytes that files must not exceed.
        """
        entry, size = weights.entry, (picture.width, picture.height)
        self._header = ImageHeader(entry.id, entry.tag, *size, 0, 0, 0, picture.gray, picture.depth)
        self._limit = limit
        self._fixed = fixed_sections(picture)
        self._region: Region | None = None
        self._roi: list[Section] = []
        self._check()

    def __call__(self, stream: Stream) -> bytes:
        """The file of a stream.

        Raises:
            UsageError: no latents would fit beside the rest.
        """
        setting = stream.setting
        if setting.region is not self._region:
            self._region = setting.region
            self._roi = [] if self._region is None else [Section(SectionId.ROI, pack_region(self._region))]
            self._check()
        sections = [*self._roi, Section(SectionId.LATENTS, b""), *self._fixed]
        return with_latents(self._header, sections, setting, stream.payload, details_of(stream))

    def _check(self) -> None:
        size = sum(section.size for section in (*self._roi, *self._fixed))
        if self._limit is not None and size >= self._limit:
            raise UsageError(f"{self._limit} bytes are too few: mask, alpha and metadata alone take {size}")


def details_of(stream: Stream) -> bytes | None:
    """The payload of a stream's details."""
    return None if stream.details is None else stream.details.payload
