"""What the sections beside the latents hold: alpha, metadata, region."""

from __future__ import annotations

from nccli.container.colour_section import pack_colour, unpack_colour
from nccli.container.framing import Section
from nccli.container.image_file import ImageContainer
from nccli.container.roi_section import unpack_region
from nccli.container.section_ids import METADATA_NAMES, SectionId
from nccli.entropy.grid import Grid
from nccli.entropy.setting import Setting
from nccli.media.around.colour import Colour
from nccli.media.picture import Metadata, Picture, Pixels


def fixed_sections(picture: Picture) -> list[Section]:
    """Alpha and metadata."""
    sections = []
    if picture.alpha is not None:
        from nccli.media.alpha import pack_alpha

        sections.append(Section(SectionId.ALPHA, pack_alpha(picture.alpha)))
    for number, (name, _) in METADATA_NAMES.items():
        payload = getattr(picture.metadata, name)
        if payload:
            sections.append(Section(number, payload))
    if picture.metadata.colour is not None:
        sections.append(Section(SectionId.COLOUR, pack_colour(picture.metadata.colour)))
    return sections


def stored_setting(file: ImageContainer) -> Setting:
    """Where on the rate axis a parsed file is coded, its region of interest included."""
    header, payload = file.header, file.find(SectionId.ROI)
    grid = Grid.of(header.height, header.width)
    region = None if payload is None else unpack_region(payload, grid.height, grid.width)
    return Setting(header.rate, header.step_y, header.step_z, region)


def stored_alpha(file: ImageContainer) -> Pixels | None:
    """The alpha plane of a parsed file."""
    header, payload = file.header, file.find(SectionId.ALPHA)
    if payload is None:
        return None
    from nccli.media.alpha import unpack_alpha

    return unpack_alpha(payload, header.height, header.width, header.depth)


def stored_metadata(file: ImageContainer) -> Metadata:
    """Profiles and tags of a parsed file."""
    kept = {name: file.find(number) for number, (name, _) in METADATA_NAMES.items()}
    return Metadata(**kept, colour=stored_colour(file))


def stored_colour(file: ImageContainer) -> Colour | None:
    """What the samples of a parsed file mean; None for sRGB, or what its ICC profile says."""
    payload = file.find(SectionId.COLOUR)
    return None if payload is None else unpack_colour(payload)
