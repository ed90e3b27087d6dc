"""Training pictures: folders or tar shards of images -> one uint8 tensor of square tiles."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from nccli.media.formats import PICTURE_SUFFIXES, READ_FORMATS

MOST_SHRUNK = 2.0
"""Sides of a tile over sides of what is made of it, at most."""

TILE = 384
"""Side of the square tiles that training pictures are cut into, in pixels."""


def _blobs(path: Path) -> Iterator[bytes]:
    """Encoded images of a folder (sorted, recursive), a tar shard or a single file."""
    if path.is_dir():
        for item in sorted(path.rglob("*")):
            if item.suffix.lower() in PICTURE_SUFFIXES or item.suffix == ".tar":
                yield from _blobs(item)
    elif path.suffix == ".tar":
        with tarfile.open(path) as shard:
            for member in shard:
                stream = shard.extractfile(member)
                if stream is not None and Path(member.name).suffix.lower() in PICTURE_SUFFIXES:
                    yield stream.read()
    else:
        yield path.read_bytes()


def _tiles(blob: bytes, size: int) -> list[NDArray[np.uint8]]:
    """Non-overlapping (3, size, size) tiles of one encoded image; none if it is too small or broken."""
    try:
        with Image.open(io.BytesIO(blob), formats=READ_FORMATS) as image:
            pixels = np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError):
        return []
    rows, columns = pixels.shape[0] // size, pixels.shape[1] // size
    return [
        pixels[i * size : (i + 1) * size, j * size : (j + 1) * size].transpose(2, 0, 1)
        for i in range(rows)
        for j in range(columns)
    ]


def load_tiles(paths: list[Path], size: int, workers: int) -> Tensor:
    """All tiles of all paths: uint8 (n, 3, size, size), in a fixed order."""
    blobs = [blob for path in paths for blob in _blobs(path)]
    with ThreadPoolExecutor(workers) as pool:
        tiles = [tile for group in pool.map(lambda b: _tiles(b, size), blobs) for tile in group]
    if not tiles:
        raise ValueError(f"no image of at least {size}x{size} pixels in {[str(p) for p in paths]}")
    stacked = np.empty((len(tiles), 3, size, size), np.uint8)
    for i, tile in enumerate(tiles):
        stacked[i] = tile
    return torch.from_numpy(stacked)


def split(tiles: Tensor) -> tuple[Tensor, Tensor]:
    """Training and validation tiles: every fiftieth tile is kept for validation."""
    held = torch.zeros(len(tiles), dtype=torch.bool)
    held[::50] = True
    return tiles[~held], tiles[held]


def shrunk_crops(tiles: Tensor, batch: int, size: int, generator: torch.Generator) -> Tensor:
    """`random_crops` of larger pieces, reduced in size by one random factor of up to `MOST_SHRUNK`.

    Tiles were photographs in lossy files once, and what those have lost is in the finest detail: a
    smaller picture is sharp and clean again.
    """
    factor = 1 + (MOST_SHRUNK - 1) * float(torch.rand((), generator=generator))
    larger = random_crops(tiles, batch, min(round(size * factor), tiles.shape[-1]), generator)
    return shrunk(larger, size).contiguous(memory_format=torch.channels_last)


def shrunk(x: Tensor, size: int) -> Tensor:
    """Pictures (b, 3, h, w) in [0, 1] as 8-bit pictures of size x size pixels."""
    smaller = F.interpolate(x, (size, size), mode="bicubic", antialias=True)
    return smaller.mul_(255).round_().clamp_(0, 255).div_(255)


def random_crops(tiles: Tensor, batch: int, size: int, generator: torch.Generator) -> Tensor:
    """Random crops, flipped and transposed at random: float (batch, 3, size, size) in [0, 1]."""
    span = tiles.shape[-1] - size + 1
    picks = torch.randint(len(tiles), (batch,), generator=generator).tolist()
    places = torch.randint(span, (batch, 2), generator=generator).tolist()
    turns = torch.randint(2, (batch, 3), generator=generator).tolist()
    crops = []
    for pick, (top, left), (flip_h, flip_w, transpose) in zip(picks, places, turns, strict=True):
        crop = tiles[pick, :, top : top + size, left : left + size]
        crop = crop.flip(1) if flip_h else crop
        crop = crop.flip(2) if flip_w else crop
        crops.append(crop.transpose(1, 2) if transpose else crop)
    layout = torch.channels_last  # faster on a CPU than planes
    return torch.stack(crops).contiguous(memory_format=layout).float().div_(255)
