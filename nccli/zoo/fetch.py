"""Download a pretrained network, check it, convert it. Only `ncc models fetch` comes here."""

from __future__ import annotations

import hashlib
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path

from nccli.errors import MediaError, ModelError, UsageError
from nccli.zoo.cache import Fetched, fetched, file_name, zoo_folder
from nccli.zoo.names import ZooModel

SOURCE = "https://compressai.s3.amazonaws.com/models/v1"

MAX_BYTES = 2**30
"""No checkpoint is as large."""

BLOCK = 2**18
TIMEOUT = 30.0
"""Seconds without an answer."""

DIGEST_DIGITS = 8
"""Of the SHA-256, at the end of a checkpoint's name."""

Progress = Callable[[float], None]
"""Told how much of the download is done, 0 .. 1."""


def fetch(model: ZooModel, source: str, progress: Progress, again: bool = False) -> Fetched:
    """Bring a network to this machine.

    Args:
        model: which.
        source: URL of a folder of checkpoints: https, http or file.
        progress: told how far the download is.
        again: also if it is here already.

    Raises:
        ModelError: it cannot be downloaded, or is not what it should be.
        MediaError: the cache folder cannot be written.
    """
    if not source.startswith(("https://", "http://", "file://")):
        raise UsageError(f"{source!r} is no https, http or file URL")
    here = fetched(model)
    if here and not again:
        return here[0]
    folder = zoo_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            checkpoint = Path(scratch) / model.checkpoint
            download(f"{source.rstrip('/')}/{model.checkpoint}", checkpoint, progress)
            _check(model, checkpoint)
            return install(model, checkpoint)
    except OSError as error:
        raise MediaError(f"cannot write to {folder}: {error.strerror or error}") from error


def install(model: ZooModel, checkpoint: Path) -> Fetched:
    """Convert a checkpoint and put the result into the cache folder."""
    from nccli.networks.checkpoint import read_checkpoint
    from nccli.zoo.convert import build, convert

    data = convert(model, build(model, read_checkpoint(checkpoint)))
    digest = hashlib.sha256(data).hexdigest()
    part = zoo_folder() / f"{checkpoint.name}.part"
    part.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes(data)
    return Fetched(part.replace(zoo_folder() / file_name(model, digest)), digest)


def download(url: str, target: Path, progress: Progress) -> None:
    """Copy what is at a URL to a file.

    Raises:
        ModelError: it cannot be had.
    """
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer, target.open("wb") as file:
            expected = int(answer.headers.get("Content-Length") or 0)
            done = 0
            while block := answer.read(BLOCK):
                done += len(block)
                if done > MAX_BYTES:
                    raise ModelError(f"{url} is larger than any checkpoint")
                file.write(block)
                progress(min(done / expected, 1.0) if expected else 0.0)
    except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise ModelError(
            f"cannot download {url}: {reason}; without a network, --source takes a folder as file://..."
        ) from error


def _check(model: ZooModel, checkpoint: Path) -> None:
    """The last hexadecimal digits of a checkpoint's name are those its SHA-256 begins with."""
    expected = model.checkpoint.removesuffix(".pth.tar")[-DIGEST_DIGITS:]
    found = hashlib.sha256(checkpoint.read_bytes()).hexdigest()[:DIGEST_DIGITS]
    if found != expected:
        raise ModelError(f"{model.checkpoint} is damaged: its checksum begins with {found}; nothing is kept")
