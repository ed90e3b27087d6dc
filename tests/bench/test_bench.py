from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nccli.bench.codecs import CODECS, Codec, digest, find_codec, missing
from nccli.bench.coders import Frames, open_coder
from nccli.bench.planes import Layout, to_pixels, to_planes
from nccli.bench.results.curves import Point, difference
from nccli.bench.results.published import read_published
from nccli.bench.rows import COLUMNS, Row, read_rows, write_rows
from nccli.errors import ExitCode, MediaError, NccError
from nccli.media.metrics import psnr
from tests.support import ROOT, Pixels, run_ncc

PEERS = [codec for codec in CODECS if codec.home != "own"]


def row(codec: str = "jpeg", setting: float = 50.0, image: str = "a.png") -> Row:
    return Row(
        codec, image, setting, 10, 20, 1, 99, 3.96, 31.25, None, None, None, None, 0.1, 0.2, 40.0, "r", "m"
    )


def test_rows_survive_writing(tmp_path: Path) -> None:
    rows = [row(), row("webp", 0.0006)]
    (tmp_path / "r.tsv").write_bytes(write_rows(rows))
    assert read_rows(tmp_path / "r.tsv") == rows
    assert (tmp_path / "r.tsv").read_text().splitlines()[0].split("\t") == list(COLUMNS)
    for text in ("", "a\tb\n1\t2\n", "\t".join(COLUMNS) + "\nx\n"):
        (tmp_path / "r.tsv").write_text(text)
        with pytest.raises(MediaError):
            read_rows(tmp_path / "r.tsv")


def test_codecs_have_distinct_names() -> None:
    assert len({codec.name for codec in CODECS}) == len(CODECS)
    assert find_codec("ncc:s").option("model") == "s"
    assert find_codec("zoo:mbt2018-mean").title == "mbt2018-mean"
    for name in ("gif", "ncc:none", "zoo:none"):
        with pytest.raises(NccError):
            find_codec(name)
    absent = Codec("x", "X", "still", "q", (1.0,), "nowhere", "nowhere_at_all")
    assert "nowhere" in str(missing(absent))
    assert digest("a", 1) != digest("a", 2)


@pytest.mark.parametrize("codec", PEERS, ids=lambda codec: codec.name)
@pytest.mark.parametrize("shape", [(33, 47), (1, 1)], ids=str)
def test_peers_bring_pictures_back(codec: Codec, shape: tuple[int, int], photo: Pixels) -> None:
    if missing(codec):
        pytest.skip(str(missing(codec)))
    frames: Frames = np.ascontiguousarray(photo[None, : shape[0], : shape[1]])
    best = max(codec.settings) if codec.rising else min(codec.settings)
    coder = open_coder(codec, 1, "cpu")
    data = coder.encode(frames, best)
    assert data == coder.encode(frames, best)
    x_hat = coder.decode(data, frames.shape)
    assert x_hat.shape == frames.shape
    assert x_hat.dtype == np.uint8
    assert psnr(frames[0], x_hat[0]) > 24


@pytest.mark.parametrize("name", ["x264", "x265", "svt-av1"])
def test_clips(name: str, photo: Pixels) -> None:
    frames = np.stack([np.roll(photo[:75, :101], shift, axis=1) for shift in range(3)])
    coder = open_coder(find_codec(name), 1, "cpu")
    data = coder.encode(frames, 20)
    x_hat = coder.decode(data, frames.shape)
    assert min(psnr(a, b) for a, b in zip(frames, x_hat, strict=True)) > 30
    with pytest.raises(MediaError, match="3 frames"):
        coder.decode(data, (4, *frames.shape[1:]))


def test_colours_come_back(photo: Pixels) -> None:
    x = photo[:33, :47]
    for half, depth, least in ((False, 8, 47), (False, 10, 55), (True, 10, 28)):
        layout = Layout(half, depth)
        assert psnr(x, to_pixels(to_planes(x, layout), layout, 33, 47)) > least


def curve(factor: float) -> tuple[Point, ...]:
    return tuple(Point(q, factor * 2 ** (q / 6), q, 1 - 10 ** (-q / 20)) for q in (24.0, 28.0, 33.0, 38.0))


@pytest.mark.parametrize("method", ["akima", "pchip"])
@pytest.mark.parametrize("metric", ["psnr", "ms_ssim"])
def test_bd_rate_of_a_shifted_curve(method: str, metric: str) -> None:
    found = difference(curve(0.1), curve(0.08), metric, method)
    assert found is not None
    assert math.isclose(found.percent, -20, abs_tol=1e-6)
    assert math.isclose(found.overlap, 1)


def test_curves_that_cannot_be_compared() -> None:
    far = tuple(Point(p.setting, p.bpp, p.psnr + 60) for p in curve(1) if p.psnr)
    assert difference(curve(1), far, "psnr") is None
    assert difference(curve(1), far, "ms_ssim") is None
    assert difference(curve(1), curve(1)[:2], "psnr") is None


def test_published_figures(tmp_path: Path) -> None:
    curves = read_published(ROOT / "docs/results/peers/kodak.tsv")
    named = {item.name: item for item in curves}
    assert named["JPEG"].matches == "jpeg"
    assert len(named["JPEG"].curve) == 19
    assert all(item.source for item in curves)
    for text in ("", "name\tbpp\n", "name\tbpp\tpsnr\nJPEG\tmany\t1\n"):
        (tmp_path / "p.tsv").write_text(text)
        with pytest.raises(MediaError):
            read_published(tmp_path / "p.tsv")


@pytest.fixture
def place(photo: Pixels, tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for name, shift in (("a", 0), ("b", 40)):
        Image.fromarray(np.roll(photo, shift, axis=1)).save(tmp_path / f"in/{name}.png")
    return tmp_path


COMMAND = (
    "bench",
    "in",
    "--codecs",
    "jpeg,webp",
    "--settings",
    "jpeg=10,30,60,90",
    "--settings",
    "webp=5,40,80",
)
UNSTEADY = {"encode_s", "decode_s", "peak_mb", "run"}


def steady(folder: Path) -> list[dict[str, object]]:
    return [
        {name: getattr(found, name) for name in COLUMNS if name not in UNSTEADY}
        for found in read_rows(folder / "results.tsv")
    ]


def test_a_run_and_its_resumption(place: Path) -> None:
    done = run_ncc(*COMMAND, "-o", "whole", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "WebP" in done.stdout
    summary = json.loads((place / "whole/summary.json").read_text())
    assert summary["images"] == ["a.png", "b.png"]
    webp = next(entry for entry in summary["entries"] if entry["codec"] == "webp")
    assert webp["bd"]["psnr"]["percent"] < -10
    assert webp["encode_ratio"] > 1
    for name in ("report.html", "rd-psnr.svg", "rd-psnr.png", "time.svg"):
        assert (place / "whole" / name).stat().st_size > 5000
    assert run_ncc(*COMMAND, "-o", "whole", cwd=place).returncode == ExitCode.USAGE
    # An interruption leaves whole lines of the manifest and part of one.
    (place / "half").mkdir()
    text = (place / "whole/manifest.jsonl").read_text()
    (place / "half/manifest.jsonl").write_text(text[: len(text) * 2 // 3])
    (place / "half/pictures").symlink_to(place / "whole/pictures")
    assert run_ncc(*COMMAND, "-o", "half", "--resume", cwd=place).returncode == 0
    assert steady(place / "half") == steady(place / "whole")
    assert len(steady(place / "half")) == 14


@pytest.mark.slow
def test_killed_half_way(place: Path) -> None:
    for number in range(6):
        Image.open(place / "in/a.png").rotate(9 * number).save(place / f"in/r{number}.png")
    assert run_ncc(*COMMAND, "-o", "whole", "--pictures", "0", cwd=place).returncode == 0
    command = [sys.executable, "-m", "nccli", *COMMAND, "-o", "killed", "--pictures", "0"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=place, env=environment, stderr=subprocess.DEVNULL)
    manifest, deadline = place / "killed/manifest.jsonl", time.monotonic() + 90
    while time.monotonic() < deadline and not (manifest.exists() and manifest.read_text().count("\n") > 9):
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert not (place / "killed/results.tsv").exists()
    done = run_ncc(*COMMAND, "-o", "killed", "--pictures", "0", "--resume", cwd=place)
    assert done.returncode == 0, done.stderr
    assert steady(place / "killed") == steady(place / "whole")
    runs = {found.run for found in read_rows(place / "killed/results.tsv")}
    assert len(runs) == 2


@pytest.mark.slow
def test_ray_measures_the_same(place: Path) -> None:
    pytest.importorskip("ray", reason="ray is not installed")
    for engine in ("local", "ray"):
        done = run_ncc(*COMMAND, "-o", engine, "--engine", engine, "-j", "2", cwd=place)
        assert done.returncode == 0, done.stderr
    assert steady(place / "ray") == steady(place / "local")


def test_other_codecs_rows_are_kept(place: Path) -> None:
    one = ("bench", "in", "-o", "out", "--pictures", "0", "--metrics", "psnr", "--settings")
    assert run_ncc(*one, "webp=50", "--codecs", "webp", cwd=place).returncode == 0
    (place / "out/manifest.jsonl").unlink()
    done = run_ncc(*one, "jpeg=50", "--codecs", "jpeg", "--resume", cwd=place)
    assert done.returncode == 0, done.stderr
    assert [row["codec"] for row in steady(place / "out")] == ["jpeg", "jpeg", "webp", "webp"]


def test_the_anchor_is_timed_again(place: Path) -> None:
    one = ("bench", "in", "-o", "out", "--pictures", "0", "--metrics", "psnr", "--settings", "jpeg=20,50,80")
    assert run_ncc(*one, "--codecs", "jpeg", cwd=place).returncode == 0
    done = run_ncc(*one, "--settings", "webp=50", "--codecs", "jpeg,webp", "--resume", cwd=place)
    assert done.returncode == 0, done.stderr
    assert {found.codec for found in read_rows(place / "out/timings.tsv")} == {"jpeg"}
    summary = json.loads((place / "out/summary.json").read_text())
    assert summary["entries"][1]["encode_ratio"] > 1
    done = run_ncc(*one, "--settings", "webp=60", "--codecs", "jpeg,webp", "--resume", cwd=place)
    assert done.returncode == 0, done.stderr
    runs = {found.run for found in read_rows(place / "out/results.tsv")}
    assert {found.run for found in read_rows(place / "out/timings.tsv")} < runs


def test_a_broken_picture_is_left_out(place: Path) -> None:
    (place / "in/c.png").write_bytes((place / "in/a.png").read_bytes()[:900])
    done = run_ncc(*COMMAND, "-o", "out", "--pictures", "0", cwd=place)
    assert done.returncode == ExitCode.MEDIA
    assert done.stderr.count("in/c.png") == 1
    summary = json.loads((place / "out/summary.json").read_text())
    assert summary["left_out"] == ["c.png"]
    assert summary["failures"] == 7
    assert len(steady(place / "out")) == 14


def test_masks(place: Path) -> None:
    (place / "masks").mkdir()
    mask = np.zeros((192, 256), np.uint8)
    mask[50:100, 50:100] = 255
    Image.fromarray(mask).save(place / "masks/a.png")
    command = ("bench", "in/a.png", "--codecs", "jpeg", "--settings", "jpeg=50", "--roi", "masks")
    done = run_ncc(*command, "-o", "out", "--pictures", "0", "--metrics", "psnr", cwd=place)
    assert done.returncode == 0, done.stderr
    (found,) = read_rows(place / "out/results.tsv")
    assert found.ms_ssim is None
    assert found.psnr_roi is not None
    assert found.psnr_rest is not None
    share = 2500 / mask.size
    error = share * 10 ** (-found.psnr_roi / 10) + (1 - share) * 10 ** (-found.psnr_rest / 10)
    assert math.isclose(-10 * math.log10(error), found.psnr, abs_tol=1e-4)


def test_requests_that_make_no_sense(place: Path) -> None:
    for args, text in (
        (("--codecs", "gif"), "gif"),
        (("--codecs", ""), "none of the codecs"),
        (("--codecs", "jpeg", "--anchor", "webp"), "anchor"),
        (("--codecs", "jpeg", "--settings", "webp=1"), "webp"),
        (("--codecs", "jpeg", "--settings", "jpeg=x"), "numbers"),
        (("--codecs", "jpeg", "--metrics", "vmaf"), "vmaf"),
        (("--codecs", "jpeg", "--published", "none.tsv"), "none.tsv"),
    ):
        done = run_ncc("bench", "in", "-o", "out", *args, cwd=place)
        assert done.returncode in (ExitCode.USAGE, ExitCode.MEDIA), args
        assert text in done.stderr
        assert not (place / "out").exists(), args
