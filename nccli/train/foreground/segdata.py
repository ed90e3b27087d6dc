"""Pictures with foreground masks to train `seg` on: read, cropped, coloured and pasted at random."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from nccli.media.formats import READ_FORMATS

SIDE = 256
"""Pictures and masks are kept at this size, stretched to squares."""

BACKGROUNDS = "backgrounds.npz"

AREA = (0.02, 0.85)
"""Foregrounds that cover less or more of a tile are left out: there is no object, or no background."""

SURENESS = 0.8
"""Masks whose pixels are on average less decided, |2p - 1|, are left out."""

CLIP_SHARE = 0.12
"""Part of the samples that comes from clips, whose frames are many and alike."""

ZOOM, ASPECT, SHIFT, TURN = (0.5, 1.15), 0.25, 0.35, 0.2
"""Part of a picture's side that a crop spans, log aspect, shift in half sides, and radians of rotation."""

FAR, AWAY = (0.6, 2.8), 0.9
"""Zoom and shift of foregrounds that get another background: things are small in many pictures."""

PASTED, GRAYED, BLURRED = 0.5, 0.1, 0.25
"""Parts of a batch whose background is replaced, that lose their colours, and their sharpness."""

HELD = 16
"""Every so many of the labelled pictures is kept from training, to measure on."""

Frame = tuple[Image.Image, Image.Image]
"""A picture and its mask."""


@dataclass(frozen=True)
class Pool:
    """Everything to draw from.

    Attributes:
        pictures: (n, 3, SIDE, SIDE) uint8.
        masks: (n, 1, SIDE, SIDE) uint8.
        weights: (n,) how often each is drawn, relatively.
        backgrounds: (m, 3, SIDE, SIDE) uint8, pictures without a foreground.
    """

    pictures: Tensor
    masks: Tensor
    weights: Tensor
    backgrounds: Tensor


def usable(masks: Tensor) -> Tensor:
    """Which of a teacher's masks (n, SIDE, SIDE) show one clear foreground: (n,) bool."""
    p = masks.float().flatten(1) / 255
    area, sureness = (p > 0.5).float().mean(1), (2 * p - 1).abs().mean(1)
    return (area > AREA[0]) & (area < AREA[1]) & (sureness > SURENESS)


def _labelled(labels: Path) -> tuple[Tensor, Tensor, Tensor]:
    """Usable pictures (n, 3, SIDE, SIDE) of a folder, masks (n, SIDE, SIDE), which are held (n,)."""
    pictures, masks = [], []
    for path in sorted(labels.glob("labels-*.npz")):
        with np.load(path) as chunk:
            pictures.append(torch.from_numpy(chunk["pictures"]))
            masks.append(torch.from_numpy(chunk["masks"]))
    if not pictures:
        raise ValueError(f"no labels-*.npz in {labels}")
    found, shown = torch.cat(pictures), torch.cat(masks)
    good = usable(shown)
    held = torch.arange(len(shown)) % HELD == HELD - 1
    return found[good], shown[good], held[good]


def held_labels(labels: Path) -> list[Frame]:
    """The labelled pictures of a folder that are not trained on."""
    found, shown, held = _labelled(labels)
    pairs = zip(found[held].permute(0, 2, 3, 1).contiguous().numpy(), shown[held].numpy(), strict=True)
    return [(Image.fromarray(picture), Image.fromarray(mask)) for picture, mask in pairs]


def load_pool(labels: Path, clips: list[Path]) -> Pool:
    """The labelled pictures of a folder but those held, and clips that have true masks."""
    found, shown, held = _labelled(labels)
    found, shown = found[~held], shown[~held]
    weights = torch.ones(len(found))
    frames = [frame for clip in clips for frame in clip_frames(clip)]
    if frames:
        more = [torch.from_numpy(np.stack(part)) for part in zip(*map(_squared, frames), strict=True)]
        share = CLIP_SHARE / (1 - CLIP_SHARE) * len(found) / len(frames)
        weights = torch.cat((weights, torch.full((len(frames),), share)))
        found, shown = torch.cat((found, more[0].permute(0, 3, 1, 2))), torch.cat((shown, more[1]))
    with np.load(labels / BACKGROUNDS) as file:
        backgrounds = torch.from_numpy(file["pictures"])
    return Pool(found, shown[:, None], weights, backgrounds)


def clip_frames(clip: Path) -> list[Frame]:
    """Frames of a clip, each with its mask: CLIP/NNN.* and CLIP/masks/NNN.png."""
    frames = []
    for path in sorted(clip.iterdir()):
        mask = clip / "masks" / f"{path.stem}.png"
        if path.is_file() and mask.is_file():
            with (
                Image.open(path, formats=READ_FORMATS) as picture,
                Image.open(mask, formats=READ_FORMATS) as shown,
            ):
                frames.append((picture.convert("RGB"), shown.convert("L")))
    return frames


def _squared(frame: Frame) -> list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
    return [np.asarray(part.resize((SIDE, SIDE), Image.Resampling.BOX)) for part in frame]


def _spread(count: int, low: float, high: float) -> Tensor:
    return low + (high - low) * torch.rand(count)


def _crops(
    x: Tensor, side: int, zooms: tuple[float, float] = ZOOM, shift: float = SHIFT, beyond: str = "reflection"
) -> Tensor:
    """Random zooms, aspects, shifts, turns and flips of (b, c, h, w): (b, c, side, side)."""
    count = len(x)
    zoom, stretch = _spread(count, *zooms), torch.exp(_spread(count, -ASPECT, ASPECT))
    turn, flip = _spread(count, -TURN, TURN), torch.rand(count).round() * 2 - 1
    wide, high = zoom * stretch * flip, zoom / stretch
    rows = [
        torch.stack((wide * turn.cos(), -high * turn.sin(), _spread(count, -shift, shift)), 1),
        torch.stack((wide * turn.sin(), high * turn.cos(), _spread(count, -shift, shift)), 1),
    ]
    grid = F.affine_grid(torch.stack(rows, 1), [count, x.shape[1], side, side], align_corners=False)
    return F.grid_sample(x, grid, padding_mode=beyond, align_corners=False)


def _coloured(x: Tensor) -> Tensor:
    """Random light, contrast, colour balance and saturation of (b, 3, h, w) in [0, 1]."""
    count = len(x)
    gray = x.mean(1, keepdim=True)
    saturation = _spread(count, 0.5, 1.4) * (torch.rand(count) > GRAYED)
    x = gray + (x - gray) * saturation[:, None, None, None]
    middle = x.mean((1, 2, 3), keepdim=True)
    x = middle + (x - middle) * _spread(count, 0.6, 1.3)[:, None, None, None]
    balance = torch.exp(_spread(count * 3, -0.12, 0.12)).view(count, 3, 1, 1)
    light = torch.exp(_spread(count, -0.35, 0.25))[:, None, None, None]
    return (x * balance * light).clamp(0, 1)


def _blurred(x: Tensor) -> Tensor:
    """Some of (b, 3, h, w) at half resolution."""
    dull = F.interpolate(F.avg_pool2d(x, 2), scale_factor=2.0, mode="bilinear", align_corners=False)
    return torch.where(torch.rand(len(x), 1, 1, 1) < BLURRED, dull, x)


def random_batch(pool: Pool, count: int, side: int) -> tuple[Tensor, Tensor]:
    """Pictures (count, 3, side, side) in [0, 1] and their masks (count, 1, side, side)."""
    picks = torch.multinomial(pool.weights, count, replacement=True)
    both = torch.cat((pool.pictures[picks], pool.masks[picks]), 1).float() / 255
    pasted = round(count * PASTED)
    others = pool.backgrounds[torch.randint(len(pool.backgrounds), (pasted,))].float() / 255
    cut = _crops(both[:pasted], side, FAR, AWAY, "zeros")
    whole = _crops(both[pasted:], side)
    mask = cut[:, 3:]
    over = _coloured(cut[:, :3]) * mask + _coloured(_crops(others, side)) * (1 - mask)
    x = _blurred(torch.cat((over, _coloured(whole[:, :3]))))
    return x.contiguous(memory_format=torch.channels_last), torch.cat((mask, whole[:, 3:]))
