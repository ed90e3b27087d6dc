"""Differentiable float views of the integer networks that predict means and scales.

Their outputs differ from the exact ones by the fixed-point rounding alone, well below a table row.
What is written to a file never comes from here: symbols are chosen again from the exact network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nccli.entropy.steps import LATENT_BITS
from nccli.errors import UsageError
from nccli.networks.entropy_model import EntropyModel
from nccli.networks.image_model import EntropyNetwork, neighbours
from nccli.networks.image_parameters import ImageParameters, checkerboard
from nccli.networks.integer import IntegerConv
from nccli.zoo.network import ZooNetwork
from nccli.zoo.zoo_parameters import ZooParameters

N = TypeVar("N", bound=nn.Module)


@dataclass(frozen=True)
class Passes:
    """Where the latents of each of two passes are.

    Attributes:
        places: of each, in the flattened plane.
        rates: (1, 1, 1, n) of each, octaves of lambda above the first anchor.
        shape: height and width of the plane.
    """

    places: tuple[Tensor, Tensor]
    rates: tuple[Tensor, Tensor]
    shape: tuple[int, int]

    def joined(self, first: Tensor, second: Tensor) -> Tensor:
        """Latents (c, n) of both passes -> (1, c, h, w)."""
        order = torch.argsort(torch.cat(self.places))
        return torch.cat((first, second), 1)[:, order].view(1, -1, *self.shape)


CodePass = Callable[[int, Tensor], tuple[Tensor, Tensor]]
"""Codes a pass, by its number, from the network's output (1, 2c, 1, n): bits, and latents (c, n)."""


class View(Protocol):
    """A network that predicts, in floats, and how it walks the latents."""

    @property
    def network(self) -> EntropyNetwork | ZooNetwork: ...

    def first_pass(self, height: int, width: int) -> NDArray[np.bool_]:
        """(h, w) the positions that are coded first."""

    def code(
        self, passes: Passes, features: Tensor, guess: tuple[Tensor, Tensor], code: CodePass
    ) -> SoftCoding:
        """Code all latents softly.

        Args:
            passes: where they are.
            features: (c', h * w).
            guess: (c, n) of each pass, the latents before they are rounded.
            code: does it.
        """


@dataclass(frozen=True)
class SoftCoding:
    """What a soft coding comes to: bits, and the latents of each pass, (c, n)."""

    bits: Tensor
    latents: tuple[Tensor, Tensor]


@dataclass(frozen=True)
class TwoPasses:
    """A checkerboard, as `ImageParameters` walks it."""

    network: EntropyNetwork

    def first_pass(self, height: int, width: int) -> NDArray[np.bool_]:
        return checkerboard(height, width)

    def code(
        self, passes: Passes, features: Tensor, guess: tuple[Tensor, Tensor], code: CodePass
    ) -> SoftCoding:
        network = self.network
        inputs = [features[None, :, None, p] for p in passes.places]
        bits_first, first = code(0, network.first(inputs[0], passes.rates[0]))
        reduced = network.reduce(first[None, :, None])[0, :, 0]
        context = reduced.new_zeros(len(reduced), features.shape[1])
        context = context.index_copy(1, passes.places[0], reduced).view(1, -1, *passes.shape)
        around = neighbours(context).flatten(2)[:, :, None, passes.places[1]]
        bits_second, second = code(1, network.second(inputs[1], passes.rates[1], around))
        return SoftCoding(bits_first + bits_second, (first, second))


@dataclass(frozen=True)
class AtOnce:
    """All positions at once, for the networks of the zoo. A context sees soft latents that lie on the lattice
    as if their own context were the unrounded ones; the decoder's differ from these by less than a step."""

    network: ZooNetwork

    def first_pass(self, height: int, width: int) -> NDArray[np.bool_]:
        return np.ones((height, width), np.bool_)

    def code(
        self, passes: Passes, features: Tensor, guess: tuple[Tensor, Tensor], code: CodePass
    ) -> SoftCoding:
        planes = features.view(1, -1, *passes.shape)
        context = passes.joined(*guess)
        if self.network.context is not None:
            with torch.no_grad():
                output = self.network.dense(planes, context).flatten(2)[:, :, None]
            context = passes.joined(code(0, output)[1], guess[1])
        bits, first = code(0, self.network.dense(planes, context).flatten(2)[:, :, None])
        return SoftCoding(bits, (first, guess[1]))


def float_view(weights: EntropyModel, device: torch.device) -> View:
    """The float view of a model's network, without gradients of its own.

    Raises:
        UsageError: there is none.
    """
    network = weights.network
    if isinstance(network, ImageParameters):
        return TwoPasses(_filled(EntropyNetwork(network.sizes), network.layers, device))
    if isinstance(network, ZooParameters):
        plain = ZooNetwork(network.config)
        plain.median = torch.from_numpy(network.median / 2**LATENT_BITS)[:, None, None].float()
        return AtOnce(_filled(plain, network.layers, device))
    raise UsageError(f"pictures of model {weights.entry.name} cannot be refined")


def _filled(network: N, layers: Mapping[str, IntegerConv], device: torch.device) -> N:
    """The network with the weights of its integer layers: the bias loses the rounding half and the fixed
    point."""
    for path, layer in layers.items():
        conv, scale = network.get_submodule(path), np.ldexp(1.0, -layer.shift)
        weight = layer.weight * scale[:, None, None, None]
        bias = (layer.bias * scale - 0.5) / 2**LATENT_BITS
        conv.weight = nn.Parameter(torch.from_numpy(weight).float())
        conv.bias = nn.Parameter(torch.from_numpy(bias).float())
    return network.to(device).eval().requires_grad_(False)
