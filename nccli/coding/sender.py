"""Encoder side of the schedule: choose symbols, then send or price them.

Nothing here is normative: a decoder accepts any choice.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from nccli.coding.payload import CHECKS_BYTES, pack_payload
from nccli.coding.schedule import (
    Features,
    Group,
    Walk,
    code_group,
    code_hyper,
    code_latents,
    symbols_checksum,
)
from nccli.entropy.coder import IntArray, SymbolCoder, SymbolEncoder, Tables, symbol_bits
from nccli.entropy.grid import Grid
from nccli.entropy.setting import Setting
from nccli.entropy.steps import LATENT_BITS, STEP_UNIT, STEP_Z_CHOICES, interpolate_anchors, step_z_index
from nccli.networks.weights import ImageWeights

SYMBOL_LIMIT = 2.0**30

FLUSH_BYTES = 2.5
"""What the range coder adds to the information content, on average."""


@dataclass(frozen=True)
class Latents:
    """What the analysis makes of a picture.

    Attributes:
        grid: latent sizes.
        y: (M, h, w) float32.
        z: (channels, hz, wz) float32.
    """

    grid: Grid
    y: Tensor
    z: Tensor


Analysed = Callable[[Setting], Latents]
"""What the analysis makes of a picture for a setting."""


@dataclass(frozen=True)
class Stream:
    """A coded picture before it is put in a container.

    Attributes:
        setting: where on the rate axis.
        payload: checksums and range-coded symbols, the latents section.
        z: (channels of z, hz, wz) symbols.
        y_hat: (M, h, w) fixed point, int32, as the decoder will have it.
    """

    setting: Setting
    payload: bytes
    z: IntArray
    y_hat: Tensor


class CostCounter:
    """A `SymbolCoder` that adds up bits instead of writing them."""

    def __init__(self) -> None:
        self.bits = 0.0

    def code(self, tables: Tables, indexes: IntArray, symbols: IntArray) -> IntArray:
        self.bits += float(symbol_bits(tables, indexes, symbols).sum())
        return symbols


class Sender:
    """Quantises latents group by group and passes the symbols to a coder."""

    def __init__(self, weights: ImageWeights, latents: Latents, setting: Setting, coder: SymbolCoder) -> None:
        self._weights, self.source, self._coder = weights, latents, coder
        self._step_z = 2.0 ** STEP_Z_CHOICES[setting.step_z]

    def hyper(self, tables: Tables, indexes: IntArray) -> IntArray:
        symbols = torch.round(self.source.z.double() / self._step_z).reshape(-1)
        limited = symbols.clamp_(-SYMBOL_LIMIT, SYMBOL_LIMIT).to(torch.int32).cpu().numpy()
        return self._coder.code(tables, indexes, limited)

    def latents(self, group: Group) -> Tensor:
        top, bottom = group.rows
        y = self.source.y[:, top:bottom][:, group.mask].flatten()[group.sent].double()
        steps = group.steps.expand_as(group.means).flatten()[group.sent]
        scaled = (y * 2**LATENT_BITS - group.means.flatten()[group.sent]) / steps
        symbols = torch.round(scaled).clamp_(-SYMBOL_LIMIT, SYMBOL_LIMIT)
        return code_group(self._weights.y_tables, self._coder, group, symbols)


class Encoder:
    """Codes a picture at any setting; what h_s makes of z is kept while latents stay the same."""

    def __init__(self, weights: ImageWeights, analysed: Analysed) -> None:
        self.weights, self.analysed = weights, analysed
        self._features: dict[int, Features] = {}
        self._source: Callable[[], Latents | None] = lambda: None

    def send(self, setting: Setting) -> Stream:
        """Code into the payload of a latents section. Source: docs/FORMAT.md section 6."""
        coder = SymbolEncoder()
        return self.transmit(setting, Sender(self.weights, self.analysed(setting), setting, coder), coder)

    def transmit(self, setting: Setting, sender: Sender, coder: SymbolEncoder) -> Stream:
        """`send` by way of a given sender to this coder."""
        result, z_symbols = self.walk(setting, sender)
        payload = pack_payload(symbols_checksum(z_symbols), result.checksum, coder.finish())
        return Stream(setting, payload, z_symbols, result.y_hat)

    def walk(self, setting: Setting, sender: Sender) -> tuple[Walk, IntArray]:
        """Walk the schedule with a sender; also returns the symbols of z."""
        grid, step_z = sender.source.grid, setting.step_z
        z_symbols = code_hyper(self.weights, grid, step_z, sender)
        if sender.source is not self._source():
            # Whoever analyses decides how long latents live: large ones must not be there twice.
            self._source, self._features = weakref.ref(sender.source), {}
        if step_z not in self._features:
            self._features[step_z] = Features(self.weights, grid, z_symbols, step_z)
        result = code_latents(self.weights, grid, self._features[step_z], setting, sender)
        return result, z_symbols


def send(weights: ImageWeights, latents: Latents, setting: Setting) -> Stream:
    """`Encoder.send` of given latents."""
    return Encoder(weights, lambda _: latents).send(setting)


def price(weights: ImageWeights, latents: Latents, setting: Setting) -> tuple[float, Tensor]:
    """Bytes that `send` would use, within a few, without coding; and y_hat."""
    counter = CostCounter()
    result, _ = walk(weights, latents, setting, counter)
    return CHECKS_BYTES + counter.bits / 8 + FLUSH_BYTES, result.y_hat


def walk(
    weights: ImageWeights, latents: Latents, setting: Setting, coder: SymbolCoder
) -> tuple[Walk, IntArray]:
    """`Encoder.walk` of given latents with a coder."""
    return Encoder(weights, lambda _: latents).walk(setting, Sender(weights, latents, setting, coder))


def default_step_z(weights: ImageWeights, rate: int) -> int:
    """The z step that the model was trained with at this rate."""
    log2 = int(interpolate_anchors(weights.step_z[:, None], rate)[0])
    return step_z_index(log2 / STEP_UNIT)
