"""The second decoder's part for networks of the zoo, from docs/FORMAT.md section 13."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from tests.reference_coder import RangeDecoder, require
from tests.reference_decoder import Ints, Schedule, Tensors, decode_z, layer, local_rates, parse, shuffle

LIMIT = 2**24

OFFSETS = [(-2, -2), (-2, -1), (-2, 0), (-2, 1), (-2, 2)]
OFFSETS += [(-1, -2), (-1, -1), (-1, 0), (-1, 1), (-1, 2), (0, -2), (0, -1)]

HYPER = {
    1: ("0u", "act", "3u", "act", "6", "act"),
    2: ("0u", "act", "3u", "act", "6"),
    3: ("0u", "act", "3u", "act", "6"),
    4: ("0", "act", "2u", "act", "5", "act", "7u", "act", "10"),
    5: ("0", "act", "2u", "act", "5", "act", "7u", "act", "10"),
}
"""Layers of h_s by architecture; u stands for a shuffle."""


class Network:
    """The entropy network of one file."""

    def __init__(self, tensors: Tensors, architecture: int) -> None:
        self.tensors, self.architecture = tensors, architecture
        self.slope = 0 if architecture == 1 else 10486

    def act(self, x: Ints) -> Ints:
        return np.where(x < 0, (x * self.slope) >> 20, x)

    def layer(self, name: str, x: Ints) -> Ints:
        return layer(self.tensors, name, x, LIMIT)

    def features(self, z_hat: Ints, height: int, width: int) -> Ints:
        x = z_hat + self.tensors["median"][:, None, None]
        for part in HYPER[self.architecture]:
            if part == "act":
                x = self.act(x)
                continue
            x = self.layer(f"hyper.{part.removesuffix('u')}", x)
            x = shuffle(x) if part.endswith("u") else x
        return x[:, :height, :width]

    def output(self, features: Ints, y_hat: Ints) -> Ints:
        """Means and log2 scales of every position, from the latents so far."""
        if self.architecture == 1:
            return np.concatenate((0 * features, log2(features)))
        x = features
        if self.architecture > 2:
            height, width = y_hat.shape[1:]
            around = np.pad(np.clip(y_hat, -LIMIT, LIMIT), ((0, 0), (2, 0), (2, 2)))
            taps = [around[:, 2 + r : 2 + r + height, 2 + c : 2 + c + width] for r, c in OFFSETS]
            x = np.concatenate((features, self.layer("context", np.concatenate(taps))))
            x = self.act(self.layer("merge.0", x))
            x = self.act(self.layer("merge.2", x))
            x = self.layer("merge.4", x)
        means, scales = np.split(x, 2)
        return np.concatenate((means, log2(scales)))


def log2(scales: Ints) -> Ints:
    """64 times the largest u with 2^(768 + u) <= s^64."""
    known = {}
    for scale in np.unique(np.clip(scales, 451, LIMIT)).tolist():
        known[scale] = 64 * ((scale**64).bit_length() - 1 - 768)
    return np.vectorize(known.__getitem__, otypes=[np.int64])(np.clip(scales, 451, LIMIT))


def decode_y_hat(data: bytes, weights: Path) -> Ints:
    """y_hat of a file of the zoo, given its converted weights."""
    file = parse(data)
    architecture = (file.model_id - 0x8000) // 16
    require(1 <= architecture <= 5, "no such network")
    tensors = {k: v.astype(np.int64) for k, v in load_file(weights).items() if v.dtype.kind == "i"}
    coder = RangeDecoder(file.latents[3:])
    height, width = -(-file.height // 16), -(-file.width // 16)
    network = Network(tensors, architecture)
    features = network.features(decode_z(coder, tensors, file, height, width), height, width)
    local, beyond = local_rates(file, height, width)
    schedule = Schedule(coder, tensors, file, local, beyond)
    y_hat = np.zeros((tensors["gain"].shape[1], height, width), np.int64)
    band = min(max(2**16 // width // 4 * 4, 4), 64)
    for top in range(0, height, band):
        rows, columns = np.indices((min(band, height - top), width)).reshape(2, -1)
        order = 3 * rows + columns if architecture > 2 else 0 * rows
        for number in range(order.max() + 1):
            chosen = order == number
            schedule.group(network.output(features, y_hat), y_hat, top + rows[chosen], columns[chosen])
    coder.check_exhausted()
    require(schedule.checksum & 0xFFFF == int.from_bytes(file.latents[1:3], "little"), "checksum of y")
    return y_hat
