from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from nccli.train.pictures.data import Tiles, load_tiles
from tests.support import Pixels


@pytest.fixture(scope="package")
def folder(
    tmp_path_factory: pytest.TempPathFactory, astronaut: Pixels, coffee: Pixels, chelsea: Pixels
) -> Path:
    """Pictures of several formats, and files that are none."""
    path = tmp_path_factory.mktemp("pictures")
    (path / "inner").mkdir()
    Image.fromarray(astronaut).save(path / "a.png")
    Image.fromarray(coffee).save(path / "inner" / "b.webp", lossless=True)
    Image.fromarray(chelsea).save(path / "c.PNG")
    Image.fromarray(chelsea[:50]).save(path / "too-small.png")
    (path / "broken.png").write_bytes((path / "a.png").read_bytes()[:5000])
    (path / "noise.jpg").write_bytes(bytes(100))
    (path / "notes.txt").write_text("not a picture")
    return path


@pytest.fixture(scope="package")
def tiles(folder: Path) -> Tiles:
    """The seven tiles of 256x256 pixels in `folder`."""
    return load_tiles([folder], size=256, workers=2)
