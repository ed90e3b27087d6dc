"""README's table of results says what docs/results/ says."""

from __future__ import annotations

import json

import pytest

from tests.support import ROOT


def test_readme_agrees_with_the_results() -> None:
    from tools.make_results import BLOCK, SUMMARY, with_results

    readme = (ROOT / "README.md").read_text()
    assert BLOCK.search(readme)
    if not SUMMARY.exists():
        pytest.skip("nothing has been measured yet")
    assert with_results(readme, json.loads(SUMMARY.read_text())) == readme, "run `make results`"
