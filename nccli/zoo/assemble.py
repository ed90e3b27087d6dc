"""Converted networks -> models ready to code; the transforms are CompressAI's modules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nccli.entropy.grid import HYPER_STRIDE
from nccli.entropy.steps import LATENT_BITS
from nccli.errors import ModelError
from nccli.networks.entry import Entry
from nccli.networks.weights import (
    ImageWeights,
    check_steps,
    load_float,
    read_tables,
    read_tensors,
    stored_layers,
)
from nccli.zoo.source import builder_of
from nccli.zoo.zoo_parameters import ZOO_LIMIT, ZooConfig, ZooParameters

MAX_CHANNELS = 1024
"""More is no network of the zoo."""


class ZooTransform(nn.Module):
    """g_a or g_s, the same at every rate."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: Tensor, anchors: Tensor, given: Tensor | None = None) -> Tensor:
        """x: pixels or latents; all else does not matter."""
        result: Tensor = self.layers(x)
        return result


class ZooHyperAnalysis(nn.Module):
    """h_a: latents -> hyper-latents, less what symbol 0 stands for."""

    median: Tensor

    def __init__(self, layers: nn.Module, median: Tensor, magnitudes: bool) -> None:
        super().__init__()
        self.layers, self.magnitudes = layers, magnitudes
        self.register_buffer("median", median[:, None, None])

    def forward(self, y: Tensor) -> Tensor:
        h, w = y.shape[-2:]
        y = F.pad(y, (0, -w % HYPER_STRIDE, 0, -h % HYPER_STRIDE), mode="replicate")
        z: Tensor = self.layers(y.abs() if self.magnitudes else y)
        return z - self.median


def load_zoo(path: Path, entry: Entry, device: torch.device) -> ImageWeights:
    """Load a converted network.

    Raises:
        ModelError: a missing or damaged file.
    """
    tensors, stored = read_tensors(path)
    try:
        config = ZooConfig(**stored)
        if not 0 < config.N <= MAX_CHANNELS or not 0 < config.M <= MAX_CHANNELS:
            raise ValueError("sizes are out of range")
        return _assemble(tensors, config, entry, device)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise ModelError(f"weights {path.name} do not fit their configuration: {error}") from error


def _transforms(config: ZooConfig) -> Any:
    """CompressAI's network, for its transforms."""
    builder = builder_of(config.family)
    return builder(config.N) if config.family.residual else builder(config.N, config.M)


def _network(tensors: dict[str, Tensor], config: ZooConfig) -> ZooParameters:
    """The entropy network in exact integers."""
    median = tensors["median"]
    if median.shape != (config.N,):
        raise ValueError(f"{len(median)} medians of z")
    layers = stored_layers(tensors, "entropy.", ZOO_LIMIT)
    return ZooParameters(config, layers, median.numpy().astype(np.int64))


def _assemble(
    tensors: dict[str, Tensor], config: ZooConfig, entry: Entry, device: torch.device
) -> ImageWeights:
    network = _network(tensors, config)
    net = _transforms(config)
    for part in ("g_a", "g_s", "h_a"):
        load_float(getattr(net, part), tensors, f"{part}.")
    median = tensors["median"].float() / 2**LATENT_BITS
    gain, step_z, power = (tensors[name].numpy().astype(np.int64) for name in ("gain", "step_z", "power"))
    y_tables, z_tables = read_tables(tensors, "y_tables"), read_tables(tensors, "z_tables")
    check_steps(config, gain, power, y_tables, z_tables)
    return ImageWeights(
        entry=entry,
        config=config,
        g_a=ZooTransform(net.g_a).eval().to(device),
        g_s=ZooTransform(net.g_s).eval().to(device),
        h_a=ZooHyperAnalysis(net.h_a, median, config.family.zero_means).eval().to(device),
        network=network,
        y_tables=y_tables,
        z_tables=z_tables,
        gain=gain,
        step_z=step_z,
        power=power,
        spread=torch.ones(config.M, device=device),
        device=device,
    )
