"""Training pictures: folders or tar shards of images -> square tiles, and random crops of them."""

from __future__ import annotations

import io
import math
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import IntEnum
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


class Kind(IntEnum):
    """What a tile is, from the prefix of its file's name."""

    LOSSY = 0
    CLEAN = 1
    SCREEN = 2


PREFIXES = {"photo-": Kind.CLEAN, "screen-": Kind.SCREEN}
"""Files of other names were photographs in lossy files of about 40 dB."""

CEILINGS = {Kind.LOSSY: math.log2(0.03), Kind.CLEAN: math.inf, Kind.SCREEN: math.inf}
"""log2 of the largest lambda that tiles of their own size are coded at: beyond 38 dB a model would learn
what a lossy file has lost."""

CLEAN_SHARE = 0.5
"""Of the photographs in batches of tiles of their own size, those that are clean."""


@dataclass(frozen=True)
class Tiles:
    """Square pictures and what they are.

    Attributes:
        pixels: (n, 3, size, size) uint8, channels last in memory.
        kinds: (n,) int64, of `Kind`.
    """

    pixels: Tensor
    kinds: Tensor

    def __len__(self) -> int:
        return len(self.pixels)

    def only(self, chosen: Tensor) -> Tiles:
        """Those at a mask or at indexes."""
        return Tiles(self.pixels[chosen], self.kinds[chosen])

    def to(self, device: torch.device) -> Tiles:
        """The same elsewhere."""
        return Tiles(self.pixels.to(device), self.kinds.to(device))

    def with_more(self, others: Tiles) -> Tiles:
        """These, then others."""
        return Tiles(torch.cat((self.pixels, others.pixels)), torch.cat((self.kinds, others.kinds)))


@dataclass(frozen=True)
class Batch:
    """Crops to train on.

    Attributes:
        x: (b, 3, h, w) in [0, 1].
        ceiling: (b,) log2 of the largest lambda that they are good for.
    """

    x: Tensor
    ceiling: Tensor


def _blobs(path: Path) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the images of a folder (sorted, recursive), a tar shard or a single file."""
    if path.is_dir():
        for item in sorted(path.rglob("*")):
            if item.suffix.lower() in PICTURE_SUFFIXES or item.suffix == ".tar":
                yield from _blobs(item)
    elif path.suffix == ".tar":
        with tarfile.open(path) as shard:
            for member in shard:
                stream = shard.extractfile(member)
                if stream is not None and Path(member.name).suffix.lower() in PICTURE_SUFFIXES:
                    yield Path(member.name).name, stream.read()
    else:
        yield path.name, path.read_bytes()


def _kind(name: str) -> Kind:
    return next((kind for prefix, kind in PREFIXES.items() if name.startswith(prefix)), Kind.LOSSY)


def _tiles(blob: bytes, size: int) -> list[NDArray[np.uint8]]:
    """Non-overlapping (size, size, 3) tiles of one encoded image; none if it is too small or broken."""
    try:
        with Image.open(io.BytesIO(blob), formats=READ_FORMATS) as image:
            pixels = np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError):
        return []
    rows, columns = pixels.shape[0] // size, pixels.shape[1] // size
    return [
        pixels[i * size : (i + 1) * size, j * size : (j + 1) * size]
        for i in range(rows)
        for j in range(columns)
    ]


def load_tiles(paths: list[Path], size: int, workers: int) -> Tiles:
    """All tiles of all paths, in a fixed order.

    Raises:
        ValueError: there are none.
    """
    blobs = [item for path in paths for item in _blobs(path)]
    with ThreadPoolExecutor(workers) as pool:
        groups = list(pool.map(lambda item: _tiles(item[1], size), blobs))
    tiles = [tile for group in groups for tile in group]
    if not tiles:
        raise ValueError(f"no image of at least {size}x{size} pixels in {[str(p) for p in paths]}")
    kinds = [_kind(name) for (name, _), group in zip(blobs, groups, strict=True) for _ in group]
    return Tiles(torch.from_numpy(np.stack(tiles)).permute(0, 3, 1, 2), torch.tensor(kinds))


def split(tiles: Tiles) -> tuple[Tiles, Tiles]:
    """Training and validation tiles: every fiftieth tile is kept for validation."""
    held = torch.zeros(len(tiles), dtype=torch.bool)
    held[::50] = True
    return tiles.only(~held), tiles.only(held)


def shrunk(x: Tensor, size: int) -> Tensor:
    """Pictures (b, 3, h, w) in [0, 1] as 8-bit pictures of size x size pixels."""
    smaller = F.interpolate(x, (size, size), mode="bicubic", antialias=True)
    return smaller.mul_(255).round_().clamp_(0, 255).div_(255)


def crops_of(tiles: Tensor, picks: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Random crops of some tiles, flipped and transposed at random, gathered at once.

    Args:
        tiles: (n, 3, h, w) uint8.
        picks: (b,) which.
        size: side of a crop in pixels.
        generator: on the tiles' device.

    Returns:
        (b, 3, size, size) float in [0, 1], channels last in memory.
    """
    count, device = len(picks), tiles.device
    places = torch.randint(tiles.shape[-1] - size + 1, (2, count, 1), generator=generator, device=device)
    flips = torch.randint(2, (3, count, 1), generator=generator, device=device, dtype=torch.bool)
    forward = torch.arange(size, device=device)
    rows, columns = (torch.where(flips[i], forward.flip(0), forward) + places[i] for i in range(2))
    turned = flips[2][:, :, None]
    row = torch.where(turned, rows[:, None, :], rows[:, :, None])
    column = torch.where(turned, columns[:, :, None], columns[:, None, :])
    return tiles.permute(0, 2, 3, 1)[picks[:, None, None], row, column].permute(0, 3, 1, 2).float().div_(255)


class Sampler:
    """Endless batches of random crops; tiles may join while it runs.

    Part of the batches are made of larger pieces that are reduced in size by one random factor of up to
    `MOST_SHRUNK`: most tiles were photographs in lossy files once, and what those have lost is in the finest
    detail, so a smaller picture is sharp and clean again.

    Args:
        tiles: to choose from, on the device that the crops are to be on.
        size: side of a crop in pixels.
        shrunk: share of the batches that are reduced.
        screens: share of the crops that are of screens, where there are any.
        seed: of every choice.
    """

    def __init__(self, tiles: Tiles, size: int, shrunk: float, screens: float, seed: int) -> None:
        self._size, self._shrunk, self._screens = size, shrunk, screens
        self._host = torch.Generator().manual_seed(seed)
        self._device = torch.Generator(tiles.pixels.device).manual_seed(seed)
        self.tiles = tiles

    @property
    def tiles(self) -> Tiles:
        """What crops are taken from."""
        return self._tiles

    @tiles.setter
    def tiles(self, tiles: Tiles) -> None:
        self._tiles = tiles
        self._even = weights_of(tiles.kinds, self._screens, None)
        self._clean = weights_of(tiles.kinds, self._screens, CLEAN_SHARE)
        ceilings = torch.tensor([CEILINGS[kind] for kind in Kind], device=tiles.kinds.device)
        self._ceilings = ceilings[tiles.kinds]

    def draw(self, batch: int) -> Batch:
        """The next crops."""
        shrinks = float(torch.rand((), generator=self._host)) < self._shrunk
        factor = 1 + (MOST_SHRUNK - 1) * float(torch.rand((), generator=self._host))
        weights = self._even if shrinks else self._clean
        picks = torch.multinomial(weights, batch, replacement=True, generator=self._device)
        pixels = self._tiles.pixels
        if not shrinks:
            x = crops_of(pixels, picks, self._size, self._device)
            return Batch(x, self._ceilings[picks])
        larger = crops_of(pixels, picks, min(round(self._size * factor), pixels.shape[-1]), self._device)
        x = shrunk(larger, self._size).contiguous(memory_format=torch.channels_last)
        return Batch(x, torch.full_like(self._ceilings[picks], math.inf))


def weights_of(kinds: Tensor, screens: float, clean: float | None) -> Tensor:
    """Chance of each tile (n,): `screens` for all screens, `clean` of the rest for clean photographs.

    With None for `clean`, photographs are alike. Shares of kinds that are missing go to the others.
    """
    screen, good = kinds == Kind.SCREEN, kinds == Kind.CLEAN
    photographs = _even(~screen)
    if clean is not None and good.any() and (kinds == Kind.LOSSY).any():
        photographs = clean * _even(good) + (1 - clean) * _even(kinds == Kind.LOSSY)
    if not screen.any() or screen.all():
        return photographs if not screen.any() else _even(screen)
    return screens * _even(screen) + (1 - screens) * photographs


def _even(chosen: Tensor) -> Tensor:
    return chosen.float() / chosen.sum().clamp_min(1)
