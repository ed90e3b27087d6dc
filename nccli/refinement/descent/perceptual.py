"""Distortions measured by networks: LPIPS, and features of a backbone that comes as a package."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from nccli.errors import ModelError
from nccli.networks.checkpoint import read_checkpoint
from nccli.networks.lite0 import MEAN, SPREAD, load_lite0

Metric = Callable[[Tensor, Tensor], Tensor]
"""Two pictures (1, 3, h, w) in [0, 1] -> distortion, 0 when they are equal."""

ALEXNET = "alexnet-owt-7be5be79.pth"
"""Backbone of LPIPS in torch's cache."""

FETCH_ALEXNET = "python -c \"import torchvision; torchvision.models.alexnet(weights='DEFAULT')\""

TAPS = (4, 7, 10)
"""Blocks of EfficientNet-Lite0 whose outputs are compared: 1/8, 1/16 and 1/16 of the picture. Earlier
ones see every grain of noise, which no choice of latents can bring back."""


def lpips_metric(path: str | None, device: torch.device) -> Metric:
    """LPIPS (Zhang et al. 2018) with AlexNet; `path` is its backbone, None for torch's cache.

    Raises:
        ModelError: the package or the backbone is missing.
    """
    try:
        lpips = import_module("lpips")
    except ImportError as error:
        raise ModelError("lpips is not installed: pip install 'nccli[lpips]'") from error
    place = Path(path) if path else Path(torch.hub.get_dir(), "checkpoints", ALEXNET)
    if not place.is_file():
        raise ModelError(
            f"the backbone of lpips is missing: no file {place}; get it with: {FETCH_ALEXNET}, "
            "or name another file with --lpips-weights"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    _load_alexnet(network.net, place)
    network = network.eval().requires_grad_(False).to(device)

    def metric(x_hat: Tensor, x: Tensor) -> Tensor:
        distance: Tensor = network(x_hat, x, normalize=True)
        return distance.mean()

    return metric


def _load_alexnet(network: Any, path: Path) -> None:
    """Fill in the five slices of LPIPS's AlexNet from torchvision's file of tensors."""
    state = read_checkpoint(path)
    try:
        for name, tensor in network.state_dict().items():
            tensor.copy_(state["features." + name.partition(".")[2]])
    except (RuntimeError, KeyError) as error:
        raise ModelError(f"{path.name} does not hold the backbone of lpips: {error}") from error


def feature_metric(device: torch.device) -> Metric:
    """Distance of normalised EfficientNet-Lite0 features, in the manner of LPIPS without its weights.

    Raises:
        ModelError: the packages are missing.
    """
    network = load_lite0("the feature metric").eval().requires_grad_(False).to(device)
    mean, spread = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (MEAN, SPREAD))
    kept: list[tuple[Tensor, list[Tensor]]] = []

    def metric(x_hat: Tensor, x: Tensor) -> Tensor:
        if not kept or kept[0][0] is not x:
            with torch.no_grad():
                kept[:] = [(x, _features(network, (x - mean) / spread))]
        theirs = _features(network, (x_hat - mean) / spread)
        distances = [(a - b).square().sum(1).mean() for a, b in zip(theirs, kept[0][1], strict=True)]
        return torch.stack(distances).mean()

    return metric


def _features(network: Any, x: Tensor) -> list[Tensor]:
    """Outputs of the tapped blocks, each position's vector scaled to length one."""
    found = []
    h = network._swish(network._bn0(network._conv_stem(x)))
    for number, block in enumerate(network._blocks[: TAPS[-1] + 1]):
        h = block(h)
        if number in TAPS:
            found.append(F.normalize(h, dim=1))
    return found
