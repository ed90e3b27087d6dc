"""The table of BD-rates and times, as text for terminals and as Markdown. Standard library only."""

from __future__ import annotations

from nccli.bench.results.summary import Results, Summary

BD_TITLES = {"psnr": "PSNR", "ms_ssim": "MS-SSIM", "lpips": "LPIPS", "psnr_roi": "PSNR in ROI"}


def header(summary: Summary) -> list[str]:
    """Titles of the columns."""
    rates = [f"BD-rate, {BD_TITLES[metric]}" for metric in _metrics(summary)]
    return ["codec", *rates, "encoding time", "decoding time", "memory"]


def lines(summary: Summary) -> list[list[str]]:
    """One line per codec, the best at the top."""
    metrics = _metrics(summary)
    ranked = sorted(summary.entries, key=_rank)
    return [
        [
            f"{entry.title} (published)" if entry.published else entry.title,
            *(_percent(entry, metric, summary.anchor) for metric in metrics),
            _times(entry.encode_ratio),
            _times(entry.decode_ratio),
            f"{entry.peak_mb:.0f} MB" if entry.peak_mb else "",
        ]
        for entry in ranked
    ]


def as_text(summary: Summary) -> str:
    """Aligned columns."""
    rows = [header(summary), *lines(summary)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    out = []
    for row in rows:
        first, *rest = (
            cell.ljust(w) if i == 0 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        out.append("  ".join([first, *rest]).rstrip())
    return "\n".join(out)


def _metrics(summary: Summary) -> list[str]:
    return [metric for metric in BD_TITLES if any(metric in entry.bd for entry in summary.entries)]


def _rank(entry: Results) -> float:
    return entry.bd["psnr"].percent if "psnr" in entry.bd else float("inf")


def _percent(entry: Results, metric: str, anchor: str) -> str:
    if entry.codec == anchor:
        return "0"
    found = entry.bd.get(metric)
    return f"{found.percent:+.1f} %" if found else ""


def _times(ratio: float | None) -> str:
    if ratio is None:
        return ""
    return f"x {ratio:.3g}"
