"""CompressAI's checkpoints -> weights files of ncc, byte for byte the same on every machine.

The transforms are copied. What decides probabilities becomes integers: weights rounded one by one,
tables from `nccli.zoo.densities`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nccli.entropy.rate import ANCHOR_SPACING, FIRST_ANCHOR, NUM_ANCHORS, lambda_to_rate
from nccli.entropy.region import STEP_PER_RATE
from nccli.entropy.steps import LATENT_BITS, power_table
from nccli.errors import ModelError
from nccli.networks.weights import layer_tensors, table_tensors, to_integer
from nccli.zoo.densities import Bottleneck, gaussian_tables, prior_tables
from nccli.zoo.names import ZooModel
from nccli.zoo.network import ZooNetwork
from nccli.zoo.source import builder_of, renamed
from nccli.zoo.zoo_parameters import NEIGHBOURS, ZOO_LIMIT, ZOO_WEIGHT_LIMIT, ZooConfig

TRANSFORMS = ("g_a", "g_s", "h_a")

PHASES = ((4, 2, 0), (None, 3, 1))
"""Taps of a 5-tap transposed filter that reach the even and the odd outputs from the input before, at
and after them."""

STORED = {"float32": "F32", "int32": "I32", "int64": "I64"}


def build(model: ZooModel, state: dict[str, Tensor]) -> Any:
    """CompressAI's network with the tensors of a checkpoint.

    Raises:
        ModelError: they are not of this architecture.
    """
    builder = builder_of(model.architecture)
    try:
        return builder.from_state_dict(renamed(state)).eval()
    except (KeyError, RuntimeError, ValueError, IndexError) as error:
        raise ModelError(f"{model.checkpoint} is no network of {model.architecture.name}") from error


def convert(model: ZooModel, net: Any) -> bytes:
    """A weights file from CompressAI's network. Source: docs/FORMAT.md section 13."""
    config = ZooConfig(model.architecture.name, model.quality, int(net.N), int(net.M))
    tensors = {
        f"{part}.{name}": value.detach().cpu().float()
        for part in TRANSFORMS
        for name, value in getattr(net, part).state_dict().items()
    }
    if not all(bool(torch.isfinite(value).all()) for value in net.state_dict().values()):
        raise ModelError(f"{model.checkpoint} holds values that are not finite")
    network, prior = float_network(config, net), bottleneck(net)
    tensors |= layer_tensors(to_integer(network, ZOO_LIMIT, ZOO_WEIGHT_LIMIT), "entropy.")
    tensors |= table_tensors(gaussian_tables(), "y_tables") | table_tensors(prior_tables(prior), "z_tables")
    integers = {
        "median": prior.medians,
        "gain": natural_steps(model.lmbda)[:, None].repeat(config.M, 1),
        "step_z": np.zeros(NUM_ANCHORS, np.int64),
        "power": power_table(),
    }
    tensors |= {name: torch.from_numpy(value.astype(np.int32)) for name, value in integers.items()}
    return safetensors_bytes(tensors, {"config": json.dumps(asdict(config), sort_keys=True)})


def natural_steps(lmbda: float) -> np.ndarray[Any, np.dtype[np.int64]]:
    """log2 step at every rate anchor, 1/64 octave: 0 at the network's own lambda, falling with lambda^1/2."""
    above = lambda_to_rate(lmbda) - FIRST_ANCHOR
    own = math.ceil(above / STEP_PER_RATE)
    return own - np.arange(NUM_ANCHORS, dtype=np.int64) * (ANCHOR_SPACING // STEP_PER_RATE)


def float_network(config: ZooConfig, net: Any) -> ZooNetwork:
    """Our form of CompressAI's entropy network, before it becomes integers."""
    network = ZooNetwork(config)
    _copy(network.hyper, [_as_convolution(layer) for layer in _convolutions(net.h_s)])
    if network.context is not None:
        _copy(network.merge, [_parts(layer) for layer in _convolutions(net.entropy_parameters)])
        weight, bias = _parts(net.context_prediction)
        taps = torch.stack([weight[:, :, 2 + row, 2 + column] for row, column in NEIGHBOURS], dim=1)
        _copy(network.context, [(taps.flatten(1)[:, :, None, None], bias)])
    if not config.family.zero_means:
        last = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.out_channels == 2 * config.M]
        _swap_halves(last[-1] if network.context is None else network.merge[-1])
    network.median = _medians(net)[:, None, None].float() / 2**LATENT_BITS
    return network.eval().requires_grad_(False)


def _convolutions(module: nn.Module) -> list[nn.Module]:
    return [m for m in module.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]


def _parts(layer: Any) -> tuple[Tensor, Tensor]:
    return layer.weight.detach().float(), layer.bias.detach().float()


def _as_convolution(layer: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight and bias of a layer; a transposed one becomes 3x3 with four outputs for one."""
    weight, bias = _parts(layer)
    if isinstance(layer, nn.Conv2d):
        return weight, bias
    c_in, c_out = weight.shape[:2]
    phases = weight.new_zeros(c_out, 2, 2, c_in, 3, 3)
    for a, rows in enumerate(PHASES):
        for b, columns in enumerate(PHASES):
            for i, row in enumerate(rows):
                for j, column in enumerate(columns):
                    if row is not None and column is not None:
                        phases[:, a, b, :, i, j] = weight[:, :, row, column].T
    return phases.flatten(0, 2), bias.repeat_interleave(4)


def _copy(target: nn.Module, layers: list[tuple[Tensor, Tensor]]) -> None:
    """Give the convolutions of `target`, in order, these weights and biases."""
    for conv, (weight, bias) in zip(_convolutions(target), layers, strict=True):
        expected = tuple(_parts(conv)[0].shape)
        if tuple(weight.shape) != expected:
            raise ModelError(f"a layer is {tuple(weight.shape)}, not {expected}")
        conv.weight, conv.bias = nn.Parameter(weight.contiguous()), nn.Parameter(bias.contiguous())


def _swap_halves(layer: nn.Module) -> None:
    """CompressAI has scales before means, the format means before scales."""
    weight, bias = _parts(layer)
    _copy(layer, [(torch.cat(weight.chunk(2)[::-1]), torch.cat(bias.chunk(2)[::-1]))])


def _medians(net: Any) -> Tensor:
    """What symbol 0 of each channel of z stands for, fixed point."""
    medians = net.entropy_bottleneck.quantiles.detach()[:, 0, 1].double()
    return torch.round(medians * 2**LATENT_BITS)


def bottleneck(net: Any) -> Bottleneck:
    """The factorized prior of z."""
    prior = net.entropy_bottleneck
    matrices, biases, factors = (
        tuple(p.detach().double().cpu().numpy() for p in getattr(prior, name))
        for name in ("matrices", "biases", "factors")
    )
    return Bottleneck(matrices, biases, factors, _medians(net).cpu().numpy().astype(np.int64))


def safetensors_bytes(tensors: dict[str, Tensor], metadata: dict[str, str]) -> bytes:
    """A safetensors file whose bytes depend on its contents alone: wide numbers first, then by name."""
    arrays = {name: np.ascontiguousarray(value.numpy()) for name, value in tensors.items()}
    order = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))
    header: dict[str, Any] = {"__metadata__": metadata}
    place = 0
    for name in order:
        array = arrays[name]
        end = place + array.nbytes
        header[name] = {
            "dtype": STORED[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [place, end],
        }
        place = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *_little(arrays[name] for name in order)])


def _little(arrays: Iterator[np.ndarray[Any, Any]]) -> Iterator[bytes]:
    for array in arrays:
        yield array.astype(array.dtype.newbyteorder("<")).tobytes()
