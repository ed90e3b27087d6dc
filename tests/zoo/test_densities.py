"""Tables of the zoo: every machine, and everyone who reads FORMAT.md, makes the same."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from nccli.entropy.steps import NUM_ROWS, power_table
from nccli.zoo import exact
from nccli.zoo.densities import Bottleneck, gaussian_tables, prior_tables
from tests import reference_tables as reference
from tests.reference_decoder import STEPS_OF_Z

WIDTHS = (1, 3, 3, 1)
CHANNELS = 2


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("exp", math.exp),
        ("log", math.log),
        ("erf", math.erf),
        ("tanh", math.tanh),
        ("sigmoid", lambda x: 1 / (1 + math.exp(-x))),
        ("softplus", lambda x: math.log1p(math.exp(-abs(x))) + max(x, 0)),
    ],
)
def test_functions_are_those_of_the_document(name: str, known: Callable[[float], float]) -> None:
    """To the last bit; and what they are called, to 15 digits or so."""
    rng = np.random.default_rng(2)
    x = np.concatenate((rng.normal(0, 1, 500), rng.normal(0, 30, 500), [0.0, 6.0, -6.0, 0.5]))
    x = np.exp2(x) if name == "log" else x
    found = getattr(exact, name)(x).tolist()
    assert found == [getattr(reference, name)(value) for value in x.tolist()]
    assert found == pytest.approx([known(value) for value in x.tolist()], rel=1e-12, abs=1e-14)


def test_tables_of_y_are_those_of_the_document() -> None:
    tables = gaussian_tables()
    assert tables.rows == NUM_ROWS
    for row in (0, 1, 26, 60, NUM_ROWS - 1):
        lowest, frequencies = reference.row_of_y(row, power_table().tolist())
        assert (int(tables.lowest[row]), tables.row(row).tolist()) == (lowest, frequencies)


def test_tables_of_z_are_those_of_the_document() -> None:
    rng = np.random.default_rng(6)
    shapes = [(CHANNELS, b, a) for a, b in pairwise(WIDTHS)]
    matrices = tuple(rng.normal(-0.5, 1, shape) for shape in shapes)
    biases = tuple(rng.normal(0, 0.5, (CHANNELS, shape[1], 1)) for shape in shapes)
    factors = tuple(rng.normal(0, 1, (CHANNELS, shape[1], 1)) for shape in shapes[:-1])
    medians = np.array([-700, 5000])
    tables = prior_tables(Bottleneck(matrices, biases, factors, medians))
    for channel in range(CHANNELS):
        layers: list[reference.Layer] = [
            (m[channel].tolist(), b[channel, :, 0].tolist(), None)
            for m, b in zip(matrices, biases, strict=True)
        ]
        for number, factor in enumerate(factors):
            layers[number] = (*layers[number][:2], factor[channel, :, 0].tolist())
        for step in (0, 3, 6):
            row = step * CHANNELS + channel
            expected = reference.row_of_z(layers, int(medians[channel]), STEPS_OF_Z[step])
            assert (int(tables.lowest[row]), tables.row(row).tolist()) == expected
