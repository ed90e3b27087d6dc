"""Image files: their header, and how large a picture their data may claim.

Source: docs/FORMAT.md sections 3 and 4. Standard library only.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from nccli.bounds import MAX_PIXELS, MAX_SIDE
from nccli.container.framing import Container, Kind, Reader, Section, read_whole, write_varint, write_whole
from nccli.container.section_ids import SectionId
from nccli.container.setting_fields import check_setting, checked_step_z, read_rate, write_rate
from nccli.entropy.setting import Setting
from nccli.errors import FormatError

PIXELS_PER_BYTE = 2**14
FREE_PIXELS = 2**20
"""A picture may have at most FREE_PIXELS + PIXELS_PER_BYTE pixels per byte of latents."""

MIN_COUNTED_SIDE = 64
"""Pixels per hyper-latent: a narrower side costs as much work."""

STEP_Z_SHIFT = 2
GRAY_FLAG = 1 << 5
DEEP_FLAG = 1 << 6
ZERO_FLAG = 1 << 7
"""Beside the kind in its byte."""


@dataclass(frozen=True)
class ImageHeader:
    """The fixed fields of an image file.

    Attributes:
        model_id: number of the weights, never reused.
        weights_tag: first 4 bytes of the weights file's sha256.
        width: pixels.
        height: pixels.
        rate: rate point, see `nccli.entropy.rate`.
        step_y: offset of every latent's log2 step, 1/64 octave.
        step_z: index into the allowed steps of z, 0..6.
        gray: the picture has one channel, coded as three equal ones.
        depth: bits per sample, 8 or 16.
    """

    model_id: int
    weights_tag: bytes
    width: int
    height: int
    rate: int
    step_y: int
    step_z: int
    gray: bool = False
    depth: int = 8

    @property
    def pixels(self) -> int:
        return self.width * self.height

    def check(self) -> None:
        """Raise ValueError for a field out of range (a defect of the caller, never of user input)."""
        if not 1 <= self.width <= MAX_SIDE or not 1 <= self.height <= MAX_SIDE or self.pixels > MAX_PIXELS:
            raise ValueError(f"size {self.width}x{self.height} out of range")
        if self.depth not in (8, 16):
            raise ValueError(f"{self.depth} bits per sample")
        check_setting(self.rate, self.step_y, self.step_z)


ImageContainer = Container[ImageHeader]


def write_image(header: ImageHeader, sections: Iterable[Section]) -> bytes:
    """Serialise an image file.

    Raises:
        ValueError: a field is out of range (a defect of the caller, never of user input).
    """
    header.check()
    flags = GRAY_FLAG * header.gray | DEEP_FLAG * (header.depth == 16)
    fields = header.model_id.to_bytes(2, "little") + header.weights_tag
    fields += write_varint(header.width) + write_varint(header.height)
    fields += write_rate(header.rate, header.step_y)
    return write_whole(Kind.IMAGE | header.step_z << STEP_Z_SHIFT | flags, fields, sections)


def read_image(data: bytes) -> ImageContainer:
    """Parse and verify an image file; nothing in `data` is trusted.

    Raises:
        FormatError: not an ncc file, damaged, or out of the format's limits.
        UnsupportedError: another version or kind, or an unknown required section.
    """
    file = read_whole(data, Kind.IMAGE, _read_header, set(SectionId))
    _check_plausible(file)
    return file


def with_latents(
    header: ImageHeader,
    sections: Iterable[Section],
    setting: Setting,
    payload: bytes,
    details: bytes | None,
) -> bytes:
    """An image file made of another one's header and sections, with latents of its own.

    Args:
        header: everything but the setting.
        sections: a latents section among them says where the latents go.
        setting: where on the rate axis they are coded; its region is one of the sections.
        payload: the latents.
        details: theirs, in place of those that are among the sections; None for none.
    """
    header = replace(header, rate=setting.rate, step_y=setting.step_y, step_z=setting.step_z)
    padded = payload.ljust(minimum_latent_bytes(header.width, header.height), b"\0")
    kept = [
        Section(s.id, padded if s.id == SectionId.LATENTS else s.payload)
        for s in sections
        if s.id != SectionId.DETAILS
    ]
    if details is not None:
        place = [s.id for s in kept].index(SectionId.LATENTS) + 1
        kept.insert(place, Section(SectionId.DETAILS, details))
    return write_image(header, kept)


def minimum_latent_bytes(width: int, height: int) -> int:
    """Shortest latents payload allowed for a picture; encoders pad to it with zero bytes.

    Sides count as at least `MIN_COUNTED_SIDE` pixels, since networks pad a narrow picture.
    """
    pixels = max(width, MIN_COUNTED_SIDE) * max(height, MIN_COUNTED_SIDE)
    return max(-(-(pixels - FREE_PIXELS) // PIXELS_PER_BYTE), 0)


def _read_header(packed: int, reader: Reader) -> ImageHeader:
    start = reader.place - 1
    if packed & ZERO_FLAG:
        raise FormatError("flags", offset=start, found=packed)
    step_z = checked_step_z(packed >> STEP_Z_SHIFT & 7, start)
    model_id, tag = reader.number(2, "model"), reader.take(4, "weights tag")
    place = reader.place
    width, height = reader.varint("width", MAX_SIDE), reader.varint("height", MAX_SIDE)
    if not width or not height or width * height > MAX_PIXELS:
        raise FormatError("picture size", offset=place, found=f"{width}x{height}")
    rate, step_y = read_rate(reader)
    gray, depth = bool(packed & GRAY_FLAG), 16 if packed & DEEP_FLAG else 8
    return ImageHeader(model_id, tag, width, height, rate, step_y, step_z, gray, depth)


def _check_plausible(file: ImageContainer) -> None:
    """Refuse a huge claimed size that no payload of this length may have."""
    header = file.header
    total = sum(len(s.payload) for s in file.sections if s.id == SectionId.LATENTS)
    if total < minimum_latent_bytes(header.width, header.height):
        raise FormatError(
            "picture size is out of proportion to its data",
            found=f"{header.width}x{header.height} in {total} bytes",
        )
