"""What the averaged weights do on tiles that are held back."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from nccli.entropy.grid import LATENT_STRIDE
from nccli.networks.image_model import ImageModel
from nccli.train.image.distortion import Distortion
from nccli.train.image.loss import Rates, forward
from nccli.train.image.masks import disc_drops
from nccli.train.pictures.data import Kind, Tiles, shrunk

CROP = 256
"""Side of the centre of a tile that is coded."""

PART = 16
"""Tiles at a time."""


@dataclass(frozen=True)
class Condition:
    """What a row of the validation is measured at.

    Attributes:
        lmbda: in the region of interest, a disc.
        drop: octaves of lambda below it outside.
        tiles: "photographs", "half" for the same at half their size, or "screens".
    """

    lmbda: float
    drop: float = 0.0
    tiles: str = "photographs"


VALIDATION = (
    Condition(0.0015),
    Condition(0.01),
    Condition(0.06),
    Condition(0.06, drop=4.0),
    Condition(0.06, tiles="half"),
    Condition(0.15, tiles="half"),
    Condition(0.06, tiles="screens"),
)


@torch.no_grad()
def validate(
    model: ImageModel, tiles: Tiles, transforms: AbstractContextManager[object], measure: Distortion
) -> list[dict[str, object]]:
    """A row per item of `VALIDATION` that there are tiles for: means of bpp, PSNR and loss."""
    return [row for condition in VALIDATION if (row := _row(model, tiles, condition, transforms, measure))]


def _row(
    model: ImageModel,
    tiles: Tiles,
    condition: Condition,
    transforms: AbstractContextManager[object],
    measure: Distortion,
) -> dict[str, object]:
    screens = tiles.kinds == Kind.SCREEN
    chosen = tiles.pixels[screens if condition.tiles == "screens" else ~screens]
    device, edge = model.gain.device, (tiles.pixels.shape[-1] - CROP) // 2
    results = []
    for part in torch.split(chosen, PART) if len(chosen) else ():
        x = part.to(device).float() / 255
        if condition.tiles == "half":
            x = shrunk(x, x.shape[-1] // 2)
        else:
            x = x[..., edge : edge + CROP, edge : edge + CROP]
        base = torch.full((len(x),), math.log2(condition.lmbda), device=device)
        side = x.shape[2] // LATENT_STRIDE
        rates = Rates(base, disc_drops(len(x), side, side, condition.drop, device))
        m = forward(model, x, rates, transforms, True, measure)
        psnr = -10 * torch.log10(m.mse)
        results.append(torch.stack((m.bpp, m.bpp_z, m.bpp_detail, psnr, m.objective)))
    if not results:
        return {}
    bpp, bpp_z, bpp_detail, psnr, loss = torch.cat(results, 1).mean(1).tolist()
    row: dict[str, object] = {"lmbda": condition.lmbda, "drop": condition.drop, "tiles": condition.tiles}
    return row | {"bpp": bpp, "bpp_z": bpp_z, "bpp_detail": bpp_detail, "psnr": psnr, "loss": loss}
