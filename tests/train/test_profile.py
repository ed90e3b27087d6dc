"""Where the time of a step goes."""

from __future__ import annotations

import re

import pytest

from nccli.networks.layers import Depthwise
from nccli.train.image import profile as module
from nccli.train.image.course import Plan
from nccli.train.image.profile import profile
from tests.support.training import CPU


@pytest.mark.slow
def test_every_way_and_part_has_its_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "PORTION", 0.01)
    monkeypatch.setattr(module, "WARM", 2)
    profile(Plan(batch=1, crop=64, roi_every=0, every=7), CPU, list(Depthwise.WAYS), fuse=False)
    head, *lines = capsys.readouterr().out.splitlines()
    assert head == "s: batches of 1 crops of 64x64 on cpu"
    times = dict(re.fullmatch(r"(.*?)\s+([\d.]+) ms\s*", line).groups() for line in lines)  # type: ignore[union-attr]
    assert [name for name in times if name.startswith("step, filters by")] == [
        f"step, filters by {way}" for way in Depthwise.WAYS
    ]
    assert "turn of bases, each 7 steps" in times
    assert all(float(ms) > 0 for ms in times.values())
