"""What the sections beside the latents hold: alpha, metadata, region."""

from __future__ import annotations

from nccli.container.framing import Container, Section, SectionId
from nccli.container.roi_section import unpack_region
from nccli.entropy.grid import Grid
from nccli.entropy.setting import Setting
from nccli.media.picture import Metadata, Picture, Pixels

METADATA_SECTIONS = {"icc": SectionId.ICC, "exif": SectionId.EXIF, "xmp": SectionId.XMP}


def fixed_sections(picture: Picture) -> list[Section]:
    """Alpha and metadata."""
    sections = []
    if picture.alpha is not None:
        from nccli.media.alpha import pack_alpha

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
    from nccli.media.alpha import unpack_alpha

    return unpack_alpha(payload, header.height, header.width, header.depth)


def stored_metadata(container: Container) -> Metadata:
    """Profiles and tags of a parsed file."""
    return Metadata(**{name: container.find(number) for name, number in METADATA_SECTIONS.items()})
