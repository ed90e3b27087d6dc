"""Put the table of results into README.md: `make results`.

The figures come from docs/results/kodak/summary.json, which `make bench` measures.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SUMMARY = ROOT / "docs" / "results" / "kodak" / "summary.json"
BLOCK = re.compile(r"(<!-- results -->\n).*?(<!-- /results -->)", re.DOTALL)

SHOWN = ("VTM 19.1", "mbt2018-mean (8 bit)", "BPG 4:4:4 (x265)")
"""Published curves that the table has; the others are in the report."""


def table(summary: dict[str, Any]) -> str:
    """The table and the line under it, in Markdown."""
    entries = [e for e in summary["entries"] if not e["published"] or e["codec"] in SHOWN]
    entries.sort(key=lambda e: e["bd"].get("psnr", {"percent": 0.0})["percent"])
    lines = [
        "| | BD-rate, PSNR | BD-rate, MS-SSIM |",
        "|---|---:|---:|",
    ]
    for entry in entries:
        anchor = entry["codec"] == summary["anchor"] and not entry["published"]
        rates = ["0" if anchor else _percent(entry["bd"].get(metric)) for metric in ("psnr", "ms_ssim")]
        title = f"{entry['title']}, published" if entry["published"] else entry["title"]
        lines.append(f"| {' | '.join([title, *rates])} |")
    anchor_title = next(e["title"] for e in summary["entries"] if e["codec"] == summary["anchor"])
    count = len(summary["images"])
    note = f"{count} Kodak pictures, against {anchor_title}: more bits, or fewer, for the same quality."
    return "\n".join([*lines, "", note])


def _percent(found: dict[str, float] | None) -> str:
    return f"{found['percent']:+.1f} %" if found else "-"


def with_results(readme: str, summary: dict[str, Any]) -> str:
    """The page with its table renewed."""
    return BLOCK.sub(lambda found: f"{found[1]}{table(summary)}\n{found[2]}", readme)


def main() -> None:
    """Renew README.md."""
    if not SUMMARY.exists():
        sys.exit(f"{SUMMARY} is missing: make bench KODAK=folder measures it")
    page = ROOT / "README.md"
    page.write_text(with_results(page.read_text(), json.loads(SUMMARY.read_text())))


if __name__ == "__main__":
    main()
