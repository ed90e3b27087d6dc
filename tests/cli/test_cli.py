from __future__ import annotations

import io
import json
import os
import re
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import nccli
from nccli.errors import ExitCode
from tests.support import ROOT, Call, Pixels, run_ncc, run_python


@pytest.fixture
def picture(small: Pixels, tmp_path: Path) -> Pixels:
    Image.fromarray(small).save(tmp_path / "a.png")
    return small


def test_encode_and_decode(call: Call, picture: Pixels, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("encode", "a.png", "--lambda", "0.02") == 0
    data = Path("a.ncc").read_bytes()
    assert data == nccli.encode(picture, lmbda=0.02).data
    assert call("decode", "a.ncc", "-o", "b.png", "--reference", "a.png") == 0
    assert np.array_equal(np.asarray(Image.open("b.png")), nccli.decode_array(data))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.search(r"encoded a\.png\n.*output +a\.ncc", captured.err)
    assert captured.err.count("psnr") == 2


def test_json_says_the_same(call: Call, picture: Pixels, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("encode", "a.png", "--json", "--quality", "30") == 0
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert report["input"] == "a.png"
    assert report["output"] == "a.ncc"
    assert report["status"] == "done"
    assert report["bytes"] == Path("a.ncc").stat().st_size
    assert report["bpp"] == pytest.approx(report["bytes"] * 8 / (33 * 47))
    assert report["psnr"] > 15
    assert captured.err == ""


def test_quiet_is_quiet(call: Call, picture: Pixels, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("encode", "a.png", "-q") == call("decode", "a.ncc", "-q", "-o", "b.ppm") == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("option", ["--size", "--bpp", "--psnr"])
def test_targets(call: Call, picture: Pixels, option: str) -> None:
    value = {"--size": 500, "--bpp": 2.0, "--psnr": 30}[option]
    assert call("encode", "a.png", option, str(value), "-q") == 0
    encoded = nccli.encode(picture, **{option[2:]: value})
    assert Path("a.ncc").read_bytes() == encoded.data


def test_nothing_is_overwritten_unasked(
    call: Call, picture: Pixels, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("a.ncc").write_bytes(b"mine")
    assert call("encode", "a.png") == ExitCode.USAGE
    assert Path("a.ncc").read_bytes() == b"mine"
    assert "a.ncc exists; --force" in capsys.readouterr().err
    assert call("encode", "a.png", "--force") == 0
    assert Path("a.ncc").read_bytes() != b"mine"
    assert stat.S_IMODE(Path("a.ncc").stat().st_mode) == stat.S_IMODE(Path("a.png").stat().st_mode)


def test_a_link_stays_a_link(call: Call, picture: Pixels, tmp_path: Path) -> None:
    Path("target.ncc").write_bytes(b"")
    Path("link.ncc").symlink_to("target.ncc")
    assert call("encode", "a.png", "-o", "link.ncc", "--force") == 0
    assert Path("link.ncc").is_symlink()
    assert Path("target.ncc").stat().st_size > 100


def test_devices_are_written_to(call: Call, picture: Pixels) -> None:
    assert call("encode", "a.png", "-o", "/dev/null") == 0
    assert Path("/dev/null").is_char_device()


def test_flags_for_alpha_and_metadata(call: Call, small: Pixels, capsys: pytest.CaptureFixture[str]) -> None:
    image = Image.fromarray(np.dstack([small, small[..., 0]]))
    image.save("a.png", icc_profile=bytes(16) + b"RGB " + bytes(100))
    assert call("encode", "a.png", "-q") == 0
    assert call("info", "a.ncc", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [section["name"] for section in rows["sections"]] == ["latents", "alpha", "icc"]
    assert rows["alpha"]
    assert call("decode", "a.ncc", "-o", "b.png") == 0
    back = Image.open("b.png")
    assert back.mode == "RGBA"
    assert "icc_profile" in back.info
    assert call("decode", "a.ncc", "-o", "c.png", "--strip", "--no-alpha") == 0
    back = Image.open("c.png")
    assert back.mode == "RGB"
    assert "icc_profile" not in back.info
    assert call("encode", "a.png", "-o", "d.ncc", "--strip", "--no-alpha", "-q") == 0
    assert Path("d.ncc").read_bytes() == nccli.encode(small).data
    capsys.readouterr()
    assert call("decode", "a.ncc", "-o", "e.jpg") == 0
    assert "jpg cannot hold transparency" in capsys.readouterr().err


def test_exit_codes(call: Call, picture: Pixels, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("encode", "a.png", "-q") == 0
    good = Path("a.ncc").read_bytes()
    Path("cut.ncc").write_bytes(good[:-9])
    Path("empty.ncc").write_bytes(b"")
    Path("new.ncc").write_bytes(good[:6] + b"\xe1" + good[7:])
    Path("text.png").write_text("no picture")
    cases = [
        (("decode", "cut.ncc"), ExitCode.CORRUPT, "cut.ncc: corrupt file"),
        (("decode", "empty.ncc"), ExitCode.CORRUPT, "empty.ncc"),
        (("info", "cut.ncc"), ExitCode.CORRUPT, "cut.ncc"),
        (("decode", "new.ncc"), ExitCode.UNSUPPORTED, "version 7.1"),
        (("encode", "a.png", "--model", "none", "-f"), ExitCode.UNSUPPORTED, "no model named 'none'"),
        (("encode", "text.png"), ExitCode.MEDIA, "text.png is not a picture"),
        (("encode", "missing.png"), ExitCode.MEDIA, "missing.png"),
        (("encode", "a.png", "-o", "a.png/x.ncc"), ExitCode.MEDIA, "cannot write"),
        (("encode", "a.png", "--lambda", "3", "-f"), ExitCode.USAGE, "lambda 3"),
        (("encode", "a.png", "--size", "9", "--bpp", "1"), ExitCode.USAGE, "only one of"),
        (("encode", "a.png", "--quality", "many"), ExitCode.USAGE, "many"),
        (("encode",), ExitCode.USAGE, "IN"),
        (("encode", "a.png", "--max-pixels", "100", "-f"), ExitCode.MEDIA, "limit of 100 pixels"),
        (("encode", "a.png", "--max-memory", "10M", "-f"), ExitCode.USAGE, "--max-memory"),
        (("decode", "a.ncc", "-o", "z.png", "--max-memory", "10M"), ExitCode.USAGE, "a.ncc is 47x33"),
        (("decode", "a.ncc", "-o", "z.png", "--max-pixels", "100"), ExitCode.MEDIA, "a.ncc"),
        (("encode", "a.png", "--max-memory", "lots", "-f"), ExitCode.USAGE, "'lots'"),
        (("decode", "a.ncc", "-o", "b.xyz"), ExitCode.USAGE, "b.xyz"),
        (("nonsense",), ExitCode.USAGE, "nonsense"),
    ]
    before = sorted(Path().iterdir())
    for args, code, text in cases:
        capsys.readouterr()
        assert call(*args) == code, args
        captured = capsys.readouterr()
        assert text in captured.err, args
        assert "Traceback" not in captured.err
        assert captured.out == ""
    assert sorted(Path().iterdir()) == before


def test_traceback_on_demand(call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--traceback", "encode", "missing.png") == ExitCode.MEDIA
    assert "Traceback" in capsys.readouterr().err


def test_pipes(picture: Pixels, tmp_path: Path) -> None:
    ncc = f"{sys.executable} -c 'from nccli.cli import main; main()'"
    line = f"cat a.png | {ncc} encode - -o - --json 2>report.json | {ncc} decode - -o - --format ppm -q"
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(line, shell=True, cwd=tmp_path, env=environment, capture_output=True, check=True)
    assert np.array_equal(
        np.asarray(Image.open(io.BytesIO(done.stdout))), nccli.decode_array(nccli.encode(picture).data)
    )
    assert json.loads((tmp_path / "report.json").read_text())["output"] == "-"
    line = f"set -o pipefail; {ncc} encode a.png -o - | true"
    broken = subprocess.run(
        ["bash", "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert broken.returncode in (0, ExitCode.MEDIA)
    assert "Traceback" not in broken.stderr
    assert "Exception" not in broken.stderr


def test_environment_variables(call: Call, picture: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NCC_MODEL", "none")
    assert call("encode", "a.png") == ExitCode.UNSUPPORTED
    monkeypatch.setenv("NCC_MODEL", "s")
    monkeypatch.setenv("NCC_DEVICE", "cpu")
    monkeypatch.setenv("NCC_THREADS", "1")
    assert call("encode", "a.png", "-q") == 0
    monkeypatch.setenv("NCC_DEVICE", "toaster")
    assert call("encode", "a.png", "-f") == ExitCode.USAGE


def test_help_and_version(call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("encode", "decode", "info", "models", "completion"):
        assert call(command, "--help") == 0
    text = capsys.readouterr().out
    assert text.count("Examples:") == 3
    assert "Usage: ncc encode" in text
    assert call("--version") == 0


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str, tmp_path: Path) -> None:
    script = run_ncc("completion", shell, cwd=tmp_path)
    assert "_NCC_COMPLETE" in script.stdout


def test_completion_knows_the_options() -> None:
    code = (
        "import os, sys; sys.argv = ['ncc'];"
        "os.environ.update(_NCC_COMPLETE='bash_complete', COMP_WORDS='ncc encode --la', COMP_CWORD='2');"
        "from nccli.cli import main; main()"
    )
    assert "--lambda" in run_python("-c", code).stdout


@pytest.mark.parametrize("args", [("models",), ("--help",), ("info", *["a.ncc"] * 999)])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_readers_may_leave(
    small: Pixels, tmp_path: Path, args: tuple[str, ...], unbuffered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the pipe breaks while a command prints, or when it ends."""
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    (tmp_path / "a.ncc").write_bytes(nccli.encode(small).data)
    reader, writer = os.pipe()
    os.close(reader)
    code = ("-c", "from nccli.cli import main; main()")
    done = run_python(*code, *args, cwd=tmp_path, stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (ExitCode.READER_GONE, "")


@pytest.mark.parametrize("args", [("--help",), ("models",), ("info", "a.ncc"), ("encode", "--help")])
def test_light_commands_load_no_heavy_modules(small: Pixels, tmp_path: Path, args: tuple[str, ...]) -> None:
    (tmp_path / "a.ncc").write_bytes(nccli.encode(small, roi="8,8,20,20").data)
    code = (
        "import atexit, sys;"
        "atexit.register(lambda: print(sorted({'torch', 'numpy', 'PIL', 'av'} & set(sys.modules))));"
        "from nccli.cli import main; main()"
    )
    done = run_python("-c", code, *args, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_models_and_verify(call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("models", "--verify", "--json") == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["state"] for row in rows} - {"available"} == {"verified"}


@pytest.mark.parametrize("name", ["s", "seg"])
def test_models_show_prints_the_card(call: Call, capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert call("models", "show", name) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"# Model `{name}`")
    (path,) = (path for path in (ROOT / "models").glob(f"{name}-*.md") if path.read_text() == text)
    assert path.with_suffix(".safetensors").is_file()


@pytest.mark.parametrize(
    ("name", "error"), [("nothing", "there are: .*seg"), ("zoo:mbt2018-1", "no card here")]
)
def test_models_show_of_others_is_an_error(
    call: Call, capsys: pytest.CaptureFixture[str], name: str, error: str
) -> None:
    assert call("models", "show", name) == 4
    assert re.search(error, capsys.readouterr().err)


def test_models_fit_a_narrow_terminal(call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("models") == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("zoo:bmshj2018-hyperprior-1 ") and "available" in line for line in lines)


def test_man_page_is_up_to_date() -> None:
    from tools.make_man import man_page

    assert (ROOT / "docs" / "ncc.1").read_text() == man_page()


def test_the_program_is_installed_as_ncc() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"ncc": "nccli.cli:main"}
