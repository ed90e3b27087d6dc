"""Measure latent refinement and write docs/results/refine.md.

    python tools/measure_refine.py PICTURE... [--only methods,steps,...] [--centre 384x256] [--threads 2]

Every run is one line of refine.jsonl beside the page; what is there already is not run again, so the
script may be stopped and started, and given more pictures. All figures are of whole real files and
8-bit samples. `--centre` takes the middle of each picture: time goes with area. `--short` divides all
numbers of steps, to try the script itself.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

import nccli
from nccli.catalogue.entries import DEFAULT_MODEL, find
from nccli.codec.encoding import Encoding, Rate
from nccli.codec.refining import THREE_CLASSES, Method, RefineOptions, preset
from nccli.engine.journal import Journal, read_journal
from nccli.files import read_bytes
from nccli.masks.mask import Choice, select
from nccli.media.metrics import psnr
from nccli.media.picture import Picture
from nccli.media.still import read_picture
from nccli.program.inputs import limit_threads
from nccli.refinement.importance import importance_of

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results"
LAMBDA = 0.01
CURVE = (0.001, 0.0025, 0.006, 0.015, 0.04)
AWAY = (0.25, 4.0)
FROM_FILE = "from its file"
"""The variant that refines a file of `LAMBDA` towards another lambda, with nothing held."""

NEVER = (0.0005, 0.002, 0.008, 0.03, 0.12)
SIZES = (0.15, 0.4, 1.0)
"""Bits per pixel of the size targets."""

REGION_SIZES = (0.4, 1.0)
CHECKER = 64
"""Pixels a side of the squares of the region of interest."""


@dataclass(frozen=True)
class Case:
    """One run on one picture.

    Attributes:
        part: of the report.
        name: of the variant.
        lmbda: of the objective.
        steps: of the optimiser; 0 is the plain encode.
        size: target, bits per pixel; 0 for none.
    """

    part: str
    name: str
    lmbda: float
    steps: int
    size: float = 0.0


def cases() -> Iterator[tuple[Case, RefineOptions | None]]:
    """All runs: what they are and how to refine; None is the plain encode."""
    yield Case("methods", "plain", LAMBDA, 0), None
    for steps, base in ((500, "default"), (2000, "best")):
        for method in Method:
            yield Case("methods", str(method), LAMBDA, steps), replace(preset(base), method=method)
        for method in THREE_CLASSES:
            options = replace(preset(base), method=method, classes=3)
            yield Case("methods", f"{method}, three classes", LAMBDA, steps), options
    for factor in AWAY:
        lmbda = LAMBDA * factor
        yield Case("steps", "plain", lmbda, 0), None
        for naive in (True, False):
            options = replace(preset("default"), base_lambda=LAMBDA, naive=naive)
            yield Case("steps", "naive" if naive else "enhanced", lmbda, 500), options
        yield Case("steps", FROM_FILE, lmbda, 500), preset("default")
    for lmbda in CURVE:
        yield Case("curve", "plain", lmbda, 0), None
        for name in ("fast", "default", "best"):
            yield Case("curve", name, lmbda, preset(name).steps), preset(name)
    for lmbda in NEVER:
        yield Case("never", "plain", lmbda, 0), None
        yield Case("never", "fast", lmbda, 100), preset("fast")
    for size in SIZES:
        yield Case("size", "plain", 0.0, 0, size), None
        yield Case("size", "default", 0.0, 500, size), preset("default")
    for size in REGION_SIZES:
        yield Case("region", "plain", 0.0, 0, size), None
        yield Case("region", "default", 0.0, 500, size), preset("default")
    for weight in (0.0, 1.0, 4.0):
        options = replace(preset("default"), metrics=(("mse", 1.0), ("features", weight)))
        yield Case("features", f"features={weight:g}", 0.0, 500, 0.25), options


def checkerboard(height: int, width: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """True inside the region."""
    rows, columns = np.indices((height, width)) // CHECKER
    return np.asarray((rows + columns) % 2 == 0)


def run(case: Case, options: RefineOptions | None, picture: Picture, short: int) -> dict[str, Any]:
    """Encode one picture and measure the file."""
    pixels = picture.pixels
    target: dict[str, Any] = {"lmbda": case.lmbda}
    if case.size:
        target = {"size": int(case.size * picture.height * picture.width / 8)}
    inside = checkerboard(picture.height, picture.width)
    if options is None:
        data, improved = nccli.encode(pixels, **target).data, False
    else:
        options = replace(options, steps=max(options.steps // short, 1))
        region, importance = None, None
        if case.part == "region":
            selection = select((inside * 255).astype(np.uint8), Choice(feather=0))
            region, importance = selection.region, importance_of(selection.mask, None)
        encoding = Encoding(Rate(**target), measure=False, region=region, refine=options)
        if case.name == FROM_FILE:
            stored = nccli.encode(pixels, lmbda=LAMBDA).data
            refined = nccli.refine_file(stored, Picture(pixels), encoding)
        else:
            refined = nccli.refine_picture(Picture(pixels), encoding, importance)
        data, improved = refined.data, refined.improved
    decoded = nccli.decode_array(data).reshape(pixels.shape)
    bpp = len(data) * 8 / (picture.height * picture.width)
    squared = float(((decoded.astype(np.float64) - pixels) ** 2).mean())
    row: dict[str, Any] = {
        "bytes": len(data),
        "bpp": bpp,
        "psnr": psnr(pixels, decoded),
        "objective": bpp + case.lmbda * squared,
        "improved": improved,
        "step_y": nccli.read_container(data).header.step_y,
    }
    if case.part == "region":
        row["inside"] = psnr(pixels[inside][None], decoded[inside][None])
    if case.part == "features":
        row["features"] = feature_distance(pixels, decoded)
    return row


def feature_distance(x: nccli.Picture | Any, x_hat: Any) -> float:
    """The feature metric of a decoded picture."""
    import torch

    from nccli.refinement.descent.metric import Source, make_metric

    device = torch.device("cpu")
    a, b = (Source(p).distortion(slice(None), slice(None), device).x for p in (x, x_hat))
    with torch.no_grad():
        return float(make_metric("features", None, device)(b, a))


def load(places: list[Path], centre: tuple[int, int] | None) -> Iterator[tuple[str, Picture]]:
    """Pictures and their names; of `centre`, width and height, just the middle."""
    for place in places:
        picture = read_picture(read_bytes(str(place)), str(place), 2**27)
        name = place.stem
        if centre:
            wide, high = min(centre[0], picture.width), min(centre[1], picture.height)
            top, left = (picture.height - high) // 2, (picture.width - wide) // 2
            picture = Picture(np.ascontiguousarray(picture.pixels[top : top + high, left : left + wide]))
            name += f" {wide}x{high}"
        yield name, picture


def measure(
    pictures: Iterable[tuple[str, Picture]], parts: set[str], short: int, path: Path
) -> list[dict[str, Any]]:
    """Run what is missing in the journal at `path`; returns all its rows of this model."""
    model = find(DEFAULT_MODEL).sha256[:8]
    rows = read_journal(path)
    done = {(r["picture"], r["model"], r["short"], *(r[k] for k in asdict(Case("", "", 0, 0)))) for r in rows}
    journal = Journal(path, fresh=False)
    for name, picture in pictures:
        for case, options in cases():
            key = {"picture": name, "model": model, "short": short} | asdict(case)
            if tuple(key.values()) in done or not {case.part, f"{case.part}/{case.name}"} & parts:
                continue
            row = key | run(case, options, picture, short)
            journal.append(row)
            rows.append(row)
            print(f"{name} {case}: {row['bpp']:.4f} bpp, {row['psnr']:.3f} dB", flush=True)
    journal.close()
    return [r for r in rows if r["model"] == model and r["short"] == short]


Rows = list[dict[str, Any]]


def average(rows: Rows, value: str) -> float:
    """Mean over the pictures; nan when there are none."""
    return mean(r[value] for r in rows) if rows else math.nan


def chosen(rows: Rows, **wanted: object) -> Rows:
    """The rows with these values."""
    return [r for r in rows if all(r[k] == v for k, v in wanted.items())]


def methods_table(rows: Rows) -> list[str]:
    """Objective of every method."""
    plain = average(chosen(rows, part="methods", name="plain"), "objective")
    lines = [f"Plain encode: {plain:.4f}.", "", "| method | 500 steps | 2000 steps |", "|---|---|---|"]
    names = list(dict.fromkeys(r["name"] for r in chosen(rows, part="methods") if r["steps"]))
    for name in names:
        found = [
            average(chosen(rows, part="methods", name=name, steps=steps), "objective")
            for steps in (500, 2000)
        ]
        lines.append(f"| {name} | {found[0]:.4f} | {found[1]:.4f} |")
    return lines


def steps_table(rows: Rows) -> list[str]:
    """Naive against enhanced, away from the rate point; and a file of that point, free to leave it."""
    lines = [
        "| lambda | plain, at its own rate point | naive | enhanced | its step_y | from a file, free |",
        "|---|---|---|---|---|---|",
    ]
    for factor in AWAY:
        lmbda = LAMBDA * factor
        names = ("plain", "naive", "enhanced", FROM_FILE)
        found = [chosen(rows, part="steps", name=n, lmbda=lmbda) for n in names]
        values = [f"{average(f, 'objective'):.4f}" for f in found]
        values.insert(3, f"{average(found[2], 'step_y'):+.0f}")
        lines.append(f"| {lmbda:g} | {' | '.join(values)} |")
    return lines


def curve_table(rows: Rows) -> list[str]:
    """BD-rate of the presets against no refinement."""
    lines = ["| preset | steps | pictures | BD-rate | best | worst |", "|---|---|---|---|---|---|"]
    for name in ("fast", "default", "best"):
        rates = []
        for picture in {r["picture"] for r in rows}:
            curves = [
                sorted((r["psnr"], r["bpp"]) for r in chosen(rows, part="curve", name=n, picture=picture))
                for n in ("plain", name)
            ]
            if all(len(c) == len(CURVE) for c in curves):
                rates.append(bd_rate(*curves))
        values = (mean(rates), min(rates), max(rates)) if rates else ()
        shown = " | ".join(f"{v:+.2f} %" for v in values) or "- | - | -"
        lines.append(f"| {name} | {preset(name).steps} | {len(rates)} | {shown} |")
    return lines


def bd_rate(anchor: list[tuple[float, float]], other: list[tuple[float, float]]) -> float:
    """Percent of rate at equal PSNR, negative is better: piecewise linear in (dB, log rate)."""
    (a_psnr, a_rate), (b_psnr, b_rate) = (tuple(zip(*c, strict=True)) for c in (anchor, other))
    at = np.linspace(max(a_psnr[0], b_psnr[0]), min(a_psnr[-1], b_psnr[-1]), 500)
    gap = np.interp(at, b_psnr, np.log(b_rate)) - np.interp(at, a_psnr, np.log(a_rate))
    return float(100 * math.expm1(gap.mean()))


def never_table(rows: Rows) -> list[str]:
    """How often refinement was worse, and its mean gain."""
    lines = ["| lambda | pictures | worse than plain | mean change of the objective |", "|---|---|---|---|"]
    for lmbda in NEVER:
        plain = {r["picture"]: r["objective"] for r in chosen(rows, part="never", name="plain", lmbda=lmbda)}
        refined = chosen(rows, part="never", name="fast", lmbda=lmbda)
        changes = [r["objective"] / plain[r["picture"]] - 1 for r in refined if r["picture"] in plain]
        worse = sum(c > 0 for c in changes)
        value = f"{100 * mean(changes):+.2f} %" if changes else "-"
        lines.append(f"| {lmbda:g} | {len(changes)} | {worse} | {value} |")
    return lines


def size_table(rows: Rows) -> list[str]:
    """How near the size targets are met, and what it gains."""
    lines = [
        "| wanted bpp | smallest met | largest met | PSNR plain | PSNR refined |",
        "|---|---|---|---|---|",
    ]
    for size in SIZES:
        plain, refined = (chosen(rows, part="size", name=n, size=size) for n in ("plain", "default"))
        met = [100 * r["bpp"] / size for r in refined] or [math.nan]
        values = f"{average(plain, 'psnr'):.3f} | {average(refined, 'psnr'):.3f}"
        lines.append(f"| {size:g} | {min(met):.2f} % | {max(met):.2f} % | {values} |")
    return lines


def region_table(rows: Rows) -> list[str]:
    """A checkerboard as the region, at equal size."""
    lines = [f"Squares of {CHECKER} pixels.", "", "| bpp | | PSNR inside | PSNR |", "|---|---|---|---|"]
    for size in REGION_SIZES:
        for name, title in (("plain", "uniform encode"), ("default", "refined with the mask")):
            found = chosen(rows, part="region", name=name, size=size)
            lines.append(
                f"| {size:g} | {title} | {average(found, 'inside'):.2f} | {average(found, 'psnr'):.2f} |"
            )
    return lines


def features_table(rows: Rows) -> list[str]:
    """Squared error against the feature metric at 0.25 bpp."""
    lines = ["| weight | bpp | features | PSNR |", "|---|---|---|---|"]
    for name in dict.fromkeys(r["name"] for r in chosen(rows, part="features")):
        found = chosen(rows, part="features", name=name)
        values = (average(found, key) for key in ("bpp", "features", "psnr"))
        lines.append(f"| {name.partition('=')[2]} | " + " | ".join(f"{v:.4f}" for v in values) + " |")
    return lines


PARTS: dict[str, tuple[str, Callable[[Rows], list[str]]]] = {
    "curve": ("BD-rate against the same model without refinement", curve_table),
    "methods": (f"Methods: bpp + lambda * 255^2 * MSE at lambda {LAMBDA:g}", methods_table),
    "steps": (f"Away from the rate point of lambda {LAMBDA:g}: the same objective", steps_table),
    "never": ("Never worse: preset fast", never_table),
    "size": ("Size targets: preset default", size_table),
    "region": ("A checkerboard as the region of interest", region_table),
    "features": ("Squared error and features at equal size", features_table),
}


def _named(pictures: set[str]) -> str:
    """What was measured: how many pictures, how much of each, their names."""
    names, _, sizes = zip(*(picture.partition(" ") for picture in sorted(pictures)), strict=True)
    part = f", the middle {' or '.join(sorted(set(sizes)))} pixels of" if any(sizes) else ":"
    return f"{len(names)} pictures{part} {', '.join(names)}."


def report(rows: Rows) -> str:
    """The page."""
    lines = ["# Latent refinement, measured", ""]
    lines += ["Written by `tools/measure_refine.py`: whole files, 8-bit samples, means over the pictures."]
    lines += ["", f"Model: {DEFAULT_MODEL}, {find(DEFAULT_MODEL).sha256[:8]}."]
    for part, (title, table) in PARTS.items():
        if found := chosen(rows, part=part):
            lines += ["", f"## {title}", "", *table(rows), "", _named({r["picture"] for r in found})]
    return "\n".join([*lines, ""])


def _size(text: str) -> tuple[int, int]:
    wide, high = text.split("x")
    return int(wide), int(high)


def main() -> None:
    """Measure what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("pictures", nargs="+", type=Path)
    parser.add_argument("--only", default=",".join(PARTS), help="PART or PART/NAME, separated by commas")
    parser.add_argument("--centre", type=_size, metavar="WxH", help="measure just the middle of each picture")
    parser.add_argument("--short", type=int, default=1, help="divide all numbers of steps by this")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--out", type=Path, default=RESULTS / "refine.md")
    options = parser.parse_args()
    if options.threads:
        limit_threads(options.threads)
    parts = set(re.split(r"[,\s]+", options.only))
    if unknown := {part for part in parts if part.partition("/")[0] not in PARTS}:
        parser.error(f"no such part: {', '.join(unknown)}")
    pictures = load(options.pictures, options.centre)
    rows = measure(pictures, parts, options.short, options.out.with_suffix(".jsonl"))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(report(rows))


if __name__ == "__main__":
    main()
