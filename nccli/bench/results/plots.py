"""Rate-distortion and time plots as SVG and PNG, with matplotlib."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from nccli.bench.results.curves import METRICS
from nccli.bench.results.summary import Results, Summary
from nccli.bench.results.table import BD_TITLES

SIZE = (8.0, 5.0)
"""Inches."""

DPI = 150
MAX_BPP = 2.0
"""Higher rates are of no interest in a plot with a linear axis."""

MARKERS = "osD^vP*X<>"


def make_plots(summary: Summary) -> dict[str, bytes]:
    """File name -> contents."""
    made: dict[str, bytes] = {}
    for metric in METRICS:
        if any(METRICS[metric](point) is not None for entry in summary.entries for point in entry.curve):
            made |= _files(f"rd-{metric}", lambda axes, metric=metric: _rates(axes, summary, metric))  # type: ignore[misc]
    if any(entry.encode_ratio for entry in summary.entries):
        made |= _files("time", lambda axes: _times(axes, summary))
    return made


def _files(name: str, draw: Callable[[Any], None]) -> dict[str, bytes]:
    import matplotlib
    from matplotlib.figure import Figure

    found = {}
    # Text stays text, and the same figures give the same file.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "ncc"}):
        for kind in ("svg", "png"):
            figure = Figure(figsize=SIZE, layout="constrained")
            draw(figure.subplots())
            out = io.BytesIO()
            metadata = {"Date": None} if kind == "svg" else {"Software": None}
            figure.savefig(out, format=kind, dpi=DPI, metadata=metadata)
            found[f"{name}.{kind}"] = out.getvalue()
    return found


def _rates(axes: Any, summary: Summary, metric: str) -> None:
    quality = METRICS[metric]
    for place, entry in enumerate(summary.entries):
        points = [
            (p.bpp, value) for p in entry.curve if (value := quality(p)) is not None and p.bpp <= MAX_BPP
        ]
        if points:
            axes.plot(*zip(*points, strict=True), label=_label(entry), **_style(entry, place))
    axes.set_xlabel("bits per pixel")
    axes.set_ylabel(f"{BD_TITLES[metric]}, dB")
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, ncols=2)


def _times(axes: Any, summary: Summary) -> None:
    for place, entry in enumerate(summary.entries):
        rate = 0.0 if entry.codec == summary.anchor else None
        rate = entry.bd["psnr"].percent if rate is None and "psnr" in entry.bd else rate
        if entry.encode_ratio and rate is not None:
            axes.scatter(
                [entry.encode_ratio], [rate], marker=MARKERS[place % len(MARKERS)], color=f"C{place % 10}"
            )
            offset = {"xytext": (6, 4), "textcoords": "offset points", "fontsize": 8}
            axes.annotate(entry.title, (entry.encode_ratio, rate), **offset)
    axes.set_xscale("log")
    axes.set_xlabel("encoding time as a multiple of the anchor's")
    axes.set_ylabel("BD-rate (PSNR), %")
    axes.grid(alpha=0.3)


def _label(entry: Results) -> str:
    return f"{entry.title} (published)" if entry.published else entry.title


def _style(entry: Results, place: int) -> dict[str, Any]:
    wide = entry.codec.startswith("ncc") and not entry.published
    return {
        "color": f"C{place % 10}",
        "marker": None if entry.published else MARKERS[place % len(MARKERS)],
        "markersize": 4,
        "linestyle": "--" if entry.published else "-",
        "linewidth": 2.4 if wide else 1.3,
    }
