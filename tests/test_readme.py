"""The commands of README.md and docs/guide.md, run as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.support import ROOT, Pixels

BLOCK = re.compile(r"(?:^(?:    .*)?\n)+", re.MULTILINE)


def blocks(page: str) -> list[list[str]]:
    """Indented blocks of a page, each as its lines."""
    text = (ROOT / page).read_text()
    found = [[line[4:] for line in block.splitlines() if line] for block in BLOCK.findall(text)]
    return [lines for lines in found if lines]


def commands(page: str) -> list[str]:
    """Every line of a page that calls ncc; `--force` added, since pages write one file several ways."""
    lines = [line for block in blocks(page) for line in block if re.match(r"ncc |cat .*\| ncc ", line)]
    return [re.sub(r"^ncc (encode|decode)", r"ncc \1 --force", line) for line in lines]


@pytest.fixture
def place(tmp_path: Path, photo: Pixels) -> Path:
    """A folder with what the pages speak of, and ncc on the path."""
    (tmp_path / "holiday" / "beach").mkdir(parents=True)
    for name in ("photo.png", "again.png", "holiday/a.png", "holiday/beach/b.png"):
        Image.fromarray(photo).save(tmp_path / name)
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "ncc"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m nccli "$@"\n')
    program.chmod(0o755)
    return tmp_path


def run(script: str, place: Path) -> None:
    path = os.pathsep.join([str(place / "bin"), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{script}\n{done.stderr}"


@pytest.mark.slow
@pytest.mark.parametrize("page", ["README.md", "docs/guide.md"])
def test_commands_run(page: str, place: Path) -> None:
    lines = commands(page)
    assert len(lines) > 8
    for line in lines:
        run(line, place)


@pytest.mark.slow
@pytest.mark.parametrize("page", ["README.md", "docs/guide.md"])
def test_python_runs(page: str, place: Path) -> None:
    run("ncc encode photo.png -q", place)
    found = [block for block in blocks(page) if any(line.startswith("import nccli") for line in block)]
    assert found
    for number, block in enumerate(found):
        start = ["from PIL import Image", "image = Image.open('photo.png')"]
        script = place / f"{number}.py"
        script.write_text("\n".join(start + block) + "\n")
        run(f"{sys.executable} {script.name}", place)


def test_pages_link_to_files_that_exist() -> None:
    for page in ("README.md", "docs/guide.md", "docs/lambda.md"):
        for target in re.findall(r"\]\((?!https:)([^)#:]+)", (ROOT / page).read_text()):
            assert ((ROOT / page).parent / target).exists(), f"{page}: {target}"
