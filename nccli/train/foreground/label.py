"""Masks of training tiles by a teacher, for `seg` to learn from: `python -m nccli.train label`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from nccli.masks.external import onnx_mask
from nccli.train.foreground.segdata import BACKGROUNDS, SIDE

CHUNK = 25
"""Tiles per file: what an interruption loses at most."""

PLAIN = 400
"""Tiles with the least of a foreground, kept as backgrounds for those of others."""

GRID, BORDER = 48, 3
"""Cells along a side in which a tile is judged, and how many of them are border."""

CENTRE = 0.55
"""Width of the bell that weights the middle of a tile, in half sides."""

NOISE = 60.0
"""Added to the variance of the border's colours, for borders of one colour."""

FARTHEST = 6.0
"""Colour distances, in standard deviations, end here."""

SHARPNESS = 0.8
"""Weight of a middle that is sharper than the border."""


def plausibility(tile: Tensor) -> float:
    """How likely a tile (3, h, w) uint8 has one thing in its middle: by colours and focus."""
    picture = tile.float()
    small = F.adaptive_avg_pool2d(picture, GRID).flatten(1).T
    gray = picture.mean(0)
    edges = gray.diff(dim=0)[:, :-1].abs() + gray.diff(dim=1)[:-1].abs()
    sharp = F.adaptive_avg_pool2d(edges[None], GRID)[0]
    place = (torch.arange(GRID) - (GRID - 1) / 2) / (GRID / 2)
    bell = torch.exp(-(place[:, None] ** 2 + place[None] ** 2) / CENTRE**2)
    border = torch.maximum(place.abs()[:, None], place.abs()[None]) > 1 - 2 * BORDER / GRID
    outside = small[border.flatten()]
    apart = small - outside.mean(0)
    inverse = torch.linalg.inv(torch.cov(outside.T) + NOISE * torch.eye(3))
    distance = torch.einsum("ni,ij,nj->n", apart, inverse, apart).clamp_min(0).sqrt()
    distance = distance.clamp_max(FARTHEST).view(GRID, GRID)

    def middle(x: Tensor) -> Tensor:
        return (x * bell).sum() / bell.sum()

    colour = middle(distance) - distance[border].mean()
    focus = torch.log1p(middle(sharp)) - torch.log1p(sharp[border].mean())
    return float(colour + SHARPNESS * focus)


def _small(tile: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    picture = Image.fromarray(tile.permute(1, 2, 0).contiguous().numpy())
    return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BOX)).transpose(2, 0, 1)


def label(tiles: Tensor, teacher: str, folder: Path, count: int) -> None:
    """Label the `count` most plausible tiles, in files of a few; what is there already stays.

    Args:
        tiles: (n, 3, h, w) uint8.
        teacher: a network as `onnx:` takes it, PATH[,mean=M][,std=S].
        folder: for labels-NNN.npz and backgrounds.npz.
        count: tiles to label.
    """
    folder.mkdir(parents=True, exist_ok=True)
    order = np.argsort([-plausibility(tile) for tile in tiles], kind="stable")
    if not (folder / BACKGROUNDS).exists():
        np.savez(folder / BACKGROUNDS, pictures=np.stack([_small(tiles[k]) for k in order[-PLAIN:]]))
    for number, start in enumerate(range(0, min(count, len(order)), CHUNK)):
        path = folder / f"labels-{number:03d}.npz"
        if path.exists():
            continue
        chosen = [tiles[k] for k in order[start : start + CHUNK]]
        masks = [_label(tile, teacher) for tile in chosen]
        part = path.with_name(f"part-{path.name}")
        np.savez(part, pictures=np.stack([_small(tile) for tile in chosen]), masks=np.stack(masks))
        part.replace(path)
        print(f"{path.name}: {len(chosen)} tiles", flush=True)


def _label(tile: Tensor, teacher: str) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    mask = onnx_mask(teacher, tile.permute(1, 2, 0).contiguous().numpy())
    shown = Image.fromarray(np.rint(mask * 255).astype(np.uint8))
    return np.asarray(shown.resize((SIDE, SIDE), Image.Resampling.BOX))
