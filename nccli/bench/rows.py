"""The table of measurements: one row per codec, image and setting. Standard library only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from nccli.errors import MediaError


@dataclass(frozen=True)
class Row:
    """One file that a codec made, and the picture that came back from it.

    Attributes:
        codec: name.
        image: name, relative to the folder that all have in common.
        setting: what the codec's knob was set to.
        width: pixels.
        height: pixels.
        frames: 1 for a still.
        bytes: of the whole file.
        bpp: file bytes * 8 / pixels of all frames.
        psnr: dB on 8-bit RGB, of frames the mean.
        ms_ssim: None when not asked for, or too small a picture for it.
        lpips: None when not asked for.
        psnr_roi: dB where the mask is set; None without a mask.
        psnr_rest: dB elsewhere.
        encode_s: seconds from pixels in memory to bytes in memory.
        decode_s: seconds back.
        peak_mb: largest resident memory of the process meanwhile, MB of 10^6 bytes.
        run: when the program that measured it was started; times compare within one run only.
        mark: digest of everything that decides the row, by which a resumed run knows it again.
    """

    codec: str
    image: str
    setting: float
    width: int
    height: int
    frames: int
    bytes: int
    bpp: float
    psnr: float
    ms_ssim: float | None
    lpips: float | None
    psnr_roi: float | None
    psnr_rest: float | None
    encode_s: float
    decode_s: float
    peak_mb: float
    run: str
    mark: str


WHOLE = ("width", "height", "frames", "bytes")
TEXT = ("codec", "image", "run", "mark")
COLUMNS = tuple(field.name for field in fields(Row))


def row_of(values: dict[str, Any]) -> Row:
    """A row from its values by name, as text or as numbers.

    Raises:
        ValueError, KeyError, TypeError: it is none.
    """
    given: dict[str, Any] = {}
    for name in COLUMNS:
        value = values[name]
        if name in TEXT:
            given[name] = str(value)
        elif name in WHOLE:
            given[name] = int(value)
        else:
            given[name] = None if value in (None, "") else float(value)
    return Row(**given)


def write_rows(rows: Iterable[Row]) -> bytes:
    """The table as tab-separated text."""
    lines = ["\t".join(COLUMNS)]
    lines += ["\t".join(_cell(value) for value in asdict(row).values()) for row in rows]
    return ("\n".join(lines) + "\n").encode()


def read_rows(path: Path) -> list[Row]:
    """The rows of a table.

    Raises:
        MediaError: it cannot be read, or is no such table.
    """
    try:
        head, *lines = path.read_text(encoding="utf-8").splitlines()
        names = head.split("\t")
        return [row_of(dict(zip(names, line.split("\t"), strict=True))) for line in lines if line]
    except OSError as error:
        raise MediaError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise MediaError(f"{path} is not a table of results: {error}") from error


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.7g}" if isinstance(value, float) else " ".join(str(value).split())
