"""The Python interface of refinement."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from nccli.api import to_picture
from nccli.catalogue.entries import DEFAULT_MODEL
from nccli.codec.coded import Pack, choose_device, code_and_keep, with_details
from nccli.codec.encoding import Encoding, Rate
from nccli.codec.image import finished, prepared
from nccli.codec.refining import RefineOptions, preset
from nccli.codec.result import Encoded, Stopwatch
from nccli.coding.search import Target
from nccli.coding.sender import Stream
from nccli.errors import UsageError
from nccli.media.picture import Picture, change_depth
from nccli.networks.weights import ImageWeights
from nccli.refinement.descent.aims import ELASTICITY
from nccli.refinement.descent.metric import Importance
from nccli.refinement.descent.trace import Check, Observer, ignore
from nccli.refinement.pipeline import Improvement, Request, improve
from nccli.refinement.start import lambda_of
from nccli.refinement.stored import Stored, read_stored


@dataclass(frozen=True)
class Refined(Encoded):
    """A finished file, its report, and how the refinement went.

    Attributes:
        rows: trace, one row per rounded check.
        improved: False when nothing better than the start was found and that was kept.
        objective_before: bpp + distortion of the file it started from.
        objective: of the finished file.
        interrupted: the user stopped it; the file is the best so far.
    """

    rows: tuple[Check, ...] = ()
    improved: bool = True
    objective_before: float = math.nan
    objective: float = math.nan
    interrupted: bool = False


def refine_picture(
    picture: Picture,
    encoding: Encoding,
    importance: Importance | None = None,
    observer: Observer = ignore,
) -> Refined:
    """Encode a picture and refine it.

    Args:
        picture: what to encode.
        encoding: how; the region is one of the container's steps.
        importance: weight of every pixel's squared error, (h, w).
        observer: told how it goes.

    Raises:
        UsageError: the rate cannot be met.
        ModelError: the model or a metric's network is missing.
    """
    options, watch = _options(encoding), Stopwatch()
    target = encoding.rate.target(picture.height * picture.width, encoding.model)
    request = Request(options, target, _checked(importance, picture), observer)
    weights, pack = prepared(picture, encoding, watch)
    coded, latents = code_and_keep(weights, picture.pixels, encoding, pack, watch)
    with torch.inference_mode():
        outcome = improve(weights, picture.pixels, latents, coded.stream, pack, request)
    coded = replace(coded, stream=_detailed(weights, picture, outcome.stream, pack, target.size))
    file = pack(coded.stream)
    return _refined(finished(coded, file, picture.pixels, encoding.measure, watch), outcome)


def _detailed(
    weights: ImageWeights, picture: Picture, stream: Stream, pack: Pack, size: int | None
) -> Stream:
    """A refined stream with details of its own, unless these would make the file too large."""
    detailed = with_details(weights, picture.pixels, stream)
    return stream if size is not None and len(pack(detailed)) > size else detailed


def refine_file(
    data: bytes,
    original: Picture,
    encoding: Encoding,
    importance: Importance | None = None,
    observer: Observer = ignore,
) -> Refined:
    """Refine a file, starting from its latents; its other sections stay.

    When the rate needs another lambda than the file's, it starts from whatever costs least there, see
    `start.starts`.

    Args:
        data: a whole file.
        original: the picture it was made of.
        encoding: how; model and region are the file's own, and without a rate its lambda is.
        importance: weight of every pixel's squared error, (h, w).
        observer: told how it goes.

    Raises:
        FormatError, UnsupportedError: as for decoding.
        UsageError: the original has another size, or the rate cannot be met.
    """
    options = _options(encoding)
    watch = Stopwatch()
    stored = read_stored(data, choose_device(encoding.device))
    watch.lap("load")
    original = _matching(original, stored)
    pixels = original.height * original.width
    target = encoding.rate.target(pixels, stored.coded.weights.entry.name) if encoding.rate.given else None
    lmbda = _lambda_towards(target, stored, len(data))
    chosen = Target(lmbda=lmbda) if target is None else target
    request = Request(options, chosen, _checked(importance, original), observer, lmbda)
    weights, stream = stored.coded.weights, stored.coded.stream
    with torch.inference_mode():
        outcome = improve(weights, original.pixels, stored.latents, stream, stored.pack, request)
    coded = replace(
        stored.coded, stream=_detailed(weights, original, outcome.stream, stored.pack, chosen.size)
    )
    file = stored.pack(coded.stream)
    return _refined(finished(coded, file, original.pixels, encoding.measure, watch), outcome)


def refine(
    image: Any,
    *,
    file: bytes | None = None,
    lmbda: float | None = None,
    quality: float | None = None,
    bpp: float | None = None,
    size: int | None = None,
    psnr: float | None = None,
    options: RefineOptions | str = "default",
    model: str = DEFAULT_MODEL,
    device: str = "auto",
    measure: bool = False,
    importance: Importance | None = None,
    observer: Observer = ignore,
) -> Refined:
    """Encode an image with latent refinement, or refine a file; give at most one of the rate options.

    Args:
        image: as `nccli.encode` takes it.
        file: an ncc file made of the image, to start from its latents.
        lmbda: trade-off; larger is better and bigger.
        quality: 0 .. 100, log-linear in lambda. [default: 50, or the file's own lambda]
        bpp: at most this many bits per pixel.
        size: at most this many bytes.
        psnr: at least this PSNR in dB.
        options: how, or the name of a preset: `fast`, `default`, `best`.
        model: name in the catalogue; a file names its own.
        device: `auto`, `cpu` or `cuda`.
        measure: report PSNR and MS-SSIM.
        importance: weight of every pixel's squared error, (h, w) in 0 .. 1.
        observer: told how it goes, see `refinement.descent.trace.Moment`.

    Raises:
        UsageError: the image or the request makes no sense.
        ModelError: the model is missing.
    """
    how = preset(options) if isinstance(options, str) else options
    encoding = Encoding(Rate(lmbda, quality, bpp, size, psnr), model, device, measure, refine=how)
    picture = to_picture(image)
    if file is not None:
        return refine_file(file, picture, encoding, importance, observer)
    return refine_picture(picture, encoding, importance, observer)


def _options(encoding: Encoding) -> RefineOptions:
    """How to refine.

    Raises:
        UsageError: the encoding does not say, or makes no sense.
    """
    if encoding.refine is None:
        raise UsageError("the encoding does not say how to refine")
    if encoding.background is not None:
        raise UsageError("refinement goes with a gain of the region, not with a wanted background")
    encoding.refine.check()
    return encoding.refine


def _refined(encoded: Encoded, outcome: Improvement) -> Refined:
    return Refined(
        encoded.data,
        encoded.report,
        outcome.rows,
        outcome.improved,
        outcome.objective_before,
        outcome.objective,
        outcome.interrupted,
    )


def _lambda_towards(target: Target | None, stored: Stored, size: int) -> float:
    """lambda to begin with: the file's own, or one that should bring it to the target."""
    own = lambda_of(stored.coded.stream.setting)
    if target is None:
        return own
    if target.size is not None:
        return float(own * (target.size / size) ** (1 / ELASTICITY))
    return own if target.lmbda is None else target.lmbda


def _matching(original: Picture, stored: Stored) -> Picture:
    """The original with the depth of the file."""
    header = stored.container.header
    if (original.height, original.width, original.gray) != (header.height, header.width, header.gray):
        found = f"{original.width}x{original.height} {'gray' if original.gray else 'colour'}"
        wanted = f"{header.width}x{header.height} {'gray' if header.gray else 'colour'}"
        raise UsageError(f"the original is {found}, the file {wanted}")
    return replace(original, pixels=change_depth(original.pixels, header.depth), alpha=None)


def _checked(importance: Importance | None, picture: Picture) -> Importance | None:
    if importance is None:
        return None
    array = np.ascontiguousarray(importance, np.float32)
    if array.shape != (picture.height, picture.width):
        raise UsageError(f"the mask is {array.shape}, the picture {(picture.height, picture.width)}")
    if not (np.isfinite(array).all() and array.min() >= 0 and array.max() > 0):
        raise UsageError("a mask must not be negative, and not zero everywhere")
    return array
