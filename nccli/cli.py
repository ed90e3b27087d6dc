"""The command line: parse, call the API, map errors to exit codes."""

from __future__ import annotations

import json as jsonlib
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nccli import files
from nccli.catalogue import DEFAULT_MODEL, entries, find_for_file, model_path, verify
from nccli.container import read_container
from nccli.errors import ExitCode, NccError, UnsupportedError, UsageError
from nccli.rate import DEFAULT_QUALITY, LAMBDA_MAX, LAMBDA_MIN, quality_to_lambda
from nccli.report import Printer, info_rows, print_info, print_models, report_rows

if TYPE_CHECKING:
    from nccli.search import Target

FORMAT_NAMES = ("png", "ppm", "jpg", "webp", "tiff")

ENCODE_EXAMPLES = """
\b
Examples:
  ncc encode photo.png                        writes photo.ncc
  ncc encode photo.png --quality 70 -o small.ncc
  ncc encode photo.png --lambda 0.005         the research knob
  ncc encode photo.png --size 50000           at most 50,000 bytes
  ncc encode photo.png --psnr 35              smallest file of 35 dB
  cat photo.png | ncc encode - -o - > photo.ncc
"""

DECODE_EXAMPLES = """
\b
Examples:
  ncc decode photo.ncc                        writes photo.png
  ncc decode photo.ncc -o photo.jpg
  ncc decode photo.ncc --reference photo.png  reports PSNR and MS-SSIM
  cat photo.ncc | ncc decode - -o - | display
"""


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


machine_options = _options(
    click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda"]),
        default="auto",
        show_default=True,
        envvar="NCC_DEVICE",
        help="Where the networks run.",
    ),
    click.option(
        "--threads",
        type=click.IntRange(min=1),
        envvar="NCC_THREADS",
        help="CPU threads. [default: all cores]",
    ),
)

output_options = _options(
    click.option("--json", "as_json", is_flag=True, help="One JSON object per input on stdout."),
    click.option("--force", "-f", is_flag=True, help="Overwrite existing files."),
    click.option("--quiet", "-q", is_flag=True, help="Print nothing but errors."),
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(_version(), prog_name="ncc")
@click.option("--traceback", is_flag=True, help="Show where an error came from.")
@click.pass_context
def cli(context: click.Context, traceback: bool) -> None:
    """ncc: a neural image codec. Files decode to the same symbols on every machine."""
    context.obj = traceback


def _limit_threads(threads: int | None) -> None:
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def make_target(
    pixels: int,
    lmbda: float | None,
    quality: float | None,
    bpp: float | None,
    size: int | None,
    psnr: float | None,
) -> Target:
    """One rate option -> the target it stands for.

    Raises:
        UsageError: more than one is given, or a value is out of range.
    """
    from nccli.search import Target

    given = [v for v in (lmbda, quality, bpp, size, psnr) if v is not None]
    if len(given) > 1:
        raise UsageError("give only one of --lambda, --quality, --bpp, --size, --psnr")
    if psnr is not None:
        return Target(psnr=psnr)
    if size is not None:
        return Target(size=size)
    if bpp is not None:
        return Target(size=int(bpp * pixels / 8))
    if lmbda is not None:
        return Target(lmbda=lmbda)
    return Target(lmbda=quality_to_lambda(DEFAULT_QUALITY if quality is None else quality))


def default_output(source: str, suffix: str) -> str:
    """The input's path with another suffix; stdout for stdin."""
    return source if source == "-" else str(Path(source).with_suffix(suffix))


@cli.command(epilog=ENCODE_EXAMPLES)
@click.argument("source", metavar="IN")
@click.option("-o", "--output", metavar="OUT", help="Output file, - for stdout. [default: IN with .ncc]")
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
    "--model", default=DEFAULT_MODEL, show_default=True, envvar="NCC_MODEL", help="See `ncc models`."
)
@machine_options
@output_options
def encode(
    source: str,
    output: str | None,
    lmbda: float | None,
    quality: float | None,
    bpp: float | None,
    size: int | None,
    psnr: float | None,
    model: str,
    device: str,
    threads: int | None,
    as_json: bool,
    force: bool,
    quiet: bool,
) -> None:
    """Compress the picture IN (- is stdin)."""
    from nccli import media

    output = output or default_output(source, ".ncc")
    files.refuse_overwrite(output, force)
    pixels = media.decode_picture(files.read_bytes(source), source)
    target = make_target(pixels.shape[0] * pixels.shape[1], lmbda, quality, bpp, size, psnr)
    from nccli.codec import encode_pixels

    _limit_threads(threads)
    encoded = encode_pixels(pixels, target, model, device, measure=as_json or not quiet)
    files.write_bytes(output, encoded.data, force)
    printer = Printer(as_json, quiet, stdout_busy=output == files.STREAM)
    printer.result(report_rows(source, output, encoded.report), f"encoded {source}")


@cli.command(epilog=DECODE_EXAMPLES)
@click.argument("source", metavar="IN")
@click.option("-o", "--output", metavar="OUT", help="Output picture, - for stdout. [default: IN with .png]")
@click.option(
    "--format", "name", type=click.Choice(FORMAT_NAMES), help="Output format. [default: by OUT's suffix]"
)
@click.option(
    "--reference", metavar="ORIGINAL", help="Compare with this picture and report PSNR and MS-SSIM."
)
@machine_options
@output_options
def decode(
    source: str,
    output: str | None,
    name: str | None,
    reference: str | None,
    device: str,
    threads: int | None,
    as_json: bool,
    force: bool,
    quiet: bool,
) -> None:
    """Reconstruct the picture in the file IN (- is stdin)."""
    from nccli import media

    output = output or default_output(source, f".{name or 'png'}")
    name = name or media.format_for(output)
    files.refuse_overwrite(output, force)
    data = files.read_bytes(source)
    read_container(data)
    original = media.decode_picture(files.read_bytes(reference), reference) if reference else None
    from nccli.codec import decode_bytes

    _limit_threads(threads)
    decoded = decode_bytes(data, device, original)
    files.write_bytes(output, media.encode_picture(decoded.pixels, name), force)
    printer = Printer(as_json, quiet, stdout_busy=output == files.STREAM)
    printer.result(report_rows(source, output, decoded.report), f"decoded {source}")


@cli.command()
@click.argument("source", metavar="FILE")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def info(source: str, as_json: bool) -> None:
    """Show the header and sections of an ncc FILE without decoding it."""
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


def main() -> None:
    """Entry point of the `ncc` program."""
    traceback = "--traceback" in sys.argv
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        Printer.error("interrupted")
        raise SystemExit(ExitCode.INTERRUPTED) from None
    except click.exceptions.Exit as stop:
        raise SystemExit(stop.exit_code) from None
    except click.ClickException as error:
        error.show()
        raise SystemExit(ExitCode.USAGE) from None
    except NccError as error:
        if traceback:
            raise
        Printer.error(str(error))
        raise SystemExit(error.exit_code) from None
    except Exception as error:
        if traceback:
            raise
        Printer.error(f"unexpected {type(error).__name__}: {error} (a bug; --traceback shows where)")
        raise SystemExit(ExitCode.BUG) from None
