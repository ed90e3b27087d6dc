"""A file's region of interest in words and numbers, without networks."""

from __future__ import annotations

from nccli.container.image_file import ImageContainer
from nccli.container.sections import stored_setting
from nccli.entropy.grid import LATENT_STRIDE, Grid
from nccli.entropy.region import FULL
from nccli.entropy.steps import STEP_UNIT


def describe(container: ImageContainer) -> dict[str, float]:
    """A file's region in the words of the options: share, gain and feather, levels and cells."""
    region = stored_setting(container).region
    if region is None:
        return {}
    grid = Grid.of(container.header.height, container.header.width)
    return {
        "share": float(region.importance(grid.height, grid.width).mean() / FULL),
        "gain": 2.0 ** (region.drop / STEP_UNIT),
        "feather": region.feather * LATENT_STRIDE,
        "levels": region.top,
        "cell": LATENT_STRIDE << region.cell_log2,
    }
