"""A coded picture and what goes with it <-> the sections of a file."""

from __future__ import annotations

from nccli.coding.sender import Stream
from nccli.container.framing import Header, Kind, Section, SectionId, minimum_latent_bytes, write_container
from nccli.container.roi_section import pack_region
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
        self._weights, self._picture, self._limit = weights, picture, limit
        self._fixed = fixed_sections(picture)
        self._region: Region | None = None
        self._roi: list[Section] = []
        self._check()

    def __call__(self, stream: Stream) -> bytes:
        """The file of a stream.

        Raises:
            UsageError: no latents would fit beside the rest.
        """
        setting, picture = stream.setting, self._picture
        if setting.region is not self._region:
            self._region = setting.region
            self._roi = [] if self._region is None else [Section(SectionId.ROI, pack_region(self._region))]
            self._check()
        header = Header(
            kind=Kind.IMAGE,
            model_id=self._weights.entry.id,
            weights_tag=self._weights.entry.tag,
            width=picture.width,
            height=picture.height,
            rate=setting.rate,
            step_y=setting.step_y,
            step_z=setting.step_z,
            gray=picture.gray,
            depth=picture.depth,
        )
        payload = stream.payload.ljust(minimum_latent_bytes(header.width, header.height), b"\0")
        return write_container(header, [*self._roi, Section(SectionId.LATENTS, payload), *self._fixed])

    def _check(self) -> None:
        size = sum(section.size for section in (*self._roi, *self._fixed))
        if self._limit is not None and size >= self._limit:
            raise UsageError(f"{self._limit} bytes are too few: mask, alpha and metadata alone take {size}")
