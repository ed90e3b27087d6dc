"""Download a pretrained network, check it, convert it. Only `ncc models fetch` comes here."""

from __future__ import annotations

import base64
import hashlib
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO

from nccli import files
from nccli.errors import MediaError, ModelError, UsageError
from nccli.zoo.cache import Fetched, fetched, file_name, zoo_folder
from nccli.zoo.names import ZooModel

SOURCE = "https://compressai.s3.amazonaws.com/models/v1"

MAX_BYTES = 2**30
"""No checkpoint is as large."""

BLOCK = 2**18
TIMEOUT = 30.0
"""Seconds without an answer."""

SCHEMES = ("https://", "file://")
STATED_DIGEST = "x-amz-checksum-sha256"
"""Header in which the source states a whole SHA-256, in base 64, if it knows it and is asked."""

Progress = Callable[[float], None]
"""Told how much of the download is done, 0 .. 1."""


def fetch(model: ZooModel, source: str, progress: Progress, again: bool = False) -> Fetched:
    """Bring a network to this machine.

    Args:
        model: which.
        source: URL of a folder of checkpoints: https or file.
        progress: told how far the download is.
        again: also if it is here already.

    Raises:
        ModelError: it cannot be downloaded, or is not what it should be.
        MediaError: the cache folder cannot be written.
    """
    if not source.startswith(SCHEMES):
        raise UsageError(f"{source!r} is no https or file URL")
    here = fetched(model)
    if here and not again:
        return here[0]
    folder = zoo_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            checkpoint = Path(scratch) / model.checkpoint
            stated = download(f"{source.rstrip('/')}/{model.checkpoint}", checkpoint, progress)
            _check(model, checkpoint, stated)
            return install(model, checkpoint)
    except OSError as error:
        raise MediaError(f"cannot write to {folder}: {error.strerror or error}") from error


def install(model: ZooModel, checkpoint: Path) -> Fetched:
    """Convert a checkpoint and put the result into the cache folder."""
    from nccli.networks.checkpoint import read_checkpoint
    from nccli.zoo.convert import build, convert

    data = convert(model, build(model, read_checkpoint(checkpoint)))
    digest = hashlib.sha256(data).hexdigest()
    target = zoo_folder() / file_name(model, digest)
    files.write_bytes(str(target), data, force=True)
    return Fetched(target, digest)


class SafeRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no address that is not https."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if not newurl.startswith("https://"):
            raise urllib.error.URLError(f"it leads to {newurl}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def download(url: str, target: Path, progress: Progress) -> str | None:
    """Copy what is at a URL to a file; returns the SHA-256 that the source states, if it does.

    Raises:
        ModelError: it cannot be had.
    """
    request = urllib.request.Request(url, headers={"x-amz-checksum-mode": "ENABLED"})
    opener = urllib.request.build_opener(SafeRedirect())
    try:
        with opener.open(request, timeout=TIMEOUT) as answer, target.open("wb") as file:
            expected = int(answer.headers.get("Content-Length") or 0)
            done = 0
            while block := answer.read(BLOCK):
                done += len(block)
                if done > MAX_BYTES:
                    raise ModelError(f"{url} is larger than any checkpoint")
                file.write(block)
                progress(min(done / expected, 1.0) if expected else 0.0)
            return stated_digest(answer.headers.get(STATED_DIGEST))
    except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise ModelError(
            f"cannot download {url}: {reason}; without a network, --source takes a folder as file://..."
        ) from error


def stated_digest(header: str | None) -> str | None:
    """The hexadecimal SHA-256 in a header; None where it is one of parts, or something else."""
    try:
        digest = base64.b64decode(header or "", validate=True)
    except ValueError:
        return None
    return digest.hex() if len(digest) == hashlib.sha256().digest_size else None


def _check(model: ZooModel, checkpoint: Path, stated: str | None) -> None:
    """Compare a checkpoint's SHA-256 with the digits that its name ends with, and with what was stated."""
    digits = model.checkpoint.removesuffix(".pth.tar").rpartition("-")[2]
    found = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    if not found.startswith(digits) or found != (stated or found):
        raise ModelError(f"{model.checkpoint} is damaged: its checksum is {found}; nothing is kept")
