"""Weights files: name -> file, verified and loaded. Nothing here downloads."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from nccli.catalogue import Entry, model_path, verify
from nccli.entropy import Tables
from nccli.errors import ModelError
from nccli.layers import ACTIVATION_LIMIT, Activation, IntegerActivation, IntegerConv2d
from nccli.memory import keep_freed_memory
from nccli.model import (
    Analysis,
    EntropyNetwork,
    HyperAnalysis,
    ImageConfig,
    ParameterNetwork,
    Synthesis,
)
from nccli.quantize import MAX_GAIN, NUM_ROWS, STEP_UNIT, STEP_Z_CHOICES
from nccli.rate import NUM_ANCHORS
from nccli.zoo.names import is_zoo_name


class Sizes(Protocol):
    """What coding must know of a network's sizes; see `ImageConfig`."""

    @property
    def name(self) -> str: ...
    @property
    def M(self) -> int: ...
    @property
    def hyper_channels(self) -> int: ...
    @property
    def analysis_halo(self) -> int: ...
    @property
    def synthesis_halo(self) -> int: ...
    @property
    def hyper_halo(self) -> int: ...


@dataclass(frozen=True)
class ImageWeights:
    """A loaded image model, ready to code.

    Attributes:
        entry: its line in the catalogue.
        config: network sizes.
        g_a: pixels and rate weights -> latents, float, used by encoders only.
        g_s: latents and rate weights -> pixels, float.
        h_a: latents -> hyper-latents, float, used by encoders only.
        network: h_s and the parameter heads, exact integers in float64.
        y_tables: rows by scale over step.
        z_tables: rows by step index and channel.
        gain: (NUM_ANCHORS, M) log2 steps, 1/64 octave.
        step_z: (NUM_ANCHORS,) log2 step of z, 1/64 octave, the encoder's default.
        power: (64,) mantissas of 2^(i/64).
        spread: (M,) latents times this are transform coefficients.
        device: where the networks live.
    """

    entry: Entry
    config: Sizes
    g_a: nn.Module
    g_s: nn.Module
    h_a: nn.Module
    network: ParameterNetwork
    y_tables: Tables
    z_tables: Tables
    gain: NDArray[np.int64]
    step_z: NDArray[np.int64]
    power: NDArray[np.int64]
    spread: Tensor
    device: torch.device

    @property
    def follows_rate(self) -> bool:
        """Latents depend on the rate point that they are made for."""
        return isinstance(self.g_a, Analysis)


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


def load_integer(
    network: nn.Module, tensors: dict[str, Tensor], prefix: str, limit: int = ACTIVATION_LIMIT
) -> None:
    """Replace every convolution by the stored integer one; its bound is proved on the way."""
    for path, module in list(network.named_modules()):
        parent_path, _, name = path.rpartition(".")
        parent = network.get_submodule(parent_path)
        if isinstance(module, Activation):
            setattr(parent, name, IntegerActivation(module.slope))
        elif isinstance(module, nn.Conv2d):
            weight, bias, shift = (tensors[f"{prefix}{path}.{k}"] for k in ("weight", "bias", "shift"))
            setattr(parent, name, IntegerConv2d(weight, bias, shift, limit))
    network.eval()


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


@lru_cache(maxsize=4)
def load_model(entry: Entry, device: str = "cpu") -> ImageWeights:
    """Load a model of the catalogue; the same object is returned on later calls.

    Raises:
        ModelError: a missing or damaged file.
    """
    if not verify(entry):
        cure = f"run 'ncc models fetch {entry.name}'" if is_zoo_name(entry.name) else "reinstall ncc"
        raise ModelError(f"weights {entry.file} are damaged: their checksum differs; {cure}")
    return load_file(model_path(entry), entry, torch.device(device))


def load_file(path: Path, entry: Entry, device: torch.device) -> ImageWeights:
    """Load the weights in `path`."""
    keep_freed_memory()
    if is_zoo_name(entry.name):
        from nccli.zoo.load import load_zoo

        return load_zoo(path, entry, device)
    tensors, config = read_weights(path)
    try:
        return assemble_weights(tensors, config, entry, device)
    except (KeyError, RuntimeError, ValueError) as error:
        raise ModelError(f"weights {path} do not fit their configuration: {error}") from error


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
    network = _build(EntropyNetwork, config)
    load_integer(network, tensors, "entropy.")
    gain, step_z, power = (tensors[name].numpy().astype(np.int64) for name in INTEGER_PARTS)
    y_tables, z_tables = read_tables(tensors, "y_tables"), read_tables(tensors, "z_tables")
    check_steps(config, gain, power, y_tables, z_tables)
    return ImageWeights(
        entry=entry,
        config=config,
        g_a=g_a.to(device),
        g_s=g_s.to(device),
        h_a=h_a.to(device),
        network=network.to(device),
        y_tables=y_tables,
        z_tables=z_tables,
        gain=gain,
        step_z=step_z,
        power=power,
        spread=tensors["spread"].float().to(device),
        device=device,
    )
