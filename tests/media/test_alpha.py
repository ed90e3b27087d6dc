from __future__ import annotations

import numpy as np
import pytest

from nccli.errors import FormatError
from nccli.media.alpha import pack_alpha, unpack_alpha
from tests.support import Pixels


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (33, 47)])
def test_planes_come_back(kind: type, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    plane = rng.integers(0, np.iinfo(kind).max, shape, kind, endpoint=True)
    read = unpack_alpha(pack_alpha(plane), *shape, 8 * np.dtype(kind).itemsize)
    assert read.dtype == kind
    assert np.array_equal(read, plane)


def test_another_size_or_depth_is_refused(small: Pixels) -> None:
    payload = pack_alpha(small[..., 0].copy())
    for shape in ((47, 33, 8), (33, 48, 8), (33, 47, 16)):
        with pytest.raises(FormatError, match="alpha"):
            unpack_alpha(payload, *shape)


def test_truncations_and_flips_are_format_errors(small: Pixels) -> None:
    payload = pack_alpha(small[:9, :9, 0].copy())
    for length in range(len(payload)):
        with pytest.raises(FormatError):
            unpack_alpha(payload[:length], 9, 9, 8)
    for place in range(len(payload)):
        damaged = bytearray(payload)
        damaged[place] ^= 0x41
        with pytest.raises(FormatError):
            unpack_alpha(bytes(damaged), 9, 9, 8)


def test_other_chunks_and_trailing_data_are_refused(small: Pixels) -> None:
    from nccli.media.around.png import chunk_of as _chunk

    payload = pack_alpha(small[..., 0].copy())
    end = len(payload) - 12
    with pytest.raises(FormatError, match="chunk"):
        unpack_alpha(payload[:end] + _chunk(b"tEXt", b"a\0b") + payload[end:], 33, 47, 8)
    with pytest.raises(FormatError, match="after"):
        unpack_alpha(payload + b"\0", 33, 47, 8)


def test_bad_image_data_behind_good_checksums() -> None:
    from nccli.media.alpha import PNG_SIGNATURE
    from nccli.media.around.png import chunk_of as _chunk

    header = _chunk(b"IHDR", (9).to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0]))
    for data in (b"", b"\x78\x9c", bytes(40), b"\x78\x9c\x4b\x4c\x4a\x06\x00\x02\x4d\x01\x27"):
        with pytest.raises(FormatError):
            unpack_alpha(PNG_SIGNATURE + header + _chunk(b"IDAT", data) + _chunk(b"IEND", b""), 9, 9, 8)
