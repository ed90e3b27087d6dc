"""`ncc bench`."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nccli import files
from nccli.bench.codecs import DEFAULT_CODECS, Codec, find_codec, missing
from nccli.cli.common import PATH, engine_option, gathered
from nccli.cli.examples import BENCH_EXAMPLES
from nccli.cli.failures import attempt
from nccli.errors import UsageError
from nccli.program.job import Failure
from nccli.program.report.printer import Printer
from nccli.program.report.progress import ProgressBar

if TYPE_CHECKING:
    from nccli.bench.results.published import Published
    from nccli.bench.results.summary import Missing, Summary
    from nccli.bench.runner import Comparison, Measurements

METRICS = ("psnr", "ms-ssim", "lpips")


@dataclass(frozen=True)
class What:
    """What is compared: the options as given."""

    codecs: str
    lambdas: str | None
    settings: tuple[str, ...]
    metrics: str
    roi: str | None
    anchor: str | None
    published: tuple[str, ...]
    method: str


@dataclass(frozen=True)
class How:
    """How it is measured."""

    jobs: int
    threads: int
    engine: str
    device: str
    repeat: int
    frames: int
    pictures: int
    recursive: bool


class Announcer:
    """Shows progress and failures on stderr."""

    def __init__(self, printer: Printer) -> None:
        self._printer = printer
        self.bar = ProgressBar(False, 0)

    def begin(self, cases: int) -> None:
        self.bar = ProgressBar(not self._printer.quiet, cases)

    def step(self) -> None:
        self.bar.next()

    def failed(self, image: str, codec: str, failure: Failure) -> None:
        self._printer.error(f"{codec}, {image}: {failure.text}", failure.trace if self._printer.trace else "")


@click.command(epilog=BENCH_EXAMPLES)
@click.argument("sources", metavar="PATH...", nargs=-1, required=True, type=click.Path())
@click.option(
    "-o", "--output", "folder", metavar="DIR", required=True, type=PATH, help="Folder of the results."
)
@click.option(
    "--codecs", default=DEFAULT_CODECS, show_default=True, help="Also ncc:MODEL, zoo:NETWORK, x264."
)
@click.option("--lambdas", metavar="L,L...", help="Rate points of ncc. [default: eight from 0.0006 to 0.12]")
@click.option("--settings", metavar="CODEC=V,V...", multiple=True, help="Settings of another codec's curve.")
@click.option("--metrics", default="psnr,ms-ssim", show_default=True, help="Of psnr, ms-ssim, lpips.")
@click.option(
    "--roi", metavar="DIR", type=click.Path(), help="Masks by the pictures' names: PSNR inside and out."
)
@click.option("--anchor", metavar="CODEC", help="What the others are compared with. [default: jpeg]")
@click.option("--published", metavar="TSV", multiple=True, type=click.Path(), help="Published curves to add.")
@click.option("--method", type=click.Choice(["akima", "pchip"]), default="akima", show_default=True)
@click.option(
    "-j", "--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Processes per codec."
)
@click.option(
    "--threads", type=click.IntRange(min=1), default=1, show_default=True, help="CPU threads of each."
)
@engine_option
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="cpu", show_default=True)
@click.option(
    "--repeat", type=click.IntRange(min=1), default=1, show_default=True, help="Timed runs per row."
)
@click.option(
    "--frames", type=click.IntRange(min=1), default=32, show_default=True, help="Most frames of a clip."
)
@click.option(
    "--pictures", type=click.IntRange(min=0), default=2, show_default=True, help="To look at in the report."
)
@click.option("--recursive", "-r", is_flag=True, help="Descend into folders.")
@click.option("--resume", is_flag=True, help="Keep what earlier runs have measured.")
@click.option("--force", "-f", is_flag=True, help="Overwrite earlier results.")
@click.option("--quiet", "-q", is_flag=True, help="Print nothing but errors.")
@gathered(what=What, how=How)
@click.pass_obj
def bench(
    trace: bool,
    sources: tuple[str, ...],
    folder: str,
    what: What,
    how: How,
    resume: bool,
    force: bool,
    quiet: bool,
) -> None:
    """Compare ncc with other codecs on pictures, or clips: files and folders."""
    printer = Printer(quiet=quiet, trace=trace)
    codecs, absent = _codecs(what, printer)
    from nccli.bench.runner import check_folder, measure_all

    comparison = _comparison(sources, Path(folder), what, how, codecs)
    check_folder(comparison.folder, resume, force)
    published = _published(what)
    watcher = Announcer(printer)
    measured = measure_all(comparison, resume, attempt, watcher)
    watcher.bar.__exit__()
    if not measured.rows:
        raise SystemExit(measured.exit_code)
    summary = _write(comparison, what.method, measured, absent, published)
    if not quiet:
        from nccli.bench.results.table import as_text

        print(as_text(summary))
        print(f"ncc: {comparison.folder / 'report.html'}", file=sys.stderr)
    if measured.exit_code:
        printer.error(f"{measured.failures} measurements failed; see {comparison.folder / 'failures.jsonl'}")
        raise SystemExit(measured.exit_code)


def _codecs(what: What, printer: Printer) -> tuple[tuple[Codec, ...], tuple[Missing, ...]]:
    """The codecs that can be run, with their settings, and those that cannot."""
    from nccli.bench.results.summary import Missing

    ladders = dict(_ladder(text) for text in what.settings)
    found, absent = [], []
    for name in dict.fromkeys(filter(None, (part.strip() for part in what.codecs.split(",")))):
        codec = find_codec(name)
        if what.lambdas and codec.home == "own":
            codec = replace(codec, settings=_numbers("--lambdas", what.lambdas))
        if name in ladders:
            codec = replace(codec, settings=ladders[name])
        why = missing(codec)
        if why is None:
            found.append(codec)
            continue
        absent.append(Missing(name, why))
        printer.warning(f"{name} is left out: {why}")
    if not found:
        raise UsageError("none of the codecs can be run here")
    unknown = ladders.keys() - {codec.name for codec in found} - {m.codec for m in absent}
    if unknown:
        raise UsageError(f"--settings names {sorted(unknown)[0]}, which --codecs does not")
    return tuple(found), tuple(absent)


def _ladder(text: str) -> tuple[str, tuple[float, ...]]:
    name, equals, values = text.partition("=")
    if not equals:
        raise UsageError(f"--settings takes CODEC=V,V..., not {text!r}")
    return name, _numbers("--settings", values)


def _numbers(option: str, text: str) -> tuple[float, ...]:
    try:
        values = tuple(sorted({float(part) for part in text.split(",")}))
    except ValueError:
        raise UsageError(f"{option} takes numbers with commas between them, not {text!r}") from None
    if not all(value >= 0 for value in values):
        raise UsageError(f"{option} takes numbers from 0 up, not {text!r}")
    return values


def _comparison(
    sources: tuple[str, ...], folder: Path, what: What, how: How, codecs: tuple[Codec, ...]
) -> Comparison:
    from nccli.bench.frames import is_clip
    from nccli.bench.runner import Comparison, find_images

    metrics = tuple(dict.fromkeys(part.strip() for part in what.metrics.split(",")))
    for name in metrics:
        if name not in METRICS:
            raise UsageError(f"no metric named {name!r}; there are: {', '.join(METRICS)}")
    names = [codec.name for codec in codecs]
    anchor = what.anchor or ("jpeg" if "jpeg" in names else names[0])
    if anchor not in names:
        raise UsageError(f"the anchor {anchor!r} is not among the codecs: {', '.join(names)}")
    images = find_images(sources, how.recursive, what.roi)
    clips = {is_clip(image.path) for image in images}
    if len(clips) == 2:
        raise UsageError("give pictures or clips, not both: their figures do not compare")
    if True in clips:
        codecs = tuple(codec for codec in codecs if codec.video)
        anchor = anchor if anchor in [codec.name for codec in codecs] else codecs[0].name if codecs else ""
        if not codecs:
            raise UsageError("none of the codecs takes clips; x264, x265 and svt-av1 do")
    return Comparison(
        codecs=codecs,
        images=images,
        metrics=tuple(name for name in metrics if name != "psnr"),
        anchor=anchor,
        folder=folder,
        engine=how.engine,
        workers=how.jobs,
        threads=how.threads,
        device=how.device,
        repeat=how.repeat,
        frames=how.frames,
        pictures=how.pictures,
        run=time.strftime("%Y-%m-%dT%H:%M:%S"),
    )


def _published(what: What) -> tuple[Published, ...]:
    from nccli.bench.results.published import read_published

    return tuple(curve for path in what.published for curve in read_published(Path(path)))


def _write(
    comparison: Comparison,
    method: str,
    measured: Measurements,
    absent: tuple[Missing, ...],
    published: tuple[Published, ...],
) -> Summary:
    """All files of the results."""
    from nccli.bench.results.page import make_page
    from nccli.bench.results.plots import make_plots
    from nccli.bench.results.summary import summarise
    from nccli.bench.rows import write_rows
    from nccli.bench.runner import RESULTS, TIMINGS

    summary = summarise(comparison, measured, absent, published, method)
    made = {
        RESULTS: write_rows(measured.rows + measured.kept),
        "summary.json": summary.json(),
        **make_plots(summary),
    }
    if measured.timings:
        made[TIMINGS] = write_rows(measured.timings)
    made["report.html"] = make_page(comparison, summary, measured.rows)
    for name, data in made.items():
        files.write_bytes(str(comparison.folder / name), data, force=True)
    return summary
