"""From a comparison to rows: which cases are left, who does them, what is kept when it stops half-way."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from nccli import files
from nccli.bench.codecs import Codec, digest, release
from nccli.bench.frames import CLIP_SUFFIXES, find_mask, is_clip
from nccli.bench.measure import Case, measure
from nccli.bench.rows import Row, read_rows, row_of
from nccli.engine import make_engine
from nccli.engine.journal import Journal, read_journal
from nccli.errors import ExitCode, UsageError
from nccli.media.formats import PICTURE_SUFFIXES
from nccli.program.job import Failure
from nccli.program.plan import plan

MANIFEST, FAILURES, RESULTS, TIMINGS = "manifest.jsonl", "failures.jsonl", "results.tsv", "timings.tsv"
PICTURES = "pictures"

TIMED_AGAIN = 3
"""Images on which the anchor is timed again when a resumed run has none of its times."""


@dataclass(frozen=True)
class Image:
    """A picture or clip to measure on.

    Attributes:
        name: in the tables.
        path: of the file.
        sha256: of the file.
        mask: path of its region of interest.
    """

    name: str
    path: str
    sha256: str
    mask: str | None


@dataclass(frozen=True)
class Comparison:
    """What is measured, and how.

    Attributes:
        codecs: in the order of the tables.
        images: likewise.
        metrics: beside PSNR.
        anchor: name of the codec that the others are compared with.
        folder: of the results.
        engine: where the work is done.
        workers: processes per codec.
        threads: CPU threads of each.
        device: where networks run.
        repeat: timed runs per row.
        frames: most frames of a clip.
        pictures: how many images the report shows.
        run: name of this run.
    """

    codecs: tuple[Codec, ...]
    images: tuple[Image, ...]
    metrics: tuple[str, ...]
    anchor: str
    folder: Path
    engine: str
    workers: int
    threads: int
    device: str
    repeat: int
    frames: int
    pictures: int
    run: str


class Watcher(Protocol):
    """Who is told how it goes."""

    def begin(self, cases: int) -> None:
        """So many cases are to be done."""

    def step(self) -> None:
        """One is done."""

    def failed(self, image: str, codec: str, failure: Failure) -> None:
        """One is not."""


Attempt = Callable[[Callable[[], Row]], Row | Failure]
"""Turns an error into a `Failure`."""


@dataclass(frozen=True)
class Measurements:
    """What a comparison came to.

    Attributes:
        rows: by codec, image and setting, in the comparison's order.
        kept: rows of earlier runs, of codecs that this comparison does not name.
        timings: the anchor's further times, in runs that needed none of its rows but that have others here.
        failures: how many cases failed.
        exit_code: of the first failure.
    """

    rows: tuple[Row, ...]
    kept: tuple[Row, ...]
    timings: tuple[Row, ...]
    failures: int
    exit_code: int


def find_images(sources: tuple[str, ...], recursive: bool, roi: str | None) -> tuple[Image, ...]:
    """The pictures and clips behind the arguments, named from the folder that they have in common.

    Raises:
        UsageError: there are none.
        MediaError: one cannot be read at all.
    """
    wanted = (*PICTURE_SUFFIXES, *CLIP_SUFFIXES)
    paths = list(dict.fromkeys(job.source for job in plan(sources, None, None, recursive, wanted, ".ncc")))
    if files.STREAM in paths:
        raise UsageError("bench takes files, not pipes")
    common = os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths])
    found = []
    for path in paths:
        name = Path(os.path.relpath(path, common)).as_posix()
        sha256 = hashlib.sha256(files.read_bytes(path)).hexdigest()
        found.append(Image(name, path, sha256, find_mask(roi, name) if roi else None))
    return tuple(found)


def cases_of(comparison: Comparison, codec: Codec) -> list[Case]:
    """The cases of one codec; a codec for stills has none on clips."""
    cases = []
    version = release(codec)
    for place, image in enumerate(comparison.images):
        if is_clip(image.path) and not codec.video:
            continue
        for setting in codec.settings:
            shown = place < comparison.pictures
            how = (
                codec.config,
                version,
                comparison.metrics,
                comparison.threads,
                comparison.repeat,
                comparison.frames,
            )
            mask = hashlib.sha256(files.read_bytes(image.mask)).hexdigest() if image.mask else None
            mark = digest(codec.name, setting, how, comparison.device, image.sha256, mask)
            picture = picture_path(comparison.folder, place, codec, setting) if shown else None
            cases.append(
                Case(
                    codec,
                    setting,
                    image.name,
                    image.path,
                    image.mask,
                    comparison.metrics,
                    comparison.threads,
                    comparison.device,
                    comparison.repeat,
                    comparison.frames,
                    str(picture) if picture else None,
                    comparison.run,
                    mark,
                )
            )
    return cases


def picture_path(folder: Path, place: int, codec: Codec, setting: float) -> Path:
    """Where a decoded picture is kept for the report."""
    name = codec.name.replace(":", "_").replace("+", "_")
    return folder / PICTURES / f"{place}" / f"{name}-{setting:g}.webp"


Known = dict[tuple[str, str], Row]
"""Rows by image and mark: two images may have the same contents."""


def known_rows(folder: Path) -> tuple[Known, list[Row]]:
    """What earlier runs left: rows, and timings."""
    rows: Known = {}
    timings: list[Row] = read_rows(folder / TIMINGS) if (folder / TIMINGS).exists() else []
    if (folder / RESULTS).exists():
        rows = {(row.image, row.mark): row for row in read_rows(folder / RESULTS)}
    for line in read_journal(folder / MANIFEST):
        again = line.pop("again", False)
        try:
            row = row_of(line)
        except (KeyError, ValueError, TypeError):
            continue
        if again:
            timings.append(row)
        else:
            rows[row.image, row.mark] = row
    return rows, list(dict.fromkeys(timings))


def check_folder(folder: Path, resume: bool, force: bool) -> None:
    """Raise UsageError if the folder has results that are neither to be continued nor replaced."""
    for name in (MANIFEST, RESULTS):
        if (folder / name).exists() and not (resume or force):
            raise UsageError(f"{folder / name} exists; --resume continues it, --force begins anew")


def measure_all(comparison: Comparison, resume: bool, attempt: Attempt, watcher: Watcher) -> Measurements:
    """Do what is left of a comparison, codec after codec, each in processes of its own."""
    known, timings = known_rows(comparison.folder) if resume else ({}, [])
    wanted = {codec.name: cases_of(comparison, codec) for codec in comparison.codecs}
    left = {name: [t for t in cases if not _is_done(t, known)] for name, cases in wanted.items()}
    again = _timed_again(comparison, wanted, left)
    watcher.begin(sum(map(len, left.values())) + len(again))
    journal = Journal(comparison.folder / MANIFEST, fresh=not resume)
    failures = _Failures(Journal(comparison.folder / FAILURES, fresh=True), watcher)
    (comparison.folder / FAILURES).unlink(missing_ok=True)
    for cases, repeated in [*((t, False) for t in left.values()), (again, True)]:
        for case, result in _run(comparison, cases, attempt):
            watcher.step()
            if isinstance(result, Failure):
                failures.add(case, result)
                continue
            journal.append(asdict(result) | ({"again": True} if repeated else {}))
            if repeated:
                timings.append(result)
            else:
                known[case.image, case.mark] = result
    journal.close()
    failures.close()
    keys = [(t.image, t.mark) for cases in wanted.values() for t in cases]
    rows = [known[key] for key in keys if key in known]
    kept = tuple(row for row in known.values() if row.codec not in wanted)
    runs = {row.run for row in (*rows, *kept)}
    timed = tuple(row for row in timings if row.run in runs)
    return Measurements(tuple(rows), kept, timed, failures.count, failures.exit_code)


def _run(comparison: Comparison, cases: list[Case], attempt: Attempt) -> Iterator[tuple[Case, Row | Failure]]:
    """Do cases of one codec."""
    if not cases:
        return
    engine = make_engine(comparison.engine, min(comparison.workers, len(cases)), comparison.threads)
    for case, finish in engine.run(measure, cases):
        yield case, attempt(finish)


def _is_done(case: Case, known: Known) -> bool:
    return (case.image, case.mark) in known and (case.picture is None or Path(case.picture).exists())


def _timed_again(
    comparison: Comparison, wanted: dict[str, list[Case]], left: dict[str, list[Case]]
) -> list[Case]:
    """The anchor on a few images, when others are measured in this run and it is not."""
    if comparison.anchor not in left or left[comparison.anchor] or not any(left.values()):
        return []
    some = {image.name for image in comparison.images[:TIMED_AGAIN]}
    return [case for case in wanted[comparison.anchor] if case.image in some]


class _Failures:
    """Failures in a journal of their own; a picture that every codec fails on is told of once."""

    def __init__(self, journal: Journal, watcher: Watcher) -> None:
        self._journal, self._watcher = journal, watcher
        self._told: set[tuple[str, str]] = set()
        self.count, self.exit_code = 0, int(ExitCode.OK)

    def add(self, case: Case, failure: Failure) -> None:
        self.count += 1
        self.exit_code = self.exit_code or int(failure.exit_code)
        row: dict[str, Any] = {"codec": case.codec.name, "image": case.image, "setting": case.setting}
        self._journal.append(row | {"error": failure.text, "exit_code": int(failure.exit_code)})
        key = (case.image, failure.text)
        if key not in self._told:
            self._told.add(key)
            self._watcher.failed(case.image, case.codec.name, failure)

    def close(self) -> None:
        self._journal.close()


__all__ = ["Comparison", "Image", "Measurements", "Watcher", "find_images", "measure_all"]
