"""Pictures that arrive while a run goes on."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from nccli.train.pictures import incoming
from nccli.train.pictures.data import TILE, Kind, Tiles
from nccli.train.pictures.incoming import Incoming
from tests.support import Pixels


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming, "INTERVAL", 0.0)


def polled(arrivals: Incoming) -> Tiles | None:
    """What the next look finds; None after half a second without anything."""
    for _ in range(50):
        found = arrivals.poll()
        if found is not None:
            return found
        time.sleep(0.01)
    return None


def test_a_new_file_is_found_and_decoded(tmp_path: Path, coffee: Pixels) -> None:
    Image.fromarray(coffee).save(tmp_path / "old.png")
    arrivals = Incoming([tmp_path, tmp_path / "old.png"], workers=1)
    assert polled(arrivals) is None
    (tmp_path / "deep").mkdir()
    (tmp_path / "notes.txt").write_text("not a picture")
    Image.fromarray(coffee).save(tmp_path / "deep" / "screen-1.png.part", "PNG")
    assert polled(arrivals) is None
    (tmp_path / "deep" / "screen-1.png.part").rename(tmp_path / "deep" / "screen-1.png")
    found = polled(arrivals)
    assert found is not None
    assert found.kinds.tolist() == [Kind.SCREEN]
    assert torch.equal(found.pixels[0].permute(1, 2, 0), torch.tensor(coffee[:TILE, :TILE]))
    assert polled(arrivals) is None


def test_a_look_waits_for_its_time(tmp_path: Path, coffee: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming, "INTERVAL", 3600.0)
    arrivals = Incoming([tmp_path], workers=1)
    Image.fromarray(coffee).save(tmp_path / "new.png")
    assert polled(arrivals) is None
