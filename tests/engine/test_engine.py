"""Engines and the manifest: the same files whoever makes them, and nothing done twice."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nccli.codec.encoding import Encoding, Rate
from nccli.engine import Engine, WorkerDied, make_engine
from nccli.engine.journal import Journal, read_journal
from nccli.errors import ExitCode, UsageError
from nccli.masks.request import RoiOptions
from nccli.program.job import Job, Outcome
from nccli.program.manifest import Manifest, failures_path, files_beside, settings_of
from nccli.program.options import Common, DecodeOptions, EncodeOptions, MaskOptions
from tests.support import Pixels, run_ncc


def double(value: int) -> int:
    if value == 13:
        os._exit(9)
    if value == 7:
        raise ValueError("seven")
    return 2 * value


def results(engine: Engine, values: list[int]) -> dict[int, object]:
    found: dict[int, object] = {}
    for value, finish in engine.run(double, values):
        try:
            found[value] = finish()
        except (ValueError, WorkerDied) as error:
            found[value] = type(error).__name__
    return found


@pytest.mark.parametrize("name", ["local", pytest.param("ray", marks=pytest.mark.slow)])
def test_a_bad_item_takes_no_other_with_it(name: str) -> None:
    if name == "ray":
        pytest.importorskip("ray", reason="ray is not installed")
    found = results(make_engine(name, 2, 1), list(range(20)))
    assert len(found) == 20
    assert found.pop(13) == "WorkerDied"
    assert found.pop(7) == "ValueError"
    good = {value: result for value, result in found.items() if result == 2 * value}
    # A Ray actor's death takes the calls that wait for it along; a process pool's are tried again.
    assert len(good) == 18 if name == "local" else len(good) >= 10


def test_items_are_taken_as_needed() -> None:
    taken = []

    def numbers() -> object:
        for value in range(100, 1100):
            taken.append(value)
            yield value

    run = make_engine("local", 1, 1).run(double, numbers())  # type: ignore[arg-type]
    next(run)
    assert len(taken) < 20
    run.close()  # type: ignore[attr-defined]


def test_engines_have_names() -> None:
    with pytest.raises(UsageError, match="local, ray"):
        make_engine("cloud", 1, 1)


def test_a_journal_survives_a_cut(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    journal = Journal(path, fresh=True)
    journal.append({"a": 1})
    journal.close()
    with path.open("a") as file:
        file.write('{"a": 2')
    journal = Journal(path, fresh=False)
    journal.append({"a": 3})
    journal.close()
    assert read_journal(path) == [{"a": 1}, {"a": 3}]
    assert read_journal(tmp_path / "none") == []


def options(lmbda: float = 0.01) -> EncodeOptions:
    return EncodeOptions(Common(), Encoding(Rate(lmbda=lmbda)))


def test_a_manifest_knows_what_is_done(tmp_path: Path) -> None:
    source, output = tmp_path / "a.png", tmp_path / "a.ncc"
    source.write_bytes(b"x")
    job, path = Job((str(source),), (str(output),)), tmp_path / "m.jsonl"
    first = Manifest(str(path), settings_of(options()))
    first.begin(job)
    output.write_bytes(b"y")
    assert not Manifest(str(path), settings_of(options()), resume=True).done(job)
    assert Manifest(str(path), settings_of(options()), resume=True).begun(job)
    first.end(Outcome(job))
    first.end(Outcome(Job(("b.png",), ("b.ncc",)), error="broken", exit_code=ExitCode.MEDIA))
    first.close()
    assert json.loads(failures_path(path).read_text())["error"] == "broken"
    assert Manifest(str(path), settings_of(options()), resume=True).done(job)
    assert not Manifest(str(path), settings_of(options(0.02)), resume=True).done(job)
    source.write_bytes(b"other")
    assert not Manifest(str(path), settings_of(options()), resume=True).done(job)
    with pytest.raises(UsageError, match="--resume"):
        Manifest(str(path), settings_of(options()))


def test_threads_and_force_do_not_decide_what_is_written() -> None:
    one = EncodeOptions(Common(threads=1, force=True), Encoding(device="cpu"))
    assert settings_of(one) == settings_of(EncodeOptions(Common(threads=7), Encoding()))
    assert settings_of(one) != settings_of(EncodeOptions(Common(), Encoding(model="s-msssim")))


def test_a_manifest_knows_what_lies_beside(tmp_path: Path) -> None:
    """A pair, two outputs and a mask: each has to be as it was."""
    paths = [tmp_path / name for name in ("l.png", "r.png", "l.ncc", "r.ncc", "mask.png")]
    for path in paths:
        path.write_bytes(b"x")
    left, right, *outputs, mask = map(str, paths)
    job, journal = Job((left, right), tuple(outputs)), str(tmp_path / "m.jsonl")
    wanted = EncodeOptions(Common(), Encoding(), RoiOptions(mask))
    beside = partial(files_beside, options=wanted)
    first = Manifest(journal, "s", beside=beside)
    first.end(Outcome(job))
    first.close()
    again = partial(Manifest, journal, "s", True, beside)
    assert again().done(job)
    assert not again().done(Job((left,), (outputs[0],)))
    for path in paths:
        path.write_bytes(b"other")
        assert not again().done(job), path
        path.write_bytes(b"x")
        os.utime(path, ns=(1, 1))
        assert not again().done(job), path
        manifest = again()
        manifest.end(Outcome(job))
        manifest.close()
        assert again().done(job)


def test_what_lies_beside(tmp_path: Path) -> None:
    job = Job(("in/a.jpg",), ("a.ncc",))
    (tmp_path / "a.png").write_bytes(b"")

    def beside(**changes: object) -> tuple[str, ...]:
        return files_beside(job, replace(EncodeOptions(Common(), Encoding()), **changes))  # type: ignore[arg-type]

    assert beside() == ()
    assert beside(original="o.png") == ("o.png",)
    assert beside(roi=RoiOptions(str(tmp_path))) == (str(tmp_path / "a.png"),)
    assert beside(roi=RoiOptions("1,2,3,4")) == ()
    assert beside(roi=RoiOptions(roi_model="onnx:net.onnx,mean=0")) == ("net.onnx",)
    assert files_beside(job, DecodeOptions(Common(), reference="r.png")) == ("r.png",)
    assert files_beside(job, MaskOptions(Common(), "onnx:n.onnx")) == ("n.onnx",)


@pytest.fixture
def folder(small: Pixels, tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for shift in range(4):
        Image.fromarray(np.roll(small, shift, axis=1)).save(tmp_path / f"in/{shift}.png")
    return tmp_path


def test_a_batch_resumes_by_its_manifest(folder: Path) -> None:
    command = ("encode", "in", "--out-dir", "out", "--manifest", "m.jsonl")
    (folder / "in" / "9.png").write_bytes(b"no picture")
    done = run_ncc(*command, cwd=folder)
    assert done.returncode == ExitCode.MEDIA
    assert "4 encoded, 1 failed" in done.stderr
    assert "pictures/s" in done.stderr
    assert [row["input"] for row in read_journal(folder / "m.failed.jsonl")] == ["in/9.png"]
    assert run_ncc(*command, cwd=folder).returncode == ExitCode.USAGE
    before = (folder / "out/2.ncc").read_bytes()
    (folder / "out/2.ncc").write_bytes(b"half")
    (folder / "in" / "9.png").unlink()
    done = run_ncc(*command, "--resume", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "1 encoded, 3 skipped" in done.stderr
    assert (folder / "out/2.ncc").read_bytes() == before


def test_what_was_there_before_is_not_the_manifests(folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "out/0.ncc").write_bytes(b"mine")
    for flags in ((), ("--resume",)):
        command = ("encode", "in/0.png", "--out-dir", "out", "--manifest", "m.jsonl", *flags)
        assert run_ncc(*command, cwd=folder).returncode == ExitCode.USAGE
    assert (folder / "out/0.ncc").read_bytes() == b"mine"


def test_requests_that_make_no_sense(folder: Path) -> None:
    assert "--manifest" in run_ncc("encode", "in", "--resume", cwd=folder).stderr
    assert "pipes" in run_ncc("encode", "-", "-o", "x.ncc", "--manifest", "m", cwd=folder).stderr


@pytest.mark.slow
def test_ray_makes_the_same_files(folder: Path) -> None:
    pytest.importorskip("ray", reason="ray is not installed")
    for engine in ("local", "ray"):
        command = ("encode", "in", "--out-dir", engine, "--engine", engine, "-j", "2", "-q")
        done = run_ncc(*command, "--manifest", f"{engine}.jsonl", cwd=folder)
        assert done.returncode == 0, done.stderr
    names = sorted(path.name for path in (folder / "local").iterdir())
    assert len(names) == 4
    for name in names:
        assert (folder / "local" / name).read_bytes() == (folder / "ray" / name).read_bytes()
    command = ("decode", "ray", "--out-dir", "back", "--engine", "ray", "-j", "2", "--format", "ppm", "-q")
    assert run_ncc(*command, cwd=folder).returncode == 0
    assert len(list((folder / "back").iterdir())) == 4
