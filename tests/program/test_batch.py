from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import nccli
from nccli.errors import ExitCode, UsageError
from nccli.media.formats import PICTURE_SUFFIXES
from nccli.program.job import Job, MaskReport, Outcome
from nccli.program.memory import estimate, parse_amount
from nccli.program.plan import NCC_SUFFIXES, plan, plan_together
from nccli.program.report.listing import outcome_rows
from nccli.program.report.total import Total
from tests.support import ROOT, Pixels, run_ncc


def hidden(folder: Path) -> list[Path]:
    return [path for path in folder.rglob(".*") if path.is_file()]


@pytest.fixture
def folder(small: Pixels, tmp_path: Path) -> Path:
    """in/: three good pictures, one of them in a folder, two bad ones and a text."""
    inside = tmp_path / "in"
    (inside / "deep").mkdir(parents=True)
    for name, shift in (("a.png", 0), ("b.PNG", 1), ("deep/c.ppm", 2)):
        Image.fromarray(np.roll(small, shift, axis=1)).save(inside / name)
    (inside / "broken.png").write_bytes((inside / "a.png").read_bytes()[:200])
    (inside / "empty.jpg").write_bytes(b"")
    (inside / "notes.txt").write_text("no picture")
    (inside / ".hidden.png").write_bytes(b"")
    return tmp_path


def planned(*sources: str, out_dir: str | None = None, recursive: bool = False) -> list[tuple[str, str]]:
    jobs = plan(sources, None, out_dir, recursive, PICTURE_SUFFIXES, ".ncc")
    return [(job.source, job.output) for job in jobs if not job.refused]


def test_planning(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert planned("in/a.png") == [("in/a.png", "in/a.ncc")]
    assert planned("x/missing.png", out_dir="o") == [("x/missing.png", "o/missing.ncc")]
    assert planned("-") == [("-", "-")]
    everything = ["in/a.png", "in/b.PNG", "in/broken.png", "in/empty.jpg"]
    assert [source for source, _ in planned("in")] == everything
    assert planned("in", recursive=True, out_dir="o")[2:] == [
        ("in/broken.png", "o/broken.ncc"),
        ("in/deep/c.ppm", "o/deep/c.ncc"),
        ("in/empty.jpg", "o/empty.ncc"),
    ]
    assert planned("in/[ab].*") == [("in/a.png", "in/a.ncc"), ("in/b.PNG", "in/b.ncc")]
    assert planned("in/**/*.ppm", out_dir="o") == [("in/deep/c.ppm", "o/c.ncc")]
    assert planned("in/a.png", "in/a.png") == [("in/a.png", "in/a.ncc")]


def test_pairs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    for side in ("left", "right"):
        (folder / side).mkdir()
        for name in ("a.png", "b.png"):
            (folder / side / name).write_bytes(b"")

    def pairs(left: str, right: str, output: str | None = None) -> list[Job]:
        return plan_together(((left,), (right,)), output, None, False, PICTURE_SUFFIXES, ".ncc")

    first = Job(("left/a.png", "right/a.png"), ("left/a.ncc",))
    second = Job(("left/b.png", "right/b.png"), ("left/b.ncc",))
    assert pairs("left", "right") == [first, second]
    assert pairs("left/a.png", "right/a.png", "x.ncc") == [Job(first.sources, ("x.ncc",))]
    assert first.name == "left/a.png + right/a.png"
    assert outcome_rows(Outcome(first, skipped=True))["input"] == ["left/a.png", "right/a.png"]
    with pytest.raises(UsageError, match="2 and 1"):
        pairs("left", "right/a.png")
    with pytest.raises(UsageError, match="standard input"):
        pairs("left/a.png", "-")
    with pytest.raises(ValueError, match="unpack"):
        _ = first.source


def test_frames_are_counted() -> None:
    report = MaskReport(20, 10, "seg", 0.5, 7, 0.1)
    total = Total("frames")
    total.add(Outcome(Job(("a.mp4",), ("a.ncc",)), report, units=30))
    total.add(Outcome(Job(("b.mp4",)), error="broken", exit_code=ExitCode.MEDIA))
    assert (total.done, total.failed, total.units, total.pixels) == (1, 1, 30, 6000)
    assert "frames/s" in total.text("made")


def test_requests_that_make_no_sense(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    for sources, output, out_dir in (
        (("in/a.png", "in/b.PNG"), "x.ncc", None),
        (("in/a.png",), "x.ncc", "o"),
        (("-", "in/a.png"), None, None),
        (("nothing*.png",), None, None),
    ):
        with pytest.raises(UsageError):
            plan(sources, output, out_dir, False, PICTURE_SUFFIXES, ".ncc")
    with pytest.raises(UsageError, match="--recursive"):
        plan(("in",), None, None, False, NCC_SUFFIXES, ".png")


def test_two_inputs_never_share_an_output(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (folder / "in" / "a.jpg").write_bytes(b"")
    (folder / "in" / "deep" / "a.png").write_bytes(b"")
    both = [("in/a.jpg", "in/a.jpg.ncc"), ("in/a.png", "in/a.png.ncc")]
    assert planned("in")[:2] == both
    assert planned("in/a.png", "in/b.PNG", "in/a.jpg") == [both[1], ("in/b.PNG", "in/b.ncc"), both[0]]
    assert planned("in/deep/a.png", "in/a.jpg") == [
        ("in/deep/a.png", "in/deep/a.ncc"),
        ("in/a.jpg", "in/a.ncc"),
    ]
    jobs = plan(("in/a.png", "in/deep/a.png"), None, "o", False, PICTURE_SUFFIXES, ".ncc")
    assert jobs[0].refused is None
    assert jobs[1].refused == "in/deep/a.png and in/a.png would both be written to o/a.ncc"
    back = plan(("o/a.jpg.ncc", "o/a.png.ncc"), None, None, False, NCC_SUFFIXES, ".png")
    assert [job.output for job in back] == ["o/a.jpg.png", "o/a.png.png"]


def test_a_batch_goes_on_after_failures(folder: Path) -> None:
    done = run_ncc("encode", "in", "--recursive", "--out-dir", "out", "-j", "2", "--json", cwd=folder)
    assert done.returncode == ExitCode.MEDIA
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["input"], row["status"]) for row in rows] == [
        ("in/a.png", "done"),
        ("in/b.PNG", "done"),
        ("in/broken.png", "failed"),
        ("in/deep/c.ppm", "done"),
        ("in/empty.jpg", "failed"),
    ]
    errors = done.stderr.splitlines()
    assert len(errors) == 3
    assert "in/broken.png" in errors[0]
    assert "in/empty.jpg is empty" in errors[1]
    assert errors[2].startswith("ncc: 3 encoded, 2 failed")
    assert sorted(str(p.relative_to(folder / "out")) for p in (folder / "out").rglob("*.ncc")) == [
        "a.ncc",
        "b.ncc",
        "deep/c.ncc",
    ]
    assert not hidden(folder / "out")
    assert (folder / "out/a.ncc").read_bytes() == nccli.encode(Image.open(folder / "in/a.png")).data


def test_skip_existing_and_decoding_a_tree(folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "out/a.ncc").write_bytes(b"kept")
    done = run_ncc("encode", "in/a.png", "in/b.PNG", "--out-dir", "out", "--skip-existing", cwd=folder)
    assert done.returncode == 0
    assert done.stderr.startswith("ncc: 1 encoded, 1 skipped")
    assert (folder / "out/a.ncc").read_bytes() == b"kept"
    done = run_ncc("decode", "out", "--out-dir", "back", "--format", "bmp", cwd=folder)
    assert done.returncode == ExitCode.CORRUPT
    assert [path.name for path in (folder / "back").iterdir()] == ["b.bmp"]


def test_first_failure_decides_the_exit_code(folder: Path) -> None:
    (folder / "v.ncc").write_bytes(b"\x8eNCC\r\n\xe1" + bytes(20))
    (folder / "w.ncc").write_bytes(b"")
    assert run_ncc("info", "v.ncc", "w.ncc", cwd=folder).returncode == ExitCode.UNSUPPORTED
    assert run_ncc("decode", "w.ncc", "v.ncc", cwd=folder).returncode == ExitCode.CORRUPT


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_stopped_half_way(photo: Pixels, tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "in").mkdir()
    for shift in range(60):
        Image.fromarray(np.roll(photo, shift, axis=1)).save(
            tmp_path / f"in/{shift:02d}.png", compress_level=1
        )
    command = [
        sys.executable,
        "-m",
        "nccli",
        "encode",
        "in",
        "--out-dir",
        "out",
        "-j",
        "2",
        "--skip-existing",
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("out/*.ncc"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    code = process.wait(timeout=30)
    assert code == {signal.SIGINT: 130, signal.SIGTERM: 143}.get(number, -9)
    time.sleep(3)
    written = sorted(tmp_path.glob("out/*"))
    assert 3 <= len(written) < 60
    assert not hidden(tmp_path / "out")
    for path in written:
        nccli.read_container(path.read_bytes())
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert f"{60 - len(written)} encoded, {len(written)} skipped" in done.stderr
    assert len(list(tmp_path.glob("out/*.ncc"))) == 60


def test_amounts() -> None:
    for text, value in {
        "7": 7,
        "128M": 128_000_000,
        "2GiB": 2**31,
        "1.5g": 1_500_000_000,
        "3 kB": 3000,
    }.items():
        assert parse_amount(text) == value
    for text in ("", "M", "-1", "1e9", "12x", "i"):
        with pytest.raises(UsageError):
            parse_amount(text)


def test_memory_grows_with_the_picture() -> None:
    assert estimate("decode", 512, 768, 8) < estimate("encode", 512, 768, 8) < 1_100_000_000
    assert estimate("encode", 8400, 12000, 8) < 4_000_000_000
    assert estimate("encode", 8400, 12000, 16) > estimate("encode", 8400, 12000, 8)
    assert estimate("encode", 100, 2**20, 8) > estimate("encode", 10240, 10240, 8)
