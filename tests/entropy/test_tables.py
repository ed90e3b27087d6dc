from __future__ import annotations

import numpy as np

from nccli.entropy.coder import TOTAL
from nccli.entropy.tables import assemble


def test_assembled_rows_keep_the_masses() -> None:
    masses = [np.array([0.5, 0.25, 0.25]), np.array([1.0, 0.0, 0.0, 1e-12]), np.full(5000, 1 / 5000)]
    tables = assemble(masses, [0, -1, -2500])
    for row, mass in enumerate(masses):
        found = tables.row(row) / TOTAL
        assert np.abs(found - mass / mass.sum()).max() < 5001 / TOTAL
        assert found.min() > 0
    assert tables.lowest.tolist() == [0, -1, -2500]
