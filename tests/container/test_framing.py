from __future__ import annotations

import struct
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nccli.bounds import MAX_PIXELS, MAX_SIDE, STEP_Y_LIMIT
from nccli.codec.opened import decode_bytes
from nccli.coding.payload import CHECKS_BYTES
from nccli.container.framing import (
    MAGIC,
    MAJOR,
    MAX_SECTIONS,
    MINOR,
    OPTIONAL_BIT,
    Kind,
    Section,
    kind_of,
    write_varint,
    zigzag,
)
from nccli.container.image_file import (
    FREE_PIXELS,
    PIXELS_PER_BYTE,
    ImageHeader,
    minimum_latent_bytes,
    read_image,
    write_image,
)
from nccli.container.kinds import read_container
from nccli.container.section_ids import SectionId
from nccli.errors import ExitCode, FormatError, NccError, UnsupportedError
from tests.support import Pixels, Sample, encode, latents_payload, resealed, run_ncc, with_crc

OVERHEAD = 32
KNOWN = {int(s) for s in SectionId}
FREE_ID = next(i for i in count(0x10) if i not in KNOWN and i | OPTIONAL_BIT not in KNOWN)
HEADER = ImageHeader(1, b"abcd", 64, 48, 16384, 0, 3)


def by_hand(
    width: int = 64,
    height: int = 48,
    sections: bytes = b"\x01\x00",
    *,
    version: int = MAJOR << 5 | MINOR,
    packed: int = 3 << 2,
    step_y: int = 0,
) -> bytes:
    """A file put together from the format's description, not by `write_image`."""
    body = MAGIC + bytes([version, packed]) + struct.pack("<H4s", 1, b"abcd")
    body += write_varint(width) + write_varint(height) + struct.pack("<H", 16384) + write_varint(step_y)
    return with_crc(body + sections)


@st.composite
def files(draw: st.DrawFn) -> tuple[ImageHeader, list[Section]]:
    width = draw(st.integers(1, MAX_SIDE))
    header = ImageHeader(
        model_id=draw(st.integers(0, 0xFFFF)),
        weights_tag=draw(st.binary(min_size=4, max_size=4)),
        width=width,
        height=draw(st.integers(1, min(MAX_SIDE, MAX_PIXELS // width))),
        rate=draw(st.integers(0, 0xFFFF)),
        step_y=draw(st.integers(-STEP_Y_LIMIT, STEP_Y_LIMIT)),
        step_z=draw(st.integers(0, 6)),
        gray=draw(st.booleans()),
        depth=draw(st.sampled_from([8, 16])),
    )
    ids = st.sampled_from(sorted(KNOWN)) | st.integers(OPTIONAL_BIT, 0xFF)
    extra = draw(st.lists(st.builds(Section, ids, st.binary(max_size=300)), max_size=6))
    latents = Section(SectionId.LATENTS, bytes(minimum_latent_bytes(header.width, header.height)))
    return header, [*extra, latents]


@given(files())
@settings(deadline=None)
def test_what_is_written_is_read_back(file: tuple[ImageHeader, list[Section]]) -> None:
    header, sections = file
    data = write_image(header, sections)
    read = read_image(data)
    assert read.header == header
    assert (read.version, read.kind) == ((MAJOR, MINOR), Kind.IMAGE)
    assert read.size == len(data)
    assert [(s.id, s.payload) for s in read.sections] == [(s.id, s.payload) for s in sections]
    ends = [s.offset + s.size for s in read.sections]
    assert [s.offset for s in read.sections[1:]] == ends[:-1]
    assert ends[-1] == len(data) - 4


def test_bytes_of_a_header_are_frozen() -> None:
    header = ImageHeader(0x1234, b"\xde\xad\xbe\xef", 300, 5, 0x4321, -5, 6)
    data = write_image(header, [Section(SectionId.LATENTS, b"xyz")])
    assert data[:-4].hex(" ") == "8e 4e 43 43 0d 0a 02 18 34 12 de ad be ef ac 02 05 21 43 09 01 03 78 79 7a"
    assert read_image(by_hand()).header == HEADER
    assert read_image(by_hand(packed=3 << 2 | 0x20)).header == replace(HEADER, gray=True)
    assert read_image(by_hand(packed=3 << 2 | 0x40)).header == replace(HEADER, depth=16)


@given(st.integers(-(2**40), 2**40))
def test_zigzag_counts_outward_from_zero(value: int) -> None:
    assert zigzag(value) == 2 * abs(value) - (value < 0)


def test_every_truncation_is_an_error(small_sample: Sample) -> None:
    data = small_sample.data
    for length in range(len(data)):
        with pytest.raises(NccError) as caught:
            decode_bytes(data[:length])
        assert caught.value.exit_code == ExitCode.CORRUPT


def test_every_flipped_byte_is_an_error(small_sample: Sample) -> None:
    data = small_sample.data
    for place in range(len(data)):
        for change in (0x01, 0x10, 0x80, 0xFF):
            damaged = bytearray(data)
            damaged[place] ^= change
            with pytest.raises(NccError) as caught:
                decode_bytes(bytes(damaged))
            assert caught.value.exit_code in (ExitCode.CORRUPT, ExitCode.UNSUPPORTED)


@pytest.mark.parametrize("junk", [b"\0", b"\n", b"NCC", bytes(100)])
def test_data_after_the_end_is_an_error(small_sample: Sample, junk: bytes) -> None:
    with pytest.raises(FormatError):
        decode_bytes(small_sample.data + junk)


def test_truncation_is_called_by_its_name(small_sample: Sample) -> None:
    for length in (1, 5, 7, 12, 20, 30, len(small_sample.data) - 5, len(small_sample.data) - 1):
        with pytest.raises(FormatError, match="cut short"):
            read_image(small_sample.data[:length])


def test_files_of_another_kind_are_named() -> None:
    with pytest.raises(FormatError, match="empty"):
        read_image(b"")
    for data in (b"\x89PNG\r\n\x1a\n" + bytes(50), b"N", bytes(7)):
        with pytest.raises(FormatError, match="not an ncc file"):
            read_image(data)


def test_converted_line_ends_are_named(small_sample: Sample) -> None:
    data = small_sample.data
    conversions = [(b"\r\n", b"\n"), (b"\n", b"\r\n"), (b"\r\n", b"\r"), (b"\r", b"\n")]
    for old, new in conversions:
        with pytest.raises(FormatError, match="line ends"):
            read_image(data.replace(old, new))


def test_unknown_optional_section_is_skipped(small_sample: Sample) -> None:
    read = read_image(small_sample.data)
    extra = Section(FREE_ID | OPTIONAL_BIT, b"from the future")
    for sections in ([extra, *read.sections], [*read.sections, extra]):
        decoded = decode_bytes(write_image(read.header, sections))
        assert np.array_equal(decoded.pixels, decode_bytes(small_sample.data).pixels)


def test_unknown_required_section_is_refused_by_name(small_sample: Sample) -> None:
    read = read_image(small_sample.data)
    data = write_image(read.header, [*read.sections, Section(FREE_ID, b"from the future")])
    with pytest.raises(UnsupportedError, match=f"0x{FREE_ID:02x}") as caught:
        decode_bytes(data)
    assert caught.value.exit_code == ExitCode.UNSUPPORTED


@pytest.mark.parametrize("version", [(MAJOR, MINOR + 1), (MAJOR + 1, 0), (7, 31)])
@pytest.mark.parametrize("seal", [True, False])
def test_another_version_is_refused_by_name(
    small_sample: Sample, version: tuple[int, int], seal: bool
) -> None:
    data = bytearray(small_sample.data)
    data[len(MAGIC)] = version[0] << 5 | version[1]
    with pytest.raises(UnsupportedError, match=rf"version {version[0]}\.{version[1]} ") as caught:
        decode_bytes(resealed(bytes(data)) if seal else bytes(data))
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("kind", [Kind.STEREO, Kind.VIDEO, Kind.LAYERED])
@pytest.mark.parametrize("seal", [True, False])
def test_another_kind_is_refused_by_name(small_sample: Sample, kind: Kind, seal: bool) -> None:
    """Before the checksum, whose place is a matter of the kind."""
    data = bytearray(small_sample.data)
    data[len(MAGIC) + 1] |= kind
    other = resealed(bytes(data)) if seal else bytes(data)
    assert kind_of(other) == kind
    for read in (read_container, read_image, decode_bytes):
        with pytest.raises(UnsupportedError, match=kind.name.lower()):
            read(other)


def test_a_broken_section_counts_before_an_unknown_one() -> None:
    with pytest.raises(FormatError, match="cut short"):
        read_image(by_hand(sections=bytes([FREE_ID, 0, 1, 9])))


def test_command_line_exit_codes_and_no_output(small_sample: Sample, tmp_path: Path) -> None:
    other = bytearray(small_sample.data)
    other[len(MAGIC)] = 7 << 5
    for name, data, code in (("cut", small_sample.data[:-9], 3), ("newer", resealed(bytes(other)), 4)):
        (tmp_path / f"{name}.ncc").write_bytes(data)
        result = run_ncc("decode", f"{name}.ncc", "-o", f"{name}.png", cwd=tmp_path)
        assert result.returncode == code
        assert "Traceback" not in result.stderr
        assert result.stderr.strip()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cut.ncc", "newer.ncc"]


@pytest.mark.parametrize(
    ("width", "height"),
    [
        (0, 48),
        (64, 0),
        (MAX_SIDE + 1, 1),
        (1, MAX_SIDE + 1),
        (MAX_SIDE, MAX_SIDE),
        (2**14, 2**14 + 1),
        (2**34, 1),
        (2**14, 2**14),
        (MAX_SIDE, 17),
        (1, MAX_SIDE),
        (1025, 1024),
    ],
)
def test_claimed_size_without_data_is_refused(width: int, height: int) -> None:
    with pytest.raises(FormatError):
        read_image(by_hand(width, height))


def test_pictures_beyond_the_limit_are_refused_whatever_their_data() -> None:
    length = 2 * minimum_latent_bytes(2**14, 2**14)
    sections = b"\x01" + write_varint(length) + bytes(length)
    for width, height in ((2**14, 2**14 + 1), (MAX_SIDE, 4097)):
        with pytest.raises(FormatError, match="picture size"):
            read_image(by_hand(width, height, sections))


def test_claimed_size_is_bounded_by_the_payload() -> None:
    needed = minimum_latent_bytes(2**14, 2**14)
    assert needed == -(-(MAX_PIXELS - FREE_PIXELS) // PIXELS_PER_BYTE)
    for length, fits in ((needed, True), (needed - 1, False)):
        data = by_hand(2**14, 2**14, b"\x01" + write_varint(length) + bytes(length))
        if fits:
            assert read_image(data).header.pixels == MAX_PIXELS
        else:
            with pytest.raises(FormatError, match="proportion"):
                read_image(data)


@pytest.mark.parametrize(
    "sections",
    [
        b"\x01",
        b"\x01\x05abcd",
        b"\x01\x80\x00",
        b"\x01\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x01\xff\xff\xff\xff\x0f",
        b"\x01\x00\x81",
        b"\x81\x00" * (MAX_SECTIONS + 1),
    ],
)
def test_sections_that_do_not_tile_the_file_are_refused(sections: bytes) -> None:
    with pytest.raises(FormatError):
        read_image(by_hand(sections=sections))


@pytest.mark.parametrize("packed", [7 << 2, 0x80, 0x9C, 0xFC])
def test_undefined_flags_are_refused(packed: int) -> None:
    with pytest.raises(FormatError):
        read_image(by_hand(packed=packed))


def test_step_y_beyond_its_limit_is_refused() -> None:
    for value, folded in ((STEP_Y_LIMIT, 2 * STEP_Y_LIMIT), (-STEP_Y_LIMIT, 2 * STEP_Y_LIMIT - 1)):
        assert read_image(by_hand(step_y=folded)).header.step_y == value
    with pytest.raises(FormatError):
        read_image(by_hand(step_y=2 * STEP_Y_LIMIT + 1))


def test_latents_must_be_there_exactly_once() -> None:
    for sections in (b"", b"\x01\x00\x01\x00"):
        container = read_image(by_hand(sections=sections))
        with pytest.raises(FormatError, match="latents"):
            container.section(SectionId.LATENTS)


def test_writer_refuses_fields_out_of_range() -> None:
    for change in (
        {"width": 0},
        {"height": MAX_SIDE + 1},
        {"step_z": 7},
        {"step_y": STEP_Y_LIMIT + 1},
        {"depth": 12},
        {"rate": 2**16},
    ):
        with pytest.raises(ValueError, match=r"range|bits"):
            write_image(replace(HEADER, **change), [])


@pytest.mark.parametrize("lmbda", [0.0005, 0.01, 0.15])
@pytest.mark.parametrize("size", [(1, 1), (33, 47), (192, 256), (512, 768)])
def test_overhead_over_the_range_coded_bytes(coffee: Pixels, size: tuple[int, int], lmbda: float) -> None:
    pixels = np.pad(coffee, ((0, 112), (0, 168), (0, 0)), mode="reflect")[: size[0], : size[1]]
    data = encode(pixels, lmbda)
    coded = len(latents_payload(data)) - CHECKS_BYTES
    coded += sum(section.size for section in read_image(data).sections if section.id == SectionId.DETAILS)
    assert len(data) - coded <= OVERHEAD
