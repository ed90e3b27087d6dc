"""Range decoder and symbol tables of the second decoder, from docs/FORMAT.md section 9."""

from __future__ import annotations

import struct
from bisect import bisect_right
from dataclasses import dataclass
from itertools import groupby, pairwise

import numpy as np
from numpy.typing import NDArray

WORD, STATE = 2**32, 2**64


class CorruptError(Exception):
    """The file is not one that this format allows."""


def require(condition: object, what: str) -> None:
    """Raise CorruptError unless the condition holds."""
    if not condition:
        raise CorruptError(what)


def unfold(folded: int) -> int:
    """Zigzag to signed."""
    return -(folded + 1) // 2 if folded % 2 else folded // 2


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
    def of(cls, tensors: dict[str, NDArray[np.int64]], prefix: str) -> Tables:
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
