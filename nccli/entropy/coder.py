"""The entropy coder seam: integer symbols and table rows <-> bytes.

The only module that knows constriction. Tables are integer frequencies that sum to 2^24, and
are handed over so that constriction codes with exactly those. Source: docs/FORMAT.md section 9.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import constriction
import numpy as np
from numpy.typing import NDArray

from nccli.errors import FormatError

PRECISION = 24
TOTAL = 1 << PRECISION
WORD_BYTES = 4
ESCAPE_BITS = 10
"""The least that an escape can cost: no valid stream holds more escapes than fit."""

ESCAPE_LIMITS = (2**8, 2**16, 2**24)
"""Zigzag values from which an escape takes another byte."""

IntArray = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Tables:
    """Integer frequency tables, one row per distribution; the last entry of a row is its escape.

    Attributes:
        frequencies: all rows end to end, int32, each row at least 2 entries >= 1 summing to 2^24.
        starts: (rows + 1,) where each row begins.
        lowest: (rows,) the symbol of a row's first entry.
    """

    frequencies: IntArray
    starts: IntArray
    lowest: IntArray

    def row(self, index: int) -> IntArray:
        """Frequencies of one row, escape last."""
        return self.frequencies[self.starts[index] : self.starts[index + 1]]

    @property
    def rows(self) -> int:
        return len(self.lowest)

    @cached_property
    def models(self) -> list[Any]:
        """constriction's model of each row.

        Its constructor adds one to every entry after scaling the rest to 2^24 - n; handing over
        frequency - 1 makes that scale exactly one.
        """
        return [_model(self.row(i)) for i in range(self.rows)]

    @cached_property
    def costs(self) -> NDArray[np.float32]:
        """Bits of every entry, aligned with `frequencies`."""
        return (PRECISION - np.log2(self.frequencies)).astype(np.float32)

    def check(self) -> None:
        """Raise ValueError unless every row is a valid distribution."""
        if (
            len(self.starts) != self.rows + 1
            or self.starts[0] != 0
            or self.starts[-1] != len(self.frequencies)
        ):
            raise ValueError("table rows do not tile the frequencies")
        if (np.diff(self.starts) < 2).any() or (self.frequencies < 1).any():
            raise ValueError("a table row is too short or has an impossible entry")
        if (np.add.reduceat(self.frequencies.astype(np.int64), self.starts[:-1]) != TOTAL).any():
            raise ValueError("a table row does not sum to 2^24")


def symbol_bits(tables: Tables, indexes: IntArray, symbols: IntArray) -> NDArray[np.float64]:
    """Bits that each symbol (n,) costs with its table row (n,), escapes included."""
    start = tables.starts[indexes].astype(np.int64)
    escape = tables.starts[indexes.astype(np.int64) + 1] - 1
    place = start + (symbols.astype(np.int64) - tables.lowest[indexes])
    outside = (place < start) | (place >= escape)
    bits: NDArray[np.float64] = tables.costs[np.where(outside, escape, place)].astype(np.float64)
    values = symbols[outside].astype(np.int64)
    folded = np.where(values < 0, -2 * values - 1, 2 * values)
    bits[outside] += 2 + 8 * (1 + np.searchsorted(ESCAPE_LIMITS, folded, side="right"))
    return bits


def _model(frequencies: IntArray) -> Any:
    return constriction.stream.model.Categorical((frequencies - 1).astype(np.float64), perfect=False)


_LENGTH = _model(np.full(4, TOTAL // 4))
_BYTE = _model(np.full(256, TOTAL // 256))


class SymbolCoder(Protocol):
    """One direction of the coder: the schedule calls it without knowing which."""

    def code(self, tables: Tables, indexes: IntArray, symbols: IntArray) -> IntArray:
        """Code one group: symbols (n,) with table rows (n,); returns the symbols. Decoders ignore `symbols`."""


def _segments(indexes: IntArray, rows: int) -> tuple[IntArray, list[tuple[int, int, int]]]:
    """Stable order by table row, and (row, start, end) of each row that occurs."""
    order = np.argsort(indexes, kind="stable")
    counts = np.bincount(indexes, minlength=rows)
    ends = np.cumsum(counts)
    present = np.flatnonzero(counts)
    return order, [(int(r), int(ends[r] - counts[r]), int(ends[r])) for r in present]


class _EncoderStream:
    """The range coder and the bytes it makes."""

    def __init__(self) -> None:
        self._encoder = constriction.stream.queue.RangeEncoder()

    def encode(self, entries: NDArray[np.int32], model: Any) -> None:
        self._encoder.encode(entries, model)

    def finish(self) -> bytes:
        """The stream so far, without trailing zero bytes, which a decoder assumes."""
        return bytes(self._encoder.get_compressed().astype("<u4").tobytes().rstrip(b"\0"))


class _DecoderStream:
    """The range decoder over bytes from anywhere."""

    def __init__(self, stream: bytes) -> None:
        stream = stream.rstrip(b"\0")
        stream += bytes(-len(stream) % WORD_BYTES)
        self._decoder = constriction.stream.queue.RangeDecoder(np.frombuffer(stream, "<u4").astype(np.uint32))

    def decode(self, model: Any, count: int) -> NDArray[np.int32]:
        """Everything that the library may raise on bad data becomes a FormatError."""
        try:
            return np.asarray(self._decoder.decode(model, count), np.int32)
        except (ValueError, AssertionError) as error:
            raise FormatError("a range-coded stream is not decodable") from error
        except BaseException as error:
            if type(error).__name__ == "PanicException":
                raise FormatError("a range-coded stream is not decodable") from error
            raise

    def finish(self) -> None:
        """Check that the stream is used up."""
        if not self._decoder.maybe_exhausted():
            raise FormatError("a range-coded stream", found="data after the last symbol")


class SymbolEncoder:
    """Encodes groups of symbols into one range-coded stream."""

    def __init__(self) -> None:
        self._stream = _EncoderStream()

    def code(self, tables: Tables, indexes: IntArray, symbols: IntArray) -> IntArray:
        order, segments = _segments(indexes, tables.rows)
        ordered = symbols[order]
        for row, start, end in segments:
            escape = int(tables.starts[row + 1] - tables.starts[row]) - 1
            values = ordered[start:end].astype(np.int64) - int(tables.lowest[row])
            outside = (values < 0) | (values >= escape)
            entries = np.where(outside, escape, values).astype(np.int32)
            self._stream.encode(entries, tables.models[row])
            if outside.any():
                self._escapes(ordered[start:end][outside])
        return symbols

    def _escapes(self, values: IntArray) -> None:
        """Each value as zigzag: the number of bytes less one, then the bytes, low byte first."""
        for value in values.astype(np.int64).tolist():
            folded = 2 * value if value >= 0 else -2 * value - 1
            length = max((folded.bit_length() + 7) // 8, 1)
            if length > 4:
                raise ValueError(f"symbol {value} does not fit 32 bits")
            data = np.frombuffer(folded.to_bytes(length, "little"), np.uint8)
            self._stream.encode(np.array([length - 1], np.int32), _LENGTH)
            self._stream.encode(data.astype(np.int32), _BYTE)

    def finish(self) -> bytes:
        """The stream so far."""
        return self._stream.finish()


class BitEncoder:
    """Encodes single decisions whose probability changes from one to the next."""

    def __init__(self) -> None:
        self._stream = _EncoderStream()

    def code(self, frequency: int, bit: bool) -> bool:
        """Encode one decision; `frequency`, of 2^24, is how likely it is to be true."""
        self._stream.encode(np.array([bit], np.int32), _decision(frequency))
        return bit

    def finish(self) -> bytes:
        """The stream so far."""
        return self._stream.finish()


class BitDecoder:
    """Decodes what `BitEncoder` wrote, given the same frequencies.

    Raises:
        FormatError: the stream is not one that the encoder could have written.
    """

    def __init__(self, stream: bytes) -> None:
        self._stream = _DecoderStream(stream)

    def code(self, frequency: int, bit: bool) -> bool:
        """Decode one decision; `bit` is ignored."""
        return bool(self._stream.decode(_decision(frequency), 1)[0])

    def finish(self) -> None:
        """Check that the stream is used up."""
        self._stream.finish()


def _decision(frequency: int) -> Any:
    return _model(np.array([TOTAL - frequency, frequency]))


class SymbolDecoder:
    """Decodes what `SymbolEncoder` wrote, given the same tables and indexes.

    Raises:
        FormatError: the stream is not one that the encoder could have written.
    """

    def __init__(self, stream: bytes) -> None:
        self._stream = _DecoderStream(stream)
        self._escapes_left = len(stream) * 8 // ESCAPE_BITS + 1

    def code(self, tables: Tables, indexes: IntArray, symbols: IntArray) -> IntArray:
        order, segments = _segments(indexes, tables.rows)
        ordered = np.zeros(len(indexes), np.int32)
        for row, start, end in segments:
            escape = int(tables.starts[row + 1] - tables.starts[row]) - 1
            entries = self._stream.decode(tables.models[row], end - start)
            values = entries + np.int32(tables.lowest[row])
            outside = np.flatnonzero(entries == escape)
            if len(outside):
                values[outside] = self._escapes(len(outside))
            ordered[start:end] = values
        decoded = np.empty_like(ordered)
        decoded[order] = ordered
        return decoded

    def _escapes(self, count: int) -> list[int]:
        self._escapes_left -= count
        if self._escapes_left < 0:
            raise FormatError("latents", found="more escapes than the stream can hold")
        values = []
        for _ in range(count):
            length = int(self._stream.decode(_LENGTH, 1)[0]) + 1
            data = self._stream.decode(_BYTE, length).astype(np.uint8).tobytes()
            folded = int.from_bytes(data, "little")
            values.append(folded >> 1 if folded % 2 == 0 else -(folded + 1 >> 1))
        return values

    def finish(self) -> None:
        """Check that the stream is used up."""
        self._stream.finish()
