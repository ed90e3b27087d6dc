"""Pillow reads and writes .ncc files after `import nccli.pillow`.

    image = Image.open("photo.ncc")         # size and mode are known, nothing is decoded yet
    image.save("photo.ncc", lmbda=0.005)    # or quality=, bpp=, size=, psnr=; model=, device=

Importing this costs no more than Pillow itself; networks are loaded with the first pixel.
"""

from __future__ import annotations

from dataclasses import fields
from typing import IO, Any

from PIL import Image, ImageFile, UnidentifiedImageError

from nccli.codec.encoding import Rate
from nccli.container.colour_section import unpack_colour
from nccli.container.framing import MAGIC
from nccli.container.image_file import ImageContainer, read_image
from nccli.container.section_ids import METADATA_NAMES, SectionId
from nccli.errors import NccError
from nccli.media.around.colour import to_info

SAVE_OPTIONS = (*(field.name for field in fields(Rate)), "model", "device")

INFO = ("icc_profile", "transparency", "cicp", "gamma", "chromaticity", "srgb")
"""What of a picture's `info` says how its samples are meant, and goes along when it is saved."""


class NccImageFile(ImageFile.ImageFile):
    """An .ncc picture; 16-bit colour comes out with 8 bits, since Pillow has no mode for more."""

    format = "NCC"
    format_description = "ncc neural image"

    _data: bytes

    def _open(self) -> None:
        if self.fp is None:
            raise UnidentifiedImageError("no file")
        data = self.fp.read()
        try:
            container = read_image(data)
            self._size = container.header.width, container.header.height
            self._mode = _mode(container)
            for number, (_, name) in METADATA_NAMES.items():
                payload = container.find(number)
                if payload:
                    self.info[name] = payload
            colour = container.find(SectionId.COLOUR)
            if colour is not None:
                self.info.update(to_info(unpack_colour(colour)))
        except NccError as error:
            # A SyntaxError would do, too, but Pillow keeps its text to itself.
            raise UnidentifiedImageError(str(error)) from error
        self._data = data
        self.tile = []

    def load(self) -> Any:
        """Decode, once."""
        if self._im is None or self._data:
            from nccli.codec.opened import decode_bytes
            from nccli.media.save import to_image

            try:
                picture = decode_bytes(self._data, max_pixels=self.width * self.height).picture
            except NccError as error:
                raise OSError(str(error)) from error
            self.im = to_image(picture).im
            self._data = b""
            if self._exclusive_fp and self.fp is not None:
                self.fp.close()
                self.fp = None
        return super().load()


def _mode(container: ImageContainer) -> str:
    header, alpha = container.header, container.find(SectionId.ALPHA) is not None
    if header.gray and header.depth == 16 and not alpha:
        return "I;16"
    return ("L" if header.gray else "RGB") + ("A" if alpha else "")


def _accept(prefix: bytes) -> bool:
    return prefix.startswith(MAGIC)


def _save(image: Image.Image, file: IO[bytes], filename: str | bytes) -> None:
    """`Image.save` for .ncc; metadata as Pillow's own formats do: the profile goes along, EXIF if given."""
    from nccli.api import encode
    from nccli.media.still import picture_of

    given: dict[str, Any] = getattr(image, "encoderinfo", {})
    source = image.copy()
    source.format = image.format
    source.info = {k: v for k, v in image.info.items() if k in INFO}
    source.info["exif"] = _exif_bytes(given.get("exif"))
    source.info |= {name: given[name] for name in ("icc_profile", "xmp") if name in given}
    options = {name: given[name] for name in SAVE_OPTIONS if name in given}
    try:
        file.write(encode(picture_of(source, "the image"), **options).data)
    except NccError as error:
        raise ValueError(str(error)) from error


def _exif_bytes(exif: Any) -> Any:
    from nccli.media.around.metadata import BROKEN_TAGS

    if not isinstance(exif, Image.Exif):
        return exif
    try:
        return exif.tobytes()
    except BROKEN_TAGS as error:
        raise ValueError(f"these EXIF tags cannot be written: {error}") from error


Image.register_open(NccImageFile.format, NccImageFile, _accept)
Image.register_save(NccImageFile.format, _save)
Image.register_extension(NccImageFile.format, ".ncc")
Image.register_mime(NccImageFile.format, "image/x-ncc")
