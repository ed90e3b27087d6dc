"""A file of any kind, parsed. Standard library only."""

from __future__ import annotations

from nccli.container.framing import Kind, kind_of
from nccli.container.image_file import ImageContainer, read_image
from nccli.errors import UnsupportedError


def read_container(data: bytes) -> ImageContainer:
    """Parse and verify a file; nothing in `data` is trusted.

    Raises:
        FormatError: not an ncc file, damaged, or out of the format's limits.
        UnsupportedError: another version, or a kind or required section that this version does not know.
    """
    kind = kind_of(data)
    match kind:
        case Kind.IMAGE:
            return read_image(data)
        case _:
            raise unsupported(kind)


def unsupported(kind: Kind) -> UnsupportedError:
    """What to say of a file of a kind that this version does not know."""
    return UnsupportedError(f"{kind.name.lower()} files are not supported by this version")
