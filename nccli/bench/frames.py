"""Pictures and clips as frames of 8-bit RGB, and masks of what matters in them."""

from __future__ import annotations

import io
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nccli import files
from nccli.bench.coders import Frames
from nccli.errors import MediaError
from nccli.media.formats import PICTURE_SUFFIXES
from nccli.media.still import decode_picture

CLIP_SUFFIXES = (".mp4", ".mkv", ".webm", ".mov", ".avi", ".y4m")

CROP = (360, 480)
"""Height and width of what the report shows of a picture: its middle."""


def is_clip(path: str) -> bool:
    """Whether a path is a clip, by its suffix."""
    return Path(path).suffix.lower() in CLIP_SUFFIXES


@lru_cache(maxsize=1)
def load(path: str, limit: int) -> Frames:
    """(n, h, w, 3) of a picture, or of the first `limit` frames of a clip; alpha is dropped.

    Raises:
        MediaError: it cannot be read.
    """
    data = files.read_bytes(path)
    if not is_clip(path):
        return np.ascontiguousarray(decode_picture(data, path))[None]
    import av

    found: list[NDArray[Any]] = []
    try:
        with av.open(io.BytesIO(data), "r") as container:
            for frame in container.decode(video=0):
                found.append(frame.to_ndarray(format="rgb24"))
                if len(found) == limit:
                    break
    except (av.error.FFmpegError, IndexError) as error:
        raise MediaError(f"cannot decode {path}: {error}") from error
    if not found:
        raise MediaError(f"{path} holds no frames")
    return np.stack(found)


@lru_cache(maxsize=1)
def load_mask(path: str, height: int, width: int) -> NDArray[np.bool_]:
    """(h, w), true where the region of interest is: the bright half of a gray picture.

    Raises:
        MediaError: it cannot be read, or has another size than its picture.
    """
    mask = decode_picture(files.read_bytes(path), path)[..., 0] >= 128
    if mask.shape != (height, width):
        raise MediaError(f"the mask {path} is {mask.shape[1]}x{mask.shape[0]}, its picture {width}x{height}")
    return mask


def find_mask(folder: str, image: str) -> str | None:
    """The mask of an image: a file of its name, with any suffix of a picture."""
    for suffix in PICTURE_SUFFIXES:
        for place in (Path(folder, image), Path(folder, Path(image).name)):
            path = place.with_suffix(suffix)
            if path.is_file():
                return str(path)
    return None


def middle(frames: Frames) -> NDArray[np.uint8]:
    """The middle of the first frame, (h, w, 3), at most `CROP`."""
    height, width = frames.shape[1:3]
    tall, wide = min(CROP[0], height), min(CROP[1], width)
    top, left = (height - tall) // 2, (width - wide) // 2
    return np.ascontiguousarray(frames[0, top : top + tall, left : left + wide])


def shown(frames: Frames) -> bytes:
    """The middle of the first frame as a lossless picture that browsers show."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(middle(frames)).save(out, "WEBP", lossless=True, quality=60, method=3)
    return out.getvalue()
