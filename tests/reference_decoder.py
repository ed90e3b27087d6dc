"""A second decoder, written from docs/FORMAT.md: image files -> y_hat, slowly and independently.

Needs numpy and safetensors only and shares no code with nccli, so that the two agree only where
the document says enough. Section numbers in comments are those of FORMAT.md.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from bisect import bisect_right
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

Ints = NDArray[np.int64]
Tensors = dict[str, Ints]
"""Integer tensors of a weights file under their names in section 11."""

SIGNATURE = b"\x8eNCC\r\n"
CLAMP = 2**21
WORD, STATE = 2**32, 2**64
STEPS_OF_Z = (1448, 2048, 2896, 4096, 5793, 8192, 11585)
BAND = 64


class CorruptError(Exception):
    """The file is not one that this format allows."""


def require(condition: object, what: str) -> None:
    """Raise CorruptError unless the condition holds."""
    if not condition:
        raise CorruptError(what)


# Sections 2 to 4: the container.


@dataclass(frozen=True)
class File:
    """What the container of an image says."""

    model_id: int
    tag: bytes
    width: int
    height: int
    rate: int
    step_y: int
    step_z: int
    latents: bytes


class Cursor:
    """Reads fields from the bytes in front of the checksum."""

    def __init__(self, data: bytes) -> None:
        self.data, self.place = data, 0

    def take(self, count: int) -> bytes:
        require(self.place + count <= len(self.data), "cut short")
        self.place += count
        return self.data[self.place - count : self.place]

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            if byte < 128:
                require(byte or not shift, "padded varint")
                return value
            shift += 7


def parse(data: bytes) -> File:
    """Header and latents of an image file."""
    require(data[:6] == SIGNATURE, "signature")
    require(data[6] == 1, "version")
    require(zlib.crc32(data[:-4]) == int.from_bytes(data[-4:], "little"), "checksum")
    cursor = Cursor(data[7:-4])
    packed = cursor.take(1)[0]
    step_z = packed >> 2 & 0b111
    require(packed & 0b11 == 0 and packed < 0x80 and step_z < 7, "kind")
    model_id, tag = struct.unpack("<H4s", cursor.take(6))
    width, height = cursor.varint(), cursor.varint()
    require(0 < width <= 2**20 and 0 < height <= 2**20 and width * height <= 2**28, "size")
    rate, folded = int.from_bytes(cursor.take(2), "little"), cursor.varint()
    require(folded <= 2048, "step_y")
    latents = []
    while cursor.place < len(cursor.data):
        number, length = cursor.take(1)[0], cursor.varint()
        payload = cursor.take(length)
        require(number in (1, 2) or number & 128, "unknown section")
        latents += [payload] if number == 1 else []
    require(len(latents) == 1, "latents")
    require(width * height <= 2**20 + 2**14 * len(latents[0]), "out of proportion")
    return File(model_id, tag, width, height, rate, unfold(folded), step_z, latents[0])


def unfold(folded: int) -> int:
    """Zigzag to signed."""
    return -(folded + 1) // 2 if folded % 2 else folded // 2


def load_weights(models: Path, file: File) -> Tensors:
    """Section 11: the weights that a file names, from a folder with a catalogue."""
    for entry in json.loads((models / "index.json").read_text()):
        if entry["id"] == file.model_id and bytes.fromhex(entry["sha256"])[:4] == file.tag:
            path = models / entry["file"]
            require(hashlib.sha256(path.read_bytes()).hexdigest() == entry["sha256"], "weights")
            tensors = load_file(path)
            return {k: v.astype(np.int64) for k, v in tensors.items() if v.dtype.kind == "i"}
    raise CorruptError("no such model")


# Section 9: the range coder.


class RangeDecoder:
    """Words of 32 bits, a state of 64 bits, probabilities of 24 bits."""

    def __init__(self, stream: bytes) -> None:
        stream = stream.rstrip(b"\0")
        stream += bytes(-len(stream) % 4)
        self.words = list(struct.unpack(f"<{len(stream) // 4}I", stream))
        self.taken, self.lower, self.range = 0, 0, STATE - 1
        self.point = self.word() * WORD
        self.point += self.word()

    def word(self) -> int:
        self.taken += 1
        return self.words[self.taken - 1] if self.taken <= len(self.words) else 0

    def entry(self, cumulative: list[int]) -> int:
        """The next entry under a distribution given by its n + 1 cumulative frequencies."""
        scale = self.range >> 24
        quantile = (self.point - self.lower) % STATE // scale
        require(quantile < 2**24, "not decodable")
        entry = bisect_right(cumulative, quantile) - 1
        self.lower = (self.lower + scale * cumulative[entry]) % STATE
        self.range = scale * (cumulative[entry + 1] - cumulative[entry])
        if self.range < WORD:
            self.lower = self.lower * WORD % STATE
            self.range *= WORD
            self.point = self.point * WORD % STATE + self.word()
        return entry

    def escape(self) -> int:
        """The value of an escaped symbol."""
        length = self.entry([n << 22 for n in range(5)]) + 1
        return unfold(sum(self.entry(BYTES) << 8 * place for place in range(length)))

    def check_exhausted(self) -> None:
        require(self.taken >= len(self.words), "words left over")
        require((self.point - self.lower) % STATE < 2 * WORD - 1, "data left over")


BYTES = [n << 16 for n in range(257)]


@dataclass(frozen=True)
class Tables:
    """Cumulative frequencies of every row and the symbol of its first entry."""

    cumulative: list[list[int]]
    lowest: list[int]

    @classmethod
    def of(cls, tensors: Tensors, prefix: str) -> Tables:
        starts = tensors[f"{prefix}.starts"].tolist()
        frequencies = tensors[f"{prefix}.frequencies"]
        rows = [frequencies[a:b] for a, b in pairwise(starts)]
        return cls([[0, *np.cumsum(row).tolist()] for row in rows], tensors[f"{prefix}.lowest"].tolist())


def decode_symbols(coder: RangeDecoder, tables: Tables, rows: list[int]) -> list[int]:
    """Symbols with these table rows: rows ascending, in given order within a row, then its escapes."""
    symbols = [0] * len(rows)
    order = sorted(range(len(rows)), key=rows.__getitem__)
    for row, group in groupby(order, key=rows.__getitem__):
        cumulative = tables.cumulative[row]
        escaped = []
        for place in group:
            entry = coder.entry(cumulative)
            symbols[place] = tables.lowest[row] + entry
            if entry == len(cumulative) - 2:
                escaped.append(place)
        for place in escaped:
            symbols[place] = coder.escape()
    return symbols


# Section 7: the integer network. Arrays are (channels, rows, columns).


def layer(tensors: Tensors, name: str, x: Ints) -> Ints:
    """An integer convolution: sum, bias, shift, clamp."""
    weight, bias, shift = (tensors[f"entropy.{name}.{part}"] for part in ("weight", "bias", "shift"))
    rows, columns = x.shape[1:]
    size = weight.shape[2]
    padded = np.pad(x, ((0, 0), (size // 2, size // 2), (size // 2, size // 2)))
    total = np.repeat(bias[:, None], rows * columns, axis=1)
    for a in range(size):
        for b in range(size):
            total += weight[:, :, a, b] @ padded[:, a : a + rows, b : b + columns].reshape(len(x), -1)
    return np.clip(total >> shift[:, None], -CLAMP, CLAMP).reshape(-1, rows, columns)


def activate(x: Ints) -> Ints:
    """Negative values are divided by eight, rounded down."""
    return np.where(x < 0, x >> 3, x)


def shuffle(x: Ints) -> Ints:
    """Four channels become a block of two by two positions."""
    out = np.empty((len(x) // 4, 2 * x.shape[1], 2 * x.shape[2]), np.int64)
    for a in range(2):
        for b in range(2):
            out[:, a::2, b::2] = x[2 * a + b :: 4]
    return out


def hyper_synthesis(tensors: Tensors, z_hat: Ints, height: int, width: int) -> Ints:
    """h_s: z_hat -> features of every latent position."""
    x = activate(layer(tensors, "hyper.0", z_hat))
    x = activate(shuffle(layer(tensors, "hyper.2", x)))
    x = activate(layer(tensors, "hyper.5", x))
    x = activate(shuffle(layer(tensors, "hyper.7", x)))
    return x[:, :height, :width]


def with_rate(features: Ints, rate: int) -> Ints:
    """Features and the plane that carries the rate point."""
    return np.concatenate((features, np.full_like(features[:1], rate - 4096)))


def first_output(tensors: Tensors, features: Ints, rate: int) -> Ints:
    """Means and log2 scales of the first pass, for every position."""
    return layer(tensors, "first_head", with_rate(features, rate))


def second_output(tensors: Tensors, features: Ints, rate: int, y_hat: Ints) -> Ints:
    """Means and log2 scales of the second pass, from the latents of the first."""
    reduced = activate(layer(tensors, "reduce.0", np.clip(y_hat, -CLAMP, CLAMP)))
    around = np.pad(reduced, ((0, 0), (1, 1), (1, 1)))
    up, down = around[:, :-2, 1:-1], around[:, 2:, 1:-1]
    left, right = around[:, 1:-1, :-2], around[:, 1:-1, 2:]
    merged = np.concatenate((with_rate(features, rate), up, down, left, right))
    return layer(tensors, "second_head", activate(layer(tensors, "merge.0", merged)))


# Sections 5, 6 and 8: steps, the schedule and table rows.


def log2_steps(tensors: Tensors, file: File) -> Ints:
    """log2 of the step of every channel, 1/64 octave."""
    place = min(max(file.rate - 4096, 0), 5 * 7168)
    low = min(place // 7168, 4)
    part = place - 7168 * low
    gain = tensors["gain"]
    return (gain[low] * (7168 - part) + gain[low + 1] * part) // 7168 + file.step_y


def dequantise(symbol: int, mean: int, log2_step: int, power: list[int]) -> int:
    """y_hat of one latent."""
    product, shift = symbol * power[log2_step % 64], log2_step // 64 - 8
    scaled = product << shift if shift >= 0 else (product + (1 << -shift - 1)) >> -shift
    return min(max(scaled + mean, -(2**30)), 2**30)


def checksum(symbols: list[int], start: int = 0) -> int:
    """CRC-32 of symbols as 32-bit little-endian integers."""
    return zlib.crc32(struct.pack(f"<{len(symbols)}i", *symbols), start)


def decode_z(coder: RangeDecoder, tensors: Tensors, file: File, height: int, width: int) -> Ints:
    """z_hat of a picture with this many latent rows and columns."""
    shape = (tensors["z_tables.lowest"].size // 7, -(-height // 4), -(-width // 4))
    rows = [file.step_z * shape[0] + c for c in range(shape[0]) for _ in range(shape[1] * shape[2])]
    symbols = decode_symbols(coder, Tables.of(tensors, "z_tables"), rows)
    require(checksum(symbols) & 0xFF == file.latents[0], "checksum of z")
    z_hat = np.array(symbols, np.int64).reshape(shape) * STEPS_OF_Z[file.step_z]
    return np.clip(z_hat, -CLAMP, CLAMP)


class Schedule:
    """Decodes y band by band, pass by pass."""

    def __init__(self, coder: RangeDecoder, tensors: Tensors, file: File) -> None:
        self.coder, self.tables = coder, Tables.of(tensors, "y_tables")
        self.steps, self.power = log2_steps(tensors, file), tensors["power"].tolist()
        self.checksum = 0

    def run(self, number: int, output: Ints, y_hat: Ints) -> None:
        """Decode one pass into y_hat, given the network's output for every position."""
        height, width = y_hat.shape[1:]
        for top in range(0, height, BAND):
            rows, columns = np.indices((min(BAND, height - top), width)).reshape(2, -1)
            chosen = (rows + columns) % 2 == number
            self._group(output, y_hat, top + rows[chosen], columns[chosen])

    def _group(self, output: Ints, y_hat: Ints, rows: Ints, columns: Ints) -> None:
        means, log2_scales = np.split(output[:, rows, columns], 2)
        ratio = (log2_scales >> 6) - self.steps[:, None]
        indexes = np.clip((ratio + 212) >> 3, 0, len(self.tables.lowest) - 1).reshape(-1)
        coded = np.flatnonzero(indexes)
        symbols = np.zeros(indexes.size, np.int64)
        symbols[coded] = decode_symbols(self.coder, self.tables, indexes[coded].tolist())
        self.checksum = checksum(symbols.tolist(), self.checksum)
        steps = np.repeat(self.steps, len(rows)).tolist()
        values = zip(symbols.tolist(), means.reshape(-1).tolist(), steps, strict=True)
        decoded = [dequantise(*value, self.power) for value in values]
        y_hat[:, rows, columns] = np.array(decoded, np.int64).reshape(means.shape)


def decode_y_hat(data: bytes, models: Path) -> Ints:
    """y_hat of an image file: (M, h, w) with 12 fractional bits."""
    file = parse(data)
    tensors = load_weights(models, file)
    require(len(file.latents) >= 3, "latents cut short")
    coder = RangeDecoder(file.latents[3:])
    height, width = -(-file.height // 16), -(-file.width // 16)
    z_hat = decode_z(coder, tensors, file, height, width)
    features = hyper_synthesis(tensors, z_hat, height, width)
    schedule = Schedule(coder, tensors, file)
    y_hat = np.zeros((tensors["gain"].shape[1], height, width), np.int64)
    schedule.run(0, first_output(tensors, features, file.rate), y_hat)
    schedule.run(1, second_output(tensors, features, file.rate, y_hat), y_hat)
    coder.check_exhausted()
    require(schedule.checksum & 0xFFFF == int.from_bytes(file.latents[1:3], "little"), "checksum of y")
    return y_hat
