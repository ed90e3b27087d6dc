"""A coded picture and what goes with it <-> the sections of a file."""

from __future__ import annotations

from nccli.coding import Grid, Setting
from nccli.container import (
    Container,
    Header,
    Kind,
    Section,
    SectionId,
    minimum_latent_bytes,
    write_container,
)
from nccli.encoding import Stream
from nccli.errors import UsageError
from nccli.picture import Metadata, Picture, Pixels
from nccli.roi.field import Region
from nccli.roi.stream import pack_region, unpack_region
from nccli.weights import ImageWeights

METADATA_SECTIONS = {"icc": SectionId.ICC, "exif": SectionId.EXIF, "xmp": SectionId.XMP}


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
        self._fixed = _fixed_sections(picture)
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


def _fixed_sections(picture: Picture) -> list[Section]:
    """Alpha and metadata."""
    sections = []
    if picture.alpha is not None:
        from nccli.alpha import pack_alpha

        sections.append(Section(SectionId.ALPHA, pack_alpha(picture.alpha)))
    for name, number in METADATA_SECTIONS.items():
        payload = getattr(picture.metadata, name)
        if payload:
            sections.append(Section(number, payload))
    return sections


def stored_setting(container: Container) -> Setting:
    """Where on the rate axis a parsed file is coded, its region of interest included."""
    header, payload = container.header, container.find(SectionId.ROI)
    grid = Grid.of(header.height, header.width)
    region = None if payload is None else unpack_region(payload, grid.height, grid.width)
    return Setting(header.rate, header.step_y, header.step_z, region)


def stored_alpha(container: Container) -> Pixels | None:
    """The alpha plane of a parsed file."""
    header, payload = container.header, container.find(SectionId.ALPHA)
    if payload is None:
        return None
    from nccli.alpha import unpack_alpha

    return unpack_alpha(payload, header.height, header.width, header.depth)


def stored_metadata(container: Container) -> Metadata:
    """Profiles and tags of a parsed file."""
    return Metadata(**{name: container.find(number) for name, number in METADATA_SECTIONS.items()})
