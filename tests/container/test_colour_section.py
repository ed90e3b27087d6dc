from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nccli.container.colour_section import pack_colour, unpack_colour
from nccli.errors import FormatError
from nccli.media.around.colour import CodePoints, Colour
from tests import reference_decoder as reference

BYTE, WORD = st.integers(0, 255), st.integers(0, 2**32 - 1)
POINTS = st.builds(CodePoints, BYTE, BYTE, st.booleans())
COLOURS = st.builds(Colour, st.none() | POINTS, st.none() | WORD, st.none() | st.tuples(*[WORD] * 8)).filter(
    lambda colour: colour != Colour()
)

FULL = Colour(CodePoints(9, 16), 45455, (31270, 32900, 70800, 29200, 17000, 79700, 13100, 4600))


@given(COLOURS)
def test_descriptions_come_back_in_both_decoders(colour: Colour) -> None:
    payload = pack_colour(colour)
    assert unpack_colour(payload) == colour
    theirs = reference.read_colour(payload)
    points = colour.points
    assert theirs.points == (
        None if points is None else [points.primaries, points.transfer, int(points.full)]
    )
    assert theirs.gamma == (None if colour.gamma is None else [colour.gamma])
    assert theirs.chromaticities == (None if colour.chromaticities is None else list(colour.chromaticities))


def test_the_bytes_are_those_of_the_document() -> None:
    assert pack_colour(Colour(CodePoints(9, 16))).hex() == "01091001"
    assert pack_colour(Colour(CodePoints(1, 18, full=False))).hex() == "01011200"
    assert pack_colour(Colour(gamma=45455)).hex() == "028fb10000"
    assert len(pack_colour(FULL)) == 4 + 5 + 33


@pytest.mark.parametrize(
    "text", ["", "00", "04", "0109", "01091002", "0101010101010101", "028fb100", "03" + "00" * 31]
)
def test_others_are_refused_by_both(text: str) -> None:
    with pytest.raises(FormatError, match="colour"):
        unpack_colour(bytes.fromhex(text))
    with pytest.raises(reference.CorruptError):
        reference.read_colour(bytes.fromhex(text))


def test_order_and_number_of_items() -> None:
    one, two = pack_colour(Colour(CodePoints(9, 16))), pack_colour(Colour(gamma=1))
    assert unpack_colour(one + two)
    for payload in (two + one, one + one, two + two, one + two + b"\0"):
        with pytest.raises(FormatError):
            unpack_colour(payload)
        with pytest.raises(reference.CorruptError):
            reference.read_colour(payload)


@given(st.binary(max_size=50))
def test_noise_is_judged_alike(noise: bytes) -> None:
    try:
        ours = unpack_colour(noise)
    except FormatError:
        with pytest.raises(reference.CorruptError):
            reference.read_colour(noise)
    else:
        reference.read_colour(noise)
        assert pack_colour(ours) == noise
