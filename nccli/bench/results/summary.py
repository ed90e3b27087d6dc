"""Everything that a run says, for programs (summary.json), tables and pages alike."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from nccli.bench.codecs import Codec, release
from nccli.bench.machine import Machine, this_machine
from nccli.bench.results.curves import METRICS, Curve, Difference, complete_images, curve_of, difference
from nccli.bench.results.published import Published
from nccli.bench.rows import Row
from nccli.bench.runner import Comparison, Measurements

LIMIT = 5.0
"""BD-rate points within which a measurement is said to agree with published figures."""


@dataclass(frozen=True)
class Missing:
    """A codec that was asked for and could not be run."""

    codec: str
    why: str


@dataclass(frozen=True)
class Results:
    """One codec's results.

    Attributes:
        codec: name.
        title: for people.
        published: whether the figures are somebody else's.
        about: fixed settings, or the source of published figures.
        knob: what a setting is.
        release: what it runs on.
        curve: averages over the pictures that all codecs have.
        bd: metric -> BD-rate against the anchor; metrics that cannot be compared are left out.
        bd_pictures: metric -> mean of the pictures' own BD-rates.
        encode_ratio: time to encode, as a multiple of the anchor's in the same run.
        decode_ratio: likewise.
        peak_mb: largest memory.
    """

    codec: str
    title: str
    published: bool
    about: str
    knob: str
    release: str
    curve: Curve
    bd: dict[str, Difference]
    bd_pictures: dict[str, float]
    encode_ratio: float | None
    decode_ratio: float | None
    peak_mb: float | None


@dataclass(frozen=True)
class Agreement:
    """A measured curve beside a published one with the same settings.

    Attributes:
        codec: ours.
        published: theirs.
        direct: BD-rate in percent of ours against theirs.
        measured: BD-rate of ours against our anchor.
        expected: of theirs against the anchor's published curve.
        agrees: whether `direct`, and the difference of the other two, is within `LIMIT` points.
    """

    codec: str
    published: str
    direct: float
    measured: float | None
    expected: float | None
    agrees: bool


@dataclass(frozen=True)
class Summary:
    """A whole run.

    Attributes:
        anchor: codec that the others are compared with.
        method: of interpolation between points.
        images: that all codecs have at all settings, and the averages are over.
        left_out: images that some codec failed on.
        metrics: that were measured.
        threads: CPU threads per process.
        workers: processes per codec.
        machine: that it ran on.
        entries: codecs, then published curves.
        agreement: with published figures.
        missing: codecs that could not be run.
        failures: cases that failed.
    """

    anchor: str
    method: str
    images: tuple[str, ...]
    left_out: tuple[str, ...]
    metrics: tuple[str, ...]
    threads: int
    workers: int
    machine: Machine
    entries: tuple[Results, ...]
    agreement: tuple[Agreement, ...]
    missing: tuple[Missing, ...]
    failures: int

    def json(self) -> bytes:
        """For programs."""
        return (json.dumps(asdict(self), indent=1) + "\n").encode()


def summarise(
    comparison: Comparison,
    measured: Measurements,
    missing: Sequence[Missing],
    published: Sequence[Published],
    method: str,
) -> Summary:
    """What a run came to."""
    settings = {codec.name: codec.settings for codec in comparison.codecs}
    have = {name: images for name, images in complete_images(measured.rows, settings).items() if images}
    common = set.intersection(*have.values()) if have else set()
    rows = {name: [r for r in measured.rows if r.codec == name and r.image in common] for name in have}
    anchor_rows = rows.get(comparison.anchor, [])
    anchor = curve_of(anchor_rows)
    entries = [
        _entry(codec, rows[codec.name], anchor, anchor_rows, measured, method)
        for codec in comparison.codecs
        if rows.get(codec.name)
    ]
    others = [_published_entry(item, anchor, method) for item in published]
    named = {image.name for image in comparison.images}
    return Summary(
        anchor=comparison.anchor,
        method=method,
        images=tuple(sorted(common)),
        left_out=tuple(sorted(named - common)),
        metrics=("psnr", *(name.replace("-", "_") for name in comparison.metrics)),
        threads=comparison.threads,
        workers=comparison.workers,
        machine=this_machine(),
        entries=(*entries, *others),
        agreement=tuple(_agreements(entries, published, comparison.anchor, method)),
        missing=tuple(missing),
        failures=measured.failures,
    )


def _differences(anchor: Curve, curve: Curve, method: str) -> dict[str, Difference]:
    found = {metric: difference(anchor, curve, metric, method) for metric in METRICS}
    return {metric: value for metric, value in found.items() if value is not None}


def _entry(
    codec: Codec,
    rows: list[Row],
    anchor: Curve,
    anchor_rows: list[Row],
    measured: Measurements,
    method: str,
) -> Results:
    curve = curve_of(rows)
    again = list(measured.timings)
    return Results(
        codec=codec.name,
        title=codec.title,
        published=False,
        about=codec.about,
        knob=codec.knob,
        release=release(codec),
        curve=curve,
        bd=_differences(anchor, curve, method),
        bd_pictures=_picture_means(rows, anchor_rows, method),
        encode_ratio=_ratio(rows, anchor_rows + again, "encode_s"),
        decode_ratio=_ratio(rows, anchor_rows + again, "decode_s"),
        peak_mb=max(row.peak_mb for row in rows),
    )


def _picture_means(rows: list[Row], anchor_rows: list[Row], method: str) -> dict[str, float]:
    """Mean of BD-rates of single pictures, for metrics that every picture has."""
    means = {}
    images = sorted({row.image for row in rows})
    curves = [
        [curve_of([row for row in some if row.image == image]) for some in (anchor_rows, rows)]
        for image in images
    ]
    for metric in METRICS:
        found = [difference(one, two, metric, method) for one, two in curves]
        values = [value.percent for value in found if value is not None]
        if values and len(values) == len(found):
            means[metric] = sum(values) / len(values)
    return means


def _ratio(rows: list[Row], anchor_rows: list[Row], name: str) -> float | None:
    """Mean time as a multiple of the anchor's, on images that both were timed on in the same run."""
    ours = _times(rows, name)
    theirs = _times(anchor_rows, name)
    shared = ours.keys() & theirs.keys()
    if not shared:
        return None
    total = sum(ours[key] for key in shared)
    return total / max(sum(theirs[key] for key in shared), 1e-9)


def _times(rows: list[Row], name: str) -> dict[tuple[str, str], float]:
    """Mean seconds over the settings, by run and image."""
    found: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        found.setdefault((row.run, row.image), []).append(getattr(row, name))
    return {key: sum(values) / len(values) for key, values in found.items()}


def _published_entry(item: Published, anchor: Curve, method: str) -> Results:
    return Results(
        codec=item.name,
        title=item.name,
        published=True,
        about="; ".join(filter(None, (item.settings, item.source))),
        knob="",
        release="",
        curve=item.curve,
        bd=_differences(anchor, item.curve, method),
        bd_pictures={},
        encode_ratio=None,
        decode_ratio=None,
        peak_mb=None,
    )


def _agreements(
    entries: Sequence[Results], published: Sequence[Published], anchor: str, method: str
) -> list[Agreement]:
    """Measured curves beside published ones that name them."""
    curves = {entry.codec: entry.curve for entry in entries}
    base = next((item.curve for item in published if item.matches == anchor), None)
    found = []
    for item in published:
        ours = curves.get(item.matches)
        direct = difference(item.curve, ours, "psnr", method) if ours else None
        if ours is None or direct is None:
            continue
        measured = difference(curves[anchor], ours, "psnr", method) if anchor in curves else None
        expected = difference(base, item.curve, "psnr", method) if base else None
        apart = abs(measured.percent - expected.percent) if measured and expected else 0.0
        found.append(
            Agreement(
                codec=item.matches,
                published=item.name,
                direct=direct.percent,
                measured=measured.percent if measured else None,
                expected=expected.percent if expected else None,
                agrees=max(abs(direct.percent), apart) <= LIMIT,
            )
        )
    return found
