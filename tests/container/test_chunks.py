"""Files of chunks: written forwards, read anywhere, and up to the damage."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nccli.bounds import STEP_Y_LIMIT
from nccli.container import index as index_module
from nccli.container.chunks import Chunk, read_chunk, read_head, write_chunk, write_head
from nccli.container.framing import CRC_BYTES, MAGIC, Container, Kind, Reader, Section, write_varint
from nccli.container.index import END_MARK, INDEX, MAX_CHUNKS, TRAILER_BYTES, ChunkReader, ChunkWriter
from nccli.entropy.setting import Setting
from nccli.errors import FormatError, UnsupportedError, UsageError
from tests import reference_chunks as reference
from tests.reference_coder import CorruptError
from tests.support import ROOT, with_crc

PICTURE, MOTION, NOTE = 1, 2, 0x81
KNOWN = {PICTURE, MOTION}
FIELDS = b"frame rate"
SECTIONS = (Section(0x81, b"a profile"),)
CHUNKS = [
    Chunk(PICTURE, b"first picture", key=True, setting=Setting(16384, -5, 3)),
    Chunk(MOTION, b"", setting=Setting(0, 0, 0)),
    Chunk(NOTE, b"\x00\xff" * 100),
    Chunk(PICTURE, b"next", key=True, setting=Setting(65535, 1024, 6)),
    Chunk(PICTURE, b"last", setting=Setting(1, -1024, 1)),
]


def write(chunks: list[Chunk], finish: bool = True) -> bytes:
    out: list[bytes] = []
    writer = ChunkWriter(out.append, write_head(Kind.VIDEO | 5 << 2, FIELDS, SECTIONS))
    for chunk in chunks:
        writer.add(chunk)
    if finish:
        writer.finish()
    return b"".join(out)


def header(packed: int, reader: Reader) -> tuple[int, bytes]:
    return packed, reader.take(len(FIELDS), "fields")


def read(data: bytes) -> tuple[Container[tuple[int, bytes]], ChunkReader]:
    file = BytesIO(data)
    head = read_head(file, Kind.VIDEO, header, {0x81})
    return head, ChunkReader(file, head.size, KNOWN)


def readable(data: bytes) -> list[Chunk]:
    """Every chunk that is found and in order."""
    found, reader = [], read(data)[1]
    for number in range(len(reader)):
        try:
            found.append(reader.read(number))
        except FormatError:
            continue
    return found


HEAD = len(write([], finish=False))
DATA = write(CHUNKS)
BARE = write(CHUNKS, finish=False)
STARTS = [HEAD + sum(len(write_chunk(chunk)) for chunk in CHUNKS[:n]) for n in range(len(CHUNKS) + 1)]


settings_of_chunks = st.builds(
    Setting, st.integers(0, 65535), st.integers(-STEP_Y_LIMIT, STEP_Y_LIMIT), st.integers(0, 6)
)
chunks_of_any_kind = st.builds(
    Chunk,
    st.sampled_from([PICTURE, MOTION, NOTE, 0xFF]),
    st.binary(max_size=300),
    st.booleans(),
    st.none() | settings_of_chunks,
)


@given(st.lists(chunks_of_any_kind, max_size=12))
@settings(deadline=None)
def test_what_is_written_is_read_back(chunks: list[Chunk]) -> None:
    data = write(chunks)
    head, reader = read(data)
    assert (head.kind, head.header, head.size) == (Kind.VIDEO, (Kind.VIDEO | 5 << 2, FIELDS), HEAD)
    assert [(s.id, s.payload) for s in head.sections] == [(s.id, s.payload) for s in SECTIONS]
    assert reader.damage is None
    numbers = range(len(chunks))
    assert len(reader) == len(chunks)
    assert [reader.read(n) for n in reversed(numbers)] == chunks[::-1]
    assert [reader.place(n).key for n in numbers] == [chunk.key for chunk in chunks]
    assert readable(write(chunks, finish=False)) == chunks


def test_bytes_of_a_file_are_those_of_the_document() -> None:
    """The example of FORMAT.md section 2.3: pieces with a CRC each, and the end."""
    text = (ROOT / "docs" / "FORMAT.md").read_text()
    text = text[text.index("### 2.3 Chunks") : text.index("## 3 Images")]
    example = "".join(line for line in text.splitlines() if line.startswith("    "))
    *pieces, end = map(bytes.fromhex, example.split("CRC"))
    expected = b"".join(map(with_crc, pieces)) + end
    assert len(pieces) == 4
    out: list[bytes] = []
    writer = ChunkWriter(out.append, write_head(Kind.VIDEO, b"\xaa", [Section(0x81, b"\xbb")]))
    writer.add(Chunk(1, b"xy", key=True, setting=Setting(0x4000, -5, 3)))
    writer.add(Chunk(0x82, b"z"))
    writer.finish()
    assert b"".join(out).hex() == expected.hex()


def test_the_second_reader_agrees() -> None:
    packed, inside, start = reference.head(DATA)
    assert (packed, start) == (Kind.VIDEO | 5 << 2, HEAD)
    assert inside.startswith(FIELDS)
    found = reference.pieces(DATA, start)
    assert [p.size for p in found] == np.diff(STARTS).tolist()
    for piece, chunk in zip(found, CHUNKS, strict=True):
        setting = chunk.setting and (chunk.setting.rate, chunk.setting.step_y, chunk.setting.step_z)
        assert (piece.number, piece.key, piece.payload) == (chunk.id, chunk.key, chunk.payload)
        assert piece.setting == setting


def test_reading_begins_at_the_last_key() -> None:
    reader = read(DATA)[1]
    assert [reader.key_before(n) for n in range(len(CHUNKS))] == [0, 0, 0, 3, 3]
    with pytest.raises(FormatError, match="begin"):
        read(write(CHUNKS[1:3]))[1].key_before(1)
    for number in (-1, len(CHUNKS)):
        with pytest.raises(IndexError):
            reader.read(number)


def test_a_chunk_costs_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """The index spares walking: nothing but head, index and the chunk itself is read."""
    large = write([Chunk(PICTURE, bytes(50_000), key=True) for _ in range(40)])
    file, counts = BytesIO(large), list[int]()

    class Counting(BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(size)
            counts.append(len(data))
            return data

    file = Counting(large)
    reader = ChunkReader(file, read_head(file, Kind.VIDEO, header, {0x81}).size, KNOWN)
    assert sum(counts) < 1000
    reader.read(33)
    assert sum(counts) < 60_000


def changed(place: int, change: int) -> bytes:
    """The sample with one byte that differs."""
    damaged = bytearray(DATA)
    damaged[place] ^= change
    return bytes(damaged)


def test_a_file_cut_short_reads_to_the_cut() -> None:
    for length in range(HEAD, len(DATA)):
        reader = read(DATA[:length])[1]
        whole = sum(start <= length for start in STARTS[1:])
        assert [reader.read(n) for n in range(len(reader))] == CHUNKS[:whole]
        assert reader.damage is not None
        assert "cut short" in str(reader.damage)


def test_a_head_is_whole_or_of_no_use() -> None:
    for place in range(HEAD):
        with pytest.raises(FormatError):
            read(DATA[:place])
        for change in (0x01, 0x80, 0xFF):
            with pytest.raises((FormatError, UnsupportedError)):
                read(changed(place, change))


def test_a_changed_byte_costs_one_chunk() -> None:
    for place in range(HEAD, len(DATA)):
        hit = next((n for n in range(len(CHUNKS)) if place < STARTS[n + 1]), None)
        kept = [chunk for n, chunk in enumerate(CHUNKS) if n != hit]
        for change in (0x01, 0x80, 0xFF):
            damaged = changed(place, change)
            assert readable(damaged) == kept
            assert (read(damaged)[1].damage is None) == (hit is not None)


def test_without_an_index_reading_ends_at_the_damage() -> None:
    damaged = bytearray(BARE)
    damaged[STARTS[2] + 4] ^= 1
    reader = read(bytes(damaged))[1]
    assert [reader.read(n) for n in range(len(reader))] == CHUNKS[:2]
    assert reader.damage is not None
    assert reader.damage.offset == STARTS[3] - CRC_BYTES


def test_what_follows_the_end_is_damage() -> None:
    reader = read(DATA + b"junk")[1]
    assert [reader.read(n) for n in range(len(reader))] == CHUNKS
    assert reader.damage is not None


def test_another_kind_or_version_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedError, match="video"):
        read_head(BytesIO(DATA), Kind.STEREO, header, set())
    with pytest.raises(UnsupportedError, match=r"7\.31"):
        read(MAGIC + b"\xff" + DATA[7:])
    for data in (b"", b"GIF89a", bytes(40)):
        with pytest.raises(FormatError):
            read(data)


def test_unknown_sections_and_chunks() -> None:
    """Optional ones are there for whoever knows them, required ones make the file unsupported."""
    assert len(read(write([Chunk(0xFE, b"?")]))[1]) == 1
    for finish in (True, False):
        with pytest.raises(UnsupportedError, match="chunk 0x7e"):
            read(write([*CHUNKS, Chunk(0x7E, b"?")], finish))
    with pytest.raises(UnsupportedError, match="section 0x55"):
        read(write_head(Kind.VIDEO, FIELDS, [Section(0x55, b"")]))


def with_index(payload: bytes, *, flags: int = 0, number: int = INDEX, room: int = 0) -> bytes:
    """The sample with an index of one's own, its checksum in order."""
    chunk = with_crc(bytes([number, flags]) + write_varint(len(payload)) + payload)
    return BARE + chunk + (len(chunk) + room).to_bytes(4, "little") + END_MARK


def entries(*entries: tuple[int, int, int], count: int | None = None) -> bytes:
    number = len(entries) if count is None else count
    return write_varint(number) + b"".join(write_varint(s) + bytes([i, f]) for s, i, f in entries)


GOOD = [(len(write_chunk(chunk)), chunk.id, chunk.flags) for chunk in CHUNKS]
LIES = {
    "too many": entries(*GOOD, (7, 1, 0)),
    "too few": entries(*GOOD[:-1]),
    "count above the entries": entries(*GOOD, count=len(GOOD) + 1),
    "count below the entries": entries(*GOOD, count=len(GOOD) - 1),
    "an endless count": entries(*GOOD, count=2**60),
    "more than any file has": entries(*GOOD, count=MAX_CHUNKS + 1),
    "a size of nothing": entries((0, 1, 0), *GOOD),
    "a size beyond the file": entries((2**40, 1, 0), *GOOD[1:]),
    "an index within": entries((GOOD[0][0], INDEX, 0), *GOOD[1:]),
    "flags that are none": entries((GOOD[0][0], 1, 4), *GOOD[1:]),
    "padded": b"\x85\x00" + entries(*GOOD)[1:],
    "something after": entries(*GOOD) + b"\0",
    "nothing": b"",
}


def test_an_index_of_ones_own() -> None:
    assert with_index(entries(*GOOD)) == DATA


@pytest.mark.parametrize("payload", LIES.values(), ids=LIES)
def test_an_index_that_lies_is_of_no_use(payload: bytes) -> None:
    reader = read(with_index(payload))[1]
    assert reader.damage is not None
    assert [reader.read(n) for n in range(len(reader))] == CHUNKS


def test_a_trailer_that_lies_is_of_no_use() -> None:
    good = entries(*GOOD)
    moved = DATA[:-TRAILER_BYTES] + (2**32 - 1).to_bytes(4, "little") + END_MARK
    for data in (with_index(good, flags=1), with_index(good, number=9), with_index(good, room=1), moved):
        with pytest.raises((CorruptError, ValueError)):
            reference.pieces(data, HEAD)
    for data in (with_index(good, flags=1), with_index(good, room=1), moved):
        reader = read(data)[1]
        assert reader.damage is not None
        assert [reader.read(n) for n in range(len(reader))] == CHUNKS


@pytest.mark.parametrize(
    "first",
    [(GOOD[0][0], MOTION, GOOD[0][2]), (GOOD[0][0], PICTURE, 0)],
    ids=["another id", "another flag"],
)
def test_a_chunk_is_what_its_index_says(first: tuple[int, int, int]) -> None:
    reader = read(with_index(entries(first, *GOOD[1:])))[1]
    with pytest.raises(FormatError, match="by the index"):
        reader.read(0)
    assert reader.read(1) == CHUNKS[1]


def test_chunks_are_where_the_index_says() -> None:
    (size, number, flags), second = GOOD[:2]
    reader = read(with_index(entries((size - 1, number, flags), (second[0] + 1, *second[1:]), *GOOD[2:])))[1]
    for lost in range(2):
        with pytest.raises(FormatError):
            reader.read(lost)
    assert reader.read(2) == CHUNKS[2]


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"\x01\x04\x00", "flags"),
        (b"\x01\x02\x00", "step_z"),
        (b"\x01\x02\x04\x07\x00\x00\x00", "step_z"),
        (b"\x01\x02\x03\x06\x00\x00", "step_y"),
        (b"\x01\x02\x05\x06\x00\x00\x81\x10", "step_y"),
        (b"\x01\x00\x80\x00", "padded"),
        (b"\x01\x00\xff\xff\xff\xff\xff\xff", "length"),
    ],
)
def test_a_chunk_that_breaks_the_rules(body: bytes, what: str) -> None:
    data = with_crc(body)
    with pytest.raises(FormatError, match=what):
        read_chunk(BytesIO(bytes(9) + data), 9, 9 + len(data))


def test_a_head_that_breaks_the_rules() -> None:
    start = MAGIC + bytes([2, Kind.VIDEO])
    for length, rest in (
        (2**32 - 1, b""),
        (len(FIELDS) - 1, FIELDS[:-1]),
        (len(FIELDS) + 1, FIELDS + b"\x81"),
    ):
        with pytest.raises(FormatError):
            read(with_crc(start + length.to_bytes(4, "little") + rest))


def test_writers_refuse_what_no_file_can_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    writer = ChunkWriter(lambda _: None, b"")
    for chunk in (Chunk(INDEX, b""), Chunk(256, b""), Chunk(1, b"", setting=Setting(0, 0, 7))):
        with pytest.raises(ValueError, match=r"index|chunk|range"):
            writer.add(chunk)
    monkeypatch.setattr(index_module, "MAX_CHUNKS", 2)
    writer.add(Chunk(1, b""))
    writer.add(Chunk(1, b""))
    with pytest.raises(UsageError, match="at most 2"):
        writer.add(Chunk(1, b""))
    with pytest.raises(FormatError, match="more than 2"):
        read(BARE)


Random = np.random.Generator


def resealed_chunk(rng: Random) -> bytes:
    """A changed chunk whose checksum fits."""
    hit = int(rng.integers(len(CHUNKS)))
    chunk = bytearray(DATA[STARTS[hit] : STARTS[hit + 1] - CRC_BYTES])
    for _ in range(int(rng.integers(1, 4))):
        chunk[int(rng.integers(min(len(chunk), 8)))] = int(rng.integers(256))
    return DATA[: STARTS[hit]] + with_crc(bytes(chunk)) + DATA[STARTS[hit + 1] :]


def resealed_index(rng: Random) -> bytes:
    payload = bytearray(entries(*GOOD))
    for _ in range(int(rng.integers(1, 4))):
        payload[int(rng.integers(len(payload)))] = int(rng.integers(256))
    return with_index(bytes(payload[: int(rng.integers(1, len(payload) + 1))]))


def resealed_head(rng: Random) -> bytes:
    head = bytearray(DATA[: HEAD - CRC_BYTES])
    for _ in range(int(rng.integers(1, 4))):
        head[int(rng.integers(7, len(head)))] = int(rng.integers(256))
    return with_crc(bytes(head)) + DATA[HEAD:]


def crowded(rng: Random) -> bytes:
    """The smallest chunks there are, thousands of them."""
    chunk = write_chunk(Chunk(int(rng.choice([1, 2, 0x81])), b""))
    return BARE[:HEAD] + chunk * int(rng.integers(1000, 5000))


def noise(rng: Random) -> bytes:
    return DATA[: int(rng.integers(len(DATA)))] + rng.bytes(int(rng.integers(200))) + DATA[-TRAILER_BYTES:]


@pytest.mark.parametrize("attack", [resealed_chunk, resealed_index, resealed_head, crowded, noise])
def test_hostile_files_end_in_errors_of_the_format(attack: Callable[[Random], bytes]) -> None:
    rng, refused = np.random.default_rng(5), 0
    tracemalloc.start()
    for _ in range(4 if attack is crowded else 300):
        data = attack(rng)
        start = time.process_time()
        try:
            reader = read(data)[1]
            for number in range(len(reader)):
                chunk = reader.read(number)
                assert len(chunk.payload) <= len(data)
            refused += reader.damage is not None
        except (FormatError, UnsupportedError):
            refused += 1
        assert time.process_time() - start < 2
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert refused > 0
    assert peak < 2**24
