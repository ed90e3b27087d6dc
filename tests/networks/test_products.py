"""Matrix products of integers by BLAS, and what happens where BLAS is wrong."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from nccli.coding.payload import read_payload
from nccli.coding.sender import send
from nccli.networks import products
from nccli.networks.products import Floats, Matrix, Trust, known_product_is_right
from nccli.networks.weights import ImageWeights
from nccli.program.inputs import limit_threads
from tests.support import Sample

Product = Callable[[Floats, Floats, Floats], None]

SIZES = ((640, 193, 768), (96, 320, 300), (192, 1728, 96), (5, 7, 1), (1, 1, 1))


def one_column_off(left: Floats, right: Floats, out: Floats) -> None:
    """The kind of mistake that builds of OpenBLAS make: most of the product is right."""
    np.matmul(left, right, out=out)
    out[-1, -1] += 1


def not_a_number(left: Floats, right: Floats, out: Floats) -> None:
    np.matmul(left, right, out=out)
    out[0, 0] = np.nan


def rounded(left: Floats, right: Floats, out: Floats) -> None:
    out[:] = left.astype(np.float32) @ right.astype(np.float32)


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Trust:
    """A process that has multiplied nothing yet."""
    trust = Trust()
    monkeypatch.setattr(products, "TRUST", trust)
    return trust


@pytest.mark.parametrize("size", SIZES)
def test_sound_products_pass(size: tuple[int, int, int]) -> None:
    assert known_product_is_right(*size)


@pytest.mark.parametrize("wrong", [one_column_off, not_a_number, rounded])
@pytest.mark.parametrize("size", SIZES[:3])
def test_wrong_products_are_noticed(
    monkeypatch: pytest.MonkeyPatch, wrong: Product, size: tuple[int, int, int]
) -> None:
    monkeypatch.setattr(products, "blas", wrong)
    assert not known_product_is_right(*size)


def test_every_size_is_checked_once(fresh: Trust, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[tuple[int, int, int]] = []

    def check(*size: int) -> bool:
        checked.append(size)
        return True

    monkeypatch.setattr(products, "known_product_is_right", check)
    for columns in (768, 768, 1000, 1024, 3):
        assert fresh.serves(640, 193, columns)
    assert checked == [(640, 193, 256), (640, 193, 256), (640, 193, 3)]


def test_integers_take_over_from_a_blas_that_is_wrong(
    fresh: Trust, monkeypatch: pytest.MonkeyPatch, weights: ImageWeights, small_sample: Sample
) -> None:
    """A warning, once; the same bytes; and a decoder that reads them."""
    monkeypatch.setattr(products, "blas", one_column_off)
    latents, stream = small_sample.latents, small_sample.stream
    with pytest.warns(RuntimeWarning, match="BLAS multiplies matrices wrongly"):
        again = send(weights, latents, stream.setting)
    decoded = read_payload(weights, latents.grid, stream.setting, again.payload)
    assert fresh.broken
    assert again.payload == stream.payload
    assert np.array_equal(decoded.y_hat, stream.y_hat)


def test_matrices_divide_by_powers_of_two_exactly(fresh: Trust) -> None:
    random = np.random.default_rng(0)
    integers = random.integers(-(2**20), 2**20, (12, 30)).astype(np.int32)
    shift = random.integers(-3, 40, 12).astype(np.int32)
    x = random.integers(-(2**21), 2**21, (30, 17)).astype(np.float64)
    found, slow = np.empty((12, 17)), np.empty((12, 17))
    Matrix(integers, shift).times(x, found)
    fresh.broken = True
    Matrix(integers, shift).times(x, slow)
    exact = integers.astype(object) @ x.astype(np.int64).astype(object)
    assert np.array_equal(found, np.ldexp(exact.astype(np.float64), -shift[:, None]))
    assert np.array_equal(found, slow)


def test_threads_of_blas_are_limited() -> None:
    def threads() -> set[int]:
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    for wanted in (1, 2):
        limit_threads(wanted)
        assert threads() == {wanted}
