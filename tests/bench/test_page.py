"""The report in a real browser: from disk, without network, without a word on the console."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support import Pixels, run_ncc

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

WATCH = """<script>
const heard = [];
for (const kind of ["error", "warn"]) console[kind] = (...words) => heard.push(words.join(" "));
window.addEventListener("error", (event) => heard.push(event.message || "a part did not load"), true);
</script>"""

PROBE = """<script>
for (const id of ["metric", "rate", "left", "right", "time-kind"])
  for (const option of document.getElementById(id).options) {
    document.getElementById(id).value = option.value;
    document.getElementById(id).dispatchEvent(new Event("change"));
  }
document.getElementById("log").click();
document.querySelectorAll("#legend button").forEach((button) => { button.click(); button.click(); });
document.querySelector("#rd .hit").dispatchEvent(new Event("focus"));
const tip = document.getElementById("tip").textContent;
document.getElementById("slide").value = 20;
document.getElementById("slide").dispatchEvent(new Event("input"));
addEventListener("load", () => setTimeout(() => {
  const page = document.documentElement, controls = [...document.querySelectorAll("select, input, button")];
  page.dataset.probe = JSON.stringify({
    heard, tip, wide: page.scrollWidth - page.clientWidth,
    rows: document.querySelectorAll("#bd tbody tr").length,
    points: document.querySelectorAll("#rd .hit").length,
    loaded: [...document.images].every((image) => image.complete && image.naturalWidth > 0),
    named: controls.every((c) => c.labels?.length || c.textContent.trim()),
    clip: document.getElementById("img-left").style.clipPath,
  });
}, 300));
</script>"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, astronaut: Pixels) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    for place in range(2):
        Image.fromarray(np.roll(astronaut[:256, 100:420], 30 * place, 0)).save(folder / f"{place}.png")
    (folder / "peers.tsv").write_text("name\tbpp\tpsnr\n<b>X</script>\t0.1\t25\n<b>X</script>\t1\t35\n")
    command = ("bench", "0.png", "1.png", "-o", "out", "--codecs", "jpeg,webp,jpeg2000")
    done = run_ncc(*command, "--published", "peers.tsv", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "out" / "report.html"


def test_the_page_needs_nothing_else(report: Path) -> None:
    page = report.read_text()
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", page)
    assert "@import" not in page
    assert "fetch(" not in page
    assert page.count("</script>") == page.count("<script")
    assert "{{" not in page


@pytest.mark.skipif(BROWSER is None, reason="no chromium is installed")
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_in_a_browser(report: Path, width: int, tmp_path: Path) -> None:
    page = report.read_text().replace("<main>", WATCH + "<main>").replace("</body>", PROBE + "</body>")
    inner = tmp_path / "probe.html"
    inner.write_text(page)
    # A window cannot be as narrow as a telephone; a frame can.
    outer = tmp_path / "frame.html"
    outer.write_text(
        f'<iframe id="f" src="probe.html" style="width:{width}px;height:3000px;border:0"></iframe><script>'
        "f.onload = () => setTimeout(() => document.body.append(f.contentDocument.documentElement.dataset.probe), 900)"
        "</script>"
    )
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files", "--incognito"]
    flags += [f"--user-data-dir={tmp_path / 'profile'}", "--host-resolver-rules=MAP * ~NOTFOUND"]
    command = [str(BROWSER), *flags, "--window-size=1400,3000", "--virtual-time-budget=8000", "--dump-dom"]
    done = subprocess.run([*command, outer.as_uri()], capture_output=True, text=True, timeout=120)
    text = re.search(r'\{"heard.*\}', unescape(done.stdout))
    assert text, done.stdout[-500:] + done.stderr[-2000:]
    found = json.loads(text[0])
    assert found["heard"] == []
    assert "CONSOLE" not in done.stderr
    assert found["wide"] <= 0
    assert found["rows"] == 4
    assert found["points"] >= 18
    assert found["loaded"]
    assert found["named"]
    assert "dB" in found["tip"]
    assert found["clip"] == "inset(0px 80% 0px 0px)"
