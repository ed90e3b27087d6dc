"""Weights files: tensors <-> networks and tables."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from nccli.entropy.coder import Tables
from nccli.entropy.rate import NUM_ANCHORS
from nccli.entropy.steps import MAX_GAIN, NUM_ROWS, STEP_UNIT, STEP_Z_CHOICES
from nccli.errors import ModelError
from nccli.networks.chain import Conv
from nccli.networks.entropy_model import EntropyModel
from nccli.networks.entry import Entry
from nccli.networks.image_model import Analysis, HyperAnalysis, ImageConfig, Synthesis
from nccli.networks.image_parameters import ImageParameters
from nccli.networks.integer import ACTIVATION_LIMIT, WEIGHT_LIMIT, Convolution, IntegerConv
from nccli.networks.interface import Sizes


@dataclass(frozen=True, eq=False)
class ImageWeights(EntropyModel):
    """A loaded image model, ready to code.

    Attributes:
        g_a: pixels and rate weights -> latents, float, used by encoders only.
        g_s: latents and rate weights -> pixels, float.
        h_a: latents -> hyper-latents, float, used by encoders only.
        spread: (M,) latents times this are transform coefficients.
        device: where g_a, g_s and h_a live.
    """

    g_a: nn.Module
    g_s: nn.Module
    h_a: nn.Module
    spread: Tensor
    device: torch.device


T = TypeVar("T", bound=nn.Module)

INTEGER_PARTS = ("gain", "step_z", "power")


def save_weights(tensors: dict[str, Tensor], config: ImageConfig, folder: Path, name: str) -> Path:
    """Write `tensors` as NAME-<sha8>.safetensors; returns the path."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{name}.part"
    save_file({k: v.contiguous() for k, v in tensors.items()}, part, {"config": json.dumps(asdict(config))})
    part.chmod(0o644)
    digest = hashlib.sha256(part.read_bytes()).hexdigest()
    return part.replace(folder / f"{name}-{digest[:8]}.safetensors")


def table_tensors(tables: Tables, prefix: str) -> dict[str, Tensor]:
    """The tensors that `read_tables` reads back."""
    return {
        f"{prefix}.{name}": torch.from_numpy(np.asarray(getattr(tables, name), np.int32))
        for name in ("frequencies", "starts", "lowest")
    }


def read_tables(tensors: dict[str, Tensor], prefix: str) -> Tables:
    """The tables that `table_tensors` made tensors of.

    Raises:
        ValueError: they are no distributions.
    """
    frequencies, starts, lowest = (
        tensors[f"{prefix}.{name}"].numpy() for name in ("frequencies", "starts", "lowest")
    )
    tables = Tables(frequencies, starts, lowest)
    tables.check()
    return tables


def load_float(module: T, tensors: dict[str, Tensor], prefix: str) -> T:
    """Give a network the tensors under `prefix`; it does not learn."""
    state = {k.removeprefix(prefix): v.float() for k, v in tensors.items() if k.startswith(prefix)}
    module.load_state_dict(state, assign=True)
    return module.eval().requires_grad_(False)


def to_integer(
    network: nn.Module, limit: int = ACTIVATION_LIMIT, weight_limit: int = WEIGHT_LIMIT
) -> dict[str, IntegerConv]:
    """The integer counterparts of all convolutions of a float network, by name."""
    return {
        path: IntegerConv.from_float(
            module.weight.detach().double().cpu().numpy(),
            cast(Tensor, module.bias).detach().double().cpu().numpy(),
            limit,
            weight_limit,
        )
        for path, module in network.named_modules()
        if isinstance(module, nn.Conv2d)
    }


def layer_tensors(layers: dict[str, IntegerConv], prefix: str) -> dict[str, Tensor]:
    """The tensors that `stored_layers` reads back."""
    return {
        f"{prefix}{path}.{part}": torch.from_numpy(getattr(layer, part))
        for path, layer in layers.items()
        for part in ("weight", "bias", "shift")
    }


def stored_layers(tensors: dict[str, Tensor], prefix: str, limit: int = ACTIVATION_LIMIT) -> Convolution:
    """Gives the integer layer of a name as it is stored; its bound is proved on the way.

    It raises KeyError for one that is not there, and ValueError for one that does not fit.
    """

    def find(path: str, layer: Conv) -> IntegerConv:
        weight, bias, shift = (tensors[f"{prefix}{path}.{k}"].numpy() for k in ("weight", "bias", "shift"))
        return fitting(IntegerConv(weight, bias, shift, limit), path, layer)

    return find


def fitting(found: IntegerConv, path: str, layer: Conv) -> IntegerConv:
    """The layer, if it has the sizes that are described; ValueError otherwise."""
    expected = (layer.c_out, layer.c_in, layer.size, layer.size)
    if found.weight.shape != expected or not len(found.bias) == len(found.shift) == layer.c_out:
        raise ValueError(f"layer {path} is {found.weight.shape}, not {expected}")
    return found


def _build(make: Callable[[ImageConfig], T], config: ImageConfig) -> T:
    """A network without spending time on random starting weights."""
    with torch.device("meta"):
        return make(config)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """All tensors of a weights file and the values of its configuration."""
    try:
        with safe_open(path, "pt") as file:
            config = dict(json.loads(file.metadata()["config"]))
            return {k: file.get_tensor(k) for k in file.keys()}, config
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"cannot read weights {path}: {error}") from error


def read_weights(path: Path) -> tuple[dict[str, Tensor], ImageConfig]:
    """All tensors of a weights file and its configuration."""
    tensors, config = read_tensors(path)
    try:
        return tensors, ImageConfig(**config)
    except TypeError as error:
        raise ModelError(f"cannot read weights {path}: {error}") from error


def check_steps(
    config: Sizes, gain: NDArray[np.int64], power: NDArray[np.int64], y_tables: Tables, z_tables: Tables
) -> None:
    """Raise ValueError unless steps and tables fit the sizes."""
    if y_tables.rows != NUM_ROWS:
        raise ValueError(f"{y_tables.rows} table rows of y")
    if z_tables.rows != len(STEP_Z_CHOICES) * config.hyper_channels:
        raise ValueError(f"{z_tables.rows} table rows of z")
    if gain.shape != (NUM_ANCHORS, config.M) or np.abs(gain).max() > MAX_GAIN or len(power) != STEP_UNIT:
        raise ValueError("steps are out of range")


def assemble_weights(
    tensors: dict[str, Tensor], config: ImageConfig, entry: Entry, device: torch.device
) -> ImageWeights:
    """Networks and tables from the tensors of a weights file."""
    g_a = load_float(_build(Analysis, config), tensors, "g_a.")
    g_s = load_float(_build(Synthesis, config), tensors, "g_s.")
    h_a = load_float(_build(HyperAnalysis, config), tensors, "h_a.")
    network = ImageParameters(config, stored_layers(tensors, "entropy."))
    gain, step_z, power = (tensors[name].numpy().astype(np.int64) for name in INTEGER_PARTS)
    y_tables, z_tables = read_tables(tensors, "y_tables"), read_tables(tensors, "z_tables")
    check_steps(config, gain, power, y_tables, z_tables)
    return ImageWeights(
        entry=entry,
        config=config,
        g_a=g_a.to(device),
        g_s=g_s.to(device),
        h_a=h_a.to(device),
        network=network,
        y_tables=y_tables,
        z_tables=z_tables,
        gain=gain,
        step_z=step_z,
        power=power,
        spread=tensors["spread"].float().to(device),
        device=device,
    )
