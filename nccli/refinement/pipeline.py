"""A picture through refinement: optimise what a plain encode found, and keep the better of the files."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from nccli.codec.coded import Pack
from nccli.codec.refining import RefineOptions
from nccli.coding.search import Target
from nccli.coding.sender import Latents, Stream, send
from nccli.errors import UsageError
from nccli.media.picture import Pixels
from nccli.networks.weights import ImageWeights
from nccli.refinement.descent.aims import Control
from nccli.refinement.descent.judge import Task
from nccli.refinement.descent.metric import Importance, Source, make_metric
from nccli.refinement.descent.optimise import Optimiser
from nccli.refinement.descent.problem import Kit
from nccli.refinement.descent.trace import Check, Observer, ignore
from nccli.refinement.large import Optimised, Start, Windows
from nccli.refinement.start import control_for, lambda_of, searched, starts
from nccli.refinement.trim import trim
from nccli.refinement.verdict import Verdict
from nccli.refinement.windows import windows


@dataclass(frozen=True)
class Request:
    """What a refinement is to do.

    Attributes:
        options: how.
        target: what decides the rate.
        importance: weight of every pixel's squared error, (h, w) float32, or None for 1.
        observer: told how it goes.
        lmbda: of the objective, when it is not that of the start.
    """

    options: RefineOptions
    target: Target
    importance: Importance | None = None
    observer: Observer = ignore
    lmbda: float | None = None


@dataclass(frozen=True)
class Improvement:
    """What a refinement came to.

    Attributes:
        stream: the better of the start and the refined picture.
        rows: trace.
        improved: it is the refined one.
        objective_before: bpp + distortion of the file it started from.
        objective: of the file it ended with.
        interrupted: the user stopped it.
    """

    stream: Stream
    rows: tuple[Check, ...]
    improved: bool
    objective_before: float
    objective: float
    interrupted: bool


def improve(
    weights: ImageWeights, pixels: Pixels, latents: Latents, stream: Stream, pack: Pack, request: Request
) -> Improvement:
    """Refine a coded picture.

    Args:
        weights: the model.
        pixels: the original, (h, w, 3 or 1).
        latents: of the analysis, or the stored ones.
        stream: the plain encode, which meets the target.
        pack: stream -> file, whose size counts.
        request: what to do.
    """
    with torch.inference_mode(False), torch.enable_grad():
        source = source_of(pixels, request, weights.device)
        lmbda = request.lmbda or lambda_of(stream.setting)
        # A mask makes distortion count for less; to hold a size or a PSNR lambda makes up for it.
        held = lmbda if request.target.lmbda is not None else lmbda / source.mean_importance
        control = control_for(request.target, held, request.options)
        verdict = Verdict(weights, source, pack, control)
        found = list(starts(weights, pixels, latents, stream.setting, request.options, lmbda))
        chosen, setting = found[0]
        if len(found) > 1:
            chosen, setting = min(found, key=lambda f: verdict.objective(verdict.measure(send(weights, *f))))
        free = Latents(chosen.grid, chosen.y.copy(), chosen.z.copy())
        start = Start(Kit.of(weights), source, free, setting)
        before = verdict.measure(stream)
        overhead = len(pack(stream)) - len(stream.payload)
        refined = _refine(start, request, control, overhead)
        after = send(weights, refined.latents, refined.setting)
        if len(windows(latents.grid)) > 1:
            after = trim(weights, refined, after, verdict)
        measured = verdict.measure(after)
        improved = verdict.better(measured, before)
        if not improved and not verdict.meets(before):
            raise UsageError("the target is out of reach from this start; try more steps, or another target")
        return Improvement(
            stream=after if improved else stream,
            rows=refined.rows,
            improved=improved,
            objective_before=verdict.objective(before),
            objective=verdict.objective(measured if improved else before),
            interrupted=refined.interrupted,
        )


def source_of(pixels: Pixels, request: Request, device: torch.device) -> Source:
    """The original with the metrics that count."""
    mse, others = 0.0, []
    for name, weight in request.options.metrics:
        if name == "mse":
            mse = weight
        elif weight:
            others.append((make_metric(name, request.options.lpips_weights, device), weight))
    return Source(pixels, request.importance, mse, tuple(others))


def _refine(start: Start, request: Request, control: Control, overhead: float) -> Optimised:
    grid = start.latents.grid
    if len(windows(grid)) > 1:
        return Windows(start, request.options, control, request.observer).run()
    distortion = start.source.distortion(slice(None), slice(None), start.kit.weights.device)
    pixels = start.source.pixels.shape[0] * start.source.pixels.shape[1]
    task = Task(start.kit, start.latents, start.setting, distortion, pixels, overhead)
    task = replace(task, setting=searched(task, request.options, control.lmbda))
    result = Optimiser(task, request.options, control, request.observer).run()
    best = result.best
    return Optimised(best.latents, best.setting, result.lmbda, result.rows, result.interrupted)
