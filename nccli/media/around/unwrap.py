"""A picture file into its picture alone, for decoders, and what surrounds it, read within bounds here."""

from __future__ import annotations

from dataclasses import dataclass, replace

from PIL import Image

from nccli.media.around import boxes, jpeg, png, tiff
from nccli.media.around.colour import Colour
from nccli.media.around.exif import EXIF_PREFIX, exif_orientation
from nccli.media.around.metadata import stored_in
from nccli.media.around.tiff import TiffFile
from nccli.media.picture import Metadata
from nccli.media.samples import avif

AVIF_BRANDS = (b"avif", b"avis", b"mif1", b"msf1")


@dataclass(frozen=True)
class Unwrapped:
    """What a file holds.

    Attributes:
        picture: a file of the picture alone.
        metadata: as it stands in the file; None if Pillow is to be asked.
        remarks: what was wrong with the rest.
        transparent: a colour that is transparent, a value for each channel.
        tiff: an opened TIFF.
        avif: EXIF and colour of an AVIF; its profile, XMP and which way is up Pillow says.
    """

    picture: bytes
    metadata: Metadata | None = None
    remarks: tuple[str, ...] = ()
    transparent: tuple[int, ...] = ()
    tiff: TiffFile | None = None
    avif: Metadata | None = None

    def kept(self, image: Image.Image) -> Metadata:
        """The metadata of the file, opened as an image."""
        if self.metadata is not None:
            return self.metadata
        found = stored_in(image)
        return found if self.avif is None else replace(found, exif=self.avif.exif, colour=self.avif.colour)

    def orientation(self, image: Image.Image) -> int | None:
        """EXIF's number of how to turn it, where it is not EXIF that says so."""
        if self.tiff is not None:
            return self.tiff.orientation
        if self.avif is None:
            return None
        stated = stored_in(image).exif or b""
        return exif_orientation(stated.removeprefix(EXIF_PREFIX)) or 1


def unwrap(data: bytes, name: str) -> Unwrapped:
    """Take a file apart.

    Raises:
        MediaError: it is damaged where the picture begins.
    """
    if data.startswith(png.SIGNATURE):
        found = png.take_apart(data, name)
        return Unwrapped(found.picture, found.metadata, found.remarks, found.transparent)
    if data.startswith(jpeg.START):
        parts = jpeg.take_apart(data)
        return Unwrapped(parts.picture, parts.metadata, parts.remarks)
    if data[4:8] == b"ftyp" and data[8:12] in AVIF_BRANDS:
        picture, exif = boxes.take_exif(data)
        points = boxes.code_points(data)
        if points is None and not boxes.has_profile(data):
            points = avif.code_points(data)
        stated = Metadata(exif=exif, colour=Colour(points) if points else None)
        return Unwrapped(picture, remarks=boxes.brightness_remarks(data), avif=stated)
    file = tiff.opened(data, name)
    if file is None:
        return Unwrapped(data)
    picture = b"" if file.plain else tiff.bare(file)
    return Unwrapped(picture, tiff.metadata_of(file), tiff=file)
