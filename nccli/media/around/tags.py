"""TIFF files with tags: tifffile writes the picture, what EXIF says is added here, byte for byte."""

from __future__ import annotations

import io
from dataclasses import replace

from nccli.media.around.directory import Directories, Directory, Order, Tag, write_directory
from nccli.media.around.exif import tiff_tags
from nccli.media.picture import Metadata, Picture

ORDER: Order = "little"
COMPRESSION = 4
"""zlib level: most of level 6's saving in half its time."""

XMP_TAG, BYTES = 700, 1


def write_tiff(picture: Picture) -> memoryview:
    """A TIFF of 8 or 16 bits: deflate, horizontal differences.

    Gray with alpha of 16 bits becomes colour, since few programs read the two-channel form.
    """
    import tifffile

    if picture.gray and picture.alpha is not None and picture.depth == 16:
        picture = replace(picture, pixels=picture.pixels.repeat(3, axis=2))
    out = io.BytesIO()
    tifffile.imwrite(
        out,
        picture.array(),
        byteorder="<",
        bigtiff=False,
        photometric="minisblack" if picture.gray else "rgb",
        planarconfig="contig",
        extrasamples=[] if picture.alpha is None else ["unassalpha"],
        compression="adobe_deflate",
        compressionargs={"level": COMPRESSION},
        predictor=True,
        metadata=None,
        software=False,
        iccprofile=picture.metadata.icc,
    )
    _add_tags(out, picture.metadata)
    return out.getbuffer()


def _add_tags(file: io.BytesIO, metadata: Metadata) -> None:
    """Put a directory with more tags at the end of a TIFF, in place of its own."""
    said = tiff_tags(metadata.exif, ORDER)
    entries = said.entries
    if metadata.xmp:
        entries += (Tag(XMP_TAG, BYTES, len(metadata.xmp), metadata.xmp),)
    if not entries and not said.children:
        return
    own = Directories(file.getvalue(), ORDER).first()
    if own is None:
        raise ValueError("a TIFF without a directory")
    added = {entry.tag for entry in entries}
    kept = tuple(entry for entry in own.entries if entry.tag not in added)
    end = file.seek(0, io.SEEK_END)
    end += file.write(bytes(end % 2))
    file.write(write_directory(Directory(kept + entries, said.children), ORDER, end))
    file.seek(4)
    file.write(end.to_bytes(4, ORDER))
