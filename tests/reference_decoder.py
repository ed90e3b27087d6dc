"""A second decoder, written from docs/FORMAT.md: image files -> y_hat, slowly and independently.

Needs numpy and safetensors only and shares no code with nccli, so that the two agree only where
the document says enough. Section numbers in comments are those of FORMAT.md.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from tests.reference_coder import CorruptError, RangeDecoder, Tables, decode_symbols, require, unfold

Ints = NDArray[np.int64]
Tensors = dict[str, Ints]
"""Integer tensors of a weights file under their names in section 11."""

SIGNATURE = b"\x8eNCC\r\n"
CLAMP = 2**21
STEPS_OF_Z = (1448, 2048, 2896, 4096, 5793, 8192, 11585)


# Sections 2 to 4: the container.


@dataclass(frozen=True)
class Colour:
    """Section 3.3: numbers of each item, None for items that are not there."""

    points: list[int] | None
    gamma: list[int] | None
    chromaticities: list[int] | None


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
    roi: bytes | None
    details: bytes | None
    colour: Colour | None


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
    require(data[6] == 2, "version")
    require(zlib.crc32(data[:-4]) == int.from_bytes(data[-4:], "little"), "checksum")
    cursor = Cursor(data[7:-4])
    packed = cursor.take(1)[0]
    step_z = packed >> 2 & 0b111
    require(packed & 0b11 == 0 and packed < 0x80 and step_z < 7, "kind")
    model_id, tag = struct.unpack("<H4s", cursor.take(6))
    width, height = cursor.varint(), cursor.varint()
    require(0 < width <= 2**16 and 0 < height <= 2**16 and width * height <= 2**28, "size")
    rate, folded = int.from_bytes(cursor.take(2), "little"), cursor.varint()
    require(folded <= 2048, "step_y")
    latents, roi, details, colour = list[bytes](), list[bytes](), list[bytes](), list[bytes]()
    while cursor.place < len(cursor.data):
        number, length = cursor.take(1)[0], cursor.varint()
        payload = cursor.take(length)
        require(number in (1, 2, 3) or number & 128, "unknown section")
        latents += [payload] if number == 1 else []
        roi += [payload] if number == 3 else []
        colour += [payload] if number == 0x84 else []
        details += [payload] if number == 0x85 else []
    require(len(latents) == 1 and max(len(roi), len(colour), len(details)) <= 1, "sections that occur twice")
    require(max(width, 64) * max(height, 64) <= 2**20 + 2**14 * len(latents[0]), "out of proportion")
    region, meaning = roi[0] if roi else None, read_colour(colour[0]) if colour else None
    rest = details[0] if details else None
    return File(model_id, tag, width, height, rate, unfold(folded), step_z, latents[0], region, rest, meaning)


def read_colour(payload: bytes) -> Colour:
    """Section 3.3."""
    cursor, items = Cursor(payload), dict[int, list[int]]()
    while cursor.place < len(payload):
        kind = cursor.take(1)[0]
        require(max(items, default=0) < kind <= 3, "colour")
        count, size = {1: (3, 1), 2: (1, 4), 3: (8, 4)}[kind]
        items[kind] = [int.from_bytes(cursor.take(size), "little") for _ in range(count)]
    require(bool(items) and items.get(1, [0])[-1] <= 1, "colour")
    return Colour(items.get(1), items.get(2), items.get(3))


def load_weights(models: Path, file: File) -> Tensors:
    """Section 11: the weights that a file names, from a folder with a catalogue."""
    for entry in json.loads((models / "index.json").read_text()):
        if entry["id"] == file.model_id and bytes.fromhex(entry["sha256"])[:4] == file.tag:
            path = models / entry["file"]
            require(hashlib.sha256(path.read_bytes()).hexdigest() == entry["sha256"], "weights")
            tensors = load_file(path)
            return {k: v.astype(np.int64) for k, v in tensors.items() if v.dtype.kind == "i"}
    raise CorruptError("no such model")


# Section 3.2: the region of interest.


def decode_levels(coder: RangeDecoder, top: int, rows: int, columns: int) -> Ints:
    """Levels of all cells."""
    counts = [[1 + (6 - n) ** 2, 1 + n**2] for n in (context.bit_count() for context in range(64))]
    levels = np.zeros((rows + 2, columns + 4), np.int64)
    for i, j in np.ndindex(rows, columns):
        row, column = i + 2, j + 2
        near = (
            levels[row, column - 1],
            levels[row - 1, column],
            levels[row - 1, column - 1],
            levels[row - 1, column + 1],
            levels[row, column - 2],
            levels[row - 2, column],
        )
        for reached in range(top):
            pair = counts[sum(int(level > reached) << n for n, level in enumerate(near))]
            likely = min(max((pair[1] << 24) // sum(pair), 1), 2**24 - 1)
            answer = coder.entry([0, 2**24 - likely, 2**24])
            pair[answer] += 8
            if sum(pair) >= 1024:
                pair[:] = [(count + 1) // 2 for count in pair]
            if not answer:
                break
            levels[row, column] += 1
    return levels[2:, 2:-2]


def drops(payload: bytes, height: int, width: int) -> Ints:
    """Rate points below the picture's at every latent position."""
    cursor = Cursor(payload)
    packed, cell = cursor.take(2)
    top, feather, drop = packed & 15, packed >> 4, cursor.varint()
    require(top and feather < 8 and cell < 8 and 0 < drop <= 1024, "roi")
    rows, columns = -(-height >> cell), -(-width >> cell)
    require(rows * columns * top <= 2**16, "roi cells")
    coder = RangeDecoder(payload[cursor.place :])
    levels = decode_levels(coder, top, rows, columns)
    coder.check_exhausted()
    i, j = np.indices((height, width)) >> cell
    sharp = soft = levels[i, j] * 255 // top
    for _ in range(feather):
        around = np.pad(soft, 1, mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(around, (3, 3))
        soft = np.maximum(sharp, windows.sum((2, 3)) // 9)
    return (255 - soft) * drop * 64 // 255


# Section 7: the integer network. Arrays are (channels, rows, columns).


def layer(tensors: Tensors, name: str, x: Ints, limit: int = CLAMP) -> Ints:
    """An integer convolution: sum, bias, shift, clamp."""
    weight, bias, shift = (tensors[f"entropy.{name}.{part}"] for part in ("weight", "bias", "shift"))
    rows, columns = x.shape[1:]
    size = weight.shape[2]
    padded = np.pad(x, ((0, 0), (size // 2, size // 2), (size // 2, size // 2)))
    total = np.repeat(bias[:, None], rows * columns, axis=1)
    for a in range(size):
        for b in range(size):
            total += weight[:, :, a, b] @ padded[:, a : a + rows, b : b + columns].reshape(len(x), -1)
    return np.clip(total >> shift[:, None], -limit, limit).reshape(-1, rows, columns)


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


def with_rate(features: Ints, rate: Ints) -> Ints:
    """Features and the plane that carries the rate points."""
    return np.concatenate((features, rate[None] - 4096))


def first_output(tensors: Tensors, features: Ints, rate: Ints) -> Ints:
    """Means and log2 scales of the first pass, for every position."""
    return layer(tensors, "first_head", with_rate(features, rate))


def second_output(tensors: Tensors, features: Ints, rate: Ints, y_hat: Ints) -> Ints:
    """Means and log2 scales of the second pass, from the latents of the first."""
    reduced = activate(layer(tensors, "reduce.0", np.clip(y_hat, -CLAMP, CLAMP)))
    around = np.pad(reduced, ((0, 0), (1, 1), (1, 1)))
    up, down = around[:, :-2, 1:-1], around[:, 2:, 1:-1]
    left, right = around[:, 1:-1, :-2], around[:, 1:-1, 2:]
    merged = np.concatenate((with_rate(features, rate), up, down, left, right))
    return layer(tensors, "second_head", activate(layer(tensors, "merge.0", merged)))


# Sections 5, 6 and 8: steps, the schedule and table rows.


def local_rates(file: File, height: int, width: int) -> tuple[Ints, Ints]:
    """Rate point of every position, and by how much of 1/64 octave its steps are coarser still."""
    wanted = np.full((height, width), file.rate)
    if file.roi is not None:
        wanted = wanted - drops(file.roi, height, width)
    local = np.maximum(wanted, min(file.rate, 4096))
    return local, (local - wanted) // 128


def log2_steps(gain: Ints, file: File, rate: int) -> Ints:
    """log2 of the step of every channel at a rate point, 1/64 octave."""
    place = min(max(rate - 4096, 0), 5 * 7168)
    low = min(place // 7168, 4)
    part = place - 7168 * low
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

    def __init__(self, coder: RangeDecoder, tensors: Tensors, file: File, local: Ints, beyond: Ints) -> None:
        self.coder, self.tables = coder, Tables.of(tensors, "y_tables")
        self.power, self.checksum = tensors["power"].tolist(), 0
        steps = {rate: log2_steps(tensors["gain"], file, rate) for rate in set(local.reshape(-1).tolist())}
        self.steps = np.array([[steps[rate] for rate in row] for row in local.tolist()]) + beyond[..., None]

    def run(self, number: int, output: Ints, y_hat: Ints) -> None:
        """Decode one pass into y_hat, given the network's output for every position."""
        height, width = y_hat.shape[1:]
        band = min(max(2**16 // width // 4 * 4, 4), 64)
        for top in range(0, height, band):
            rows, columns = np.indices((min(band, height - top), width)).reshape(2, -1)
            chosen = (rows + columns) % 2 == number
            self.group(output, y_hat, top + rows[chosen], columns[chosen])

    def group(self, output: Ints, y_hat: Ints, rows: Ints, columns: Ints) -> None:
        """Decode some positions of one band."""
        means, log2_scales = np.split(output[:, rows, columns], 2)
        steps = self.steps[rows, columns].T
        ratio = (log2_scales >> 6) - steps
        indexes = np.clip((ratio + 212) >> 3, 0, len(self.tables.lowest) - 1).reshape(-1)
        coded = np.flatnonzero(indexes)
        symbols = np.zeros(indexes.size, np.int64)
        symbols[coded] = decode_symbols(self.coder, self.tables, indexes[coded].tolist())
        self.checksum = checksum(symbols.tolist(), self.checksum)
        values = zip(symbols.tolist(), means.reshape(-1).tolist(), steps.reshape(-1).tolist(), strict=True)
        decoded = [dequantise(*value, self.power) for value in values]
        y_hat[:, rows, columns] = np.array(decoded, np.int64).reshape(means.shape)


def decode_details(
    tensors: Tensors, file: File, payload: bytes, features: Ints, local: Ints, beyond: Ints, y_hat: Ints
) -> Ints:
    """Section 3.4: symbols of the details, (K, h, w)."""
    cursor = Cursor(payload)
    units, folded = cursor.take(1)[0], cursor.varint()
    require(y_hat[0].size <= 2**16 and 1 <= units <= 48 and folded <= 2048, "details")
    expected = int.from_bytes(cursor.take(2), "little")
    coder, tables = RangeDecoder(payload[cursor.place :]), Tables.of(tensors, "y_tables")
    known = activate(layer(tensors, "detail_reduce.0", np.clip(y_hat, -CLAMP, CLAMP)))
    merged = np.concatenate((with_rate(features, local), known))
    scales = layer(tensors, "detail_head", activate(layer(tensors, "detail_merge.0", merged)))[: 16 * units]
    gain = tensors["detail_gain"][:, None]
    steps = {rate: int(log2_steps(gain, file, rate)[0]) for rate in set(local.reshape(-1).tolist())}
    log2 = np.array([[steps[rate] for rate in row] for row in local.tolist()]) + beyond + unfold(folded)
    rows = np.clip(((scales >> 6) - log2 + 212) >> 3, 0, len(tables.lowest) - 1)
    symbols, found, width = np.zeros(scales.shape, np.int64), 0, scales.shape[2]
    band = min(max(2**16 // width // 4 * 4, 4), 64)
    for top in range(0, scales.shape[1], band):
        part = rows[:, top : top + band]
        values = np.zeros(part.size, np.int64)
        coded = np.flatnonzero(part)
        values[coded] = decode_symbols(coder, tables, part.reshape(-1)[coded].tolist())
        require(np.abs(values).max() <= 32767, "a detail out of range")
        found = zlib.crc32(values.astype("<i2").tobytes(), found)
        symbols[:, top : top + band] = values.reshape(part.shape)
    coder.check_exhausted()
    require(found & 0xFFFF == expected, "checksum of the details")
    return symbols


def decode_y_hat(data: bytes, models: Path) -> Ints:
    """y_hat of an image file: (M, h, w) with 12 fractional bits."""
    return decode_image(data, models)[0]


def decode_image(data: bytes, models: Path) -> tuple[Ints, Ints | None]:
    """y_hat and the symbols of the details, if there are any, of an image file."""
    file = parse(data)
    tensors = load_weights(models, file)
    require(len(file.latents) >= 3, "latents cut short")
    coder = RangeDecoder(file.latents[3:])
    height, width = -(-file.height // 16), -(-file.width // 16)
    z_hat = decode_z(coder, tensors, file, height, width)
    features = hyper_synthesis(tensors, z_hat, height, width)
    local, beyond = local_rates(file, height, width)
    schedule = Schedule(coder, tensors, file, local, beyond)
    y_hat = np.zeros((tensors["gain"].shape[1], height, width), np.int64)
    schedule.run(0, first_output(tensors, features, local), y_hat)
    schedule.run(1, second_output(tensors, features, local, y_hat), y_hat)
    coder.check_exhausted()
    require(schedule.checksum & 0xFFFF == int.from_bytes(file.latents[1:3], "little"), "checksum of y")
    if file.details is None:
        return y_hat, None
    return y_hat, decode_details(tensors, file, file.details, features, local, beyond, y_hat)
