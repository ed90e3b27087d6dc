"""What training may take for distortion. Both are means over a picture, on the scale of squared error."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

Distortion = Callable[[Tensor, Tensor], Tensor]

MS_SSIM_WEIGHT = 1250.0
"""What 1 - MS-SSIM counts in place of 255^2 * MSE, about the ratio of the lambdas of CompressAI's two series
of models, 2.4 .. 220 and 0.0018 .. 0.18. As there, files come out about a third smaller at one lambda."""


def squared_error(x_hat: Tensor, x: Tensor) -> Tensor:
    """255^2 * MSE of pictures (b, 3, h, w) in [0, 1]: (b,)."""
    return 255**2 * (x_hat - x).square().flatten(1).mean(1)


def structural(x_hat: Tensor, x: Tensor) -> Tensor:
    """`MS_SSIM_WEIGHT` * (1 - MS-SSIM) of pictures (b, 3, h, w) of at least 161 pixels a side: (b,).

    Source: Wang et al. 2003.
    """
    from pytorch_msssim import ms_ssim

    similarity: Tensor = ms_ssim(x_hat, x, data_range=1.0, size_average=False)
    return MS_SSIM_WEIGHT * (1 - similarity)


DISTORTIONS: dict[str, Distortion] = {"mse": squared_error, "ms-ssim": structural}
"""By the name that `--metric` takes."""
