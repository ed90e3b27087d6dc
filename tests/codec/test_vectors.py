"""Files of released versions decode for ever, to the same symbols."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nccli.codec.opened import decode_bytes
from nccli.container.image_file import read_image
from tests.make_vectors import FOLDER, Vector, digests

VECTORS = [Vector(**item) for item in json.loads((FOLDER / "index.json").read_text())]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v.file)
def test_symbols_are_exact_and_samples_close(vector: Vector) -> None:
    file = (FOLDER / vector.file).read_bytes()
    assert digests(file) == (vector.y_hat, vector.details)
    picture = decode_bytes(file, device="cpu").picture
    with np.load((FOLDER / vector.file).with_suffix(".npz")) as expected:
        assert picture.pixels.shape == expected["pixels"].shape
        assert picture.pixels.dtype == expected["pixels"].dtype
        difference = picture.pixels.astype(np.int64) - expected["pixels"]
        assert int(np.abs(difference).max()) <= vector.tolerance
        if "alpha" in expected:
            assert np.array_equal(picture.alpha, expected["alpha"])
        else:
            assert picture.alpha is None


def test_the_index_lists_every_file() -> None:
    assert {v.file for v in VECTORS} == {p.name for p in FOLDER.glob("*.ncc")}
    assert {p.stem for p in FOLDER.glob("*.npz")} == {p.stem for p in FOLDER.glob("*.ncc")}


def test_vectors_cover_the_header() -> None:
    headers = [read_image((FOLDER / v.file).read_bytes()).header for v in VECTORS]
    assert {(1, 1), (17, 33), (48, 64)} <= {(h.height, h.width) for h in headers}
    assert min(h.step_y for h in headers) < 0 < max(h.step_y for h in headers)
    assert {h.depth for h in headers} == {8, 16}
    assert {h.gray for h in headers} == {False, True}
    assert len({h.rate for h in headers}) >= 4


def test_vectors_cover_details() -> None:
    assert sum(bool(v.details) for v in VECTORS) >= 3
