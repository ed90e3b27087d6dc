"""Meeting a size or a PSNR: trials along the rate axis, each of which tells where the next belongs.

What photographs usually need decides only where a search begins. After that it goes by the picture's
own table rows and the model's own tables, so it works alike for any weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nccli.coding.bracket import Bracket, least
from nccli.coding.schedule import Group
from nccli.coding.sender import CostCounter, Encoder, Latents, Sender, Stream
from nccli.entropy.coder import TOTAL, WORD_BYTES, IntArray, SymbolEncoder, Tables
from nccli.entropy.grid import LATENT_STRIDE
from nccli.entropy.rate import RATE_MIN, RATE_UNIT
from nccli.entropy.setting import Setting
from nccli.entropy.steps import ROWS_PER_OCTAVE, STEP_UNIT, interpolate_anchors
from nccli.errors import UsageError
from nccli.networks.entropy_model import EntropyModel

ACCEPT, AIM = 0.991, 0.9955
"""Fractions of a size target: what ends the search, and what each trial aims at."""

MAX_TRIALS = 40
BISECT_FROM = 8
"""After this many trials a search halves the interval: certain, if slow."""

START_POINT, START_SLOPE, START_ROUNDS = 20000, 7000, 4
"""Where the estimate of the first trial begins, rate points per octave of bits, and its iterations."""

ESTIMATE_GAIN, ESTIMATE_POWER = 32, 1.16
"""Bits per pixel are about (sum of log2(1 + GAIN (y / step)^2) / 2)^POWER: off by 6 % on average over
twenty photographs at 0.1 to 1.5 bpp."""

START_DB = 1.25 / RATE_UNIT
"""How PSNR rises with a rate point, as far as the second trial goes."""

TINY = 1e-6

LEAST_JUMP = 0.02
"""Smaller changes of log(bits) than this teach nothing: a file has whole words."""

PSNR_SLACK = 0.01
"""dB above a target that end the search."""

PSNR_POINTS = RATE_UNIT // 64
"""Rate points that make no difference worth a trial."""


@dataclass(frozen=True)
class Axis:
    """The rate axis of a search.

    Attributes:
        at: the setting at a point.
        low: lowest point.
        high: highest point.
    """

    at: Callable[[int], Setting]
    low: int
    high: int


class Surveyor(Sender):
    """A sender that notes how many symbols of each channel had which table row, and the cost of z."""

    def __init__(
        self, weights: EntropyModel, latents: Latents, setting: Setting, coder: SymbolEncoder
    ) -> None:
        super().__init__(weights, latents, setting, coder)
        self._rows = weights.y_tables.rows
        self._first = np.arange(weights.network.channels)[:, None] * self._rows
        self._counts = np.zeros(self._first.size * self._rows, np.int64)
        self.hyper_bits = 0.0

    @property
    def counts(self) -> IntArray:
        """Symbols by channel and table row, (channels, rows)."""
        return self._counts.reshape(-1, self._rows)

    def hyper(self, tables: Tables, indexes: IntArray) -> IntArray:
        symbols = super().hyper(tables, indexes)
        counter = CostCounter()
        counter.code(tables, indexes, symbols)
        self.hyper_bits = counter.bits
        return symbols

    def latents(self, group: Group) -> IntArray:
        rows = (self._first[slice(*group.visit.channels)] + group.indexes).reshape(-1)
        self._counts += np.bincount(rows, minlength=len(self._counts))
        return super().latents(group)


class Forecast:
    """Expected bits of a picture's symbols at any setting, from the table rows they have at one.

    Finer steps move the symbols of a channel to rows of scales that are larger by as much. The means and
    scales become more exact too, which is left out.
    """

    def __init__(self, weights: EntropyModel, setting: Setting, surveyor: Surveyor) -> None:
        self._weights, self._setting, self._hyper_bits = weights, setting, surveyor.hyper_bits
        counts = surveyor.counts
        self._channels, self._rows = np.nonzero(counts)
        self._counts = counts[self._channels, self._rows]
        tables = weights.y_tables
        share = tables.frequencies / TOTAL * tables.costs
        self._row_bits: NDArray[np.float64] = np.add.reduceat(share, tables.starts[:-1])
        self._row_bits[0] = 0  # symbols of row 0 are not sent

    def bits(self, setting: Setting) -> float:
        """Expected bits of the whole picture."""
        finer = _log2_steps(self._weights, self._setting) - _log2_steps(self._weights, setting)
        rows = self._rows + finer[self._channels] * (ROWS_PER_OCTAVE / STEP_UNIT)
        each = np.interp(rows, np.arange(len(self._row_bits)), self._row_bits)
        return self._hyper_bits + float(each @ self._counts)


def _log2_steps(weights: EntropyModel, setting: Setting) -> NDArray[np.int64]:
    """Of every channel, regions aside, in 1/64 octave."""
    return interpolate_anchors(weights.gain, setting.rate) + setting.step_y


@dataclass(frozen=True)
class Trial:
    """A coded picture, the size of its file, and what it tells of other settings."""

    stream: Stream
    bytes: int
    forecast: Forecast

    @property
    def payload(self) -> int:
        """Bytes that depend on the rate."""
        return len(self.stream.payload)

    def solve(self, wanted: float, stretch: float, axis: Axis, low: int, high: int) -> int:
        """The highest point strictly between low and high that should make `wanted` bytes at most.

        Args:
            wanted: bytes of the file.
            stretch: by how much payloads were found to change more than forecasts, as a power.
            axis: of the search.
            low: a point below.
            high: a point above.
        """
        room = max(wanted - (self.bytes - self.payload), 0) / self.payload
        bits = self.forecast.bits(self.stream.setting) * room ** (1 / stretch)
        bottom = low + 1
        while high - bottom > 1:
            middle = (bottom + high) // 2
            if self.forecast.bits(axis.at(middle)) <= bits:
                bottom = middle
            else:
                high = middle
        return bottom


def fit_size(encoder: Encoder, axis: Axis, size: int, file_size: Callable[[Stream], int]) -> Stream:
    """The highest rate whose file is at most `size` bytes.

    Trials are coded for real: that takes hardly longer than pricing them, and a limit is a limit.

    Raises:
        UsageError: nothing fits.
    """
    low, high = axis.low, axis.high
    point = _first_point(encoder, axis, size)
    best: Trial | None = None
    last: Trial | None = None
    above = math.inf
    for number in range(MAX_TRIALS):
        trial = _try(encoder, axis.at(point), file_size)
        if trial.bytes <= size:
            low, best = point, trial
        else:
            high, above = point, trial.bytes
        if high - low <= 1 or (best and (best.bytes >= ACCEPT * size or above - best.bytes <= WORD_BYTES)):
            break
        ahead = trial.solve(size * AIM, _stretch(last, trial), axis, low, high)
        point = ahead if number < BISECT_FROM else (low + high) // 2
        last = trial
    # Below the served rates the header has one more field, so that a tiny file is smallest at the end of these.
    best = best or _try(encoder, axis.at(RATE_MIN), file_size)
    if best.bytes > size:
        raise UsageError(f"{size} bytes are too few for this picture, even at the lowest quality")
    return best.stream


def _stretch(last: Trial | None, now: Trial) -> float:
    """How much faster the payload changed from one trial to the next than the forecast said."""
    if last is None:
        return 1.0
    forecast = math.log(now.forecast.bits(last.stream.setting) / now.forecast.bits(now.stream.setting))
    real = math.log(last.payload / now.payload)
    return min(max(real / forecast, 0.5), 2.0) if abs(forecast) > LEAST_JUMP else 1.0


def _first_point(encoder: Encoder, axis: Axis, size: int) -> int:
    """Where the file should have about `size` bytes, regions aside, by a quarter of the latents."""
    whole = encoder.analysed(axis.at(START_POINT)).y
    y = whole[:, ::2, ::2].reshape(len(whole), -1).astype(np.float64)
    squared = np.square(y - y.mean(1, keepdims=True)) * ESTIMATE_GAIN
    wanted = max(size, 1) * 8 / (whole[0].size * LATENT_STRIDE**2)
    point = START_POINT
    for _ in range(START_ROUNDS):
        log2 = _log2_steps(encoder.weights, axis.at(point)) / STEP_UNIT
        bits = float(np.log1p(squared * np.exp2(-2 * log2)[:, None]).sum()) / (2 * math.log(2))
        found = max(bits / (y.shape[1] * LATENT_STRIDE**2), TINY) ** ESTIMATE_POWER
        ahead = point + START_SLOPE * math.log2(wanted / found)
        point = round(min(max(ahead, axis.low), axis.high))
    return point


def _try(encoder: Encoder, setting: Setting, file_size: Callable[[Stream], int]) -> Trial:
    coder = SymbolEncoder()
    surveyor = Surveyor(encoder.weights, encoder.analysed(setting), setting, coder)
    stream = encoder.transmit(setting, surveyor, coder)
    return Trial(stream, file_size(stream), Forecast(encoder.weights, setting, surveyor))


def reach_psnr(encoder: Encoder, axis: Axis, wanted: float, render: Callable[[Stream], float]) -> Stream:
    """The lowest rate whose decoded picture, as `render` finds, has at least `wanted` dB.

    Raises:
        UsageError: no rate has.
    """
    line = Bracket(
        axis.low, axis.high + 1, START_POINT, START_DB, PSNR_SLACK, PSNR_POINTS, MAX_TRIALS, BISECT_FROM
    )
    coded = None
    if not math.isnan(wanted):
        coded = least(line, wanted, lambda point: encoder.send(axis.at(point)), render)
    if coded is None:
        raise UsageError(f"{wanted:g} dB are out of this model's reach for this picture")
    return coded
