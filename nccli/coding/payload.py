"""The payload of a coded picture: checks and range-coded symbols. Source: docs/FORMAT.md section 6."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nccli.coding.schedule import Driver, Features, Receiver, code_hyper, code_latents, symbols_checksum
from nccli.entropy.coder import IntArray, SymbolDecoder
from nccli.entropy.grid import Grid
from nccli.entropy.setting import Setting
from nccli.errors import FormatError
from nccli.networks.entropy_model import EntropyModel
from nccli.networks.interface import Context

CHECKS_BYTES = 3
"""In front of the stream: 1 byte of the checksum of z, 2 of that of y."""


@dataclass(frozen=True, eq=False)
class Symbols:
    """What a payload holds.

    Attributes:
        z: (channels, hz, wz) symbols.
        y_hat: (M, h, w) fixed point, int32.
    """

    z: IntArray
    y_hat: NDArray[np.int32]


def pack_payload(hyper_checksum: int, checksum: int, stream: bytes) -> bytes:
    """Checksums of the symbols of z and y, and the range-coded stream."""
    return bytes([hyper_checksum & 0xFF]) + (checksum & 0xFFFF).to_bytes(2, "little") + stream


def _plain(receiver: Receiver) -> Driver:
    return receiver


def read_payload(
    weights: EntropyModel,
    grid: Grid,
    setting: Setting,
    payload: bytes,
    driver: Callable[[Receiver], Driver] = _plain,
    context: Context | None = None,
) -> Symbols:
    """Decode a payload.

    Args:
        weights: model.
        grid: latent sizes.
        setting: where on the rate axis the picture is coded.
        payload: contents of a latents section.
        driver: puts something around the receiver that looks on.
        context: of the picture's condition, as the encoder had it.

    Raises:
        FormatError: the payload is not what an encoder with these weights would write.
    """
    if len(payload) < CHECKS_BYTES:
        raise FormatError("latents", found=f"{len(payload)} bytes", expected=f"at least {CHECKS_BYTES}")
    coder = SymbolDecoder(payload[CHECKS_BYTES:])
    walker = driver(Receiver(weights.y_tables, coder))
    z_symbols = code_hyper(weights, grid, setting.step_z, walker)
    if symbols_checksum(z_symbols) & 0xFF != payload[0]:
        raise FormatError("checksum of the decoded hyper-latents does not match")
    features = Features(weights, grid, z_symbols, setting.step_z, context)
    walk = code_latents(weights, grid, features, setting, walker)
    coder.finish()
    if walk.checksum & 0xFFFF != int.from_bytes(payload[1:CHECKS_BYTES], "little"):
        raise FormatError("checksum of the decoded latents does not match")
    return Symbols(z_symbols, walk.y_hat)
