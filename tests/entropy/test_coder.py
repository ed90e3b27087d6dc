from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from nccli.coding.sender import FLUSH_BYTES, CostCounter
from nccli.entropy.coder import TOTAL, WORD_BYTES, SymbolDecoder, SymbolEncoder, Tables
from nccli.errors import FormatError
from nccli.networks.weights import ImageWeights

INT32 = np.iinfo(np.int32)
GOLDEN = "fffbffff82ff08fe01807ffff9f47f057c26c48fffaf765bff1f0b130004f0ff"


@pytest.fixture(scope="module")
def tables(weights: ImageWeights) -> Tables:
    """The rows of y, from nearly certain to 2^8 wide."""
    return weights.y_tables


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def draw(rng: np.random.Generator, tables: Tables, indexes: NDArray[np.int64]) -> NDArray[np.int32]:
    """Symbols as probable as the tables say; never the escape."""
    symbols = np.zeros(len(indexes), np.int32)
    for row in np.unique(indexes):
        mass = tables.row(int(row))[:-1].astype(np.float64)
        chosen = indexes == row
        symbols[chosen] = rng.choice(len(mass), chosen.sum(), p=mass / mass.sum()) + tables.lowest[row]
    return symbols


def information(tables: Tables, indexes: NDArray[np.int64], symbols: NDArray[np.int32]) -> float:
    """Bits, from the frequencies alone."""
    frequencies = tables.frequencies[tables.starts[indexes] + symbols - tables.lowest[indexes]]
    return float(-np.log2(frequencies / TOTAL).sum())


def encode(tables: Tables, indexes: NDArray[np.int64], symbols: NDArray[np.int32]) -> bytes:
    encoder = SymbolEncoder()
    encoder.code(tables, indexes, symbols)
    return encoder.finish()


def decode(tables: Tables, indexes: NDArray[np.int64], stream: bytes) -> NDArray[np.int32]:
    decoder = SymbolDecoder(stream)
    symbols = decoder.code(tables, indexes, np.zeros(len(indexes), np.int32))
    decoder.finish()
    return symbols


def test_golden_stream() -> None:
    rows = [[TOTAL - 3, 2, 1], [1, 2, 3, 4, TOTAL - 12, 2], [1 << 12] * 4095 + [1 << 12]]
    tables = Tables(
        np.concatenate(rows).astype(np.int32),
        np.array([0, 3, 9, 9 + 4096], np.int32),
        np.array([0, -4, -2048], np.int32),
    )
    tables.check()
    indexes = np.array([0, 1, 2, 2, 1, 0, 1, 2, 0, 2])
    symbols = np.array([0, 0, -2048, 2046, -4, 1, -100000, INT32.min, INT32.max, 77]).astype(np.int32)
    assert encode(tables, indexes, symbols).hex() == GOLDEN
    assert np.array_equal(decode(tables, indexes, bytes.fromhex(GOLDEN)), symbols)


@pytest.mark.parametrize("count", [0, 1, 2, 10, 1000, 200_000])
def test_symbols_come_back(tables: Tables, rng: np.random.Generator, count: int) -> None:
    indexes = rng.integers(0, tables.rows, count)
    symbols = draw(rng, tables, indexes)
    stream = encode(tables, indexes, symbols)
    assert np.array_equal(decode(tables, indexes, stream), symbols)
    assert len(stream) <= 1.005 * information(tables, indexes, symbols) / 8 + 8


@pytest.mark.parametrize("row", [0, 1, 13, 26, 50, 90])
def test_size_is_the_information_content(tables: Tables, rng: np.random.Generator, row: int) -> None:
    indexes = np.full(50_000, row)
    symbols = draw(rng, tables, indexes)
    content = information(tables, indexes, symbols) / 8
    assert 0.995 * content - 8 <= len(encode(tables, indexes, symbols)) <= 1.005 * content + 8


def test_groups_share_one_stream(weights: ImageWeights, rng: np.random.Generator) -> None:
    groups = []
    for tables in (weights.z_tables, weights.y_tables, weights.y_tables, weights.z_tables):
        indexes = rng.integers(0, tables.rows, int(rng.integers(0, 2000)))
        groups.append((tables, indexes, draw(rng, tables, indexes)))
    encoder = SymbolEncoder()
    for group in groups:
        encoder.code(*group)
    decoder = SymbolDecoder(encoder.finish())
    for tables, indexes, symbols in groups:
        assert np.array_equal(decoder.code(tables, indexes, indexes), symbols)
    decoder.finish()


@pytest.mark.parametrize("row", [0, 13, 90])
def test_escapes(tables: Tables, rng: np.random.Generator, row: int) -> None:
    edges = [127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**23, 2**24, 100_000, INT32.max]
    symbols = np.array([*edges, *(-e for e in edges), INT32.min, 0, 1, -1], np.int64).astype(np.int32)
    symbols = np.concatenate([symbols, rng.integers(-100_000, 100_001, 500).astype(np.int32)])
    indexes = np.full(len(symbols), row)
    assert np.array_equal(decode(tables, indexes, encode(tables, indexes, symbols)), symbols)


def test_symbols_at_the_ends_of_every_row_come_back(weights: ImageWeights) -> None:
    for tables in (weights.y_tables, weights.z_tables):
        rows = np.arange(tables.rows)
        highest = tables.lowest + np.diff(tables.starts) - 2
        for symbols in (tables.lowest, tables.lowest - 1, highest, highest + 1):
            values = symbols.astype(np.int32)
            assert np.array_equal(decode(tables, rows, encode(tables, rows, values)), values)


def test_symbols_beyond_32_bits_are_refused(tables: Tables) -> None:
    for value in (2**31, -(2**31) - 1):
        with pytest.raises(ValueError, match="32 bits"):
            encode(tables, np.array([0]), np.array([value]))


def test_trailing_zero_bytes_mean_nothing(tables: Tables, rng: np.random.Generator) -> None:
    indexes = rng.integers(0, tables.rows, 100)
    symbols = draw(rng, tables, indexes)
    stream = encode(tables, indexes, symbols)
    assert not stream.endswith(b"\0")
    for extra in range(1, 9):
        assert np.array_equal(decode(tables, indexes, stream + bytes(extra)), symbols)


def test_cost_counter_agrees_with_the_coder(weights: ImageWeights, rng: np.random.Generator) -> None:
    for tables in (weights.y_tables, weights.z_tables):
        for count, escapes in ((0, 0), (10, 0), (30_000, 0), (30_000, 300), (100, 100)):
            indexes = rng.integers(0, tables.rows, count)
            symbols = draw(rng, tables, indexes)
            symbols[:escapes] = rng.integers(-100_000, 100_001, escapes)
            counter = CostCounter()
            counter.code(tables, indexes, symbols)
            real = len(encode(tables, indexes, symbols))
            assert abs(counter.bits / 8 + FLUSH_BYTES - real) <= 0.01 * real + 4


def test_cost_counter_counts_escape_bytes(tables: Tables) -> None:
    row = np.array([13])
    escape = 24 - np.log2(tables.row(13)[-1])
    edges = [(-(2 ** (8 * size - 1)), size) for size in (1, 2, 3, 4)]
    edges += [(2 ** (8 * size - 1) - 1, size) for size in (1, 2, 3, 4)]
    beyond = [(-(2 ** (8 * size - 1)) - 1, size + 1) for size in (1, 2, 3)]
    beyond += [(2 ** (8 * size - 1), size + 1) for size in (1, 2, 3)]
    for symbol, size in (*edges, *beyond, (-64, 1)):
        counter = CostCounter()
        counter.code(tables, row, np.array([symbol], np.int32))
        assert counter.bits == pytest.approx(escape + 2 + 8 * size, abs=1e-3)
        many = encode(tables, row.repeat(1000), np.full(1000, symbol, np.int32))
        assert len(many) == pytest.approx(1000 * counter.bits / 8 + FLUSH_BYTES, abs=WORD_BYTES)


def test_cost_of_an_escaped_zero() -> None:
    frequencies = np.array([TOTAL - 1, 1], np.int32)
    tables = Tables(frequencies, np.array([0, 2], np.int32), np.array([5], np.int32))
    indexes, symbols = np.zeros(500, np.int64), np.zeros(500, np.int32)
    symbols[-1] = -100  # zero bytes at the end would be left out
    counter = CostCounter()
    counter.code(tables, indexes, symbols)
    assert counter.bits == pytest.approx(500 * (24 + 2 + 8))
    assert len(encode(tables, indexes, symbols)) == pytest.approx(
        counter.bits / 8 + FLUSH_BYTES, abs=WORD_BYTES
    )


def mutations(rng: np.random.Generator, stream: bytes, count: int) -> list[bytes]:
    """Truncations, flipped bits and noise."""
    cases = []
    for i in range(count):
        if i % 3 == 0:
            cases.append(stream[: int(rng.integers(len(stream)))])
        elif i % 3 == 1:
            damaged = bytearray(stream)
            damaged[int(rng.integers(len(stream)))] ^= 1 << int(rng.integers(8))
            cases.append(bytes(damaged))
        else:
            cases.append(rng.bytes(int(rng.integers(1, 2 * len(stream)))))
    return [*cases, b"", b"\xff" * len(stream), b"\x01", bytes(4)]


@pytest.mark.parametrize("rows", [(0, 20), (0, 91), (80, 91)])
def test_damaged_streams_raise_only_format_errors(
    tables: Tables, rng: np.random.Generator, rows: tuple[int, int]
) -> None:
    indexes = rng.integers(*rows, 2000)
    symbols = draw(rng, tables, indexes)
    symbols[::100] = rng.integers(-(2**20), 2**20, 20)
    stream = encode(tables, indexes, symbols)
    refused = 0
    for damaged in mutations(rng, stream, 300):
        try:
            result = decode(tables, indexes, damaged)
        except FormatError:
            refused += 1
            continue
        assert result.shape == symbols.shape
        assert result.dtype == np.int32
    assert refused >= 150


def test_endless_escapes_are_refused() -> None:
    greedy = Tables(np.array([1, TOTAL - 1], np.int32), np.array([0, 2], np.int32), np.array([0], np.int32))
    greedy.check()
    with pytest.raises(FormatError, match="escapes"):
        decode(greedy, np.zeros(100_000, np.int64), b"\x80\x12\x34\x56")


def test_data_after_the_last_symbol_is_refused(tables: Tables, rng: np.random.Generator) -> None:
    indexes = rng.integers(0, tables.rows, 500)
    stream = encode(tables, indexes, draw(rng, tables, indexes))
    with pytest.raises(FormatError, match="after the last symbol"):
        decode(tables, indexes, stream.ljust(-(-len(stream) // 4) * 4, b"\0") + b"more data here")


@pytest.mark.parametrize(
    ("frequencies", "starts", "lowest"),
    [
        ([TOTAL - 1, 2], [0, 2], [0]),
        ([TOTAL // 2, TOTAL // 2 - 1], [0, 2], [0]),
        ([TOTAL, 0], [0, 2], [0]),
        ([TOTAL + 1, -1], [0, 2], [0]),
        ([TOTAL], [0, 1], [0]),
        ([TOTAL - 1, 1], [0, 2], [0, 0]),
        ([TOTAL - 1, 1], [0, 1, 2], [0, 0]),
        ([TOTAL - 1, 1], [1, 2], [0]),
        ([TOTAL - 1, 1, 5], [0, 2], [0]),
        ([TOTAL - 1, 1, TOTAL - 1, 1], [0, 4, 2, 4], [0, 0, 0]),
    ],
)
def test_bad_tables_are_refused(frequencies: list[int], starts: list[int], lowest: list[int]) -> None:
    bad = Tables(np.array(frequencies, np.int32), np.array(starts, np.int32), np.array(lowest, np.int32))
    with pytest.raises(ValueError, match="table row"):
        bad.check()
