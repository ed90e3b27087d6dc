"""The command line: parse, call the API, map errors to exit codes."""

from __future__ import annotations

import json as jsonlib
import os
import signal
import sys
import traceback as tracebacks
import warnings
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypeVar

import click

from nccli import files
from nccli.batch import NCC_SUFFIXES, PICTURE_SUFFIXES, leave, plan
from nccli.catalogue import DEFAULT_MODEL, entries, find_for_file, model_path, verify
from nccli.container import DEFAULT_MAX_PIXELS, read_container
from nccli.errors import ExitCode, NccError, UnsupportedError, UsageError
from nccli.examples import COMPLETION_EXAMPLES, DECODE_EXAMPLES, ENCODE_EXAMPLES
from nccli.jobs import Common, DecodeOptions, EncodeOptions, Job, Outcome
from nccli.limits import parse_amount
from nccli.rate import DEFAULT_QUALITY, LAMBDA_MAX, LAMBDA_MIN
from nccli.report import Printer, Total, info_rows, print_info, print_models
from nccli.work import Failure, Manner, work

FORMAT_NAMES = ("png", "ppm", "jpg", "webp", "tiff", "avif", "bmp")
PATH = click.Path(allow_dash=True)


def _version() -> str:
    try:
        return version("nccli")
    except PackageNotFoundError:
        return "unknown"


def _options(*decorators: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def apply(command: Any) -> Any:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return apply


def _flag(*names: str, help: str) -> Callable[[Any], Any]:
    return click.option(*names, is_flag=True, help=help)


input_options = _options(
    click.argument("sources", metavar="IN...", nargs=-1, required=True, type=PATH),
    click.option("-o", "--output", metavar="OUT", type=PATH, help="Output of a single input, - for stdout."),
    click.option("--out-dir", metavar="DIR", type=PATH, help="Folder for the outputs. [default: beside IN]"),
    _flag("--recursive", "-r", help="Descend into folders; --out-dir keeps their tree."),
    click.option(
        "-j", "--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Worker processes."
    ),
    _flag("--skip-existing", help="Skip inputs whose output is there already."),
)

common_options = _options(
    click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda"]),
        default="auto",
        show_default=True,
        envvar="NCC_DEVICE",
        help="Where the networks run. [env: NCC_DEVICE]",
    ),
    click.option(
        "--threads",
        type=click.IntRange(min=1),
        envvar="NCC_THREADS",
        help="CPU threads of all workers together. [env: NCC_THREADS] [default: all cores]",
    ),
    _flag("--no-alpha", help="Drop transparency."),
    _flag("--strip", help="Drop ICC profile, EXIF and XMP."),
    click.option("--max-pixels", metavar="N", help="Refuse larger pictures. [default: 134M]"),
    click.option("--max-memory", metavar="BYTES", help="Refuse pictures that would need more, such as 2G."),
    _flag("--force", "-f", help="Overwrite existing files."),
    _flag("--json", "as_json", help="One JSON object per input on stdout."),
    _flag("--quiet", "-q", help="Print nothing but errors."),
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(_version(), prog_name="ncc")
@click.option("--traceback", is_flag=True, help="Show where an error came from.")
@click.pass_context
def cli(context: click.Context, traceback: bool) -> None:
    """ncc: a neural image codec. Files decode to the same symbols on every machine.

    Exit codes: 0 done, 1 a bug, 2 usage, 3 corrupt file, 4 unsupported version or model, 5 a picture
    or file that cannot be read or written, 130 interrupted. Of several failures the first counts.
    """
    context.obj = traceback


def _common(
    device: str,
    threads: int | None,
    no_alpha: bool,
    strip: bool,
    max_pixels: str | None,
    max_memory: str | None,
    force: bool,
) -> Common:
    return Common(
        device=device,
        threads=threads,
        force=force,
        keep_alpha=not no_alpha,
        keep_metadata=not strip,
        max_pixels=parse_amount(max_pixels) if max_pixels else DEFAULT_MAX_PIXELS,
        max_memory=parse_amount(max_memory) if max_memory else None,
    )


@cli.command(epilog=ENCODE_EXAMPLES)
@input_options
@click.option(
    "--lambda",
    "lmbda",
    type=float,
    help=f"Rate-distortion trade-off, {LAMBDA_MIN} .. {LAMBDA_MAX}; larger is better and bigger.",
)
@click.option(
    "--quality",
    type=click.FloatRange(0, 100),
    help=f"0 .. 100, log-linear in lambda. [default: {DEFAULT_QUALITY:g}]",
)
@click.option("--bpp", type=click.FloatRange(min=0, min_open=True), help="At most this many bits per pixel.")
@click.option("--size", type=click.IntRange(min=1), help="At most this many bytes.")
@click.option("--psnr", type=float, help="At least this PSNR in dB, in the smallest file.")
@click.option(
    "--model",
    default=DEFAULT_MODEL,
    show_default=True,
    envvar="NCC_MODEL",
    help="See `ncc models`. [env: NCC_MODEL]",
)
@click.option(
    "--measure/--no-measure",
    default=None,
    help="Report PSNR and MS-SSIM. [default: for a single input, and with --json]",
)
@common_options
@click.pass_obj
def encode(
    trace: bool,
    sources: tuple[str, ...],
    output: str | None,
    out_dir: str | None,
    recursive: bool,
    jobs: int,
    skip_existing: bool,
    lmbda: float | None,
    quality: float | None,
    bpp: float | None,
    size: int | None,
    psnr: float | None,
    model: str,
    measure: bool | None,
    device: str,
    threads: int | None,
    no_alpha: bool,
    strip: bool,
    max_pixels: str | None,
    max_memory: str | None,
    force: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Compress pictures: files, folders, patterns, or - for stdin."""
    if sum(v is not None for v in (lmbda, quality, bpp, size, psnr)) > 1:
        raise UsageError("give only one of --lambda, --quality, --bpp, --size, --psnr")
    manner = Manner(output, out_dir, recursive, jobs, skip_existing, as_json, quiet)
    todo = plan(sources, output, out_dir, recursive, PICTURE_SUFFIXES, ".ncc")
    if measure is None:
        measure = as_json or (len(todo) == 1 and not quiet)
    common = _common(device, threads, no_alpha, strip, max_pixels, max_memory, force)
    options = EncodeOptions(common, model, measure, lmbda, quality, bpp, size, psnr)
    work(todo, options, manner, "encoded", trace, attempt)


@cli.command(epilog=DECODE_EXAMPLES)
@input_options
@click.option(
    "--format",
    "name",
    type=click.Choice(FORMAT_NAMES),
    help="Output format. [default: by OUT's suffix, or png]",
)
@click.option(
    "--reference",
    metavar="ORIGINAL",
    type=PATH,
    help="Compare with this picture and report PSNR and MS-SSIM.",
)
@common_options
@click.pass_obj
def decode(
    trace: bool,
    sources: tuple[str, ...],
    output: str | None,
    out_dir: str | None,
    recursive: bool,
    jobs: int,
    skip_existing: bool,
    name: str | None,
    reference: str | None,
    device: str,
    threads: int | None,
    no_alpha: bool,
    strip: bool,
    max_pixels: str | None,
    max_memory: str | None,
    force: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Reconstruct the pictures in ncc files: files, folders, patterns, or - for stdin."""
    manner = Manner(output, out_dir, recursive, jobs, skip_existing, as_json, quiet)
    todo = plan(sources, output, out_dir, recursive, NCC_SUFFIXES, f".{name or 'png'}")
    if reference and len(todo) > 1:
        raise UsageError("--reference takes a single input")
    common = _common(device, threads, no_alpha, strip, max_pixels, max_memory, force)
    work(todo, DecodeOptions(common, name, reference), manner, "decoded", trace, attempt)


@cli.command()
@click.argument("sources", metavar="FILE...", nargs=-1, required=True, type=PATH)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per file.")
@click.pass_obj
def info(trace: bool, sources: tuple[str, ...], as_json: bool) -> None:
    """Show the header and sections of ncc files without decoding them."""
    total = Total()
    printer = Printer(as_json, trace=trace)
    for source in sources:
        result = attempt(lambda source=source: _info(source, as_json))  # type: ignore[misc]
        if isinstance(result, Failure):
            outcome = Outcome(
                Job(source, ""), error=result.text, exit_code=result.exit_code, trace=result.trace
            )
            total.add(outcome)
            printer.failure(outcome)
    if total.exit_code:
        raise SystemExit(total.exit_code)


def _info(source: str, as_json: bool) -> None:
    container = read_container(files.read_bytes(source))
    try:
        entry = find_for_file(container.header.model_id, container.header.weights_tag)
    except UnsupportedError:
        entry = None
    rows = info_rows(source, container, entry)
    if as_json:
        print(jsonlib.dumps(rows))
    else:
        print_info(rows)


@cli.command()
@click.option("--verify", "check", is_flag=True, help="Compare every weights file with its checksum.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per model.")
def models(check: bool, as_json: bool) -> None:
    """List the models that this installation can encode and decode with."""
    rows = []
    for entry in entries():
        state = "present" if model_path(entry).is_file() else "missing"
        if check:
            state = "verified" if verify(entry) else "damaged"
        rows.append({"name": entry.name, "id": entry.id, "file": entry.file, "sha256": entry.sha256})
        rows[-1] |= {"state": state, "about": entry.about}
    if as_json:
        for row in rows:
            print(jsonlib.dumps(row))
    else:
        print_models(rows)
    if any(row["state"] == "damaged" for row in rows):
        raise SystemExit(ExitCode.UNSUPPORTED)


@cli.command(epilog=COMPLETION_EXAMPLES)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that teaches a shell to complete ncc's options."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is not None:
        print(kind(cli, {}, "ncc", "_NCC_COMPLETE").source())


T = TypeVar("T")


def attempt(call: Callable[[], T]) -> T | Failure:
    """The result of a call, or why there is none."""
    try:
        return call()
    except click.exceptions.Exit as stop:
        raise SystemExit(stop.exit_code) from None
    except click.exceptions.Abort:
        return Failure("interrupted", ExitCode.INTERRUPTED, "")
    except click.ClickException as error:
        error.show()
        raise SystemExit(ExitCode.USAGE) from None
    except NccError as error:
        return Failure(str(error), error.exit_code, tracebacks.format_exc())
    except Exception as error:
        text = f"unexpected {type(error).__name__}: {error} (a bug; --traceback shows where)"
        return Failure(text, ExitCode.BUG, tracebacks.format_exc())


def main() -> None:
    """Entry point of the `ncc` program."""
    trace = "--traceback" in sys.argv
    # Before torch is loaded: threads that spin while they wait double the time of a small picture on a
    # machine that has other work.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    signal.signal(signal.SIGTERM, leave)
    if not trace:
        warnings.simplefilter("ignore")
    result = attempt(lambda: cli.main(standalone_mode=False, prog_name="ncc"))
    if isinstance(result, Failure):
        Printer.error(result.text, result.trace if trace else "")
        raise SystemExit(result.exit_code)
