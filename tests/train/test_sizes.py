"""Every size of the image model is trained, resumed and exported with hardly a library."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from nccli.catalogue.load import load_file
from nccli.coding.payload import read_payload
from nccli.coding.sender import send
from nccli.networks.entry import Entry
from nccli.networks.image_model import CONFIGS
from tests.support import Pixels, analysed, run_python, setting_of

SCRIPT = Path(__file__).with_name("bare_training.py")


def test_libraries_are_refused(tmp_path: Path) -> None:
    """The script would notice an import."""
    code = f"import runpy; m = runpy.run_path({str(SCRIPT)!r}); import sys; "
    code += "sys.meta_path.insert(0, m['Refusal'](m['REFUSED']['train'])); import constriction"
    result = run_python("-c", code)
    assert "constriction is refused" in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("size", CONFIGS)
def test_every_size_trains_resumes_and_exports(size: str, tmp_path: Path, small: Pixels) -> None:
    for stage in ("train", "export"):
        (tmp_path / "models").mkdir(exist_ok=True)
        result = run_python(str(SCRIPT), stage, size, str(tmp_path))
        assert result.returncode == 0, result.stderr
    entry = Entry.of(json.loads((tmp_path / "models" / "index.json").read_text())[0])
    assert result.stdout.strip() == str(tmp_path / "models" / entry.file)
    weights = load_file(tmp_path / "models" / entry.file, entry, torch.device("cpu"))
    with torch.inference_mode():
        latents = analysed(weights, small, 0.01)
        stream = send(weights, latents, setting_of(weights, 0.01))
    read = read_payload(weights, latents.grid, stream.setting, stream.payload)
    assert (read.y_hat == stream.y_hat).all()
