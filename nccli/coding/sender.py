"""Encoder side of the schedule: choose symbols, then send or price them.

Nothing here is normative: a decoder accepts any choice.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nccli.coding.payload import CHECKS_BYTES, pack_payload
from nccli.coding.schedule import (
    Features,
    Group,
    Walk,
    code_hyper,
    code_latents,
    symbols_checksum,
)
from nccli.entropy.coder import IntArray, SymbolCoder, SymbolEncoder, Tables, symbol_bits
from nccli.entropy.grid import Grid
from nccli.entropy.setting import Setting
from nccli.entropy.steps import LATENT_BITS, STEP_UNIT, STEP_Z_CHOICES, interpolate_anchors, step_z_index
from nccli.networks.entropy_model import EntropyModel
from nccli.networks.interface import Context

SYMBOL_LIMIT = 2.0**30

FLUSH_BYTES = 2.5
"""What the range coder adds to the information content, on average."""


@dataclass(frozen=True, eq=False)
class Latents:
    """What the analysis makes of a picture.

    Attributes:
        grid: latent sizes.
        y: (channels, h, w).
        z: (channels of z, hz, wz).
    """

    grid: Grid
    y: NDArray[np.float32]
    z: NDArray[np.float32]


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
    y_hat: NDArray[np.int32]


class CostCounter:
    """A `SymbolCoder` that adds up bits instead of writing them."""

    def __init__(self) -> None:
        self.bits = 0.0

    def code(self, tables: Tables, indexes: IntArray, symbols: IntArray) -> IntArray:
        self.bits += float(symbol_bits(tables, indexes, symbols).sum())
        return symbols


class Sender:
    """Quantises latents group by group and passes the symbols to a coder."""

    def __init__(self, weights: EntropyModel, latents: Latents, setting: Setting, coder: SymbolCoder) -> None:
        self._weights, self.source, self._coder = weights, latents, coder
        self._step_z = 2.0 ** STEP_Z_CHOICES[setting.step_z]

    def hyper(self, tables: Tables, indexes: IntArray) -> IntArray:
        z = self.source.z.reshape(-1).astype(np.float64) / self._step_z
        return self._coder.code(tables, indexes, _rounded(z))

    def latents(self, group: Group) -> IntArray:
        chosen = np.take(group.flat(self.source.y), group.visit.places, axis=1)
        scaled = chosen.reshape(-1)[group.sent].astype(np.float64)
        scaled *= 2**LATENT_BITS
        scaled -= group.sent_means
        scaled /= group.sent_steps
        return self._coder.code(self._weights.y_tables, group.sent_indexes, _rounded(scaled))


def _rounded(scaled: NDArray[np.float64]) -> NDArray[np.int32]:
    """The nearest symbols, ties to the even one."""
    return np.clip(np.rint(scaled), -SYMBOL_LIMIT, SYMBOL_LIMIT).astype(np.int32)


class Encoder:
    """Codes a picture at any setting; what h_s makes of z is kept while latents stay the same."""

    def __init__(self, weights: EntropyModel, analysed: Analysed, context: Context | None = None) -> None:
        """context: of the picture's condition."""
        self.weights, self.analysed, self._context = weights, analysed, context
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
            self._features[step_z] = Features(self.weights, grid, z_symbols, step_z, self._context)
        result = code_latents(self.weights, grid, self._features[step_z], setting, sender)
        return result, z_symbols


def send(weights: EntropyModel, latents: Latents, setting: Setting, context: Context | None = None) -> Stream:
    """`Encoder.send` of given latents."""
    return Encoder(weights, lambda _: latents, context).send(setting)


def price(weights: EntropyModel, latents: Latents, setting: Setting) -> tuple[float, NDArray[np.int32]]:
    """Bytes that `send` would use, within a few, without coding; and y_hat."""
    counter = CostCounter()
    result, _ = walk(weights, latents, setting, counter)
    return CHECKS_BYTES + counter.bits / 8 + FLUSH_BYTES, result.y_hat


def walk(
    weights: EntropyModel, latents: Latents, setting: Setting, coder: SymbolCoder
) -> tuple[Walk, IntArray]:
    """`Encoder.walk` of given latents with a coder."""
    return Encoder(weights, lambda _: latents).walk(setting, Sender(weights, latents, setting, coder))


def default_step_z(weights: EntropyModel, rate: int) -> int:
    """The z step that the model was trained with at this rate."""
    log2 = int(interpolate_anchors(weights.step_z[:, None], rate)[0])
    return step_z_index(log2 / STEP_UNIT)
